//! What a durable write costs: one data sync, and few bytes beyond its own. Counted by the engine, and by the kernel's side of it with strace,
//! which sees whatever the engine's own counters leave out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

mod support;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use support::{Random, child};
use varvite::{Collection, Database, Durability, Metric, Options};

const DIRECTORY: &str = "VARVITE_SYNCS_DIRECTORY";
const BEGIN: &str = "/varvite-marker-begin";
const END: &str = "/varvite-marker-end";
const UPSERTS: u64 = 50;
/// 1 KiB a vector.
const DIMENSION: usize = 256;

fn id(number: u64) -> String {
    format!("record-{number:05}")
}

/// What the user gives: vectors and ids.
fn user_bytes() -> u64 {
    (0..UPSERTS).map(|number| (DIMENSION * 4 + id(number).len()) as u64).sum()
}

/// No flush for a pause of the machine: its syncs are not those of the writes.
fn options() -> Options {
    Options { idle_flush_after: Duration::from_secs(3600), ..Options::default() }
}

fn open(path: &Path) -> (Database, Collection) {
    let db = Database::open(path, options()).unwrap();
    let docs = db.create_collection("docs", DIMENSION, Metric::Cosine).unwrap();
    (db, docs)
}

fn vector(number: u64) -> Vec<f32> {
    let mut random = Random(number);
    (0..DIMENSION).map(|_| random.below(1 << 20) as f32 / 77.0).collect()
}

fn upsert_all(docs: &Collection) {
    for number in 0..UPSERTS {
        docs.upsert(id(number), vector(number)).unwrap();
    }
}

/// Run under strace by the test below. Looking at a name that does not exist marks a place in the trace.
#[test]
fn child_that_upserts_between_two_markers() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    let (db, docs) = open(Path::new(&path));
    let mark = |name: &str| assert!(!Path::new(name).exists());
    mark(BEGIN);
    upsert_all(&docs);
    mark(END);
    db.close().unwrap();
}

/// A call of the trace with the file it was on, and its result.
#[derive(Debug)]
struct Call {
    name: String,
    file: String,
    result: u64,
}

/// Reads `[pid] name(fd</path/file>, ...) = result`; `None` for a line that is no such call.
fn parse(line: &str) -> Option<Call> {
    let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
    let (name, rest) = call.split_once('(')?;
    let file = rest.split_once('<')?.1.split_once('>')?.0.rsplit('/').next()?;
    let result = rest.rsplit_once("= ")?.1.split_whitespace().next()?.parse().ok()?;
    Some(Call { name: name.to_owned(), file: file.to_owned(), result })
}

fn trace(directory: &Path) -> Option<Vec<String>> {
    let output = directory.join("trace");
    let probe = Command::new("strace").args(["-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    let traced = child::command("child_that_upserts_between_two_markers");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=desc,file,sync,syncfs", "-o"]).arg(&output).arg(traced.get_program()).args(traced.get_args());
    let status = strace.env(DIRECTORY, directory.join("db")).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "the traced child failed: {status}");
    let text = std::fs::read_to_string(&output).unwrap();
    // A call that another thread's call interrupts is written in two halves: join them.
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let thread = line.split(' ').next().unwrap();
        if let Some((_, rest)) = line.split_once(" resumed>") {
            let half = lines.iter_mut().rev().find(|half| half.starts_with(&format!("{thread} ")) && half.ends_with("<unfinished ...>"));
            let half = half.expect("a call goes on that was not begun");
            *half = half.replace("<unfinished ...>", rest);
        } else {
            lines.push(line.to_owned());
        }
    }
    Some(lines)
}

