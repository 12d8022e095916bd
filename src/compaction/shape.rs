use std::collections::{BTreeMap, BTreeSet};

use super::strategy::{Choice, IdRange};
use crate::{
    error::Result,
    sync::Arc,
    types::{CollectionId, FileNumber, SegmentId},
    version::{LiveSegment, Publisher, Shared, Version},
};

/// What the strategy sees of a segment.
#[derive(Clone)]
pub(crate) struct SegmentShape {
    pub(crate) id: SegmentId,
    pub(crate) bytes: u64,
    /// What building it takes.
    pub(crate) memory: u64,
    pub(crate) rows: u32,
    pub(crate) dead_rows: u32,
    pub(crate) first: Box<[u8]>,
    pub(crate) last: Box<[u8]>,
    /// How many live rows lie in a range. Exact: an estimate would let a merge be chosen again and again that moves nothing.
    pub(crate) live_rows_in: LiveRowsIn,
}

type LiveRowsIn = Arc<dyn Fn(&IdRange) -> u32>;

impl SegmentShape {
    pub(crate) fn live_bytes(&self) -> u64 {
        self.bytes - self.dead_bytes()
    }

    pub(crate) fn dead_bytes(&self) -> u64 {
        (u128::from(self.bytes) * u128::from(self.dead_rows) / u128::from(self.rows.max(1))) as u64
    }

    /// Whether all of its ids lie in a range.
    pub(crate) fn is_within(&self, range: &IdRange) -> bool {
        range.after.as_ref().is_none_or(|after| *self.first > **after)
            && range.through.as_ref().is_none_or(|through| *self.last <= **through)
    }

    /// Bytes of the live rows in a range; 0 only if there are none.
    pub(crate) fn bytes_in(&self, range: &IdRange) -> u64 {
        let starts_behind = range.through.as_ref().is_some_and(|through| *self.first > **through);
        let ends_before = range.after.as_ref().is_some_and(|after| *self.last <= **after);
        if starts_behind || ends_before {
            return 0;
        }
        if self.is_within(range) {
            return self.live_bytes();
        }
        (u128::from(self.bytes) * u128::from((self.live_rows_in)(range))).div_ceil(u128::from(self.rows.max(1))) as u64
    }
}

/// What the strategy sees of a collection.
#[derive(Clone)]
pub(crate) struct CollectionShape {
    pub(crate) id: CollectionId,
    pub(crate) runs: Vec<Vec<SegmentShape>>,
}

impl CollectionShape {
    fn segments(&self) -> impl Iterator<Item = &SegmentShape> {
        self.runs.iter().flatten()
    }

    /// The run that others are merged into.
    pub(crate) fn bottom(&self) -> Option<&Vec<SegmentShape>> {
        self.runs.first()
    }

    /// The segments of all other runs.
    pub(crate) fn uppers(&self) -> Vec<&SegmentShape> {
        self.runs.iter().skip(1).flatten().collect()
    }

    /// All segments with the number of their run; 0 is the bottom.
    pub(crate) fn with_depth(&self) -> impl Iterator<Item = (usize, &SegmentShape)> {
        self.runs.iter().enumerate().flat_map(|(depth, run)| run.iter().map(move |segment| (depth, segment)))
    }

    /// Bytes of the live rows in a range.
    pub(crate) fn live_in(&self, range: &IdRange) -> u64 {
        self.segments().map(|segment| segment.bytes_in(range)).sum()
    }

    /// Bytes of some of its segments.
    pub(crate) fn bytes_of(&self, segments: &[SegmentId]) -> u64 {
        self.segments().filter(|segment| segments.contains(&segment.id)).map(|segment| segment.bytes).sum()
    }

    pub(crate) fn live_bytes(&self) -> u64 {
        self.segments().map(SegmentShape::live_bytes).sum()
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.segments().map(|segment| segment.bytes).sum()
    }

    pub(crate) fn dead_bytes(&self) -> u64 {
        self.segments().map(SegmentShape::dead_bytes).sum()
    }
}

/// What the strategy sees of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileShape {
    pub(crate) number: FileNumber,
    pub(crate) bytes: u64,
    /// Bytes of segments that nobody references.
    pub(crate) orphaned_bytes: u64,
    /// What rewriting it would free: those, and bytes of dead rows. A file with a segment that was set aside stays, and frees nothing of the
    /// former.
    pub(crate) dead_bytes: u64,
    /// Something deleted has been in it for `erase_after`.
    pub(crate) erase_due: bool,
}

/// What the strategy decides by.
#[derive(Clone, Default)]
pub(crate) struct Shape {
    pub(crate) collections: Vec<CollectionShape>,
    pub(crate) files: Vec<FileShape>,
    /// At which a memtable is flushed.
    pub(crate) memtable_bytes: u64,
    /// [`crate::Options::grain`].
    pub(crate) grain: u64,
    /// [`crate::Options::merge_memory`]: at which a segment ends, whatever its size.
    pub(crate) merge_bytes: u64,
}

impl Shape {
    pub(crate) fn live_bytes(&self) -> u64 {
        self.collections.iter().map(CollectionShape::live_bytes).sum()
    }

