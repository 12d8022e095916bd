//! Sums of codes, and what they need beside [`crate::kernel::tiles`]. All of them are exact.
//!
//! A register of a code's half makes two, of the first elements of its bytes, and of the second. A plane has them apart in memory, see [`arranged`].

use std::marker::PhantomData;

use super::{
    encoder::ADDED,
    rows::{Pair, Pairs, Picked},
};
use crate::{
    io::bytes::prefetch,
    kernel::{
        simd::Bytes,
        tiles::{Panel, Rows, Tile},
    },
};

/// The upper or lower halves of codes, from 0 to 15, and planes of elements from −127 to 127: a pair of products is at most 2 · 15 · 127, and two
/// pairs fit 16 bits. What was made of a row may stand in the place of a plane.
pub(super) struct Half<S>(PhantomData<S>);

/// Both halves of codes, from 1 to 255 with what was added, and planes of elements from −64 to 64: a pair of products is at most 2 · 255 · 64.
pub(super) struct Whole<S>(PhantomData<S>);

#[inline(always)]
fn nibbles<S: Bytes>(bytes: S::Register) -> [S::Register; 2] {
    [S::low(bytes), S::high(bytes)]
}

#[inline(always)]
fn joined<S: Bytes>(upper: S::Register, lower: S::Register) -> [S::Register; 2] {
    [S::join(S::low(upper), S::low(lower)), S::join(S::high(upper), S::high(lower))]
}

impl<S: Bytes> Tile for Half<S> {
    type Element = u8;
    type Row<'a> = &'a [u8];
    type Chunks<'a> = &'a [S::Chunk];
    type Chunk = [S::Chunk; 2];
    type Register = [S::Register; 2];
    type Sum = S::Sum;
    type Total = i32;

    #[inline(always)]
    fn chunks(elements: &[u8]) -> &[Self::Chunk] {
        S::chunks(elements).0.as_chunks().0
    }

    #[inline(always)]
    fn row_chunks<'a>(row: Self::Row<'a>) -> Self::Chunks<'a> {
        S::chunks(row).0
    }

    #[inline(always)]
    fn zero() -> S::Sum {
        S::zero()
    }

    #[inline(always)]
    fn empty() -> Self::Register {
        [S::load_rest(&[]); 2]
    }

    #[inline(always)]
    fn load_query([first, second]: &Self::Chunk) -> Self::Register {
        [S::load(first), S::load(second)]
    }

    #[inline(always)]
    fn load_row(chunk: &S::Chunk) -> Self::Register {
        nibbles::<S>(S::load(chunk))
    }

    #[inline(always)]
    fn load_row_rest(row: &[u8]) -> Self::Register {
        nibbles::<S>(S::load_rest(S::chunks(row).1))
    }

    #[inline(always)]
    fn prefetch(row: &[u8]) {
        prefetch(row, usize::MAX);
    }

    #[inline(always)]
    fn add(sum: S::Sum, query: Self::Register, row: Self::Register) -> S::Sum {
        S::add_both(sum, row, query)
    }

    #[inline(always)]
    fn totals(sums: [S::Sum; 4]) -> [i32; 4] {
        S::totals(sums)
    }
}

impl<S: Bytes> Tile for Whole<S> {
    type Element = u8;
    type Row<'a> = Pair<'a>;
    type Chunks<'a> = (&'a [S::Chunk], &'a [S::Chunk]);
    type Chunk = [S::Chunk; 2];
    type Register = [S::Register; 2];
    type Sum = S::Sum;
    type Total = i32;

    #[inline(always)]
    fn chunks(elements: &[u8]) -> &[Self::Chunk] {
        Half::<S>::chunks(elements)
    }

    #[inline(always)]
    fn row_chunks<'a>((upper, lower): Self::Row<'a>) -> Self::Chunks<'a> {
        (S::chunks(upper).0, S::chunks(lower).0)
    }

    #[inline(always)]
    fn zero() -> S::Sum {
        S::zero()
    }

    #[inline(always)]
    fn empty() -> Self::Register {
        Half::<S>::empty()
    }

    #[inline(always)]
    fn load_query(chunk: &Self::Chunk) -> Self::Register {
        Half::<S>::load_query(chunk)
    }

    #[inline(always)]
    fn load_row((upper, lower): (&S::Chunk, &S::Chunk)) -> Self::Register {
        joined::<S>(S::load(upper), S::load(lower))
    }

    #[inline(always)]
    fn load_row_rest((upper, lower): Pair<'_>) -> Self::Register {
        joined::<S>(S::load_rest(S::chunks(upper).1), S::load_rest(S::chunks(lower).1))
    }

    #[inline(always)]
    fn prefetch((upper, lower): Pair<'_>) {
        prefetch(upper, usize::MAX);
        prefetch(lower, usize::MAX);
    }

    #[inline(always)]
    fn add(sum: S::Sum, [a, b]: Self::Register, [c, d]: Self::Register) -> S::Sum {
        S::add(S::add(sum, c, a), d, b)
    }

    #[inline(always)]
    fn totals(sums: [S::Sum; 4]) -> [i32; 4] {
        S::totals(sums)
    }
}

