use super::{
    outputs::{Outputs, Part},
    publish::publish_parts,
    strategy::{Choice, IdRange, Merge},
};
use crate::{
    error::{ErrorKind, Result},
    merge::{Input, merge},
    observe::event,
    sync::Arc,
    types::{CollectionId, Dimension, FileNumber, SegmentId},
    version::{LiveSegment, Shared, Version},
};

/// Largest file of rewritten segments; segments of small collections share files.
const SHARED_FILE_BYTES: u64 = 64 << 20;

/// Runs a chosen compaction. `false` if what it chose is gone meanwhile. Damaged inputs are set aside, so that they stop no other work.
pub(crate) fn run(shared: &Shared, choice: &Choice) -> Result<bool> {
    let version = Arc::clone(&shared.view().version);
    let result = match choice {
        Choice::Merge(merge) => run_merge(shared, &version, merge),
        Choice::Rewrite(files) => run_rewrite(shared, &version, files),
    };
    if let Err(error) = &result
        && error.kind() == ErrorKind::Corruption
    {
        let inputs = version.segments().filter(|live| match choice {
            Choice::Merge(merge) => merge.inputs.contains(&live.entry.id),
            Choice::Rewrite(files) => files.contains(&live.entry.file),
        });
        let damaged: Vec<SegmentId> = inputs.filter(|live| !live.segment.verify().is_empty()).map(|live| live.entry.id).collect();
        event!(segments = damaged.len(), "damaged segments set aside");
        shared.set_aside(&damaged);
    }
    result
}

fn run_merge(shared: &Shared, version: &Version, merge: &Merge) -> Result<bool> {
    let Some(collection) = version.collections.get(&merge.collection) else { return Ok(false) };
    let mut inputs = Vec::new();
    for id in &merge.inputs {
        let Some(live) = collection.segments().find(|live| live.entry.id == *id) else { return Ok(false) };
        let rows = rows_in(live, &merge.range)?;
        if !rows.is_empty() {
            inputs.push((Arc::clone(live), rows));
        }
    }
    let mut outputs = Outputs::new(shared, 1);
    let part = copy(&mut outputs, merge.collection, collection.meta.dimension, inputs, merge.into_run_of, merge.segment_bytes)?;
    publish_parts(shared, version, vec![part], &[], outputs)
}

fn rows_in(live: &LiveSegment, range: &IdRange) -> Result<std::ops::Range<u32>> {
    // "Behind an id" is "from its successor on", and that is the id with a zero byte appended.
    let behind = |id: &[u8]| {
        let mut successor = id.to_vec();
        successor.push(0);
        live.segment.lower_bound(&successor)
    };
    let start = range.after.as_ref().map_or(Ok(0), |after| behind(after))?;
    let end = range.through.as_ref().map_or(Ok(live.segment.rows()), |through| behind(through))?;
    Ok(start..end.max(start))
}

/// Copies live rows into new segments of about equal size.
fn copy(
    outputs: &mut Outputs<'_>,
    collection: CollectionId,
    dimension: Dimension,
    inputs: Vec<(Arc<LiveSegment>, std::ops::Range<u32>)>,
    into_run_of: Option<SegmentId>,
    segment_bytes: u64,
) -> Result<Part> {
    let share = |(live, rows): &(Arc<LiveSegment>, std::ops::Range<u32>)| {
        (u128::from(live.live_bytes()) * rows.len() as u128 / u128::from(live.segment.rows().max(1))) as u64
    };
    let total: u64 = inputs.iter().map(share).sum();
    // A segment may be half as large again rather than leave a small one behind.
    let pieces = (total * 2 / (segment_bytes.saturating_mul(3)).max(1)) + 1;
    // The estimate counts what is compressed later in full: it must not cut what shall stay whole.
    let piece = if pieces == 1 { u64::MAX } else { total / pieces + 1 };
    let mut built = Vec::new();
    let mut open = false;
    let sequence = inputs.iter().map(|(live, _)| live.segment.max_sequence()).max().unwrap_or(0);
    let sources: Vec<_> = inputs
        .iter()
        .map(|(live, rows)| Input { segment: Arc::clone(&live.segment), kills: Arc::clone(&live.kills), rows: rows.clone() })
        .collect();
    merge(&sources, |record| {
        if !open {
            outputs.file()?.begin(dimension)?;
            open = true;
        }
        let builder = outputs.file()?.builder()?;
        builder.add(record.id, record.vector, record.ordinal, record.payload)?;
        if builder.segment_bytes() >= piece {
            built.push(outputs.end_segment(dimension, sequence)?);
            open = false;
        }
        Ok(())
    })?;
    if open {
        built.push(outputs.end_segment(dimension, sequence)?);
    }
    Ok(Part { collection, inputs, into_run_of, built, outputs: Vec::new() })
}

/// Rewrites files: segments with dead rows without those, others as they are.
fn run_rewrite(shared: &Shared, version: &Version, files: &[FileNumber]) -> Result<bool> {
    let mut outputs = Outputs::new(shared, SHARED_FILE_BYTES);
    let mut parts = Vec::new();
    let mut moved = Vec::new();
    for (id, collection) in &version.collections {
        for live in collection.segments().filter(|live| files.contains(&live.entry.file) && !shared.is_set_aside(live.entry.id)) {
            if live.kills.count() > 0 {
                let inputs = vec![(Arc::clone(live), 0..live.segment.rows())];
                parts.push(copy(&mut outputs, *id, collection.meta.dimension, inputs, Some(live.entry.id), u64::MAX / 4)?);
            } else {
                outputs.file()?.add_raw(live, collection.meta.dimension)?;
                moved.push(live.entry.id);
            }
        }
    }
    publish_parts(shared, version, parts, &moved, outputs)
}
