use std::{fmt, time::Duration};

use super::{Ordinals, candidates::RANKED_MAX};
use crate::{
    error::{Error, ErrorKind, Result},
    io::Clock,
    kernel::Instructions,
    sync::Arc,
};

/// What to search for, and how: [`Collection::search_by`](crate::Collection::search_by) takes it.
///
/// ```
/// use varvite::{Database, Metric, Options, Search};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 1, Metric::L2)?;
/// for (id, x) in [("a", 1.0), ("b", 2.0), ("c", 4.0), ("d", 8.0)] {
///     docs.insert(id, &[x])?;
/// }
/// let ids = |search: &Search| -> varvite::Result<Vec<Vec<u8>>> {
///     Ok(docs.search_by(search, &[0.0])?.remove(0).into_iter().map(|hit| hit.id).collect())
/// };
/// assert_eq!(ids(&Search::nearest(2))?, [b"a", b"b"]);
/// assert_eq!(ids(&Search::all().within(16.0))?, [b"a", b"b", b"c"]);
/// assert_eq!(ids(&Search::nearest(1).among(["c", "d", "nobody"]))?, [b"c"]);
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Search {
    pub(crate) k: usize,
    pub(crate) within: Option<f32>,
    pub(crate) among: Option<Arc<[Box<[u8]>]>>,
    pub(crate) ordinals: Option<Arc<Ordinals>>,
    pub(crate) instructions: Instructions,
    pub(crate) codes: bool,
    pub(crate) approximate: Option<usize>,
    pub(crate) threads: usize,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancelled: Option<Cancelled>,
}

/// Says whether to give up.
#[derive(Clone)]
pub(crate) struct Cancelled(Arc<dyn Fn() -> bool + Send + Sync>);

impl fmt::Debug for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancelled")
    }
}

impl Search {
    /// Records of each query that an approximate search scores, and gives, at most.
    pub const APPROXIMATE_MAX: usize = RANKED_MAX;

    /// The k nearest records; fewer if there are fewer.
    #[must_use]
    pub fn nearest(k: usize) -> Self {
        Self {
            k,
            within: None,
            among: None,
            ordinals: None,
            instructions: Instructions::widest(),
            codes: true,
            approximate: None,
            threads: 1,
            timeout: None,
            cancelled: None,
        }
    }

    /// All records, for [`Search::within`] or [`Search::among`] to say which. Memory grows with the answer.
    #[must_use]
    pub fn all() -> Self {
        Self::nearest(usize::MAX)
    }

    /// Only records at most this far away; of a NaN distance none are.
    #[must_use]
    pub fn within(mut self, distance: f32) -> Self {
        self.within = Some(distance);
        self
    }

