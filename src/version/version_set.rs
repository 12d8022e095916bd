use std::collections::{BTreeMap, BTreeSet};

use super::{CollectionMeta, Pending};
use crate::{
    error::{Error, Result},
    format::manifest::{CollectionEntry, SegmentEntry},
    observe::Probes,
    segment::{KillSet, Segment},
    sync::Arc,
    types::{CollectionId, FileNumber, Ordinal, SegmentId, Sequence},
};

/// A segment of a version with the rows of it that are dead.
#[derive(Debug)]
pub(crate) struct LiveSegment {
    pub(crate) segment: Arc<Segment>,
    /// As the manifest names it.
    pub(crate) entry: SegmentEntry,
    /// Rows dead by the manifest.
    pub(crate) kills: Arc<KillSet>,
    /// Rows that died since.
    pub(crate) pending: Arc<Pending>,
    /// First and last id; unknown if their block is damaged.
    bounds: Option<IdBounds>,
}

/// First and last id.
type IdBounds = (Box<[u8]>, Box<[u8]>);

impl LiveSegment {
    pub(crate) fn new(segment: Arc<Segment>, entry: SegmentEntry, kills: Arc<KillSet>, pending: Arc<Pending>) -> Self {
        let id_of = |row| {
            let mut id = Vec::new();
            segment.id_of(row, &mut id).ok()?;
            Some(id.into_boxed_slice())
        };
        let bounds = id_of(0).zip(segment.rows().checked_sub(1).and_then(id_of));
        Self { segment, entry, kills, pending, bounds }
    }

    /// The same segment with another kill set or place of it.
    pub(crate) fn with(&self, entry: SegmentEntry, kills: Arc<KillSet>, pending: Arc<Pending>) -> Self {
        Self { segment: Arc::clone(&self.segment), entry, kills, pending, bounds: self.bounds.clone() }
    }

    /// Whether a row is visible at a sequence of the view this version belongs to.
    pub(crate) fn is_live(&self, row: u32, at: Sequence) -> bool {
        !self.kills.contains(row) && !self.pending.is_dead(row, at)
    }

    /// Rows not dead by the manifest.
    pub(crate) fn live_rows(&self) -> u64 {
        u64::from(self.segment.rows()).saturating_sub(u64::from(self.kills.count()))
    }

    /// Its share of bytes that live rows occupy.
    pub(crate) fn live_bytes(&self) -> u64 {
        (u128::from(self.entry.len) * u128::from(self.live_rows()) / u128::from(self.segment.rows().max(1))) as u64
    }

    pub(crate) fn bounds(&self) -> Option<(&[u8], &[u8])> {
        self.bounds.as_ref().map(|(first, last)| (&**first, &**last))
    }

    /// Whether all of its ids are below all of another's; `false` where that is not known.
    fn ends_before(&self, other: &Self) -> bool {
        self.bounds().zip(other.bounds()).is_some_and(|((_, last), (first, _))| last < first)
    }

    /// Whether the id can stand in it.
    fn may_hold(&self, id: &[u8]) -> bool {
        self.bounds().is_none_or(|(first, last)| first <= id && id <= last)
    }
}

/// The segments of one collection: sorted runs, each of segments disjoint in id range and ascending, as [`arrange`] puts them.
///
/// Invariant: at most one row of an id is not in a kill set or pending map.
#[derive(Debug)]
pub(crate) struct CollectionVersion {
    pub(crate) meta: Arc<CollectionMeta>,
    pub(crate) next_ordinal: Ordinal,
    pub(crate) runs: Vec<Vec<Arc<LiveSegment>>>,
}

/// Sorted runs of segments: the *bottom* run first, with what is disjoint from it, then the fewest runs that hold the rest. The order tells
/// nothing about age: at most one row of an id is alive.
///
/// The bottom stays the bottom until another run is twice as large: the others are cut where its segments end.
pub(crate) fn arrange(
    mut runs: Vec<Vec<Arc<LiveSegment>>>,
    added: impl IntoIterator<Item = Arc<LiveSegment>>,
) -> Vec<Vec<Arc<LiveSegment>>> {
    let size = |run: &Vec<Arc<LiveSegment>>| run.iter().map(|live| live.entry.len).sum::<u64>();
    let sizes: Vec<u64> = runs.iter().map(size).collect();
    let largest = (0..sizes.len()).max_by_key(|index| sizes.get(*index)).unwrap_or(0);
    if sizes.get(largest) > sizes.first().map(|bytes| bytes * 2).as_ref() {
        runs.swap(0, largest);
    }
    let mut runs = runs.into_iter();
    let mut bottom = runs.next().unwrap_or_default();
    let mut rest: Vec<Arc<LiveSegment>> = runs.flatten().chain(added).collect();
    // Interval partitioning: by first id, each into a run that ends before it; no other arrangement needs fewer runs.
    rest.sort_by(|a, b| a.bounds().cmp(&b.bounds()));
    let mut uppers: Vec<Vec<Arc<LiveSegment>>> = Vec::new();
    for live in rest {
        if insert_disjoint(&mut bottom, &live) {
            continue;
        }
        let fits = |run: &Vec<Arc<LiveSegment>>| run.last().is_some_and(|last| last.ends_before(&live));
        match uppers.iter_mut().find(|run| fits(run)) {
            Some(run) => run.push(live),
            None => uppers.push(vec![live]),
        }
    }
    std::iter::once(bottom).chain(uppers).filter(|run| !run.is_empty()).collect()
}

