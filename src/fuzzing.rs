//! Entry points of the fuzz targets in `fuzz/` and of `tests/corpus.rs`. Not part of the API.
//!
//! The property of the decoders: no panic and no large allocation, whatever the bytes; raw, and with their checksums repaired, so that what lies
//! behind them is reached. The property of `operations`: the engine agrees with a map.

mod resign;

use std::collections::BTreeMap;

pub use resign::{adopt_segment, resign_floor, resign_log, resign_manifest, resign_segment};

use crate::{
    Background, Collection, Database, ErrorKind, Metric, Options, ReadMode,
    format::{
        batch::Operations,
        crc,
        identity::{FileKind, IDENTITY_BYTES, Identity},
        manifest::{FileEntry, LogEntry, Manifest, Sealed},
        segment_file::{FileFooter, TAIL_BYTES},
    },
    io::{
        Storage,
        memory::Memory,
        simulated::{CrashPlan, SimulatedDisk},
    },
    log::{self, LogEnd, Role},
    options::ChecksumMode,
    segment::{Segment, SegmentFile},
    sync::Arc,
    types::Dimension,
};

/// Writes the CRC of a range of bytes, behind a prefix, to a place; nothing if either lies outside.
fn sign(bytes: &mut [u8], prefix: &[u8], range: std::ops::Range<usize>, at: usize) {
    let Some(part) = bytes.get(range) else { return };
    let sum = crc(&[prefix, part].concat());
    if let Some(place) = bytes.get_mut(at..at.saturating_add(4)) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at.saturating_add(4)).and_then(|part| part.first_chunk::<4>()).map_or(0, |part| u32::from_le_bytes(*part) as usize)
}

/// Arbitrary bytes as a log file.
pub fn log(data: &[u8]) {
    read_log(data);
    read_log(&resign_log(data));
}

fn read_log(bytes: &[u8]) {
    let Ok(identity) = Identity::decode(bytes, FileKind::Log) else { return };
    let entry = LogEntry { number: identity.number, file: identity.file, sealed: None };
    let activated = log::activation(bytes, identity.database, &entry).is_ok_and(|activation| activation.is_some());
    let middle = bytes.len() as u64 / 16 * 8;
    for end in [LogEnd::Tail, LogEnd::Through(middle), LogEnd::Sealed(Sealed { end: middle, chain: 0 })] {
        let _damages = log::verify(bytes, identity.database, &entry, Role { activated, end, settled: true });
        let Ok(scanned) = log::scan(bytes, &entry, activated, end) else { continue };
        for batch in &scanned.batches {
            let mut operations = Operations::new(&batch.body);
            while let Ok(Some(_)) = operations.next(|_| Dimension::new(4).ok()) {}
        }
    }
    let salvaged = log::salvage(bytes, &entry, None);
    assert!(salvaged.batches.is_sorted_by_key(|batch| batch.sequence), "batches out of order");
}

/// Arbitrary bytes as a manifest.
pub fn manifest(data: &[u8]) {
    read_manifest(data);
    read_manifest(&resign_manifest(data));
}

fn read_manifest(bytes: &[u8]) {
    if let Ok(decoded) = Manifest::decode(bytes) {
        let again = Manifest::decode(&decoded.manifest.encode());
        assert!(
            again.is_ok_and(|again| again.manifest == decoded.manifest && again.damages.is_empty()),
            "a manifest changed when written again"
        );
    }
}

/// Arbitrary bytes as a segment file.
pub fn segment(data: &[u8]) {
    read_segments(data);
    read_segments(&resign_segment(data));
}

/// The footer's CRC stands twelve bytes before the end.
fn resign_footer(bytes: &mut [u8]) {
    let len = u32_at(bytes, bytes.len().saturating_sub(TAIL_BYTES));
    let (start, end) = (bytes.len().saturating_sub(len), bytes.len().saturating_sub(12));
    sign(bytes, &[], start..end, end);
}

fn footer_of(bytes: &[u8]) -> Option<(usize, FileFooter)> {
    let (len, _) = FileFooter::decode_tail(bytes.get(bytes.len().checked_sub(TAIL_BYTES)?..)?).ok()?;
    let start = bytes.len().checked_sub(len as usize)?;
    Some((start, FileFooter::decode(bytes.get(start..)?).ok()?))
}

