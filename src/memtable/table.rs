use std::{collections::BTreeMap, ops::Bound};

use hashbrown::HashTable;

use super::{arena::Span, row::MemRow};
use crate::{
    sync::{Arc, AtomicUsize, OnceLock, Ordering, RwLock},
    types::{Death, Sequence, sort_by_id},
};

/// Ids looked at between two releases of the lock, however few of them are visible.
const STEP: usize = 256;
/// Places of a block of the arrival order; the first ones are smaller.
const BLOCK_MAX: usize = 1024;
/// Those of which shares take turns.
const TURN: usize = 64;

/// The versions of one collection.
pub(super) struct Table {
    inner: RwLock<Inner>,
    rows: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    /// By id, into `ids`.
    index: HashTable<Slot>,
    /// Every id with its versions, in the order of its arrival.
    ids: Vec<Versions>,
    /// Ids in their order: the first of `ids`, as far as an ordered read has asked for it. A load that is only looked up never pays for it.
    ordered: BTreeMap<Key, u32>,
    /// Puts in the order of their arrival, for scans: blocks never move, so a scan needs the lock only to learn of them.
    arrivals: Vec<Arc<Block>>,
    /// Places taken in the last block.
    filled: usize,
}

/// The whole hash is kept, so that growing touches no id, and a look-up hardly one that it does not want.
struct Slot {
    hash: u64,
    at: u32,
}

type Block = [OnceLock<MemRow>];

/// An id.
struct Key(Span);

/// The versions of one id, by ascending sequence (equal ones in the order of their writing). Not a linked list: dropping one that is a
/// million long would overflow the stack.
struct Versions {
    older: Vec<MemRow>,
    newest: MemRow,
}

impl Versions {
    /// What a reader at this sequence has to look at.
    fn at(&self, at: Sequence) -> Option<&MemRow> {
        if self.newest.sequence() <= at {
            return Some(&self.newest);
        }
        self.older.partition_point(|version| version.sequence() <= at).checked_sub(1).and_then(|position| self.older.get(position))
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self { inner: RwLock::default(), rows: AtomicUsize::new(0) }
    }

    /// Adds a version, which supersedes what the id had. Here and below an id comes with its hash, always by the same hasher.
    pub(super) fn add(&self, hash: u64, row: &MemRow) {
        let mut inner = self.inner.write();
        match inner.place(hash, row.id()) {
            None => inner.insert(hash, row),
            Some(at) => {
                if let Some(versions) = inner.ids.get_mut(at) {
                    debug_assert!(versions.newest.sequence() <= row.sequence(), "sequences of an id must not fall");
                    versions.newest.kill(Death { at: row.sequence(), deleted: row.is_tombstone() });
                    versions.older.push(std::mem::replace(&mut versions.newest, row.clone()));
                }
            }
        }
        if !row.is_tombstone() {
            inner.arrive(row);
            self.rows.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The hashes of all ids.
    pub(super) fn hashes(&self) -> Vec<u64> {
        self.inner.read().index.iter().map(|slot| slot.hash).collect()
    }

    pub(super) fn kill(&self, hash: u64, id: &[u8], death: Death) -> bool {
        self.inner.read().versions(hash, id).is_some_and(|versions| versions.newest.kill(death))
    }

    /// The newest version that a reader at this sequence has to look at, visible or not.
    pub(super) fn get(&self, hash: u64, id: &[u8], at: Sequence) -> Option<MemRow> {
        self.inner.read().versions(hash, id)?.at(at).cloned()
    }

    /// See [`super::Memtable::page`].
    pub(super) fn page(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), reverse: bool, at: Sequence, limit: usize) -> Vec<MemRow> {
        self.put_in_order();
        let mut rows = Vec::new();
        let mut last: Option<Span> = None;
        loop {
            let rest = match last.as_deref() {
                None => bounds,
                Some(last) if reverse => (bounds.0, Bound::Excluded(last)),
                Some(last) => (Bound::Excluded(last), bounds.1),
            };
            if rows.len() >= limit || is_empty(rest) {
                return rows;
            }
            let inner = self.inner.read();
            let entries = inner.ordered.range::<[u8], _>(rest).filter_map(|(key, at)| Some((key, inner.ids.get(*at as usize)?)));
            let stopped_at = if reverse { take(entries.rev(), at, limit, &mut rows) } else { take(entries, at, limit, &mut rows) };
            drop(inner);
            match stopped_at {
                Some(id) => last = Some(id),
                None => return rows,
            }
        }
    }

    /// Brings the order up to date. Every id that a reader can see is in `ids` before the reader begins.
    fn put_in_order(&self) {
        let is_behind = |inner: &Inner| inner.ordered.len() < inner.ids.len();
        while is_behind(&self.inner.read()) {
            self.inner.write().put_in_order();
        }
    }

    /// Every id's newest version, by ascending id.
    pub(super) fn newest(&self) -> Vec<MemRow> {
        let rows = self.inner.read().ids.iter().map(|versions| versions.newest.clone()).collect();
        sort_by_id(rows, MemRow::id, |_, _| std::cmp::Ordering::Equal)
    }

    /// Visits what is visible of a share, in the order of arrival. Shares take turns, a few rows each.
    pub(super) fn scan(&self, at: Sequence, (share, shares): (usize, usize), visit: impl FnMut(&MemRow)) {
        let blocks = self.inner.read().arrivals.clone();
        let turns = blocks.iter().flat_map(|block| block.chunks(TURN)).skip(share).step_by(shares.max(1));
        turns.flat_map(|turn| turn.iter().map_while(OnceLock::get)).filter(|row| row.is_visible(at)).for_each(visit);
    }
}

impl Inner {
    fn place(&self, hash: u64, id: &[u8]) -> Option<usize> {
        let is_it = |slot: &Slot| slot.hash == hash && self.ids.get(slot.at as usize).is_some_and(|versions| versions.newest.id() == id);
        self.index.find(hash, is_it).map(|slot| slot.at as usize)
    }

