use std::{cell::OnceCell, ops::Range};

use super::{
    TopK,
    candidates::{Candidate, Candidates},
    exact::{Found, Piece, Task, Work},
    threshold::Threshold,
};
use crate::{
    error::Result,
    format::segment::FACTOR_BYTES,
    kernel::{CodeSieve, CodeSums, Factors, Halves, Pairs, Part, Rows, Sums},
    memtable::{MemRow, Memtable},
    segment::{KillSet, RowBytes, StoredRows},
    types::{CollectionId, Ordinal},
    version::{self, LiveSegment, Reading},
};

/// One in so many rows of a piece: where fewer must be read to read some of them one by one, they are.
const FEW: usize = 8;
/// One in so many rows: when more of those whose codes were compared are candidates, beside [`FREE`], the vectors of a piece are read after all.
const TOO_MANY: usize = 20;
/// The same where several queries share what is read of vectors.
const TOO_MANY_OF_BATCH: usize = 50;
/// So many candidates for each neighbour asked for, up to some, are no sign of anything: rows that come first are near for a while.
const FREE: usize = 16;
const FREE_MAX: usize = 1024;
/// Candidates of all queries, beyond which they are scored before more are collected: 12 MiB.
const CANDIDATES_MAX: usize = 1 << 20;
/// After a piece whose codes were of no use, those of as many as 2 to this power are not looked at.
const RESTS_MAX: u32 = 6;
/// Candidates that are scored before a search looks again whether it is to go on.
const CHECKED: u64 = 64;

fn ordinal(found: &version::Found) -> Result<Ordinal> {
    match found {
        version::Found::Memtable(row) => Ok(row.ordinal()),
        version::Found::Segment(live, row) => live.segment.ordinal(*row),
    }
}

/// Keeps the vector of a row that was looked up.
enum Held {
    Memtable(MemRow),
    Segment(RowBytes),
}

impl Held {
    fn new(found: version::Found) -> Result<Self> {
        Ok(match found {
            version::Found::Memtable(row) => Self::Memtable(row),
            version::Found::Segment(live, row) => Self::Segment(live.segment.row(row)?),
        })
    }

    fn vector(&self) -> &[f32] {
        match self {
            Self::Memtable(row) => row.vector(),
            Self::Segment(row) => row,
        }
    }
}

/// The work of one thread.
pub(super) struct Scan<'a> {
    task: &'a Task,
    tops: Vec<TopK>,
    sums: Sums,
    /// Of each query.
    candidates: Vec<Candidates>,
    code_sums: CodeSums,
    /// Rows that codes leave: their places in what was looked at, and their numbers.
    places: Vec<u32>,
    refined: Vec<u32>,
    /// How many pairs of rows and queries were compared by codes.
    coded_pairs: usize,
    /// Pieces whose codes are not looked at, and how many times in a row they were of no use before.
    rest: u32,
    useless: u32,
    work: Work,
}

impl<'a> Scan<'a> {
    pub(super) fn new(task: &'a Task) -> Self {
        let k = task.request.k;
        let (kept, is_alone) = task.request.approximate.map_or((k, task.scorers.len() == 1), |scored| (scored.max(k), false));
        Self {
            task,
            tops: task.scorers.iter().map(|_| TopK::new(k)).collect(),
            sums: Sums::default(),
            candidates: task.scorers.iter().map(|_| Candidates::new(kept, is_alone)).collect(),
            code_sums: CodeSums::default(),
            places: Vec::new(),
            refined: Vec::new(),
            coded_pairs: 0,
            rest: 0,
            useless: 0,
            work: Work::default(),
        }
    }

    pub(super) fn piece(&mut self, number: u32, piece: &Piece) -> Result<()> {
        self.task.check()?;
        match piece {
            Piece::Memtable(memtable, share) => self.memtable(memtable, *share),
            Piece::Segment { live, kills, rows } => self.segment(number, live, kills, rows.clone()),
            Piece::Ids(range) => {
                let ids = self.task.request.among.as_deref().and_then(|ids| ids.get(range.clone())).unwrap_or_default();
                self.ids(ids)
            }
        }
    }

