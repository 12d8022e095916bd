//! The program from the outside: files in, files out, exit codes, and what it refuses.
#![cfg(feature = "cli")]
#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests write the files that the program reads")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails its test")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use varvite::{Database, Durability, Options};

/// What one run of the program left behind.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

struct Bench {
    directory: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { directory: TempDir::new().unwrap() }
    }

    /// With a collection `c` of dimension 2 that holds a, b and c.
    fn with_records() -> Self {
        let bench = Self::new();
        bench.ok(&["create", "db", "c", "--dim", "2", "--metric", "l2"]);
        bench.write("v.npy", &npy(&[[1.0, 2.0], [-0.0, 1e-45], [0.1, f32::MAX]]));
        bench.write("ids", b"b\na\nc\n");
        bench.write("records.jsonl", b"{\"document\":\"two\",\"metadata\":{\"i\":1,\"f\":1.0}}\n{\"uri\":\"u:a\"}\n{}\n");
        bench.ok(&["import", "db", "c", "--vectors", "v.npy", "--ids", "ids", "--records", "records.jsonl"]);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_varvite"));
        command.args(arguments).current_dir(self.directory.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(arguments, b"")
    }

    fn run_with(&self, arguments: &[&str], input: &[u8]) -> Run {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // The program may refuse before it reads.
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{arguments:?}: {run:?}");
        run.out
    }

    /// Everything a reader can see.
    fn state(&self) -> String {
        self.ok(&["list", "db", "--json"]) + &self.ok(&["scan", "db", "c", "--json", "--with-vectors"])
    }
}

/// A .npy file as numpy writes it, of rows of two.
fn npy(rows: &[[f32; 2]]) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, 2), }}", rows.len());
    npy_with(&header, &rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>())
}

fn npy_with(header: &str, data: &[u8]) -> Vec<u8> {
    let padded = format!("{header:117}\n");
    [b"\x93NUMPY\x01\x00", &u16::try_from(padded.len()).unwrap().to_le_bytes()[..], padded.as_bytes(), data].concat()
}

fn fvecs(rows: &[&[f32]]) -> Vec<u8> {
    let row = |row: &&[f32]| {
        let dimension = u32::try_from(row.len()).unwrap().to_le_bytes();
        dimension.into_iter().chain(row.iter().flat_map(|value| value.to_le_bytes())).collect::<Vec<u8>>()
    };
    rows.iter().flat_map(row).collect()
}

#[test]
fn an_export_of_an_export_is_the_same_bytes() {
    let bench = Bench::with_records();
    bench.ok(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids", "--records", "o.jsonl"]);
    assert_eq!(bench.read("o.ids"), b"a\nb\nc\n");
    assert_eq!(bench.read("o.npy"), npy(&[[-0.0, 1e-45], [1.0, 2.0], [0.1, f32::MAX]]));
    bench.ok(&["create", "again", "c", "--dim", "2", "--metric", "cosine"]);
    bench.ok(&["import", "again", "c", "--vectors", "o.npy", "--records", "o.jsonl", "--bulk"]);
    bench.ok(&["export", "again", "c", "--vectors", "p.npy", "--ids", "p.ids", "--records", "p.jsonl"]);
    for (first, second) in [("o.npy", "p.npy"), ("o.ids", "p.ids"), ("o.jsonl", "p.jsonl")] {
        assert_eq!(bench.read(first), bench.read(second), "{first}");
    }
    let left: Vec<_> = fs::read_dir(bench.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("tmp")), "{left:?}");
}

