//! Runs a plan: cell by cell, engines in turn, a line of JSON for each. What is in the file already is not run again.

use std::{
    collections::HashSet,
    fs::File,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    cell::Spec,
    engine::{Failure, Mode, Opening, Result},
    engines, measure,
    plan::{self, Stage},
};

/// How long a cell may take to make its rows, write raw, warm up and settle, beside what it measures and the load before it.
const GRACE_SECONDS: f64 = 60.0;

pub struct Runner {
    pub groups: Vec<Vec<Stage>>,
    pub directory: PathBuf,
    pub out: PathBuf,
    pub resume: bool,
    pub vectors: Option<PathBuf>,
    pub ids: Option<PathBuf>,
    /// Python and the runner's script, if the stores that need it are wanted.
    pub python: Option<(PathBuf, PathBuf)>,
    pub only: Vec<String>,
    pub minutes: Option<f64>,
    pub commit: String,
    pub plan: String,
}

impl Runner {
    pub fn run(&self) -> Result<()> {
        let done = if self.resume { self.done()? } else { self.put_aside()? };
        let mut out = File::options().create(true).append(true).open(&self.out)?;
        if out.metadata()?.len() == 0 {
            self.record(&mut out, &json!({ "header": self.header()? }))?;
        }
        measure::touch_memory();
        let end = self.minutes.map(|minutes| Instant::now() + Duration::from_secs_f64(minutes * 60.0));
        for group in &self.groups {
            let total: usize = group.iter().map(|stage| stage.order(0).len() * stage.rounds).sum();
            let mut number = 0;
            for round in 0..group.iter().map(|stage| stage.rounds).max().unwrap_or(0) {
                for stage in group.iter().filter(|stage| round < stage.rounds) {
                    let jobs = stage.order(round);
                    for (at, (engine, workloads)) in jobs.iter().enumerate() {
                        number += 1;
                        let last = stage.alone && jobs.get(at + 1).is_none_or(|(next, _)| next != engine);
                        let specs = workloads.iter().map(|workload| self.spec(stage, engine, workload, round));
                        let specs: Vec<Spec> = specs.filter(|spec| !done.contains(&key(spec))).collect();
                        if self.wanted(engine) && !specs.is_empty() {
                            if let (Some(end), Some(minutes)) = (end, self.minutes)
                                && Instant::now() > end
                            {
                                println!("the time is up; go on with --resume");
                                return self.record(&mut out, &json!({ "cut": format!("after {minutes} minutes") }));
                            }
                            print!("[{number:4}/{total}] {} ", stage.name);
                            self.measure(&mut out, &specs)?;
                        }
                        if last {
                            remove(&self.directory.join(&stage.name).join(engine))?;
                        }
                    }
                }
            }
            for stage in group {
                remove(&self.directory.join(&stage.name))?;
            }
        }
        Ok(())
    }

    fn wanted(&self, engine: &str) -> bool {
        // The machine's own figures are what ratios are made of.
        let named = self.only.is_empty() || engine == "machine" || self.only.iter().any(|name| name == engine);
        named && (self.python.is_some() || !plan::PYTHON.contains(&engine))
    }

    fn spec(&self, stage: &Stage, engine: &str, workload: &str, round: usize) -> Spec {
        let files = |path: &Option<PathBuf>| path.clone().filter(|_| stage.real);
        Spec {
            stage: stage.name.clone(),
            engine: engine.to_owned(),
            workload: workload.to_owned(),
            round,
            rows: stage.rows,
            dimension: stage.dimension,
            vectors: files(&self.vectors),
            ids: files(&self.ids),
            directory: self.directory.join(&stage.name).join(engine),
            seconds: stage.seconds,
            load_seconds: stage.load_seconds,
            budget: stage.budget,
            churn: stage.churn,
            memtable_bytes: stage.memtable_bytes,
        }
    }

    /// Keys of the cells that a file has results of. A last line that was cut off is dropped from the file.
    fn done(&self) -> Result<HashSet<String>> {
        let Ok(text) = std::fs::read_to_string(&self.out) else { return Ok(HashSet::new()) };
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        if whole.len() < text.len() {
            std::fs::write(&self.out, whole)?;
        }
        let lines = whole.lines().map(serde_json::from_str::<Value>).collect::<std::result::Result<Vec<_>, _>>()?;
        let was = lines.first().and_then(|line| line["header"]["commit"].as_str());
        if let Some(was) = was.filter(|was| *was != self.commit) {
            let out = self.out.display();
            return Err(format!("{out} was measured on commit {was}, this is {}: start anew without --resume", self.commit).into());
        }
        Ok(lines.iter().filter_map(|line| line.get("key")?.as_str().map(str::to_owned)).collect())
    }

    /// Keeps the results of an earlier run, named by the second of their last change: nothing is done yet.
    fn put_aside(&self) -> Result<HashSet<String>> {
        if let Ok(metadata) = std::fs::metadata(&self.out) {
            let second = metadata.modified()?.duration_since(std::time::UNIX_EPOCH)?.as_secs();
            let aside = self.out.with_extension(format!("{second}.jsonl"));
            println!("the results of an earlier run are kept as {}", aside.display());
            std::fs::rename(&self.out, aside)?;
        }
        Ok(HashSet::new())
    }

    fn record(&self, out: &mut File, line: &Value) -> Result<()> {
        Ok(out.write_all(format!("{line}\n").as_bytes())?)
    }

