//! The kill campaign: a process with several writers is killed at random moments, over and over; the same database lives through all rounds.
//!
//! Each writer owns a range of ids and numbers its batches; what a batch holds follows from the seed, the writer and the number. Each batch
//! carries, atomically: a counter (its number, and how many batches of every other writer were acknowledged when it was issued), the record
//! `last` that every batch overwrites, records of its own ids in two collections, and sometimes one of a few records that all writers fight for.
//! So the recovered state tells how many batches of each writer it holds, and the oracle can say whether it is a prefix of the commit order:
//!
//! - every acknowledged batch is there, and of each writer at most the one batch more that was under way;
//! - every record is exactly what its writer's first n batches leave, so no batch is half there;
//! - no counter knows of a batch that is not there: what was acknowledged before another batch was issued comes before it;
//! - sequences are dense: as many batches are there as the last sequence says, so there is no hole;
//! - `last` was written by the newest batch of some writer, and a fought-for record by the last in commit order, or one under way.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use varvite::{Background, Codes, Collection, Database, DuplicatePolicy, Durability, Fields, Metadata, Metric, Options, Payload};

use super::{
    Random,
    child::{Talk, next_line, say},
    state::{State, bits, difference, observe},
};

pub const WRITERS: usize = 4;
const IDS: u64 = 150;
const SHARED: u64 = 12;
const NAMES: [&str; 2] = ["a", "b"];
const DIMENSIONS: [usize; 2] = [8, 24];
const SCRATCH: &str = "scratch";

/// Small enough that flushes and compactions always run, erasure among them.
pub fn options() -> Options {
    Options {
        memtable_bytes: 400_000,
        log_bytes: 4 << 20,
        background: Background::Threads,
        erase_after: Duration::from_secs(1),
        ..Options::default()
    }
}

/// To look at the state without changing it: nothing runs in the background.
fn calm() -> Options {
    Options { background: Background::Inline, ..options() }
}

/// What a campaign did and saw.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub rounds: u64,
    /// Kills before the child had opened the database: in the middle of its recovery.
    pub killed_opening: u64,
    /// Rounds after which the database was examined; after the others the next child recovers it unexamined.
    pub examined: u64,
    pub acknowledged: u64,
    pub acknowledged_synced: u64,
    pub acknowledged_buffered: u64,
    /// Batches that were recovered although nobody had heard of them yet.
    pub recovered_unacknowledged: u64,
    pub bulk_loads: u64,
    pub records_compared: u64,
    pub flushes: u64,
    pub compactions: u64,
    pub orphans_collected: u64,
}

/// One operation of a batch; `value` decides vector and document.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// Writes everything of a record.
    Put {
        collection: usize,
        id: u64,
        value: u64,
    },
    /// Changes the document alone, if the record exists.
    Touch {
        collection: usize,
        id: u64,
        value: u64,
    },
    Delete {
        collection: usize,
        id: u64,
    },
    /// Overwrites a record that all writers fight for.
    Fight {
        slot: u64,
    },
    /// Puts a record into the collection that is dropped and created again.
    Scratch {
        id: u64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain(Durability),
    /// Buffered, then awaited.
    Awaited,
    Bulk,
    /// Drops a collection and creates it again.
    Recreate,
}

