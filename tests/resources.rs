//! Processes that run out of something: descriptors, length of files, memory; and files that somebody else makes shorter. A call fails with an
//! error of its own, or the process dies as documented; whatever was acknowledged is there when it is opened again.
//!
//! Disk space is in `tests/device.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files and processes"
)]
#![cfg(target_os = "linux")]

mod support;

use std::{
    env, fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use support::child::{Talk, say};
use varvite::{Background, Database, ErrorKind, Fields, Metric, Options, ReadMode, Result};

const RECORDS: usize = 12;
const SIGBUS: i32 = 7;
const SIGXFSZ: i32 = 25;

fn options(read_mode: ReadMode) -> Options {
    Options { background: Background::Inline, read_mode, ..Options::default() }
}

fn id(number: usize) -> String {
    format!("{number:03}")
}

fn record(number: usize) -> Fields<'static> {
    let mut random = support::Random(number as u64);
    let text: String = (0..4000 * number).map(|_| char::from(b' ' + random.below(95) as u8)).collect();
    Fields::from(vec![number as f32; 64]).with_document(text).into_owned()
}

/// Calls of every kind; each that fails ends it.
fn work(path: &Path, read_mode: ReadMode) -> std::result::Result<(), (&'static str, varvite::Error)> {
    let at = |step: &'static str| move |error| (step, error);
    let db = Database::open(path, options(read_mode)).map_err(at("open"))?;
    let docs = db.get_or_create_collection("docs", 64, Metric::L2).map_err(at("create"))?;
    for number in 0..RECORDS {
        docs.upsert(id(number), record(number)).map_err(at("upsert"))?;
        say(&format!("acknowledged {}", number + 1));
        db.flush().map_err(at("flush"))?;
    }
    let read = |db: &Database| -> Result<usize> {
        db.collection("docs")?.iter()?.map(|row| row?.to_record()).try_fold(0, |sum, row| row.map(|_| sum + 1))
    };
    assert_eq!(read(&db).map_err(at("read"))?, RECORDS);
    let reader = Database::open_read_only(path, options(read_mode)).map_err(at("open read-only"))?;
    assert_eq!(read(&reader).map_err(at("read beside"))?, RECORDS);
    db.checkpoint(path.with_extension("copy")).map_err(at("checkpoint"))?;
    db.compact().map_err(at("compact"))?;
    say("purging");
    docs.purge(&[id(0)]).map_err(at("purge"))?;
    docs.upsert(id(0), record(0)).map_err(at("upsert again"))?;
    say("purged");
    let report = Database::verify(path, options(read_mode)).map_err(at("verify"))?;
    assert!(report.damages.is_empty(), "{report:?}");
    db.close().map_err(at("close"))
}

/// The directory and read mode of a child; `None` if this is no child.
fn place() -> Option<(PathBuf, ReadMode)> {
    let path = PathBuf::from(env::var_os("VARVITE_RESOURCES")?);
    Some((path, if env::var_os("VARVITE_COPIED").is_some() { ReadMode::Copied } else { ReadMode::Mapped }))
}

#[test]
fn child_with_few_resources() {
    let Some((path, read_mode)) = place() else { return };
    say("begun");
    match work(&path, read_mode) {
        Ok(()) => say("done"),
        Err((step, error)) => say(&format!("refused {step}: {:?}: {error}", error.kind())),
    }
}

/// What a child came to.
struct Ended {
    begun: bool,
    acknowledged: usize,
    /// What it said last.
    last: String,
    status: ExitStatus,
}

/// Runs the child behind some words of the shell.
fn run(limit: &str, path: &Path, read_mode: ReadMode, test: &str) -> Ended {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}; exec \"$0\" \"$@\"")]).arg(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("VARVITE_RESOURCES", path);
    // Without memory, a panic that prints its backtrace waits for itself in the standard library.
    command.env("RUST_BACKTRACE", "0").stderr(std::process::Stdio::null());
    if read_mode == ReadMode::Copied {
        command.env("VARVITE_COPIED", "1");
    }
    let mut talk = Talk::start(&mut command);
    let mut ended = Ended { begun: false, acknowledged: 0, last: String::new(), status: ExitStatus::default() };
    while let Some(line) = talk.next() {
        ended.begun = true;
        if let Some(number) = line.strip_prefix("acknowledged ") {
            ended.acknowledged = number.parse().unwrap();
        }
        ended.last = line;
    }
    ended.status = talk.child.wait().unwrap();
    ended
}

