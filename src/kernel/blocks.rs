//! Approximate sums of many rows against many queries, in f32: one generic body for each shape of work, compiled for every instruction set.
//!
//! One query passes over the rows at the speed of memory, each row with four accumulators, so that no addition waits for the one before, and
//! the row some 8 KiB further on asked for ahead of its use. Several queries share what is loaded, in [`super::tiles`].

use std::marker::PhantomData;

use super::{
    simd::Simd,
    tiles::{Panel, Tile},
};
use crate::io::bytes::prefetch_line;

/// How far ahead of its use a row is asked for, in bytes.
const AHEAD: usize = 8 << 10;
const CACHE_LINE: usize = 64;

/// What a pair of elements adds to a sum.
pub(super) trait Terms {
    fn add<S: Simd>(sum: S::Register, query: S::Register, row: S::Register) -> S::Register;
}

/// ab
pub(super) struct Product;
/// (a−b)²
pub(super) struct SquaredDifference;
/// b², b being the row
pub(super) struct Square;

impl Terms for Product {
    #[inline(always)]
    fn add<S: Simd>(sum: S::Register, query: S::Register, row: S::Register) -> S::Register {
        S::multiply_add(query, row, sum)
    }
}

impl Terms for SquaredDifference {
    #[inline(always)]
    fn add<S: Simd>(sum: S::Register, query: S::Register, row: S::Register) -> S::Register {
        let difference = S::subtract(query, row);
        S::multiply_add(difference, difference, sum)
    }
}

impl Terms for Square {
    #[inline(always)]
    fn add<S: Simd>(sum: S::Register, _: S::Register, row: S::Register) -> S::Register {
        S::multiply_add(row, row, sum)
    }
}

/// Rows and queries of f32, in the registers of a set, and what their pairs add.
pub(super) struct Floats<S, T>(PhantomData<(S, T)>);

impl<S: Simd, T: Terms> Tile for Floats<S, T> {
    type Element = f32;
    type Row<'a> = &'a [f32];
    type Chunks<'a> = &'a [S::Chunk];
    type Chunk = S::Chunk;
    type Register = S::Register;
    type Sum = S::Register;
    type Total = f32;

    #[inline(always)]
    fn chunks(elements: &[f32]) -> &[S::Chunk] {
        S::chunks(elements).0
    }

    #[inline(always)]
    fn row_chunks<'a>(row: Self::Row<'a>) -> Self::Chunks<'a> {
        S::chunks(row).0
    }

    #[inline(always)]
    fn zero() -> S::Register {
        S::zero()
    }

    #[inline(always)]
    fn empty() -> S::Register {
        S::zero()
    }

    #[inline(always)]
    fn load_query(chunk: &S::Chunk) -> S::Register {
        S::load(chunk)
    }

    #[inline(always)]
    fn load_row(chunk: &S::Chunk) -> S::Register {
        S::load(chunk)
    }

    #[inline(always)]
    fn load_row_rest(row: &[f32]) -> S::Register {
        S::load_rest(S::chunks(row).1)
    }

    #[inline(always)]
    fn add(sum: S::Register, query: S::Register, row: S::Register) -> S::Register {
        T::add::<S>(sum, query, row)
    }

    #[inline(always)]
    fn totals(sums: [S::Register; 4]) -> [f32; 4] {
        S::sums(sums)
    }
}

/// The sums of rows against the one query of a panel (of any panel where terms do not ask for the query), and if `SQUARES` those of the rows' own
/// squares. Rows, sums and squares are as many.
#[inline(always)]
pub(super) fn stream<S: Simd, T: Terms, const SQUARES: bool>(panel: &Panel, rows: &[&[f32]], sums: &mut [f32], squares: &mut [f32]) {
    let query = panel.chunks::<Floats<S, T>>();
    let (query_fours, _) = query.as_chunks::<4>();
    let distance = rows.first().map_or(1, |row| AHEAD.div_ceil(size_of_val(*row).max(1)));
    let later = rows.iter().skip(distance).chain(rows.last().into_iter().cycle());
    let mut squares = squares.iter_mut();
    for ((row, ahead), sum) in rows.iter().zip(later).zip(sums) {
        let (chunks, rest) = S::chunks(row);
        let (fours, others) = chunks.as_chunks::<4>();
        let (mut of_terms, mut of_squares) = ([S::zero(); 4], [S::zero(); 4]);
        let mut ahead = ahead.as_ptr();
        for (query, row) in query_fours.iter().zip(fours) {
            for (((query, row), sum), square) in query.iter().zip(row).zip(&mut of_terms).zip(&mut of_squares) {
                let row = S::load(row);
                *sum = T::add::<S>(*sum, S::load(query), row);
                if SQUARES {
                    *square = Square::add::<S>(*square, row, row);
                }
            }
            for _ in 0..4 * S::LANES * size_of::<f32>() / CACHE_LINE {
                prefetch_line(ahead.cast());
                ahead = ahead.wrapping_add(CACHE_LINE / size_of::<f32>());
            }
        }
        let [mut first, mut second, third, fourth] = of_terms;
        let [mut first_square, mut second_square, third_square, fourth_square] = of_squares;
        let mut queries = query.iter().skip(4 * fours.len());
        for (row, query) in others.iter().zip(&mut queries) {
            let row = S::load(row);
            first = T::add::<S>(first, S::load(query), row);
            first_square = Square::add::<S>(first_square, row, row);
        }
        if let Some(query) = queries.next() {
            let row = S::load_rest(rest);
            second = T::add::<S>(second, S::load(query), row);
            second_square = Square::add::<S>(second_square, row, row);
        }
        let parts =
            [S::add(first, second), S::add(third, fourth), S::add(first_square, second_square), S::add(third_square, fourth_square)];
        let [even, odd, even_square, odd_square] = S::sums(parts);
        *sum = even + odd;
        if SQUARES && let Some(square) = squares.next() {
            *square = even_square + odd_square;
        }
    }
}
