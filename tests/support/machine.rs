//! A database on a simulated disk beside its model: each step is done to both.

use std::{collections::BTreeSet, sync::Arc};

use varvite::{
    Background, Codes, Collection, Commit, Database, DuplicatePolicy, Durability, Error, ErrorKind, Metric, Options, Result, Snapshot,
    io::{
        Storage,
        simulated::{CrashPlan, SimulatedDisk},
    },
};

use super::state::{Model, Op, Parts, Verb, observe, observe_snapshot};

/// What a workload is made of.
#[derive(Clone, Debug)]
pub enum Step {
    Batch(Vec<Op>, Durability),
    /// Waits for the last buffered commit.
    Await,
    Flush,
    Compact,
    /// Lets due compactions finish.
    Idle,
    Bulk(String, Vec<(Vec<u8>, Parts)>, DuplicatePolicy),
    /// One array call: vectors only.
    Many(Verb, String, Vec<(Vec<u8>, Vec<f32>)>, Durability),
    GetOrCreate(String, usize, Metric),
    Purge(String, Vec<Vec<u8>>),
    Checkpoint,
    /// Checks every byte, beside the writer. Orphans are allowed where background work is writing files.
    Verify {
        orphans: bool,
    },
    /// Opens it read-only beside the writer: what is acknowledged as durable must be seen.
    Beside,
    /// Keeps this moment; whatever happens meanwhile, it reads the same at the next of these steps, flush or compaction.
    Snapshot,
    Reopen,
    /// Seconds pass.
    Advance(u64),
}

impl Step {
    /// Whether its success proves that everything issued before is durable.
    fn proves_durable(&self) -> bool {
        match self {
            Self::Batch(_, durability) | Self::Many(.., durability) => *durability == Durability::Synced,
            // Only the first `get_or_create` of a name writes.
            Self::Advance(_) | Self::Verify { .. } | Self::Beside | Self::Snapshot | Self::Await | Self::GetOrCreate(..) => false,
            _ => true,
        }
    }
}

/// Small enough that about twenty writes fill a memtable, so that flushes and compactions happen all the time.
pub fn options() -> Options {
    Options { memtable_bytes: 140_000, background: Background::Inline, allow_non_finite: true, ..Options::default() }
}

pub fn open(disk: &SimulatedDisk) -> Result<Database> {
    Database::open_on(Arc::new(disk.clone()), options())
}

pub fn open_on(disk: &SimulatedDisk, options: Options) -> Result<Database> {
    Database::open_on(Arc::new(disk.clone()), options)
}

pub struct Machine {
    /// Where the database lives, unless another storage was given.
    pub disk: SimulatedDisk,
    storage: Arc<dyn Storage>,
    pub options: Options,
    pub db: Option<Database>,
    /// The last commit, and its place in the history.
    commit: Option<(Commit, usize)>,
    /// A moment that was kept, and what it must show.
    kept: Option<(Snapshot, Model)>,
    /// `history[k]` is the model after k batches, those issued but not acknowledged included.
    pub history: Vec<Model>,
    /// So many batches are proven durable.
    pub durable: usize,
    /// Histories that ended with a fault.
    past: Vec<Model>,
}

impl Machine {
    pub fn new(disk: SimulatedDisk) -> Self {
        let storage = Arc::new(disk.clone());
        Self::on(disk, storage, options())
    }

    /// A machine that flushes when told only.
    pub fn on_calm(disk: SimulatedDisk) -> Self {
        Self::on(disk.clone(), Arc::new(disk), Options { memtable_bytes: 16 << 20, ..options() })
    }

    /// A machine on another storage, or with other options. The disk tells the time, and takes the crashes if the storage is the same.
    pub fn on(disk: SimulatedDisk, storage: Arc<dyn Storage>, options: Options) -> Self {
        Self { disk, storage, options, db: None, commit: None, kept: None, history: vec![Model::default()], durable: 0, past: Vec::new() }
    }