/// Inserts a segment into a run that has room for it; `false` if it overlaps one of the run's, or where any of their bounds is unknown.
fn insert_disjoint(run: &mut Vec<Arc<LiveSegment>>, live: &Arc<LiveSegment>) -> bool {
    if live.bounds().is_none() || run.iter().any(|other| other.bounds().is_none()) {
        return false;
    }
    let at = run.partition_point(|other| other.bounds() < live.bounds());
    let behind = at.checked_sub(1).and_then(|before| run.get(before)).is_none_or(|before| before.ends_before(live));
    if behind && run.get(at).is_none_or(|after| live.ends_before(after)) {
        run.insert(at, Arc::clone(live));
        return true;
    }
    false
}

impl CollectionVersion {
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.runs.iter().flatten()
    }

    /// The run that others are merged into.
    pub(crate) fn bottom(&self) -> Option<&[Arc<LiveSegment>]> {
        self.runs.first().map(Vec::as_slice)
    }

    pub(crate) fn live_rows(&self) -> u64 {
        self.segments().map(|live| live.live_rows()).sum()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments().map(|live| live.live_bytes()).sum()
    }

    /// The live row of an id. A damaged segment is an error only if no other one holds the id.
    pub(crate) fn find(&self, id: &[u8], at: Sequence) -> Result<Option<(&Arc<LiveSegment>, u32)>> {
        self.probe(id, at, &mut Probes::default())
    }

    /// [`Self::find`], which also counts what it asked.
    pub(crate) fn probe(&self, id: &[u8], at: Sequence, probes: &mut Probes) -> Result<Option<(&Arc<LiveSegment>, u32)>> {
        let mut damage: Option<Error> = None;
        for run in &self.runs {
            let candidates = if run.iter().all(|live| live.bounds.is_some()) {
                let after = run.partition_point(|live| live.bounds().is_some_and(|(first, _)| first <= id));
                run.get(after.saturating_sub(1)..after).unwrap_or_default()
            } else {
                run
            };
            for live in candidates.iter().filter(|live| live.may_hold(id)) {
                probes.asked += 1;
                match live.segment.find(id) {
                    Ok(Some(row)) => {
                        probes.held += 1;
                        if live.is_live(row, at) {
                            return Ok(Some((live, row)));
                        }
                    }
                    Ok(None) => {}
                    Err(error) => damage = damage.or(Some(error)),
                }
            }
        }
        damage.map_or(Ok(None), Err)
    }
}

/// All segments of a database as one manifest names them.
#[derive(Debug, Default)]
pub(crate) struct Version {
    /// Every batch up to this sequence is in the segments.
    pub(crate) flushed_through: Sequence,
    pub(crate) collections: BTreeMap<CollectionId, Arc<CollectionVersion>>,
}

impl Version {
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.collections.values().flat_map(|collection| collection.segments())
    }

    /// Numbers of the files that hold a segment.
    pub(crate) fn segment_files(&self) -> BTreeSet<FileNumber> {
        self.segments().map(|live| live.entry.file).collect()
    }

    /// Numbers of the files that hold a segment or a kill block.
    pub(crate) fn files(&self) -> BTreeSet<FileNumber> {
        self.segments().flat_map(|live| [Some(live.entry.file), live.entry.kills.map(|kills| kills.file)]).flatten().collect()
    }

    /// A copy in which segments are replaced (`Some(Some)`), dropped (`Some(None)`) or kept (`None`); runs left empty disappear.
    pub(crate) fn edited(&self, mut change: impl FnMut(&Arc<LiveSegment>) -> Option<Option<Arc<LiveSegment>>>) -> Self {
        let collections = self.collections.iter().map(|(id, collection)| {
            let runs = collection
                .runs
                .iter()
                .map(|run| run.iter().filter_map(|live| change(live).unwrap_or_else(|| Some(Arc::clone(live)))).collect());
            let runs: Vec<Vec<_>> = runs.filter(|run: &Vec<_>| !run.is_empty()).collect();
            let (meta, next_ordinal) = (Arc::clone(&collection.meta), collection.next_ordinal);
            (*id, Arc::new(CollectionVersion { meta, next_ordinal, runs }))
        });
        Self { flushed_through: self.flushed_through, collections: collections.collect() }
    }

    pub(crate) fn segment(&self, id: SegmentId) -> Option<&Arc<LiveSegment>> {
        self.segments().find(|live| live.entry.id == id)
    }

    /// What the manifest says of the collections.
    pub(crate) fn collection_entries(&self) -> Vec<CollectionEntry> {
        let entry = |collection: &Arc<CollectionVersion>| CollectionEntry {
            id: collection.meta.id,
            dimension: collection.meta.dimension,
            metric: collection.meta.metric,
            next_ordinal: collection.next_ordinal,
            name: collection.meta.name.clone(),
            runs: collection.runs.iter().map(|run| run.iter().map(|live| live.entry).collect()).collect(),
        };
        self.collections.values().map(entry).collect()
    }
}
