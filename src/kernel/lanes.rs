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
    const ZERO: Self = Self([0.0; LANES]);

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
    fn padded(elements: &[f32]) -> Self {
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
/// Always inlined, like all of this file: its code is compiled with the features of the function that calls it.
#[inline(always)]
pub(super) fn one<T: Terms>(query: &[Lanes], row: &[f32]) -> T::Sums {
    let (blocks, rest) = row.as_chunks::<LANES>();
    let mut sums = T::ZERO;
    for (query, block) in query.iter().zip(blocks) {
        sums = T::add(sums, *query, Lanes::widen(block));
    }
    add_rest::<T>(sums, query.get(blocks.len()), rest)
}

/// The sums of four rows, the same bits as one by one: side by side because each row's additions wait for each other.
#[inline(always)]
pub(super) fn four<T: Terms>(query: &[Lanes], rows: [&[f32]; 4]) -> [T::Sums; 4] {
    let [(a, rest_a), (b, rest_b), (c, rest_c), (d, rest_d)] = rows.map(|row| row.as_chunks::<LANES>());
    let [mut sums_a, mut sums_b, mut sums_c, mut sums_d] = [T::ZERO; 4];
    for ((((query, a), b), c), d) in query.iter().zip(a).zip(b).zip(c).zip(d) {
        sums_a = T::add(sums_a, *query, Lanes::widen(a));
        sums_b = T::add(sums_b, *query, Lanes::widen(b));
        sums_c = T::add(sums_c, *query, Lanes::widen(c));
        sums_d = T::add(sums_d, *query, Lanes::widen(d));
    }
    [
        add_rest::<T>(sums_a, query.get(a.len()), rest_a),
        add_rest::<T>(sums_b, query.get(b.len()), rest_b),
        add_rest::<T>(sums_c, query.get(c.len()), rest_c),
        add_rest::<T>(sums_d, query.get(d.len()), rest_d),
    ]
}

#[inline(always)]
fn add_rest<T: Terms>(sums: T::Sums, query: Option<&Lanes>, rest: &[f32]) -> T::Sums {
    match query {
        Some(query) if !rest.is_empty() => T::add(sums, *query, Lanes::padded(rest)),
        _ => sums,
    }
}
