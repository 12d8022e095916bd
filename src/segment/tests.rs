use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixture::{
    Built, IDENTITY, KILLED, MODES, ModelRow, OneFile, SEED, TestFile, VICTIM, build, document, file_entry, rows, segment_entry,
};
use super::output::Output;
use super::{FileBuilder, KillSet, Segment, SegmentFile};
use crate::error::ErrorKind;
use crate::format::id_hash::{BUCKET_BYTES, Bucket};
use crate::format::manifest::KillEntry;
use crate::format::segment::SectionKind;
use crate::io::bytes::f32s_as_bytes;
use crate::kernel::{Encoder, Halves, Rows};
use crate::options::{ChecksumMode, ReadMode};
use crate::sync::{Arc, Ordering};
use crate::types::{Codes, Dimension, FileId};

fn assert_all_right(built: &Built) {
    for mode in MODES {
        for index in 0..built.models.len() {
            let segment = built.segment(index, mode).unwrap();
            // Twice: the second time everything was touched.
            assert!(built.read_all(index, &segment).is_empty() && built.read_all(index, &segment).is_empty(), "{mode:?}");
            assert_eq!((segment.id(), segment.max_sequence()), (100 + index as u64, 5000 + index as u64));
            assert!(segment.verify().is_empty(), "{:?}", segment.verify());
        }
        assert!(built.open(mode.0).unwrap().verify().is_empty());
    }
}

#[test]
fn row_counts_around_every_border_round_trip() {
    // Dimension 16: 64 rows a group; 16 ids a block; 512 ordinals and 64 hash buckets a checksum block.
    for count in [1, 2, 15, 16, 17, 63, 64, 65, 511, 512, 513] {
        assert_all_right(&build(&[(16, rows(count, 16))], false));
    }
}

#[test]
fn segments_of_several_dimensions_share_a_file() {
    let built = build(&[(1, rows(40, 1)), (31, rows(20, 31)), (384, rows(9, 384)), (1030, rows(3, 1030))], true);
    assert_all_right(&built);
    let entry = built.kills.unwrap();
    let file = built.open(ReadMode::Copied).unwrap();
    let set = KillSet::read(&file, &entry, VICTIM.0, VICTIM.1).unwrap();
    assert!(set.iter().eq(KILLED));
    assert!(KillSet::read(&file, &entry, VICTIM.0 + 1, VICTIM.1).is_err());
    assert!(KillSet::read(&file, &entry, VICTIM.0, VICTIM.1 + 1).is_err());
    let miscounted = KillEntry { count: entry.count + 1, ..entry };
    assert!(KillSet::read(&file, &miscounted, VICTIM.0, VICTIM.1).is_err());
    assert_eq!((file.footer().segments.len(), file.footer().kills.len()), (4, 1));
}

#[test]
fn mapped_rows_are_read_in_place() {
    let built = build(&[(16, rows(100, 16))], false);
    let segment = built.segment(0, MODES[0]).unwrap();
    let (first, second) = (segment.row(40).unwrap(), segment.row(41).unwrap());
    assert_eq!(first.as_bytes().as_ptr() as usize + 64, second.as_bytes().as_ptr() as usize);
    assert_eq!(first.as_ptr() as usize % 64, 0, "a padded stride keeps rows on cache lines");
    drop(segment);
    assert_eq!(first[0], 40_000.5, "a row outlives its segment");
}

#[test]
fn overflowing_hash_buckets_are_followed() {
    let built = build(&[(1, rows(3000, 1))], false);
    let segment = built.segment(0, MODES[0]).unwrap();
    let section = segment.sections.section(SectionKind::IdHash);
    let start = (segment.offset() + section.offset) as usize;
    let table = &built.bytes[start..start + section.len as usize];
    let overflowed = table.chunks(BUCKET_BYTES).filter(|bucket| Bucket::decode(bucket).unwrap().overflowed()).count();
    assert!(overflowed > 10, "{overflowed} buckets: the test must follow some");
    for (number, row) in built.models[0].1.iter().enumerate() {
        assert_eq!(segment.find(&row.id).unwrap(), Some(number as u32));
    }
    assert!((0..3000).all(|number| segment.find(format!("absent-{number}").as_bytes()).unwrap().is_none()));
}

