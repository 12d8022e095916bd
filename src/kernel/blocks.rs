//! Approximate sums of many rows against many queries, in f32: one generic body for each shape of work, compiled for every instruction set.
//!
//! One query passes over the rows at the speed of memory, each row with four accumulators, so that no addition waits for the one before, and
//! the row some 8 KiB further on asked for ahead of its use. Several queries share what is loaded: a tile of rows × queries keeps its sums in
//! registers, each row register is used by all queries of a panel and each query register by all rows, while a panel of up to some 2,000
//! dimensions lies in the first-level and the rows lie in the second-level cache (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008).

use super::simd::Simd;
use crate::io::{
    Bytes,
    bytes::{as_f32s, f32s_as_bytes, prefetch_line},
};

/// Queries of the widest panel.
const PANEL: usize = 6;
/// Sums that are made at once, four by four.
const PLACES: usize = PANEL.next_multiple_of(4);
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

/// Queries of one dimension that share what is loaded of rows; register by register in turns, zeros behind their ends.
pub(super) struct Panel {
    /// Elements of register 0 of each query, then those of register 1, …, no register across two cache lines.
    elements: Bytes,
    queries: usize,
}

impl Panel {
    /// Panels for all queries, in their order.
    pub(super) fn all(mut queries: &[&[f32]], lanes: usize) -> Vec<Self> {
        let mut panels = Vec::new();
        for width in [PANEL, 4, 2, 1] {
            while let Some((panel, others)) = queries.split_at_checked(width) {
                panels.push(Self::new(panel, lanes));
                queries = others;
            }
        }
        panels
    }

    fn new(queries: &[&[f32]], lanes: usize) -> Self {
        let registers = queries.first().map_or(0, |query| query.len().div_ceil(lanes));
        let mut elements = Vec::with_capacity(registers * lanes * queries.len());
        for register in 0..registers {
            for query in queries {
                let part = query.chunks(lanes).nth(register).unwrap_or_default();
                elements.extend_from_slice(part);
                elements.resize(elements.len() + lanes - part.len(), 0.0);
            }
        }
        Self { elements: Bytes::copy_of(f32s_as_bytes(&elements)), queries: queries.len() }
    }

    #[inline(always)]
    fn registers<S: Simd>(&self) -> &[S::Chunk] {
        S::chunks(as_f32s(&self.elements).unwrap_or_default()).0
    }

    pub(super) fn queries(&self) -> usize {
        self.queries
    }
}

/// The sums of rows against the one query of a panel (of any panel where terms do not ask for the query), and if `SQUARES` those of the rows' own
/// squares. Rows, sums and squares are as many.
#[inline(always)]
pub(super) fn stream<S: Simd, T: Terms, const SQUARES: bool>(panel: &Panel, rows: &[&[f32]], sums: &mut [f32], squares: &mut [f32]) {
    let query = panel.registers::<S>();
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

/// The sums of rows against all queries of a panel: that of row r and query q stands at q·`rows.len()` + r.
///
/// A tile of the narrowest panels has `NARROW` rows, of the widest `WIDE`: about as many sums as there are registers beside what is loaded.
#[inline(always)]
pub(super) fn tiles<S: Simd, T: Terms, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    panel: &Panel,
    rows: &[&[f32]],
    sums: &mut [f32],
) {
    match panel.queries {
        1 => panel_tiles::<S, T, NARROW, 1>(panel, rows, sums),
        2 => panel_tiles::<S, T, NARROW, 2>(panel, rows, sums),
        4 => panel_tiles::<S, T, MIDDLE, 4>(panel, rows, sums),
        _ => panel_tiles::<S, T, WIDE, PANEL>(panel, rows, sums),
    }
}

#[inline(always)]
fn panel_tiles<S: Simd, T: Terms, const ROWS: usize, const QUERIES: usize>(panel: &Panel, rows: &[&[f32]], sums: &mut [f32]) {
    let (queries, _) = panel.registers::<S>().as_chunks::<QUERIES>();
    let (whole, rest) = rows.as_chunks::<ROWS>();
    let stride = rows.len();
    let mut put = |at: usize, of_row: [f32; PLACES]| {
        for (query, sum) in of_row.into_iter().enumerate().take(QUERIES) {
            if let Some(place) = sums.get_mut(query * stride + at) {
                *place = sum;
            }
        }
    };
    for (number, rows) in whole.iter().enumerate() {
        for (at, of_row) in (number * ROWS..).zip(tile::<S, T, ROWS, QUERIES>(queries, rows)) {
            put(at, of_row);
        }
    }
    for (at, row) in (whole.len() * ROWS..).zip(rest) {
        let [of_row] = tile::<S, T, 1, QUERIES>(queries, &[row]);
        put(at, of_row);
    }
}

/// No closure may touch a register here, in `map` or elsewhere: it would be compiled without the features of the function that it stands in.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below ROWS and QUERIES, which are the lengths of the arrays")]
fn tile<S: Simd, T: Terms, const ROWS: usize, const QUERIES: usize>(
    queries: &[[S::Chunk; QUERIES]],
    rows: &[&[f32]; ROWS],
) -> [[f32; PLACES]; ROWS] {
    let mut sums = [[S::zero(); QUERIES]; ROWS];
    let mut whole = queries.len();
    for row in rows {
        whole = whole.min(S::chunks(row).0.len());
    }
    for (number, queries) in queries.iter().enumerate().take(whole) {
        let mut of_rows = [S::zero(); ROWS];
        for row in 0..ROWS {
            // SAFETY: `number` is below `whole`, which is at most the length of each.
            of_rows[row] = S::load(unsafe { S::chunks(rows[row]).0.get_unchecked(number) });
        }
        add_all::<S, T, ROWS, QUERIES>(&mut sums, queries, &of_rows);
    }
    if let Some(queries) = queries.get(whole) {
        let mut of_rows = [S::zero(); ROWS];
        for row in 0..ROWS {
            of_rows[row] = S::load_rest(S::chunks(rows[row]).1);
        }
        add_all::<S, T, ROWS, QUERIES>(&mut sums, queries, &of_rows);
    }
    let mut of_tile = [[0.0; PLACES]; ROWS];
    for (of_row, sums) in of_tile.iter_mut().zip(sums) {
        for (of_four, sums) in of_row.chunks_mut(4).zip(sums.chunks(4)) {
            let mut four = [S::zero(); 4];
            for (to, from) in four.iter_mut().zip(sums) {
                *to = *from;
            }
            of_four.copy_from_slice(&S::sums(four));
        }
    }
    of_tile
}

/// One query after the other, so that of the queries only one need be in a register.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below ROWS and QUERIES, which are the lengths of the arrays")]
fn add_all<S: Simd, T: Terms, const ROWS: usize, const QUERIES: usize>(
    sums: &mut [[S::Register; QUERIES]; ROWS],
    queries: &[S::Chunk; QUERIES],
    rows: &[S::Register; ROWS],
) {
    for query in 0..QUERIES {
        let of_query = S::load(&queries[query]);
        for row in 0..ROWS {
            sums[row][query] = T::add::<S>(sums[row][query], of_query, rows[row]);
        }
    }
}
