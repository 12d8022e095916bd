//! The odd rules of the design are scars. Each test here is the schedule of events that breaks the simpler rule, on the simulated disk.
//!
//! Everything follows from fixed seeds.

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

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use support::{
    Random,
    hooked::Hooked,
    machine::{Machine, Step, open, open_on, options},
    oracle::{Checker, plans},
    state::{Op, Parts, State, Verb, difference, observe},
    workload::{id, parts, script, upsert},
};
use varvite::{
    Background, Collection, Database, DuplicatePolicy, Durability, Error, ErrorKind, Fields, Metric, Options,
    io::{
        Storage,
        simulated::{CrashPlan, Fault, Operation, OperationKind, SimulatedDisk},
    },
};

const SEED: u64 = 0x5EED_0002;
/// Where the frames of a log start.
const FRAMES: usize = 12_288;

fn batch(ops: Vec<Op>, durability: Durability) -> Step {
    Step::Batch(ops, durability)
}

fn create(names: &[&str]) -> Step {
    batch(names.iter().map(|name| Op::Create((*name).to_owned(), 2, Metric::L2)).collect(), Durability::Synced)
}

fn buffered(op: Op) -> Step {
    batch(vec![op], Durability::Buffered)
}

/// Cuts the power at every operation of some steps, after others that set the scene; the oracle judges what any crash leaves of it.
fn cut_everywhere(scene: &[Step], steps: &[Step], context: &str) -> Checker {
    let (mut random, mut checker) = (Random(SEED), Checker::default());
    for operation in 0.. {
        let mut machine = Machine::new(SimulatedDisk::new(SEED));
        machine.run(scene).unwrap();
        machine.disk.inject(machine.disk.operations() + operation, Fault::PowerCut);
        let done = steps.iter().try_for_each(|step| machine.step(step));
        let cut = machine.disk.power_is_cut();
        assert!(done.is_ok() || cut, "{context}: {done:?}");
        machine.kill();
        let plans = plans(&machine.disk, &mut random, 2);
        let context = format!("{context}, seed {SEED:#x}, cut {operation} operations later");
        checker.crash(&machine.disk, &machine.history, machine.durable, &plans, &context);
        if !cut {
            break;
        }
    }
    checker
}

/// A database without automatic flushes.
fn calm() -> Options {
    Options { memtable_bytes: 16 << 20, ..options() }
}

/// A record of about so many bytes in the log.
fn heavy(bytes: usize) -> Fields<'static> {
    Fields::from(vec![1.0, 2.0]).with_document("d".repeat(bytes))
}

fn fresh(options: Options) -> (SimulatedDisk, Database, Collection) {
    let disk = SimulatedDisk::new(SEED);
    let db = open_on(&disk, options).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    (disk, db, docs)
}

/// Lets go of a database as a kill does: nothing that its destructor does reaches the disk.
fn kill(disk: &SimulatedDisk, plan: &CrashPlan) -> SimulatedDisk {
    disk.cut_power();
    disk.crash(plan)
}

fn logs(disk: &SimulatedDisk) -> Vec<String> {
    disk.names().into_iter().filter(|name| name.starts_with("log-")).collect()
}

/// Offset, body length, marks and sequence of each frame of a log, read by the specification.
fn frames(disk: &SimulatedDisk, log: &str) -> Vec<(usize, usize, u8, u64)> {
    let bytes = disk.read_all(log).unwrap();
    let (mut at, mut frames) = (FRAMES, Vec::new());
    while at + 32 <= bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if len == 0 {
            break;
        }
        frames.push((at, len, bytes[at + 4], u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap())));
        at += (32 + len).next_multiple_of(8);
    }
    frames
}

/// The newest log with frames.
fn log_in_use(disk: &SimulatedDisk) -> String {
    logs(disk).into_iter().rev().find(|log| !frames(disk, log).is_empty()).unwrap()
}

/// Simpler rule: a bulk load flushes the collection that it loads. Then a crash keeps the load and loses what was written before it.
#[test]
fn one_collection_flushed_the_other_not_with_buffered_writes_recovers_a_prefix() {
    let scene = [
        create(&["a", "b"]),
        buffered(upsert("b", 1, 1, 2)),
        buffered(upsert("a", 1, 2, 2)),
        batch(vec![upsert("a", 2, 3, 2), upsert("b", 2, 4, 2)], Durability::Buffered),
    ];
    let steps = [
        Step::Bulk("a".to_owned(), (1..4).map(|number| (id(number), parts(number, 2))).collect(), DuplicatePolicy::LastWins),
        buffered(upsert("b", 3, 5, 2)),
        buffered(upsert("a", 4, 6, 2)),
        Step::Flush,
    ];
    let checker = cut_everywhere(&scene, &steps, "a bulk load between buffered writes");
    assert!(checker.distinct > 30 && checker.states.len() > 4, "{} images, {:?}", checker.distinct, checker.states);
}

/// Simpler rule: publish whenever a file is ready. Then the manifest knows of kills whose writes are lost. Read from the trace of a workload of
/// every kind of operation.
#[test]
fn a_manifest_is_never_ahead_of_the_log() {
    let mut unsynced: BTreeSet<String> = BTreeSet::new();
    let mut published = 0;
    for operation in trace(&script()) {
        match operation.kind {
            OperationKind::Write | OperationKind::SetLen if !is_lock_or_floor(&operation.name) => {
                unsynced.insert(operation.name.clone());
            }
            OperationKind::SyncData => drop(unsynced.remove(&operation.name)),
            OperationKind::Remove => drop(unsynced.remove(&operation.name)),
            OperationKind::Link if operation.name.starts_with("MANIFEST-") => {
                published += 1;
                assert_eq!(unsynced, BTreeSet::new(), "{} was published before these were synced", operation.name);
            }
            _ => {}
        }
    }
    assert!(published > 10, "{published} manifests");
}

/// Simpler rule: remove what the new manifest does not name once it is written. Then a crash that loses its name finds the old one, without files.
#[test]
fn nothing_is_removed_before_the_manifest_and_the_floor_are_durable() {
    let (mut manifest, mut names, mut removed) = (0, 0, 0);
    let mut floor = 0;
    for operation in trace(&script()) {
        match operation.kind {
            OperationKind::Link if operation.name.starts_with("MANIFEST-") => manifest += 1,
            OperationKind::SyncNames => names = manifest,
            OperationKind::SyncData if operation.name == "FLOOR" => {
                assert_eq!(names, manifest, "FLOOR was raised before the name of the manifest was durable");
                floor = manifest;
            }
            OperationKind::Remove if !operation.name.starts_with("tmp-") => {
                removed += 1;
                assert_eq!((names, floor), (manifest, manifest), "{} was removed too early", operation.name);
            }
            _ => {}
        }
    }
    assert!(removed > 20, "only {removed} files were removed");
}

/// Simpler rule: make a new log when the old one is full and use it. Then a crash loses its name and with it acknowledged writes.
#[test]
fn a_log_takes_no_frame_before_a_durable_manifest_names_it() {
    let (mut made, mut written) = (BTreeSet::new(), 0);
    for operation in trace(&script()) {
        match operation.kind {
            OperationKind::Create if operation.name.starts_with("log-") => drop(made.insert(operation.name)),
            // The floor is raised when the manifest is durable: what was made before it was made is named by it.
            OperationKind::SyncData if operation.name == "FLOOR" => made.clear(),
            OperationKind::Write if operation.name.starts_with("log-") && operation.offset >= FRAMES as u64 => {
                written += 1;
                assert!(!made.contains(&operation.name), "{} is used before it is named", operation.name);
            }
            _ => {}
        }
    }
    assert!(written > 50);
}

fn is_lock_or_floor(name: &str) -> bool {
    name == "LOCK" || name == "FLOOR"
}

fn trace(steps: &[Step]) -> Vec<Operation> {
    let mut machine = Machine::new(SimulatedDisk::new(SEED));
    machine.disk.record_trace(true);
    machine.run(steps).unwrap();
    machine.disk.trace()
}

/// Simpler rule: recovery goes on in the old log, or syncs it. But after a failed sync its pages count as clean: the sync succeeds, nothing is
/// written, and what was read from the cache and shown is gone after the next power cut.
#[test]
fn what_is_recovered_after_a_failed_sync_is_not_left_to_clean_pages() {
    for keep_pages in [true, false] {
        let (disk, db, docs) = fresh(calm());
        docs.insert("durable", &[1.0, 1.0]).unwrap();
        disk.inject(disk.operations(), Fault::SyncFails { keep_pages, sticky: false });
        let error = docs.insert("in the cache", &[2.0, 2.0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned), "{error:?}");
        drop((docs, db));
        // The machine lives: the cache is what it was.
        let db = open_on(&disk, calm()).unwrap();
        let shown = observe(&db).unwrap();
        assert_eq!(shown["docs"].rows.contains_key(&b"in the cache"[..]), keep_pages);
        let crashed = kill(&disk, &CrashPlan::LoseAll);
        drop(db);
        let after = observe(&open_on(&crashed, calm()).unwrap()).unwrap();
        assert!(after == shown, "keep_pages {keep_pages}: shown, then gone:\n  {}", difference(&shown, &after));
    }
}

