use proptest::prelude::*;

use super::{
    BODY_BYTES_MAX, BODY_OFFSET, CollectionEntry, FileEntry, KillEntry, LogEntry, Manifest, Reader, Sealed, SegmentEntry, read_lengths,
};
use crate::error::ErrorKind;
use crate::format::testing::{cuts, flips, hex, patched};
use crate::format::{crc, kills};
use crate::types::{Codes, Dimension, FileId, Metric};

const GOLDEN: &str = "
    565256544d414e490100000000000000d0d1d2d3d4d5d6d7d8d9dadbdcdddedf030000000000000000000000000000000000000000000000
    00000000dca81aa91c01000000000000f59c08259c4025750a00000000000000060000000000000003000000000000000200000002000000
    0100000000000000101112131415161718191a1b1c1d1e1f014030000000000000443322110200000000000000202122232425262728292a
    2b2c2d2e2f00000000000000000000000000010000000500000000000000d0d1d2d3d4d5d6d7d8d9dadbdcdddedf05000000000000002021
    22232425262728292a2b2c2d2e2f0011000000000000887766550100000001000000020000000100000004000000000000000400646f6373
    01000000010000000200000000000000050000000000000040000000000000000010000000000000ccbbaa996400000001000000803bb16a
    00000000050000000000000040100000000000001c00000000ffeedd";

fn numbered(first: u8) -> FileId {
    FileId(std::array::from_fn(|index| first + index as u8))
}

fn sample() -> Manifest {
    let kills = KillEntry { count: 1, deleted_since: 1_790_000_000, file: 5, offset: 4160, len: 28, crc: 0xDDEE_FF00 };
    let segment = SegmentEntry { id: 2, file: 5, offset: 64, len: 4096, footer_crc: 0x99AA_BBCC, rows: 100, kills: Some(kills) };
    let collection = CollectionEntry {
        id: 1,
        dimension: Dimension::new(2).unwrap(),
        metric: Metric::Cosine,
        codes: Codes::None,
        next_ordinal: 4,
        name: "docs".into(),
        runs: vec![vec![segment]],
    };
    Manifest {
        database: numbered(0xD0),
        number: 3,
        flushed_through: 10,
        next_file: 6,
        next_segment: 3,
        next_collection: 2,
        logs: vec![
            LogEntry { number: 1, file: numbered(0x10), sealed: Some(Sealed { end: 12_352, chain: 0x1122_3344 }) },
            LogEntry { number: 2, file: numbered(0x20), sealed: None },
        ],
        files: vec![FileEntry {
            number: 5,
            origin_database: numbered(0xD0),
            origin_number: 5,
            file: numbered(0x20),
            len: 4352,
            footer_crc: 0x5566_7788,
        }],
        collections: vec![collection],
    }
}

/// A file whose body was changed on purpose, with checksums that fit.
fn resealed(patches: &[(usize, &[u8])]) -> Vec<u8> {
    let mut copy = hex(GOLDEN);
    for (offset, patch) in patches {
        copy = patched(&copy, *offset, patch);
    }
    let sum = crc(&copy[80..]);
    copy = patched(&copy, 72, &sum.to_le_bytes());
    copy = patched(&copy, 76, &crc(&copy[64..76]).to_le_bytes());
    copy.resize(4096, 0);
    copy.repeat(2)
}

#[test]
fn golden() {
    let bytes = sample().encode();
    let golden = hex(GOLDEN);
    assert_eq!(bytes.len(), 8192);
    for copy in bytes.chunks(4096) {
        assert_eq!(copy[..golden.len()], golden);
        assert!(copy[golden.len()..].iter().all(|&byte| byte == 0));
    }
    let decoded = Manifest::decode(&bytes).unwrap();
    assert_eq!(decoded.manifest, sample());
    assert!(decoded.damages.is_empty(), "{:?}", decoded.damages);
}

#[test]
fn one_damaged_byte_is_reported_and_costs_nothing() {
    for (index, damaged) in flips(&sample().encode()) {
        let decoded = Manifest::decode(&damaged).unwrap();
        assert_eq!(decoded.manifest, sample(), "byte {index}");
        assert!(!decoded.damages.is_empty(), "byte {index}");
        let copy = index as u64 / 4096;
        let offsets = decoded.damages.iter().map(|error| error.offset());
        assert!(offsets.clone().all(|offset| offset.is_some_and(|at| at / 4096 == copy)), "byte {index}: {:?}", decoded.damages);
    }
}

