//! What sums of codes need beside [`crate::kernel::tiles`]. All of them are exact.

use crate::kernel::simd::Int8;

/// What is added to each element of a row, and so comes with its products.
const ADDED: i32 = 128;

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
