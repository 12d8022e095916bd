//! A database on a simulated disk beside its model: each step is done to both.

use std::sync::Arc;

use varvite::{
    Background, Collection, Commit, Database, DuplicatePolicy, Durability, Error, ErrorKind, Options, Result, io::simulated::SimulatedDisk,
};

use super::state::{Model, Op, Parts, Verb, observe};

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
    Bulk(String, Vec<(Vec<u8>, Parts)>),
    Purge(String, Vec<Vec<u8>>),
    Checkpoint,
    Reopen,
    /// Seconds pass.
    Advance(u64),
}

impl Step {
    /// Whether its success proves that everything issued before is durable.
    fn proves_durable(&self) -> bool {
        match self {
            Self::Batch(_, durability) => *durability == Durability::Synced,
            Self::Advance(_) => false,
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

pub struct Machine {
    pub disk: SimulatedDisk,
    pub db: Option<Database>,
    commit: Option<Commit>,
    /// `history[k]` is the model after k batches, those issued but not acknowledged included.
    pub history: Vec<Model>,
    /// So many batches are proven durable.
    pub durable: usize,
}

impl Machine {
    pub fn new(disk: SimulatedDisk) -> Self {
        Self { disk, db: None, commit: None, history: vec![Model::default()], durable: 0 }
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
        self.db = Some(open(&self.disk)?);
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
                if step.proves_durable() {
                    self.durable = self.history.len() - 1;
                }
                Ok(())
            }
            Err(kind) => match self.execute(step) {
                Err(error) if error.kind() == kind => Ok(()),
                Err(error) => Err(error),
                Ok(()) => panic!("{step:?} was accepted, but must be refused with {kind:?}"),
            },
        }
    }

    fn expect(&self, step: &Step) -> Result<Option<Model>, ErrorKind> {
        match step {
            Step::Batch(ops, _) => self.model().after(ops).map(Some),
            Step::Bulk(name, entries) => Ok(Some(self.model().after_bulk(name, entries))),
            Step::Purge(name, ids) => {
                let deletes: Vec<_> = ids.iter().map(|id| Op::Delete(name.clone(), id.clone())).collect();
                self.model().after(&deletes).map(Some)
            }
            _ => Ok(None),
        }
    }

    fn execute(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Batch(ops, durability) => {
                let commit = commit(self.db(), ops, *durability)?;
                self.commit = Some(commit);
                Ok(())
            }
            Step::Await => self.commit.take().map_or(Ok(()), |commit| commit.wait()),
            Step::Flush => self.db().flush(),
            Step::Compact => self.db().compact(),
            Step::Idle => self.db().wait_idle(),
            Step::Bulk(name, entries) => {
                let entries = entries.iter().map(|(id, parts)| (id, parts.fields()));
                self.db().collection(name)?.bulk_load(entries, DuplicatePolicy::LastWins).map(drop)
            }
            Step::Purge(name, ids) => self.db().collection(name)?.purge(ids).map(drop),
            Step::Checkpoint => self.checkpoint(),
            Step::Reopen => {
                self.commit = None;
                self.db.take().expect("the database is open").close()?;
                self.open()
            }
            Step::Advance(seconds) => {
                self.disk.clock().advance(std::time::Duration::from_secs(*seconds));
                Ok(())
            }
        }
    }

    fn checkpoint(&self) -> Result<()> {
        let target = SimulatedDisk::new(99);
        self.db().checkpoint_on(Arc::new(target.clone()))?;
        let copy = observe(&open(&target)?)?;
        assert_eq!(copy, self.model().state, "the checkpoint differs");
        Ok(())
    }

    /// Lets go of the database as a killed process does.
    pub fn kill(&mut self) {
        // Nothing that a destructor does may reach the disk.
        self.disk.cut_power();
        self.commit = None;
        self.db = None;
    }
}

/// Commits by the array calls and single calls too, where a batch is simple enough.
fn commit(db: &Database, ops: &[Op], durability: Durability) -> Result<Commit> {
    let handle = |name: &String| -> Result<Collection> { Ok(db.collection(name)?.durability(durability)) };
    if let [Op::Put(verb, name, id, parts)] = ops {
        let collection = handle(name)?;
        return match verb {
            Verb::Insert => collection.insert(id, parts.fields()),
            Verb::Update => collection.update(id, parts.fields()),
            Verb::Upsert => collection.upsert(id, parts.fields()),
        };
    }
    let mut batch = db.batch();
    batch.durability(durability);
    for op in ops {
        match op {
            Op::Put(Verb::Insert, name, id, parts) => batch.insert(&handle(name)?, id, parts.fields())?,
            Op::Put(Verb::Update, name, id, parts) => batch.update(&handle(name)?, id, parts.fields())?,
            Op::Put(Verb::Upsert, name, id, parts) => batch.upsert(&handle(name)?, id, parts.fields())?,
            Op::Delete(name, id) => batch.delete(&handle(name)?, id)?,
            Op::Create(name, dimension, metric) => batch.create_collection(name, *dimension, *metric)?,
            Op::Drop(name) => batch.drop_collection(name),
            Op::Rename(from, to) => batch.rename_collection(from, to)?,
        };
    }
    batch.commit()
}

/// Whether an error is that of a power cut.
pub fn is_power_cut(error: &Error) -> bool {
    std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>()).is_some_and(SimulatedDisk::is_power_cut)
}
