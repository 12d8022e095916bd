//! One run: a database, threads that write, read and tidy up, perhaps a power cut, and the checks behind it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering},
};

use shuttle::thread;
use varvite::{
    Background, Codes, Collection, Database, Durability, ErrorKind, Metric, Options, Search,
    io::simulated::{CrashPlan, SimulatedDisk},
};

use super::{
    Figures,
    history::{self, Answer, Event, Kind, State, Write},
};
use crate::support::Random;

const DIMENSION: usize = 32;
/// Few, so that threads meet.
const IDS: u64 = 5;

/// What all threads of a run share.
#[derive(Clone)]
struct Run {
    db: Database,
    docs: Collection,
    disk: SimulatedDisk,
    /// Only one thread runs at a time: the order of these numbers is the order of what happened.
    time: Arc<AtomicU64>,
    events: Arc<Mutex<Vec<Event>>>,
    figures: Arc<Figures>,
}

pub fn run(seed: u64, figures: &Arc<Figures>) {
    let mut random = Random(seed);
    let disk = SimulatedDisk::new(seed);
    let db = Database::open_on(Arc::new(disk.clone()), options(Background::Threads)).unwrap();
    let docs = db.create_collection_with("docs", DIMENSION, Metric::L2, Codes::Int8).unwrap();
    let first = db.snapshot().unwrap().sequence();
    let run = Run { db, docs, disk, time: Arc::default(), events: Arc::default(), figures: Arc::clone(figures) };
    let mut threads = Vec::new();
    let (writers, readers) = (2 + random.below(2), 1 + random.below(2));
    for thread in 0..(writers + readers) as usize {
        let (mut own, random) = (run.clone(), Random(random.next()));
        threads.push(thread::spawn(move || if (thread as u64) < writers { own.write(thread, random) } else { own.read(thread, random) }));
    }
    let (own, tidy) = (run.clone(), Random(random.next()));
    threads.push(thread::spawn(move || own.tidy(tidy)));
    let cuts = random.below(3) == 0;
    if cuts {
        let (own, after) = (run.clone(), random.below(400));
        threads.push(thread::spawn(move || {
            (0..after).for_each(|_| thread::yield_now());
            own.disk.cut_power();
        }));
    }
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    run.end(first, cuts, &mut random);
}

fn options(background: Background) -> Options {
    Options { background, memtable_bytes: 4096, ..Options::default() }
}

impl Run {
    fn now(&self) -> u64 {
        self.time.fetch_add(1, Ordering::Relaxed)
    }

    fn note(&self, thread: usize, began: u64, kind: Kind) {
        let ended = self.now();
        self.events.lock().unwrap().push(Event { thread, began, ended, kind });
    }

    fn write(&mut self, thread: usize, mut random: Random) {
        for index in 0..4 + random.below(6) {
            let synced = random.below(2) == 0;
            let count = 1 + random.below(3) * random.below(2);
            let mut batch = self.db.batch();
            batch.durability(if synced { Durability::Synced } else { Durability::Buffered });
            let mut writes = Vec::new();
            let mut refusable = None;
            for _ in 0..count {
                let id = random.below(IDS) as u8;
                let value = (thread as u32 + 1) * 1000 + index as u32 * 10 + writes.len() as u32;
                let mut row = [0.0; DIMENSION];
                row[0] = value as f32;
                match random.below(8) {
                    0 | 1 => {
                        batch.delete(&self.docs, [id]).unwrap();
                        writes.push(Write::Delete(id));
                        continue;
                    }
                    2 if count == 1 => {
                        batch.insert(&self.docs, [id], &row).unwrap();
                        refusable = Some((id, true));
                    }
                    3 if count == 1 => {
                        batch.update(&self.docs, [id], &row).unwrap();
                        refusable = Some((id, false));
                    }
                    _ => drop(batch.upsert(&self.docs, [id], &row).unwrap()),
                }
                writes.push(Write::Put(id, value));
            }
            let began = self.now();
            let answer = match batch.commit() {
                Ok(commit) => Answer::Committed(commit.sequence(), (0..writes.len()).map(|index| commit.existed(index)).collect()),
                Err(error) => match (error.kind(), refusable) {
                    (ErrorKind::AlreadyExists | ErrorKind::NotFound, Some((id, was_there))) => Answer::Refused { id, was_there },
                    _ => {
                        assert!(self.disk.power_is_cut(), "{error:?}");
                        self.note(thread, began, Kind::Write { synced, writes, answer: Answer::Unknown });
                        return;
                    }
                },
            };
            self.figures.operations.fetch_add(1, Ordering::Relaxed);
            self.note(thread, began, Kind::Write { synced, writes, answer });
        }
    }

