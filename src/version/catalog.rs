use std::{borrow::Borrow, cmp::Ordering};

use super::PagedMap;
use crate::{
    sync::Arc,
    types::{Codes, CollectionId, Dimension, Metric, Ordinal},
};

/// What does not change about a collection, and its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CollectionMeta {
    pub(crate) id: CollectionId,
    pub(crate) name: String,
    pub(crate) dimension: Dimension,
    pub(crate) metric: Metric,
    pub(crate) codes: Codes,
}

/// A collection by its name, so that a map needs no copy of that.
#[derive(Clone, Debug)]
struct Named(Arc<CollectionMeta>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        &self.0.name
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.name.cmp(&other.0.name)
    }
}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Named {}

/// Collections by number and by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Collections {
    by_id: PagedMap<CollectionId, Arc<CollectionMeta>>,
    by_name: PagedMap<Named, ()>,
}

impl Collections {
    pub(crate) fn get(&self, id: CollectionId) -> Option<&Arc<CollectionMeta>> {
        self.by_id.get(&id)
    }

    fn by_name(&self, name: &str) -> Option<&Arc<CollectionMeta>> {
        self.by_name.get_entry(name).map(|(named, ())| &named.0)
    }

    /// Adds a collection, or gives one another name.
    pub(crate) fn insert(&mut self, id: CollectionId, meta: Arc<CollectionMeta>) {
        self.remove(id);
        self.by_name.insert(Named(Arc::clone(&meta)), ());
        self.by_id.insert(id, meta);
    }

    fn remove(&mut self, id: CollectionId) {
        if let Some(meta) = self.by_id.remove(&id)
            && self.by_name(&meta.name).is_some_and(|named| named.id == id)
        {
            self.by_name.remove(meta.name.as_str());
        }
    }

    /// All of them, by ascending number.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<CollectionMeta>> {
        self.by_id.values()
    }
}

/// The collections as of the newest batch. A clone shares what neither changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) collections: Collections,
    /// First ordinal that no record has had, per collection.
    pub(crate) next_ordinals: PagedMap<CollectionId, Ordinal>,
    /// First ordinal behind those that running loads have taken. They count as used when a record has them: no manifest knows of these.
    pub(crate) reserved: PagedMap<CollectionId, Ordinal>,
    pub(crate) next_collection: CollectionId,
}

impl Catalog {
    pub(crate) fn get(&self, id: CollectionId) -> Option<&Arc<CollectionMeta>> {
        self.collections.get(id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<CollectionMeta>> {
        self.collections.by_name(name)
    }

    pub(crate) fn create(&mut self, meta: CollectionMeta) {
        self.next_collection = self.next_collection.max(meta.id.saturating_add(1));
        self.next_ordinals.insert(meta.id, 0);
        self.collections.insert(meta.id, Arc::new(meta));
    }

    pub(crate) fn remove(&mut self, id: CollectionId) {
        self.collections.remove(id);
        self.next_ordinals.remove(&id);
        self.reserved.remove(&id);
    }

    pub(crate) fn rename(&mut self, id: CollectionId, name: &str) {
        if let Some(meta) = self.get(id) {
            let renamed = Arc::new(CollectionMeta { name: name.to_owned(), ..CollectionMeta::clone(meta) });
            self.collections.insert(id, renamed);
        }
    }

    /// The ordinal for a new record, which [`Self::ordinal_used`] then notes.
    pub(crate) fn free_ordinal(&self, id: CollectionId) -> Option<Ordinal> {
        let next = *self.next_ordinals.get(&id)?;
        Some(self.reserved.get(&id).map_or(next, |reserved| next.max(*reserved)))
    }

    /// Takes ordinals that no manifest shall know of yet. Returns the first, if there is such a collection.
    pub(crate) fn reserve_ordinals(&mut self, id: CollectionId, count: u64) -> Option<Ordinal> {
        let base = self.free_ordinal(id)?;
        self.reserved.insert(id, base.saturating_add(count));
        Some(base)
    }

    /// Gives back ordinals that were taken last; others stay a gap, if records or other loads took theirs behind them.
    pub(crate) fn release_ordinals(&mut self, id: CollectionId, base: Ordinal, count: u64) {
        if self.reserved.get(&id) == Some(&base.saturating_add(count)) {
            self.reserved.insert(id, base);
        }
        if self.reserved.get(&id) <= self.next_ordinals.get(&id) {
            self.reserved.remove(&id);
        }
    }

    /// Notes that a record has an ordinal. Returns which one was the next before.
    pub(crate) fn ordinal_used(&mut self, id: CollectionId, ordinal: Ordinal) -> Option<Ordinal> {
        let next = self.next_ordinals.get_mut(&id)?;
        let after = (*next).max(ordinal.saturating_add(1));
        Some(std::mem::replace(next, after))
    }
}
