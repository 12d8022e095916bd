//! Several processes on one database: one writer, any number of readers beside it, and those who may not.
//!
//! The children are this binary itself, running one of the functions named `child_…`.

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
    any::Any,
    fs, io,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use support::{
    child::{self, Talk, hear, say},
    state::observe,
};
use varvite::{
    Background, Database, DuplicatePolicy, Durability, ErrorKind, Fields, Metric, Options,
    io::{Environment, FileInfo, Lock, ReadFile, Storage, WriteFile, memory::Memory},
};

const PLACE: &str = "VARVITE_PROCESSES_PLACE";
/// Nobody's user and group.
const NOBODY: u32 = 65_534;
/// Records that every batch of the writer overwrites, in each of two collections.
const FIXED: u64 = 6;
/// Batches after which the writer deletes what it inserted.
const WINDOW: u64 = 20;

/// The place of a child's test, if this process is such a child.
fn place() -> Option<PathBuf> {
    std::env::var_os(PLACE).map(PathBuf::from)
}

fn start(test: &str, place: &Path) -> Talk {
    Talk::start(child::command(test).env(PLACE, place))
}

/// Flushes and compactions run all the time.
fn small() -> Options {
    Options { memtable_bytes: 200_000, erase_after: Duration::from_secs(1), ..Options::default() }
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn child_that_holds_the_database() {
    let Some(place) = place() else { return };
    let db = Database::open(place.join("db"), small()).unwrap();
    let docs = db.get_or_create_collection("docs", 2, Metric::L2).unwrap();
    docs.upsert("held", &[1.0, 2.0]).unwrap();
    say("holding");
    hear();
}

#[test]
fn a_second_writer_is_refused_at_once_naming_the_holder_until_that_is_killed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let mut holder = start("child_that_holds_the_database", place.path());
    holder.expect("holding");
    let before = names(&path);
    let started = Instant::now();
    let error = Database::open(&path, small()).unwrap_err();
    assert!(started.elapsed() < Duration::from_secs(1), "it waited {:?}", started.elapsed());
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {} ", holder.child.id())), "the holder is not named: {error}");
    assert_eq!(names(&path), before, "the refused writer changed the directory");
    holder.kill();
    let db = Database::open(&path, small()).expect("the lock of a killed process is not free");
    assert_eq!(&*db.collection("docs").unwrap().get("held").unwrap().unwrap(), [1.0, 2.0]);
    // Within one process it is the same.
    let error = Database::open(&path, small()).unwrap_err();
    assert!(error.kind() == ErrorKind::Locked && error.to_string().contains(&format!("process {} ", std::process::id())), "{error}");
    db.close().unwrap();
    Database::open(&path, small()).unwrap().close().unwrap();
}

/// Every batch writes its number to the same records of two collections, inserts a record and deletes an old one. Odd batches are buffered;
/// an even one is synced, and then told in a file that readers look at before they refresh.
#[test]
fn child_that_writes_for_readers() {
    let Some(place) = place() else { return };
    let db = Database::open(place.join("db"), small()).unwrap();
    let told = fs::OpenOptions::new().write(true).create(true).truncate(false).open(place.join("acknowledged")).unwrap();
    let handles = ["a", "b"].map(|name| db.get_or_create_collection(name, 16, Metric::L2).unwrap());
    for number in 1_u64.. {
        let synced = number.is_multiple_of(2);
        let mut batch = db.batch();
        batch.durability(if synced { Durability::Synced } else { Durability::Buffered });
        for handle in &handles {
            for fixed in 0..FIXED {
                let fields = varvite::Fields::from(vec![number as f32; 16]).with_document(format!("{number} ").repeat(20));
                batch.upsert(handle, format!("fixed-{fixed}"), fields).unwrap();
            }
            batch.insert(handle, format!("window-{number:08}"), vec![number as f32; 16]).unwrap();
            batch.delete(handle, format!("window-{:08}", number.saturating_sub(WINDOW))).unwrap();
        }
        batch.commit().unwrap();
        if synced {
            std::os::unix::fs::FileExt::write_all_at(&told, &number.to_le_bytes(), 0).unwrap();
        }
        if number == 50 {
            say("writing");
        }
    }
}

fn acknowledged(place: &Path) -> u64 {
    u64::from_le_bytes(fs::read(place.join("acknowledged")).unwrap().try_into().unwrap())
}