/// What is read in parts is what the whole file says, and however long the file is, no more is read than its copies account for.
#[test]
fn reading_in_parts_gives_the_same() {
    let read = |bytes: &[u8], len: u64| {
        let part = |offset: u64, part: u64| {
            assert!(part <= 2 * 8192 && offset + part <= len, "{part} of {len} bytes from {offset} on");
            let (start, end) = (offset as usize, (offset + part) as usize);
            let mut read = bytes[start.min(bytes.len())..end.min(bytes.len())].to_vec();
            read.resize(part as usize, 0);
            Ok(read)
        };
        Manifest::read(len, part)
    };
    let whole = sample().encode();
    let longer = [&*whole, &[0; 4096]].concat();
    let changed = flips(&whole).map(|(_, bytes)| bytes).chain(cuts(&whole).map(<[u8]>::to_vec)).chain([whole.clone(), longer]);
    for bytes in changed {
        match (read(&bytes, bytes.len() as u64), Manifest::decode(&bytes)) {
            (Ok(in_parts), Ok(whole)) => {
                assert!(in_parts.manifest == whole.manifest);
                assert_eq!(format!("{:?}", in_parts.damages), format!("{:?}", whole.damages), "{}", bytes.len());
            }
            (in_parts, whole) => assert_eq!(format!("{in_parts:?}"), format!("{whole:?}"), "{}", bytes.len()),
        }
    }
    for (at, is_read) in [(0, true), (64, false), (90, true), (4096 + 90, true)] {
        let damaged = patched(&whole, at, &[whole[at] ^ 4]);
        match read(&damaged, 1 << 40) {
            Ok(decoded) => assert!(is_read && decoded.damages.last().unwrap().to_string().contains("1099511627776 bytes long, not 8192")),
            Err(error) => assert!(!is_read && error.to_string().contains("checksum of the body length"), "{at}: {error}"),
        }
    }
    // The head of the second copy is cut short, and the first does not tell.
    let damaged = patched(&whole, 64, &[whole[64] ^ 4]);
    for end in 4096..4096 + BODY_OFFSET {
        assert!(read(&damaged[..end], end as u64).is_err(), "{end}");
    }
    // A later version may have its lengths elsewhere: that is told, not damage.
    let mut newer = patched(&patched(&damaged, 4096 + 64, &[0xFF; 16]), 4096 + 8, &[9]);
    newer = patched(&newer, 4096 + 60, &crc(&newer[4096..4096 + 60]).to_le_bytes());
    let error = read(&newer, newer.len() as u64).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::NewerFormat, Some(4096 + 8)), "{error}");
    let endless = (1_u64 << 40).to_le_bytes();
    let forged = patched(&whole, 64, &endless);
    let forged = patched(&forged, 76, &crc(&forged[64..76]).to_le_bytes());
    assert!(read(&forged, 1 << 41).unwrap_err().to_string().contains("no manifest is that long"));
}

#[test]
fn a_surplus_behind_the_second_copy_is_told_when_the_first_is_damaged() {
    let whole = sample().encode();
    let damaged = [&*patched(&whole, 100, &[whole[100] ^ 4]), &[0]].concat();
    let told: Vec<String> = Manifest::decode(&damaged).unwrap().damages.iter().map(ToString::to_string).collect();
    assert!(told.len() == 2 && told[1].contains("8193 bytes long, not 8192"), "{told:?}");
}

#[test]
fn no_body_is_longer_than_its_limit() {
    let lengths = |len: u64| {
        let lengths = [&len.to_le_bytes()[..], &[0; 4]].concat();
        [&*lengths, &crc(&lengths).to_le_bytes()].concat()
    };
    assert_eq!(read_lengths(&mut Reader::new(&lengths(BODY_BYTES_MAX))).unwrap(), (BODY_BYTES_MAX, 0));
    assert_eq!(read_lengths(&mut Reader::new(&lengths(BODY_BYTES_MAX + 1))).unwrap_err().offset(), Some(80));
}

