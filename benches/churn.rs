//! Space and write amplification under overwriting: loads rows, overwrites every id in random order ten times, then one Zipf run, with default
//! options and nobody calling `compact`, while the directory's blocks are sampled every 100 ms.
//!
//! `cargo bench --bench churn -- [--rows N] [--dimension D] [--rounds R] [--dir DIR]`

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "a bench is a program of its own")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, missing_docs, reason = "a failed bench may panic")]

use std::{
    os::unix::fs::MetadataExt,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use varvite::{Collection, Database, Metric, Options};

struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args();
    arguments.by_ref().find(|argument| argument == name).and_then(|_| arguments.next()).map_or(default, |value| value.parse().expect(name))
}

/// Blocks of a directory's files, in bytes, as `du -sB1` counts them.
fn disk_bytes(directory: &Path) -> u64 {
    blocks(directory, |_| true)
}

fn blocks(directory: &Path, counts: impl Fn(&str) -> bool) -> u64 {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let counted = files.filter(|file| counts(&file.file_name().to_string_lossy()));
    counted.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.blocks() * 512).sum()
}

/// What one look at the directory saw.
#[derive(Clone, Copy)]
struct Sample {
    second: f64,
    bytes: u64,
    logs: u64,
    /// Records written so far, at most all.
    records: u64,
}

fn write(docs: &Collection, rows: &[usize], random: &mut SplitMix, written: &AtomicU64) {
    let dimension = docs.dimension();
    for batch in rows.chunks(1000) {
        let mut unique = batch.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let ids: Vec<String> = unique.iter().map(|row| format!("doc-{row:08}#chunk-3")).collect();
        let mut vectors = Vec::with_capacity(ids.len() * dimension);
        for _ in 0..ids.len() * dimension / 2 {
            let bits = random.next();
            vectors.push((bits as u32 >> 8) as f32 / 16_777_216.0 - 0.5);
            vectors.push((bits >> 40) as f32 / 16_777_216.0 - 0.5);
        }
        vectors.resize(ids.len() * dimension, 0.0);
        let _durable = docs.upsert_many(&ids, &vectors).unwrap();
        written.fetch_add(ids.len() as u64, Ordering::Relaxed);
    }
}

fn shuffled(rows: usize, random: &mut SplitMix) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    for i in (1..rows).rev() {
        order.swap(i, random.next() as usize % (i + 1));
    }
    order
}

fn main() {
    let (rows, dimension, rounds) = (argument("--rows", 400_000), argument("--dimension", 384), argument("--rounds", 10));
    let directory = tempfile::tempdir_in("target").unwrap();
    let path = directory.path().join("db");
    let options = Options::default();
    let budgets = options.memtable_bytes as u64 + options.log_bytes;
    let db = Database::open(&path, options).unwrap();
    let docs = db.create_collection("docs", dimension, Metric::L2).unwrap();
    let seed = 42;
    let mut random = SplitMix(seed);
    println!("{rows} rows x {dimension}, {rounds} rounds, seed {seed}");
    let raw = (rows * (dimension * 4 + 24)) as u64;
    let (started, written, stop) = (Instant::now(), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&path, started, &stop, &written, rows as u64));
        for round in 0..=rounds {
            let begun = Instant::now();
            write(&docs, &shuffled(rows, &mut random), &mut random, &written);
            let (seconds, disk) = (begun.elapsed().as_secs_f64(), disk_bytes(&path) as f64 / 1e6);
            let what = if round == 0 { "load".to_owned() } else { format!("round {round}") };
            let stats = db.stats().unwrap();
            let written = stats.log_bytes_written + stats.flush_bytes_written + stats.compaction_bytes_written;
            println!(
                "{what}: {seconds:.1} s, {:.0} MB/s, {disk:.0} MB on disk, write amplification so far {:.2}",
                raw as f64 / seconds / 1e6,
                written as f64 / stats.log_bytes_written as f64
            );
        }
        let zipf: Vec<usize> = (0..rows).map(|_| ((rows as f64).powf(random.unit()) - 1.0) as usize).collect();
        write(&docs, &zipf, &mut random, &written);
        println!("zipf run done, {:.0} MB on disk", disk_bytes(&path) as f64 / 1e6);
        let user = db.stats().unwrap().log_bytes_written;
        let wait = Duration::from_secs_f64(10.0 + 2.0 * raw as f64 / 1e9);
        std::thread::sleep(wait);
        stop.store(true, Ordering::Relaxed);
        report(&db, &sampler.join().unwrap(), rows as u64, budgets, raw, user, wait);
    });
}

