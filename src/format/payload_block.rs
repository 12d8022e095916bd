//! Payload blocks: the payloads of consecutive rows, compressed together, and the index that finds them.

use crate::error::{Error, Result};

/// A block ends with the first entry that makes it at least this long before compression.
pub(crate) const PLAIN_BYTES: usize = 16 << 10;
/// Bytes of an index entry.
pub(crate) const INDEX_ENTRY_BYTES: usize = 24;

const ENTRY_HEADER_BYTES: usize = 8;
const COMPRESSED: u32 = 1 << 31;
/// LZ4 spends at least one byte per 255 bytes of a match.
const RATIO_MAX: u64 = 255;

/// Where a payload block stands and how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) first_row: u32,
    /// In the section of payload blocks.
    pub(crate) offset: u64,
    pub(crate) stored_len: u32,
    pub(crate) plain_len: u32,
    pub(crate) is_compressed: bool,
}

impl IndexEntry {
    pub(crate) fn encode(&self, index: &mut Vec<u8>) {
        let plain = self.plain_len | if self.is_compressed { COMPRESSED } else { 0 };
        index.extend_from_slice(&self.first_row.to_le_bytes());
        index.extend_from_slice(&[0; 4]);
        index.extend_from_slice(&self.offset.to_le_bytes());
        index.extend_from_slice(&self.stored_len.to_le_bytes());
        index.extend_from_slice(&plain.to_le_bytes());
    }

    pub(crate) fn decode(bytes: &[u8; INDEX_ENTRY_BYTES]) -> Result<Self> {
        let (words, _) = bytes.as_chunks::<4>();
        let &[row, reserved, low, high, stored, plain] = words else {
            return Err(Error::corruption("payload index: entry cut short"));
        };
        let [stored_len, plain] = [stored, plain].map(u32::from_le_bytes);
        let entry = Self {
            first_row: u32::from_le_bytes(row),
            offset: u64::from(u32::from_le_bytes(low)) | u64::from(u32::from_le_bytes(high)) << 32,
            stored_len,
            plain_len: plain & !COMPRESSED,
            is_compressed: plain & COMPRESSED != 0,
        };
        let possible = if entry.is_compressed {
            stored_len < entry.plain_len && u64::from(entry.plain_len) <= u64::from(stored_len) * RATIO_MAX
        } else {
            stored_len == entry.plain_len
        };
        if reserved != [0; 4] || !possible || entry.plain_len as usize <= ENTRY_HEADER_BYTES {
            return Err(Error::corruption("payload index: entry with senseless lengths"));
        }
        Ok(entry)
    }
}

/// Appends the payload of a row to a plain block.
pub(crate) fn append(plain: &mut Vec<u8>, row: u32, payload: &[u8]) {
    plain.extend_from_slice(&row.to_le_bytes());
    plain.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    plain.extend_from_slice(payload);
}

/// Appends a plain block to the section, compressed if that is shorter, and tells where it stands.
pub(crate) fn store(section: &mut Vec<u8>, plain: &[u8]) -> IndexEntry {
    let offset = section.len() as u64;
    let compressed = lz4_flex::block::compress(plain);
    let is_compressed = compressed.len() < plain.len();
    let stored = if is_compressed { &compressed } else { plain };
    section.extend_from_slice(stored);
    let first_row = plain.first_chunk().map_or(0, |row| u32::from_le_bytes(*row));
    IndexEntry { first_row, offset, stored_len: stored.len() as u32, plain_len: plain.len() as u32, is_compressed }
}

/// The plain block behind an index entry.
pub(crate) fn load(entry: &IndexEntry, stored: &[u8]) -> Result<Vec<u8>> {
    if !entry.is_compressed {
        return Ok(stored.to_vec());
    }
    let mut plain = vec![0; entry.plain_len as usize];
    match lz4_flex::block::decompress_into(stored, &mut plain) {
        Ok(len) if len == plain.len() => Ok(plain),
        Ok(len) => Err(Error::corruption(format!("payload block: {len} bytes instead of {} after decompression", plain.len()))),
        Err(error) => Err(Error::corruption(format!("payload block: {error}"))),
    }
}

/// Row, payload, and the entries that follow.
pub(crate) type FirstAndRest<'a> = (u32, &'a [u8], &'a [u8]);

/// Takes the first entry off a plain block; `None` at the end.
pub(crate) fn split_first(plain: &[u8]) -> Result<Option<FirstAndRest<'_>>> {
    if plain.is_empty() {
        return Ok(None);
    }
    let cut = || Error::corruption("payload block: an entry reaches beyond it");
    let (&[r0, r1, r2, r3, l0, l1, l2, l3], tail) = plain.split_first_chunk::<ENTRY_HEADER_BYTES>().ok_or_else(cut)?;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let (payload, rest) = tail.split_at_checked(len).ok_or_else(cut)?;
    Ok(Some((u32::from_le_bytes([r0, r1, r2, r3]), payload, rest)))
}

