use std::{cmp::Ordering, collections::BinaryHeap};

use crate::error::Result;

/// The k nearest rows of those pushed, whatever their order: by score ascending, NaN last, ties by id bytes ascending.
///
/// Memory grows with the rows kept, not with k.
pub(crate) struct TopK {
    k: usize,
    /// The farthest on top; never more than k.
    nearest: BinaryHeap<Neighbour>,
}

/// A row and its score, in the order of results.
#[derive(Clone, Debug)]
pub(crate) struct Neighbour {
    pub(crate) score: f32,
    pub(crate) id: Vec<u8>,
}

impl TopK {
    pub(crate) fn new(k: usize) -> Self {
        Self { k, nearest: BinaryHeap::new() }
    }

    /// Offers a row; says whether it was kept. Its id is asked for only if its score lets it in.
    ///
    /// # Errors
    /// Those of `id`; nothing changes then.
    pub(crate) fn push(&mut self, score: f32, id: impl FnOnce() -> Result<Vec<u8>>) -> Result<bool> {
        if !self.is_full() {
            self.nearest.push(Neighbour { score, id: id()? });
            return Ok(true);
        }
        let Some(mut farthest) = self.nearest.peek_mut() else {
            return Ok(false);
        };
        if compare_scores(score, farthest.score).is_gt() {
            return Ok(false);
        }
        let candidate = Neighbour { score, id: id()? };
        let nearer = candidate < *farthest;
        if nearer {
            *farthest = candidate;
        }
        Ok(nearer)
    }

    /// The score that the next row must not exceed; NaN, which none does, while rows are missing.
    pub(crate) fn threshold(&self) -> f32 {
        self.nearest.peek().filter(|_| self.is_full()).map_or(f32::NAN, |farthest| farthest.score)
    }

    /// Offers the rows kept by another one.
    pub(crate) fn merge(&mut self, other: Self) {
        for neighbour in other.nearest {
            // No error: nothing is read.
            let _kept = self.push(neighbour.score, || Ok(neighbour.id));
        }
    }

    /// The rows kept, nearest first.
    pub(crate) fn into_sorted(self) -> Vec<Neighbour> {
        self.nearest.into_sorted_vec()
    }

    fn is_full(&self) -> bool {
        self.nearest.len() >= self.k
    }
}

/// NaN is equal to itself and behind everything; the zeros are equal.
fn compare_scores(left: f32, right: f32) -> Ordering {
    left.partial_cmp(&right).unwrap_or_else(|| left.is_nan().cmp(&right.is_nan()))
}

impl Ord for Neighbour {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_scores(self.score, other.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Neighbour {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Neighbour {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Neighbour {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Neighbour, TopK};
    use crate::{Error, error::Result};

    fn pairs(neighbours: Vec<Neighbour>) -> Vec<(u32, Vec<u8>)> {
        neighbours.into_iter().map(|n| (n.score.to_bits(), n.id)).collect()
    }

    /// Written differently: NaN gets a rank of its own, everything is sorted.
    fn oracle(rows: &[(f32, Vec<u8>)], k: usize) -> Vec<(u32, Vec<u8>)> {
        let mut rows = rows.to_vec();
        rows.sort_by(|(a, id), (b, other)| {
            let rank = |x: f32| (x.is_nan(), if x.is_nan() { 0.0 } else { f64::from(x) });
            rank(*a).partial_cmp(&rank(*b)).unwrap().then(id.cmp(other))
        });
        rows.into_iter().take(k).map(|(score, id)| (score.to_bits(), id)).collect()
    }

    #[test]
    fn the_id_is_fetched_only_when_the_score_lets_the_row_in() {
        let never = || -> Result<Vec<u8>> { panic!("the id was fetched") };
        let mut top = TopK::new(2);
        assert!(top.push(5.0, || Ok(b"m".to_vec())).unwrap());
        assert!(top.push(f32::NAN, || Ok(b"n".to_vec())).unwrap());
        assert!(top.push(7.0, || Ok(b"o".to_vec())).unwrap());
        assert!(!top.push(f32::NAN, never).unwrap() && !top.push(7.5, never).unwrap());
        assert!(!top.push(7.0, || Ok(b"p".to_vec())).unwrap(), "tie, greater id");
        assert!(top.push(7.0, || Ok(b"a".to_vec())).unwrap(), "tie, smaller id");
        assert_eq!(pairs(top.into_sorted()), [(5.0f32.to_bits(), b"m".to_vec()), (7.0f32.to_bits(), b"a".to_vec())]);
    }

    #[test]
    fn an_id_that_cannot_be_read_changes_nothing() {
        let mut top = TopK::new(1);
        assert!(top.push(1.0, || Err(Error::invalid("damaged"))).is_err());
        assert!(top.push(1.0, || Ok(b"a".to_vec())).unwrap());
        assert!(top.push(0.5, || Err(Error::invalid("damaged"))).is_err());
        assert_eq!(pairs(top.into_sorted()), [(1.0f32.to_bits(), b"a".to_vec())]);
    }

    #[test]
    fn k_may_be_zero_or_beyond_all_rows() {
        let mut none = TopK::new(0);
        assert!(!none.push(f32::NEG_INFINITY, || panic!("the id was fetched")).unwrap());
        assert!(none.into_sorted().is_empty());
        let mut all = TopK::new(usize::MAX);
        for id in [b"c", b"a", b"b"] {
            all.push(1.0, || Ok(id.to_vec())).unwrap();
        }
        assert_eq!(all.into_sorted().into_iter().map(|n| n.id).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
    }

    fn rows() -> impl Strategy<Value = Vec<(f32, Vec<u8>)>> {
        let score = prop_oneof![
            4 => (-3i8..3).prop_map(f32::from),
            1 => Just(f32::NAN),
            1 => Just(f32::INFINITY),
            1 => Just(f32::NEG_INFINITY),
            1 => any::<f32>().prop_map(|x| if x.is_nan() { f32::NAN } else { x + 0.0 }),
        ];
        let ids = prop::collection::btree_set(prop::collection::vec(any::<u8>(), 1..3), 0..60);
        ids.prop_flat_map(move |ids| {
            let ids: Vec<_> = ids.into_iter().collect();
            let count = ids.len();
            (Just(ids).prop_shuffle(), prop::collection::vec(score.clone(), count))
        })
        .prop_map(|(ids, scores)| scores.into_iter().zip(ids).collect())
    }

    proptest! {
        #[test]
        fn equals_a_full_sort(rows in rows(), k in 0usize..70) {
            let search = |rows: &[(f32, Vec<u8>)]| {
                let mut top = TopK::new(k);
                for (score, id) in rows {
                    top.push(*score, || Ok(id.clone())).unwrap();
                }
                top
            };
            prop_assert_eq!(pairs(search(&rows).into_sorted()), oracle(&rows, k));
        }
    }
}
