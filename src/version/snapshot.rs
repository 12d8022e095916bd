use super::{CollectionMeta, CollectionVersion, LiveSegment, View};
use crate::{
    error::{Error, Result},
    memtable::{Lookup, MemRow},
    observe::Probes,
    sync::Arc,
    types::{CollectionId, Sequence},
};

/// A view at one sequence: what a snapshot is, and what every single read uses for its duration.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) view: Arc<View>,
    pub(crate) sequence: Sequence,
}

/// Where the live row of an id stands.
pub(crate) enum Found {
    Memtable(MemRow),
    Segment(Arc<LiveSegment>, u32),
}

impl Reading {
    /// Reads the newest state of a view.
    pub(crate) fn newest(view: Arc<View>) -> Self {
        // The view first, then its sequence: the other way round a kill between the two could be missed.
        let sequence = view.visible();
        Self { view, sequence }
    }

    pub(crate) fn meta(&self, id: CollectionId) -> Result<&Arc<CollectionMeta>> {
        self.view.catalog.get(id).ok_or_else(|| Error::not_found(format!("the collection with number {id} was dropped")))
    }

    pub(crate) fn version(&self, id: CollectionId) -> Option<&Arc<CollectionVersion>> {
        self.view.version.collections.get(&id)
    }

    pub(crate) fn count(&self, id: CollectionId) -> u64 {
        self.view.counts.at(id, self.sequence)
    }

    /// Memtables first, then one segment a run.
    pub(crate) fn find(&self, collection: CollectionId, id: &[u8]) -> Result<Option<Found>> {
        let mut probes = Probes::default();
        let found = self.probe(collection, id, &mut probes);
        self.view.lookups.add(id, probes);
        found
    }

    fn probe(&self, collection: CollectionId, id: &[u8], probes: &mut Probes) -> Result<Option<Found>> {
        for memtable in self.view.memtables() {
            let lookup = memtable.get(collection, id, self.sequence);
            probes.in_memtable = u64::from(!matches!(lookup, Lookup::Absent));
            match lookup {
                Lookup::Row(row) => return Ok(Some(Found::Memtable(row))),
                Lookup::Deleted => return Ok(None),
                Lookup::Absent => {}
            }
        }
        let Some(version) = self.version(collection) else { return Ok(None) };
        Ok(version.probe(id, self.sequence, probes)?.map(|(live, row)| Found::Segment(Arc::clone(live), row)))
    }
}
