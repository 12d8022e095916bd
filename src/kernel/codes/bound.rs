//! Between which numbers a canonical score lies, given the exact product of two codes. The analysis is in docs/certified-search.md.
//!
//! x̂ and q̂ are what codes stand for, r and ρ how far they are at most from the rotated row x and query q. By Cauchy–Schwarz
//! |⟨q, x⟩ − ⟨q̂, x̂⟩| ≤ ‖q̂‖r + ρ‖x‖, and ‖q − x‖ lies within r + ρ of ‖q̂ − x̂‖. Whatever is wrong beyond that (a row of unknown residual, an overflow)
//! ends in an infinite bound or NaN, which no threshold is below.

use super::encoder::{Factors, Planes};
use crate::{
    kernel::bound::{U, first_not_above},
    types::Metric,
};

/// What bounds need to know of a query.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernel) struct QueryBound {
    metric: Metric,
    /// What an element of the planes counts.
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
    pub(super) fn set(&mut self, metric: Metric, factors: &[Factors], squares: &[i32]) {
        self.scales.clear();
        self.residuals.clear();
        self.norms.clear();
        self.scales.extend(factors.iter().map(|row| if metric == Metric::Cosine { row.scale / row.norm } else { row.scale }));
        self.residuals.extend(factors.iter().map(|row| if metric == Metric::Cosine { row.residual / row.norm } else { row.residual }));
        match metric {
            Metric::Dot => self.norms.extend(factors.iter().map(|row| row.norm)),
            Metric::Cosine => self.norms.resize(factors.len(), 1.0),
            Metric::L2 => self.norms.extend(factors.iter().zip(squares).map(|(row, square)| *square as f32 * (row.scale * row.scale))),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.scales.len()
    }
}

impl QueryBound {
    pub(super) fn new(metric: Metric, planes: &Planes) -> Self {
        let Planes { scale, norm, residual, .. } = planes;
        let up = |x: f64| (x * (1.0 + 24.0 * U)) as f32;
        let (of_residual, of_norm) = match metric {
            Metric::Dot => (up(norm * (1.0 + 16.0 * U)), up(residual + 16.0 * U * norm)),
            Metric::Cosine => (up(norm * (1.0 + 16.0 * U)), up(residual + 24.0 * U)),
            Metric::L2 => ((norm * norm) as f32, up(*residual)),
        };
        Self { metric, scale: *scale, of_residual, of_norm }
    }

    /// The first row, from one on, whose canonical score is not proven greater than a threshold. `products` is of the query's planes.
    #[inline(always)]
    pub(in crate::kernel) fn first_within(&self, threshold: f32, products: &[f32], rows: &RowBounds, from: usize) -> Option<usize> {
        let columns = [products, &rows.scales, &rows.residuals, &rows.norms];
        match self.metric {
            Metric::L2 => first_not_above(threshold, columns, from, |[product, row @ ..]| self.l2(product, row).0),
            Metric::Dot => first_not_above(threshold, columns, from, |[product, row @ ..]| self.product(0.0, product, row).0),
            Metric::Cosine => first_not_above(threshold, columns, from, |[product, row @ ..]| self.product(1.0, product, row).0),
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
