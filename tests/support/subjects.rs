//! Databases to be damaged: small, and holding everything that the format knows.

use std::{collections::BTreeMap, sync::Arc};

use varvite::{
    Background, Codes, Collection, Database, DuplicatePolicy, Durability, Fields, Metadata, Metric, Options,
    io::{
        Storage,
        memory::Memory,
        simulated::{CrashPlan, Fault, SimulatedDisk},
    },
};

use super::{
    state::{State, observe},
    workload::vector,
};

/// Ids and distances of the nearest, by collection.
pub type Nearest = BTreeMap<String, Vec<(Vec<u8>, u32)>>;

/// The files of a directory.
pub type Image = BTreeMap<String, Arc<Vec<u8>>>;

/// A database's files, and what must be read from them.
pub struct Subject {
    pub name: &'static str,
    pub files: Image,
    /// The states after each batch of the log in use, and the one before them. The last must be read; others only where the log is damaged so
    /// that nothing intact proves more.
    pub legal: Vec<State>,
    /// The state that the last frame proves durable.
    pub proven: usize,
    /// Answers in the last state: collection → ids and distances of the nearest.
    pub nearest: Nearest,
    /// Where in the log each legal state ends.
    pub ends: Vec<u64>,
    /// The log that was in use, if any batch is in it.
    pub tail: Option<String>,
    /// The same directory earlier.
    pub older: Vec<Image>,
}

pub fn options() -> Options {
    Options {
        memtable_bytes: 1 << 20,
        background: Background::Inline,
        allow_non_finite: true,
        // What is dead shall stay: kill sets are among what is damaged.
        erase_after: std::time::Duration::from_secs(1 << 30),
        idle_flush_after: std::time::Duration::from_secs(1 << 30),
        ..Options::default()
    }
}

pub fn image(storage: &dyn Storage) -> Image {
    let read = |name: &str| storage.open_read(name).unwrap().map().unwrap().to_vec();
    storage.list().unwrap().into_iter().map(|info| (info.name.clone(), Arc::new(read(&info.name)))).collect()
}

pub fn memory(image: &Image) -> Memory {
    let memory = Memory::new();
    for (name, bytes) in image {
        memory.create(name).unwrap().write_at(0, bytes).unwrap();
    }
    memory
}

pub fn query(dimension: usize) -> Vec<f32> {
    (0..dimension).map(|index| index as f32 % 7.0 - 2.5).collect()
}

pub fn nearest(db: &Database, name: &str) -> varvite::Result<Vec<(Vec<u8>, u32)>> {
    let collection = db.collection(name)?;
    let hits = collection.search(&query(collection.dimension()), 7)?;
    Ok(hits.into_iter().map(|hit| (hit.id, hit.distance.to_bits())).collect())
}

/// Every type of metadata.
fn metadata(seed: u64) -> Metadata {
    Metadata::new()
        .with("string", format!("text {seed}"))
        .with("i64", i64::MIN + seed as i64)
        .with("f64", f64::from_bits(0xBFF8_1234_5678_9ABC + seed))
        .with("bool", seed.is_multiple_of(2))
        .with("strings", vec!["a".to_owned(), String::new(), seed.to_string()])
        .with("i64s", vec![-1, seed as i64])
        .with("f64s", vec![-0.25, f64::MIN_POSITIVE, seed as f64])
        .with("bools", vec![true, false])
}

/// A record with a payload of every kind; the longer documents compress.
fn full(seed: u64, dimension: usize) -> Fields<'static> {
    let fields = Fields::from(vector(seed, dimension)).with_metadata(metadata(seed));
    let fields = fields.with_document(format!("document {seed} ").repeat(1 + seed as usize % 9));
    fields.with_uri(format!("file:///{seed}")).into_owned()
}

fn buffered(db: &Database, name: &str) -> Collection {
    db.collection(name).unwrap().durability(Durability::Buffered)
}

/// Padded rows with payloads and a bitmap of kills; packed rows in several groups with a list of kills; ids of all lengths; flushed segments of
/// several collections.
fn base(db: &Database) {
    db.create_collection("padded", 125, Metric::L2).unwrap();
    db.create_collection("packed", 19, Metric::Cosine).unwrap();
    db.create_collection_with("dot", 16, Metric::Dot, Codes::Int8).unwrap();
    db.create_collection("empty", 2, Metric::L2).unwrap();
    let padded = buffered(db, "padded");
    padded.bulk_load((0..18).map(|row| (format!("p-{row:02}"), full(row, 125))), DuplicatePolicy::Refuse).unwrap();
    let ids: Vec<Vec<u8>> = (0..110_u32).map(|row| [b"k".as_slice(), &row.to_be_bytes()].concat()).collect();
    let rows: Vec<f32> = (0..110).flat_map(|row| vector(row, 19)).collect();
    buffered(db, "packed").upsert_many(&ids, &rows).unwrap();
    let dot = buffered(db, "dot");
    for row in 0..14 {
        let id: Vec<u8> = std::iter::repeat_n(b'd', 1 + row as usize * 3).collect();
        let fields = if row % 2 == 0 { full(row, 16) } else { Fields::from(vector(row, 16)) };
        dot.insert(id, fields).unwrap();
    }
    db.flush().unwrap();
    for row in [1, 4, 7, 8] {
        padded.update(format!("p-{row:02}"), full(row + 50, 125)).unwrap();
    }
    assert!(padded.delete("p-15").unwrap());
    for row in [3_u32, 60, 99] {
        assert!(buffered(db, "packed").delete([b"k".as_slice(), &row.to_be_bytes()].concat()).unwrap());
    }
    dot.upsert("new", full(77, 16)).unwrap();
    db.flush().unwrap();
}