/// A batch: all of it follows from the seed, the writer and the number.
fn plan(seed: u64, writer: usize, number: u64) -> (Kind, Vec<Op>) {
    let mut random = Random(seed ^ (writer as u64 + 1).wrapping_mul(0xA076_1D64_78BD_642F) ^ number.wrapping_mul(0xE703_7ED1_A0B4_28DB));
    let kind = match (writer, number % 97) {
        (0, 1) => Kind::Recreate,
        (1, 50) => Kind::Bulk,
        _ => match random.below(8) {
            0..=2 => Kind::Plain(Durability::Synced),
            3..=5 => Kind::Plain(Durability::Buffered),
            6 => Kind::Plain(Durability::Interval(Duration::from_millis(5))),
            _ => Kind::Awaited,
        },
    };
    let many = if kind == Kind::Bulk || number % 61 == 60 { 80 } else { 1 + random.below(5) };
    let mut ops = Vec::new();
    for _ in 0..many {
        let (collection, id, value) = (random.below(2) as usize, random.below(IDS), random.next());
        ops.push(match (kind, random.below(10)) {
            (Kind::Bulk, _) => Op::Put { collection: 0, id, value },
            (_, 0..=5) => Op::Put { collection, id, value },
            (_, 6) => Op::Touch { collection, id, value },
            _ => Op::Delete { collection, id },
        });
    }
    if kind != Kind::Bulk && random.below(4) == 0 {
        ops.push(Op::Fight { slot: random.below(SHARED) });
    }
    if writer == 0 && kind != Kind::Recreate && number > 1 && number.is_multiple_of(5) {
        ops.push(Op::Scratch { id: number });
    }
    (kind, ops)
}

fn vector(value: u64, dimension: usize) -> Vec<f32> {
    let mut random = Random(value);
    (0..dimension).map(|_| (random.below(1 << 20) as f32 - 524_288.0) / 77.0).collect()
}

/// Mostly short; one in a thousand needs several frames of the log.
fn document(value: u64) -> Option<String> {
    match value % 1000 {
        0..300 => None,
        999 => Some(format!("{value:016x} ").repeat(70_000)),
        len => Some(format!("{value:016x} ").repeat(len as usize % 23)),
    }
}

fn own_id(writer: usize, id: u64) -> Vec<u8> {
    format!("{id:03}/{writer}").into_bytes()
}

fn whole(value: u64, dimension: usize) -> Fields<'static> {
    let fields = Fields::from(vector(value, dimension)).with_metadata(Metadata::new().with("value", value as i64));
    match document(value) {
        Some(text) => fields.with_document(text),
        None => fields.without_document(),
    }
}

/// `numbers`, then zeros.
fn numbers(numbers: &[u64], dimension: usize) -> Vec<f32> {
    assert!(numbers.iter().all(|number| *number < 1 << 24), "a number that f32 cannot hold");
    (0..dimension).map(|index| numbers.get(index).map_or(0.0, |number| *number as f32)).collect()
}

// The child.

/// Writes until the process is killed, saying each acknowledgement.
pub fn write_until_killed(path: &Path, seed: u64) {
    let db = Database::open(path, options()).unwrap();
    let counter = |writer| {
        let row = db.collection(NAMES[0]).unwrap().get(format!("counter-{writer}")).unwrap();
        row.map_or(0, |row| row[0] as u64)
    };
    let issued: Vec<u64> = (0..WRITERS).map(counter).collect();
    say(&format!("opened {} {} {} {}", issued[0], issued[1], issued[2], issued[3]));
    let acknowledged: Vec<AtomicU64> = issued.iter().map(|number| AtomicU64::new(*number)).collect();
    std::thread::scope(|scope| {
        for (writer, number) in issued.into_iter().enumerate() {
            let (db, acknowledged) = (&db, &acknowledged);
            scope.spawn(move || {
                for number in number + 1.. {
                    let others: Vec<u64> = acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect();
                    let sequence = write(db, seed, writer, number, &others).unwrap_or_else(|error| {
                        say(&format!("failed: batch {number} of writer {writer}: {error:?}"));
                        std::process::exit(1);
                    });
                    acknowledged[writer].store(number, Ordering::SeqCst);
                    say(&format!("ack {writer} {number} {sequence}"));
                }
            });
        }
        loop {
            std::thread::sleep(Duration::from_millis(10));
            let stats = db.stats().unwrap();
            say(&format!("stat {} {}", stats.flushes, stats.compactions));
        }
    });
}