#[test]
fn longest_ids_and_large_payloads_round_trip() {
    let long = |last: u8| [&[0xAB; 65_534][..], &[last]].concat();
    let noise: String = (0..90_000u32).map(|n| char::from(b' ' + (n.wrapping_mul(2_654_435_761) >> 25) as u8 % 90)).collect();
    let mut incompressible = Vec::new();
    let payload = crate::types::Payload { document: Some(noise), ..Default::default() };
    crate::format::payload::encode(&payload, &mut incompressible).unwrap();
    let payloads = [document(1 << 20, 'z'), Vec::new(), incompressible, document(1, 'y')];
    let models = payloads.into_iter().zip(0u8..).map(|(payload, n)| ModelRow {
        id: long(n),
        vector: vec![f32::from_bits(0x7FC0_0000 + u32::from(n)), -0.0],
        ordinal: u64::MAX - u64::from(n),
        payload,
    });
    let built = build(&[(2, models.collect())], false);
    assert!(built.bytes.len() < 65_535 + 110_000, "{} bytes: prefixes and documents are compressed", built.bytes.len());
    assert_all_right(&built);
}

#[test]
fn refused_rows_leave_the_builder_as_it_was() {
    let file = TestFile::of(&[]);
    let mut builder = FileBuilder::new(Arc::<TestFile>::clone(&file), None, IDENTITY).unwrap();
    let vector = f32s_as_bytes(&[1.0, 2.0]);
    let refused = |result: crate::Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
    refused(builder.add(b"a", vector, 0, b""));
    refused(builder.end(1).map(|_| ()));
    builder.begin(100, Dimension::new(2).unwrap(), SEED, Codes::None).unwrap();
    refused(builder.begin(101, Dimension::new(2).unwrap(), SEED, Codes::None));
    refused(builder.add(b"", vector, 0, b""));
    refused(builder.add(&[1; 65_536], vector, 0, b""));
    refused(builder.add(b"a", &vector[..4], 0, b""));
    builder.add(b"b", vector, 3, b"").unwrap();
    refused(builder.add(b"b", vector, 0, b""));
    refused(builder.add(b"a", vector, 0, b""));
    builder.add(b"ba", vector, 4, b"").unwrap();
    let built = builder.end(5000).unwrap();
    builder.begin(101, Dimension::new(2).unwrap(), SEED, Codes::None).unwrap();
    refused(builder.end(1).map(|_| ()));
    let (finished, _) = builder.finish().unwrap();
    let model = |id: &[u8], ordinal| ModelRow { id: id.to_vec(), vector: vec![1.0, 2.0], ordinal, payload: Vec::new() };
    assert_all_right(&Built {
        bytes: file.bytes.lock().clone(),
        entry: file_entry(&finished),
        segments: vec![segment_entry(&built)],
        models: vec![(Dimension::new(2).unwrap(), vec![model(b"b", 3), model(b"ba", 4)])],
        kills: None,
    });
}

#[test]
fn first_write_error_stays() {
    let file = TestFile::of(&[]);
    let mut builder = FileBuilder::new(Arc::<TestFile>::clone(&file), None, IDENTITY).unwrap();
    let dimension = Dimension::new(65_535).unwrap();
    let row = vec![0; dimension.bytes()];
    builder.begin(1, dimension, SEED, Codes::None).unwrap();
    builder.add(b"a", &row, 0, b"").unwrap();
    file.fails.store(true, Ordering::Relaxed);
    let mut ids = (b'b'..=b'x').map(|id| [id]);
    let broken = ids.find_map(|id| builder.add(&id, &row, 0, b"").err()).expect("the buffer fills before the ids end");
    assert_eq!(broken.kind(), ErrorKind::Io);
    file.fails.store(false, Ordering::Relaxed);
    assert!(builder.add(b"z", &row, 0, b"").unwrap_err().to_string().contains("injected"));
    assert!(builder.end(1).is_err() && builder.finish().is_err());
}