    /// Scores what the codes left, and gives what was found.
    pub(super) fn finish(mut self) -> Result<Found> {
        let mut left = Vec::new();
        if self.task.request.approximate.is_some() {
            left = self.candidates.iter_mut().map(Candidates::take).collect();
        } else {
            self.rescore()?;
        }
        Ok(Found { tops: self.tops, candidates: left, work: self.work })
    }

    /// Scores the candidates of each query, those first that may be nearest, until none that is left can be near enough.
    fn rescore(&mut self) -> Result<()> {
        let Self { task, tops, candidates, work, .. } = self;
        let begun = task.clock.elapsed();
        let mut count = 0;
        for (query, ((top, candidates), threshold)) in tops.iter_mut().zip(candidates).zip(&task.thresholds).enumerate() {
            for candidate in candidates.take() {
                count += u32::from(score_candidate(task, (query, &mut *top), &candidate, threshold, work)?);
            }
        }
        if count > 0 {
            work.rescoring += task.clock.elapsed().saturating_sub(begun);
        }
        Ok(())
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

    fn segment(&mut self, number: u32, live: &LiveSegment, kills: &KillSet, rows: Range<u32>) -> Result<()> {
        let asked_for: Option<Vec<u32>> = match &self.task.request.ordinals {
            None => None,
            Some(ordinals) => {
                let of_rows = live.segment.ordinals(rows.clone())?;
                let is_asked_for = |row: &u32, ordinal: u64| ordinals.contains(ordinal) && !kills.contains(*row);
                Some(rows.clone().zip(of_rows.iter()).filter(|(row, ordinal)| is_asked_for(row, *ordinal)).map(|(row, _)| row).collect())
            }
        };
        // One row is read with all that share its checksum.
        let group = live.segment.group_of(rows.start).len();
        if let Some(few) = asked_for.as_deref().filter(|rows_asked_for| rows_asked_for.len() * group < rows.len() / FEW) {
            let held = few.iter().map(|row| live.segment.row(*row)).collect::<Result<Vec<RowBytes>>>()?;
            let vectors: Vec<&[f32]> = held.iter().map(|row| &**row).collect();
            return self.rows(&vectors, |index| id_of(live, few.get(index).copied().unwrap_or_default()));
        }
        let numbers = asked_for.unwrap_or_else(|| match kills.count_in(rows.clone()) {
            0 => rows.clone().collect(),
            _ => rows.clone().filter(|row| !kills.contains(*row)).collect(),
        });
        let mut uncoded = &*numbers;
        if let Some(sieve) = self.task.code_sieve.as_ref().filter(|_| live.segment.has_codes()) {
            if self.task.request.approximate.is_some() {
                return self.estimates(sieve, number, live, &numbers);
            }
            if self.rest == 0 {
                let (first, others) = numbers.split_at(self.rows_for_a_threshold().min(numbers.len()));
                self.vectors(live, first)?;
                uncoded = if others.is_empty() || self.codes(sieve, number, live, others)? { &[] } else { others };
            } else {
                self.rest -= 1;
            }
        }
        self.vectors(live, uncoded)
    }

    /// How many vectors to compare first, so that codes have something to be compared with.
    fn rows_for_a_threshold(&self) -> usize {
        if self.task.thresholds.iter().all(|threshold| !threshold.get().is_nan()) {
            return 0;
        }
        self.task.request.k.saturating_mul(2).max(self.task.sieve.block_rows())
    }

    /// Ascending rows of a segment, by their vectors.
    fn vectors(&mut self, live: &LiveSegment, numbers: &[u32]) -> Result<()> {
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(()) };
        let block = live.segment.row_run(*first..*last + 1)?;
        let vector = live.segment.vectors(*first, &block)?;
        let vectors: Vec<&[f32]> = numbers.iter().map(|row| vector(*row)).collect();
        self.rows(&vectors, |index| id_of(live, numbers.get(index).copied().unwrap_or_default()))
    }

