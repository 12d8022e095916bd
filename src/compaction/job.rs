use super::{
    publish::publish_parts,
    strategy::{Choice, Cut, Merge},
};
use crate::{
    error::{ErrorKind, Result},
    merge::{Input, merge},
    observe::event,
    sync::Arc,
    types::{CollectionId, FileNumber, SegmentId},
    version::{CollectionMeta, LiveSegment, Outputs, Shared, Splitter, Version, segment_bytes},
};

/// Rows of one collection that were copied into new segments.
pub(crate) struct Part {
    pub(crate) collection: CollectionId,
    /// Segments with the rows taken from each.
    pub(crate) inputs: Vec<(Arc<LiveSegment>, std::ops::Range<u32>)>,
    /// Segments built, ascending and disjoint.
    pub(crate) built: Vec<SegmentId>,
    /// The same, once their files are finished.
    pub(crate) outputs: Vec<Arc<LiveSegment>>,
}

/// Runs a chosen compaction. `false` if what it chose is gone meanwhile. Damaged inputs are set aside, so that they stop no other work.
pub(crate) fn run(shared: &Shared, choice: &Choice) -> Result<bool> {
    shared.with_room(|| run_once(shared, choice))
}

fn run_once(shared: &Shared, choice: &Choice) -> Result<bool> {
    // Before it looks: a purge that does not see it is seen by it.
    let _running = shared.compacting.begin();
    let version = Arc::clone(&shared.view().version);
    let result = match choice {
        Choice::Merge(merges) => run_merges(shared, &version, merges),
        Choice::Rewrite(files) => run_rewrite(shared, &version, files),
    };
    if let Err(error) = &result
        && error.kind() == ErrorKind::Corruption
    {
        let inputs = version.segments().filter(|live| match choice {
            Choice::Merge(merges) => merges.iter().any(|merge| merge.inputs.contains(&live.entry.id)),
            Choice::Rewrite(files) => files.contains(&live.entry.file),
        });
        let damaged: Vec<SegmentId> = inputs.filter(|live| !live.segment.verify().is_empty()).map(|live| live.entry.id).collect();
        event!(segments = damaged.len(), "damaged segments set aside");
        shared.set_aside(&damaged);
        // Writers must not wait for what will not be freed.
        shared.publisher.lock().measure(shared, &shared.view().version);
    }
    result
}

fn run_merges(shared: &Shared, version: &Version, merges: &[Merge]) -> Result<bool> {
    let grain = shared.options.grain();
    let mut outputs = Outputs::new(shared);
    let mut parts = Vec::new();
    for merge in merges {
        let Some(collection) = version.collections.get(&merge.collection) else { return Ok(false) };
        let mut inputs = Vec::new();
        for id in &merge.inputs {
            let Some(live) = collection.segments().find(|live| live.entry.id == *id) else { return Ok(false) };
            let rows = merge.range.rows_of(live)?;
            if !rows.is_empty() {
                inputs.push((Arc::clone(live), rows));
            }
        }
        let total = live_bytes(&inputs);
        let mut cuts = match merge.cut {
            Cut::Evenly => Cuts::Evenly(even_piece(total, segment_bytes(collection.live_bytes(), grain))),
            Cut::AtBounds => Cuts::AtBounds(Splitter::new(Some(collection), total, grain)),
        };
        parts.push(copy(&mut outputs, &collection.meta, inputs, &mut cuts)?);
    }
    publish_parts(shared, version, parts, &[], outputs)
}

/// About how many bytes of live rows there are in parts of segments.
fn live_bytes(inputs: &[(Arc<LiveSegment>, std::ops::Range<u32>)]) -> u64 {
    let share = |(live, rows): &(Arc<LiveSegment>, std::ops::Range<u32>)| {
        (u128::from(live.live_bytes()) * rows.len() as u128 / u128::from(live.segment.rows().max(1))) as u64
    };
    inputs.iter().map(share).sum()
}

/// Size of equal pieces of about `segment` bytes: half as large again rather than a small one left behind.
fn even_piece(total: u64, segment: u64) -> u64 {
    let pieces = (total * 2 / segment.saturating_mul(3).max(1)) + 1;
    total / pieces + 1
}

/// Where the segments being built end.
enum Cuts {
    /// Once they have so many bytes.
    Evenly(u64),
    AtBounds(Splitter),
    Nowhere,
}

impl Cuts {
    fn ends_before(&mut self, id: &[u8], open_bytes: u64) -> bool {
        match self {
            Self::Evenly(piece) => open_bytes >= *piece,
            Self::AtBounds(splitter) => splitter.ends_before(id, open_bytes),
            Self::Nowhere => false,
        }
    }
}

/// Copies live rows into new segments.
fn copy(
    outputs: &mut Outputs<'_>,
    meta: &CollectionMeta,
    inputs: Vec<(Arc<LiveSegment>, std::ops::Range<u32>)>,
    cuts: &mut Cuts,
) -> Result<Part> {
    let sequence = inputs.iter().map(|(live, _)| live.segment.max_sequence()).max().unwrap_or(0);
    let sources: Vec<_> = inputs
        .iter()
        .map(|(live, rows)| Input { segment: Arc::clone(&live.segment), kills: Arc::clone(&live.kills), rows: rows.clone() })
        .collect();
    let (mut open, mut built) = (false, Vec::new());
    merge(&sources, |record| {
        let (bytes, memory) = if open { outputs.file()?.builder()?.size() } else { (0, 0) };
        if open && (memory >= outputs.memory_budget() || cuts.ends_before(record.id, bytes)) {
            outputs.end_segment(meta.dimension, sequence)?;
            open = false;
        }
        if !open {
            built.push(outputs.begin_segment(meta.dimension, meta.codes)?);
            open = true;
        }
        outputs.file()?.builder()?.add(record.id, record.vector, record.ordinal, record.payload)
    })?;
    if open {
        outputs.end_segment(meta.dimension, sequence)?;
    }
    Ok(Part { collection: meta.id, inputs, built, outputs: Vec::new() })
}

/// Rewrites files: segments with dead rows without those, others as they are.
fn run_rewrite(shared: &Shared, version: &Version, files: &[FileNumber]) -> Result<bool> {
    let mut outputs = Outputs::new(shared);
    let mut parts = Vec::new();
    let mut moved = Vec::new();
    for collection in version.collections.values() {
        for live in collection.segments().filter(|live| files.contains(&live.entry.file) && !shared.is_set_aside(live.entry.id)) {
            if live.kills.count() > 0 {
                let inputs = vec![(Arc::clone(live), 0..live.segment.rows())];
                parts.push(copy(&mut outputs, &collection.meta, inputs, &mut Cuts::Nowhere)?);
            } else {
                outputs.add_raw(live, collection.meta.dimension)?;
                moved.push(live.entry.id);
            }
        }
    }
    publish_parts(shared, version, parts, &moved, outputs)
}
