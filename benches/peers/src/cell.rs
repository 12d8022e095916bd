//! One measurement: one engine, one workload, one round, in a process of its own, so that memory and written bytes are its own.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{
    data::{BATCH, Batch, Data},
    engine::{Engine, Mode, Opening, Result},
    engines,
    measure::{self, Deadline, Metrics},
    probe, workloads,
};

/// What a cell is told; the Python runner is told the same.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Spec {
    pub stage: String,
    pub engine: String,
    pub workload: String,
    pub round: usize,
    pub rows: usize,
    pub dimension: usize,
    /// Files of real rows; else they are random.
    pub vectors: Option<PathBuf>,
    pub ids: Option<PathBuf>,
    /// Of this engine in this stage.
    pub directory: PathBuf,
    /// How long a workload that has no natural end runs.
    pub seconds: f64,
    /// After so many seconds a row is over budget.
    pub budget: f64,
    /// How often churn overwrites as many rows as there are.
    pub churn: usize,
    pub memtable_bytes: Option<usize>,
}

pub struct Cell {
    pub spec: Spec,
    pub data: Data,
    pub deadline: Deadline,
}

impl Cell {
    pub fn new(spec: Spec) -> Result<Self> {
        let data = match (&spec.vectors, &spec.ids) {
            (Some(vectors), Some(ids)) => Data::real(vectors, ids, spec.rows)?,
            _ => Data::random(spec.rows, spec.dimension),
        };
        std::fs::create_dir_all(&spec.directory)?;
        Ok(Self { deadline: Deadline::after(spec.budget), spec, data })
    }

    pub fn run(&self) -> Result<Metrics> {
        if self.spec.engine == "machine" { probe::run(self) } else { workloads::run(self) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.spec.directory.join(name)
    }

    pub fn open(&self, name: &str, mode: Mode) -> Result<Box<dyn Engine>> {
        let path = self.path(name);
        let cache_bytes = (measure::machine_memory() / 4) as usize;
        let opening = Opening { path: &path, dimension: self.data.dimension, mode, cache_bytes, memtable_bytes: self.spec.memtable_bytes };
        engines::open(&self.spec.engine, opening)
    }

    /// An empty database, whatever was there before.
    pub fn open_empty(&self, name: &str, mode: Mode) -> Result<Box<dyn Engine>> {
        let path = self.path(name);
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        self.open(name, mode)
    }

    /// The database with all rows that the loads of this round left, or one made now where they did not.
    pub fn open_loaded(&self, mode: Mode) -> Result<Box<dyn Engine>> {
        if !self.path("loaded").exists() {
            let engine = self.open_empty("main", Mode::Buffered)?;
            engine.bulk_load(&self.data, &self.data.order())?;
            engine.settle()?;
            self.mark_loaded(true)?;
        }
        self.open("main", mode)
    }

    /// Notes whether "main" holds all rows as they were loaded.
    pub fn mark_loaded(&self, loaded: bool) -> Result<()> {
        let mark = self.path("loaded");
        if loaded {
            std::fs::write(mark, "")?;
        } else if mark.exists() {
            std::fs::remove_file(mark)?;
        }
        Ok(())
    }

    /// Writes rows in batches until the deadline; how many rows that were.
    pub fn put_all(&self, engine: &dyn Engine, rows: &[usize], version: u64) -> Result<(usize, f64)> {
        let (mut written, mut seconds) = (0, 0.0);
        for rows in rows.chunks(BATCH) {
            // Made outside of the clock: a program has its vectors.
            let batch = Batch::of(&self.data, rows, version);
            let started = std::time::Instant::now();
            engine.put_batch(&batch)?;
            seconds += started.elapsed().as_secs_f64();
            written += batch.ids.len();
            if self.deadline.passed() {
                break;
            }
        }
        Ok((written, seconds))
    }
}
