use std::{ops::Range, time::Duration};

use super::{
    Explanation, Neighbour, Search, TopK,
    candidates::Candidate,
    request::Limits,
    scan::{Scan, score_first},
    threshold::Threshold,
};
use crate::{
    error::{Error, ErrorKind, Result},
    io::{
        Clock,
        executor::{Worker, processors},
    },
    kernel::{CodeSieve, InstructionSet, Scorer, Sieve},
    memtable::Memtable,
    segment::KillSet,
    sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering},
    types::{CollectionId, Ordinal},
    version::{LiveSegment, Reading},
};

/// Bytes of a segment's rows that one thread takes at a time. Of copied files each is a buffer of its own.
const PIECE_BYTES: usize = 2 << 20;
/// Rows of a memtable, or ids, likewise; fewer if they are long.
const PIECE_ROWS: usize = 1024;
/// Pieces that are worth a thread.
const PIECES_PER_THREAD: usize = 2;

/// The nearest records of each query; exactly, unless it is asked for less.
///
/// A row counts only after its kill set, pending kills and memtables were asked, so that stale copies near a query never push a true neighbour out.
/// The sieve drops rows whose canonical scores are proven greater than the threshold; all others are scored canonically. Which those are depends on
/// threads, batches, segments and instruction sets; the answer does not.
pub(crate) fn search(
    reading: &Reading,
    collection: CollectionId,
    queries: &[&[f32]],
    request: &Search,
    clock: &Arc<dyn Clock>,
) -> Result<(Vec<Vec<Neighbour>>, Explanation)> {
    let limits = Limits::new(request, &**clock);
    search_until(&limits, reading, collection, queries, request, clock)
}

fn search_until(
    limits: &Limits,
    reading: &Reading,
    collection: CollectionId,
    queries: &[&[f32]],
    request: &Search,
    clock: &Arc<dyn Clock>,
) -> Result<(Vec<Vec<Neighbour>>, Explanation)> {
    let meta = reading.meta(collection)?;
    let begun = clock.elapsed();
    let instructions = InstructionSet::up_to(request.instructions);
    let is_approximate = request.approximate.is_some() && request.codes;
    let code_sieve = if request.codes { CodeSieve::new(meta.metric, queries, is_approximate, instructions) } else { None };
    if is_approximate && code_sieve.is_none() && queries.len() > 1 {
        return one_by_one(queries, |query| search_until(limits, reading, collection, &[query], request, clock));
    }
    let piece_rows = (PIECE_BYTES / meta.dimension.stride()).clamp(1, PIECE_ROWS);
    let scorers: Vec<Scorer> = queries.iter().map(|query| Scorer::with_instructions(meta.metric, query, instructions)).collect();
    let task = Arc::new(Task {
        sieve: Sieve::new(meta.metric, queries, &scorers, instructions),
        code_sieve,
        scorers,
        estimates: queries.iter().map(|_| Threshold::new(f32::NAN)).collect(),
        thresholds: queries.iter().map(|_| Threshold::new(request.within.unwrap_or(f32::NAN))).collect(),
        pieces: pieces(reading, collection, request, piece_rows),
        next: AtomicUsize::new(0),
        piece_rows,
        limits: limits.clone(),
        found: Mutex::new(Vec::new()),
        failure: Mutex::new(None),
        failed: AtomicBool::new(false),
        reading: reading.clone(),
        collection,
        request: request.clone(),
        clock: Arc::clone(clock),
    });
    let wanted = request.threads.min(task.pieces.len() / PIECES_PER_THREAD);
    // The system is asked only where that matters: it reads files to know.
    let threads = if wanted > 1 { wanted.min(2 * processors()) } else { 1 };
    let helper = |_| {
        let task = Arc::clone(&task);
        // Without it, the others do its part.
        Worker::spawn("varvite-search", move || task.work()).ok()
    };
    let helpers = Helpers((1..threads).map_while(helper).collect());
    let threads = helpers.0.len() + 1;
    task.work();
    drop(helpers);
    let (all, Work { rows, coded, refined, bytes, fallbacks, candidates, scored, kept, rescoring }) = task.answer(threads)?;
    let (queries, instructions, elapsed) = (queries.len() as u64, instructions.name(), clock.elapsed().saturating_sub(begun));
    let explanation = Explanation {
        queries,
        rows,
        coded,
        refined,
        bytes,
        fallbacks,
        candidates,
        scored,
        kept,
        threads,
        instructions,
        rescoring,
        elapsed,
    };
    Ok((all, explanation))
}

