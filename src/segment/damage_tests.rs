//! Damage at every byte, cut files, and files whose checksums are right and whose numbers are not.

use super::fixture::{Built, MODES, assert_corruption, build, rows};
use super::{KillSet, Segment};
use crate::error::{Error, ErrorKind};
use crate::format::segment::{Section, SectionKind, SegmentFooter};
use crate::format::segment_file::{FileFooter, SegmentPlace};
use crate::format::{Put, crc};
use crate::options::ReadMode;
use crate::sync::Arc;

fn sample() -> Built {
    build(&[(3, rows(20, 3)), (31, rows(6, 31))], true)
}

/// Reads everything; the errors of each segment.
fn read(built: &Built, mode: (ReadMode, crate::options::ChecksumMode)) -> Vec<Vec<Error>> {
    (0..built.segments.len())
        .map(|index| match built.segment(index, mode) {
            Ok(segment) => built.read_all(index, &segment),
            Err(error) => {
                assert_corruption(&error);
                vec![error]
            }
        })
        .collect()
}

#[test]
fn every_damaged_byte_is_noticed_and_harms_only_its_segment() {
    let good = sample();
    for at in 0..good.bytes.len() {
        let mut bad = good.clone();
        bad.bytes[at] ^= 1 << (at % 8);
        let mode = MODES[at % MODES.len()];
        let file = match bad.open(mode.0) {
            Ok(file) => file,
            Err(error) => {
                assert_corruption(&error);
                continue;
            }
        };
        let found = file.verify();
        found.iter().for_each(assert_corruption);
        let nearest = found.iter().filter_map(Error::offset).min_by_key(|offset| offset.abs_diff(at as u64)).unwrap();
        assert!(nearest.abs_diff(at as u64) < 4096, "verify found byte {at} at {nearest}");
        for (entry, errors) in good.segments.iter().zip(read(&bad, mode)) {
            let is_inside = (entry.offset..entry.offset + entry.len).contains(&(at as u64));
            assert!(is_inside || errors.is_empty(), "byte {at} harmed segment {}: {errors:?}", entry.id);
        }
    }
}

#[test]
fn damage_of_one_block_leaves_the_others_readable() {
    let mut built = build(&[(16, rows(2000, 16))], false);
    let segment = built.segment(0, MODES[0]).unwrap();
    let at = |kind: SectionKind, offset: u64| (segment.offset() + segment.sections.section(kind).offset + offset) as usize;
    built.bytes[at(SectionKind::Rows, 64 * 100)] ^= 1;
    built.bytes[at(SectionKind::IdBlocks, 5000)] ^= 1;
    for mode in MODES {
        let segment = built.segment(0, mode).unwrap();
        for _ in 0..2 {
            let bad: Vec<u32> = (0..2000).filter(|&row| segment.row(row).is_err()).collect();
            assert_eq!(bad, segment.group_of(100).collect::<Vec<_>>(), "64 rows share the checksum");
            let mut cursor = segment.cursor(0);
            let bad_walking = (0..2000).filter(|_| {
                let _ = cursor.advance();
                cursor.vector().is_err()
            });
            assert_eq!(bad_walking.count(), 64);
        }
        let error = segment.row(100).unwrap_err();
        assert_eq!(error.offset(), Some(at(SectionKind::Rows, 4096) as u64));
        let mut cursor = segment.cursor(0);
        let lost = (0..2000).filter(|_| cursor.advance().is_err()).count();
        assert!((100..1500).contains(&lost), "{lost} ids in 4 KiB");
        assert!(segment.find(&built.models[0].1[0].id).is_ok());
        assert_eq!(segment.verify().len(), 2);
    }
}

#[test]
fn cut_files_are_refused() {
    let good = sample();
    for len in 0..good.bytes.len() {
        let mut bad = good.clone();
        bad.bytes.truncate(len);
        for mode in [ReadMode::Mapped, ReadMode::Copied] {
            assert_corruption(&bad.open(mode).unwrap_err());
            let mut forged = bad.clone();
            forged.entry.len = len as u64;
            assert_corruption(&forged.open(mode).unwrap_err());
        }
    }
}