    /// Several workloads in one process, if it is a store that Python drives.
    fn measure(&self, out: &mut File, specs: &[Spec]) -> Result<()> {
        let Some(first) = specs.first() else { return Ok(()) };
        std::fs::create_dir_all(&first.directory)?;
        measure::quiesce(&first.directory)?;
        let mut command = match &self.python {
            Some((python, script)) if plan::PYTHON.contains(&first.engine.as_str()) => {
                let mut command = Command::new(python);
                command.arg(script);
                command
            }
            _ => Command::new(std::env::current_exe()?),
        };
        command.arg("cell").args(specs.iter().map(serde_json::to_string).collect::<std::result::Result<Vec<_>, _>>()?);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let started = Instant::now();
        let found = child(&mut command, 2.0 * first.budget * specs.len() as f64 + GRACE_SECONDS, specs.len())?;
        println!("{} {:.1} s", first.engine, started.elapsed().as_secs_f64());
        for (spec, metrics) in specs.iter().zip(found) {
            println!("            {} {}", spec.workload, brief(&metrics));
            let line = json!({
                "key": key(spec), "stage": spec.stage, "engine": spec.engine, "workload": spec.workload, "round": spec.round,
                "rows": spec.rows, "dimension": spec.dimension, "memtable_bytes": spec.memtable_bytes,
                "load_average": load.split(' ').next().and_then(|number| number.parse::<f64>().ok()), "metrics": metrics,
            });
            self.record(out, &line)?;
        }
        Ok(())
    }

    /// The machine, the versions and the settings: printed, and first in the file.
    fn header(&self) -> Result<Value> {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map(|(_, name)| name.to_owned());
        let mut engines = serde_json::Map::new();
        for name in engines::NAMES.iter().chain([&engines::VECTORS_ONLY]).filter(|name| self.wanted(name)) {
            engines.insert((*name).to_owned(), self.describe(name)?);
        }
        if let Some((python, script)) = self.python.as_ref().filter(|_| plan::PYTHON.iter().any(|name| self.wanted(name))) {
            let described = child(Command::new(python).arg(script).arg("describe"), 120.0, 1)?;
            let stores = described.first().and_then(Value::as_object).cloned().unwrap_or_default();
            engines.extend(stores.into_iter().filter(|(name, _)| self.wanted(name)));
        }
        for (name, description) in &engines {
            println!("{name}: {description}");
        }
        Ok(json!({
            "plan": self.plan, "commit": self.commit, "unix_time": std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()),
            "processor": processor, "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "memory_bytes": measure::machine_memory(), "kernel": read("/proc/sys/kernel/osrelease").trim(), "engines": engines,
        }))
    }

    fn describe(&self, name: &str) -> Result<Value> {
        let path = self.directory.join("settings").join(name);
        let mut settings = serde_json::Map::new();
        for mode in [Mode::Buffered, Mode::Durable] {
            let opening =
                Opening { path: &path, dimension: 8, mode, cache_bytes: (measure::machine_memory() / 4) as usize, memtable_bytes: None };
            for (key, value) in engines::open(name, opening)?.settings() {
                let key = if settings.get(key).is_some_and(|before| *before != value) { format!("{key}, durable") } else { key.to_owned() };
                settings.insert(key, json!(value));
            }
        }
        remove(&path)?;
        Ok(json!({ "version": version(name), "settings": settings }))
    }
}

fn key(spec: &Spec) -> String {
    format!("{}/{}/{}/{}", spec.stage, spec.workload, spec.engine, spec.round)
}

fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        std::fs::remove_dir_all(path)?;
    }
    Ok(())
}

/// The locked version of the crate that an engine is.
fn version(engine: &str) -> String {
    let krate = match engine {
        "lmdb" => "heed",
        "sqlite" => "libsqlite3-sys",
        "rocksdb" => "librocksdb-sys",
        other => other,
    };
    let lock = include_str!("../Cargo.lock");
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{krate}\"\n")));
    let version = entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next());
    format!("{krate} {}", version.unwrap_or("?"))
}

/// The objects a child prints, a line each; one that takes too long is ended, and what it has not printed counts as over budget.
fn child(command: &mut Command, limit: f64, wanted: usize) -> Result<Vec<Value>> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut output = child.stdout.take().ok_or("no output")?;
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let end = Instant::now() + Duration::from_secs_f64(limit);
    let rest = loop {
        if let Some(status) = child.try_wait()? {
            break json!({ "error": format!("ended with {status} and no result") });
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            break json!({ "over_budget": true, "ended_after_s": limit });
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let text = reader.join().map_err(|_| Failure::from("the output could not be read"))??;
    let mut found: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).filter(Value::is_object).collect();
    found.resize(wanted, rest);
    Ok(found)
}

/// The metrics of a cell that say most, to look at while it runs.
fn brief(metrics: &Value) -> String {
    const TELLING: &[&str] = &["per_s", "mean_ns", "p50_ns", "p999_ns", "open_ns", "lost_rows", "error", "unsupported", "over_budget"];
    let metrics = metrics.as_object().into_iter().flatten();
    let shown = metrics.filter(|(name, value)| TELLING.iter().any(|end| name.ends_with(end)) && **value != json!(false));
    let text = shown.take(4).map(|(name, value)| match value.as_f64() {
        Some(number) => format!("{name} {number:.0}"),
        None => format!("{name} {value}"),
    });
    text.collect::<Vec<String>>().join(", ")
}
