//! Compaction, purge and close end, do what they say, and say what they could not do.

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
    fs,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use support::{
    hooked::Hooked,
    machine::{open, options},
};
use varvite::{
    Background, Database, DuplicatePolicy, Durability, ErrorKind, Fields, Metric, Options, PurgeReceipt,
    io::{
        Storage,
        simulated::{CrashPlan, Fault, OperationKind, SimulatedDisk},
    },
};

const LONG: Duration = Duration::from_secs(60);

fn inline() -> Options {
    Options { background: Background::Inline, erase_after: LONG * 60, ..Options::default() }
}

/// Fails instead of hanging.
fn ends(work: impl FnOnce() + Send + 'static) {
    let (done, result) = mpsc::channel();
    let thread = thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    assert_ne!(result.recv_timeout(LONG), Err(mpsc::RecvTimeoutError::Timeout), "it does not end");
    thread.join().unwrap();
}

/// Flips a bit of what stands in the first segment file.
fn flip(directory: &Path, needle: &[u8]) {
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let file = files.find(|path| path.file_name().unwrap().to_string_lossy().starts_with("seg-")).unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at] ^= 1;
    fs::write(&file, bytes).unwrap();
}

/// Three collections in one segment file; a row of `damaged` cannot be read.
fn damaged(directory: &Path) -> Database {
    let mark = [1234.5_f32, 8765.25];
    let db = Database::open(directory, inline()).unwrap();
    for name in ["damaged", "sound", "dropped"] {
        let collection = db.create_collection(name, 2, Metric::L2).unwrap();
        for number in 0..50_u8 {
            let vector = if number == 25 && name == "damaged" { mark } else { [f32::from(number), 0.5] };
            collection.insert([number], &vector).unwrap();
        }
    }
    db.close().unwrap();
    flip(directory, &mark.map(f32::to_le_bytes).concat());
    let db = Database::open(directory, inline()).unwrap();
    assert!(db.collection("damaged").unwrap().delete([1]).unwrap());
    assert_eq!(db.compact().unwrap_err().kind(), ErrorKind::Corruption);
    db
}

/// Simpler rule: a file with bytes of no use is rewritten. One with a segment that was set aside stays, with more of them each time.
#[test]
fn compaction_ends_beside_a_damaged_segment() {
    ends(|| {
        let directory = tempfile::tempdir().unwrap();
        let db = damaged(directory.path());
        db.drop_collection("dropped").unwrap();
        assert!(db.collection("sound").unwrap().delete([1]).unwrap());
        db.compact().unwrap();
        db.wait_idle().unwrap();
        assert!(db.stats().unwrap().manifests < 20);
        assert_eq!(db.collection("sound").unwrap().iter().unwrap().map(Result::unwrap).count(), 49);
    });
}

/// Simpler rule: the receipt lists what was chosen. A damaged segment is not rewritten, and its file, with all that is in it, stays.
#[test]
fn a_purge_does_not_vouch_for_a_file_that_stays() {
    let directory = tempfile::tempdir().unwrap();
    let db = damaged(directory.path());
    for name in ["damaged", "sound"] {
        let receipt: PurgeReceipt = db.collection(name).unwrap().purge(&[[2]]).unwrap();
        assert_eq!(receipt.deleted, 1);
        let stays = receipt.cannot_vouch_for.iter().find_map(|text| text.split_once(": it stays")).map(|(file, _)| file.to_owned());
        let stays = stays.expect("a file that stays");
        assert!(directory.path().join(&stays).exists() && !receipt.files_rewritten.contains(&stays), "{receipt:?}");
    }
}