impl<S: Bytes> Half<S> {
    /// A whole chunk of a row, or what it has behind those.
    #[inline(always)]
    fn part(row: &[u8], chunks: &[S::Chunk], number: usize) -> [S::Register; 2] {
        match chunks.get(number) {
            Some(chunk) => Self::load_row(chunk),
            None => Self::load_row_rest(row),
        }
    }
}

/// The elements of a plane as chunks want them that belong to so many bytes of a half: first those of all bytes' lower halves, then the others.
pub(super) fn arranged(plane: &[u8], bytes: usize) -> Vec<u8> {
    let mut arranged = Vec::with_capacity(plane.len().next_multiple_of(2 * bytes));
    for chunk in plane.chunks(2 * bytes) {
        for first in 0..2 {
            let start = arranged.len();
            arranged.extend(chunk.iter().skip(first).step_by(2));
            arranged.resize(start + bytes, 0);
        }
    }
    arranged
}

/// The sum of the elements of a plane.
pub(super) fn sum(plane: &[u8]) -> i32 {
    plane.iter().map(|element| i32::from(*element as i8)).sum()
}

/// Twice the product of a plane and what upper halves stand for, given the sum of their products and that of the plane.
///
/// 2(16u + 7.5 − 128) = 32u − 241; at most 241 · 127 · 65,535 < 2³¹, whatever overflows on the way.
#[inline(always)]
pub(super) fn upper_product(sum: i32, of_plane: i32) -> i32 {
    sum.wrapping_mul(32).wrapping_sub(of_plane.wrapping_mul(241))
}

/// The sum of the products of a plane and what codes are with what was added, given those with their halves: at most 255 · 127 · 65,535 < 2³¹.
#[inline(always)]
pub(super) fn joined_sum(upper: i32, lower: i32) -> i32 {
    upper.wrapping_mul(16).wrapping_add(lower)
}

/// The product of a plane and a code, given that sum and that of the plane.
#[inline(always)]
pub(super) fn whole_product(sum: i32, of_plane: i32) -> i32 {
    sum.wrapping_sub(of_plane.wrapping_mul(ADDED.into()))
}

/// Of each upper half the sum of the squares of twice what it stands for.
#[inline(always)]
pub(super) fn upper_squares<S: Bytes>(ones: &Panel, uppers: Picked<'_>, dimension: usize, squares: &mut Vec<f32>) {
    squares.clear();
    for place in 0..uppers.count() {
        let upper = uppers.row(place);
        let [mut square, mut sum] = [S::zero(); 2];
        let (chunks, _) = S::chunks(upper);
        for (number, ones) in ones.chunks::<Half<S>>().iter().enumerate() {
            let of_upper = Half::<S>::part(upper, chunks, number);
            square = S::add_both(square, of_upper, of_upper);
            sum = S::add_both(sum, of_upper, Half::<S>::load_query(ones));
        }
        let [square, sum, ..] = S::totals([square, sum, S::zero(), S::zero()]).map(i64::from);
        // (32u − 241)²
        squares.push((1024 * square - 2 * 32 * 241 * sum + 241 * 241 * dimension as i64) as f32);
    }
}

/// The sum of the squares of each code.
#[inline(always)]
pub(super) fn squares<S: Bytes>(ones: &Panel, codes: Pairs<'_>, dimension: usize, squares: &mut Vec<f32>) {
    squares.clear();
    for place in 0..codes.count() {
        let (upper, lower) = codes.row(place);
        let [mut upper_square, mut lower_square, mut between, mut upper_sum, mut lower_sum] = [S::zero(); 5];
        let ((uppers, _), (lowers, _)) = (S::chunks(upper), S::chunks(lower));
        for (number, ones) in ones.chunks::<Half<S>>().iter().enumerate() {
            let (of_upper, of_lower) = (Half::<S>::part(upper, uppers, number), Half::<S>::part(lower, lowers, number));
            let ones = Half::<S>::load_query(ones);
            upper_square = S::add_both(upper_square, of_upper, of_upper);
            lower_square = S::add_both(lower_square, of_lower, of_lower);
            between = S::add_both(between, of_upper, of_lower);
            upper_sum = S::add_both(upper_sum, of_upper, ones);
            lower_sum = S::add_both(lower_sum, of_lower, ones);
        }
        let [upper_square, lower_square, between, upper_sum] = S::totals([upper_square, lower_square, between, upper_sum]).map(i64::from);
        let [lower_sum, ..] = S::totals([lower_sum, S::zero(), S::zero(), S::zero()]).map(i64::from);
        let added = i64::from(ADDED);
        // (16u + l − 128)²
        let of_halves = 256 * upper_square + 32 * between + lower_square;
        let of_added = added * added * dimension as i64 - 2 * added * (16 * upper_sum + lower_sum);
        squares.push((of_halves + of_added) as f32);
    }
}
