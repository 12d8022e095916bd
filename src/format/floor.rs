//! FLOOR: the number of the newest manifest that anything was deleted or acknowledged on the strength of
//! (specification, section 5). Two slots of 4,096 bytes, generation g in slot g mod 2; each:
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 64 | identity header |
//! | 64 | 8 | generation |
//! | 72 | 8 | floor |
//! | 80 | 4 | CRC of bytes 0 to 79 |
//! | 84 | 4,012 | padding |

use super::identity::{FileKind, IDENTITY_BYTES, Identity};
use super::{Put, Reader, crc};
use crate::error::{Error, Result};
use crate::types::FileId;

/// Length of the file.
pub(crate) const FLOOR_BYTES: usize = 2 * SLOT_BYTES;
/// Length of one slot.
pub(crate) const SLOT_BYTES: usize = 4096;

const CHECKED_BYTES: usize = IDENTITY_BYTES + 16;

/// Content of one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Floor {
    pub(crate) database: FileId,
    pub(crate) generation: u64,
    /// 0 until the first manifest is durable.
    pub(crate) floor: u64,
}

/// What could be read, and what was damaged beside it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) floor: Floor,
    pub(crate) damages: Vec<Error>,
}

/// A new file: both slots valid with the same floor, generation 1 (or the one given) and the one before.
pub(crate) fn encode_file(floor: &Floor) -> Vec<u8> {
    let newer = Floor { generation: floor.generation.max(1), ..*floor };
    let older = Floor { generation: newer.generation - 1, ..*floor };
    let (even, odd) = if slot_offset(newer.generation) == 0 { (newer, older) } else { (older, newer) };
    let mut file = encode_slot(&even);
    file.append(&mut encode_slot(&odd));
    file
}

/// One whole slot, to be written at [`slot_offset`] of its generation.
pub(crate) fn encode_slot(floor: &Floor) -> Vec<u8> {
    let identity = Identity { kind: FileKind::Floor, database: floor.database, number: 0, file: FileId::default() };
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.put(&identity.encode());
    slot.put_u64(floor.generation);
    slot.put_u64(floor.floor);
    slot.put_u32(crc(&slot));
    slot.resize(SLOT_BYTES, 0);
    slot
}

/// Where the slot of a generation stands.
pub(crate) const fn slot_offset(generation: u64) -> u64 {
    generation % 2 * SLOT_BYTES as u64
}

/// Reads a whole FLOOR: the valid slot of the higher generation counts.
pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded> {
    let mut damages = Vec::new();
    let mut valid: Option<Floor> = None;
    for (offset, slot) in [0, SLOT_BYTES as u64].into_iter().zip(slots(bytes)) {
        let found = match decode_slot(slot, offset) {
            Ok((found, padding)) => {
                damages.extend(padding.map(|error| error.shifted(offset)));
                found
            }
            Err(error) => {
                damages.push(error.shifted(offset));
                continue;
            }
        };
        if let Some(other) = valid {
            check_pair(other, found)?;
        }
        valid = valid.into_iter().chain([found]).max_by_key(|slot| slot.generation);
    }
    if bytes.len() != FLOOR_BYTES {
        let message = format!("{} bytes long, not {FLOOR_BYTES}", bytes.len());
        damages.push(Error::corruption(message).at(bytes.len().min(FLOOR_BYTES) as u64));
    }
    match valid {
        Some(floor) => Ok(Decoded { floor, damages }),
        None => Err(first_error(damages)),
    }
}

/// The two slots, cut short or empty where the file is.
fn slots(bytes: &[u8]) -> [&[u8]; 2] {
    let (first, rest) = bytes.split_at(bytes.len().min(SLOT_BYTES));
    let (second, _) = rest.split_at(rest.len().min(SLOT_BYTES));
    [first, second]
}

fn decode_slot(slot: &[u8], offset: u64) -> Result<(Floor, Option<Error>)> {
    let database = Identity::decode(slot, FileKind::Floor)?.database;
    let mut reader = Reader::new(slot);
    let checked = reader.take(CHECKED_BYTES)?;
    if crc(checked) != reader.u32()? {
        return Err(Error::corruption("checksum of the slot does not match").at(CHECKED_BYTES as u64));
    }
    let mut fields = Reader::new(checked);
    fields.take(IDENTITY_BYTES)?;
    let floor = Floor { database, generation: fields.u64()?, floor: fields.u64()? };
    if slot_offset(floor.generation) != offset {
        return Err(Error::corruption(format!("generation {} stands in the wrong slot", floor.generation)).at(64));
    }
    if floor.generation.max(floor.floor) > u64::MAX - (1 << 32) {
        return Err(Error::corruption("a generation or floor beyond anything that was ever counted").at(64));
    }
    let len = reader.remaining();
    Ok((floor, reader.zeros(len).err()))
}

fn check_pair(first: Floor, second: Floor) -> Result<()> {
    if first.database != second.database {
        return Err(Error::corruption("the two slots belong to different databases").at(SLOT_BYTES as u64 + 16));
    }
    let (older, newer) = if first.generation < second.generation { (first, second) } else { (second, first) };
    if older.floor > newer.floor {
        let message = format!("floor {} of generation {} is above that of the next, {}", older.floor, older.generation, newer.floor);
        return Err(Error::corruption(message).at(slot_offset(newer.generation) + 72));
    }
    Ok(())
}

