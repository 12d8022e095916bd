use std::ops::Bound;

use super::{
    Row,
    source::{Bounds, Source},
};
use crate::{error::Result, sync::Arc, types::CollectionId, version::Reading};

/// The records of a collection in ascending order of their ids, as they were when the iterator was made; from either end.
///
/// Costs O(log n) to start and O(runs) a row. A damaged record is an error in its place; the iterator goes on behind it.
pub struct Rows {
    reading: Reading,
    collection: CollectionId,
    bounds: Bounds,
    forward: Option<Vec<Source>>,
    backward: Option<Vec<Source>>,
    /// The last id given from each end; empty before the first.
    front: Vec<u8>,
    back: Vec<u8>,
}

impl Rows {
    pub(crate) fn new(reading: Reading, collection: CollectionId, bounds: Bounds) -> Result<Self> {
        reading.meta(collection)?;
        Ok(Self { reading, collection, bounds, forward: None, backward: None, front: Vec::new(), back: Vec::new() })
    }

    /// All ids that start with a prefix.
    pub(crate) fn prefix_bounds(prefix: &[u8]) -> Bounds {
        let mut end = prefix.to_vec();
        // The first id behind all of them: the last byte that can be raised is, what follows it goes.
        while end.last() == Some(&0xFF) {
            end.pop();
        }
        let upper = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        (Bound::Included(prefix.to_vec()), upper)
    }

    fn sources(&self, reverse: bool) -> Vec<Source> {
        let (view, at) = (&self.reading.view, self.reading.sequence);
        let mut sources = Vec::new();
        if is_empty(&self.bounds) {
            return sources;
        }
        for memtable in view.memtables() {
            sources.push(Source::memtable(memtable.clone(), self.collection, self.bounds.clone(), at, reverse));
        }
        let bounds = Arc::new(self.bounds.clone());
        for run in self.reading.version(self.collection).iter().flat_map(|version| &version.runs) {
            sources.push(Source::run(run, &bounds, at, reverse));
        }
        sources
    }

    fn step(&mut self, reverse: bool) -> Result<Option<Row>> {
        let slot = if reverse { &self.backward } else { &self.forward };
        if slot.is_none() {
            let sources = self.sources(reverse);
            *(if reverse { &mut self.backward } else { &mut self.forward }) = Some(sources);
        }
        let Some(sources) = (if reverse { &mut self.backward } else { &mut self.forward }) else { return Ok(None) };
        if let Some(damage) = sources.iter_mut().find_map(Source::take_damage) {
            return Err(damage);
        }
        let heads = sources.iter_mut().filter(|source| source.head_id().is_some());
        let next =
            if reverse { heads.max_by(|a, b| a.head_id().cmp(&b.head_id())) } else { heads.min_by(|a, b| a.head_id().cmp(&b.head_id())) };
        let Some(next) = next else { return Ok(None) };
        let id = next.head_id().unwrap_or_default();
        let met = if reverse { !self.front.is_empty() && id <= &*self.front } else { !self.back.is_empty() && id >= &*self.back };
        if met {
            return Ok(None);
        }
        let given = if reverse { &mut self.back } else { &mut self.front };
        given.clear();
        given.extend_from_slice(id);
        next.take()
    }
}

fn is_empty(bounds: &Bounds) -> bool {
    match (&bounds.0, &bounds.1) {
        (Bound::Included(a), Bound::Included(b)) => a > b,
        (Bound::Included(a), Bound::Excluded(b)) | (Bound::Excluded(a), Bound::Included(b)) | (Bound::Excluded(a), Bound::Excluded(b)) => {
            a >= b
        }
        _ => false,
    }
}

impl Iterator for Rows {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false).transpose()
    }
}

impl DoubleEndedIterator for Rows {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true).transpose()
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows of collection {} at {}", self.collection, self.reading.sequence)
    }
}
