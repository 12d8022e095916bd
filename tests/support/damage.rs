//! The campaign of damage: changes files of a database, reads everything back, and counts what became of each change.
//!
//! A change is *detected* if opening, reading or `verify` says so, by an error that names a file; *harmless* if everything read is right and
//! nothing complains; *dropped* if batches of the last sync group are gone, from the damage on; *wiped* if more is gone because the damage took
//! the end of the log and with it everything that proved there was more; *silent* if anything else is read without an error: never.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use varvite::{
    Database, Error, ErrorKind,
    io::{Storage, memory::Memory},
};

use super::{
    Random,
    state::{State, record},
    subjects::{Image, Nearest, Subject, frames, memory, nearest, options},
};

/// What became of the changes of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub tried: u64,
    /// Refused at open, read-only or writable.
    pub at_open: u64,
    /// Opened; reads of what is damaged are errors.
    pub at_read: u64,
    /// Everything is read right, and `verify` complains.
    pub by_verify: u64,
    /// Everything is read right and nothing complains.
    pub harmless: u64,
    /// Batches of the last sync group are gone, from the damage on.
    pub dropped: u64,
    /// Earlier batches too: no frame that proves them is intact.
    pub wiped: u64,
    /// Wrong data. Must be 0.
    pub silent: u64,
    /// Must be 0.
    pub panics: u64,
    /// Detected by an error that names no file, or that is of a kind that does not tell of damage. Must be 0.
    pub unnamed: u64,
}

/// Counts by the place of the damage, and the first few that must not be.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub rows: BTreeMap<String, Counts>,
    pub failures: Vec<String>,
}

impl Table {
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for row in self.rows.values() {
            total.add(row);
        }
        total
    }

    pub fn merge(&mut self, other: Self) {
        for (place, counts) in other.rows {
            self.rows.entry(place).or_default().add(&counts);
        }
        self.failures.extend(other.failures);
    }

    pub fn note(&mut self, place: &str, context: &str, outcome: &Outcome) {
        let row = self.rows.entry(place.to_owned()).or_default();
        row.tried += 1;
        match outcome {
            Outcome::AtOpen => row.at_open += 1,
            Outcome::AtRead => row.at_read += 1,
            Outcome::ByVerify => row.by_verify += 1,
            Outcome::Harmless => row.harmless += 1,
            Outcome::Dropped => row.dropped += 1,
            Outcome::Wiped => row.wiped += 1,
            Outcome::Silent(_) => row.silent += 1,
            Outcome::Panic(_) => row.panics += 1,
            Outcome::Unnamed(_) => row.unnamed += 1,
        }
        if let Outcome::Silent(what) | Outcome::Panic(what) | Outcome::Unnamed(what) = outcome
            && self.failures.len() < 20
        {
            self.failures.push(format!("{context}: {outcome:.40?}: {what}"));
        }
    }

    /// Fails with what must not be, after showing the table.
    pub fn must_be_clean(&self, title: &str) {
        println!("{title}\n{}", self.text());
        let total = self.total();
        assert!(total.tried > 0, "{title}: nothing was tried");
        assert_eq!((total.silent, total.panics, total.unnamed), (0, 0, 0), "{title}:\n{}", self.failures.join("\n"));
    }

    pub fn text(&self) -> String {
        let mut text = String::from(
            "| place | tried | open | read | verify | harmless | dropped | wiped | silent | panics |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for (place, row) in self.rows.iter().map(|(place, row)| (place.as_str(), row.clone())).chain([("all", self.total())]) {
            let Counts { tried, at_open, at_read, by_verify, harmless, dropped, wiped, silent, panics, .. } = row;
            writeln!(
                text,
                "| {place} | {tried} | {at_open} | {at_read} | {by_verify} | {harmless} | {dropped} | {wiped} | {silent} | {panics} |"
            )
            .unwrap();
        }
        text
    }
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.tried += other.tried;
        self.at_open += other.at_open;
        self.at_read += other.at_read;
        self.by_verify += other.by_verify;
        self.harmless += other.harmless;
        self.dropped += other.dropped;
        self.wiped += other.wiped;
        self.silent += other.silent;
        self.panics += other.panics;
        self.unnamed += other.unnamed;
    }
}

