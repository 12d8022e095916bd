//! The whole public API against plain maps: random operations, reads compared bit for bit, power cuts among them.
//!
//! What is proven: after every prefix of operations every way to read shows what the model holds; what a snapshot or a row showed once it
//! shows for ever, through flushes, compactions, drops and `close`; after a power cut the database holds a prefix of the batches with every
//! acknowledged one, and its next ordinals and sequences go on where that prefix ends.
//!
//! Every run prints its seed; `PROPTEST_RNG_SEED=n` replays it, `PROPTEST_CASES=n` tries more, and a failure is kept, shrunk, under
//! `proptest-regressions/`.

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

use std::{
    hash::{BuildHasher, Hasher},
    sync::Arc,
    time::Duration,
};

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence, RngSeed, TestRunner},
};
use support::{
    Random,
    machine::{self, Machine, Step, is_power_cut},
    reading::check_all,
    state::{Model, Op, Parts, Rec, State, Verb, bits},
    workload::{any_metadata, any_vector, id},
};
use varvite::{
    Background, ChecksumMode, DuplicatePolicy, Durability, Metric, Options, ReadMode, Result, Row, Snapshot,
    io::{
        Storage,
        fs::Directory,
        memory::Memory,
        simulated::{CrashPlan, Fault, SimulatedDisk},
    },
};

/// An operation before it is known what the database holds: numbers that are taken modulo what there is, so that it shrinks well.
#[derive(Clone, Debug)]
enum Raw {
    Batch {
        ops: Vec<RawOp>,
        durability: u8,
    },
    Many {
        insert: bool,
        collection: u8,
        ids: Vec<u8>,
        seed: u32,
        durability: u8,
    },
    Bulk {
        collection: u8,
        ids: Vec<u8>,
        seed: u32,
        large: bool,
        refuse: bool,
    },
    GetOrCreate {
        collection: u8,
        shape: u8,
    },
    Purge {
        collection: u8,
        ids: Vec<u8>,
    },
    /// A step that needs no choice.
    Plain(Plain),
    Advance(u8),
    Snapshot,
    Reread(u32),
    Check(u32),
    /// The power goes now, or so many operations later.
    Cut {
        after: Option<u8>,
        plan: u8,
        seed: u32,
    },
}

#[derive(Clone, Copy, Debug)]
enum Plain {
    Await,
    Flush,
    Compact,
    Idle,
    Checkpoint,
    Verify,
    Beside,
    Reopen,
}

#[derive(Clone, Debug)]
struct RawOp {
    verb: u8,
    collection: u8,
    other: u8,
    id: u8,
    parts: u16,
    seed: u32,
}

fn raw_op() -> impl Strategy<Value = RawOp> {
    // Schema changes are rare, or nothing would ever grow.
    let verb = prop_oneof![60 => 0..5_u8, 1 => 5..8_u8];
    (verb, any::<u8>(), any::<u8>(), any::<u8>(), any::<u16>(), any::<u32>()).prop_map(|(verb, collection, other, id, parts, seed)| RawOp {
        verb,
        collection,
        other,
        id,
        parts,
        seed,
    })
}

fn raw() -> impl Strategy<Value = Raw> {
    let ids = || prop::collection::vec(any::<u8>(), 1..12);
    let plain = prop::sample::select(vec![
        Plain::Await,
        Plain::Flush,
        Plain::Flush,
        Plain::Flush,
        Plain::Compact,
        Plain::Idle,
        Plain::Checkpoint,
        Plain::Verify,
        Plain::Beside,
        Plain::Beside,
        Plain::Reopen,
    ]);
    prop_oneof![
        24 => (prop::collection::vec(raw_op(), 1..2), any::<u8>()).prop_map(|(ops, durability)| Raw::Batch { ops, durability }),
        12 => (prop::collection::vec(raw_op(), 2..10), any::<u8>()).prop_map(|(ops, durability)| Raw::Batch { ops, durability }),
        5 => (any::<bool>(), any::<u8>(), ids(), any::<u32>(), any::<u8>())
            .prop_map(|(insert, collection, ids, seed, durability)| Raw::Many { insert, collection, ids, seed, durability }),
        4 => (any::<u8>(), ids(), any::<u32>(), any::<bool>(), any::<bool>())
            .prop_map(|(collection, ids, seed, large, refuse)| Raw::Bulk { collection, ids, seed, large, refuse }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(collection, shape)| Raw::GetOrCreate { collection, shape }),
        1 => (any::<u8>(), ids()).prop_map(|(collection, ids)| Raw::Purge { collection, ids }),
        12 => plain.prop_map(Raw::Plain),
        2 => any::<u8>().prop_map(Raw::Advance),
        4 => Just(Raw::Snapshot),
        3 => any::<u32>().prop_map(Raw::Reread),
        5 => any::<u32>().prop_map(Raw::Check),
        2 => (prop::option::of(0..60_u8), any::<u8>(), any::<u32>()).prop_map(|(after, plan, seed)| Raw::Cut { after, plan, seed }),
    ]
}

