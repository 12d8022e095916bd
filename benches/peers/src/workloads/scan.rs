//! Reads in the order of ids, and exact search.

use std::{hint::black_box, time::Instant};

use serde_json::json;

use super::point::{query, warm};
use crate::{
    cell::Cell,
    data::Random,
    dot::dot,
    engine::{Mode, Result},
    measure::{Deadline, Latencies, Metrics},
};

/// Every row once, of which a word is read.
pub fn ordered(cell: &Cell) -> Result<Metrics> {
    passes(cell, &|row, _| f32::from(row.first().copied().unwrap_or(0)))
}

/// Every row once, multiplied with a query.
pub fn with_dot(cell: &Cell) -> Result<Metrics> {
    passes(cell, &|row, query| dot(row, query))
}

/// Full passes for as long as a workload runs, one at least; the first one is not counted.
fn passes(cell: &Cell, read: &dyn Fn(&[u8], &[f32]) -> f32) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let query = query(&cell.data);
    let engine = cell.open_loaded(Mode::Buffered)?;
    warm(&*engine)?;
    let end = Deadline::after(cell.spec.seconds);
    let (mut best, mut total, mut count) = (f64::INFINITY, 0.0, 0u32);
    while count == 0 || !end.passed() {
        let mut reader = engine.reader()?;
        let (mut rows, mut sum) = (0, 0.0);
        let started = Instant::now();
        reader.scan(b"", &mut |_, row| {
            rows += 1;
            sum += read(row, &query);
            true
        })?;
        let seconds = started.elapsed().as_secs_f64();
        black_box(sum);
        if rows != cell.data.rows {
            return Err(format!("the scan gave {rows} of {} rows", cell.data.rows).into());
        }
        best = best.min(seconds);
        total += seconds;
        count += 1;
    }
    let (rows, bytes) = (cell.data.rows as f64, (cell.data.rows * cell.data.dimension * 4) as f64);
    metrics.insert("rows_per_s".into(), json!(rows * f64::from(count) / total));
    metrics.insert("bytes_per_s".into(), json!(bytes * f64::from(count) / total));
    metrics.insert("best_bytes_per_s".into(), json!(bytes / best));
    Ok(metrics)
}

/// From the call to the first row, and to the last of some hundred.
pub fn prefix(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let engine = cell.open_loaded(Mode::Buffered)?;
    warm(&*engine)?;
    let mut random = Random::new(11);
    let prefixes: Vec<Vec<u8>> = (0..10_000).map(|_| cell.data.prefix(random.below(cell.data.rows))).collect();
    let mut reader = engine.reader()?;
    let (mut first, mut all, mut rows) = (Latencies::default(), Latencies::default(), 0u64);
    let end = Deadline::after(cell.spec.seconds);
    for prefix in prefixes.iter().cycle() {
        first.time(|| {
            reader.scan(prefix, &mut |_, row| {
                black_box(row[0]);
                false
            })
        })?;
        all.time(|| {
            reader.scan(prefix, &mut |_, row| {
                rows += 1;
                black_box(row[0]);
                true
            })
        })?;
        if end.passed() {
            break;
        }
    }
    metrics.insert("rows_per_prefix".into(), json!(rows as f64 / all.len() as f64));
    first.report("first_row", &mut metrics);
    all.report("all_rows", &mut metrics);
    Ok(metrics)
}

/// The k rows with the largest dot products with each query of a batch, exactly.
pub fn search(cell: &Cell, batch: usize, k: usize) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let engine = cell.open_loaded(Mode::Buffered)?;
    warm(&*engine)?;
    let mut reader = engine.reader()?;
    let mut random = Random::new(13);
    let (end, mut latencies) = (Deadline::after(cell.spec.seconds), Latencies::default());
    while latencies.len() == 0 || !end.passed() {
        let queries: Vec<&[f32]> = (0..batch).map(|_| cell.data.vector(random.below(cell.data.rows), 0)).collect();
        let hits = latencies.time(|| reader.search_many(&queries, k))?;
        let expected = batch * k.min(cell.data.rows);
        if hits.iter().map(Vec::len).sum::<usize>() != expected {
            return Err(format!("the search gave {} hits, not {expected}", hits.len()).into());
        }
    }
    latencies.report("search", &mut metrics);
    if let Some(p50) = metrics.get("search_p50_ns").and_then(serde_json::Value::as_f64) {
        metrics.insert("ns_a_pair".into(), json!(p50 / (cell.data.rows * batch) as f64));
        metrics.insert("bytes_per_s".into(), json!((cell.data.rows * cell.data.dimension * 4) as f64 * 1e9 / p50));
    }
    Ok(metrics)
}