fn read_segments(bytes: &[u8]) {
    let Ok(identity) = Identity::decode(bytes.get(..IDENTITY_BYTES).unwrap_or_default(), FileKind::Segment) else { return };
    let Some(tail) = bytes.len().checked_sub(TAIL_BYTES).and_then(|at| bytes.get(at..)) else { return };
    let Ok((_, footer_crc)) = FileFooter::decode_tail(tail) else { return };
    let storage = Memory::new();
    if storage.create("seg-00000001").and_then(|file| file.write_at(0, bytes)).is_err() {
        return;
    }
    let (origin_database, origin_number) = (identity.database, identity.number);
    let entry = FileEntry { number: 1, origin_database, origin_number, file: identity.file, len: bytes.len() as u64, footer_crc };
    let Ok(file) = SegmentFile::open(&storage, &entry, ReadMode::Mapped) else { return };
    let _damages = file.verify();
    for place in &file.footer().segments {
        let Ok(segment) = Segment::open_place(Arc::clone(&file), place, ChecksumMode::FirstTouch) else { continue };
        let mut id = Vec::new();
        for row in 0..segment.rows().min(1000) {
            if segment.id_of(row, &mut id).is_ok() {
                let _found = segment.find(&id);
                let _bound = segment.lower_bound(&id);
            }
            let _read = (segment.row(row), segment.ordinal(row), segment.payload(row));
        }
        let mut cursor = segment.cursor(0);
        for _ in 0..segment.rows().min(1000) {
            if let Ok(None) = cursor.advance() {
                break;
            }
            let _payload = cursor.payload().map(<[u8]>::len);
            let _vector = cursor.vector().map(<[u8]>::len);
        }
    }
}

/// Arbitrary bytes as operations, each two bytes, on a simulated disk, compared with a map after every crash and at the end.
///
/// Every write is synced, so a crash may take nothing back.
pub fn operations(data: &[u8]) {
    let options = || Options { background: Background::Inline, memtable_bytes: 4096, ..Options::default() };
    let mut disk = SimulatedDisk::new(data.len() as u64);
    let mut model: BTreeMap<Vec<u8>, f32> = BTreeMap::new();
    let Ok(mut db) = Database::open_on(Arc::new(disk.clone()), options()) else { return };
    let Ok(mut docs) = db.create_collection("docs", 2, Metric::L2) else { return };
    for pair in data.chunks_exact(2).take(400) {
        let [kind, argument] = pair else { continue };
        let id = vec![argument % 32 + 1];
        let value = f32::from(*argument) + f32::from(*kind) / 256.0;
        match kind % 16 {
            0..6 => {
                let written = docs.upsert(&id, &[value, 1.0]).map(drop);
                assert!(written.is_ok(), "upsert: {written:?}");
                model.insert(id, value);
            }
            6 | 7 => assert_eq!(docs.delete(&id).ok(), Some(model.remove(&id).is_some()), "delete {id:?}"),
            8 => match docs.insert(&id, &[value, 1.0]).map(drop) {
                Ok(()) => assert!(model.insert(id, value).is_none(), "insert took a present id"),
                Err(error) => assert!(error.kind() == ErrorKind::AlreadyExists && model.contains_key(&id), "insert: {error:?}"),
            },
            9 => assert!(db.flush().is_ok(), "flush"),
            10 => assert!(db.compact().is_ok(), "compact"),
            11 => assert_eq!(
                docs.get(&id).ok().map(|row| row.map(|row| row.first().copied())),
                Some(model.get(&id).map(|value| Some(*value)))
            ),
            12 => compare(&docs, &model),
            kind => {
                if kind != 13 {
                    disk.cut_power();
                }
                drop((docs, db));
                let plan = if kind == 13 { CrashPlan::KeepAll } else { CrashPlan::Random { seed: u64::from(*argument) } };
                disk = disk.crash(&plan);
                let opened = Database::open_on(Arc::new(disk.clone()), options()).and_then(|db| Ok((db.collection("docs")?, db)));
                assert!(opened.is_ok(), "reopen: {opened:?}");
                let Ok(reopened) = opened else { return };
                (docs, db) = reopened;
                compare(&docs, &model);
            }
        }
    }
    compare(&docs, &model);
}

fn compare(docs: &Collection, model: &BTreeMap<Vec<u8>, f32>) {
    let rows =
        docs.iter().and_then(|rows| rows.map(|row| row.map(|row| (row.id().to_vec(), row.first().copied().unwrap_or_default()))).collect());
    let expected: Vec<(Vec<u8>, f32)> = model.iter().map(|(id, value)| (id.clone(), *value)).collect();
    assert_eq!(rows.ok(), Some(expected));
    assert_eq!(docs.count().ok(), Some(model.len() as u64));
    let nearest = docs.search(&[0.0, 1.0], 3).map(|hits| hits.into_iter().map(|hit| hit.distance).collect::<Vec<_>>());
    let mut distances: Vec<f32> = model.values().map(|value| (f64::from(*value) * f64::from(*value)) as f32).collect();
    distances.sort_by(f32::total_cmp);
    distances.truncate(3);
    assert_eq!(nearest.ok(), Some(distances));
}
