//! First figures against the machine, in one run: loads as a share of sequential write + sync, scans as a share of memory read bandwidth, point reads
//! and open in their own units. Medians; raw probes alternate with what they are compared with.
//!
//! `cargo bench --bench machine -- [--rows N] [--dimension D]`

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench is a program of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "a failed bench may panic")]

use std::{hint::black_box, io::Write, path::Path, time::Instant};

use varvite::{Collection, Database, DuplicatePolicy, Durability, Fields, Metric, Options};

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args();
    arguments.by_ref().find(|argument| argument == name).and_then(|_| arguments.next()).map_or(default, |value| value.parse().expect(name))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn id(row: usize) -> String {
    format!("doc-{row:08}#chunk-3")
}

fn vectors(rows: usize, dimension: usize) -> Vec<f32> {
    let mut random = SplitMix(7);
    (0..rows * dimension).map(|_| (random.next() >> 40) as f32 / 16_777_216.0 - 0.5).collect()
}

fn shuffled(rows: usize) -> Vec<usize> {
    let mut random = SplitMix(9);
    let mut order: Vec<usize> = (0..rows).collect();
    for i in (1..rows).rev() {
        order.swap(i, random.next() as usize % (i + 1));
    }
    order
}

/// Sequential write + sync of as many bytes, in MB/s.
fn raw_write(directory: &Path, bytes: usize) -> f64 {
    let path = directory.join("raw");
    let block = vec![7u8; 1 << 20];
    let started = Instant::now();
    let mut file = std::fs::File::create(&path).unwrap();
    for _ in 0..bytes.div_ceil(block.len()) {
        file.write_all(&block).unwrap();
    }
    file.sync_data().unwrap();
    let rate = bytes as f64 / started.elapsed().as_secs_f64() / 1e6;
    std::fs::remove_file(path).unwrap();
    rate
}

/// Plain read of memory by one core, in GB/s.
fn raw_read(memory: &[u64]) -> f64 {
    let started = Instant::now();
    let sums = memory.chunks_exact(8).fold([0u64; 8], |mut sums, chunk| {
        sums.iter_mut().zip(chunk).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
        sums
    });
    black_box(sums);
    size_of_val(memory) as f64 / started.elapsed().as_secs_f64() / 1e9
}

fn batch_load(path: &Path, order: &[usize], data: &[f32], dimension: usize) -> f64 {
    let started = Instant::now();
    let db = Database::open(path, Options::default().with_durability(Durability::Buffered)).unwrap();
    let docs = db.create_collection("docs", dimension, Metric::L2).unwrap();
    for batch in order.chunks(1000) {
        let ids: Vec<String> = batch.iter().map(|row| id(*row)).collect();
        let rows: Vec<f32> = batch.iter().flat_map(|row| &data[row * dimension..(row + 1) * dimension]).copied().collect();
        let _buffered = docs.upsert_many(&ids, &rows).unwrap();
    }
    db.flush().unwrap();
    started.elapsed().as_secs_f64()
}

fn bulk_load(path: &Path, order: &[usize], data: &[f32], dimension: usize) -> f64 {
    let db = Database::open(path, Options::default()).unwrap();
    let docs = db.create_collection("docs", dimension, Metric::L2).unwrap();
    let started = Instant::now();
    let entries = order.iter().map(|row| (id(*row), Fields::vector(&data[row * dimension..(row + 1) * dimension])));
    docs.bulk_load(entries, DuplicatePolicy::Refuse).unwrap();
    started.elapsed().as_secs_f64()
}

fn get_ns(docs: &Collection, rows: usize) -> f64 {
    let order = shuffled(rows);
    let ids: Vec<String> = order.iter().take(50_000).map(|row| id(*row)).collect();
    let run = || {
        let started = Instant::now();
        let mut sum = 0.0;
        for id in &ids {
            sum += docs.get(id).unwrap().unwrap()[0];
        }
        black_box(sum);
        started.elapsed().as_nanos() as f64 / ids.len() as f64
    };
    run();
    median((0..5).map(|_| run()).collect())
}