#[test]
fn writes_are_large() {
    for codes in Codes::ALL {
        let file = TestFile::of(&[]);
        let mut builder = FileBuilder::new(Arc::<TestFile>::clone(&file), None, IDENTITY).unwrap();
        builder.begin(1, Dimension::new(384).unwrap(), SEED, codes).unwrap();
        for row in 0..6000u32 {
            builder.add(&row.to_be_bytes(), &[0; 1536], 0, &document(100, 'q')).unwrap();
        }
        builder.end(1).unwrap();
        builder.finish().unwrap();
        let writes = file.writes.lock();
        let (_, full) = writes.split_last().unwrap();
        // Each of them a huge page, at a multiple of one.
        assert!(full.len() >= 4 && full.iter().all(|&len| len == 2 << 20), "{writes:?}");
    }
}

#[test]
fn copied_segments_are_the_same_bytes_elsewhere() {
    let built = build(&[(3, rows(5, 3)), (16, rows(200, 16))], false);
    for mode in MODES {
        let file = TestFile::of(&[]);
        let mut builder = FileBuilder::new(Arc::<TestFile>::clone(&file), None, IDENTITY).unwrap();
        let copies: Vec<_> = [1, 0].into_iter().map(|index| builder.add_raw(&built.segment(index, mode).unwrap()).unwrap()).collect();
        let (finished, _) = builder.finish().unwrap();
        let bytes = file.bytes.lock().clone();
        for (copy, index) in copies.iter().zip([1, 0]) {
            let entry = &built.segments[index];
            assert_eq!((copy.id, copy.len, copy.footer_crc, copy.rows), (entry.id, entry.len, entry.footer_crc, entry.rows));
            assert_eq!((&copy.first_id, &copy.last_id), (&built.models[index].1[0].id, &built.models[index].1.last().unwrap().id));
            let moved = Built {
                bytes: bytes.clone(),
                entry: file_entry(&finished),
                segments: vec![segment_entry(copy)],
                models: vec![built.models[index].clone()],
                kills: None,
            };
            let segment = moved.segment(0, mode).unwrap();
            assert!(moved.read_all(0, &segment).is_empty() && segment.verify().is_empty());
        }
    }
}

#[test]
fn files_that_the_manifest_does_not_name_are_refused() {
    let built = build(&[(1, rows(1, 1))], false);
    let with = |change: &dyn Fn(&mut Built)| {
        let mut other = built.clone();
        change(&mut other);
        let results = [ReadMode::Mapped, ReadMode::Copied].map(|mode| other.open(mode).unwrap_err());
        results.iter().for_each(super::fixture::assert_corruption);
        results[0].to_string()
    };
    assert!(with(&|built| built.entry.origin_database = FileId([1; 16])).contains("database"));
    assert!(with(&|built| built.entry.origin_number = 1).contains("number"));
    assert!(with(&|built| built.entry.file = FileId([1; 16])).contains("file id"));
    assert!(with(&|built| built.entry.footer_crc ^= 1).contains("footer"));
    assert!(with(&|built| built.entry.len += 1).contains("long"));
    assert!(with(&|built| built.bytes.push(0)).contains("long"));
    for mode in MODES {
        let open = |change: &dyn Fn(&mut crate::format::manifest::SegmentEntry), dimension: usize| {
            let mut entry = built.segments[0];
            change(&mut entry);
            Segment::open(built.open(mode.0).unwrap(), &entry, Dimension::new(dimension).unwrap(), mode.1)
        };
        assert!(open(&|_| (), 1).is_ok());
        assert!(open(&|_| (), 2).is_err() && open(&|entry| entry.rows += 1, 1).is_err() && open(&|entry| entry.id += 1, 1).is_err());
        assert!(open(&|entry| entry.footer_crc ^= 1, 1).is_err());
        for value in [0, 1, 63, 64, 128, u64::MAX - 63, u64::MAX] {
            assert!(open(&|entry| entry.offset = value, 1).is_err() || value == built.segments[0].offset);
            assert!(open(&|entry| entry.len = value, 1).is_err());
        }
    }
}

