use std::collections::{BTreeMap, HashMap};

use super::job::Part;
use crate::{
    error::{Error, Result},
    observe::event,
    sync::Arc,
    types::{CollectionId, SegmentId},
    version::{
        CollectionVersion, Draft, Kills, LiveSegment, OutputFile, Outputs, Pending, Shared, Version, arrange, rehome_kills, write_kills,
    },
};

/// Where a row went: its new segment and row there.
type Moves = HashMap<(SegmentId, u32), (SegmentId, u32)>;

/// The segments of a version by their numbers.
type ById<'a> = HashMap<SegmentId, &'a Arc<LiveSegment>>;

/// A publication being put together against the version that it replaces.
struct Edit {
    /// Segments replaced (`Some`) or dropped (`None`).
    replaced: HashMap<SegmentId, Option<Arc<LiveSegment>>>,
    /// Outputs as they are published, by segment id.
    outputs: HashMap<SegmentId, Option<Arc<LiveSegment>>>,
    moves: Moves,
}

/// Publishes what a compaction copied. What died since its base is resolved by id against its outputs: kill sets here, pending kills while
/// no write can happen. `false` if an input is gone.
pub(crate) fn publish_parts(
    shared: &Shared,
    base: &Version,
    mut parts: Vec<Part>,
    moved: &[SegmentId],
    mut outputs: Outputs<'_>,
) -> Result<bool> {
    outputs.finish_file()?;
    // Before anybody is kept from publishing.
    outputs.durable()?;
    let built: HashMap<SegmentId, Arc<LiveSegment>> = outputs.segments().map(|live| (live.entry.id, Arc::clone(live))).collect();
    for part in &mut parts {
        part.outputs = part.built.iter().filter_map(|id| built.get(id).cloned()).collect();
    }
    let bytes = outputs.bytes();
    let mut publisher = shared.publisher.lock();
    let current = Arc::clone(&shared.view().version);
    // No other version can come while the publisher is locked: what is found here need not be looked for under the writer's lock.
    let present = current.by_id();
    let needed = parts.iter().flat_map(|part| part.inputs.iter().map(|(live, _)| live.entry.id)).chain(moved.iter().copied());
    if !needed.into_iter().all(|id| present.contains_key(&id)) {
        return Ok(false);
    }
    debug_assert!(base.flushed_through <= current.flushed_through);
    let mut edit = Edit { replaced: HashMap::new(), outputs: HashMap::new(), moves: HashMap::new() };
    let kills_file = outputs.file()?.number();
    for part in &parts {
        edit_part(shared, &present, part, outputs.file()?, &mut edit)?;
    }
    for live in moved.iter().filter_map(|id| built.get(id)) {
        // The same rows elsewhere: kill set and pending kills go with them.
        let Some(old) = present.get(&live.entry.id) else { return Ok(false) };
        let entry = crate::format::manifest::SegmentEntry { kills: old.entry.kills, ..live.entry };
        let replacement = Arc::new(live.with(entry, Arc::clone(&old.kills), Arc::clone(&old.pending)));
        edit.replaced.insert(live.entry.id, Some(replacement));
    }
    let composed = compose(&current, &parts, &edit);
    let version = rehome_kills(shared, &publisher, outputs.file()?, &composed)?;
    outputs.finish_file_if(version.files().contains(&kills_file))?;
    let added = outputs.durable()?;
    outputs.published();
    // The pending maps of a version are shared with what `rehome_kills` made of it.
    publisher
        .publish(shared, Draft { version, added, spare: None, retire: None, loaded: None }, |_| carry_pending(&present, &parts, &edit))?;
    shared.counters.compaction_bytes.add(bytes);
    shared.counters.compactions.add(1);
    event!(bytes, "compaction published");
    Ok(true)
}

