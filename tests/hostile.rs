//! Hostile bytes with checksums that fit: every integer of logs, manifests and segment files set to extremes. Checksums are no defence here, so
//! what is read may be anything; but nothing panics, nothing hangs, and memory stays within a small multiple of the files.
//!
//! `VARVITE_DAMAGE=full` takes every byte as the start of a field instead of every 43rd.

#![cfg(feature = "fuzzing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use support::{
    damage::{Bench, Change},
    state::observe,
    subjects::{Subject, closed, frames, killed, nearest, options},
};
use varvite::{Database, fuzzing, io::memory::Memory};

/// Counts what is allocated.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator as it came; counting touches no memory of its blocks.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// One campaign at a time: the count is the process's.
static ALONE: Mutex<()> = Mutex::new(());

fn stride() -> usize {
    if std::env::var("VARVITE_DAMAGE").is_ok_and(|text| text == "full") { 1 } else { 43 }
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

struct Campaign<'a> {
    bench: Bench<'a>,
    name: &'a str,
    /// Memory that a directory of this size may take: a multiple of what the undamaged one takes.
    limit: usize,
    tried: u64,
    greatest: usize,
    slowest: Duration,
}

impl<'a> Campaign<'a> {
    fn new(subject: &'a Subject, name: &'a str) -> Self {
        let bench = Bench::new(subject);
        let mut campaign = Self { bench, name, limit: usize::MAX, tried: 0, greatest: 0, slowest: Duration::ZERO };
        campaign.case(&Change::new(), "undamaged");
        let files: usize = subject.files.values().map(|bytes| bytes.len()).sum();
        campaign.limit = 2 * campaign.greatest + 2 * files;
        campaign
    }

    fn case(&mut self, change: &Change, context: &str) {
        let directory = self.bench.directory(change);
        let before = NOW.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let begun = Instant::now();
        let result = catch_unwind(AssertUnwindSafe(|| read(&directory)));
        let (took, taken) = (begun.elapsed(), PEAK.load(Ordering::Relaxed).saturating_sub(before));
        assert!(result.is_ok(), "{}, {context}: panic", self.name);
        assert!(taken <= self.limit, "{}, {context}: {taken} bytes allocated, {} allowed", self.name, self.limit);
        assert!(took < Duration::from_secs(10), "{}, {context}: took {took:?}", self.name);
        self.tried += 1;
        self.greatest = self.greatest.max(taken);
        self.slowest = self.slowest.max(took);
    }

    /// Every place in a range as a field of each width, set to each value; `change` makes the directory of it.
    fn fields(&mut self, range: impl Iterator<Item = usize>, change: impl Fn(Vec<u8>) -> Option<Change>) {
        let bytes = Arc::clone(&self.bench.subject.files[self.name]);
        for offset in range {
            for width in [1, 2, 4, 8] {
                let mut original = [0; 8];
                let Some(field) = bytes.get(offset..offset + width) else { continue };
                original[..width].copy_from_slice(field);
                for value in values(u64::from_le_bytes(original), width, bytes.len()) {
                    let mut hostile = bytes.to_vec();
                    hostile[offset..offset + width].copy_from_slice(&value.to_le_bytes()[..width]);
                    if let Some(change) = change(hostile) {
                        self.case(&change, &format!("byte {offset}, u{} = {value}", width * 8));
                    }
                }
            }
        }
    }

    fn tell(self) {
        let Self { name, tried, greatest, limit, slowest, .. } = self;
        println!("{name}: {tried} tried, at most {greatest} bytes of {limit} allowed, slowest {slowest:?}");
        assert!(tried > 500);
    }
}

fn one(name: &str, bytes: Vec<u8>) -> Option<Change> {
    Some(Change::from([(name.to_owned(), Some(bytes))]))
}

fn file<'a>(subject: &'a Subject, kind: &str) -> &'a str {
    subject.files.keys().find(|name| name.starts_with(kind)).unwrap()
}

#[test]
fn a_signed_log() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let subject = killed();
    let name = subject.tail.clone().unwrap();
    let all = frames(&subject.files[&name]);
    let mut campaign = Campaign::new(&subject, &name);
    // Every field of the headers, of both activation records at once by their signature, and the bodies.
    let headers = all.iter().flat_map(|(at, _, _)| *at as usize..*at as usize + 24).step_by(stride() - stride() / 2);
    let end = all.last().unwrap().1 as usize;
    let bodies = (12_288..end).step_by(stride() * 4);
    let places = (8..60).step_by(4).chain((4096..4156).step_by(4)).chain(headers).chain(bodies);
    campaign.fields(places, |hostile| {
        let mut signed = fuzzing::resign_log(&hostile);
        // The second copy says the same, or the first would not be believed alone.
        signed.copy_within(4096..4160, 8192);
        one(&name, signed)
    });
    campaign.tell();
}

#[test]
fn a_signed_manifest() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let subject = closed();
    let name = file(&subject, "MANIFEST");
    let mut campaign = Campaign::new(&subject, name);
    let body = u64::from_le_bytes(subject.files[name][64..72].try_into().unwrap()) as usize;
    // The counters at the body's start wholly, the rest by stride.
    let places = (64..128).step_by(4).chain((8..80 + body).step_by(stride()));
    campaign.fields(places, |mut hostile| {
        let half = hostile.len() / 2;
        hostile.copy_within(..half, half);
        one(name, fuzzing::resign_manifest(&hostile))
    });
    campaign.tell();
}

#[test]
fn signed_segment_files() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let subject = closed();
    let manifest = file(&subject, "MANIFEST");
    for name in subject.files.keys().filter(|name| name.starts_with("seg-")) {
        let number: u64 = name[4..].parse().unwrap();
        let mut campaign = Campaign::new(&subject, name);
        let bytes = &subject.files[name];
        // Footers, tables and kill blocks densely, by where the writer puts them: the last kilobyte; all else by stride.
        let dense = (bytes.len() - 700..bytes.len()).step_by(stride().div_ceil(2));
        let places = (8..bytes.len() - 700).step_by(stride() * 10).chain(dense);
        campaign.fields(places, |hostile| {
            let signed = fuzzing::resign_segment(&hostile);
            let named = fuzzing::adopt_segment(&subject.files[manifest], number, &signed)?;
            Some(Change::from([(name.clone(), Some(signed)), (manifest.to_owned(), Some(named))]))
        });
        campaign.tell();
    }
}

#[test]
fn signing_what_is_unchanged_changes_nothing() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for subject in [closed(), killed()] {
        for (name, bytes) in &subject.files {
            let signed = match name.split('-').next().unwrap() {
                "log" => fuzzing::resign_log(bytes),
                "MANIFEST" => fuzzing::resign_manifest(bytes),
                "seg" => fuzzing::resign_segment(bytes),
                _ => continue,
            };
            // A spare has no activation record, and signing makes none valid.
            if !(name.starts_with("log") && bytes[4096] == 0) {
                assert!(signed == **bytes, "{}: {name}", subject.name);
            }
        }
        let db = Database::open_read_only_on(Arc::new(Bench::new(&subject).directory(&Change::new())), options()).unwrap();
        assert_eq!(observe(&db).unwrap(), *subject.legal.last().unwrap());
    }
}
