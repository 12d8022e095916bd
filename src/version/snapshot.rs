use std::ops::Deref;

use super::{
    CollectionMeta, CollectionVersion, LiveSegment, View,
    version_set::{Candidate, find_in},
};
use crate::{
    error::{Error, Result},
    memtable::{Lookup, MemRow},
    observe::Probes,
    sync::Arc,
    types::{CollectionId, Sequence},
};

/// A view at one sequence: what a snapshot is, and, only looking at the view, what every single read uses for its duration.
#[derive(Clone, Debug)]
pub(crate) struct Reading<V = Arc<View>> {
    pub(crate) view: V,
    pub(crate) sequence: Sequence,
}

/// Where the live row of an id stands.
pub(crate) enum Found {
    Memtable(MemRow),
    Segment(Arc<LiveSegment>, u32),
}

impl Reading {
    /// Ids whose look-ups wait for memory together.
    pub(crate) const LOOK_AHEAD: usize = 32;
}

impl<V: Deref<Target = View>> Reading<V> {
    /// Reads the newest state of a view.
    pub(crate) fn newest(view: V) -> Self {
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
        let found = match self.find_in_memtables(collection, id, &mut probes) {
            Lookup::Row(row) => Ok(Some(Found::Memtable(row))),
            Lookup::Deleted => Ok(None),
            Lookup::Absent => {
                let candidates = self.version(collection).into_iter().flat_map(|version| version.candidates(id));
                find_in(candidates, id, self.sequence, &mut probes).map(in_segment)
            }
        };
        self.view.lookups.add(probes);
        found
    }

    /// [`Self::find`] for many ids, best [`Self::LOOK_AHEAD`] of them: their waits for memory overlap.
    pub(crate) fn find_many(&self, ids: &[(CollectionId, &[u8])]) -> Vec<Result<Option<Found>>> {
        let (mut candidates, mut lookups) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
        for &(collection, id) in ids {
            let mut probes = Probes::default();
            let lookup = self.find_in_memtables(collection, id, &mut probes);
            let first = candidates.len();
            if let (Lookup::Absent, Some(version)) = (&lookup, self.version(collection)) {
                candidates.extend(version.candidates(id).inspect(|candidate| candidate.live.segment.prefetch_bucket(candidate.hash)));
            }
            lookups.push((id, lookup, probes, first..candidates.len()));
        }
        for Candidate { live, hash, guess } in &mut candidates {
            *guess = live.segment.guess(*hash);
        }
        let finish = |(id, lookup, mut probes, own): (&[u8], Lookup, Probes, std::ops::Range<usize>)| {
            let found = match lookup {
                Lookup::Row(row) => Ok(Some(Found::Memtable(row))),
                Lookup::Deleted => Ok(None),
                Lookup::Absent => {
                    let own = candidates.get(own).unwrap_or_default().iter().copied();
                    find_in(own, id, self.sequence, &mut probes).map(in_segment)
                }
            };
            self.view.lookups.add(probes);
            found
        };
        lookups.into_iter().map(finish).collect()
    }

    fn find_in_memtables(&self, collection: CollectionId, id: &[u8], probes: &mut Probes) -> Lookup {
        for memtable in self.view.memtables() {
            let lookup = memtable.get(collection, id, self.sequence);
            if !matches!(lookup, Lookup::Absent) {
                probes.in_memtable = 1;
                return lookup;
            }
        }
        Lookup::Absent
    }
}

fn in_segment(found: Option<(&Arc<LiveSegment>, u32)>) -> Option<Found> {
    found.map(|(live, row)| Found::Segment(Arc::clone(live), row))
}
