//! Moves a frozen memtable into segments: one file for all collections that had writes, with the kills they caused.

use std::collections::{BTreeMap, HashMap};

use crate::{
    error::Result,
    format::names::log_name,
    log::SpareLog,
    observe::event,
    sync::Arc,
    types::SegmentId,
    version::{
        CollectionVersion, Draft, Finished, Frozen, LiveSegment, OutputFile, Pending, Publisher, Shared, Version, View, rehome_kills,
        write_kills,
    },
};

/// Flushes the frozen memtable, if there is one. Returns whether there was.
pub(crate) fn flush_frozen(shared: &Shared) -> Result<bool> {
    let mut publisher = shared.publisher.lock();
    let view = shared.view();
    let Some(frozen) = &view.frozen else {
        name_spare(shared, &mut publisher, &view)?;
        return Ok(false);
    };
    flush(shared, &mut publisher, &view, frozen)?;
    Ok(true)
}

/// A full device may have used up the spare log without a flush: without another one nothing could ever be frozen again.
fn name_spare(shared: &Shared, publisher: &mut Publisher, view: &View) -> Result<()> {
    if shared.is_poisoned() || shared.writer.lock().spare.is_some() {
        return Ok(());
    }
    let draft = Draft { version: view.version.edited(|_| None), added: Vec::new(), spare: Some(shared.create_spare()?), retire: None };
    publisher.publish(shared, draft, |_| Ok(()))
}

/// Freezes and flushes until nothing that was written before the call is in a memtable only.
pub(crate) fn flush_all(shared: &Shared) -> Result<()> {
    let target = shared.view().visible();
    while shared.view().version.flushed_through < target {
        shared.freeze(&mut shared.writer.lock())?;
        flush_frozen(shared)?;
        shared.check_healthy()?;
    }
    Ok(())
}

fn flush(shared: &Shared, publisher: &mut Publisher, view: &View, frozen: &Frozen) -> Result<()> {
    let mut output = OutputFile::create(shared)?;
    let placed = write_rows(&mut output, frozen)?;
    output.builder()?.sync()?;
    let edits = write_flush_kills(shared, &mut output, &view.version, frozen)?;
    let edited = view.version.edited(|live| edits.get(&live.entry.id).cloned());
    let file = output.number();
    let kept = rehome_kills(shared, output.builder()?, file, &edited)?;
    let needed = !placed.is_empty() || kept.files().contains(&file);
    // Before the output counts as finished: what a full device refuses here must not leave the other file behind.
    let spare = if shared.writer.lock().spare.is_none() { Some(shared.create_spare()?) } else { None };
    let finished = if needed { Some(output.finish().inspect_err(|_| discard_spare(shared, spare.as_ref()))?) } else { None };
    let version = compose(frozen, &kept, &placed, finished.as_ref());
    let bytes = finished.as_ref().map_or(0, |finished| finished.bytes);
    let new_segments = finished.as_ref().map(|finished| finished.segments.clone()).unwrap_or_default();
    let added = finished.map(|finished| finished.named).into_iter().collect();
    let edited = version_segments(&version, &edits);
    publisher.publish(shared, Draft { version, added, spare, retire: Some(frozen.log) }, |newest| {
        carry_pending(newest, frozen, &edited);
        for ((_, rows), live) in placed.iter().zip(&new_segments) {
            // Rows that a newer memtable superseded meanwhile.
            for (row, memory) in rows.iter().enumerate() {
                let dead_at = memory.dead_at();
                if dead_at != u64::MAX {
                    live.pending.insert(row as u32, dead_at);
                }
            }
        }
        Ok(())
    })?;
    shared.counters.flush_bytes.add(bytes);
    shared.counters.flushes.add(1);
    event!(bytes, sequence = frozen.sequence, "memtable flushed");
    Ok(())
}

fn discard_spare(shared: &Shared, spare: Option<&SpareLog>) {
    if let Some(spare) = spare {
        // Best effort: what stays is an orphan that the next open collects.
        let _orphan = shared.storage.remove(&log_name(spare.entry().number));
    }
}

