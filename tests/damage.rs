//! Damage to every byte, block and file of a database: never wrong data, never a panic; each change is detected by name or proven harmless.
//!
//! The default run samples. `VARVITE_DAMAGE=full` changes every byte of every file, and every 64th of the zeros behind the ends of logs;
//! `VARVITE_DAMAGE=all` changes these too. In release: `VARVITE_DAMAGE=full cargo test --release --all-features --test damage -- --nocapture`.
//! The tables it prints stand in docs/reliability.md. `VARVITE_DAMAGE_SEED=n` moves the samples.

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

use std::sync::Arc;

use support::{
    blunt::{self, Case, judge},
    damage::{Bench, Budget, Table, change, flip_bytes},
    subjects::{Subject, closed, killed, options, rotated},
};
use varvite::{Database, ErrorKind};

fn budget(stride: usize) -> Budget {
    let seed = std::env::var("VARVITE_DAMAGE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0x0DA_0001);
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    let (stride, void_stride) = match std::env::var("VARVITE_DAMAGE").as_deref() {
        Ok("all") => (1, 1),
        Ok("full") => (1, 64),
        _ => (stride, stride * 100),
    };
    Budget { seed, stride, void_stride, threads }
}

fn flip(subject: &Subject) {
    let budget = budget(127);
    let sizes: Vec<String> = subject.files.iter().map(|(name, bytes)| format!("{name} {}", bytes.len())).collect();
    println!("{}: {}", subject.name, sizes.join(", "));
    let begun = std::time::Instant::now();
    let table = flip_bytes(subject, budget);
    println!("{:.1} s", begun.elapsed().as_secs_f64());
    table.must_be_clean(&format!("every byte, {}, seed {:#x}, stride {}", subject.name, budget.seed, budget.stride));
}

#[test]
fn every_byte_of_a_closed_database() {
    flip(&closed());
}

#[test]
fn every_byte_of_a_killed_database() {
    flip(&killed());
}

#[test]
fn every_byte_of_a_database_killed_in_a_rotation() {
    flip(&rotated());
}

fn blunt(title: &str, cases: impl Fn(&Subject, Budget) -> Vec<Case>) -> Vec<Table> {
    let budget = budget(73);
    let try_all = |subject: Subject| {
        let table = judge(&subject, budget, &cases(&subject, budget));
        table.must_be_clean(&format!("{title}, {}, seed {:#x}", subject.name, budget.seed));
        table
    };
    [closed(), killed(), rotated()].into_iter().map(try_all).collect()
}

#[test]
fn every_length() {
    for table in blunt("every length", blunt::truncations) {
        // A log is never shorter than its first preallocation: whatever was cut off with it, the cut itself shows.
        assert_eq!(table.total().wiped, 0, "a log that was cut short was taken for one that ended there\n{}", table.text());
    }
}

#[test]
fn every_block() {
    drop(blunt("every block", blunt::blocks));
}

#[test]
fn junk_behind_every_file() {
    drop(blunt("junk behind the end", blunt::extensions));
}

#[test]
fn every_file_removed() {
    drop(blunt("every file removed", |subject, _| blunt::removals(subject)));
}

#[test]
fn every_two_files_of_a_kind_swapped() {
    drop(blunt("swapped", |subject, _| blunt::swaps(subject)));
}

#[test]
fn files_of_an_earlier_state() {
    for subject in [closed(), killed()] {
        let table = judge(&subject, budget(1), &blunt::replacements(&subject, &subject.older, "an earlier state"));
        table.must_be_clean(&format!("an earlier state, {}", subject.name));
        // The one thing that nothing contradicts: the log in use as it was earlier, whole.
        assert!(table.rows.iter().all(|(place, counts)| counts.wiped == 0 || place.starts_with("log")));
    }
}

#[test]
fn files_of_another_database() {
    // Built alike, so that the names are the same and lengths often are.
    let others = [closed().files, killed().files, rotated().files];
    blunt("another database", |subject, _| {
        let others: Vec<_> = others.iter().filter(|other| other["FLOOR"][16..32] != subject.files["FLOOR"][16..32]).cloned().collect();
        blunt::replacements(subject, &others, "another database")
    });
}

#[test]
fn a_newer_major_version_is_refused_as_that() {
    let subject = killed();
    let bench = Bench::new(&subject);
    for (name, bytes) in subject.files.iter().filter(|(name, _)| *name != "LOCK") {
        let mut newer = bytes.to_vec();
        // Both slots of FLOOR, both copies of a manifest.
        let starts = if name == "FLOOR" || name.starts_with("MANIFEST") { vec![0, bytes.len() / 2] } else { vec![0] };
        for start in starts {
            newer[start + 8] = 2;
            let sum = crc32fast::hash(&newer[start..start + 60]);
            newer[start + 60..start + 64].copy_from_slice(&sum.to_le_bytes());
        }
        let directory = || Arc::new(bench.directory(&change(name, newer.clone())));
        for opened in [Database::open_read_only_on(directory(), options()), Database::open_on(directory(), options())] {
            let error = opened.expect_err(name);
            assert_eq!((error.kind(), error.file()), (ErrorKind::NewerFormat, Some(name.as_str())), "{error:?}");
        }
        let error = Database::verify_on(&*directory(), &options()).expect_err(name);
        assert_eq!((error.kind(), error.file()), (ErrorKind::NewerFormat, Some(name.as_str())), "{error:?}");
        let mut text = Vec::new();
        let error = varvite::dump(name, &newer, &mut text).expect_err(name);
        let text = String::from_utf8(text).unwrap();
        assert_eq!((error.kind(), error.file()), (ErrorKind::NewerFormat, Some(name.as_str())), "{text}");
        assert!(text.contains("NEWER FORMAT") && !text.contains("DAMAGED"), "{text}");
    }
}
