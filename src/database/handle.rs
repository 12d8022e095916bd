use std::path::Path;

use super::{
    background,
    batch::{Batch, Commit},
    collection::Collection,
    open::{Opened, check_place, open_writable},
    reader::ReadOnly,
    snapshot::Snapshot,
};
use crate::{
    compaction::Mode,
    error::{Error, ErrorKind, Result},
    flush::flush_all,
    io::{Clock, Lock, Storage, executor::Worker, fs::Directory, memory::Memory},
    options::{Background, Durability, Options},
    sync::{Arc, Look, Mutex},
    types::{Codes, Dimension, Metric},
    version::{Reading, Shared, View},
    write::{Committer, Outcome, WriteBatch, throttle},
};

/// A database: collections of records, kept in one directory.
///
/// Handles are cheap clones and may be used from any thread. Dropping the last one (collections and batches included) closes the database;
/// [`Database::close`] does the same and reports errors.
///
/// ```
/// use varvite::{Database, Metric, Options};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 3, Metric::Cosine)?;
/// docs.upsert("a", &[1.0, 0.0, 0.0])?;
/// docs.upsert("b", &[0.0, 1.0, 0.0])?;
/// let hits = docs.search(&[0.9, 0.1, 0.0], 1)?;
/// assert_eq!(hits[0].id, b"a");
/// db.close()?;
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) inner: Arc<Inner>,
}

/// What all handles of a database share.
#[derive(Debug)]
pub(crate) enum Inner {
    Writer(Box<Writer>),
    Reader(Box<ReadOnly>),
}

/// A database open for writing.
pub(crate) struct Writer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) committer: Arc<Committer>,
    workers: Mutex<Vec<Worker>>,
    lock: Mutex<Option<Arc<Box<dyn Lock>>>>,
    pub(crate) damages: Vec<Error>,
}

/// What a database knows of a collection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Elements of every vector.
    pub dimension: usize,
    /// How its vectors are compared.
    pub metric: Metric,
    /// What is kept beside its vectors.
    pub codes: Codes,
    /// Number of records.
    pub count: u64,
}

