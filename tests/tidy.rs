//! The house rules, executed: reads the source and fails with a sentence that tells what to do. What it measures beyond them (medians,
//! documentation, assertions) it prints and never enforces: `cargo test --test tidy -- --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/parser.rs"]
mod parser;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/self_tests.rs"]
mod self_tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use rules::{File, Policy, Seam, Tree};

/// The floor plan of docs/design.md. Words and the engine are stairs rather than floors: a type needs an error, a collection its database.
const FLOORS: &[(&str, &[&str])] = &[
    ("words", &["sync"]),
    ("words", &["error"]),
    ("words", &["types"]),
    ("words", &["options", "observe"]),
    ("ground", &["io"]),
    ("ground", &["kernel", "codec"]),
    ("bytes", &["format", "memtable", "cache"]),
    ("files", &["log", "segment", "manifest"]),
    ("state", &["version", "merge"]),
    ("paths", &["write", "read", "search", "flush", "compaction"]),
    ("engine", &["database"]),
    ("engine", &["collection", "dump"]),
    ("tests", &["fuzzing"]),
];

const fn seam(path: &'static str, homes: &'static [&'static str], instead: &'static str) -> Seam {
    Seam { path, homes, instead, binds_program: true }
}

const fn library_seam(path: &'static str, homes: &'static [&'static str], instead: &'static str) -> Seam {
    Seam { path, homes, instead, binds_program: false }
}

const FILES: &str = "go through io::Storage, so that it runs on the simulated disk too";
const TIME: &str = "ask the storage's io::Clock, so that tests decide what time it is";
const SEAMS: &[Seam] = &[
    library_seam("std::fs", &["io"], FILES),
    library_seam("std::os", &["io"], FILES),
    library_seam("std::thread", &["io"], "start threads through io::executor"),
    library_seam("Instant", &["io"], TIME),
    library_seam("SystemTime", &["io"], TIME),
    library_seam("UNIX_EPOCH", &["io"], TIME),
    library_seam("std::sync", &["sync"], "import from crate::sync, so that a model checker can be swapped in"),
    seam("parking_lot", &["sync"], "import from crate::sync, so that a model checker can be swapped in"),
    seam("memmap2", &["io"], FILES),
    seam("rustix", &["io"], FILES),
    seam("libc", &["io"], FILES),
    seam("getrandom", &["io"], "take randomness from the storage's io::Random, so that a seed replays it"),
    seam("byteorder", &["format"], "encode and decode in format"),
    seam("crc32fast", &["format"], "checksum in format"),
    seam("xxhash_rust", &["format", "segment"], "hash in format or segment"),
    seam("lz4_flex", &["format", "segment"], "compress in format or segment"),
];

/// What each one needs `unsafe` for stands in docs/guarantees.md.
const UNSAFE_FILES: &[&str] = &[
    "src/io/bytes.rs",
    "src/io/fs/file.rs",
    "src/io/fs/lock.rs",
    "src/kernel/dispatch.rs",
    "src/kernel/simd/avx2.rs",
    "src/kernel/simd/avx512.rs",
    "src/kernel/tiles.rs",
    "src/memtable/arena.rs",
];

const POLICY: Policy = Policy { floors: FLOORS, seams: SEAMS, unsafe_files: UNSAFE_FILES };

fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
}

/// Names of the repository's files: what git knows or would add, else (an unpacked package) what the source folders hold.
fn names(root: &Path) -> io::Result<Vec<String>> {
    let git = Command::new("git").args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root).output();
    if let Ok(output) = git
        && output.status.success()
        && let Ok(listed) = String::from_utf8(output.stdout)
    {
        return Ok(listed.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect());
    }
    let mut names = Vec::new();
    let mut folders: Vec<String> = ["src", "tests", "benches", "docs", "examples", "fuzz", ".ci"].map(str::to_owned).to_vec();
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(root.join(&folder)) else { continue };
        for entry in entries {
            let entry = entry?;
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() { folders.push(name) } else { names.push(name) }
        }
    }
    Ok(names)
}

/// The files of the repository; a binary one is there without its content, one deleted but not yet committed is not.
fn read_tree(root: &Path) -> io::Result<Tree> {
    let files = names(root)?.into_iter().filter_map(|name| {
        let bytes = fs::read(root.join(&name)).ok()?;
        let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
        Some((name, text.unwrap_or_default()))
    });
    Ok(files.collect())
}

#[test]
fn source_is_tidy() {
    let tree = read_tree(&root()).unwrap();
    assert!(tree.contains_key("src/lib.rs"), "no source found: run the test through cargo, in the repository");
    print_measures(&rules::sources(&tree));
    let findings = rules::check(&POLICY, &tree);
    assert!(findings.is_empty(), "{} to mend:\n{}", findings.len(), findings.join("\n"));
}

#[test]
fn every_module_has_one_floor() {
    let mut modules: Vec<&str> = FLOORS.iter().flat_map(|(_, modules)| modules.iter().copied()).collect();
    let count = modules.len();
    modules.sort_unstable();
    modules.dedup();
    assert_eq!(modules.len(), count, "a module stands on two floors");
}

fn median(mut sizes: Vec<usize>) -> usize {
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or(0)
}

/// Averages under enforcement invite padding, so these are only shown.
fn print_measures(files: &[File]) {
    let code: Vec<&File> = files.iter().filter(|file| !file.split.whole_file_is_test).collect();
    let sizes: Vec<usize> = code.iter().map(|file| file.lines_without_tests()).collect();
    let functions: Vec<usize> = code.iter().flat_map(|file| file.functions()).map(|function| function.lines).collect();
    let is_assertion = |text: &str| text.starts_with("assert") || text.starts_with("debug_assert");
    let assertions = code
        .iter()
        .flat_map(|file| file.split.code.windows(2))
        .filter(|pair| matches!(pair, [word, mark] if mark.is("!") && is_assertion(&word.text)))
        .count();
    let lines: usize = sizes.iter().sum();
    let documented = code.iter().flat_map(|file| &file.lexed.comments).filter(|comment| comment.is_doc);
    let doc_lines: usize = documented.map(|comment| comment.last_line - comment.first_line + 1).sum();
    println!("files       {}, median {} lines, longest {}", sizes.len(), median(sizes.clone()), sizes.iter().max().unwrap_or(&0));
    println!(
        "functions   {}, median {} lines, longest {}",
        functions.len(),
        median(functions.clone()),
        functions.iter().max().unwrap_or(&0)
    );
    println!("doc share   {} % of {lines} lines without tests", (doc_lines * 100).checked_div(lines).unwrap_or(0));
    println!("assertions  {assertions}, {:.2} a function", assertions as f64 / functions.len().max(1) as f64);
}
