//! What the machine does by itself, measured between the engines: the ceiling of each workload.

use std::{
    fs::File,
    hint::black_box,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cell::Cell,
    data::Random,
    dot::dot,
    engine::Result,
    measure::{Deadline, Latencies, Metrics},
};

/// Workloads that have a ceiling of their own; each load is timed between raw writes of its own.
pub const WORKLOADS: &[&str] = &["put-1", "get-hit", "scan-dot"];

pub fn run(cell: &Cell) -> Result<Metrics> {
    match cell.spec.workload.as_str() {
        "put-1" => append(cell),
        "get-hit" => random_rows(cell),
        "scan-dot" => memory(cell),
        other => Err(format!("the machine has no {other}").into()),
    }
}

/// Sequential write and one sync of as many bytes as the data set has: seconds.
pub fn sequential_write(cell: &Cell) -> Result<f64> {
    let path = cell.path("raw");
    let block: Vec<u8> = bytemuck::cast_slice(cell.data.vector(0, 0)).iter().copied().cycle().take(1 << 20).collect();
    let started = Instant::now();
    let mut file = File::create(&path)?;
    let mut left = cell.data.bytes() as usize;
    while left > 0 {
        let length = left.min(block.len());
        file.write_all(&block[..length])?;
        left -= length;
    }
    file.sync_data()?;
    let seconds = started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(seconds)
}

/// A file that rows are appended to, each synced: the least that a durable write can do.
pub struct Appender {
    file: File,
    record: Vec<u8>,
}

impl Appender {
    pub fn create(path: &Path) -> Result<Self> {
        Ok(Self { file: File::create(path)?, record: Vec::new() })
    }

    pub fn append(&mut self, id: &[u8], row: &[f32]) -> Result<()> {
        self.record.clear();
        self.record.extend_from_slice(id);
        self.record.extend_from_slice(bytemuck::cast_slice(row));
        self.file.write_all(&self.record)?;
        Ok(self.file.sync_data()?)
    }
}

fn append(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let path = cell.path("raw");
    let mut appender = Appender::create(&path)?;
    let (mut latencies, started, end) = (Latencies::default(), Instant::now(), Deadline::after(cell.spec.seconds));
    for row in (0..cell.data.rows).cycle() {
        let id = cell.data.id(row);
        latencies.time(|| appender.append(&id, cell.data.vector(row, 0)))?;
        if end.passed() {
            break;
        }
    }
    metrics.insert("per_s".into(), json!(latencies.len() as f64 / started.elapsed().as_secs_f64()));
    latencies.report("put", &mut metrics);
    std::fs::remove_file(path)?;
    Ok(metrics)
}

/// Random rows of a mapped file of all vectors, each multiplied with a query: a get without a lookup.
fn random_rows(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let path = cell.path("rows");
    let mut file = std::io::BufWriter::with_capacity(1 << 20, File::create(&path)?);
    for row in 0..cell.data.rows {
        file.write_all(bytemuck::cast_slice(cell.data.vector(row, 0)))?;
    }
    drop(file.into_inner()?);
    // SAFETY: nobody changes the file while it is mapped.
    let map = unsafe { memmap2::Mmap::map(&File::open(&path)?)? };
    black_box(map.iter().step_by(4096).map(|byte| u64::from(*byte)).sum::<u64>());
    let (query, length) = (cell.data.vector(0, 0), cell.data.dimension * 4);
    let (mut random, mut asked, mut sum) = (Random::new(37), 0, 0.0);
    let (started, limit) = (Instant::now(), Duration::from_secs_f64(cell.spec.seconds));
    while asked % 64 != 0 || started.elapsed() < limit {
        let at = random.below(cell.data.rows) * length;
        sum += dot(&map[at..at + length], query);
        asked += 1;
    }
    black_box(sum);
    metrics.insert("mean_ns".into(), json!(started.elapsed().as_nanos() as f64 / asked as f64));
    std::fs::remove_file(path)?;
    Ok(metrics)
}

/// Plain reading of memory by one core, and the same with the kernel that scans use.
fn memory(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    // As much as a scan reads, so that caches help both or none; beyond a gibibyte they help none. Ones as floats: denormal numbers would be
    // multiplied many times slower.
    let words: Vec<u64> = vec![0x3F80_0000_3F80_0000; (cell.data.rows * cell.data.dimension / 2).min(128 << 20)];
    let query = cell.data.vector(0, 0);
    let bytes: &[u8] = bytemuck::cast_slice(&words);
    // Means, as scans are reported.
    let (mut plain, mut multiplied, mut passes) = (0.0, 0.0, 0.0);
    let end = Deadline::after(cell.spec.seconds);
    while passes == 0.0 || !end.passed() {
        let started = Instant::now();
        let sums = words.chunks_exact(8).fold([0u64; 8], |mut sums, chunk| {
            sums.iter_mut().zip(chunk).for_each(|(sum, word)| *sum = sum.wrapping_add(*word));
            sums
        });
        black_box(sums);
        plain += started.elapsed().as_secs_f64();
        let started = Instant::now();
        black_box(bytes.chunks_exact(query.len() * 4).map(|row| dot(row, query)).sum::<f32>());
        multiplied += started.elapsed().as_secs_f64();
        passes += 1.0;
    }
    metrics.insert("plain_bytes_per_s".into(), json!(bytes.len() as f64 * passes / plain));
    metrics.insert("bytes_per_s".into(), json!(bytes.len() as f64 * passes / multiplied));
    Ok(metrics)
}
