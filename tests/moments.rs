//! What one thread sees while another changes views, loads, compacts, closes: whole moments, nothing between.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic"
)]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use varvite::{Background, Database, DuplicatePolicy, Durability, Fields, Metric, Options, Snapshot};

const ROUNDS: u32 = 2_000;

/// Runs `change` many times while other threads ask of snapshot after snapshot whether it is one moment.
fn beside_snapshots(db: &Database, is_whole: impl Fn(&Snapshot) -> bool + Sync, mut change: impl FnMut()) {
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut torn = 0_u32;
                    while !ended.load(Ordering::Relaxed) {
                        torn += u32::from(!is_whole(&db.snapshot().unwrap()));
                    }
                    torn
                })
            })
            .collect();
        (0..ROUNDS).for_each(|_| change());
        ended.store(true, Ordering::Relaxed);
        let torn: u32 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert_eq!(torn, 0, "snapshots that were no moment of the database");
    });
}

/// Simpler rule: install the view with what was loaded, then raise its sequence and count. A snapshot between the two has the rows but not
/// their count, and keeps it so.
#[test]
fn a_snapshot_has_all_of_a_bulk_load_or_nothing() {
    let db = Database::in_memory(Options { background: Background::Inline, ..Options::default() }).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    let is_whole = |snapshot: &Snapshot| {
        let docs = snapshot.collection("docs").unwrap();
        docs.contains("x").unwrap() == (docs.count().unwrap() == 1)
    };
    beside_snapshots(&db, is_whole, || {
        docs.bulk_load([("x", Fields::vector(&[1.0, 2.0]))], DuplicatePolicy::Refuse).unwrap();
        docs.delete("x").unwrap();
    });
}

/// Simpler rule: install the view with the new names, then raise its sequence. A snapshot between the two has half of the batch.
#[test]
fn a_snapshot_has_all_of_a_batch_that_renames_or_nothing() {
    let db = Database::in_memory(Options { background: Background::Inline, ..Options::default() }).unwrap();
    let docs = db.create_collection("empty", 2, Metric::L2).unwrap();
    let is_whole = |snapshot: &Snapshot| {
        let full = snapshot.collection("full").is_ok();
        let docs = snapshot.collection(if full { "full" } else { "empty" }).unwrap();
        docs.contains("x").unwrap() == full && (docs.count().unwrap() == 1) == full
    };
    beside_snapshots(&db, is_whole, || {
        let mut batch = db.batch();
        batch.insert(&docs, "x", &[1.0, 2.0]).unwrap().rename_collection("empty", "full").unwrap();
        batch.commit().unwrap();
        let mut batch = db.batch();
        batch.delete(&docs, "x").unwrap().rename_collection("full", "empty").unwrap();
        batch.commit().unwrap();
    });
}

/// A load that publishes gives its ordinals back while it flushes. Another load must not take them meanwhile.
#[test]
fn loads_at_the_same_time_share_no_ordinal() {
    let db = Database::in_memory(Options::default()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    thread::scope(|scope| {
        for writer in 0..4 {
            let docs = &docs;
            scope.spawn(move || {
                for round in 0..100 {
                    docs.insert(format!("{writer} {round}"), &[1.0, 2.0]).unwrap();
                    let ids = (0..5).map(|number| format!("{writer} {round} {number}"));
                    docs.bulk_load(ids.map(|id| (id, Fields::vector(&[1.0, 2.0]))), DuplicatePolicy::Refuse).unwrap();
                }
            });
        }
    });
    let ordinals: BTreeSet<u64> = docs.iter().unwrap().map(|row| row.unwrap().ordinal().unwrap()).collect();
    assert_eq!((docs.count().unwrap(), ordinals.len()), (2_400, 2_400));
}

/// No duration of the options is too long to be added to a moment.
#[test]
fn durations_may_be_endless() {
    let endless = Duration::MAX;
    let (durability, background) = (Durability::Interval(endless), Background::Threads);
    let options = Options { durability, background, idle_flush_after: endless, erase_after: endless, ..Options::default() };
    let db = Database::in_memory(options).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.insert("a", &[1.0, 2.0]).unwrap();
    docs.delete("a").unwrap();
    docs.insert("a", &[3.0, 4.0]).unwrap();
    db.close().unwrap();
}