#[test]
fn damage_in_both_copies_is_an_error() {
    let bytes = sample().encode();
    for index in 0..hex(GOLDEN).len() {
        let damaged = patched(&patched(&bytes, index, &[bytes[index] ^ 4]), 4096 + 200, &[0xFF]);
        assert_eq!(Manifest::decode(&damaged).unwrap_err().kind(), ErrorKind::Corruption, "byte {index}");
    }
}

#[test]
fn every_cut_is_reported() {
    let used = hex(GOLDEN).len();
    for cut in cuts(&sample().encode()) {
        match Manifest::decode(cut) {
            Ok(decoded) => assert!(cut.len() >= used && decoded.manifest == sample() && !decoded.damages.is_empty(), "{}", cut.len()),
            Err(error) => assert!(cut.len() < used, "{}: {error}", cut.len()),
        }
    }
    for longer in [1, 4096, 8192] {
        let decoded = Manifest::decode(&[sample().encode(), vec![0; longer]].concat()).unwrap();
        assert_eq!(decoded.manifest, sample());
        assert_eq!(decoded.damages.last().and_then(|error| error.offset()), Some(8192));
    }
}

#[test]
fn copies_that_differ_are_reported() {
    let other = Manifest { flushed_through: 11, ..sample() };
    let bytes = [&sample().encode()[..4096], &other.encode()[4096..]].concat();
    let decoded = Manifest::decode(&bytes).unwrap();
    assert_eq!(decoded.manifest, sample());
    assert!(decoded.damages[0].to_string().contains("copies"), "{:?}", decoded.damages);
}

#[test]
fn newer_version_is_named_even_beside_damage() {
    let mut newer = patched(&sample().encode()[..4096], 8, &[2]);
    newer = patched(&newer, 60, &crc(&newer[..60]).to_le_bytes());
    for bytes in [newer.repeat(2), [vec![0; 4096], newer].concat()] {
        assert_eq!(Manifest::decode(&bytes).unwrap_err().kind(), ErrorKind::NewerFormat);
        let part = |offset: u64, len: u64| Ok(bytes[offset as usize..(offset + len) as usize].to_vec());
        assert_eq!(Manifest::read(bytes.len() as u64, part).unwrap_err().kind(), ErrorKind::NewerFormat);
    }
}

#[test]
fn hostile_counts_are_refused_where_they_stand() {
    for offset in [108, 186, 250, 280, 284] {
        let error = Manifest::decode(&resealed(&[(offset, &[0xFF; 4])])).unwrap_err();
        assert_eq!(error.offset(), Some(offset as u64), "{error}");
    }
    let length = patched(&sample().encode(), 64, &[0xFF; 8]);
    let length = patched(&length, 76, &crc(&length[64..76]).to_le_bytes());
    let decoded = Manifest::decode(&length).unwrap();
    assert_eq!((decoded.manifest, decoded.damages[0].offset()), (sample(), Some(80)));
}

#[test]
fn impossible_fields_are_refused_where_they_stand() {
    for (offset, patch, named) in [
        (136, 2_u8, 136),
        (136, 0, 137),
        (174, 1, 174),
        (260, 1, 258),
        (258, 0, 258),
        (262, 3, 262),
        (263, 2, 263),
        (264, 1, 264),
        (265, 1, 265),
        (276, b'/', 274),
        (276, 0xFF, 274),
        (328, 0, 328),
    ] {
        let error = Manifest::decode(&resealed(&[(offset, &[patch])])).unwrap_err();
        assert_eq!(error.offset(), Some(named), "byte {offset}: {error}");
    }
    let with_codes = Manifest::decode(&resealed(&[(263, &[1])])).unwrap().manifest;
    assert_eq!(with_codes.collections[0].codes, Codes::Int8);
    let none = Manifest::decode(&resealed(&[(328, &[0; 36])])).unwrap().manifest;
    assert_eq!(none.collections[0].runs[0][0].kills, None);
}