#[derive(Clone, Debug)]
pub enum Outcome {
    AtOpen,
    AtRead,
    ByVerify,
    Harmless,
    Dropped,
    Wiped,
    Silent(String),
    Panic(String),
    Unnamed(String),
}

/// A change: files that are replaced (`None`: removed), beside the undamaged ones.
pub type Change = BTreeMap<String, Option<Vec<u8>>>;

pub fn change(name: &str, bytes: Vec<u8>) -> Change {
    BTreeMap::from([(name.to_owned(), Some(bytes))])
}

/// A subject whose undamaged files are shared by every case.
pub struct Bench<'a> {
    pub subject: &'a Subject,
    shared: Memory,
}

impl<'a> Bench<'a> {
    pub fn new(subject: &'a Subject) -> Self {
        let shared = memory(&subject.files);
        // Mapped once, so that every case links the same frozen bytes.
        for name in subject.files.keys() {
            shared.open_read(name).unwrap().map().unwrap();
        }
        Self { subject, shared }
    }

    /// A directory with a change. LOCK and FLOOR are written in place, so they are never shared.
    pub fn directory(&self, change: &Change) -> Memory {
        let memory = Memory::new();
        let put = |name: &str, bytes: &[u8]| memory.create(name).unwrap().write_at(0, bytes).unwrap();
        for (name, bytes) in &self.subject.files {
            match change.get(name) {
                Some(Some(changed)) => put(name, changed),
                Some(None) => {}
                None if name == "LOCK" || name == "FLOOR" => put(name, bytes),
                None => assert!(self.shared.link_into(name, &memory, name).unwrap()),
            }
        }
        for (name, bytes) in change.iter().filter(|(name, _)| !self.subject.files.contains_key(*name)) {
            put(name, bytes.as_ref().unwrap());
        }
        memory
    }

    /// Opens, reads and verifies a changed directory, and judges.
    pub fn examine(&self, change: &Change) -> Outcome {
        let judged = catch_unwind(AssertUnwindSafe(|| self.judge(change)));
        judged.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Panic(text.unwrap_or_default())
        })
    }

    fn judge(&self, change: &Change) -> Outcome {
        let directory = self.directory(change);
        let verified = Database::verify_on(&directory, &options());
        let read_only = Database::open_read_only_on(Arc::new(directory.clone()), options()).map(|db| self.read(&db));
        let writable = Database::open_on(Arc::new(directory.clone()), options()).map(|db| self.read(&db));
        let mut errors: Vec<Error> = Vec::new();
        let (mut refused, mut places) = (false, BTreeSet::new());
        for opened in [read_only, writable] {
            match opened {
                Ok(Ok((place, found))) => {
                    places.insert(place);
                    errors.extend(found);
                }
                Ok(Err(wrong)) => return Outcome::Silent(wrong),
                Err(error) => {
                    refused = true;
                    errors.push(error);
                }
            }
        }
        let at_read = !refused && !errors.is_empty();
        let complaints = match verified {
            Ok(report) => report.damages,
            Err(error) => vec![error],
        };
        let verify_complains = !complaints.is_empty();
        errors.extend(complaints);
        if let Some(error) = errors.iter().find(|error| !tells_of_damage(error)) {
            return Outcome::Unnamed(format!("{error:?}"));
        }
        if let Some(least) = places.first().filter(|place| **place + 1 < self.subject.legal.len()) {
            return match self.may_drop_to(*least, change) {
                true if *least < self.subject.proven => Outcome::Wiped,
                true => Outcome::Dropped,
                false => Outcome::Silent(format!("rolled back to legal state {least}, although an intact frame proves more")),
            };
        }
        match (refused, at_read, verify_complains) {
            (true, ..) => Outcome::AtOpen,
            (_, true, _) => Outcome::AtRead,
            (_, _, true) => Outcome::ByVerify,
            _ => Outcome::Harmless,
        }
    }

    /// Whether every batch before the first changed byte of the log is in a legal state, and no frame that is as it was proves more than that.
    fn may_drop_to(&self, place: usize, change: &Change) -> bool {
        let Some((name, Some(Some(now)))) = self.subject.tail.as_ref().map(|name| (name, change.get(name))) else { return false };
        let before = &self.subject.files[name];
        let first_change = before.iter().zip(now).position(|(before, now)| before != now).unwrap_or(now.len()) as u64;
        let intact = frames(before).into_iter().filter(|(at, _, _)| {
            let header = *at as usize..*at as usize + 32;
            now.get(header.clone()) == before.get(header)
        });
        let proven = intact.map(|(_, _, durable)| durable).max().unwrap_or(0);
        // Nothing else may be changed but the log.
        let kept = self.subject.ends[place + 1] > first_change;
        change.len() == 1 && kept && proven <= self.subject.ends[place]
    }

    /// Reads everything in every way. The index of the legal state it is, and the errors met; or what was wrong.
    fn read(&self, db: &Database) -> Result<(usize, Vec<Error>), String> {
        let mut first = None;
        for (place, state) in self.subject.legal.iter().enumerate().rev() {
            let mut reading = Reading { db, errors: Vec::new() };
            let last = place + 1 == self.subject.legal.len();
            match reading.compare(state, last.then_some(&self.subject.nearest)) {
                Ok(()) => return Ok((place, reading.errors)),
                Err(wrong) => first = first.or(Some(wrong)),
            }
        }
        Err(first.unwrap())
    }
}

