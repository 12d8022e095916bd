use std::collections::BTreeMap;

use crate::{
    sync::Arc,
    types::{CollectionId, Dimension, Metric, Ordinal},
};

/// What does not change about a collection, and its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CollectionMeta {
    pub(crate) id: CollectionId,
    pub(crate) name: String,
    pub(crate) dimension: Dimension,
    pub(crate) metric: Metric,
}

/// The collections as of the newest batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) collections: BTreeMap<CollectionId, Arc<CollectionMeta>>,
    /// First ordinal not yet given, per collection.
    pub(crate) next_ordinals: BTreeMap<CollectionId, Ordinal>,
    pub(crate) next_collection: CollectionId,
}

impl Catalog {
    pub(crate) fn get(&self, id: CollectionId) -> Option<&Arc<CollectionMeta>> {
        self.collections.get(&id)
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<CollectionMeta>> {
        self.collections.values().find(|meta| meta.name == name)
    }

    pub(crate) fn create(&mut self, meta: CollectionMeta) {
        self.next_collection = self.next_collection.max(meta.id.saturating_add(1));
        self.next_ordinals.insert(meta.id, 0);
        self.collections.insert(meta.id, Arc::new(meta));
    }

    pub(crate) fn remove(&mut self, id: CollectionId) {
        self.collections.remove(&id);
        self.next_ordinals.remove(&id);
    }

    pub(crate) fn rename(&mut self, id: CollectionId, name: &str) {
        if let Some(meta) = self.collections.get_mut(&id) {
            *meta = Arc::new(CollectionMeta { name: name.to_owned(), ..CollectionMeta::clone(meta) });
        }
    }

    /// Notes that an ordinal was given.
    pub(crate) fn ordinal_used(&mut self, id: CollectionId, ordinal: Ordinal) {
        if let Some(next) = self.next_ordinals.get_mut(&id) {
            *next = (*next).max(ordinal.saturating_add(1));
        }
    }
}
