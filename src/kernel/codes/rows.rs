use crate::kernel::tiles::Rows;

/// Some of the rows that stand one behind the other, of so many bytes each.
#[derive(Clone, Copy)]
pub(crate) struct Picked<'a> {
    bytes: &'a [u8],
    width: usize,
    /// The number of the first row that is there.
    first: u32,
    numbers: &'a [u32],
}

impl<'a> Picked<'a> {
    pub(crate) fn new(bytes: &'a [u8], width: usize, first: u32, numbers: &'a [u32]) -> Self {
        Self { bytes, width, first, numbers }
    }

    /// All of them as one piece, if none between the first and the last is left out.
    pub(super) fn consecutive(self) -> Option<&'a [u8]> {
        let (first, last) = (self.numbers.first()?, self.numbers.last()?);
        let start = first.wrapping_sub(self.first) as usize * self.width;
        let are_all = (last.wrapping_sub(*first) as usize) < self.numbers.len();
        are_all.then(|| self.bytes.get(start..start + self.numbers.len() * self.width))?
    }
}

impl<'a> Rows<&'a [u8]> for Picked<'a> {
    #[inline(always)]
    fn count(self) -> usize {
        self.numbers.len()
    }

    #[inline(always)]
    fn row(self, place: usize) -> &'a [u8] {
        let start = self.numbers.get(place).map_or(0, |number| number.wrapping_sub(self.first) as usize) * self.width;
        self.bytes.get(start..start + self.width).unwrap_or_default()
    }
}

/// The upper and the lower half of the code of a row.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Both halves of codes, of the same rows.
#[derive(Clone, Copy)]
pub(crate) struct Pairs<'a> {
    pub(crate) upper: Picked<'a>,
    pub(crate) lower: Picked<'a>,
}

impl<'a> Rows<Pair<'a>> for Pairs<'a> {
    #[inline(always)]
    fn count(self) -> usize {
        self.upper.count()
    }

    #[inline(always)]
    fn row(self, place: usize) -> Pair<'a> {
        (self.upper.row(place), self.lower.row(place))
    }
}