    /// Ascending rows of a segment, by their codes. `false` if those ruled too few out: it is as if they had not been looked at.
    fn codes(&mut self, sieve: &CodeSieve, piece: u32, live: &LiveSegment, numbers: &[u32]) -> Result<bool> {
        let stored = PieceCodes::new(live, piece, numbers)?;
        self.work.bytes += (numbers.len() * (stored.row_bytes() + FACTOR_BYTES)) as u64;
        let (queries, thresholds) = (self.candidates.len(), &self.task.thresholds);
        self.candidates.iter_mut().zip(thresholds).for_each(|(candidates, threshold)| candidates.begin(threshold.get()));
        let too_many = if queries == 1 { TOO_MANY } else { TOO_MANY_OF_BATCH };
        let free = FREE * self.task.request.k.min(FREE_MAX) * queries;
        let mut left = 0;
        for numbers in numbers.chunks(sieve.block_rows()) {
            if sieve.is_by_halves() {
                self.halves(sieve, &stored, numbers)?;
            } else {
                let codes = Pairs { upper: stored.upper.pick(numbers), lower: stored.lower()?.pick(numbers) };
                self.work.bytes += (numbers.len() * stored.row_bytes()) as u64;
                self.block(sieve, &stored, Part::Whole(codes), numbers, thresholds)?;
            }
            self.coded_pairs += numbers.len() * queries;
            left = self.candidates.iter_mut().zip(thresholds).map(|(candidates, threshold)| candidates.sift(threshold.get())).sum();
            if left > self.coded_pairs / too_many + free {
                self.candidates.iter_mut().for_each(Candidates::give_up);
                self.rest = (1 << self.useless) - 1;
                self.useless = (self.useless + 1).min(RESTS_MAX);
                self.work.fallbacks += 1;
                return Ok(false);
            }
        }
        self.useless = 0;
        let Self { task, tops, candidates, work, .. } = self;
        work.rows += numbers.len() as u64;
        work.coded += numbers.len() as u64;
        for (query, ((top, candidates), threshold)) in tops.iter_mut().zip(candidates).zip(thresholds).enumerate() {
            let mut all = candidates.end(threshold.get()).peekable();
            if all.peek().is_none() {
                continue;
            }
            let begun = task.clock.elapsed();
            for candidate in all {
                score_candidate(task, (query, &mut *top), &candidate, threshold, work)?;
            }
            work.rescoring += task.clock.elapsed().saturating_sub(begun);
        }
        if left > CANDIDATES_MAX {
            self.rescore()?;
        }
        Ok(true)
    }

    /// A block of rows for one query: the upper halves of their codes, and the lower ones of those that are left.
    fn halves(&mut self, sieve: &CodeSieve, stored: &PieceCodes<'_>, numbers: &[u32]) -> Result<()> {
        let Self { task, candidates, code_sums: sums, places, refined, work, .. } = self;
        let (Some(candidates), Some(threshold)) = (candidates.first_mut(), task.thresholds.first()) else { return Ok(()) };
        task.check()?;
        let upper = Part::Upper(stored.upper.pick(numbers));
        sieve.begin(upper, stored.factors.pick(numbers), sums);
        sieve.panel((0, &(0..1)), upper, sums);
        sieve.all_within(0, threshold.get(), sums, places);
        if places.is_empty() {
            return Ok(());
        }
        refined.clear();
        refined.extend(places.iter().filter_map(|place| numbers.get(*place as usize).copied()));
        let codes = Pairs { upper: stored.upper.pick(refined), lower: stored.lower()?.pick(refined) };
        sieve.refine(places, codes, stored.factors.pick(refined), sums);
        work.refined += refined.len() as u64;
        work.bytes += (refined.len() * stored.row_bytes()) as u64;
        Left { sieve, sums, piece: stored.piece, numbers: refined }.of_query(0, threshold, candidates, places);
        Ok(())
    }

