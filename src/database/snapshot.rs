use super::{
    CollectionInfo, Inner,
    collection::{Hit, hits},
    handle::list,
};
use crate::{
    error::{Error, Result},
    read::{Row, Rows, contains, get, get_many},
    search::{Explanation, Search, search as nearest},
    sync::Arc,
    types::Metric,
    version::{CollectionMeta, Reading},
    write::{Target, check_vector},
};

/// The state of a database at one moment. It never changes and never blocks a writer.
///
/// ```
/// use varvite::{Database, Metric, Options};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 1, Metric::L2)?;
/// docs.insert("a", &[1.0])?;
/// let snapshot = db.snapshot()?;
/// docs.upsert("a", &[2.0])?;
/// let old = snapshot.collection("docs")?.get("a")?.expect("it was there");
/// assert_eq!(&*old, [1.0]);
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Keeps the database from closing under it.
    inner: Arc<Inner>,
    reading: Reading,
}

impl Snapshot {
    pub(crate) fn new(inner: Arc<Inner>, reading: Reading) -> Self {
        Self { inner, reading }
    }

    /// A collection as it was.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn collection(&self, name: &str) -> Result<CollectionSnapshot> {
        let meta = self.reading.view.catalog.by_name(name);
        let meta = meta.ok_or_else(|| Error::not_found(format!("there was no collection named {name:?}")))?;
        Ok(CollectionSnapshot { inner: Arc::clone(&self.inner), reading: self.reading.clone(), meta: Arc::clone(meta) })
    }

    /// All collections, by name.
    #[must_use]
    pub fn list_collections(&self) -> Vec<CollectionInfo> {
        list(&self.reading)
    }

    /// The last batch it shows.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.reading.sequence
    }
}

/// A collection at one moment: what every read of a [`crate::Collection`] uses, kept.
#[derive(Clone, Debug)]
pub struct CollectionSnapshot {
    inner: Arc<Inner>,
    reading: Reading,
    meta: Arc<CollectionMeta>,
}

impl CollectionSnapshot {
    pub(crate) fn new(inner: Arc<Inner>, meta: Arc<CollectionMeta>) -> Self {
        let reading = inner.reading();
        Self { inner, reading, meta }
    }

    /// Its name at that moment.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.meta.name
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

    /// Number of records; exact, O(log of the batches since the last flush).
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn count(&self) -> Result<u64> {
        self.reading.meta(self.meta.id)?;
        Ok(self.reading.count(self.meta.id))
    }

    /// The record of an id.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped; `Corruption` naming file and offset if its row is damaged.
    pub fn get(&self, id: impl AsRef<[u8]>) -> Result<Option<Row>> {
        get(&self.reading, self.meta.id, id.as_ref())
    }

    /// Whether an id has a record.
    ///
    /// # Errors
    /// As [`CollectionSnapshot::get`].
    pub fn contains(&self, id: impl AsRef<[u8]>) -> Result<bool> {
        contains(&self.reading, self.meta.id, id.as_ref())
    }

    /// The records of many ids, in their order.
    ///
    /// # Errors
    /// As [`CollectionSnapshot::get`].
    pub fn multi_get<I: AsRef<[u8]>>(&self, ids: &[I]) -> Result<Vec<Option<Row>>> {
        get_many(&self.reading, self.meta.id, ids)
    }

    /// All records by ascending id; from either end.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn iter(&self) -> Result<Rows> {
        self.range::<&[u8]>(..)
    }

    /// The records whose ids lie in a range.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn range<I: AsRef<[u8]>>(&self, range: impl std::ops::RangeBounds<I>) -> Result<Rows> {
        let own = |bound: std::ops::Bound<&I>| bound.map(|id| id.as_ref().to_vec());
        Rows::new(self.reading.clone(), self.meta.id, (own(range.start_bound()), own(range.end_bound())))
    }

    /// The records whose ids start with a prefix.
    ///
    /// # Errors
    /// `NotFound` if the collection was dropped.
    pub fn prefix(&self, prefix: impl AsRef<[u8]>) -> Result<Rows> {
        Rows::new(self.reading.clone(), self.meta.id, Rows::prefix_bounds(prefix.as_ref()))
    }

    /// The k nearest records, exactly; nearest first, ties by ascending id. Fewer if there are fewer.
    ///
    /// # Errors
    /// `InvalidArgument` for a query of another dimension, not finite (unless allowed), or k = 0; `Corruption` if a row cannot be read.
    pub fn search(&self, query: &[f32], k: usize) -> Result<Vec<Hit>> {
        Ok(self.search_many(query, k)?.pop().unwrap_or_default())
    }

    /// [`CollectionSnapshot::search`] for many queries, row-major, in one pass over the rows.
    ///
    /// # Errors
    /// As [`CollectionSnapshot::search`].
    pub fn search_many(&self, queries: &[f32], k: usize) -> Result<Vec<Vec<Hit>>> {
        self.search_by(&Search::nearest(k), queries)
    }

    /// All records at most a distance away, exactly; nearest first, ties by ascending id.
    ///
    /// # Errors
    /// As [`CollectionSnapshot::search`]; `InvalidArgument` for a NaN distance.
    pub fn search_within(&self, query: &[f32], distance: f32) -> Result<Vec<Hit>> {
        Ok(self.search_by(&Search::all().within(distance), query)?.pop().unwrap_or_default())
    }

    /// What a [`Search`] asks for, for one or many queries, row-major, in one pass over the rows: the hits of each query in turn. Every row is
    /// compared; O(records × dimension) for each query.
    ///
    /// # Errors
    /// As [`CollectionSnapshot::search`]; `InvalidArgument` for a search that has no answer; `Cancelled` and `TimedOut` as it asks.
    pub fn search_by(&self, search: &Search, queries: &[f32]) -> Result<Vec<Vec<Hit>>> {
        Ok(self.explain(search, queries)?.0)
    }

    /// [`CollectionSnapshot::search_by`], and how it came to its answer.
    ///
    /// # Errors
    /// As [`CollectionSnapshot::search_by`].
    pub fn explain(&self, search: &Search, queries: &[f32]) -> Result<(Vec<Vec<Hit>>, Explanation)> {
        search.check()?;
        let dimension = self.meta.dimension.get();
        if queries.is_empty() || !queries.len().is_multiple_of(dimension) {
            return Err(Error::invalid(format!(
                "{} elements are no whole queries: the collection has dimension {dimension}",
                queries.len()
            )));
        }
        let queries: Vec<&[f32]> = queries.chunks_exact(dimension).collect();
        let allow_non_finite = self.inner.options().allow_non_finite;
        let target = Target { collection: self.meta.id, dimension: self.meta.dimension, allow_non_finite };
        for query in &queries {
            check_vector(query, target)?;
        }
        let (found, explanation) = nearest(&self.reading, self.meta.id, &queries, search, self.inner.clock())?;
        Ok((found.into_iter().map(hits).collect(), explanation))
    }
}