fn main() {
    let (rows, dimension) = (argument("--rows", 600_000), argument("--dimension", 384));
    let directory = tempfile::tempdir_in("target").unwrap();
    let at = |name: &str| directory.path().join(name);
    let bytes = rows * dimension * 4;
    let (data, order) = (vectors(rows, dimension), shuffled(rows));
    println!("{rows} rows x {dimension} = {:.0} MB of vectors, ids in random order", bytes as f64 / 1e6);
    let (mut raw, mut batch, mut bulk) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..3 {
        for name in ["batch", "bulk"] {
            let _absent = std::fs::remove_dir_all(at(name));
        }
        raw.push(raw_write(directory.path(), bytes));
        batch.push(bytes as f64 / batch_load(&at("batch"), &order, &data, dimension) / 1e6);
        raw.push(raw_write(directory.path(), bytes));
        bulk.push(bytes as f64 / bulk_load(&at("bulk"), &order, &data, dimension) / 1e6);
        println!(
            "  round {round}: raw {:.0} and {:.0} MB/s, batch load {:.0}, bulk load {:.0}",
            raw[raw.len() - 2],
            raw[raw.len() - 1],
            batch[round],
            bulk[round]
        );
    }
    let raw = median(raw);
    println!("sequential write + sync  {raw:8.0} MB/s");
    println!("batch load, flush, sync  {:8.0} MB/s = {:.2} of it", median(batch.clone()), median(batch) / raw);
    println!("bulk load                {:8.0} MB/s = {:.2} of it", median(bulk.clone()), median(bulk) / raw);
    let db = Database::open(at("batch"), Options::default()).unwrap();
    db.compact().unwrap();
    reads(&db, rows, dimension);
    db.close().unwrap();
    let opens: Vec<f64> = (0..9)
        .map(|_| {
            let started = Instant::now();
            let db = Database::open(at("batch"), Options::default()).unwrap();
            let opened = started.elapsed().as_secs_f64() * 1e3;
            db.close().unwrap();
            opened
        })
        .collect();
    println!("open for writing         {:8.1} ms", median(opens));
    let opens: Vec<f64> = (0..9)
        .map(|_| {
            let started = Instant::now();
            black_box(Database::open_read_only(at("batch"), Options::default()).unwrap());
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    println!("open for reading         {:8.1} ms", median(opens));
    let small = Database::open(at("small"), Options::default().with_durability(Durability::Buffered)).unwrap();
    let docs = small.create_collection("docs", dimension, Metric::L2).unwrap();
    let entries = (0..100_000.min(rows)).map(|row| (id(row), Fields::vector(&data[row * dimension..(row + 1) * dimension])));
    docs.bulk_load(entries, DuplicatePolicy::Refuse).unwrap();
    small.compact().unwrap();
    println!("get, {:7} rows        {:8.0} ns", 100_000.min(rows), get_ns(&docs, 100_000.min(rows)));
}

fn reads(db: &Database, rows: usize, dimension: usize) {
    let docs = db.collection("docs").unwrap();
    let memory: Vec<u64> = vec![3; 256 << 17];
    let query = vec![0.1f32; dimension];
    let bytes = (rows * dimension * 4) as f64;
    let (mut plain, mut search, mut iterate) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        plain.push(raw_read(&memory));
        let started = Instant::now();
        black_box(docs.search(&query, 10).unwrap());
        search.push(bytes / started.elapsed().as_secs_f64() / 1e9);
        plain.push(raw_read(&memory));
        let started = Instant::now();
        let sum: f32 = docs.iter().unwrap().map(|row| row.unwrap().iter().sum::<f32>()).sum();
        black_box(sum);
        iterate.push(bytes / started.elapsed().as_secs_f64() / 1e9);
    }
    let plain = median(plain);
    println!("plain memory read        {plain:8.2} GB/s");
    println!("exact search, 1 query    {:8.2} GB/s = {:.2} of it", median(search.clone()), median(search) / plain);
    println!("iterate + sum            {:8.2} GB/s = {:.2} of it", median(iterate.clone()), median(iterate) / plain);
    println!("get, {rows:7} rows        {:8.0} ns", get_ns(&docs, rows));
}