/// The same, cut at every operation of that recovery: what had been acknowledged before stays.
#[test]
fn a_recovery_after_a_failed_sync_may_be_cut_anywhere() {
    for operation in 0.. {
        let (disk, db, docs) = fresh(calm());
        docs.insert("durable", &[1.0, 1.0]).unwrap();
        disk.inject(disk.operations(), Fault::SyncFails { keep_pages: true, sticky: false });
        docs.insert("in the cache", &[2.0, 2.0]).unwrap_err();
        drop((docs, db));
        disk.inject(disk.operations() + operation, Fault::PowerCut);
        let opened = open_on(&disk, calm());
        let cut = disk.power_is_cut();
        let crashed = kill(&disk, &CrashPlan::LoseAll);
        let db = open_on(&crashed, calm()).unwrap();
        let docs = db.collection("docs").unwrap();
        assert!(docs.contains("durable").unwrap(), "cut {operation} operations into the recovery");
        if !cut {
            assert!(opened.is_ok() && docs.contains("in the cache").unwrap());
            break;
        }
    }
}

/// Fills the log in use to its end, on a device that has no byte left.
fn full_device() -> (SimulatedDisk, Database, Collection) {
    let (disk, db, docs) = fresh(calm());
    docs.insert("first", heavy(100_000)).unwrap();
    disk.set_capacity(Some(disk.used()));
    docs.insert("second", heavy(100_000)).unwrap();
    (disk, db, docs)
}

/// Simpler rule: a batch that does not fit is split, or the device is called broken. A batch goes whole into the preallocated spare.
#[test]
fn a_full_device_rotates_into_the_spare_and_no_batch_spans_logs() {
    let (disk, db, docs) = full_device();
    assert_eq!(frames(&disk, &logs(&disk)[1]), []);
    docs.insert("third", heavy(100_000)).expect("the spare has room, and the batch is durable there");
    docs.insert("fourth", heavy(100_000)).unwrap();
    let used: Vec<_> = logs(&disk).iter().map(|log| frames(&disk, log)).collect();
    assert_eq!(used.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2], "frames per log");
    assert!(used.concat().iter().all(|frame| frame.2 == 3), "a frame without the rest of its batch");
    assert_eq!(used.concat().iter().map(|frame| frame.3).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let shown = observe(&db).unwrap();
    assert_eq!(shown["docs"].rows.len(), 4);
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    crashed.set_capacity(None);
    assert!(observe(&open_on(&crashed, calm()).unwrap()).unwrap() == shown);
}

/// Writes that are refused for space leave no trace, and none of them is the last.
#[test]
fn a_second_full_device_without_a_spare_refuses_without_poisoning_and_space_regained_works() {
    // The batch that finds the spare too small leaves an empty log in use behind: there is something to flush all the same.
    for (beyond_the_spare, expected) in [(false, 4), (true, 2)] {
        let (disk, db, docs) = full_device();
        if beyond_the_spare {
            let error = docs.insert("larger than the spare", heavy(300_000)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
        } else {
            docs.insert("third", heavy(100_000)).unwrap();
            docs.insert("fourth", heavy(100_000)).unwrap();
        }
        let before = observe(&db).unwrap();
        let sequence = db.snapshot().unwrap().sequence();
        for _ in 0..3 {
            let error = docs.insert("refused", heavy(300_000)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
            assert!(observe(&db).unwrap() == before && db.snapshot().unwrap().sequence() == sequence);
        }
        assert_eq!(before["docs"].rows.len(), expected);
        // A small one that fits is taken.
        docs.insert("small", &[3.0, 3.0]).unwrap();
        disk.set_capacity(None);
        docs.insert("refused", heavy(300_000)).expect("there is space again");
        db.flush().unwrap();
        docs.delete("first").unwrap();
        db.compact().unwrap();
        assert_eq!(docs.count().unwrap(), expected as u64 + 1);
        let report = Database::verify_on(&disk, &calm()).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
        assert_eq!(logs(&disk).len(), 2, "one in use and its spare: {:?}", disk.names());
        let shown = observe(&db).unwrap();
        let crashed = kill(&disk, &CrashPlan::LoseAll);
        assert!(observe(&open_on(&crashed, calm()).unwrap()).unwrap() == shown);
    }
}

/// The batch after which the log is empty, the old one is full, and nothing else was written: a flush must end.
#[test]
fn a_flush_ends_when_the_log_in_use_is_empty_and_the_one_before_is_not() {
    let (disk, db, docs) = full_device();
    assert_eq!(docs.insert("larger than the spare", heavy(300_000)).unwrap_err().kind(), ErrorKind::NoSpace);
    disk.set_capacity(None);
    db.flush().unwrap();
    assert_eq!(docs.count().unwrap(), 2);
    assert_eq!(db.stats().unwrap().memtable_bytes, 0, "everything is in segments");
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    assert_eq!(open_on(&crashed, calm()).unwrap().collection("docs").unwrap().count().unwrap(), 2);
}

type Work<'a> = &'a dyn Fn(&Database) -> varvite::Result<()>;

/// Work on a full device that fails half-way must not eat what space is left.
#[test]
fn work_that_fails_for_space_leaves_no_file_behind() {
    let mut failures = 0;
    for room in (0..900_000).step_by(15_000) {
        let (disk, db, docs) = fresh(calm());
        docs.insert("first", heavy(60_000)).unwrap();
        db.flush().unwrap();
        docs.insert("second", heavy(60_000)).unwrap();
        let used = disk.used();
        disk.set_capacity(Some(used + room));
        let load = |db: &Database| {
            let entry = |number: u64| (format!("{number}"), Fields::from(vec![number as f32, 0.0]).with_document("e".repeat(60_000)));
            db.collection("docs").unwrap().bulk_load((0..4).map(entry), DuplicatePolicy::LastWins).map(drop)
        };
        let works: [Work<'_>; 3] = [&Database::flush, &Database::compact, &load];
        for (number, work) in works.iter().enumerate() {
            for _ in 0..3 {
                let Err(error) = work(&db) else { break };
                assert_eq!(error.kind(), ErrorKind::NoSpace, "{error:?}");
                failures += 1;
                let report = Database::verify_on(&disk, &calm()).unwrap();
                assert_eq!((report.orphans, report.damages.len()), (vec![], 0), "work {number} with {room} bytes of room");
            }
        }
        disk.set_capacity(None);
        load(&db).unwrap();
        db.compact().unwrap();
        assert_eq!(docs.count().unwrap(), 6);
        let report = Database::verify_on(&disk, &calm()).unwrap();
        assert_eq!((report.orphans, report.damages.len()), (vec![], 0));
    }
    assert!(failures > 50, "only {failures} failures");
}

/// Simpler rule: try again. The second sync succeeds and has written nothing.
#[test]
fn a_failed_sync_poisons_and_is_never_tried_again() {
    for keep_pages in [true, false] {
        let (disk, db, docs) = fresh(calm());
        docs.insert("durable", &[1.0, 1.0]).unwrap();
        let waiting = docs.durability(Durability::Buffered).insert("buffered", &[4.0, 4.0]).unwrap();
        disk.inject(disk.operations(), Fault::SyncFails { keep_pages, sticky: false });
        assert!(waiting.wait().is_err(), "its sync failed");
        disk.record_trace(true);
        for error in [
            docs.insert("x", &[2.0, 2.0]).map(drop).unwrap_err(),
            waiting.wait().unwrap_err(),
            docs.delete("durable").map(drop).unwrap_err(),
            db.flush().unwrap_err(),
            db.compact().unwrap_err(),
            db.drop_collection("docs").unwrap_err(),
            docs.bulk_load([("y", Fields::from(vec![0.0, 0.0]))], DuplicatePolicy::LastWins).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Poisoned, "{error:?}");
        }
        assert_eq!(docs.count().unwrap(), 2, "reads go on");
        assert_eq!(db.clone().close().unwrap_err().kind(), ErrorKind::Poisoned);
        drop((docs, db));
        let after: Vec<_> = disk
            .trace()
            .into_iter()
            .filter(|operation| matches!(operation.kind, OperationKind::SyncData | OperationKind::Link | OperationKind::SyncNames))
            .collect();
        assert_eq!(after, [], "nothing is synced or published any more");
    }
}

/// Simpler rule: a file whose sync failed is given up, and the next attempt makes another. But the promise is that nothing is acknowledged after
/// a failed sync, whichever file it was of: a flush whose segment or spare log could not be synced left a writer that went on.
#[test]
fn a_failed_sync_of_a_file_that_is_given_up_poisons_too() {
    let mut failed = 0;
    for operation in 0.. {
        let (disk, db, docs) = fresh(calm());
        docs.insert("durable", &[1.0, 1.0]).unwrap();
        disk.inject(disk.operations() + operation, Fault::SyncFails { keep_pages: true, sticky: false });
        if db.flush().is_ok() {
            break;
        }
        failed += 1;
        let error = docs.insert("x", &[2.0, 2.0]).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Poisoned, "a sync failed at or after operation {operation} of a flush: {error:?}");
    }
    assert!(failed > 10, "only {failed} syncs of a flush failed");
}

/// Simpler rule: missing space changes nothing, so go on. At a sync it is found too late: what was not placed may be gone from the cache, and the
/// next sync of the same names or bytes says that all is well.
#[test]
fn a_sync_that_finds_no_space_is_a_failed_sync() {
    let run = || {
        let (disk, db, docs) = fresh(calm());
        docs.insert("durable", &[1.0, 1.0]).unwrap();
        (disk, db, docs)
    };
    let (disk, db, _docs) = run();
    let before = disk.operations();
    disk.record_trace(true);
    db.flush().unwrap();
    let is_sync = |kind| matches!(kind, OperationKind::SyncData | OperationKind::SyncNames);
    let syncs: Vec<u64> =
        disk.trace().iter().filter(|operation| is_sync(operation.kind)).map(|operation| operation.number - before).collect();
    assert!(syncs.len() > 3, "{syncs:?}");
    for operation in syncs {
        for errno in [28, 122] {
            let (disk, db, docs) = run();
            disk.inject(disk.operations() + operation, Fault::Errno(errno));
            let error = db.flush().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Io, "operation {operation}: {error}");
            let error = docs.insert("x", &[2.0, 2.0]).map(drop).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Poisoned, "operation {operation}: {error}");
        }
    }
}

