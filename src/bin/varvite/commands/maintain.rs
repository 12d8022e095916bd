//! stats, verify, repair, compact, checkpoint, dump.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::json;
use varvite::{CollectionInfo, CollectionStats, Database, ErrorKind, RepairReport};

use super::{check_place, open_reader, open_writer, options};
use crate::{
    failure::{Failure, Outcome},
    files::{open_regular, refuse_inside_database},
    ids::IdOptions,
    output::{right, shown, table},
    progress::busy,
    text::{counted, grouped, size},
};

/// Show what a database holds and how much room it takes
#[derive(Args)]
pub(crate) struct Stats {
    /// Directory of the database
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Stats {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let db = open_reader(&self.database)?;
        let infos = db.list_collections()?;
        let stats = db.stats()?;
        if self.json {
            return print_json(&infos, &stats, out);
        }
        let mut records = table(&["collection", "dimension", "metric", "records", "segments", "live", "occupied"]);
        for (info, figures) in with_figures(&infos, &stats) {
            records.add_row([
                info.name.as_str().into(),
                right(grouped(info.dimension as u64)),
                info.metric.name().into(),
                right(grouped(info.count)),
                right(grouped(figures.segments)),
                right(size(figures.live_bytes)),
                right(size(figures.segment_bytes)),
            ]);
        }
        writeln!(out, "{}", shown(&records))?;
        let mut space = table(&["space", "bytes", ""]);
        let lines = [
            ("live", stats.live_bytes),
            ("dead", stats.dead_bytes),
            ("segment files", stats.total_bytes),
            ("log files", stats.log_bytes),
            ("memtables (memory)", stats.memtable_bytes),
        ];
        for (what, bytes) in lines {
            space.add_row([what.into(), right(grouped(bytes)), right(size(bytes))]);
        }
        writeln!(out, "{}", shown(&space))?;
        for damage in &stats.damages {
            writeln!(out, "damage: {damage}")?;
        }
        Ok(())
    }
}

fn with_figures<'a>(infos: &'a [CollectionInfo], stats: &'a varvite::Stats) -> impl Iterator<Item = (&'a CollectionInfo, CollectionStats)> {
    infos.iter().map(|info| (info, stats.collections.iter().find(|figures| figures.name == info.name).cloned().unwrap_or_default()))
}

fn print_json(infos: &[CollectionInfo], stats: &varvite::Stats, out: &mut dyn Write) -> Outcome {
    let collections: Vec<_> = with_figures(infos, stats)
        .map(|(info, figures)| {
            json!({
                "name": info.name,
                "dimension": info.dimension,
                "metric": info.metric.name(),
                "count": info.count,
                "segments": figures.segments,
                "runs": figures.runs,
                "live_bytes": figures.live_bytes,
                "segment_bytes": figures.segment_bytes,
            })
        })
        .collect();
    let line = json!({
        "collections": collections,
        "sequence": stats.sequence,
        "live_bytes": stats.live_bytes,
        "dead_bytes": stats.dead_bytes,
        "total_bytes": stats.total_bytes,
        "log_bytes": stats.log_bytes,
        "memtable_bytes": stats.memtable_bytes,
        "damages": stats.damages,
    });
    writeln!(out, "{line}")?;
    Ok(())
}

/// Check every byte of a database that is used; exit code 3 if any is damaged
#[derive(Args)]
pub(crate) struct Verify {
    /// Directory of the database
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Verify {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        check_place(&self.database, false)?;
        let report = busy("verifying", || Database::verify(&self.database, options(|_| {})))?;
        if self.json {
            let damages: Vec<_> = report
                .damages
                .iter()
                .map(|damage| json!({"file": damage.file(), "offset": damage.offset(), "message": damage.to_string()}))
                .collect();
            let line = json!({"files": report.files, "bytes": report.bytes, "records": report.records, "damages": damages,
                "orphans": report.orphans, "foreign": report.foreign});
            writeln!(out, "{line}")?;
        } else {
            for damage in &report.damages {
                writeln!(out, "{damage}")?;
            }
            for name in &report.orphans {
                writeln!(out, "'{name}': left by a crash; the next command that writes collects it")?;
            }
            for name in &report.foreign {
                writeln!(out, "'{name}': not of this database; left alone")?;
            }
            let (files, records) = (counted(report.files, "file"), counted(report.records, "record"));
            let damages = counted(report.damages.len() as u64, "damage");
            writeln!(out, "verified {files}, {}, {records}: {damages}", size(report.bytes))?;
        }
        match report.damages.len() {
            0 => Ok(()),
            damages => {
                let (name, places) = (self.database.display(), counted(damages as u64, "place"));
                Err(Failure::Damage(format!("'{name}' is damaged in {places}")))
            }
        }
    }
}

