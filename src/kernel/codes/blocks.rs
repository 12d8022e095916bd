//! Codes as the elements of tiles, and the sums of their squares. All sums are exact.

use std::marker::PhantomData;

use crate::kernel::{simd::Int8, tiles::Tile};

/// What is added to each element of a row, and so comes with its products.
pub(super) const ADDED: i32 = 128;

/// Rows of codes and planes of queries, in the registers of a set.
pub(super) struct Bytes<S>(PhantomData<S>);

impl<S: Int8> Tile for Bytes<S> {
    type Element = u8;
    type Chunk = S::Chunk;
    type Query = S::Register;
    type Row = S::Register;
    type Sum = S::Sums;
    type Total = i32;
    const AHEAD: usize = 8 << 10;

    #[inline(always)]
    fn elements(bytes: &[u8]) -> &[u8] {
        bytes
    }

    #[inline(always)]
    fn bytes(elements: &[u8]) -> &[u8] {
        elements
    }

    #[inline(always)]
    fn chunks(elements: &[u8]) -> (&[S::Chunk], &[u8]) {
        S::chunks(elements)
    }

    #[inline(always)]
    fn zero() -> S::Sums {
        S::zero()
    }

    #[inline(always)]
    fn load_query(chunk: &S::Chunk) -> S::Register {
        S::load(chunk)
    }

    #[inline(always)]
    fn load_row(chunk: &S::Chunk) -> S::Register {
        S::load_row(chunk)
    }

    #[inline(always)]
    fn load_row_rest(rest: &[u8]) -> S::Register {
        S::load_row_rest(rest)
    }

    #[inline(always)]
    fn add(sums: S::Sums, query: S::Register, row: S::Register) -> S::Sums {
        S::add(sums, query, row)
    }

    #[inline(always)]
    fn totals(sums: [S::Sums; 4]) -> [i32; 4] {
        S::totals(sums)
    }
}

/// What the addition to the rows' elements adds to the sums of a plane.
pub(super) fn surplus(plane: &[u8]) -> i32 {
    ADDED * plane.iter().map(|byte| i32::from(*byte as i8)).sum::<i32>()
}

/// The sum of the squares of each row's code.
#[inline(always)]
pub(in crate::kernel) fn squares<S: Int8>(rows: &[&[u8]], squares: &mut [i32]) {
    for (rows, squares) in rows.chunks(4).zip(squares.chunks_mut(4)) {
        let mut sums = [S::zero(); 4];
        for (row, sum) in rows.iter().zip(&mut sums) {
            let (chunks, rest) = S::chunks(row);
            for chunk in chunks {
                *sum = S::add_squares(*sum, S::load_row(chunk));
            }
            if !rest.is_empty() {
                *sum = S::add_squares(*sum, S::load_row_rest(rest));
            }
        }
        squares.iter_mut().zip(S::totals(sums)).for_each(|(square, total)| *square = total);
    }
}
