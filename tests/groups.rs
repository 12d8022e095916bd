//! Several writers and several compactions at the same moment, made to meet by a storage that calls back in the middle of a sync.

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
    io,
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use support::{
    hooked::Hooked,
    machine::{open, options},
};
use varvite::{
    Background, Collection, Database, Durability, ErrorKind, Metric, Options,
    io::simulated::{CrashPlan, SimulatedDisk},
};

const WRITERS: u8 = 8;

fn database() -> (SimulatedDisk, Hooked, Database, Collection) {
    let disk = SimulatedDisk::new(0x5EED_0010);
    let storage = Hooked::new(Arc::new(disk.clone()));
    let options = Options { memtable_bytes: 16 << 20, ..options() };
    let db = Database::open_on(Arc::new(storage.clone()), options).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    (disk, storage, db, docs)
}

type Writers = Arc<Mutex<Vec<JoinHandle<varvite::Result<varvite::Commit>>>>>;

/// Starts writers while the sync of the batch before them is going on, so that they are one group.
fn start_writers_at_next_sync(storage: &Hooked, docs: &Collection) -> Writers {
    start_inserts_at_next_sync(storage, docs, |number| [number])
}

/// The same with ids of choice.
fn start_inserts_at_next_sync(storage: &Hooked, docs: &Collection, id: fn(u8) -> [u8; 1]) -> Writers {
    let writers = Writers::default();
    let (started, docs) = (Arc::clone(&writers), docs.clone());
    storage.at_next_sync("log-", move || {
        for number in 0..WRITERS {
            let docs = docs.clone();
            started.lock().unwrap().push(std::thread::spawn(move || docs.insert(id(number), &[f32::from(number), 1.0])));
        }
        // Time for them to queue. Those that come later are a group of their own, to which the same must happen.
        std::thread::sleep(Duration::from_millis(200));
        Ok(())
    });
    writers
}

/// Simpler rule: a file that is to be removed is as good as gone. Then a device that is full of such files is full.
#[test]
fn who_finds_no_space_first_frees_what_is_to_be_removed() {
    let disk = SimulatedDisk::new(0x5EED_0011);
    let storage = Hooked::new(Arc::new(disk.clone()));
    let options = Options { memtable_bytes: 16 << 10, background: Background::Threads, ..options() };
    let db = Database::open_on(Arc::new(storage.clone()), options).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    // Room for one log more than an idle database has, and for some small files.
    disk.set_capacity(Some(disk.used() + (384 << 10)));
    storage.slow_removals(Duration::from_millis(30));
    for number in 0..600 {
        docs.upsert(format!("{:02}", number % 50), &[number as f32, 1.0]).unwrap();
    }
    let stats = db.stats().unwrap();
    assert!(stats.flushes >= 10 && stats.background_error.is_none(), "{stats:?}");
}

/// Simpler rule: only the leader learns that its sync failed. Then the others acknowledge what a power cut takes back.
#[test]
fn a_failed_sync_is_the_failure_of_every_writer_of_its_group() {
    let (disk, storage, db, docs) = database();
    let writers = start_writers_at_next_sync(&storage, &docs);
    storage.at_next_sync("log-", || Err(io::Error::from_raw_os_error(5)));
    docs.insert("first", &[0.0, 0.0]).unwrap();
    let mut kinds = Vec::new();
    for writer in std::mem::take(&mut *writers.lock().unwrap()) {
        kinds.push(writer.join().unwrap().unwrap_err().kind());
    }
    assert!(storage.has_run() && kinds.len() == usize::from(WRITERS));
    assert!(kinds.iter().all(|kind| matches!(kind, ErrorKind::Io | ErrorKind::Poisoned)), "{kinds:?}");
    assert_eq!(docs.count().unwrap(), 1, "nothing of a refused batch is visible");
    assert_eq!(docs.insert("later", &[0.0, 0.0]).unwrap_err().kind(), ErrorKind::Poisoned);
    disk.cut_power();
    drop((docs, db));
    let db = open(&disk.crash(&CrashPlan::LoseAll)).unwrap();
    assert_eq!(db.collection("docs").unwrap().count().unwrap(), 1);
}

/// Simpler rule: who is refused is told at once. Then a record "exists already" that was written by another of the group, whose log failed.
#[test]
fn nobody_is_refused_for_a_record_that_never_came_to_be() {
    let (_disk, storage, _db, docs) = database();
    let writers = start_inserts_at_next_sync(&storage, &docs, |_| [7]);
    storage.at_next_sync("log-", || Err(io::Error::from_raw_os_error(5)));
    docs.insert("first", &[0.0, 0.0]).unwrap();
    let answers = std::mem::take(&mut *writers.lock().unwrap()).into_iter().map(|writer| writer.join().unwrap().unwrap_err().kind());
    let kinds: Vec<ErrorKind> = answers.collect();
    assert!(storage.has_run() && kinds.len() == usize::from(WRITERS));
    assert!(kinds.iter().all(|kind| matches!(kind, ErrorKind::Io | ErrorKind::Poisoned)), "{kinds:?}");
}

