use std::time::Duration;

use crate::kernel::Instructions;

/// How a search came to its answer: [`Collection::explain`](crate::Collection::explain) gives it.
///
/// ```
/// use varvite::{Database, Metric, Options, Search};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 1, Metric::L2)?;
/// (0..1000).try_for_each(|x| docs.insert(format!("{x}"), &[x as f32]).map(drop))?;
/// let (hits, explanation) = docs.explain(&Search::nearest(10), &[0.0])?;
/// assert_eq!((hits[0].len(), explanation.rows), (10, 1000));
/// assert!(explanation.scored < 1000, "most rows are proven to be too far away");
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explanation {
    /// Queries of the call.
    pub queries: u64,
    /// Records that were compared with every query: visible ones, and among those asked for.
    pub rows: u64,
    /// Of those, the ones of which only the code was compared, unless that left them as candidates.
    pub coded: u64,
    /// Pairs of a record and a query of which the upper half of the code did not suffice, so that the lower was looked at too.
    pub refined: u64,
    /// Bytes of vectors and codes that were read: of vectors and upper halves of codes once for all queries.
    pub bytes: u64,
    /// Pieces of up to 2 MiB of vectors whose codes ruled too few rows out, so that the vectors were read after all.
    pub fallbacks: u64,
    /// Candidates that the codes left, of all queries, when it came to scoring them.
    pub candidates: u64,
    /// Canonical scores, of all queries: of pairs that no bound ruled out. With several threads it may differ from run to run.
    pub scored: u64,
    /// Of those, how many were among the best that their thread had met.
    pub kept: u64,
    /// Threads that took part.
    pub threads: usize,
    /// The instruction set of the kernels.
    pub instructions: Instructions,
    /// The part of the time in which candidates were scored, of all threads together.
    pub rescoring: Duration,
    /// Time that it took.
    pub elapsed: Duration,
}

impl Explanation {
    /// Of two searches, one after the other, of the same records.
    pub(super) fn and(&self, later: &Self) -> Self {
        Self {
            queries: self.queries + later.queries,
            rows: self.rows.max(later.rows),
            coded: self.coded.max(later.coded),
            refined: self.refined + later.refined,
            bytes: self.bytes + later.bytes,
            fallbacks: self.fallbacks + later.fallbacks,
            candidates: self.candidates + later.candidates,
            scored: self.scored + later.scored,
            kept: self.kept + later.kept,
            threads: self.threads.max(later.threads),
            instructions: self.instructions,
            rescoring: self.rescoring + later.rescoring,
            elapsed: self.elapsed + later.elapsed,
        }
    }
}
