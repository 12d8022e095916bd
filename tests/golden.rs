//! Databases of format 1.0 that are kept for ever: this engine opens each, reads what was written, bit for bit, and changes nothing when it
//! only reads. `tests/golden/README.md` says what they hold, how they are packed, and how they were made.

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
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use support::{
    machine::{Machine, Step, options},
    state::{Op, Parts, State, Verb, observe},
    workload::vector,
};
use varvite::{
    Database, DuplicatePolicy, Durability, Metadata, Metric, Options, ReadMode, Value,
    io::simulated::{CrashPlan, SimulatedDisk},
};

/// Bytes per line of the packed form; lines of zeros are left out.
const LINE: usize = 32;

type Files = BTreeMap<String, Vec<u8>>;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn pack(files: &Files) -> String {
    let mut text = String::new();
    for (name, bytes) in files {
        writeln!(text, "file {name} {}", bytes.len()).unwrap();
        for (index, line) in bytes.chunks(LINE).enumerate().filter(|(_, line)| line.iter().any(|byte| *byte != 0)) {
            writeln!(text, "{} {}", index * LINE, hex(line)).unwrap();
        }
    }
    text
}

fn unpack(text: &str) -> Files {
    let mut files = Files::new();
    let mut current: &mut Vec<u8> = &mut Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        if let ["file", name, len] = words[..] {
            current = files.entry(name.to_owned()).or_insert_with(|| vec![0; len.parse().unwrap()]);
        } else {
            let (at, bytes) = (words[0].parse::<usize>().unwrap(), unhex(words[1]));
            current[at..at + bytes.len()].copy_from_slice(&bytes);
        }
    }
    files
}

/// A state as text, every bit of it.
fn render(state: &State) -> String {
    let mut text = String::new();
    for (name, coll) in state {
        writeln!(text, "collection {name} dimension {} metric {} count {}", coll.dimension, coll.metric, coll.rows.len()).unwrap();
        for (id, record) in &coll.rows {
            let bits: String = record.bits.iter().map(|bits| format!(" {bits:08x}")).collect();
            writeln!(text, "  {} ordinal {} vector{bits}", id.escape_ascii(), record.ordinal).unwrap();
            for (key, value) in record.payload.metadata.iter() {
                writeln!(text, "    {key} = {}", render_value(value)).unwrap();
            }
            let texts = [("document", &record.payload.document), ("uri", &record.payload.uri)];
            texts.iter().filter_map(|(what, given)| Some((what, given.as_ref()?))).for_each(|(what, given)| {
                writeln!(text, "    {what} {given:?}").unwrap();
            });
        }
    }
    text
}