/// Every kind of operation in the log, most of it proven durable by what follows it; the last sync group holds three batches. Tells the state
/// after each batch.
fn log_everything(db: &Database) -> Vec<State> {
    let mut legal = vec![observe(db).unwrap()];
    let mut note = || legal.push(observe(db).unwrap());
    let dot = db.collection("dot").unwrap();
    dot.insert("in the log", full(31, 16)).unwrap();
    note();
    assert!(dot.delete("d").unwrap());
    note();
    let mut batch = db.batch();
    batch.create_collection("made", 5, Metric::L2).unwrap().drop_collection("empty");
    batch.rename_collection("packed", "renamed").unwrap();
    batch.update(&db.collection("padded").unwrap(), "p-03", full(90, 125)).unwrap();
    batch.commit().unwrap();
    note();
    db.collection("made").unwrap().insert("first", full(1, 5)).unwrap();
    note();
    db.collection("made").unwrap().insert([0xFF, 0, 0xFE], full(2, 5)).unwrap();
    note();
    buffered(db, "made").insert("tail 1", full(3, 5)).unwrap();
    note();
    assert!(buffered(db, "dot").delete("new").unwrap());
    note();
    db.collection("padded").unwrap().update("p-05", full(91, 125)).unwrap();
    note();
    legal
}

fn answers(db: &Database, state: &State) -> Nearest {
    state.keys().map(|name| (name.clone(), nearest(db, name).unwrap())).collect()
}

/// Offsets and durable-through fields of the frames of a log, as the specification lays them out.
pub fn frames(log: &[u8]) -> Vec<(u64, u64, u64)> {
    let word = |at: usize| u64::from_le_bytes(log[at..at + 8].try_into().unwrap());
    let mut at = 12_288_usize;
    let mut frames = Vec::new();
    while at + 32 <= log.len() && log[at..at + 4] != [0; 4] {
        let len = word(at) as u32 as usize;
        let end = (at + 32 + len).next_multiple_of(8);
        frames.push((at as u64, end as u64, word(at + 16)));
        at = end;
    }
    frames
}

/// The newest log with frames.
fn log_in_use(files: &Image) -> Option<String> {
    files.iter().filter(|(name, bytes)| name.starts_with("log-") && !frames(bytes).is_empty()).map(|(name, _)| name.clone()).next_back()
}

/// Closed: everything in segments, the logs empty.
pub fn closed() -> Subject {
    let storage = Memory::new();
    let open = || Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    let db = open();
    base(&db);
    let mut older = vec![image(&storage)];
    db.close().unwrap();
    older.push(image(&storage));
    let db = open();
    let legal = vec![observe(&db).unwrap()];
    let nearest = answers(&db, &legal[0]);
    older.push(image(&storage));
    db.close().unwrap();
    Subject { name: "closed", files: image(&storage), legal, proven: 0, nearest, ends: vec![0], tail: None, older }
}

/// Killed, with segments, kills, and a log with everything.
pub fn killed() -> Subject {
    let storage = Memory::new();
    let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
    base(&db);
    let mut older = vec![image(&storage)];
    let legal = log_everything(&db);
    let nearest = answers(&db, legal.last().unwrap());
    let files = image(&storage);
    let tail = log_in_use(&files).unwrap();
    let all = frames(&files[&tail]);
    assert_eq!(all.len() + 1, legal.len(), "every batch is one frame");
    let ends: Vec<u64> = std::iter::once(12_288).chain(all.iter().map(|(_, end, _)| *end)).collect();
    let proven = ends.iter().position(|end| *end == all.last().unwrap().2).unwrap();
    assert_eq!(proven + 4, legal.len(), "three batches in the last sync group");
    // The log as it was in the middle of its life.
    let middle = frames(&files[&tail])[3].1 as usize;
    let mut earlier = files.clone();
    let mut log = files[&tail].to_vec();
    log[middle..].fill(0);
    earlier.insert(tail.clone(), Arc::new(log));
    older.push(earlier);
    Subject { name: "killed", files, legal, proven, nearest, ends, tail: Some(tail), older }
}

/// Killed between the rotation of the log and the publication of what was flushed: two logs in use, the second without a frame.
pub fn rotated() -> Subject {
    let fresh = || {
        let disk = SimulatedDisk::new(7);
        let db = Database::open_on(Arc::new(disk.clone()), options()).unwrap();
        base(&db);
        let legal = log_everything(&db);
        (disk, db, legal)
    };
    let operations = {
        let (disk, db, _) = fresh();
        let before = disk.operations();
        db.flush().unwrap();
        before..disk.operations()
    };
    for operation in operations {
        let (disk, db, legal) = fresh();
        disk.inject(operation, Fault::PowerCut);
        assert!(db.flush().is_err());
        let files = image(&disk.crash(&CrashPlan::KeepAll));
        let activated = files.iter().filter(|(name, bytes)| name.starts_with("log-") && bytes[4096] != 0 && bytes[8192] != 0).count();
        if activated < 2 {
            continue;
        }
        let last = legal.len() - 1;
        let check = Database::open_read_only_on(Arc::new(memory(&files)), options()).unwrap();
        let nearest = answers(&check, &legal[last]);
        // The second log's activation proves everything in the first: nothing may be dropped.
        return Subject { name: "rotated", files, legal, proven: last, nearest, ends: Vec::new(), tail: None, older: Vec::new() };
    }
    panic!("no moment was found between the rotation and the publication")
}
