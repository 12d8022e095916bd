//! The independent reader, written from the specification alone, must read what the engine writes, byte for byte.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

use std::{fmt::Write, path::Path, process::Command};

use varvite::{Codes, Database, DuplicatePolicy, Fields, Metadata, Metric, Options};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The engine's own dump, in the form of the reader's.
fn dump(db: &Database) -> Vec<String> {
    let mut lines = Vec::new();
    for info in db.list_collections().unwrap() {
        let (name, dimension, metric, count) = (&info.name, info.dimension, info.metric, info.count);
        lines.push(format!(r#"{{"collection":"{name}","dimension":{dimension},"metric":"{metric}","count":{count}}}"#));
        for row in db.collection(name).unwrap().iter().unwrap() {
            let row = row.unwrap();
            let vector: Vec<u8> = row.iter().flat_map(|element| element.to_le_bytes()).collect();
            let (id, ordinal, payload) = (hex(row.id()), row.ordinal().unwrap(), hex(&row.encoded_payload().unwrap()));
            lines.push(format!(
                r#"{{"collection":"{name}","id":"{id}","ordinal":{ordinal},"vector":"{}","payload":"{payload}"}}"#,
                hex(&vector)
            ));
        }
    }
    lines.sort();
    lines
}

fn read(directory: &Path) -> Vec<String> {
    let output = Command::new("python3").arg("tests/independent_reader.py").arg("--recover").arg(directory).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

fn vector(seed: usize, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|i| if i == 1 { -0.0 } else { ((seed * 37 + i * 11) % 997) as f32 / 31.0 - 9.0 }).collect()
}

#[test]
fn reads_the_same_from_logs_segments_and_compacted_files() {
    if !Command::new("python3").args(["-c", "import numpy"]).output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 with numpy is missing");
        println!("SKIPPED: python3 with numpy is missing");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("db");
    let options = || Options { memtable_bytes: 1 << 20, idle_flush_after: std::time::Duration::from_secs(3600), ..Options::default() };
    let db = Database::open(&path, options()).unwrap();
    let wide = db.create_collection_with("wide", 48, Metric::Cosine, Codes::Int8).unwrap();
    let narrow = db.create_collection("narrow", 3, Metric::Dot).unwrap();
    db.create_collection("gone", 2, Metric::L2).unwrap().insert("x", &[1.0, 2.0]).unwrap();
    wide.bulk_load((0..700).map(|row| (format!("id-{row:04}"), Fields::from(vector(row, 48)))), DuplicatePolicy::Refuse).unwrap();
    // Of these a code knows nothing.
    for (id, size) in [("none", 0.0), ("tiny", 1e-30), ("huge", 1e30)] {
        wide.insert(id, &[size; 48]).unwrap();
    }
    let mut batch = db.batch();
    for row in 0..300 {
        let metadata = Metadata::new().with("n", row as i64).with("f", 0.5).with("b", row % 2 == 0).with("t", vec!["a".to_owned()]);
        let document = format!("document {row} ").repeat(row % 40 + 1);
        let fields = Fields::from(vector(row + 5, 48)).with_metadata(metadata).with_document(document).with_uri("file:///x");
        batch.upsert(&wide, format!("id-{:04}", row * 3), fields).unwrap();
        batch.upsert(&narrow, [row as u8, 0, 255], vector(row, 3)).unwrap();
    }
    batch.drop_collection("gone").rename_collection("narrow", "renamed").unwrap();
    batch.commit().unwrap();
    for row in 0..50 {
        assert!(wide.delete(format!("id-{:04}", row * 2)).unwrap());
    }
    let logged = dump(&db);
    assert_eq!(read(&path), logged, "with most of it in the log");
    db.flush().unwrap();
    assert_eq!(read(&path), logged, "flushed, with kills");
    db.compact().unwrap();
    assert_eq!(read(&path), logged, "compacted");
    assert_eq!(dump(&db), logged);
}
