//! What must hold of `repair` after damage: every undamaged record is salvaged, none is wrong, what is lost is listed, and the target is sound.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use varvite::{Database, RepairReport, io::memory::Memory};

use super::{
    damage::{Bench, Change},
    state::{Coll, State, observe, record},
    subjects::{Image, Subject, memory, options},
};

/// Repairs a changed directory. What every repair must hold is checked here.
pub fn repair(bench: &Bench<'_>, change: &Change, context: &str) -> (State, RepairReport) {
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
    never_wrong(bench.subject, change, &state, &report, context);
    (state, report)
}

/// The collection of the source that one of the target comes from: without a manifest names are lost, dimensions are not.
fn origin<'a>(state: &'a State, name: &str, coll: &Coll) -> Option<&'a Coll> {
    state.get(name).or_else(|| state.values().find(|origin| name.starts_with("recovered-") && origin.dimension == coll.dimension))
}

/// A log in the place of its later self takes the proof of all that is missing away with it: nobody can tell that from a database that ended there.
fn is_whole_earlier_log(subject: &Subject, change: &Change) -> bool {
    let earlier =
        |name: &String, bytes: &Vec<u8>| subject.older.iter().any(|image| image.get(name).is_some_and(|earlier| **earlier == *bytes));
    change.iter().all(|(name, bytes)| name.starts_with("log-") && bytes.as_ref().is_some_and(|bytes| earlier(name, bytes)))
}

/// Every record is one that the database held at the end; an earlier one, or a deleted one, only if the report says that something was lost.
fn never_wrong(subject: &Subject, change: &Change, found: &State, report: &RepairReport, context: &str) {
    let last = subject.legal.last().unwrap();
    let untold = is_whole_earlier_log(subject, change);
    let says = |text: &str| report.lost.iter().any(|lost| lost.reason.contains(text));
    for (name, coll) in found {
        for (id, record) in &coll.rows {
            let held = |state: &State| origin(state, name, coll).and_then(|coll| coll.rows.get(id)) == Some(record);
            // The last sync group may be cut off unsaid, as at any open.
            if subject.legal[subject.proven..].iter().any(held) || ((untold || !report.lost.is_empty()) && subject.legal.iter().any(held)) {
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
pub fn missing(subject: &Subject, found: &State) -> BTreeSet<(String, Vec<u8>)> {
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
pub fn readable(bench: &Bench<'_>, change: &Change) -> BTreeSet<(String, Vec<u8>)> {
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

/// The report counts what is missing, unless it lies in a log: that is known by batches only. The last sync group may go unsaid.
pub fn accounts_for(missing: &BTreeSet<(String, Vec<u8>)>, report: &RepairReport, context: &str) {
    if report.lost.iter().any(|lost| lost.reason.contains("log-") || lost.reason.contains("manifest")) {
        return;
    }
    let listed: u64 = report.lost.iter().map(|lost| lost.rows).sum();
    let last_group = |(_, id): &&(String, Vec<u8>)| *id != b"tail 1" && *id != b"p-05";
    let unsaid = missing.iter().filter(last_group).count() as u64;
    assert!(unsaid <= listed, "{context}: {unsaid} records are missing, {listed} reported: {missing:?}; {report:?}");
}

/// Damage in a segment never costs what the log holds.
pub fn logged_is_there(subject: &Subject, missing: &BTreeSet<(String, Vec<u8>)>, context: &str) {
    for id in [&b"in the log"[..], b"first", b"tail 1", b"p-03", b"p-05"] {
        let lost = missing.iter().any(|(_, missing)| missing == id);
        assert!(subject.name == "closed" || !lost, "{context}: {} stands in the log, but was lost", id.escape_ascii());
    }
}

/// Ids by collection.
pub type Ids = BTreeMap<String, BTreeSet<String>>;

/// Repairs the files of a database; what is in the new one, and the report.
pub fn repair_image(files: &Image) -> (Ids, RepairReport) {
    let target = Memory::new();
    let report = Database::repair_on(&memory(files), Arc::new(target.clone()), options()).unwrap();
    assert!(Database::verify_on(&target, &options()).unwrap().damages.is_empty());
    let db = Database::open_on(Arc::new(target), options()).unwrap();
    let ids = |name: &str| {
        let collection = db.collection(name).unwrap();
        collection.iter().unwrap().map(|row| row.unwrap().id().escape_ascii().to_string()).collect()
    };
    let found = db.list_collections().unwrap().into_iter().map(|info| (info.name.clone(), ids(&info.name))).collect();
    (found, report)
}
