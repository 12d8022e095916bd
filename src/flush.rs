//! Moves a frozen memtable into segments: one file for all collections that had writes, with the kills they caused.

use std::collections::{BTreeMap, HashMap};

use crate::{
    error::Result,
    format::names::log_name,
    memtable::MemRow,
    observe::event,
    sync::Arc,
    types::{CollectionId, FileNumber, SegmentId},
    version::{
        CollectionMeta, CollectionVersion, Draft, Frozen, Kills, LiveSegment, NamedFile, Outputs, Pending, Publisher, Shared, Splitter,
        Version, View, arrange, rehome_kills, write_kills,
    },
};

/// Rows between the one that is written and the one that is brought near: they come in an order that no processor foresees.
const AHEAD: usize = 2;

/// Flushes the frozen memtable, if there is one. Returns whether there was.
pub(crate) fn flush_frozen(shared: &Shared) -> Result<bool> {
    shared.with_room(|| flush_once(shared))
}

fn flush_once(shared: &Shared) -> Result<bool> {
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
    let draft = Draft {
        version: view.version.edited(|_| None),
        added: Vec::new(),
        spare: Some(shared.create_spare()?),
        retire: None,
        loaded: None,
    };
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
    shared.check_healthy()?;
    let spare = if shared.writer.lock().spare.is_none() { Some(shared.create_spare()?) } else { None };
    let written = write(shared, publisher, view, frozen).inspect_err(|_| {
        if let Some(spare) = &spare {
            shared.discard(log_name(spare.entry().number));
        }
    })?;
    let Written { placed, version, edits, added, mut outputs } = written;
    let new_segments: Vec<_> = outputs.segments().cloned().collect();
    let bytes = outputs.bytes();
    // No other version can come while the publisher is locked: what is found here need not be looked for under the writer's lock.
    let edited = replaced(&view.version, &edits);
    outputs.published();
    publisher.publish(shared, Draft { version, added, spare, retire: Some(frozen.log), loaded: None }, |_| {
        carry_pending(frozen, &edited);
        for (piece, live) in placed.iter().zip(&new_segments) {
            // Rows that a newer memtable superseded meanwhile.
            for (row, memory) in piece.rows.iter().enumerate() {
                let death = memory.death();
                if let Some(death) = death {
                    live.pending.insert(row as u32, death);
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

/// What a flush has written and not published yet.
struct Written<'a> {
    placed: Vec<Piece>,
    version: Version,
    edits: Edits,
    added: Vec<NamedFile>,
    outputs: Outputs<'a>,
}

fn write<'a>(shared: &'a Shared, publisher: &Publisher, view: &View, frozen: &Frozen) -> Result<Written<'a>> {
    let mut outputs = Outputs::new(shared);
    let placed = write_rows(&mut outputs, &view.version, frozen, shared.options.grain())?;
    let edits = write_flush_kills(shared, &mut outputs, &view.version, frozen)?;
    let edited = view.version.edited(|live| edits.get(&live.entry.id).cloned());
    let file = outputs.file()?.number();
    let kept = rehome_kills(shared, publisher, outputs.file()?, &edited)?;
    outputs.finish_file_if(placed.iter().any(|piece| piece.file == file) || kept.files().contains(&file))?;
    let added = outputs.durable()?;
    let new_segments: Vec<_> = outputs.segments().cloned().collect();
    let version = compose(frozen, &view.version, &kept, &placed, &new_segments);
    Ok(Written { placed, version, edits, added, outputs })
}

/// The rows of one new segment.
struct Piece {
    collection: CollectionId,
    file: FileNumber,
    rows: Vec<MemRow>,
}

/// Writes the newest version of every id, split where the bottom runs end their segments; in the order of the segments.
fn write_rows(outputs: &mut Outputs<'_>, version: &Version, frozen: &Frozen, grain: u64) -> Result<Vec<Piece>> {
    let mut placed = Vec::new();
    for meta in frozen.catalog.collections.values() {
        let rows = frozen.memtable.newest(meta.id);
        let bytes = rows.iter().map(|row| row.bytes() as u64).sum();
        let mut splitter = Splitter::new(version.collections.get(&meta.id).map(|collection| &**collection), bytes, grain);
        let mut piece: Option<Piece> = None;
        let mut rows = rows.into_iter();
        while let Some(row) = rows.next() {
            if let Some(ahead) = rows.as_slice().get(AHEAD) {
                ahead.prefetch();
            }
            let open_bytes = outputs.file()?.builder()?.segment_bytes();
            if splitter.ends_before(row.id(), open_bytes)
                && let Some(full) = piece.take()
            {
                end_piece(outputs, meta, full, &mut placed)?;
            }
            let piece = match &mut piece {
                Some(piece) => piece,
                none => {
                    outputs.begin_segment(meta.dimension, meta.codes)?;
                    none.insert(Piece { collection: meta.id, file: outputs.file()?.number(), rows: Vec::new() })
                }
            };
            outputs.file()?.builder()?.add(row.id(), &row.vector_bytes(), row.ordinal(), row.payload())?;
            piece.rows.push(row);
        }
        if let Some(last) = piece {
            end_piece(outputs, meta, last, &mut placed)?;
        }
    }
    Ok(placed)
}

fn end_piece(outputs: &mut Outputs<'_>, meta: &CollectionMeta, piece: Piece, placed: &mut Vec<Piece>) -> Result<()> {
    let max_sequence = piece.rows.iter().map(MemRow::sequence).max().unwrap_or(0);
    outputs.end_segment(meta.dimension, max_sequence)?;
    placed.push(piece);
    Ok(())
}

type Edits = HashMap<SegmentId, Option<Arc<LiveSegment>>>;

/// Turns the pending kills that this memtable caused into kill sets.
fn write_flush_kills(shared: &Shared, outputs: &mut Outputs<'_>, version: &Version, frozen: &Frozen) -> Result<Edits> {
    let mut edits = HashMap::new();
    for live in version.segments() {
        let dead = live.pending.dead_at(frozen.sequence);
        if dead.is_empty() {
            continue;
        }
        let deleted = live.pending.any_deleted_at(frozen.sequence);
        let kills = Kills { set: Arc::new(live.kills.union(dead)), deleted };
        edits.insert(live.entry.id, write_kills(shared, outputs.file()?, live, kills, Arc::new(Pending::default()))?);
    }
    Ok(edits)
}

/// The version after the flush: dropped collections gone, new ones there, new segments in the runs that have room for them. What nothing
/// happened to is shared with the version before.
fn compose(frozen: &Frozen, before: &Version, kept: &Version, placed: &[Piece], new_segments: &[Arc<LiveSegment>]) -> Version {
    let mut added: BTreeMap<CollectionId, Vec<Arc<LiveSegment>>> = BTreeMap::new();
    for (piece, live) in placed.iter().zip(new_segments) {
        added.entry(piece.collection).or_default().push(Arc::clone(live));
    }
    let mut collections = BTreeMap::new();
    for meta in frozen.catalog.collections.values() {
        let next_ordinal = frozen.catalog.next_ordinals.get(&meta.id).copied().unwrap_or_default();
        let (old, added) = (kept.collections.get(&meta.id), added.remove(&meta.id).unwrap_or_default());
        let is_same = |old: &&Arc<CollectionVersion>| {
            let untouched = before.collections.get(&meta.id).is_some_and(|before| Arc::ptr_eq(before, old));
            untouched && added.is_empty() && old.next_ordinal == next_ordinal && old.meta == *meta
        };
        let collection = old.filter(is_same).cloned().unwrap_or_else(|| {
            let runs = arrange(old.map(|old| old.runs.clone()).unwrap_or_default(), added);
            Arc::new(CollectionVersion { meta: Arc::clone(meta), next_ordinal, runs })
        });
        collections.insert(meta.id, collection);
    }
    Version { flushed_through: frozen.sequence, collections }
}

/// Segments as they were, with what they are replaced by.
type Replaced<'a> = Vec<(&'a Arc<LiveSegment>, Arc<LiveSegment>)>;

fn replaced<'a>(old: &'a Version, edits: &Edits) -> Replaced<'a> {
    old.segments().filter_map(|live| Some((live, edits.get(&live.entry.id)?.clone()?))).collect()
}

/// Kills that newer writes caused in segments which this flush gave a new kill set.
fn carry_pending(frozen: &Frozen, edited: &Replaced<'_>) {
    for (old, live) in edited {
        for (row, sequence) in old.pending.after(frozen.sequence, 0..u32::MAX) {
            live.pending.insert(row, sequence);
        }
    }
}
