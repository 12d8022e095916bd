use super::shape::{CollectionShape, SegmentShape, Shape};
use crate::{
    error::Result,
    types::{CollectionId, FileNumber, SegmentId},
    version::{LiveSegment, segment_bytes},
};

/// A part of the id space: behind `after`, up to and with `through`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdRange {
    pub(crate) after: Option<Box<[u8]>>,
    pub(crate) through: Option<Box<[u8]>>,
}

impl IdRange {
    /// The rows of a segment that lie in it.
    pub(crate) fn rows_of(&self, live: &LiveSegment) -> Result<std::ops::Range<u32>> {
        // "Behind an id" is "from its successor on", and that is the id with a zero byte appended.
        let behind = |id: &[u8]| {
            let mut successor = id.to_vec();
            successor.push(0);
            live.segment.lower_bound(&successor)
        };
        let start = self.after.as_ref().map_or(Ok(0), |after| behind(after))?;
        let end = self.through.as_ref().map_or(Ok(live.segment.rows()), |through| behind(through))?;
        Ok(start..end.max(start))
    }
}

/// Rows of one collection that are merged into one sorted sequence of segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merge {
    pub(crate) collection: CollectionId,
    pub(crate) inputs: Vec<SegmentId>,
    pub(crate) range: IdRange,
    pub(crate) cut: Cut,
}

/// Where output segments end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// In pieces of equal size: a new part of the bottom run.
    Evenly,
    /// Where segments of the bottom run do: an upper run.
    AtBounds,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Merge segments; several small merges, each of its own collection, are published together.
    Merge(Vec<Merge>),
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

/// Segments merged at a time.
const FAN_IN: usize = 4;
/// Bytes of small merges that one publication may wait for, and of small files that are rewritten together.
const TOGETHER_BYTES: u64 = 16 << 20;

impl Mode {
    /// Dead bytes tolerated.
    fn slack(self, live: u64, memtable: u64) -> u64 {
        match self {
            Self::Busy => live / 2 + memtable / 4,
            Self::Idle => live / 8 + (256 << 10),
            Self::Full => 0,
        }
    }

    /// Segments that may overlap above the bottom run.
    fn depth(self, growth: u64) -> usize {
        match self {
            Self::Full => 0,
            Self::Idle => 3,
            Self::Busy => 4 + (u64::BITS - growth.leading_zeros()) as usize,
        }
    }
}

/// Chooses the next compaction, `None` when nothing is due. Pure: the same shape gives the same choice.
pub(crate) fn choose(shape: &Shape, mode: Mode) -> Option<Choice> {
    if let Some(choice) = erase(shape) {
        return Some(choice);
    }
    let mut merges = Vec::new();
    let mut bytes = 0;
    for collection in &shape.collections {
        let Some(merge) = limit_depth(shape, collection, mode).or_else(|| join_small(shape, collection)) else { continue };
        bytes += collection.bytes_of(&merge.inputs);
        merges.push(merge);
        if bytes >= TOGETHER_BYTES {
            break;
        }
    }
    if !merges.is_empty() {
        return Some(Choice::Merge(merges));
    }
    reclaim(shape, mode)
}

/// Deleted bytes that have been in a file for long enough.
fn erase(shape: &Shape) -> Option<Choice> {
    together(shape.files.iter().filter(|file| file.erase_due).map(|file| (file.number, file.bytes)))
}

/// Files to be rewritten in one publication: the first ones, as long as they are small.
fn together(files: impl Iterator<Item = (FileNumber, u64)>) -> Option<Choice> {
    let mut taken = 0;
    let chosen: Vec<_> = files
        .take_while(|(_, bytes)| {
            let first = taken == 0;
            taken += bytes;
            first || taken <= TOGETHER_BYTES
        })
        .map(|(number, _)| number)
        .collect();
    (!chosen.is_empty()).then_some(Choice::Rewrite(chosen))
}

/// Too many segments over one another make reads slow: merge the smallest above the bottom run. As no two live rows share an id, segments
/// of any age may be merged.
fn limit_depth(shape: &Shape, collection: &CollectionShape, mode: Mode) -> Option<Merge> {
    let limit = mode.depth(collection.live_bytes() / shape.memtable_bytes.max(1));
    let uppers = collection.uppers();
    let mut pile = deepest(&uppers);
    if pile.len() <= limit {
        return None;
    }
    if mode == Mode::Full {
        return sweep(shape, collection, mode);
    }
    pile.sort_by_key(|segment| segment.live_bytes());
    pile.truncate(FAN_IN);
    let bytes: u64 = pile.iter().map(|segment| segment.bytes).sum();
    // A merge needs room for its outputs until its inputs go; range by range it needs less.
    let room = collection.live_bytes() + collection.live_bytes() * 3 / 5 + shape.memtable_bytes / 2;
    if collection.total_bytes() + bytes > room {
        return sweep(shape, collection, mode);
    }
    let inputs = pile.iter().map(|segment| segment.id).collect();
    Some(Merge { collection: collection.id, inputs, range: IdRange::default(), cut: Cut::AtBounds })
}

/// The most segments that overlap at one id.
fn deepest<'a>(segments: &[&'a SegmentShape]) -> Vec<&'a SegmentShape> {
    let mut by_first = segments.to_vec();
    by_first.sort_by(|a, b| a.first.cmp(&b.first));
    let mut open: Vec<&SegmentShape> = Vec::new();
    let mut most: Vec<&SegmentShape> = Vec::new();
    for segment in by_first {
        open.retain(|other| other.last >= segment.first);
        open.push(segment);
        if open.len() > most.len() {
            most.clone_from(&open);
        }
    }
    most
}

