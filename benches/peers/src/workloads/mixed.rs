//! Reads beside writes.

use std::{
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use serde_json::json;

use super::{
    point::{Pick, ids, query, timed, warm},
    put::write_behind,
};
use crate::{
    cell::Cell,
    data::Random,
    dot::dot,
    engine::{Engine, Mode, Result},
    measure::{Deadline, Latencies, Metrics},
};

/// Reads that one view serves before it is renewed, so that readers see new writes and old versions can go.
const READS_A_VIEW: usize = 256;

/// Gets by renewed views until the end.
fn read_until(cell: &Cell, engine: &dyn Engine, ids: &[Vec<u8>], done: &dyn Fn() -> bool) -> Result<Latencies> {
    let (query, mut latencies, mut sum) = (query(&cell.data), Latencies::default(), 0.0);
    for ids in ids.chunks(READS_A_VIEW).cycle() {
        let mut reader = engine.reader()?;
        for id in ids {
            if !latencies.time(|| reader.get(id, &mut |row| sum += dot(row, &query)))? {
                return Err("a row is missing".into());
            }
        }
        if done() {
            break;
        }
    }
    black_box(sum);
    Ok(latencies)
}

/// One thread that puts and gets in turn, and one that only gets.
pub fn half_and_half(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let ids = ids(&cell.data, Pick::Hit, 23);
    let engine = cell.open_to_change(Mode::Buffered)?;
    warm(&*engine)?;
    let (started, end) = (Instant::now(), Deadline::after(cell.spec.seconds * 2.0));
    let writes_and_reads = || -> Result<(Latencies, Latencies)> {
        let (mut puts, mut gets, mut random, mut sum) = (Latencies::default(), Latencies::default(), Random::new(29), 0.0);
        let query = query(&cell.data);
        while !end.passed() {
            let mut reader = engine.reader()?;
            for _ in 0..READS_A_VIEW {
                let (written, read) = (random.below(cell.data.rows), random.below(cell.data.rows));
                let (id, vector) = (cell.data.id(written), cell.data.vector(written, 0));
                puts.time(|| engine.put(&id, vector))?;
                let id = cell.data.id(read);
                gets.time(|| reader.get(&id, &mut |row| sum += dot(row, &query)))?;
            }
        }
        black_box(sum);
        Ok((puts, gets))
    };
    let (both, reads) = std::thread::scope(|scope| {
        let worker = scope.spawn(writes_and_reads);
        let reads = read_until(cell, &*engine, &ids, &|| end.passed());
        (worker.join().unwrap_or_else(|_| Err("the writer panicked".into())), reads)
    });
    let seconds = started.elapsed().as_secs_f64();
    let ((puts, gets), reads) = (both?, reads?);
    metrics.insert("mixed_per_s".into(), json!((puts.len() + gets.len()) as f64 / seconds));
    metrics.insert("reader_per_s".into(), json!(reads.len() as f64 / seconds));
    puts.report("put", &mut metrics);
    gets.report("get", &mut metrics);
    reads.report("reader", &mut metrics);
    Ok(metrics)
}

/// Latency of gets on an idle database, and while another thread loads as fast as it can.
pub fn get_under_load(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let (ids, query) = (ids(&cell.data, Pick::Hit, 31), query(&cell.data));
    let engine = cell.open_to_change(Mode::Buffered)?;
    warm(&*engine)?;
    timed(&mut *engine.reader()?, &ids, &query, cell.spec.seconds)?.report("idle", &mut metrics);
    let (stop, end) = (AtomicBool::new(false), Deadline::after(cell.spec.seconds * 2.0));
    let started = Instant::now();
    let (written, latencies) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| write_behind(cell, &*engine, f64::INFINITY, &stop));
        let latencies = read_until(cell, &*engine, &ids, &|| end.passed());
        stop.store(true, Ordering::Relaxed);
        (writer.join().unwrap_or_else(|_| Err("the writer panicked".into())), latencies)
    });
    metrics.insert("load_bytes_per_s".into(), json!(written? as f64 / started.elapsed().as_secs_f64()));
    latencies?.report("loaded", &mut metrics);
    Ok(metrics)
}
