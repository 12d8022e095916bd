//! Loads, overwriting and deleting: rates, and what they cost in space and written bytes.

use std::time::Instant;

use serde_json::json;

use crate::{
    cell::Cell,
    data::{BATCH, Random},
    engine::{Mode, Result},
    measure::{self, Meter, Metrics, disk_bytes},
    probe,
};

/// Runs a load between two sequential writes + sync of as many bytes: a device's rate changes from minute to minute.
fn beside_raw_writes(cell: &Cell, load: impl FnOnce(&mut Metrics) -> Result<f64>) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let before = probe::sequential_write(cell)?;
    measure::quiesce(&cell.spec.directory)?;
    let bytes = load(&mut metrics)?;
    measure::quiesce(&cell.spec.directory)?;
    let after = probe::sequential_write(cell)?;
    metrics.insert("raw_bytes_per_s".into(), json!(2.0 * cell.data.bytes() as f64 / (before + after)));
    metrics.insert("disk_bytes".into(), json!(disk_bytes(&cell.path("main"))));
    metrics.insert("user_bytes".into(), json!(bytes));
    Ok(metrics)
}

/// Bytes of some of the rows.
fn bytes_of(cell: &Cell, rows: usize) -> f64 {
    cell.data.bytes() as f64 * rows as f64 / cell.data.rows as f64
}

/// Batches of 1,000 in random order. Three states are timed: all acknowledged (journalled where there is a journal, unsynced), all flushed and synced,
/// all settled (compacted as far as the engine wants).
pub fn batch(cell: &Cell) -> Result<Metrics> {
    beside_raw_writes(cell, |metrics| {
        cell.mark_loaded(false)?;
        let order = cell.data.order();
        let meter = Meter::start(&cell.spec.directory);
        let engine = cell.open_empty("main", Mode::Buffered)?;
        let written = cell.put_all(&*engine, &order, 0, cell.deadline())?;
        let started = Instant::now();
        engine.flush()?;
        let flushed = written.seconds + started.elapsed().as_secs_f64();
        engine.settle()?;
        let settled = written.seconds + started.elapsed().as_secs_f64();
        meter.stop(metrics);
        drop(engine);
        let over = written.rows < order.len();
        cell.mark_loaded(!over)?;
        let bytes = bytes_of(cell, written.rows);
        for (name, seconds) in [("acknowledged", written.seconds), ("flushed", flushed), ("settled", settled)] {
            metrics.insert(format!("{name}_bytes_per_s"), json!(bytes / seconds));
        }
        metrics.insert("longest_batch_ns".into(), json!(written.longest * 1e9));
        metrics.insert("over_budget".into(), json!(over));
        Ok(bytes)
    })
}

/// The fastest documented way into an empty table, in the order of ids. Settled and synced at the end.
pub fn bulk(cell: &Cell) -> Result<Metrics> {
    beside_raw_writes(cell, |metrics| {
        cell.mark_loaded(false)?;
        let meter = Meter::start(&cell.spec.directory);
        let engine = cell.open_empty("main", Mode::Buffered)?;
        let (rows, seconds) = cell.bulk_load(&*engine)?;
        meter.stop(metrics);
        drop(engine);
        let over = rows < cell.data.rows;
        cell.mark_loaded(!over)?;
        let bytes = bytes_of(cell, rows);
        metrics.insert("settled_bytes_per_s".into(), json!(bytes / seconds));
        metrics.insert("over_budget".into(), json!(over));
        Ok(bytes)
    })
}

/// Uniform random overwriting of a settled database, several times as many rows as there are, until settled again.
pub fn churn(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let engine = cell.open_empty("churn", Mode::Buffered)?;
    let (rows, _) = cell.bulk_load(&*engine)?;
    if rows < cell.data.rows {
        return Err("over budget: the load that comes before it".into());
    }
    let before = disk_bytes(&cell.path("churn"));
    let mut random = Random::new(3);
    let meter = Meter::start(&cell.path("churn"));
    let started = Instant::now();
    let (mut user, mut acknowledged, mut longest, deadline) = (0.0, 0.0, 0f64, cell.deadline());
    for version in 1..=cell.spec.churn as u64 {
        let rows: Vec<usize> = (0..cell.data.rows).map(|_| random.below(cell.data.rows)).collect();
        let written = cell.put_all(&*engine, &rows, version, deadline)?;
        user += bytes_of(cell, written.rows);
        acknowledged += written.seconds;
        longest = longest.max(written.longest);
        if deadline.passed() {
            metrics.insert("over_budget".into(), json!(true));
            break;
        }
    }
    let writing = started.elapsed().as_secs_f64();
    engine.settle()?;
    let settled = acknowledged + started.elapsed().as_secs_f64() - writing;
    meter.stop(&mut metrics);
    metrics.insert("acknowledged_bytes_per_s".into(), json!(user / acknowledged));
    metrics.insert("settled_bytes_per_s".into(), json!(user / settled));
    metrics.insert("user_bytes".into(), json!(user));
    metrics.insert("longest_batch_ns".into(), json!(longest * 1e9));
    metrics.insert("disk_before_bytes".into(), json!(before));
    metrics.insert("disk_bytes".into(), json!(disk_bytes(&cell.path("churn"))));
    drop(engine);
    std::fs::remove_dir_all(cell.path("churn"))?;
    Ok(metrics)
}

/// Half of the rows, in random order, in batches of 1,000.
pub fn delete(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let order = cell.data.order();
    let engine = cell.open_to_change(Mode::Buffered)?;
    let before = disk_bytes(&cell.path("main"));
    let meter = Meter::start(&cell.path("main"));
    let (mut deleted, mut seconds, deadline) = (0, 0.0, cell.deadline());
    for rows in order[..order.len() / 2].chunks(BATCH) {
        let ids: Vec<Vec<u8>> = rows.iter().map(|row| cell.data.id(*row)).collect();
        let started = Instant::now();
        engine.delete_batch(&ids)?;
        seconds += started.elapsed().as_secs_f64();
        deleted += ids.len();
        if deadline.passed() {
            metrics.insert("over_budget".into(), json!(true));
            break;
        }
    }
    let started = Instant::now();
    engine.settle()?;
    let settled = seconds + started.elapsed().as_secs_f64();
    meter.stop(&mut metrics);
    metrics.insert("rows_per_s".into(), json!(deleted as f64 / seconds));
    metrics.insert("settled_rows_per_s".into(), json!(deleted as f64 / settled));
    metrics.insert("disk_before_bytes".into(), json!(before));
    metrics.insert("disk_bytes".into(), json!(disk_bytes(&cell.path("main"))));
    Ok(metrics)
}
