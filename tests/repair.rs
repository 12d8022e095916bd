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
    state::{Coll, State, observe, record},
    subjects::{Subject, closed, killed, options, rotated},
};
use varvite::{Database, RepairReport, io::memory::Memory};

fn stride() -> usize {
    if std::env::var("VARVITE_DAMAGE").is_ok_and(|text| text == "full") { 7 } else { 97 }
}

/// Repairs a changed directory. What every repair must hold is checked here.
fn repair(bench: &Bench<'_>, change: &Change, context: &str) -> (State, RepairReport) {
    let (source, target) = (bench.directory(change), Memory::new());
    let report = Database::repair_on(&source, Arc::new(target.clone()), options());
    let report = report.unwrap_or_else(|error| panic!("{context}: {error:?}"));
    let verified = Database::verify_on(&target, &options()).unwrap();
    assert!(verified.damages.is_empty(), "{context}: the target is damaged: {:?}", verified.damages);
    let state = observe(&Database::open_on(Arc::new(target), options()).unwrap()).unwrap();
    let rows: usize = state.values().map(|coll| coll.rows.len()).sum();
    assert_eq!(report.salvaged, rows as u64, "{context}: {report:?}");
    for lost in &report.lost {
        assert!(lost.rows >= lost.ids.len() as u64 && !lost.reason.is_empty(), "{context}: {lost:?}");
    }
    never_wrong(bench.subject, &state, &report, context);
    (state, report)
}

/// The collection of the source that one of the target comes from: without a manifest names are lost, dimensions are not.
fn origin<'a>(state: &'a State, name: &str, coll: &Coll) -> Option<&'a Coll> {
    state.get(name).or_else(|| state.values().find(|origin| name.starts_with("recovered-") && origin.dimension == coll.dimension))
}

/// Every record is one that the database held at the end; an earlier one, or a deleted one, only if the report says that something was lost.
fn never_wrong(subject: &Subject, found: &State, report: &RepairReport, context: &str) {
    let last = subject.legal.last().unwrap();
    let says = |text: &str| report.lost.iter().any(|lost| lost.reason.contains(text));
    for (name, coll) in found {
        for (id, record) in &coll.rows {
            let held = |state: &State| origin(state, name, coll).and_then(|coll| coll.rows.get(id)) == Some(record);
            // The last sync group may be cut off unsaid, as at any open.
            if subject.legal[subject.proven..].iter().any(held) || (!report.lost.is_empty() && subject.legal.iter().any(held)) {
                continue;
            }
            // What nobody can tell any more: which rows of a segment are dead. A newer copy that is whole must win all the same.
            let doubt = says("may be back") || says("no manifest can be read");
            let deleted = origin(last, name, coll).is_none_or(|coll| !coll.rows.contains_key(id));
            let newer_lost = report.lost.iter().any(|lost| lost.rows > 0) || says("no manifest can be read");
            assert!(doubt && (deleted || newer_lost), "{context}: {name}/{} is wrong: {record:.80?}; {report:?}", id.escape_ascii());
        }
    }
}

/// Ids that were there at the end and are not in the target, by collection.
fn missing(subject: &Subject, found: &State) -> BTreeSet<(String, Vec<u8>)> {
    let all =
        subject.legal.last().unwrap().iter().flat_map(|(name, coll)| coll.rows.iter().map(move |(id, record)| (name, coll, id, record)));
    let gone = all.filter(|(name, coll, id, record)| {
        let same = |found: &Coll| found.rows.get(*id) == Some(*record);
        let renamed = |name: &str| name.starts_with(&format!("recovered-{}", coll.dimension));
        !found.get(*name).is_some_and(same) && !found.iter().any(|(name, found)| renamed(name) && same(found))
    });
    gone.map(|(name, _, id, _)| (name.clone(), id.clone())).collect()
}

/// Records that a read-only open still gives, if it opens: none of them may get lost.
fn readable(bench: &Bench<'_>, change: &Change) -> BTreeSet<(String, Vec<u8>)> {
    let Ok(db) = Database::open_read_only_on(Arc::new(bench.directory(change)), options()) else { return BTreeSet::new() };
    let mut readable = BTreeSet::new();
    for (name, coll) in bench.subject.legal.last().unwrap() {
        let Ok(collection) = db.collection(name) else { continue };
        for (id, wanted) in &coll.rows {
            let row = collection.get(id).ok().flatten();
            if row.is_some_and(|row| record(&row).is_ok_and(|(_, found)| found == *wanted)) {
                readable.insert((name.clone(), id.clone()));
            }
        }
    }
    readable
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

/// The report counts what is missing, unless it lies in a log: that is known by batches only. The last sync group may go unsaid.
fn accounts_for(missing: &BTreeSet<(String, Vec<u8>)>, report: &RepairReport, context: &str) {
    if report.lost.iter().any(|lost| lost.reason.contains("log-") || lost.reason.contains("manifest")) {
        return;
    }
    let listed: u64 = report.lost.iter().map(|lost| lost.rows).sum();
    let last_group = |(_, id): &&(String, Vec<u8>)| *id != b"tail 1" && *id != b"p-05";
    let unsaid = missing.iter().filter(last_group).count() as u64;
    assert!(unsaid <= listed, "{context}: {unsaid} records are missing, {listed} reported: {missing:?}; {report:?}");
}

/// Damage in a segment never costs what the log holds.
fn logged_is_there(subject: &Subject, missing: &BTreeSet<(String, Vec<u8>)>, context: &str) {
    for id in [&b"in the log"[..], b"first", b"tail 1", b"p-03", b"p-05"] {
        let lost = missing.iter().any(|(_, missing)| missing == id);
        assert!(subject.name == "closed" || !lost, "{context}: {} stands in the log, but was lost", id.escape_ascii());
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
