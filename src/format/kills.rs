//! Kill block: the rows of one segment that are dead (specification, section 8.2).
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 8 | victim segment id |
//! | 8 | 4 | victim rows |
//! | 12 | 4 | form: 0 list, 1 bitmap |
//! | 16 | 4 | count |
//! | 20 | 4 | reserved |
//! | 24 | | list: count × u32, ascending; bitmap: ceil(rows / 8) bytes |

use super::{Put, Reader};
use crate::error::{Error, Result};
use crate::types::SegmentId;

const HEADER_BYTES: u64 = 24;
const LIST: u32 = 0;
const BITMAP: u32 = 1;

/// The dead rows of one segment, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KillBlock {
    pub(crate) segment: SegmentId,
    /// Rows of the segment, dead or alive.
    pub(crate) rows: u32,
    /// Ascending.
    pub(crate) killed: Vec<u32>,
}

/// Length of the block that kills `count` of `rows` rows.
pub(crate) fn block_bytes(rows: u32, count: u32) -> u64 {
    let list = 4 * u64::from(count);
    HEADER_BYTES + if form(rows, count) == LIST { list } else { bitmap_bytes(rows) }
}

fn bitmap_bytes(rows: u32) -> u64 {
    u64::from(rows.div_ceil(8))
}

/// The shorter form; the list when equal.
fn form(rows: u32, count: u32) -> u32 {
    if 4 * u64::from(count) <= bitmap_bytes(rows) { LIST } else { BITMAP }
}

impl KillBlock {
    pub(crate) fn encode(&self) -> Vec<u8> {
        debug_assert!(self.killed.is_sorted_by(|left, right| left < right), "dead rows of segment {} do not ascend", self.segment);
        debug_assert!(self.killed.last().is_some_and(|&row| row < self.rows), "segment {} has {} rows", self.segment, self.rows);
        let count = self.killed.len() as u32;
        let form = form(self.rows, count);
        let mut out = Vec::with_capacity(block_bytes(self.rows, count) as usize);
        out.put_u64(self.segment);
        out.put_u32(self.rows);
        out.put_u32(form);
        out.put_u32(count);
        out.put_u32(0);
        if form == LIST {
            self.killed.iter().for_each(|&row| out.put_u32(row));
        } else {
            let mut bitmap = vec![0_u8; bitmap_bytes(self.rows) as usize];
            for &row in &self.killed {
                if let Some(byte) = bitmap.get_mut(row as usize / 8) {
                    *byte |= 1 << (row % 8);
                }
            }
            out.put(&bitmap);
        }
        out
    }

    /// Reads a whole block.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let (segment, rows, written_form, count) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u32()?);
        reader.zeros(4)?;
        if count == 0 || count > rows {
            return Err(Error::corruption(format!("{count} of {rows} rows cannot be dead")).at(16));
        }
        if written_form != form(rows, count) {
            return Err(Error::corruption(format!("form {written_form} is not that of {count} of {rows} rows")).at(12));
        }
        let killed = if written_form == LIST {
            read_list(&mut reader, rows, count)?
        } else {
            read_bitmap(reader.take(bitmap_bytes(rows) as usize)?, rows, count)?
        };
        reader.finish()?;
        Ok(Self { segment, rows, killed })
    }
}

fn read_list(reader: &mut Reader<'_>, rows: u32, count: u32) -> Result<Vec<u32>> {
    let at = reader.position();
    let mut list = Reader::new(reader.take(count as usize * 4)?);
    let killed = (0..count).map(|_| list.u32()).collect::<Result<Vec<u32>>>()?;
    if !killed.is_sorted_by(|left, right| left < right) || killed.last().is_some_and(|&row| row >= rows) {
        return Err(Error::corruption(format!("dead rows do not ascend below {rows}")).at(at));
    }
    Ok(killed)
}

