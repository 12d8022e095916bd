//! Bulk loads: what is written as it comes and what is sorted first read the same, and whatever fails, all of a load is there or nothing.

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
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use varvite::{
    Background, Collection, Database, DuplicatePolicy, ErrorKind, Fields, Metric, Options, Result,
    io::{
        Storage,
        simulated::{CrashPlan, Fault, SimulatedDisk},
    },
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn options(background: Background) -> Options {
    Options { memtable_bytes: 64 << 10, background, ..Options::default() }
}

fn open(disk: &SimulatedDisk, background: Background) -> Database {
    Database::open_on(Arc::new(disk.clone()), options(background)).unwrap()
}

fn docs(db: &Database) -> Collection {
    db.get_or_create_collection("docs", 2, Metric::L2).unwrap()
}

fn id(number: u32) -> String {
    format!("{number:06}")
}

/// Loads ids in this order; each vector tells the position.
fn load(docs: &Collection, ids: &[u32], policy: DuplicatePolicy) -> Result<u64> {
    let fields = |at: usize| Fields::from(vec![at as f32, 0.5]).with_document(format!("document {at}"));
    docs.bulk_load(ids.iter().enumerate().map(|(at, number)| (id(*number), fields(at))), policy)
}

/// The rows in the order of their ids: id, position in the load, ordinal.
fn rows(docs: &Collection) -> Vec<(String, usize, u64)> {
    let row = |row: Result<varvite::Row>| {
        let row = row.unwrap();
        assert_eq!(row.document().unwrap().unwrap(), format!("document {}", row[0]));
        (String::from_utf8(row.id().to_vec()).unwrap(), row[0] as usize, row.ordinal().unwrap())
    };
    docs.iter().unwrap().map(row).collect()
}

/// Orders of ids around the lengths at which an input is taken for sorted, whole and broken in every way.
fn inputs() -> Vec<Vec<u32>> {
    let mut inputs = Vec::new();
    for rows in [0, 1, 2, 255, 256, 257, 700, 5000] {
        let ascending: Vec<u32> = (0..rows).map(|number| number * 2).collect();
        for at in [1, 254, 255, 256, 257, 699] {
            if at < ascending.len() {
                let with = |number: u32| [&ascending[..at], &[number], &ascending[at..]].concat();
                // The id before again, the first one again, a smaller one that is new, one that comes later again.
                inputs.extend([with(ascending[at - 1]), with(0), with(1), with(ascending[ascending.len() - 1])]);
            }
        }
        inputs.push(ascending.iter().rev().copied().collect());
        inputs.push(ascending);
    }
    inputs
}

#[test]
fn whatever_the_order_of_the_input_the_last_of_equal_ids_counts() {
    for background in [Background::Inline, Background::Threads] {
        for input in inputs() {
            let context = format!("{} ids, the last {:?}", input.len(), input.last());
            let last: BTreeMap<String, usize> = input.iter().enumerate().map(|(at, number)| (id(*number), at)).collect();
            let db = open(&SimulatedDisk::new(1), background);
            let docs = docs(&db);
            let refused = load(&docs, &input, DuplicatePolicy::Refuse);
            if last.len() < input.len() {
                assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument, "{context}");
                assert_eq!(docs.count().unwrap(), 0, "{context}");
                assert_eq!(load(&docs, &input, DuplicatePolicy::LastWins).unwrap(), last.len() as u64, "{context}");
            } else {
                assert_eq!(refused.unwrap(), input.len() as u64, "{context}");
            }
            let mut found = rows(&docs);
            assert!(found.iter().map(|(id, at, _)| (id, at)).eq(&last), "{context}");
            // Ordinals follow the order of the input, and the next record comes behind them.
            found.sort_by_key(|(_, at, _)| *at);
            assert!(found.windows(2).all(|pair| pair[0].2 < pair[1].2), "{context}");
            docs.insert("next", &[0.0, 0.0]).unwrap();
            let next = docs.get("next").unwrap().unwrap().ordinal().unwrap();
            assert!(found.iter().all(|(_, _, ordinal)| *ordinal < next), "{context}: {next}");
            if last.len() == input.len() {
                assert_eq!(next, input.len() as u64, "{context}: a gap");
            }
        }
    }
}

