//! Which engines run which workloads on how many rows. Stages of one group share their rounds: the first round of each, then the second of each.

use crate::{engines, probe, workloads};

/// Stores that only Python can drive; `python/runner.py` knows the same names.
pub const PYTHON: &[&str] = &["lancedb", "chromadb", "sqlite-vec", "usearch", "faiss", "numpy", "hnswlib"];
/// Those of them that store vectors.
const STORES: &[&str] = &["lancedb", "chromadb", "sqlite-vec", "usearch"];
/// Those that search what is in memory, many queries at once.
const LIBRARIES: &[&str] = &["usearch", "faiss", "numpy", "hnswlib"];
/// Workloads that those have an interface for.
const PYTHON_WORKLOADS: &[&str] = &["batch-load", "get-hit", "get-miss", "multi-get-64", "search", "reopen-clean", "delete", "put-1"];
/// Engines that are taken to sizes at which the others take hours.
const LARGE: &[&str] = &["varvite", "rocksdb", "lmdb"];
const READS: &[&str] = &["bulk-load", "get-hit", "get-miss", "multi-get-64", "reopen-clean"];
/// Whose cost is drawn against the number of rows.
const GROWING: &[&str] = &["bulk-load", "get-hit", "get-miss", "scan-dot", "prefix-scan", "reopen-clean", "put-buffered"];

/// What one process measures: one workload, or all those of a store for which a Python has to start.
pub type Job = (&'static str, Vec<&'static str>);

#[derive(Clone)]
pub struct Stage {
    pub name: String,
    pub rows: usize,
    pub dimension: usize,
    /// Real ids and vectors.
    pub real: bool,
    pub engines: Vec<&'static str>,
    pub workloads: Vec<&'static str>,
    pub rounds: usize,
    pub seconds: f64,
    pub load_seconds: f64,
    pub budget: f64,
    pub churn: usize,
    pub memtable_bytes: Option<usize>,
    /// One database on disk at a time: all workloads of an engine before the next engine.
    pub alone: bool,
}

impl Stage {
    fn new(name: &str, rows: usize, dimension: usize) -> Self {
        Self {
            name: name.to_owned(),
            rows,
            dimension,
            real: false,
            engines: std::iter::once("machine").chain(engines::NAMES.iter().copied()).collect(),
            workloads: workloads::ALL.to_vec(),
            rounds: 5,
            seconds: 2.0,
            load_seconds: 60.0,
            budget: 300.0,
            churn: 5,
            memtable_bytes: None,
            alone: false,
        }
    }

    fn only(self, engines: &[&'static str], workloads: &[&'static str]) -> Self {
        let with_machine = std::iter::once("machine").chain(engines.iter().copied()).filter(|name| available(name)).collect();
        Self { engines: with_machine, workloads: workloads.to_vec(), ..self }
    }

    pub fn runs(&self, engine: &str, workload: &str) -> bool {
        match engine {
            "machine" => probe::WORKLOADS.contains(&workload),
            name if PYTHON.contains(&name) => PYTHON_WORKLOADS.contains(&workload) || workloads::SEARCHES.contains(&workload),
            _ => true,
        }
    }

    /// What runs in a round, in order: each workload with all engines in turn, who begins changes.
    pub fn order(&self, round: usize) -> Vec<Job> {
        let turned = |by: usize| self.engines.iter().cycle().skip(by % self.engines.len()).take(self.engines.len()).copied();
        let pairs: Vec<_> = if self.alone {
            turned(round).flat_map(|engine| self.workloads.iter().map(move |workload| (engine, *workload))).collect()
        } else {
            let workloads = self.workloads.iter().enumerate();
            workloads.flat_map(|(number, workload)| turned(round + number).map(move |engine| (engine, *workload))).collect()
        };
        let mut jobs: Vec<Job> = Vec::new();
        for (engine, workload) in pairs.into_iter().filter(|(engine, workload)| self.runs(engine, workload)) {
            match jobs.iter_mut().find(|(started, _)| *started == engine && PYTHON.contains(&engine)) {
                Some((_, workloads)) => workloads.push(workload),
                None => jobs.push((engine, vec![workload])),
            }
        }
        jobs
    }
}