/// Salvage everything undamaged into a new database, and say what was lost; exit code 3 if anything was
///
/// No process may be writing to the damaged database, which is only read. With --json, "complete" tells whether nothing was lost; "rows"
/// counts records of segments, "batches" those of a log, and either is 0 where nobody can know.
#[derive(Args)]
#[command(after_help = "Examples:
  varvite repair db salvaged
  varvite repair db salvaged --json > report.json || echo \"something was lost, see report.json\"")]
pub(crate) struct Repair {
    /// Directory of the damaged database, which stays as it is
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Directory of the new database, which must not exist or be empty, and lie outside the damaged one
    #[arg(value_name = "OUT")]
    target: PathBuf,
    #[command(flatten)]
    ids: IdOptions,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Repair {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        check_place(&self.database, false)?;
        refuse_inside_database(&self.target)?;
        let report = busy("repairing", || Database::repair(&self.database, &self.target, options(|_| {}))).map_err(|error| {
            let holder = if error.kind() == ErrorKind::Locked { holder(&self.database) } else { None };
            match holder {
                Some(holder) => Failure::from(error).noting(format!("the writer is {holder}")),
                None => error.into(),
            }
        })?;
        if self.json {
            self.print_json(&report, out)?;
        } else {
            self.print(&report, out)?;
        }
        if report.lost.is_empty() {
            return Ok(());
        }
        let rows = report.lost.iter().map(|loss| loss.rows).sum::<u64>();
        let batches = report.lost.iter().map(|loss| loss.batches).sum::<u64>();
        let known = [(rows, "record"), (batches, "batch")].into_iter().filter(|(count, _)| *count > 0);
        let mut lost = known.map(|(count, what)| counted(count, what)).collect::<Vec<_>>().join(" and ");
        if lost.is_empty() {
            lost = "something".to_owned();
        }
        let least = if report.lost.iter().any(|loss| loss.rows == 0 && loss.batches == 0) { "at least " } else { "" };
        let (from, to) = (self.database.display(), self.target.display());
        Err(Failure::Damage(format!("{least}{lost} of '{from}' could not be salvaged into '{to}'")))
    }

    fn print_json(&self, report: &RepairReport, out: &mut dyn Write) -> Outcome {
        // The repair is done: an id that is not UTF-8 is shown escaped rather than refused.
        let shown = |ids: &[Vec<u8>]| ids.iter().map(|id| self.ids.id_encoding.show(id)).collect::<Vec<_>>();
        let lost: Vec<_> = report
            .lost
            .iter()
            .map(|loss| {
                json!({"collection": loss.collection, "rows": loss.rows, "batches": loss.batches,
                "ids": shown(&loss.ids), "reason": loss.reason})
            })
            .collect();
        writeln!(out, "{}", json!({"salvaged": report.salvaged, "complete": lost.is_empty(), "lost": lost}))?;
        Ok(())
    }

    fn print(&self, report: &RepairReport, out: &mut dyn Write) -> Outcome {
        writeln!(out, "salvaged {} into '{}'", counted(report.salvaged, "record"), self.target.display())?;
        for loss in &report.lost {
            let rows = match (loss.rows, loss.batches) {
                (0, 0) => "an unknown number of records".to_owned(),
                (0, batches) => counted(batches, "batch"),
                (rows, _) => counted(rows, "record"),
            };
            let place = if loss.collection.is_empty() { "an unknown collection".to_owned() } else { format!("'{}'", loss.collection) };
            writeln!(out, "lost {rows} of {place}: {}", loss.reason)?;
            for id in &loss.ids {
                writeln!(out, "lost: {}", self.ids.id_encoding.show(id))?;
            }
        }
        Ok(())
    }
}

/// Who writes, as far as LOCK says.
fn holder(database: &Path) -> Option<String> {
    let bytes = read_whole(&database.join("LOCK")).ok()?;
    let mut text = Vec::new();
    varvite::dump("LOCK", &bytes, &mut text).ok()?;
    String::from_utf8_lossy(&text).lines().find_map(|line| Some(line.split_once("last writer: ")?.1.to_owned()))
}