#[test]
fn what_exists_is_replaced_or_refuses_the_load() {
    let db = open(&SimulatedDisk::new(2), Background::Threads);
    let docs = docs(&db);
    let (even, all): (Vec<u32>, Vec<u32>) = ((0..1000).map(|number| number * 2).collect(), (0..2000).collect());
    load(&docs, &even, DuplicatePolicy::Refuse).unwrap();
    docs.delete(id(10)).unwrap();
    assert_eq!(load(&docs, &all, DuplicatePolicy::Refuse).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(docs.count().unwrap(), 999);
    assert_eq!(load(&docs, &all, DuplicatePolicy::LastWins).unwrap(), 2000);
    assert!(rows(&docs).into_iter().map(|(id, at, _)| (id, at)).eq(all.iter().map(|number| (id(*number), *number as usize))));
    // Behind all that is there nothing is looked for.
    let behind: Vec<u32> = (5000..6000).collect();
    assert_eq!(load(&docs, &behind, DuplicatePolicy::Refuse).unwrap(), 1000);
    assert_eq!(docs.count().unwrap(), 3000);
}

/// The index of a segment that is being built is in memory: with little of it there are more segments, and no other difference.
#[test]
fn with_little_memory_an_ascending_load_makes_more_segments() {
    let input: Vec<u32> = (0..9000).collect();
    let load_with = |merge_bytes| {
        let options = Options { merge_bytes, background: Background::Inline, ..Options::default() };
        let db = Database::open_on(Arc::new(SimulatedDisk::new(1)), options).unwrap();
        load(&docs(&db), &input, DuplicatePolicy::Refuse).unwrap();
        (db.stats().unwrap().collections[0].segments, rows(&docs(&db)))
    };
    let ((much, expected), (little, rows)) = (load_with(16 << 20), load_with(1));
    assert_eq!(rows, expected);
    assert_eq!(much, 1);
    assert!((4..40).contains(&little), "{little} segments");
}

/// Every call of an ascending load fails, then the power is cut. What is refused has left nothing behind; what a failed sync leaves nobody knows,
/// but it is all or nothing.
#[test]
fn an_ascending_load_is_whole_or_nothing_whatever_fails() {
    let input: Vec<u32> = (0..3000).collect();
    let faults = [
        Fault::Errno(ENOSPC),
        Fault::Sticky(ENOSPC),
        Fault::Errno(EIO),
        Fault::SyncFails { keep_pages: true, sticky: false },
        Fault::SyncFails { keep_pages: false, sticky: false },
        Fault::PowerCut,
    ];
    for background in [Background::Inline, Background::Threads] {
        for fault in faults {
            let mut outcomes = [0, 0];
            for operation in 0.. {
                let disk = SimulatedDisk::new(operation);
                let db = open(&disk, background);
                let docs = docs(&db);
                docs.insert("before", Fields::from(vec![0.0, 0.0])).unwrap();
                db.flush().unwrap();
                db.wait_idle().unwrap();
                let first = disk.operations();
                disk.inject(first + operation, fault);
                let loaded = load(&docs, &input, DuplicatePolicy::Refuse);
                let is_past = !disk.power_is_cut() && disk.operations() - first <= operation;
                let context = format!("{fault:?} at operation {operation}, {background:?}: {loaded:?}");
                outcomes[usize::from(loaded.is_ok())] += 1;
                if let Err(error) = &loaded {
                    // What the device refused is told as such, also where another thread wrote.
                    assert_ne!(error.kind(), ErrorKind::Corruption, "{context}");
                    assert_eq!(docs.count().unwrap(), 1, "{context}");
                    if error.kind() == ErrorKind::NoSpace {
                        disk.heal();
                        assert_eq!(load(&docs, &input, DuplicatePolicy::Refuse).unwrap(), 3000, "{context}");
                        assert_eq!(Database::verify_on(&disk, &options(background)).unwrap().orphans, [] as [String; 0], "{context}");
                        assert_eq!(docs.get(id(0)).unwrap().unwrap().ordinal().unwrap(), 1, "{context}: a gap");
                    }
                }
                let is_whole = loaded.is_ok() || loaded.as_ref().is_err_and(|error| error.kind() == ErrorKind::NoSpace);
                drop((docs, db));
                let crashed = disk.crash(&CrashPlan::LoseAll);
                let db = open(&crashed, background);
                let count = self::docs(&db).count().unwrap();
                assert!(count == 3001 || (count == 1 && !is_whole), "{context}: {count} rows");
                db.close().unwrap();
                let verified = Database::verify_on(&crashed, &options(background)).unwrap();
                assert!(verified.damages.is_empty() && verified.orphans.is_empty(), "{context}: {verified:?}");
                if is_past {
                    break;
                }
            }
            assert!(outcomes[0] > 5 && outcomes[1] > 0, "{fault:?}, {background:?}: {outcomes:?}");
        }
    }
}

#[test]
fn an_input_that_panics_leaves_nothing_visible_and_the_database_usable() {
    let disk = SimulatedDisk::new(3);
    let db = open(&disk, Background::Threads);
    let docs = docs(&db);
    for rows in [10, 1000] {
        let input = (0..=rows).map(|number| {
            assert!(number < rows, "on purpose");
            (id(number), Fields::from(vec![0.0, 0.0]))
        });
        assert!(catch_unwind(AssertUnwindSafe(|| docs.bulk_load(input, DuplicatePolicy::Refuse))).is_err());
        assert_eq!(docs.count().unwrap(), 0);
    }
    assert_eq!(load(&docs, &(0..1000).collect::<Vec<_>>(), DuplicatePolicy::Refuse).unwrap(), 1000);
    drop((docs, db));
    let db = open(&disk, Background::Inline);
    assert_eq!(self::docs(&db).count().unwrap(), 1000);
    assert!(disk.list().unwrap().iter().filter(|info| info.name.starts_with("seg-")).count() < 8);
}
