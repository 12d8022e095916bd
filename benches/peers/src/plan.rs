//! Which engines run which workloads on how many rows. Stages of one group share their rounds: the first round of each, then the second of each.

use crate::{engines, probe, workloads};

/// Stores that only Python can drive; `python/runner.py` knows the same names.
pub const PYTHON: &[&str] = &["lancedb", "chromadb", "sqlite-vec", "usearch"];
/// Workloads that those have an interface for.
const PYTHON_WORKLOADS: &[&str] = &["batch-load", "get-hit", "get-miss", "multi-get-64", "search", "reopen-clean", "delete", "put-1"];
/// Engines that are taken to sizes at which the others take hours.
const LARGE: &[&str] = &["varvite", "rocksdb", "lmdb"];
const READS: &[&str] = &["bulk-load", "get-hit", "get-miss", "multi-get-64", "reopen-clean"];

#[derive(Clone)]
pub struct Stage {
    pub name: String,
    pub rows: usize,
    pub dimension: usize,
    /// Real ids and vectors, as many as there are.
    pub real: bool,
    pub engines: Vec<&'static str>,
    pub workloads: Vec<&'static str>,
    pub rounds: usize,
    pub seconds: f64,
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
            name if PYTHON.contains(&name) => PYTHON_WORKLOADS.contains(&workload),
            _ => true,
        }
    }

    /// Pairs of engine and workload in the order of a round: each workload with all engines in turn, who begins changes.
    pub fn order(&self, round: usize) -> Vec<(&'static str, &'static str)> {
        let turned = |by: usize| self.engines.iter().cycle().skip(by % self.engines.len()).take(self.engines.len()).copied();
        let pairs: Vec<_> = if self.alone {
            turned(round).flat_map(|engine| self.workloads.iter().map(move |workload| (engine, *workload))).collect()
        } else {
            let workloads = self.workloads.iter().enumerate();
            workloads.flat_map(|(number, workload)| turned(round + number).map(move |engine| (engine, *workload))).collect()
        };
        pairs.into_iter().filter(|(engine, workload)| self.runs(engine, workload)).collect()
    }
}

fn available(engine: &str) -> bool {
    engine == "machine" || engines::NAMES.contains(&engine) || PYTHON.contains(&engine)
}

fn vector_stores() -> Vec<&'static str> {
    std::iter::once("varvite").chain(PYTHON.iter().copied()).collect()
}

/// At most ten minutes: one group, so that a limit of time costs rounds and no stage.
pub fn quick() -> Vec<Vec<Stage>> {
    let short = |stage: Stage| Stage { seconds: 0.2, budget: 20.0, churn: 2, ..stage };
    let main = short(Stage::new("random", 30_000, 384));
    let real = short(Stage { real: true, ..Stage::new("real", 40_000, 384) });
    let real = Stage { workloads: vec!["batch-load", "get-hit", "scan-dot", "prefix-scan", "search"], ..real };
    // Each of these cells starts a Python: the four that matter most.
    let stores = short(Stage::new("stores", 4_000, 384).only(&vector_stores(), &["batch-load", "get-hit", "search", "put-1"]));
    let scale = |rows| short(Stage::new(&format!("scale-{rows}"), rows, 128).only(LARGE, &["bulk-load", "get-hit", "get-miss"]));
    vec![vec![main, real, stores, scale(10_000), scale(200_000)]]
}

/// Hours, stage by stage; what is cut off goes on with `--resume`.
pub fn full() -> Vec<Vec<Stage>> {
    let mut stages = vec![
        Stage::new("random", 600_000, 384),
        Stage { workloads: READS.to_vec(), ..Stage::new("random-100k", 100_000, 384) },
        Stage { real: true, ..Stage::new("real", 1_000_000, 384) },
        Stage::new("stores", 50_000, 384).only(&vector_stores(), PYTHON_WORKLOADS),
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
        // The smallest write buffer is 1 MiB, so the largest ratio needs more rows.
        let rows = if share == 1000 { 700_000 } else { stage.rows };
        stages.push(Stage { rows, memtable_bytes: Some(rows * 384 * 4 / share), budget: 900.0, rounds: 5, churn: 3, alone: true, ..stage });
    }
    for rows in [10_000, 100_000, 1_000_000, 10_000_000] {
        let stage = Stage::new(&format!("scale-{rows}"), rows, 128).only(LARGE, READS);
        stages.push(Stage { budget: 900.0, alone: rows > 1_000_000, ..stage });
    }
    let four = Stage::new("random-4m", 4_000_000, 384).only(LARGE, READS);
    stages.push(Stage { budget: 900.0, alone: true, ..four });
    let load = Stage::new("load-4gb", 2_600_000, 384).only(&["varvite", "rocksdb", "fjall"], &["batch-load"]);
    stages.push(Stage { budget: 900.0, alone: true, ..load });
    stages.into_iter().map(|stage| vec![stage]).collect()
}
