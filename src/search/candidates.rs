use std::{cmp::Ordering, collections::BinaryHeap};

use super::threshold::{key, score};

/// Beyond so many neighbours the greatest scores of candidates are not worth keeping: only canonical scores lower the threshold then.
pub(super) const RANKED_MAX: usize = 1 << 16;

/// Fewer are not worth sifting.
const SIFTED_FROM: usize = 1024;

/// A row that its code does not rule out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    /// At least its score.
    pub(super) least: f32,
    /// Where its segment is known from.
    pub(super) piece: u32,
    pub(super) row: u32,
}

impl Candidate {
    /// By what they score at least; those of which that is the same, by where they stand.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        self.least.total_cmp(&other.least).then_with(|| (self.piece, self.row).cmp(&(other.piece, other.row)))
    }
}

/// The candidates of one query that one thread has met.
#[derive(Debug)]
pub(super) struct Candidates {
    is_alone: bool,
    found: Vec<Candidate>,
    /// If the query is alone: those of the last piece that were among the k nearest by what they score at most when they were met, which stands beside them.
    promising: Vec<(Candidate, f32)>,
    /// How many of them were there when the last piece began, and how many were left when all were sifted last.
    before: usize,
    sifted: usize,
    /// The k smallest of what candidates score at most, by their keys, the greatest on top.
    ranked: BinaryHeap<u32>,
    k: usize,
}

impl Candidates {
    /// `is_alone`: there is no other query.
    pub(super) fn new(k: usize, is_alone: bool) -> Self {
        Self { is_alone, found: Vec::new(), promising: Vec::new(), before: 0, sifted: 0, ranked: BinaryHeap::new(), k }
    }

    /// Begins the rows of another piece, none of which was met before.
    pub(super) fn begin(&mut self, threshold: f32) {
        self.before = self.found.len();
        // Now and then all, so that those that a falling threshold rules out do not pile up.
        if self.before > 2 * self.sifted + SIFTED_FROM {
            self.before = 0;
            self.sifted = self.sift(threshold);
            self.before = self.sifted;
        }
    }

    /// Adds a row whose score lies between two numbers. Returns a score that k rows do not exceed, once there are so many.
    pub(super) fn push(&mut self, (least, greatest): (f32, f32), piece: u32, row: u32) -> f32 {
        // Nothing is known of it: it comes first.
        let least = if least.is_nan() { f32::NEG_INFINITY } else { least };
        let candidate = Candidate { least, piece, row };
        let is_near = self.k <= RANKED_MAX && self.rank(key(greatest));
        if is_near && self.is_alone {
            self.promising.push((candidate, greatest));
        } else {
            self.found.push(candidate);
        }
        if self.ranked.len() < self.k { f32::NAN } else { self.ranked.peek().map_or(f32::NAN, |worst| score(*worst)) }
    }

    /// Whether a greatest score is among the k smallest; it is kept then.
    fn rank(&mut self, greatest: u32) -> bool {
        if self.ranked.len() < self.k {
            self.ranked.push(greatest);
            return true;
        }
        let Some(mut worst) = self.ranked.peek_mut().filter(|worst| greatest < **worst) else { return false };
        *worst = greatest;
        true
    }

