use std::fmt;

use crate::error::{Error, Result};

/// Number of a batch, rising by one from batch to batch.
pub(crate) type Sequence = u64;
/// How a row died: the batch that superseded or deleted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Death {
    pub(crate) at: Sequence,
    /// A delete, whose bytes must go in time; a superseded row only wastes room.
    pub(crate) deleted: bool,
}

/// Insertion ordinal of a record in its collection.
pub(crate) type Ordinal = u64;
/// Number in the name of a log or segment file.
pub(crate) type FileNumber = u64;
/// Identity of a segment, whichever file it stands in.
pub(crate) type SegmentId = u64;
/// Identity of a collection; never reused.
pub(crate) type CollectionId = u32;

/// Largest dimension of a collection.
pub(crate) const DIMENSION_MAX: usize = 65_535;
/// Longest id, in bytes.
pub(crate) const ID_BYTES_MAX: usize = 65_535;
/// Longest document, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 64 << 20;
/// Longest encoded metadata, in bytes.
pub(crate) const METADATA_BYTES_MAX: usize = 64 << 20;
/// Longest uri, in bytes.
pub(crate) const URI_BYTES_MAX: usize = 65_535;
/// Longest encoded batch, in bytes.
pub(crate) const BATCH_BYTES_MAX: usize = 1 << 30;

/// Number of f32 elements of every vector of a collection, 1 to 65,535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Dimension(u32);

impl Dimension {
    /// Checks the range.
    ///
    /// # Errors
    /// `InvalidArgument` outside 1 to 65,535.
    pub(crate) fn new(elements: usize) -> Result<Self> {
        match u32::try_from(elements) {
            Ok(value @ 1..=65_535) => Ok(Self(value)),
            _ => Err(Error::invalid(format!("dimension {elements} refused: 1 to {DIMENSION_MAX} are possible"))),
        }
    }

    /// Elements.
    #[must_use]
    pub(crate) const fn get(self) -> usize {
        self.0 as usize
    }

    /// Elements, as it stands on disk.
    #[must_use]
    pub(crate) const fn as_u32(self) -> u32 {
        self.0
    }

    /// Bytes of one vector.
    #[must_use]
    pub(crate) const fn bytes(self) -> usize {
        self.0 as usize * 4
    }

    /// Bytes from row to row in segments and memtables: rounded up to 64 where that costs at most 3 %.
    #[must_use]
    pub(crate) const fn stride(self) -> usize {
        let packed = self.bytes();
        let padded = packed.next_multiple_of(64);
        if padded * 100 <= packed * 103 { padded } else { packed }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// 16 random bytes that name a database, a file or a writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct FileId(pub(crate) [u8; 16]);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Accepts ids of 1 to 65,535 bytes.
pub(crate) fn check_id(id: &[u8]) -> Result<()> {
    match id.len() {
        0 => Err(Error::invalid("an id must have at least one byte")),
        1..=ID_BYTES_MAX => Ok(()),
        long => Err(Error::invalid(format!("an id of {long} bytes refused: at most {ID_BYTES_MAX}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{Dimension, check_id};

    #[test]
    fn dimension_is_checked_at_its_borders() {
        for (elements, good) in [(0, false), (1, true), (65_535, true), (65_536, false), (usize::MAX, false)] {
            assert_eq!(Dimension::new(elements).is_ok(), good, "{elements}");
        }
    }

    #[test]
    fn stride_is_padded_only_where_cheap() {
        for (elements, stride) in [(1, 4), (16, 64), (100, 400), (384, 1536), (768, 3072), (1000, 4032), (65_535, 262_144)] {
            assert_eq!(Dimension::new(elements).unwrap().stride(), stride, "{elements}");
        }
    }

    #[test]
    fn id_is_checked_at_its_borders() {
        for (length, good) in [(0, false), (1, true), (65_535, true), (65_536, false)] {
            assert_eq!(check_id(&vec![7; length]).is_ok(), good, "{length}");
        }
    }
}
