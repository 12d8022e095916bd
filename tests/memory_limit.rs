//! Data larger than the memory that a cgroup allows: mapped pages and the page cache give way, and what the engine keeps for itself stays within
//! its budgets. Where it does not fit, the kernel kills the process, which is as good as any kill.
//!
//! Needs root and the memory controller; says so and passes where they are not.

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
use varvite::{Database, Durability, Metric, Options};

const DIMENSION: usize = 384;
const ROWS: usize = 1000;
/// Of so many rows each: 154 MB of vectors.
const BATCHES: usize = 100;
/// What the budgets of `options` come to, the program, and some room.
const ENOUGH: u64 = 96 << 20;
const SIGKILL: i32 = 9;

fn options() -> Options {
    Options { memtable_bytes: 16 << 20, log_bytes: 32 << 20, merge_bytes: 16 << 20, ..Options::default() }
        .with_durability(Durability::Buffered)
}

/// Ids in no order, so that compaction has to merge.
fn id(batch: usize, row: usize) -> String {
    format!("{:08x}-{batch}-{row}", ((batch * ROWS + row) as u32).wrapping_mul(0x9E37_79B1))
}

fn vector(batch: usize, row: usize) -> impl Iterator<Item = f32> {
    (0..DIMENSION).map(move |element| (batch * 31 + row * 7 + element) as f32)
}

#[test]
fn child_with_little_memory() {
    let Some(path) = env::var_os("VARVITE_MEMORY_LIMIT").map(PathBuf::from) else { return };
    let db = Database::open(&path, options()).unwrap();
    let docs = db.get_or_create_collection("docs", DIMENSION, Metric::L2).unwrap();
    for batch in 0..BATCHES {
        let ids: Vec<String> = (0..ROWS).map(|row| id(batch, row)).collect();
        let rows: Vec<f32> = (0..ROWS).flat_map(|row| vector(batch, row)).collect();
        let written = docs.upsert_many(&ids, &rows).unwrap();
        if batch % 10 == 9 {
            written.wait().unwrap();
            say(&format!("durable {}", batch + 1));
        }
    }
    db.compact().unwrap();
    let query: Vec<f32> = vector(3, 5).collect();
    assert_eq!(docs.search(&query, 1).unwrap()[0].distance, 0.0);
    assert_eq!(docs.iter().unwrap().filter(|row| row.as_ref().is_ok_and(|row| row.len() == DIMENSION)).count(), BATCHES * ROWS);
    db.checkpoint(path.with_extension("copy")).unwrap();
    db.close().unwrap();
    assert!(Database::verify(&path, options()).unwrap().damages.is_empty());
    say("done");
}

/// A cgroup with a limit, of either version; removed in the end.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Self> {
        let (base, limit) = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")]
            .into_iter()
            .find(|(base, limit)| Path::new(base).join(limit).exists() || Path::new(base).join("cgroup.subtree_control").exists())?;
        let group = Self(Path::new(base).join(format!("varvite-{}-{bytes}", std::process::id())));
        fs::create_dir(&group.0).ok()?;
        fs::write(group.0.join(limit), bytes.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _stays = fs::remove_dir(&self.0);
    }
}

/// Runs the child in a group: how many batches it called durable, whether it finished, and how it ended.
fn run(group: &Group, path: &Path) -> (usize, bool, ExitStatus) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("echo $$ > {}/cgroup.procs; exec \"$0\" \"$@\"", group.0.display())]).arg(env::current_exe().unwrap());
    command.args(["--exact", "child_with_little_memory", "--nocapture", "--test-threads=1"]).env("VARVITE_MEMORY_LIMIT", path);
    let mut talk = Talk::start(&mut command);
    let (mut durable, mut done) = (0, false);
    while let Some(line) = talk.next() {
        durable = line.strip_prefix("durable ").map_or(durable, |number| number.parse().unwrap());
        done |= line == "done";
    }
    (durable, done, talk.child.wait().unwrap())
}

#[test]
fn data_beyond_the_memory_limit_is_written_merged_and_read() {
    let mut killed = 0;
    // Half of it is left out: whether that is enough is up to the page cache, and it may take minutes to find out.
    for bytes in [ENOUGH, ENOUGH / 4, ENOUGH / 8] {
        let Some(group) = Group::new(bytes) else { return println!("SKIPPED: no memory cgroup can be made here") };
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        let (durable, done, status) = run(&group, &path);
        println!("{} MiB: {durable} batches durable, done: {done}, {status}", bytes >> 20);
        assert!(done && status.success() || status.signal() == Some(SIGKILL), "{bytes}: {status}");
        assert!(done || bytes < ENOUGH, "{bytes} bytes must be enough");
        killed += usize::from(!done);
        if !path.exists() {
            continue;
        }
        let db = Database::open(&path, options()).unwrap();
        for (batch, row) in (0..durable).flat_map(|batch| (0..ROWS).map(move |row| (batch, row))) {
            let found = db.collection("docs").unwrap().get(id(batch, row)).unwrap().expect("it was durable");
            assert!(found.iter().copied().eq(vector(batch, row)), "batch {batch}, row {row}");
        }
        db.close().unwrap();
        let report = Database::verify(&path, options()).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "{report:?}");
    }
    assert!(killed > 0, "the smallest limit does not limit anything");
}
