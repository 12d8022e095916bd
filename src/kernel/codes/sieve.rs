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
/// One query waits for memory: of most rows it reads the upper halves only, and refines what those say of the others. Several share what is read, and
/// would gain nothing by less: they look at whole codes.
pub(crate) struct CodeSieve {
    metric: Metric,
    dimension: usize,
    panels: Vec<Panel>,
    /// Of each query: the sum of the elements of its plane.
    sums: Vec<i32>,
    /// Of each query, given upper halves, and given whole codes.
    bounds: [Vec<QueryBound>; 2],
    by_halves: bool,
    are_estimates: bool,
    /// As many as a vector has elements.
    ones: Panel,
    instructions: InstructionSet,
}

/// The codes of some rows, as far as they are looked at.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    Upper(Picked<'a>),
    Whole(Pairs<'a>),
}

impl Part<'_> {
    fn count(self) -> usize {
        match self {
            Self::Upper(codes) => codes.count(),
            Self::Whole(codes) => codes.count(),
        }
    }
}

/// What a [`CodeSieve`] computed of a block of codes.
#[derive(Default)]
pub(crate) struct CodeSums {
    /// Of upper halves, and of whole codes.
    parts: [Columns; 2],
    /// Which of both was computed last.
    is_whole: bool,
    /// The first query of the panel.
    first: usize,
    /// Sums of products with lower halves.
    lowers: Vec<i32>,
}

/// Products of rows and the queries of a panel, query by query, and what bounds need beside.
#[derive(Default)]
struct Columns {
    /// As they come, before they are made [`Self::products`] of what codes stand for.
    sums: Vec<i32>,
    products: Vec<f32>,
    squares: Vec<f32>,
    rows: RowBounds,
}

impl Columns {
    /// Makes room for so many results, all of which are to be written.
    fn make_room(&mut self, count: usize) {
        self.sums.resize(count, 0);
        self.products.resize(count, 0.0);
    }

    /// Makes products of the sums, given the sums of queries' planes.
    #[inline(always)]
    fn set_products(&mut self, of_planes: &[i32], product: impl Fn(i32, i32) -> i32) {
        let rows = self.rows.len().max(1);
        for ((sums, products), of_plane) in self.sums.chunks(rows).zip(self.products.chunks_mut(rows)).zip(of_planes) {
            products.iter_mut().zip(sums).for_each(|(to, sum)| *to = product(*sum, *of_plane) as f32);
        }
    }
}

