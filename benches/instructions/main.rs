//! One hot path at a time, for callgrind to count its instructions: `benches/instructions/run` builds it, runs it and prints the table.
//!
//! Only what runs inside `measured` is counted. Nothing runs in the background, so that two runs count the same but for the seeds of hash tables.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench is a program of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "a failed bench may panic")]

use std::{hint::black_box, path::Path};

use varvite::{Background, Collection, Database, DuplicatePolicy, Durability, Fields, Metric, Options, Search};

const DIMENSION: usize = 384;
const ROWS: usize = 10_000;
/// Single operations counted; multi_get asks for 64 ids each time.
const COUNTED: usize = 2_000;
const BATCH: usize = 64;

/// Its name is what callgrind is told to count within.
#[inline(never)]
fn measured(run: &mut dyn FnMut()) {
    run();
}

fn vector(seed: usize) -> Vec<f32> {
    (0..DIMENSION).map(|i| ((seed * 31 + i * 17) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn id(row: usize) -> String {
    format!("doc-{row:08}#chunk-3")
}

fn options() -> Options {
    Options { background: Background::Inline, ..Options::default().with_durability(Durability::Buffered) }
}

/// All rows in segments, each read once: what is checked at first touch has been.
fn loaded(directory: &Path) -> (Database, Collection) {
    let db = Database::open(directory.join("db"), options()).unwrap();
    let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
    docs.bulk_load((0..ROWS).map(|row| (id(row), Fields::from(vector(row)))), DuplicatePolicy::Refuse).unwrap();
    assert_eq!(docs.iter().unwrap().filter(Result::is_ok).count(), ROWS);
    (db, docs)
}

fn ids(suffix: &str) -> Vec<String> {
    (0..COUNTED).map(|at| id(at * 7919 % ROWS) + suffix).collect()
}

/// Operations, or rows, that were counted.
fn get(directory: &Path, suffix: &str) -> usize {
    let (_db, docs) = loaded(directory);
    let ids = ids(suffix);
    let mut found = 0;
    measured(&mut || found = ids.iter().filter(|id| black_box(docs.get(id).unwrap()).is_some()).count());
    assert_eq!(found, if suffix.is_empty() { COUNTED } else { 0 });
    COUNTED
}

fn multi_get(directory: &Path) -> usize {
    let (_db, docs) = loaded(directory);
    let ids = ids("");
    let mut found = 0;
    measured(&mut || {
        for ids in ids.chunks_exact(BATCH) {
            found += black_box(docs.multi_get(ids).unwrap()).iter().flatten().count();
        }
    });
    assert_eq!(found, COUNTED / BATCH * BATCH);
    found
}

fn put(directory: &Path) -> usize {
    let db = Database::open(directory.join("db"), options()).unwrap();
    let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
    let (ids, value) = (ids(""), vector(1));
    measured(&mut || {
        for id in &ids {
            let _buffered = docs.upsert(id, &value).unwrap();
        }
    });
    assert_eq!(db.stats().unwrap().flushes, 0, "a flush was counted too");
    COUNTED
}

/// A record of a batch of 200.
fn put_many(directory: &Path) -> usize {
    let db = Database::open(directory.join("db"), options()).unwrap();
    let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
    let (ids, values) = (ids(""), vector(1).repeat(200));
    measured(&mut || {
        for ids in ids.chunks_exact(200) {
            let _buffered = docs.upsert_many(ids, &values).unwrap();
        }
    });
    assert_eq!(db.stats().unwrap().flushes, 0, "a flush was counted too");
    COUNTED
}

fn iterate(directory: &Path) -> usize {
    let (_db, docs) = loaded(directory);
    let mut rows = 0;
    measured(&mut || {
        for row in docs.iter().unwrap() {
            black_box(row.unwrap()[0]);
            rows += 1;
        }
    });
    assert_eq!(rows, ROWS);
    ROWS
}

fn prefix(directory: &Path) -> usize {
    let (_db, docs) = loaded(directory);
    let ids = ids("");
    measured(&mut || {
        for id in &ids {
            black_box(docs.prefix(&id[..id.len() - "00#chunk-3".len()]).unwrap().next().unwrap().unwrap()[0]);
        }
    });
    COUNTED
}

/// The ten nearest of queries, asked together, by codes or not: a row and query.
fn search(directory: &Path, queries: usize, codes: bool) -> usize {
    let (_db, docs) = loaded(directory);
    let asked: Vec<f32> = (0..queries).flat_map(|query| vector(query * 4567 + 3)).collect();
    let (search, mut hits) = (Search::nearest(10).codes(codes), 0);
    measured(&mut || hits = black_box(docs.search_by(&search, &asked).unwrap()).iter().map(Vec::len).sum());
    assert_eq!(hits, 10 * queries);
    ROWS * queries
}

/// Replays a log of single puts: what its process would have left, had it been killed.
fn recover(directory: &Path) -> usize {
    let db = Database::open(directory.join("db"), options()).unwrap();
    let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
    for (row, id) in ids("").iter().enumerate() {
        let _buffered = docs.upsert(id, vector(row)).unwrap();
    }
    std::fs::create_dir(directory.join("killed")).unwrap();
    for file in std::fs::read_dir(directory.join("db")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), directory.join("killed").join(file.file_name())).unwrap();
    }
    let mut recovered = None;
    measured(&mut || recovered = Some(Database::open(directory.join("killed"), options()).unwrap()));
    assert_eq!(recovered.unwrap().collection("docs").unwrap().count().unwrap(), COUNTED as u64);
    COUNTED
}

fn main() {
    let directory = tempfile::tempdir_in("target").unwrap();
    let path = directory.path();
    let counted = match std::env::args().nth(1).as_deref() {
        Some("get-hit") => get(path, ""),
        Some("get-miss") => get(path, "?"),
        Some("multi-get-64") => multi_get(path),
        Some("put") => put(path),
        Some("put-many-200") => put_many(path),
        Some("iterator-step") => iterate(path),
        Some("prefix-first-row") => prefix(path),
        Some("search") => search(path, 1, true),
        Some("search-64") => search(path, 64, true),
        Some("search-f32") => search(path, 1, false),
        Some("search-f32-64") => search(path, 64, false),
        Some("recover-frame") => recover(path),
        // `cargo bench` runs every bench.
        _ => return println!("benches/instructions/run counts the instructions of this program"),
    };
    println!("{counted}");
}