#[test]
fn missing_files_are_corruption_and_other_errors_are_not() {
    let built = build(&[(1, rows(1, 1))], false);
    let open = |name, otherwise| {
        let storage = OneFile { name, file: TestFile::of(&built.bytes), otherwise };
        SegmentFile::open(&storage, &built.entry, ReadMode::Mapped)
    };
    assert_eq!(open("seg-00000042", std::io::ErrorKind::NotFound).unwrap().name(), "seg-00000042");
    let missing = open("seg-00000041", std::io::ErrorKind::NotFound).unwrap_err();
    super::fixture::assert_corruption(&missing);
    assert!(missing.to_string().contains("missing"), "{missing}");
    let denied = open("seg-00000041", std::io::ErrorKind::PermissionDenied).unwrap_err();
    assert_eq!((denied.kind(), denied.file()), (ErrorKind::ReadOnly, Some("seg-00000042")));
}

#[test]
fn read_errors_are_not_remembered() {
    let built = build(&[(1, rows(30, 1))], false);
    let file = TestFile::of(&built.bytes);
    let opened = SegmentFile::from_file(Arc::<TestFile>::clone(&file), &built.entry, ReadMode::Copied).unwrap();
    let segment = Segment::open(opened, &built.segments[0], built.models[0].0, ChecksumMode::FirstTouch).unwrap();
    file.fails.store(true, Ordering::Relaxed);
    assert_eq!(segment.find(b"id-000003").unwrap_err().kind(), ErrorKind::Io);
    assert_eq!(segment.row(3).unwrap_err().kind(), ErrorKind::Io);
    file.fails.store(false, Ordering::Relaxed);
    assert!(built.read_all(0, &segment).is_empty());
}

#[test]
fn rows_outside_are_errors() {
    let built = build(&[(1, rows(3, 1))], false);
    for mode in MODES {
        let segment = built.segment(0, mode).unwrap();
        for row in [3, 1023, u32::MAX] {
            assert!(segment.row(row).is_err() && segment.ordinal(row).is_err() && segment.id_of(row, &mut Vec::new()).is_err());
            assert!(segment.row_group(row).is_err() && segment.cursor(row).advance().unwrap().is_none());
        }
        assert!(segment.row_run(0..4).is_err() && segment.row_run(2..2).is_err() && segment.row_run(0..3).is_ok());
    }
}

fn id() -> impl Strategy<Value = Vec<u8>> {
    let prefix = prop::sample::select(vec![&b""[..], b"doc/2026/", b"\0\0", b"\xFF\xFF\xFF\xFF"]);
    (prefix, prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(prefix, rest)| [prefix, &rest].concat())
}