impl CodeSums {
    /// What was computed last, and of that the products of a query.
    fn of_query(&self, query: usize) -> Option<(&[f32], &RowBounds)> {
        let [upper, whole] = &self.parts;
        let Columns { products, rows, .. } = if self.is_whole { whole } else { upper };
        Some((products.get(query.checked_sub(self.first)? * rows.len()..)?.get(..rows.len())?, rows))
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
        // Products with upper halves are twice as many.
        let bounds = [0.5, 1.0].map(|of_product| {
            let bounds = planes.iter().map(|plane| QueryBound::new(metric, plane, of_product));
            bounds.map(|bound| if are_estimates { bound.without_residual() } else { bound }).collect()
        });
        Some(Self {
            metric,
            dimension,
            panels: panels(&planes.iter().map(|plane| &*plane.elements).collect::<Vec<_>>()),
            sums: planes.iter().map(|plane| sum(&plane.elements)).collect(),
            bounds,
            by_halves,
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
        self.by_halves
    }

    /// The numbers of the queries, panel by panel.
    pub(crate) fn panels(&self) -> impl Iterator<Item = Range<usize>> {
        Panel::numbers(&self.panels)
    }

    /// Computes what all panels need of a block of rows: their codes, of the queries' dimension, and their factors as they are stored.
    pub(crate) fn begin(&self, part: Part<'_>, stored: Picked<'_>, sums: &mut CodeSums) {
        let CodeSums { parts: [upper, whole], is_whole, .. } = sums;
        *is_whole = matches!(part, Part::Whole(_));
        let Columns { squares, rows, .. } = if *is_whole { whole } else { upper };
        if self.metric == Metric::L2 {
            self.instructions.code_squares(self, part, squares);
        }
        match part {
            Part::Upper(_) if self.are_estimates => rows.set(self.metric, stored, |_| 0.0, 0.25, squares),
            Part::Upper(_) => rows.set(self.metric, stored, |row| row.upper_residual, 0.25, squares),
            Part::Whole(_) => rows.set(self.metric, stored, |row| row.residual, 1.0, squares),
        }
    }

    /// Computes the products of a panel, that of some queries, with those codes.
    pub(crate) fn panel(&self, (number, queries): (usize, &Range<usize>), part: Part<'_>, sums: &mut CodeSums) {
        sums.first = queries.start;
        self.instructions.code_products(self, number, part, sums);
    }

    /// Of the one query, computes what the whole codes of a few rows of a block say, which stood in such places where their upper halves were looked at.
    pub(crate) fn refine(&self, places: &[u32], codes: Pairs<'_>, stored: Picked<'_>, sums: &mut CodeSums) {
        self.begin(Part::Whole(codes), stored, sums);
        self.instructions.refined_products(self, places, codes.lower, sums);
    }

    /// The rows, of those that were computed last, that may have a score of at most `threshold` for a query of the panel. NaN is above all scores.
    pub(crate) fn all_within(&self, query: usize, threshold: f32, sums: &CodeSums, found: &mut Vec<u32>) {
        found.clear();
        if let (Some(bound), Some((products, rows))) = (self.bound(query, sums), sums.of_query(query)) {
            self.instructions.all_codes_within(bound, threshold, products, rows, found);
        }
    }

    /// At least and at most the canonical score of one of those rows.
    pub(crate) fn bounds(&self, query: usize, row: usize, sums: &CodeSums) -> Option<(f32, f32)> {
        let (products, rows) = sums.of_query(query)?;
        self.bound(query, sums)?.bounds(*products.get(row)?, rows, row)
    }

    fn bound(&self, query: usize, sums: &CodeSums) -> Option<&QueryBound> {
        let [upper, whole] = &self.bounds;
        if sums.is_whole { whole.get(query) } else { upper.get(query) }
    }
}

/// The squares that [`CodeSieve::begin`] needs.
#[inline(always)]
pub(in crate::kernel) fn squares<S: Bytes>(sieve: &CodeSieve, part: Part<'_>, squares: &mut Vec<f32>) {
    match part {
        Part::Upper(codes) => blocks::upper_squares::<S>(&sieve.ones, codes, sieve.dimension, squares),
        Part::Whole(codes) => blocks::squares::<S>(&sieve.ones, codes, sieve.dimension, squares),
    }
}

/// The body of [`CodeSieve::panel`].
#[inline(always)]
pub(in crate::kernel) fn products<S: Bytes, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    sieve: &CodeSieve,
    number: usize,
    part: Part<'_>,
    into: &mut CodeSums,
) {
    let CodeSums { parts: [upper, whole], first, .. } = into;
    let Some(panel) = sieve.panels.get(number) else { return };
    let of_planes = sieve.sums.get(*first..).unwrap_or_default();
    let count = part.count() * panel.queries();
    match part {
        Part::Upper(codes) => {
            upper.make_room(count);
            tiles::<Half<S>, NARROW, MIDDLE, WIDE, AHEAD>(panel, codes, &mut upper.sums);
            upper.set_products(of_planes, blocks::upper_product);
        }
        Part::Whole(codes) => {
            whole.make_room(count);
            tiles::<Whole<S>, NARROW, MIDDLE, WIDE, AHEAD>(panel, codes, &mut whole.sums);
            whole.set_products(of_planes, blocks::whole_product);
        }
    }
}

/// The products of [`CodeSieve::refine`]: the upper halves' are known.
#[inline(always)]
pub(in crate::kernel) fn refined_products<S: Bytes>(sieve: &CodeSieve, places: &[u32], codes: Picked<'_>, into: &mut CodeSums) {
    let CodeSums { parts: [upper, whole], lowers, .. } = into;
    let Some(panel) = sieve.panels.first() else { return };
    lowers.resize(places.len(), 0);
    whole.make_room(places.len());
    tiles_of_one::<Half<S>, REFINED, AHEAD>(panel, codes, lowers);
    for ((sum, place), lower) in whole.sums.iter_mut().zip(places).zip(lowers) {
        *sum = blocks::joined_sum(upper.sums.get(*place as usize).copied().unwrap_or_default(), *lower);
    }
    whole.set_products(&sieve.sums, blocks::whole_product);
}
