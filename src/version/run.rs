use std::ops::{Bound, Deref, Range};

use super::LiveSegment;
use crate::{
    format::id_block::common_prefix,
    sync::{Arc, OnceLock},
};

/// Segments disjoint in id range, ascending, as [`arrange`] puts them.
///
/// Invariant: `unbounded` counts those whose first and last id are unknown; without such, a binary search finds the one that may hold an id.
#[derive(Debug, Default)]
pub(crate) struct Run {
    segments: Vec<Arc<LiveSegment>>,
    unbounded: usize,
    /// Made when first asked.
    keys: OnceLock<Keys>,
}

/// The first ids of a run's segments in short, so that a search touches one array and not each segment.
#[derive(Debug, Default)]
struct Keys {
    /// What all first ids begin with.
    common: Box<[u8]>,
    /// The eight bytes behind that of each, as [`Keys::key`] makes them.
    firsts: Box<[u64]>,
}

impl Keys {
    fn new(segments: &[Arc<LiveSegment>]) -> Self {
        let firsts = || segments.iter().filter_map(|live| live.bounds()).map(|(first, _)| first);
        let (least, greatest) = (firsts().next().unwrap_or_default(), firsts().next_back().unwrap_or_default());
        // Ascending: what the outermost share, all between share.
        let common: Box<[u8]> = least.get(..common_prefix(least, greatest)).unwrap_or_default().into();
        let firsts = firsts().map(|first| Self::key(first.get(common.len()..).unwrap_or_default())).collect();
        Self { common, firsts }
    }

    /// Ascends as ids do, though different ids may have the same.
    fn key(rest: &[u8]) -> u64 {
        match rest.first_chunk::<8>() {
            Some(word) => u64::from_be_bytes(*word),
            None => rest.iter().rev().fold(0, |key, &byte| key >> 8 | u64::from(byte) << 56),
        }
    }

    /// How many segments certainly begin at or below an id, and how many may.
    fn range(&self, id: &[u8]) -> (usize, usize) {
        match id.strip_prefix(&*self.common) {
            Some(rest) => {
                let key = Self::key(rest);
                let below = self.firsts.partition_point(|&first| first < key);
                (below, self.firsts.partition_point(|&first| first <= key))
            }
            None if *id < *self.common => (0, 0),
            None => (self.firsts.len(), self.firsts.len()),
        }
    }
}

impl Clone for Run {
    fn clone(&self) -> Self {
        Self { segments: self.segments.clone(), unbounded: self.unbounded, keys: OnceLock::new() }
    }
}

impl Deref for Run {
    type Target = [Arc<LiveSegment>];

    fn deref(&self) -> &Self::Target {
        &self.segments
    }
}

impl FromIterator<Arc<LiveSegment>> for Run {
    fn from_iter<I: IntoIterator<Item = Arc<LiveSegment>>>(segments: I) -> Self {
        let segments: Vec<_> = segments.into_iter().collect();
        let unbounded = segments.iter().filter(|live| live.bounds().is_none()).count();
        Self { segments, unbounded, keys: OnceLock::new() }
    }
}

impl Run {
    /// The segments that may hold an id: at most one, unless the bounds of some are unknown.
    pub(crate) fn candidates(&self, id: &[u8]) -> impl Iterator<Item = &Arc<LiveSegment>> {
        let asked = if self.unbounded == 0 {
            let after = self.beginning_through(id);
            self.get(after.saturating_sub(1)..after).unwrap_or_default()
        } else {
            self
        };
        asked.iter().filter(|live| live.may_hold(id))
    }

    /// The segments that may hold ids within bounds.
    pub(crate) fn overlapping(&self, bounds: (Bound<&[u8]>, Bound<&[u8]>)) -> Range<usize> {
        if self.unbounded > 0 {
            return 0..self.len();
        }
        let start = match bounds.0 {
            Bound::Unbounded => 0,
            // The one that begins below it may reach it.
            Bound::Included(id) | Bound::Excluded(id) => self.beginning_through(id).saturating_sub(1),
        };
        let end = match bounds.1 {
            Bound::Unbounded => self.len(),
            Bound::Included(id) | Bound::Excluded(id) => self.beginning_through(id),
        };
        start..end.max(start)
    }

    /// How many segments begin at or below an id, if the bounds of all are known.
    fn beginning_through(&self, id: &[u8]) -> usize {
        let (below, through) = self.keys.get_or_init(|| Keys::new(&self.segments)).range(id);
        let unsure = self.get(below..through).unwrap_or_default();
        below + unsure.partition_point(|live| live.bounds().is_some_and(|(first, _)| first <= id))
    }

    fn bytes(&self) -> u64 {
        self.iter().map(|live| live.entry.len).sum()
    }

    /// Inserts a segment if there is room for it; `false` if it overlaps another, or where any bounds are unknown.
    pub(crate) fn insert_disjoint(&mut self, live: &Arc<LiveSegment>) -> bool {
        if live.bounds().is_none() || self.unbounded > 0 {
            return false;
        }
        let at = self.partition_point(|other| other.bounds() < live.bounds());
        let behind = at.checked_sub(1).and_then(|before| self.get(before)).is_none_or(|before| before.ends_before(live));
        if behind && self.get(at).is_none_or(|after| live.ends_before(after)) {
            self.segments.insert(at, Arc::clone(live));
            self.keys = OnceLock::new();
            return true;
        }
        false
    }

    /// Appends a segment if all of the run ends before it.
    fn push_behind(&mut self, live: &Arc<LiveSegment>) -> bool {
        let fits = self.last().is_some_and(|last| last.ends_before(live));
        if fits {
            self.segments.push(Arc::clone(live));
            self.keys = OnceLock::new();
        }
        fits
    }
}

/// Sorted runs of segments: the *bottom* run first, with what is disjoint from it, then the fewest runs that hold the rest. The order tells
/// nothing about age: at most one row of an id is alive.
///
/// The bottom stays the bottom until another run is twice as large: the others are cut where its segments end.
pub(crate) fn arrange(mut runs: Vec<Run>, added: impl IntoIterator<Item = Arc<LiveSegment>>) -> Vec<Run> {
    let sizes: Vec<u64> = runs.iter().map(Run::bytes).collect();
    let largest = (0..sizes.len()).max_by_key(|index| sizes.get(*index)).unwrap_or(0);
    if sizes.get(largest) > sizes.first().map(|bytes| bytes * 2).as_ref() {
        runs.swap(0, largest);
    }
    let mut runs = runs.into_iter();
    let mut bottom = runs.next().unwrap_or_default();
    let mut rest: Vec<Arc<LiveSegment>> = runs.flat_map(|run| run.segments).chain(added).collect();
    // Interval partitioning: by first id, each into a run that ends before it; no other arrangement needs fewer runs.
    rest.sort_by(|a, b| a.bounds().cmp(&b.bounds()));
    let mut uppers: Vec<Run> = Vec::new();
    for live in rest {
        if !bottom.insert_disjoint(&live) && !uppers.iter_mut().any(|run| run.push_behind(&live)) {
            uppers.push(Run::from_iter([live]));
        }
    }
    std::iter::once(bottom).chain(uppers).filter(|run| !run.is_empty()).collect()
}
