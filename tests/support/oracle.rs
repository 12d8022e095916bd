//! What must hold after a crash: see `docs/reliability.md` and section 10 of the specification.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use varvite::{
    Database, ErrorKind, Metric,
    io::simulated::{CrashPlan, SimulatedDisk},
};

use super::{
    Random,
    machine::{open, options},
    state::{Model, State, difference, observe},
};

/// The crash plans to try at a place: none and all, every subset of what is unsynced if that is little, else some by chance, and torn
/// last writes. The LOCK page is left to chance: recovery ignores it, and it is never synced.
pub fn plans(disk: &SimulatedDisk, random: &mut Random, many: u64) -> Vec<CrashPlan> {
    let names = disk.unsynced_names();
    let items: Vec<usize> = (0..names.len()).filter(|index| names[*index] != "LOCK").collect();
    let mut plans = vec![CrashPlan::LoseAll, CrashPlan::KeepAll];
    if items.len() <= 3 {
        for mask in 1..1_u64 << items.len() {
            let mut subset: Vec<bool> = names.iter().map(|_| random.below(2) == 1).collect();
            items.iter().enumerate().for_each(|(bit, item)| subset[*item] = mask >> bit & 1 == 1);
            plans.push(CrashPlan::Subset(subset));
        }
    } else {
        for _ in 0..2 * many {
            plans.push(CrashPlan::Subset(names.iter().map(|_| random.below(2) == 1).collect()));
        }
        // All but one, and one alone: orders that a device is free to choose.
        let one = items[random.below(items.len() as u64) as usize];
        plans.push(CrashPlan::Subset((0..names.len()).map(|index| index != one).collect()));
        plans.push(CrashPlan::Subset((0..names.len()).map(|index| index == one).collect()));
    }
    for _ in 0..many {
        plans.push(CrashPlan::Random { seed: random.next() });
    }
    if let Some(len) = disk.last_unsynced_write() {
        for _ in 0..many {
            plans.push(CrashPlan::Torn { subset: vec![true; names.len()], last_write_bytes: random.below(len as u64 + 1) as usize });
        }
    }
    plans
}

/// Everything that recovery can see of a disk; the LOCK page's hints to live readers are not part of it.
pub fn fingerprint(disk: &SimulatedDisk) -> u64 {
    let mut hash = 0;
    for name in disk.names().iter().filter(|name| *name != "LOCK") {
        hash = xxhash_rust::xxh64::xxh64(name.as_bytes(), hash);
        hash = xxhash_rust::xxh64::xxh64(&disk.read_all(name).unwrap(), hash);
    }
    hash
}

/// Finds the place of a state among those that are legal. Equal states are told apart by the sequence of their last batch.
pub fn place(found: &State, sequence: u64, legal: &[Model], context: &str) -> Model {
    let same = legal.iter().rev().find(|model| model.sequence == sequence && model.state == *found);
    same.cloned().unwrap_or_else(|| {
        let nearest = legal.iter().map(|model| difference(&model.state, found)).min_by_key(String::len).unwrap_or_default();
        let sequences: Vec<u64> = legal.iter().map(|model| model.sequence).collect();
        panic!(
            "{context}: sequence {sequence} was recovered, but none of the {} legal states of {sequences:?}; the nearest differs in\n  {nearest}",
            legal.len()
        )
    })
}

/// With which ordinal a collection may go on. A bulk load that the crash interrupted may have taken its own: they are lost, never given twice.
pub fn next_ordinals(name: &str, recovered: &Model, legal: &[Model]) -> BTreeSet<u64> {
    let later = legal.iter().filter(|model| model.sequence >= recovered.sequence);
    later.filter_map(|model| model.next_ordinals.get(name).copied()).chain([recovered.next_ordinals[name]]).collect()
}

/// Names in a directory that nothing needs.
fn orphans(db: &Database, disk: &SimulatedDisk, is_flushed: bool) -> Vec<String> {
    let contents: BTreeMap<_, _> = disk.contents().into_iter().collect();
    let (mut manifests, mut logs, mut segments) = (Vec::new(), Vec::new(), 0);
    let mut orphans = Vec::new();
    for name in contents.keys().cloned() {
        match name.split('-').next().unwrap_or_default() {
            "MANIFEST" => manifests.push(name),
            "log" => logs.push(name),
            "seg" => segments += contents[&name].len(),
            "LOCK" | "FLOOR" => {}
            _ => orphans.push(name),
        }
    }
    let named = db.stats().unwrap().total_bytes;
    if segments != named {
        orphans.push(format!("{} bytes of segment files", segments - named));
    }
    orphans.extend(manifests.drain(1..));
    // The one in use and its spare; before them those that the manifest names, whose batches wait for their flush.
    if is_flushed {
        orphans.extend(logs.drain(..logs.len().saturating_sub(2)));
    } else if logs.len() > 2 {
        let report = Database::verify_on(&disk.crash(&CrashPlan::KeepAll), &options()).unwrap();
        orphans.extend(report.orphans.into_iter().filter(|name| name.starts_with("log-")));
    }
    orphans
}

/// The whole oracle on a crashed disk. Returns the state that was recovered.
pub fn check(crashed: &SimulatedDisk, legal: &[Model], context: &str) -> State {
    let (db, model) = recovered(crashed, legal, context);
    // The second crash comes at once: nothing that the first recovery did may hang on a sync to come.
    let again = crashed.crash(&CrashPlan::LoseAll);
    drop(db);
    check_recovered(&again, &model, legal, context);
    model.state
}