/// Commits one batch; returns its sequence, 0 if the call does not tell.
fn write(db: &Database, seed: u64, writer: usize, number: u64, others: &[u64]) -> varvite::Result<u64> {
    let (kind, ops) = plan(seed, writer, number);
    let handles = [db.collection(NAMES[0])?, db.collection(NAMES[1])?];
    let counter = numbers(&[&[number], others].concat(), DIMENSIONS[0]);
    let last = numbers(&[writer as u64, number], DIMENSIONS[0]);
    if kind == Kind::Bulk {
        return bulk(&handles[0], writer, &ops, counter, last).map(|()| 0);
    }
    let mut batch = db.batch();
    batch.durability(if let Kind::Plain(durability) = kind { durability } else { Durability::Buffered });
    if kind == Kind::Recreate {
        if db.list_collections()?.iter().any(|info| info.name == SCRATCH) {
            batch.drop_collection(SCRATCH);
        }
        batch.create_collection(SCRATCH, 2, Metric::Dot)?.durability(Durability::Synced);
    }
    batch.upsert(&handles[0], format!("counter-{writer}"), counter)?;
    let mut alive = BTreeMap::new();
    for op in ops {
        match op {
            Op::Put { collection, id, value } => {
                batch.upsert(&handles[collection], own_id(writer, id), whole(value, DIMENSIONS[collection]))?;
                alive.insert((collection, id), true);
            }
            Op::Touch { collection, id, value } => {
                // Nobody else writes this id, so it is there now if it will be there then.
                let stored = handles[collection].contains(own_id(writer, id))?;
                if *alive.entry((collection, id)).or_insert(stored) {
                    let fields =
                        document(value).map_or_else(|| Fields::default().without_document(), |text| Fields::default().with_document(text));
                    batch.update(&handles[collection], own_id(writer, id), fields)?;
                }
            }
            Op::Delete { collection, id } => {
                batch.delete(&handles[collection], own_id(writer, id))?;
                alive.insert((collection, id), false);
            }
            Op::Fight { slot } => {
                batch.upsert(&handles[1], format!("shared-{slot}"), numbers(&[writer as u64, number], DIMENSIONS[1]))?;
            }
            Op::Scratch { id } => {
                batch.upsert(&db.collection(SCRATCH)?, format!("{id}"), numbers(&[id], 2))?;
            }
        }
    }
    batch.upsert(&handles[0], "last", last)?;
    let commit = batch.commit()?;
    if kind == Kind::Awaited {
        commit.wait()?;
    }
    Ok(commit.sequence())
}

fn bulk(collection: &Collection, writer: usize, ops: &[Op], counter: Vec<f32>, last: Vec<f32>) -> varvite::Result<()> {
    let puts = ops.iter().filter_map(|op| match op {
        Op::Put { id, value, .. } => Some((own_id(writer, *id), whole(*value, DIMENSIONS[0]))),
        _ => None,
    });
    let own = [(format!("counter-{writer}").into_bytes(), counter.into()), (b"last".to_vec(), last.into())];
    collection.bulk_load(puts.chain(own), DuplicatePolicy::LastWins).map(drop)
}

// The parent.

/// What one writer's batches leave.
#[derive(Default)]
struct Own {
    /// Batches applied.
    number: u64,
    /// By collection and id: the values of vector and document.
    records: BTreeMap<(usize, u64), (u64, u64)>,
    scratch: Option<Vec<u64>>,
}

impl Own {
    fn apply(&mut self, seed: u64, writer: usize) {
        self.number += 1;
        let (kind, ops) = plan(seed, writer, self.number);
        if kind == Kind::Recreate {
            self.scratch = Some(Vec::new());
        }
        for op in ops {
            match op {
                Op::Put { collection, id, value } => drop(self.records.insert((collection, id), (value, value))),
                Op::Touch { collection, id, value } => {
                    if let Some(record) = self.records.get_mut(&(collection, id)) {
                        record.1 = value;
                    }
                }
                Op::Delete { collection, id } => drop(self.records.remove(&(collection, id))),
                Op::Scratch { id } => self.scratch.as_mut().unwrap().push(id),
                Op::Fight { .. } => {}
            }
        }
    }
}

