use super::file::SegmentFile;
use crate::error::{Error, Result};
use crate::format::crc;
use crate::format::kills::KillBlock;
use crate::format::manifest::KillEntry;
use crate::format::segment_file::KillPlace;
use crate::types::SegmentId;

/// The dead rows of one segment: superseded or deleted. Immutable; a set without rows occupies nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KillSet {
    /// Bit r mod 64 of word r div 64 is row r.
    words: Box<[u64]>,
    rows: u32,
    count: u32,
}

impl KillSet {
    /// No dead row among `rows`.
    pub(crate) fn empty(rows: u32) -> Self {
        Self { rows, ..Self::default() }
    }

    /// What a kill block says.
    pub(crate) fn from_block(block: &KillBlock) -> Self {
        Self::empty(block.rows).union(block.killed.iter().copied())
    }

    /// Reads the kill block that the manifest names for a segment of `rows` rows, from the file that holds it.
    pub(crate) fn read(file: &SegmentFile, entry: &KillEntry, segment: SegmentId, rows: u32) -> Result<Self> {
        let place = KillPlace { segment, offset: entry.offset, len: entry.len, crc: entry.crc };
        let read = Self::read_place(file, &place, rows)?;
        if read.count != entry.count {
            let message = format!("not the kill block of segment {segment} that the manifest names");
            return Err(Error::corruption(message).at(entry.offset).in_file(file.name()));
        }
        Ok(read)
    }

    /// The same for a block that the file's own footer lists: how many rows it kills is not known.
    pub(crate) fn read_place(file: &SegmentFile, place: &KillPlace, rows: u32) -> Result<Self> {
        let locate = |error: Error| error.shifted(place.offset).at(place.offset).in_file(file.name());
        let bytes = file.read_range(place.offset, u64::from(place.len))?;
        if crc(&bytes) != place.crc {
            return Err(locate(Error::corruption("checksum of the kill block does not match")));
        }
        let block = KillBlock::decode(&bytes).map_err(locate)?;
        if (block.segment, block.rows) != (place.segment, rows) {
            return Err(locate(Error::corruption(format!("not the kill block of segment {}, of {rows} rows", place.segment))));
        }
        Ok(Self::from_block(&block))
    }

    /// The block to be written; `None` without a dead row.
    pub(crate) fn to_block(&self, segment: SegmentId) -> Option<KillBlock> {
        (self.count > 0).then(|| KillBlock { segment, rows: self.rows, killed: self.iter().collect() })
    }

    /// This set and further rows of the segment.
    #[must_use]
    pub(crate) fn union(&self, rows: impl IntoIterator<Item = u32>) -> Self {
        let mut words = self.words.to_vec();
        let mut count = self.count;
        for row in rows {
            debug_assert!(row < self.rows, "row {row} of a segment of {} rows", self.rows);
            if words.is_empty() {
                words.resize(self.rows.div_ceil(64) as usize, 0);
            }
            let bit = 1 << (row % 64);
            if let Some(word) = words.get_mut(row as usize / 64).filter(|word| **word & bit == 0) {
                *word |= bit;
                count += 1;
            }
        }
        Self { words: words.into_boxed_slice(), rows: self.rows, count }
    }

    /// Whether a row is dead.
    #[inline]
    pub(crate) fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Number of dead rows.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Number of dead rows in a range.
    pub(crate) fn count_in(&self, rows: std::ops::Range<u32>) -> u32 {
        let words = (rows.start / 64) as usize..(rows.end.div_ceil(64) as usize).min(self.words.len());
        let inside = |index: usize| {
            let first = index as u32 * 64;
            let low = u64::MAX << rows.start.saturating_sub(first).min(63);
            let high = u64::MAX >> (first + 63).saturating_sub(rows.end - 1).min(63);
            low & high
        };
        words.map(|index| (self.words.get(index).copied().unwrap_or(0) & inside(index)).count_ones()).sum()
    }

    /// The dead rows in ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().zip((0u32..).step_by(64)).flat_map(|(&word, first)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(first + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::KillSet;
    use crate::format::kills::KillBlock;

    #[test]
    fn a_set_without_rows_has_no_block() {
        let set = KillSet::empty(70);
        assert!(set.to_block(1).is_none() && set.count() == 0 && (0..100).all(|row| !set.contains(row)));
    }

    proptest! {
        #[test]
        fn set_agrees_with_a_tree(rows in 1u32..300, first in prop::collection::vec(0u32..300, 0..200), second in prop::collection::vec(0u32..300, 1..200)) {
            let inside = |list: &[u32]| list.iter().map(|row| row % rows).collect::<Vec<_>>();
            let (first, second) = (inside(&first), inside(&second));
            let set = KillSet::empty(rows).union(first.clone()).union(second.clone());
            let tree: BTreeSet<u32> = first.into_iter().chain(second).collect();
            prop_assert_eq!(set.count() as usize, tree.len());
            prop_assert!((0..rows + 70).all(|row| set.contains(row) == tree.contains(&row)));
            prop_assert!(set.iter().eq(tree.iter().copied()));
            for start in (0..rows).step_by(7) {
                for end in (start..=rows).step_by(13) {
                    prop_assert_eq!(set.count_in(start..end) as usize, tree.range(start..end).count());
                }
            }
            let block = set.to_block(5).unwrap();
            let back = KillSet::from_block(&KillBlock::decode(&block.encode()).unwrap());
            prop_assert_eq!(back, set);
        }
    }
}
