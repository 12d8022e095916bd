//! Tiles of sums of rows × queries that stay in registers, whatever the elements are: each row register is used by all queries of a panel and each query
//! register by all rows, while a panel of up to some 2,000 dimensions lies in the first-level and the rows lie in the second-level cache (Goto and van de
//! Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008).

use std::ops::Range;

use crate::io::{
    Bytes,
    bytes::{as_f32s, f32s_as_bytes, prefetch_line},
};

/// Queries of the widest panel.
const PANEL: usize = 6;
/// Sums that are made at once, four by four.
const PLACES: usize = PANEL.next_multiple_of(4);
const CACHE_LINE: usize = 64;

/// What stands in memory as bytes.
pub(super) trait Element: Copy + Default + 'static {
    fn of_bytes(bytes: &[u8]) -> &[Self];
    fn as_bytes(elements: &[Self]) -> &[u8];
}

impl Element for f32 {
    #[inline(always)]
    fn of_bytes(bytes: &[u8]) -> &[Self] {
        as_f32s(bytes).unwrap_or_default()
    }

    #[inline(always)]
    fn as_bytes(elements: &[Self]) -> &[u8] {
        f32s_as_bytes(elements)
    }
}

impl Element for u8 {
    #[inline(always)]
    fn of_bytes(bytes: &[u8]) -> &[Self] {
        bytes
    }

    #[inline(always)]
    fn as_bytes(elements: &[Self]) -> &[u8] {
        elements
    }
}

/// What is loaded into registers, and what a pair of them adds to a sum.
///
/// All is inlined into functions that are compiled with the features that it needs, see [`super::simd::Simd`].
pub(super) trait Tile {
    type Element: Element;
    /// As many elements as a register has.
    type Chunk: Copy;
    type Register: Copy;
    type Sum: Copy;
    type Total: Copy + Default;
    /// How far ahead of its use a row is asked for by narrow panels, in bytes; 0 for not at all.
    const AHEAD: usize;

    /// Elements as whole registers, and the rest.
    fn chunks(elements: &[Self::Element]) -> (&[Self::Chunk], &[Self::Element]);

    fn zero() -> Self::Sum;
    fn load_query(chunk: &Self::Chunk) -> Self::Register;
    fn load_row(chunk: &Self::Chunk) -> Self::Register;
    /// Fewer elements than a register has, zeros behind them.
    fn load_row_rest(rest: &[Self::Element]) -> Self::Register;
    fn add(sum: Self::Sum, query: Self::Register, row: Self::Register) -> Self::Sum;
    /// The whole sum of each.
    fn totals(sums: [Self::Sum; 4]) -> [Self::Total; 4];
}

/// So many rows, or a little fewer that are whole tiles of every panel.
pub(super) fn whole_tiles(rows: usize) -> usize {
    const TILES: usize = 24;
    if rows < TILES { rows.max(1) } else { rows - rows % TILES }
}

/// Queries of one dimension that share what is loaded of rows; register by register in turns, zeros behind their ends.
pub(super) struct Panel {
    /// Elements of register 0 of each query, then those of register 1, …, no register across two cache lines.
    elements: Bytes,
    queries: usize,
}

impl Panel {
    /// Panels for all queries, in their order, with registers of so many bytes.
    pub(super) fn all<E: Element>(mut queries: &[&[E]], register_bytes: usize) -> Vec<Self> {
        let lanes = register_bytes / size_of::<E>();
        let mut panels = Vec::new();
        for width in [PANEL, 4, 2, 1] {
            while let Some((panel, others)) = queries.split_at_checked(width) {
                panels.push(Self::new(panel, lanes));
                queries = others;
            }
        }
        panels
    }

    fn new<E: Element>(queries: &[&[E]], lanes: usize) -> Self {
        let registers = queries.first().map_or(0, |query| query.len().div_ceil(lanes));
        let mut elements = Vec::with_capacity(registers * lanes * queries.len());
        for register in 0..registers {
            for query in queries {
                let part = query.chunks(lanes).nth(register).unwrap_or_default();
                elements.extend_from_slice(part);
                elements.resize(elements.len() + lanes - part.len(), E::default());
            }
        }
        Self { elements: Bytes::copy_of(E::as_bytes(&elements)), queries: queries.len() }
    }

    /// The numbers of the queries, panel by panel, each of which takes the places of so many.
    pub(super) fn numbers(panels: &[Self], places: usize) -> impl Iterator<Item = Range<usize>> {
        panels.iter().scan(0, move |start, panel| {
            *start += panel.queries / places;
            Some(*start - panel.queries / places..*start)
        })
    }

    #[inline(always)]
    pub(super) fn registers<T: Tile>(&self) -> &[T::Chunk] {
        T::chunks(T::Element::of_bytes(&self.elements)).0
    }
}