#[test]
fn strace_sees_one_sync_and_few_bytes_for_each_durable_upsert() {
    let place = tempfile::tempdir().unwrap();
    let Some(lines) = trace(place.path()) else {
        println!("SKIPPED: strace is not installed or may not trace here");
        return;
    };
    let at = |marker: &str| lines.iter().position(|line| line.contains(marker)).unwrap_or_else(|| panic!("{marker} is not in the trace"));
    let between = &lines[at(BEGIN) + 1..at(END)];
    let is_sync =
        |line: &&String| ["fsync(", "fdatasync(", "sync_file_range(", "syncfs(", "sync(", "msync("].iter().any(|call| line.contains(call));
    let syncs: Vec<&String> = between.iter().filter(is_sync).collect();
    let calls: Vec<Call> = between.iter().filter_map(|line| parse(line)).collect();
    let sum = |names: &[&str], file: &str| -> (u64, u64) {
        let of = calls.iter().filter(|call| names.contains(&call.name.as_str()) && call.file.starts_with(file));
        of.fold((0, 0), |(count, bytes), call| (count + 1, bytes + call.result))
    };
    let (data_syncs, _) = sum(&["fdatasync", "fsync", "sync_file_range"], "log-");
    let (writes, log_bytes) = sum(&["pwrite64", "write", "writev", "pwritev", "pwritev2"], "log-");
    let (hints, hint_bytes) = sum(&["pwrite64"], "LOCK");
    let factor = log_bytes as f64 / user_bytes() as f64;
    println!("{UPSERTS} synced upserts: {data_syncs} data syncs of the log, {} of anything", syncs.len());
    println!("{writes} writes of {log_bytes} bytes into the log for {} bytes of vectors and ids: {factor:.3}", user_bytes());
    println!("{hints} writes of {hint_bytes} bytes into LOCK, never synced, for readers in other processes");
    assert_eq!((data_syncs, syncs.len() as u64), (UPSERTS, UPSERTS), "{syncs:#?}");
    assert!(log_bytes >= user_bytes() && log_bytes * 10 <= user_bytes() * 13, "{factor:.3} times the user's bytes");
    assert!((log_bytes + hint_bytes) * 10 <= user_bytes() * 13, "with the hints {} bytes", log_bytes + hint_bytes);
}

#[test]
fn the_counters_say_the_same() {
    let place = tempfile::tempdir().unwrap();
    let (db, docs) = open(place.path());
    let before = db.stats().unwrap();
    upsert_all(&docs);
    let after = db.stats().unwrap();
    let bytes = after.log_bytes_written - before.log_bytes_written;
    println!("{bytes} bytes by the counters, {:.3} times the user's", bytes as f64 / user_bytes() as f64);
    assert_eq!((after.log_syncs - before.log_syncs, after.batches - before.batches), (UPSERTS, UPSERTS));
    assert!(bytes >= user_bytes() && bytes * 10 <= user_bytes() * 13);
}

#[test]
fn buffered_upserts_are_synced_once_when_awaited_and_a_batch_once() {
    let place = tempfile::tempdir().unwrap();
    let (db, docs) = open(place.path());
    let syncs = || db.stats().unwrap().log_syncs;
    let before = syncs();
    upsert_all(&docs.durability(Durability::Buffered));
    assert_eq!(syncs(), before, "a buffered write was synced");
    let commit = docs.durability(Durability::Buffered).upsert("last", vector(0)).unwrap();
    commit.wait().unwrap();
    commit.wait().unwrap();
    assert_eq!(syncs(), before + 1);
    let ids: Vec<String> = (0..UPSERTS).map(id).collect();
    docs.upsert_many(&ids, &(0..UPSERTS).flat_map(vector).collect::<Vec<_>>()).unwrap();
    assert_eq!(syncs(), before + 2);
}

/// A leader syncs for all who wait: never more syncs than writes, and each write waits for one.
#[test]
fn writers_at_the_same_time_share_syncs() {
    let place = tempfile::tempdir().unwrap();
    let (db, docs) = open(place.path());
    let before = db.stats().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let docs = &docs;
            scope.spawn(move || (0..UPSERTS).for_each(|number| drop(docs.upsert(format!("{writer}-{number}"), vector(number)).unwrap())));
        }
    });
    let after = db.stats().unwrap();
    let (syncs, batches) = (after.log_syncs - before.log_syncs, after.batches - before.batches);
    println!("8 writers: {batches} synced upserts, {syncs} syncs");
    assert!(batches == 8 * UPSERTS && (UPSERTS..=batches).contains(&syncs));
}
