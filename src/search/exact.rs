use std::ops::Range;

use super::{Explanation, Neighbour, Search, TopK, request::Limits, threshold::Threshold};
use crate::{
    error::{Error, ErrorKind, Result},
    io::{
        Clock,
        executor::{Worker, processors},
    },
    kernel::{InstructionSet, Scorer, Sieve, Sums},
    memtable::{MemRow, Memtable},
    segment::{KillSet, RowBytes},
    sync::{Arc, AtomicBool, AtomicUsize, Mutex, Ordering},
    types::{CollectionId, Ordinal},
    version::{Found, LiveSegment, Reading},
};

/// Bytes of a segment's rows that one thread takes at a time. Of copied files each is a buffer of its own.
const PIECE_BYTES: usize = 2 << 20;
/// Rows of a memtable, or ids, likewise; fewer if they are long.
const PIECE_ROWS: usize = 1024;
/// Pieces that are worth a thread.
const PIECES_PER_THREAD: usize = 2;
/// One in so many rows of a piece: where fewer must be read to read some of them one by one, they are.
const FEW: usize = 8;

/// The nearest records of each query, exactly.
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
    let meta = reading.meta(collection)?;
    let (begun, limits) = (clock.elapsed(), Limits::new(request, &**clock));
    let instructions = InstructionSet::up_to(request.instructions);
    let piece_rows = (PIECE_BYTES / meta.dimension.stride()).clamp(1, PIECE_ROWS);
    let scorers: Vec<Scorer> = queries.iter().map(|query| Scorer::with_instructions(meta.metric, query, instructions)).collect();
    let task = Arc::new(Task {
        sieve: Sieve::new(meta.metric, queries, &scorers, instructions),
        scorers,
        thresholds: queries.iter().map(|_| Threshold::new(request.within.unwrap_or(f32::NAN))).collect(),
        pieces: pieces(reading, collection, request, piece_rows),
        next: AtomicUsize::new(0),
        piece_rows,
        limits,
        found: Mutex::new(Vec::new()),
        failure: Mutex::new(None),
        failed: AtomicBool::new(false),
        reading: reading.clone(),
        collection,
        request: request.clone(),
        clock: Arc::clone(clock),
    });
    let threads = request.threads.min(task.pieces.len() / PIECES_PER_THREAD).min(2 * processors());
    let helper = |_| {
        let task = Arc::clone(&task);
        // Without it, the others do its part.
        Worker::spawn("varvite-search", move || task.work()).ok()
    };
    let helpers = Helpers((1..threads).map_while(helper).collect());
    let threads = helpers.0.len() + 1;
    task.work();
    drop(helpers);
    let (all, Work { rows, bytes, scored, kept }) = task.answer(threads)?;
    let (queries, instructions, elapsed) = (queries.len() as u64, instructions.name(), clock.elapsed().saturating_sub(begun));
    Ok((all, Explanation { queries, rows, bytes, scored, kept, threads, instructions, elapsed }))
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

/// What was done.
#[derive(Clone, Copy, Default)]
struct Work {
    rows: u64,
    bytes: u64,
    scored: u64,
    kept: u64,
}

/// One search, shared by its threads.
struct Task {
    reading: Reading,
    collection: CollectionId,
    request: Search,
    clock: Arc<dyn Clock>,
    sieve: Sieve,
    scorers: Vec<Scorer>,
    thresholds: Vec<Threshold>,
    pieces: Vec<Piece>,
    /// The first piece that nobody has taken.
    next: AtomicUsize,
    /// Rows of a memtable, or ids, that are taken at a time.
    piece_rows: usize,
    limits: Limits,
    /// Whether a thread failed: the others need not go on.
    failed: AtomicBool,
    /// What the threads found, each when there was no piece left.
    found: Mutex<Vec<(Vec<TopK>, Work)>>,
    /// The first failure of any.
    failure: Mutex<Option<Error>>,
}

