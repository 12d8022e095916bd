//! Replays every input that fuzzing has kept, on stable, with the same entry points as `fuzz/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]
#![cfg(feature = "fuzzing")]

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use varvite::fuzzing;

/// The kept inputs of a target, by name. The package as published carries no corpus: there is nothing to replay there.
fn inputs(target: &str) -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !root.join("Cargo.toml").exists() {
        return None;
    }
    let folder = root.join("corpus").join(target);
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let mut inputs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    inputs.sort();
    Some(inputs)
}

fn replay(target: &str, run: fn(&[u8])) {
    let Some(inputs) = inputs(target) else { return };
    assert!(!inputs.is_empty(), "fuzz/corpus/{target} holds no input: fuzz/README.md says how to seed it");
    let failures: Vec<String> = inputs
        .iter()
        .filter(|path| {
            let Ok(data) = fs::read(path) else { return true };
            catch_unwind(|| run(&data)).is_err()
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(failures.is_empty(), "{} of {} inputs of `{target}` fail:\n{}", failures.len(), inputs.len(), failures.join("\n"));
    println!("{target}: {} inputs", inputs.len());
}

#[test]
fn log() {
    replay("log", fuzzing::log);
}

#[test]
fn segment() {
    replay("segment", fuzzing::segment);
}

#[test]
fn manifest() {
    replay("manifest", fuzzing::manifest);
}

#[test]
fn operations() {
    replay("operations", fuzzing::operations);
}
