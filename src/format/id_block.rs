//! Id blocks: up to 16 ascending ids, each without the bytes that it shares with the one before it.
//!
//! Searching never rebuilds an id: it carries how many leading bytes of the target the current id has.

use std::cmp::Ordering;

use crate::error::{Error, Result};
use crate::types::ID_BYTES_MAX;

/// Ids of a full block.
pub(crate) const IDS_PER_BLOCK: u32 = 16;

const ENTRY_HEADER_BYTES: usize = 4;

/// Appends one id behind `previous`, the id before it in its block (empty for the first).
pub(crate) fn append(block: &mut Vec<u8>, previous: &[u8], id: &[u8]) {
    debug_assert!(previous < id && id.len() <= ID_BYTES_MAX, "ids ascend and are checked");
    let shared = common_prefix(previous, id);
    let rest = id.get(shared..).unwrap_or_default();
    block.extend_from_slice(&(shared as u16).to_le_bytes());
    block.extend_from_slice(&(rest.len() as u16).to_le_bytes());
    block.extend_from_slice(rest);
}

/// One stored id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    /// Leading bytes that it takes from the id before it.
    pub(crate) shared: usize,
    /// The bytes behind them.
    pub(crate) rest: &'a [u8],
}

impl Entry<'_> {
    /// Turns the id before this one into this one.
    pub(crate) fn apply(&self, id: &mut Vec<u8>) {
        id.truncate(self.shared);
        id.extend_from_slice(self.rest);
    }
}

/// Walks a block from a place where an entry begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entries<'a> {
    block: &'a [u8],
    at: usize,
    previous_len: usize,
}

impl<'a> Entries<'a> {
    /// From the first id on.
    pub(crate) fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0, previous_len: 0 }
    }

    /// From the entry at offset `at` on, behind an id of `previous_len` bytes.
    pub(crate) fn resume(block: &'a [u8], at: usize, previous_len: usize) -> Self {
        Self { block, at, previous_len }
    }

    /// Offset of the entry that comes next.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Whether every byte was used.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.block.len()
    }

    /// The next entry; a block that ends here is damaged, because the row count promised one.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Entry<'a>> {
        let at = self.at;
        self.step().map_err(|what| damaged(what, at))
    }

    #[inline]
    fn step(&mut self) -> std::result::Result<Entry<'a>, &'static str> {
        let tail = self.block.get(self.at..).unwrap_or_default();
        let (header, tail) = tail.split_first_chunk::<ENTRY_HEADER_BYTES>().ok_or("ends before its last id")?;
        // Two 16-bit integers in one load.
        let header = u32::from_le_bytes(*header);
        let (shared, rest_len) = ((header & 0xFFFF) as usize, (header >> 16) as usize);
        let rest = tail.get(..rest_len).ok_or("an id reaches beyond it")?;
        if shared > self.previous_len {
            return Err("an id shares more bytes than the one before it has");
        }
        if rest.is_empty() || shared + rest_len > ID_BYTES_MAX {
            return Err("an id has an impossible length");
        }
        self.at += ENTRY_HEADER_BYTES + rest_len;
        self.previous_len = shared + rest_len;
        Ok(Entry { shared, rest })
    }
}

#[cold]
fn damaged(what: &str, at: usize) -> Error {
    Error::corruption(format!("id block: {what}")).at(at as u64)
}

/// The first id of a block, in place.
pub(crate) fn first(block: &[u8]) -> Result<&[u8]> {
    Ok(Entries::new(block).next()?.rest)
}

/// Writes id `index` of a block into `id`.
pub(crate) fn get(block: &[u8], index: u32, id: &mut Vec<u8>) -> Result<()> {
    let mut entries = Entries::new(block);
    id.clear();
    for _ in 0..=index {
        entries.next()?.apply(id);
    }
    Ok(())
}

/// Whether id `index` of a block is `target`. Allocates nothing, and trusts neither order nor longest prefixes.
pub(crate) fn matches(block: &[u8], index: u32, target: &[u8]) -> Result<bool> {
    let mut entries = Entries::new(block);
    let mut common = 0;
    for _ in 0..=index {
        common = common_with(target, common, entries.next()?);
    }
    Ok(common == target.len() && entries.previous_len == common)
}

/// The first of the `count` ids of a block that is at least `target`; `count` if there is none.
pub(crate) fn lower_bound(block: &[u8], count: u32, target: &[u8]) -> Result<u32> {
    let mut entries = Entries::new(block);
    let mut common = 0;
    for index in 0..count {
        let entry = entries.next()?;
        if entry.shared > common {
            // It has the byte in which the id before it was smaller than the target.
            continue;
        }
        common = common_with(target, common, entry);
        let own = entry.rest.get(common - entry.shared..).and_then(<[u8]>::first);
        if own.cmp(&target.get(common)) != Ordering::Less {
            return Ok(index);
        }
    }
    Ok(count)
}

/// How many leading bytes of `target` an entry has, if the id before it has `common` of them.
fn common_with(target: &[u8], common: usize, entry: Entry<'_>) -> usize {
    if entry.shared > common {
        return common;
    }
    entry.shared + common_prefix(entry.rest, target.get(entry.shared..).unwrap_or_default())
}

