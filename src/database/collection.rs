use super::{CollectionSnapshot, Commit, DuplicatePolicy, Inner, PurgeReceipt, bulk::bulk_load, purge::purge};
use crate::{
    error::{Error, Result},
    options::Durability,
    read::{Row, Rows},
    search::{Explanation, Neighbour, Search},
    sync::Arc,
    types::{Codes, Dimension, Fields, Metric},
    version::CollectionMeta,
    write::{Action, Target, WriteBatch},
};

/// A collection: records with vectors of one dimension, compared by one metric. Handles are cheap clones and may be used from any thread.
///
/// Each read sees the newest state; [`Collection::snapshot`] keeps one. Each write is a batch of its own; see [`crate::Batch`] for several.
///
/// ```
/// use varvite::{Database, Fields, Metadata, Metric, Options};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 2, Metric::L2)?;
/// docs.insert("a", Fields::vector(&[1.0, 2.0]).with_metadata(Metadata::new().with("chapter", 1)))?;
/// docs.upsert("a", &[3.0, 4.0])?;
/// let row = docs.get("a")?.expect("it was just inserted");
/// assert_eq!((&*row, row.metadata()?.len()), (&[3.0, 4.0][..], 1));
/// assert!(docs.delete("a")?);
/// assert_eq!(docs.count()?, 0);
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Collection {
    inner: Arc<Inner>,
    meta: Arc<CollectionMeta>,
    durability: Durability,
}

/// A search result.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Hit {
    /// The record's id.
    pub id: Vec<u8>,
    /// Its distance; smaller is nearer. The same bits on every machine.
    pub distance: f32,
}

pub(crate) fn hits(neighbours: Vec<Neighbour>) -> Vec<Hit> {
    neighbours.into_iter().map(|neighbour| Hit { id: neighbour.id, distance: neighbour.score }).collect()
}

impl Collection {
    pub(crate) fn new(inner: Arc<Inner>, meta: Arc<CollectionMeta>) -> Self {
        let durability = inner.options().durability;
        Self { inner, meta, durability }
    }

    pub(crate) fn target(&self) -> Target {
        Target { collection: self.meta.id, dimension: self.meta.dimension, allow_non_finite: self.inner.options().allow_non_finite }
    }

    pub(crate) fn check_database(&self, inner: &Arc<Inner>) -> Result<()> {
        if Arc::ptr_eq(&self.inner, inner) { Ok(()) } else { Err(Error::invalid("the collection belongs to another database handle")) }
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    pub(crate) fn typed_dimension(&self) -> Dimension {
        self.meta.dimension
    }

    /// The same collection with another durability for its writes.
    #[must_use]
    pub fn durability(&self, durability: Durability) -> Self {
        Self { durability, ..self.clone() }
    }

    /// Its name now.
    #[must_use]
    pub fn name(&self) -> String {
        self.inner.reading().view.catalog.get(self.meta.id).unwrap_or(&self.meta).name.clone()
    }

    /// Elements of every vector.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.meta.dimension.get()
    }

    /// How its vectors are compared.
    #[must_use]
    pub fn metric(&self) -> Metric {
        self.meta.metric
    }

    /// What is kept beside its vectors.
    #[must_use]
    pub fn codes(&self) -> Codes {
        self.meta.codes
    }

    /// The state of this moment.
    #[must_use]
    pub fn snapshot(&self) -> CollectionSnapshot {
        CollectionSnapshot::new(Arc::clone(&self.inner), Arc::clone(&self.meta))
    }

    /// Number of records; exact, O(1).
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn count(&self) -> Result<u64> {
        self.snapshot().count()
    }