impl Database {
    /// Opens a database in a directory, or creates it (see [`Options::create_if_missing`]).
    ///
    /// # Errors
    /// `Locked` if another process or handle is writing; `Corruption` naming the file if one is damaged, missing or foreign; `NoSpace` if the
    /// log's tail cannot be secured, in which case nothing was changed; `NewerFormat`; `ReadOnly`; `Io`.
    ///
    /// ```
    /// use varvite::{Database, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("db");
    /// let db = Database::open(&path, Options::default())?;
    /// assert!(db.list_collections()?.is_empty());
    /// # Ok::<(), varvite::Error>(())
    /// ```
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        let opened = if options.create_if_missing { Directory::create(path) } else { Directory::open(path) };
        let directory = opened.map_err(|source| Error::io(format_args!("open the directory {}", path.display()), source))?;
        Self::open_on(Arc::new(directory), options)
    }

    /// Opens a database for reading, beside any number of readers and at most one writer. It takes no lock and changes nothing; it shows
    /// the state at open until [`Database::refresh`].
    ///
    /// # Errors
    /// As [`Database::open`]; `NotFound` if there is no database.
    ///
    /// ```
    /// use varvite::{Database, Metric, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("db");
    /// let writer = Database::open(&path, Options::default())?;
    /// let reader = Database::open_read_only(&path, Options::default())?;
    /// writer.create_collection("docs", 2, Metric::L2)?;
    /// assert!(reader.list_collections()?.is_empty());
    /// reader.refresh()?;
    /// assert_eq!(reader.list_collections()?.len(), 1);
    /// # Ok::<(), varvite::Error>(())
    /// ```
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self> {
        let path = path.as_ref();
        let directory = Directory::open(path).map_err(|source| Error::io(format_args!("open the directory {}", path.display()), source))?;
        Self::open_read_only_on(Arc::new(directory), options)
    }

    /// A database that lives in memory and is gone with its last handle. The same engine, on [`crate::io::memory::Memory`].
    ///
    /// # Errors
    /// Those of starting its threads.
    pub fn in_memory(options: Options) -> Result<Self> {
        Self::open_on(Arc::new(Memory::new()), options)
    }

    /// Opens a database on any [`Storage`].
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_on(storage: Arc<dyn Storage>, options: Options) -> Result<Self> {
        check_place(&*storage, &options)?;
        let Opened { shared, lock, beacon, damages } = open_writable(storage, options.with_floors())?;
        let committer = Arc::new(Committer::new(Arc::clone(&shared), beacon));
        let threads = shared.options.background == Background::Threads;
        let workers = if threads { background::start(&shared, &committer)? } else { Vec::new() };
        let writer = Writer { shared, committer, workers: Mutex::new(workers), lock: Mutex::new(Some(Arc::new(lock))), damages };
        Ok(Self { inner: Arc::new(Inner::Writer(Box::new(writer))) })
    }

    /// Opens a database on any [`Storage`] for reading.
    ///
    /// # Errors
    /// As [`Database::open_read_only`].
    pub fn open_read_only_on(storage: Arc<dyn Storage>, options: Options) -> Result<Self> {
        Ok(Self { inner: Arc::new(Inner::Reader(Box::new(ReadOnly::open(storage, options)?))) })
    }

    /// Creates a collection, durably; with int8 codes from [`Codes::FROM_DIMENSION`] on.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that could be a path, is empty or longer than 255 bytes, or a dimension outside 1 to 65,535;
    /// `AlreadyExists`.
    pub fn create_collection(&self, name: &str, dimension: usize, metric: Metric) -> Result<Collection> {
        self.create(name, dimension, metric, None)
    }

    /// Creates a collection, durably, and says whether its segments hold codes.
    ///
    /// ```
    /// use varvite::{Codes, Database, Metric, Options};
    /// let db = Database::in_memory(Options::default())?;
    /// let docs = db.create_collection_with("docs", 768, Metric::Cosine, Codes::None)?;
    /// assert_eq!(docs.codes(), Codes::None);
    /// # Ok::<(), varvite::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Database::create_collection`].
    pub fn create_collection_with(&self, name: &str, dimension: usize, metric: Metric, codes: Codes) -> Result<Collection> {
        self.create(name, dimension, metric, Some(codes))
    }

    fn create(&self, name: &str, dimension: usize, metric: Metric, codes: Option<Codes>) -> Result<Collection> {
        let mut batch = WriteBatch::default();
        batch.create(name, dimension, metric, codes)?;
        self.inner.commit(batch, Durability::Synced)?;
        self.collection(name)
    }

    /// The collection of a name, created if it does not exist.
    ///
    /// # Errors
    /// As [`Database::create_collection`]; `InvalidArgument` if it exists with another dimension or metric.
    pub fn get_or_create_collection(&self, name: &str, dimension: usize, metric: Metric) -> Result<Collection> {
        let dimension = Dimension::new(dimension)?.get();
        let existing = match self.collection(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => match self.create_collection(name, dimension, metric) {
                // Somebody else was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => self.collection(name)?,
                created => return created,
            },
            found => found?,
        };
        if existing.dimension() != dimension || existing.metric() != metric {
            return Err(Error::invalid(format!(
                "collection {name:?} exists with dimension {} and metric {}, not {dimension} and {metric}",
                existing.dimension(),
                existing.metric()
            )));
        }
        Ok(existing)
    }

    /// The collection of a name.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn collection(&self, name: &str) -> Result<Collection> {
        let reading = self.inner.reading();
        let meta = reading.view.catalog.by_name(name).ok_or_else(|| Error::not_found(format!("there is no collection named {name:?}")))?;
        Ok(Collection::new(Arc::clone(&self.inner), Arc::clone(meta)))
    }

    /// Renames a collection, durably. Handles of it stay valid.
    ///
    /// # Errors
    /// `NotFound`; `AlreadyExists`; `InvalidArgument` for a bad name.
    pub fn rename_collection(&self, from: &str, to: &str) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.rename(from, to)?;
        self.inner.commit(batch, Durability::Synced).map(drop)
    }

    /// Drops a collection and all of its records, durably. Rows and snapshots taken before stay readable.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        let mut batch = WriteBatch::default();
        batch.drop_collection(name);
        self.inner.commit(batch, Durability::Synced).map(drop)
    }

    /// All collections, by name.
    ///
    /// # Errors
    /// None at present.
    pub fn list_collections(&self) -> Result<Vec<CollectionInfo>> {
        Ok(list(&self.inner.reading()))
    }

    /// A batch: operations on any collections that become visible and durable together.
    #[must_use]
    pub fn batch(&self) -> Batch {
        Batch::new(Arc::clone(&self.inner))
    }

    /// The state of this moment, unchanged for as long as it is kept. It costs nothing until files it needs are compacted away: their
    /// bytes are freed when it is dropped.
    ///
    /// # Errors
    /// None at present.
    pub fn snapshot(&self) -> Result<Snapshot> {
        Ok(Snapshot::new(Arc::clone(&self.inner), self.inner.reading()))
    }

    /// Moves everything written so far into segments.
    ///
    /// # Errors
    /// `NoSpace`, `Poisoned`, `Io`; `ReadOnly` on a read-only database.
    pub fn flush(&self) -> Result<()> {
        let writer = self.inner.writer()?;
        flush_all(&writer.shared)?;
        // After `close` the directory may be somebody else's.
        if let Ok(_held) = writer.hold() {
            writer.shared.remove_garbage();
        }
        Ok(())
    }

    /// Merges everything into one sorted run a collection, without dead bytes. While others write it ends once what was loose at the call is
    /// merged: what they write meanwhile is not waited for.
    ///
    /// # Errors
    /// As [`Database::flush`]; `Corruption` if a row cannot be read.
    pub fn compact(&self) -> Result<()> {
        let writer = self.inner.writer()?;
        let _held = writer.hold()?;
        flush_all(&writer.shared)?;
        background::compact_all(&writer.shared, Mode::Full)?;
        writer.shared.remove_garbage();
        Ok(())
    }

    /// Flushes, and lets due compactions finish.
    ///
    /// # Errors
    /// As [`Database::compact`].
    pub fn wait_idle(&self) -> Result<()> {
        let writer = self.inner.writer()?;
        let _held = writer.hold()?;
        flush_all(&writer.shared)?;
        background::compact_all(&writer.shared, Mode::Idle)?;
        writer.shared.remove_garbage();
        Ok(())
    }

    /// On a read-only database: shows every batch that was acknowledged before this call. Does nothing on a writable one.
    ///
    /// # Errors
    /// As [`Database::open_read_only`].
    pub fn refresh(&self) -> Result<()> {
        match &*self.inner {
            Inner::Writer(_) => Ok(()),
            Inner::Reader(reader) => reader.refresh(),
        }
    }

    /// Whether a read-only database was read without a live writer, so that a later recovery may decide otherwise about the last,
    /// unacknowledged batches.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        match &*self.inner {
            Inner::Writer(_) => false,
            Inner::Reader(reader) => reader.is_unsettled(),
        }
    }

    /// Stops background work, flushes and releases the lock. Other handles refuse to write from now on; their reads go on. A compaction, purge or
    /// bulk load that another thread is in the middle of fails at its next file, and holds the lock until then.
    ///
    /// # Errors
    /// What kept the last writes from being flushed. They are in the log all the same if they were acknowledged.
    pub fn close(self) -> Result<()> {
        match &*self.inner {
            Inner::Writer(writer) => writer.close(),
            Inner::Reader(_) => Ok(()),
        }
    }
}

