//! Deleted means gone: nothing of a deleted record stays in any file of the directory, neither as it was written nor compressed.
//!
//! Every id, vector, document, metadata value and uri is unique and does not compress; every 16 bytes of each are searched for at every byte of
//! every file, and in every payload block as it decompresses. `VARVITE_ERASE_DEFAULT=1` waits for the true default of `erase_after` too.

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
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use support::{
    Random,
    state::{difference, observe},
};
use varvite::{Background, Collection, Database, Durability, Fields, Metadata, Metric, Options};

const SEED: u64 = 0x5EED_00E5;
const WINDOW: usize = 16;
const RECORDS: usize = 4_000;
const DELETED: usize = 1_000;
const FLUSHES: usize = 4;

/// A record that occurs nowhere else, not even in parts.
#[derive(Clone)]
struct Unique {
    id: String,
    vector: Vec<f32>,
    texts: [String; 3],
}

impl Unique {
    fn new(random: &mut Random) -> Self {
        let vector = (0..32).map(|_| f32::from_bits(0x3F80_0000 | random.below(1 << 23) as u32)).collect();
        let texts = [token(random, 200), token(random, 40), token(random, 40)];
        Self { id: token(random, 32), vector, texts }
    }

    fn fields(&self) -> Fields<'_> {
        let [document, value, uri] = &self.texts;
        Fields::vector(&self.vector).with_document(document).with_metadata(Metadata::new().with("key", value.as_str())).with_uri(uri)
    }

    /// All its parts as they are stored.
    fn parts(&self) -> Vec<Vec<u8>> {
        let vector = self.vector.iter().flat_map(|element| element.to_le_bytes()).collect();
        [vec![vector, self.id.clone().into_bytes()], self.texts.iter().map(|text| text.clone().into_bytes()).collect()].concat()
    }
}

/// Of 64 letters, so that LZ4 finds nothing to repeat.
fn token(random: &mut Random, len: usize) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    (0..len).map(|_| char::from(letters[random.below(64) as usize])).collect()
}

fn windows<'a>(parts: impl IntoIterator<Item = &'a Vec<u8>>) -> HashSet<[u8; WINDOW]> {
    parts.into_iter().flat_map(|part| part.windows(WINDOW)).map(|window| window.try_into().unwrap()).collect()
}

/// Whether nothing is found, and no file is being written at this moment, whose payloads could not be decompressed.
fn is_gone(directory: &Path, needles: &HashSet<[u8; WINDOW]>) -> bool {
    let (found, settled) = search(directory, needles);
    settled && found.is_empty()
}

fn found(directory: &Path, needles: &HashSet<[u8; WINDOW]>) -> usize {
    search(directory, needles).0.len()
}

