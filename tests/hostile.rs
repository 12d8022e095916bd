//! Hostile bytes with checksums that fit: every integer of logs, manifests and segment files set to extremes. Checksums are no defence here, so
//! what is read may be anything; but nothing panics, nothing hangs, and memory stays within a small multiple of the files.
//!
//! `VARVITE_DAMAGE=full` takes every byte as the start of a field instead of every 43rd.

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
    counting::Counting,
    damage::{Bench, Change},
    state::observe,
    subjects::{Subject, closed, killed, options},
};
use varvite::{Database, fuzzing};

#[global_allocator]
static COUNTING: Counting = Counting;

fn stride() -> usize {
    if std::env::var("VARVITE_DAMAGE").is_ok_and(|text| text == "full") { 1 } else { 43 }
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
fn a_signed_log() {
    sign(&killed(), "log");
}

#[test]
fn a_signed_manifest() {
    sign(&closed(), "MANIFEST");
}

#[test]
fn signed_segment_files() {
    sign(&closed(), "seg");
}

#[test]
fn signing_what_is_unchanged_changes_nothing() {
    for subject in [closed(), killed()] {
        for (name, bytes) in &subject.files {
            let signed = match name.split('-').next().unwrap() {
                "FLOOR" => fuzzing::resign_floor(bytes),
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