fn edit_part(shared: &Shared, current: &ById<'_>, part: &Part, kills_file: &mut OutputFile<'_>, edit: &mut Edit) -> Result<()> {
    let mut output_kills: HashMap<SegmentId, Vec<u32>> = HashMap::new();
    let mut deleted = false;
    for (base, rows) in &part.inputs {
        let Some(now) = current.get(&base.entry.id) else { return Err(Error::invalid("an input of a compaction is gone")) };
        for row in rows.clone().filter(|row| now.kills.contains(*row) && !base.kills.contains(*row)) {
            let (segment, new_row) = locate(part, now, row)?;
            output_kills.entry(segment).or_default().push(new_row);
            // Whether it was one of the deleted is not known: rather erase in time what need not be.
            deleted |= now.entry.kills.is_some_and(|kills| kills.deleted_since > 0);
        }
        // Found here for the entries known already, so that writers wait for the few that come meanwhile only.
        for row in now.pending.after(0, rows.clone()).into_keys().filter(|row| !now.kills.contains(*row)) {
            edit.moves.insert((now.entry.id, row), locate(part, now, row)?);
        }
        let whole = rows.start == 0 && rows.end >= now.segment.rows();
        let replacement = if whole {
            None
        } else {
            let kills = Kills { set: Arc::new(now.kills.union(rows.clone())), deleted: false };
            write_kills(shared, kills_file, now, kills, Arc::new(Pending::default()))?
        };
        edit.replaced.insert(now.entry.id, replacement);
    }
    for live in &part.outputs {
        let published = match output_kills.remove(&live.entry.id) {
            None => Some(Arc::clone(live)),
            Some(dead) => {
                let kills = Kills { set: Arc::new(live.kills.union(dead)), deleted };
                write_kills(shared, kills_file, live, kills, Arc::clone(&live.pending))?
            }
        };
        edit.outputs.insert(live.entry.id, published);
    }
    Ok(())
}

/// Finds a copied row by its id.
fn locate(part: &Part, live: &LiveSegment, row: u32) -> Result<(SegmentId, u32)> {
    let mut id = Vec::new();
    live.segment.id_of(row, &mut id)?;
    let behind = part.outputs.partition_point(|output| output.bounds().is_some_and(|(first, _)| first <= id.as_slice()));
    if let Some(output) = behind.checked_sub(1).and_then(|index| part.outputs.get(index))
        && let Some(found) = output.segment.find(&id)?
    {
        return Ok((output.entry.id, found));
    }
    Err(Error::corruption(format!("record {} is missing in its merged segment", id.escape_ascii())).in_file(live.segment.file().name()))
}

/// Carries pending kills over to where the rows are now. Runs while no write can happen.
fn carry_pending(current: &ById<'_>, parts: &[Part], edit: &Edit) -> Result<()> {
    for part in parts {
        for (base, rows) in &part.inputs {
            let Some(old) = current.get(&base.entry.id) else { continue };
            for (row, sequence) in old.pending.after(0, 0..u32::MAX) {
                if rows.contains(&row) && !old.kills.contains(row) {
                    let key = (old.entry.id, row);
                    let (segment, new_row) = edit.moves.get(&key).copied().map_or_else(|| locate(part, old, row), Ok)?;
                    if let Some(Some(output)) = edit.outputs.get(&segment) {
                        output.pending.insert(new_row, sequence);
                    }
                } else if let Some(Some(replaced)) = edit.replaced.get(&old.entry.id) {
                    replaced.pending.insert(row, sequence);
                }
            }
        }
    }
    Ok(())
}

/// The version with inputs replaced and outputs in the runs that have room for them.
fn compose(current: &Version, parts: &[Part], edit: &Edit) -> Version {
    let kept = current.edited(|live| edit.replaced.get(&live.entry.id).cloned());
    let mut added: BTreeMap<CollectionId, Vec<Arc<LiveSegment>>> = BTreeMap::new();
    for part in parts {
        let outputs = part.outputs.iter().filter_map(|live| edit.outputs.get(&live.entry.id).cloned().flatten());
        added.entry(part.collection).or_default().extend(outputs);
    }
    let mut collections = kept.collections;
    for (id, collection) in &mut collections {
        let added = added.remove(id).unwrap_or_default();
        if added.is_empty() && current.collections.get(id).is_some_and(|before| Arc::ptr_eq(before, collection)) {
            continue;
        }
        let runs = arrange(collection.runs.clone(), added);
        let (meta, next_ordinal) = (Arc::clone(&collection.meta), collection.next_ordinal);
        *collection = Arc::new(CollectionVersion { meta, next_ordinal, runs });
    }
    Version { flushed_through: current.flushed_through, collections }
}
