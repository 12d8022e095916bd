use super::{ALIGNMENT, BLOCK_BYTES, Section, SectionKind, SegmentFooter, group_rows, tail, u32_at, u64_at};
use crate::error::ErrorKind;
use crate::format::crc;
use crate::types::Dimension;

/// A footer of 20 rows without payload and codes, and the length of its segment.
fn sample() -> (SegmentFooter, u64) {
    with_codes([0; 3])
}

/// The same with upper codes, factors and lower codes of some lengths.
fn with_codes([upper, factors, lower]: [u64; 3]) -> (SegmentFooter, u64) {
    let dimension = Dimension::new(3).unwrap();
    let mut footer = SegmentFooter {
        id: 7,
        dimension,
        rows: 20,
        max_sequence: 9,
        hash_seed: 11,
        checksums: 0,
        checksum_table_crc: 13,
        sections: [Section::default(); 11],
        unknown: Vec::new(),
    };
    let lengths = [240, upper, factors, lower, 160, 12, 200, 192, 0, 0, 0];
    let mut offset: u64 = 0;
    for (kind, len) in SectionKind::ALL.into_iter().zip(lengths).filter(|(_, len)| *len > 0) {
        let block_size = if kind == SectionKind::Rows { group_rows(dimension) * 12 } else { BLOCK_BYTES };
        footer.sections[kind as usize] = Section { block_size, offset, len, first_checksum: footer.checksums };
        footer.checksums += 1;
        offset = (offset + len).next_multiple_of(ALIGNMENT);
    }
    let table = Section { block_size: 0, offset, len: u64::from(footer.checksums) * 4, first_checksum: 0 };
    footer.sections[SectionKind::Checksums as usize] = table;
    let len = table.end() + footer.encoded_len();
    (footer, len)
}

fn sign(bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let sum = crc(&bytes[..at]);
    bytes[at..].copy_from_slice(&sum.to_le_bytes());
}

#[test]
fn encoding_round_trips_and_tells_its_length() {
    let (footer, len) = sample();
    let bytes = footer.encode();
    assert_eq!(bytes.len(), 64 + 6 * 32);
    assert_eq!(SegmentFooter::decode(&bytes, len).unwrap(), footer);
    let (footer_len, sum) = tail(bytes.last_chunk().unwrap());
    assert_eq!((footer_len as usize, sum), (bytes.len(), crc(&bytes[..bytes.len() - 4])));
}

#[test]
fn elements_are_found_by_their_index() {
    let bytes = [1, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!([0, 1, 3, 4].map(|index| u32_at(&bytes, index)), [Some(1), Some(258), Some(0), None]);
    assert_eq!([0, 1, 2].map(|index| u64_at(&bytes, index)), [Some(0x102_0000_0001), Some(3), None]);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let (footer, len) = sample();
    let bytes = footer.encode();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentFooter::decode(&bad, len).is_err(), "bit {bit}");
    }
    assert!((0..bytes.len()).all(|cut| SegmentFooter::decode(&bytes[..cut], len).is_err()));
}

/// Signed nonsense: every field of four bytes in turn takes extreme values.
#[test]
fn hostile_numbers_are_errors_or_harmless() {
    let (footer, len) = sample();
    let bytes = footer.encode();
    for at in (0..bytes.len() - 4).step_by(4) {
        for value in [0u32, 1, 63, 64, 0x7FFF_FFFF, 0x8000_0000, u32::MAX] {
            let mut bad = bytes.clone();
            bad[at..at + 4].copy_from_slice(&value.to_le_bytes());
            sign(&mut bad);
            let Ok(read) = SegmentFooter::decode(&bad, len) else { continue };
            let (mut end, mut checksum) = (0, 0);
            for section in read.sections.iter().filter(|section| section.len > 0) {
                assert!(section.offset >= end && section.end() <= len - bytes.len() as u64, "field at {at} = {value}");
                assert!(section.blocks() == 0 || u64::from(section.first_checksum) + section.blocks() <= u64::from(read.checksums));
                assert!(section.blocks() == 0 || section.first_checksum >= checksum, "field at {at} = {value}");
                end = section.end();
                checksum = section.first_checksum + section.blocks() as u32;
            }
        }
    }
}

