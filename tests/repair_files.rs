//! What `repair` saves where the manifest, or what it names, is missing, foreign, cut or longer than it should be.

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

use std::{collections::BTreeSet, sync::Arc};

use support::{
    salvage::repair_image,
    subjects::{Image, image, memory, options},
};
use varvite::{
    Database, ErrorKind, Metric, Options, RepairReport,
    io::{
        Storage,
        memory::Memory,
        simulated::{Fault, SimulatedDisk},
    },
};

fn says(report: &RepairReport, text: &str) -> bool {
    report.lost.iter().any(|lost| lost.reason.contains(text))
}

/// Two collections of one dimension with ids in common, and dead rows of both kinds in each.
fn alike() -> Image {
    let storage = Memory::new();
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    for (name, first) in [("one", 1.0), ("two", 2.0)] {
        let collection = db.create_collection(name, 2, Metric::Dot).unwrap();
        let ids: Vec<String> = (0..40).map(|id| format!("{id:02}")).collect();
        collection.insert_many(&ids, &[first, 0.0].repeat(40)).unwrap();
    }
    db.flush().unwrap();
    for name in ["one", "two"] {
        let collection = db.collection(name).unwrap();
        collection.delete("03").unwrap();
        collection.update("05", &[9.0, 9.0]).unwrap();
        collection.insert(format!("new in {name}"), &[3.0, 3.0]).unwrap();
    }
    db.flush().unwrap();
    image(&storage)
}

fn without_manifest(mut files: Image) -> Image {
    files.retain(|name, _| !name.starts_with("MANIFEST"));
    files
}

#[test]
fn without_a_manifest_collections_stay_apart_and_the_dead_stay_dead() {
    let (found, report) = repair_image(&without_manifest(alike()));
    assert_eq!(report.salvaged, 80, "40 records of each collection: {report:?}");
    assert_eq!(found.values().map(BTreeSet::len).sum::<usize>(), 80, "none overwrote another: {found:?}");
    assert!(found.values().all(|ids| !ids.contains("03")), "deleted, and the kill block is whole: {found:?}");
    assert_eq!(found.values().filter(|ids| ids.contains("05")).count(), 2, "once in each collection: {found:?}");
    assert_eq!(found.values().filter(|ids| ids.contains("07")).count(), 2, "{found:?}");
    assert!(found.keys().all(|name| name.starts_with("recovered-2")), "{found:?}");
    for unknown in ["names and metrics", "only the logs held", "may be back"] {
        assert!(says(&report, unknown), "{report:?}");
    }
}

/// With several segments of one collection alone nothing speaks for a second one.
#[test]
fn without_a_manifest_one_collection_stays_one() {
    let storage = Memory::new();
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    let collection = db.create_collection("docs", 3, Metric::L2).unwrap();
    for round in 0..4 {
        let ids: Vec<String> = (0..10).map(|id| format!("{:02}", id * 3 + round)).collect();
        collection.upsert_many(&ids, &[1.0, 2.0, round as f32].repeat(10)).unwrap();
        db.flush().unwrap();
    }
    let count = collection.count().unwrap();
    let (found, report) = repair_image(&without_manifest(image(&storage)));
    assert_eq!(found.keys().collect::<Vec<_>>(), ["recovered-3"], "{report:?}");
    assert_eq!((found["recovered-3"].len() as u64, report.salvaged), (count, count), "{report:?}");
    assert!(says(&report, "taken for one collection"), "{report:?}");
}

/// A block of a damaged file: what it says to be dead comes back, and the report says so.
#[test]
fn without_a_manifest_unreadable_kill_blocks_are_reported() {
    let mut files = without_manifest(alike());
    let newest = files.keys().rfind(|name| name.starts_with("seg-")).unwrap().clone();
    files.remove(&newest);
    let (found, report) = repair_image(&files);
    assert_eq!(found.values().map(BTreeSet::len).sum::<usize>(), 80, "{found:?}");
    assert!(says(&report, "may be back"), "{report:?}");
}