/// A database that was killed with everything of its last group in the cache: recovery cannot know that it is on the device.
fn killed_with(writes: &dyn Fn(&Collection)) -> SimulatedDisk {
    let (disk, db, docs) = fresh(calm());
    writes(&docs);
    drop(db);
    kill(&disk, &CrashPlan::KeepAll)
}

/// Simpler rule: what is written again stands in the log in use, behind the last point that a dead writer has told. Then a reader that opens
/// beside the recovery, and still finds that point, misses batches that every reader before it has seen.
#[test]
fn a_reader_beside_a_recovery_sees_every_acknowledged_batch() {
    let crashed = killed_with(&|docs| {
        docs.insert("a", &[1.0, 1.0]).unwrap();
        docs.insert("b", &[2.0, 2.0]).unwrap();
    });
    let shown = observe(&open_on(&crashed.crash(&CrashPlan::KeepAll), calm()).unwrap()).unwrap();
    crashed.record_crash_points(true);
    let db = open_on(&crashed, calm()).unwrap();
    let moments = crashed.take_crash_points();
    assert!(moments.len() > 10, "{}", moments.len());
    for moment in &moments {
        let beside = moment.crash(&CrashPlan::KeepAll, SEED);
        let _writer = beside.lock("LOCK").unwrap();
        let reader = Database::open_read_only_on(Arc::new(beside.clone()), calm()).unwrap();
        let seen = observe(&reader).unwrap();
        assert!(seen == shown, "at operation {}\n  {}", moment.operation(), difference(&shown, &seen));
    }
    drop(db);
}

/// Simpler rule: what is written again stands at the head of the log in use. Then nothing proves it durable until the next sync of that log, and
/// damage of acknowledged batches looks like an interrupted write.
#[test]
fn damage_of_what_a_recovery_wrote_again_is_named() {
    let crashed = killed_with(&|docs| {
        docs.insert("a", &[1.0, 1.0]).unwrap();
    });
    let db = open_on(&crashed, calm()).unwrap();
    let again = kill(&crashed, &CrashPlan::LoseAll);
    drop(db);
    let log = log_in_use(&again);
    let frames = frames(&again, &log);
    assert!(!frames.is_empty());
    for (at, len, ..) in frames {
        for place in [at, at + 8, at + 32, at + 31 + len] {
            let damaged = again.crash(&CrashPlan::KeepAll);
            damaged.corrupt(&log, place as u64, 1).unwrap();
            let error = open_on(&damaged, calm()).map(drop).unwrap_err();
            assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*log)), "{place}: {error}");
        }
    }
    // Both copies of the activation records, of that log and of the one in use.
    for log in logs(&again).into_iter().filter(|log| again.read_all(log).unwrap()[4096] != 0) {
        let damaged = again.crash(&CrashPlan::KeepAll);
        damaged.corrupt(&log, 4096 + 20, 1).unwrap();
        damaged.corrupt(&log, 8192 + 20, 1).unwrap();
        let error = open_on(&damaged, calm()).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(&*log)), "{error}");
        let report = Database::verify_on(&damaged, &calm()).unwrap();
        assert!(report.damages.iter().any(|damage| damage.file() == Some(&*log)), "{report:?}");
    }
}

/// Simpler rule: an empty memtable has nothing to flush. Then what is written again stays in the log in use, deleted bytes among it, and a purge
/// vouches for them.
#[test]
fn a_flush_after_a_recovery_leaves_nothing_in_the_logs() {
    let secret = "that nobody may read ".repeat(4);
    type Work = fn(&Database) -> varvite::Result<()>;
    let works: [(&str, Work); 4] = [
        ("purge", |db| db.collection("docs")?.purge(&["nothing"]).map(drop)),
        ("flush", Database::flush),
        ("compact", |db| db.compact().map(drop)),
        ("close", |_| Ok(())),
    ];
    for (name, work) in works {
        let crashed = killed_with(&|docs| {
            docs.insert("x", Fields::from(vec![1.0, 1.0]).with_document(&*secret)).unwrap();
            docs.delete("x").unwrap();
        });
        let db = open_on(&crashed, calm()).unwrap();
        work(&db).unwrap();
        db.close().unwrap();
        for file in crashed.names() {
            let bytes = crashed.read_all(&file).unwrap();
            let holds = bytes.windows(40).any(|window| window == &secret.as_bytes()[..40]);
            assert!(!holds || !file.starts_with("log-"), "{name}: {file}");
        }
        assert!(logs(&crashed).iter().all(|log| frames(&crashed, log).is_empty()), "{name}");
    }
}

/// Simpler rule: checksum each frame by itself. Then a frame of a recycled file, or of another log, that happens to carry the next sequence is
/// replayed as news.
#[test]
fn stale_frames_of_other_logs_are_never_replayed() {
    let (disk, db, docs) = fresh(calm());
    docs.insert("a", &[1.0, 1.0]).unwrap();
    // Another future of the same database: its frame has the sequence that comes next here, at the place that comes next here.
    let ghost = disk.crash_point().crash(&CrashPlan::KeepAll, 99);
    let future = open_on(&ghost, calm()).unwrap();
    // What was recovered may stand at the head of its log until the flush.
    future.flush().unwrap();
    let sequence = future.collection("docs").unwrap().insert("ghost", &[6.0, 6.0]).unwrap().sequence();
    let stale = ghost.read_all(&log_in_use(&ghost)).unwrap();
    let end = frames(&ghost, &log_in_use(&ghost)).last().map(|(at, len, ..)| (at + 32 + len).next_multiple_of(8)).unwrap();
    db.flush().unwrap();
    assert_eq!(sequence, db.snapshot().unwrap().sequence() + 1);
    let shown = observe(&db).unwrap();
    let crashed = kill(&disk, &CrashPlan::KeepAll);
    for log in logs(&crashed) {
        let mut bytes = crashed.read_all(&log).unwrap();
        assert!(frames(&crashed, &log).is_empty(), "nothing was written since the flush");
        bytes[FRAMES..end].copy_from_slice(&stale[FRAMES..end]);
        crashed.write_all(&log, &bytes).unwrap();
    }
    let recovered = observe(&open_on(&crashed, calm()).unwrap()).unwrap();
    assert!(recovered == shown, "stale frames changed\n  {}", difference(&shown, &recovered));
}