    fn read(&mut self, thread: usize, mut random: Random) {
        for _ in 0..4 + random.below(6) {
            let began = self.now();
            let kind = if random.below(3) > 0 {
                let id = random.below(IDS) as u8;
                let Some(row) = self.readable(self.docs.get([id])) else { return };
                Kind::Get { id, found: row.map(|row| row[0] as u32) }
            } else {
                let snapshot = self.db.snapshot().unwrap();
                let docs = snapshot.collection("docs").unwrap();
                let Some(state) = self.readable(observe(docs.iter())) else { return };
                assert_eq!(docs.count().ok(), Some(state.len() as u64), "count of a snapshot");
                thread::yield_now();
                let Some(again) = self.readable(observe(docs.iter())) else { return };
                assert_eq!(again, state, "a snapshot changed");
                // Hardly off the origin, which has no code.
                let nearest = docs.search_by(&Search::nearest(2).threads(3), &[-0.01; DIMENSION]);
                let Some(nearest) = self.readable(nearest) else { return };
                let found: Vec<(u32, u8)> = nearest[0].iter().map(|hit| (hit.distance.sqrt() as u32, hit.id[0])).collect();
                let mut expected: Vec<(u32, u8)> = state.iter().map(|(id, value)| (*value, *id)).collect();
                expected.sort_unstable();
                expected.truncate(2);
                assert_eq!(found, expected, "a search of three threads in a snapshot");
                Kind::Snapshot { sequence: snapshot.sequence(), state }
            };
            self.figures.reads.fetch_add(1, Ordering::Relaxed);
            self.note(thread, began, kind);
        }
    }

    /// Files of a disk without power cannot be read; whatever else fails is an error.
    fn readable<T>(&self, result: varvite::Result<T>) -> Option<T> {
        assert!(result.is_ok() || self.disk.power_is_cut(), "{:?}", result.as_ref().err());
        result.ok()
    }

    fn tidy(&self, mut random: Random) {
        for _ in 0..random.below(8) {
            let done = match random.below(6) {
                0 => self.db.flush(),
                1 => self.db.compact(),
                2 | 3 => {
                    self.disk.clock().advance(std::time::Duration::from_secs(random.below(90)));
                    Ok(())
                }
                _ => {
                    (0..random.below(60)).for_each(|_| thread::yield_now());
                    Ok(())
                }
            };
            if done.is_err() {
                assert!(self.disk.power_is_cut(), "{done:?}");
                return;
            }
        }
    }

    fn end(self, first: u64, cuts: bool, random: &mut Random) {
        let events = self.events.lock().unwrap().clone();
        let states = history::replay(&events, first);
        history::check_reads(&events, &states);
        let stats = self.db.stats().unwrap();
        self.figures.flushes.fetch_add(stats.flushes, Ordering::Relaxed);
        self.figures.compactions.fetch_add(stats.compactions, Ordering::Relaxed);
        let Self { db, docs, disk, figures, .. } = self;
        let plan = if cuts {
            figures.cuts.fetch_add(1, Ordering::Relaxed);
            drop((docs, db));
            CrashPlan::Random { seed: random.next() }
        } else {
            drop(docs);
            db.close().unwrap();
            CrashPlan::LoseAll
        };
        let disk = disk.crash(&plan);
        let report = Database::verify_on(&disk, &options(Background::Inline)).unwrap();
        assert!(report.damages.is_empty(), "after the end: {:?}", report.damages);
        let db = Database::open_on(Arc::new(disk), options(Background::Inline)).unwrap();
        let (sequence, found) = (db.snapshot().unwrap().sequence(), observe(db.collection("docs").unwrap().iter()).unwrap());
        let last = states.keys().next_back().copied().unwrap_or(first);
        if !cuts {
            assert_eq!((sequence, Some(&found)), (last, states.get(&last)), "after closing and opening");
            return;
        }
        let durable = events.iter().filter_map(|event| match &event.kind {
            Kind::Write { synced: true, answer: Answer::Committed(sequence, _), .. } => Some(*sequence),
            _ => None,
        });
        let durable = durable.max().unwrap_or(first);
        assert!(sequence >= durable, "{durable} was acknowledged as durable, {sequence} is there; {events:?}");
        let legal = if sequence <= last { states.get(&sequence) == Some(&found) } else { explained(&events, &states[&last], &found) };
        assert!(legal, "after a power cut at {sequence}: {found:?}; states {states:?}; {events:?}");
    }
}

fn observe(rows: varvite::Result<varvite::Rows>) -> varvite::Result<State> {
    rows?.map(|row| row.map(|row| (row.id()[0], row[0] as u32))).collect()
}

/// Whether some of the commits without an answer, in some order, lead from the last known state to the one found.
fn explained(events: &[Event], last: &State, found: &State) -> bool {
    let unknown = events.iter().filter_map(|event| match &event.kind {
        Kind::Write { writes, answer: Answer::Unknown, .. } => Some(writes.as_slice()),
        _ => None,
    });
    let unknown: Vec<&[Write]> = unknown.collect();
    reaches(last, found, &unknown)
}

fn reaches(state: &State, found: &State, left: &[&[Write]]) -> bool {
    state == found
        || (0..left.len()).any(|index| {
            let (mut next, mut rest) = (state.clone(), left.to_vec());
            history::apply(&mut next, rest.remove(index));
            reaches(&next, found, &rest)
        })
}
