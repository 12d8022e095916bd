//! `repair` after damage of every kind: every undamaged record is salvaged, none is wrong, what is lost is listed, and the target is sound.
//!
//! Sampled like `tests/damage.rs`; `VARVITE_DAMAGE=full` takes every seventh byte instead of every 97th.

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

use std::{collections::BTreeSet, sync::Arc};

use support::{
    damage::{Bench, Change, change},
    salvage::{accounts_for, logged_is_there, missing, readable, repair},
    subjects::{closed, killed, options, rotated},
};
use varvite::Database;

fn stride() -> usize {
    if std::env::var("VARVITE_DAMAGE").is_ok_and(|text| text == "full") { 7 } else { 97 }
}

#[test]
fn any_flipped_byte_costs_what_is_damaged_and_nothing_else() {
    for subject in [closed(), killed(), rotated()] {
        let bench = Bench::new(&subject);
        let (mut tried, mut lossless) = (0, 0);
        for (name, bytes) in &subject.files {
            let void = if name.starts_with("log-") { 16_384 } else { bytes.len() };
            for offset in (name.len()..void).step_by(stride()) {
                let mut damaged = bytes.to_vec();
                damaged[offset] ^= 0x55;
                let (change, context) = (change(name, damaged), format!("{}, {name} byte {offset}", subject.name));
                let (found, report) = repair(&bench, &change, &context);
                let missing = missing(&subject, &found);
                let readable = readable(&bench, &change);
                assert!(missing.is_disjoint(&readable), "{context}: readable, but lost: {:?}; {report:?}", missing.intersection(&readable));
                accounts_for(&missing, &report, &context);
                if name.starts_with("seg-") {
                    logged_is_there(&subject, &missing, &context);
                }
                tried += 1;
                lossless += u64::from(missing.is_empty());
            }
        }
        println!("{}: {tried} repairs, {lossless} without a loss", subject.name);
        assert!(tried > 300 && lossless > tried / 2);
    }
}

#[test]
fn a_damaged_row_group_loses_exactly_its_rows_and_lists_them() {
    let subject = closed();
    let bench = Bench::new(&subject);
    // The first row group of the first segment file: its rows start behind the identity header.
    let (name, bytes) = subject.files.iter().find(|(name, _)| name.starts_with("seg-")).unwrap();
    let mut damaged = bytes.to_vec();
    damaged[64 + 520] ^= 1;
    let change = change(name, damaged);
    let db = Database::open_read_only_on(Arc::new(bench.directory(&change)), options()).unwrap();
    let all: BTreeSet<_> = subject.legal[0].iter().flat_map(|(name, coll)| coll.rows.keys().map(|id| (name.clone(), id.clone()))).collect();
    let unreadable: BTreeSet<_> = all.iter().filter(|(name, id)| db.collection(name).unwrap().get(id).is_err()).cloned().collect();
    assert!((1..=8).contains(&unreadable.len()), "a group of eight rows, some of them dead: {unreadable:?}");
    // Iteration gives every other record, and an error for each of these.
    let given: usize = subject.legal[0].keys().map(|name| db.collection(name).unwrap().iter().unwrap().filter(Result::is_ok).count()).sum();
    assert_eq!(given, all.len() - unreadable.len());
    let (found, report) = repair(&bench, &change, "one row group");
    assert_eq!(missing(&subject, &found), unreadable);
    let listed: BTreeSet<_> = report.lost.iter().flat_map(|lost| lost.ids.iter().map(|id| (lost.collection.clone(), id.clone()))).collect();
    assert_eq!((listed, report.lost.iter().map(|lost| lost.rows).sum()), (unreadable.clone(), unreadable.len() as u64));
    assert!(report.lost.iter().all(|lost| lost.reason.contains(name)), "{report:?}");
}

#[test]
fn any_missing_file_costs_what_it_held() {
    for subject in [closed(), killed(), rotated()] {
        let bench = Bench::new(&subject);
        for name in subject.files.keys() {
            let context = format!("{} without {name}", subject.name);
            let (found, report) = repair(&bench, &Change::from([(name.clone(), None)]), &context);
            let missing = missing(&subject, &found);
            assert!(missing.is_empty() || report.lost.iter().any(|lost| !lost.reason.is_empty()), "{context}");
            match name.split('-').next().unwrap() {
                "LOCK" | "FLOOR" => assert!(missing.is_empty(), "{context}: {missing:?}"),
                "seg" => {
                    accounts_for(&missing, &report, &context);
                    logged_is_there(&subject, &missing, &context);
                    assert!(report.lost.iter().any(|lost| lost.reason.contains(name)), "{context}: {report:?}");
                }
                // Names are lost, but nothing that stands in a segment.
                "MANIFEST" if subject.name == "closed" => assert!(missing.is_empty(), "{context}: {missing:?}"),
                _ => assert!(!report.lost.is_empty(), "{context}"),
            }
            println!("{context}: {} salvaged, {} missing, {} causes", report.salvaged, missing.len(), report.lost.len());
        }
    }
}

#[test]
fn cut_swapped_and_zeroed_files_cost_what_they_held() {
    for subject in [closed(), killed(), rotated()] {
        let bench = Bench::new(&subject);
        let mut changes: Vec<(String, Change)> = Vec::new();
        for (name, bytes) in &subject.files {
            for len in [0, 64, 4096, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1].into_iter().filter(|len| *len < bytes.len()) {
                changes.push((format!("{name} cut to {len}"), change(name, bytes[..len].to_vec())));
            }
            for start in (0..bytes.len().min(20_000)).step_by(512 * 3) {
                let mut zeroed = bytes.to_vec();
                let end = (start + 512).min(bytes.len());
                zeroed[start..end].fill(0);
                changes.push((format!("{name} zeroed at {start}"), change(name, zeroed)));
            }
            let kind = name.split('-').next().unwrap();
            for (other, content) in subject.files.iter().filter(|(other, _)| other.starts_with(kind) && *other != name) {
                changes.push((format!("{other} as {name}"), change(name, content.to_vec())));
            }
        }
        for (what, change) in &changes {
            let context = format!("{}, {what}", subject.name);
            let (found, report) = repair(&bench, change, &context);
            let missing = missing(&subject, &found);
            assert!(missing.is_disjoint(&readable(&bench, change)), "{context}: {report:?}");
            if what.starts_with("seg-") {
                accounts_for(&missing, &report, &context);
                logged_is_there(&subject, &missing, &context);
            }
        }
        println!("{}: {} repairs", subject.name, changes.len());
    }
}