/// Simpler rule: writers wait while files hold too much that is dead. What a damaged segment holds nobody frees: every write waited a second.
#[test]
fn writers_do_not_wait_for_what_a_damaged_segment_holds() {
    let directory = tempfile::tempdir().unwrap();
    let db = Database::open(directory.path(), inline()).unwrap();
    let docs = db.create_collection("docs", 64, Metric::L2).unwrap();
    let vector = |number: u32| vec![if number == 5 { 1234.5 } else { 0.5 }; 64];
    let entries = (0..8_000_u32).map(|number| (number.to_be_bytes(), Fields::from(vector(number))));
    docs.bulk_load(entries, DuplicatePolicy::Refuse).unwrap();
    db.close().unwrap();
    flip(directory.path(), &1234.5_f32.to_le_bytes());
    let db = Database::open(directory.path(), inline()).unwrap();
    for number in 10..8_000_u32 {
        db.collection("docs").unwrap().durability(Durability::Buffered).delete(number.to_be_bytes()).unwrap();
    }
    db.close().unwrap();
    let threads = Options { memtable_bytes: 64 << 10, erase_after: LONG * 60, ..Options::default() };
    let db = Database::open(directory.path(), threads).unwrap();
    // This call or the thread finds the damage and sets the segment aside, whoever is first.
    let _refused = db.compact();
    db.compact().unwrap();
    db.wait_idle().unwrap();
    let stats = db.stats().unwrap();
    assert!(stats.total_bytes > stats.live_bytes * 10, "{stats:?}");
    let docs = db.collection("docs").unwrap();
    for number in 0..20_u32 {
        docs.upsert((10_000 + number).to_be_bytes(), &[1.0; 64]).unwrap();
    }
    let stalled = db.stats().unwrap().stall_time;
    assert!(stalled < Duration::from_secs(1), "20 writes waited {stalled:?} for nothing");
}

/// Simpler rule: sixteen small neighbours are joined. Where memory ends the segments, what comes out is sixteen small neighbours.
#[test]
fn compaction_ends_with_little_memory() {
    ends(|| {
        for merge_bytes in [0, 1 << 14, 1 << 17] {
            let db = Database::in_memory(Options { merge_bytes, ..inline() }).unwrap();
            let docs = db.create_collection("docs", 4, Metric::L2).unwrap();
            for round in 0..40_u16 {
                let ids: Vec<[u8; 4]> =
                    (0..300_u16).map(|number| [round.to_be_bytes(), number.to_be_bytes()].concat().try_into().unwrap()).collect();
                docs.insert_many(&ids, &[1.0; 1_200]).unwrap();
                db.flush().unwrap();
            }
            db.wait_idle().unwrap();
            db.compact().unwrap();
            assert_eq!((docs.count().unwrap(), docs.iter().unwrap().map(Result::unwrap).count()), (12_000, 12_000));
            assert_eq!(db.stats().unwrap().collections[0].runs, 1);
        }
    });
}

/// Simpler rule: `compact` ends when a compaction could not be published. It was only that the one in the background was faster.
#[test]
fn compact_leaves_nothing_to_do_whoever_was_faster() {
    let (idle_flush_after, erase_after) = (Duration::ZERO, Duration::from_millis(1));
    let options =
        Options { memtable_bytes: 256 << 10, idle_flush_after, erase_after, durability: Durability::Buffered, ..Options::default() };
    let db = Database::in_memory(options).unwrap();
    let docs = db.create_collection("docs", 64, Metric::L2).unwrap();
    for round in 0..20_u32 {
        for number in 0..1_500 {
            docs.upsert(((number * 7919 + round * 104_729) % 5_000).to_be_bytes(), &[1.0; 64]).unwrap();
        }
        db.compact().unwrap();
        let stats = db.stats().unwrap();
        assert_eq!((stats.collections[0].runs, stats.dead_bytes < 64 << 10), (1, true), "round {round}: {stats:?}");
    }
}

