use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    ops::Range,
};

use hashbrown::HashTable;

use super::body::Body;
use crate::{
    format::batch::Parts,
    sync::Arc,
    types::{CollectionId, Ordinal, Sequence},
    version::{Catalog, LiveSegment, Reading},
};

/// A write of the group: which batch, which of its effects.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    batch: u32,
    effect: u32,
}

/// The last write of a record in the group.
struct Newest {
    hash: u64,
    place: Place,
}

/// The row a write supersedes or deletes.
#[derive(Default)]
pub(crate) enum Victim {
    #[default]
    None,
    /// In the active memtable or this group: the memtable sees to it.
    Active,
    Frozen,
    Segment(Arc<LiveSegment>, u32),
}

/// One resolved write, with its parts in the batch's encoding.
pub(crate) struct Effect {
    pub(crate) collection: CollectionId,
    pub(crate) parts: Parts,
    /// The ordinal of the record; `None` deletes it.
    pub(crate) put: Option<Ordinal>,
    pub(crate) victim: Victim,
    /// The write of the same record before this one in the group.
    before: Option<Place>,
}

/// What a batch does to a collection.
#[derive(Default)]
pub(crate) struct Change {
    /// Records more, or fewer.
    pub(crate) net: i64,
    /// The next ordinal before it, if it gives any.
    pub(crate) next_ordinal: Option<Ordinal>,
}

/// A batch ready for the log and the memtable.
#[derive(Default)]
pub(crate) struct Resolved {
    pub(crate) body: Body,
    pub(crate) effects: Vec<Effect>,
    /// Per operation: whether the record existed.
    pub(crate) existed: Vec<bool>,
    pub(crate) changes: BTreeMap<CollectionId, Change>,
    /// The catalog before its first change of the schema, if it has any.
    pub(crate) catalog_before: Option<Catalog>,
    /// Given once the whole group is resolved.
    pub(crate) sequence: Sequence,
}

impl Resolved {
    /// A part of its encoding.
    pub(crate) fn part(&self, range: &Range<usize>) -> &[u8] {
        self.body.bytes().get(range.clone()).unwrap_or_default()
    }

    pub(crate) fn changes_schema(&self) -> bool {
        self.catalog_before.is_some()
    }

    /// Whether bytes that it wants gone may stand in the log. Changes of the schema are few: a dropped collection is among them.
    pub(crate) fn deletes(&self) -> bool {
        self.changes_schema() || self.effects.iter().any(|effect| effect.put.is_none())
    }
}

/// What is known of a record from the writes before in the group.
#[derive(Clone, Copy)]
pub(crate) struct Standing {
    hash: u64,
    before: Option<Place>,
}

/// What the batches of a group see of each other before they are in the memtable.
pub(crate) struct Group {
    pub(crate) reading: Reading,
    pub(crate) catalog: Catalog,
    newest: HashTable<Newest>,
    hasher: RandomState,
    pub(crate) batches: Vec<Resolved>,
}

impl Group {
    pub(crate) fn new(reading: Reading, catalog: Catalog) -> Self {
        Self { reading, catalog, newest: HashTable::new(), hasher: RandomState::new(), batches: Vec::new() }
    }

    /// Begins the next batch, which nothing was resolved of.
    pub(crate) fn begin(&mut self, batch: Resolved) {
        self.batches.push(batch);
    }

    /// What the writes before have to say about a record.
    pub(crate) fn standing(&self, collection: CollectionId, id: &[u8]) -> Standing {
        let hash = self.hash(collection, id);
        let is_it = |place: Place| {
            self.write(place).is_some_and(|(batch, effect)| effect.collection == collection && batch.part(&effect.parts.id) == id)
        };
        let before = self.newest.find(hash, |newest| newest.hash == hash && is_it(newest.place)).map(|newest| newest.place);
        Standing { hash, before }
    }

    /// The write that a record was left by.
    pub(crate) fn last_write(&self, standing: Standing) -> Option<(&Resolved, &Effect)> {
        self.write(standing.before?)
    }

    /// Adds a write to the batch that was begun last.
    pub(crate) fn add(&mut self, standing: Standing, collection: CollectionId, parts: Parts, put: Option<Ordinal>, victim: Victim) {
        let number = self.batches.len().saturating_sub(1) as u32;
        let Some(batch) = self.batches.last_mut() else { return };
        let Standing { hash, before } = standing;
        let place = Place { batch: number, effect: batch.effects.len() as u32 };
        batch.effects.push(Effect { collection, parts, put, victim, before });
        match before.and_then(|before| self.newest.find_mut(hash, |newest| newest.place == before)) {
            Some(newest) => newest.place = place,
            None => {
                self.newest.insert_unique(hash, Newest { hash, place }, |newest| newest.hash);
            }
        }
    }

    /// Takes the last batch back, with all that it changed here.
    pub(crate) fn revert_last(&mut self) {
        let Some(batch) = self.batches.pop() else { return };
        let number = self.batches.len() as u32;
        for (at, effect) in batch.effects.iter().enumerate().rev() {
            let place = Place { batch: number, effect: at as u32 };
            let hash = self.hash(effect.collection, batch.part(&effect.parts.id));
            if let Ok(mut entry) = self.newest.find_entry(hash, |newest| newest.place == place) {
                match effect.before {
                    Some(before) => entry.get_mut().place = before,
                    None => {
                        entry.remove();
                    }
                }
            }
        }
        if let Some(catalog) = batch.catalog_before {
            self.catalog = catalog;
        }
        for (collection, change) in batch.changes {
            if let Some(before) = change.next_ordinal {
                self.catalog.next_ordinals.insert(collection, before);
            }
        }
    }

    /// Takes back every batch, so that the catalog is as it was before the group.
    pub(crate) fn revert_all(&mut self) {
        while !self.batches.is_empty() {
            self.revert_last();
        }
    }

    /// Numbers the batches from `first` on; one that changes nothing takes no sequence. Returns the last sequence used.
    pub(crate) fn assign_sequences(&mut self, first: Sequence) -> Sequence {
        let mut last = first.saturating_sub(1);
        for batch in &mut self.batches {
            last += u64::from(!batch.body.bytes().is_empty());
            batch.sequence = last;
        }
        last
    }

    fn hash(&self, collection: CollectionId, id: &[u8]) -> u64 {
        self.hasher.hash_one((collection, id))
    }

    fn write(&self, place: Place) -> Option<(&Resolved, &Effect)> {
        let batch = self.batches.get(place.batch as usize)?;
        Some((batch, batch.effects.get(place.effect as usize)?))
    }
}