/// The windows that are found in any file of a directory, or in what its payload blocks decompress to.
fn search(directory: &Path, needles: &HashSet<[u8; WINDOW]>) -> (HashSet<[u8; WINDOW]>, bool) {
    // Most places are told apart by two bytes.
    let mut starts = vec![false; 1 << 16];
    needles.iter().for_each(|needle| starts[usize::from(needle[0]) << 8 | usize::from(needle[1])] = true);
    let (mut found, mut settled) = (HashSet::new(), true);
    let mut look = |bytes: &[u8]| {
        for window in bytes.windows(WINDOW) {
            if starts[usize::from(window[0]) << 8 | usize::from(window[1])]
                && let Some(needle) = needles.get(window)
            {
                found.insert(*needle);
            }
        }
    };
    let before = names(directory);
    for name in &before {
        // A file may go meanwhile: then the names differ afterwards.
        let Ok(bytes) = fs::read(directory.join(name)) else { continue };
        look(name.as_bytes());
        look(&bytes);
        if name.starts_with("seg-") {
            match payload_blocks(name, &bytes) {
                Some(blocks) => blocks.iter().for_each(|block| look(block)),
                None => settled = false,
            }
        }
    }
    // What moved from a file that was gone into one that was not listed would be missed.
    if names(directory) != before {
        return search(directory, needles);
    }
    (found, settled)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Decompresses all payload blocks of a segment file, referenced or not. Where they stand, `dump` tells. `None` for an unfinished file.
fn payload_blocks(name: &str, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut text = Vec::new();
    varvite::dump(name, bytes, &mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    if text.contains("DAMAGED") {
        return None;
    }
    let places = |section: &str| -> Vec<(usize, usize)> {
        let of = |line: &str| -> Option<(usize, usize)> {
            let (offset, rest) = line.trim_start().split_once(' ')?;
            let len = rest.trim_start().strip_prefix(section)?.split_whitespace().next()?;
            Some((offset.parse().unwrap(), len.parse().unwrap()))
        };
        text.lines().filter_map(of).collect()
    };
    let mut blocks = Vec::new();
    for ((index, len), (base, _)) in places("section payload index:").into_iter().zip(places("section payload blocks:")) {
        for entry in bytes[index..index + len].chunks_exact(24) {
            let word = |at: usize| u32::from_le_bytes(entry[at..at + 4].try_into().unwrap());
            let start = base + u64::from_le_bytes(entry[8..16].try_into().unwrap()) as usize;
            let stored = &bytes[start..start + word(16) as usize];
            let plain = word(20);
            blocks.push(match plain >> 31 {
                0 => stored.to_vec(),
                _ => lz4_flex::block::decompress(stored, (plain & 0x7FFF_FFFF) as usize).unwrap(),
            });
        }
    }
    Some(blocks)
}

/// A database with several segments, from each of which records will go, the first and the last of each among them.
struct Bench {
    _place: tempfile::TempDir,
    path: PathBuf,
    db: Database,
    docs: Collection,
    gone: Vec<Unique>,
    kept: Vec<Unique>,
}

impl Bench {
    fn new(options: Options) -> Self {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("db");
        let db = Database::open(&path, options).unwrap();
        let docs = db.create_collection("docs", 32, Metric::L2).unwrap().durability(Durability::Buffered);
        let mut random = Random(SEED);
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for flush in 0..FLUSHES {
            let mut records: Vec<Unique> = (0..RECORDS / FLUSHES).map(|_| Unique::new(&mut random)).collect();
            records.iter().for_each(|record| drop(docs.upsert(&record.id, record.fields()).unwrap()));
            if flush + 1 < FLUSHES {
                db.flush().unwrap();
            }
            records.sort_by(|a, b| a.id.cmp(&b.id));
            let last = records.len() - 1;
            for (place, record) in records.into_iter().enumerate() {
                if place == last || (place % 4 == 0 && place != 4) { gone.push(record) } else { kept.push(record) }
            }
        }
        assert_eq!(gone.len(), DELETED);
        Self { _place: place, path, db, docs, gone, kept }
    }

    fn needles(&self) -> HashSet<[u8; WINDOW]> {
        windows(&self.gone.iter().flat_map(Unique::parts).collect::<Vec<_>>())
    }

    /// Waits for the background to erase them; returns how long that took.
    fn wait_until_gone(&self, started: Instant, needles: &HashSet<[u8; WINDOW]>, at_most: Duration) -> Duration {
        loop {
            let now = started.elapsed();
            if is_gone(&self.path, needles) {
                // The search included: at most so long.
                return started.elapsed();
            }
            assert!(now < at_most, "after {at_most:?} pieces are still there: {}", self.places(needles));
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Which files hold how many, for a failure's message.
    fn places(&self, needles: &HashSet<[u8; WINDOW]>) -> String {
        let of = |entry: fs::DirEntry| {
            let bytes = fs::read(entry.path()).unwrap_or_default();
            let hits = bytes.windows(WINDOW).filter(|window| needles.contains(*window)).count();
            format!("{:?} {hits}, ", entry.file_name())
        };
        fs::read_dir(&self.path).unwrap().map(|entry| of(entry.unwrap())).collect()
    }

    /// What was not deleted is whole, and found by the same search: so the search works.
    fn check_kept(&self) {
        assert_eq!(self.docs.count().unwrap(), self.kept.len() as u64);
        for record in &self.kept {
            let row = self.docs.get(&record.id).unwrap().unwrap();
            assert!(row.vector() == record.vector && row.document().unwrap().as_deref() == Some(&*record.texts[0]));
        }
        let needles = windows(&self.kept.iter().step_by(7).flat_map(Unique::parts).collect::<Vec<_>>());
        let there = found(&self.path, &needles);
        // Ids stand without the few bytes that they share with their neighbour.
        assert!(there * 100 >= needles.len() * 99, "only {there} of {} pieces of what was kept are found", needles.len());
        let report = Database::verify(&self.path, Options::default()).unwrap();
        assert!(report.damages.is_empty(), "{report:?}");
    }
}

/// As the default, but for the time that is waited.
fn hasty() -> Options {
    Options { erase_after: Duration::from_secs(1), idle_flush_after: Duration::from_millis(100), ..Options::default() }
}

#[test]
fn purged_records_are_gone_from_every_file_at_once() {
    let bench = Bench::new(Options::default());
    let needles = bench.needles();
    let before = found(&bench.path, &needles);
    assert!(before * 100 >= needles.len() * 99, "only {before} of {} pieces are found before", needles.len());
    let ids: Vec<&str> = bench.gone.iter().map(|record| record.id.as_str()).collect();
    let receipt = bench.docs.purge(&ids).unwrap();
    assert_eq!(found(&bench.path, &needles), 0, "{}", bench.places(&needles));
    println!("seed {SEED:#x}: {} pieces of {} records found before the purge, 0 after; {receipt:?}", before, receipt.deleted);
    assert_eq!((receipt.deleted, receipt.files_rewritten.is_empty()), (DELETED as u64, false));
    bench.check_kept();
    // Once more: they are not there any more, and nothing is to be rewritten.
    let again = bench.docs.purge(&ids).unwrap();
    assert_eq!((again.deleted, again.files_rewritten), (0, Vec::new()));
    assert_eq!(found(&bench.path, &needles), 0);
}

#[test]
fn deleted_records_are_gone_from_every_file_soon_after_the_last_write() {
    erase_in_the_background(hasty(), Duration::from_secs(30));
}

/// 60 s after the last write, as docs/guarantees.md promises for the default.
#[test]
fn deleted_records_are_gone_with_default_options() {
    if std::env::var_os("VARVITE_ERASE_DEFAULT").is_none() {
        println!("SKIPPED: it waits a minute; set VARVITE_ERASE_DEFAULT=1");
        return;
    }
    erase_in_the_background(Options::default(), Duration::from_secs(60));
}

fn erase_in_the_background(options: Options, at_most: Duration) {
    let erase_after = options.erase_after;
    let bench = Bench::new(options);
    bench.gone.iter().for_each(|record| assert!(bench.docs.delete(&record.id).unwrap()));
    let written = Instant::now();
    let needles = bench.needles();
    let took = bench.wait_until_gone(written, &needles, at_most);
    println!("seed {SEED:#x}: {DELETED} deleted records were gone {took:?} after the last write, with erase_after {erase_after:?}");
    bench.check_kept();
}

/// What an update replaces is as deleted as what a delete removes.
#[test]
fn replaced_parts_are_gone_from_every_file() {
    let bench = Bench::new(hasty());
    let mut random = Random(SEED + 1);
    for record in &bench.gone {
        let new = Unique::new(&mut random);
        bench.docs.update(&record.id, new.fields()).unwrap();
    }
    let parts = |record: &Unique| record.parts().into_iter().filter(|part| *part != record.id.as_bytes()).collect::<Vec<_>>();
    let needles = windows(&bench.gone.iter().flat_map(parts).collect::<Vec<_>>());
    let took = bench.wait_until_gone(Instant::now(), &needles, Duration::from_secs(30));
    println!("seed {SEED:#x}: {DELETED} replaced records were gone after {took:?}");
    assert_eq!(bench.docs.count().unwrap(), RECORDS as u64);
}

/// Its records and its names, which logs and manifests hold; beside it lives another collection in the same files.
#[test]
fn a_dropped_collection_is_gone_from_every_file_with_its_names() {
    let bench = Bench::new(hasty());
    let mut random = Random(SEED + 2);
    let (first, second) = (token(&mut random, 40), token(&mut random, 40));
    let dropped = bench.db.create_collection(&first, 32, Metric::Cosine).unwrap();
    let records: Vec<Unique> = (0..DELETED).map(|_| Unique::new(&mut random)).collect();
    let mut batch = bench.db.batch();
    for record in &records {
        batch.insert(&dropped, &record.id, record.fields()).unwrap();
    }
    batch.commit().unwrap();
    bench.docs.upsert(&bench.kept[0].id, bench.kept[0].fields()).unwrap();
    bench.db.flush().unwrap();
    bench.db.rename_collection(&first, &second).unwrap();
    bench.db.flush().unwrap();
    let names = [first.into_bytes(), second.clone().into_bytes()];
    let needles = windows(&[records.iter().flat_map(Unique::parts).collect::<Vec<_>>(), names.to_vec()].concat());
    assert!(found(&bench.path, &needles) * 100 > needles.len() * 99);
    bench.db.drop_collection(&second).unwrap();
    let took = bench.wait_until_gone(Instant::now(), &needles, Duration::from_secs(30));
    println!("seed {SEED:#x}: a collection of {DELETED} records was gone after {took:?}");
    assert_eq!(bench.docs.count().unwrap(), RECORDS as u64);
}

/// All of a segment deleted, and a segment's only record: no id bound, empty file or manifest entry may keep a name.
#[test]
fn whole_segments_of_deleted_records_are_gone() {
    let place = tempfile::tempdir().unwrap();
    let db = Database::open(place.path(), hasty()).unwrap();
    let docs = db.create_collection("docs", 32, Metric::Dot).unwrap();
    let mut random = Random(SEED + 3);
    let records: Vec<Unique> = (0..40).map(|_| Unique::new(&mut random)).collect();
    for record in &records[..20] {
        docs.insert(&record.id, record.fields()).unwrap();
    }
    db.flush().unwrap();
    for record in &records[20..25] {
        docs.insert(&record.id, record.fields()).unwrap();
        db.flush().unwrap();
    }
    // Never in a segment at all.
    for record in &records[25..] {
        docs.insert(&record.id, record.fields()).unwrap();
    }
    records.iter().for_each(|record| assert!(docs.delete(&record.id).unwrap()));
    let needles = windows(&records.iter().flat_map(Unique::parts).collect::<Vec<_>>());
    let started = Instant::now();
    while !is_gone(place.path(), &needles) {
        assert!(started.elapsed() < Duration::from_secs(30), "still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(docs.count().unwrap(), 0);
}

/// The story: a rewrite of a file gave each of its segments the new segments built for it by counting, one each. A segment whose documents
/// compress well was split in two, because uncompressed bytes were compared with compressed ones; so the next collection got the second half of
/// the one before it, and lost its own records. `verify` called it damage if the dimensions differed; if not, nobody did.
#[test]
fn a_rewrite_of_several_collections_in_one_file_keeps_each_record_where_it_belongs() {
    let options = Options { background: Background::Inline, ..Options::default() };
    let db = Database::in_memory(options).unwrap();
    let mut batch = db.batch();
    for name in ["a", "b", "c"] {
        batch.create_collection(name, 4, Metric::L2).unwrap();
    }
    batch.commit().unwrap();
    let names = ["a", "b", "c"];
    for name in names {
        let collection = db.collection(name).unwrap();
        for number in 0..40_u16 {
            let fields = Fields::from(vec![f32::from(number); 4]).with_document(format!("{name}{number} ").repeat(200));
            collection.insert(format!("{name}{number:02}"), fields).unwrap();
        }
    }
    db.flush().unwrap();
    for name in names {
        db.collection(name).unwrap().delete(format!("{name}07")).unwrap();
    }
    let before = observe(&db).unwrap();
    let rewritten = db.collection("a").unwrap().purge(&["a07"]).unwrap().files_rewritten;
    assert_eq!(rewritten.len(), 1);
    let after = observe(&db).unwrap();
    assert!(after == before, "the rewrite changed\n  {}", difference(&before, &after));
    db.compact().unwrap();
    let after = observe(&db).unwrap();
    assert!(after == before, "compaction changed\n  {}", difference(&before, &after));
}