fn available(engine: &str) -> bool {
    engine == "machine" || engines::NAMES.contains(&engine) || engine == engines::VECTORS_ONLY || PYTHON.contains(&engine)
}

fn vector_stores() -> Vec<&'static str> {
    std::iter::once("varvite").chain(STORES.iter().copied()).collect()
}

/// Exact search beside the bandwidth of memory.
fn searching(rows: usize, peers: &[&'static str]) -> Stage {
    let engines: Vec<_> = ["varvite", engines::VECTORS_ONLY].into_iter().chain(peers.iter().copied()).collect();
    let workloads: Vec<_> = std::iter::once("scan-dot").chain(workloads::SEARCHES.iter().copied()).collect();
    Stage::new("search", rows, 768).only(&engines, &workloads)
}

/// Five rounds in ten minutes: one group, so that a limit of time costs rounds and no stage.
pub fn quick() -> Vec<Vec<Stage>> {
    let short = |stage: Stage| Stage { seconds: 0.1, load_seconds: 1.5, budget: 20.0, churn: 2, ..stage };
    // As few rows as the journal of `reopen-killed` needs.
    let main = short(Stage::new("random", 20_000, 384));
    let real = Stage { real: true, ..Stage::new("real", 40_000, 384) }.only(LARGE, &["batch-load", "get-hit", "scan-dot"]);
    let stores = short(Stage::new("stores", 2_000, 384).only(&vector_stores(), &["batch-load", "get-hit", "search", "put-1"]));
    let growing = &["bulk-load", "get-hit", "scan-dot", "reopen-clean", "put-buffered"];
    let scale = |rows| short(Stage::new(&format!("scale-{rows}"), rows, 128).only(LARGE, growing));
    let (real, search) = (short(real), short(searching(5_000, LIBRARIES)));
    vec![vec![main, real, stores, search, scale(10_000), scale(200_000)]]
}

/// Hours, stage by stage; what is cut off goes on with `--resume`.
pub fn full() -> Vec<Vec<Stage>> {
    let mut stages = vec![
        Stage::new("random", 600_000, 384),
        Stage { workloads: READS.to_vec(), ..Stage::new("random-100k", 100_000, 384) },
        Stage { real: true, ..Stage::new("real", 1_000_000, 384) },
        Stage::new("stores", 50_000, 384).only(&vector_stores(), PYTHON_WORKLOADS),
        // More than a gigabyte, so that no part of it is in a cache.
        searching(350_000, PYTHON),
    ];
    for dimension in [64, 100, 128, 384, 768, 1536] {
        let stage = Stage {
            workloads: vec!["bulk-load", "batch-load"],
            ..Stage::new(&format!("space-{dimension}"), 150_000_000 / dimension / 4, dimension)
        };
        stages.push(stage);
    }
    for (name, share) in [("churn-10", 10), ("churn-100", 100), ("churn-1000", 1000)] {
        let stage = Stage::new(name, 400_000, 384).only(&["varvite", "rocksdb", "fjall"], &["churn"]);
        // The smallest memtable that all of them take is 1 MiB, so the largest ratio needs more rows.
        let rows = if share == 1000 { 700_000 } else { stage.rows };
        stages.push(Stage { rows, memtable_bytes: Some(rows * 384 * 4 / share), rounds: 5, churn: 3, alone: true, ..stage });
    }
    for rows in [10_000, 100_000, 1_000_000, 10_000_000] {
        let stage = Stage::new(&format!("scale-{rows}"), rows, 128).only(LARGE, GROWING);
        stages.push(Stage { alone: rows > 1_000_000, ..stage });
    }
    let four = Stage::new("random-4m", 4_000_000, 384).only(LARGE, READS);
    stages.push(Stage { alone: true, ..four });
    let load = Stage::new("load-4gb", 2_600_000, 384).only(&["varvite", "rocksdb", "fjall"], &["batch-load"]);
    stages.push(Stage { alone: true, ..load });
    stages.into_iter().map(|stage| vec![stage]).collect()
}
