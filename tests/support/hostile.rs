//! Hostile bytes with checksums that fit: every integer of every file set to extremes. What is read may be anything
//! then; but nothing panics, nothing hangs, and memory stays within a small multiple of what the undamaged directory takes.
//!
//! Needs the feature `fuzzing`.
#![allow(unreachable_pub, reason = "shared by two crates")]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use varvite::{Database, fuzzing, io::memory::Memory};

use crate::support::{
    counting::peak_of,
    damage::{Bench, Change},
    subjects::{Subject, frames, nearest, options},
};

/// A file, and the places in it that are taken for fields.
pub struct Target {
    pub name: String,
    pub places: Vec<usize>,
}

fn target(name: &str, places: impl Iterator<Item = usize>) -> Target {
    Target { name: name.to_owned(), places: places.collect() }
}

/// All files of a subject. With stride 1 every fourth byte; headers, footers and the counters of manifests densely whatever the stride.
pub fn targets(subject: &Subject, stride: usize) -> Vec<Target> {
    let identity = || (8..60).step_by(4);
    let mut targets = Vec::new();
    for (name, bytes) in &subject.files {
        let (kind, len) = (name.split('-').next().unwrap_or_default(), bytes.len());
        match kind {
            "FLOOR" => targets.push(target(name, identity())),
            "LOCK" => targets.push(target(name, identity().chain((64..136).step_by(4)).chain((1024..1076).step_by(4)))),
            "log" => {
                // Every field of the headers, of both activation records at once by their signature, and the bodies.
                let all = frames(bytes);
                let headers = all.iter().flat_map(|(at, _, _)| *at as usize..*at as usize + 24).step_by(stride.div_ceil(2));
                let bodies = (12_288..all.last().map_or(12_288, |(_, end, _)| *end as usize)).step_by(stride * 4);
                targets.push(target(name, identity().chain((4096..4156).step_by(4)).chain(headers).chain(bodies)));
            }
            "MANIFEST" => {
                let body = u64::from_le_bytes(bytes[64..72].try_into().unwrap()) as usize;
                targets.push(target(name, (64..128).step_by(4).chain((8..80 + body).step_by(stride))));
            }
            "seg" => {
                // Footers, tables and kill blocks stand in the last kilobyte.
                let dense = (len - 700..len).step_by(stride.div_ceil(2));
                targets.push(target(name, (8..len - 700).step_by(if stride == 1 { 4 } else { stride * 10 }).chain(dense)));
            }
            _ => {}
        }
    }
    targets
}

/// A changed file with all its checksums right, and what else must name it; `None` if the writer could never have made such a file.
fn signed(subject: &Subject, name: &str, mut hostile: Vec<u8>) -> Option<Change> {
    let one = |bytes: Vec<u8>| Some(Change::from([(name.to_owned(), Some(bytes))]));
    match name.split('-').next().unwrap_or_default() {
        "FLOOR" => {
            // The second slot says the same, or the first would not be believed alone.
            hostile.copy_within(..64, 4096);
            one(fuzzing::resign_floor(&hostile))
        }
        "LOCK" => one(fuzzing::resign_lock(&hostile)),
        "log" => {
            let mut signed = fuzzing::resign_log(&hostile);
            signed.copy_within(4096..4160, 8192);
            one(signed)
        }
        "MANIFEST" => {
            let half = hostile.len() / 2;
            hostile.copy_within(..half, half);
            one(fuzzing::resign_manifest(&hostile))
        }
        _ => {
            let number: u64 = name[4..].parse().unwrap();
            let manifest = subject.files.keys().find(|name| name.starts_with("MANIFEST")).unwrap();
            let signed = fuzzing::resign_segment(&hostile);
            let named = fuzzing::adopt_segment(&subject.files[manifest], number, &signed)?;
            Some(Change::from([(name.to_owned(), Some(signed)), (manifest.clone(), Some(named))]))
        }
    }
}