/// Everything acknowledged is there, nothing is damaged, and nothing is left over once it was opened.
fn whole(path: &Path, ended: &Ended, context: &str) {
    if !path.exists() {
        assert_eq!(ended.acknowledged, 0, "{context}");
        return;
    }
    let db = Database::open(path, options(ReadMode::Mapped)).unwrap_or_else(|error| panic!("{context}: {error:?}"));
    for number in 0..ended.acknowledged {
        let row = db.collection("docs").unwrap().get(id(number)).unwrap();
        let Some(row) = row else {
            let may_be_purged = ["purging", "refused purge", "refused upsert again"].iter().any(|step| ended.last.starts_with(step));
            assert!(number == 0 && may_be_purged, "{context}: {number} was acknowledged, and is gone");
            continue;
        };
        assert!(row.iter().all(|element| *element == number as f32), "{context}");
    }
    db.close().unwrap();
    let report = Database::verify(path, options(ReadMode::Mapped)).unwrap();
    assert!(report.damages.is_empty() && report.orphans.is_empty(), "{context}: {report:?}");
}

/// Raises a limit until all calls succeed. How many limits refused something.
fn until_success(
    limits: impl Iterator<Item = u64>,
    shell: impl Fn(u64) -> String,
    read_mode: ReadMode,
    may_die: impl Fn(&ExitStatus) -> bool,
) -> usize {
    let mut refused: Vec<String> = Vec::new();
    for limit in limits {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        let ended = run(&shell(limit), &path, read_mode, "child_with_few_resources");
        let context = format!("{}, {read_mode:?}: {:?}, {:?}", shell(limit), ended.last, ended.status);
        if !ended.begun {
            // Too little for the program itself.
            continue;
        }
        assert!(ended.status.success() || may_die(&ended.status), "{context}");
        whole(&path, &ended, &context);
        if ended.last == "done" {
            println!("{context}: after {} refusals: {}", refused.len(), refused.join("; "));
            return refused.len();
        }
        assert!(ended.last.starts_with("refused") || !ended.status.success(), "{context}");
        refused.push(format!("{limit} {}", ended.last));
    }
    panic!("never enough: {refused:?}")
}

#[test]
fn with_too_few_descriptors_calls_fail_until_there_are_enough() {
    for read_mode in [ReadMode::Mapped, ReadMode::Copied] {
        let refused = until_success(3..200, |limit| format!("ulimit -n {limit}"), read_mode, |_| false);
        assert!(refused > 2, "{read_mode:?}: {refused}");
    }
}

#[test]
fn child_that_repairs() {
    let Some((path, read_mode)) = place() else { return };
    say("begun");
    match Database::repair(&path, path.with_extension("repaired"), options(read_mode)) {
        Ok(report) => say(&format!("salvaged {} {:?}", report.salvaged, report.lost)),
        Err(error) => say(&format!("refused {error}")),
    }
}

#[test]
fn a_repair_with_too_few_descriptors_takes_nothing_for_lost() {
    for read_mode in [ReadMode::Mapped, ReadMode::Copied] {
        let mut refused = 0;
        for limit in 3..100 {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("db");
            with_files(&path);
            let ended = run(&format!("ulimit -n {limit}"), &path, read_mode, "child_that_repairs");
            if !ended.begun {
                continue;
            }
            if ended.last == format!("salvaged {RECORDS} []") {
                break;
            }
            assert!(ended.last.starts_with("refused"), "{limit} descriptors, {read_mode:?}: {}", ended.last);
            refused += 1;
        }
        assert!(refused > 2, "{read_mode:?}: {refused}");
    }
}

