//! The meeting points of threads, in every order that the memory model allows: loom (Norris and Demsky, "CDSchecker", 2013) runs each model once for
//! each of them, up to a number of preemptions.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release -p varvite-models --target-dir target/loom -- --nocapture
//! ```
//!
//! The models are of the real engine, on the simulated disk, with as few threads and steps as the meeting needs.

#![cfg(all(loom, test))]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, reason = "a test may panic, and counts runs")]

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use loom::{model::Builder, thread};
use varvite::{Background, Collection, Database, Durability, Metric, Options, io::simulated::SimulatedDisk};

/// Runs a model in every order and tells how many there were.
fn explore(name: &str, body: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&runs);
    let mut builder = Builder::new();
    builder.max_branches = 100_000;
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        body();
    });
    println!("{name}: {} executions, at most {:?} preemptions, 0 violations", runs.load(Ordering::Relaxed), builder.preemption_bound);
}

fn database() -> (Database, Collection) {
    let options = Options { background: Background::Inline, durability: Durability::Buffered, ..Options::default() };
    let db = Database::open_on(Arc::new(SimulatedDisk::new(1)), options).unwrap();
    let docs = db.create_collection("docs", 1, Metric::L2).unwrap();
    (db, docs)
}

/// A batch of two records is seen whole or not at all, and what a snapshot showed stays.
#[test]
fn a_snapshot_beside_a_batch() {
    explore("a snapshot beside a batch", || {
        let (db, docs) = database();
        let writer = {
            let (db, docs) = (db.clone(), docs.clone());
            thread::spawn(move || {
                let mut batch = db.batch();
                batch.upsert(&docs, "a", &[1.0]).unwrap();
                batch.upsert(&docs, "b", &[1.0]).unwrap();
                batch.commit().unwrap();
            })
        };
        let snapshot = db.snapshot().unwrap().collection("docs").unwrap();
        let first = snapshot.contains("a").unwrap();
        assert_eq!(snapshot.contains("b").unwrap(), first, "half a batch");
        assert_eq!(snapshot.count().unwrap(), if first { 2 } else { 0 });
        writer.join().unwrap();
        assert_eq!(snapshot.contains("a").unwrap(), first, "a snapshot changed");
        assert_eq!(docs.count().unwrap(), 2);
    });
}

/// Two writers at once: one leads for both or each for itself, none is lost, none has the sequence of the other.
#[test]
fn two_writers_in_one_group() {
    explore("two writers in one group", || {
        let (db, docs) = database();
        let writer = {
            let docs = docs.clone();
            thread::spawn(move || docs.upsert("a", &[1.0]).unwrap().sequence())
        };
        let own = docs.upsert("b", &[2.0]).unwrap().sequence();
        let other = writer.join().unwrap();
        assert_eq!(own.abs_diff(other), 1, "sequences");
        assert_eq!(docs.count().unwrap(), 2);
        assert_eq!(db.snapshot().unwrap().sequence(), own.max(other));
    });
}

/// A record is read while the memtable that holds it is swapped and flushed: it is there all the time.
#[test]
fn a_read_beside_a_flush() {
    explore("a read beside a flush", || {
        let (db, docs) = database();
        docs.upsert("a", &[1.0]).unwrap();
        let flusher = thread::spawn(move || db.flush().unwrap());
        assert!(docs.contains("a").unwrap(), "gone while it was flushed");
        assert_eq!(docs.count().unwrap(), 1);
        flusher.join().unwrap();
        assert!(docs.contains("a").unwrap());
    });
}

/// A snapshot is read and dropped while the record that it shows is overwritten, flushed and merged: it shows the old one to the end.
#[test]
fn a_snapshot_released_beside_a_compaction() {
    explore("a snapshot released beside a compaction", || {
        let (db, docs) = database();
        docs.upsert("a", &[1.0]).unwrap();
        db.flush().unwrap();
        let snapshot = db.snapshot().unwrap();
        docs.upsert("a", &[2.0]).unwrap();
        let worker = thread::spawn(move || db.compact().unwrap());
        let row = snapshot.collection("docs").unwrap().get("a").unwrap().unwrap();
        drop(snapshot);
        assert_eq!(docs.get("a").unwrap().unwrap().first(), Some(&2.0));
        worker.join().unwrap();
        assert_eq!(row.first(), Some(&1.0), "a row that was read changed");
    });
}