/// Simpler rule: a refusal is told as soon as it is known. Then who is told that a record exists does not find it.
#[test]
fn who_is_refused_for_a_record_finds_it() {
    let (_disk, storage, db, docs) = database();
    let (refused, wrote) = (Arc::new(Mutex::new(None)), docs.clone());
    let of_writer = Arc::clone(&refused);
    let batch = {
        let mut batch = db.batch();
        for number in 0..20_000 {
            batch.insert(&wrote, format!("{number:05}"), &[1.0, 2.0]).unwrap();
        }
        batch
    };
    let others = Arc::new(Mutex::new(Vec::new()));
    let started = Arc::clone(&others);
    let batch = Mutex::new(Some(batch));
    storage.at_next_sync("log-", move || {
        let batch = batch.lock().unwrap().take().unwrap();
        started.lock().unwrap().push(std::thread::spawn(move || drop(batch.commit().unwrap())));
        std::thread::sleep(Duration::from_millis(100));
        let (docs, refused) = (wrote.clone(), Arc::clone(&of_writer));
        started.lock().unwrap().push(std::thread::spawn(move || {
            let kind = docs.insert("19999", &[3.0, 4.0]).unwrap_err().kind();
            *refused.lock().unwrap() = Some((kind, docs.get("19999").unwrap().is_some()));
        }));
        std::thread::sleep(Duration::from_millis(100));
        Ok(())
    });
    docs.insert("first", &[0.0, 0.0]).unwrap();
    std::mem::take(&mut *others.lock().unwrap()).into_iter().for_each(|writer| writer.join().unwrap());
    assert_eq!(*refused.lock().unwrap(), Some((ErrorKind::AlreadyExists, true)));
}

#[test]
fn writers_that_wait_share_one_sync() {
    let (_disk, storage, db, docs) = database();
    let writers = start_writers_at_next_sync(&storage, &docs);
    let before = db.stats().unwrap().log_syncs;
    docs.insert("first", &[0.0, 0.0]).unwrap();
    for writer in std::mem::take(&mut *writers.lock().unwrap()) {
        writer.join().unwrap().unwrap();
    }
    let syncs = db.stats().unwrap().log_syncs - before;
    assert!((2..=4).contains(&syncs), "{syncs} syncs for a batch and {WRITERS} that came while it was synced");
    assert_eq!(docs.count().unwrap(), u64::from(WRITERS) + 1);
}

/// Simpler rule: publish what was merged. Then two merges of the same segments leave every record twice, or bring back what was deleted between.
#[test]
fn two_compactions_of_the_same_segments_leave_every_record_once() {
    let (_disk, storage, db, docs) = database();
    for round in 0..2_u8 {
        for number in (0..20_u8).filter(|number| round == 0 || number % 2 == 1) {
            docs.durability(Durability::Buffered).upsert([number], &[f32::from(number), f32::from(round)]).unwrap();
        }
        db.flush().unwrap();
    }
    let (inner, rows) = (db.clone(), docs.clone());
    storage.at_next_segment(move || {
        inner.compact().unwrap();
        assert!(rows.delete([3]).unwrap());
        rows.upsert([4], &[44.0, 4.0]).unwrap();
    });
    db.compact().unwrap();
    assert!(storage.has_run());
    let seen: Vec<(u8, f32)> = docs.iter().unwrap().map(|row| row.unwrap()).map(|row| (row.id()[0], row[1])).collect();
    let expected: Vec<(u8, f32)> =
        (0..20).filter(|number| *number != 3).map(|number| (number, if number == 4 { 4.0 } else { f32::from(number % 2) })).collect();
    assert_eq!(seen, expected);
    assert_eq!(docs.count().unwrap(), 19);
    db.flush().unwrap();
    db.compact().unwrap();
    let stats = db.stats().unwrap();
    assert_eq!((stats.collections[0].runs, stats.dead_bytes < 4096), (1, true), "{stats:?}");
}

/// A panic in the middle of a commit (here in a storage of the user's own) must not leave the writers behind it waiting.
#[test]
fn a_leader_that_panics_leaves_nobody_waiting_and_nobody_writing() {
    let (_disk, storage, db, docs) = database();
    let writers = start_writers_at_next_sync(&storage, &docs);
    storage.at_next_sync("log-", || panic!("on purpose"));
    docs.insert("first", &[0.0, 0.0]).unwrap();
    let joined: Vec<_> = std::mem::take(&mut *writers.lock().unwrap()).into_iter().map(JoinHandle::join).collect();
    let panicked = joined.iter().filter(|result| result.is_err()).count();
    let refused = joined
        .iter()
        .filter(|result| result.as_ref().is_ok_and(|result| result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Poisoned)));
    assert_eq!((panicked, refused.count()), (1, usize::from(WRITERS) - 1));
    assert_eq!(docs.count().unwrap(), 1, "reads go on");
    assert_eq!(docs.insert("later", &[0.0, 0.0]).unwrap_err().kind(), ErrorKind::Poisoned);
    drop((docs, db));
}