/// Opens a crashed disk: one of the legal states is there, and no file is left behind.
pub fn recovered(crashed: &SimulatedDisk, legal: &[Model], context: &str) -> (Database, Model) {
    let db = open(crashed).unwrap_or_else(|error| panic!("{context}: cannot be opened: {error:?}"));
    let found = observe(&db).unwrap_or_else(|error| panic!("{context}: cannot be read: {error:?}"));
    let model = place(&found, db.snapshot().unwrap().sequence(), legal, context);
    assert_eq!(orphans(&db, crashed, false), Vec::<String>::new(), "{context}: files were left behind");
    (db, model)
}

/// What a power cut may leave is no damage: `verify` cries wolf to nobody.
pub fn check_undamaged(crashed: &SimulatedDisk, context: &str) {
    let report = match Database::verify_on(crashed, &options()) {
        // A creation that did not end.
        Err(error) if error.kind() == ErrorKind::NotFound => return,
        verified => verified.unwrap_or_else(|error| panic!("{context}: cannot be verified: {error:?}")),
    };
    // A torn slot of FLOOR cannot be told from a damaged one; what is said about it names both.
    let damages: Vec<_> = report.damages.iter().filter(|damage| !damage.to_string().contains("a power cut leaves this too")).collect();
    assert!(damages.is_empty(), "{context}: called damaged before recovery: {damages:?}");
}

/// What a recovery left on a disk: a second one changes nothing, and writes work.
pub fn check_recovered(again: &SimulatedDisk, model: &Model, legal: &[Model], context: &str) {
    let db = open(again).unwrap_or_else(|error| panic!("{context}: cannot be opened again: {error:?}"));
    let seen = observe(&db).unwrap();
    assert!(seen == model.state, "{context}: a second recovery changed\n  {}", difference(&model.state, &seen));
    let written = write_after(&db, model, legal, context);
    let last = again.crash(&CrashPlan::LoseAll);
    drop(db);
    let db = open(&last).unwrap_or_else(|error| panic!("{context}: cannot be opened after more writes: {error:?}"));
    let seen = observe(&db).unwrap();
    assert!(seen == written, "{context}: writes after recovery changed\n  {}", difference(&written, &seen));
    db.flush().unwrap_or_else(|error| panic!("{context}: a flush after recovery failed: {error:?}"));
    assert!(observe(&db).unwrap() == written, "{context}: a flush after recovery changed something");
    assert_eq!(orphans(&db, &last, true), Vec::<String>::new(), "{context}: files were left behind by a flush");
}

/// Writes into every collection and a new one, durably. Ordinals go on where the recovered state says.
fn write_after(db: &Database, model: &Model, legal: &[Model], context: &str) -> State {
    let mut state = model.state.clone();
    let fail = |error: varvite::Error| -> ! { panic!("{context}: a write after recovery failed: {error:?}") };
    for (name, expected) in &mut state {
        let collection = db.collection(name).unwrap();
        let vector = vec![0.5; collection.dimension()];
        match collection.insert("after the crash", &vector) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists && expected.rows.contains_key(&b"after the crash"[..]) => continue,
            Err(error) => fail(error),
        }
        let row = collection.get("after the crash").unwrap().unwrap();
        let (id, record) = super::state::record(&row).unwrap();
        let allowed = next_ordinals(name, model, legal);
        assert!(allowed.contains(&record.ordinal), "{context}: {name} goes on with ordinal {} instead of {allowed:?}", record.ordinal);
        expected.rows.insert(id, record);
    }
    if let Err(error) = db.create_collection("after the crash", 2, Metric::Dot).and_then(|made| made.insert("x", &[1.0, -0.0])) {
        fail(error);
    }
    let seen = observe(db).unwrap();
    state.insert("after the crash".to_owned(), seen["after the crash"].clone());
    assert!(seen == state, "{context}: writes after recovery are read back otherwise:\n  {}", difference(&state, &seen));
    state
}

/// Checks each distinct image of a disk once.
#[derive(Default)]
pub struct Checker {
    seen: HashSet<(u64, usize, usize)>,
    /// Tried plans, distinct images, recovered states by their place.
    pub tried: u64,
    pub distinct: u64,
    pub states: BTreeSet<usize>,
}

impl Checker {
    /// Tries every plan. `durable..` are the legal states of the history.
    pub fn crash(&mut self, disk: &SimulatedDisk, history: &[Model], durable: usize, plans: &[CrashPlan], context: &str) {
        for plan in plans {
            let crashed = disk.crash(plan);
            self.tried += 1;
            if !self.seen.insert((fingerprint(&crashed), durable, history.len())) {
                continue;
            }
            self.distinct += 1;
            let found = check(&crashed, &history[durable..], &format!("{context}, {}", short(plan)));
            self.states.extend(history.iter().rposition(|model| model.state == found));
        }
    }
}

/// A plan as text; a subset as bits.
pub fn short(plan: &CrashPlan) -> String {
    let bits = |subset: &[bool]| subset.iter().map(|kept| if *kept { '1' } else { '0' }).collect::<String>();
    match plan {
        CrashPlan::Subset(subset) => format!("kept {}", bits(subset)),
        CrashPlan::Torn { subset, last_write_bytes } => format!("kept {}, the last write torn at {last_write_bytes}", bits(subset)),
        other => format!("{other:?}"),
    }
}