    pub fn model(&self) -> &Model {
        self.history.last().unwrap()
    }

    pub fn db(&self) -> &Database {
        self.db.as_ref().expect("the database is open")
    }

    /// The states that a crash now may leave.
    pub fn legal(&self) -> &[Model] {
        &self.history[self.durable..]
    }

    pub fn open(&mut self) -> Result<()> {
        self.db = Some(Database::open_on(Arc::clone(&self.storage), self.options.clone())?);
        Ok(())
    }

    /// Runs steps until one fails.
    pub fn run(&mut self, steps: &[Step]) -> Result<()> {
        self.open()?;
        steps.iter().try_for_each(|step| self.step(step))
    }

    /// Does one step. What the model refuses must be refused, by the same kind of error. After any other error the step's last state is the
    /// last of `history`: issued, and not acknowledged.
    pub fn step(&mut self, step: &Step) -> Result<()> {
        match self.expect(step) {
            Ok(next) => {
                self.history.extend(next);
                self.execute(step)?;
                assert_eq!(self.db().snapshot()?.sequence(), self.model().sequence, "the sequence after {step:?}");
                if step.proves_durable() {
                    self.durable = self.history.len() - 1;
                }
                Ok(())
            }
            Err(kind) => match self.execute(step) {
                Err(error) if error.kind() == kind || self.may_refuse(step, error.kind()) => Ok(()),
                Err(error) => Err(error),
                Ok(()) => panic!("{step:?} was accepted, but must be refused with {kind:?}"),
            },
        }
    }

