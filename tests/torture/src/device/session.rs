//! What is written to the logged disk, and what must and may be there at each position of its log.

use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use varvite::Database;

use super::{
    blocks::Image,
    disk::{Flavor, Logged, Mounted},
    server::Server,
};
use crate::{
    powercut::writer::{self, Bounds, WRITERS, is_synced},
    quiet::caught,
    support::Random,
};

/// Batches of each writer.
const BATCHES: u64 = 60;
/// Checkpoints of one session.
const COPIES: usize = 2;
pub const DATABASE: &str = "db";

/// Something that happened to a batch, with the position in the log.
#[derive(Clone, Copy, Debug)]
struct Event {
    position: u64,
    writer: usize,
    number: u64,
}

/// A checkpoint that had been taken.
#[derive(Clone, Debug)]
pub struct Copied {
    pub name: String,
    /// Acknowledged before it began.
    pub least: [u64; WRITERS],
    position: u64,
}

/// A session on a disk: what it began with, what it wrote, what it was told.
pub struct Session {
    pub base: Image,
    pub log: Vec<u8>,
    /// Batches that were there when it began.
    first: [u64; WRITERS],
    /// Where the database had been created, or recovered.
    pub opened: u64,
    issued: Vec<Event>,
    /// As durable.
    acknowledged: Vec<Event>,
    copies: Vec<Copied>,
    pub flushes: u64,
    pub compactions: u64,
}

impl Copied {
    pub fn kept(name: &str, least: [u64; WRITERS]) -> Self {
        Self { name: name.to_owned(), least, position: 0 }
    }
}

impl Session {
    /// Whether it began with a database.
    pub fn had_database(&self) -> bool {
        self.first != [0; WRITERS]
    }

    /// Of each writer, the batches that must and that may be there if the power is cut at this position.
    pub fn bounds(&self, position: u64) -> Bounds {
        let mut bounds = self.first.map(|number| (number, number));
        for event in self.acknowledged.iter().filter(|event| event.position <= position) {
            bounds[event.writer].0 = bounds[event.writer].0.max(event.number);
        }
        for event in self.issued.iter().filter(|event| event.position <= position) {
            bounds[event.writer].1 = bounds[event.writer].1.max(event.number);
        }
        bounds
    }

    /// The checkpoints that must be there.
    pub fn copies(&self, position: u64) -> Vec<Copied> {
        self.copies.iter().filter(|copied| copied.position <= position).cloned().collect()
    }

    pub fn batches(&self) -> u64 {
        self.issued.len() as u64
    }
}

struct Running<'a> {
    disk: &'a Logged<'a>,
    root: &'a Path,
    db: &'a Database,
    seed: u64,
    /// Names follow from it: other ones in each generation.
    names: u64,
    heard: [AtomicU64; WRITERS],
    issued: Mutex<Vec<Event>>,
    acknowledged: Mutex<Vec<Event>>,
    ended: AtomicBool,
}

/// Mounts, creates the database or recovers it, writes, closes, unmounts.
pub fn record(server: &Server, flavor: Flavor, seed: u64, base: Image, first: [u64; WRITERS], directory: &Path) -> Session {
    let disk = Logged::start(server, &base, directory);
    let mounted = Mounted::new(flavor, &disk.device, directory.join("mounted")).unwrap_or_else(|error| panic!("cannot mount: {error}"));
    let path = mounted.path.join(DATABASE);
    if first == [0; WRITERS] {
        writer::create(&path).unwrap();
    }
    let db = Database::open(&path, writer::options()).unwrap();
    let opened = disk.position();
    assert_eq!(writer::counters(&db).unwrap(), first, "the second recovery of one image found other batches");
    let running = Running {
        disk: &disk,
        root: &mounted.path,
        db: &db,
        seed,
        names: base.hash(),
        heard: first.map(AtomicU64::new),
        issued: Mutex::default(),
        acknowledged: Mutex::default(),
        ended: AtomicBool::new(false),
    };
    let copies = std::thread::scope(|scope| {
        let running = &running;
        let keeper = scope.spawn(move || caught(|| running.keep()));
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || caught(|| running.write(writer, first[writer])))).collect();
        let failed = writers.into_iter().filter_map(|writer| writer.join().unwrap().err()).last();
        running.ended.store(true, Ordering::SeqCst);
        let copies = keeper.join().unwrap();
        // Of each thread, so that it is not lost with it.
        match failed.map_or(copies, Err) {
            Ok(copies) => copies,
            Err(what) => panic!("while it was written: {what}"),
        }
    });
    let (issued, acknowledged) = (running.issued.into_inner().unwrap(), running.acknowledged.into_inner().unwrap());
    let stats = db.stats().unwrap();
    // Else with what its drop does.
    if seed.is_multiple_of(2) {
        db.close().unwrap();
    } else {
        drop(db);
    }
    drop(mounted);
    let log = disk.log();
    Session { base, log, first, opened, issued, acknowledged, copies, flushes: stats.flushes, compactions: stats.compactions }
}

impl Running<'_> {
    fn write(&self, writer: usize, first: u64) {
        for number in first + 1..=first + BATCHES {
            let others: Vec<u64> = self.heard.iter().map(|number| number.load(Ordering::SeqCst)).collect();
            self.issued.lock().unwrap().push(Event { position: self.disk.position(), writer, number });
            writer::write(self.db, self.seed, writer, number, &others).unwrap();
            self.heard[writer].store(number, Ordering::SeqCst);
            if is_synced(self.seed, writer, number) {
                self.acknowledged.lock().unwrap().push(Event { position: self.disk.position(), writer, number });
            }
        }
    }

    /// Does beside the writers what they do not cause.
    fn keep(&self) -> Vec<Copied> {
        let mut random = Random(self.names);
        let mut copies = Vec::new();
        for turn in random.below(3).. {
            std::thread::sleep(Duration::from_millis(5 + random.below(100)));
            if self.ended.load(Ordering::SeqCst) {
                break;
            }
            match turn % 3 {
                0 => self.db.flush().unwrap(),
                1 => self.db.compact().unwrap(),
                _ if copies.len() < COPIES => {
                    let name = format!("copy-{}", random.next());
                    let least = [0, 1, 2].map(|writer: usize| self.heard[writer].load(Ordering::SeqCst));
                    self.db.checkpoint(self.root.join(&name)).unwrap();
                    copies.push(Copied { name, least, position: self.disk.position() });
                }
                _ => {}
            }
        }
        copies
    }
}
