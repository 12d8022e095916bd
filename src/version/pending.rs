use std::collections::HashMap;

use crate::{
    sync::{AtomicUsize, Ordering, RwLock},
    types::{Death, Sequence},
};

/// Rows of one segment that died since its kill set was published: row → how.
///
/// A row is visible at s iff s is below its death. The commit leader adds, any thread reads.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    rows: RwLock<HashMap<u32, Death>>,
    /// Lets reads skip the lock while there is nothing.
    count: AtomicUsize,
}

impl Pending {
    pub(crate) fn insert(&self, row: u32, death: Death) {
        let mut rows = self.rows.write();
        rows.entry(row).or_insert(death);
        self.count.store(rows.len(), Ordering::Release);
    }

    /// Whether the row is dead at a sequence.
    pub(crate) fn is_dead(&self, row: u32, at: Sequence) -> bool {
        self.count.load(Ordering::Acquire) > 0 && self.rows.read().get(&row).is_some_and(|death| death.at <= at)
    }

    /// The rows dead at a sequence, in no order.
    pub(crate) fn dead_at(&self, at: Sequence) -> Vec<u32> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        self.rows.read().iter().filter(|(_, death)| death.at <= at).map(|(row, _)| *row).collect()
    }

    /// Whether any of the rows dead at a sequence was deleted, not superseded.
    pub(crate) fn any_deleted_at(&self, at: Sequence) -> bool {
        self.rows.read().values().any(|death| death.at <= at && death.deleted)
    }

    /// All entries of rows in a range that died after a sequence.
    pub(crate) fn after(&self, sequence: Sequence, rows: std::ops::Range<u32>) -> HashMap<u32, Death> {
        self.rows
            .read()
            .iter()
            .filter(|(row, death)| death.at > sequence && rows.contains(row))
            .map(|(row, death)| (*row, *death))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Death, Pending};

    #[test]
    fn a_row_dies_once_and_only_from_its_sequence_on() {
        let pending = Pending::default();
        assert!(!pending.is_dead(3, u64::MAX));
        let death = |at, deleted| Death { at, deleted };
        pending.insert(3, death(10, false));
        pending.insert(3, death(12, true));
        pending.insert(7, death(20, true));
        assert_eq!([9, 10, 11].map(|at| pending.is_dead(3, at)), [false, true, true]);
        assert_eq!(pending.dead_at(15), [3]);
        assert_eq!([15, 20].map(|at| pending.any_deleted_at(at)), [false, true]);
        assert_eq!(pending.after(10, 0..u32::MAX).into_iter().collect::<Vec<_>>(), [(7, death(20, true))]);
        assert!(pending.after(0, 4..7).is_empty());
    }
}
