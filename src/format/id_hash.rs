//! The id hash: buckets of one cache line that map a fingerprint of an id to its row.

use xxhash_rust::xxh64::xxh64;

use crate::error::{Error, Result};

/// Bytes of a bucket: one cache line.
pub(crate) const BUCKET_BYTES: usize = 64;

const SLOTS: usize = 10;
const ROWS_PER_BUCKET: u32 = 7;

/// Hash of an id; the seed of the segment keeps hostile ids from colliding on purpose.
pub(crate) fn hash(id: &[u8], seed: u64) -> u64 {
    xxh64(id, seed)
}

/// Buckets of a segment.
pub(crate) fn bucket_count(rows: u32) -> u32 {
    rows.div_ceil(ROWS_PER_BUCKET).max(1)
}

/// The bucket where the search for a hash begins.
pub(crate) fn home(hash: u64, buckets: u32) -> u32 {
    (((hash & 0xFFFF_FFFF) * u64::from(buckets)) >> 32) as u32
}

/// The bucket behind another, cyclically.
pub(crate) fn following(bucket: u32, buckets: u32) -> u32 {
    if bucket + 1 < buckets { bucket + 1 } else { 0 }
}

fn fingerprint(hash: u64) -> u16 {
    (hash >> 48) as u16
}

/// The whole section; `hashes` are those of the rows in ascending order of the rows.
pub(crate) fn encode(hashes: &[u64]) -> Vec<u8> {
    let buckets = bucket_count(hashes.len() as u32);
    let mut table = vec![Filling::default(); buckets as usize];
    for (row, &hash) in hashes.iter().enumerate() {
        let mut at = home(hash, buckets);
        // Ends: 10 slots for every 7 rows.
        while let Some(bucket) = table.get_mut(at as usize) {
            if bucket.push(fingerprint(hash), row as u32) {
                break;
            }
            at = following(at, buckets);
        }
    }
    table.iter().flat_map(Filling::encode).collect()
}

/// A bucket being filled.
#[derive(Clone, Default)]
struct Filling {
    fingerprints: [u16; SLOTS],
    rows: [u32; SLOTS],
    count: u8,
    overflowed: bool,
}

impl Filling {
    /// Adds an entry, or notes that it goes on to a later bucket.
    fn push(&mut self, fingerprint: u16, row: u32) -> bool {
        let slot = usize::from(self.count);
        let (Some(own), Some(target)) = (self.fingerprints.get_mut(slot), self.rows.get_mut(slot)) else {
            self.overflowed = true;
            return false;
        };
        (*own, *target) = (fingerprint, row);
        self.count += 1;
        true
    }

    fn encode(&self) -> [u8; BUCKET_BYTES] {
        let tail = [self.count, u8::from(self.overflowed), 0, 0];
        let bytes = self.fingerprints.iter().flat_map(|value| value.to_le_bytes());
        let bytes = bytes.chain(self.rows.iter().flat_map(|value| value.to_le_bytes())).chain(tail);
        let mut out = [0; BUCKET_BYTES];
        out.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        out
    }
}

/// A stored bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket<'a> {
    bytes: &'a [u8; BUCKET_BYTES],
}

impl<'a> Bucket<'a> {
    /// Reads one bucket.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self> {
        let bytes = bytes.first_chunk().ok_or_else(|| Error::corruption("id hash: bucket cut short"))?;
        if usize::from(bytes[60]) > SLOTS || bytes[61] > 1 || bytes[62] != 0 || bytes[63] != 0 {
            return Err(Error::corruption("id hash: bucket with senseless counts"));
        }
        Ok(Self { bytes })
    }

    /// Rows whose ids may have this hash.
    #[inline]
    pub(crate) fn candidates(self, hash: u64) -> impl Iterator<Item = u32> + 'a {
        let wanted = fingerprint(hash).to_le_bytes();
        let (fingerprints, rows) = self.bytes.split_at(2 * SLOTS);
        let slots = fingerprints.as_chunks::<2>().0.iter().zip(rows.as_chunks::<4>().0);
        slots.take(self.count()).filter(move |(own, _)| **own == wanted).map(|(_, row)| u32::from_le_bytes(*row))
    }

    /// Number of entries.
    pub(crate) fn count(self) -> usize {
        usize::from(self.bytes[60])
    }

    /// Whether the search goes on in the following bucket.
    #[inline]
    pub(crate) fn overflowed(self) -> bool {
        self.bytes[61] == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BUCKET_BYTES, Bucket, bucket_count, encode, following, hash, home};

    /// All rows that a look-up would compare, and the buckets it read.
    fn look_up(table: &[u8], hash: u64) -> (Vec<u32>, usize) {
        let buckets = (table.len() / BUCKET_BYTES) as u32;
        let (mut rows, mut at) = (Vec::new(), home(hash, buckets));
        for steps in 1..=buckets as usize {
            let bucket = Bucket::decode(&table[at as usize * BUCKET_BYTES..]).unwrap();
            rows.extend(bucket.candidates(hash));
            if !bucket.overflowed() {
                return (rows, steps);
            }
            at = following(at, buckets);
        }
        (rows, buckets as usize)
    }

    #[test]
    fn layout_is_that_of_the_specification() {
        let table = encode(&[0xABCD_0000_0000_0000, 0x1234_0000_FFFF_FFFF]);
        assert_eq!(table.len(), 64);
        assert_eq!(table[..4], [0xCD, 0xAB, 0x34, 0x12]);
        assert_eq!(table[20..28], [0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(table[60..], [2, 0, 0, 0]);
        assert_eq!(hash(b"", 0), 0xEF46_DB37_51D8_E999, "XXH64's own test vector");
    }

    #[test]
    fn equal_hashes_overflow_cyclically_and_are_all_found() {
        // 35 rows in 5 buckets, all at home in the last one: they go round.
        let same = 0x7777_0000_FFFF_FFFF;
        let table = encode(&[same; 35]);
        let (rows, steps) = look_up(&table, same);
        assert_eq!((rows, steps), ((0..35).collect(), 4));
        let flags: Vec<u8> = table.chunks(64).map(|bucket| bucket[61]).collect();
        assert_eq!(flags, [1, 1, 0, 0, 1]);
        assert_eq!(look_up(&table, 0x7777_0000_8000_0000).1, 1, "a search that starts behind the chain ends at once");
    }

    #[test]
    fn senseless_buckets_are_errors() {
        for (offset, value) in [(60, 11), (61, 2), (62, 1), (63, 1)] {
            let mut bucket = [0; 64];
            bucket[offset] = value;
            assert!(Bucket::decode(&bucket).is_err(), "{offset}");
        }
        assert!(Bucket::decode(&[0; 63]).is_err());
    }

    proptest! {
        #[test]
        fn every_row_is_a_candidate_of_its_hash(hashes in prop::collection::vec(prop_oneof![any::<u64>(), 0u64..3, Just(u64::MAX)], 1..200)) {
            let table = encode(&hashes);
            prop_assert_eq!(table.len() as u32, bucket_count(hashes.len() as u32) * 64);
            for (row, &hash) in hashes.iter().enumerate() {
                prop_assert!(look_up(&table, hash).0.contains(&(row as u32)));
            }
        }
    }
}