/// Compact a database now, although it would do so by itself
#[derive(Args)]
pub(crate) struct Compact {
    /// Directory of the database
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Compact {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let db = open_writer(&self.database)?;
        let before = db.stats()?.total_bytes;
        busy("compacting", || db.compact())?;
        let after = db.stats()?.total_bytes;
        db.close()?;
        if self.json {
            writeln!(out, "{}", json!({"total_bytes_before": before, "total_bytes": after}))?;
        } else {
            writeln!(out, "compacted from {} to {}", size(before), size(after))?;
        }
        Ok(())
    }
}

/// Make a consistent copy of a database as a new one
///
/// It writes out what is in memory first, so it needs the write lock (no other process may be writing) and write access to the source;
/// files are hard-linked where source and copy share a device. A running program makes one with `Database::checkpoint`.
#[derive(Args)]
pub(crate) struct Checkpoint {
    /// Directory of the database
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// Directory of the copy, which must not exist or be empty, and lie outside the source
    #[arg(value_name = "OUT")]
    target: PathBuf,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Checkpoint {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        refuse_inside_database(&self.target)?;
        let db = open_writer(&self.database)?;
        busy("copying", || db.checkpoint(&self.target))?;
        db.close()?;
        let (from, to) = (self.database.display().to_string(), self.target.display().to_string());
        if self.json {
            writeln!(out, "{}", json!({"copied": from, "to": to}))?;
        } else {
            writeln!(out, "copied '{from}' to '{to}'")?;
        }
        Ok(())
    }
}

/// Show any file of a database, field by field; exit code 3 if it is damaged
#[derive(Args)]
pub(crate) struct Dump {
    /// The file: LOCK, FLOOR, MANIFEST-…, log-… or seg-…; of a directory its newest manifest
    file: PathBuf,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Dump {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let file = if self.file.is_dir() { newest_manifest(&self.file)? } else { self.file };
        let bytes = read_whole(&file)?;
        let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let damages = if self.json {
            let mut text = Vec::new();
            let damages = varvite::dump(&name, &bytes, &mut text)?;
            let lines: Vec<_> = String::from_utf8_lossy(&text).lines().map(dumped_line).collect();
            writeln!(out, "{}", json!({"file": file.display().to_string(), "damages": damages, "lines": lines}))?;
            damages
        } else {
            let mut watched = Watched { out, failure: None };
            let dumped = varvite::dump(&name, &bytes, &mut watched);
            match watched.failure {
                Some(failure) => return Err(failure.into()),
                None => dumped?,
            }
        };
        match damages {
            0 => Ok(()),
            damages => Err(Failure::Damage(format!("'{}' is damaged in {}", file.display(), counted(damages, "place")))),
        }
    }
}

/// The manifest with the highest number: the one that is in force, unless a crash has just left an unfinished one.
fn newest_manifest(directory: &Path) -> Outcome<PathBuf> {
    let failed = |error| Failure::file("read", directory, &error);
    let mut newest: Option<PathBuf> = None;
    for entry in fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_manifest = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("MANIFEST-"));
        if is_manifest && newest.as_ref().is_none_or(|newest| *newest < path) {
            newest = Some(path);
        }
    }
    newest.ok_or_else(|| Failure::missing(format!("there is no manifest in '{}', so no database", directory.display())))
}

/// A line of a dump for programs: its offset apart from its text.
fn dumped_line(line: &str) -> serde_json::Value {
    let trimmed = line.trim_start();
    match trimmed.split_once("  ").and_then(|(offset, text)| Some((offset.parse::<u64>().ok()?, text))) {
        Some((offset, text)) => json!({"offset": offset, "text": text}),
        None => json!({"text": trimmed}),
    }
}

fn read_whole(path: &Path) -> Outcome<Vec<u8>> {
    let (mut file, _) = open_regular(path)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| Failure::file("read", path, &error))?;
    Ok(bytes)
}

/// Remembers why writing failed, which the library can only pass on as one of its own errors.
struct Watched<'a> {
    out: &'a mut dyn Write,
    failure: Option<std::io::Error>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            self.failure = Some(error);
            kind.into()
        })
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
