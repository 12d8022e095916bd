//! Places where a database is not, not yet, or not any more: what a failed or killed repair, checkpoint, creation or refused open leaves.

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

use std::{path::Path, sync::Arc};

use support::{
    state::observe,
    subjects::{image, killed, memory, options},
};
use varvite::{
    Database, ErrorKind, Metric, Options,
    io::{
        Storage,
        fs::Directory,
        memory::Memory,
        simulated::{CrashPlan, Fault, SimulatedDisk},
    },
};

fn names(storage: &dyn Storage) -> Vec<String> {
    storage.list().unwrap().into_iter().map(|info| info.name).collect()
}

/// Opening fails, and so does `verify`: there is nothing here.
fn is_no_database(storage: &dyn Storage, open: Arc<dyn Storage>, context: &str) {
    let opened = Database::open_read_only_on(open, options()).map(drop).unwrap_err();
    let verified = Database::verify_on(storage, &options()).unwrap_err();
    assert_eq!((opened.kind(), verified.kind()), (ErrorKind::NotFound, ErrorKind::NotFound), "{context}: {opened} / {verified}");
    assert_eq!(opened.to_string(), verified.to_string(), "{context}");
}

/// Runs something that fills a disk, with a fault at every operation; then again on what that left.
fn at_every_operation(fault: &Fault, run: impl Fn(&SimulatedDisk) -> varvite::Result<()>) {
    for operation in 0.. {
        let disk = SimulatedDisk::new(5);
        disk.inject(operation, *fault);
        let result = run(&disk);
        if result.is_ok() && disk.operations() <= operation {
            assert!(operation > 20, "the fault never came");
            return;
        }
        let plans = [CrashPlan::KeepAll, CrashPlan::LoseAll].into_iter().chain((0..4).map(|seed| CrashPlan::Random { seed }));
        let disks: Vec<_> = match fault {
            Fault::PowerCut => plans.map(|plan| (format!("{plan:?} at {operation}"), disk.crash(&plan))).collect(),
            _ => vec![(format!("{fault:?} at {operation}"), disk)],
        };
        for (context, left) in disks {
            is_complete_or_can_be_repeated(left, fault, result.is_ok(), &context, &run);
        }
    }
}

fn is_complete_or_can_be_repeated(
    left: SimulatedDisk,
    fault: &Fault,
    is_done: bool,
    context: &str,
    run: &impl Fn(&SimulatedDisk) -> varvite::Result<()>,
) {
    // A power cut may come between the manifest and the answer: then all of it is there.
    let is_complete = is_done || Database::verify_on(&left, &options()).is_ok();
    if !is_complete {
        is_no_database(&left, Arc::new(left.clone()), context);
        if !matches!(fault, Fault::PowerCut) {
            assert_eq!(names(&left), Vec::<String>::new(), "{context}: left behind");
        }
        run(&left).unwrap_or_else(|error| panic!("{context}: the second attempt: {error}"));
    }
    assert!(is_done || !is_complete || matches!(fault, Fault::PowerCut), "{context}: failed, but left a database");
    let report = Database::verify_on(&left, &options()).unwrap();
    // Cut behind the manifest, its temporary name may be there still; the next open removes it.
    let is_cut = is_complete && !is_done;
    assert!(report.damages.is_empty() && (is_cut || report.orphans.is_empty()), "{context}: {report:?}");
    assert!(observe(&Database::open_on(Arc::new(left), options()).unwrap()).unwrap().len() > 1, "{context}");
}

#[test]
fn a_repair_is_a_database_when_it_is_complete_and_not_before() {
    let source = memory(&killed().files);
    let repair = |disk: &SimulatedDisk| Database::repair_on(&source, Arc::new(disk.clone()), options()).map(drop);
    at_every_operation(&Fault::Errno(28), repair);
    at_every_operation(&Fault::Errno(5), repair);
    at_every_operation(&Fault::PowerCut, repair);
}

#[test]
fn a_checkpoint_is_a_database_when_it_is_complete_and_not_before() {
    let db = Database::open_on(Arc::new(memory(&killed().files)), options()).unwrap();
    let checkpoint = |disk: &SimulatedDisk| db.checkpoint_on(Arc::new(disk.clone()));
    at_every_operation(&Fault::Errno(28), checkpoint);
    at_every_operation(&Fault::Errno(5), checkpoint);
    at_every_operation(&Fault::PowerCut, checkpoint);
}

fn entries(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

#[test]
fn what_is_refused_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let only_existing = || Options { create_if_missing: false, ..Options::default() };
    let error = Database::open(place.path(), only_existing()).unwrap_err();
    assert_eq!((error.kind(), entries(place.path())), (ErrorKind::NotFound, 0), "{error}");
    let target = place.path().join("new");
    let error = Database::repair(place.path(), &target, Options::default()).unwrap_err();
    assert_eq!((error.kind(), target.exists()), (ErrorKind::NotFound, false), "{error}");
    // Something else is there already: it stays, and nothing is added.
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("notes"), "mine").unwrap();
    let db = Database::open(place.path().join("db"), Options::default()).unwrap();
    db.create_collection("docs", 1, Metric::L2).unwrap();
    let repaired = Database::repair(place.path(), &target, Options::default()).unwrap_err();
    let copied = db.checkpoint(&target).unwrap_err();
    assert_eq!((repaired.kind(), copied.kind(), entries(&target)), (ErrorKind::AlreadyExists, ErrorKind::AlreadyExists, 1));
}