#[test]
fn without_a_manifest_a_file_that_is_no_segment_file_is_named() {
    let mut files = without_manifest(alike());
    let first = first_segment_file(&files);
    Arc::make_mut(files.get_mut(&first).unwrap()).truncate(50);
    let (found, report) = repair_image(&files);
    assert!(says(&report, "50 bytes long: too short for a segment file") && says(&report, &first), "{report:?}");
    assert_eq!(found.values().map(BTreeSet::len).sum::<usize>() as u64, report.salvaged);
    // Nor is a database without segments an empty place.
    files.retain(|name, _| !name.starts_with("seg-"));
    let (found, report) = repair_image(&files);
    assert!(found.is_empty() && says(&report, "no manifest can be read"), "{report:?}");
    files.clear();
    let error = Database::repair_on(&memory(&files), Arc::new(Memory::new()), options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Which segments are of one collection is told by their ids and ordinals, as far as they can be read.
#[test]
fn without_a_manifest_damaged_ids_cost_their_records_alone() {
    let files = without_manifest(alike());
    let (whole, first) = (repair_image(&files).1.salvaged, first_segment_file(&files));
    let mut least = whole;
    for at in (0..files[&first].len()).step_by(37) {
        let mut damaged = files.clone();
        Arc::make_mut(damaged.get_mut(&first).unwrap())[at] ^= 0x10;
        let (found, report) = repair_image(&damaged);
        assert_eq!(found.values().map(BTreeSet::len).sum::<usize>() as u64, report.salvaged, "byte {at}");
        least = least.min(report.salvaged);
    }
    assert!((1..whole).contains(&least), "{least} of {whole}");
}

/// A copy has deleted records of a segment that its source wrote: without a manifest nobody knows which side of the copy this is.
#[test]
fn without_a_manifest_kills_of_another_database_are_told() {
    let (source, copy) = (Memory::new(), Memory::new());
    let db = Database::open_on(Arc::new(source), options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.upsert_many(&["a", "b", "c", "d", "e", "f"], &[0.5; 12]).unwrap();
    db.flush().unwrap();
    db.checkpoint_on(Arc::new(copy.clone())).unwrap();
    let db = Database::open_on(Arc::new(copy.clone()), options()).unwrap();
    db.collection("docs").unwrap().delete("c").unwrap();
    db.flush().unwrap();
    let (found, report) = repair_image(&without_manifest(image(&copy)));
    assert_eq!(found.values().map(BTreeSet::len).sum::<usize>(), 6, "{report:?}");
    assert!(says(&report, "1 records of segment 1 are said to be dead by another database"), "{report:?}");
}

fn first_segment_file(files: &Image) -> String {
    files.keys().find(|name| name.starts_with("seg-")).unwrap().clone()
}

fn checksum(bytes: &[u8]) -> u32 {
    let byte = |sum: u32, byte: &u8| (0..8).fold(sum ^ u32::from(*byte), |sum, _| (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg()));
    !bytes.iter().fold(!0, byte)
}

/// "Written by a newer version" is not damage: nothing is salvaged around it, and `verify` does not call it one.
#[test]
fn a_newer_format_is_refused_and_not_repaired() {
    let files = alike();
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "LOCK") {
        let mut newer = bytes.to_vec();
        let copies: &[usize] = match name.split('-').next().unwrap() {
            "FLOOR" => &[0, 4096],
            "MANIFEST" => &[0, bytes.len() / 2],
            _ => &[0],
        };
        for at in copies {
            newer[at + 8] = 2;
            let sum = checksum(&newer[*at..at + 60]);
            newer[at + 60..at + 64].copy_from_slice(&sum.to_le_bytes());
        }
        let mut changed = files.clone();
        changed.insert(name.clone(), Arc::new(newer));
        let source = memory(&changed);
        let verified = Database::verify_on(&source, &options()).unwrap_err();
        let target = Memory::new();
        let repaired = Database::repair_on(&source, Arc::new(target.clone()), options()).unwrap_err();
        let opened = Database::open_read_only_on(Arc::new(source), options()).err();
        // A log whose identity is all that is newer is refused at open, too.
        assert_eq!(opened.map(|error| error.kind()), Some(ErrorKind::NewerFormat), "{name}");
        assert_eq!((verified.kind(), repaired.kind()), (ErrorKind::NewerFormat, ErrorKind::NewerFormat), "{name}: {repaired}");
        assert_eq!(repaired.file(), Some(name.as_str()));
        assert!(target.list().unwrap().is_empty(), "{name}: something was made");
    }
}

/// A refused permission, and an operating system that has no descriptors left; a block that cannot be read is damage.
#[test]
fn what_keeps_from_reading_is_no_damage() {
    let (eacces, emfile, eio) = (13, 24, 5);
    for (errno, refused) in [(eacces, true), (emfile, true), (eio, false)] {
        let mut salvaged = 0;
        for operation in 0..60 {
            let disk = SimulatedDisk::new(3);
            for (name, bytes) in &alike() {
                disk.create(name).unwrap().write_at(0, bytes).unwrap();
            }
            disk.inject(disk.operations() + operation, Fault::Errno(errno));
            let before = disk.operations();
            let verified = Database::verify_on(&disk, &options());
            if disk.operations() - before <= operation {
                break;
            }
            match verified {
                Ok(report) => {
                    assert!(!refused || report.damages.is_empty(), "errno {errno} at {operation}: {report:?}");
                    salvaged += u64::from(!report.damages.is_empty());
                }
                Err(error) => assert_ne!(error.kind(), ErrorKind::Corruption, "errno {errno} at {operation}: {error:?}"),
            }
        }
        assert_eq!(salvaged > 0, !refused, "errno {errno}");
    }
}

/// Every call of a repair fails, at its source or its target, once and from then on. It is refused, or it saves all that a device in order gives
/// it; a second attempt at the same target saves all.
#[test]
fn a_repair_that_fails_is_repeated() {
    let files = alike();
    let (eio, emfile, enospc) = (5, 24, 28);
    let whole = Database::repair_on(&memory(&files), Arc::new(Memory::new()), options()).unwrap();
    assert!(whole.lost.is_empty() && whole.salvaged > 0, "{whole:?}");
    let mut refused = [0, 0];
    for (side, errno, fault) in
        [(0, emfile, Fault::Sticky(emfile)), (0, emfile, Fault::Errno(emfile)), (0, eio, Fault::Sticky(eio))].into_iter().chain([
            (1, eio, Fault::Sticky(eio)),
            (1, eio, Fault::Errno(eio)),
            (1, enospc, Fault::Sticky(enospc)),
            (1, emfile, Fault::Sticky(emfile)),
        ])
    {
        for operation in 0.. {
            let (source, target) = (SimulatedDisk::new(5), SimulatedDisk::new(6));
            for (name, bytes) in &files {
                source.create(name).unwrap().write_at(0, bytes).unwrap();
            }
            let faulty = [&source, &target][side];
            let before = faulty.operations();
            faulty.inject(before + operation, fault);
            let context = format!("{fault:?} at operation {operation} of the {}", ["source", "target"][side]);
            let repaired = Database::repair_on(&source, Arc::new(target.clone()), options());
            if faulty.operations() - before <= operation {
                break;
            }
            match repaired {
                Err(error) => {
                    refused[side] += 1;
                    assert_ne!(error.kind(), ErrorKind::Corruption, "{context}: {error:?}");
                    faulty.heal();
                    match Database::repair_on(&source, Arc::new(target.clone()), options()) {
                        Ok(again) => assert!(again.lost.is_empty() && again.salvaged == whole.salvaged, "{context}: again: {again:?}"),
                        // It failed at its very end, and could not take back what it had published: all of it.
                        Err(again) => {
                            assert_eq!(again.kind(), ErrorKind::AlreadyExists, "{context}: again: {again:?}");
                            let verified = Database::verify_on(&target, &options()).unwrap();
                            assert!(
                                verified.damages.is_empty() && verified.records == whole.salvaged,
                                "{context}: {error:?}: {verified:?}"
                            );
                        }
                    }
                }
                // A block that the device cannot read is damage, and is listed.
                Ok(report) if side == 0 && errno == eio => {
                    assert!(!report.lost.is_empty() || report.salvaged == whole.salvaged, "{context}: {report:?}")
                }
                Ok(report) => assert!(report.lost.is_empty() && report.salvaged == whole.salvaged, "{context}: {report:?}"),
            }
        }
    }
    println!("refused for the source {}, for the target {}", refused[0], refused[1]);
    assert!(refused[0] > 20 && refused[1] > 50, "{refused:?}");
}

/// A name that is taken by something else is a file that is missing, not an obstacle. LOCK holds no data: it keeps from nothing.
#[test]
fn a_name_that_is_no_regular_file_is_a_file_that_is_missing() {
    let subject = support::subjects::killed();
    for name in subject.files.keys() {
        for other in ["directory", "pipe", "link"] {
            let place = tempfile::tempdir().unwrap();
            for (name, bytes) in &subject.files {
                std::fs::write(place.path().join(name), &**bytes).unwrap();
            }
            let path = place.path().join(name);
            std::fs::remove_file(&path).unwrap();
            match other {
                "directory" => std::fs::create_dir(&path).unwrap(),
                "pipe" => assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success()),
                _ => std::os::unix::fs::symlink(&path, &path).unwrap(),
            }
            let context = format!("{name} is a {other}");
            let verified = Database::verify(place.path(), options()).unwrap_or_else(|error| panic!("{context}: {error}"));
            // A manifest that is missing is told by FLOOR.
            assert!(verified.damages.iter().any(|damage| damage.file() == Some(name)), "{context}: {verified:?}");
            let out = place.path().join("out");
            let report = Database::repair(place.path(), &out, options()).unwrap_or_else(|error| panic!("{context}: {error}"));
            // Beside a whole manifest FLOOR tells nothing more.
            let is_told = if name == "FLOOR" { report.lost.is_empty() } else { says(&report, name) };
            assert!(report.salvaged > 0 && is_told, "{context}: {report:?}");
            assert!(Database::verify(&out, options()).unwrap().damages.is_empty(), "{context}");
            if name == "LOCK" {
                assert!(report.lost.len() == 1 && says(&report, "a writer"), "{context}: {report:?}");
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_of_a_segment_file_cost_nothing() {
    let mut files = alike();
    let name = first_segment_file(&files);
    let len = files[&name].len();
    Arc::make_mut(files.get_mut(&name).unwrap()).extend_from_slice(b"appended by somebody");
    let verified = Database::verify_on(&memory(&files), &options()).unwrap();
    assert_eq!(verified.damages.len(), 1, "{verified:?}");
    let damage = &verified.damages[0];
    assert_eq!((damage.file(), damage.offset()), (Some(name.as_str()), Some(len as u64)));
    assert!(damage.to_string().contains("20 bytes"), "{damage}");
    let (found, report) = repair_image(&files);
    assert_eq!((report.lost.len(), report.salvaged), (0, 80), "{report:?}");
    assert_eq!((found["one"].len(), found["two"].len()), (40, 40));
}

/// Only the segments that the cut reached are lost: the manifest tells where the others stand, and with which checksums. So they are where the
/// header or the footer of the file alone is damaged.
#[test]
fn of_a_cut_segment_file_what_is_whole_is_salvaged() {
    let files = alike();
    let name = first_segment_file(&files);
    let len = files[&name].len();
    let cut = |len: usize| {
        let mut files = files.clone();
        Arc::make_mut(files.get_mut(&name).unwrap()).truncate(len);
        repair_image(&files)
    };
    let (found, report) = cut(len - 1);
    assert_eq!((report.lost.len(), report.salvaged), (0, 80), "the footer alone is cut: {report:?}");
    assert_eq!((found["one"].len(), found["two"].len()), (40, 40));
    let (found, report) = cut(len * 2 / 3);
    assert_eq!((found["one"].len(), report.lost.len()), (40, 1), "{report:?}");
    assert_eq!((report.lost[0].collection.as_str(), report.lost[0].rows), ("two", 38), "{report:?}");
    for at in [20, len - 6] {
        let mut files = files.clone();
        Arc::make_mut(files.get_mut(&name).unwrap())[at] ^= 1;
        let (_, report) = repair_image(&files);
        assert_eq!((report.lost.len(), report.salvaged), (0, 80), "byte {at}: {report:?}");
    }
}

/// A message states what to do once, and the right thing: what the next open for writing writes anew needs no repair, and what a repair could not
/// save none either.
#[test]
fn remedies_are_right_and_stated_once() {
    let files = alike();
    let manifest = files.keys().find(|name| name.starts_with("MANIFEST")).unwrap().clone();
    let used = if files["FLOOR"][64] > files["FLOOR"][4096 + 64] { 0 } else { 4096 };
    for (name, at, remedy) in [
        ("LOCK", 3, "(opening for writing mends it)"),
        ("FLOOR", 4096 - used + 70, "mends it)"),
        (&*manifest, 90, "(opening for writing mends it)"),
    ] {
        let mut damaged = files.clone();
        let bytes = Arc::make_mut(damaged.get_mut(name).unwrap());
        bytes.resize(bytes.len().max(64), 0);
        bytes[at] ^= 0x55;
        let storage = memory(&damaged);
        let report = Database::verify_on(&storage, &options()).unwrap();
        assert!(report.damages.len() == 1 && report.damages[0].to_string().ends_with(remedy), "{name}: {report:?}");
        Database::open_on(Arc::new(storage.clone()), options()).unwrap().close().unwrap();
        assert!(Database::verify_on(&storage, &options()).unwrap().damages.is_empty(), "{name}: opening did not mend it");
    }
    let killed = support::subjects::killed();
    let log = killed.tail.as_ref().unwrap();
    let mut damaged = killed.files.clone();
    Arc::make_mut(damaged.get_mut(log).unwrap())[12_288 + 40] ^= 1;
    let error = Database::open_read_only_on(Arc::new(memory(&damaged)), options()).unwrap_err().to_string();
    assert_eq!(error.matches("restore").count(), 1, "{error}");
    assert!(error.contains("were proven durable (restore"), "{error}");
    let name = first_segment_file(&damaged);
    damaged.remove(&name);
    let (_, report) = repair_image(&damaged);
    assert!(report.lost.len() > 1 && report.lost.iter().all(|lost| !lost.reason.contains("salvage the rest")), "{report:?}");
}

/// More than goes into one file of a repair.
#[test]
fn a_repair_of_much_writes_several_files() {
    let (source, target) = (Memory::new(), Memory::new());
    let db = Database::open_on(Arc::new(source.clone()), Options { memtable_bytes: 16 << 20, ..options() }).unwrap();
    let docs = db.create_collection("docs", 65_535, Metric::L2).unwrap();
    let (id, row) = (|number: u32| format!("{number:03}"), |number: u32| vec![number as f32; 65_535]);
    (0..300).for_each(|number| drop(docs.upsert(id(number), row(number)).unwrap()));
    db.close().unwrap();
    let report = Database::repair_on(&source, Arc::new(target.clone()), options()).unwrap();
    assert_eq!((report.lost.len(), report.salvaged), (0, 300), "{report:?}");
    assert!(target.list().unwrap().iter().filter(|info| info.name.starts_with("seg-")).count() > 1);
    let docs = Database::open_on(Arc::new(target), options()).unwrap().collection("docs").unwrap();
    assert!((0..300).all(|number| *docs.get(id(number)).unwrap().unwrap() == row(number)));
}
