//! The main paths of a database, through the public API, on a real directory.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

use varvite::{Database, Fields, Metadata, Metric, Options};

fn vector(seed: u64, dimension: usize) -> Vec<f32> {
    (0..dimension as u64).map(|i| (((seed * 31 + i) * 2_654_435_761 % 1000) as f32 - 500.0) / 77.0).collect()
}

#[test]
fn records_survive_flush_compaction_and_reopen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let options = || Options { memtable_bytes: 1 << 20, ..Options::default() };
    {
        let db = Database::open(&path, options()).unwrap();
        let docs = db.create_collection("docs", 32, Metric::L2).unwrap();
        for round in 0..5u64 {
            for i in 0..2000u64 {
                let fields = Fields::from(vector(i * 10 + round, 32)).with_metadata(Metadata::new().with("i", i as i64)).into_owned();
                let _buffered = docs.durability(varvite::Durability::Buffered).upsert(format!("id-{i:05}"), fields).unwrap();
            }
        }
        for i in (0..2000u64).step_by(3) {
            assert!(docs.durability(varvite::Durability::Buffered).delete(format!("id-{i:05}")).unwrap());
        }
        check(&docs.snapshot());
        db.flush().unwrap();
        check(&docs.snapshot());
        db.compact().unwrap();
        check(&docs.snapshot());
        let stats = db.stats().unwrap();
        assert!(stats.dead_bytes < 4096, "{stats:?}");
        drop(docs);
        db.close().unwrap();
    }
    let db = Database::open(&path, options()).unwrap();
    check(&db.collection("docs").unwrap().snapshot());
}

fn check(docs: &varvite::CollectionSnapshot) {
    let expected: Vec<u64> = (0..2000).filter(|i| i % 3 != 0).collect();
    assert_eq!(docs.count().unwrap(), expected.len() as u64);
    let forward: Vec<_> = docs.iter().unwrap().map(|row| row.unwrap().id().to_vec()).collect();
    assert_eq!(forward, expected.iter().map(|i| format!("id-{i:05}").into_bytes()).collect::<Vec<_>>());
    let mut backward: Vec<_> = docs.iter().unwrap().rev().map(|row| row.unwrap().id().to_vec()).collect();
    backward.reverse();
    assert_eq!(forward, backward);
    for i in 0..2000u64 {
        let row = docs.get(format!("id-{i:05}")).unwrap();
        assert_eq!(row.is_some(), i % 3 != 0, "{i}");
        if let Some(row) = row {
            assert_eq!(row.vector(), vector(i * 10 + 4, 32));
            assert_eq!(row.metadata().unwrap().get("i"), Some(&varvite::Value::I64(i as i64)));
        }
    }
    let hits = docs.search(&vector(10 * 10 + 4, 32), 3).unwrap();
    assert_eq!(hits[0].id, b"id-00010");
    assert_eq!(hits[0].distance.to_bits(), 0.0f32.to_bits());
}

/// A row is a slice of the mapping: it must not care what becomes of its segment, file, collection, handle or directory.
#[test]
fn rows_of_a_mapping_outlive_all_that_they_came_from() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("db");
    let db = Database::open(&path, Options::default()).unwrap();
    let docs = db.create_collection("docs", 32, Metric::L2).unwrap();
    let ids: Vec<String> = (0..500).map(|i| format!("id-{i:05}")).collect();
    let rows = |seed: u64| (0..500).flat_map(|i| vector(i * 10 + seed, 32)).collect::<Vec<f32>>();
    let _durable = docs.upsert_many(&ids, &rows(0)).unwrap();
    db.flush().unwrap();
    let held: Vec<_> = docs.iter().unwrap().map(|row| row.unwrap()).collect();
    let check = || held.iter().zip(0..).all(|(row, i)| row.vector() == vector(i * 10, 32));
    let _durable = docs.upsert_many(&ids, &rows(1)).unwrap();
    db.compact().unwrap();
    assert!(check(), "after the compaction that removed their file");
    assert!(db.stats().unwrap().pinned_bytes > 0);
    drop(docs);
    db.drop_collection("docs").unwrap();
    db.compact().unwrap();
    db.close().unwrap();
    drop(directory);
    assert!(!path.exists() && check(), "after the database and its directory are gone");
}

/// A database of 64 GiB has a thousand segment files, as many as a process may have descriptors by default.
#[test]
#[cfg(target_os = "linux")]
fn mapped_segment_files_need_no_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap().join("db");
    let db = Database::open(&path, Options { memtable_bytes: 1 << 18, ..Options::default() }).unwrap();
    let docs = db.create_collection("docs", 64, Metric::L2).unwrap();
    for i in 0..4000u64 {
        let _buffered = docs.durability(varvite::Durability::Buffered).upsert(format!("id-{:05}", i * 7919 % 4000), vector(i, 64)).unwrap();
    }
    db.flush().unwrap();
    db.wait_idle().unwrap();
    // What the background still has to tidy up holds a descriptor for a moment: none may be held for long.
    let (mut files, mut held) = (0, Vec::new());
    for _ in 0..100 {
        files = std::fs::read_dir(&path)
            .unwrap()
            .filter(|file| file.as_ref().unwrap().file_name().to_string_lossy().starts_with("seg-"))
            .count();
        let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        held = open.filter(|target| target.starts_with(&path) && target.to_string_lossy().contains("/seg-")).collect();
        if held.is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(files > 10 && held.is_empty(), "{files} files, {held:?}");
}