    /// Adds a record that must not exist yet.
    ///
    /// # Errors
    /// `AlreadyExists`; `InvalidArgument` for a bad id, vector or payload; `NotFound` if the collection was dropped; `NoSpace`; `Poisoned`.
    pub fn insert<'a>(&self, id: impl AsRef<[u8]>, fields: impl Into<Fields<'a>>) -> Result<Commit> {
        self.put(Action::Insert, id.as_ref(), fields.into())
    }

    /// Changes a record that must exist; what the fields leave out stays.
    ///
    /// # Errors
    /// `NotFound`; else as [`Collection::insert`].
    pub fn update<'a>(&self, id: impl AsRef<[u8]>, fields: impl Into<Fields<'a>>) -> Result<Commit> {
        self.put(Action::Update, id.as_ref(), fields.into())
    }

    /// Inserts or updates.
    ///
    /// # Errors
    /// As [`Collection::insert`], but for `AlreadyExists`.
    pub fn upsert<'a>(&self, id: impl AsRef<[u8]>, fields: impl Into<Fields<'a>>) -> Result<Commit> {
        self.put(Action::Upsert, id.as_ref(), fields.into())
    }

    fn put(&self, action: Action, id: &[u8], fields: Fields<'_>) -> Result<Commit> {
        let mut batch = WriteBatch::default();
        batch.put(self.target(), action, id, fields)?;
        self.inner.commit_handle(batch, self.durability)
    }

    /// Deletes a record; says whether it was there.
    ///
    /// # Errors
    /// `InvalidArgument` for a bad id; `NotFound` if the collection was dropped; `NoSpace`; `Poisoned`.
    pub fn delete(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        let mut batch = WriteBatch::default();
        batch.delete(self.target(), id.as_ref())?;
        Ok(self.inner.commit_handle(batch, self.durability)?.existed(0))
    }

    /// Inserts many records atomically: `rows` holds their vectors, row-major, in the order of `ids`.
    ///
    /// # Errors
    /// `InvalidArgument` if counts do not match or an id recurs; else as [`Collection::insert`].
    pub fn insert_many<I: AsRef<[u8]>>(&self, ids: &[I], rows: &[f32]) -> Result<Commit> {
        self.put_many(Action::Insert, ids, rows)
    }

    /// Inserts or updates many records atomically: `rows` holds their vectors, row-major, in the order of `ids`.
    ///
    /// # Errors
    /// As [`Collection::insert_many`], but for `AlreadyExists`.
    pub fn upsert_many<I: AsRef<[u8]>>(&self, ids: &[I], rows: &[f32]) -> Result<Commit> {
        self.put_many(Action::Upsert, ids, rows)
    }

    fn put_many<I: AsRef<[u8]>>(&self, action: Action, ids: &[I], rows: &[f32]) -> Result<Commit> {
        let dimension = self.dimension();
        if ids.len().checked_mul(dimension) != Some(rows.len()) {
            let message = format!("{} ids do not match {} elements: each needs {dimension}", ids.len(), rows.len());
            return Err(Error::invalid(message));
        }
        let mut seen = std::collections::HashSet::with_capacity(ids.len());
        let id_bytes = ids.iter().map(|id| id.as_ref().len()).sum();
        let mut batch = WriteBatch::with_capacity(ids.len(), id_bytes, rows.len());
        for (id, row) in ids.iter().zip(rows.chunks_exact(dimension)) {
            let id = id.as_ref();
            if !seen.insert(id) {
                return Err(Error::invalid(format!("id {} occurs twice in one array", id.escape_ascii())));
            }
            batch.put(self.target(), action, id, Fields::vector(row))?;
        }
        self.inner.commit_handle(batch, self.durability)
    }

    /// The record of an id, zero-copy.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped; `Corruption` naming file and offset if its row is damaged.
    pub fn get(&self, id: impl AsRef<[u8]>) -> Result<Option<Row>> {
        crate::read::get(&self.inner.look(), self.meta.id, id.as_ref())
    }

    /// Whether an id has a record.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn contains(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        crate::read::contains(&self.inner.look(), self.meta.id, id.as_ref())
    }

    /// The records of many ids, in their order, all of one moment.
    ///
    /// # Errors
    /// As [`Collection::get`].
    pub fn multi_get<I: AsRef<[u8]>>(&self, ids: &[I]) -> Result<Vec<Option<Row>>> {
        self.snapshot().multi_get(ids)
    }

    /// All records by ascending id, of this moment; from either end.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn iter(&self) -> Result<Rows> {
        self.snapshot().iter()
    }

    /// The records whose ids lie in a range.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn range<I: AsRef<[u8]>>(&self, range: impl std::ops::RangeBounds<I>) -> Result<Rows> {
        self.snapshot().range(range)
    }

    /// The records whose ids start with a prefix.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Rows> {
        self.snapshot().prefix(prefix)
    }

    /// The k nearest records, exactly; nearest first, ties by ascending id. Fewer if there are fewer. O(records × dimension).
    ///
    /// # Errors
    /// `InvalidArgument` for a query of another dimension, not finite (unless allowed), or k = 0; `Corruption` if a row cannot be read.
    pub fn search(&self, query: &[f32], k: usize) -> Result<Vec<Hit>> {
        self.snapshot().search(query, k)
    }

    /// [`Collection::search`] for many queries, row-major, in one pass over the rows.
    ///
    /// # Errors
    /// As [`Collection::search`].
    pub fn search_many(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.snapshot().search_many(queries, k)
    }

    /// All records at most a distance away, exactly; nearest first, ties by ascending id. O(records × dimension).
    ///
    /// # Errors
    /// As [`Collection::search`]; `InvalidArgument` for a NaN distance.
    pub fn search_within(&self, query: &[f32], distance: f32) -> Result<Vec<Hit>> {
        self.snapshot().search_within(query, distance)
    }

    /// What a [`Search`] asks for, for one or many queries, row-major, in one pass over the rows: the hits of each query in turn.
    ///
    /// # Errors
    /// As [`Collection::search`]; `InvalidArgument` for a search that has no answer; `Cancelled` and `TimedOut` as it asks.
    pub fn search_by(&self, search: &Search, queries: &[f32]) -> Result<Vec<Vec<Hit>>> {
        self.snapshot().search_by(search, queries)
    }

    /// [`Collection::search_by`], and how it came to its answer.
    ///
    /// # Errors
    /// As [`Collection::search_by`].
    pub fn explain(&self, search: &Search, queries: &[f32]) -> Result<(Vec<Vec<Hit>>, Explanation)> {
        self.snapshot().explain(search, queries)
    }

    /// Loads many records without the log: they become segments, then appear at once, durably. Returns how many were loaded. Fastest with ids that
    /// ascend, which are written as they come (by a thread of its own, unless [`crate::Background::Inline`] forbids one); others are sorted in
    /// pieces.
    ///
    /// Memory: about [`crate::Options::memtable_bytes`], 64 MiB at most, beside ids and payloads within [`crate::Options::merge_bytes`]. Readers and writers go on meanwhile; writers wait during the publication.
    ///
    /// # Errors
    /// As [`Collection::insert`]; nothing is visible then.
    ///
    /// ```
    /// use varvite::{Database, DuplicatePolicy, Fields, Metric, Options};
    /// let db = Database::in_memory(Options::default())?;
    /// let docs = db.create_collection("docs", 2, Metric::L2)?;
    /// let entries = (0..100).map(|i| (format!("id-{i}"), Fields::from(vec![i as f32, 0.0])));
    /// assert_eq!(docs.bulk_load(entries, DuplicatePolicy::LastWins)?, 100);
    /// assert_eq!(docs.count()?, 100);
    /// # Ok::<(), varvite::Error>(())
    /// ```
    pub fn bulk_load<'a, I: AsRef<[u8]>>(
        &self,
        entries: impl IntoIterator<Item = (I, Fields<'a>)>,
        policy: DuplicatePolicy,
    ) -> Result<u64> {
        bulk_load(self, entries.into_iter(), policy)
    }

    /// Deletes records and rewrites every file that holds a byte of them, deleted before or now, before it returns.
    ///
    /// # Errors
    /// As [`Collection::delete`]; `Corruption` if a file that must be rewritten is damaged.
    pub fn purge<I: AsRef<[u8]>>(&self, ids: &[I]) -> Result<PurgeReceipt> {
        let ids: Vec<&[u8]> = ids.iter().map(AsRef::as_ref).collect();
        purge(self, self.meta.id, &ids)
    }
}