/// Simpler rule: a device that is full in the middle of a write is broken, or the write goes on in the next log where it stopped. The batch goes
/// whole into the spare, and what had arrived of it in the old log counts for nothing.
#[test]
fn frames_of_a_batch_that_went_to_the_spare_are_not_replayed_from_the_old_log() {
    for transferred in [31, 40, 1_048_576, 1_048_608, 1_200_000] {
        let (disk, db, docs) = fresh(calm());
        docs.insert("first", heavy(3_000_000)).unwrap();
        // The file is long enough now: a write of two frames, then the device is full in the middle.
        disk.inject(disk.operations(), Fault::ShortTransfer(transferred));
        disk.inject(disk.operations() + 1, Fault::Errno(28));
        docs.insert("twice?", heavy(1_500_000)).unwrap();
        let used: Vec<_> = logs(&disk).iter().map(|log| frames(&disk, log).len()).collect();
        assert_eq!(used[1], 2, "it stands whole in the spare, {used:?}");
        docs.insert("after", &[5.0, 5.0]).unwrap();
        let shown = observe(&db).unwrap();
        for plan in [CrashPlan::LoseAll, CrashPlan::KeepAll] {
            let crashed = kill(&disk, &plan);
            let recovered = observe(&open_on(&crashed, calm()).unwrap()).unwrap();
            assert!(recovered == shown, "{transferred} bytes, {plan:?}:\n  {}", difference(&shown, &recovered));
        }
    }
}

/// Simpler rule: replay every frame that is valid. Then a state comes up that never was: the third write without the second.
#[test]
fn a_hole_in_the_log_ends_the_replay() {
    let (disk, _db, docs) = fresh(calm());
    docs.insert("durable", &[0.0, 0.0]).unwrap();
    let before: Vec<String> = disk.unsynced_names();
    let docs = docs.durability(Durability::Buffered);
    for name in ["one", "two", "three"] {
        docs.insert(name, &[1.0, 1.0]).unwrap();
    }
    let log = log_in_use(&disk);
    let names = disk.unsynced_names();
    let writes: Vec<usize> = (before.len()..names.len()).filter(|index| names[*index] == log).collect();
    assert_eq!(writes.len(), 3, "one item for each write");
    for (lost, expected) in [(0, vec!["durable"]), (1, vec!["durable", "one"]), (2, vec!["durable", "one", "two"])] {
        let subset = (0..names.len()).map(|index| index != writes[lost]).collect();
        let crashed = disk.crash(&CrashPlan::Subset(subset));
        let docs = open_on(&crashed, calm()).unwrap().collection("docs").unwrap();
        let found: Vec<String> = docs.iter().unwrap().map(|row| String::from_utf8(row.unwrap().id().to_vec()).unwrap()).collect();
        assert_eq!(found, expected, "write {lost} of three was lost");
    }
}

/// Simpler rule: the log ends at the first bad frame. Then one flipped bit takes acknowledged writes back without a word.
#[test]
fn a_damaged_frame_below_what_was_proven_durable_is_an_error_not_a_truncation() {
    let (disk, db, docs) = fresh(calm());
    for name in ["one", "two", "three"] {
        docs.insert(name, &[1.0, 1.0]).unwrap();
    }
    let log = log_in_use(&disk);
    let frames = frames(&disk, &log);
    assert_eq!(frames.len(), 4);
    let image = kill(&disk, &CrashPlan::LoseAll);
    drop((docs, db));
    for (number, (at, len, ..)) in frames.iter().enumerate() {
        // Length, sequence, durable-through, both checksums, the body's ends.
        for offset in [0, 9, 17, 24, 28, 32, 31 + len] {
            let damaged = image.crash(&CrashPlan::KeepAll);
            damaged.corrupt(&log, (at + offset) as u64, 0x10).unwrap();
            let bytes = damaged.read_all(&log).unwrap();
            let opened = open_on(&damaged, calm());
            if number == 3 {
                // The last sync group: nothing proves it, and the promise says so.
                assert_eq!(opened.unwrap().collection("docs").unwrap().count().unwrap(), 2);
                continue;
            }
            let error = opened.map(drop).unwrap_err();
            assert_eq!(
                (error.kind(), error.file()),
                (ErrorKind::Corruption, Some(log.as_str())),
                "frame {number}, byte {offset}: {error:?}"
            );
            assert!(error.offset().is_some_and(|place| place >= *at as u64 && place <= (at + 32 + len) as u64), "{error:?}");
            assert_eq!(damaged.read_all(&log).unwrap(), bytes, "an open that fails changes nothing");
            let read_only = Database::open_read_only_on(Arc::new(damaged.clone()), calm()).map(drop).unwrap_err();
            assert_eq!(read_only.kind(), ErrorKind::Corruption, "read-only: {read_only:?}");
        }
    }
}

/// A directory restored without its newest manifest: the one that is left is valid, and two flushes behind.
fn rolled_back() -> SimulatedDisk {
    let (disk, db, docs) = fresh(calm());
    docs.insert("one", &[1.0, 1.0]).unwrap();
    db.flush().unwrap();
    let manifests = |disk: &SimulatedDisk| disk.names().into_iter().filter(|name| name.starts_with("MANIFEST-")).collect::<Vec<_>>();
    let old: Vec<(String, Vec<u8>)> = disk.names().into_iter().map(|name| (name.clone(), disk.read_all(&name).unwrap())).collect();
    docs.insert("two", &[2.0, 2.0]).unwrap();
    db.flush().unwrap();
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    for name in manifests(&crashed) {
        crashed.delete(&name).unwrap();
    }
    for (name, bytes) in old.iter().filter(|(name, _)| name != "FLOOR" && name != "LOCK") {
        crashed.write_all(name, bytes).unwrap();
    }
    crashed
}

/// Simpler rule: take the newest manifest that is there. Then a lost file is a silent rollback.
#[test]
fn a_floor_above_the_newest_manifest_is_an_error() {
    let disk = rolled_back();
    let names = disk.names();
    for opened in [open_on(&disk, calm()), Database::open_read_only_on(Arc::new(disk.clone()), calm())] {
        let error = opened.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corruption);
        assert!(error.file().is_some_and(|file| file.starts_with("MANIFEST-")) && error.to_string().contains("repair"), "{error:?}");
    }
    assert_eq!(disk.names().len(), names.len().max(disk.names().len()), "nothing is removed");
    names.iter().for_each(|name| drop(disk.read_all(name).unwrap()));
    for name in names.iter().filter(|name| name.starts_with("MANIFEST-")) {
        disk.delete(name).unwrap();
    }
    assert_eq!(open_on(&disk, calm()).map(drop).unwrap_err().kind(), ErrorKind::Corruption, "no manifest at all");
}

/// Simpler rule: no FLOOR, no floor. Then the file that forbids a rollback can be lost together with what it guards.
#[test]
fn a_missing_floor_is_an_error() {
    let disk = rolled_back();
    disk.delete("FLOOR").unwrap();
    let names = disk.names();
    for opened in [open_on(&disk, calm()), Database::open_read_only_on(Arc::new(disk.clone()), calm())] {
        let error = opened.map(drop).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some("FLOOR")), "{error:?}");
    }
    // Not even when only a log is left.
    names.iter().filter(|name| !name.starts_with("log-") && *name != "LOCK").for_each(|name| disk.delete(name).unwrap());
    assert_eq!(open_on(&disk, calm()).map(drop).unwrap_err().kind(), ErrorKind::Corruption);
    let left: Vec<String> = names.into_iter().filter(|name| name.starts_with("log-") || name == "LOCK").collect();
    assert_eq!(disk.names(), left, "an open that is refused makes and removes nothing");
}

/// Simpler rule: FLOOR is made by the first publication. Then a creation that was cut looks like a database that lost its FLOOR, or the other way
/// round. It is made and durable before MANIFEST-1, and a second attempt, cut as well, makes it anew once the logs of the first are gone.
#[test]
fn a_creation_cut_twice_ends_in_an_empty_database() {
    let image = |operation: u64, disk: SimulatedDisk, plan: &CrashPlan| {
        disk.inject(disk.operations() + operation, Fault::PowerCut);
        let opened = open(&disk).map(drop);
        assert!(opened.is_ok() || disk.power_is_cut(), "{opened:?}");
        (disk.crash(plan), !disk.power_is_cut())
    };
    let mut random = Random(SEED);
    let mut plan = |number: u64| match number % 3 {
        0 => CrashPlan::LoseAll,
        1 => CrashPlan::KeepAll,
        _ => CrashPlan::Random { seed: random.next() },
    };
    let mut cuts = 0;
    'first: for first in 0.. {
        for kept in 0..3 {
            for second in 0.. {
                let (disk, done) = image(first, SimulatedDisk::new(SEED), &plan(kept));
                let (disk, again) = image(second, disk, &plan(first + second));
                let db = open(&disk).unwrap_or_else(|error| panic!("cut at {first} and {second}: {error:?}"));
                assert_eq!(observe(&db).unwrap(), State::new());
                db.create_collection("docs", 1, Metric::L2).unwrap().insert("a", &[1.0]).unwrap();
                drop(db);
                assert_eq!(open(&disk).unwrap().collection("docs").unwrap().count().unwrap(), 1);
                cuts += 1;
                if again && done && kept == 2 {
                    break 'first;
                }
                if again {
                    break;
                }
            }
        }
    }
    assert!(cuts > 500, "{cuts} pairs of cuts");
    let mut machine = Machine::new(SimulatedDisk::new(SEED));
    machine.disk.record_trace(true);
    machine.open().unwrap();
    let trace = machine.disk.trace();
    let place = |kind, name: &str| trace.iter().position(|operation| operation.kind == kind && operation.name == name).unwrap();
    let named = place(OperationKind::Link, "FLOOR");
    let synced = trace.iter().skip(named).position(|operation| operation.kind == OperationKind::SyncNames).unwrap() + named;
    assert!(synced < place(OperationKind::Create, "tmp-MANIFEST-00000001"), "FLOOR is durable before MANIFEST-1 is begun");
}