/// Who may have written a record that all fight for.
#[derive(Clone, Debug, Default)]
struct Fought {
    /// Of those whose sequence is known: sequence, writer, number.
    newest: Option<(u64, usize, u64)>,
    /// Those that were under way at a kill since.
    maybe: Vec<(usize, u64)>,
}

struct Campaign {
    seed: u64,
    path: PathBuf,
    random: Random,
    /// Sequences that the creation took.
    base: u64,
    own: [Own; WRITERS],
    fought: Vec<Fought>,
    counts: Counts,
}

/// Kills a writing process so many times and examines what it leaves. `child` makes the command of a process that calls
/// [`write_until_killed`] with this path and seed.
pub fn campaign(seed: u64, rounds: u64, child: &dyn Fn(&Path, u64) -> Command) -> Counts {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("db");
    let db = Database::open(&path, options()).unwrap();
    for (name, dimension) in NAMES.into_iter().zip(DIMENSIONS) {
        db.create_collection_with(name, dimension, Metric::L2, Codes::Int8).unwrap();
    }
    let base = db.snapshot().unwrap().sequence();
    db.close().unwrap();
    let fought = vec![Fought::default(); SHARED as usize];
    let mut campaign = Campaign { seed, path, random: Random(seed), base, own: Default::default(), fought, counts: Counts::default() };
    for round in 0..rounds {
        campaign.round(&mut child(&campaign.path, seed));
        // Every third time the next child recovers unobserved, or is killed while it does.
        if round + 1 == rounds || campaign.random.below(3) > 0 {
            campaign.examine(&format!("seed {seed:#x}, round {round}"));
        }
    }
    campaign.counts
}

impl Campaign {
    fn round(&mut self, command: &mut Command) {
        let opening = self.random.below(4) == 0;
        let delay = Duration::from_micros(if opening { self.random.below(40_000) } else { self.random.below(180_000) });
        let mut talk = Talk::start(command);
        let lines = run_and_kill(&mut talk, opening, delay);
        self.counts.rounds += 1;
        self.counts.killed_opening += u64::from(!lines.iter().any(|line| line.starts_with("opened")));
        for line in &lines {
            self.hear(line);
        }
        self.count_stats(&lines);
        for writer in 0..WRITERS {
            let number = self.own[writer].number + 1;
            for op in plan(self.seed, writer, number).1 {
                if let Op::Fight { slot } = op {
                    self.fought[slot as usize].maybe.push((writer, number));
                }
            }
        }
    }

    fn count_stats(&mut self, lines: &[String]) {
        if let Some(line) = lines.iter().rev().find(|line| line.starts_with("stat")) {
            let figures: Vec<u64> = line.split(' ').skip(1).map(|word| word.parse().unwrap()).collect();
            self.counts.flushes += figures[0];
            self.counts.compactions += figures[1];
        }
    }

    fn hear(&mut self, line: &str) {
        let mut words = line.split(' ');
        let verb = words.next().unwrap();
        assert!(["opened", "ack", "stat"].contains(&verb), "seed {:#x}, round {}: the child said {line}", self.seed, self.counts.rounds);
        let figures: Vec<u64> = words.map(|word| word.parse().unwrap()).collect();
        match verb {
            "opened" => (0..WRITERS).for_each(|writer| self.settle(writer, figures[writer], "a child that opened it")),
            "ack" => self.acknowledge(figures[0] as usize, figures[1], figures[2]),
            _ => {}
        }
    }

    /// So many batches of a writer are there: all that were acknowledged, and at most the one under way.
    fn settle(&mut self, writer: usize, found: u64, finder: &str) {
        let known = self.own[writer].number;
        let context = format!("seed {:#x}, round {}, {finder}", self.seed, self.counts.rounds);
        assert!(found >= known, "{context}: batch {known} of writer {writer} was acknowledged, but only {found} are there");
        assert!(found <= known + 1, "{context}: {found} batches of writer {writer} are there, but only {known} were acknowledged");
        if found > known {
            self.own[writer].apply(self.seed, writer);
            self.counts.recovered_unacknowledged += 1;
        }
    }

