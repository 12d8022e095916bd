use std::collections::HashMap;

use super::PagedMap;
use crate::{
    sync::RwLock,
    types::{CollectionId, Sequence},
};

/// Exact record counts by sequence: the count at s is the last entry at or below s. One writer, any readers.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Valid from the beginning; 0 where there is none. Views share it, so that a new one costs what changed since the last.
    base: PagedMap<CollectionId, u64>,
    since: RwLock<HashMap<CollectionId, Vec<(Sequence, u64)>>>,
}

impl Counts {
    /// Starts from known counts, valid from the beginning.
    pub(crate) fn starting(counts: impl Iterator<Item = (CollectionId, u64)>) -> Self {
        Self { base: counts.collect(), since: RwLock::default() }
    }

    fn base(&self, collection: CollectionId) -> u64 {
        self.base.get(&collection).copied().unwrap_or(0)
    }

    pub(crate) fn at(&self, collection: CollectionId, sequence: Sequence) -> u64 {
        let since = self.since.read();
        let Some(entries) = since.get(&collection) else { return self.base(collection) };
        if let Some((last, count)) = entries.last()
            && *last <= sequence
        {
            return *count;
        }
        let after = entries.partition_point(|(at, _)| *at <= sequence);
        after.checked_sub(1).and_then(|index| entries.get(index)).map_or_else(|| self.base(collection), |(_, count)| *count)
    }

    /// Records the net change of one batch.
    pub(crate) fn add(&self, collection: CollectionId, sequence: Sequence, net: i64) {
        let mut since = self.since.write();
        let entries = since.entry(collection).or_default();
        let last = entries.last().map_or_else(|| self.base(collection), |(_, count)| *count);
        entries.push((sequence, last.saturating_add_signed(net)));
    }

    /// The newest counts, to start the next view from.
    pub(crate) fn latest(&self) -> Self {
        let mut base = self.base.clone();
        for (id, entries) in self.since.read().iter() {
            base.insert(*id, entries.last().map_or(0, |(_, count)| *count));
        }
        Self { base, since: RwLock::default() }
    }

    /// [`Self::latest`] without those of collections that are gone.
    pub(crate) fn latest_of(&self, is_known: impl Fn(CollectionId) -> bool) -> Self {
        let latest = self.latest();
        Self::starting(latest.base.iter().filter(|(id, _)| is_known(*id)).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn every_sequence_sees_its_own_count() {
        let counts = Counts::starting([(1, 10)].into_iter());
        counts.add(1, 5, 3);
        counts.add(1, 9, -4);
        counts.add(2, 9, 1);
        assert_eq!([0, 4, 5, 8, 9, 100].map(|at| counts.at(1, at)), [10, 10, 13, 13, 9, 9]);
        assert_eq!([8, 9].map(|at| counts.at(2, at)), [0, 1]);
        assert_eq!(counts.latest().at(1, 0), 9);
        assert_eq!(counts.latest().latest().at(2, 0), 1);
        let without = counts.latest_of(|id| id == 2);
        assert_eq!([1, 2].map(|id| without.at(id, 100)), [0, 1]);
        assert_eq!(counts.at(3, 9), 0);
    }
}