/// What an encoded footer is refused for, and where.
fn refused(footer: &SegmentFooter, len: u64) -> (String, Option<u64>) {
    let error = SegmentFooter::decode(&footer.encode(), len).unwrap_err();
    (error.to_string(), error.offset())
}

#[test]
fn numbers_that_cannot_be_are_refused_where_they_stand() {
    let (footer, len) = sample();
    let bytes = footer.encode();
    for (at, value, why) in [(16, 0, "impossible dimension"), (20, 13, "stride"), (24, 0, "without rows"), (28, 1, "row groups")] {
        let mut bad = bytes.clone();
        bad[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
        sign(&mut bad);
        let error = SegmentFooter::decode(&bad, len).unwrap_err();
        assert!(error.offset() == Some(at as u64) && error.to_string().contains(why), "{error}");
    }
    assert!(SegmentFooter::decode(&bytes, bytes.len() as u64 - 1).unwrap_err().to_string().contains("longer than its segment"));
    let mut bad = bytes.clone();
    let at = bytes.len() - 8;
    bad[at] ^= 1;
    sign(&mut bad);
    let error = SegmentFooter::decode(&bad, len).unwrap_err();
    assert!(error.offset() == Some(at as u64) && error.to_string().contains("wrong length"), "{error}");
}

/// Each section in turn is longer or shorter than the rows need, or checked in other blocks.
#[test]
fn sections_that_do_not_fit_the_rows_are_refused() {
    let (footer, len) = sample();
    for kind in [SectionKind::Rows, SectionKind::Ordinals, SectionKind::IdOffsets, SectionKind::IdHash, SectionKind::Checksums] {
        for change in [-4_i64, 4] {
            let mut bad = footer.clone();
            // Room for what is longer.
            bad.sections[SectionKind::Checksums as usize].offset += ALIGNMENT;
            let section = &mut bad.sections[kind as usize];
            section.len = section.len.checked_add_signed(change).unwrap();
            let (error, _) = refused(&bad, len + ALIGNMENT + 4);
            assert!(error.contains(&format!("'{}'", kind.name())) && error.contains("does not fit 20 rows"), "{kind:?} {change}: {error}");
        }
    }
    for kind in [SectionKind::Rows, SectionKind::Ordinals, SectionKind::IdOffsets, SectionKind::IdBlocks, SectionKind::IdHash] {
        let mut bad = footer.clone();
        bad.sections[kind as usize].block_size *= 2;
        assert!(refused(&bad, len).0.contains("does not fit 20 rows"), "{kind:?}");
    }
    let mut bad = footer.clone();
    bad.sections[SectionKind::IdBlocks as usize].len = 19;
    assert!(refused(&bad, len).0.contains("does not fit 20 rows"));
    // Payloads come with their index, whose entries are whole.
    let checksums = footer.section(SectionKind::Checksums).offset;
    for (index_len, blocks_len) in [(0, 100), (24, 0), (25, 100), (23, 100)] {
        let mut bad = footer.clone();
        let place = |len, first_checksum| Section { block_size: BLOCK_BYTES, offset: checksums, len, first_checksum };
        bad.checksums = 7;
        for (kind, len, first_checksum) in [(SectionKind::PayloadIndex, index_len, 5), (SectionKind::PayloadBlocks, blocks_len, 6)] {
            if len > 0 {
                bad.sections[kind as usize] = place(len, first_checksum);
            }
        }
        bad.sections[SectionKind::PayloadBlocks as usize].offset += 64 * u64::from(blocks_len > 0);
        let sums = Section { block_size: 0, offset: checksums + 192, len: 28, first_checksum: 0 };
        bad.sections[SectionKind::Checksums as usize] = sums;
        let (error, _) = refused(&bad, checksums + 192 + 28 + bad.encoded_len());
        assert!(error.contains("'payload index'"), "{index_len}, {blocks_len}: {error}");
    }
}

#[test]
fn codes_come_with_their_factors_and_fit_the_rows() {
    let (good, len) = with_codes([40, 200, 40]);
    assert_eq!(SegmentFooter::decode(&good.encode(), len).unwrap(), good);
    for (lengths, name) in [
        ([40, 0, 40], "code factors"),
        ([0, 200, 0], "code factors"),
        ([41, 200, 41], "upper codes"),
        ([39, 200, 40], "upper codes"),
        ([40, 201, 40], "code factors"),
        ([40, 200, 0], "lower codes"),
        ([40, 200, 41], "lower codes"),
        ([0, 0, 40], "lower codes"),
    ] {
        let (bad, len) = with_codes(lengths);
        let (error, _) = refused(&bad, len);
        assert!(error.contains(&format!("'{name}'")) && error.contains("does not fit 20 rows"), "{lengths:?}: {error}");
    }
    // A reader that does not know them skips them: they are not marked as required.
    let mut bytes = good.encode();
    let entry = 56 + 32;
    assert_eq!(bytes[entry..entry + 4], [9, 0, 0, 0]);
    bytes[entry + 2] = 1;
    sign(&mut bytes);
    assert!(SegmentFooter::decode(&bytes, len).unwrap_err().to_string().contains("wrongly marked"));
}

#[test]
fn sections_stand_apart_with_checksums_of_their_own() {
    let (footer, len) = sample();
    let ordinals = SectionKind::Ordinals as usize;
    type Change = fn(&mut Section);
    let changes: [(Change, &str); 6] = [
        (|section| section.offset += 4, "stands where it cannot"),
        (|section| section.offset -= 64, "stands where it cannot"),
        (|section| section.len = u64::MAX, "stands where it cannot"),
        (|section| section.first_checksum = 0, "checksums that are not its own"),
        (|section| section.first_checksum = 5, "checksums that are not its own"),
        (|section| section.first_checksum = u32::MAX, "checksums that are not its own"),
    ];
    for (index, (change, why)) in changes.into_iter().enumerate() {
        let mut bad = footer.clone();
        change(&mut bad.sections[ordinals]);
        let (error, at) = refused(&bad, len);
        assert!(error.contains("'ordinals'") && error.contains(why), "change {index}: {error}");
        assert_eq!(at, Some(56 + 32), "change {index}: {error}");
    }
    // Marked as optional; twice the same.
    let (bytes, entry) = (footer.encode(), 56 + 32);
    for (at, patch) in [(entry + 2, 0_u16), (entry, SectionKind::Rows.code())] {
        let mut bad = bytes.clone();
        bad[at..at + 2].copy_from_slice(&patch.to_le_bytes());
        sign(&mut bad);
        let error = SegmentFooter::decode(&bad, len).unwrap_err();
        assert!(error.to_string().contains("out of order or wrongly marked"), "{at}: {error}");
    }
    assert_eq!(Section::default().blocks(), 0);
    assert_eq!([1, 4096, 4097].map(|len| Section { block_size: 4096, len, ..Section::default() }.blocks()), [1, 1, 2]);
    // The last one reaches the footer, and no further.
    assert!(refused(&footer, len - 1).0.contains("'checksums' stands where it cannot"));
}

#[test]
fn unknown_sections_are_skipped_or_refused() {
    let (footer, len) = sample();
    for required in [false, true] {
        let mut bytes = footer.encode();
        let at = bytes.len() - 8;
        let checksums = *footer.section(SectionKind::Checksums);
        let offset = checksums.end().next_multiple_of(64);
        let mut entry = Vec::new();
        entry.extend_from_slice(&99u16.to_le_bytes());
        entry.extend_from_slice(&u16::from(required).to_le_bytes());
        entry.extend_from_slice(&0u32.to_le_bytes());
        entry.extend_from_slice(&offset.to_le_bytes());
        entry.extend_from_slice(&40u64.to_le_bytes());
        entry.extend_from_slice(&[0; 8]);
        bytes.splice(at..at, entry);
        bytes[4] += 1;
        let total = bytes.len() as u32;
        let at = bytes.len() - 8;
        bytes[at..at + 4].copy_from_slice(&total.to_le_bytes());
        sign(&mut bytes);
        let read = SegmentFooter::decode(&bytes, len + 200);
        if required {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::NewerFormat);
        } else {
            let unknown = vec![Section { block_size: 0, offset, len: 40, first_checksum: 0 }];
            assert_eq!(read.unwrap(), SegmentFooter { unknown, ..footer.clone() });
        }
    }
}