/// One search after the other: a query that has no code must not make those that are asked with it exact.
fn one_by_one(
    queries: &[&[f32]],
    mut search: impl FnMut(&[f32]) -> Result<(Vec<Vec<Neighbour>>, Explanation)>,
) -> Result<(Vec<Vec<Neighbour>>, Explanation)> {
    let (mut all, mut explanation): (Vec<_>, Option<Explanation>) = (Vec::with_capacity(queries.len()), None);
    for query in queries {
        let (neighbours, of_query) = search(query)?;
        all.extend(neighbours);
        explanation = Some(explanation.map_or(of_query.clone(), |before| before.and(&of_query)));
    }
    explanation.map(|explanation| (all, explanation)).ok_or_else(|| Error::invalid("no query"))
}

/// Threads that have ended once this is gone, even if the caller's function panics.
struct Helpers(Vec<Worker>);

impl Drop for Helpers {
    fn drop(&mut self) {
        for helper in self.0.drain(..) {
            // One that panicked is missed in the answer.
            let _ended = helper.join();
        }
    }
}

/// Makes the other threads give up unless it is told that all went well.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a thread found: the nearest of each query, and what is yet to be scored.
#[derive(Default)]
pub(super) struct Found {
    pub(super) tops: Vec<TopK>,
    /// If the answer is approximate: of each query.
    pub(super) candidates: Vec<Vec<Candidate>>,
    pub(super) work: Work,
}

/// What was done.
#[derive(Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) rows: u64,
    pub(super) coded: u64,
    pub(super) refined: u64,
    pub(super) bytes: u64,
    pub(super) fallbacks: u64,
    pub(super) candidates: u64,
    pub(super) scored: u64,
    pub(super) kept: u64,
    pub(super) rescoring: Duration,
}

impl Work {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.coded += other.coded;
        self.refined += other.refined;
        self.bytes += other.bytes;
        self.fallbacks += other.fallbacks;
        self.candidates += other.candidates;
        self.scored += other.scored;
        self.kept += other.kept;
        self.rescoring += other.rescoring;
    }
}

/// One search, shared by its threads.
pub(super) struct Task {
    pub(super) reading: Reading,
    pub(super) collection: CollectionId,
    pub(super) request: Search,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) sieve: Sieve,
    /// If codes may be used, and every query has one.
    pub(super) code_sieve: Option<CodeSieve>,
    pub(super) scorers: Vec<Scorer>,
    pub(super) thresholds: Vec<Threshold>,
    /// If the answer is approximate: the same for scores that are estimated, of as many records as are to be scored.
    pub(super) estimates: Vec<Threshold>,
    pieces: Vec<Piece>,
    /// The first piece that nobody has taken.
    next: AtomicUsize,
    /// Rows of a memtable, or ids, that are taken at a time.
    pub(super) piece_rows: usize,
    limits: Limits,
    /// Whether a thread failed: the others need not go on.
    failed: AtomicBool,
    /// What the threads found, each when there was no piece left.
    found: Mutex<Vec<Found>>,
    /// The first failure of any.
    failure: Mutex<Option<Error>>,
}

/// What one thread takes at a time.
pub(super) enum Piece {
    /// A share of the rows of a memtable, and how many shares there are.
    Memtable(Arc<Memtable>, (usize, usize)),
    Segment {
        live: Arc<LiveSegment>,
        kills: Arc<KillSet>,
        rows: Range<u32>,
    },
    /// Some of the ids that are searched among.
    Ids(Range<usize>),
}