/// What a field is set to: extremes, and the boundaries of what it was and of the file.
fn values(original: u64, width: usize, file_len: usize) -> Vec<u64> {
    let max = if width == 8 { u64::MAX } else { (1 << (width * 8)) - 1 };
    let len = file_len as u64;
    let all = [0, 1, max, max - 1, max / 2, max / 2 + 1, original.wrapping_add(1), original.wrapping_sub(1), len, len - 1, len + 1];
    let mut values: Vec<u64> = all.into_iter().filter(|value| *value <= max && *value != original).collect();
    values.sort_unstable();
    values.dedup();
    values
}

/// Tries everything at a place as a field of each width, set to each value.
pub fn try_place(limits: &mut Limits<'_>, name: &str, offset: usize) {
    let subject = limits.bench.subject;
    let bytes = Arc::clone(&subject.files[name]);
    for width in [1, 2, 4, 8] {
        let mut original = [0; 8];
        let Some(field) = bytes.get(offset..offset + width) else { continue };
        original[..width].copy_from_slice(field);
        for value in values(u64::from_le_bytes(original), width, bytes.len()) {
            let mut hostile = bytes.to_vec();
            hostile[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
            if let Some(change) = signed(subject, name, hostile) {
                limits.case(&change, &format!("{name}, byte {offset}, u{} = {value}", width * 8));
            }
        }
    }
}

/// Reads changed directories wholly, within limits.
pub struct Limits<'a> {
    pub bench: Bench<'a>,
    /// Memory that a directory may take: twice what the undamaged one takes, and twice its files.
    pub limit: usize,
    pub tried: u64,
    pub greatest: usize,
    pub slowest: Duration,
}

impl<'a> Limits<'a> {
    pub fn new(subject: &'a Subject) -> Self {
        let bench = Bench::new(subject);
        let mut limits = Self { bench, limit: usize::MAX, tried: 0, greatest: 0, slowest: Duration::ZERO };
        limits.case(&Change::new(), "undamaged");
        let files: usize = subject.files.values().map(|bytes| bytes.len()).sum();
        limits.limit = 2 * limits.greatest + 2 * files;
        limits
    }

    fn case(&mut self, change: &Change, context: &str) {
        let directory = self.bench.directory(change);
        let begun = Instant::now();
        let (result, taken) = peak_of(|| catch_unwind(AssertUnwindSafe(|| read(&directory))));
        let took = begun.elapsed();
        assert!(result.is_ok(), "{context}: panic");
        assert!(taken <= self.limit, "{context}: {taken} bytes allocated, {} allowed", self.limit);
        assert!(took < Duration::from_secs(10), "{context}: took {took:?}");
        self.tried += 1;
        self.greatest = self.greatest.max(taken);
        self.slowest = self.slowest.max(took);
    }
}

/// Reads everything that can be read, in every way; results do not matter.
fn read(directory: &Memory) {
    let verified = Database::verify_on(directory, &options());
    drop(verified);
    if let Ok(db) = Database::open_read_only_on(Arc::new(directory.clone()), options()) {
        use_database(&db);
    }
    if let Ok(db) = Database::open_on(Arc::new(directory.clone()), options()) {
        use_database(&db);
        let _compacted = db.compact();
    }
    let _repaired = Database::repair_on(directory, Arc::new(Memory::new()), options());
}

fn use_database(db: &Database) {
    // `observe` compares counts with rows, which hostile bytes may make differ: only panics of the engine count.
    let Ok(collections) = db.list_collections() else { return };
    for info in collections {
        let Ok(collection) = db.collection(&info.name) else { continue };
        let _hits = nearest(db, &info.name);
        let Ok(rows) = collection.iter() else { continue };
        for row in rows.take(2000).flatten() {
            let _record = row.to_record();
            let _found = collection.get(row.id()).map(|found| found.is_some());
        }
        let _last = collection.iter().ok().and_then(|mut rows| rows.next_back());
    }
}