fn model(dimension: usize) -> impl Strategy<Value = Vec<ModelRow>> {
    let payload = prop_oneof![3 => Just(0usize), 3 => 1usize..60, 1 => 3000usize..20_000];
    let row = (prop::collection::vec(any::<u32>(), dimension), any::<u64>(), payload);
    prop::collection::btree_map(id(), row, 1..90).prop_map(|rows: BTreeMap<_, _>| {
        let rows = rows.into_iter();
        rows.map(|(id, (bits, ordinal, len))| ModelRow {
            id,
            vector: bits.into_iter().map(f32::from_bits).collect(),
            ordinal,
            payload: document(len, 'p'),
        })
        .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_built_is_read(
        (dimension, rows) in prop::sample::select(vec![1usize, 2, 15, 16, 17, 31, 33, 128]).prop_flat_map(|dimension| (Just(dimension), model(dimension))),
        probes in prop::collection::vec(id(), 20),
    ) {
        // Bits are compared: equality of ModelRow would fail on NaN.
        let built = build(&[(dimension, rows)], false);
        assert_all_right(&built);
        let rows = &built.models[0].1;
        for mode in MODES {
            let segment = built.segment(0, mode).unwrap();
            for probe in probes.iter().map(Vec::as_slice).chain([&b""[..], &[0xFF; 40]]) {
                let wanted = rows.partition_point(|row| row.id.as_slice() < probe);
                prop_assert_eq!(segment.lower_bound(probe).unwrap() as usize, wanted);
                let found = rows.binary_search_by(|row| row.id.as_slice().cmp(probe)).ok();
                let (found, hash) = (found.map(|row| row as u32), segment.hash(probe));
                prop_assert_eq!(segment.find(probe).unwrap(), found);
                for guess in [segment.guess(hash), Some(0), Some(u32::MAX), None] {
                    prop_assert_eq!(segment.find_guessed(probe, hash, guess).unwrap(), found);
                }
            }
        }
    }
}

#[test]
fn codes_are_those_of_the_rows_wherever_pieces_end() {
    for (count, dimension) in [(1, 16), (2000, 16), (700, 200), (333, 1000), (9, 65_535)] {
        let built = build(&[(3, rows(5, 3)), (dimension, rows(count, dimension))], false);
        for mode in MODES {
            let segment = built.segment(1, mode).unwrap();
            assert!(segment.has_codes() && !built.segment(0, mode).unwrap().has_codes());
            let all = 0..count as u32;
            let (upper, lower) = (segment.upper_codes(all.clone()).unwrap(), segment.lower_codes(all.clone()).unwrap());
            let stored = segment.code_factors(all).unwrap();
            let mut encoder = Encoder::new(dimension);
            for (at, row) in (0..).zip(&built.models[1].1) {
                let mut code = Halves::default();
                let factors = encoder.encode(&row.vector, &mut code).to_bytes();
                for (stored, made) in [(&upper, &*code.upper), (&lower, &*code.lower), (&stored, &factors)] {
                    assert_eq!(stored.pick(&[at]).row(0), made, "row {at} of {count}, dimension {dimension}");
                }
            }
            let beyond = 0..count as u32 + 1;
            assert!(segment.upper_codes(beyond.clone()).is_err() && segment.lower_codes(beyond.clone()).is_err());
            assert!(segment.code_factors(beyond).is_err());
            assert!(segment.verify().is_empty());
        }
    }
}

#[test]
fn a_file_is_not_finished_inside_a_segment() {
    let file = TestFile::of(&[]);
    let mut builder = FileBuilder::new(Arc::<TestFile>::clone(&file), None, IDENTITY).unwrap();
    builder.begin(1, Dimension::new(2).unwrap(), SEED, Codes::None).unwrap();
    assert!(builder.finish().is_err());
}

/// What was written in whole chunks is not written again, and nothing is written where there is nothing.
#[test]
fn the_end_of_a_file_writes_what_is_left() {
    for (parts, writes) in [(vec![], vec![]), (vec![2 << 20], vec![2 << 20]), (vec![2 << 20, 4], vec![2 << 20, 4])] {
        let file = TestFile::of(&[]);
        let mut output = Output::new(Arc::<TestFile>::clone(&file), None, "seg-00000001".to_owned());
        parts.iter().for_each(|len| output.put(&vec![7; *len]).unwrap());
        output.finish().unwrap().sync().unwrap();
        assert_eq!(*file.writes.lock(), writes);
    }
}

#[test]
fn no_bytes_are_no_part_of_a_section() {
    let built = build(&[(16, rows(20, 16))], false);
    let segment = built.segment(0, (ReadMode::Mapped, ChecksumMode::EveryRead)).unwrap();
    for kind in [SectionKind::Ordinals, SectionKind::Rows] {
        let len = segment.sections.section(kind).len;
        assert!(segment.sections.slice(kind, 0, len).is_ok());
        for (start, len) in [(0, 0), (0, len + 1), (len, 1), (u64::MAX, 1)] {
            assert!(segment.sections.slice(kind, start, len).is_err(), "{start} {len}");
        }
    }
}