#[test]
fn a_scan_is_an_import_of_whole_records() {
    let bench = Bench::with_records();
    let lines = bench.ok(&["scan", "db", "c", "--json", "--with-vectors"]);
    assert!(lines.contains(r#""metadata":{"f":1.0,"i":1}"#), "{lines}");
    bench.write("all.jsonl", lines.as_bytes());
    bench.ok(&["create", "again", "c", "--dim", "2", "--metric", "l2"]);
    bench.ok(&["import", "again", "c", "--vectors", "all.jsonl", "--batch", "2"]);
    assert_eq!(bench.ok(&["scan", "again", "c", "--json", "--with-vectors"]), lines);
    assert_eq!(bench.ok(&["scan", "db", "c", "--prefix", "b"]).lines().count(), 1);
    assert_eq!(bench.ok(&["scan", "db", "c", "--limit", "2"]).lines().count(), 2);
}

#[test]
fn fvecs_and_row_numbers() {
    let bench = Bench::new();
    bench.ok(&["create", "db", "c", "--dim", "2", "--metric", "dot"]);
    bench.write("v.fvecs", &fvecs(&[&[1.0, 0.0], &[0.0, 1.0]]));
    bench.ok(&["import", "db", "c", "--vectors", "v.fvecs"]);
    bench.write("none.fvecs", b"");
    assert!(bench.ok(&["import", "db", "c", "--vectors", "none.fvecs"]).contains("imported 0"));
    assert_eq!(
        bench.ok(&["search", "db", "c", "--vector", "v.fvecs", "-k", "1", "--json"]),
        "{\"query\":0,\"hits\":[{\"id\":\"0\",\"distance\":-1.0}]}\n{\"query\":1,\"hits\":[{\"id\":\"1\",\"distance\":-1.0}]}\n"
    );
}

#[test]
fn search_answers_in_the_documented_shape() {
    let bench = Bench::with_records();
    let by_id = bench.ok(&["search", "db", "c", "--id", "a", "-k", "2", "--json"]);
    assert_eq!(by_id, "{\"query\":0,\"hits\":[{\"id\":\"a\",\"distance\":0.0},{\"id\":\"b\",\"distance\":5.0}]}\n");
    let by_line = bench.run_with(&["search", "db", "c", "--stdin", "-k", "1", "--json"], b"[1,2]\n[0.5, 2]\n");
    assert_eq!(
        (by_line.code, by_line.out.as_str()),
        (0, "{\"query\":0,\"hits\":[{\"id\":\"b\",\"distance\":0.0}]}\n{\"query\":1,\"hits\":[{\"id\":\"b\",\"distance\":0.25}]}\n")
    );
    let near = bench.run(&["search", "db", "c", "--id", "a", "--within", "4.5", "--threads", "2", "--explain", "--json"]);
    assert_eq!((near.code, near.out.as_str()), (0, "{\"query\":0,\"hits\":[{\"id\":\"a\",\"distance\":0.0}]}\n"));
    assert!(near.err.contains("1 query compared with 3 records, 24 B read"), "{}", near.err);
    // One row without a second dimension is one query.
    bench.write("q.npy", &npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", &[0; 8]));
    let one = bench.ok(&["search", "db", "c", "--vector", "q.npy", "-k", "1", "--json"]);
    assert_eq!(one, "{\"query\":0,\"hits\":[{\"id\":\"a\",\"distance\":0.0}]}\n");
    let text = bench.ok(&["search", "db", "c", "--id", "b", "-k", "9"]);
    assert!(text.contains("two") && text.contains("rank"), "{text}");
    let approximate = bench.ok(&["search", "db", "c", "--id", "a", "-k", "2", "--approximate", "2", "--json"]);
    assert_eq!(approximate, by_id, "nothing here has a code");
}

#[test]
fn recall_compares_approximate_answers_with_exact_ones() {
    let bench = Bench::with_records();
    let told = bench.ok(&["recall", "db", "c", "-k", "1", "--approximate", "1,5", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["k"], &told["queries"]), (&1.into(), &3.into()));
    let tried = told["approximate"].as_array().unwrap();
    assert_eq!(tried.iter().map(|tried| tried["scored"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 5]);
    assert!(tried.iter().all(|tried| tried["recall"] == 1.0 && tried["complete"] == 1.0), "no record here has a code: {told}");
    // Rows of which four bits tell little: two of a cluster of many.
    let rows: Vec<f32> = (0..400 * 8).map(|at| 100.0 + f32::from((at * 7919 % 1009) as u16) / 500.0).collect();
    let bytes: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
    bench.write("near.npy", &npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (400, 8), }", &bytes));
    bench.ok(&["create", "db", "near", "--dim", "8", "--metric", "l2", "--codes", "int8"]);
    bench.ok(&["import", "db", "near", "--vectors", "near.npy"]);
    let told = bench.ok(&["recall", "db", "near", "--sample", "20", "-k", "5", "--approximate", "5,400", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    let recall = |at: usize| told["approximate"][at]["recall"].as_f64().unwrap();
    assert!(recall(0) < 0.9 && recall(1) == 1.0 && told["queries"] == 20, "{told}");
    let text = bench.ok(&["recall", "db", "near", "--sample", "3"]);
    assert!(text.contains("3 queries, k = 10") && text.contains("approximate, 200 scored"), "{text}");
    bench.ok(&["create", "db", "empty", "--dim", "8", "--metric", "l2"]);
    let refused = bench.run(&["recall", "db", "empty"]);
    assert!(refused.code == 1 && refused.err.contains("recall needs two or more"), "{}", refused.err);
}

#[test]
fn questions_are_answered_while_the_pipe_stays_open() {
    let bench = Bench::with_records();
    let mut command = bench.command(&["search", "db", "c", "--stdin", "--json"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ask = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for number in 0..3 {
        ask.write_all(b"[0,0]\n").unwrap();
        assert!(answers.next().unwrap().unwrap().starts_with(&format!("{{\"query\":{number},")));
    }
    drop(ask);
    assert!(child.wait().unwrap().success());
}

#[test]
fn records_are_written_shown_and_deleted() {
    let bench = Bench::with_records();
    bench.ok(&["put", "db", "c", "d", "--vector", "-1.5,2e-3", "--document", "four", "--metadata", r#"{"tags":["x","y"]}"#]);
    let shown = bench.ok(&["get", "db", "c", "d", "--json"]);
    let expected = r#"{"id":"d","vector":[-1.5,0.002],"document":"four","metadata":{"tags":["x","y"]},"ordinal":3}"#;
    assert_eq!(shown.trim_end(), expected);
    // What is left out stays.
    assert!(bench.ok(&["put", "db", "c", "d", "--uri", "u:d"]).contains("updated"));
    let shown = bench.ok(&["get", "db", "c", "d"]);
    assert!(shown.contains("four") && shown.contains("u:d") && shown.contains("-1.5"), "{shown}");
    assert_eq!(bench.ok(&["delete", "db", "c", "d", "zzz", "d", "--json"]), "{\"deleted\":1,\"absent\":[\"zzz\"]}\n");
    assert!(bench.ok(&["purge", "db", "c", "zzz", "--json"]).contains(r#""deleted":0,"absent":["zzz"]"#));
    let purged = bench.ok(&["purge", "db", "c", "a", "zzz", "a"]);
    assert!(purged.starts_with("purged 1 of 2 records") && purged.contains("was not there: zzz"), "{purged}");
    assert_eq!(bench.ok(&["scan", "db", "c"]).lines().count(), 2);
}

#[test]
fn null_clears_and_absence_keeps() {
    let bench = Bench::with_records();
    bench.write("some.jsonl", b"{\"document\":null}\n{}\n{\"metadata\":{\"n\":7}}\n");
    bench.ok(&["import", "db", "c", "--vectors", "v.npy", "--ids", "ids", "--records", "some.jsonl"]);
    let [a, b, c] = ["a", "b", "c"].map(|id| bench.ok(&["get", "db", "c", id, "--json"]));
    assert!(a.contains("\"uri\":\"u:a\""), "{a}");
    assert!(!b.contains("document") && b.contains("\"i\":1"), "{b}");
    assert!(c.contains("\"n\":7"), "{c}");
}

#[test]
fn collections_are_created_listed_renamed_dropped() {
    let bench = Bench::with_records();
    assert_eq!(bench.ok(&["list", "db", "--json"]), "{\"name\":\"c\",\"dimension\":2,\"metric\":\"l2\",\"codes\":\"none\",\"count\":3}\n");
    bench.ok(&["rename", "db", "c", "papers"]);
    assert_eq!(bench.run(&["scan", "db", "c"]).code, 1);
    assert!(bench.ok(&["list", "db"]).contains("papers"));
    bench.ok(&["drop", "db", "papers"]);
    assert_eq!(bench.ok(&["list", "db", "--json"]), "");
}

#[test]
fn a_database_is_looked_after() {
    let bench = Bench::with_records();
    assert!(bench.ok(&["stats", "db"]).contains("live"));
    assert!(bench.ok(&["stats", "db", "--json"]).contains("\"live_bytes\":"));
    assert!(bench.ok(&["verify", "db"]).contains("0 damages"));
    bench.ok(&["compact", "db"]);
    bench.ok(&["checkpoint", "db", "copy"]);
    assert!(bench.ok(&["repair", "db", "repaired", "--json"]).contains("\"complete\":true,\"lost\":[]"));
    assert!(bench.ok(&["dump", "db"]).contains("MANIFEST-") && bench.ok(&["dump", "db", "--json"]).starts_with("{\"file\":\"db/MANIFEST-"));
    let all = bench.ok(&["scan", "db", "c", "--json", "--with-vectors"]);
    for other in ["copy", "repaired"] {
        assert_eq!(bench.ok(&["scan", other, "c", "--json", "--with-vectors"]), all, "{other}");
        assert!(bench.ok(&["verify", other, "--json"]).contains("\"damages\":[]"));
    }
    let is_log = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("log-"));
    let log = fs::read_dir(bench.path("db")).unwrap().map(|entry| entry.unwrap().path()).find(|path| is_log(path)).unwrap();
    assert!(!bench.ok(&["dump", log.to_str().unwrap()]).is_empty());
    // Known by what it holds, under any name; damage is an exit code.
    let mut bytes = fs::read(bench.path("db/FLOOR")).unwrap();
    fs::write(bench.path("some-copy"), &bytes).unwrap();
    assert!(bench.ok(&["dump", "some-copy"]).contains("floor: "));
    bytes[70] ^= 1;
    fs::write(bench.path("some-copy"), &bytes).unwrap();
    let damaged = bench.run(&["dump", "some-copy"]);
    assert!(damaged.code == 3 && damaged.out.contains("DAMAGED") && damaged.err.contains("damaged in 1 place\n"), "{damaged:?}");
}

#[test]
fn hex_carries_any_id() {
    let bench = Bench::with_records();
    bench.ok(&["put", "db", "c", "ff0a00", "--id-encoding", "hex", "--vector", "1,1"]);
    assert_eq!(bench.run(&["put", "db", "c", "", "--vector", "1,1"]).code, 1);
    assert!(bench.ok(&["get", "db", "c", "FF0A00", "--id-encoding", "hex", "--json"]).contains("\"id\":\"ff0a00\""));
    let refused = bench.run(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains(r"\xff\n\x00") && refused.err.contains("--id-encoding hex"), "{}", refused.err);
    assert!(!bench.path("o.npy").exists() && !bench.path("o.ids").exists());
    bench.ok(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids", "--id-encoding", "hex"]);
    assert_eq!(bench.read("o.ids"), b"61\n62\n63\nff0a00\n");
    bench.ok(&["create", "again", "c", "--dim", "2", "--metric", "l2"]);
    bench.ok(&["import", "again", "c", "--vectors", "o.npy", "--ids", "o.ids", "--id-encoding", "hex"]);
    assert!(bench.ok(&["delete", "again", "c", "ff0a00", "--id-encoding", "hex"]).contains("deleted 1 of 1 record\n"));
}

#[test]
fn a_refused_export_keeps_what_was_there() {
    let bench = Bench::with_records();
    bench.ok(&["put", "db", "c", "two\nlines", "--vector", "1,1"]);
    bench.write("o.npy", b"older");
    let refused = bench.run(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids"]);
    assert!(refused.code == 1 && refused.err.contains(r"two\nlines"), "{refused:?}");
    assert_eq!(bench.read("o.npy"), b"older");
    assert!(!bench.path("o.ids").exists());
    let same = bench.run(&["export", "db", "c", "--vectors", "x.npy", "--ids", "./x.npy"]);
    assert_eq!(same.code, 2, "{same:?}");
}

#[test]
#[cfg(unix)]
fn arguments_that_are_no_text_are_a_usage_error() {
    use std::os::unix::ffi::OsStrExt;
    let bench = Bench::with_records();
    let id = std::ffi::OsStr::from_bytes(b"\xff");
    let refused =
        Command::new(env!("CARGO_BIN_EXE_varvite")).current_dir(bench.path("")).args(["get", "db", "c"]).arg(id).arg("--json").output();
    let refused = refused.unwrap();
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.starts_with(b"{\"error\""), "{refused:?}");
}

#[test]
#[cfg(unix)]
fn an_export_replaces_only_what_it_was_told_to() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let bench = Bench::with_records();
    let export =
        |vectors: &str, ids: &str, more: &[&str]| bench.run(&[&["export", "db", "c", "--vectors", vectors, "--ids", ids], more].concat());
    bench.write("o.npy", b"older");
    fs::set_permissions(bench.path("o.npy"), fs::Permissions::from_mode(0o600)).unwrap();
    let refused = export("o.npy", "o.ids", &["--no-clobber"]);
    assert!(refused.code == 1 && refused.err.contains("'o.npy' exists already, and --no-clobber"), "{refused:?}");
    assert_eq!(bench.read("o.npy"), b"older");
    symlink("o.npy", bench.path("link.npy")).unwrap();
    assert_eq!(export("link.npy", "o.ids", &[]).code, 0);
    assert!(bench.read("o.npy").starts_with(b"\x93NUMPY") && bench.path("link.npy").is_symlink());
    assert_eq!(fs::metadata(bench.path("o.npy")).unwrap().permissions().mode() & 0o777, 0o600);
    // Neither straight nor through a link into a database.
    let floor = bench.read("db/FLOOR");
    symlink("db/FLOOR", bench.path("floor.npy")).unwrap();
    symlink("db", bench.path("way")).unwrap();
    symlink("nowhere", bench.path("dangling.npy")).unwrap();
    for (vectors, ids, reason) in [
        ("floor.npy", "n.ids", "inside the database"),
        ("n.npy", "way/FLOOR", "inside the database"),
        ("n.npy", "way/new", "inside the database"),
        ("dangling.npy", "n.ids", "link to nothing"),
        ("n.npy", "/dev/null", "not a regular file"),
    ] {
        let refused = export(vectors, ids, &[]);
        assert!(refused.code == 1 && refused.err.contains(reason), "{vectors} {ids}: {refused:?}");
    }
    assert_eq!(bench.read("db/FLOOR"), floor);
    assert!(!bench.path("n.npy").exists() && !bench.path("n.ids").exists());
    assert_eq!(export("N.NPY", "n.ids", &[]).code, 0);
    bench.ok(&["import", "db", "c", "--vectors", "N.NPY", "--ids", "n.ids"]);
}

#[test]
#[cfg(unix)]
fn pipes_and_devices_are_refused_and_not_waited_for() {
    let bench = Bench::with_records();
    assert!(Command::new("mkfifo").arg(bench.path("pipe.npy")).status().unwrap().success());
    std::os::unix::fs::symlink("pipe.npy", bench.path("pipe")).unwrap();
    for arguments in [
        &["dump", "/dev/zero"][..],
        &["dump", "pipe"],
        &["import", "db", "c", "--vectors", "pipe.npy"],
        &["import", "db", "c", "--vectors", "v.npy", "--ids", "pipe"],
        &["search", "db", "c", "--vector", "pipe.npy"],
        &["put", "db", "c", "x", "--vector", "pipe.npy"],
        &["delete", "db", "c", "--ids", "pipe"],
        &["export", "db", "c", "--vectors", "pipe.npy", "--ids", "o.ids"],
    ] {
        let refused = bench.run(arguments);
        assert!(refused.code == 1 && refused.err.contains("not a regular file"), "{arguments:?}: {refused:?}");
    }
}

/// Name and bytes of a file of vectors, the ids beside it, and what the error says.
type BadFile<'a> = (&'a str, Vec<u8>, Option<&'a [u8]>, &'a str);

#[test]
fn malformed_files_are_refused_by_name_and_change_nothing() {
    let bench = Bench::with_records();
    let good = npy(&[[1.0, 1.0], [2.0, 2.0]]);
    let header = |kind: &str, order: &str, shape: &str| {
        npy_with(&format!("{{'descr': '{kind}', 'fortran_order': {order}, 'shape': {shape}, }}"), &[0; 16])
    };
    let line = |rest: &str| format!("{{\"id\":\"x\",\"vector\":[1,1]}}\n{rest}\n").into_bytes();
    let nan = npy(&[[1.0, 1.0], [1.0, f32::NAN]]);
    let infinite = npy(&[[f32::NEG_INFINITY, 1.0], [1.0, 1.0]]);
    let two = Some(&b"x\ny\n"[..]);
    let cases: Vec<BadFile<'_>> = vec![
        ("x.npy", good.clone(), Some(b"x\n"), "has 1 line, but there are 2 vectors"),
        ("x.npy", good.clone(), Some(b"x\ny\nz\n"), "line 3 belongs to none"),
        ("x.npy", good.clone(), Some(b"x\nx\n"), "'x' stands there twice: 'x.ids' line 2 repeats 'x.ids' line 1"),
        ("x.npy", good.clone(), Some(b"x\n\n"), "line 2: an id must have"),
        ("x.npy", good.clone(), Some(b"x\n\xff\n"), "line 2: the id"),
        ("x.npy", nan.clone(), two, "NaN or an infinity"),
        ("x.npy", infinite, two, "the vector of 'x'"),
        ("x.npy", good[..good.len() - 1].to_vec(), two, "truncated"),
        ("x.npy", b"PK\x03\x04 something else".to_vec(), two, "not a .npy"),
        ("x.npy", Vec::new(), two, "ends in the middle"),
        ("x.npy", header("<f8", "False", "(1, 2)"), two, "astype('<f4')"),
        ("x.npy", header("<f4", "True", "(2, 2)"), two, "ascontiguousarray"),
        ("x.npy", header("<f4", "False", "(4,)"), two, "reshape"),
        ("x.npy", header("<f4", "False", "(1, 4)"), two, "have 4 elements"),
        ("x.fvecs", fvecs(&[&[1.0], &[2.0]]), two, "have 1 element,"),
        ("x.fvecs", fvecs(&[&[1.0, 2.0]])[..11].to_vec(), two, "at byte 0: the file is truncated"),
        ("x.fvecs", b"\xff\xff\xff\xff".to_vec(), two, "dimension -1"),
        ("x.fvecs", fvecs(&[&[1.0, 2.0], &[1.0]]), two, "row 1 says it has 1 elements"),
        ("x.npy", good.clone(), Some(b"x\ny\r\n"), "line 2: ends in CR LF"),
        ("x.npy", good.clone(), Some(b"x\ny\r"), "line 2: the id ends in a carriage return"),
        ("x.jsonl", line(r#"{"id":"y","vector":[1]}"#), None, "line 2: the vector has 1 element,"),
        ("x.jsonl", line(r#"{"id":"y"}"#), None, "line 2: lacks the vector"),
        ("x.jsonl", line(r#"{"vector":[1,1]}"#), None, "line 2: lacks the id"),
        ("x.jsonl", line(""), None, "line 2: the line is empty"),
        ("x.jsonl", line(r#"{"id":"y","vector":[1,1],"metadata":{"k":[1,"a"]}}"#), None, "line 2: metadata 'k' is an array of mixed"),
        ("x.jsonl", line(r#"{"id":"y","vector":[1,1],"metadata":{"k":null}}"#), None, "line 2: metadata 'k' is null"),
        ("x.jsonl", line(r#"{"id":"y","vector":[1,1],"metadata":{"k":{}}}"#), None, "line 2: metadata 'k' is a nested"),
        ("x.jsonl", line(r#"{"id":"y","vector":[1,NaN]}"#), None, "line 2: "),
        ("x.jsonl", line(r#"{"id":"y","vector":[1,1e39]}"#), None, "line 2: element 1"),
        ("x.jsonl", line(r#"{"id":"x","vector":[2,2]}"#), None, "'x' stands there twice: 'x.jsonl' line 2 repeats"),
    ];
    let before = bench.state();
    for (name, bytes, ids, reason) in &cases {
        bench.write(name, bytes);
        bench.write("x.ids", ids.unwrap_or_default());
        for mode in [None, Some("--insert"), Some("--bulk")] {
            let mut arguments = vec!["import", "db", "c", "--vectors", *name, "--batch", "1"];
            if ids.is_some() {
                arguments.extend(["--ids", "x.ids"]);
            }
            arguments.extend(mode);
            let run = bench.run(&arguments);
            assert!(run.code == 1 && run.err.contains(reason), "{name}, {reason}, {mode:?}: {run:?}");
            assert!(run.err.starts_with("varvite: ") && run.err.lines().count() == 1, "{}", run.err);
        }
        assert_eq!(bench.state(), before, "{name}: {reason}");
    }
    bench.write("x.npy", &nan);
    bench.write("x.ids", b"x\ny\n");
    bench.ok(&["import", "db", "c", "--vectors", "x.npy", "--ids", "x.ids", "--allow-non-finite"]);
    bench.ok(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids"]);
    assert!(bench.read("o.npy").ends_with(&f32::NAN.to_le_bytes()));
}

#[test]
fn records_beside_vectors_must_fit_them() {
    let bench = Bench::with_records();
    bench.write("x.npy", &npy(&[[1.0, 1.0], [2.0, 2.0]]));
    bench.write("x.ids", b"x\ny\n");
    let before = bench.state();
    for (records, with_ids, reason) in [
        ("{}\n", true, "has 1 line, but there are 2 vectors"),
        ("{}\n{}\n{}\n", true, "line 3 belongs to none"),
        ("{\"id\":\"x\"}\n{\"id\":\"z\"}\n", true, "'y' stands beside a record with the id 'z'"),
        ("{\"id\":\"x\"}\n{}\n", false, "line 2: lacks the id"),
        ("{}\n{\"id\":\"y\"}\n", false, "line 2: has an id"),
        ("{\"vector\":[1,1]}\n{}\n", true, "line 1: has a vector"),
        ("{\"text\":\"t\"}\n{}\n", true, "line 1: unknown key 'text'"),
        ("{}\n{\"document\":5}\n", true, "line 2: the document is not a string"),
        ("{}\n{\"document\":\"a\",\"document\":\"b\"}\n", true, "stands there twice"),
        ("{}\n{\"metadata\":{\"n\":9223372036854775808}}\n", true, "line 2: metadata 'n' is 9223372036854775808"),
    ] {
        bench.write("x.jsonl", records.as_bytes());
        let mut arguments = vec!["import", "db", "c", "--vectors", "x.npy", "--records", "x.jsonl", "--batch", "1"];
        if with_ids {
            arguments.extend(["--ids", "x.ids"]);
        }
        let run = bench.run(&arguments);
        assert!(run.code == 1 && run.err.contains(reason), "{reason}: {run:?}");
        assert_eq!(bench.state(), before, "{reason}");
    }
}

#[test]
fn bad_commands_are_refused_and_change_nothing() {
    let bench = Bench::with_records();
    bench.write("q3.npy", &npy_with("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }", &[0; 12]));
    bench.write("not-ours", b"hello");
    let before = bench.state();
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 2, "Usage"),
        (&["bogus"], 2, "bogus"),
        (&["create", "db"], 2, "required"),
        (&["create", "db", "d", "--dim", "x", "--metric", "l2"], 2, "invalid value"),
        (&["create", "db", "d", "--dim", "2", "--metric", "hamming"], 2, "hamming"),
        (&["create", "db", "d", "--dim", "0", "--metric", "l2"], 2, "0 is not in 1..=65535"),
        (&["create", "db", "d", "--dim", "65536", "--metric", "l2"], 2, "65536"),
        (&["create", "db", "d", "--dim", "-1", "--metric", "l2"], 2, "-1 is not in"),
        (&["create", "db", "", "--dim", "2", "--metric", "l2"], 2, "value is required"),
        (&["create", "v.npy", "c", "--dim", "2", "--metric", "l2"], 1, "'v.npy' is a file"),
        (&["rename", "db", "c", ""], 2, "value is required"),
        (&["list", "v.npy"], 1, "'v.npy' is a file"),
        (&["verify", "nowhere"], 1, "there is no database 'nowhere' (`varvite create nowhere"),
        (&["scan", "db", "c", "--prefix", "-d"], 2, "write '--prefix=-d'"),
        (&["scan", "db", "c", "--limit", "-1"], 2, "-1 is not in"),
        (&["get", "db", "c", "-d"], 2, "use '-- -d'"),
        (&["search", "db", "c", "--id", "a", "-k", "-1"], 2, "-1 is not in"),
        (&["create", "db", "../d", "--dim", "2", "--metric", "l2"], 1, "path"),
        (&["create", "new", "a/b", "--dim", "2", "--metric", "l2"], 1, "path"),
        (&["create", "db", "c", "--dim", "2", "--metric", "l2"], 1, "exists"),
        (&["rename", "db", "c", "x/y"], 1, "path"),
        (&["rename", "db", "absent", "x"], 1, "absent"),
        (&["drop", "db", "absent"], 1, "absent"),
        (&["list", "nowhere"], 1, "nowhere"),
        (&["scan", "db", "absent"], 1, "absent"),
        (&["get", "db", "c", "absent"], 1, "absent"),
        (&["get", "db", "c", "abc", "--id-encoding", "hex"], 1, "hexadecimal"),
        (&["put", "db", "c", "x"], 2, "required"),
        (&["put", "db", "c", "x", "--vector", "1"], 1, "dimension"),
        (&["put", "db", "c", "x", "--vector", "1,nan"], 1, "(--allow-non-finite accepts it)"),
        (&["put", "db", "c", "x", "--vector", "1,1e39"], 1, "1e39"),
        (&["put", "db", "c", "x", "--vector", "1;2"], 1, "1;2"),
        (&["put", "db", "c", "x", "--document", "text alone"], 1, "vector"),
        (&["put", "db", "c", "a", "--insert", "--vector", "1,1"], 1, "exists"),
        (&["put", "db", "c", "a", "--metadata", "{\"k\":null}"], 1, "null"),
        (&["put", "db", "c", "a", "--metadata", "[1]"], 1, "not a JSON object"),
        (&["import", "db", "c", "--vectors", "v.npy", "--ids", "ids", "--insert"], 1, "exists"),
        (&["import", "db", "absent", "--vectors", "v.npy"], 1, "absent"),
        (&["import", "db", "c", "--vectors", "absent.npy"], 1, "absent.npy"),
        (&["import", "db", "c", "--vectors", "ids"], 2, "format is unknown"),
        (&["import", "db", "c", "--vectors", "v.npy", "--ids", "."], 1, "regular file"),
        (&["import", "db", "c", "--vectors", "v.npy", "--batch", "0"], 2, "0"),
        (&["search", "db", "c", "-k", "3"], 2, "required"),
        (&["search", "db", "c", "--id", "a", "-k", "0"], 2, "0"),
        (&["search", "db", "c", "--id", "absent"], 1, "absent"),
        (&["search", "db", "c", "--vector", "q3.npy"], 1, "3 elements"),
        (&["export", "db", "c", "--vectors", "o.npy", "--ids", "."], 1, "directory"),
        (&["export", "db", "c", "--vectors", "o.txt", "--ids", "o.ids"], 2, "does not end in .npy"),
        (&["export", "db", "c", "--vectors", "db/FLOOR.npy", "--ids", "o.ids"], 1, "inside the database"),
        (&["export", "db", "c", "--vectors", "o.npy", "--ids", "db/FLOOR"], 1, "inside the database"),
        (&["checkpoint", "db", "db/inside"], 1, "inside the database"),
        (&["checkpoint", "db", "db/in/side"], 1, "inside the database"),
        (&["repair", "db", "db/inside"], 1, "inside the database"),
        (&["create", "db/inside", "c", "--dim", "2", "--metric", "l2"], 1, "inside the database"),
        (&["demo", "db/inside"], 1, "inside the database"),
        (&["export", "db", "c", "--vectors", "no/where.npy", "--ids", "o.ids"], 1, "no/where.npy"),
        (&["delete", "db", "c"], 2, "required"),
        (&["dump", "not-ours"], 1, "not-ours"),
        (&["dump", "absent"], 1, "absent"),
        (&["demo", "db"], 1, "not an empty directory"),
    ];
    for (arguments, code, reason) in cases {
        let run = bench.run(arguments);
        assert!(run.code == *code && run.err.contains(reason), "{arguments:?}: {run:?}");
        assert!(run.out.is_empty(), "{arguments:?}: {run:?}");
        // The same for programs.
        let run = bench.run(&[*arguments, &["--json"]].concat());
        let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
        assert!(run.code == *code && error["error"]["kind"].is_string(), "{arguments:?}: {run:?}");
        assert!(
            arguments.is_empty() || *code == 2 || error["error"]["message"].as_str().unwrap().contains(reason),
            "{arguments:?}: {run:?}"
        );
        assert!(run.out.is_empty() && run.err.lines().count() == 1, "{arguments:?}: {run:?}");
    }
    for (line, reason) in [
        ("[1]", "line 1: the query has 1 element,"),
        ("hello", "line 1"),
        ("[1,\"2\"]", "element 1"),
        ("[1,2]\n\n", "line 2: is empty"),
        ("[1,", "(column 3)"),
    ] {
        let run = bench.run_with(&["search", "db", "c", "--stdin"], line.as_bytes());
        assert!(run.code == 1 && run.err.contains(reason) && !run.err.contains("line 1 column"), "{line}: {run:?}");
    }
    assert_eq!(bench.state(), before);
    assert!(!bench.path("new").exists() && !bench.path("nowhere").exists() && !bench.path("o.ids").exists());
}

#[test]
fn a_second_writer_is_refused_and_readers_go_on() {
    let bench = Bench::with_records();
    let db = Database::open(bench.path("db"), Options::default()).unwrap();
    let refused = bench.run(&["import", "db", "c", "--vectors", "v.npy"]);
    assert!(refused.code == 1 && refused.err.contains(&std::process::id().to_string()), "{refused:?}");
    let refused = bench.run(&["repair", "db", "repaired"]);
    assert!(refused.code == 1 && refused.err.contains(&format!("process {}", std::process::id())), "{refused:?}");
    db.collection("c").unwrap().upsert("live", &[5.0, 5.0]).unwrap().wait().unwrap();
    assert!(bench.ok(&["get", "db", "c", "live", "--json"]).contains("[5.0,5.0]"));
    assert!(bench.ok(&["search", "db", "c", "--id", "live", "-k", "1"]).contains("live"));
    db.close().unwrap();
    bench.ok(&["delete", "db", "c", "live"]);
}

#[test]
fn a_reader_who_leaves_is_no_error() {
    let bench = Bench::new();
    let db = Database::open(bench.path("db"), Options::default()).unwrap();
    let collection = db.create_collection("c", 1, varvite::Metric::L2).unwrap();
    let mut batch = db.batch();
    for number in 0..20_000_u16 {
        batch.insert(&collection, format!("record-{number:05}"), &[f32::from(number)]).unwrap();
    }
    batch.durability(Durability::Buffered);
    batch.commit().unwrap().wait().unwrap();
    db.close().unwrap();
    let mut child = bench.command(&["scan", "db", "c"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("record-00000"), "{first}");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn damage_has_an_exit_code_of_its_own() {
    let bench = Bench::with_records();
    let needle = [1.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat();
    let mut damaged_files = Vec::new();
    for file in fs::read_dir(bench.path("db")).unwrap().map(|entry| entry.unwrap().path()) {
        let mut bytes = fs::read(&file).unwrap();
        let found: Vec<usize> = bytes.windows(8).enumerate().filter(|(_, window)| *window == needle).map(|(at, _)| at).collect();
        for at in &found {
            bytes[*at] ^= 1;
        }
        if !found.is_empty() {
            fs::write(&file, bytes).unwrap();
            damaged_files.push(file);
        }
    }
    assert!(!damaged_files.is_empty(), "the vector stands in no file");
    let verified = bench.run(&["verify", "db"]);
    assert!(verified.code == 3 && verified.err.starts_with("varvite: "), "{verified:?}");
    let dumped: Vec<Run> = damaged_files.iter().map(|file| bench.run(&["dump", file.to_str().unwrap()])).collect();
    assert!(dumped.iter().all(|run| run.code == 3 && run.out.contains("DAMAGED")), "{dumped:?}");
    let repaired = bench.run(&["repair", "db", "repaired"]);
    assert!(repaired.code == 3 && repaired.out.contains("lost") && repaired.err.contains("could not be salvaged"), "{repaired:?}");
    let repaired = bench.run(&["repair", "db", "repaired-too", "--json"]);
    assert!(repaired.code == 3 && repaired.out.contains("\"complete\":false"), "{repaired:?}");
    assert!(repaired.err.starts_with("{\"error\":{\"kind\":\"corruption\""), "{repaired:?}");
    let exported = bench.run(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids"]);
    assert!(exported.code == 3, "{exported:?}");
    assert!(!bench.path("o.npy").exists() && !bench.path("o.ids").exists());
}

#[test]
fn the_demo_passes_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let output = bench.command(&["demo"]).env("TMPDIR", bench.directory.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("checks passed") && !text.contains("FAILED"), "{text}");
    assert_eq!(fs::read_dir(bench.directory.path()).unwrap().count(), 0);
}

#[test]
fn help_goes_to_standard_output() {
    let bench = Bench::new();
    assert!(bench.ok(&["--help"]).contains("import"));
    assert!(bench.ok(&["import", "--help"]).contains("--records"));
    for command in ["import", "search", "recall", "export", "repair"] {
        let help = bench.ok(&[command, "-h"]);
        assert!(help.contains(&format!("Examples:\n  varvite {command} db ")), "{help}");
    }
    let help = bench.ok(&["checkpoint", "--help"]);
    assert!(help.contains("write lock") && help.contains("must not exist or be empty"), "{help}");
    assert!(bench.ok(&["import", "-h"]).contains("1 to 1,000,000"));
    assert!(bench.ok(&["--version"]).starts_with("varvite "));
}

#[test]
fn ids_are_the_same_whatever_ends_their_lines() {
    let bench = Bench::with_records();
    let before = bench.state();
    for ids in [&b"b\r\na\r\nc\r\n"[..], b"\xef\xbb\xbfb\na\nc\n", b"\xef\xbb\xbfb\r\na\r\nc"] {
        bench.write("other.ids", ids);
        bench.ok(&["import", "db", "c", "--vectors", "v.npy", "--ids", "other.ids"]);
        assert_eq!(bench.state(), before, "{}", ids.escape_ascii());
    }
    bench.write("a.ids", b"\xef\xbb\xbfa\r\n");
    bench.ok(&["put", "db", "c", "610d", "--id-encoding", "hex", "--vector", "1,1"]);
    assert!(bench.ok(&["delete", "db", "c", "--ids", "a.ids"]).starts_with("deleted 1 of 1 record"));
    // An id that really ends so is possible, and never written where it would be misread.
    assert!(bench.ok(&["get", "db", "c", "610d", "--id-encoding", "hex"]).contains("610d"));
    let refused = bench.run(&["export", "db", "c", "--vectors", "o.npy", "--ids", "o.ids"]);
    assert!(refused.code == 1 && refused.err.contains("carriage return"), "{refused:?}");
    let asked = bench.run_with(&["search", "db", "c", "--stdin", "-k", "1", "--json"], b"\xef\xbb\xbf[1,2]\r\n[0,0]\r\n");
    assert!(asked.code == 0 && asked.out.lines().count() == 2, "{asked:?}");
}

#[test]
fn json_is_whole_or_not_there() {
    let bench = Bench::with_records();
    bench.ok(&["put", "db", "c", "ff", "--id-encoding", "hex", "--vector", "1,2.5"]);
    let searched = bench.run(&["search", "db", "c", "--id", "b", "--json"]);
    assert!(searched.code == 1 && searched.out.is_empty(), "{searched:?}");
    assert!(searched.err.contains(r"\\xff") && searched.err.contains("--id-encoding hex"), "{searched:?}");
    assert!(bench.ok(&["search", "db", "c", "--id", "b"]).contains(r"\xff"));
    let scanned = bench.run(&["scan", "db", "c", "--json"]);
    assert!(scanned.code == 1 && scanned.out.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{scanned:?}");
    bench.ok(&["put", "db", "c", "nan", "--vector", "nan,1", "--allow-non-finite"]);
    let got = bench.run(&["get", "db", "c", "nan", "--json"]);
    assert!(got.code == 1 && got.out.is_empty() && got.err.contains("'nan'") && got.err.contains("export"), "{got:?}");
    let asked = bench.run(&["search", "db", "c", "--id", "nan"]);
    assert!(asked.code == 1 && asked.err.contains("NaN or an infinity"), "{asked:?}");
}

#[test]
fn distances_out_of_range_are_told_apart() {
    let bench = Bench::new();
    bench.ok(&["create", "db", "c", "--dim", "1", "--metric", "dot"]);
    bench.ok(&["put", "db", "c", "far", "--vector", "3e38"]);
    bench.ok(&["put", "db", "c", "near", "--vector=-3e38"]);
    let found = bench.ok(&["search", "db", "c", "--id", "far", "--json"]);
    let wanted = "{\"query\":0,\"hits\":[{\"id\":\"far\",\"distance\":\"-Infinity\"},{\"id\":\"near\",\"distance\":\"Infinity\"}]}\n";
    assert_eq!(found, wanted);
}

#[test]
fn every_command_reports_to_programs() {
    let bench = Bench::with_records();
    let one = |arguments: &[&str]| -> serde_json::Value { serde_json::from_str(&bench.ok(&[arguments, &["--json"]].concat())).unwrap() };
    assert_eq!(one(&["create", "db", "d", "--dim", "2", "--metric", "dot"])["created"], "d");
    assert_eq!(one(&["create", "db", "coded", "--dim", "2", "--metric", "dot", "--codes", "int8"])["codes"], "int8");
    assert_eq!(one(&["create", "db", "wide", "--dim", "128", "--metric", "dot"])["codes"], "int8");
    assert_eq!(one(&["create", "db", "plain", "--dim", "128", "--metric", "dot", "--codes", "none"])["codes"], "none");
    assert_eq!(one(&["rename", "db", "d", "e"])["name"], "e");
    assert_eq!(one(&["drop", "db", "e"])["dropped"], "e");
    assert_eq!(one(&["put", "db", "c", "x", "--vector", "1,1"])["inserted"], true);
    // As all other commands write that id.
    assert_eq!(one(&["put", "db", "c", "FF", "--id-encoding", "hex", "--vector", "1,1"])["id"], "ff");
    assert!(one(&["compact", "db"])["total_bytes"].is_number());
    assert_eq!(one(&["checkpoint", "db", "copy"])["to"], "copy");
    assert_eq!(one(&["dump", "db/FLOOR"])["damages"], 0);
    let demo = one(&["demo"]);
    assert!(demo["passed"] == true && demo["checks"][1]["measured"] == "1,228 of 1,228", "{demo}");
}

#[test]
fn terminals_are_given_no_commands() {
    let bench = Bench::with_records();
    bench.ok(&[
        "put",
        "db",
        "c",
        "a",
        "--document",
        "\u{1b}[2Jone\ntwo",
        "--metadata",
        r#"{"k\u001b":"\u001b]0;x\u0007"}"#,
        "--uri",
        "\u{9b}1m",
    ]);
    for command in [&["get", "db", "c", "a"][..], &["scan", "db", "c"], &["search", "db", "c", "--id", "a"]] {
        let shown = bench.ok(command);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    }
    assert!(bench.ok(&["get", "db", "c", "a"]).contains("\\u{1b}[2Jone"));
}

#[test]
#[cfg(target_os = "linux")]
fn what_was_stored_is_said_where_the_output_fails() {
    let bench = Bench::with_records();
    let run = |arguments: &[&str]| {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = bench.command(arguments).stdout(full).output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, err) = run(&["put", "db", "c", "x", "--vector", "1,1"]);
    assert!(code == 1 && err.contains("done and stored"), "{err}");
    bench.ok(&["get", "db", "c", "x"]);
    for arguments in [&["help"][..], &["scan", "db", "c"], &["demo"], &["--version"]] {
        let (code, err) = run(arguments);
        assert!(code == 1 && err.starts_with("varvite: cannot write the output") && err.lines().count() == 1, "{arguments:?}: {err}");
    }
}

/// A file system that lets no file grow beyond 1 MiB stands for a full device.
#[test]
#[cfg(target_os = "linux")]
fn an_import_that_dies_says_how_far_it_came() {
    let bench = Bench::new();
    bench.ok(&["create", "db", "c", "--dim", "2", "--metric", "l2"]);
    let rows: Vec<[f32; 2]> = (0..60_000_u16).map(|row| [f32::from(row), 1.0]).collect();
    bench.write("v.npy", &npy(&rows));
    let import = format!("trap '' XFSZ; ulimit -f 1024; exec {} import db c --vectors v.npy --batch 100", env!("CARGO_BIN_EXE_varvite"));
    let output = Command::new("bash").args(["-c", &import]).current_dir(bench.directory.path()).output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && err.contains(" of 60,000 records are durable") && err.contains("run it again"), "{err}");
    let again = bench.ok(&["import", "db", "c", "--vectors", "v.npy"]);
    assert!(again.contains("holds 60,000"), "{again}");
}
