//! How far a sum of [`super::blocks`] may be from the truth, and so what a canonical score is at least. The analysis is in docs/certified-search.md.
//!
//! With u = 2⁻²⁴ and h roundings on the way of any term into a sum, a sum of n products differs from the exact one by at most γ·Σ|ab| + n·2⁻¹⁴⁹,
//! γ = hu/(1−hu): relative errors (Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.1) and what underflow takes.
//! Σ|ab| ≤ ‖a‖‖b‖. All that could be wrong beyond it ends in NaN or −∞, which no threshold is below: such rows are scored canonically.

use crate::types::Metric;

/// Unit roundoff of f32.
pub(super) const U: f64 = 1.0 / (1u32 << 24) as f64;
/// Squared norms whose product, inverse and root are far from overflow and underflow.
const ORDINARY: std::ops::RangeInclusive<f64> = 8.673_617_379_884_035e-19..=1.329_227_995_784_916e36;

/// What a lower bound needs to know of a query.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueryBound {
    metric: Metric,
    /// Dot: four times the query's norm. Cosine: the inverse of the norm, NaN if that is out of the ordinary. L2: nothing.
    factor: f32,
    /// Dot: the relative error, by four. Cosine: 1 less the error. L2: 1 less the relative error.
    relative: f32,
    /// What underflow may take.
    absolute: f32,
}

/// γ of sums over a dimension, on any instruction set: eight lanes at least, each element rounded with its lane, as a product, and up to seven times
/// when accumulators and lanes are added up.
fn gamma(dimension: usize) -> f64 {
    let roundings = (dimension / 8 + 12) as f64 * U;
    roundings / (1.0 - roundings)
}

/// Rounds up, by more than conversion can have rounded down.
fn up(x: f64) -> f32 {
    (x * (1.0 + 4.0 * U)) as f32
}

/// Rounds down, likewise.
fn down(x: f64) -> f32 {
    (x * (1.0 - 4.0 * U)) as f32
}

impl QueryBound {
    /// For a query of whose elements the squares have a sum.
    pub(super) fn new(metric: Metric, dimension: usize, square: f64) -> Self {
        let gamma = gamma(dimension);
        let absolute = absolute(dimension);
        let (factor, relative) = match metric {
            // Not less than 2⁻¹⁰⁰, below which the factor itself would lose digits. That of a NaN does not matter: the sums are NaN then.
            Metric::Dot => (up(4.0 * square.sqrt().max(7.9e-31)), up((gamma + 8.0 * U) * (1.0 + 2.0 * gamma + 32.0 * U) / 4.0)),
            Metric::Cosine => {
                (if ORDINARY.contains(&square) { (1.0 / square.sqrt()) as f32 } else { f32::NAN }, down(1.0 - 2.0 * gamma - 24.0 * U))
            }
            Metric::L2 => (0.0, down(1.0 - gamma - 8.0 * U)),
        };
        Self { metric, factor, relative, absolute }
    }

    /// The first of some rows, from one on, whose canonical score is not proven greater than a threshold. NaN is greater than no score.
    /// O(rows).
    #[inline(always)]
    pub(super) fn first_within(&self, threshold: f32, sums: &[f32], of_rows: &[f32], from: usize) -> Option<usize> {
        let Self { factor, relative, absolute, .. } = *self;
        match self.metric {
            Metric::Dot => first_not_above(threshold, [sums, of_rows], from, |[sum, norm]| -sum - (norm * factor * relative + absolute)),
            Metric::Cosine => first_not_above(threshold, [sums, of_rows], from, |[sum, inverse]| relative - sum * inverse * factor),
            Metric::L2 => {
                first_not_above(
                    threshold,
                    [sums],
                    from,
                    |[sum]| {
                        if sum < f32::INFINITY { sum * relative - absolute } else { f32::NEG_INFINITY }
                    },
                )
            }
        }
    }
}

/// What underflow may take from a sum and from what is made of it.
fn absolute(dimension: usize) -> f32 {
    (dimension + 8) as f32 * f32::from_bits(4)
}

