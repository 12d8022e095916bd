use std::collections::HashMap;

use crate::{
    sync::RwLock,
    types::{CollectionId, Sequence},
};

/// Exact record counts by sequence: the count at s is the last entry at or below s. One writer, any readers.
#[derive(Debug, Default)]
pub(crate) struct Counts(RwLock<HashMap<CollectionId, Vec<(Sequence, u64)>>>);

impl Counts {
    /// Starts from known counts, valid from the beginning.
    pub(crate) fn starting(counts: impl Iterator<Item = (CollectionId, u64)>) -> Self {
        Self(RwLock::new(counts.map(|(id, count)| (id, vec![(0, count)])).collect()))
    }

    pub(crate) fn at(&self, collection: CollectionId, sequence: Sequence) -> u64 {
        let counts = self.0.read();
        let Some(entries) = counts.get(&collection) else { return 0 };
        if let Some((last, count)) = entries.last()
            && *last <= sequence
        {
            return *count;
        }
        let after = entries.partition_point(|(at, _)| *at <= sequence);
        after.checked_sub(1).and_then(|index| entries.get(index)).map_or(0, |(_, count)| *count)
    }

    /// Records the net change of one batch.
    pub(crate) fn add(&self, collection: CollectionId, sequence: Sequence, net: i64) {
        let mut counts = self.0.write();
        let entries = counts.entry(collection).or_insert_with(|| vec![(0, 0)]);
        let last = entries.last().map_or(0, |(_, count)| *count);
        entries.push((sequence, last.saturating_add_signed(net)));
    }

    /// The newest counts, to start the next view from.
    pub(crate) fn latest(&self) -> Self {
        let counts = self.0.read();
        Self::starting(counts.iter().map(|(id, entries)| (*id, entries.last().map_or(0, |(_, count)| *count))))
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
        assert_eq!(counts.at(3, 9), 0);
    }
}
