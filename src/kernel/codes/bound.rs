//! Between which numbers a canonical score lies, given the exact product of two codes. The analysis is in docs/certified-search.md.
//!
//! x̂ and q̂ are what codes stand for, r and ρ how far they are at most from the rotated row x and query q. By Cauchy–Schwarz
//! |⟨q, x⟩ − ⟨q̂, x̂⟩| ≤ ‖q̂‖r + ρ‖x‖, and ‖q − x‖ lies within r + ρ of ‖q̂ − x̂‖. Whatever is wrong beyond that (a row of unknown residual, an overflow)
//! ends in an infinite bound or NaN, which no threshold is below.

use super::{
    encoder::{Factors, Plane},
    rows::Picked,
};
use crate::{
    kernel::{
        bound::{U, all_not_above},
        tiles::Rows,
    },
    types::Metric,
};

/// What bounds need to know of a query.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernel) struct QueryBound {
    metric: Metric,
    /// What a product with an element of the code counts.
    scale: f32,
    /// Dot and cosine: what the residual of a row takes from certainty. L2: the square of the query's norm.
    of_residual: f32,
    /// Dot and cosine: what the norm of a row takes. L2: the query's residual.
    of_norm: f32,
}

/// What bounds need to know of rows, one after the other.
#[derive(Debug, Default)]
pub(in crate::kernel) struct RowBounds {
    /// What an element of the code counts; cosine: in the row divided by its norm.
    scales: Vec<f32>,
    /// Cosine: of the row divided by its norm.
    residuals: Vec<f32>,
    /// Dot: the norm. Cosine: 1. L2: the square of the norm of what the code stands for.
    norms: Vec<f32>,
}

impl RowBounds {
    /// Rows of which factors are stored, one of which is the residual that counts; for L2, given the squares of codes, of which each counts so much.
    pub(super) fn set(&mut self, metric: Metric, stored: Picked<'_>, residual: impl Fn(&Factors) -> f32, of_square: f32, squares: &[f32]) {
        let Self { scales, residuals, norms } = self;
        [&mut *scales, &mut *residuals, &mut *norms].into_iter().for_each(|column| column.resize(stored.count(), 0.0));
        let columns = scales.iter_mut().zip(&mut *residuals).zip(&mut *norms);
        let set = |((scale, of_residual), norm): ((&mut f32, &mut f32), &mut f32), factors: Factors| {
            (*scale, *of_residual, *norm) = (factors.scale, residual(&factors), factors.norm);
        };
        if let Some(all) = stored.consecutive() {
            columns.zip(all.as_chunks().0).for_each(|(row, bytes)| set(row, Factors::from_bytes(*bytes)));
        } else {
            let of_row = |at| stored.row(at).first_chunk().map_or(Factors::UNKNOWN, |bytes| Factors::from_bytes(*bytes));
            columns.zip(0..).for_each(|(row, at)| set(row, of_row(at)));
        }
        match metric {
            Metric::Dot => {}
            Metric::Cosine => {
                for ((scale, residual), norm) in scales.iter_mut().zip(residuals).zip(norms) {
                    (*scale, *residual, *norm) = (*scale / *norm, *residual / *norm, 1.0);
                }
            }
            Metric::L2 => {
                for ((scale, norm), square) in scales.iter().zip(norms).zip(squares) {
                    *norm = (square * of_square) * (scale * scale);
                }
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }
}

impl QueryBound {
    /// Of a plane, and how much each of its products with codes counts.
    pub(super) fn new(metric: Metric, plane: &Plane, of_product: f32) -> Self {
        let Plane { scale, norm, residual, .. } = plane;
        let up = |x: f64| (x * (1.0 + 24.0 * U)) as f32;
        let (of_residual, of_norm) = match metric {
            Metric::Dot => (up(norm * (1.0 + 16.0 * U)), up(residual + 16.0 * U * norm)),
            Metric::Cosine => (up(norm * (1.0 + 16.0 * U)), up(residual + 24.0 * U)),
            Metric::L2 => ((norm * norm) as f32, up(*residual)),
        };
        Self { metric, scale: *scale * of_product, of_residual, of_norm }
    }

    /// The same that says nothing of how far off products and norms are.
    pub(super) fn without_residual(self) -> Self {
        Self { of_norm: 0.0, ..self }
    }

    /// The rows whose canonical scores are not proven greater than a threshold. `products` is of the query's plane.
    #[inline(always)]
    pub(in crate::kernel) fn all_within(&self, threshold: f32, products: &[f32], rows: &RowBounds, found: &mut Vec<u32>) {
        let columns = [products, &rows.scales, &rows.residuals, &rows.norms];
        match self.metric {
            Metric::L2 => all_not_above(threshold, columns, found, |[product, row @ ..]| self.l2(product, row).0),
            Metric::Dot => all_not_above(threshold, columns, found, |[product, row @ ..]| self.product(0.0, product, row).0),
            Metric::Cosine => all_not_above(threshold, columns, found, |[product, row @ ..]| self.product(1.0, product, row).0),
        }
    }

    /// At least and at most the canonical score of a row.
    pub(super) fn bounds(&self, product: f32, rows: &RowBounds, at: usize) -> Option<(f32, f32)> {
        let row = [*rows.scales.get(at)?, *rows.residuals.get(at)?, *rows.norms.get(at)?];
        Some(match self.metric {
            Metric::L2 => self.l2(product, row),
            Metric::Dot => self.product(0.0, product, row),
            Metric::Cosine => self.product(1.0, product, row),
        })
    }

    #[inline(always)]
    fn product(&self, base: f32, product: f32, [scale, residual, norm]: [f32; 3]) -> (f32, f32) {
        let score = base - product * (scale * self.scale);
        let margin = residual * self.of_residual + norm * self.of_norm;
        (score - margin, score + margin)
    }

    #[inline(always)]
    fn l2(&self, product: f32, [scale, residual, square]: [f32; 3]) -> (f32, f32) {
        const SLACK: f32 = (24.0 * U) as f32;
        const DOWN: f32 = (1.0 - 8.0 * U) as f32;
        const UP: f32 = (1.0 + 8.0 * U) as f32;
        let sum = self.of_residual + square;
        let between = sum - 2.0 * (product * (scale * self.scale));
        let margin = (residual + self.of_norm) * UP;
        // Of NaN, 0.
        let least = ((between - sum * SLACK).max(0.0).sqrt() * DOWN - margin).max(0.0);
        let greatest = (between + sum * SLACK).sqrt() * UP + margin;
        (least * least * DOWN, greatest * greatest * UP)
    }
}