/// Simpler rule: a LOCK that is not empty must be whole. But it is never synced: after a power cut on ext4 it had its length and nothing else, and
/// `verify` called a database damaged that had only lost its power.
#[test]
fn what_a_power_cut_leaves_of_the_lock_page_is_no_damage() {
    let (disk, db, docs) = fresh(calm());
    docs.insert("a", &[1.0, 1.0]).unwrap();
    let lock = disk.read_all("LOCK").unwrap();
    for len in (0..lock.len()).step_by(7) {
        let crashed = disk.crash(&CrashPlan::KeepAll);
        let arrived = [&lock[..len], &vec![0; lock.len() - len]].concat();
        crashed.write_all("LOCK", &arrived).unwrap();
        let report = Database::verify_on(&crashed, &calm()).unwrap();
        assert_eq!(report.damages.len(), 0, "{len} bytes of LOCK arrived: {:?}", report.damages);
    }
    let crashed = disk.crash(&CrashPlan::KeepAll);
    crashed.corrupt("LOCK", 20, 0xFF).unwrap();
    assert_eq!(Database::verify_on(&crashed, &calm()).unwrap().damages.len(), 1, "what is neither written nor zero is damage");
    drop(db);
}

/// Simpler rule: a slot of FLOOR that does not match its checksum is damage, to be restored from a copy. But one that was being written when the
/// power was cut does not either; then the manifest that it was to name is there, and opening for writing mends it. The remedy says so.
#[test]
fn a_slot_of_floor_torn_by_a_power_cut_needs_no_copy() {
    let (disk, db, docs) = fresh(calm());
    docs.insert("a", &[1.0, 1.0]).unwrap();
    disk.record_crash_points(true);
    db.flush().unwrap();
    let mut torn = 0;
    for point in disk.take_crash_points() {
        let names = point.unsynced_names();
        let Some((item, len)) = point.last_unsynced_write().filter(|(item, _)| names[*item] == "FLOOR") else { continue };
        for last_write_bytes in 0..=len {
            let subset = (0..names.len()).map(|index| index == item).collect();
            let crashed = point.crash(&CrashPlan::Torn { subset, last_write_bytes }, 1);
            let report = Database::verify_on(&crashed, &calm()).unwrap();
            let mended = |error: &Error| error.file() == Some("FLOOR") && error.to_string().contains("opening for writing mends it");
            assert!(report.damages.iter().all(mended), "{last_write_bytes} bytes of a slot arrived: {:?}", report.damages);
            drop(open_on(&crashed, calm()).unwrap());
            assert_eq!(Database::verify_on(&crashed, &calm()).unwrap().damages.len(), 0, "after an open");
            torn += 1;
        }
    }
    assert!(torn > 20, "{torn} torn slots");
    for slot in [64, 4160] {
        let crashed = disk.crash(&CrashPlan::KeepAll);
        crashed.corrupt("FLOOR", slot + 10, 0xFF).unwrap();
        assert_eq!(Database::verify_on(&crashed, &calm()).unwrap().damages.len(), 1, "a damaged slot at {slot}");
    }
    drop(db);
}

/// Simpler rule: the FLOOR of an unfinished creation is there, so it is taken over. But the sync that failed was that of its name: the second
/// creation found it in the cache, acknowledged writes, and the next power cut left a database "that lost its FLOOR".
#[test]
fn a_creation_after_a_failed_sync_trusts_no_name_of_the_first() {
    let mut failed = 0;
    for operation in 0.. {
        for keep_pages in [true, false] {
            let disk = SimulatedDisk::new(3);
            disk.inject(operation, Fault::SyncFails { keep_pages, sticky: false });
            if open_on(&disk, calm()).is_ok() {
                assert!(failed > 4, "only {failed} syncs of a creation failed");
                return;
            }
            failed += 1;
            let db = open_on(&disk, calm()).unwrap();
            db.create_collection("docs", 2, Metric::L2).unwrap().insert("acknowledged", &[1.0, 2.0]).unwrap();
            let crashed = kill(&disk, &CrashPlan::LoseAll);
            let context = format!("the sync at or after operation {operation} failed, pages kept: {keep_pages}");
            let db = open_on(&crashed, calm()).unwrap_or_else(|error| panic!("{context}: {error:?}"));
            assert!(db.collection("docs").unwrap().contains("acknowledged").unwrap(), "{context}");
        }
    }
}

/// Simpler rule: say what the device said. But "no space" promises that nothing was changed, and a caller that frees space and tries again
/// finds a database that has stopped: what stops it is never "no space".
#[test]
fn an_error_that_stops_the_writer_never_promises_that_nothing_was_changed() {
    let (mut stopped, mut refused) = (0, 0);
    for errno in [28, 122, 13, 30] {
        for operation in 0.. {
            let (disk, db, docs) = fresh(calm());
            let at = disk.operations() + operation;
            disk.inject(at, Fault::Sticky(errno));
            let results = [docs.insert("x", &[2.0, 2.0]).map(drop), db.flush()];
            let over = disk.operations() <= at;
            disk.heal();
            let poisoned = docs.insert("y", &[2.0, 2.0]).is_err_and(|error| error.kind() == ErrorKind::Poisoned);
            for error in results.into_iter().filter_map(Result::err) {
                let promises = !matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned);
                assert!(!poisoned || !promises, "errno {errno} from operation {operation} on: {error:?}, but the writer has stopped");
                (stopped, refused) = (stopped + u32::from(poisoned), refused + u32::from(promises));
            }
            if over {
                break;
            }
        }
    }
    assert!(stopped > 10 && refused > 10, "{stopped} stopped, {refused} were refused");
}

/// Simpler rule: drop a tombstone with the segment that holds it. Then the older copy comes back.
#[test]
fn what_was_deleted_and_flushed_does_not_come_back_by_crash_and_compaction() {
    let gone = |number: u64| Op::Delete("a".to_owned(), id(number));
    let scene = [
        create(&["a"]),
        batch((0..6).map(|number| upsert("a", number, number, 2)).collect(), Durability::Synced),
        Step::Flush,
        batch((3..9).map(|number| upsert("a", number, number + 50, 2)).collect(), Durability::Synced),
        Step::Flush,
        batch((1..8).map(gone).collect(), Durability::Synced),
        Step::Flush,
    ];
    let checker = cut_everywhere(&scene, &[Step::Compact], "a compaction after deletes");
    assert!(checker.distinct > 10);
    let mut machine = Machine::new(SimulatedDisk::new(SEED));
    machine.run(&scene).unwrap();
    for plan in [CrashPlan::LoseAll, CrashPlan::KeepAll] {
        machine.crash(&plan, "after the deletes");
        machine.step(&Step::Compact).unwrap();
        machine.step(&Step::Reopen).unwrap();
        let docs = machine.db().collection("a").unwrap();
        assert_eq!(docs.count().unwrap(), 2);
        (1..8).for_each(|number| assert!(docs.get(id(number)).unwrap().is_none(), "{number} is back"));
        assert_eq!(docs.search(&[0.0, 0.0], 100).unwrap().len(), 2);
        let stats = machine.db().stats().unwrap();
        assert_eq!(stats.collections[0].segment_bytes, stats.collections[0].live_bytes, "nothing dead is left in any segment");
    }
}

/// A database with two runs, and a storage that calls back in the middle of its next flush or compaction.
fn two_runs() -> (SimulatedDisk, Hooked, Database, Collection) {
    two_runs_with(calm())
}

