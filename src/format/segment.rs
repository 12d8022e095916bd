//! Segment footer and section table (specification, section 8.1): where everything of a segment stands.
//!
//! Decoding checks every number against the segment's length and against the others, so that readers can trust them.

#[cfg(test)]
mod tests;

use super::{Put, Reader, crc};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{id_block, id_hash, payload_block};
use crate::kernel::Halves;
use crate::types::{Dimension, SegmentId, Sequence};

/// Segments start on multiples of this in their file, sections in their segment.
pub(crate) const ALIGNMENT: u64 = 64;
/// Bytes per checksum in every section but rows and checksums.
pub(crate) const BLOCK_BYTES: u32 = 4096;
/// Bytes of a row in section 10.
pub(crate) const FACTOR_BYTES: usize = 10;
/// Bytes at the end of a segment that tell how long its footer is.
pub(crate) const TAIL_BYTES: usize = 8;

const MAGIC: [u8; 4] = *b"SEGF";
const FIXED_BYTES: usize = 64;
const ENTRY_BYTES: usize = 32;
const REQUIRED: u16 = 1;
const KINDS: usize = SectionKind::ALL.len();

/// The sections that this version knows, in the order in which they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SectionKind {
    Rows,
    UpperCodes,
    CodeFactors,
    LowerCodes,
    Ordinals,
    IdOffsets,
    IdBlocks,
    IdHash,
    PayloadIndex,
    PayloadBlocks,
    Checksums,
}

impl SectionKind {
    pub(crate) const ALL: [Self; 11] = [
        Self::Rows,
        Self::UpperCodes,
        Self::CodeFactors,
        Self::LowerCodes,
        Self::Ordinals,
        Self::IdOffsets,
        Self::IdBlocks,
        Self::IdHash,
        Self::PayloadIndex,
        Self::PayloadBlocks,
        Self::Checksums,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Ordinals => "ordinals",
            Self::IdOffsets => "id offsets",
            Self::IdBlocks => "id blocks",
            Self::IdHash => "id hash",
            Self::PayloadIndex => "payload index",
            Self::PayloadBlocks => "payload blocks",
            Self::UpperCodes => "upper codes",
            Self::CodeFactors => "code factors",
            Self::LowerCodes => "lower codes",
            Self::Checksums => "checksums",
        }
    }

    /// Number on disk.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::Rows => 1,
            Self::UpperCodes => 9,
            Self::CodeFactors => 10,
            Self::LowerCodes => 11,
            _ => self as u16 - 2,
        }
    }

    /// What its entry is marked with: codes may be skipped.
    const fn flags(self) -> u16 {
        match self {
            Self::UpperCodes | Self::CodeFactors | Self::LowerCodes => 0,
            _ => REQUIRED,
        }
    }

    fn from_code(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// Where a section stands; all zero if it has no content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// Bytes per checksum; the last block may be shorter.
    pub(crate) block_size: u32,
    /// From the segment's start.
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) first_checksum: u32,
}

impl Section {
    /// Number of checksums.
    pub(crate) fn blocks(&self) -> u64 {
        if self.block_size == 0 { 0 } else { self.len.div_ceil(u64::from(self.block_size)) }
    }

    /// Offset behind it, from the segment's start.
    pub(crate) fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// What ends a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFooter {
    pub(crate) id: SegmentId,
    pub(crate) dimension: Dimension,
    pub(crate) rows: u32,
    pub(crate) max_sequence: Sequence,
    pub(crate) hash_seed: u64,
    pub(crate) checksums: u32,
    pub(crate) checksum_table_crc: u32,
    pub(crate) sections: [Section; KINDS],
    /// Optional sections of newer versions: kept checked by `verify`, never read.
    pub(crate) unknown: Vec<Section>,
}

impl SegmentFooter {
    pub(crate) fn section(&self, kind: SectionKind) -> &Section {
        let [
            rows,
            upper_codes,
            code_factors,
            lower_codes,
            ordinals,
            id_offsets,
            id_blocks,
            id_hash,
            payload_index,
            payload_blocks,
            checksums,
        ] = &self.sections;
        match kind {
            SectionKind::Rows => rows,
            SectionKind::Ordinals => ordinals,
            SectionKind::IdOffsets => id_offsets,
            SectionKind::IdBlocks => id_blocks,
            SectionKind::IdHash => id_hash,
            SectionKind::PayloadIndex => payload_index,
            SectionKind::PayloadBlocks => payload_blocks,
            SectionKind::UpperCodes => upper_codes,
            SectionKind::CodeFactors => code_factors,
            SectionKind::LowerCodes => lower_codes,
            SectionKind::Checksums => checksums,
        }
    }

