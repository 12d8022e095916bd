use std::{collections::HashMap, hash::RandomState, ops::Range};

use hashbrown::Equivalent;

use crate::{
    sync::Arc,
    types::{CollectionId, Ordinal, Sequence},
    version::{Catalog, LiveSegment, Reading},
};

/// A record of a collection.
pub(crate) type RecordKey = (CollectionId, Arc<[u8]>);

/// A [`RecordKey`] that is only looked up.
#[derive(Hash)]
struct RecordRef<'a>(CollectionId, &'a [u8]);

impl Equivalent<RecordKey> for RecordRef<'_> {
    fn equivalent(&self, key: &RecordKey) -> bool {
        (self.0, self.1) == (key.0, &*key.1)
    }
}

/// Where an id stands after the batches of this group that were resolved before.
#[derive(Clone)]
pub(crate) enum Standing {
    Deleted,
    Present(Placed),
}

/// A record in the encoding of a batch of this group.
#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) ordinal: Ordinal,
    /// Which batch of the group.
    pub(crate) batch: usize,
    pub(crate) payload: Range<usize>,
    pub(crate) vector: Range<usize>,
}

/// The row a write supersedes or deletes.
pub(crate) enum Victim {
    None,
    /// In the active memtable or this group: the memtable sees to it.
    Active,
    Frozen,
    Segment(Arc<LiveSegment>, u32),
}

/// One resolved write, with its parts in the batch's encoding.
pub(crate) struct Effect {
    pub(crate) collection: CollectionId,
    pub(crate) id: Range<usize>,
    /// `None` deletes.
    pub(crate) put: Option<Placed>,
    pub(crate) victim: Victim,
}

/// A batch ready for the log and the memtable.
#[derive(Default)]
pub(crate) struct Resolved {
    pub(crate) body: Vec<u8>,
    pub(crate) effects: Vec<Effect>,
    /// Per operation: whether the record existed.
    pub(crate) existed: Vec<bool>,
    pub(crate) net: HashMap<CollectionId, i64>,
    pub(crate) schema_changed: bool,
    /// Given once the whole group is resolved.
    pub(crate) sequence: Sequence,
}

impl Resolved {
    /// Whether bytes that it wants gone may stand in the log. Changes of the schema are few: a dropped collection is among them.
    pub(crate) fn deletes(&self) -> bool {
        self.schema_changed || self.effects.iter().any(|effect| effect.put.is_none())
    }
}

/// What the group must forget if a batch is refused or cannot be logged.
#[derive(Default)]
pub(crate) struct Undo {
    /// The catalog before the batch's first change of the schema.
    pub(crate) catalog: Option<Catalog>,
    pub(crate) ordinals: Vec<(CollectionId, Ordinal)>,
    pub(crate) standing: Vec<(RecordKey, Option<Standing>)>,
}

/// What the batches of a group see of each other before they are in the memtable.
pub(crate) struct Group {
    pub(crate) reading: Reading,
    pub(crate) catalog: Catalog,
    standing: hashbrown::HashMap<RecordKey, Standing, RandomState>,
    pub(crate) batches: Vec<Resolved>,
    /// One per batch.
    pub(crate) undos: Vec<Undo>,
}

impl Group {
    pub(crate) fn new(reading: Reading, catalog: Catalog) -> Self {
        Self { reading, catalog, standing: hashbrown::HashMap::default(), batches: Vec::new(), undos: Vec::new() }
    }

    /// Where a record stands after the batches before, if any of them wrote it.
    pub(crate) fn standing(&self, collection: CollectionId, id: &[u8]) -> Option<&Standing> {
        self.standing.get(&RecordRef(collection, id))
    }

    /// Notes where a record stands from here on.
    pub(crate) fn stand(&mut self, undo: &mut Undo, collection: CollectionId, id: &[u8], standing: Standing) {
        let key = (collection, Arc::from(id));
        let before = self.standing.insert((key.0, Arc::clone(&key.1)), standing);
        undo.standing.push((key, before));
    }

    /// Takes back what a batch changed here.
    pub(crate) fn revert(&mut self, undo: Undo) {
        if let Some(catalog) = undo.catalog {
            self.catalog = catalog;
        }
        for (collection, ordinal) in undo.ordinals.into_iter().rev() {
            self.catalog.next_ordinals.insert(collection, ordinal);
        }
        for (key, old) in undo.standing.into_iter().rev() {
            match old {
                Some(old) => self.standing.insert(key, old),
                None => self.standing.remove(&key),
            };
        }
    }

    /// Takes back every batch, so that the catalog is as it was before the group.
    pub(crate) fn revert_all(&mut self) {
        while let Some(undo) = self.undos.pop() {
            self.revert(undo);
        }
    }

    /// Numbers the batches from `first` on; one that changes nothing takes no sequence. Returns the last sequence used.
    pub(crate) fn assign_sequences(&mut self, first: Sequence) -> Sequence {
        let mut last = first.saturating_sub(1);
        for batch in &mut self.batches {
            last += u64::from(!batch.body.is_empty());
            batch.sequence = last;
        }
        last
    }
}