    fn acknowledge(&mut self, writer: usize, number: u64, sequence: u64) {
        assert_eq!(number, self.own[writer].number + 1, "seed {:#x}: writer {writer} left out a batch", self.seed);
        self.own[writer].apply(self.seed, writer);
        let (kind, ops) = plan(self.seed, writer, number);
        self.counts.acknowledged += 1;
        match kind {
            Kind::Bulk => self.counts.bulk_loads += 1,
            Kind::Plain(Durability::Synced) | Kind::Awaited | Kind::Recreate => self.counts.acknowledged_synced += 1,
            Kind::Plain(_) => self.counts.acknowledged_buffered += 1,
        }
        for op in ops {
            if let Op::Fight { slot } = op {
                let fought = &mut self.fought[slot as usize];
                // Whatever was under way at an earlier kill comes before this one.
                fought.maybe.clear();
                fought.newest = fought.newest.max(Some((sequence, writer, number)));
            }
        }
    }

    fn examine(&mut self, context: &str) {
        self.counts.examined += 1;
        let report = Database::verify(&self.path, calm()).unwrap();
        assert!(report.damages.is_empty(), "{context}: damage before recovery: {:?}", report.damages);
        self.counts.orphans_collected += report.orphans.len() as u64;
        let reader = Database::open_read_only(&self.path, calm()).unwrap();
        assert!(reader.is_unsettled(), "{context}: nobody writes, yet the state is called final");
        let (seen, sequence) = (observe(&reader).unwrap(), reader.snapshot().unwrap().sequence());
        drop(reader);
        let db = Database::open(&self.path, calm()).unwrap_or_else(|error| panic!("{context}: cannot be opened: {error:?}"));
        let found = observe(&db).unwrap();
        assert!(seen == found, "{context}: recovery decided otherwise than a reader before it:\n  {}", difference(&seen, &found));
        assert_eq!(sequence, db.snapshot().unwrap().sequence(), "{context}");
        self.check(&found, sequence, context);
        let again = self.reopened(db, context);
        assert!(again == found, "{context}: a second reopen changed\n  {}", difference(&found, &again));
    }