/// An error that tells to use another program goes before one that tells to repair.
fn first_error(damages: Vec<Error>) -> Error {
    use crate::error::ErrorKind::NewerFormat;
    let newer = damages.iter().find(|error| error.kind() == NewerFormat).cloned();
    newer.or_else(|| damages.into_iter().next()).unwrap_or_else(|| Error::corruption("no valid slot"))
}

#[cfg(test)]
mod tests {
    use super::{FLOOR_BYTES, Floor, SLOT_BYTES, decode, encode_file, encode_slot, slot_offset};
    use crate::error::ErrorKind;
    use crate::format::crc;
    use crate::format::testing::{cuts, flips, hex, patched};
    use crate::types::FileId;
    use proptest::prelude::*;

    fn floor(generation: u64, floor: u64) -> Floor {
        Floor { database: FileId(std::array::from_fn(|index| 0xD0 + index as u8)), generation, floor }
    }

    fn file(first: &Floor, second: &Floor) -> Vec<u8> {
        [encode_slot(first), encode_slot(second)].concat()
    }

    #[test]
    fn golden() {
        let expected = "56525654464c4f520100000000000000d0d1d2d3d4d5d6d7d8d9dadbdcdddedf0000000000000000
            0000000000000000000000000000000000000000400e164205000000000000000900000000000000b05dc36a";
        let slot = encode_slot(&floor(5, 9));
        assert_eq!(slot[..84].to_vec(), hex(expected));
        assert!(slot[84..].iter().all(|&byte| byte == 0));
        assert_eq!((slot.len(), slot_offset(5)), (SLOT_BYTES, 4096));
    }

    #[test]
    fn new_file_has_two_valid_slots() {
        for generation in [0, 1, 2, 7] {
            let decoded = decode(&encode_file(&floor(generation, 0))).unwrap();
            assert_eq!(decoded.floor, floor(generation.max(1), 0));
            assert!(decoded.damages.is_empty(), "{:?}", decoded.damages);
        }
    }

    #[test]
    fn one_damaged_byte_is_reported_and_costs_at_most_one_slot() {
        let bytes = file(&floor(4, 8), &floor(5, 9));
        for (index, damaged) in flips(&bytes) {
            let decoded = decode(&damaged).unwrap();
            assert!(!decoded.damages.is_empty(), "byte {index}");
            let expected = if (4096..4096 + 84).contains(&index) { floor(4, 8) } else { floor(5, 9) };
            assert_eq!(decoded.floor, expected, "byte {index}");
        }
    }

    #[test]
    fn every_cut_is_reported() {
        for cut in cuts(&file(&floor(4, 8), &floor(5, 9))) {
            match decode(cut) {
                Ok(decoded) => assert!(cut.len() >= 84 && !decoded.damages.is_empty(), "{}", cut.len()),
                Err(error) => assert!(cut.len() < 84, "{}: {error}", cut.len()),
            }
        }
        let long = [file(&floor(4, 8), &floor(5, 9)), vec![0]].concat();
        assert_eq!(decode(&long).unwrap().damages[0].offset(), Some(FLOOR_BYTES as u64));
    }

    #[test]
    fn two_damaged_slots_are_an_error() {
        let bytes = file(&floor(4, 8), &floor(5, 9));
        let damaged = patched(&patched(&bytes, 70, &[1]), 4096 + 70, &[1]);
        assert_eq!(decode(&damaged).unwrap_err().kind(), ErrorKind::Corruption);
    }

    #[test]
    fn slots_that_contradict_each_other_are_refused() {
        let other = Floor { database: FileId([1; 16]), ..floor(5, 9) };
        assert_eq!(decode(&file(&floor(4, 8), &other)).unwrap_err().offset(), Some(4096 + 16));
        let falls = |first, second| decode(&file(&first, &second)).unwrap_err().offset();
        assert_eq!(falls(floor(4, 10), floor(5, 9)), Some(4096 + 72), "floors never fall");
        assert_eq!(falls(floor(6, 8), floor(5, 9)), Some(72));
        let swapped = decode(&file(&floor(5, 9), &floor(4, 8)));
        assert_eq!(swapped.unwrap_err().offset(), Some(64));
    }

    #[test]
    fn what_was_never_counted_is_refused() {
        let most = u64::MAX - (1 << 32);
        assert_eq!(most % 2, 1);
        assert_eq!(decode(&file(&floor(most - 1, most), &floor(most, most))).unwrap().floor, floor(most, most));
        for beyond in [floor(most + 2, most), floor(most, most + 1)] {
            let decoded = decode(&file(&floor(most - 1, most), &beyond)).unwrap();
            assert_eq!(decoded.floor, floor(most - 1, most));
            assert_eq!(decoded.damages[0].offset(), Some(4096 + 64), "{beyond:?}");
        }
    }

    #[test]
    fn newer_version_beside_damage_is_named() {
        let mut newer = patched(&encode_slot(&floor(5, 9)), 8, &[2]);
        newer = patched(&newer, 60, &crc(&newer[..60]).to_le_bytes());
        let bytes = [vec![0; SLOT_BYTES], newer].concat();
        assert_eq!(decode(&bytes).unwrap_err().kind(), ErrorKind::NewerFormat);
    }

    proptest! {
        #[test]
        fn newer_slot_counts(generation in 0..u64::MAX, low: u64, high: u64) {
            let (older, newer) = (floor(generation, low.min(high)), floor(generation + 1, low.max(high)));
            let bytes = if generation % 2 == 0 { file(&older, &newer) } else { file(&newer, &older) };
            let decoded = decode(&bytes).unwrap();
            prop_assert_eq!(decoded.floor, newer);
            prop_assert!(decoded.damages.is_empty());
        }
    }
}