type Placed = Vec<(u32, Vec<crate::memtable::MemRow>)>;

/// Writes the newest version of every id; returns the rows per collection in the order of the segments.
fn write_rows(output: &mut OutputFile<'_>, frozen: &Frozen) -> Result<Placed> {
    let mut placed = Vec::new();
    for meta in frozen.catalog.collections.values() {
        let rows = frozen.memtable.newest(meta.id);
        if rows.is_empty() {
            continue;
        }
        output.begin(meta.dimension)?;
        let mut max_sequence = 0;
        for row in &rows {
            output.builder()?.add(row.id(), &row.vector_bytes(), row.ordinal(), row.payload())?;
            max_sequence = max_sequence.max(row.sequence());
        }
        output.end(meta.dimension, max_sequence)?;
        placed.push((meta.id, rows));
    }
    Ok(placed)
}

type Edits = HashMap<SegmentId, Option<Arc<LiveSegment>>>;

/// Turns the pending kills that this memtable caused into kill sets.
fn write_flush_kills(shared: &Shared, output: &mut OutputFile<'_>, version: &Version, frozen: &Frozen) -> Result<Edits> {
    let mut edits = HashMap::new();
    let file = output.number();
    for live in version.segments() {
        let dead = live.pending.dead_at(frozen.sequence);
        if dead.is_empty() {
            continue;
        }
        let kills = Arc::new(live.kills.union(dead));
        edits.insert(live.entry.id, write_kills(shared, output.builder()?, file, live, kills, Arc::new(Pending::default()))?);
    }
    Ok(edits)
}

/// The version after the flush: dropped collections gone, new ones there, new segments on top.
fn compose(frozen: &Frozen, kept: &Version, placed: &Placed, finished: Option<&Finished>) -> Version {
    let mut new_segments: HashMap<u32, Arc<LiveSegment>> = HashMap::new();
    if let Some(finished) = finished {
        new_segments.extend(placed.iter().map(|(collection, _)| *collection).zip(finished.segments.iter().cloned()));
    }
    let mut collections = BTreeMap::new();
    for meta in frozen.catalog.collections.values() {
        let mut runs = kept.collections.get(&meta.id).map(|collection| collection.runs.clone()).unwrap_or_default();
        if let Some(segment) = new_segments.remove(&meta.id) {
            add_on_top(&mut runs, segment);
        }
        let next_ordinal = frozen.catalog.next_ordinals.get(&meta.id).copied().unwrap_or_default();
        collections.insert(meta.id, Arc::new(CollectionVersion { meta: Arc::clone(meta), next_ordinal, runs }));
    }
    Version { flushed_through: frozen.sequence, collections }
}

/// Puts a segment into the newest run where it is disjoint from that run's segments (ascending loads), else into a run of its own.
pub(crate) fn add_on_top(runs: &mut Vec<Vec<Arc<LiveSegment>>>, segment: Arc<LiveSegment>) {
    let bounds = segment.bounds();
    for run in runs.iter_mut() {
        let end = run.last().and_then(|last| last.bounds());
        if let (Some((_, last)), Some((first, _))) = (end, bounds)
            && last < first
            && run.iter().all(|live| live.bounds().is_some())
        {
            run.push(segment);
            return;
        }
    }
    runs.insert(0, vec![segment]);
}

fn version_segments(version: &Version, edits: &Edits) -> Vec<Arc<LiveSegment>> {
    version.segments().filter(|live| edits.contains_key(&live.entry.id)).cloned().collect()
}

/// Kills that newer writes caused in segments which this flush gave a new kill set.
fn carry_pending(newest: &View, frozen: &Frozen, edited: &[Arc<LiveSegment>]) {
    for live in edited {
        if let Some(old) = newest.version.segment(live.entry.id) {
            for (row, sequence) in old.pending.after(frozen.sequence, 0..u32::MAX) {
                live.pending.insert(row, sequence);
            }
        }
    }
}