/// Makes of sums of squares what bounds need of rows: for dot at least their norms, for cosine the inverses of the norms, NaN for those out of
/// the ordinary.
#[inline(always)]
pub(super) fn of_rows(metric: Metric, dimension: usize, squares: &mut [f32]) {
    let absolute = absolute(dimension);
    let (least, greatest) = (*ORDINARY.start() as f32, *ORDINARY.end() as f32);
    match metric {
        Metric::Dot => squares.iter_mut().for_each(|square| *square = (*square + absolute).sqrt()),
        Metric::Cosine => squares.iter_mut().for_each(|square| {
            let inverse = 1.0 / square.sqrt();
            *square = if (least..=greatest).contains(square) { inverse } else { f32::NAN };
        }),
        Metric::L2 => {}
    }
}

/// Rows whose bounds are computed at once.
const WIDTH: usize = 16;

/// The first row, from one on, whose lower bound is not greater than a threshold, given what that is made of in columns.
#[inline(always)]
pub(super) fn first_not_above<const COLUMNS: usize>(
    threshold: f32,
    columns: [&[f32]; COLUMNS],
    from: usize,
    lower: impl Fn([f32; COLUMNS]) -> f32,
) -> Option<usize> {
    let rows = columns.iter().map(|column| column.len()).min().unwrap_or(0);
    let lower_of = |at: usize| lower(columns.map(|column| column.get(at).copied().unwrap_or(f32::NAN)));
    let mut start = from;
    while start + WIDTH <= rows && are_above(&lowers(columns, start, &lower), threshold) {
        start += WIDTH;
    }
    (start..rows).find(|at| is_within(lower_of(*at), threshold))
}

/// All of them, instead of what was found before.
#[inline(always)]
pub(super) fn all_not_above<const COLUMNS: usize>(
    threshold: f32,
    columns: [&[f32]; COLUMNS],
    found: &mut Vec<u32>,
    lower: impl Fn([f32; COLUMNS]) -> f32,
) {
    let rows = columns.iter().map(|column| column.len()).min().unwrap_or(0);
    found.clear();
    // Written one after the other whether they count or not, as there is no telling which do.
    found.resize(rows + WIDTH, 0);
    let mut count = 0;
    for start in (0..rows - rows % WIDTH).step_by(WIDTH) {
        let lowers = lowers(columns, start, &lower);
        if are_above(&lowers, threshold) {
            continue;
        }
        for (at, lower) in (start as u32..).zip(lowers) {
            if let Some(place) = found.get_mut(count) {
                *place = at;
            }
            count += usize::from(is_within(lower, threshold));
        }
    }
    let lower = |at: usize| lower(columns.map(|column| column.get(at).copied().unwrap_or(f32::NAN)));
    for at in (rows - rows % WIDTH..rows).filter(|at| is_within(lower(*at), threshold)) {
        if let Some(place) = found.get_mut(count) {
            *place = at as u32;
        }
        count += 1;
    }
    found.truncate(count);
}

/// NaN is within all.
#[inline(always)]
fn is_within(lower: f32, threshold: f32) -> bool {
    let is_above = lower > threshold;
    !is_above
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below WIDTH, which is the length of the arrays")]
fn lowers<const COLUMNS: usize>(columns: [&[f32]; COLUMNS], start: usize, lower: &impl Fn([f32; COLUMNS]) -> f32) -> [f32; WIDTH] {
    let parts = columns.map(|column| column.get(start..).and_then(<[f32]>::first_chunk).unwrap_or(&[f32::NAN; WIDTH]));
    let mut lowers = [0.0; WIDTH];
    for at in 0..WIDTH {
        lowers[at] = lower(parts.map(|part| part[at]));
    }
    lowers
}

/// Whether all are. Counted rather than looked for, so that all are compared at once.
#[inline(always)]
fn are_above(lowers: &[f32; WIDTH], threshold: f32) -> bool {
    lowers.iter().map(|lower| u32::from(*lower > threshold)).sum::<u32>() == WIDTH as u32
}