/// The sums of rows against all queries of a panel: that of row r and query q stands at q·`rows.len()` + r.
///
/// A tile of the narrowest panels has `NARROW` rows, of the widest `WIDE`: about as many sums as there are registers beside what is loaded.
#[inline(always)]
pub(super) fn tiles<T: Tile, const NARROW: usize, const MIDDLE: usize, const WIDE: usize>(
    panel: &Panel,
    rows: &[&[T::Element]],
    sums: &mut [T::Total],
) {
    match panel.queries {
        1 => panel_tiles::<T, NARROW, 1>(panel, rows, sums),
        2 => panel_tiles::<T, NARROW, 2>(panel, rows, sums),
        4 => panel_tiles::<T, MIDDLE, 4>(panel, rows, sums),
        _ => panel_tiles::<T, WIDE, PANEL>(panel, rows, sums),
    }
}

#[inline(always)]
fn panel_tiles<T: Tile, const ROWS: usize, const QUERIES: usize>(panel: &Panel, rows: &[&[T::Element]], sums: &mut [T::Total]) {
    let (queries, _) = panel.registers::<T>().as_chunks::<QUERIES>();
    let (whole, rest) = rows.as_chunks::<ROWS>();
    let stride = rows.len();
    let mut put = |at: usize, of_row: [T::Total; PLACES]| {
        for (query, sum) in of_row.into_iter().enumerate().take(QUERIES) {
            if let Some(place) = sums.get_mut(query * stride + at) {
                *place = sum;
            }
        }
    };
    for (number, rows) in whole.iter().enumerate() {
        for (at, of_row) in (number * ROWS..).zip(tile::<T, ROWS, QUERIES>(queries, rows)) {
            put(at, of_row);
        }
    }
    for (at, row) in (whole.len() * ROWS..).zip(rest) {
        let [of_row] = tile::<T, 1, QUERIES>(queries, &[row]);
        put(at, of_row);
    }
}

/// No closure may touch a register here, in `map` or elsewhere: it would be compiled without the features of the function that it stands in.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below ROWS and QUERIES, which are the lengths of the arrays")]
fn tile<T: Tile, const ROWS: usize, const QUERIES: usize>(
    queries: &[[T::Chunk; QUERIES]],
    rows: &[&[T::Element]; ROWS],
) -> [[T::Total; PLACES]; ROWS] {
    let mut sums = [[T::zero(); QUERIES]; ROWS];
    let mut whole = queries.len();
    for row in rows {
        whole = whole.min(T::chunks(row).0.len());
    }
    for (number, queries) in queries.iter().enumerate().take(whole) {
        let mut of_rows = [T::load_row_rest(&[]); ROWS];
        for row in 0..ROWS {
            // SAFETY: `number` is below `whole`, which is at most the length of each.
            let chunk = unsafe { T::chunks(rows[row]).0.get_unchecked(number) };
            of_rows[row] = T::load_row(chunk);
            // Wider panels wait for no memory, and hints to it take time.
            if T::AHEAD > 0 && QUERIES <= 2 && (number * size_of::<T::Chunk>()).is_multiple_of(CACHE_LINE) {
                prefetch_line(std::ptr::from_ref(chunk).cast::<u8>().wrapping_add(T::AHEAD));
            }
        }
        add_all::<T, ROWS, QUERIES>(&mut sums, queries, &of_rows);
    }
    if let Some(queries) = queries.get(whole) {
        let mut of_rows = [T::load_row_rest(&[]); ROWS];
        for row in 0..ROWS {
            of_rows[row] = T::load_row_rest(T::chunks(rows[row]).1);
        }
        add_all::<T, ROWS, QUERIES>(&mut sums, queries, &of_rows);
    }
    let mut of_tile = [[T::Total::default(); PLACES]; ROWS];
    for (of_row, sums) in of_tile.iter_mut().zip(sums) {
        for (of_four, sums) in of_row.chunks_mut(4).zip(sums.chunks(4)) {
            let mut four = [T::zero(); 4];
            for (to, from) in four.iter_mut().zip(sums) {
                *to = *from;
            }
            of_four.copy_from_slice(&T::totals(four));
        }
    }
    of_tile
}

/// One query after the other, so that of the queries only one need be in a register.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below ROWS and QUERIES, which are the lengths of the arrays")]
fn add_all<T: Tile, const ROWS: usize, const QUERIES: usize>(
    sums: &mut [[T::Sum; QUERIES]; ROWS],
    queries: &[T::Chunk; QUERIES],
    rows: &[T::Register; ROWS],
) {
    for query in 0..QUERIES {
        let of_query = T::load_query(&queries[query]);
        for row in 0..ROWS {
            sums[row][query] = T::add(sums[row][query], of_query, rows[row]);
        }
    }
}