    /// Ends the rows of a piece. Those that are among the k nearest of all met so far by what they score at most are not kept: they are to be scored now,
    /// as most of them would be in the end, and the sooner the threshold falls the fewer others are met.
    pub(super) fn end(&mut self, threshold: f32) -> impl Iterator<Item = Candidate> + '_ {
        let Self { promising, found, .. } = self;
        promising.drain(..).filter_map(move |(candidate, greatest)| {
            let is_out = candidate.least > threshold;
            let is_kept = greatest > threshold && !is_out;
            if is_kept {
                found.push(candidate);
            }
            (!is_kept).then_some(candidate)
        })
    }

    /// Forgets those of the last piece that a threshold rules out meanwhile. How many are left, of all pieces.
    pub(super) fn sift(&mut self, threshold: f32) -> usize {
        let mut kept = self.before;
        for at in self.before..self.found.len() {
            let Some(candidate) = self.found.get(at).copied() else { break };
            let is_out = candidate.least > threshold;
            if !is_out {
                if let Some(place) = self.found.get_mut(kept) {
                    *place = candidate;
                }
                kept += 1;
            }
        }
        self.found.truncate(kept);
        kept + self.promising.len()
    }

    /// Forgets all but the k nearest of those whose scores are estimates, if there are many more.
    pub(super) fn keep_nearest(&mut self) {
        if self.found.len() > 2 * self.k + SIFTED_FROM {
            self.found.select_nth_unstable_by(self.k, Candidate::order);
            self.found.truncate(self.k);
        }
    }

    /// Forgets the last piece, whose rows are looked at in another way. That k rows do not exceed a score stays true.
    pub(super) fn give_up(&mut self) {
        self.found.truncate(self.before);
        self.promising.clear();
    }

    /// All of them, the nearest first by what they score at least.
    pub(super) fn take(&mut self) -> Vec<Candidate> {
        let mut found = std::mem::take(&mut self.found);
        (self.before, self.sifted) = (0, 0);
        found.sort_unstable_by(Candidate::order);
        found
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Candidate, Candidates};

    #[test]
    fn the_k_th_greatest_score_is_told_once_there_are_k() {
        let mut candidates = Candidates::new(3, false);
        let scores = [5.0, f32::NAN, 3.0, 4.0, f32::INFINITY, -0.0, 0.0];
        let told = scores.map(|score| candidates.push((0.0, score), 0, 0));
        assert!(told[0].is_nan() && told[1].is_nan() && told[2].is_nan(), "one of three has no score");
        assert_eq!(told[3..], [5.0, 5.0, 4.0, 3.0]);
    }

    #[test]
    fn more_than_can_be_ranked_have_no_k_th() {
        let mut candidates = Candidates::new(usize::MAX, true);
        assert!((0..10).all(|row| candidates.push((0.0, 1.0), 0, row).is_nan()));
        assert!(candidates.ranked.is_empty());
    }

    #[test]
    fn only_the_last_piece_is_sifted_or_given_up() {
        let mut candidates = Candidates::new(1, false);
        let rows = |candidates: &Candidates| candidates.found.iter().map(|candidate| candidate.row).collect::<Vec<_>>();
        candidates.push((9.0, 9.0), 0, 0);
        candidates.begin(f32::NAN);
        for (least, row) in [(2.0, 1), (f32::NAN, 2), (1.0, 3), (3.0, 4)] {
            candidates.push((least, 9.0), 1, row);
        }
        assert_eq!(candidates.sift(f32::NAN), 5);
        assert_eq!(candidates.sift(2.0), 4);
        assert_eq!(rows(&candidates), [0, 1, 2, 3]);
        candidates.begin(1.0);
        candidates.push((0.0, 0.0), 2, 5);
        candidates.give_up();
        assert_eq!(rows(&candidates), [0, 1, 2, 3]);
        assert_eq!(candidates.take().iter().map(|candidate| candidate.row).collect::<Vec<_>>(), [2, 3, 1, 0]);
        assert!(candidates.take().is_empty());
    }

    #[test]
    fn many_that_are_ruled_out_are_forgotten_when_another_piece_begins() {
        let mut candidates = Candidates::new(1, false);
        for row in 0..3000 {
            candidates.push((row as f32, 9.0), 0, row);
        }
        candidates.begin(99.0);
        assert_eq!((candidates.found.len(), candidates.before, candidates.sifted), (100, 100, 100));
        for row in 0..1000 {
            candidates.push((row as f32, 9.0), 0, row);
        }
        candidates.begin(9.0);
        assert_eq!((candidates.found.len(), candidates.before), (1100, 1100), "too few to be worth it");
        candidates.give_up();
        assert_eq!(candidates.found.len(), 1100);
    }

    #[test]
    fn what_is_near_is_scored_at_the_end_of_its_piece_if_the_query_is_alone() {
        let mut candidates = Candidates::new(2, true);
        for (row, bounds) in [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (0.0, 4.0), (f32::NAN, f32::NAN)].into_iter().enumerate() {
            candidates.push(bounds, 0, row as u32);
        }
        assert_eq!(candidates.sift(f32::NAN), 5);
        let scored: Vec<u32> = candidates.end(5.0).map(|candidate| candidate.row).collect();
        assert_eq!(scored, [0, 3], "the second was among the two nearest, but is not any more");
        assert_eq!(candidates.take().iter().map(|candidate| candidate.row).collect::<Vec<_>>(), [4, 1, 2]);
        candidates.push((1.0, 3.0), 1, 9);
        candidates.give_up();
        assert_eq!(candidates.end(f32::NAN).count() + candidates.take().len(), 0);
    }

    #[test]
    fn of_many_estimates_the_nearest_are_kept() {
        let mut candidates = Candidates::new(3, false);
        for row in 0..2000 {
            candidates.push((1.0, 1.0), row % 7, row);
            candidates.keep_nearest();
            assert!(candidates.found.len() <= 1031, "{row}");
        }
        candidates.push((0.5, 0.5), 9, 9);
        let kept: Vec<u32> = candidates.take().iter().take(4).map(|candidate| candidate.row).collect();
        assert_eq!(kept, [9, 0, 7, 14], "of equal ones those that stand first");
    }

    proptest! {
        #[test]
        fn what_is_told_is_the_k_th_of_a_sort(scores in prop::collection::vec(-100.0f32..100.0, 1..50), k in 1usize..10) {
            let mut candidates = Candidates::new(k, false);
            for end in 1..=scores.len() {
                let told = candidates.push((0.0, scores[end - 1]), 0, 0);
                let mut sorted = scores[..end].to_vec();
                sorted.sort_by(f32::total_cmp);
                match sorted.get(k - 1) {
                    None => prop_assert!(told.is_nan()),
                    Some(kth) => prop_assert_eq!(told, *kth),
                }
            }
            let found: Vec<Candidate> = candidates.take();
            prop_assert_eq!(found.len(), scores.len());
        }
    }
}
