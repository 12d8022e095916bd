//! The canonical order of summation. Element i belongs to lane i mod 8; every lane starts at +0 and adds its terms in ascending i, in f64,
//! a product rounded before it is added; the lanes are then added as ((0+4)+(2+6))+((1+5)+(3+7)).
//!
//! Eight lanes are one 512-bit register or two of 256 bits, and the tree halves registers, so no instruction set has to reorder anything.

use std::ops::{Add, Mul, Sub};

const LANES: usize = 8;

/// Eight numbers, one per lane, that the compiler keeps in registers.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Lanes([f64; LANES]);

impl Lanes {
    pub(super) const COUNT: usize = LANES;
    pub(super) const ZERO: Self = Self([0.0; LANES]);

    #[inline(always)]
    fn zip(mut self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
        for (lane, other) in self.0.iter_mut().zip(other.0) {
            *lane = operation(*lane, other);
        }
        self
    }

    #[inline(always)]
    fn widen(elements: &[f32; LANES]) -> Self {
        Self(elements.map(f64::from))
    }

    /// Zeros stand in for what is missing. Their terms are +0, and a lane is never −0 (it starts at +0, and a sum is −0 only of −0 and −0):
    /// adding them changes no bit.
    #[inline(always)]
    pub(super) fn padded(elements: &[f32]) -> Self {
        let mut whole = [0.0; LANES];
        for (to, from) in whole.iter_mut().zip(elements) {
            *to = *from;
        }
        Self::widen(&whole)
    }

    /// A vector, widened and padded once, so that it need not be for every row.
    pub(super) fn of(vector: &[f32]) -> Vec<Self> {
        vector.chunks(LANES).map(Self::padded).collect()
    }

    /// The fixed tree.
    #[inline]
    pub(super) fn reduce(self) -> f64 {
        let [a, b, c, d, e, f, g, h] = self.0;
        ((a + e) + (c + g)) + ((b + f) + (d + h))
    }
}

impl Add for Lanes {
    type Output = Self;

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, Add::add)
    }
}

impl Sub for Lanes {
    type Output = Self;

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, Sub::sub)
    }
}

impl Mul for Lanes {
    type Output = Self;

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, Mul::mul)
    }
}

/// What pairs of elements contribute to a row's sums.
pub(super) trait Terms {
    /// One or more lanes; tuples, not arrays, because those reliably stay in registers.
    type Sums: Copy;
    const ZERO: Self::Sums;

    fn add(sums: Self::Sums, query: Lanes, row: Lanes) -> Self::Sums;
}

/// (a−b)²
pub(super) struct SquaredDifference;
/// ab
pub(super) struct Product;
/// ab and b², b being the row
pub(super) struct ProductAndSquare;

impl Terms for SquaredDifference {
    type Sums = Lanes;
    const ZERO: Lanes = Lanes::ZERO;

    #[inline(always)]
    fn add(sum: Lanes, query: Lanes, row: Lanes) -> Lanes {
        let difference = query - row;
        sum + difference * difference
    }
}

impl Terms for Product {
    type Sums = Lanes;
    const ZERO: Lanes = Lanes::ZERO;

    #[inline(always)]
    fn add(sum: Lanes, query: Lanes, row: Lanes) -> Lanes {
        sum + query * row
    }
}

impl Terms for ProductAndSquare {
    type Sums = (Lanes, Lanes);
    const ZERO: (Lanes, Lanes) = (Lanes::ZERO, Lanes::ZERO);

    #[inline(always)]
    fn add((product, square): (Lanes, Lanes), query: Lanes, row: Lanes) -> (Lanes, Lanes) {
        (product + query * row, square + row * row)
    }
}

/// The sums of one row against the query; both have the same dimension.
///
/// One row after the other, although the additions of one wait for each other: four rows side by side are a fifth faster from cache, but
/// half as fast from memory, where four short streams defeat the prefetcher and one long one runs at the speed of a plain read.
///
/// Always inlined, like all of this file: its code is compiled with the features of the function that calls it.
#[inline(always)]
pub(super) fn sums<T: Terms>(query: &[Lanes], row: &[f32]) -> T::Sums {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sums = T::ZERO;
    for (query, block) in query.iter().zip(blocks) {
        sums = T::add(sums, *query, Lanes::widen(block));
    }
    match query.get(blocks.len()) {
        Some(query) if !rest.is_empty() => T::add(sums, *query, Lanes::padded(rest)),
        _ => sums,
    }
}
