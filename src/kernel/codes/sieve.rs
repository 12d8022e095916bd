use std::ops::Range;

use super::{
    blocks::surplus,
    bound::{QueryBound, RowBounds},
    encoder::{Encoder, Factors, Planes, STEP},
};
use crate::{
    kernel::{
        InstructionSet,
        simd::Int8,
        tiles::{Panel, tiles, whole_tiles},
    },
    types::Metric,
};

/// Bytes of codes over which all queries pass before the next.
const BLOCK_BYTES: usize = 128 << 10;

/// Tells of codes which rows of a block cannot be among the nearest of a query, as [`crate::kernel::Sieve`] does of the rows themselves.
pub(crate) struct CodeSieve {
    metric: Metric,
    dimension: usize,
    panels: Vec<Panel>,
    /// Of each plane, see [`surplus`].
    surplus: Vec<i32>,
    /// Of each query.
    planes: usize,
    bounds: Vec<QueryBound>,
    instructions: InstructionSet,
}

/// What a [`CodeSieve`] computed of a block of codes.
#[derive(Default)]
pub(crate) struct CodeSums {
    of_planes: Vec<i32>,
    /// Those of the queries of a panel, query by query.
    products: Vec<f32>,
    /// The first query of that panel.
    first: usize,
    squares: Vec<i32>,
    rows: RowBounds,
}

impl CodeSieve {
    /// For queries of one dimension; `None` if there are none, or one that has no code: zeros, infinities, numbers out of the ordinary.
    pub(crate) fn new(metric: Metric, queries: &[&[f32]], instructions: InstructionSet) -> Option<Self> {
        let dimension = queries.first()?.len();
        // What a second plane adds to certainty is worth its time where one query waits for memory.
        let planes = if queries.len() == 1 { 2 } else { 1 };
        let mut encoder = Encoder::with_instructions(dimension, instructions);
        let quantised: Vec<Planes> =
            queries.iter().map(|query| encoder.planes(query, planes, metric == Metric::Cosine)).collect::<Option<_>>()?;
        let all: Vec<&[u8]> = quantised.iter().flat_map(|query| query.planes.iter().map(Vec::as_slice)).collect();
        Some(Self {
            metric,
            dimension,
            panels: Panel::all(&all, instructions.register_bytes()),
            surplus: all.iter().map(|plane| surplus(plane)).collect(),
            planes,
            bounds: quantised.iter().map(|query| QueryBound::new(metric, query)).collect(),
            instructions,
        })
    }

    /// How many rows a block should have.
    pub(crate) fn block_rows(&self) -> usize {
        whole_tiles(BLOCK_BYTES / self.dimension.max(1))
    }

    /// The numbers of the queries, panel by panel.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Range<usize>> {
        Panel::numbers(&self.panels, self.planes)
    }

    /// Computes what all panels need of a block of rows: their codes, of the queries' dimension, and factors.
    pub(crate) fn begin(&self, codes: &[&[u8]], factors: &[Factors], sums: &mut CodeSums) {
        sums.squares.clear();
        if self.metric == Metric::L2 {
            sums.squares.resize(codes.len(), 0);
        }
        self.instructions.code_squares(codes, &mut sums.squares);
        sums.rows.set(self.metric, factors, &sums.squares);
    }

    /// Computes the products of a panel, that of some queries.
    pub(crate) fn panel(&self, (number, queries): (usize, &Range<usize>), codes: &[&[u8]], sums: &mut CodeSums) {
        sums.first = queries.start;
        sums.of_planes.resize(queries.len() * self.planes * codes.len(), 0);
        sums.products.resize(queries.len() * codes.len(), 0.0);
        self.instructions.code_products(self, number, codes, sums);
    }

    /// The first row of the block, from one on, that may have a score of at most `threshold` for a query of the last panel computed. NaN is
    /// above all scores.
    pub(crate) fn first_within(&self, query: usize, threshold: f32, sums: &CodeSums, from: usize) -> Option<usize> {
        self.instructions.first_code_within(self.bounds.get(query)?, threshold, self.products(query, sums)?, &sums.rows, from)
    }

    /// At least and at most the canonical score of a row of the block and a query of the last panel computed.
    pub(crate) fn bounds(&self, query: usize, row: usize, sums: &CodeSums) -> Option<(f32, f32)> {
        self.bounds.get(query)?.bounds(*self.products(query, sums)?.get(row)?, &sums.rows, row)
    }

    fn products<'a>(&self, query: usize, sums: &'a CodeSums) -> Option<&'a [f32]> {
        let rows = sums.rows.len();
        sums.products.get(query.checked_sub(sums.first)? * rows..)?.get(..rows)
    }
}

/// The body of [`CodeSieve::panel`].
#[inline(always)]
pub(in crate::kernel) fn products<S: Int8, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    sieve: &CodeSieve,
    number: usize,
    codes: &[&[u8]],
    into: &mut CodeSums,
) {
    let Some(panel) = sieve.panels.get(number) else { return };
    let CodeSums { of_planes, products, first, .. } = into;
    tiles::<S, NARROW, MIDDLE, WIDE>(panel, codes, of_planes);
    let surplus = sieve.surplus.get(*first * sieve.planes..).unwrap_or_default();
    for (sums, surplus) in of_planes.chunks_mut(codes.len().max(1)).zip(surplus) {
        sums.iter_mut().for_each(|sum| *sum -= surplus);
    }
    if sieve.planes == 1 {
        products.iter_mut().zip(&*of_planes).for_each(|(product, sum)| *product = *sum as f32);
        return;
    }
    let (first, second) = of_planes.split_at(codes.len().min(of_planes.len()));
    for ((product, first), second) in products.iter_mut().zip(first).zip(second) {
        // Exact but for the last rounding.
        *product = (f64::from(*first) * f64::from(STEP) + f64::from(*second)) as f32;
    }
}