/// What a reader shows is one whole batch and everything before it. Returns the batch.
fn one_moment(db: &Database) -> u64 {
    let snapshot = db.snapshot().unwrap();
    let mut number = None;
    for name in ["a", "b"] {
        let collection = snapshot.collection(name).unwrap();
        let mut ids = Vec::new();
        for row in collection.iter().unwrap() {
            let row = row.unwrap();
            let id = String::from_utf8(row.id().to_vec()).unwrap();
            assert!(row.vector().iter().all(|element| *element == row.vector()[0]));
            if let Some(own) = id.strip_prefix("window-") {
                assert_eq!(own.parse::<u64>().unwrap(), row.vector()[0] as u64);
                ids.push(own.parse::<u64>().unwrap());
            } else {
                let found = row.vector()[0] as u64;
                assert_eq!(*number.get_or_insert(found), found, "half a batch is visible");
                assert!(row.document().unwrap().unwrap().starts_with(&format!("{found} ")));
            }
        }
        let newest = number.unwrap();
        let expected: Vec<u64> = (newest.saturating_sub(WINDOW) + 1..=newest).collect();
        assert_eq!(ids, expected, "at batch {newest} collection {name} holds other records");
    }
    number.unwrap()
}

/// Refreshes for a while. Returns how often, how many moments were seen, and how many manifests went by.
fn follow(place: &Path, time: Duration) -> (u64, u64, u64) {
    let db = Database::open_read_only(place.join("db"), small()).unwrap();
    let (started, mut seen, mut moments, mut refreshes) = (Instant::now(), 0, 0, 0);
    let mut manifests = std::collections::BTreeSet::new();
    while started.elapsed() < time {
        let before = acknowledged(place);
        db.refresh().unwrap();
        assert!(!db.is_unsettled(), "beside a live writer");
        let now = one_moment(&db);
        assert!(now >= before, "batch {before} was acknowledged before the refresh, which shows {now}");
        assert!(now >= seen, "time went backwards");
        moments += u64::from(now > seen);
        (seen, refreshes) = (now, refreshes + 1);
        manifests.extend(names(&place.join("db")).into_iter().filter(|name| name.starts_with("MANIFEST")));
        // What is shown stays, whatever the writer removes meanwhile.
        assert_eq!(one_moment(&db), now);
    }
    assert_eq!(db.collection("a").unwrap().upsert("x", &[0.0; 16]).unwrap_err().kind(), ErrorKind::ReadOnly);
    (refreshes, moments, manifests.len() as u64)
}

#[test]
fn child_that_reads() {
    let Some(place) = place() else { return };
    let (refreshes, moments, manifests) = follow(&place, Duration::from_millis(1500));
    say(&format!("read {refreshes} {moments} {manifests}"));
}

#[test]
fn readers_follow_a_live_writer_and_outlive_it() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = start("child_that_writes_for_readers", place.path());
    writer.expect("writing");
    let mut readers: Vec<Talk> = (0..4).map(|_| start("child_that_reads", place.path())).collect();
    let own = follow(place.path(), Duration::from_millis(2000));
    println!("refreshes, moments, manifests seen by this process {own:?}");
    for reader in &mut readers {
        println!("by another {}", reader.expect("read"));
        assert!(reader.child.wait().unwrap().success());
    }
    assert!(own.1 > 3 && own.2 > 1, "the writer did too little to be followed");
    let db = Database::open_read_only(place.path().join("db"), small()).unwrap();
    assert!(!db.is_unsettled());
    writer.kill();
    let before = one_moment(&db);
    db.refresh().unwrap();
    assert!(db.is_unsettled(), "nobody writes");
    let last = acknowledged(place.path());
    let seen = one_moment(&db);
    assert!(seen >= last && seen >= before);
    let state = observe(&db).unwrap();
    let writer = Database::open(place.path().join("db"), small()).unwrap();
    assert!(observe(&writer).unwrap() == state, "recovery decided otherwise");
    db.refresh().unwrap();
    assert!(!db.is_unsettled() && one_moment(&db) == seen);
    writer.close().unwrap();
    db.refresh().unwrap();
    assert!(db.is_unsettled());
}