/// With SIGXFSZ ignored it is an error; else the process dies, which is as good as any kill.
#[test]
fn files_that_may_not_grow_are_an_error_or_the_end_of_the_process() {
    let limits = || (0..).map(|step| step * 50);
    let refused = until_success(limits(), |limit| format!("trap '' XFSZ; ulimit -f {limit}"), ReadMode::Mapped, |_| false);
    let killed = until_success(limits(), |limit| format!("ulimit -f {limit}"), ReadMode::Mapped, |status| status.signal() == Some(SIGXFSZ));
    assert!(refused > 1 && killed > 1, "{refused} refused, {killed} killed");
}

/// What cannot be allocated aborts the process, as everywhere in Rust; what cannot be mapped is an error.
#[test]
fn with_too_little_address_space_a_call_fails_or_the_process_ends() {
    until_success((8..).map(|step| step * 500), |limit| format!("ulimit -v {limit}"), ReadMode::Mapped, |_| true);
}

/// A database with several segment files, and their paths.
fn with_files(path: &Path) -> Vec<PathBuf> {
    let db = Database::open(path, options(ReadMode::Copied)).unwrap();
    let docs = db.create_collection("docs", 64, Metric::L2).unwrap();
    for number in 0..RECORDS {
        docs.upsert(id(number), record(number)).unwrap();
        if number % 5 == 4 {
            db.flush().unwrap();
        }
    }
    db.close().unwrap();
    let is_segment = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("seg-");
    fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(is_segment).collect()
}

#[test]
fn a_file_that_somebody_shortens_is_an_error_in_copied_mode() {
    let lengths: Vec<u64> = [0, 1, 63, 64, 100, 511, 512, 1000, 1023, 1024, 2000, 4095, 4096].into();
    let mut errors = 0;
    for length in lengths {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        let files = with_files(&path);
        let db = Database::open(&path, options(ReadMode::Copied)).unwrap();
        let reader = Database::open_read_only(&path, options(ReadMode::Copied)).unwrap();
        for file in &files {
            let file = fs::OpenOptions::new().write(true).open(file).unwrap();
            let now = file.metadata().unwrap().len();
            file.set_len(length.min(now)).unwrap();
        }
        for db in [&db, &reader] {
            let docs = db.collection("docs").unwrap();
            for number in 0..RECORDS {
                match docs.get(id(number)).and_then(|row| row.unwrap().to_record()) {
                    Ok(record) => assert!(record.vector.iter().all(|element| *element == number as f32), "cut to {length}"),
                    Err(error) => {
                        assert!(error.kind() == ErrorKind::Corruption && error.file().is_some(), "cut to {length}: {error:?}");
                        errors += 1;
                    }
                }
            }
            errors += docs.iter().unwrap().filter(|row| row.as_ref().map_or(true, |row| row.to_record().is_err())).count();
            errors += usize::from(docs.search(&[1.0; 64], 3).is_err());
        }
        // What cannot be read cannot be merged; nothing of it is taken for the truth.
        drop(db.compact());
        assert!(db.collection("docs").unwrap().upsert("new", record(1)).is_ok(), "cut to {length}");
    }
    println!("{errors} errors");
    assert!(errors > 100, "{errors}");
}

#[test]
fn child_that_reads_what_is_cut_off() {
    let Some((path, _)) = place() else { return };
    let db = Database::open_read_only(&path, options(ReadMode::Mapped)).unwrap();
    let docs = db.collection("docs").unwrap();
    for entry in fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.file_name().unwrap().to_str().unwrap().starts_with("seg-") {
            fs::OpenOptions::new().write(true).open(entry).unwrap().set_len(0).unwrap();
        }
    }
    say("begun");
    let _never = docs.get(id(0)).map(|row| row.map(|row| row.to_vec()));
    say("read on");
}

/// The contract of the mapped mode: docs/guarantees.md.
#[test]
fn a_file_that_somebody_shortens_kills_in_mapped_mode() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    with_files(&path);
    let ended = run("ulimit -c 0", &path, ReadMode::Mapped, "child_that_reads_what_is_cut_off");
    assert_eq!((ended.last.as_str(), ended.status.signal()), ("begun", Some(SIGBUS)));
}
