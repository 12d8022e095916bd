use super::{Inner, collection::Collection};
use crate::{
    error::Result,
    options::Durability,
    sync::Arc,
    types::{Codes, Fields, Metric, Sequence},
    write::{Action, Outcome, WriteBatch},
};

/// Operations that are committed together: all of them, or none.
///
/// They apply in order; an id may recur. If any of them is refused the whole batch is, and the error names it by its position.
///
/// ```
/// use varvite::{Database, Metric, Options};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 2, Metric::L2)?;
/// let mut batch = db.batch();
/// batch.insert(&docs, "a", &[1.0, 2.0])?.upsert(&docs, "b", &[3.0, 4.0])?.delete(&docs, "c")?;
/// let commit = batch.commit()?;
/// assert!(!commit.existed(2));
/// assert_eq!(docs.count()?, 2);
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Debug)]
pub struct Batch {
    inner: Arc<Inner>,
    operations: WriteBatch,
    durability: Durability,
}

impl Batch {
    pub(crate) fn new(inner: Arc<Inner>) -> Self {
        let durability = inner.options().durability;
        Self { inner, operations: WriteBatch::default(), durability }
    }

    /// Adds a record that must not exist yet.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad id, a vector that is missing, of another dimension or not finite, or a payload beyond the limits. The batch
    /// stays as it was.
    pub fn insert<'a>(&mut self, collection: &Collection, id: impl AsRef<[u8]>, fields: impl Into<Fields<'a>>) -> Result<&mut Self> {
        self.put(collection, Action::Insert, id.as_ref(), fields.into())
    }

    /// Changes a record that must exist; what the fields leave out stays.
    ///
    /// # Errors
    /// As [`Batch::insert`].
    pub fn update<'a>(&mut self, collection: &Collection, id: impl AsRef<[u8]>, fields: impl Into<Fields<'a>>) -> Result<&mut Self> {
        self.put(collection, Action::Update, id.as_ref(), fields.into())
    }

    /// Inserts or updates.
    ///
    /// # Errors
    /// As [`Batch::insert`].
    pub fn upsert<'a>(&mut self, collection: &Collection, id: impl AsRef<[u8]>, fields: impl Into<Fields<'a>>) -> Result<&mut Self> {
        self.put(collection, Action::Upsert, id.as_ref(), fields.into())
    }

    fn put(&mut self, collection: &Collection, action: Action, id: &[u8], fields: Fields<'_>) -> Result<&mut Self> {
        collection.check_database(&self.inner)?;
        self.operations.put(collection.target(), action, id, fields)?;
        Ok(self)
    }

    /// Deletes a record, if it exists; [`Commit::existed`] tells.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad id.
    pub fn delete(&mut self, collection: &Collection, id: impl AsRef<[u8]>) -> Result<&mut Self> {
        collection.check_database(&self.inner)?;
        self.operations.delete(collection.target(), id.as_ref())?;
        Ok(self)
    }

    /// Creates a collection.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name or dimension.
    pub fn create_collection(&mut self, name: &str, dimension: usize, metric: Metric) -> Result<&mut Self> {
        self.operations.create(name, dimension, metric, None)?;
        Ok(self)
    }

    /// Creates a collection with other codes than those of its dimension.
    ///
    /// # Errors
    /// As [`Batch::create_collection`].
    pub fn create_collection_with(&mut self, name: &str, dimension: usize, metric: Metric, codes: Codes) -> Result<&mut Self> {
        self.operations.create(name, dimension, metric, Some(codes))?;
        Ok(self)
    }

    /// Drops a collection.
    pub fn drop_collection(&mut self, name: &str) -> &mut Self {
        self.operations.drop_collection(name);
        self
    }

    /// Renames a collection.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad name.
    pub fn rename_collection(&mut self, from: &str, to: &str) -> Result<&mut Self> {
        self.operations.rename(from, to)?;
        Ok(self)
    }

    /// When [`Batch::commit`] returns; the database's default otherwise.
    pub fn durability(&mut self, durability: Durability) -> &mut Self {
        self.durability = durability;
        self
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.operations.len()
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Commits all operations, or none.
    ///
    /// # Errors
    /// `AlreadyExists` or `NotFound`, naming the operation; `NoSpace`, after which nothing has changed; `Poisoned` or `Io` when a sync failed: then
    /// nothing is known of this batch until the database is reopened.
    pub fn commit(self) -> Result<Commit> {
        self.inner.commit_handle(self.operations, self.durability)
    }
}

/// A committed batch.
#[derive(Debug)]
pub struct Commit {
    inner: Arc<Inner>,
    outcome: Outcome,
    durability: Durability,
}

impl Commit {
    pub(crate) fn new(inner: Arc<Inner>, outcome: Outcome, durability: Durability) -> Self {
        Self { inner, outcome, durability }
    }

    /// Sequence of the batch; batches with smaller ones came before it.
    #[must_use]
    pub fn sequence(&self) -> Sequence {
        self.outcome.sequence
    }

    /// Whether the record of an operation existed before it; `false` beyond the last operation.
    #[must_use]
    pub fn existed(&self, operation: usize) -> bool {
        self.outcome.existed.get(operation).copied().unwrap_or(false)
    }

    /// Returns once the batch is durable.
    ///
    /// # Errors
    /// `Poisoned` or `Io` if the sync failed.
    pub fn wait(&self) -> Result<()> {
        match self.durability {
            Durability::Synced => Ok(()),
            _ => self.inner.writer()?.committer.sync(),
        }
    }
}