/// The payload of a row, if it has one.
pub(crate) fn find(mut plain: &[u8], row: u32) -> Result<Option<&[u8]>> {
    while let Some((own, payload, rest)) = split_first(plain)? {
        if own >= row {
            return Ok((own == row).then_some(payload));
        }
        plain = rest;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{IndexEntry, PLAIN_BYTES, append, find, load, split_first, store};

    fn index_bytes(entry: &IndexEntry) -> [u8; 24] {
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        bytes.try_into().unwrap()
    }

    #[test]
    fn incompressible_blocks_are_stored_plain() {
        let mut plain = Vec::new();
        append(&mut plain, 3, &[1, 2]);
        assert_eq!(plain, [3, 0, 0, 0, 2, 0, 0, 0, 1, 2]);
        let mut section = vec![9; 5];
        let entry = store(&mut section, &plain);
        assert_eq!(entry, IndexEntry { first_row: 3, offset: 5, stored_len: 10, plain_len: 10, is_compressed: false });
        assert_eq!(section[5..], plain);
        assert_eq!(index_bytes(&entry), [3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 10, 0, 0, 0, 10, 0, 0, 0]);
    }

    #[test]
    fn best_compression_stays_within_the_checked_ratio() {
        let mut plain = Vec::new();
        append(&mut plain, 0, &vec![0; 8 << 20]);
        let mut section = Vec::new();
        let entry = store(&mut section, &plain);
        assert!(entry.is_compressed);
        assert_eq!(IndexEntry::decode(&index_bytes(&entry)).unwrap(), entry);
        assert_eq!(load(&entry, &section).unwrap(), plain);
    }

    #[test]
    fn an_index_entry_is_what_the_specification_says() {
        let entry = IndexEntry { first_row: 3, offset: 0x0000_0005_0000_0003, stored_len: 9, plain_len: 20, is_compressed: true };
        let bytes = index_bytes(&entry);
        assert_eq!(bytes, [3, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 20, 0, 0, 0x80]);
        assert_eq!(IndexEntry::decode(&bytes).unwrap(), entry);
        assert_eq!(PLAIN_BYTES, 16_384);
    }

    #[test]
    fn a_block_that_compression_leaves_as_long_is_stored_plain() {
        let noise: Vec<u8> = (0..1200_u32).map(|index| (index.wrapping_mul(0x9E37_79B9) >> 24) as u8).collect();
        let candidates = (0..noise.len()).flat_map(|len| (0..32).map(move |zeros| (len, zeros)));
        let mut blocks = candidates.map(|(len, zeros)| [&noise[..len], &vec![0; zeros]].concat());
        let plain = blocks.find(|plain| lz4_flex::block::compress(plain).len() == plain.len());
        let plain = plain.expect("some number of zeros saves just what the noise costs");
        let entry = store(&mut Vec::new(), &plain);
        assert_eq!((entry.is_compressed, entry.stored_len), (false, entry.plain_len));
    }

    #[test]
    fn a_block_of_another_length_after_decompression_is_an_error() {
        let mut plain = Vec::new();
        append(&mut plain, 0, &[7; 500]);
        let mut section = Vec::new();
        let entry = store(&mut section, &plain);
        assert!(entry.is_compressed);
        let longer = IndexEntry { plain_len: entry.plain_len + 1, ..entry };
        assert!(load(&longer, &section).unwrap_err().to_string().contains("instead of"));
    }

    #[test]
    fn senseless_lengths_are_errors_before_anything_is_allocated() {
        let good = IndexEntry { first_row: 0, offset: 0, stored_len: 10, plain_len: 20, is_compressed: true };
        for bad in [
            IndexEntry { plain_len: u32::MAX >> 1, ..good },
            IndexEntry { plain_len: 10, ..good },
            IndexEntry { plain_len: 8, stored_len: 8, is_compressed: false, ..good },
            IndexEntry { is_compressed: false, ..good },
        ] {
            assert!(IndexEntry::decode(&index_bytes(&bad)).is_err(), "{bad:?}");
        }
        let mut reserved = index_bytes(&good);
        assert!(IndexEntry::decode(&reserved).is_ok());
        reserved[5] = 1;
        assert!(IndexEntry::decode(&reserved).is_err());
    }

    proptest! {
        #[test]
        fn payloads_are_found_by_row(payloads in prop::collection::btree_map(0u32..40, prop::collection::vec(0u8..4, 1..300), 1..12)) {
            let mut plain = Vec::new();
            payloads.iter().for_each(|(&row, payload)| append(&mut plain, row, payload));
            let mut section = Vec::new();
            let entry = store(&mut section, &plain);
            let back = load(&entry, &section).unwrap();
            for row in 0..41 {
                prop_assert_eq!(find(&back, row).unwrap(), payloads.get(&row).map(Vec::as_slice));
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(stored in prop::collection::vec(any::<u8>(), 0..60), plain_len in 0u32..5000, row in 0u32..4) {
            let entry = IndexEntry { first_row: 0, offset: 0, stored_len: stored.len() as u32, plain_len, is_compressed: true };
            let _ = load(&entry, &stored);
            let _ = (find(&stored, row), split_first(&stored));
        }
    }
}
