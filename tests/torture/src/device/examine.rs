//! What is left after a power cut: mounted, opened, held against what must and may be there.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use varvite::{Background, Database, Options};
use xxhash_rust::xxh3::Xxh3;

use super::{
    blocks::{BLOCK_BYTES, Image},
    disk::{Flavor, Mounted},
    loops::Loop,
    session::{Copied, DATABASE},
};
use crate::{
    powercut::writer::{self, Bounds, Ledger, WRITERS},
    support::state::observe,
};

/// A disk after a power cut.
#[derive(Clone)]
pub struct Crash {
    pub flavor: Flavor,
    pub seed: u64,
    pub image: Image,
    /// Whether the database must be there.
    pub created: bool,
    pub bounds: Bounds,
    /// The checkpoints that must be there.
    pub copies: Vec<Copied>,
}

/// How many batches of each writer an examination found.
pub type Found = [u64; WRITERS];

#[derive(Default)]
pub struct Counts {
    pub images: u64,
    pub directories: u64,
    pub records: u64,
    pub copies: u64,
}

/// A device to examine on, and what is known already.
pub struct Examiner {
    device: Loop,
    file: File,
    mounted: PathBuf,
    images: HashMap<(u64, usize, bool), Found>,
    directories: HashMap<(u64, usize, bool), Found>,
    pub counts: Counts,
}

impl Examiner {
    pub fn new(bytes: u64, directory: &Path) -> Self {
        let path = directory.join("examined");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        file.set_len(bytes).unwrap();
        let device = Loop::attach(&file, false).unwrap_or_else(|error| panic!("no loop device: {error}"));
        let mounted = directory.join("mounted");
        Self { device, file, mounted, images: HashMap::new(), directories: HashMap::new(), counts: Counts::default() }
    }

    /// Panics if a promise is broken.
    pub fn examine(&mut self, crash: &Crash) -> Found {
        let key = (crash.image.hash(), crash.copies.len(), crash.created);
        let found = match self.images.get(&key) {
            Some(found) => *found,
            None => {
                self.counts.images += 1;
                self.mount_and_look(crash)
            }
        };
        self.images.insert(key, found);
        check_bounds(&found, &crash.bounds);
        found
    }

    fn mount_and_look(&mut self, crash: &Crash) -> Found {
        self.device.empty(crash.image.bytes()).unwrap_or_else(|error| panic!("the device is still in use: {error}"));
        crash.image.write_to(&self.file).unwrap();
        let mounted = Mounted::new(crash.flavor, &self.device, self.mounted.clone());
        let mounted = mounted.unwrap_or_else(|error| panic!("the file system cannot be mounted: {error}"));
        let key = (hash_of_directory(&mounted.path), crash.copies.len(), crash.created);
        if let Some(found) = self.directories.get(&key) {
            return *found;
        }
        self.counts.directories += 1;
        let path = mounted.path.join(DATABASE);
        if !crash.created {
            drop(Database::open(&path, calm()).unwrap_or_else(|error| panic!("half a creation cannot be opened: {error:?}")));
            writer::create(&path).unwrap_or_else(|error| panic!("half a creation cannot be finished: {error:?}"));
        }
        let found = self.look(&path, crash.seed, &crash.bounds);
        for copied in &crash.copies {
            let bounds = [0, 1, 2].map(|writer: usize| (copied.least[writer], crash.bounds[writer].1));
            self.look(&mounted.path.join(&copied.name), crash.seed, &bounds);
            self.counts.copies += 1;
        }
        self.directories.insert(key, found);
        found
    }

    fn look(&mut self, path: &Path, seed: u64, bounds: &Bounds) -> Found {
        let report = Database::verify(path, calm()).unwrap_or_else(|error| panic!("cannot be verified: {error:?}"));
        assert!(report.damages.is_empty(), "damage before the recovery: {:?}", report.damages);
        let db = Database::open(path, calm()).unwrap_or_else(|error| panic!("cannot be opened: {error:?}"));
        let (first, sequence) = (observe(&db).unwrap(), db.snapshot().unwrap().sequence());
        let mut ledger = Ledger::default();
        let (records, _) = ledger.check(seed, &first, sequence, bounds, 1);
        self.counts.records += records;
        drop(db);
        let report = Database::verify(path, calm()).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "after the recovery: {report:?}");
        let db = Database::open(path, calm()).unwrap_or_else(|error| panic!("cannot be opened again: {error:?}"));
        assert!(observe(&db).unwrap() == first && db.snapshot().unwrap().sequence() == sequence, "the second open changed something");
        ledger.numbers()
    }
}

/// To look at the state without changing it: nothing runs in the background.
fn calm() -> Options {
    Options { background: Background::Inline, ..writer::options() }
}

fn check_bounds(found: &Found, bounds: &Bounds) {
    for (writer, (there, (least, most))) in found.iter().zip(bounds).enumerate() {
        assert!(there >= least, "writer {writer}: batch {least} was acknowledged as durable, but only {there} are there");
        assert!(there <= most, "writer {writer}: {there} batches are there, but only {most} were issued");
    }
}

/// Of names and contents, everywhere below.
fn hash_of_directory(path: &Path) -> u64 {
    let mut hash = Xxh3::new();
    let mut rest = vec![path.to_owned()];
    while let Some(path) = rest.pop() {
        hash.update(path.as_os_str().as_encoded_bytes());
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            rest.extend(entries.map(|entry| entry.unwrap().path()));
            rest.sort();
        } else {
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            hash.update(&(bytes.len() as u64).to_le_bytes());
            hash.update(&bytes);
        }
    }
    hash.digest()
}

impl Crash {
    /// Keeps it in a file, so that it can be tried again.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let copies: Vec<Value> = self.copies.iter().map(|copied| json!([copied.name, copied.least])).collect();
        let header = json!({
            "flavor": self.flavor.name(), "seed": self.seed, "bytes": self.image.bytes(),
            "created": self.created, "bounds": self.bounds, "copies": copies,
        });
        let mut file = std::io::BufWriter::new(File::create(path)?);
        writeln!(file, "{header}")?;
        for (index, block) in self.image.blocks() {
            file.write_all(&(index as u64).to_le_bytes())?;
            file.write_all(block)?;
        }
        file.flush()
    }

    pub fn load(path: &str) -> Result<Self, String> {
        let mut file = BufReader::new(File::open(path).map_err(|error| format!("{path}: {error}"))?);
        let mut header = String::new();
        file.read_line(&mut header).map_err(|error| format!("{path}: {error}"))?;
        let header: Value = serde_json::from_str(&header).map_err(|error| format!("{path}: {error}"))?;
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        let each = |value: &Value| [0, 1, 2].map(|writer: usize| number(&value[writer]));
        let copies = header["copies"].as_array().into_iter().flatten();
        let mut image = Image::zeros(number(&header["bytes"]));
        let (mut index, mut block) = ([0; 8], [0; BLOCK_BYTES]);
        while file.read_exact(&mut index).and_then(|()| file.read_exact(&mut block)).is_ok() {
            image.write(u64::from_le_bytes(index) * BLOCK_BYTES as u64, &block);
        }
        Ok(Self {
            flavor: header["flavor"].as_str().and_then(Flavor::named).ok_or_else(|| format!("{path}: of no known file system"))?,
            seed: number(&header["seed"]),
            image,
            created: header["created"] == true,
            bounds: [0, 1, 2].map(|writer: usize| (number(&header["bounds"][writer][0]), number(&header["bounds"][writer][1]))),
            copies: copies.map(|copied| Copied::kept(copied[0].as_str().unwrap_or_default(), each(&copied[1]))).collect(),
        })
    }
}
