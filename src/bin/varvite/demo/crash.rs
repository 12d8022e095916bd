//! A second process writes and acknowledges; it is killed in the middle; nothing it acknowledged may be missing.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::Args;
use varvite::{Collection, Fields, Metric};

use super::{Sample, open, report::Report, same_bits};
use crate::failure::{Failure, Outcome};

const COLLECTION: &str = "crash";
const RECORDS_A_BATCH: usize = 4;
/// The writer is killed after so many acknowledgements, or after so long.
const ACKNOWLEDGED: u64 = 400;
const PATIENCE: Duration = Duration::from_secs(4);

/// The writing process of `demo`: batches for ever, the number of each printed when it is acknowledged
#[derive(Args)]
pub(crate) struct Writer {
    directory: PathBuf,
}

impl Writer {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let sample = Sample::read()?;
        let db = open(&self.directory, false)?;
        let collection = db.get_or_create_collection(COLLECTION, sample.dimension, Metric::L2)?;
        // Ends when nobody reads what it prints.
        for number in 0.. {
            let mut batch = db.batch();
            for place in 0..RECORDS_A_BATCH {
                let vector = expected_vector(&sample, number, place);
                let fields = Fields::vector(&vector).with_document(expected_text(number));
                batch.insert(&collection, id(number, place), fields)?;
            }
            batch.commit()?.wait()?;
            writeln!(out, "{number}")?;
            out.flush()?;
        }
        Ok(())
    }
}

fn id(number: u64, place: usize) -> String {
    format!("{number:08}-{place}")
}

fn expected_text(number: u64) -> String {
    format!("written by batch {number}")
}

/// A verse with the number of the batch as its first element, so that each record is its own.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "numbers of batches stay small")]
fn expected_vector(sample: &Sample, number: u64, place: usize) -> Vec<f32> {
    let mut vector = sample.vector(number as usize * RECORDS_A_BATCH + place).to_vec();
    if let Some(first) = vector.first_mut() {
        *first = number as f32;
    }
    vector
}

pub(super) fn kill_a_writer(directory: &Path, sample: &Sample, report: &mut Report<'_>) -> Outcome {
    report.title("Kill -9")?;
    let (acknowledged, last_words) = run_and_kill(directory)?;
    if acknowledged == 0 {
        return Err(Failure::refused(format!("the writing process acknowledged nothing: {last_words}")));
    }
    let started = Instant::now();
    let db = open(directory, false)?;
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    let found = Found::count(&db.collection(COLLECTION)?, sample)?;
    db.drop_collection(COLLECTION)?;
    db.close()?;
    report.line(&format!(
        "A second process acknowledged {acknowledged} batches of {RECORDS_A_BATCH} records and was killed with SIGKILL; opened again in {milliseconds:.0} ms."
    ))?;
    report.line(&format!("{} batches are there: {} whole, {} in part.", found.whole + found.partial, found.whole, found.partial))?;
    let survived = found.prefix.min(acknowledged);
    report.check("every acknowledged batch survived", survived == acknowledged, format!("{survived} of {acknowledged}"));
    report.check("no batch is half there", found.partial == 0, format!("{} of {}", found.partial, found.whole + found.partial));
    report.check("no record is wrong or out of order", found.wrong == 0 && found.prefix == found.whole, format!("{} wrong", found.wrong));
    Ok(())
}

/// Kills the process however this function is left.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // It may be dead already; either way it is waited for, so that its lock is free afterwards.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the writer, kills it in the middle, and returns how many batches it acknowledged and what it said on its standard error.
fn run_and_kill(directory: &Path) -> Outcome<(u64, String)> {
    let program = env::current_exe().map_err(|error| Failure::refused(format!("cannot find this program to start it again: {error}")))?;
    let child = Command::new(&program)
        .arg("demo-writer")
        .arg(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::file("start", &program, &error))?;
    let mut victim = Victim(child);
    let (Some(acknowledgements), Some(errors)) = (victim.0.stdout.take(), victim.0.stderr.take()) else {
        return Err(Failure::refused("the writing process has no output"));
    };
    let started = Instant::now();
    let mut acknowledged = 0;
    let mut killed = false;
    for line in BufReader::new(acknowledgements).lines() {
        // A line cut off by the kill is no acknowledgement; every whole one is.
        let Ok(number) = line.unwrap_or_default().parse::<u64>() else { break };
        acknowledged = number + 1;
        if !killed && (acknowledged >= ACKNOWLEDGED || started.elapsed() > PATIENCE) {
            victim.0.kill().map_err(|error| Failure::refused(format!("cannot kill the writing process: {error}")))?;
            killed = true;
        }
    }
    drop(victim);
    let last_words = BufReader::new(errors).lines().map_while(Result::ok).collect::<Vec<_>>().join(" ");
    if killed {
        Ok((acknowledged, last_words))
    } else {
        Err(Failure::refused(format!("the writing process ended by itself: {last_words}")))
    }
}

/// What is there after the kill.
#[derive(Default)]
struct Found {
    /// Batches with all their records.
    whole: u64,
    /// Batches with some of their records.
    partial: u64,
    /// Whole batches before the first that is not.
    prefix: u64,
    /// Records whose vector or text is not what was written.
    wrong: u64,
}

impl Found {
    fn count(collection: &Collection, sample: &Sample) -> Outcome<Self> {
        let mut found = Self::default();
        let total = collection.count()?;
        let mut seen = 0;
        let mut number = 0;
        // Every record that is counted is looked for, even behind a gap.
        while seen < total && number <= total + ACKNOWLEDGED * 10 {
            let mut present = 0;
            for place in 0..RECORDS_A_BATCH {
                let Some(row) = collection.get(id(number, place))? else { continue };
                present += 1;
                let right = same_bits(&row, &expected_vector(sample, number, place)) && row.document()? == Some(expected_text(number));
                found.wrong += u64::from(!right);
            }
            match present {
                0 => {}
                RECORDS_A_BATCH => {
                    found.prefix += u64::from(found.prefix == number);
                    found.whole += 1;
                }
                _ => found.partial += 1,
            }
            seen += present as u64;
            number += 1;
        }
        // Records of no known id are none that was written.
        found.wrong += total - seen.min(total);
        Ok(found)
    }
}
