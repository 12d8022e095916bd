//! Devices that are full or may not be written: small file systems in memory, mounted for the test. Skipped, with a printed reason, where
//! mounting is not allowed.

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
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use support::{
    Random,
    state::{Model, Op, Parts, State, Verb, difference, observe},
};
use varvite::{Background, Collection, Database, DuplicatePolicy, Durability, Error, ErrorKind, Metric, Options};

const SEED: u64 = 0x5EED_00F0;

/// A file system in memory of so many KiB, unmounted when dropped.
struct Mount(PathBuf, #[allow(dead_code, reason = "removed after the unmount")] tempfile::TempDir);

impl Mount {
    fn new(kib: u64) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("mount");
        fs::create_dir(&path).unwrap();
        let options = format!("size={kib}k");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(&path).output();
        if output.as_ref().is_ok_and(|output| output.status.success()) {
            return Some(Self(path, place));
        }
        println!("SKIPPED: mounting is not allowed here: {output:?}");
        None
    }

    fn remount(&self, how: &str) {
        let options = format!("remount,{how}");
        assert!(Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap().success());
    }

    /// Takes all space but so many bytes.
    fn fill(&self, leave: u64) {
        let path = self.0.join("filler");
        // What is there already counts as free.
        let _absent = fs::remove_file(&path);
        let mut file = fs::File::create(&path).unwrap();
        let mut len: u64 = 0;
        while let Ok(bytes) = file.write(&[0x5A; 4096]) {
            len += bytes as u64;
        }
        file.set_len(len.saturating_sub(leave)).unwrap();
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: a panicking test may still hold files.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn small(background: Background) -> Options {
    Options { memtable_bytes: 400_000, background, idle_flush_after: Duration::from_millis(200), ..Options::default() }
}

fn is_full(error: &Error) -> bool {
    error.kind() == ErrorKind::NoSpace
}

fn parts(random: &mut Random, document: usize) -> Parts {
    let vector = (0..16).map(|_| random.below(1 << 20) as f32).collect();
    let text: String = (0..document).map(|_| char::from(b'a' + random.below(26) as u8)).collect();
    Parts { vector: Some(vector), document: Some(Some(text)), ..Parts::default() }
}

#[test]
fn a_full_device_refuses_writes_serves_reads_and_goes_on_once_there_is_space() {
    let Some(mount) = Mount::new(6 * 1024) else { return };
    let path = mount.0.join("db");
    let db = Database::open(&path, small(Background::Threads)).unwrap();
    let docs = db.create_collection("docs", 16, Metric::L2).unwrap();
    let mut random = Random(SEED);
    let mut written = Vec::new();
    mount.fill(1 << 20);
    let error = loop {
        let (id, parts) = (format!("{:05}", written.len()), parts(&mut random, 900));
        match docs.insert(&id, parts.fields()) {
            Ok(_) => written.push((id, parts)),
            Err(error) => break error,
        }
        assert!(written.len() < 100_000, "the device never gets full");
    };
    println!("seed {SEED:#x}: {} records, then {error}", written.len());
    assert!(is_full(&error) && written.len() > 100, "{error:?}");
    let check = |docs: &Collection| {
        assert_eq!(docs.count().unwrap(), written.len() as u64);
        for (id, parts) in &written {
            let row = docs.get(id).unwrap().unwrap();
            assert!(row.vector() == parts.vector.as_ref().unwrap() && row.document().unwrap() == parts.document.clone().unwrap());
        }
        assert_eq!(docs.search(&[0.0; 16], 5).unwrap().len(), 5);
    };
    check(&docs);
    for _ in 0..20 {
        let error = docs.insert("refused", parts(&mut random, 200_000).fields()).unwrap_err();
        assert!(is_full(&error), "{error:?}");
    }
    check(&docs);
    let reader = Database::open_read_only(&path, small(Background::Threads)).unwrap();
    check(&reader.collection("docs").unwrap());
    drop(reader);
    mount.free();
    // The flush that failed rests for half a second.
    let started = Instant::now();
    while let Err(error) = docs.upsert("after", parts(&mut random, 900).fields()) {
        assert!(is_full(&error), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(10), "there is space, but writes are refused still: {error}");
        std::thread::sleep(Duration::from_millis(20));
    }
    println!("writes went on {:?} after there was space", started.elapsed());
    assert!(docs.delete("after").unwrap());
    db.flush().unwrap();
    db.compact().unwrap();
    check(&docs);
    assert_eq!(db.stats().unwrap().background_error, None);
    drop(docs);
    db.close().unwrap();
    let report = Database::verify(&path, small(Background::Threads)).unwrap();
    assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
    let db = Database::open(&path, small(Background::Threads)).unwrap();
    check(&db.collection("docs").unwrap());
}

/// One call on a database, and what it leaves if it succeeds.
fn call(db: &Database, model: &Model, random: &mut Random, copies: &Path) -> (&'static str, Vec<Model>, varvite::Result<()>) {
    let docs = db.collection("docs").unwrap();
    let id = |random: &mut Random| format!("{:03}", random.below(150)).into_bytes();
    let put = |random: &mut Random, document: usize| Op::Put(Verb::Upsert, "docs".into(), id(random), parts(random, document));
    let write = |ops: Vec<Op>, durability: Durability| {
        let next = model.after(&ops).unwrap();
        let mut batch = db.batch();
        batch.durability(durability);
        for op in &ops {
            match op {
                Op::Put(_, _, id, parts) => drop(batch.upsert(&docs, id, parts.fields()).unwrap()),
                Op::Delete(_, id) => drop(batch.delete(&docs, id).unwrap()),
                _ => unreachable!("no schema changes here"),
            }
        }
        (vec![next], batch.commit().map(drop))
    };
    match random.below(14) {
        0..=3 => {
            let (next, result) = write(vec![put(random, 500)], Durability::Synced);
            ("upsert", next, result)
        }
        4 | 5 => {
            let (next, result) = write(vec![put(random, 60_000), put(random, 10)], Durability::Buffered);
            ("large batch", next, result)
        }
        6 => {
            let (next, result) = write((0..40).map(|_| Op::Delete("docs".into(), id(random))).collect(), Durability::Synced);
            ("deletes", next, result)
        }
        7 | 8 => ("flush", Vec::new(), db.flush()),
        9 => ("compact", Vec::new(), db.compact()),
        10 => ("wait_idle", Vec::new(), db.wait_idle()),
        11 => {
            let entries: Vec<_> = (0..60).map(|_| (id(random), parts(random, 900))).collect();
            let next = model.after_bulk("docs", &entries, DuplicatePolicy::LastWins).unwrap();
            let loaded = docs.bulk_load(entries.iter().map(|(id, parts)| (id, parts.fields())), DuplicatePolicy::LastWins);
            ("bulk_load", vec![next], loaded.map(drop))
        }
        12 => {
            let ids: Vec<_> = (0..20).map(|_| id(random)).collect();
            let next = model.after(&ids.iter().map(|id| Op::Delete("docs".into(), id.clone())).collect::<Vec<_>>()).unwrap();
            ("purge", vec![next], docs.purge(&ids).map(drop))
        }
        _ => {
            let copy = copies.join(format!("{:x}", random.next()));
            let result = db.checkpoint(&copy);
            // Part of a copy, or a whole one: its space is needed.
            let _absent = fs::remove_dir_all(&copy);
            ("checkpoint", Vec::new(), result)
        }
    }
}

/// Ordinals that a refused bulk load took are not given again.
fn without_ordinals(state: &State) -> State {
    let mut state = state.clone();
    state.values_mut().flat_map(|coll| coll.rows.values_mut()).for_each(|record| record.ordinal = 0);
    state
}

/// Calls of every kind while there is less and less space: each does all or, with `NoSpace`, nothing (a purge may have deleted already). Once
/// there is space everything works again, without reopening.
#[test]
fn every_call_on_a_nearly_full_device_does_all_or_nothing() {
    let rounds = 25 * support::budget();
    for background in [Background::Inline, Background::Threads] {
        let Some(mount) = Mount::new(10 * 1024) else { return };
        let path = mount.0.join("db");
        let db = Database::open(&path, small(background)).unwrap();
        db.create_collection("docs", 16, Metric::L2).unwrap();
        let mut random = Random(SEED + 1);
        let mut model = Model::default().after(&[Op::Create("docs".into(), 16, Metric::L2)]).unwrap();
        let mut refused = std::collections::BTreeMap::new();
        let mut calls = 0;
        for round in 0..rounds {
            let leave = [0, 4096, 50_000, 200_000, 600_000, 1_500_000][random.below(6) as usize];
            mount.fill(leave);
            for _ in 0..12 {
                let (what, next, result) = call(&db, &model, &mut random, &mount.0);
                let context = format!("seed {SEED:#x}, {background:?}, round {round}, {leave} bytes left, {what}");
                calls += 1;
                let seen = observe(&db).unwrap_or_else(|error| panic!("{context}: reads must go on: {error:?}"));
                let is = |model: &Model| without_ordinals(&model.state) == without_ordinals(&seen);
                match result {
                    Ok(()) => model = next.into_iter().next().unwrap_or(model),
                    Err(error) => {
                        assert!(is_full(&error), "{context}: {error:?}");
                        *refused.entry(what).or_insert(0) += 1;
                        if what == "purge" && is(&next[0]) {
                            model = next[0].clone();
                        }
                    }
                }
                assert!(is(&model), "{context}: differs in\n  {}", difference(&model.state, &seen));
            }
            mount.free();
            let context = format!("seed {SEED:#x}, {background:?}, round {round}, with space again");
            let started = Instant::now();
            while let Err(error) = db.flush() {
                assert!(is_full(&error) && started.elapsed() < Duration::from_secs(10), "{context}: {error:?}");
            }
            db.wait_idle().unwrap_or_else(|error| panic!("{context}: {error:?}"));
        }
        println!("{background:?}: {calls} calls, refused {refused:?}");
        assert!(refused.len() > 4, "too little was refused");
        db.compact().unwrap();
        let last = without_ordinals(&observe(&db).unwrap());
        assert!(last == without_ordinals(&model.state));
        db.close().unwrap();
        let report = Database::verify(&path, small(background)).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "{background:?}: {report:?}");
        let db = Database::open(&path, small(background)).unwrap();
        assert!(without_ordinals(&observe(&db).unwrap()) == last);
    }
}

/// A process is killed with records in the log; on the full device its database can be read, not opened for writing, and nothing is changed.
#[test]
fn on_a_full_device_an_unflushed_log_is_read_and_kept() {
    let Some(mount) = Mount::new(4 * 1024) else { return };
    let path = mount.0.join("db");
    let db = Database::open(&path, small(Background::Inline)).unwrap();
    let docs = db.create_collection("docs", 16, Metric::L2).unwrap();
    docs.insert("a", &[1.0; 16]).unwrap();
    // As a kill leaves it.
    std::mem::forget(db.clone());
    let copy = mount.0.join("killed");
    fs::create_dir(&copy).unwrap();
    for entry in fs::read_dir(&path).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    let image = || {
        let read = |entry: fs::DirEntry| (entry.file_name(), fs::read(entry.path()).unwrap());
        let mut files: Vec<_> = fs::read_dir(&copy).unwrap().map(|entry| read(entry.unwrap())).collect();
        files.sort();
        files
    };
    mount.fill(0);
    let before = image();
    let error = Database::open(&copy, small(Background::Inline)).unwrap_err();
    assert!(is_full(&error), "{error:?}");
    assert!(image() == before, "a refused open changed the directory");
    let reader = Database::open_read_only(&copy, small(Background::Inline)).unwrap();
    assert!(reader.is_unsettled() && reader.collection("docs").unwrap().count().unwrap() == 1);
    mount.free();
    let db = Database::open(&copy, small(Background::Inline)).unwrap();
    assert_eq!(&*db.collection("docs").unwrap().get("a").unwrap().unwrap(), [1.0; 16]);
}

/// The story: a load writes its input in pieces. When a later piece was refused (a duplicate, a full device) the files of the earlier ones stayed,
/// named by nothing, until the next open.
#[test]
fn a_refused_bulk_load_leaves_no_file() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path(), small(Background::Inline)).unwrap();
    let docs = db.create_collection("docs", 16, Metric::L2).unwrap();
    let mut random = Random(SEED);
    let mut entries: Vec<_> = (0..2_000).map(|number| (format!("{number:05}"), parts(&mut random, 900))).collect();
    entries.push(entries[1_999].clone());
    let loaded = docs.bulk_load(entries.iter().map(|(id, parts)| (id, parts.fields())), DuplicatePolicy::Refuse);
    assert_eq!(loaded.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let report = Database::verify(place.path(), small(Background::Inline)).unwrap();
    assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
    assert_eq!(docs.count().unwrap(), 0);
}

#[test]
fn a_read_only_file_system_is_read() {
    let Some(mount) = Mount::new(4 * 1024) else { return };
    let path = mount.0.join("db");
    let db = Database::open(&path, small(Background::Inline)).unwrap();
    let docs = db.create_collection("docs", 16, Metric::L2).unwrap();
    docs.insert("a", &[1.0; 16]).unwrap();
    drop(docs);
    db.close().unwrap();
    mount.remount("ro");
    let reader = Database::open_read_only(&path, small(Background::Inline)).unwrap();
    reader.refresh().unwrap();
    assert_eq!(reader.collection("docs").unwrap().count().unwrap(), 1);
    assert!(Database::verify(&path, small(Background::Inline)).unwrap().damages.is_empty());
    let error = Database::open(&path, small(Background::Inline)).unwrap_err();
    assert!(error.kind() == ErrorKind::ReadOnly && error.file() == Some("LOCK"), "{error:?}");
    let error = Database::open(mount.0.join("new"), small(Background::Inline)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReadOnly);
    mount.remount("rw");
    assert_eq!(Database::open(&path, small(Background::Inline)).unwrap().collection("docs").unwrap().count().unwrap(), 1);
}
