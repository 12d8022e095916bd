//! The room that files take, at every moment of a load, of overwriting and of deleting, with the flushes and compactions of the writer's own
//! thread: nothing here depends on time. `cargo bench --bench churn` measures the same with threads, on a real directory.

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

use support::Random;
use varvite::{
    Background, Collection, Database, Durability, Metric, Options,
    io::{Storage, memory::Memory},
};

const DIMENSION: usize = 64;
const ROWS: u64 = 60_000;
const SEED: u64 = 7;

fn options() -> Options {
    Options {
        memtable_bytes: 2 << 20,
        log_bytes: 4 << 20,
        background: Background::Inline,
        durability: Durability::Buffered,
        ..Options::default()
    }
}

struct World {
    storage: Arc<Memory>,
    db: Database,
    docs: Collection,
    random: Random,
    /// The greatest share of its bound that the directory took.
    worst: f64,
}

impl World {
    fn new() -> Self {
        let storage = Arc::new(Memory::new());
        let db = Database::open_on(Arc::<Memory>::clone(&storage), options()).unwrap();
        let docs = db.create_collection("docs", DIMENSION, Metric::L2).unwrap();
        Self { storage, db, docs, random: Random(SEED), worst: 0.0 }
    }

    fn bytes(&self) -> u64 {
        self.storage.list().unwrap().iter().map(|file| file.len).sum()
    }

    /// `live` is what the records need at most of late; an id, an ordinal and the index cost about 30 bytes a row.
    fn check(&mut self, rows: u64) {
        let live = rows * (DIMENSION as u64 * 4 + 40);
        let bound = 2 * live + options().memtable_bytes as u64 + options().log_bytes;
        self.worst = self.worst.max(self.bytes() as f64 / bound as f64);
        assert!(self.bytes() <= bound, "{} bytes for {rows} rows, at most {bound} are allowed (seed {SEED})", self.bytes());
    }

    fn write(&mut self, rows: &[u64], most: u64) {
        for batch in rows.chunks(500) {
            let mut batch = batch.to_vec();
            batch.sort_unstable();
            batch.dedup();
            let ids: Vec<String> = batch.iter().map(|row| format!("doc-{row:08}")).collect();
            let vectors: Vec<f32> = (0..ids.len() * DIMENSION).map(|_| (self.random.next() >> 40) as f32).collect();
            let _buffered = self.docs.upsert_many(&ids, &vectors).unwrap();
            self.check(most);
        }
    }

    fn shuffled(&mut self) -> Vec<u64> {
        let mut order: Vec<u64> = (0..ROWS).collect();
        for index in (1..order.len()).rev() {
            order.swap(index, self.random.below(index as u64 + 1) as usize);
        }
        order
    }

    fn load(&mut self) {
        let order = self.shuffled();
        for (index, part) in order.chunks(1000).enumerate() {
            self.write(part, (index as u64 + 1) * 1000);
        }
    }
}

#[test]
fn uniform_overwriting_stays_in_the_bound() {
    let mut world = World::new();
    world.load();
    for _ in 0..6 {
        let order = world.shuffled();
        world.write(&order, ROWS);
    }
    let stats = world.db.stats().unwrap();
    let written = stats.log_bytes_written + stats.flush_bytes_written + stats.compaction_bytes_written;
    let amplification = written as f64 / stats.log_bytes_written as f64;
    println!("{:.2} of the bound at worst, {} compactions, write amplification {amplification:.2}", world.worst, stats.compactions);
    assert!(stats.compactions >= 10 && amplification < 6.0, "{amplification}, {stats:?}");
    world.db.wait_idle().unwrap();
    let stats = world.db.stats().unwrap();
    assert!(stats.total_bytes as f64 <= 1.2 * stats.live_bytes as f64 + 1_048_576.0, "{stats:?}");
    world.db.compact().unwrap();
    let stats = world.db.stats().unwrap();
    assert!(stats.dead_bytes * 50 <= stats.live_bytes && stats.collections[0].runs == 1, "{stats:?}");
}

/// Ranks by a power law, the hot rows beside each other: what lies over one range of ids is many times what its bottom holds.
#[test]
fn skewed_overwriting_stays_in_the_bound() {
    let mut world = World::new();
    world.load();
    for _ in 0..6 {
        let rows: Vec<u64> =
            (0..ROWS).map(|_| (ROWS as f64).powf(world.random.below(1 << 30) as f64 / (1 << 30) as f64) as u64 - 1).collect();
        world.write(&rows, ROWS);
    }
    println!("{:.2} of the bound at worst", world.worst);
}

/// Ids in ascending order: nothing overlaps, so nothing is written twice but small segments that are joined.
#[test]
fn an_ascending_load_is_one_run_and_costs_little() {
    let mut world = World::new();
    let order: Vec<u64> = (0..ROWS).collect();
    world.write(&order, ROWS);
    world.db.flush().unwrap();
    let stats = world.db.stats().unwrap();
    assert_eq!(stats.collections[0].runs, 1);
    assert!(stats.compaction_bytes_written < stats.flush_bytes_written * 2, "{stats:?}");
}

#[test]
fn deleting_gives_room_back() {
    let mut world = World::new();
    world.load();
    for row in (0..ROWS).filter(|row| row % 10 != 0) {
        assert!(world.docs.delete(format!("doc-{row:08}")).unwrap());
    }
    world.db.wait_idle().unwrap();
    let stats = world.db.stats().unwrap();
    assert_eq!(stats.collections[0].count, ROWS / 10);
    assert!(stats.total_bytes as f64 <= 1.2 * stats.live_bytes as f64 + 1_048_576.0, "{stats:?}");
}

/// Each flush holds a little of every collection: files are shared, and what is dead in them is spread evenly.
#[test]
fn many_small_collections_stay_in_the_bound() {
    const COLLECTIONS: u64 = 300;
    let world = World::new();
    let collections: Vec<Collection> =
        (0..COLLECTIONS).map(|index| world.db.create_collection(&format!("c{index}"), DIMENSION, Metric::L2).unwrap()).collect();
    for round in 0..20 {
        let mut batch = world.db.batch();
        for collection in &collections {
            for row in 0..20 {
                batch.upsert(collection, format!("{row}"), vec![round as f32; DIMENSION]).unwrap();
            }
        }
        let _buffered = batch.commit().unwrap();
    }
    world.db.wait_idle().unwrap();
    let stats = world.db.stats().unwrap();
    let files = world.storage.list().unwrap().len();
    println!("{files} files, {} of {} bytes live, {} compactions", stats.live_bytes, stats.total_bytes, stats.compactions);
    assert!(stats.total_bytes as f64 <= 1.2 * stats.live_bytes as f64 + 1_048_576.0, "{stats:?}");
    assert!(files < 60, "{files} files for {COLLECTIONS} small collections");
}
