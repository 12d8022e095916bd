//! The ledger: one line of JSON for each campaign.

use std::{collections::BTreeMap, fs, path::Path, process::ExitCode};

use serde_json::Value;

/// The lines of a ledger, or those of one layer; a file that is not there yet has none.
pub fn lines_of(file: &Path, layer: Option<&str>) -> Result<Vec<Value>, String> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| format!("{}: {error}", file.display()))?,
    };
    let parse = |line: &str| serde_json::from_str::<Value>(line).map_err(|error| format!("{}: {error}", file.display()));
    let lines = text.lines().filter(|line| !line.trim().is_empty()).map(parse).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().filter(|line| layer.is_none_or(|layer| line["layer"] == layer)).collect())
}

/// What the campaigns of one layer amount to.
#[derive(Default)]
struct Sum {
    runs: u64,
    seconds: f64,
    findings: u64,
    counts: BTreeMap<String, u64>,
    last_commit: String,
    seconds_on_last: f64,
}

impl Sum {
    fn add(&mut self, line: &Value) {
        let seconds = line["seconds"].as_f64().unwrap_or_default();
        self.runs += 1;
        self.seconds += seconds;
        self.findings += line["findings"].as_array().map_or(0, Vec::len) as u64;
        for (name, count) in line["counts"].as_object().into_iter().flatten() {
            *self.counts.entry(name.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
        let commit = line["commit"].as_str().unwrap_or_default();
        if self.last_commit != commit {
            (self.last_commit, self.seconds_on_last) = (commit.to_owned(), 0.0);
        }
        self.seconds_on_last += seconds;
    }
}

pub fn print(file: &Path) -> ExitCode {
    let lines = match lines_of(file, None) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("torture: {error}");
            return ExitCode::from(2);
        }
    };
    let mut sums = BTreeMap::<&str, Sum>::new();
    for line in &lines {
        sums.entry(line["layer"].as_str().unwrap_or_default()).or_default().add(line);
    }
    println!("| layer | runs | minutes | counts | findings | last commit, minutes on it |\n|---|---|---|---|---|---|");
    for (layer, sum) in sums {
        let counts: Vec<String> = sum.counts.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
        let (minutes, on_last) = (sum.seconds / 60.0, sum.seconds_on_last / 60.0);
        println!(
            "| {layer} | {} | {minutes:.0} | {} | {} | {}, {on_last:.0} |",
            sum.runs,
            counts.join(", "),
            sum.findings,
            sum.last_commit
        );
    }
    ExitCode::SUCCESS
}

/// 1234567 as 1,234,567.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> = digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}