/// Length of the longest common prefix.
#[inline]
pub(crate) fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words, _) = a.as_chunks::<8>();
    let mut common = 0;
    for (x, y) in words.iter().zip(b.as_chunks::<8>().0) {
        let different = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if different != 0 {
            return common + different.trailing_zeros() as usize / 8;
        }
        common += 8;
    }
    let rest = a.iter().zip(b).skip(common);
    common + rest.take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Entries, IDS_PER_BLOCK, append, common_prefix, first, get, lower_bound, matches};

    #[test]
    fn a_common_prefix_ends_at_the_first_difference() {
        let id: Vec<u8> = (1..=40).collect();
        for length in 0..=id.len() {
            assert_eq!(common_prefix(&id, &id[..length]), length);
            assert_eq!(common_prefix(&id[..length], &id), length);
            let mut other = id.clone();
            if let Some(byte) = other.get_mut(length) {
                *byte ^= 0x80;
            }
            assert_eq!(common_prefix(&id, &other), length);
        }
    }

    fn encode(ids: &[Vec<u8>]) -> Vec<u8> {
        let mut block = Vec::new();
        let mut previous: &[u8] = &[];
        for id in ids {
            append(&mut block, previous, id);
            previous = id;
        }
        block
    }

    #[test]
    fn bytes_are_those_of_the_specification() {
        let block = encode(&[b"ab".to_vec(), b"abc".to_vec(), b"b".to_vec()]);
        assert_eq!(block, [0, 0, 2, 0, b'a', b'b', 2, 0, 1, 0, b'c', 0, 0, 1, 0, b'b']);
    }

    #[test]
    fn longest_ids_with_longest_prefixes_round_trip() {
        let low = vec![0xFF; 65_534];
        let mut high = low.clone();
        high.push(0xFF);
        let block = encode(&[low.clone(), high.clone()]);
        let mut id = Vec::new();
        get(&block, 1, &mut id).unwrap();
        assert_eq!(id, high);
        assert!(matches(&block, 1, &high).unwrap() && !matches(&block, 0, &high).unwrap() && !matches(&block, 1, &low).unwrap());
    }

    #[test]
    fn an_id_beyond_the_limit_of_lengths_that_fit_is_an_error() {
        let mut block = encode(&[vec![7; 65_535]]);
        block.extend([0xFF, 0xFF, 1, 0, 7]);
        assert!(get(&block, 0, &mut Vec::new()).is_ok());
        assert_eq!(get(&block, 1, &mut Vec::new()).unwrap_err().offset(), Some(4 + 65_535));
    }

    #[test]
    fn senseless_entries_are_errors() {
        for (bad, why) in [
            (&[][..], "empty"),
            (&[0, 0, 1][..], "short header"),
            (&[0, 0, 2, 0, 7][..], "rest beyond the block"),
            (&[1, 0, 1, 0, 7][..], "first id shares"),
            (&[0, 0, 0, 0][..], "empty id"),
            (&[0, 0, 1, 0, 7, 2, 0, 1, 0, 7][..], "shares more than there is"),
            (&[0, 0, 1, 0, 7, 1, 0, 0, 0][..], "equal ids"),
        ] {
            assert!(get(bad, 1, &mut Vec::new()).is_err(), "{why}");
            assert!(matches(bad, 1, b"x").is_err(), "{why}");
        }
    }

    proptest! {
        #[test]
        fn search_agrees_with_a_sorted_list(
            ids in prop::collection::btree_set(prop::collection::vec(prop::sample::select(vec![0u8, 1, 97, 255]), 1..9), 1..=IDS_PER_BLOCK as usize),
            probe in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 97, 255]), 0..10),
        ) {
            let ids: Vec<Vec<u8>> = ids.into_iter().collect();
            let block = encode(&ids);
            let count = ids.len() as u32;
            prop_assert_eq!(first(&block).unwrap(), &ids[0][..]);
            let mut entries = Entries::new(&block);
            let mut walked = Vec::new();
            for (index, id) in ids.iter().enumerate() {
                prop_assert_eq!(entries.at(), encode(&ids[..index]).len());
                prop_assert!(!entries.is_at_end());
                entries.next().unwrap().apply(&mut walked);
                prop_assert_eq!(&walked, id);
                let mut got = Vec::new();
                get(&block, index as u32, &mut got).unwrap();
                prop_assert_eq!(&got, id);
                prop_assert_eq!(lower_bound(&block, count, id).unwrap(), index as u32);
                prop_assert_eq!(matches(&block, index as u32, &probe).unwrap(), *id == probe);
            }
            prop_assert!(entries.is_at_end() && entries.next().is_err());
            prop_assert_eq!(lower_bound(&block, count, &probe).unwrap() as usize, ids.partition_point(|id| *id < probe));
        }

        #[test]
        fn any_bytes_are_read_without_harm(block in prop::collection::vec(any::<u8>(), 0..80), index in 0u32..20, id in prop::collection::vec(any::<u8>(), 0..6)) {
            let _ = (get(&block, index, &mut Vec::new()), lower_bound(&block, index, &id));
            if let Ok(true) = matches(&block, index, &id) {
                let mut same = Vec::new();
                get(&block, index, &mut same).unwrap();
                prop_assert_eq!(same, id);
            }
        }
    }
}