/// Looked at by strace: not one call of a reader could change a file or a name.
#[test]
fn a_reader_beside_a_writer_creates_writes_and_removes_nothing() {
    let place = tempfile::tempdir().unwrap();
    let mut writer = start("child_that_writes_for_readers", place.path());
    writer.expect("writing");
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED: strace is not installed or may not trace here");
        return;
    }
    let trace = place.path().join("trace");
    let reader = child::command("child_that_reads");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-e", "trace=desc,file", "-o"]).arg(&trace).arg(reader.get_program()).args(reader.get_args());
    let status = strace.env(PLACE, place.path()).stdout(std::process::Stdio::null()).status().unwrap();
    assert!(status.success(), "the traced reader failed");
    let text = fs::read_to_string(&trace).unwrap();
    let ours: Vec<&str> = text.lines().filter(|line| line.contains("/db")).collect();
    let changing = [
        "O_WRONLY",
        "O_RDWR",
        "O_CREAT",
        "O_TRUNC",
        "unlink",
        "rename",
        " link(",
        "linkat",
        "mkdir",
        "ftruncate",
        "fallocate",
        "write",
        "F_OFD_SETLK",
        "F_SETLK",
        "flock",
        "sync",
        "chmod",
        "utime",
        "MAP_SHARED, PROT_WRITE",
    ];
    let bad: Vec<&&str> = ours.iter().filter(|line| changing.iter().any(|call| line.contains(call))).collect();
    println!("{} calls on the database's directory and files", ours.len());
    assert!(ours.len() > 100 && bad.is_empty(), "{bad:#?}");
}

#[test]
fn a_reader_without_a_writer_is_unsettled() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    assert_eq!(Database::open_read_only(&path, small()).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!path.exists(), "a reader made a directory");
    let mut holder = start("child_that_holds_the_database", place.path());
    holder.expect("holding");
    let reader = Database::open_read_only(&path, small()).unwrap();
    assert!(!reader.is_unsettled());
    holder.kill();
    let before = names(&path);
    for _ in 0..2 {
        let late = Database::open_read_only(&path, small()).unwrap();
        assert!(late.is_unsettled());
        assert_eq!(&*late.collection("docs").unwrap().get("held").unwrap().unwrap(), [1.0, 2.0]);
    }
    assert_eq!(names(&path), before, "a reader changed the directory");
    reader.refresh().unwrap();
    assert!(reader.is_unsettled());
}

/// There is nothing to save: reads go on, a write becomes an error that names a file at the next flush, nothing panics.
#[test]
fn a_database_whose_directory_was_deleted_reads_on_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let db = Database::open(&path, small()).unwrap();
    let docs = db.create_collection("docs", 16, Metric::L2).unwrap();
    for number in 0..3_000_u64 {
        let _buffered = docs.durability(Durability::Buffered).upsert(format!("{number:05}"), vec![number as f32; 16]).unwrap();
    }
    db.flush().unwrap();
    docs.upsert("in the memtable", &[0.5; 16]).unwrap();
    fs::remove_dir_all(&path).unwrap();
    let check = || {
        for number in (0..3_000_u64).step_by(7) {
            assert_eq!(docs.get(format!("{number:05}")).unwrap().unwrap()[0], number as f32);
        }
        assert_eq!(docs.get("in the memtable").unwrap().unwrap()[0], 0.5);
    };
    check();
    let error = db.flush().unwrap_err();
    assert!(error.file().is_some() || error.to_string().contains("directory"), "{error:?}");
    println!("a flush: {error}");
    let started = Instant::now();
    let refused = loop {
        match docs.upsert("later", &[1.0; 16]) {
            Err(error) => break error,
            Ok(_) => assert!(started.elapsed() < Duration::from_secs(10), "writes go on for ever"),
        }
    };
    println!("a write: {refused}");
    check();
    assert!(docs.search(&[1.0; 16], 3).unwrap().len() == 3);
    println!("checkpoint: {:?}", db.checkpoint(place.path().join("copy")));
    println!("close: {:?}", db.close());
    assert_eq!(Database::open_read_only(&path, small()).unwrap_err().kind(), ErrorKind::NotFound);
    let not_made = Options { create_if_missing: false, ..small() };
    assert_eq!(Database::open(&path, not_made).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn child_without_rights() {
    let Some(place) = place() else { return };
    let path = place.join("db");
    let tell = |what: &str, result: varvite::Result<Database>| match result {
        Ok(db) => say(&format!("{what} ok {}", db.collection("docs").unwrap().count().unwrap())),
        Err(error) => say(&format!("{what} {:?} {error}", error.kind())),
    };
    tell("writer", Database::open(&path, small()));
    tell("reader", Database::open_read_only(&path, small()));
}

/// What a process without rights says of a database in a directory of this mode.
fn without_rights(mode: u32) -> Option<[String; 2]> {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let db = Database::open(&path, small()).unwrap();
    db.create_collection("docs", 1, Metric::L2).unwrap().insert("a", &[1.0]).unwrap();
    db.close().unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    for name in names(&path) {
        fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let before = names(&path);
    let mut command = child::command("child_without_rights");
    command.env(PLACE, place.path()).current_dir("/").uid(NOBODY).gid(NOBODY);
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let Ok(probe) = command.spawn() else {
        println!("SKIPPED: not root, or this binary cannot be run by others");
        return None;
    };
    drop(probe.wait_with_output());
    let mut talk = Talk::start(&mut command);
    let said = [talk.expect("writer"), talk.expect("reader")];
    assert_eq!(names(&path), before, "a process without rights changed the directory");
    Some(said)
}

#[test]
fn without_permission_a_writer_is_refused_and_a_reader_reads_if_it_may() {
    if let Some([writer, reader]) = without_rights(0o555) {
        println!("may read: {writer} | {reader}");
        assert!(writer.starts_with("ReadOnly"), "{writer}");
        assert_eq!(reader, "ok 1");
    }
    if let Some([writer, reader]) = without_rights(0o700) {
        println!("may nothing: {writer} | {reader}");
        assert!(writer.starts_with("ReadOnly") && writer.contains("/db"), "{writer}");
        assert!(reader.starts_with("ReadOnly") && reader.contains("/db"), "{reader}");
    }
}

/// A storage whose lock says, once told so, that it belongs to the process that this one was forked from. A real fork needs `unsafe` and
/// is tested where the lock is implemented.
#[derive(Clone, Debug)]
struct Forked {
    memory: Memory,
    is_child: Arc<AtomicBool>,
}

#[derive(Debug)]
struct ForkedLock(Box<dyn Lock>, Arc<AtomicBool>);

impl Lock for ForkedLock {
    fn is_mine(&self) -> bool {
        self.0.is_mine() && !self.1.load(Ordering::SeqCst)
    }
}

impl Storage for Forked {
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        self.memory.create(name)
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        self.memory.open_write(name)
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        self.memory.open_read(name)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.memory.publish(name, bytes)
    }

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.memory.list()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.memory.sync_names()
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(ForkedLock(self.memory.lock(name)?, Arc::clone(&self.is_child))))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.memory.is_locked(name)
    }

    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool> {
        let target: &dyn Any = target;
        target.downcast_ref::<Self>().map_or(Ok(false), |target| self.memory.link_into(name, &target.memory, target_name))
    }

    fn environment(&self) -> &Environment {
        self.memory.environment()
    }
}