/// Damage is `Corruption` (or another format's) and names its file.
fn tells_of_damage(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Corruption | ErrorKind::NewerFormat) && error.file().is_some()
}

struct Reading<'a> {
    db: &'a Database,
    errors: Vec<Error>,
}

impl Reading<'_> {
    fn ok<T>(&mut self, result: varvite::Result<T>) -> Option<T> {
        result.map_err(|error| self.errors.push(error)).ok()
    }

    /// Compares all that can be read with a state. Errors are collected; what is no error must be right.
    fn compare(&mut self, state: &State, nearest_expected: Option<&Nearest>) -> Result<(), String> {
        let listed = self.db.list_collections().map_err(|error| error.to_string())?;
        let names: Vec<&str> = listed.iter().map(|info| info.name.as_str()).collect();
        if !names.iter().copied().eq(state.keys().map(String::as_str)) {
            return Err(format!("collections {names:?}"));
        }
        for info in listed {
            let expected = &state[&info.name];
            if (info.dimension, info.metric, info.count) != (expected.dimension, expected.metric, expected.rows.len() as u64) {
                return Err(format!("collection {info:?}"));
            }
            self.rows(&info.name, state)?;
            if let Some(expected) = nearest_expected
                && let Some(found) = self.ok(nearest(self.db, &info.name))
                && found != expected[&info.name]
            {
                return Err(format!("search in {} finds {found:?}", info.name));
            }
        }
        Ok(())
    }

    fn rows(&mut self, name: &str, state: &State) -> Result<(), String> {
        let expected = &state[name].rows;
        let collection = self.db.collection(name).map_err(|error| error.to_string())?.snapshot();
        for (id, wanted) in expected {
            let Some(row) = self.ok(collection.get(id)) else { continue };
            let Some(row) = row else { return Err(format!("{name}/{} is gone", id.escape_ascii())) };
            if let Some((_, found)) = self.ok(record(&row))
                && found != *wanted
            {
                return Err(format!("{name}/{}: {found:?} instead of {wanted:?}", id.escape_ascii()));
            }
        }
        for absent in [&b"d"[..], b"new", b"nobody", b"p-15", b"k\0\0\0\x63"].into_iter().filter(|id| !expected.contains_key(*id)) {
            if self.ok(collection.get(absent)).flatten().is_some() {
                return Err(format!("{name}/{} is back", absent.escape_ascii()));
            }
        }
        for reverse in [false, true] {
            let before = self.errors.len();
            let mut rows = self.ok(collection.iter()).into_iter().flatten();
            let mut seen = 0;
            while let Some(row) = if reverse { rows.next_back() } else { rows.next() } {
                let Some(row) = self.ok(row) else { continue };
                let Some((id, found)) = self.ok(record(&row)) else { continue };
                seen += 1;
                if expected.get(&id) != Some(&found) {
                    return Err(format!("iteration of {name} gives {}: {found:?}", id.escape_ascii()));
                }
            }
            if self.errors.len() == before && seen != expected.len() {
                return Err(format!("iteration of {name} gives {seen} of {} rows", expected.len()));
            }
        }
        Ok(())
    }
}