#[test]
fn damaged_kill_blocks_are_refused() {
    let good = sample();
    let entry = good.kills.unwrap();
    let mut bad = good.clone();
    bad.bytes[entry.offset as usize + 9] ^= 1;
    let file = bad.open(ReadMode::Mapped).unwrap();
    let error = KillSet::read(&file, &entry, super::fixture::VICTIM.0, super::fixture::VICTIM.1).unwrap_err();
    assert_corruption(&error);
    assert_eq!(error.offset(), Some(entry.offset));
}

/// The first segment's footer of a file with a single segment.
fn footer_of(built: &Built) -> SegmentFooter {
    built.segment(0, MODES[0]).unwrap().sections.footer().clone()
}

/// Makes all checksums right again after a change to sections of the only segment.
fn sign(built: &mut Built, footer: &SegmentFooter) {
    let start = built.segments[0].offset as usize;
    let body = built.bytes[start..].to_vec();
    let mut sums = vec![0; footer.checksums as usize];
    for section in footer.sections.iter().filter(|section| section.block_size > 0) {
        let bytes = &body[section.offset as usize..section.end() as usize];
        for (block, bytes) in bytes.chunks(section.block_size as usize).enumerate() {
            sums[section.first_checksum as usize + block] = crc(bytes);
        }
    }
    let mut table = Vec::new();
    sums.iter().for_each(|&sum| table.put_u32(sum));
    let at = footer.section(SectionKind::Checksums).offset as usize;
    let mut segment = body[..at].to_vec();
    segment.extend_from_slice(&table);
    let signed = SegmentFooter { checksum_table_crc: crc(&table), ..footer.clone() };
    segment.extend_from_slice(&signed.encode());
    built.bytes.truncate(start);
    replace_segment(built, &segment);
}

/// Puts a segment at the end of the file and writes the footers anew.
fn replace_segment(built: &mut Built, segment: &[u8]) {
    let entry = &mut built.segments[0];
    built.bytes.extend_from_slice(segment);
    entry.len = segment.len() as u64;
    entry.footer_crc = u32::from_le_bytes(*segment.last_chunk().unwrap());
    let place = SegmentPlace { id: entry.id, offset: entry.offset, len: entry.len, footer_crc: entry.footer_crc };
    built.bytes.resize(built.bytes.len().next_multiple_of(8), 0);
    let footer = FileFooter { segments: vec![place], kills: Vec::new(), file: built.entry.file }.encode();
    built.bytes.extend_from_slice(&footer);
    built.entry.len = built.bytes.len() as u64;
    (_, built.entry.footer_crc) = FileFooter::decode_tail(footer.last_chunk::<16>().unwrap()).unwrap();
}

/// Everything, whatever comes out: it must end, without a panic, and name our file.
fn use_all(segment: &Arc<Segment>, ids: &[Vec<u8>]) {
    let named = |error: Error| assert_corruption(&error);
    for (row, id) in (0u32..).zip(ids) {
        // What a guess cannot read is left to the look-up.
        let hash = segment.hash(id);
        segment.find_guessed(id, hash, segment.guess(hash)).map_or_else(named, drop);
        segment.find(id).map_or_else(named, drop);
        segment.lower_bound(id).map_or_else(named, drop);
        segment.id_of(row, &mut Vec::new()).map_or_else(named, drop);
        segment.payload(row).map_or_else(named, drop);
    }
    let mut cursor = segment.cursor(0);
    for _ in ids {
        cursor.advance().map_or_else(named, drop);
        cursor.payload().map_or_else(named, drop);
    }
}