fn read_bitmap(bitmap: &[u8], rows: u32, count: u32) -> Result<Vec<u32>> {
    let set: u64 = bitmap.iter().map(|byte| u64::from(byte.count_ones())).sum();
    if set != u64::from(count) {
        return Err(Error::corruption(format!("{set} rows are marked dead, not {count}")).at(16));
    }
    let mut killed = Vec::with_capacity(count as usize);
    for (&byte, first) in bitmap.iter().zip((0_u64..).step_by(8)) {
        let dead = (0..8_u64).filter(|bit| byte >> bit & 1 == 1).map(|bit| first + bit);
        for row in dead {
            if row >= u64::from(rows) {
                return Err(Error::corruption(format!("row {row} of {rows} is marked dead")).at(HEADER_BYTES + row / 8));
            }
            killed.push(row as u32);
        }
    }
    Ok(killed)
}

#[cfg(test)]
mod tests {
    use super::{KillBlock, block_bytes};
    use crate::format::testing::{cuts, flips, hex, patched};
    use proptest::prelude::*;

    const LIST: &str = "0700000000000000 40000000 00000000 02000000 00000000 030000003f000000";
    const BITMAP: &str = "0700000000000000 11000000 01000000 03000000 00000000 030001";

    #[test]
    fn golden() {
        for (text, rows, killed) in [(LIST, 64, vec![3, 63]), (BITMAP, 17, vec![0, 1, 16])] {
            let block = KillBlock { segment: 7, rows, killed };
            assert_eq!(block.encode(), hex(text));
            assert_eq!(KillBlock::decode(&hex(text)).unwrap(), block);
        }
    }

    #[test]
    fn list_is_used_when_equally_long() {
        assert_eq!((block_bytes(64, 2), block_bytes(64, 3), block_bytes(65, 2)), (32, 32, 32));
        let even = KillBlock { segment: 1, rows: 64, killed: vec![0, 1] }.encode();
        assert_eq!(even[12..16], [0; 4], "8 bytes each: a list");
        assert_eq!(KillBlock { segment: 1, rows: 64, killed: vec![0, 1, 2] }.encode()[12], 1);
    }

    /// The checksum stands in the manifest; what passes here is the one way to write what it says.
    #[test]
    fn damage_is_survived_and_nothing_is_read_leniently() {
        for text in [LIST, BITMAP] {
            let bytes = hex(text);
            for (index, damaged) in flips(&bytes) {
                if let Ok(block) = KillBlock::decode(&damaged) {
                    assert_eq!(block.encode(), damaged, "byte {index}");
                }
            }
            assert!(cuts(&bytes).all(|cut| KillBlock::decode(cut).is_err()));
            assert!(KillBlock::decode(&[bytes, vec![0]].concat()).is_err());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_offset() {
        let (list, bitmap) = (hex(LIST), hex(BITMAP));
        for (bytes, offset, patch, named) in [
            (&list, 24, &[63][..], 24),
            (&list, 28, &[64], 24),
            (&list, 16, &[0], 16),
            (&list, 20, &[1], 20),
            (&list, 12, &[1], 12),
            (&list, 12, &[2], 12),
            (&list, 8, &[1, 0, 0, 0], 16),
            // A hostile count: nothing is reserved for rows that cannot be there.
            (&bitmap, 8, &[0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF], 24),
            (&bitmap, 26, &[3], 16),
            (&bitmap, 26, &[2], 26),
        ] {
            let error = KillBlock::decode(&patched(bytes, offset, patch)).unwrap_err();
            assert_eq!(error.offset(), Some(named), "{offset}: {patch:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(segment: u64, rows in 1..3000_u32, share in 0.001..1.0, seed: u64) {
            let random = |row: u32| (u64::from(row) ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
            let mut killed: Vec<u32> = (0..rows).filter(|&row| (random(row) as f64) < share * (1_u64 << 24) as f64).collect();
            if killed.is_empty() {
                killed.push(rows - 1);
            }
            let block = KillBlock { segment, rows, killed };
            let bytes = block.encode();
            prop_assert_eq!(bytes.len() as u64, block_bytes(rows, block.killed.len() as u32));
            prop_assert_eq!(KillBlock::decode(&bytes).unwrap(), block);
        }

        #[test]
        fn whatever_is_accepted_is_canonical(bytes in prop::collection::vec(0..4_u8, 0..40)) {
            if let Ok(block) = KillBlock::decode(&bytes) {
                prop_assert_eq!(block.encode(), bytes);
            }
        }
    }
}
