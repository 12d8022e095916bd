use std::ops::Range;

use super::{
    blocks::{self, Half, Whole, arranged, sum},
    bound::{QueryBound, RowBounds},
    encoder::{Encoder, HALF_PLANE, Halves, WHOLE_PLANE},
    rows::{Pairs, Picked},
};
use crate::{
    kernel::{
        InstructionSet,
        simd::Bytes,
        tiles::{Panel, Rows, tiles, tiles_of_one, whole_tiles},
    },
    types::Metric,
};

/// Bytes of either half of codes over which all queries pass before the next.
const BLOCK_BYTES: usize = 64 << 10;

/// How many rows ahead of its use a half is asked for.
const AHEAD: usize = 16;
/// Rows of a tile of one query, where only some of a block are looked at.
const REFINED: usize = 4;

/// Tells of codes which rows of a block cannot be among the nearest of a query, as [`crate::kernel::Sieve`] does of the rows themselves.
///
/// One query waits for memory: of most rows it reads the upper halves only, see [`Self::begin_upper`] and [`Self::refine`]. Several share what is read, and
/// would gain nothing by less: [`Self::begin`] and [`Self::panel`].
pub(crate) struct CodeSieve {
    metric: Metric,
    dimension: usize,
    panels: Vec<Panel>,
    /// Of each query: the sum of the elements of its plane.
    sums: Vec<i32>,
    /// Of each query, given whole codes.
    bounds: Vec<QueryBound>,
    /// Of each query, given upper halves, if those are looked at alone.
    upper_bounds: Vec<QueryBound>,
    are_estimates: bool,
    /// As many as a vector has elements.
    ones: Panel,
    instructions: InstructionSet,
}

/// What a [`CodeSieve`] computed of a block of codes.
#[derive(Default)]
pub(crate) struct CodeSums {
    /// Sums of products of a panel's queries, query by query: with upper halves of a block, with lower ones of rows that are refined, with whole codes.
    uppers: Vec<i32>,
    lowers: Vec<i32>,
    wholes: Vec<i32>,
    /// The first query of the panel.
    first: usize,
    upper: Columns,
    whole: Columns,
}

/// Products of rows and queries, and what bounds need beside.
#[derive(Default)]
struct Columns {
    products: Vec<f32>,
    squares: Vec<f32>,
    rows: RowBounds,
}

impl Columns {
    /// The products of a query, given the first one.
    fn of_query(&self, query: usize, first: usize) -> Option<&[f32]> {
        let rows = self.rows.len();
        self.products.get(query.checked_sub(first)? * rows..)?.get(..rows)
    }
}

impl CodeSieve {
    /// For queries of one dimension; `None` if there are none, or one that has no code: zeros, infinities, numbers out of the ordinary.
    ///
    /// With `are_estimates` only upper halves are looked at, whatever the number of queries, and what they say is a score, without any bounds.
    pub(crate) fn new(metric: Metric, queries: &[&[f32]], are_estimates: bool, instructions: InstructionSet) -> Option<Self> {
        let dimension = queries.first()?.len();
        let by_halves = are_estimates || queries.len() == 1;
        let greatest = if by_halves { HALF_PLANE } else { WHOLE_PLANE };
        let mut encoder = Encoder::with_instructions(dimension, instructions);
        let planes: Vec<_> = queries.iter().map(|query| encoder.plane(query, greatest, metric == Metric::Cosine)).collect::<Option<_>>()?;
        let panels = |planes: &[&[u8]]| {
            let bytes = instructions.register_bytes();
            let arranged: Vec<Vec<u8>> = planes.iter().map(|plane| arranged(plane, bytes)).collect();
            Panel::all(&arranged.iter().map(Vec::as_slice).collect::<Vec<_>>(), 2 * bytes)
        };
        Some(Self {
            metric,
            dimension,
            panels: panels(&planes.iter().map(|plane| &*plane.elements).collect::<Vec<_>>()),
            sums: planes.iter().map(|plane| sum(&plane.elements)).collect(),
            bounds: planes.iter().map(|plane| QueryBound::new(metric, plane)).collect(),
            upper_bounds: planes
                .iter()
                .filter(|_| by_halves)
                .map(|plane| {
                    let bound = QueryBound::new(metric, &plane.halved());
                    if are_estimates { bound.without_residual() } else { bound }
                })
                .collect(),
            are_estimates,
            ones: panels(&[&vec![1; dimension]]).into_iter().next()?,
            instructions,
        })
    }

