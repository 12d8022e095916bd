//! A checkpoint taken under load is one moment: a database of its own that verifies, holds every batch acknowledged before it began, and no
//! batch without those before it.

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
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use support::{Random, state::observe};
use varvite::{Collection, Database, Durability, Metric, Options};

const WRITERS: usize = 3;
const SEED: u64 = 0x5EED_00CC;

fn options() -> Options {
    Options { memtable_bytes: 400_000, erase_after: Duration::from_secs(1), ..Options::default() }
}

/// Each batch carries its number in both collections, how many batches of the others were acknowledged when it was issued, and churn.
fn write(db: &Database, handles: &[Collection; 2], writer: usize, number: u64, others: &[u64], random: &mut Random) {
    let mut batch = db.batch();
    batch.durability(if random.below(4) == 0 { Durability::Synced } else { Durability::Buffered });
    let known: Vec<f32> = std::iter::once(number).chain(others.iter().copied()).map(|number| number as f32).collect();
    for handle in handles {
        batch.upsert(handle, format!("writer-{writer}"), &known).unwrap();
        for _ in 0..4 {
            let id = format!("{}-{writer}", random.below(200));
            if random.below(3) == 0 {
                batch.delete(handle, id).unwrap();
            } else {
                let fields =
                    varvite::Fields::from(vec![number as f32; WRITERS + 1]).with_document("churn ".repeat(random.below(60) as usize));
                batch.upsert(handle, id, fields).unwrap();
            }
        }
    }
    batch.commit().unwrap();
}

/// What a copy holds of each writer, after all checks.
fn examine(copy: &Path, base: u64) -> Vec<u64> {
    let report = Database::verify(copy, options()).unwrap();
    assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
    let db = Database::open(copy, options()).unwrap();
    let read = |name: &str, writer: usize| -> Vec<u64> {
        let row = db.collection(name).unwrap().get(format!("writer-{writer}")).unwrap();
        row.map_or(vec![0; WRITERS + 1], |row| row.iter().map(|element| *element as u64).collect())
    };
    let counters: Vec<Vec<u64>> = (0..WRITERS).map(|writer| read("a", writer)).collect();
    for (writer, counter) in counters.iter().enumerate() {
        assert_eq!(*counter, read("b", writer), "half a batch of writer {writer} is in the copy");
        for (other, known) in counter[1..].iter().enumerate() {
            assert!(*known <= counters[other][0], "batch {known} of writer {other} was there before one that is in the copy, but is not");
        }
    }
    let batches: u64 = counters.iter().map(|counter| counter[0]).sum();
    assert_eq!(db.snapshot().unwrap().sequence(), base + batches, "a batch is missing in the middle");
    // It is a database like any other, and its source is not touched by what is done to it.
    let state = observe(&db).unwrap();
    db.compact().unwrap();
    assert!(observe(&db).unwrap() == state);
    db.collection("a").unwrap().upsert("own", &[0.0; WRITERS + 1]).unwrap();
    db.close().unwrap();
    counters.iter().map(|counter| counter[0]).collect()
}

fn under_load(copies: &Path, rounds: u64) {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db"), options()).unwrap();
    let handles = ["a", "b"].map(|name| db.create_collection(name, WRITERS + 1, Metric::L2).unwrap());
    let base = db.snapshot().unwrap().sequence();
    let (stop, numbers) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; WRITERS]);
    let now = || -> Vec<u64> { numbers.iter().map(|number| number.load(Ordering::SeqCst)).collect() };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (db, handles, stop, numbers, now) = (&db, &handles, &stop, &numbers, &now);
            scope.spawn(move || {
                let mut random = Random(SEED + writer as u64);
                for number in 1.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    write(db, handles, writer, number, &now(), &mut random);
                    numbers[writer].store(number, Ordering::SeqCst);
                }
            });
        }
        // Stops the writers also when a check below panics.
        let stopping = Stop(&stop);
        for round in 0..rounds {
            std::thread::sleep(Duration::from_millis(40));
            let copy = copies.join(format!("copy-{round}"));
            let before = now();
            db.checkpoint(&copy).unwrap();
            let after = now();
            let there = examine(&copy, base);
            println!("seed {SEED:#x}: {before:?} acknowledged, {there:?} in the copy, {after:?} acknowledged after it");
            for writer in 0..WRITERS {
                assert!(before[writer] <= there[writer], "an acknowledged batch of writer {writer} is not in the copy");
                assert!(there[writer] <= after[writer] + 1, "a batch of writer {writer} came from the future");
            }
        }
        drop(stopping);
    });
    assert!(now().iter().all(|number| *number > rounds), "the writers stood still: {:?}", now());
    let state = observe(&db).unwrap();
    assert!(!state["a"].rows.contains_key(&b"own"[..]), "a copy wrote into its source");
    db.close().unwrap();
    let report = Database::verify(place.path().join("db"), options()).unwrap();
    assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn a_checkpoint_under_load_is_one_moment() {
    let copies = tempfile::tempdir().unwrap();
    under_load(copies.path(), 8);
}

/// Where files cannot be linked they are copied while compaction removes them.
#[test]
fn a_checkpoint_under_load_onto_another_device_is_one_moment() {
    let Ok(copies) = tempfile::tempdir_in("/dev/shm") else {
        println!("SKIPPED: there is no /dev/shm");
        return;
    };
    under_load(copies.path(), 5);
}