/// What one thread takes at a time.
enum Piece {
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
    fn is_asked_for(&self, ordinal: impl FnOnce() -> Result<Ordinal>) -> Result<bool> {
        self.request.ordinals.as_ref().map_or(Ok(true), |ordinals| Ok(ordinals.contains(ordinal()?)))
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `Cancelled`, `TimedOut`; another thread's failure, which is told first, is not told here.
    fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Cancelled, "another thread of the search failed"));
        }
        self.limits.check(&*self.clock)
    }

    /// Scores the rows of a block that the sieve leaves.
    fn score(
        &self,
        (query, top): (usize, &mut TopK),
        block: &[&[f32]],
        sums: &Sums,
        work: &mut Work,
        id: impl Fn(usize) -> Result<Vec<u8>>,
    ) -> Result<()> {
        let (Some(scorer), Some(threshold)) = (self.scorers.get(query), self.thresholds.get(query)) else { return Ok(()) };
        let mut from = 0;
        while let Some(row) = self.sieve.first_within(query, threshold.get(), sums, from) {
            from = row + 1;
            let score = scorer.score(block.get(row).copied().unwrap_or_default());
            work.scored += 1;
            let far = self.request.within.is_some_and(|distance| score.is_nan() || score > distance);
            if !far && top.push(score, || id(row))? {
                work.kept += 1;
                threshold.lower_to(top.threshold());
            }
        }
        Ok(())
    }

    /// Does pieces until none is left, or one fails.
    fn work(&self) {
        let tops = self.scorers.iter().map(|_| TopK::new(self.request.k)).collect();
        let mut scan = Scan { task: self, tops, sums: Sums::default(), work: Work::default() };
        let alarm = Alarm(&self.failed);
        while let Some(piece) = self.pieces.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(error) = scan.piece(piece) {
                self.failure.lock().get_or_insert(error);
                return;
            }
        }
        std::mem::forget(alarm);
        self.found.lock().push((scan.tops, scan.work));
    }

    fn answer(&self, threads: usize) -> Result<(Vec<Vec<Neighbour>>, Work)> {
        if let Some(failure) = self.failure.lock().take() {
            return Err(failure);
        }
        let mut found = std::mem::take(&mut *self.found.lock());
        if found.len() < threads {
            return Err(Error::new(ErrorKind::Cancelled, "the function that says whether a search is cancelled panicked"));
        }
        let (mut all, mut done) = found.pop().unwrap_or_default();
        for (tops, work) in found {
            all.iter_mut().zip(tops).for_each(|(all, top)| all.merge(top));
            done.rows += work.rows;
            done.bytes += work.bytes;
            done.scored += work.scored;
            done.kept += work.kept;
        }
        Ok((all.into_iter().map(TopK::into_sorted).collect(), done))
    }
}

fn ordinal(found: &Found) -> Result<Ordinal> {
    match found {
        Found::Memtable(row) => Ok(row.ordinal()),
        Found::Segment(live, row) => live.segment.ordinal(*row),
    }
}

/// Keeps the vector of a row that was looked up.
enum Held {
    Memtable(MemRow),
    Segment(RowBytes),
}

impl Held {
    fn new(found: Found) -> Result<Self> {
        Ok(match found {
            Found::Memtable(row) => Self::Memtable(row),
            Found::Segment(live, row) => Self::Segment(live.segment.row(row)?),
        })
    }

    fn vector(&self) -> &[f32] {
        match self {
            Self::Memtable(row) => row.vector(),
            Self::Segment(row) => row,
        }
    }
}

struct Scan<'a> {
    task: &'a Task,
    tops: Vec<TopK>,
    sums: Sums,
    work: Work,
}

