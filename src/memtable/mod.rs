//! The writes of all collections between two freezes: an arena of aligned rows and, per collection, an ordered index of versions.

mod arena;
mod filter;
mod row;
mod table;

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Bound,
};

use self::{arena::Arena, filter::Filter, table::Table};
use crate::{
    sync::{Arc, AtomicUsize, Ordering, RwLock},
    types::{CollectionId, Death, Dimension, Ordinal, Sequence},
};

pub(crate) use row::MemRow;

/// One writer at a time (the caller sees to it), any number of readers.
///
/// A version is visible at s iff its sequence ≤ s < its `dead_at`. All versions of an id are kept, because snapshots need them.
/// A batch is applied whole before the caller publishes its sequence, and nobody reads at a sequence that is not published: that, not a
/// lock held over the batch, makes it atomic.
pub(crate) struct Memtable {
    arena: Arena,
    hasher: RandomState,
    filter: Filter,
    tables: RwLock<BTreeMap<CollectionId, Arc<Table>>>,
    versions: AtomicUsize,
}

/// What a memtable knows of an id.
pub(crate) enum Lookup {
    Row(MemRow),
    /// Deleted, or superseded by a newer memtable: older memtables and segments need not be asked.
    Deleted,
    Absent,
}

impl std::fmt::Debug for Memtable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memtable({} bytes)", self.bytes())
    }
}

impl Memtable {
    pub(crate) fn new() -> Self {
        let (arena, hasher, filter) = (Arena::new(), RandomState::new(), Filter::default());
        Self { arena, hasher, filter, tables: RwLock::default(), versions: AtomicUsize::new(0) }
    }

    /// Adds a version of a record; `vector` is the little-endian bytes of its elements. What this memtable had of the id is dead from
    /// `sequence` on; [`Self::mark_dead`] does the same in older memtables.
    #[expect(clippy::too_many_arguments, reason = "the fields of a put operation; a struct for one caller would only rename them")]
    pub(crate) fn put(
        &self,
        collection: CollectionId,
        dimension: Dimension,
        sequence: Sequence,
        id: &[u8],
        ordinal: Ordinal,
        vector: &[u8],
        payload: &[u8],
    ) {
        debug_assert_eq!(vector.len(), dimension.bytes(), "a vector of another dimension than its collection");
        self.add(collection, &MemRow::put(&self.arena, sequence, ordinal, id, vector, payload));
    }

    /// Records that an id is deleted from `sequence` on, whether or not this memtable holds it.
    pub(crate) fn delete(&self, collection: CollectionId, sequence: Sequence, id: &[u8]) {
        self.add(collection, &MemRow::tombstone(&self.arena, sequence, id));
    }

    fn add(&self, collection: CollectionId, row: &MemRow) {
        let hash = self.hasher.hash_one(row.id());
        self.table_or_new(collection).add(hash, row);
        self.filter.add(collection, hash);
        if self.versions.fetch_add(1, Ordering::Relaxed) + 1 == Filter::WORTH_IT {
            let tables = self.tables.read();
            self.filter.begin(tables.iter().flat_map(|(collection, table)| table.hashes().into_iter().map(|hash| (*collection, hash))));
        }
    }

    /// A newer memtable has superseded or deleted the id: its newest version here dies. False if there is none or it was dead already.
    pub(crate) fn mark_dead(&self, collection: CollectionId, id: &[u8], death: Death) -> bool {
        self.table(collection).is_some_and(|table| table.kill(self.hasher.hash_one(id), id, death))
    }

    pub(crate) fn get(&self, collection: CollectionId, id: &[u8], at: Sequence) -> Lookup {
        // What a reader may see was counted before its sequence was published.
        if self.versions.load(Ordering::Relaxed) == 0 {
            return Lookup::Absent;
        }
        let hash = self.hasher.hash_one(id);
        if !self.filter.may_hold(collection, hash) {
            return Lookup::Absent;
        }
        match self.table(collection).and_then(|table| table.get(hash, id, at)) {
            None => Lookup::Absent,
            Some(row) if row.is_visible(at) => Lookup::Row(row),
            Some(_) => Lookup::Deleted,
        }
    }

    /// The next visible rows within the bounds, at most `limit`, by ascending id or, in reverse, descending. No lock is held between pages,
    /// nor for long within one.
    pub(crate) fn page(
        &self,
        collection: CollectionId,
        bounds: (Bound<&[u8]>, Bound<&[u8]>),
        reverse: bool,
        at: Sequence,
        limit: usize,
    ) -> Vec<MemRow> {
        self.table(collection).map(|table| table.page(bounds, reverse, at, limit)).unwrap_or_default()
    }

    /// Visits every visible row of a share once, in the order of arrival, which is that of its memory; all shares together are all rows. Holds no lock
    /// meanwhile.
    pub(crate) fn scan(&self, collection: CollectionId, at: Sequence, share: (usize, usize), visit: impl FnMut(&MemRow)) {
        if let Some(table) = self.table(collection) {
            table.scan(at, share, visit);
        }
    }

    /// The last version of every id that was not deleted, by ascending id. Only for frozen memtables. A newer memtable may have
    /// superseded one of them: its `dead_at` tells.
    pub(crate) fn newest(&self, collection: CollectionId) -> Vec<MemRow> {
        let rows = self.table(collection).map(|table| table.newest()).unwrap_or_default();
        rows.into_iter().filter(|row| !row.is_tombstone()).collect()
    }

    /// Memory taken, the index estimated.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.bytes() + self.versions.load(Ordering::Relaxed) * MemRow::OVERHEAD
    }

    fn table(&self, collection: CollectionId) -> Option<Arc<Table>> {
        self.tables.read().get(&collection).cloned()
    }

    fn table_or_new(&self, collection: CollectionId) -> Arc<Table> {
        self.table(collection)
            .unwrap_or_else(|| Arc::clone(self.tables.write().entry(collection).or_insert_with(|| Arc::new(Table::new()))))
    }
}

#[cfg(test)]
#[path = "memtable_tests.rs"]
mod tests;
