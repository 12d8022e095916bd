use std::ops::Range;

use super::reader::Segment;
use crate::error::Result;
use crate::format::segment::{FACTOR_BYTES, SectionKind};
use crate::io::Bytes;
use crate::kernel::Factors;

/// Codes of consecutive rows, and what stands beside them.
pub(crate) struct StoredCodes {
    codes: Bytes,
    factors: Bytes,
    dimension: usize,
}

impl StoredCodes {
    /// The code of the row at a place, a byte an element.
    #[inline]
    pub(crate) fn code(&self, at: usize) -> &[u8] {
        self.codes.get(at * self.dimension..(at + 1) * self.dimension).unwrap_or_default()
    }

    #[inline]
    pub(crate) fn factors(&self, at: usize) -> Factors {
        let (factors, _) = self.factors.as_chunks::<FACTOR_BYTES>();
        factors.get(at).map_or(Factors::UNKNOWN, |bytes| Factors::from_bytes(*bytes))
    }
}

impl Segment {
    /// Whether its rows have codes.
    pub(crate) fn has_codes(&self) -> bool {
        self.sections.section(SectionKind::Codes).len > 0
    }

    /// The codes of consecutive rows of a segment that has them.
    pub(crate) fn codes(&self, rows: Range<u32>) -> Result<StoredCodes> {
        let dimension = self.dimension().get();
        let fetch = |kind, width: usize| {
            let (start, count) = (u64::from(rows.start), u64::from(rows.end.saturating_sub(rows.start)));
            self.sections.fetch(kind, start * width as u64, count * width as u64)
        };
        let (codes, factors) = (fetch(SectionKind::Codes, dimension)?, fetch(SectionKind::CodeFactors, FACTOR_BYTES)?);
        Ok(StoredCodes { codes, factors, dimension })
    }
}