    /// How many rows a block should have.
    pub(crate) fn block_rows(&self) -> usize {
        whole_tiles(BLOCK_BYTES / Halves::row_bytes(self.dimension).max(1))
    }

    /// Whether upper halves are looked at first.
    pub(crate) fn is_by_halves(&self) -> bool {
        !self.upper_bounds.is_empty()
    }

    /// Computes what all panels need of the upper halves of the codes of a block of rows, which are of the query's dimension; with factors as they are
    /// stored.
    pub(crate) fn begin_upper(&self, uppers: Picked<'_>, stored: Picked<'_>, sums: &mut CodeSums) {
        let Columns { squares, rows, .. } = &mut sums.upper;
        if self.metric == Metric::L2 {
            self.instructions.upper_squares(self, uppers, squares);
        }
        let of_row = |residual: f32| if self.are_estimates && residual.is_finite() { 0.0 } else { residual };
        rows.set(self.metric, stored, |row| of_row(row.upper_residual), 0.25, squares);
    }

    /// Computes the products of a panel, that of some queries, with those halves.
    pub(crate) fn panel_upper(&self, (number, queries): (usize, &Range<usize>), uppers: Picked<'_>, sums: &mut CodeSums) {
        sums.first = queries.start;
        make_room(&mut sums.uppers, queries.len() * uppers.count());
        make_room(&mut sums.upper.products, queries.len() * uppers.count());
        self.instructions.upper_products(self, number, uppers, sums);
    }

    /// The rows of that block that may have a score of at most `threshold` for a query of the last panel computed. NaN is above all scores.
    pub(crate) fn all_upper_within(&self, query: usize, threshold: f32, sums: &CodeSums, found: &mut Vec<u32>) {
        found.clear();
        let (Some(bound), Some(products)) = (self.upper_bounds.get(query), sums.upper.of_query(query, sums.first)) else { return };
        self.instructions.all_codes_within(bound, threshold, products, &sums.upper.rows, found);
    }

    /// Whether anything is known of a row of that block: if not, there is no estimate either.
    pub(crate) fn is_known(row: usize, sums: &CodeSums) -> bool {
        sums.upper.rows.is_known(row)
    }

    /// At least and at most the canonical score of a row of that block.
    pub(crate) fn upper_bounds(&self, query: usize, row: usize, sums: &CodeSums) -> Option<(f32, f32)> {
        let product = sums.upper.of_query(query, sums.first)?.get(row)?;
        self.upper_bounds.get(query)?.bounds(*product, &sums.upper.rows, row)
    }

    /// Of the one query, computes what the whole codes of a few rows of that block say, which stood in such places there.
    pub(crate) fn refine(&self, places: &[u32], codes: Pairs<'_>, stored: Picked<'_>, sums: &mut CodeSums) {
        self.begin(codes, stored, sums);
        sums.first = 0;
        make_room(&mut sums.whole.products, places.len());
        make_room(&mut sums.lowers, places.len());
        self.instructions.refined_products(self, places, codes.lower, sums);
    }

    /// The numbers of the queries, panel by panel.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Range<usize>> {
        Panel::numbers(&self.panels)
    }

    /// Computes what all panels need of the whole codes of a block of rows, which are of the queries' dimension; with factors as they are stored.
    pub(crate) fn begin(&self, codes: Pairs<'_>, stored: Picked<'_>, sums: &mut CodeSums) {
        let Columns { squares, rows, .. } = &mut sums.whole;
        if self.metric == Metric::L2 {
            self.instructions.code_squares(self, codes, squares);
        }
        rows.set(self.metric, stored, |row| row.residual, 1.0, squares);
    }

    /// Computes the products of a panel, that of some queries.
    pub(crate) fn panel(&self, (number, queries): (usize, &Range<usize>), codes: Pairs<'_>, sums: &mut CodeSums) {
        sums.first = queries.start;
        make_room(&mut sums.wholes, queries.len() * codes.count());
        make_room(&mut sums.whole.products, queries.len() * codes.count());
        self.instructions.whole_products(self, number, codes, sums);
    }

    /// The rows, of those that were refined or of the block, that may have a score of at most `threshold` for a query of the last panel computed. NaN is
    /// above all scores.
    pub(crate) fn all_within(&self, query: usize, threshold: f32, sums: &CodeSums, found: &mut Vec<u32>) {
        found.clear();
        let (Some(bound), Some(products)) = (self.bounds.get(query), sums.whole.of_query(query, sums.first)) else { return };
        self.instructions.all_codes_within(bound, threshold, products, &sums.whole.rows, found);
    }

    /// At least and at most the canonical score of one of those rows.
    pub(crate) fn bounds(&self, query: usize, row: usize, sums: &CodeSums) -> Option<(f32, f32)> {
        let product = sums.whole.of_query(query, sums.first)?.get(row)?;
        self.bounds.get(query)?.bounds(*product, &sums.whole.rows, row)
    }
}