    /// Encoded length.
    pub(crate) fn encoded_len(&self) -> u64 {
        let present = self.sections.iter().chain(&self.unknown).filter(|section| section.len > 0).count();
        (FIXED_BYTES + present * ENTRY_BYTES) as u64
    }

    /// The footer's bytes; its CRC is in the last four of them.
    pub(crate) fn encode(&self) -> Vec<u8> {
        debug_assert!(self.unknown.is_empty(), "only known sections are written");
        let mut out = Vec::with_capacity(self.encoded_len() as usize);
        let present = || SectionKind::ALL.into_iter().zip(&self.sections).filter(|(_, section)| section.len > 0);
        out.put(&MAGIC);
        out.put_count(present().count());
        out.put_u64(self.id);
        out.put_u32(self.dimension.as_u32());
        out.put_u32(self.dimension.stride() as u32);
        out.put_u32(self.rows);
        out.put_u32(group_rows(self.dimension));
        out.put_u64(self.max_sequence);
        out.put_u64(self.hash_seed);
        out.put_u32(self.checksums);
        out.put_u32(self.checksum_table_crc);
        for (kind, section) in present() {
            out.put_u16(kind.code());
            out.put_u16(kind.flags());
            out.put_u32(section.block_size);
            out.put_u64(section.offset);
            out.put_u64(section.len);
            out.put_u32(section.first_checksum);
            out.put_u32(0);
        }
        out.put_u32(self.encoded_len() as u32);
        out.put_u32(crc(&out));
        out
    }

    /// Reads a footer of which `bytes` is exactly the length that [`tail`] told; it ends a segment of `segment_len` bytes.
    /// Offsets of errors are those in `bytes`.
    pub(crate) fn decode(bytes: &[u8], segment_len: u64) -> Result<Self> {
        let (checked, sum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("segment footer cut short", 0))?;
        if crc(checked) != u32::from_le_bytes(*sum) {
            return Err(damaged("checksum of the segment footer does not match", checked.len() as u64));
        }
        let mut reader = Reader::new(checked);
        if reader.array()? != MAGIC {
            return Err(damaged("not a segment footer", 0));
        }
        let count = reader.count(ENTRY_BYTES)?;
        if bytes.len() != FIXED_BYTES + count * ENTRY_BYTES {
            return Err(damaged("segment footer of a wrong length", 4));
        }
        let mut footer = Self::decode_numbers(&mut reader)?;
        let start = segment_len.checked_sub(bytes.len() as u64).ok_or_else(|| damaged("segment footer longer than its segment", 0))?;
        let mut before = Before::default();
        for _ in 0..count {
            let at = reader.position();
            footer.decode_section(&mut reader, &mut before, start).map_err(|error| error.at(at))?;
        }
        if reader.u32()? as usize != bytes.len() {
            return Err(damaged("segment footer of a wrong length", bytes.len() as u64 - TAIL_BYTES as u64));
        }
        footer.check()?;
        Ok(footer)
    }

    fn decode_numbers(reader: &mut Reader<'_>) -> Result<Self> {
        let id = reader.u64()?;
        let at = reader.position();
        let elements = reader.u32()?;
        let dimension =
            Dimension::new(elements as usize).map_err(|_| damaged(&format!("segment of the impossible dimension {elements}"), at))?;
        if reader.u32()? as usize != dimension.stride() {
            return Err(damaged("segment with a wrong stride", at + 4));
        }
        let rows = reader.u32()?;
        if rows == 0 {
            return Err(damaged("segment without rows", at + 8));
        }
        if reader.u32()? != group_rows(dimension) {
            return Err(damaged("segment with row groups of a wrong size", at + 12));
        }
        Ok(Self {
            id,
            dimension,
            rows,
            max_sequence: reader.u64()?,
            hash_seed: reader.u64()?,
            checksums: reader.u32()?,
            checksum_table_crc: reader.u32()?,
            sections: [Section::default(); KINDS],
            unknown: Vec::new(),
        })
    }

