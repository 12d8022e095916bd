use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{CollectionMeta, Pending, Run};
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
    pub(super) fn ends_before(&self, other: &Self) -> bool {
        self.bounds().zip(other.bounds()).is_some_and(|((_, last), (first, _))| last < first)
    }

    /// Whether an id can stand in both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        !self.ends_before(other) && !other.ends_before(self)
    }

    /// Whether the id can stand in it.
    pub(super) fn may_hold(&self, id: &[u8]) -> bool {
        self.bounds().is_none_or(|(first, last)| first <= id && id <= last)
    }
}

/// The segments of one collection: sorted runs as [`super::arrange`] puts them.
///
/// Invariant: at most one row of an id is not in a kill set or pending map.
#[derive(Debug)]
pub(crate) struct CollectionVersion {
    pub(crate) meta: Arc<CollectionMeta>,
    pub(crate) next_ordinal: Ordinal,
    pub(crate) runs: Vec<Run>,
}

impl CollectionVersion {
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.runs.iter().flat_map(|run| run.iter())
    }

    /// The run that others are merged into.
    pub(crate) fn bottom(&self) -> Option<&[Arc<LiveSegment>]> {
        self.runs.first().map(|run| &**run)
    }

    pub(crate) fn live_rows(&self) -> u64 {
        self.segments().map(|live| live.live_rows()).sum()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments().map(|live| live.live_bytes()).sum()
    }

    /// See [`Version::edited`]. Most publications change few of the collections: the others are shared.
    fn edited(self: &Arc<Self>, change: &mut impl FnMut(&Arc<LiveSegment>) -> Option<Option<Arc<LiveSegment>>>) -> Arc<Self> {
        let changes: Vec<_> = self.segments().map(change).collect();
        if changes.iter().all(Option::is_none) {
            return Arc::clone(self);
        }
        let mut changes = changes.into_iter();
        let mut changed = |live: &Arc<LiveSegment>| changes.next().flatten().unwrap_or_else(|| Some(Arc::clone(live)));
        let runs = self.runs.iter().map(|run| run.iter().filter_map(&mut changed).collect()).filter(|run: &Run| !run.is_empty()).collect();
        Arc::new(Self { meta: Arc::clone(&self.meta), next_ordinal: self.next_ordinal, runs })
    }

    /// The live row of an id. A damaged segment is an error only if no other one holds the id.
    pub(crate) fn find(&self, id: &[u8], at: Sequence) -> Result<Option<(&Arc<LiveSegment>, u32)>> {
        find_in(self.candidates(id), id, at, &mut Probes::default())
    }

    /// The segments that may hold an id, one of each run, and what they look it up by.
    pub(super) fn candidates<'a>(&'a self, id: &[u8]) -> impl Iterator<Item = Candidate<'a>> {
        self.runs.iter().flat_map(move |run| run.candidates(id)).map(move |live| Candidate {
            live,
            hash: live.segment.hash(id),
            guess: None,
        })
    }
}

/// A segment that may hold an id.
#[derive(Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub(super) live: &'a Arc<LiveSegment>,
    /// Of the id, as this segment hashes.
    pub(super) hash: u64,
    /// The row that probably has the id, where that was looked up before.
    pub(super) guess: Option<u32>,
}

/// See [`CollectionVersion::find`]; counts what is asked.
pub(super) fn find_in<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    id: &[u8],
    at: Sequence,
    probes: &mut Probes,
) -> Result<Option<(&'a Arc<LiveSegment>, u32)>> {
    let mut damage: Option<Error> = None;
    for Candidate { live, hash, guess } in candidates {
        probes.asked += 1;
        match live.segment.find_guessed(id, hash, guess) {
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
    damage.map_or(Ok(None), Err)
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
        let collections = self.collections.iter().map(|(id, collection)| (*id, collection.edited(&mut change)));
        Self { flushed_through: self.flushed_through, collections: collections.collect() }
    }

    /// Its segments by their numbers.
    pub(crate) fn by_id(&self) -> HashMap<SegmentId, &Arc<LiveSegment>> {
        self.segments().map(|live| (live.entry.id, live)).collect()
    }

    /// What the manifest says of the collections.
    pub(crate) fn collection_entries(&self) -> Vec<CollectionEntry> {
        let entry = |collection: &Arc<CollectionVersion>| CollectionEntry {
            id: collection.meta.id,
            dimension: collection.meta.dimension,
            metric: collection.meta.metric,
            codes: collection.meta.codes,
            next_ordinal: collection.next_ordinal,
            name: collection.meta.name.clone(),
            runs: collection.runs.iter().map(|run| run.iter().map(|live| live.entry).collect()).collect(),
        };
        self.collections.values().map(entry).collect()
    }
}