    /// Nothing is left over, damaged or changed by closing and opening again.
    fn reopened(&self, db: Database, context: &str) -> State {
        let report = Database::verify(&self.path, calm()).unwrap();
        assert!(report.damages.is_empty(), "{context}: damage after recovery: {:?}", report.damages);
        assert!(report.orphans.is_empty(), "{context}: files were left behind: {:?}", report.orphans);
        db.close().unwrap();
        let db = Database::open(&self.path, calm()).unwrap();
        let again = observe(&db).unwrap();
        db.close().unwrap();
        let report = Database::verify(&self.path, calm()).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "{context}: after the second reopen: {report:?}");
        again
    }

    fn check(&mut self, found: &State, sequence: u64, context: &str) {
        let rows = &found[NAMES[0]].rows;
        let read = |id: &str| rows.get(id.as_bytes()).map(|record| record.bits.iter().map(|bits| f32::from_bits(*bits) as u64).collect());
        let counters: Vec<Vec<u64>> = (0..WRITERS).map(|writer| read(&format!("counter-{writer}")).unwrap_or(vec![0; 8])).collect();
        for (writer, counter) in counters.iter().enumerate() {
            self.settle(writer, counter[0], "examined");
        }
        for (writer, counter) in counters.iter().enumerate() {
            for (other, known) in counter[1..=WRITERS].iter().enumerate() {
                let there = counters[other][0];
                assert!(
                    *known <= there,
                    "{context}: a batch of writer {writer} is there, batch {known} of {other} before it is not ({there})"
                );
            }
        }
        let batches: u64 = counters.iter().map(|counter| counter[0]).sum();
        assert_eq!(self.base + batches, sequence, "{context}: {batches} batches are there: one is missing in the middle");
        let last: Option<Vec<u64>> = read("last");
        assert!(last.is_none_or(|last| counters[last[0] as usize][0] == last[1]), "{context}: `last` is not of a newest batch");
        self.check_fought(found, context);
        self.check_records(found, context);
    }

    fn check_fought(&mut self, found: &State, context: &str) {
        for (slot, fought) in self.fought.iter_mut().enumerate() {
            let record = found[NAMES[1]].rows.get(format!("shared-{slot}").as_bytes());
            let writer = record.map(|record| (f32::from_bits(record.bits[0]) as usize, f32::from_bits(record.bits[1]) as u64));
            let legal: Vec<_> =
                fought.newest.iter().map(|(_, writer, number)| (*writer, *number)).chain(fought.maybe.iter().copied()).collect();
            assert!(
                writer.is_none_or(|writer| legal.contains(&writer)) && (writer.is_some() || fought.newest.is_none()),
                "{context}: shared-{slot} was written by {writer:?}, not by one of {legal:?}"
            );
            // Whoever it was, it is settled now.
            *fought = Fought { newest: writer.map(|(writer, number)| (0, writer, number)), maybe: Vec::new() };
        }
    }

    fn check_records(&mut self, found: &State, context: &str) {
        for (collection, name) in NAMES.into_iter().enumerate() {
            let mut expected = 0;
            for (writer, own) in self.own.iter().enumerate() {
                for ((_, id), (value, text)) in own.records.iter().filter(|((place, _), _)| *place == collection) {
                    expected += 1;
                    let id = own_id(writer, *id);
                    let record = found[name].rows.get(&id);
                    let record = record.unwrap_or_else(|| panic!("{context}: {name}/{} is missing", id.escape_ascii()));
                    let payload = Payload { metadata: Metadata::new().with("value", *value as i64), document: document(*text), uri: None };
                    let right = record.bits == bits(&vector(*value, DIMENSIONS[collection])) && record.payload == payload;
                    assert!(right, "{context}: {name}/{} is wrong", id.escape_ascii());
                }
            }
            let others =
                found[name].rows.keys().filter(|id| ["counter-", "last", "shared-"].iter().any(|start| id.starts_with(start.as_bytes())));
            assert_eq!(found[name].rows.len(), expected + others.count(), "{context}: {name} holds records that were deleted");
            self.counts.records_compared += expected as u64;
        }
        let scratch = found.get(SCRATCH).map(|scratch| scratch.rows.keys().cloned().collect::<Vec<_>>());
        let mut expected = self.own[0].scratch.as_ref().map(|ids| ids.iter().map(|id| id.to_string().into_bytes()).collect::<Vec<_>>());
        expected.iter_mut().for_each(|ids| ids.sort());
        assert!(scratch == expected, "{context}: the scratch collection holds {scratch:?}, not {expected:?}");
    }
}

/// Reads what a child says, and kills it a while after its start, or after it opened the database.
fn run_and_kill(talk: &mut Talk, opening: bool, delay: Duration) -> Vec<String> {
    let Talk { child, lines } = &mut *talk;
    let (opened, told) = mpsc::channel();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut said = Vec::new();
            while let Some(line) = next_line(lines) {
                if line.starts_with("opened") {
                    // The other end may have stopped waiting.
                    let _late = opened.send(());
                }
                said.push(line);
            }
            said
        });
        let started = Instant::now();
        if !opening {
            // An error is a child that ended: what it said tells why.
            let _ended = told.recv_timeout(Duration::from_secs(60));
            assert!(started.elapsed() < Duration::from_secs(60), "the child does not get to open the database");
        }
        std::thread::sleep(delay);
        // It may have failed and ended: what it said tells.
        let _ended = child.kill();
        child.wait().unwrap();
        reader.join().unwrap()
    })
}