impl Forked {
    fn image(&self) -> Vec<(String, Vec<u8>)> {
        let read = |info: FileInfo| {
            let bytes = self.memory.open_read(&info.name).unwrap().map().unwrap().to_vec();
            (info.name, bytes)
        };
        self.memory.list().unwrap().into_iter().map(read).collect()
    }
}

/// The story: only commits asked whose lock it was. A forked child that flushed, or just dropped its copy of the handle, published manifests beside
/// its parent; with background threads, which a fork does not copy, the drop waited for them for ever.
#[test]
fn a_forked_child_changes_nothing_not_even_when_it_drops_its_handle() {
    for background in [Background::Inline, Background::Threads] {
        let storage = Forked { memory: Memory::new(), is_child: Arc::default() };
        let options = Options { background, idle_flush_after: Duration::from_secs(3600), ..Options::default() };
        let db = Database::open_on(Arc::new(storage.clone()), options).unwrap();
        let docs = db.create_collection("docs", 1, Metric::L2).unwrap();
        docs.insert("flushed", &[1.0]).unwrap();
        db.flush().unwrap();
        docs.insert("in the log", &[2.0]).unwrap();
        let buffered = docs.durability(Durability::Buffered).upsert("buffered", &[3.0]).unwrap();
        let before = storage.image();
        storage.is_child.store(true, Ordering::SeqCst);
        let refused = [
            docs.upsert("x", &[0.0]).map(drop),
            docs.delete("flushed").map(drop),
            db.flush(),
            db.compact(),
            db.wait_idle(),
            docs.bulk_load([("y", Fields::vector(&[0.0]))], DuplicatePolicy::LastWins).map(drop),
            docs.purge(&["flushed"]).map(drop),
            db.drop_collection("docs"),
            db.checkpoint_on(Arc::new(Memory::new())),
            buffered.wait(),
        ];
        for (index, result) in refused.into_iter().enumerate() {
            let error = result.expect_err(&format!("call {index} of a forked child was let through"));
            assert!(error.kind() == ErrorKind::Locked && error.to_string().contains("forked"), "call {index}: {error:?}");
        }
        assert_eq!(&*docs.get("in the log").unwrap().unwrap(), [2.0], "reads go on");
        drop((buffered, docs));
        let closed = db.close().unwrap_err();
        assert_eq!(closed.kind(), ErrorKind::Locked);
        assert!(storage.image() == before, "a forked child changed its parent's database");
    }
}