/// Neighbours in a run that are far below the size of a segment (ascending loads make such).
fn join_small(shape: &Shape, collection: &CollectionShape) -> Option<Merge> {
    let target = segment_bytes(collection.live_bytes(), shape.grain);
    let run = collection.bottom()?;
    let mut small: Vec<&SegmentShape> = Vec::new();
    let (mut bytes, mut memory) = (0, 0);
    for segment in run {
        // What is joined must fit one segment, in memory too: else it is cut again where it was, and joined again, without end.
        let fits = bytes + segment.bytes <= target && memory + segment.memory <= shape.merge_bytes;
        if segment.bytes > target / 4 || !fits {
            small.clear();
            (bytes, memory) = (0, 0);
        }
        if segment.bytes <= target / 4 {
            small.push(segment);
            bytes += segment.bytes;
            memory += segment.memory;
        }
        // Sixteen at a time: each byte is joined at most a few times on its way to a full segment.
        if small.len() >= 16 {
            let inputs = small.iter().map(|segment| segment.id).collect();
            return Some(Merge { collection: collection.id, inputs, range: IdRange::default(), cut: Cut::Evenly });
        }
    }
    None
}

/// Dead bytes beyond what the mode tolerates.
fn reclaim(shape: &Shape, mode: Mode) -> Option<Choice> {
    let dead = shape.dead_bytes();
    if dead == 0 || dead <= mode.slack(shape.live_bytes(), shape.memtable_bytes) {
        return None;
    }
    // One large collection is swept range by range; many small ones share files, which are rewritten.
    let worst = shape.collections.iter().max_by_key(|collection| collection.dead_bytes());
    let by_merge = worst.filter(|collection| collection.dead_bytes() * 4 > dead).and_then(|collection| sweep(shape, collection, mode));
    by_merge.map(|merge| Choice::Merge(vec![merge])).or_else(|| {
        let mut files: Vec<_> = shape.files.iter().filter(|file| file.dead_bytes > 0).collect();
        files.sort_by_key(|file| std::cmp::Reverse((u128::from(file.dead_bytes) << 32) / u128::from(file.bytes.max(1))));
        together(files.iter().map(|file| (file.number, file.bytes)))
    })
}

/// Merges one id range of all runs into the bottom run, where it frees most for what it writes.
fn sweep(shape: &Shape, collection: &CollectionShape, mode: Mode) -> Option<Merge> {
    let mut best: Option<(f64, Merge)> = None;
    for Part { range, is_whole } in ranges(shape, collection, mode) {
        let (mut gain, mut written, mut inputs) = (0, 0, Vec::new());
        for (depth, segment) in collection.with_depth() {
            let live = segment.bytes_in(&range);
            if live == 0 {
                continue;
            }
            inputs.push(segment.id);
            written += live;
            gain += match (segment.is_within(&range), depth > 0 && is_whole) {
                // Its rows leave the upper runs for good, and a segment goes with its last row.
                (true, true) => segment.bytes,
                (false, true) => live,
                (true, false) => segment.dead_bytes(),
                (false, false) => 0,
            };
        }
        let ratio = gain as f64 / written.max(1) as f64;
        if gain > 0 && best.as_ref().is_none_or(|(most, _)| ratio > *most) {
            best = Some((ratio, Merge { collection: collection.id, inputs, range, cut: Cut::Evenly }));
        }
    }
    best.map(|(_, merge)| merge)
}

/// A range that may be swept.
struct Part {
    range: IdRange,
    /// Whether it ends where segments of the bottom run do, so that what is merged has room there.
    is_whole: bool,
}

/// Splits the id space where segments of the bottom run end, into parts of about a segment's size; where what lies over one of them is much
/// more than that, where upper segments end too.
fn ranges(shape: &Shape, collection: &CollectionShape, mode: Mode) -> Vec<Part> {
    let target = segment_bytes(collection.live_bytes(), shape.grain);
    let Some(bottom) = collection.bottom() else { return Vec::new() };
    let mut ends: Vec<Option<&[u8]>> = bottom.iter().map(|segment| Some(&*segment.last)).collect();
    // The last part is open: above all that the bottom holds.
    if let Some(last) = ends.last_mut() {
        *last = None;
    }
    let mut parts = Vec::new();
    let mut after: Option<Box<[u8]>> = None;
    for end in ends {
        let range = IdRange { after: after.clone(), through: end.map(Box::from) };
        let bytes = collection.live_in(&range);
        if bytes < target * 3 / 4 && end.is_some() {
            continue;
        }
        if bytes > target * 2 && mode != Mode::Full {
            parts.extend(split(collection, &range, target).into_iter().map(|range| Part { range, is_whole: false }));
        } else {
            parts.push(Part { range, is_whole: true });
        }
        after = end.map(Box::from);
    }
    parts
}

fn split(collection: &CollectionShape, range: &IdRange, target: u64) -> Vec<IdRange> {
    let inside =
        |id: &[u8]| range.after.as_ref().is_none_or(|after| id > after) && range.through.as_ref().is_none_or(|through| id < through);
    let mut cuts: Vec<&[u8]> = collection.uppers().iter().map(|segment| &*segment.last).filter(|last| inside(last)).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut parts = Vec::new();
    let mut after = range.after.clone();
    for cut in cuts {
        let part = IdRange { after: after.clone(), through: Some(cut.into()) };
        if collection.live_in(&part) >= target {
            after.clone_from(&part.through);
            parts.push(part);
        }
    }
    parts.push(IdRange { after, through: range.through.clone() });
    parts
}

#[cfg(test)]
#[path = "strategy_tests.rs"]
mod tests;