const NAMES: [&str; 4] = ["a", "b", "c", "длинное имя"];
/// Packed strides, padded ones, and the least there is.
const DIMENSIONS: [usize; 6] = [3, 16, 1, 4, 17, 63];

/// The collection that a number means: one that is there, or seldom any name.
fn collection(number: u8, model: &Model) -> String {
    let there: Vec<&String> = model.state.keys().collect();
    if there.is_empty() || number % 16 == 15 {
        return NAMES[usize::from(number / 16) % NAMES.len()].to_owned();
    }
    there[usize::from(number) % there.len()].clone()
}

fn shape(number: u8) -> (usize, Metric) {
    (DIMENSIONS[usize::from(number) % DIMENSIONS.len()], Metric::ALL[usize::from(number / 8) % 3])
}

/// Few enough that they meet again: prefixes of each other, bytes that end no prefix range, a long one.
fn record_id(number: u8) -> Vec<u8> {
    match number % 32 {
        0 => b"a".to_vec(),
        1 => b"a\0".to_vec(),
        2 => b"ab".to_vec(),
        3 => vec![0xFF],
        4 => vec![0xFF, 0xFF],
        5 => vec![0],
        6 => vec![b'l'; 700],
        other => id(u64::from(other)),
    }
}

fn durability(number: u8) -> Durability {
    match number % 6 {
        0 => Durability::Synced,
        1 => Durability::Interval(Duration::from_secs(20)),
        _ => Durability::Buffered,
    }
}

/// What a write gives: three bits say whether a part is left alone, cleared or set.
fn parts(op: &RawOp, dimension: usize) -> Parts {
    let (given, seed) = (op.parts, u64::from(op.seed));
    let text = |shift: u16, text: String| match given >> shift & 7 {
        0..=3 => None,
        4 => Some(None),
        _ => Some(Some(text)),
    };
    Parts {
        vector: (given % 8 != 7).then(|| any_vector(seed, dimension)),
        metadata: match given >> 4 & 7 {
            0..=3 => None,
            4 => Some(varvite::Metadata::new()),
            _ => Some(any_metadata(seed)),
        },
        document: text(7, format!("документ {seed} ").repeat(1 << (seed % 9))),
        uri: text(10, "u".repeat(seed as usize % 40)),
    }
}

fn op(raw: &RawOp, model: &Model) -> Op {
    let name = collection(raw.collection, model);
    let dimension = model.state.get(&name).map_or(1, |coll| coll.dimension);
    let other = NAMES[usize::from(raw.other) % NAMES.len()].to_owned();
    let put = |verb| Op::Put(verb, name.clone(), record_id(raw.id), parts(raw, dimension));
    match raw.verb {
        0 => put(Verb::Insert),
        1 => put(Verb::Update),
        2 | 3 => put(Verb::Upsert),
        4 => Op::Delete(name, record_id(raw.id)),
        5 => Op::Create(other, shape(raw.id).0, shape(raw.id).1),
        6 => Op::Drop(name),
        _ => Op::Rename(name, other),
    }
}

fn bulk(collection: String, ids: &[u8], seed: u32, large: bool, refuse: bool, model: &Model) -> Step {
    let dimension = model.state.get(&collection).map_or(1, |coll| coll.dimension);
    let entry = |(index, number): (usize, &u8)| {
        let seed = u64::from(seed) + index as u64;
        // Large ones fill several pieces of the input.
        let document = if large { Some(Some("x".repeat(30_000))) } else { None };
        let metadata = seed.is_multiple_of(3).then(|| any_metadata(seed));
        (record_id(*number), Parts { vector: Some(any_vector(seed, dimension)), metadata, document, uri: None })
    };
    let policy = if refuse { DuplicatePolicy::Refuse } else { DuplicatePolicy::LastWins };
    Step::Bulk(collection, ids.iter().enumerate().map(entry).collect(), policy)
}

/// Runs operations on a machine, and keeps what was seen.
struct World {
    machine: Machine,
    snapshots: Vec<(Snapshot, State)>,
    rows: Vec<(Row, Rec)>,
    /// What is kept of the unsynced when the power goes.
    plan: (u8, u32),
    /// Whether the power can go, and no file may be there that no manifest names.
    alone: bool,
}