fn two_runs_with(options: Options) -> (SimulatedDisk, Hooked, Database, Collection) {
    let disk = SimulatedDisk::new(SEED);
    let storage = Hooked::new(Arc::new(disk.clone()));
    let db = Database::open_on(Arc::new(storage.clone()), options).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    for round in 0..2_u8 {
        for number in (0..20_u8).filter(|number| round == 0 || number % 2 == 1) {
            docs.durability(Durability::Buffered).upsert([number], &[f32::from(number), f32::from(round)]).unwrap();
        }
        db.flush().unwrap();
    }
    (disk, storage, db, docs)
}

fn contents(docs: &Collection) -> Vec<(u8, [f32; 2])> {
    docs.iter().unwrap().map(|row| row.unwrap()).map(|row| (row.id()[0], [row[0], row[1]])).collect()
}

/// What the callbacks below do, and what must be there afterwards.
fn write_meanwhile(docs: &Collection) {
    assert!(docs.delete([4]).unwrap() && docs.delete([5]).unwrap());
    docs.upsert([6], &[60.0, 6.0]).unwrap();
    docs.upsert([7], &[70.0, 7.0]).unwrap();
    assert!(docs.delete([8]).unwrap());
    docs.insert([8], &[80.0, 8.0]).unwrap();
}

fn expected_meanwhile() -> Vec<(u8, [f32; 2])> {
    let row = |number: u8| match number {
        4 | 5 => None,
        6..=8 => Some((number, [f32::from(number) * 10.0, f32::from(number)])),
        _ => Some((number, [f32::from(number), f32::from(number % 2)])),
    };
    (0..20).filter_map(row).collect()
}

/// Simpler rule: a compaction publishes the kill sets it started with. Then what was deleted while it copied is alive in its outputs.
#[test]
fn a_compaction_overtaken_by_a_flush_finds_the_kills_again_by_id() {
    // Not flushed: the kills are pending. Flushed: they are in kill sets of segments that are about to go. Flushed twice: in newer sets of those.
    for flushes in 0..3 {
        let (disk, storage, db, docs) = two_runs();
        let (other, writer) = (db.clone(), docs.clone());
        storage.at_next_segment(move || {
            write_meanwhile(&writer);
            for _ in 0..flushes {
                other.flush().unwrap();
                writer.upsert([19], &[19.0, 1.0]).unwrap();
            }
        });
        db.compact().unwrap();
        assert!(storage.has_run());
        assert_eq!(contents(&docs), expected_meanwhile(), "{flushes} flushes meanwhile");
        assert_eq!(docs.count().unwrap(), 18);
        let crashed = kill(&disk, &CrashPlan::LoseAll);
        let recovered = open_on(&crashed, calm()).unwrap();
        assert_eq!(
            contents(&recovered.collection("docs").unwrap()),
            expected_meanwhile(),
            "{flushes} flushes meanwhile, after a power cut"
        );
        recovered.compact().unwrap();
        assert_eq!(contents(&recovered.collection("docs").unwrap()), expected_meanwhile(), "compacted once more");
        assert!(Database::verify_on(&crashed, &calm()).unwrap().damages.is_empty());
    }
}

/// Simpler rule: a flush takes the kills that are there when it publishes. Then a newer write's kill is in the manifest, and the write in no file.
#[test]
fn a_flush_overtaken_by_writes_does_not_make_their_kills_durable() {
    // Nothing is due for the threads; but a writer of such a database does not flush by itself, so it can write while a flush runs.
    let threads = Options { background: Background::Threads, idle_flush_after: Duration::from_secs(3_600), ..calm() };
    let (disk, storage, db, docs) = two_runs_with(threads);
    docs.upsert([0], &[0.0, 0.0]).unwrap();
    let writer = docs.durability(Durability::Buffered);
    storage.at_next_segment(move || write_meanwhile(&writer));
    db.flush().unwrap();
    assert!(storage.has_run());
    assert_eq!(contents(&docs), expected_meanwhile());
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    assert_eq!(contents(&open_on(&crashed, calm()).unwrap().collection("docs").unwrap()), expected_meanwhile(), "the log was synced first");
    // The segments alone, without the log's writes, are the state of the flush: no kill of a later write is in them.
    let segments = varvite::io::memory::Memory::new();
    for (name, bytes) in disk.crash(&CrashPlan::LoseAll).contents() {
        let mut bytes = bytes.to_vec();
        if name.starts_with("log-") {
            bytes[12_288..].fill(0);
        }
        varvite::io::Storage::create(&segments, &name).unwrap().write_at(0, &bytes).unwrap();
    }
    let report = Database::verify_on(&segments, &calm()).unwrap();
    assert_eq!((report.records, report.damages.len()), (20, 0), "{report:?}");
}

/// Simpler rule: a snapshot is a sequence. Then a compaction that does not know of it drops what it still shows.
#[test]
fn a_snapshot_taken_during_a_compaction_keeps_its_state() {
    let (_disk, storage, db, docs) = two_runs();
    let before = (db.snapshot().unwrap(), contents(&docs));
    let kept = Arc::new(std::sync::Mutex::new(None));
    let (other, writer, keep) = (db.clone(), docs.clone(), Arc::clone(&kept));
    storage.at_next_segment(move || {
        write_meanwhile(&writer);
        *keep.lock().unwrap() = Some((other.snapshot().unwrap(), contents(&writer)));
        writer.delete([9]).unwrap();
        other.flush().unwrap();
        writer.delete([10]).unwrap();
    });
    db.compact().unwrap();
    let during = kept.lock().unwrap().take().unwrap();
    assert_eq!(during.1, expected_meanwhile());
    let check = || {
        for (snapshot, state) in [&before, &during] {
            let docs = snapshot.collection("docs").unwrap();
            let rows: Vec<_> = docs.iter().unwrap().map(|row| row.unwrap()).map(|row| (row.id()[0], [row[0], row[1]])).collect();
            assert_eq!((&rows, docs.count().unwrap()), (state, state.len() as u64));
            assert_eq!(docs.search(&[0.0, 0.0], 50).unwrap().len(), state.len());
        }
    };
    check();
    db.compact().unwrap();
    docs.delete([11]).unwrap();
    db.compact().unwrap();
    check();
    assert_eq!(docs.count().unwrap(), 18 - 3);
    assert!(db.stats().unwrap().pinned_bytes > 0, "the files that snapshots hold are reported");
    db.close().unwrap();
    check();
}

/// Simpler rule: take the k nearest rows, then ask which of them are alive. Then k stale copies beside the query push a true neighbour out.
#[test]
fn more_stale_copies_than_k_beside_the_query_do_not_hide_a_true_neighbour() {
    let near = |number: u32| format!("near-{number:02}");
    // Where the stale copies and what killed them stand: memtable, pending beside a segment, kill set, behind a deletion.
    for variant in 0..6 {
        let (_disk, db, docs) = fresh(calm());
        for number in 0..20 {
            docs.insert(near(number), &[0.01 * number as f32, 0.0]).unwrap();
        }
        docs.insert("true", &[5.0, 0.0]).unwrap();
        docs.insert("second", &[6.0, 0.0]).unwrap();
        if variant % 3 > 0 {
            db.flush().unwrap();
        }
        for number in 0..20 {
            if variant < 3 {
                docs.upsert(near(number), &[1000.0 + number as f32, 0.0]).unwrap();
            } else {
                docs.delete(near(number)).unwrap();
            }
        }
        if variant % 3 > 1 {
            db.flush().unwrap();
        }
        for k in 1..8 {
            let hits = docs.search(&[0.0, 0.0], k).unwrap();
            let ids: Vec<String> = hits.into_iter().take(2).map(|hit| String::from_utf8(hit.id).unwrap()).collect();
            assert_eq!(ids, ["true", "second"][..k.min(2)], "variant {variant}, k = {k}");
        }
    }
}

