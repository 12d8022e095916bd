//! One measurement: one engine, one workload, one round, in a process of its own, so that memory and written bytes are its own.

use std::{path::PathBuf, time::Instant};

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
    /// How long durable puts run beside a load: long enough for flushes and compactions.
    pub load_seconds: f64,
    /// After so many seconds a row is over budget; a load that comes before it has as many.
    pub budget: f64,
    /// How often churn overwrites as many rows as there are.
    pub churn: usize,
    pub memtable_bytes: Option<usize>,
}

/// What a run of batches took.
#[derive(Default)]
pub struct Written {
    pub rows: usize,
    pub seconds: f64,
    /// The longest call, in seconds: what a writer may have to wait for.
    pub longest: f64,
}

pub struct Cell {
    pub spec: Spec,
    pub data: Data,
}

impl Cell {
    pub fn new(spec: Spec) -> Result<Self> {
        let data = match (&spec.vectors, &spec.ids) {
            (Some(vectors), Some(ids)) => Data::real(vectors, ids, spec.rows)?,
            _ => Data::random(spec.rows, spec.dimension),
        };
        std::fs::create_dir_all(&spec.directory)?;
        Ok(Self { spec, data })
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

    /// Sees to it that "main" holds all rows as a load left them: that of this round, or one made now.
    pub fn ensure_loaded(&self) -> Result<()> {
        if !self.path("loaded").exists() {
            let engine = self.open_empty("main", Mode::Buffered)?;
            let (rows, _) = self.bulk_load(&*engine)?;
            if rows < self.data.rows {
                return Err("over budget: the load that comes before it".into());
            }
            self.mark_loaded(true)?;
        }
        Ok(())
    }

    pub fn open_loaded(&self, mode: Mode) -> Result<Box<dyn Engine>> {
        self.ensure_loaded()?;
        self.open("main", mode)
    }

    /// For a workload that changes rows: always from a settled bulk load, whatever ran before it, and what it leaves is nobody's.
    pub fn open_to_change(&self, mode: Mode) -> Result<Box<dyn Engine>> {
        self.mark_loaded(false)?;
        let engine = self.open_loaded(mode)?;
        self.mark_loaded(false)?;
        Ok(engine)
    }

    /// When what begins now has cost enough.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.spec.budget)
    }

    /// Loads all rows in the order of their ids; once the budget is spent no more are given. How many it were, and in how many seconds.
    pub fn bulk_load(&self, engine: &dyn Engine) -> Result<(usize, f64)> {
        // Ids and their order are made outside of the clock: a program has them.
        let entries = self.data.sorted();
        let (mut given, deadline) = (0, self.deadline());
        let started = Instant::now();
        engine.bulk_load(&mut entries.iter().take_while(|_| !deadline.passed()).map(|(id, row)| {
            given += 1;
            (id.as_slice(), self.data.vector(*row, 0))
        }))?;
        Ok((given, started.elapsed().as_secs_f64()))
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

    /// Writes rows in batches until the deadline.
    pub fn put_all(&self, engine: &dyn Engine, rows: &[usize], version: u64, deadline: Deadline) -> Result<Written> {
        let (mut written, mut batch) = (Written::default(), Batch::default());
        // Copying rows into the batch counts too: else flushes and compactions would have that time for nothing.
        let started = Instant::now();
        for rows in rows.chunks(BATCH) {
            batch.fill(&self.data, rows, version);
            let called = Instant::now();
            engine.put_batch(&batch)?;
            written.longest = written.longest.max(called.elapsed().as_secs_f64());
            written.rows += batch.ids.len();
            if deadline.passed() {
                break;
            }
        }
        written.seconds = started.elapsed().as_secs_f64();
        Ok(written)
    }
}