    /// Reads one entry; the last section must end at or before `footer_start`.
    fn decode_section(&mut self, reader: &mut Reader<'_>, before: &mut Before, footer_start: u64) -> Result<()> {
        let (code, flags) = (reader.u16()?, reader.u16()?);
        let section = Section { block_size: reader.u32()?, offset: reader.u64()?, len: reader.u64()?, first_checksum: reader.u32()? };
        reader.zeros(4)?;
        let kind = SectionKind::from_code(code);
        if kind.is_none() && flags & REQUIRED != 0 {
            let message = format!("segment with a section of kind {code}, which this version cannot read");
            return Err(Error::new(ErrorKind::NewerFormat, message).with_remedy("open it with a newer varvite"));
        }
        let name = kind.map_or_else(|| format!("section {code}"), |kind| format!("section '{}'", kind.name()));
        let refuse = |what: &str| Err(Error::corruption(format!("segment footer: {name} {what}")));
        if !section.offset.is_multiple_of(ALIGNMENT)
            || section.offset < before.end
            || section.len == 0
            || section.len > footer_start.saturating_sub(section.offset)
        {
            return refuse("stands where it cannot");
        }
        // Sharing a checksum would let one section's check pass for the other's.
        let first_checksum = u64::from(section.first_checksum);
        if section.blocks() > 0 {
            if first_checksum < before.next_checksum || first_checksum + section.blocks() > u64::from(self.checksums) {
                return refuse("has checksums that are not its own");
            }
            before.next_checksum = first_checksum + section.blocks();
        }
        before.end = section.end();
        let Some(kind) = kind else {
            self.unknown.push(section);
            return Ok(());
        };
        let place = kind as usize;
        if flags != kind.flags() || before.kinds > place {
            return refuse("is out of order or wrongly marked");
        }
        before.kinds = place + 1;
        if let Some(slot) = self.sections.get_mut(place) {
            *slot = section;
        }
        Ok(())
    }

    /// Compares the sections with the row count and with each other.
    fn check(&self) -> Result<()> {
        let rows = u64::from(self.rows);
        let len = |kind| self.section(kind).len;
        for kind in SectionKind::ALL {
            let section = self.section(kind);
            let (actual, block_size) = (section.len, section.block_size);
            let good = match kind {
                SectionKind::Rows => actual == rows * self.dimension.stride() as u64,
                SectionKind::Ordinals => actual == rows * 8,
                SectionKind::IdOffsets => actual == (u64::from(id_blocks(self.rows)) + 1) * 4,
                SectionKind::IdBlocks => actual >= rows && actual <= u64::from(u32::MAX),
                SectionKind::IdHash => actual == u64::from(id_hash::bucket_count(self.rows)) * id_hash::BUCKET_BYTES as u64,
                SectionKind::PayloadIndex => {
                    actual % payload_block::INDEX_ENTRY_BYTES as u64 == 0 && (actual == 0) == (len(SectionKind::PayloadBlocks) == 0)
                }
                SectionKind::PayloadBlocks => true,
                SectionKind::UpperCodes => actual == 0 || actual == rows * Halves::row_bytes(self.dimension.get()) as u64,
                SectionKind::CodeFactors => actual == if len(SectionKind::UpperCodes) == 0 { 0 } else { rows * FACTOR_BYTES as u64 },
                SectionKind::LowerCodes => actual == len(SectionKind::UpperCodes),
                SectionKind::Checksums => actual == u64::from(self.checksums) * 4 && section.first_checksum == 0,
            };
            let wanted = match kind {
                SectionKind::Rows => group_rows(self.dimension) * self.dimension.stride() as u32,
                SectionKind::Checksums => 0,
                _ => BLOCK_BYTES,
            };
            if !good || (actual > 0 && block_size != wanted) {
                let message = format!("segment footer: section '{}' of {actual} bytes does not fit {rows} rows", kind.name());
                return Err(Error::corruption(message).at(0));
            }
        }
        Ok(())
    }
}

/// Where the sections before one end.
#[derive(Default)]
struct Before {
    /// How many of [`SectionKind::ALL`] are passed.
    kinds: usize,
    end: u64,
    next_checksum: u64,
}

/// Length and CRC of the footer, from the last [`TAIL_BYTES`] of a segment.
pub(crate) fn tail(bytes: &[u8; TAIL_BYTES]) -> (u32, u32) {
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *bytes;
    (u32::from_le_bytes([l0, l1, l2, l3]), u32::from_le_bytes([c0, c1, c2, c3]))
}

/// Rows per row group: the fewest whose strides reach 4,096 bytes.
pub(crate) fn group_rows(dimension: Dimension) -> u32 {
    BLOCK_BYTES.div_ceil(dimension.stride() as u32)
}

/// Number of id blocks.
pub(crate) fn id_blocks(rows: u32) -> u32 {
    rows.div_ceil(id_block::IDS_PER_BLOCK)
}

/// Element `index` of stored u32s.
#[inline]
pub(crate) fn u32_at(bytes: &[u8], index: usize) -> Option<u32> {
    bytes.as_chunks::<4>().0.get(index).map(|value| u32::from_le_bytes(*value))
}

/// Element `index` of stored u64s.
#[inline]
pub(crate) fn u64_at(bytes: &[u8], index: usize) -> Option<u64> {
    bytes.as_chunks::<8>().0.get(index).map(|value| u64::from_le_bytes(*value))
}

fn damaged(what: &str, at: u64) -> Error {
    Error::corruption(what).at(at)
}
