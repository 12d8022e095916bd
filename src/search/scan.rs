use std::ops::Range;

use super::{
    TopK,
    candidates::Candidates,
    exact::{Piece, Task, Work},
};
use crate::{
    error::Result,
    kernel::{CodeSieve, CodeSums, Factors, Sums},
    memtable::{MemRow, Memtable},
    segment::{KillSet, RowBytes},
    types::{CollectionId, Ordinal},
    version::{Found, LiveSegment, Reading},
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

/// The work of one thread.
pub(super) struct Scan<'a> {
    task: &'a Task,
    tops: Vec<TopK>,
    sums: Sums,
    /// Of each query.
    candidates: Vec<Candidates>,
    code_sums: CodeSums,
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
        Self {
            task,
            tops: task.scorers.iter().map(|_| TopK::new(k)).collect(),
            sums: Sums::default(),
            candidates: task.scorers.iter().map(|_| Candidates::new(k)).collect(),
            code_sums: CodeSums::default(),
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
    pub(super) fn finish(mut self) -> Result<(Vec<TopK>, Work)> {
        self.rescore()?;
        Ok((self.tops, self.work))
    }

    /// Scores the candidates of each query, those first that may be nearest, until none that is left can be near enough.
    fn rescore(&mut self) -> Result<()> {
        let Self { task, tops, candidates, work, .. } = self;
        let begun = task.clock.elapsed();
        let mut count = 0;
        for (query, ((top, candidates), threshold)) in tops.iter_mut().zip(candidates).zip(&task.thresholds).enumerate() {
            for candidate in candidates.take() {
                work.candidates += 1;
                if candidate.least > threshold.get() {
                    continue;
                }
                if work.candidates.is_multiple_of(CHECKED) {
                    task.check()?;
                }
                let Some(Piece::Segment { live, .. }) = task.piece(candidate.piece) else { continue };
                let row = live.segment.row(candidate.row)?;
                work.bytes += size_of_val::<[f32]>(&row) as u64;
                score(task, (query, &mut *top), &row, work, || id_of(live, candidate.row))?;
                count += 1;
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
        let numbers = asked_for.unwrap_or_else(|| rows.clone().filter(|row| !kills.contains(*row)).collect());
        let mut uncoded = &*numbers;
        if let Some(sieve) = self.task.code_sieve.as_ref().filter(|_| live.segment.has_codes()) {
            if self.rest == 0 {
                let (first, others) = numbers.split_at(self.rows_for_a_threshold().min(numbers.len()));
                self.vectors(live, first)?;
                uncoded = if self.codes(sieve, number, live, others)? { &[] } else { others };
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
        let (Some(first), Some(last)) = (numbers.first().copied(), numbers.last().copied()) else { return Ok(true) };
        let stored = live.segment.codes(first..last + 1)?;
        let codes: Vec<&[u8]> = numbers.iter().map(|row| stored.code((row - first) as usize)).collect();
        let factors: Vec<Factors> = numbers.iter().map(|row| stored.factors((row - first) as usize)).collect();
        self.work.bytes += codes.iter().map(|code| code.len() as u64).sum::<u64>() + size_of_val(&*factors) as u64;
        let Self { task, candidates, code_sums: sums, .. } = self;
        candidates.iter_mut().zip(&task.thresholds).for_each(|(candidates, threshold)| candidates.begin(threshold.get()));
        let too_many = if candidates.len() == 1 { TOO_MANY } else { TOO_MANY_OF_BATCH };
        let free = FREE * task.request.k.min(FREE_MAX) * candidates.len();
        let (block_rows, mut left) = (sieve.block_rows(), 0);
        for ((codes, factors), numbers) in codes.chunks(block_rows).zip(factors.chunks(block_rows)).zip(numbers.chunks(block_rows)) {
            sieve.begin(codes, factors, sums);
            for (panel, queries) in sieve.panels().enumerate() {
                task.check()?;
                sieve.panel((panel, &queries), codes, sums);
                for query in queries {
                    let (Some(candidates), Some(threshold)) = (candidates.get_mut(query), task.thresholds.get(query)) else { continue };
                    let mut from = 0;
                    while let Some(at) = sieve.first_within(query, threshold.get(), sums, from) {
                        from = at + 1;
                        let (Some(bounds), Some(row)) = (sieve.bounds(query, at, sums), numbers.get(at)) else { continue };
                        threshold.lower_to(candidates.push(bounds, piece, *row));
                    }
                }
            }
            self.coded_pairs += numbers.len() * candidates.len();
            left = candidates.iter_mut().zip(&task.thresholds).map(|(candidates, threshold)| candidates.sift(threshold.get())).sum();
            if left > self.coded_pairs / too_many + free {
                candidates.iter_mut().for_each(Candidates::give_up);
                self.rest = (1 << self.useless) - 1;
                self.useless = (self.useless + 1).min(RESTS_MAX);
                self.work.fallbacks += 1;
                return Ok(false);
            }
        }
        self.useless = 0;
        self.work.rows += numbers.len() as u64;
        self.work.coded += numbers.len() as u64;
        if left > CANDIDATES_MAX {
            self.rescore()?;
        }
        Ok(true)
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

/// The id of a row.
fn id_of(live: &LiveSegment, row: u32) -> Result<Vec<u8>> {
    let mut id = Vec::new();
    live.segment.id_of(row, &mut id)?;
    Ok(id)
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
