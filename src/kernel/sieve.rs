use std::ops::Range;

use super::{
    blocks::{self, Floats, Product, SquaredDifference},
    bound::{self, QueryBound},
    dispatch::InstructionSet,
    scorer::Scorer,
    simd::Simd,
    tiles::{Panel, tiles, whole_tiles},
};
use crate::types::Metric;

/// Bytes of rows over which all queries pass before the next: about an eighth of a core's second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// Tells at f32 speed which rows of a block cannot be among the nearest of a query: their canonical scores are proven greater than a threshold.
///
/// The answer of what is left depends on neither the instruction set nor the queries asked with it; which rows are left does.
pub(crate) struct Sieve {
    metric: Metric,
    dimension: usize,
    panels: Vec<Panel>,
    bounds: Vec<QueryBound>,
    instructions: InstructionSet,
}

/// What a [`Sieve`] computed of a block of rows.
#[derive(Default)]
pub(crate) struct Sums {
    /// Those of a panel, query by query.
    sums: Vec<f32>,
    /// The first query of that panel.
    first: usize,
    /// Of each row, as the metric needs it.
    of_rows: Vec<f32>,
}

impl Sieve {
    /// For queries of one dimension, and the scorers of each.
    pub(crate) fn new(metric: Metric, queries: &[&[f32]], scorers: &[Scorer], instructions: InstructionSet) -> Self {
        let dimension = queries.first().map_or(0, |query| query.len());
        Self {
            metric,
            dimension,
            panels: Panel::all(queries, instructions.register_bytes() / size_of::<f32>()),
            bounds: scorers.iter().map(|scorer| QueryBound::new(metric, dimension, scorer.query_square())).collect(),
            instructions,
        }
    }

    /// How many rows a block should have.
    pub(crate) fn block_rows(&self) -> usize {
        // One query uses no row twice.
        let blocks = if self.is_single() { 4 } else { 1 };
        let rows = blocks * BLOCK_BYTES / (self.dimension * size_of::<f32>()).max(1);
        whole_tiles(rows)
    }

    /// The numbers of the queries, panel by panel.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Range<usize>> {
        Panel::numbers(&self.panels)
    }

    /// Computes what all panels need of a block of rows of the queries' dimension.
    pub(crate) fn begin(&self, rows: &[&[f32]], sums: &mut Sums) {
        self.instructions.begin(self, rows, sums);
    }

    /// Computes the sums of a panel, that of some queries.
    pub(crate) fn panel(&self, (number, queries): (usize, &Range<usize>), rows: &[&[f32]], sums: &mut Sums) {
        sums.first = queries.start;
        sums.sums.resize(queries.len() * rows.len(), 0.0);
        self.instructions.panel(self, number, rows, sums);
    }

    /// The first row of the block, from one on, that may have a score of at most `threshold` for a query of the last panel computed. NaN is
    /// above all scores.
    pub(crate) fn first_within(&self, query: usize, threshold: f32, sums: &Sums, from: usize) -> Option<usize> {
        let rows = sums.of_rows.len();
        let of_query = sums.sums.get(query.checked_sub(sums.first)? * rows..).and_then(|sums| sums.get(..rows))?;
        self.instructions.first_within(self.bounds.get(query)?, threshold, of_query, &sums.of_rows, from)
    }

    fn is_single(&self) -> bool {
        self.bounds.len() == 1
    }
}

/// The body of [`Sieve::begin`].
#[inline(always)]
pub(super) fn begin<S: Simd>(sieve: &Sieve, rows: &[&[f32]], into: &mut Sums) {
    let Sums { sums, of_rows, .. } = into;
    sums.resize(rows.len(), 0.0);
    of_rows.resize(rows.len(), 0.0);
    let Some(panel) = sieve.panels.first() else { return };
    match (sieve.metric, sieve.is_single()) {
        (Metric::L2, true) => blocks::stream::<S, SquaredDifference, false>(panel, rows, sums, of_rows),
        (Metric::L2, false) => {}
        (_, true) => blocks::stream::<S, Product, true>(panel, rows, sums, of_rows),
        (_, false) => blocks::stream::<S, blocks::Square, false>(panel, rows, of_rows, &mut []),
    }
    bound::of_rows(sieve.metric, sieve.dimension, of_rows);
}

/// The body of [`Sieve::panel`].
#[inline(always)]
pub(super) fn panel<S: Simd, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    sieve: &Sieve,
    number: usize,
    rows: &[&[f32]],
    into: &mut Sums,
) {
    let Some(panel) = sieve.panels.get(number).filter(|_| !sieve.is_single()) else { return };
    match sieve.metric {
        Metric::L2 => tiles::<Floats<S, SquaredDifference>, NARROW, MIDDLE, WIDE, 0>(panel, rows, &mut into.sums),
        Metric::Dot | Metric::Cosine => tiles::<Floats<S, Product>, NARROW, MIDDLE, WIDE, 0>(panel, rows, &mut into.sums),
    }
}

#[cfg(test)]
#[path = "sieve_tests.rs"]
mod tests;
