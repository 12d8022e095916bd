//! What all layers share: seeds, budgets, progress, the ledger, findings.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, ExitCode},
    str::FromStr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::{ledger, quiet};

/// The options of every layer.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Where the cases start: case n has seed SEED + n.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How much to try: `30s`, `10m`, `2h`, or a number of cases.
    #[arg(long, default_value = "30s")]
    pub budget: Budget,
    /// Tries one case again, as a finding names it, and tells what happens.
    #[arg(long, value_name = "CASE")]
    pub replay: Option<String>,
    /// Goes on where the campaigns in this ledger ended, and adds a line to it; counts are summed.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Prints the figures as one line of JSON.
    #[arg(long)]
    pub json: bool,
    /// How many cases at once; by default one for each processor.
    #[arg(long)]
    pub threads: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub enum Budget {
    Time(Duration),
    Cases(u64),
}

impl FromStr for Budget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
        let number: u64 = number.parse().map_err(|_| format!("{text:?} is neither a time (30s, 10m, 2h) nor a number of cases"))?;
        match unit {
            "" => Ok(Self::Cases(number)),
            "s" => Ok(Self::Time(Duration::from_secs(number))),
            "m" => Ok(Self::Time(Duration::from_secs(number * 60))),
            "h" => Ok(Self::Time(Duration::from_secs(number * 3600))),
            _ => Err(format!("{unit:?} is no unit of time: s, m or h")),
        }
    }
}

/// Counts by name. Those of several runs add up.
pub type Counts = BTreeMap<String, u64>;

/// Something that must not happen, with the case that shows it again.
#[derive(Clone, Debug)]
pub struct Finding {
    pub case: String,
    pub what: String,
}

/// A layer stops after so many.
const FINDINGS_MAX: usize = 10;

/// A running campaign: handed to the layer, used by all its threads.
pub struct Campaign {
    pub common: Common,
    pub first: u64,
    next: AtomicU64,
    end: u64,
    started: Instant,
    deadline: Option<Instant>,
    stopped: AtomicBool,
    counts: Mutex<Counts>,
    findings: Mutex<Vec<Finding>>,
    bar: ProgressBar,
    skipped: Mutex<Option<String>>,
}

impl Campaign {
    fn new(common: &Common, first: u64) -> Self {
        let bar = ProgressBar::new(0);
        let (deadline, end) = match common.budget {
            Budget::Time(time) => {
                bar.set_length(time.as_secs());
                (Some(Instant::now() + time), u64::MAX)
            }
            Budget::Cases(cases) => {
                bar.set_length(cases);
                (None, first.saturating_add(cases))
            }
        };
        bar.set_style(ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} {msg}").unwrap());
        Self {
            common: common.clone(),
            first,
            next: AtomicU64::new(first),
            end,
            started: Instant::now(),
            deadline,
            stopped: AtomicBool::new(false),
            counts: Mutex::default(),
            findings: Mutex::default(),
            bar,
            skipped: Mutex::default(),
        }
    }

    /// The next case's seed; `None` when the budget is used up.
    pub fn next_case(&self) -> Option<u64> {
        if self.is_over() {
            return None;
        }
        let case = self.next.fetch_add(1, Ordering::Relaxed);
        if case < self.end {
            return Some(case);
        }
        self.next.fetch_sub(1, Ordering::Relaxed);
        None
    }

    /// Whether to stop, within a case too.
    pub fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub fn count(&self, name: &str, more: u64) {
        *self.counts.lock().unwrap().entry(name.to_owned()).or_default() += more;
    }

    /// Moves the bar, and tells a figure beside it.
    pub fn progress(&self, leading: &str) {
        let done = self.counts.lock().unwrap().get(leading).copied().unwrap_or_default();
        let position =
            if self.deadline.is_some() { self.started.elapsed().as_secs() } else { self.next.load(Ordering::Relaxed) - self.first };
        self.bar.set_position(position);
        self.bar.set_message(format!("{done} {leading}, {:.0}/s", done as f64 / self.started.elapsed().as_secs_f64().max(0.001)));
    }

    pub fn found(&self, case: String, what: String) {
        let mut findings = self.findings.lock().unwrap();
        findings.push(Finding { case, what });
        if findings.len() >= FINDINGS_MAX {
            self.stopped.store(true, Ordering::Relaxed);
        }
    }

    /// A part of the layer cannot run here; the figures name the others.
    pub fn leave_out(&self, part: &str, why: &str) {
        self.bar.suspend(|| eprintln!("SKIPPED: {part}: {why}"));
    }

    /// The layer cannot run here; nothing is counted.
    pub fn skip(&self, why: String) {
        *self.skipped.lock().unwrap() = Some(why);
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Runs a body on every thread.
    pub fn on_threads(&self, threads_default: usize, body: impl Fn(&Self) + Sync) {
        let threads = self.common.threads.unwrap_or(threads_default).max(1);
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| body(self)))));
    }
}

