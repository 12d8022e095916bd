use std::ops::{Deref, Range};

use super::reader::Segment;
use crate::error::{Error, Result};
use crate::format::segment::{SectionKind, group_rows};
use crate::io::Bytes;
use crate::io::bytes::as_f32s;

/// The vector of one row: in place if the file is mapped, and alive as long as this is.
#[derive(Clone, Debug)]
pub(crate) struct RowBytes {
    /// Whole, aligned elements.
    bytes: Bytes,
}

impl RowBytes {
    /// Takes bytes that are whole, aligned elements.
    pub(crate) fn new(bytes: Bytes) -> Option<Self> {
        as_f32s(&bytes).is_some().then_some(Self { bytes })
    }

    /// The elements as they are stored.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for RowBytes {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        as_f32s(&self.bytes).unwrap_or_default()
    }
}

impl Segment {
    /// The vector of a row, without its padding.
    #[inline]
    pub(crate) fn row(&self, row: u32) -> Result<RowBytes> {
        let (stride, len) = (self.dimension().stride() as u64, self.dimension().bytes() as u64);
        let start = u64::from(row) * stride;
        let bytes = self.sections.fetch(SectionKind::Rows, start, len)?;
        RowBytes::new(bytes).ok_or_else(|| self.sections.damaged(SectionKind::Rows, start, "row that is not aligned"))
    }

    /// Compares the checksum of a row: [`Self::mapped_row`] gives it from then on, unless the file is not mapped and it is copied.
    #[inline]
    pub(crate) fn check_row(&self, row: u32) -> Result<Option<RowBytes>> {
        if !self.sections.is_mapped() {
            return self.row(row).map(Some);
        }
        let (stride, len) = (self.dimension().stride() as u64, self.dimension().bytes() as u64);
        let bytes = self.sections.slice(SectionKind::Rows, u64::from(row) * stride, len)?;
        match as_f32s(bytes) {
            Some(_) => Ok(None),
            None => Err(self.sections.damaged(SectionKind::Rows, u64::from(row) * stride, "row that is not aligned")),
        }
    }

    /// The vector of a row in a mapped file, whose checksum [`Self::check_row`] has compared.
    #[inline]
    pub(crate) fn mapped_row(&self, row: u32) -> Option<&[f32]> {
        let (stride, len) = (self.dimension().stride(), self.dimension().bytes());
        as_f32s(self.sections.unchecked(SectionKind::Rows, row as usize * stride, len)?)
    }

    /// The rows that share a checksum with `row`.
    pub(crate) fn group_of(&self, row: u32) -> Range<u32> {
        let count = group_rows(self.dimension());
        let first = row - row % count;
        first..first.saturating_add(count).min(self.rows())
    }

    /// The row group that holds `row`, stride by stride.
    pub(crate) fn row_group(&self, row: u32) -> Result<(Range<u32>, Bytes)> {
        let group = self.group_of(row);
        if !group.contains(&row) {
            return Err(Error::invalid(format!("no row {row} in a segment of {}", self.rows())));
        }
        Ok((group.clone(), self.row_run(group)?))
    }

    /// Consecutive rows, each one's vector without its padding.
    ///
    /// # Errors
    /// Those of [`Self::row_run`], whose result `bytes` is.
    pub(crate) fn vectors<'a>(&self, start: u32, bytes: &'a [u8]) -> Result<impl Fn(u32) -> &'a [f32]> {
        let at = u64::from(start) * self.dimension().stride() as u64;
        let elements = as_f32s(bytes).ok_or_else(|| self.sections.damaged(SectionKind::Rows, at, "rows that are not aligned"))?;
        let (stride, dimension) = (self.dimension().stride() / size_of::<f32>(), self.dimension().get());
        Ok(move |row: u32| {
            let start = row.saturating_sub(start) as usize * stride;
            elements.get(start..start + dimension).unwrap_or_default()
        })
    }

    /// Consecutive rows, stride by stride. Scans ask for many groups at once, and after an error for one at a time.
    pub(crate) fn row_run(&self, rows: Range<u32>) -> Result<Bytes> {
        if rows.is_empty() || rows.end > self.rows() {
            return Err(Error::invalid(format!("no rows {} to {} in a segment of {}", rows.start, rows.end, self.rows())));
        }
        let stride = self.dimension().stride() as u64;
        self.sections.fetch(SectionKind::Rows, u64::from(rows.start) * stride, u64::from(rows.end - rows.start) * stride)
    }
}
