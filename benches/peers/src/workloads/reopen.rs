//! Opening: after a clean close, and after the writing process was killed.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

use serde_json::json;

use crate::{
    cell::{Cell, Spec},
    engine::{Mode, Result},
    measure::Metrics,
};

/// Opens within a cell: its median counts.
const OPENS: usize = 7;

/// Opens and reads one row: how long each took, in nanoseconds.
fn open_and_get(cell: &Cell, name: &str, row: usize) -> Result<(f64, f64)> {
    let id = cell.data.id(row);
    let started = Instant::now();
    let engine = cell.open(name, Mode::Durable)?;
    let opened = started.elapsed().as_nanos() as f64;
    let found = engine.reader()?.get(&id, &mut |_| ())?;
    let got = started.elapsed().as_nanos() as f64;
    if found { Ok((opened, got)) } else { Err("an acknowledged row is not there".into()) }
}

pub fn clean(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    drop(cell.open_loaded(Mode::Durable)?);
    let mut times = (0..OPENS).map(|_| open_and_get(cell, "main", cell.data.rows / 2)).collect::<Result<Vec<_>>>()?;
    for (name, pick) in [("open_ns", 0), ("open_and_get_ns", 1)] {
        times.sort_by(|a, b| [a.0, a.1][pick].total_cmp(&[b.0, b.1][pick]));
        let median = times[OPENS / 2];
        metrics.insert(name.into(), json!([median.0, median.1][pick]));
    }
    Ok(metrics)
}

/// Another process writes durable batches and is killed when it says that it is done with so many; every row it acknowledged must be there.
pub fn killed(cell: &Cell) -> Result<Metrics> {
    let mut metrics = Metrics::new();
    let path = cell.path("killed");
    if path.exists() {
        std::fs::remove_dir_all(&path)?;
    }
    let spec = serde_json::to_string(&cell.spec)?;
    let mut command = Command::new(std::env::current_exe()?);
    let mut writer = command.args(["writer", &spec]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut acknowledged = String::new();
    let output = writer.stdout.take().ok_or("no output of the writer")?;
    let read = BufReader::new(output).read_line(&mut acknowledged);
    // SIGKILL: no destructor runs.
    writer.kill()?;
    writer.wait()?;
    read?;
    let rows: usize = acknowledged.trim().parse().map_err(|_| format!("the writer said {acknowledged:?}"))?;
    let order = cell.data.order();
    let (opened, got) = open_and_get(cell, "killed", order[rows - 1])?;
    metrics.insert("open_ns".into(), json!(opened));
    metrics.insert("open_and_get_ns".into(), json!(got));
    let bytes: usize = order[..rows].iter().map(|row| cell.data.row_bytes(*row)).sum();
    metrics.insert("acknowledged_bytes".into(), json!(bytes));
    let engine = cell.open("killed", Mode::Durable)?;
    let mut reader = engine.reader()?;
    let mut lost = 0;
    for row in &order[..rows] {
        let (mut same, expected) = (false, bytemuck::cast_slice::<f32, u8>(cell.data.vector(*row, 0)));
        reader.get(&cell.data.id(*row), &mut |bytes| same = bytes == expected)?;
        lost += usize::from(!same);
    }
    metrics.insert("lost_rows".into(), json!(lost));
    drop(reader);
    drop(engine);
    std::fs::remove_dir_all(&path)?;
    Ok(metrics)
}

/// The process that is killed. As much as the memtables of all (64 MiB) surely hold, so that all of it is still in the journal.
pub fn write(spec: Spec) -> Result<()> {
    const JOURNALLED: usize = 24 << 20;
    let cell = Cell::new(spec)?;
    let order = cell.data.order();
    let rows = order.len().min(JOURNALLED / cell.data.row_bytes(0));
    let engine = cell.open_empty("killed", Mode::Durable)?;
    println!("{}", cell.put_all(&*engine, &order[..rows], 0, cell.deadline())?.rows);
    // Until it is killed, or its parent is gone.
    std::io::stdin().read_line(&mut String::new())?;
    Err("nobody killed the writer".into())
}
