//! Hostile bytes with checksums that fit: every integer of every file set to extremes. Checksums are no defence here, so
//! what is read may be anything; but nothing panics, nothing hangs, and memory stays within a small multiple of the files.
//!
//! `VARVITE_DAMAGE=full` takes every byte as the start of a field instead of every 89th.

#![cfg(feature = "fuzzing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

#[path = "support/hostile.rs"]
mod fields;
mod support;

use std::sync::Arc;

use fields::{Limits, targets, try_place};
use support::{
    counting::{Counting, peak_of},
    damage::{Bench, Change},
    state::observe,
    subjects::{Subject, closed, killed, options, rotated},
};
use varvite::{Database, fuzzing};

#[global_allocator]
static COUNTING: Counting = Counting;

fn stride() -> usize {
    if std::env::var("VARVITE_DAMAGE").is_ok_and(|text| text == "full") { 1 } else { 89 }
}

/// Every file of a kind.
fn sign(subject: &Subject, kind: &str) {
    for target in targets(subject, stride()).into_iter().filter(|target| target.name.starts_with(kind)) {
        let mut limits = Limits::new(subject);
        target.places.iter().for_each(|offset| try_place(&mut limits, &target.name, *offset));
        let Limits { tried, greatest, limit, slowest, .. } = limits;
        println!("{}: {tried} tried, at most {greatest} bytes of {limit} allowed, slowest {slowest:?}", target.name);
        assert!(tried > 400);
    }
}

#[test]
fn a_signed_floor() {
    sign(&closed(), "FLOOR");
}

#[test]
fn a_signed_lock() {
    sign(&killed(), "LOCK");
}

#[test]
fn signed_logs() {
    sign(&killed(), "log");
}

#[test]
fn signed_logs_that_are_sealed() {
    sign(&rotated(), "log");
}

#[test]
fn a_signed_manifest() {
    sign(&closed(), "MANIFEST");
}

#[test]
fn signed_segment_files() {
    sign(&closed(), "seg");
}

/// FLOOR and manifests are as long as their content; a file of a terabyte of holes is damaged, and no reason to read a terabyte.
#[test]
fn a_file_of_holes_takes_no_memory() {
    let subject = closed();
    let manifest = subject.files.keys().rfind(|name| name.starts_with("MANIFEST")).unwrap().as_str();
    for (name, zeroed) in [("FLOOR", false), ("FLOOR", true), (manifest, false), (manifest, true)] {
        let place = tempfile::tempdir().unwrap();
        for (name, bytes) in &subject.files {
            std::fs::write(place.path().join(name), &**bytes).unwrap();
        }
        let file = std::fs::File::options().write(true).open(place.path().join(name)).unwrap();
        if zeroed {
            file.set_len(0).unwrap();
        }
        file.set_len(1 << 40).unwrap();
        let out = place.path().join("out");
        let look = || {
            let verified = Database::verify(place.path(), options()).unwrap();
            let opened = Database::open_read_only(place.path(), options()).map(drop);
            (verified, opened, Database::repair(place.path(), &out, options()).unwrap())
        };
        let ((verified, opened, repaired), peak) = peak_of(look);
        assert!(peak < 16 << 20, "{name}, zeroed {zeroed}: {peak} bytes");
        let by_name =
            |wanted: &str| verified.damages.iter().any(|damage| damage.file() == Some(name) && damage.to_string().contains(wanted));
        assert!(by_name(if zeroed { "" } else { "1099511627776 bytes long, not" }), "{name}: {verified:?}");
        assert!(opened.is_err() == zeroed && repaired.salvaged > 0, "{name}, zeroed {zeroed}: {opened:?}, {repaired:?}");
        assert_eq!(repaired.lost.is_empty(), !zeroed || name == "FLOOR", "{name}: {repaired:?}");
    }
}

#[test]
fn signing_what_is_unchanged_changes_nothing() {
    for subject in [closed(), killed()] {
        for (name, bytes) in &subject.files {
            let signed = match name.split('-').next().unwrap() {
                "FLOOR" => fuzzing::resign_floor(bytes),
                "LOCK" => fuzzing::resign_lock(bytes),
                "log" => fuzzing::resign_log(bytes),
                "MANIFEST" => fuzzing::resign_manifest(bytes),
                "seg" => fuzzing::resign_segment(bytes),
                _ => continue,
            };
            // A spare has no activation record, and signing makes none valid.
            if !(name.starts_with("log") && bytes[4096] == 0) {
                assert!(signed == **bytes, "{}: {name}", subject.name);
            }
        }
        let db = Database::open_read_only_on(Arc::new(Bench::new(&subject).directory(&Change::new())), options()).unwrap();
        assert_eq!(observe(&db).unwrap(), *subject.legal.last().unwrap());
    }
}