impl World {
    fn new(machine: Machine, alone: bool) -> Self {
        Self { machine, snapshots: Vec::new(), rows: Vec::new(), plan: (0, 0), alone }
    }

    fn run(&mut self, raws: &[Raw]) {
        self.machine.open().unwrap();
        for (index, raw) in raws.iter().enumerate() {
            self.one(raw, index);
        }
        // Whatever is cut must have been cut by now.
        self.machine.disk.heal();
        let finish = [Raw::Check(1), Raw::Reread(2), Raw::Plain(Plain::Verify), Raw::Plain(Plain::Reopen), Raw::Check(3), Raw::Reread(4)];
        for raw in &finish {
            self.one(raw, raws.len());
        }
    }

    fn one(&mut self, raw: &Raw, index: usize) {
        let Err(error) = self.try_one(raw) else { return };
        assert!(self.machine.disk.power_is_cut() || is_power_cut(&error), "operation {index}, {raw:?}: {error:?}");
        self.crash(index);
    }

    fn crash(&mut self, index: usize) {
        self.check_rows();
        self.snapshots.clear();
        self.machine.disk.cut_power();
        let plan = crash_plan(&self.machine.disk, self.plan);
        self.machine.crash(&plan, &format!("operation {index}, {}", support::oracle::short(&plan)));
    }

    fn try_one(&mut self, raw: &Raw) -> Result<()> {
        let model = self.machine.model();
        let step = match raw {
            Raw::Batch { ops, durability: number } => Step::Batch(ops.iter().map(|raw| op(raw, model)).collect(), durability(*number)),
            Raw::Many { insert, collection: number, ids, seed, durability: lasting } => {
                let name = collection(*number, model);
                let dimension = model.state.get(&name).map_or(1, |coll| coll.dimension);
                let entries = ids.iter().zip(u64::from(*seed)..).map(|(id, seed)| (record_id(*id), any_vector(seed, dimension)));
                Step::Many(if *insert { Verb::Insert } else { Verb::Upsert }, name, entries.collect(), durability(*lasting))
            }
            Raw::Bulk { collection: number, ids, seed, large, refuse } => {
                bulk(collection(*number, model), ids, *seed, *large, *refuse, model)
            }
            Raw::GetOrCreate { collection, shape: number } => {
                let name = NAMES[usize::from(*collection) % NAMES.len()];
                let given = shape(*number);
                let there = model.state.get(name).map(|coll| (coll.dimension, coll.metric));
                let (dimension, metric) = if number.is_multiple_of(4) { given } else { there.unwrap_or(given) };
                Step::GetOrCreate(name.to_owned(), dimension, metric)
            }
            Raw::Purge { collection: number, ids } => {
                Step::Purge(collection(*number, model), ids.iter().map(|id| record_id(*id)).collect())
            }
            Raw::Plain(plain) => return self.plain(*plain),
            Raw::Advance(seconds) => Step::Advance(u64::from(*seconds)),
            Raw::Snapshot => return self.keep(),
            Raw::Reread(seed) => return self.reread(*seed),
            Raw::Check(seed) => return self.check(*seed),
            Raw::Cut { .. } if !self.alone => Step::Reopen,
            Raw::Cut { after: Some(after), plan, seed } => {
                self.plan = (*plan, *seed);
                self.machine.disk.inject(self.machine.disk.operations() + u64::from(*after), Fault::PowerCut);
                return Ok(());
            }
            Raw::Cut { after: None, plan, seed } => {
                self.plan = (*plan, *seed);
                self.crash(usize::MAX);
                return Ok(());
            }
        };
        self.machine.step(&step)
    }

    fn plain(&mut self, plain: Plain) -> Result<()> {
        let step = match plain {
            Plain::Await => Step::Await,
            Plain::Flush => Step::Flush,
            Plain::Compact => Step::Compact,
            Plain::Idle => Step::Idle,
            Plain::Checkpoint => Step::Checkpoint,
            Plain::Verify => Step::Verify { orphans: !self.alone },
            Plain::Beside => Step::Beside,
            Plain::Reopen => Step::Reopen,
        };
        self.machine.step(&step)
    }

    /// Keeps a snapshot of everything, and some rows, for later.
    fn keep(&mut self) -> Result<()> {
        let (db, state) = (self.machine.db(), self.machine.model().state.clone());
        for (name, coll) in &state {
            let ids: Vec<&Vec<u8>> = coll.rows.keys().step_by(3).collect();
            let rows = db.collection(name)?.multi_get(&ids)?;
            self.rows.extend(rows.into_iter().zip(ids).map(|(row, id)| (row.unwrap(), coll.rows[id].clone())));
        }
        if self.snapshots.len() == 3 {
            self.snapshots.remove(1);
        }
        self.snapshots.push((db.snapshot()?, state));
        Ok(())
    }