    fn expect(&self, step: &Step) -> Result<Option<Model>, ErrorKind> {
        match step {
            Step::Batch(ops, _) => self.model().after(ops).map(Some),
            Step::Bulk(name, entries, policy) => self.model().after_bulk(name, entries, *policy).map(Some),
            Step::Many(verb, name, entries, _) => {
                let ids: BTreeSet<&Vec<u8>> = entries.iter().map(|(id, _)| id).collect();
                if self.model().state.contains_key(name) && ids.len() < entries.len() {
                    return Err(ErrorKind::InvalidArgument);
                }
                self.model().after(&many(*verb, name, entries)).map(Some)
            }
            Step::GetOrCreate(name, dimension, metric) => match self.model().state.get(name) {
                None => self.model().after(&[Op::Create(name.clone(), *dimension, *metric)]).map(Some),
                Some(coll) if (coll.dimension, coll.metric) == (*dimension, *metric) => Ok(None),
                Some(_) => Err(ErrorKind::InvalidArgument),
            },
            // A purge of nothing reads and flushes, and is a batch all the same.
            Step::Purge(name, ids) => {
                if !self.model().state.contains_key(name) {
                    return Err(ErrorKind::NotFound);
                }
                let deletes: Vec<_> = ids.iter().map(|id| Op::Delete(name.clone(), id.clone())).collect();
                self.model().after(&deletes).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A load in which an id recurs and another exists may be refused for either.
    fn may_refuse(&self, step: &Step, kind: ErrorKind) -> bool {
        let Step::Bulk(name, entries, DuplicatePolicy::Refuse) = step else { return false };
        kind == ErrorKind::AlreadyExists && entries.iter().any(|(id, _)| self.model().state[name].rows.contains_key(id))
    }

    fn execute(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Batch(ops, durability) => {
                let made = commit(self.db(), ops, *durability)?;
                if let Made::Batch(commit) = &made
                    && self.history.len() > 1
                {
                    let (next, existed) = self.history[self.history.len() - 2].after_telling(ops).unwrap();
                    let told: Vec<bool> = (0..ops.len()).map(|index| commit.existed(index)).collect();
                    assert_eq!((commit.sequence(), told), (next.sequence, existed), "what the commit of {ops:?} says");
                }
                if let Made::Deleted(existed) = made {
                    let before = &self.history[self.history.len() - 2];
                    assert_eq!(existed, before.after_telling(ops).unwrap().1[0], "what the delete {ops:?} says");
                }
                if let Made::Batch(commit) = made {
                    self.commit = Some((commit, self.history.len() - 1));
                }
                Ok(())
            }
            Step::Await => {
                let Some((commit, issued)) = self.commit.take() else { return Ok(()) };
                commit.wait()?;
                self.durable = self.durable.max(issued);
                Ok(())
            }
            Step::Many(verb, name, entries, durability) => {
                let (ids, rows): (Vec<&Vec<u8>>, Vec<&[f32]>) = entries.iter().map(|(id, row)| (id, row.as_slice())).unzip();
                let collection = self.db().collection(name)?.durability(*durability);
                let commit = match verb {
                    Verb::Insert => collection.insert_many(&ids, &rows.concat())?,
                    _ => collection.upsert_many(&ids, &rows.concat())?,
                };
                self.commit = Some((commit, self.history.len() - 1));
                Ok(())
            }
            Step::GetOrCreate(name, dimension, metric) => self.db().get_or_create_collection(name, *dimension, *metric).map(drop),
            Step::Verify { orphans } => {
                let report = Database::verify_on(&*self.storage, &self.options)?;
                assert!(report.damages.is_empty(), "verify found {:?}", report.damages);
                assert!(*orphans || report.orphans.is_empty(), "nothing names {:?}", report.orphans);
                Ok(())
            }
            Step::Beside => self.look_from_beside(),
            Step::Snapshot => {
                self.look_back()?;
                self.kept = Some((self.db().snapshot()?, self.model().clone()));
                Ok(())
            }
            Step::Flush => self.db().flush().and_then(|()| self.look_back()),
            Step::Compact => self.db().compact().and_then(|()| self.look_back()),
            Step::Idle => self.db().wait_idle(),
            Step::Bulk(name, entries, policy) => {
                let ids: BTreeSet<&Vec<u8>> = entries.iter().map(|(id, _)| id).collect();
                let entries = entries.iter().map(|(id, parts)| (id, parts.fields()));
                let loaded = self.db().collection(name)?.bulk_load(entries, *policy)?;
                assert_eq!(loaded, ids.len() as u64, "how many were loaded");
                Ok(())
            }
            Step::Purge(name, ids) => {
                let receipt = self.db().collection(name)?.purge(ids)?;
                self.must_be_gone(name, ids, &receipt.cannot_vouch_for);
                Ok(())
            }
            Step::Checkpoint => self.checkpoint(),
            Step::Reopen => {
                (self.commit, self.kept) = (None, None);
                self.db.take().expect("the database is open").close()?;
                self.open()
            }
            Step::Advance(seconds) => {
                self.disk.clock().advance(std::time::Duration::from_secs(*seconds));
                Ok(())
            }
        }
    }

    /// What was kept reads as it was.
    fn look_back(&self) -> Result<()> {
        let Some((kept, model)) = &self.kept else { return Ok(()) };
        let seen = observe_snapshot(kept)?;
        assert!(seen == model.state, "a snapshot of {} changed: {}", model.sequence, super::state::difference(&model.state, &seen));
        Ok(())
    }

    /// No byte of the purged vectors is in any file but those that the receipt names. Only vectors count with two elements that no other record ever
    /// had: small numbers stand everywhere.
    fn must_be_gone(&self, name: &str, ids: &[Vec<u8>], excepted: &[String]) {
        let contents = self.disk.contents();
        let before = &self.history[self.history.len() - 2].state[name];
        for (id, record) in ids.iter().filter_map(|id| before.rows.get_key_value(id)) {
            let states = self.past.iter().chain(&self.history).flat_map(|model| &model.state);
            let rows = states.flat_map(|(coll, held)| held.rows.iter().map(move |(id, record)| (coll, id, record)));
            let others = rows.filter(|(coll, other, _)| (coll.as_str(), *other) != (name, id)).map(|(.., other)| other);
            let common: BTreeSet<u32> = others.flat_map(|other| &other.bits).copied().chain([0]).collect();
            let own: BTreeSet<u32> = record.bits.iter().filter(|bits| !common.contains(bits)).copied().collect();
            if own.len() < 2 {
                continue;
            }
            let bytes: Vec<u8> = record.bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
            for (file, content) in contents.iter().filter(|(file, _)| !excepted.iter().any(|text| text.contains(file))) {
                let found = content.used().windows(bytes.len()).position(|window| window == bytes);
                assert_eq!(found, None, "{name}/{} was purged, but its vector is in {file}", id.escape_ascii());
            }
        }
    }

    /// A reader beside the writer sees a state that was written, not older than what is proven durable; and what it has seen is durable.
    fn look_from_beside(&mut self) -> Result<()> {
        let reader = Database::open_read_only_on(Arc::clone(&self.storage), self.options.clone())?;
        let (seen, sequence) = (observe(&reader)?, reader.snapshot()?.sequence());
        let model = super::oracle::place(&seen, sequence, self.legal(), "a reader beside the writer");
        let at = self.history.iter().position(|known| known.sequence == model.sequence && known.state == model.state);
        self.durable = self.durable.max(at.unwrap_or(0));
        if !self.disk.names().is_empty() {
            let crashed = self.disk.crash(&CrashPlan::LoseAll);
            crashed.set_capacity(None);
            let left = open_on(&crashed, self.options.clone());
            let left = left.unwrap_or_else(|error| panic!("a power cut now cannot be recovered from: {error:?}"));
            let least = left.snapshot()?.sequence();
            assert!(least >= sequence, "a power cut takes sequence {sequence} back to {least}, which a reader beside the writer has seen");
        }
        let error = reader.create_collection("x", 1, Metric::L2).map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnly);
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        let target = SimulatedDisk::new(99);
        self.db().checkpoint_on(Arc::new(target.clone()))?;
        let copy = open_on(&target, self.options.clone())?;
        assert_eq!(observe(&copy)?, self.model().state, "the checkpoint differs");
        Ok(())
    }

    /// Cuts the power now, keeps what the plan says, opens again: one of the legal states must be there. The history starts anew with it.
    pub fn crash(&mut self, plan: &CrashPlan, context: &str) {
        self.kill();
        let crashed = self.disk.crash(plan);
        let (history, options, past) = (self.legal().to_vec(), self.options.clone(), std::mem::take(&mut self.past));
        *self = Self { history, past, ..Self::on(crashed.clone(), Arc::new(crashed), options) };
        self.open().unwrap_or_else(|error| panic!("{context}: cannot be opened: {error:?}"));
        self.adopt(context);
    }

    /// Lets go of a database that refuses to go on, and opens it again on the same disk: nothing is lost but what its memory held.
    pub fn restart(&mut self) -> Result<()> {
        (self.commit, self.kept) = (None, None);
        self.db = None;
        self.open()
    }

    /// One of the legal states must be there. The history starts anew with it.
    pub fn adopt(&mut self, context: &str) {
        let found = observe(self.db()).unwrap_or_else(|error| panic!("{context}: cannot be read: {error:?}"));
        let legal = self.legal().to_vec();
        let model = super::oracle::place(&found, self.db().snapshot().unwrap().sequence(), &legal, context);
        let ambiguous: Vec<String> =
            model.state.keys().filter(|name| super::oracle::next_ordinals(name, &model, &legal).len() > 1).cloned().collect();
        self.past.append(&mut self.history);
        (self.history, self.durable) = (vec![model], 0);
        for name in ambiguous {
            self.settle_ordinal(&name, &legal, context);
        }
    }

    /// Finds out with which ordinal a collection goes on, by a record that is deleted again.
    fn settle_ordinal(&mut self, name: &str, legal: &[Model], context: &str) {
        let mut model = self.model().clone();
        let collection = self.db().collection(name).unwrap();
        collection.insert("?", vec![0.0; collection.dimension()]).unwrap();
        let ordinal = collection.get("?").unwrap().unwrap().ordinal().unwrap();
        assert!(collection.delete("?").unwrap());
        let allowed = super::oracle::next_ordinals(name, &model, legal);
        assert!(allowed.contains(&ordinal), "{context}: {name} goes on with ordinal {ordinal} instead of {allowed:?}");
        model.next_ordinals.insert(name.to_owned(), ordinal + 1);
        model.sequence += 2;
        self.history.push(model);
        self.durable = self.history.len() - 1;
    }

    /// Lets go of the database as a killed process does.
    pub fn kill(&mut self) {
        // Nothing that a destructor does may reach the disk.
        self.disk.cut_power();
        (self.commit, self.kept) = (None, None);
        self.db = None;
    }
}

/// An array call as a batch.
fn many(verb: Verb, name: &str, entries: &[(Vec<u8>, Vec<f32>)]) -> Vec<Op> {
    let put = |(id, vector): &(Vec<u8>, Vec<f32>)| {
        Op::Put(verb, name.to_owned(), id.clone(), Parts { vector: Some(vector.clone()), ..Parts::default() })
    };
    entries.iter().map(put).collect()
}

/// What a call said.
enum Made {
    Batch(Commit),
    Deleted(bool),
    Nothing,
}

/// Commits by single calls too, where a batch is simple enough.
/// Of half the dimensions, so that segments of all kinds are written and merged.
fn codes(dimension: usize) -> Codes {
    if dimension.is_multiple_of(2) { Codes::Int8 } else { Codes::None }
}

fn commit(db: &Database, ops: &[Op], durability: Durability) -> Result<Made> {
    let handle = |name: &String| -> Result<Collection> { Ok(db.collection(name)?.durability(durability)) };
    match ops {
        [Op::Put(Verb::Insert, name, id, parts)] => return handle(name)?.insert(id, parts.fields()).map(Made::Batch),
        [Op::Put(Verb::Update, name, id, parts)] => return handle(name)?.update(id, parts.fields()).map(Made::Batch),
        [Op::Put(Verb::Upsert, name, id, parts)] => return handle(name)?.upsert(id, parts.fields()).map(Made::Batch),
        [Op::Delete(name, id)] => return handle(name)?.delete(id).map(Made::Deleted),
        [Op::Create(name, dimension, metric)] if durability == Durability::Synced => {
            return db.create_collection_with(name, *dimension, *metric, codes(*dimension)).map(|_| Made::Nothing);
        }
        [Op::Drop(name)] if durability == Durability::Synced => return db.drop_collection(name).map(|()| Made::Nothing),
        [Op::Rename(from, to)] if durability == Durability::Synced => return db.rename_collection(from, to).map(|()| Made::Nothing),
        _ => {}
    }
    let mut batch = db.batch();
    batch.durability(durability);
    for op in ops {
        match op {
            Op::Put(Verb::Insert, name, id, parts) => batch.insert(&handle(name)?, id, parts.fields())?,
            Op::Put(Verb::Update, name, id, parts) => batch.update(&handle(name)?, id, parts.fields())?,
            Op::Put(Verb::Upsert, name, id, parts) => batch.upsert(&handle(name)?, id, parts.fields())?,
            Op::Delete(name, id) => batch.delete(&handle(name)?, id)?,
            Op::Create(name, dimension, metric) => batch.create_collection_with(name, *dimension, *metric, codes(*dimension))?,
            Op::Drop(name) => batch.drop_collection(name),
            Op::Rename(from, to) => batch.rename_collection(from, to)?,
        };
    }
    batch.commit().map(Made::Batch)
}

/// Whether an error is that of a power cut.
pub fn is_power_cut(error: &Error) -> bool {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>()).is_some_and(SimulatedDisk::is_power_cut)
}