/// Simpler rule: numbers go on where memory says, or old logs are read along. Then a sequence stands for two batches and the older one wins.
#[test]
fn a_sequence_that_stands_in_an_old_log_is_not_mixed_up_with_the_new_one() {
    let (disk, db, docs) = fresh(calm());
    docs.insert("x", &[0.0, 0.0]).unwrap();
    let base = disk.unsynced_names().len();
    let lazy = docs.durability(Durability::Buffered);
    let lost = lazy.upsert("x", &[1.0, 1.0]).unwrap().sequence();
    let stale = lazy.upsert("x", &[2.0, 2.0]).unwrap().sequence();
    let names = disk.unsynced_names();
    // The second write is lost, the third stands behind the hole.
    let writes: Vec<usize> = (base..names.len()).filter(|index| names[*index].starts_with("log-")).collect();
    let crashed = disk.crash(&CrashPlan::Subset((0..names.len()).map(|index| index != writes[0]).collect()));
    drop((docs, lazy, db));
    let (mut disk, mut last) = (crashed, 0);
    for round in 1..4_u8 {
        let db = open_on(&disk, calm()).unwrap();
        let docs = db.collection("docs").unwrap();
        let visible = db.snapshot().unwrap().sequence();
        assert!(visible >= last, "the sequence fell from {last} to {visible}");
        let expected = if round == 1 { 0.0 } else { f32::from(round - 1) * 10.0 + 1.0 };
        assert_eq!(docs.get("x").unwrap().unwrap()[0].to_bits(), expected.to_bits(), "round {round}");
        let first = docs.durability(Durability::Buffered).upsert("x", &[f32::from(round) * 10.0, 0.0]).unwrap().sequence();
        let second = docs.upsert("x", &[f32::from(round) * 10.0 + 1.0, 0.0]).unwrap().sequence();
        assert_eq!((first, second), (visible + 1, visible + 2));
        if round == 1 {
            assert_eq!((first, second), (lost, stale), "the same numbers as those of the batches that were lost");
        }
        last = second;
        disk = kill(&disk, &CrashPlan::KeepAll);
    }
}

/// A crash in recovery, a crash in the recovery after it, and a third that must find everything.
#[test]
fn two_recoveries_in_a_row_may_be_cut_anywhere() {
    let steps = [
        create(&["a", "b"]),
        batch((0..6).map(|number| upsert("a", number, number, 2)).collect(), Durability::Synced),
        Step::Flush,
        batch(vec![upsert("a", 1, 9, 2), Op::Delete("a".to_owned(), id(2)), upsert("b", 1, 1, 2)], Durability::Synced),
        batch(
            vec![Op::Put(Verb::Upsert, "b".to_owned(), id(2), Parts { vector: Some(vec![1.0, -0.0]), ..Parts::default() })],
            Durability::Synced,
        ),
        buffered(upsert("b", 1, 2, 2)),
    ];
    let mut machine = Machine::new(SimulatedDisk::new(SEED));
    machine.run(&steps).unwrap();
    machine.kill();
    let (mut random, mut checker, mut pairs) = (Random(SEED), Checker::default(), 0);
    let crashed = machine.disk.crash(&CrashPlan::KeepAll);
    let cut = |disk: &SimulatedDisk, operation: u64, plan: &CrashPlan| {
        let disk = disk.crash(&CrashPlan::KeepAll);
        disk.inject(disk.operations() + operation, Fault::PowerCut);
        let opened = open(&disk).map(drop);
        let cut = disk.power_is_cut();
        assert!(cut || opened.is_ok(), "{opened:?}");
        (disk.crash(plan), cut)
    };
    for first in 0.. {
        let plan = CrashPlan::Random { seed: random.next() };
        let (once, more) = cut(&crashed, first, &plan);
        for second in 0.. {
            let plan = CrashPlan::Random { seed: random.next() };
            let (twice, more) = cut(&once, second, &plan);
            pairs += 1;
            let context = format!("seed {SEED:#x}, recovery cut at {first}, the next at {second}");
            checker.crash(&twice, &machine.history, machine.durable, &[CrashPlan::KeepAll], &context);
            if !more {
                break;
            }
        }
        if !more {
            break;
        }
    }
    assert!(pairs > 800 && checker.distinct > 50, "{pairs} pairs, {} distinct", checker.distinct);
}

/// Found by `model`: a rewrite of several segments counted on one output for each. Large texts that compress well ended an output early; its rest
/// was a segment that no part claimed, and its records, acknowledged and durable, were in no run any more.
#[test]
fn a_purge_beside_records_with_large_texts_loses_none_of_them() {
    let (disk, db, docs) = fresh(calm());
    for ids in [["a", "m", "x"], ["b", "n", "y"]] {
        let mut batch = db.batch();
        for id in ids {
            batch.insert(&docs, id, heavy(10_000)).unwrap();
        }
        batch.commit().unwrap();
        db.flush().unwrap();
    }
    let receipt = docs.purge(&["x", "y"]).unwrap();
    assert_eq!((receipt.deleted, receipt.files_rewritten.len()), (2, 2), "two segments are rewritten together");
    let there = |docs: &Collection| docs.iter().unwrap().map(|row| row.unwrap().id()[0] as char).collect::<String>();
    assert_eq!((there(&docs).as_str(), docs.count().unwrap()), ("abmn", 4));
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    assert_eq!(there(&open_on(&crashed, calm()).unwrap().collection("docs").unwrap()), "abmn");
}

/// Found by `model`: a bulk load that was refused had used up ordinals, and the flush inside it made that durable.
#[test]
fn a_refused_bulk_load_leaves_no_gap_in_the_ordinals() {
    let (disk, db, docs) = fresh(calm());
    docs.insert("a", &[1.0, 1.0]).unwrap();
    let load = |id: &'static str| {
        docs.bulk_load([("new", Fields::from(vec![1.0, 2.0])), (id, Fields::from(vec![0.0, 0.0]))], DuplicatePolicy::Refuse)
    };
    assert_eq!(load("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(load("new").unwrap_err().kind(), ErrorKind::InvalidArgument);
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    docs.insert("b", &[1.0, 1.0]).map(drop).unwrap_err();
    drop(db);
    let db = open_on(&crashed, calm()).unwrap();
    let docs = db.collection("docs").unwrap();
    docs.insert("b", &[1.0, 1.0]).unwrap();
    assert_eq!(docs.get("b").unwrap().unwrap().ordinal().unwrap(), 1);
}

/// Found by `model`, on a real directory: a flush among the records of a load counted the ordinals of its first piece as used, durably, and the load
/// was refused.
#[test]
fn a_flush_during_a_refused_bulk_load_leaves_no_gap_in_the_ordinals() {
    let (disk, db, docs) = fresh(Options { memtable_bytes: 4096, ..calm() });
    docs.insert("a", &[1.0, 1.0]).unwrap();
    let long = "x".repeat(5000);
    let piece = |id| (id, Fields::from(vec![1.0, 2.0]).with_document(long.as_str()));
    let flushed = std::iter::once_with(|| {
        db.flush().unwrap();
        piece("a")
    });
    let load = docs.bulk_load([piece("new")].into_iter().chain(flushed), DuplicatePolicy::Refuse);
    assert_eq!(load.unwrap_err().kind(), ErrorKind::AlreadyExists);
    let crashed = kill(&disk, &CrashPlan::LoseAll);
    let db = open_on(&crashed, calm()).unwrap();
    let docs = db.collection("docs").unwrap();
    docs.insert("b", &[1.0, 1.0]).unwrap();
    assert_eq!(docs.get("b").unwrap().unwrap().ordinal().unwrap(), 1);
}

/// Found by `torture faults`: the log that a purge retired could not be removed. The receipt did not say so, and vouched for it.
#[test]
fn a_purge_names_the_files_whose_removal_failed() {
    let vector = [0x1234_5678_u32, 0x2345_6789].map(f32::from_bits);
    let purge = |once: Option<u64>, stuck: Option<&'static str>| {
        let disk = SimulatedDisk::new(SEED);
        let storage = Hooked::new(Arc::new(disk.clone()));
        let db = Database::open_on(Arc::new(storage.clone()), calm()).unwrap();
        let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
        docs.insert("a", &vector).unwrap();
        db.flush().unwrap();
        docs.upsert("a", &vector).unwrap();
        once.into_iter().for_each(|operation| disk.inject(operation, Fault::Errno(5)));
        stuck.into_iter().for_each(|name| storage.refuse_removals(name));
        disk.record_trace(true);
        let receipt = docs.purge(&["a"]).unwrap();
        let bytes: Vec<u8> = vector.iter().flat_map(|element| element.to_le_bytes()).collect();
        let holds = |content: &[u8]| content.windows(8).any(|window| window == bytes);
        let left: Vec<String> = disk.contents().into_iter().filter(|(_, content)| holds(content.used())).map(|(name, _)| name).collect();
        (disk.trace(), receipt, left)
    };
    let (trace, _, left) = purge(None, None);
    assert_eq!(left, [""; 0]);
    let removals: Vec<&Operation> = trace.iter().filter(|operation| operation.kind == OperationKind::Remove).collect();
    assert!(removals.iter().any(|removal| removal.name.starts_with("log-")) && removals.len() > 3, "{removals:?}");
    for removal in removals.iter().filter(|removal| !removal.name.starts_with("tmp-")) {
        let (_, _, left) = purge(Some(removal.number), None);
        assert_eq!(left, [""; 0], "{removal:?}: what failed once is tried again");
    }
    for kind in ["log-", "seg-"] {
        let (_, receipt, left) = purge(None, Some(kind));
        let named = |name: &String| receipt.cannot_vouch_for.iter().any(|text| text.contains(name));
        assert!(!left.is_empty() && left.iter().all(named), "{left:?} hold what was purged: {receipt:?}");
    }
}

