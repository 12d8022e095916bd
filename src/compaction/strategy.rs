use super::shape::{CollectionShape, SegmentShape, Shape};
use crate::types::{CollectionId, FileNumber, SegmentId};

/// A part of the id space: behind `after`, up to and with `through`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) after: Option<Box<[u8]>>,
    pub(crate) through: Option<Box<[u8]>>,
}

/// Rows of one collection that are merged into one sorted sequence of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) collection: CollectionId,
    pub(crate) inputs: Vec<SegmentId>,
    pub(crate) range: IdRange,
    /// The run the outputs join (that of this segment); a new one if absent.
    pub(crate) into_run_of: Option<SegmentId>,
    /// Bytes at which an output segment ends.
    pub(crate) segment_bytes: u64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Merge sorted runs.
    Merge(Merge),
    /// Rewrite files without their dead bytes, each segment where it is.
    Rewrite(Vec<FileNumber>),
}

/// How hard to work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Writes go on: keep the bounds at little cost.
    Busy,
    /// Writes pause: make it compact.
    Idle,
    /// Asked for: leave one run and no dead byte.
    Full,
}

/// Runs merged at a time.
const FAN_IN: usize = 4;

impl Mode {
    /// Dead bytes tolerated.
    fn slack(self, live: u64) -> u64 {
        match self {
            Self::Busy => live / 2 + (8 << 20),
            Self::Idle => live / 8 + (256 << 10),
            Self::Full => 0,
        }
    }
}

/// Chooses the next compaction, `None` when nothing is due. Pure: the same shape gives the same choice.
pub(crate) fn choose(shape: &Shape, mode: Mode) -> Option<Choice> {
    if let Some(choice) = erase(shape) {
        return Some(choice);
    }
    let crowded = shape.collections.iter().find_map(|collection| limit_runs(shape, collection, mode).or_else(|| join_small(collection)));
    crowded.or_else(|| reclaim(shape, mode))
}

/// Deleted bytes that have been in a file for long enough.
fn erase(shape: &Shape) -> Option<Choice> {
    let due: Vec<_> = shape.files.iter().filter(|file| file.erase_due).map(|file| file.number).take(1).collect();
    (!due.is_empty()).then_some(Choice::Rewrite(due))
}

/// Size at which segments of a collection end.
fn segment_bytes(collection: &CollectionShape) -> u64 {
    (collection.live_bytes() / 16).clamp(1 << 20, 64 << 20)
}

/// Too many runs make reads slow: merge the smallest. As no two live rows share an id, runs of any age may be merged.
fn limit_runs(shape: &Shape, collection: &CollectionShape, mode: Mode) -> Option<Choice> {
    let runs = collection.runs.len();
    let growth = collection.live_bytes() / shape.memtable_bytes.max(1);
    let limit = match mode {
        Mode::Full => 1,
        Mode::Idle => 4,
        Mode::Busy => 5 + (u64::BITS - growth.leading_zeros()) as usize,
    };
    if runs <= limit {
        return None;
    }
    let mut by_size: Vec<_> = collection.runs.iter().map(|run| (run.iter().map(SegmentShape::live_bytes).sum::<u64>(), run)).collect();
    by_size.sort_by_key(|(bytes, _)| *bytes);
    let count = if mode == Mode::Full { runs } else { FAN_IN.min(runs) };
    let chosen = by_size.get(..count)?;
    let bytes: u64 = chosen.iter().map(|(bytes, _)| bytes).sum();
    // A merge needs room for its outputs until its inputs go; range by range it needs less.
    let room = collection.live_bytes() + collection.live_bytes() * 3 / 5 + (16 << 20);
    if mode != Mode::Full && collection.total_bytes() + bytes > room {
        return sweep(collection);
    }
    Some(Choice::Merge(Merge {
        collection: collection.id,
        inputs: chosen.iter().flat_map(|(_, run)| run.iter().map(|segment| segment.id)).collect(),
        range: IdRange::default(),
        into_run_of: None,
        segment_bytes: segment_bytes(collection),
    }))
}

