use std::ops::Range;

use super::reader::Segment;
use crate::error::Result;
use crate::format::segment::{FACTOR_BYTES, SectionKind};
use crate::io::Bytes;
use crate::kernel::{Halves, Picked};

/// What is stored of consecutive rows of codes, one behind the other: upper halves, lower halves, or factors.
pub(crate) struct StoredRows {
    bytes: Bytes,
    width: usize,
    first: u32,
}

impl StoredRows {
    /// Some of them, by their numbers.
    #[inline]
    pub(crate) fn pick<'a>(&'a self, numbers: &'a [u32]) -> Picked<'a> {
        Picked::new(&self.bytes, self.width, self.first, numbers)
    }
}

impl Segment {
    /// Whether its rows have codes.
    pub(crate) fn has_codes(&self) -> bool {
        self.sections.section(SectionKind::UpperCodes).len > 0
    }

    /// The upper halves of the codes of consecutive rows of a segment that has them.
    pub(crate) fn upper_codes(&self, rows: Range<u32>) -> Result<StoredRows> {
        self.of_rows(SectionKind::UpperCodes, rows, Halves::row_bytes(self.dimension().get()))
    }

    /// The lower halves.
    pub(crate) fn lower_codes(&self, rows: Range<u32>) -> Result<StoredRows> {
        self.of_rows(SectionKind::LowerCodes, rows, Halves::row_bytes(self.dimension().get()))
    }

    /// What stands beside them.
    pub(crate) fn code_factors(&self, rows: Range<u32>) -> Result<StoredRows> {
        self.of_rows(SectionKind::CodeFactors, rows, FACTOR_BYTES)
    }

    fn of_rows(&self, kind: SectionKind, rows: Range<u32>, width: usize) -> Result<StoredRows> {
        let (start, count) = (u64::from(rows.start), u64::from(rows.end.saturating_sub(rows.start)));
        Ok(StoredRows { bytes: self.sections.fetch(kind, start * width as u64, count * width as u64)?, width, first: rows.start })
    }
}
