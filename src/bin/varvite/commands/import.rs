//! import: check everything, then write everything.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    io::Write,
    time::Instant,
};

use clap::Args;
use serde_json::json;
use varvite::{Collection, Commit, Database, DuplicatePolicy, Durability, Fields};

use super::{Place, open_writer_with};
use crate::{
    failure::{Failure, Outcome},
    ids::{IdOptions, readable},
    input::{Input, InputFiles, Piece},
    progress::{Progress, busy},
    text::{counted, grouped},
};

/// Write vectors, ids and texts from files into a collection (upsert)
///
/// All files are read and checked before anything is written; what is written is durable when the command returns. Stopped in the middle
/// (Ctrl-C, a full device), it leaves whole batches: run it again to go on.
#[derive(Args)]
#[command(after_help = "Examples:
  varvite import db verses --vectors verses.npy --ids verses.ids --records verses.jsonl
  varvite import db verses --vectors whole-records.jsonl
  varvite import db verses --vectors base.fvecs --bulk")]
pub(crate) struct Import {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    files: InputFiles,
    /// Records a batch, 1 to 1,000,000; each batch becomes visible at once and as a whole
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 1000, value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(1..=1_000_000))]
    batch: usize,
    /// Refuse ids that the collection holds already, instead of replacing their records
    #[arg(long)]
    insert: bool,
    /// Build segments directly, without the log
    #[arg(long)]
    bulk: bool,
    /// Return without waiting for due flushes and compactions: the next open does them
    #[arg(long)]
    no_wait: bool,
    /// Accept NaN and infinities, and keep them bit-exactly
    #[arg(long)]
    allow_non_finite: bool,
    #[command(flatten)]
    ids: IdOptions,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Import {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        // First the lock: a second writer learns at once that it has to wait, not after checking its files.
        let db = open_writer_with(&self.place.database, |options| options.allow_non_finite = self.allow_non_finite)?;
        let collection = db.collection(&self.place.collection)?;
        let started = Instant::now();
        let records = self.check(&collection)?;
        if self.bulk {
            self.load(&collection, records)?;
        } else {
            self.write(&db, &collection, records)?;
        }
        if !self.no_wait {
            busy("waiting for flushes and compactions", || db.wait_idle())
                .map_err(|error| Failure::from(error).noting(format!("all {} are durable", counted(records, "record"))))?;
        }
        let count = collection.count()?;
        db.close()?;
        let seconds = started.elapsed().as_secs_f64();
        if self.json {
            writeln!(out, "{}", json!({"imported": records, "count": count, "seconds": seconds}))?;
        } else {
            let name = &self.place.collection;
            writeln!(out, "imported {} in {seconds:.2} s; '{name}' holds {}", counted(records, "record"), grouped(count))?;
        }
        Ok(())
    }

    fn input(&self, collection: &Collection) -> Outcome<Input> {
        Input::open(&self.files, collection.dimension(), self.ids.id_encoding)
    }

    /// Reads everything once, so that bad input changes nothing. Returns the number of records.
    fn check(&self, collection: &Collection) -> Outcome<u64> {
        let mut input = self.input(collection)?;
        let mut progress = Progress::new("checking", input.rows().unwrap_or(0));
        let mut seen = Seen::default();
        let mut records = 0;
        loop {
            let piece = input.next_piece(self.batch)?;
            if piece.ids.is_empty() {
                return Ok(records);
            }
            self.check_piece(collection, &input, &piece, records, &mut seen)?;
            records += piece.ids.len() as u64;
            progress.advance(piece.ids.len() as u64);
        }
    }

    fn check_piece(&self, collection: &Collection, input: &Input, piece: &Piece, before: u64, seen: &mut Seen) -> Outcome {
        for (id, row) in piece.ids.iter().zip(before..) {
            if !seen.is_new(id) {
                let (id, first) = (readable(id), self.first_place(collection, id)?);
                return Err(Failure::refused(format!("the id {id} stands there twice: {} repeats {first}", input.place_of(row))));
            }
            if self.insert && collection.contains(id)? {
                let (name, id, place) = (&self.place.collection, readable(id), input.place_of(row));
                return Err(Failure::exists(format!("{place}: the id {id} exists in '{name}' already (--insert refuses it)")));
            }
        }
        if self.allow_non_finite {
            return Ok(());
        }
        match piece.first_non_finite().and_then(|index| piece.ids.get(index).map(|id| (index, id))) {
            Some((index, id)) => {
                let row = before + index as u64;
                Err(Failure::refused(format!(
                    "the vector of {} (row {row}, counted from 0) holds a NaN or an infinity (--allow-non-finite accepts it)",
                    readable(id)
                )))
            }
            None => Ok(()),
        }
    }

    /// Where an id stands first; looked up only to complain.
    fn first_place(&self, collection: &Collection, id: &[u8]) -> Outcome<String> {
        let mut input = self.input(collection)?;
        let mut before = 0;
        loop {
            let piece = input.next_piece(self.batch)?;
            if let Some(index) = piece.ids.iter().position(|other| other == id) {
                return Ok(input.place_of(before + index as u64));
            }
            if piece.ids.is_empty() {
                return Ok("an earlier one".to_owned());
            }
            before += piece.ids.len() as u64;
        }
    }

    /// Writes everything and waits until it is durable; a failure says how much of it is.
    fn write(&self, db: &Database, collection: &Collection, records: u64) -> Outcome {
        let mut written = 0;
        let mut last = None;
        let done = self.write_batches(db, collection, records, &mut written, &mut last);
        let durable = last.map_or(Ok(()), |commit: Commit| busy("syncing", || commit.wait()));
        let is_durable = durable.is_ok();
        let Err(failure) = done.and(durable.map_err(Failure::from)) else { return Ok(()) };
        let (some, all) = (grouped(written), counted(records, "record"));
        let again = if self.insert { "run it again without --insert to go on" } else { "run it again to go on" };
        Err(failure.noting(match written {
            0 => "no record was written".to_owned(),
            _ if is_durable => format!("{some} of {all} are durable: {again}"),
            _ => format!("at most {some} of {all} are durable (`varvite list` tells how many the collection holds): {again}"),
        }))
    }

    /// Writes in batches without waiting for each: waiting for the last makes all of them durable.
    fn write_batches(&self, db: &Database, collection: &Collection, records: u64, written: &mut u64, last: &mut Option<Commit>) -> Outcome {
        let mut input = self.input(collection)?;
        let mut progress = Progress::new("importing", records);
        loop {
            let piece = input.next_piece(self.batch)?;
            if piece.ids.is_empty() {
                return Ok(());
            }
            let mut batch = db.batch();
            for (id, fields) in piece.entries() {
                if self.insert {
                    batch.insert(collection, id, fields)?
                } else {
                    batch.upsert(collection, id, fields)?
                };
            }
            batch.durability(Durability::Buffered);
            *last = Some(batch.commit()?);
            *written += piece.ids.len() as u64;
            progress.advance(piece.ids.len() as u64);
        }
    }

    fn load(&self, collection: &Collection, records: u64) -> Outcome {
        let policy = if self.insert { DuplicatePolicy::Refuse } else { DuplicatePolicy::LastWins };
        let mut entries = Entries {
            input: self.input(collection)?,
            pieces: self.batch,
            ready: Vec::new().into_iter(),
            progress: Progress::new("loading", records),
            failure: None,
        };
        let loaded = collection.bulk_load(&mut entries, policy).map_err(|error| Failure::from(error).noting("no record was written"))?;
        match entries.failure {
            Some(failure) => Err(Failure::refused(format!(
                "a file changed while it was read, and only {} were loaded: {failure}",
                counted(loaded, "record")
            ))),
            None => Ok(()),
        }
    }
}

/// The records of an input one by one, owned; a failure ends them and is kept.
struct Entries {
    input: Input,
    pieces: usize,
    ready: std::vec::IntoIter<(Vec<u8>, Fields<'static>)>,
    progress: Progress,
    failure: Option<Failure>,
}

impl Iterator for Entries {
    type Item = (Vec<u8>, Fields<'static>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(entry) = self.ready.next() {
            return Some(entry);
        }
        match self.input.next_piece(self.pieces) {
            Ok(piece) => {
                self.progress.advance(piece.ids.len() as u64);
                let owned: Vec<_> = piece.entries().map(|(id, fields)| (id.to_vec(), fields.into_owned())).collect();
                self.ready = owned.into_iter();
                self.ready.next()
            }
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }
}

/// Ids met so far, as 128 bits of a hash with random keys: 16 bytes an id, and no input can be made that collides.
#[derive(Default)]
struct Seen {
    hashes: HashSet<u128>,
    keys: [RandomState; 2],
}

impl Seen {
    fn is_new(&mut self, id: &[u8]) -> bool {
        let hash = self.keys.iter().fold(0, |hash, key| hash << 64 | u128::from(key.hash_one(id)));
        self.hashes.insert(hash)
    }
}