    fn check_rows(&self) {
        for (row, record) in &self.rows {
            assert_eq!(bits(row), record.bits, "the row {} has changed", row.id().escape_ascii());
        }
    }

    /// What was seen once never changes.
    fn reread(&self, seed: u32) -> Result<()> {
        self.check_rows();
        self.snapshots.iter().try_for_each(|(snapshot, state)| check_all(snapshot, state, &mut Random(u64::from(seed))))
    }

    /// Every way to read, now.
    fn check(&self, seed: u32) -> Result<()> {
        let (db, state) = (self.machine.db(), &self.machine.model().state);
        check_all(&db.snapshot()?, state, &mut Random(u64::from(seed)))?;
        assert_eq!(db.list_collections()?, db.snapshot()?.list_collections());
        for (name, coll) in state {
            let collection = db.collection(name)?;
            assert_eq!((collection.name(), collection.count()?), (name.clone(), coll.rows.len() as u64));
            for number in 0..8 {
                let id = record_id((seed as u8).wrapping_add(number * 5));
                let row = collection.get(&id)?;
                assert_eq!(row.as_ref().map(|row| bits(row)), coll.rows.get(&id).map(|record| record.bits.clone()));
                assert_eq!(collection.contains(&id)?, row.is_some());
            }
        }
        Ok(())
    }
}

fn crash_plan(disk: &SimulatedDisk, (kind, seed): (u8, u32)) -> CrashPlan {
    let mut random = Random(u64::from(seed));
    match kind % 5 {
        0 => CrashPlan::LoseAll,
        1 => CrashPlan::KeepAll,
        2 => {
            let subset = (0..disk.unsynced()).map(|_| random.below(4) != 0).collect();
            let last = disk.last_unsynced_write().unwrap_or(0) as u64;
            CrashPlan::Torn { subset, last_write_bytes: random.below(last + 1) as usize }
        }
        _ => CrashPlan::Random { seed: random.next() },
    }
}

fn any_options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>(), prop::sample::select(vec![4_096, 140_000, 400_000])).prop_map(|(copied, every, memtable_bytes)| {
        let read_mode = if copied { ReadMode::Copied } else { ReadMode::Mapped };
        let checksum_mode = if every { ChecksumMode::EveryRead } else { ChecksumMode::FirstTouch };
        Options { memtable_bytes, read_mode, checksum_mode, ..machine::options() }
    })
}

/// Runs cases of a test: `PROPTEST_CASES`, or so many, with a seed that is printed.
fn run(name: &str, share: f64, test: impl Fn(Options, Vec<Raw>)) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = (number("PROPTEST_CASES").unwrap_or(400) as f64 * share).ceil() as u32;
    let seed = number("PROPTEST_RNG_SEED").unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    println!("{name}: {cases} cases; PROPTEST_RNG_SEED={seed} replays them");
    let mut runner = TestRunner::new(Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_time: 120_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct("proptest-regressions/model.txt"))),
        test_name: Some("model"),
        source_file: Some("tests/model.rs"),
        ..Config::default()
    });
    let outcome = runner.run(&(any_options(), prop::collection::vec(raw(), 1..70)), |(options, raws)| {
        test(options, raws);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{name}, PROPTEST_RNG_SEED={seed}: {error}");
    }
}

#[test]
fn the_api_and_power_cuts_on_a_simulated_disk_agree_with_the_model() {
    run("simulated", 1.0, |options, raws| {
        let disk = SimulatedDisk::new(raws.len() as u64);
        World::new(Machine::on(disk.clone(), Arc::new(disk), options), true).run(&raws);
    });
}

/// As impatient as possible, so that flushes and compactions run among the operations.
fn threaded(options: Options) -> Options {
    let (idle_flush_after, erase_after) = (Duration::from_millis(1), Duration::from_millis(1));
    Options { background: Background::Threads, idle_flush_after, erase_after, ..options }
}

#[test]
fn the_api_with_background_threads_in_memory_agrees_with_the_model() {
    run("threads in memory", 0.25, |options, raws| {
        World::new(Machine::on(SimulatedDisk::new(0), Arc::new(Memory::new()), threaded(options)), false).run(&raws);
    });
}

#[test]
fn the_api_with_background_threads_in_a_directory_agrees_with_the_model() {
    run("threads in a directory", 0.025, |options, raws| {
        let scratch = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> = Arc::new(Directory::create(scratch.path()).unwrap());
        World::new(Machine::on(SimulatedDisk::new(0), storage, threaded(options)), false).run(&raws);
    });
}
