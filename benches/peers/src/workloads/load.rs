//! Loads, overwriting and deleting: rates, and what they cost in space and written bytes.

use std::time::Instant;

use serde_json::json;

use crate::{
    cell::Cell,
    data::{BATCH, Random},
    engine::{Mode, Result},
    measure::{Meter, Metrics, disk_bytes},
};

/// Batches of 1,000 in random order. Three states are timed: all acknowledged (handed to the system), all synced (journalled where there is a
/// journal), all settled (flushed, compacted as far as the engine wants, synced).
pub fn batch(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    cell.mark_loaded(false)?;
    let order = cell.data.order();
    let meter = Meter::start(&cell.spec.directory);
    let engine = cell.open_empty("main", Mode::Buffered)?;
    let (rows, acknowledged) = cell.put_all(&*engine, &order, 0)?;
    let started = Instant::now();
    engine.sync()?;
    let synced = acknowledged + started.elapsed().as_secs_f64();
    engine.settle()?;
    let settled = acknowledged + started.elapsed().as_secs_f64();
    meter.stop(&mut metrics);
    metrics.insert("disk_bytes".into(), json!(disk_bytes(&cell.path("main"))));
    drop(engine);
    let over = rows < order.len();
    cell.mark_loaded(!over)?;
    let bytes = cell.data.bytes() as f64 * rows as f64 / order.len() as f64;
    for (name, seconds) in [("acknowledged", acknowledged), ("synced", synced), ("settled", settled)] {
        metrics.insert(format!("{name}_bytes_per_s"), json!(bytes / seconds));
    }
    metrics.insert("user_bytes".into(), json!(bytes));
    metrics.insert("over_budget".into(), json!(over));
    Ok(metrics)
}

/// The fastest documented way into an empty table, from random order: sorting counts. Settled and synced at the end.
pub fn bulk(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    cell.mark_loaded(false)?;
    let order = cell.data.order();
    let meter = Meter::start(&cell.spec.directory);
    let engine = cell.open_empty("main", Mode::Buffered)?;
    let started = Instant::now();
    engine.bulk_load(&cell.data, &order)?;
    engine.sync()?;
    let seconds = started.elapsed().as_secs_f64();
    meter.stop(&mut metrics);
    metrics.insert("disk_bytes".into(), json!(disk_bytes(&cell.path("main"))));
    drop(engine);
    cell.mark_loaded(true)?;
    metrics.insert("settled_bytes_per_s".into(), json!(cell.data.bytes() as f64 / seconds));
    metrics.insert("user_bytes".into(), json!(cell.data.bytes()));
    Ok(metrics)
}

/// Uniform random overwriting of a settled database, several times as many rows as there are, until settled again.
pub fn churn(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let engine = cell.open_empty("churn", Mode::Buffered)?;
    engine.bulk_load(&cell.data, &cell.data.order())?;
    engine.settle()?;
    let before = disk_bytes(&cell.path("churn"));
    let mut random = Random::new(3);
    let meter = Meter::start(&cell.path("churn"));
    let started = Instant::now();
    let (mut user, mut acknowledged) = (0.0, 0.0);
    for version in 1..=cell.spec.churn as u64 {
        let rows: Vec<usize> = (0..cell.data.rows).map(|_| random.below(cell.data.rows)).collect();
        let (written, seconds) = cell.put_all(&*engine, &rows, version)?;
        user += cell.data.bytes() as f64 * written as f64 / cell.data.rows as f64;
        acknowledged += seconds;
        if cell.deadline.passed() {
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
    let engine = cell.open_loaded(Mode::Buffered)?;
    cell.mark_loaded(false)?;
    let before = disk_bytes(&cell.path("main"));
    let meter = Meter::start(&cell.path("main"));
    let (mut deleted, mut seconds) = (0, 0.0);
    for rows in order[..order.len() / 2].chunks(BATCH) {
        let ids: Vec<Vec<u8>> = rows.iter().map(|row| cell.data.id(*row)).collect();
        let started = Instant::now();
        engine.delete_batch(&ids)?;
        seconds += started.elapsed().as_secs_f64();
        deleted += ids.len();
        if cell.deadline.passed() {
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