    /// A block of rows for all queries.
    fn block(
        &mut self,
        sieve: &CodeSieve,
        stored: &PieceCodes<'_>,
        part: Part<'_>,
        numbers: &[u32],
        thresholds: &[Threshold],
    ) -> Result<()> {
        let Self { task, candidates, code_sums: sums, places, .. } = self;
        sieve.begin(part, stored.factors.pick(numbers), sums);
        for (panel, queries) in sieve.panels().enumerate() {
            task.check()?;
            sieve.panel((panel, &queries), part, sums);
            for query in queries {
                let (Some(candidates), Some(threshold)) = (candidates.get_mut(query), thresholds.get(query)) else { continue };
                Left { sieve, sums, piece: stored.piece, numbers }.of_query(query, threshold, candidates, places);
            }
        }
        Ok(())
    }

    /// Ascending rows of a segment, estimated by the upper halves of their codes: those are kept that may have to be scored. Rows of which nothing is known
    /// are scored at once.
    fn estimates(&mut self, sieve: &CodeSieve, piece: u32, live: &LiveSegment, numbers: &[u32]) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let stored = PieceCodes::new(live, piece, numbers)?;
        let factors = stored.factors.pick(numbers);
        let (mut known, mut unknown) = (Vec::with_capacity(numbers.len()), Vec::new());
        for (place, row) in numbers.iter().enumerate() {
            if Factors::are_known(factors.row(place)) { known.push(*row) } else { unknown.push(*row) }
        }
        for numbers in known.chunks(sieve.block_rows()) {
            self.block(sieve, &stored, Part::Upper(stored.upper.pick(numbers)), numbers, &self.task.estimates)?;
        }
        self.candidates.iter_mut().for_each(Candidates::keep_nearest);
        self.work.rows += known.len() as u64;
        self.work.coded += known.len() as u64;
        self.work.bytes += (numbers.len() * FACTOR_BYTES + known.len() * stored.row_bytes()) as u64;
        self.vectors(live, &unknown)
    }

    /// Visible rows of the queries' dimension, whose ids are asked for by their places.
    fn rows(&mut self, rows: &[&[f32]], id: impl Fn(usize) -> Result<Vec<u8>>) -> Result<()> {
        let Self { task, tops, sums, work, .. } = self;
        let mut start = 0;
        work.rows += rows.len() as u64;
        work.bytes += rows.iter().map(|row| size_of_val(*row) as u64).sum::<u64>();
        for block in rows.chunks(task.sieve.block_rows()) {
            task.sieve.begin(block, sums);
            for (panel, queries) in task.sieve.panels().enumerate() {
                task.check()?;
                task.sieve.panel((panel, &queries), block, sums);
                for query in queries {
                    let (Some(top), Some(threshold)) = (tops.get_mut(query), task.thresholds.get(query)) else { continue };
                    let mut from = 0;
                    while let Some(row) = task.sieve.first_within(query, threshold.get(), sums, from) {
                        from = row + 1;
                        score(task, (query, top), block.get(row).copied().unwrap_or_default(), work, || id(start + row))?;
                    }
                }
            }
            start += block.len();
        }
        Ok(())
    }
}

/// Rows of a piece whose codes were compared.
struct Left<'a> {
    sieve: &'a CodeSieve,
    sums: &'a CodeSums,
    piece: u32,
    numbers: &'a [u32],
}

impl Left<'_> {
    /// Makes candidates of a query of those that its threshold does not rule out; `places` is room for them.
    fn of_query(&self, query: usize, threshold: &Threshold, candidates: &mut Candidates, places: &mut Vec<u32>) {
        let Self { sieve, sums, piece, numbers } = self;
        sieve.all_within(query, threshold.get(), sums, places);
        for place in places.iter().map(|place| *place as usize) {
            let (Some(bounds), Some(row)) = (sieve.bounds(query, place, sums), numbers.get(place)) else { continue };
            threshold.lower_to(candidates.push(bounds, *piece, *row));
        }
    }
}