    fn versions(&self, hash: u64, id: &[u8]) -> Option<&Versions> {
        self.ids.get(self.place(hash, id)?)
    }

    fn insert(&mut self, hash: u64, row: &MemRow) {
        // A memtable is frozen long before it has four billion ids.
        let at = self.ids.len() as u32;
        self.index.insert_unique(hash, Slot { hash, at }, |slot| slot.hash);
        self.ids.push(Versions { older: Vec::new(), newest: row.clone() });
    }

    /// The next ids, not so many that the lock is held for long.
    fn put_in_order(&mut self) {
        let first = self.ordered.len();
        for (versions, at) in self.ids.iter().skip(first).zip(first as u32..).take(STEP) {
            self.ordered.insert(Key(versions.newest.id_span()), at);
        }
    }

    fn arrive(&mut self, row: &MemRow) {
        if self.arrivals.last().is_none_or(|block| self.filled >= block.len()) {
            let places = self.arrivals.last().map_or(16, |block| (block.len() * 2).min(BLOCK_MAX));
            self.arrivals.push((0..places).map(|_| OnceLock::new()).collect());
            self.filled = 0;
        }
        if let Some(place) = self.arrivals.last().and_then(|block| block.get(self.filled)) {
            let free = place.set(row.clone()).is_ok();
            debug_assert!(free, "a place of the arrival order is taken once");
            self.filled += 1;
        }
    }
}

/// Collects what is visible; says where it stopped if it did before the end.
fn take<'a>(entries: impl Iterator<Item = (&'a Key, &'a Versions)>, at: Sequence, limit: usize, rows: &mut Vec<MemRow>) -> Option<Span> {
    for ((key, versions), step) in entries.zip(1..) {
        if let Some(row) = versions.at(at).filter(|row| row.is_visible(at)) {
            rows.push(row.clone());
        }
        if rows.len() >= limit || step >= STEP {
            return Some(key.0.clone());
        }
    }
    None
}

/// No id can lie between; `BTreeMap::range` panics on some of these bounds.
fn is_empty(bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> bool {
    match bounds {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
        (Bound::Included(low), Bound::Included(high)) => low > high,
        (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
    }
}

impl std::borrow::Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (*self.0).cmp(&*other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        *self.0 == *other.0
    }
}

impl Eq for Key {}