/// Why a replay showed nothing, or what it showed.
#[derive(Debug)]
pub enum Replayed {
    /// The layer cannot run here.
    Skipped(String),
    /// There is no such case.
    Usage(String),
    Violation(String),
}

/// What was caught is a violation; the rest is said where it comes from.
impl From<String> for Replayed {
    fn from(what: String) -> Self {
        Self::Violation(what)
    }
}

pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs one layer and tells what came of it.
pub fn run(layer: &str, common: &Common, replay: fn(&str) -> Result<String, Replayed>, explore: impl Fn(&Campaign)) -> ExitCode {
    quiet::keep_panics();
    if let Some(case) = &common.replay {
        return match replay(case) {
            Ok(told) => {
                println!("{layer} {case}: {told}");
                ExitCode::SUCCESS
            }
            Err(Replayed::Violation(what)) => {
                println!("{layer} {case}: VIOLATION\n{what}");
                ExitCode::FAILURE
            }
            Err(Replayed::Skipped(why)) => {
                println!("SKIPPED: {layer}: {why}");
                ExitCode::SUCCESS
            }
            Err(Replayed::Usage(what)) => {
                eprintln!("torture: {what}");
                ExitCode::from(2)
            }
        };
    }
    let before = match common.resume.as_ref().map_or(Ok(Vec::new()), |file| ledger::lines_of(file, Some(layer))) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("torture: {error}");
            return ExitCode::from(2);
        }
    };
    let ended = before.iter().filter_map(|line| line["seeds"][1].as_u64()).max();
    let campaign = Campaign::new(common, ended.unwrap_or(0).max(common.seed));
    // Before it runs for hours, in which somebody may go on with the source.
    let commit = commit();
    explore(&campaign);
    campaign.bar.finish_and_clear();
    if let Some(why) = campaign.skipped.lock().unwrap().take() {
        println!("SKIPPED: {layer}: {why}");
        return ExitCode::SUCCESS;
    }
    report(layer, &commit, common, &campaign, &before)
}

fn report(layer: &str, commit: &str, common: &Common, campaign: &Campaign, before: &[Value]) -> ExitCode {
    let seconds = campaign.started.elapsed().as_secs_f64();
    let counts = campaign.counts.lock().unwrap().clone();
    let findings = campaign.findings.lock().unwrap().clone();
    let lead = leading(layer);
    let rate = counts.get(lead).copied().unwrap_or_default() as f64 / seconds.max(0.001);
    let line = json!({
        "layer": layer,
        "commit": commit,
        "seeds": [campaign.first, campaign.next.load(Ordering::Relaxed)],
        "counts": counts,
        "seconds": (seconds * 10.0).round() / 10.0,
        "rate": format!("{rate:.1} {lead}/s"),
        "result": if findings.is_empty() { "0 violations".to_owned() } else { format!("{} violations", findings.len()) },
        "findings": findings.iter().map(|finding| finding.case.clone()).collect::<Vec<_>>(),
    });
    if common.json {
        println!("{line}");
    } else {
        let figures: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!("{layer}: {}; {rate:.1} {lead}/s in {seconds:.1} s, {}", figures.join(", "), line["result"].as_str().unwrap_or_default());
    }
    if let Some(file) = &common.resume {
        let mut total = counts;
        for old in before {
            for (name, count) in old["counts"].as_object().into_iter().flatten() {
                *total.entry(name.clone()).or_default() += count.as_u64().unwrap_or_default();
            }
        }
        let added = fs::OpenOptions::new().create(true).append(true).open(file).and_then(|mut file| writeln!(file, "{line}"));
        added.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let figures: Vec<String> = total.iter().map(|(name, count)| format!("{count} {name}")).collect();
        eprintln!("{layer}, {} runs together: {}", before.len() + 1, figures.join(", "));
    }
    for finding in &findings {
        println!("VIOLATION {}\n  replay: torture {layer} --replay '{}'", finding.what.replace('\n', "\n  "), finding.case);
    }
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The count that a layer is measured by.
pub fn leading(layer: &str) -> &'static str {
    match layer {
        "crash" | "device" => "distinct images",
        "faults" | "faults --preload" => "faults",
        "kill" => "kills",
        "schedules" => "schedules",
        "corrupt" | "corrupt --bits" => "changes",
        mutate if mutate.starts_with("mutate ") => "executions",
        _ => "cuts",
    }
}

/// The commit of the source, `-changed` if it was.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").arg("-C").arg(env!("CARGO_MANIFEST_DIR")).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|status| !status.is_empty());
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_default() + if changed { "-changed" } else { "" }
}
