use super::reader::Segment;
use crate::error::{Error, Result};
use crate::format::payload_block::{self, INDEX_ENTRY_BYTES, IndexEntry};
use crate::format::segment::SectionKind;

impl Segment {
    /// The encoded payload of a row; `None` if it has none.
    pub(crate) fn payload(&self, row: u32) -> Result<Option<Vec<u8>>> {
        let Some(number) = self.payload_block_of(row)? else { return Ok(None) };
        let entry = self.payload_entry(number)?;
        let plain = self.payload_block(&entry)?;
        Ok(self.find_payload(&entry, &plain, row)?.map(<[u8]>::to_vec))
    }

    /// Number of payload blocks.
    pub(super) fn payload_blocks(&self) -> u64 {
        self.sections.section(SectionKind::PayloadIndex).len / INDEX_ENTRY_BYTES as u64
    }

    /// The only payload block that may hold a row.
    pub(super) fn payload_block_of(&self, row: u32) -> Result<Option<u64>> {
        let (mut low, mut high) = (0, self.payload_blocks());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.payload_entry(middle)?.first_row <= row {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low.checked_sub(1))
    }

    /// An entry of the payload index; what it points to is inside the section.
    pub(super) fn payload_entry(&self, number: u64) -> Result<IndexEntry> {
        let start = number * INDEX_ENTRY_BYTES as u64;
        let damaged = |what| self.sections.damaged(SectionKind::PayloadIndex, start, what);
        let bytes = self.sections.slice(SectionKind::PayloadIndex, start, INDEX_ENTRY_BYTES as u64)?;
        let bytes = bytes.first_chunk().ok_or_else(|| damaged("payload index: entry cut short"))?;
        let entry = IndexEntry::decode(bytes).map_err(|error| self.sections.locate(SectionKind::PayloadIndex, start, error))?;
        let end = entry.offset.checked_add(entry.stored_len.into());
        if end.is_none_or(|end| end > self.sections.section(SectionKind::PayloadBlocks).len) {
            return Err(damaged("payload index: block beyond the section's end"));
        }
        Ok(entry)
    }

    /// The plain bytes of a payload block.
    pub(super) fn payload_block(&self, entry: &IndexEntry) -> Result<Vec<u8>> {
        let stored = self.sections.fetch(SectionKind::PayloadBlocks, entry.offset, entry.stored_len.into())?;
        payload_block::load(entry, &stored).map_err(|error| self.in_payload_block(entry, error))
    }

    /// The payload of a row in a plain block.
    pub(super) fn find_payload<'a>(&self, entry: &IndexEntry, plain: &'a [u8], row: u32) -> Result<Option<&'a [u8]>> {
        payload_block::find(plain, row).map_err(|error| self.in_payload_block(entry, error))
    }

    #[cold]
    pub(super) fn in_payload_block(&self, entry: &IndexEntry, error: Error) -> Error {
        self.sections.locate(SectionKind::PayloadBlocks, entry.offset, error)
    }
}
