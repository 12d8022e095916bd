//! Bad input, and what only another's hand can bring about: a named error, and nothing changed.

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
    sync::{Arc, Barrier},
    thread,
};

use support::{
    hooked::Hooked,
    machine::{open_on, options},
};
use varvite::{
    Collection, Database, DuplicatePolicy, Error, ErrorKind, Fields, Metadata, Metric, Options, Result,
    io::{
        Storage,
        memory::Memory,
        simulated::{CrashPlan, Fault, SimulatedDisk},
    },
};

fn docs() -> (Database, Collection) {
    let db = Database::in_memory(options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.insert("a", &[1.0, 2.0]).unwrap();
    (db, docs)
}

/// Whatever is tried is refused so, in words that hold these, and leaves sequence and count alone.
#[track_caller]
fn refused<T: std::fmt::Debug>(db: &Database, docs: &Collection, kind: ErrorKind, words: &str, call: impl FnOnce() -> Result<T>) {
    let state = || (db.snapshot().unwrap().sequence(), docs.count().unwrap());
    let before = state();
    let error = call().unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert_eq!(state(), before, "{error}");
}

#[test]
fn a_search_needs_a_neighbour_and_whole_queries() {
    let (db, docs) = docs();
    refused(&db, &docs, ErrorKind::InvalidArgument, "k = 0", || docs.search(&[0.0, 0.0], 0));
    refused(&db, &docs, ErrorKind::InvalidArgument, "0 elements", || docs.snapshot().search_many(&[], 1));
    refused(&db, &docs, ErrorKind::InvalidArgument, "3 elements", || docs.search(&[0.0, 0.0, 0.0], 1));
    refused(&db, &docs, ErrorKind::InvalidArgument, "dimension 2", || docs.snapshot().search_many(&[0.0; 5], 1));
}

#[test]
fn an_array_call_needs_a_row_for_each_id() {
    let (db, docs) = docs();
    refused(&db, &docs, ErrorKind::InvalidArgument, "2 ids", || docs.upsert_many(&["b", "c"], &[0.0; 3]));
    refused(&db, &docs, ErrorKind::InvalidArgument, "0 ids", || docs.insert_many::<&str>(&[], &[0.0; 2]));
}

#[test]
fn a_bulk_load_needs_vectors_and_its_collection_and_may_be_empty() {
    let (db, docs) = docs();
    let nothing: [(&str, Fields<'_>); 0] = [];
    let before = db.snapshot().unwrap().sequence();
    assert_eq!(docs.bulk_load(nothing, DuplicatePolicy::Refuse).unwrap(), 0);
    assert_eq!(db.snapshot().unwrap().sequence(), before);
    refused(&db, &docs, ErrorKind::InvalidArgument, "record 1 (c): a bulk load needs a vector", || {
        let entries = [("b", Fields::from(vec![0.0, 0.0])), ("c", Fields::default().with_metadata(Metadata::new()))];
        docs.bulk_load(entries, DuplicatePolicy::LastWins)
    });
    // Dropped while its last record is read.
    let large = db.create_collection("large", 65_535, Metric::L2).unwrap();
    let row = vec![0.5; 65_535];
    let mut given = 0;
    let entries = std::iter::from_fn(|| {
        given += 1;
        if given == 5 {
            db.drop_collection("large").unwrap();
        }
        (given < 5).then(|| (format!("{given}"), Fields::vector(&row)))
    });
    let error = large.bulk_load(entries, DuplicatePolicy::Refuse).unwrap_err();
    assert_eq!((error.kind(), error.to_string().contains("was dropped")), (ErrorKind::NotFound, true), "{error}");
    assert_eq!(docs.count().unwrap(), 1);
}

#[test]
fn a_batch_takes_collections_of_its_own_database() {
    let (db, docs) = docs();
    let (_other, foreign) = self::docs();
    refused(&db, &docs, ErrorKind::InvalidArgument, "another database handle", || {
        let mut batch = db.batch();
        batch.upsert(&foreign, "b", &[0.0, 0.0])?;
        batch.commit()
    });
}

#[test]
fn a_closed_database_creates_nothing() {
    let (db, _) = docs();
    let other = db.clone();
    db.close().unwrap();
    let error = other.get_or_create_collection("more", 2, Metric::L2).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
}

#[test]
fn whoever_is_slower_gets_the_collection_that_the_other_created() {
    let db = Database::in_memory(options()).unwrap();
    for round in 0..100 {
        let (name, start) = (format!("docs {round}"), Barrier::new(2));
        let create = || {
            start.wait();
            db.get_or_create_collection(&name, 2, Metric::L2).unwrap().name()
        };
        let names = thread::scope(|scope| [scope.spawn(create), scope.spawn(create)].map(|thread| thread.join().unwrap()));
        assert_eq!(names, [name.clone(), name.clone()]);
    }
    assert_eq!(db.list_collections().unwrap().len(), 100);
}

#[test]
fn a_collection_of_another_shape_is_not_the_one_that_was_asked_for() {
    let (db, docs) = docs();
    assert_eq!(db.get_or_create_collection("docs", 2, Metric::L2).unwrap().count().unwrap(), 1);
    refused(&db, &docs, ErrorKind::InvalidArgument, "dimension 2", || db.get_or_create_collection("docs", 3, Metric::L2));
    refused(&db, &docs, ErrorKind::InvalidArgument, "metric l2", || db.get_or_create_collection("docs", 2, Metric::Dot));
    refused(&db, &docs, ErrorKind::InvalidArgument, "dimension 0", || db.get_or_create_collection("docs", 0, Metric::L2));
}

#[test]
fn a_network_file_system_is_refused_unless_it_is_allowed() {
    let storage = Arc::new(Hooked::on_a_network(Arc::new(Memory::new())));
    let open = |allow| Database::open_on(storage.clone(), Options { allow_network_file_system: allow, ..options() });
    let error = open(false).unwrap_err();
    assert!(error.to_string().contains("network"), "{error}");
    assert!(storage.list().unwrap().is_empty());
    open(true).unwrap().close().unwrap();
}

/// A checkpoint shares files: a purge cannot take them away from it, and says so.
#[test]
fn a_purge_does_not_vouch_for_what_a_checkpoint_holds() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db"), options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.upsert_many(&["a", "b"], &[1.0, 2.0, 3.0, 4.0]).unwrap();
    db.flush().unwrap();
    db.checkpoint(place.path().join("copy")).unwrap();
    let receipt = docs.purge(&["a"]).unwrap();
    let [file] = &*receipt.files_rewritten else { panic!("{receipt:?}") };
    assert!(receipt.cannot_vouch_for.iter().any(|text| text.starts_with(file) && text.contains("hard link")), "{receipt:?}");
    assert!(fs::exists(place.path().join("copy").join(file)).unwrap());
}

/// The newest manifest under the number of a later one.
fn renumbered() -> (SimulatedDisk, String) {
    let disk = SimulatedDisk::new(1);
    let db = open_on(&disk, options()).unwrap();
    db.create_collection("docs", 2, Metric::L2).unwrap().insert("a", &[1.0, 2.0]).unwrap();
    db.close().unwrap();
    let newest = disk.names().into_iter().rfind(|name| name.starts_with("MANIFEST-")).unwrap();
    let later = format!("MANIFEST-{:08}", newest["MANIFEST-".len()..].parse::<u64>().unwrap() + 1);
    disk.write_all(&later, &disk.read_all(&newest).unwrap()).unwrap();
    (disk, later)
}

#[test]
fn a_manifest_under_another_number_is_refused_by_name() {
    let (disk, later) = renumbered();
    let names = disk.names();
    let error: Error = open_on(&disk, options()).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(later.as_str())), "{error}");
    assert_eq!(disk.names(), names);
    let report = Database::verify_on(&disk, &options()).unwrap();
    assert!(report.damages.iter().any(|damage| damage.file() == Some(later.as_str())), "{report:?}");
    let repaired = SimulatedDisk::new(2);
    Database::repair_on(&disk, Arc::new(repaired.clone()), options()).unwrap();
    assert_eq!(open_on(&repaired, options()).unwrap().collection("docs").unwrap().count().unwrap(), 1);
}