#[test]
fn senseless_numbers_under_right_checksums_are_clean_errors() {
    let good = build(&[(31, rows(20, 31))], false);
    let footer = footer_of(&good);
    let ids: Vec<Vec<u8>> = good.models[0].1.iter().map(|row| row.id.clone()).collect();
    let start = good.segments[0].offset;
    let mut unnoticed = 0;
    for kind in [SectionKind::IdOffsets, SectionKind::IdBlocks, SectionKind::IdHash, SectionKind::PayloadIndex, SectionKind::PayloadBlocks]
    {
        let section = footer.section(kind);
        for at in section.offset..section.end() {
            for value in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut bad = good.clone();
                let byte = &mut bad.bytes[(start + at) as usize];
                if *byte == value {
                    continue;
                }
                *byte = value;
                sign(&mut bad, &footer);
                for mode in [MODES[0], MODES[2]] {
                    let segment = bad.segment(0, mode).unwrap();
                    use_all(&segment, &ids);
                    let found = segment.verify();
                    found.iter().for_each(assert_corruption);
                    // Ids and texts may change into other valid ones.
                    let may_differ = kind == SectionKind::PayloadBlocks || kind == SectionKind::IdBlocks;
                    assert!(may_differ || !found.is_empty(), "{} byte {at} = {value}", kind.name());
                    unnoticed += usize::from(found.is_empty());
                }
            }
        }
    }
    assert!(unnoticed < 2000, "{unnoticed}");
}

#[test]
fn sections_of_newer_versions_are_skipped_or_refused() {
    let good = build(&[(3, rows(5, 3))], false);
    let footer = footer_of(&good);
    for is_required in [false, true] {
        let mut newer = good.clone();
        let start = good.segments[0].offset as usize;
        let end = footer.section(SectionKind::Checksums).end();
        let mut segment = good.bytes[start..start + end as usize].to_vec();
        let offset = end.next_multiple_of(64);
        segment.resize(offset as usize, 0);
        segment.extend_from_slice(b"an index that nobody here can read");
        let mut bytes = footer.encode();
        bytes.truncate(bytes.len() - 8);
        bytes[4] += 1;
        bytes.put_u16(12);
        bytes.put_u16(u16::from(is_required));
        bytes.put_u32(0);
        bytes.put_u64(offset);
        bytes.put_u64(34);
        bytes.put_u64(0);
        bytes.put_u32(bytes.len() as u32 + 8);
        bytes.put_u32(crc(&bytes));
        segment.extend_from_slice(&bytes);
        newer.bytes.truncate(start);
        replace_segment(&mut newer, &segment);
        for mode in MODES {
            match newer.segment(0, mode) {
                Ok(segment) => {
                    assert!(!is_required);
                    assert_eq!(segment.footer().unknown, [Section { block_size: 0, offset, len: 34, first_checksum: 0 }]);
                    assert!(newer.read_all(0, &segment).is_empty());
                    assert!(segment.verify().is_empty(), "{:?}", segment.verify());
                }
                Err(error) => {
                    assert!(is_required);
                    assert_eq!(error.kind(), ErrorKind::NewerFormat);
                }
            }
        }
    }
}

#[test]
fn a_code_that_is_not_that_of_its_row_is_named() {
    let good = build(&[(16, rows(50, 16))], false);
    let footer = footer_of(&good);
    let places = [
        (SectionKind::UpperCodes, 8 * 7 + 3),
        (SectionKind::LowerCodes, 8 * 7 + 3),
        (SectionKind::CodeFactors, 10 * 7),
        (SectionKind::CodeFactors, 10 * 7 + 9),
    ];
    for (kind, at) in places {
        let mut bad = good.clone();
        let place = (bad.segments[0].offset + footer.section(kind).offset) as usize + at;
        bad.bytes[place] ^= 1;
        sign(&mut bad, &footer);
        let found = bad.segment(0, MODES[0]).unwrap().verify();
        assert!(found.len() == 1 && found[0].to_string().contains("row"), "{found:?}");
        assert!(found[0].offset().is_some_and(|offset| offset.abs_diff(place as u64) < 16), "{found:?}");
    }
}

/// A guess is no look-up: what it cannot read is found by that.
#[test]
fn a_damaged_bucket_is_no_guess_and_an_error_of_the_look_up() {
    let mut built = build(&[(16, rows(20, 16))], false);
    let at = built.segments[0].offset + footer_of(&built).section(SectionKind::IdHash).offset;
    built.bytes[at as usize] ^= 1;
    for mode in MODES {
        let segment = built.segment(0, mode).unwrap();
        let id = &built.models[0].1[0].id;
        let hash = segment.hash(id);
        assert_eq!(segment.guess(hash), None);
        assert_corruption(&segment.find_guessed(id, hash, None).unwrap_err());
    }
}