impl Scan<'_> {
    fn piece(&mut self, piece: &Piece) -> Result<()> {
        self.task.check()?;
        match piece {
            Piece::Memtable(memtable, share) => self.memtable(memtable, *share),
            Piece::Segment { live, kills, rows } => self.segment(live, kills, rows.clone()),
            Piece::Ids(range) => {
                let ids = self.task.request.among.as_deref().and_then(|ids| ids.get(range.clone())).unwrap_or_default();
                self.ids(ids)
            }
        }
    }

    fn ids(&mut self, ids: &[Box<[u8]>]) -> Result<()> {
        let Task { reading, collection, .. } = self.task;
        let (mut held, mut names) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for ids in ids.chunks(Reading::LOOK_AHEAD) {
            self.task.check()?;
            let asked: Vec<(CollectionId, &[u8])> = ids.iter().map(|id| (*collection, &**id)).collect();
            for (found, id) in reading.find_many(&asked).into_iter().zip(ids) {
                let Some(found) = found? else { continue };
                if self.task.is_asked_for(|| ordinal(&found))? {
                    held.push(Held::new(found)?);
                    names.push(id);
                }
            }
        }
        let vectors: Vec<&[f32]> = held.iter().map(Held::vector).collect();
        self.rows(&vectors, |index| Ok(names.get(index).map(|id| id.to_vec()).unwrap_or_default()))
    }

    fn memtable(&mut self, memtable: &Memtable, share: (usize, usize)) -> Result<()> {
        let (mut rows, mut result) = (Vec::with_capacity(self.task.piece_rows), Ok(()));
        let ordinals = self.task.request.ordinals.as_deref();
        memtable.scan(self.task.collection, self.task.reading.sequence, share, |row| {
            if result.is_ok() && ordinals.is_none_or(|ordinals| ordinals.contains(row.ordinal())) {
                rows.push(row.clone());
            }
            if rows.len() == self.task.piece_rows {
                result = self.memtable_rows(&rows);
                rows.clear();
            }
        });
        result.and_then(|()| self.memtable_rows(&rows))
    }

    fn memtable_rows(&mut self, rows: &[MemRow]) -> Result<()> {
        let vectors: Vec<&[f32]> = rows.iter().map(MemRow::vector).collect();
        self.rows(&vectors, |index| Ok(rows.get(index).map(|row| row.id().to_vec()).unwrap_or_default()))
    }

    fn segment(&mut self, live: &LiveSegment, kills: &KillSet, rows: Range<u32>) -> Result<()> {
        let asked_for: Option<Vec<u32>> = match &self.task.request.ordinals {
            None => None,
            Some(ordinals) => {
                let of_rows = live.segment.ordinals(rows.clone())?;
                let is_asked_for = |row: &u32, ordinal: u64| ordinals.contains(ordinal) && !kills.contains(*row);
                Some(rows.clone().zip(of_rows.iter()).filter(|(row, ordinal)| is_asked_for(row, *ordinal)).map(|(row, _)| row).collect())
            }
        };
        let id = |row: u32| {
            let mut id = Vec::new();
            live.segment.id_of(row, &mut id)?;
            Ok(id)
        };
        // One row is read with all that share its checksum.
        let group = live.segment.group_of(rows.start).len();
        if let Some(few) = asked_for.as_deref().filter(|rows_asked_for| rows_asked_for.len() * group < rows.len() / FEW) {
            let held = few.iter().map(|row| live.segment.row(*row)).collect::<Result<Vec<RowBytes>>>()?;
            let vectors: Vec<&[f32]> = held.iter().map(|row| &**row).collect();
            return self.rows(&vectors, |index| id(few.get(index).copied().unwrap_or_default()));
        }
        let block = live.segment.row_run(rows.clone())?;
        let vector = live.segment.vectors(rows.start, &block)?;
        let numbers = asked_for.unwrap_or_else(|| rows.clone().filter(|row| !kills.contains(*row)).collect());
        let vectors: Vec<&[f32]> = numbers.iter().map(|row| vector(*row)).collect();
        self.rows(&vectors, |index| id(numbers.get(index).copied().unwrap_or_default()))
    }

    /// Visible rows of the queries' dimension, whose ids are asked for by their places.
    fn rows(&mut self, rows: &[&[f32]], id: impl Fn(usize) -> Result<Vec<u8>>) -> Result<()> {
        let Self { task, tops, sums, work } = self;
        let mut start = 0;
        work.rows += rows.len() as u64;
        work.bytes += rows.iter().map(|row| size_of_val(*row) as u64).sum::<u64>();
        for block in rows.chunks(task.sieve.block_rows()) {
            task.sieve.begin(block, sums);
            for (panel, queries) in task.sieve.panels().enumerate() {
                task.check()?;
                task.sieve.panel((panel, &queries), block, sums);
                for query in queries {
                    let Some(top) = tops.get_mut(query) else { continue };
                    task.score((query, top), block, sums, work, |row| id(start + row))?;
                }
            }
            start += block.len();
        }
        Ok(())
    }
}