/// Beside a writer a file may change while it is read, and is read again: but damage that stays is told, not waited for.
#[test]
fn damage_beside_a_live_writer_is_told() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path(), options()).unwrap();
    db.create_collection("docs", 2, Metric::L2).unwrap().insert("a", &[1.0, 2.0]).unwrap();
    db.flush().unwrap();
    let segment_file = |entry: fs::DirEntry| entry.file_name().into_string().ok().filter(|name| name.starts_with("seg-"));
    let name = fs::read_dir(place.path()).unwrap().find_map(|entry| segment_file(entry.unwrap())).unwrap();
    let mut bytes = fs::read(place.path().join(&name)).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(place.path().join(&name), bytes).unwrap();
    let error = Database::open_read_only(place.path(), options()).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(name.as_str())), "{error}");
    let report = Database::verify(place.path(), options()).unwrap();
    assert!(report.damages.iter().any(|damage| damage.file() == Some(name.as_str())), "{report:?}");
}

/// Every call of a verification fails, once and from then on. What could not be read for want of descriptors is the call's error, and no damage.
#[test]
fn a_verification_that_runs_out_of_descriptors_reports_no_damage() {
    let disk = SimulatedDisk::new(9);
    let db = open_on(&disk, options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.insert("a", &[1.0, 2.0]).unwrap();
    db.flush().unwrap();
    docs.insert("b", &[3.0, 4.0]).unwrap();
    drop((docs, db));
    let (eio, emfile) = (5, 24);
    for fault in [Fault::Errno(emfile), Fault::Sticky(emfile), Fault::Errno(eio), Fault::Sticky(eio)] {
        for operation in 0.. {
            let disk = disk.crash(&CrashPlan::KeepAll);
            let before = disk.operations();
            disk.inject(before + operation, fault);
            let verified = Database::verify_on(&disk, &options());
            if disk.operations() - before <= operation {
                assert!(operation > 10 && verified.unwrap().damages.is_empty());
                break;
            }
            let context = format!("{fault:?} at operation {operation}: {verified:?}");
            match &verified {
                Ok(report) if matches!(fault, Fault::Errno(number) | Fault::Sticky(number) if number == emfile) => {
                    assert!(report.damages.is_empty(), "{context}");
                }
                Ok(report) => assert!(report.damages.iter().all(|damage| damage.kind() == ErrorKind::Io), "{context}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Io, "{context}"),
            }
        }
    }
}

/// Files come and go beside a reader: whatever it does not find, at whichever call, it looks again, or says so; what it reads is the state.
#[test]
fn a_reader_that_misses_a_file_looks_again_or_says_so() {
    let disk = SimulatedDisk::new(10);
    let db = open_on(&disk, options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.insert("a", &[1.0, 2.0]).unwrap();
    db.flush().unwrap();
    docs.insert("b", &[3.0, 4.0]).unwrap();
    let (enoent, mut found) = (2, 0);
    for live in [true, false] {
        let disk = if live { disk.clone() } else { disk.crash(&CrashPlan::KeepAll) };
        for operation in 0.. {
            let before = disk.operations();
            disk.inject(before + operation, Fault::Errno(enoent));
            let opened = Database::open_read_only_on(Arc::new(disk.clone()), options());
            let is_past = disk.operations() - before <= operation;
            match opened.and_then(|reader| reader.collection("docs")?.count()) {
                Ok(count) => {
                    found += 1;
                    assert_eq!(count, 2, "live {live}, operation {operation}");
                }
                Err(error) => assert!(!is_past && error.kind() != ErrorKind::Poisoned, "live {live}, operation {operation}: {error:?}"),
            }
            disk.heal();
            if is_past {
                break;
            }
        }
    }
    assert!(found > 6, "{found}");
}

/// Files that go while a repair reads: it refuses, or it says what is lost.
#[test]
fn a_repair_that_misses_a_file_says_what_is_lost() {
    let disk = SimulatedDisk::new(11);
    let db = open_on(&disk, options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.insert("a", &[1.0, 2.0]).unwrap();
    db.flush().unwrap();
    docs.insert("b", &[3.0, 4.0]).unwrap();
    for operation in 0.. {
        let disk = disk.crash(&CrashPlan::KeepAll);
        let before = disk.operations();
        disk.inject(before + operation, Fault::Errno(2));
        let repaired = Database::repair_on(&disk, Arc::new(Memory::new()), options());
        let is_past = disk.operations() - before <= operation;
        match repaired {
            Ok(report) => assert!(report.salvaged == 2 || !report.lost.is_empty(), "operation {operation}: {report:?}"),
            Err(error) => assert!(!is_past, "operation {operation}: {error:?}"),
        }
        if is_past {
            break;
        }
    }
}