/// Found by `torture faults`: a flush failed, and so did the removal of its file. The next purge knew nothing of that file, and vouched for it.
#[test]
fn a_purge_knows_the_files_that_failed_work_has_left() {
    let vector = [0x1234_5678_u32, 0x2345_6789].map(f32::from_bits);
    let bytes: Vec<u8> = vector.iter().flat_map(|element| element.to_le_bytes()).collect();
    let holds = |content: &[u8]| content.windows(8).any(|window| window == bytes);
    let begin = || {
        let disk = SimulatedDisk::new(SEED);
        let storage = Hooked::new(Arc::new(disk.clone()));
        let db = Database::open_on(Arc::new(storage.clone()), calm()).unwrap();
        let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
        docs.insert("a", &vector).unwrap();
        (disk, storage, db, docs)
    };
    let operations = {
        let (disk, _, db, _) = begin();
        let first = disk.operations();
        db.flush().unwrap();
        disk.operations() - first
    };
    let (mut left_behind, mut named) = (0, 0);
    for (operation, stays) in (0..operations).flat_map(|operation| [(operation, false), (operation, true)]) {
        let (disk, storage, db, docs) = begin();
        storage.refuse_removals("seg-");
        disk.inject(disk.operations() + operation, Fault::Errno(5));
        let failed = db.flush().is_err();
        let holding = || disk.contents().into_iter().filter(|(_, content)| holds(content.used())).map(|(name, _)| name);
        if !failed || !holding().any(|name| name.starts_with("seg-")) || docs.insert("b", &[1.0, 2.0]).is_err() {
            continue;
        }
        left_behind += 1;
        storage.refuse_removals(if stays { "seg-" } else { "none" });
        let receipt = docs.purge(&["a"]).unwrap();
        for name in holding() {
            let text = receipt.cannot_vouch_for.iter().find(|text| text.contains(&name));
            assert!(stays && text.is_some(), "operation {operation}: {name} holds what was purged: {receipt:?}");
            named += 1;
        }
    }
    assert!(left_behind > 1 && named > 0, "no fault left a file behind: {left_behind}, {named}");
}

/// Found by `torture faults`: a reader that could not read the LOCK page took the writer for one that had acknowledged nothing, and read the log to
/// its end, batches included that a power cut could take back.
#[test]
fn a_reader_that_cannot_read_the_synced_point_says_so() {
    let (disk, _db, docs) = fresh(calm());
    docs.clone().durability(Durability::Buffered).insert("not synced", &[1.0, 2.0]).unwrap();
    let reader = || Database::open_read_only_on(Arc::new(disk.clone()), calm());
    disk.record_trace(true);
    let first = disk.operations();
    assert_eq!(reader().unwrap().collection("docs").unwrap().count().unwrap(), 0);
    let of_lock = |operation: &&Operation| operation.name == "LOCK" && operation.kind != OperationKind::Lock;
    let numbers: Vec<u64> = disk.trace().iter().filter(of_lock).map(|operation| operation.number - first).collect();
    assert!(numbers.len() > 2, "{numbers:?}");
    for number in numbers {
        disk.inject(disk.operations() + number, Fault::Errno(5));
        match reader() {
            Ok(reader) => assert_eq!(reader.collection("docs").unwrap().count().unwrap(), 0, "operation {number}"),
            Err(error) => assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("LOCK")), "operation {number}: {error:?}"),
        }
    }
}

/// What readers see would be batches that no device holds yet, or an older state than the acknowledged one, and nobody could tell.
#[test]
fn a_writer_that_cannot_tell_readers_what_is_synced_does_not_write() {
    let on_lock = |disk: &SimulatedDisk, first: u64| -> Vec<u64> {
        let writes = |operation: &&Operation| operation.name == "LOCK" && operation.kind == OperationKind::Write;
        disk.trace().iter().filter(writes).map(|operation| operation.number - first).collect()
    };
    // At the open.
    let (disk, db, _) = fresh(calm());
    db.close().unwrap();
    disk.record_trace(true);
    let first = disk.operations();
    Database::open_on(Arc::new(disk.clone()), calm()).unwrap().close().unwrap();
    let numbers = on_lock(&disk, first);
    assert_eq!(numbers.len(), 2, "the holder and a first point");
    for number in numbers {
        disk.inject(disk.operations() + number, Fault::Errno(5));
        let error = Database::open_on(Arc::new(disk.clone()), calm()).map(drop).unwrap_err();
        assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("LOCK")), "{error:?}");
        disk.heal();
    }
    // At a synced write.
    let db = Database::open_on(Arc::new(disk.clone()), calm()).unwrap();
    let docs = db.collection("docs").unwrap();
    disk.record_trace(true);
    let first = disk.operations();
    docs.insert("seen", &[1.0, 2.0]).unwrap();
    let numbers = on_lock(&disk, first);
    assert_eq!(numbers.len(), 1, "one write a group");
    disk.inject(disk.operations() + numbers[0], Fault::Errno(5));
    let error = docs.insert("not told", &[1.0, 2.0]).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Io, Some("LOCK")), "{error:?}");
    assert_eq!((docs.contains("seen").unwrap(), docs.contains("not told").unwrap()), (true, false), "nobody here may see what was refused");
    let reader = Database::open_read_only_on(Arc::new(disk.clone()), calm()).unwrap();
    assert_eq!(reader.collection("docs").unwrap().count().unwrap(), 1);
    assert_eq!(docs.insert("refused", &[1.0, 2.0]).unwrap_err().kind(), ErrorKind::Poisoned);
}

/// Simpler rule: the batches that recovery writes again are gathered first. Here they are larger than what it gathers, and all are there.
#[test]
fn a_large_group_that_was_not_synced_is_written_again_whole() {
    let disk = SimulatedDisk::new(21);
    let options = || Options { memtable_bytes: 64 << 20, ..calm() };
    let db = Database::open_on(Arc::new(disk.clone()), options()).unwrap();
    let docs = db.create_collection("docs", 1024, Metric::L2).unwrap().durability(Durability::Buffered);
    for number in 0..700_u32 {
        docs.upsert(number.to_be_bytes(), vec![number as f32; 1024].as_slice()).unwrap();
    }
    let mut disk = disk.crash(&CrashPlan::KeepAll);
    // What the first recovery writes again is proven for the second, whatever the cache drops then.
    for plan in [CrashPlan::KeepAll, CrashPlan::LoseAll] {
        let db = Database::open_on(Arc::new(disk.clone()), options()).unwrap();
        let docs = db.collection("docs").unwrap();
        assert_eq!(docs.count().unwrap(), 700);
        assert!(
            (0..700_u32).all(|number| docs.get(number.to_be_bytes()).unwrap().unwrap().iter().all(|element| *element == number as f32))
        );
        disk = disk.crash(&plan);
    }
    assert_eq!(Database::open_on(Arc::new(disk), options()).unwrap().collection("docs").unwrap().count().unwrap(), 700);
}

/// Simpler rule: what is to be erased soon is frozen at once. While another memtable waits for its flush it cannot be; it is later.
#[test]
fn what_is_to_be_erased_waits_for_a_flush_that_fails() {
    let disk = SimulatedDisk::new(22);
    let options = Options { memtable_bytes: 1 << 16, erase_after: Duration::from_secs(60), ..calm() };
    let db = Database::open_on(Arc::new(disk.clone()), options).unwrap();
    let docs = db.create_collection("docs", 16, Metric::L2).unwrap();
    let write = |ids: std::ops::Range<u32>| ids.for_each(|id| docs.upsert(id.to_be_bytes(), &[id as f32; 16]).map(drop).unwrap());
    write(0..20);
    // No descriptors: the log, which is open, takes writes; a flush makes no file.
    disk.inject(disk.operations(), Fault::Sticky(24));
    let flushes = db.stats().unwrap().flushes;
    for id in 20.. {
        write(id..id + 1);
        if db.stats().unwrap().background_error.is_some() {
            break;
        }
    }
    docs.delete(3_u32.to_be_bytes()).unwrap();
    disk.clock().advance(Duration::from_secs(61));
    docs.upsert("late", &[1.0; 16]).unwrap();
    assert_eq!(db.stats().unwrap().flushes, flushes, "{:?}", db.stats());
    disk.heal();
    write(500..502);
    assert_eq!(db.stats().unwrap().flushes, flushes + 2, "the one that failed, and the delete that was due: {:?}", db.stats());
    assert!(docs.get(3_u32.to_be_bytes()).unwrap().is_none());
}