fn pieces(reading: &Reading, collection: CollectionId, request: &Search, piece_rows: usize) -> Vec<Piece> {
    if let Some(ids) = &request.among {
        return (0..ids.len()).step_by(piece_rows).map(|start| Piece::Ids(start..(start + piece_rows).min(ids.len()))).collect();
    }
    let memtables = reading.view.memtables().flat_map(|memtable| {
        let shares = if request.threads > 1 { (memtable.bytes() / PIECE_BYTES).max(1) } else { 1 };
        (0..shares).map(move |share| Piece::Memtable(Arc::clone(memtable), (share, shares)))
    });
    let segments = reading.version(collection).into_iter().flat_map(|version| version.segments());
    memtables.chain(segments.flat_map(|live| segment_pieces(live, reading))).collect()
}

fn segment_pieces(live: &Arc<LiveSegment>, reading: &Reading) -> Vec<Piece> {
    let dead = live.pending.dead_at(reading.sequence);
    let kills = if dead.is_empty() { Arc::clone(&live.kills) } else { Arc::new(live.kills.union(dead)) };
    let (rows, stride) = (live.segment.rows(), live.segment.dimension().stride());
    let rows_per_piece = (PIECE_BYTES / stride).max(1) as u32;
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < rows {
        let last = start.saturating_add(rows_per_piece - 1).min(rows - 1);
        // Rows that share a checksum are read together.
        let end = live.segment.group_of(last).end;
        pieces.push(Piece::Segment { live: Arc::clone(live), kills: Arc::clone(&kills), rows: start..end });
        start = end;
    }
    pieces
}

impl Task {
    /// Whether a record of an ordinal counts.
    pub(super) fn is_asked_for(&self, ordinal: impl FnOnce() -> Result<Ordinal>) -> Result<bool> {
        self.request.ordinals.as_ref().map_or(Ok(true), |ordinals| Ok(ordinals.contains(ordinal()?)))
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `Cancelled`, `TimedOut`; another thread's failure, which is told first, is not told here.
    pub(super) fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "another thread of the search failed"));
        }
        self.limits.check(&*self.clock)
    }

    /// A piece by its number.
    pub(super) fn piece(&self, number: u32) -> Option<&Piece> {
        self.pieces.get(number as usize)
    }

    /// Does pieces until none is left, or one fails.
    fn work(&self) {
        let alarm = Alarm(&self.failed);
        let mut scan = Scan::new(self);
        let all = std::iter::from_fn(|| {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            self.pieces.get(number).map(|piece| (number as u32, piece))
        });
        match all.into_iter().try_for_each(|(number, piece)| scan.piece(number, piece)).and_then(|()| scan.finish()) {
            Ok(found) => {
                std::mem::forget(alarm);
                self.found.lock().push(found);
            }
            Err(error) => drop(self.failure.lock().get_or_insert(error)),
        }
    }

    fn answer(&self, threads: usize) -> Result<(Vec<Vec<Neighbour>>, Work)> {
        if let Some(failure) = self.failure.lock().take() {
            return Err(failure);
        }
        let mut found = std::mem::take(&mut *self.found.lock());
        if found.len() < threads {
            return Err(Error::new(ErrorKind::Cancelled, "the function that says whether a search is cancelled panicked"));
        }
        let mut all = found.pop().unwrap_or_default();
        for Found { tops, candidates, work } in found {
            all.tops.iter_mut().zip(tops).for_each(|(all, top)| all.merge(top));
            all.candidates.iter_mut().zip(candidates).for_each(|(all, others)| all.extend(others));
            all.work.add(work);
        }
        if let Some(scored) = self.request.approximate {
            score_first(self, &mut all, scored.max(self.request.k))?;
        }
        Ok((all.tops.into_iter().map(TopK::into_sorted).collect(), all.work))
    }
}
