//! Single rows that are durable when the call returns.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    cell::Cell,
    data::{BATCH, Batch, Random},
    engine::{Engine, Mode, Result},
    measure::{Deadline, Latencies, Meter, Metrics},
    probe::Appender,
};

/// Bytes a second that the writer in the background is held to: a flush every second or half of one at the default sizes of memtables.
const BACKGROUND_BYTES_PER_S: f64 = 64e6;

/// Threads that put in turn for so long, each row a durable write of its own.
pub fn durable(cell: &Cell, threads: usize) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let engine = cell.open_empty("puts", Mode::Durable)?;
    let order = cell.data.order();
    let next = AtomicUsize::new(0);
    let meter = Meter::start(&cell.path("puts"));
    let started = Instant::now();
    let end = Deadline::after(cell.spec.seconds);
    let put_in_turn = || -> Result<Latencies> {
        let mut latencies = Latencies::default();
        while !end.passed() {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (id, row) = (cell.data.id(order[at % order.len()]), cell.data.vector(order[at % order.len()], 0));
            latencies.time(|| engine.put(&id, row))?;
        }
        Ok(latencies)
    };
    let results: Vec<Result<Latencies>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(put_in_turn)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|_| Err("a writer panicked".into()))).collect()
    });
    let seconds = started.elapsed().as_secs_f64();
    meter.stop(&mut metrics);
    let mut latencies = Latencies::default();
    for result in results {
        latencies.merge(result?);
    }
    metrics.insert("per_s".into(), json!(latencies.len() as f64 / seconds));
    metrics.insert("user_bytes".into(), json!(latencies.len() * cell.data.row_bytes(0)));
    latencies.report("put", &mut metrics);
    drop(engine);
    std::fs::remove_dir_all(cell.path("puts"))?;
    Ok(metrics)
}

/// Single puts of rows that are there already, acknowledged before they are synced: what a put costs beside so many rows.
pub fn into_loaded(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let engine = cell.open_to_change(Mode::Buffered)?;
    let (mut random, mut latencies) = (Random::new(41), Latencies::default());
    let (started, end) = (Instant::now(), Deadline::after(cell.spec.seconds));
    while !end.passed() {
        let row = random.below(cell.data.rows);
        let (id, vector) = (cell.data.id(row), cell.data.vector(row, 1));
        latencies.time(|| engine.put(&id, vector))?;
    }
    metrics.insert("per_s".into(), json!(latencies.len() as f64 / started.elapsed().as_secs_f64()));
    latencies.report("put", &mut metrics);
    Ok(metrics)
}

/// Writes batches of new versions at a steady rate until it is told to stop: bytes written.
pub fn write_behind(cell: &Cell, engine: &dyn Engine, rate: f64, stop: &AtomicBool) -> Result<u64> {
    let mut random = Random::new(17);
    let (mut bytes, started) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let rows: Vec<usize> = (0..BATCH).map(|_| random.below(cell.data.rows)).collect();
        let batch = Batch::of(&cell.data, &rows, 1 + bytes / cell.data.bytes().max(1));
        engine.put_batch(&batch)?;
        bytes += batch.bytes();
        let ahead = bytes as f64 / rate - started.elapsed().as_secs_f64();
        if ahead > 0.0 {
            std::thread::sleep(Duration::from_secs_f64(ahead.min(0.1)));
        }
    }
    Ok(bytes)
}

/// Durable puts while another thread writes batches, so that flushes and compactions run; a bare append + fdatasync of the same bytes in turn with
/// each put, on the same device under the same writes.
pub fn under_load(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    cell.mark_loaded(false)?;
    let engine = cell.open_empty("main", Mode::Durable)?;
    let mut appender = Appender::create(&cell.path("bare"))?;
    let (stop, mut random) = (AtomicBool::new(false), Random::new(19));
    let (mut puts, mut bare) = (Latencies::default(), Latencies::default());
    let seconds = cell.spec.load_seconds;
    let background = std::thread::scope(|scope| -> Result<u64> {
        let writer = scope.spawn(|| write_behind(cell, &*engine, BACKGROUND_BYTES_PER_S, &stop));
        let end = Deadline::after(seconds);
        let mut put_in_turn = || -> Result<()> {
            while !end.passed() {
                let row = random.below(cell.data.rows);
                let (id, vector) = (cell.data.id(row), cell.data.vector(row, 9));
                puts.time(|| engine.put(&id, vector))?;
                bare.time(|| appender.append(&id, vector))?;
            }
            Ok(())
        };
        let outcome = put_in_turn();
        stop.store(true, Ordering::Relaxed);
        let written = writer.join().unwrap_or_else(|_| Err("the writer panicked".into()));
        outcome.and(written)
    })?;
    puts.report("put", &mut metrics);
    bare.report("bare", &mut metrics);
    metrics.insert("background_bytes_per_s".into(), json!(background as f64 / seconds));
    drop(engine);
    std::fs::remove_file(cell.path("bare"))?;
    Ok(metrics)
}
