//! Criterion benches of the hot paths: put, delete, loads, get, scan, search, flush, compaction, open, recovery.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench is a program of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "a failed bench may panic")]

use std::{hint::black_box, time::Duration};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use varvite::{Collection, Database, DuplicatePolicy, Durability, Fields, Metric, Options};

const DIMENSION: usize = 384;
const ROWS: usize = 20_000;

fn vector(seed: usize) -> Vec<f32> {
    (0..DIMENSION).map(|i| ((seed * 31 + i * 17) % 1009) as f32 / 1009.0 - 0.5).collect()
}

fn id(row: usize) -> String {
    format!("doc-{row:08}#chunk-3")
}

fn buffered() -> Options {
    Options::default().with_durability(Durability::Buffered)
}

fn loaded(directory: &std::path::Path) -> (Database, Collection) {
    let db = Database::open(directory.join("db"), buffered()).unwrap();
    let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
    docs.bulk_load((0..ROWS).map(|row| (id(row), Fields::from(vector(row)))), DuplicatePolicy::Refuse).unwrap();
    (db, docs)
}

fn writes(c: &mut Criterion) {
    let directory = tempfile::tempdir_in("target").unwrap();
    let (_db, docs) = loaded(directory.path());
    let value = vector(1);
    let mut row = 0;
    c.bench_function("put buffered", |b| {
        b.iter(|| {
            row = (row + 7919) % ROWS;
            docs.upsert(id(row), &value).unwrap()
        })
    });
    c.bench_function("delete and put again buffered", |b| {
        b.iter(|| {
            row = (row + 7919) % ROWS;
            assert!(docs.delete(id(row)).unwrap());
            docs.upsert(id(row), &value).unwrap()
        })
    });
    let synced = docs.durability(Durability::Synced);
    c.bench_function("put synced", |b| {
        b.iter(|| {
            row = (row + 7919) % ROWS;
            synced.upsert(id(row), &value).unwrap()
        })
    });
}

fn loads(c: &mut Criterion) {
    const BATCH: usize = 1000;
    let empty = || {
        let directory = tempfile::tempdir_in("target").unwrap();
        let db = Database::open(directory.path().join("db"), buffered()).unwrap();
        let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
        (directory, db, docs)
    };
    let (ids, rows): (Vec<String>, Vec<Vec<f32>>) = (0..ROWS).map(|row| (id(row * 7919 % ROWS), vector(row))).unzip();
    let batches: Vec<(&[String], Vec<f32>)> = ids.chunks(BATCH).zip(rows.chunks(BATCH).map(<[_]>::concat)).collect();
    c.bench_function("batch load and flush 20k x 384", |b| {
        b.iter_batched(
            empty,
            |(directory, db, docs)| {
                for (ids, rows) in &batches {
                    let _buffered = docs.upsert_many(ids, rows).unwrap();
                }
                db.flush().unwrap();
                (directory, db)
            },
            BatchSize::PerIteration,
        )
    });
    c.bench_function("bulk load 20k x 384", |b| {
        b.iter_batched(
            empty,
            |(directory, db, docs)| {
                docs.bulk_load(ids.iter().zip(&rows).map(|(id, row)| (id, Fields::vector(row))), DuplicatePolicy::Refuse).unwrap();
                (directory, db)
            },
            BatchSize::PerIteration,
        )
    });
}

fn reads(c: &mut Criterion) {
    let directory = tempfile::tempdir_in("target").unwrap();
    let (_db, docs) = loaded(directory.path());
    let ids: Vec<String> = (0..ROWS).map(|row| id(row * 7919 % ROWS)).collect();
    let mut next = 0;
    c.bench_function("get", |b| {
        b.iter(|| {
            next = (next + 1) % ROWS;
            black_box(docs.get(&ids[next]).unwrap().unwrap()[0])
        })
    });
    // Between ids that are there: one beyond them all would be refused by the bounds of a segment.
    let missing: Vec<String> = ids.iter().map(|id| format!("{id}?")).collect();
    c.bench_function("get missing", |b| {
        b.iter(|| {
            next = (next + 1) % ROWS;
            black_box(docs.get(&missing[next]).unwrap().is_none())
        })
    });
    c.bench_function("multi_get 64", |b| {
        b.iter(|| {
            next = (next + 64) % (ROWS - 64);
            black_box(docs.multi_get(&ids[next..next + 64]).unwrap())
        })
    });
    c.bench_function("prefix of 100 rows", |b| {
        b.iter(|| {
            next = (next + 1) % ROWS;
            black_box(docs.prefix(&ids[next][.."doc-000000".len()]).unwrap().map(|row| row.unwrap()[0]).sum::<f32>())
        })
    });
    c.bench_function("scan 20k x 384", |b| b.iter(|| black_box(docs.iter().unwrap().map(|row| row.unwrap()[0]).sum::<f32>())));
    let query = vector(5);
    c.bench_function("search 20k x 384", |b| b.iter(|| black_box(docs.search(&query, 10).unwrap())));
    let queries: Vec<f32> = (0..64).flat_map(vector).collect();
    c.bench_function("search 20k x 384, 64 queries", |b| b.iter(|| black_box(docs.search_many(&queries, 10).unwrap())));
}

fn maintenance(c: &mut Criterion) {
    let fill = |rows: usize| {
        let directory = tempfile::tempdir_in("target").unwrap();
        let db = Database::open(directory.path().join("db"), buffered()).unwrap();
        let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
        for row in 0..rows {
            let _buffered = docs.upsert(id(row * 7919 % rows), vector(row)).unwrap();
        }
        (directory, db)
    };
    c.bench_function("flush 2k x 384", |b| {
        b.iter_batched(
            || fill(2000),
            |(directory, db)| {
                db.flush().unwrap();
                (directory, db)
            },
            BatchSize::PerIteration,
        )
    });
    let overwritten = || {
        let (directory, db) = fill(2000);
        db.flush().unwrap();
        let docs = db.collection("docs").unwrap();
        for row in 0..1000 {
            let _buffered = docs.upsert(id(row * 2), vector(row + 1)).unwrap();
        }
        (directory, db)
    };
    c.bench_function("compact 3k x 384", |b| {
        b.iter_batched(
            overwritten,
            |(directory, db)| {
                db.compact().unwrap();
                (directory, db)
            },
            BatchSize::PerIteration,
        )
    });
    // The files of a database that is open: what its process would leave, were it killed. Copied at once, before the flush of an idle database.
    let copy = |from: &std::path::Path| {
        let directory = tempfile::tempdir_in("target").unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), directory.path().join(file.file_name())).unwrap();
        }
        directory
    };
    let left = copy(&fill(2000).0.path().join("db"));
    let killed = || copy(left.path());
    c.bench_function("recover 2k x 384", |b| {
        b.iter_batched(
            killed,
            |directory| {
                let db = Database::open(directory.path(), buffered()).unwrap();
                (directory, db)
            },
            BatchSize::PerIteration,
        )
    });
    let directory = tempfile::tempdir_in("target").unwrap();
    loaded(directory.path()).0.close().unwrap();
    // One at a time: a second handle is refused.
    c.bench_function("open 20k x 384", |b| {
        b.iter_batched(|| (), |()| Database::open(directory.path().join("db"), buffered()).unwrap(), BatchSize::PerIteration)
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    targets = writes, loads, reads, maintenance
}
criterion_main!(benches);