    /// What rewriting could free.
    pub(crate) fn dead_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.dead_bytes).sum()
    }

    /// Reads the shape of the newest version. Segments whose ids cannot be read take no part: compaction leaves damage where it is.
    pub(crate) fn of(shared: &Shared) -> Self {
        let publisher = shared.publisher.lock();
        let version = Arc::clone(&shared.view().version);
        let memtable_bytes = shared.options.memtable_bytes as u64 / 2;
        let mut collections = Vec::new();
        for (id, collection) in &version.collections {
            let runs = collection
                .runs
                .iter()
                .map(|run| run.iter().filter(|live| !shared.is_set_aside(live.entry.id)).filter_map(segment_shape).collect::<Vec<_>>());
            let runs: Vec<_> = runs.filter(|run| !run.is_empty()).collect();
            if !runs.is_empty() {
                collections.push(CollectionShape { id: *id, runs });
            }
        }
        let files = file_shapes(shared, &publisher, &version);
        let merge_bytes = shared.options.merge_memory() as u64;
        Self { collections, files, memtable_bytes, grain: shared.options.grain(), merge_bytes }
    }
}

fn segment_shape(live: &Arc<LiveSegment>) -> Option<SegmentShape> {
    let (first, last) = live.bounds()?;
    let rows = live.segment.rows();
    let stride = live.segment.dimension().stride() as u64;
    let counted = Arc::clone(live);
    let live_rows_in = move |range: &IdRange| {
        // Where ids cannot be read a merge will say so, and set the segment aside.
        let rows = range.rows_of(&counted).unwrap_or(0..counted.segment.rows());
        (rows.end - rows.start) - counted.kills.count_in(rows)
    };
    Some(SegmentShape {
        id: live.entry.id,
        bytes: live.entry.len,
        // Everything but its vectors, and a hash for each row.
        memory: live.entry.len.saturating_sub(u64::from(rows) * stride) + u64::from(rows) * 8,
        rows,
        dead_rows: live.kills.count(),
        first: first.into(),
        last: last.into(),
        live_rows_in: Arc::new(live_rows_in),
    })
}

/// What segments use of a file.
#[derive(Clone, Copy, Default)]
struct Used {
    bytes: u64,
    dead_rows_bytes: u64,
    erase_due: bool,
}

fn file_shapes(shared: &Shared, publisher: &Publisher, version: &Version) -> Vec<FileShape> {
    let now = shared.clock().unix_seconds();
    // Deleted bytes may wait in the log before, and in a segment that was merged away behind it: each takes its share of the time.
    // A clock that was set back says nothing of how long they have waited: rather too early.
    let is_due = |since: u64| since > now || u128::from(now.saturating_sub(since)) * 3000 >= shared.options.erase_after.as_millis();
    // While writes go on, rewriting whatever holds a superseded row would rewrite everything all the time.
    let is_settled = shared.since_last_write() * 3 >= shared.options.erase_after;
    let mut used: BTreeMap<FileNumber, Used> = BTreeMap::new();
    let mut set_aside = BTreeSet::new();
    for live in version.segments() {
        if shared.is_set_aside(live.entry.id) {
            set_aside.insert(live.entry.file);
        }
        let file = used.entry(live.entry.file).or_default();
        file.bytes += live.entry.len;
        if !shared.is_set_aside(live.entry.id) {
            file.dead_rows_bytes += live.entry.len.saturating_sub(live.live_bytes());
        }
        file.erase_due |= live.entry.kills.is_some_and(|kills| is_settled || (kills.deleted_since > 0 && is_due(kills.deleted_since)));
    }
    let shape = |(number, named): (&FileNumber, &crate::version::NamedFile)| {
        let placed: u64 = named.file.footer().segments.iter().map(|place| place.len).sum();
        let Used { bytes, dead_rows_bytes, erase_due } = used.get(number).copied().unwrap_or_default();
        let orphaned = placed.saturating_sub(bytes);
        let orphaned_due = orphaned > 0 && is_due(publisher.dead_since(*number));
        let stays = set_aside.contains(number);
        FileShape {
            number: *number,
            bytes: named.entry.len,
            orphaned_bytes: orphaned,
            dead_bytes: if stays { dead_rows_bytes } else { orphaned + dead_rows_bytes },
            erase_due: (erase_due || orphaned_due) && bytes > 0 && !stays,
        }
    };
    publisher.files().iter().map(shape).collect()
}

/// Files that are not compact: they hold bytes of no use, or a segment above the bottom. Without those that stay for damage.
pub(crate) fn loose_files(shared: &Shared) -> BTreeSet<FileNumber> {
    let publisher = shared.publisher.lock();
    let version = Arc::clone(&shared.view().version);
    let holes = file_shapes(shared, &publisher, &version).into_iter().filter(|file| file.dead_bytes > 0).map(|file| file.number);
    let uppers = version.collections.values().flat_map(|collection| collection.runs.iter().skip(1)).flat_map(|run| run.iter());
    let mut loose: BTreeSet<FileNumber> = holes.chain(uppers.map(|live| live.entry.file)).collect();
    for live in version.segments().filter(|live| live.bounds().is_none() || shared.is_set_aside(live.entry.id)) {
        loose.remove(&live.entry.file);
    }
    loose
}

/// Rewrites every file that holds any of these ids, dead or alive, and every file with a dead segment.
pub(crate) fn rewrite_choice(shared: &Shared, collection: CollectionId, ids: &[&[u8]]) -> Result<Option<Choice>> {
    let publisher = shared.publisher.lock();
    let version = Arc::clone(&shared.view().version);
    let mut files: Vec<FileNumber> =
        file_shapes(shared, &publisher, &version).iter().filter(|file| file.orphaned_bytes > 0).map(|file| file.number).collect();
    for live in version.collections.get(&collection).iter().flat_map(|collection| collection.segments()) {
        for id in ids {
            if live.segment.find(id)?.is_some() {
                files.push(live.entry.file);
                break;
            }
        }
    }
    files.sort_unstable();
    files.dedup();
    let holders = version.segment_files();
    files.retain(|file| holders.contains(file));
    Ok((!files.is_empty()).then_some(Choice::Rewrite(files)))
}