fn sample(path: &Path, started: Instant, stop: &AtomicBool, written: &AtomicU64, rows: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        // Before the bytes: what is written meanwhile must not widen the bound.
        let records = written.load(Ordering::Relaxed).min(rows);
        let (second, bytes) = (started.elapsed().as_secs_f64(), disk_bytes(path));
        samples.push(Sample { second, bytes, logs: blocks(path, |name| name.starts_with("log-")), records });
        std::thread::sleep(Duration::from_millis(100));
    }
    samples
}

fn report(db: &Database, samples: &[Sample], rows: u64, budgets: u64, raw: u64, user: u64, wait: Duration) {
    let stats = db.stats().unwrap();
    let live = stats.live_bytes;
    println!("curve (s, MB):");
    for Sample { second, bytes, .. } in samples.iter().step_by((samples.len() / 40).max(1)) {
        println!("  {second:7.1} {:8.0} {}", *bytes as f64 / 1e6, "#".repeat((bytes * 30 / live.max(1)) as usize));
    }
    println!("raw {:.0} MB, live {:.0} MB ({:.3} of raw)", raw as f64 / 1e6, live as f64 / 1e6, live as f64 / raw as f64);
    // Every record takes the same room, so that what lives at a moment is a share of what lives at the end.
    let bound = |sample: &Sample| 2 * (live as u128 * u128::from(sample.records) / u128::from(rows)) as u64 + budgets;
    let share = |sample: &Sample| sample.bytes as f64 / bound(sample) as f64;
    for (name, part) in [("loading", true), ("overwriting", false)] {
        let samples = samples.iter().filter(|sample| (sample.records < rows) == part);
        let Some(peak) = samples.max_by(|a, b| share(a).total_cmp(&share(b))) else { continue };
        println!(
            "nearest to the bound while {name}, at {:.1} s: {:.0} MB ({:.0} of them logs); bound 2 x live + budgets = {:.0} MB: {}",
            peak.second,
            peak.bytes as f64 / 1e6,
            peak.logs as f64 / 1e6,
            bound(peak) as f64 / 1e6,
            verdict(peak.bytes <= bound(peak))
        );
    }
    let peak = samples.iter().map(|sample| sample.bytes).max().unwrap_or(0);
    println!("peak {:.0} MB = {:.2} x live", peak as f64 / 1e6, peak as f64 / live as f64);
    let settled = samples.last().map_or(0, |sample| sample.bytes);
    println!(
        "{:.1} s after the last write {:.0} MB = {:.3} x live; bound 1.2 x live + 1 MiB: {}",
        wait.as_secs_f64(),
        settled as f64 / 1e6,
        settled as f64 / live as f64,
        verdict(settled as f64 <= 1.2 * live as f64 + 1_048_576.0)
    );
    let written = stats.log_bytes_written + stats.flush_bytes_written + stats.compaction_bytes_written;
    println!(
        "flushes {}, compactions {} (at least 10: {}), stalls {} for {:.1} s, the longest {:.0} ms",
        stats.flushes,
        stats.compactions,
        verdict(stats.compactions >= 10),
        stats.stalls,
        stats.stall_time.as_secs_f64(),
        stats.longest_stall.as_secs_f64() * 1e3
    );
    println!(
        "write amplification, log included: {:.2} (log {:.2}, flush {:.2}, compaction {:.2})",
        written as f64 / user as f64,
        stats.log_bytes_written as f64 / user as f64,
        stats.flush_bytes_written as f64 / user as f64,
        stats.compaction_bytes_written as f64 / user as f64
    );
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "MISSED" }
}
