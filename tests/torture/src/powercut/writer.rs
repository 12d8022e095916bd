//! What is written while the power is cut, and what may be left of it.
//!
//! Each writer has ids of its own and numbers its batches; all of a batch follows from the seed, the writer and the number. It carries a counter:
//! its number, and how many batches of every other writer were acknowledged when it was issued. So what is recovered tells how many batches of
//! each writer are there, and whether they are a prefix of the commit order.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use varvite::{Background, Codes, Database, Durability, ErrorKind, Fields, Metric, Options};

use crate::support::{
    Random,
    child::say,
    state::{State, bits},
};

pub const WRITERS: usize = 3;
const IDS: u64 = 60;
const NAMES: [&str; 2] = ["a", "b"];
const DIMENSIONS: [usize; 2] = [8, 20];

/// Small enough that flushes and compactions happen all the time.
pub fn options() -> Options {
    Options {
        memtable_bytes: 260_000,
        log_bytes: 2 << 20,
        background: Background::Threads,
        erase_after: Duration::from_secs(1),
        ..Options::default()
    }
}

/// A write: collection, id, and the seed of its vector and text; a delete without it.
type Write = (usize, u64, Option<u64>);

fn plan(seed: u64, writer: usize, number: u64) -> (Durability, Vec<Write>) {
    let mut random = Random(seed ^ (writer as u64 + 1).wrapping_mul(0xA076_1D64_78BD_642F) ^ number.wrapping_mul(0xE703_7ED1_A0B4_28DB));
    let durability = if random.below(3) == 0 { Durability::Buffered } else { Durability::Synced };
    let writes = (0..1 + random.below(6))
        .map(|_| {
            let (collection, id, value) = (random.below(2) as usize, random.below(IDS), random.next());
            (collection, id, (random.below(5) > 0).then_some(value))
        })
        .collect();
    (durability, writes)
}

fn vector(value: u64, dimension: usize) -> Vec<f32> {
    let mut random = Random(value);
    (0..dimension).map(|_| (random.below(1 << 20) as f32 - 524_288.0) / 77.0).collect()
}

fn document(value: u64) -> String {
    format!("{value:016x} ").repeat(value as usize % 300)
}

fn id_of(writer: usize, id: u64) -> Vec<u8> {
    format!("{id:02}/{writer}").into_bytes()
}

/// Makes the collections. The counters' own collection stands for each batch.
pub fn create(path: &Path) -> varvite::Result<()> {
    let db = Database::open(path, options())?;
    for (name, dimension) in NAMES.into_iter().zip(DIMENSIONS) {
        if db.collection(name).is_err() {
            db.create_collection_with(name, dimension, Metric::L2, Codes::Int8)?;
        }
    }
    db.close()
}

/// Of each writer, the number of its last batch.
pub fn counters(db: &Database) -> varvite::Result<[u64; WRITERS]> {
    let collection = db.collection(NAMES[0])?;
    let mut numbers = [0; WRITERS];
    for (writer, number) in numbers.iter_mut().enumerate() {
        *number = collection.get(format!("counter-{writer}"))?.map_or(0, |row| row[0] as u64);
    }
    Ok(numbers)
}

/// The child: writes until the power is cut, saying each acknowledgement.
pub fn write_until_cut(path: &Path, seed: u64) {
    let db = Database::open(path, options()).unwrap_or_else(|error| {
        // Cut in the middle of the recovery, or a finding: the parent opens it too.
        say(&format!("refused {error:?}"));
        std::process::exit(1)
    });
    let issued = counters(&db).unwrap();
    say("opened");
    let acknowledged: Vec<AtomicU64> = issued.into_iter().map(AtomicU64::new).collect();
    std::thread::scope(|scope| {
        for (writer, number) in issued.into_iter().enumerate() {
            let (db, acknowledged) = (&db, &acknowledged);
            scope.spawn(move || {
                for number in number + 1.. {
                    let others: Vec<u64> = acknowledged.iter().map(|number| number.load(Ordering::SeqCst)).collect();
                    if let Err(error) = write(db, seed, writer, number, &others) {
                        // After the cut nothing works any more; before it nothing may fail.
                        say(&format!("failed {writer} {number} {:?} {error}", matches!(error.kind(), ErrorKind::Io | ErrorKind::Poisoned)));
                        return;
                    }
                    acknowledged[writer].store(number, Ordering::SeqCst);
                    say(&format!("ack {writer} {number}"));
                }
            });
        }
    });
    std::process::exit(1);
}

