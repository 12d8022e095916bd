use super::{
    dispatch::InstructionSet,
    lanes::{Lanes, Product, ProductAndSquare, SquaredDifference},
};
use crate::types::Metric;

/// Canonical scores of rows against one query: smaller is nearer, never −0, one NaN.
///
/// In f64, summed in the order of [`super::lanes`], rounded once to f32:
/// l2 = Σ(a−b)²; dot = −Σab; cosine = clamp(1 − Σab/√(Σa²·Σb²), 0, 2), and 1 if either vector is zero, whatever the other holds.
/// Neither products nor squares of f32 nor their sums can overflow or vanish in f64, so only infinities in the input make infinities.
pub(crate) struct Scorer {
    metric: Metric,
    dimension: usize,
    query: Vec<Lanes>,
    query_square: f64,
    instructions: InstructionSet,
}

impl Scorer {
    #[cfg(test)]
    pub(crate) fn new(metric: Metric, query: &[f32]) -> Self {
        Self::with_instructions(metric, query, InstructionSet::detect())
    }

    pub(crate) fn with_instructions(metric: Metric, query: &[f32], instructions: InstructionSet) -> Self {
        let lanes = Lanes::of(query);
        let query_square = instructions.sums::<Product>(&lanes, query).reduce();
        Self { metric, dimension: query.len(), query: lanes, query_square, instructions }
    }

    /// The sum of the query's squares.
    pub(super) fn query_square(&self) -> f64 {
        self.query_square
    }

    /// The score of one row, which must have the query's dimension.
    pub(crate) fn score(&self, row: &[f32]) -> f32 {
        debug_assert_eq!(row.len(), self.dimension, "a row of another dimension than the query");
        match self.metric {
            Metric::L2 => canonical(self.instructions.sums::<SquaredDifference>(&self.query, row).reduce()),
            Metric::Dot => canonical(-self.instructions.sums::<Product>(&self.query, row).reduce()),
            Metric::Cosine => self.cosine(self.instructions.sums::<ProductAndSquare>(&self.query, row)),
        }
    }

    fn cosine(&self, (product, row_square): (Lanes, Lanes)) -> f32 {
        let (product, row_square) = (product.reduce(), row_square.reduce());
        if self.query_square == 0.0 || row_square == 0.0 {
            return 1.0;
        }
        canonical((1.0 - product / (self.query_square * row_square).sqrt()).clamp(0.0, 2.0))
    }
}

/// Rounds to f32 and leaves one zero and one NaN, so that equal scores have equal bits.
fn canonical(score: f64) -> f32 {
    let rounded = score as f32;
    if rounded.is_nan() {
        f32::from_bits(0x7FC0_0000)
    } else if rounded == 0.0 {
        0.0
    } else {
        rounded
    }
}

#[cfg(test)]
#[path = "scorer_tests.rs"]
mod tests;