/// Simpler rule: `compact` goes on while anything is due. A writer beside it makes something due all the time, and it did not end.
#[test]
fn compact_ends_beside_a_writer() {
    let storage = Hooked::new(Arc::new(SimulatedDisk::new(0x5EED_0C20)));
    let db = Database::open_on(Arc::new(storage.clone()), inline()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    for round in 0..3_u8 {
        (0..50_u8).for_each(|number| drop(docs.upsert([round * 20 + number], &[f32::from(number), 0.5]).unwrap()));
        db.flush().unwrap();
    }
    let written = Arc::new(AtomicU8::new(0));
    write_at_segments(&storage, &db, &written);
    db.compact().unwrap();
    let written = written.load(Ordering::Relaxed);
    assert!((1..20).contains(&written), "{written} writes were waited for");
    assert_eq!(docs.count().unwrap(), 90);
}

/// Has a record written and flushed whenever a compaction begins a file, so that there is always something to compact.
fn write_at_segments(storage: &Hooked, db: &Database, written: &Arc<AtomicU8>) {
    let (again, db, written) = (storage.clone(), db.clone(), Arc::clone(written));
    storage.at_next_segment(move || {
        let number = written.fetch_add(1, Ordering::Relaxed);
        let (done, flushed) = mpsc::channel();
        let writer = thread::spawn(move || {
            db.collection("docs").unwrap().upsert([number % 50], &[0.5, f32::from(number)]).unwrap();
            db.flush().unwrap();
            if number < 60 {
                write_at_segments(&again, &db, &written);
            }
            drop(done);
        });
        // A publication that began this file must not be kept waiting: the flush comes after it then.
        let _timed_out: Result<(), _> = flushed.recv_timeout(Duration::from_millis(50));
        drop(writer);
    });
}

/// Simpler rule: `close` releases the lock. A batch that is being synced then is acknowledged behind the back of the next owner.
#[test]
fn close_waits_for_the_batch_that_is_being_synced() {
    let disk = SimulatedDisk::new(0x5EED_0C10);
    let storage = Hooked::new(Arc::new(disk.clone()));
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    db.flush().unwrap();
    let kept = disk.clone();
    let (give, take) = mpsc::channel();
    storage.at_next_sync("log-", move || {
        give.send(thread::spawn(move || db.close())).unwrap();
        thread::sleep(Duration::from_millis(200));
        assert_eq!(
            disk.lock("LOCK").map(drop).map_err(|error| error.kind()),
            Err(std::io::ErrorKind::WouldBlock),
            "nobody else may write yet"
        );
        Ok(())
    });
    docs.insert("a", &[1.0, 2.0]).unwrap();
    take.recv().unwrap().join().unwrap().unwrap();
    assert_eq!(docs.insert("b", &[1.0, 2.0]).unwrap_err().kind(), ErrorKind::Closed);
    drop(docs);
    assert!(open(&kept).unwrap().collection("docs").unwrap().contains("a").unwrap());
}

/// The same for a compaction, which writes files without any lock of the writers.
#[test]
fn close_keeps_the_lock_for_a_compaction_that_goes_on() {
    let disk = SimulatedDisk::new(0x5EED_0C11);
    let storage = Hooked::new(Arc::new(disk.clone()));
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    for round in 0..2_u8 {
        (0..20_u8).for_each(|number| drop(docs.upsert([number], &[f32::from(round), 2.0]).unwrap()));
        db.flush().unwrap();
    }
    docs.upsert([0], &[5.0, 5.0]).unwrap();
    db.flush().unwrap();
    let (other, watched) = (db.clone(), disk.clone());
    storage.at_next_sync("seg-", move || {
        other.close().unwrap();
        assert_eq!(watched.lock("LOCK").map(drop).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
        Ok(())
    });
    let error = db.compact().unwrap_err();
    assert!(storage.has_run());
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    assert!(disk.lock("LOCK").is_ok());
}

/// A compaction that began before the purge has copied what is purged: the receipt is given when its copy is gone too.
#[test]
fn a_purge_waits_for_the_compactions_that_began_before_it() {
    let storage = Hooked::new(Arc::new(SimulatedDisk::new(0x5EED_0C21)));
    let db = Database::open_on(Arc::new(storage.clone()), inline()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    for round in 0..3_u8 {
        (0..50_u8).for_each(|number| drop(docs.upsert([round * 20 + number], &[f32::from(number), 0.5]).unwrap()));
        db.flush().unwrap();
    }
    let ((begun, has_begun), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel::<()>());
    storage.at_next_segment(move || {
        begun.send(()).unwrap();
        may_go_on.recv().unwrap();
    });
    thread::scope(|scope| {
        let compaction = scope.spawn(|| db.compact().unwrap());
        has_begun.recv().unwrap();
        let purge = scope.spawn(|| docs.purge(&[[60_u8]]).unwrap());
        // Time in which it would end, if it did not wait.
        thread::sleep(Duration::from_millis(300));
        let waits = !purge.is_finished();
        go_on.send(()).unwrap();
        assert!(waits, "a receipt beside a compaction that holds a copy");
        let receipt = purge.join().unwrap();
        assert_eq!(receipt.deleted, 1);
        assert!(!receipt.cannot_vouch_for.iter().any(|text| text.starts_with("seg-")), "{receipt:?}");
        compaction.join().unwrap();
    });
    assert_eq!((docs.count().unwrap(), docs.contains([60_u8]).unwrap()), (89, false));
}

/// Simpler rule: what is dead is erased once so much time has passed on the wall clock. Set back by a day, that clock adds a day.
#[test]
fn a_clock_set_back_does_not_delay_what_is_to_be_erased() {
    let disk = SimulatedDisk::new(3);
    let db = Database::open_on(Arc::new(disk.clone()), Options { memtable_bytes: 1 << 16, ..inline() }).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    let stands_somewhere = || {
        let segments = disk.list().unwrap().into_iter().filter(|info| info.name.starts_with("seg-"));
        let holds = |bytes: &[u8]| bytes.windows(6).any(|window| window == b"secret");
        segments.map(|info| disk.open_read(&info.name).unwrap().map().unwrap()).any(|bytes| holds(&bytes))
    };
    // So many that flushes and what follows them are due several times.
    let write = |ids: Range<u32>| ids.for_each(|id| docs.upsert(id.to_string(), &[id as f32, 1.0]).map(drop).unwrap());
    docs.upsert("x", Fields::vector(&[1.0, 1.0]).with_document("secret")).unwrap();
    write(0..10_000);
    db.flush().unwrap();
    docs.delete("x").unwrap();
    write(10_000..12_000);
    assert!(stands_somewhere(), "not due yet");
    disk.clock().shift_wall_clock(-86_400);
    write(12_000..14_000);
    assert!(!stands_somewhere(), "{:?}", db.stats());
}

/// Simpler rule: a directory that cannot be listed has no orphans. They would stay, with what they hold, and nobody would know.
#[test]
fn a_directory_that_cannot_be_listed_is_the_error_of_the_open() {
    let disk = SimulatedDisk::new(4);
    drop(Database::open_on(Arc::new(disk.clone()), inline()).unwrap());
    let before = disk.operations();
    disk.record_trace(true);
    drop(Database::open_on(Arc::new(disk.clone()), inline()).unwrap());
    let lists: Vec<u64> =
        disk.trace().iter().filter(|op| op.number >= before && op.kind == OperationKind::List).map(|op| op.number - before).collect();
    assert!(!lists.is_empty());
    for at in lists {
        let disk = disk.crash(&CrashPlan::KeepAll);
        disk.inject(disk.operations() + at, Fault::Errno(libc::EIO));
        let opened = Database::open_on(Arc::new(disk.clone()), inline()).map(drop);
        assert_eq!(opened.map_err(|error| error.kind()), Err(ErrorKind::Io), "listing {at}");
        Database::open_on(Arc::new(disk), inline()).unwrap();
    }
}