/// Neighbours in a run that are far below the size of a segment (ascending loads make such).
fn join_small(collection: &CollectionShape) -> Option<Choice> {
    let target = segment_bytes(collection);
    for run in &collection.runs {
        let mut small: Vec<&SegmentShape> = Vec::new();
        let mut bytes = 0;
        for segment in run {
            if segment.bytes > target / 4 || bytes + segment.bytes > target {
                small.clear();
                bytes = 0;
            }
            if segment.bytes <= target / 4 {
                small.push(segment);
                bytes += segment.bytes;
            }
            // Sixteen at a time: each byte is joined at most a few times on its way to a full segment.
            if small.len() >= 16 {
                return Some(Choice::Merge(Merge {
                    collection: collection.id,
                    inputs: small.iter().map(|segment| segment.id).collect(),
                    range: IdRange::default(),
                    into_run_of: small.first().map(|segment| segment.id),
                    segment_bytes: target,
                }));
            }
        }
    }
    None
}

/// Dead bytes beyond what the mode tolerates.
fn reclaim(shape: &Shape, mode: Mode) -> Option<Choice> {
    let (live, total) = (shape.live_bytes(), shape.total_bytes());
    let dead = total.saturating_sub(live);
    if dead == 0 || dead <= mode.slack(live) {
        return None;
    }
    let worst = shape.collections.iter().max_by_key(|collection| collection.dead_bytes());
    let by_merge = worst.filter(|collection| collection.dead_bytes() * 4 > dead).and_then(sweep);
    by_merge.or_else(|| {
        let file = shape.files.iter().filter(|file| file.dead_bytes > 0).max_by_key(|file| file.dead_bytes)?;
        Some(Choice::Rewrite(vec![file.number]))
    })
}

/// Merges one id range of all runs into the largest run, where it frees most for what it writes.
fn sweep(collection: &CollectionShape) -> Option<Choice> {
    let bottom = collection.runs.iter().max_by_key(|run| run.iter().map(SegmentShape::live_bytes).sum::<u64>())?;
    let target = segment_bytes(collection);
    let mut best: Option<(f64, Merge)> = None;
    let mut start = 0;
    while start < bottom.len() {
        let mut end = start;
        let mut bytes = 0;
        while end < bottom.len() && (end == start || bytes < target * 3 / 4) {
            bytes += bottom.get(end).map_or(0, SegmentShape::live_bytes);
            end += 1;
        }
        let window = bottom.get(start..end)?;
        let range = IdRange {
            after: start.checked_sub(1).and_then(|before| bottom.get(before)).map(|segment| segment.last.clone()),
            through: if end == bottom.len() { None } else { window.last().map(|segment| segment.last.clone()) },
        };
        let uppers = || collection.runs.iter().filter(|run| !std::ptr::eq(*run, bottom)).flatten();
        let overlapping: Vec<_> = uppers().map(|segment| (segment, segment.bytes_in(&range))).filter(|(_, bytes)| *bytes > 0).collect();
        let upper: u64 = overlapping.iter().map(|(_, bytes)| bytes).sum();
        let dead: u64 = window.iter().map(SegmentShape::dead_bytes).sum();
        let gain = (upper + dead) as f64 / (bytes + upper).max(1) as f64;
        if upper + dead > 0 && best.as_ref().is_none_or(|(most, _)| gain > *most) {
            let inputs = window.iter().map(|segment| segment.id).chain(overlapping.iter().map(|(segment, _)| segment.id));
            let merge = Merge {
                collection: collection.id,
                inputs: inputs.collect(),
                range,
                into_run_of: window.first().map(|segment| segment.id),
                segment_bytes: target,
            };
            best = Some((gain, merge));
        }
        start = end;
    }
    best.map(|(_, merge)| Choice::Merge(merge))
}