/// Commits a batch that knows of so many of the others.
pub fn write(db: &Database, seed: u64, writer: usize, number: u64, others: &[u64]) -> varvite::Result<()> {
    let (durability, writes) = plan(seed, writer, number);
    let handles = [db.collection(NAMES[0])?, db.collection(NAMES[1])?];
    let mut batch = db.batch();
    batch.durability(durability);
    let mut counter: Vec<f32> = [&[number], others].concat().iter().map(|number| *number as f32).collect();
    counter.resize(DIMENSIONS[0], 0.0);
    batch.upsert(&handles[0], format!("counter-{writer}"), counter)?;
    for (collection, id, value) in writes {
        match value {
            Some(value) => {
                let fields = Fields::from(vector(value, DIMENSIONS[collection])).with_document(document(value));
                batch.upsert(&handles[collection], id_of(writer, id), fields)?
            }
            None => batch.delete(&handles[collection], id_of(writer, id))?,
        };
    }
    batch.commit().map(drop)
}

/// Whether a batch is durable when it is acknowledged.
pub fn is_synced(seed: u64, writer: usize, number: u64) -> bool {
    plan(seed, writer, number).0 == Durability::Synced
}

/// What the first batches of each writer leave: known, as it was found and made durable by a recovery.
#[derive(Default)]
pub struct Ledger {
    numbers: [u64; WRITERS],
    records: BTreeMap<(usize, Vec<u8>), u64>,
}

/// Of each writer, how many batches were proven durable before the cut, and how many were acknowledged at all.
pub type Bounds = [(u64, u64); WRITERS];

impl Ledger {
    pub fn numbers(&self) -> [u64; WRITERS] {
        self.numbers
    }

    /// Compares what is there with what may be. Returns how many records were compared, and how many batches nobody had heard of.
    ///
    /// Each of the `cuts` since the last look may have left one batch of a writer that nobody was told of, and the next writer goes on behind it.
    pub fn check(&mut self, seed: u64, found: &State, sequence: u64, bounds: &Bounds, cuts: u64) -> (u64, u64) {
        let rows = &found[NAMES[0]].rows;
        let counter = |writer: usize| -> Vec<u64> {
            let row = rows.get(format!("counter-{writer}").as_bytes());
            row.map_or(vec![0; DIMENSIONS[0]], |row| row.bits.iter().map(|bits| f32::from_bits(*bits) as u64).collect())
        };
        let counters: Vec<Vec<u64>> = (0..WRITERS).map(counter).collect();
        let mut unheard = 0;
        for (writer, (durable, acknowledged)) in bounds.iter().enumerate() {
            let there = counters[writer][0];
            assert!(there >= *durable, "writer {writer}: batch {durable} was acknowledged as durable, but only {there} are there");
            assert!(there <= acknowledged + cuts, "writer {writer}: {there} batches are there, but only {acknowledged} were acknowledged");
            unheard += there.saturating_sub(*acknowledged);
            for (other, known) in counters[writer][1..=WRITERS].iter().enumerate() {
                assert!(*known <= counters[other][0], "a batch of writer {writer} is there, batch {known} of {other} before it is not");
            }
        }
        let batches: u64 = counters.iter().map(|counter| counter[0]).sum();
        assert_eq!(sequence, NAMES.len() as u64 + batches, "sequence {sequence} of {batches} batches: one is missing in the middle");
        for (writer, counter) in counters.iter().enumerate() {
            for number in self.numbers[writer] + 1..=counter[0] {
                self.apply(seed, writer, number);
            }
            self.numbers[writer] = counter[0];
        }
        (self.compare(found), unheard)
    }

    fn apply(&mut self, seed: u64, writer: usize, number: u64) {
        for (collection, id, value) in plan(seed, writer, number).1 {
            match value {
                Some(value) => drop(self.records.insert((collection, id_of(writer, id)), value)),
                None => drop(self.records.remove(&(collection, id_of(writer, id)))),
            }
        }
    }

    fn compare(&self, found: &State) -> u64 {
        let there: usize = NAMES.iter().map(|name| found[*name].rows.keys().filter(|id| !id.starts_with(b"counter-")).count()).sum();
        assert_eq!(there, self.records.len(), "records that were deleted are there, or some are missing");
        for ((collection, id), value) in &self.records {
            let name = NAMES[*collection];
            let record = found[name].rows.get(id).unwrap_or_else(|| panic!("{name}/{} is missing", id.escape_ascii()));
            let right = record.bits == bits(&vector(*value, DIMENSIONS[*collection])) && record.payload.document == Some(document(*value));
            assert!(right, "{name}/{} is wrong", id.escape_ascii());
        }
        self.records.len() as u64
    }
}