#[test]
fn what_contradicts_itself_is_refused() {
    for (patches, named) in [
        (vec![(88, 5_u8)], "next_file"),
        (vec![(190, 0), (296, 0), (340, 0)], "file number 0"),
        (vec![(190, 1), (296, 1), (340, 1)], "not unique"),
        (vec![(149, 1)], "not unique"),
        (vec![(214, 0)], "origin number"),
        (vec![(138, 0)], "cannot end"),
        (vec![(137, 0x44)], "cannot end"),
        (vec![(137, 0)], "cannot end"),
        (vec![(104, 1)], "next_collection"),
        (vec![(254, 0)], "collection id 0"),
        (vec![(96, 2)], "next_segment"),
        (vec![(296, 4)], "not named"),
        (vec![(340, 4)], "not named"),
        (vec![(304, 0)], "cannot stand"),
        (vec![(304, 72)], "cannot stand"),
        (vec![(311, 0xFF)], "cannot stand"),
        (vec![(319, 0xFF)], "cannot stand"),
        (vec![(313, 0x11)], "cannot stand"),
        (vec![(238, 0x40), (239, 0x10)], "cannot stand"),
        (vec![(324, 0)], "no rows"),
        (vec![(328, 101)], "only 100"),
        (vec![(328, 2)], "kill block"),
        (vec![(356, 29)], "kill block"),
    ] {
        let borrowed: Vec<(usize, &[u8])> = patches.iter().map(|(offset, byte)| (*offset, std::slice::from_ref(byte))).collect();
        let error = Manifest::decode(&resealed(&borrowed)).unwrap_err();
        assert!(error.kind() == ErrorKind::Corruption && error.to_string().contains(named), "{patches:?}: {error}");
    }
}

#[test]
fn repeated_and_unordered_entries_are_refused() {
    let mut base = Manifest { next_collection: 9, next_segment: 9, next_file: 9, ..sample() };
    base.collections[0].runs.clear();
    base.collections.push(CollectionEntry { id: 2, name: "more".into(), ..base.collections[0].clone() });
    base.files.push(FileEntry { number: 6, ..base.files[0].clone() });
    base.check().unwrap();
    let segment = SegmentEntry { kills: None, ..sample().collections[0].runs[0][0] };
    type Change = fn(&mut Manifest, SegmentEntry);
    let cases: [(&str, Change); 5] = [
        ("collection ids do not ascend", |manifest, _| manifest.collections.reverse()),
        ("collection ids do not ascend", |manifest, _| manifest.collections[1].id = 1),
        ("collection names are not unique", |manifest, _| manifest.collections[1].name = "docs".into()),
        ("file numbers do not ascend", |manifest, _| manifest.files.reverse()),
        ("segment ids are not unique", |manifest, segment| {
            manifest.collections.iter_mut().for_each(|collection| collection.runs = vec![vec![segment]]);
        }),
    ];
    for (named, change) in cases {
        let mut manifest = base.clone();
        change(&mut manifest, segment);
        let error = manifest.check().unwrap_err().to_string();
        assert!(error.contains(named), "{named}: {error}");
    }
}

#[test]
fn logs_that_were_in_use_are_the_first_and_the_one_behind_sealed_ones() {
    // 1 is sealed, 2 is open.
    let mut manifest = sample();
    manifest.logs.push(LogEntry { number: 3, ..manifest.logs[1].clone() });
    assert_eq!([1, 2, 3, 4].map(|log| manifest.is_settled(log)), [true, true, false, false]);
    manifest.logs.remove(0);
    assert_eq!([2, 3].map(|log| manifest.is_settled(log)), [true, false]);
}

#[test]
fn every_row_of_a_segment_may_be_dead() {
    let mut manifest = sample();
    let entry = manifest.collections[0].runs[0][0].kills.as_mut().unwrap();
    entry.count = 100;
    entry.len = kills::block_bytes(100, 100) as u32;
    manifest.check().unwrap();
}

#[test]
fn counters_keep_room_to_count_on() {
    type Counter = fn(&mut Manifest) -> &mut u64;
    let counters: [(&str, Counter); 4] = [
        ("number", |manifest| &mut manifest.number),
        ("flushed_through", |manifest| &mut manifest.flushed_through),
        ("next_file", |manifest| &mut manifest.next_file),
        ("next_segment", |manifest| &mut manifest.next_segment),
    ];
    let highest = u64::MAX - (1 << 32);
    for (name, counter) in counters {
        let mut manifest = sample();
        *counter(&mut manifest) = highest;
        manifest.check().unwrap();
        for beyond in [highest + 1, u64::MAX] {
            *counter(&mut manifest) = beyond;
            let error = manifest.check().unwrap_err().to_string();
            assert!(error.contains(&format!("{name} {beyond} is beyond")), "{error}");
        }
    }
    let last = Manifest { next_collection: u32::MAX - 1, ..sample() };
    last.check().unwrap();
    let error = Manifest { next_collection: u32::MAX, ..last }.check().unwrap_err().to_string();
    assert!(error.contains("no collection id is left"), "{error}");
}

