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

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use support::subjects::{Image, image, memory, options};
use varvite::{Database, Metric, RepairReport, io::memory::Memory};

/// Ids by collection.
type Ids = BTreeMap<String, BTreeSet<String>>;

fn repair(files: &Image) -> (Ids, RepairReport) {
    let target = Memory::new();
    let report = Database::repair_on(&memory(files), Arc::new(target.clone()), options()).unwrap();
    assert!(Database::verify_on(&target, &options()).unwrap().damages.is_empty());
    let db = Database::open_on(Arc::new(target), options()).unwrap();
    let ids = |name: &str| {
        let collection = db.collection(name).unwrap();
        collection.iter().unwrap().map(|row| row.unwrap().id().escape_ascii().to_string()).collect()
    };
    let found = db.list_collections().unwrap().into_iter().map(|info| (info.name.clone(), ids(&info.name))).collect();
    (found, report)
}

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
    let (found, report) = repair(&without_manifest(alike()));
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
    let (found, report) = repair(&without_manifest(image(&storage)));
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
    let (found, report) = repair(&files);
    assert_eq!(found.values().map(BTreeSet::len).sum::<usize>(), 80, "{found:?}");
    assert!(says(&report, "may be back"), "{report:?}");
}
