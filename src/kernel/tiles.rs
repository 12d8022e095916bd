//! Tiles of sums of rows × queries that stay in registers, whatever the elements are: each row register is used by all queries of a panel and each query
//! register by all rows, while a panel of up to some 2,000 dimensions lies in the first-level and the rows lie in the second-level cache (Goto and van de
//! Geijn, "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34(3), 2008).

use std::ops::Range;

use crate::io::{
    Bytes,
    bytes::{as_f32s, f32s_as_bytes},
};

/// Queries of the widest panel.
const PANEL: usize = 6;
/// Sums of the greatest tile.
const PLACES: usize = 24;

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
    /// Of queries.
    type Element: Element;
    type Row<'a>: Copy;
    /// The whole chunks of a row.
    type Chunks<'a>: Chunks;
    /// What is loaded of a query at once.
    type Chunk: Copy + 'static;
    type Register: Copy;
    type Sum: Copy;
    type Total: Copy + Default;

    /// Elements of queries, which are whole chunks.
    fn chunks(elements: &[Self::Element]) -> &[Self::Chunk];
    /// The whole chunks of a row.
    fn row_chunks<'a>(row: Self::Row<'a>) -> Self::Chunks<'a>;

    fn zero() -> Self::Sum;
    /// Nothing in particular.
    fn empty() -> Self::Register;
    fn load_query(chunk: &Self::Chunk) -> Self::Register;
    fn load_row<'a>(chunk: <Self::Chunks<'a> as Chunks>::One) -> Self::Register;
    /// What a row has behind its whole chunks.
    fn load_row_rest(row: Self::Row<'_>) -> Self::Register;
    /// Asks for a row ahead of its use, where tiles are told to.
    fn prefetch(_row: Self::Row<'_>) {}
    fn add(sum: Self::Sum, query: Self::Register, row: Self::Register) -> Self::Sum;
    /// The whole sum of each.
    fn totals(sums: [Self::Sum; 4]) -> [Self::Total; 4];
}

/// Chunks by their numbers.
///
/// # Safety
/// There are as many as `count` says.
pub(super) unsafe trait Chunks: Copy {
    type One;

    fn count(self) -> usize;
    /// # Safety
    /// `number` is below `count`.
    unsafe fn one(self, number: usize) -> Self::One;
}

// SAFETY: there are as many as the slice is long.
unsafe impl<'a, C> Chunks for &'a [C] {
    type One = &'a C;

    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    // SAFETY: the trait's.
    #[inline(always)]
    unsafe fn one(self, number: usize) -> &'a C {
        // SAFETY: `number` is below the length, as the caller says.
        unsafe { self.get_unchecked(number) }
    }
}

// SAFETY: there are as many pairs as the shorter of both has chunks.
unsafe impl<A: Chunks, B: Chunks> Chunks for (A, B) {
    type One = (A::One, B::One);

    #[inline(always)]
    fn count(self) -> usize {
        self.0.count().min(self.1.count())
    }

    // SAFETY: the trait's.
    #[inline(always)]
    unsafe fn one(self, number: usize) -> Self::One {
        // SAFETY: `number` is below the lesser count, as the caller says.
        unsafe { (self.0.one(number), self.1.one(number)) }
    }
}

/// Rows by their places.
pub(crate) trait Rows<R>: Copy {
    fn count(self) -> usize;
    /// One below `count`; of another, any.
    fn row(self, place: usize) -> R;
}

impl<'a, E> Rows<&'a [E]> for &[&'a [E]] {
    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn row(self, place: usize) -> &'a [E] {
        self.get(place).copied().unwrap_or_default()
    }
}

/// So many rows, or a little fewer that are whole tiles of every panel.
pub(super) fn whole_tiles(rows: usize) -> usize {
    const TILES: usize = 24;
    if rows < TILES { rows.max(1) } else { rows - rows % TILES }
}

/// Queries of one dimension that share what is loaded of rows; chunk by chunk in turns, zeros behind their ends.
pub(super) struct Panel {
    /// Elements of chunk 0 of each query, then those of chunk 1, …, no register across two cache lines.
    elements: Bytes,
    queries: usize,
}

impl Panel {
    /// Panels for all queries, in their order, with chunks of so many elements.
    pub(super) fn all<E: Element>(mut queries: &[&[E]], lanes: usize) -> Vec<Self> {
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
        let chunks = queries.first().map_or(0, |query| query.len().div_ceil(lanes));
        let mut elements = Vec::with_capacity(chunks * lanes * queries.len());
        for chunk in 0..chunks {
            for query in queries {
                let part = query.chunks(lanes).nth(chunk).unwrap_or_default();
                elements.extend_from_slice(part);
                elements.resize(elements.len() + lanes - part.len(), E::default());
            }
        }
        Self { elements: Bytes::copy_of(E::as_bytes(&elements)), queries: queries.len() }
    }

    pub(super) fn queries(&self) -> usize {
        self.queries
    }

