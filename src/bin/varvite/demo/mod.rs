//! demo: the main job in one command, every number measured then and there.

use std::{
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use varvite::{Collection, Database, Options};

use crate::{
    commands::open_writer_with,
    failure::{Failure, Outcome},
    files::refuse_inside_database,
    text::{counted, grouped, size},
};

mod churn;
pub(crate) mod crash;
mod questions;
mod report;
mod sample;

use report::Report;
use sample::Sample;

/// The collection of the verses.
const VERSES: &str = "verses";
/// Small enough for flushes and compactions to happen within seconds of writing.
const MEMTABLE_BYTES: usize = 2 << 20;

/// Show the whole thing on real embeddings: store, read back, search, survive a kill -9, stay compact
#[derive(Args)]
pub(crate) struct Demo {
    /// Directory for the database, which is kept; by default a temporary one, which is removed (not when the demo is killed, Ctrl-C included: varvite-demo-* in the directory for temporary files)
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Report as one JSON object, at the end
    #[arg(long)]
    json: bool,
}

impl Demo {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let (directory, _removed_at_the_end) = match self.directory {
            Some(directory) => {
                refuse_inside_database(&directory)?;
                if fs::read_dir(&directory).is_ok_and(|mut entries| entries.next().is_some()) || directory.is_file() {
                    return Err(Failure::refused(format!(
                        "'{}' is not an empty directory: the demo needs one of its own",
                        directory.display()
                    )));
                }
                (directory, None)
            }
            None => {
                let temporary = Temporary::create()?;
                (temporary.0.clone(), Some(temporary))
            }
        };
        let mut report = Report::new(out, self.json);
        if let Err(failure) = show(&directory, &mut report) {
            match failure {
                Failure::OutputClosed | Failure::Output(_) => return Err(failure),
                other => report.check("the demo came to its end", false, other.to_string()),
            }
        }
        report.finish()
    }
}

fn show(directory: &Path, report: &mut Report<'_>) -> Outcome {
    let sample = Sample::read()?;
    load(directory, &sample, report)?;
    read_back(directory, &sample, report)?;
    questions::ask(directory, &sample, report)?;
    crash::kill_a_writer(directory, &sample, report)?;
    churn::overwrite(directory, &sample, report)?;
    verify(directory, report)
}

/// Opens the database of the demo for writing.
fn open(directory: &Path, create: bool) -> Outcome<Database> {
    open_writer_with(directory, |options| {
        options.create_if_missing = create;
        options.memtable_bytes = MEMTABLE_BYTES;
    })
}

fn load(directory: &Path, sample: &Sample, report: &mut Report<'_>) -> Outcome {
    report.title("Store")?;
    let started = Instant::now();
    let db = open(directory, true)?;
    let verses = db.create_collection(VERSES, sample.dimension, varvite::Metric::Cosine)?;
    let mut batch = db.batch();
    for verse in sample.verses() {
        batch.insert(&verses, verse.id, verse.fields())?;
    }
    batch.commit()?.wait()?;
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    let count = verses.count()?;
    db.close()?;
    let (rows, dimension) = (sample.len(), sample.dimension);
    report.line(&format!(
        "{} verses of the King James Bible, embedded with all-MiniLM-L6-v2 ({dimension} dimensions), written into '{}' in {milliseconds:.0} ms, synced.",
        grouped(rows as u64),
        directory.display()
    ))?;
    report.check("every record was stored", count == rows as u64, format!("{} of {}", grouped(count), grouped(rows as u64)));
    Ok(())
}

fn read_back(directory: &Path, sample: &Sample, report: &mut Report<'_>) -> Outcome {
    report.title("Read back")?;
    let db = open(directory, false)?;
    let verses = db.collection(VERSES)?;
    let started = Instant::now();
    let identical = identical_vectors(&verses, sample)?;
    let microseconds = started.elapsed().as_secs_f64() * 1e6;
    let mut texts = 0;
    for verse in sample.verses() {
        if let Some(row) = verses.get(verse.id)? {
            texts +=
                usize::from(row.document()?.as_deref() == verse.record.document() && Some(&row.metadata()?) == verse.record.metadata());
        }
    }
    db.close()?;
    report.line(&format!(
        "Closed, opened again, and read by id: {microseconds:.0} µs for {}, compared bit for bit.",
        counted(identical as u64, "vector")
    ))?;
    let rows = sample.len();
    report.check("vectors come back bit-exact", identical == rows, share(identical, rows));
    report.check("texts and metadata come back", texts == rows, share(texts, rows));
    Ok(())
}

/// How many verses are stored with exactly the bits of the sample.
fn identical_vectors(verses: &Collection, sample: &Sample) -> Outcome<usize> {
    let mut identical = 0;
    for verse in sample.verses() {
        let row = verses.get(verse.id)?;
        identical += usize::from(row.is_some_and(|row| same_bits(&row, verse.vector)));
    }
    Ok(identical)
}

/// "1,227 of 1,228", for a report.
fn share(some: usize, all: usize) -> String {
    format!("{} of {}", grouped(some as u64), grouped(all as u64))
}

fn same_bits(left: &[f32], right: &[f32]) -> bool {
    left.len() == right.len() && left.iter().zip(right).all(|(a, b)| a.to_bits() == b.to_bits())
}

fn verify(directory: &Path, report: &mut Report<'_>) -> Outcome {
    report.title("Verify")?;
    let started = Instant::now();
    let checked = Database::verify(directory, Options::default())?;
    let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
    let (files, bytes) = (checked.files, size(checked.bytes));
    report.line(&format!("Every byte of {} ({bytes}) checked in {milliseconds:.0} ms.", counted(files, "file")))?;
    for damage in &checked.damages {
        report.line(&damage.to_string())?;
    }
    report.check(
        "no file is damaged",
        checked.damages.is_empty(),
        format!("{} in {}", counted(checked.damages.len() as u64, "damage"), counted(files, "file")),
    );
    Ok(())
}

/// A directory of our own, removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn create() -> Outcome<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
        let path = env::temp_dir().join(format!("varvite-demo-{}-{now}", process::id()));
        // A directory that exists already is somebody else's, and creating it fails.
        fs::create_dir(&path).map_err(|error| Failure::file("create", &path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed stays in the temporary directory, which is what that is for.
        let _ = fs::remove_dir_all(&self.0);
    }
}