/// Makes room for so many results, all of which are to be written.
fn make_room<T: Copy + Default>(results: &mut Vec<T>, count: usize) {
    results.resize(count, T::default());
}

/// The squares that [`CodeSieve::begin_upper`] needs.
#[inline(always)]
pub(in crate::kernel) fn upper_squares<S: Bytes>(sieve: &CodeSieve, uppers: Picked<'_>, squares: &mut Vec<f32>) {
    blocks::upper_squares::<S>(&sieve.ones, uppers, sieve.dimension, squares);
}

/// Those that bounds by whole codes need.
#[inline(always)]
pub(in crate::kernel) fn squares<S: Bytes>(sieve: &CodeSieve, codes: Pairs<'_>, squares: &mut Vec<f32>) {
    blocks::squares::<S>(&sieve.ones, codes, sieve.dimension, squares);
}

/// The body of [`CodeSieve::panel_upper`].
#[inline(always)]
pub(in crate::kernel) fn upper_products<S: Bytes, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    sieve: &CodeSieve,
    number: usize,
    codes: Picked<'_>,
    into: &mut CodeSums,
) {
    let Some(panel) = sieve.panels.get(number) else { return };
    let CodeSums { uppers, upper: Columns { products, .. }, first, .. } = into;
    tiles::<Half<S>, NARROW, MIDDLE, WIDE, AHEAD>(panel, codes, uppers);
    let (rows, of_planes) = (codes.count().max(1), sieve.sums.get(*first..).unwrap_or_default());
    for ((sums, products), of_plane) in uppers.chunks(rows).zip(products.chunks_mut(rows)).zip(of_planes) {
        products.iter_mut().zip(sums).for_each(|(product, sum)| *product = blocks::upper_product(*sum, *of_plane) as f32);
    }
}

/// The products of [`CodeSieve::refine`].
#[inline(always)]
pub(in crate::kernel) fn refined_products<S: Bytes>(sieve: &CodeSieve, places: &[u32], codes: Picked<'_>, into: &mut CodeSums) {
    let (Some(panel), Some(of_plane)) = (sieve.panels.first(), sieve.sums.first()) else { return };
    let CodeSums { uppers, lowers, whole: Columns { products, .. }, .. } = into;
    tiles_of_one::<Half<S>, REFINED, AHEAD>(panel, codes, lowers);
    for ((product, place), lower) in products.iter_mut().zip(places).zip(lowers) {
        *product = uppers.get(*place as usize).map_or(f32::NAN, |upper| blocks::product(*upper, *lower, *of_plane) as f32);
    }
}

/// The body of [`CodeSieve::panel`].
#[inline(always)]
pub(in crate::kernel) fn whole_products<S: Bytes, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    sieve: &CodeSieve,
    number: usize,
    codes: Pairs<'_>,
    into: &mut CodeSums,
) {
    let Some(panel) = sieve.panels.get(number) else { return };
    let CodeSums { wholes, whole: Columns { products, .. }, first, .. } = into;
    tiles::<Whole<S>, NARROW, MIDDLE, WIDE, AHEAD>(panel, codes, wholes);
    let (rows, of_planes) = (codes.count().max(1), sieve.sums.get(*first..).unwrap_or_default());
    for ((sums, products), of_plane) in wholes.chunks(rows).zip(products.chunks_mut(rows)).zip(of_planes) {
        products.iter_mut().zip(sums).for_each(|(product, sum)| *product = blocks::whole_product(*sum, *of_plane) as f32);
    }
}