    /// The numbers of the queries, panel by panel.
    pub(super) fn numbers(panels: &[Self]) -> impl Iterator<Item = Range<usize>> {
        panels.iter().scan(0, |start, panel| {
            *start += panel.queries;
            Some(*start - panel.queries..*start)
        })
    }

    #[inline(always)]
    pub(super) fn chunks<T: Tile>(&self) -> &[T::Chunk] {
        T::chunks(T::Element::of_bytes(&self.elements))
    }
}

/// The sums of rows against all queries of a panel: that of row r and query q stands at q·`rows.len()` + r.
///
/// A tile of the narrowest panels has `NARROW` rows, of the widest `WIDE`: about as many sums as there are registers beside what is loaded. Narrow panels
/// ask for rows so many ahead of their use, if it is not 0.
#[inline(always)]
pub(super) fn tiles<'a, T: Tile, const NARROW: usize, const MIDDLE: usize, const WIDE: usize, const AHEAD: usize>(
    panel: &Panel,
    rows: impl Rows<T::Row<'a>>,
    sums: &mut [T::Total],
) {
    match panel.queries {
        1 => panel_tiles::<T, NARROW, 1, AHEAD>(panel, rows, sums),
        2 => panel_tiles::<T, NARROW, 2, AHEAD>(panel, rows, sums),
        4 => panel_tiles::<T, MIDDLE, 4, 0>(panel, rows, sums),
        _ => panel_tiles::<T, WIDE, PANEL, 0>(panel, rows, sums),
    }
}

/// The same of a panel of one query.
#[inline(always)]
pub(super) fn tiles_of_one<'a, T: Tile, const ROWS: usize, const AHEAD: usize>(
    panel: &Panel,
    rows: impl Rows<T::Row<'a>>,
    sums: &mut [T::Total],
) {
    panel_tiles::<T, ROWS, 1, AHEAD>(panel, rows, sums);
}

#[inline(always)]
fn panel_tiles<'a, T: Tile, const ROWS: usize, const QUERIES: usize, const AHEAD: usize>(
    panel: &Panel,
    rows: impl Rows<T::Row<'a>>,
    sums: &mut [T::Total],
) {
    let (queries, _) = panel.chunks::<T>().as_chunks::<QUERIES>();
    let stride = rows.count();
    let mut put = |start: usize, rows: usize, of_tile: [T::Total; PLACES]| {
        for (place, sum) in of_tile.into_iter().enumerate().take(rows * QUERIES) {
            if let Some(to) = sums.get_mut(place % QUERIES * stride + start + place / QUERIES) {
                *to = sum;
            }
        }
    };
    let whole = stride - stride % ROWS;
    // Wider panels wait for no memory, and hints to it take time.
    for start in (0..whole).step_by(ROWS) {
        let tile_rows = std::array::from_fn(|row| rows.row(start + row));
        if AHEAD > 0 {
            (0..ROWS).for_each(|row| T::prefetch(rows.row(start + row + AHEAD)));
        }
        put(start, ROWS, tile::<T, ROWS, QUERIES>(queries, &tile_rows));
    }
    for at in whole..stride {
        put(at, 1, tile::<T, 1, QUERIES>(queries, &[rows.row(at)]));
    }
}

/// The sums of row 0 against each query, then those of row 1, …
///
/// No closure may touch a register here, in `map` or elsewhere: it would be compiled without the features of the function that it stands in.
#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below ROWS and QUERIES, which are the lengths of the arrays")]
fn tile<T: Tile, const ROWS: usize, const QUERIES: usize>(
    queries: &[[T::Chunk; QUERIES]],
    rows: &[T::Row<'_>; ROWS],
) -> [T::Total; PLACES] {
    let mut sums = [[T::zero(); QUERIES]; ROWS];
    let chunks = rows.map(|row| T::row_chunks(row));
    let whole = chunks.iter().map(|chunks| chunks.count()).fold(queries.len(), usize::min);
    for (number, queries) in queries.iter().enumerate().take(whole) {
        let mut of_rows = [T::empty(); ROWS];
        for row in 0..ROWS {
            // SAFETY: `number` is below `whole`, which is at most the number of chunks of each.
            of_rows[row] = T::load_row(unsafe { chunks[row].one(number) });
        }
        add_all::<T, ROWS, QUERIES>(&mut sums, queries, &of_rows);
    }
    if let Some(queries) = queries.get(whole) {
        let mut of_rows = [T::empty(); ROWS];
        for row in 0..ROWS {
            of_rows[row] = T::load_row_rest(rows[row]);
        }
        add_all::<T, ROWS, QUERIES>(&mut sums, queries, &of_rows);
    }
    let mut of_tile = [T::Total::default(); PLACES];
    for (number, totals) in of_tile.chunks_mut(4).enumerate().take((ROWS * QUERIES).div_ceil(4)) {
        let mut four = [T::zero(); 4];
        for (place, to) in (4 * number..ROWS * QUERIES).zip(&mut four) {
            *to = sums[place / QUERIES][place % QUERIES];
        }
        totals.copy_from_slice(&T::totals(four));
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