/// A killed checkpoint leaves hard links of the source: the next one replaces them, and the source keeps its files.
/// Junk under a name of ours, alone or beside an attempt that a power cut has stopped: it is named, and stays.
#[test]
fn a_target_that_holds_anything_else_is_refused_by_its_name() {
    let db = Database::open_on(Arc::new(memory(&killed().files)), options()).unwrap();
    let checkpoint = |disk: &SimulatedDisk| db.checkpoint_on(Arc::new(disk.clone()));
    let unfinished = (0..)
        .map(|operation| {
            let disk = SimulatedDisk::new(5);
            disk.inject(operation, Fault::PowerCut);
            checkpoint(&disk).unwrap_err();
            disk.crash(&CrashPlan::KeepAll)
        })
        .find(|disk| names(disk).iter().any(|name| name == "FLOOR"))
        .unwrap();
    let of_ours = ["seg-00000077", "log-00000077", "notes"];
    let cases = of_ours.map(|name| (unfinished.clone(), name)).into_iter();
    let cases = cases.chain(["FLOOR", "tmp-MANIFEST-00000001", "seg-00000001"].map(|name| (SimulatedDisk::new(5), name)));
    for (disk, name) in cases {
        let disk = disk.crash(&CrashPlan::KeepAll);
        disk.write_all(name, &[7; 100]).unwrap();
        let before = names(&disk);
        let error = checkpoint(&disk).unwrap_err();
        assert_eq!((error.kind(), names(&disk)), (ErrorKind::AlreadyExists, before), "{error}");
        assert!(error.to_string().contains(&format!("it holds {name}")), "{error}");
    }
    checkpoint(&unfinished).unwrap();
}

#[test]
fn a_killed_checkpoint_into_a_directory_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path().join("db"), options()).unwrap();
    db.create_collection("docs", 1, Metric::L2).unwrap().insert("a", &[1.0]).unwrap();
    let copy = place.path().join("copy");
    db.checkpoint(&copy).unwrap();
    let directory = Directory::open(&copy).unwrap();
    directory.remove("MANIFEST-00000001").unwrap();
    let mut slots = image(&directory)["FLOOR"].to_vec();
    // The slot of generation 1, as the creation wrote it, in both places: the floor is 0 again.
    slots.copy_within(4096..8192, 0);
    slots[64..72].copy_from_slice(&0_u64.to_le_bytes());
    let sum = (0..80)
        .fold(!0_u32, |sum, at| (0..8).fold(sum ^ u32::from(slots[at]), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg())));
    slots[80..84].copy_from_slice(&(!sum).to_le_bytes());
    std::fs::write(copy.join("FLOOR"), &slots).unwrap();
    is_no_database(&directory, Arc::new(Directory::open(&copy).unwrap()), "killed");
    db.collection("docs").unwrap().insert("b", &[2.0]).unwrap();
    db.checkpoint(&copy).unwrap();
    let report = Database::verify(&copy, options()).unwrap();
    assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
    assert_eq!(Database::open(&copy, options()).unwrap().collection("docs").unwrap().count().unwrap(), 2);
    assert!(Database::verify(place.path().join("db"), options()).unwrap().damages.is_empty());
}

/// Files that merely have our names: a text, a segment of another database, a number that nothing reaches.
#[test]
fn files_of_others_under_our_names_are_left_alone() {
    let storage = Memory::new();
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    db.create_collection("docs", 1, Metric::L2).unwrap().insert("a", &[1.0]).unwrap();
    db.close().unwrap();
    let other = killed().files.into_iter().find(|(name, _)| name.starts_with("seg-")).unwrap().1;
    let text = b"notes of somebody".to_vec();
    let theirs = [
        ("seg-00000050", text.clone()),
        ("log-00000051", text),
        ("seg-00000052", other.to_vec()),
        ("seg-18446744073709551615", vec![7; 100]),
    ];
    for (name, bytes) in &theirs {
        storage.create(name).unwrap().write_at(0, bytes).unwrap();
    }
    // What a crash leaves: no byte, zeros, the beginning of a header.
    let log = image(&storage).into_iter().find(|(name, _)| name.starts_with("log-")).unwrap().1;
    let mut begun = log[..64].to_vec();
    begun[24..].fill(0);
    for (name, bytes) in
        [("seg-00000040", vec![]), ("log-00000041", vec![0; 4096]), ("log-00000042", begun), ("tmp-MANIFEST-00000009", vec![1])]
    {
        storage.create(name).unwrap().write_at(0, &bytes).unwrap();
    }
    let report = Database::verify_on(&storage, &options()).unwrap();
    let mut expected: Vec<_> = theirs.iter().map(|(name, _)| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!((&report.foreign, report.orphans.len(), report.damages.len()), (&expected, 4, 0), "{report:?}");
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    db.collection("docs").unwrap().insert("b", &[2.0]).unwrap();
    db.flush().unwrap();
    db.close().unwrap();
    let report = Database::verify_on(&storage, &options()).unwrap();
    assert_eq!((&report.foreign, report.orphans.len(), report.damages.len()), (&expected, 0, 0), "{report:?}");
    assert!(theirs.iter().all(|(name, bytes)| *image(&storage)[*name] == *bytes), "changed");
    assert_eq!(report.records, 2);
}

#[test]
fn verify_counts_what_a_reader_sees() {
    let storage = Memory::new();
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    let docs = db.create_collection("docs", 1, Metric::L2).unwrap();
    let records = || Database::verify_on(&storage, &options()).unwrap().records;
    docs.insert_many(&["a", "b", "c"], &[1.0, 2.0, 3.0]).unwrap();
    assert_eq!(records(), 3, "in the log");
    db.flush().unwrap();
    docs.delete("a").unwrap();
    docs.update("b", &[4.0]).unwrap();
    docs.insert("d", &[4.0]).unwrap();
    assert_eq!((records(), docs.count().unwrap()), (3, 3), "a change of segments in the log");
}