/// The part of a file that an offset lies in, for the table.
pub fn place(files: &Image, name: &str, offset: usize) -> String {
    let bytes = &files[name];
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    match name.split('-').next().unwrap() {
        "LOCK" => (if offset < 64 { "LOCK identity" } else { "LOCK page" }).to_owned(),
        "FLOOR" => {
            let slot = offset / 4096;
            let in_force = word(slot * 4096 + 64) > word((1 - slot) * 4096 + 64);
            let part = if offset % 4096 >= 84 { "padding" } else { "fields" };
            format!("FLOOR {} slot, {part}", if in_force { "newer" } else { "older" })
        }
        "MANIFEST" => {
            let half = bytes.len() / 2;
            let part = if (offset % half) as u64 >= 80 + word(64) { "padding" } else { "fields" };
            format!("MANIFEST copy {}, {part}", 1 + offset / half)
        }
        "log" => {
            let role = if bytes[4096] == 0 { "spare log" } else { "log" };
            let end = frames(bytes).last().map_or(12_288, |(_, end, _)| *end);
            let proven = frames(bytes).last().map_or(12_288, |(_, _, proven)| *proven);
            let part = match offset {
                0..64 => "identity",
                4096..4160 | 8192..8256 => "an activation record",
                64..12_288 => "padding",
                _ if (offset as u64) < proven => "frames",
                _ if (offset as u64) < end => "last sync group",
                _ => "void behind the end",
            };
            format!("{role}, {part}")
        }
        _ => "segment file".to_owned(),
    }
}

/// How much of a campaign is run.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub seed: u64,
    /// Every so many bytes of a file.
    pub stride: usize,
    /// Every so many bytes of the zeros behind a log's end, of which most files consist.
    pub void_stride: usize,
    pub threads: usize,
}

/// Changes every byte in turn, wholly and by one random bit.
pub fn flip_bytes(subject: &Subject, budget: Budget) -> Table {
    let mut offsets: Vec<(&str, usize)> = Vec::new();
    for (name, bytes) in &subject.files {
        let void = if name.starts_with("log-") { frames(bytes).last().map_or(12_288, |(_, end, _)| *end as usize) } else { bytes.len() };
        let mut random = Random(budget.seed ^ bytes.len() as u64);
        let start = |random: &mut Random, stride: usize| random.below(stride as u64) as usize;
        let (first, behind) = (start(&mut random, budget.stride), start(&mut random, budget.void_stride));
        offsets.extend((first..void).step_by(budget.stride).map(|at| (name.as_str(), at)));
        offsets.extend((void + behind..bytes.len()).step_by(budget.void_stride).map(|at| (name.as_str(), at)));
    }
    run(subject, budget, offsets.len(), &|index, bench, table| {
        let (name, offset) = offsets[index];
        let mut random = Random(budget.seed ^ (index as u64) << 20);
        for mask in [0xFF, 1 << random.below(8)] {
            let mut bytes = bench.subject.files[name].to_vec();
            bytes[offset] ^= mask;
            let outcome = bench.examine(&change(name, bytes));
            let context = format!("{}, seed {:#x}, {name} byte {offset} ^ {mask:#x}", subject.name, budget.seed);
            table.note(&place(&subject.files, name, offset), &context, &outcome);
        }
    })
}

/// Runs numbered cases on threads; each has its own bench.
pub fn run(subject: &Subject, budget: Budget, cases: usize, case: &(dyn Fn(usize, &Bench<'_>, &mut Table) + Sync)) -> Table {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Table::default()));
    std::thread::scope(|scope| {
        for _ in 0..budget.threads {
            scope.spawn(|| {
                let (bench, mut table) = (Bench::new(subject), Table::default());
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= cases {
                        break;
                    }
                    case(index, &bench, &mut table);
                }
                all.lock().unwrap().merge(table);
            });
        }
    });
    all.into_inner().unwrap()
}