    /// Only records of these ids. Those that do not exist are passed over; one that is given twice counts once.
    #[must_use]
    pub fn among<I: AsRef<[u8]>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        let mut ids: Vec<Box<[u8]>> = ids.into_iter().map(|id| id.as_ref().into()).collect();
        ids.sort_unstable();
        ids.dedup();
        self.among = Some(ids.into());
        self
    }

    /// Only records of these insertion ordinals, as [`Row::ordinal`](crate::Row::ordinal) tells them: a bitmap, made here and shared by clones of
    /// this search (at most 512 bytes for each ordinal, an eighth of one where they lie close together). Where few records are asked for, of the
    /// others only the ordinal is read. With [`Search::among`], both must hold.
    #[must_use]
    pub fn among_ordinals(mut self, ordinals: impl IntoIterator<Item = u64>) -> Self {
        self.ordinals = Some(Arc::new(ordinals.into_iter().collect()));
        self
    }

    /// The widest instruction set that the kernels may use: for tests and comparisons, as the answer does not depend on it. Default
    /// [`Instructions::widest`].
    #[must_use]
    pub fn instructions(mut self, instructions: Instructions) -> Self {
        self.instructions = instructions;
        self
    }

    /// Whether codes may be used where there are some: for comparisons, as the answer does not depend on it, unless it is approximate, which it is by
    /// codes only. Default yes.
    #[must_use]
    pub fn codes(mut self, codes: bool) -> Self {
        self.codes = codes;
        self
    }

    /// Compares only the upper halves of codes, four bits an element, and scores the records that come first by those, so many for each query (or k, if
    /// that is more; neither may be more than [`Self::APPROXIMATE_MAX`]): an answer that may miss records, in a fraction of the time. Distances are those of an exact search. Records without
    /// codes (in memtables too), those that are looked up one by one because few are asked for, and all if the query has no code (zeros), are
    /// compared exactly; of the others the same are found whatever the batch, the threads, the instruction set. `varvite recall` tells how often any is missed.
    ///
    /// ```
    /// use varvite::{Codes, Database, Metric, Options, Search};
    /// let db = Database::in_memory(Options::default())?;
    /// let docs = db.create_collection_with("docs", 3, Metric::Dot, Codes::Int8)?;
    /// docs.insert("near", &[1.0, 2.0, 3.0])?;
    /// docs.insert("far", &[-1.0, -2.0, -3.0])?;
    /// db.flush()?;
    /// let (hits, explanation) = docs.explain(&Search::nearest(1).approximate(1), &[1.0, 1.0, 1.0])?;
    /// assert_eq!((&*hits[0][0].id, explanation.scored), (&b"near"[..], 1));
    /// # Ok::<(), varvite::Error>(())
    /// ```
    #[must_use]
    pub fn approximate(mut self, scored: usize) -> Self {
        self.approximate = Some(scored);
        self
    }

    /// How many threads may share the work of one call, the caller's own included. Default 1, which serves many callers at once best; a small
    /// collection gets fewer, and none gets more than two for each processor. The answer does not depend on it.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Gives up after a time, with `TimedOut`: looked at before every 256 KiB of vectors or 128 KiB of codes are compared with six queries, and while
    /// candidates are scored, at every 64th.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Gives up once a function says so, with `Cancelled`: asked by every thread of the search, as often as a timeout is looked at. It should not
    /// panic: the search would, or be `Cancelled`.
    #[must_use]
    pub fn cancelled_when(mut self, cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.cancelled = Some(Cancelled(Arc::new(cancelled)));
        self
    }

    /// # Errors
    /// `InvalidArgument` for what has no answer.
    pub(crate) fn check(&self) -> Result<()> {
        if self.k == 0 {
            return Err(Error::invalid("k = 0 refused: ask for at least one neighbour"));
        }
        if let Some(scored) = self.approximate
            && (scored == 0 || scored.max(self.k) > Self::APPROXIMATE_MAX)
        {
            return Err(Error::invalid(format!(
                "an approximate search of {scored} records for k = {} refused: both must be from 1 to {}",
                self.k,
                Self::APPROXIMATE_MAX
            )));
        }
        if self.threads == 0 {
            return Err(Error::invalid("0 threads refused: the caller's own is one"));
        }
        if self.within.is_some_and(f32::is_nan) {
            return Err(Error::invalid("NaN refused as a greatest distance: nothing is within it"));
        }
        Ok(())
    }
}

/// When a search gives up.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Time of the clock.
    until: Option<Duration>,
    cancelled: Option<Cancelled>,
}

impl Limits {
    pub(super) fn new(search: &Search, clock: &dyn Clock) -> Self {
        let until = search.timeout.map(|timeout| clock.elapsed().saturating_add(timeout));
        Self { until, cancelled: search.cancelled.clone() }
    }

    /// # Errors
    /// `Cancelled`, `TimedOut`.
    pub(super) fn check(&self, clock: &dyn Clock) -> Result<()> {
        if self.cancelled.as_ref().is_some_and(|Cancelled(is_so)| is_so()) {
            return Err(Error::new(ErrorKind::Cancelled, "the search was cancelled"));
        }
        if self.until.is_some_and(|until| clock.elapsed() >= until) {
            return Err(Error::new(ErrorKind::TimedOut, "the search took longer than its timeout"));
        }
        Ok(())
    }
}
