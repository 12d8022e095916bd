use std::{
    collections::{BTreeMap, btree_map},
    ops::Bound,
};

use super::{arena::Span, row::MemRow};
use crate::{
    sync::{Arc, AtomicUsize, OnceLock, Ordering, RwLock},
    types::{Death, Sequence},
};

/// Ids looked at between two releases of the lock, however few of them are visible.
const STEP: usize = 256;
/// Places of a block of the arrival order; the first ones are smaller.
const BLOCK_MAX: usize = 1024;

/// The versions of one collection.
pub(super) struct Table {
    inner: RwLock<Inner>,
    rows: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    index: BTreeMap<Key, Versions>,
    /// Puts in the order of their arrival, for scans: blocks never move, so a scan needs the lock only to learn of them.
    arrivals: Vec<Arc<Block>>,
    /// Places taken in the last block.
    filled: usize,
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

    /// Adds a version, which supersedes what the id had.
    pub(super) fn add(&self, row: &MemRow) {
        let key = Key(row.id_span());
        let mut inner = self.inner.write();
        match inner.index.entry(key) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Versions { older: Vec::new(), newest: row.clone() });
            }
            btree_map::Entry::Occupied(mut occupied) => {
                let versions = occupied.get_mut();
                debug_assert!(versions.newest.sequence() <= row.sequence(), "sequences of an id must not fall");
                versions.newest.kill(Death { at: row.sequence(), deleted: row.is_tombstone() });
                versions.older.push(std::mem::replace(&mut versions.newest, row.clone()));
            }
        }
        if !row.is_tombstone() {
            inner.arrive(row);
            self.rows.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn kill(&self, id: &[u8], death: Death) -> bool {
        self.inner.read().index.get(id).is_some_and(|versions| versions.newest.kill(death))
    }

    /// The newest version that a reader at this sequence has to look at, visible or not.
    pub(super) fn get(&self, id: &[u8], at: Sequence) -> Option<MemRow> {
        self.inner.read().index.get(id)?.at(at).cloned()
    }

    /// See [`super::Memtable::page`].
    pub(super) fn page(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>), reverse: bool, at: Sequence, limit: usize) -> Vec<MemRow> {
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
            let entries = inner.index.range::<[u8], _>(rest);
            let stopped_at = if reverse { take(entries.rev(), at, limit, &mut rows) } else { take(entries, at, limit, &mut rows) };
            drop(inner);
            match stopped_at {
                Some(id) => last = Some(id),
                None => return rows,
            }
        }
    }

    /// Every id's newest version, by ascending id.
    pub(super) fn newest(&self) -> Vec<MemRow> {
        self.inner.read().index.values().map(|versions| versions.newest.clone()).collect()
    }

    /// Visits what is visible, in the order of arrival.
    pub(super) fn scan(&self, at: Sequence, visit: impl FnMut(&MemRow)) {
        let blocks = self.inner.read().arrivals.clone();
        blocks.iter().flat_map(|block| block.iter().map_while(OnceLock::get)).filter(|row| row.is_visible(at)).for_each(visit);
    }
}

impl Inner {
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