pub(super) fn list(reading: &Reading) -> Vec<CollectionInfo> {
    let info = |meta: &Arc<crate::version::CollectionMeta>| CollectionInfo {
        name: meta.name.clone(),
        dimension: meta.dimension.get(),
        metric: meta.metric,
        codes: meta.codes,
        count: reading.count(meta.id),
    };
    let mut all: Vec<_> = reading.view.catalog.collections.values().map(info).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

impl Inner {
    pub(crate) fn reading(&self) -> Reading {
        match self {
            Self::Writer(writer) => writer.shared.reading(),
            Self::Reader(reader) => reader.reading(),
        }
    }

    /// For one read: nothing that other threads write to is written.
    pub(crate) fn look(&self) -> Reading<Look<View>> {
        match self {
            Self::Writer(writer) => writer.shared.look(),
            Self::Reader(reader) => reader.look(),
        }
    }

    pub(crate) fn options(&self) -> &Options {
        match self {
            Self::Writer(writer) => &writer.shared.options,
            Self::Reader(reader) => reader.options(),
        }
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        let storage = match self {
            Self::Writer(writer) => &*writer.shared.storage,
            Self::Reader(reader) => reader.storage(),
        };
        &storage.environment().clock
    }

    /// For whatever may write.
    pub(crate) fn writer(&self) -> Result<&Writer> {
        match self {
            Self::Writer(writer) => writer.check_owner().map(|()| &**writer),
            Self::Reader(_) => Err(Error::new(ErrorKind::ReadOnly, "the database was opened read-only")),
        }
    }

    pub(crate) fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<Outcome> {
        let writer = self.writer()?;
        if writer.shared.options.background == Background::Inline {
            background::make_room(&writer.shared)?;
            let outcome = writer.committer.commit(batch, durability)?;
            background::inline_work(&writer.shared, &writer.committer);
            return Ok(outcome);
        }
        throttle(&writer.shared, batch.bytes())?;
        writer.committer.commit(batch, durability)
    }

    pub(crate) fn commit_handle(self: &Arc<Self>, batch: WriteBatch, durability: Durability) -> Result<Commit> {
        let outcome = self.commit(batch, durability)?;
        Ok(Commit::new(Arc::clone(self), outcome, durability))
    }
}

impl Writer {
    /// Refuses a process that got this handle through `fork`: the lock is its parent's.
    fn check_owner(&self) -> Result<()> {
        if self.lock.lock().as_ref().is_none_or(|lock| lock.is_mine()) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Locked, "this process was forked from the one that opened the database")
            .with_remedy("open it again here"))
    }

    fn close(&self) -> Result<()> {
        if let Err(error) = self.check_owner() {
            // Its parent's threads do not run here: neither joining nor detaching them is possible.
            std::mem::forget(std::mem::take(&mut *self.workers.lock()));
            return Err(error);
        }
        self.shared.stop();
        for worker in self.workers.lock().drain(..) {
            worker.join();
        }
        if self.lock.lock().is_none() {
            return Ok(());
        }
        let result = if self.shared.is_poisoned() { self.shared.check_healthy() } else { flush_all(&self.shared) };
        self.refuse_writes();
        self.shared.remove_garbage();
        *self.lock.lock() = None;
        result
    }

    /// Stops writing once nobody is in the middle of it: a batch that was synced behind the next owner's look at the log would be lost.
    fn refuse_writes(&self) {
        let _gate = self.shared.gate.lock();
        let _publisher = self.shared.publisher.lock();
        let _writer = self.shared.writer.lock();
        self.shared.poison(Error::new(ErrorKind::Closed, "the database was closed"));
    }

    /// For work that writes files outside of the locks that [`Writer::refuse_writes`] takes: until it is dropped nobody else may open the
    /// database for writing, even if it is closed meanwhile.
    pub(crate) fn hold(&self) -> Result<Arc<Box<dyn Lock>>> {
        let held = self.lock.lock().clone();
        self.shared.check_healthy()?;
        held.ok_or_else(|| Error::new(ErrorKind::Closed, "the database was closed"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // What could not be flushed is in the log; `close` would have reported it.
        let _unreported = self.close();
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Writer of database {}", self.shared.database)
    }
}