/// Numbers that keep all the rules: files at 3i + 1, logs at 3i + 2, segments of both kinds in turn.
fn consistent(
    logs: &[Option<(u32, u32)>],
    file_ids: &[[u8; 16]],
    collections: &[(Vec<Vec<u32>>, usize, u64)],
    database: [u8; 16],
) -> Manifest {
    let file = |(index, &id): (usize, &[u8; 16])| FileEntry {
        number: 3 * index as u64 + 1,
        origin_database: FileId(id),
        origin_number: index as u64 + 7,
        file: FileId(id),
        len: 1 << 40,
        footer_crc: crc(&id),
    };
    let log = |(index, sealed): (usize, &Option<(u32, u32)>)| LogEntry {
        number: 3 * index as u64 + 2,
        file: FileId([index as u8; 16]),
        sealed: sealed.map(|(frames, chain)| Sealed { end: 12_288 + 8 * (u64::from(frames) + 1), chain }),
    };
    let mut segments = 0_u64..;
    let mut segment = |rows: u32| {
        let id = segments.next().unwrap();
        let file = 3 * (id % file_ids.len() as u64) + 1;
        let count = rows / 3;
        let len = kills::block_bytes(rows, count) as u32;
        let kills = (count > 0).then_some(KillEntry { count, deleted_since: id, file, offset: 128 * (id + 1), len, crc: rows });
        SegmentEntry { id, file, offset: 64 * (id + 1), len: 1 << 20, footer_crc: rows, rows, kills }
    };
    let mut collection = |(index, (runs, elements, next_ordinal)): (usize, &(Vec<Vec<u32>>, usize, u64))| CollectionEntry {
        id: 5 * index as u32 + 1,
        dimension: Dimension::new(*elements).unwrap(),
        metric: Metric::ALL[index % 3],
        codes: Codes::ALL[index % 2],
        next_ordinal: *next_ordinal,
        name: format!("collection {index}"),
        runs: runs.iter().map(|run| run.iter().map(|&rows| segment(rows)).collect()).collect(),
    };
    let collections = collections.iter().enumerate().map(&mut collection).collect();
    Manifest {
        database: FileId(database),
        number: 9,
        flushed_through: 77,
        next_file: 3 * logs.len().max(file_ids.len()) as u64 + 3,
        next_segment: 1 << 20,
        next_collection: 1 << 20,
        logs: logs.iter().enumerate().map(log).collect(),
        files: file_ids.iter().enumerate().map(file).collect(),
        collections,
    }
}

fn run() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(1..u32::MAX / 64, 0..4)
}

proptest! {
    #[test]
    fn round_trip(
        logs in prop::collection::vec(any::<Option<(u32, u32)>>(), 0..4),
        file_ids in prop::collection::vec(any::<[u8; 16]>(), 1..6),
        collections in prop::collection::vec((prop::collection::vec(run(), 0..4), 1..=65_535_usize, any::<u64>()), 0..30),
        database: [u8; 16],
    ) {
        let manifest = consistent(&logs, &file_ids, &collections, database);
        let bytes = manifest.encode();
        prop_assert_eq!(bytes.len() % 8192, 0);
        let decoded = Manifest::decode(&bytes).unwrap();
        prop_assert_eq!(&decoded.manifest, &manifest);
        prop_assert!(decoded.damages.is_empty());
        let second = Manifest::decode(&patched(&bytes, 100, &[!bytes[100]])).unwrap();
        prop_assert_eq!(second.manifest, manifest);
    }

    #[test]
    fn any_body_is_survived(offset in 80..360_usize, patch in prop::collection::vec(any::<u8>(), 1..4)) {
        if let Ok(decoded) = Manifest::decode(&resealed(&[(offset, &patch)])) {
            prop_assert_eq!(decoded.manifest.encode(), resealed(&[(offset, &patch)]));
        }
    }
}