fn render_value(value: &Value) -> String {
    match value {
        Value::F64(one) => format!("F64({:016x})", one.to_bits()),
        Value::F64s(many) => format!("F64s({:016x?})", many.iter().map(|one| one.to_bits()).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

fn every_type(number: u64) -> Metadata {
    Metadata::new()
        .with("string", "длинный ряд")
        .with("i64", i64::MIN + number as i64)
        .with("f64", f64::from_bits(0x7FF8_0000_0000_0000 | number))
        .with("bool", number.is_multiple_of(2))
        .with("strings", vec![String::new(), "b".repeat(number as usize % 7)])
        .with("i64s", vec![-1_i64, i64::MAX])
        .with("f64s", vec![-0.0_f64, f64::MIN_POSITIVE / 2.0])
        .with("bools", vec![true, false])
        .with("empty", Vec::<i64>::new())
}

fn put(verb: Verb, name: &str, number: u64, seed: u64, dimension: usize) -> Op {
    let mut parts = Parts { vector: Some(vector(seed, dimension)), ..Parts::default() };
    if number.is_multiple_of(3) {
        parts.metadata = Some(every_type(seed));
    }
    if number.is_multiple_of(4) {
        parts.document = Some(Some(format!("document {seed} ").repeat(1 + seed as usize % 30)));
        parts.uri = Some(Some(format!("file:///{seed}")));
    }
    Op::Put(verb, name.to_owned(), format!("id-{number:03}").into_bytes(), parts)
}

fn delete(name: &str, number: u64) -> Op {
    Op::Delete(name.to_owned(), format!("id-{number:03}").into_bytes())
}

/// What the cleanly closed database went through.
fn closed_steps() -> Vec<Step> {
    let synced = |ops: Vec<Op>| Step::Batch(ops, Durability::Synced);
    let create = |name: &str, dimension, metric| Op::Create(name.to_owned(), dimension, metric);
    let loaded = (38..44).map(|number| {
        let Op::Put(_, _, id, parts) = put(Verb::Upsert, "packed", number, number + 700, 3) else { unreachable!() };
        (id, parts)
    });
    vec![
        synced(vec![
            create("packed", 3, Metric::L2),
            create("padded", 63, Metric::Cosine),
            create("many", 5, Metric::Dot),
            create("dropped", 2, Metric::L2),
        ]),
        synced((0..40).map(|number| put(Verb::Insert, "packed", number, number, 3)).collect()),
        synced((0..8).map(|number| put(Verb::Insert, "padded", number, number + 100, 63)).collect()),
        synced((0..2).map(|number| put(Verb::Insert, "dropped", number, number, 2)).collect()),
        Step::Flush,
        Step::Purge("padded".to_owned(), vec![b"id-003".to_vec(), b"nobody".to_vec()]),
        Step::Many(
            Verb::Insert,
            "many".to_owned(),
            (0..200).map(|number| (vec![number, 0, 255], vector(u64::from(number), 5))).collect(),
            Durability::Synced,
        ),
        Step::Flush,
        // A third of forty rows: a bitmap. Two of two hundred: a list.
        synced((0..40).step_by(3).map(|number| delete("packed", number)).collect()),
        synced(vec![Op::Delete("many".to_owned(), vec![7, 0, 255]), Op::Delete("many".to_owned(), vec![70, 0, 255])]),
        synced(vec![put(Verb::Update, "padded", 1, 900, 63), put(Verb::Upsert, "padded", 20, 901, 63)]),
        synced(vec![Op::Drop("dropped".to_owned()), Op::Rename("many".to_owned(), "renamed, с пробелом".to_owned())]),
        Step::Flush,
        Step::Bulk("packed".to_owned(), loaded.collect(), DuplicatePolicy::LastWins),
        Step::Reopen,
    ]
}

/// What the other one went through before it was killed: everything that a log can hold, unflushed.
fn tail_steps() -> Vec<Step> {
    let buffered = |ops: Vec<Op>| Step::Batch(ops, Durability::Buffered);
    let no_document = Parts { document: Some(None), ..Parts::default() };
    vec![
        buffered(vec![Op::Create("late".to_owned(), 1, Metric::Dot), Op::Create("short-lived".to_owned(), 4, Metric::L2)]),
        buffered(vec![Op::Drop("short-lived".to_owned()), Op::Rename("padded".to_owned(), "padded, renamed".to_owned())]),
        buffered((0..3).map(|number| put(Verb::Insert, "late", number, number + 40, 1)).collect()),
        Step::Batch(vec![put(Verb::Upsert, "packed", 1, 555, 3), delete("packed", 2), delete("packed", 2)], Durability::Synced),
        buffered(vec![Op::Put(Verb::Update, "packed".to_owned(), b"id-004".to_vec(), no_document)]),
        buffered(vec![put(Verb::Insert, "packed", 2, 556, 3), delete("late", 1)]),
    ]
}

/// Runs the steps and packs what a kill leaves. What is expected is what the model says, not what the engine reads.
fn generate(name: &str, killed: bool) {
    let mut machine = Machine::on_calm(SimulatedDisk::new(0x601D));
    machine.run(&closed_steps()).unwrap();
    if killed {
        tail_steps().iter().for_each(|step| machine.step(step).unwrap());
    } else {
        machine.db.take().unwrap().close().unwrap();
    }
    let state = machine.model().state.clone();
    machine.kill();
    let disk = machine.disk.crash(&CrashPlan::KeepAll);
    let files: Files = disk.names().into_iter().map(|name| (name.clone(), disk.read_all(&name).unwrap())).collect();
    fs::write(folder().join(format!("{name}.pack")), pack(&files)).unwrap();
    fs::write(folder().join(format!("{name}.expected")), render(&state)).unwrap();
}

fn write_files(directory: &Path, files: &Files) {
    fs::create_dir_all(directory).unwrap();
    files.iter().for_each(|(name, bytes)| fs::write(directory.join(name), bytes).unwrap());
}

fn read_files(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// The forms of the kill blocks in segment files, by section 8 of the specification: the footer's second table names their places.
fn kill_forms(files: &Files) -> BTreeSet<u32> {
    let number = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut forms = BTreeSet::new();
    for bytes in files.iter().filter(|(name, _)| name.starts_with("seg-")).map(|(_, bytes)| bytes) {
        let footer = bytes.len() - number(bytes, bytes.len() - 16);
        let table = footer + 4 + 28 * number(bytes, footer);
        for block in 0..number(bytes, table) {
            let offset = number(bytes, table + 4 + 24 * block + 8);
            forms.insert(number(bytes, offset + 12) as u32);
        }
    }
    forms
}

fn check(name: &str, killed: bool) {
    if std::env::var_os("VARVITE_GOLDEN_WRITE").is_some() {
        generate(name, killed);
    }
    let files = unpack(&fs::read_to_string(folder().join(format!("{name}.pack"))).unwrap());
    let expected = fs::read_to_string(folder().join(format!("{name}.expected"))).unwrap();
    assert_eq!(kill_forms(&files), [0, 1].into(), "{name} holds a kill list and a kill bitmap");
    for read_mode in [ReadMode::Mapped, ReadMode::Copied] {
        let options = || Options { read_mode, ..options() };
        let scratch = tempfile::tempdir().unwrap();
        let directory = scratch.path().join("db");
        write_files(&directory, &files);
        let report = Database::verify(&directory, options()).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "{name}: {report:?}");
        let reader = Database::open_read_only(&directory, options()).unwrap();
        assert!(reader.is_unsettled(), "no writer lives");
        assert_eq!(render(&observe(&reader).unwrap()), expected, "{name}, read-only");
        drop(reader);
        assert!(read_files(&directory) == files, "{name}: a read-only open has changed a file");
        for round in 0..2 {
            let db = Database::open(&directory, options()).unwrap();
            assert_eq!(db.stats().unwrap().damages, Vec::<String>::new());
            assert_eq!(render(&observe(&db).unwrap()), expected, "{name}, writable, open {round}");
            db.collection("packed").unwrap().insert("golden", &[0.0, 0.0, 0.0]).unwrap();
            assert!(db.collection("packed").unwrap().delete("golden").unwrap());
            db.compact().unwrap();
            assert_eq!(render(&observe(&db).unwrap()), expected, "{name}, compacted");
            db.close().unwrap();
            assert!(Database::verify(&directory, options()).unwrap().damages.is_empty());
        }
    }
}

#[test]
fn a_cleanly_closed_database_of_format_1_0_opens_and_holds_what_was_written() {
    check("closed-1.0", false);
}

#[test]
fn a_killed_database_of_format_1_0_opens_and_holds_what_was_written() {
    check("killed-1.0", true);
}