/// The codes of the rows of a piece.
struct PieceCodes<'a> {
    live: &'a LiveSegment,
    piece: u32,
    rows: Range<u32>,
    upper: StoredRows,
    factors: StoredRows,
    lower: OnceCell<StoredRows>,
}

impl<'a> PieceCodes<'a> {
    /// Of ascending rows.
    fn new(live: &'a LiveSegment, piece: u32, numbers: &[u32]) -> Result<Self> {
        let rows = numbers.first().copied().unwrap_or(0)..numbers.last().map_or(0, |last| last + 1);
        let (upper, factors) = (live.segment.upper_codes(rows.clone())?, live.segment.code_factors(rows.clone())?);
        Ok(Self { live, piece, rows, upper, factors, lower: OnceCell::new() })
    }

    /// Read when first asked for.
    fn lower(&self) -> Result<&StoredRows> {
        match self.lower.get() {
            Some(lower) => Ok(lower),
            None => {
                let lower = self.live.segment.lower_codes(self.rows.clone())?;
                Ok(self.lower.get_or_init(|| lower))
            }
        }
    }

    /// Bytes of either half of a row's code.
    fn row_bytes(&self) -> usize {
        Halves::row_bytes(self.live.segment.dimension().get())
    }
}

/// The id of a row.
fn id_of(live: &LiveSegment, row: u32) -> Result<Vec<u8>> {
    let mut id = Vec::new();
    live.segment.id_of(row, &mut id)?;
    Ok(id)
}

/// Scores of each query the candidates that come first by their estimates, as many as that; of equal ones, by their places.
pub(super) fn score_first(task: &Task, found: &mut Found, count: usize) -> Result<()> {
    let begun = task.clock.elapsed();
    let Found { tops, candidates, work } = found;
    for (query, ((top, candidates), threshold)) in tops.iter_mut().zip(candidates).zip(&task.thresholds).enumerate() {
        candidates.sort_unstable_by(Candidate::order);
        for candidate in candidates.iter().take(count) {
            let candidate = Candidate { least: f32::NEG_INFINITY, ..*candidate };
            score_candidate(task, (query, &mut *top), &candidate, threshold, work)?;
        }
    }
    work.rescoring += task.clock.elapsed().saturating_sub(begun);
    Ok(())
}

/// Scores a candidate canonically, unless a threshold rules it out meanwhile; whether it did.
fn score_candidate(
    task: &Task,
    of_query: (usize, &mut TopK),
    candidate: &Candidate,
    threshold: &Threshold,
    work: &mut Work,
) -> Result<bool> {
    work.candidates += 1;
    if work.candidates.is_multiple_of(CHECKED) {
        task.check()?;
    }
    if candidate.least > threshold.get() {
        return Ok(false);
    }
    let Some(Piece::Segment { live, .. }) = task.piece(candidate.piece) else { return Ok(false) };
    let row = live.segment.row(candidate.row)?;
    work.bytes += size_of_val::<[f32]>(&row) as u64;
    score(task, of_query, &row, work, || id_of(live, candidate.row))?;
    Ok(true)
}

/// Scores a row canonically, and keeps it if it is among the nearest.
fn score(task: &Task, (query, top): (usize, &mut TopK), row: &[f32], work: &mut Work, id: impl FnOnce() -> Result<Vec<u8>>) -> Result<()> {
    let (Some(scorer), Some(threshold)) = (task.scorers.get(query), task.thresholds.get(query)) else { return Ok(()) };
    let score = scorer.score(row);
    work.scored += 1;
    let far = task.request.within.is_some_and(|distance| score.is_nan() || score > distance);
    if !far && top.push(score, id)? {
        work.kept += 1;
        threshold.lower_to(top.threshold());
    }
    Ok(())
}
