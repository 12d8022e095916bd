use std::collections::HashMap;

use super::collection::Collection;
use crate::{
    error::{Error, ErrorKind, Result},
    flush::flush_all,
    format::{names::segment_name, payload},
    io::bytes::f32s_as_bytes,
    segment::Cursor,
    sync::Arc,
    types::{CollectionId, Fields, Ordinal, Payload, SegmentId, check_id},
    version::{
        CollectionMeta, CollectionVersion, Draft, Finished, Kills as KillsOf, LiveSegment, Loaded, NamedFile, OutputFile, Pending,
        Publisher, Run, Shared, Version, arrange, rehome_kills, write_kills,
    },
    write::check_vector,
};

/// What a bulk load does with an id that recurs in its input or exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DuplicatePolicy {
    /// The last record of the input replaces earlier and existing ones.
    LastWins,
    /// The load is refused, naming the id.
    Refuse,
}

/// A record of the input, checked.
struct Entry {
    id: Box<[u8]>,
    /// Position in the input: the later of two equal ids wins.
    position: u64,
    vector: Vec<f32>,
    payload: Vec<u8>,
}

/// Loads records without the log; see [`Collection::bulk_load`].
pub(crate) fn bulk_load<'a, I: AsRef<[u8]>>(
    collection: &Collection,
    entries: impl Iterator<Item = (I, Fields<'a>)>,
    policy: DuplicatePolicy,
) -> Result<u64> {
    let writer = collection.inner().writer()?;
    let shared = &*writer.shared;
    let _held = writer.hold()?;
    let mut load = Load::default();
    let result = load_all(shared, collection, entries, policy, &mut load);
    if result.is_err() && !shared.is_poisoned() {
        load.discard_files(shared);
    }
    load.release_ordinals(shared, collection);
    result
}

fn load_all<'a, I: AsRef<[u8]>>(
    shared: &Shared,
    collection: &Collection,
    entries: impl Iterator<Item = (I, Fields<'a>)>,
    policy: DuplicatePolicy,
    load: &mut Load,
) -> Result<u64> {
    write_chunks(shared, collection, entries, policy, load)?;
    if load.chunks.is_empty() {
        return Ok(0);
    }
    // From here on no writer runs: what is loaded gets one sequence, behind everything written before.
    let _gate = shared.gate.lock();
    flush_all(shared)?;
    publish(shared, collection, &load.chunks, policy)
}

/// What a load has taken that no manifest names yet.
#[derive(Default)]
struct Load {
    chunks: Vec<Finished>,
    /// Ordinals: the first, and how many.
    ordinals: Vec<(Ordinal, u64)>,
}

impl Load {
    fn discard_files(&self, shared: &Shared) {
        for chunk in &self.chunks {
            shared.discard(segment_name(chunk.named.entry.number));
        }
    }

    fn release_ordinals(&self, shared: &Shared, collection: &Collection) {
        let catalog = &mut shared.writer.lock().catalog;
        for (base, count) in self.ordinals.iter().rev() {
            catalog.release_ordinals(collection.target().collection, *base, *count);
        }
    }
}

/// Sorts the input in pieces of the memtable budget, each into a segment file of its own.
fn write_chunks<'a, I: AsRef<[u8]>>(
    shared: &Shared,
    collection: &Collection,
    entries: impl Iterator<Item = (I, Fields<'a>)>,
    policy: DuplicatePolicy,
    load: &mut Load,
) -> Result<()> {
    let mut buffer: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for (position, (id, fields)) in (0..).zip(entries) {
        let entry = check(collection, id.as_ref(), fields, position)?;
        bytes += entry.id.len() + entry.vector.len() * 4 + entry.payload.len() + 64;
        buffer.push(entry);
        if bytes >= shared.options.memtable_bytes {
            write_chunk(shared, collection, &mut buffer, policy, load)?;
            bytes = 0;
        }
    }
    if !buffer.is_empty() {
        write_chunk(shared, collection, &mut buffer, policy, load)?;
    }
    Ok(())
}

fn check(collection: &Collection, id: &[u8], fields: Fields<'_>, position: u64) -> Result<Entry> {
    check_id(id)?;
    let named = |error: Error| Error::invalid(format!("record {position} ({}): {error}", id.escape_ascii()));
    let Some(vector) = fields.vector else { return Err(named(Error::invalid("a bulk load needs a vector"))) };
    check_vector(&vector, collection.target()).map_err(named)?;
    let parts = Payload {
        metadata: fields.metadata.unwrap_or_default(),
        document: fields.document.flatten().map(std::borrow::Cow::into_owned),
        uri: fields.uri.flatten().map(std::borrow::Cow::into_owned),
    };
    let mut encoded = Vec::new();
    payload::encode(&parts, &mut encoded).map_err(named)?;
    Ok(Entry { id: id.into(), position, vector: vector.into_owned(), payload: encoded })
}

fn write_chunk(shared: &Shared, collection: &Collection, buffer: &mut Vec<Entry>, policy: DuplicatePolicy, load: &mut Load) -> Result<()> {
    buffer.sort_by(|a, b| a.id.cmp(&b.id).then(b.position.cmp(&a.position)));
    let mut output = OutputFile::create(shared)?;
    output.begin(collection.typed_dimension())?;
    let first = buffer.iter().map(|entry| entry.position).min().unwrap_or(0);
    let base = reserve_ordinals(shared, collection, buffer.len() as u64)?;
    load.ordinals.push((base, buffer.len() as u64));
    let mut last: Option<Box<[u8]>> = None;
    for entry in buffer.drain(..) {
        if last.as_ref() == Some(&entry.id) {
            if policy == DuplicatePolicy::Refuse {
                return Err(Error::invalid(format!("id {} occurs twice in the input", entry.id.escape_ascii())));
            }
            continue;
        }
        output.builder()?.add(&entry.id, f32s_as_bytes(&entry.vector), base + (entry.position - first), &entry.payload)?;
        last = Some(entry.id);
    }
    output.end(collection.typed_dimension(), 0)?;
    load.chunks.push(output.finish()?);
    Ok(())
}

/// Takes ordinals for a piece of the input, so that no writer and no other load beside this one gets the same.
fn reserve_ordinals(shared: &Shared, collection: &Collection, count: u64) -> Result<Ordinal> {
    let base = shared.writer.lock().catalog.reserve_ordinals(collection.target().collection, count);
    base.ok_or_else(|| Error::not_found("the collection was dropped"))
}

/// What the load kills: rows of existing segments and earlier rows of its own.
#[derive(Default)]
struct Kills {
    existing: HashMap<SegmentId, Vec<u32>>,
    own: HashMap<SegmentId, Vec<u32>>,
    replaced: u64,
}

fn publish(shared: &Shared, collection: &Collection, chunks: &[Finished], policy: DuplicatePolicy) -> Result<u64> {
    let mut publisher = shared.publisher.lock();
    let view = shared.view();
    let id = collection.target().collection;
    let Some(meta) = view.catalog.get(id) else { return Err(Error::not_found("the collection was dropped")) };
    let segments: Vec<&Arc<LiveSegment>> = chunks.iter().flat_map(|chunk| &chunk.segments).collect();
    let kills = find_kills(view.version.collections.get(&id).map(|version| &**version), &segments, policy)?;
    let mut output = OutputFile::create(shared)?;
    let mut edits = HashMap::new();
    let present = view.version.by_id();
    for (segment, rows) in kills.existing {
        let Some(live) = present.get(&segment) else { continue };
        let dead = Arc::new(live.kills.union(rows));
        let with = KillsOf { set: dead, deleted: false };
        edits.insert(segment, write_kills(shared, &mut output, live, with, Arc::new(Pending::default()))?);
    }
    let mut loaded = Vec::new();
    for live in segments {
        let own = kills.own.get(&live.entry.id).cloned().unwrap_or_default();
        let dead = Arc::new(live.kills.union(own));
        let with = KillsOf { set: dead, deleted: false };
        loaded.extend(write_kills(shared, &mut output, live, with, Arc::new(Pending::default()))?);
    }
    let count: u64 = loaded.iter().map(|live| live.live_rows()).sum();
    let edited = view.version.edited(|live| edits.get(&live.entry.id).cloned());
    let ordinals = loaded_ordinals(&loaded)?;
    let version = compose(&edited, meta, id, loaded, ordinals);
    let version = rehome_kills(shared, &publisher, &mut output, &version)?;
    let mut added: Vec<_> = chunks.iter().map(|chunk| chunk.named.clone()).collect();
    if version.files().contains(&output.number()) {
        added.push(output.finish()?.named);
    }
    install_loaded(shared, &mut publisher, version, added, id, count as i64 - kills.replaced as i64)?;
    shared.counters.bulk_bytes.add(chunks.iter().map(|chunk| chunk.bytes).sum());
    shared.counters.records.add(count);
    Ok(count)
}

/// Publishes a version with loaded segments under the next sequence and makes it visible. The caller keeps writers out.
pub(super) fn install_loaded(
    shared: &Shared,
    publisher: &mut Publisher,
    mut version: Version,
    added: Vec<NamedFile>,
    id: CollectionId,
    net: i64,
) -> Result<()> {
    version.flushed_through = shared.writer.lock().next_sequence;
    let loaded = Some(Loaded { collection: id, net });
    publisher.publish(shared, Draft { version, added, spare: None, retire: None, loaded }, |_| Ok(()))
}

/// First ordinal behind those of the loaded rows.
fn loaded_ordinals(loaded: &[Arc<LiveSegment>]) -> Result<Ordinal> {
    let mut next = 0;
    for live in loaded {
        for row in 0..live.segment.rows() {
            next = next.max(live.segment.ordinal(row)?.saturating_add(1));
        }
    }
    Ok(next)
}

/// Finds every id of the load that exists, or recurs in a later piece of it.
fn find_kills(existing: Option<&CollectionVersion>, segments: &[&Arc<LiveSegment>], policy: DuplicatePolicy) -> Result<Kills> {
    let mut kills = Kills::default();
    let mut later = Later::default();
    for live in segments.iter().rev() {
        let mut cursor: Cursor = live.segment.cursor(0);
        while let Some(row) = cursor.advance()? {
            let id = cursor.id();
            let recurs = later.holds(id)?;
            let present = match existing {
                Some(version) if !recurs => version.find(id, u64::MAX)?,
                _ => None,
            };
            if (recurs || present.is_some()) && policy == DuplicatePolicy::Refuse {
                let (kind, what) = if recurs {
                    (ErrorKind::InvalidArgument, "occurs twice in the input")
                } else {
                    (ErrorKind::AlreadyExists, "exists already")
                };
                return Err(Error::new(kind, format!("record {} {what}", id.escape_ascii())));
            }
            if recurs {
                kills.own.entry(live.entry.id).or_default().push(row);
            }
            if let Some((victim, dead)) = present {
                kills.existing.entry(victim.entry.id).or_default().push(dead);
                kills.replaced += 1;
            }
        }
        later.add(live);
    }
    Ok(kills)
}

/// The pieces of a load behind one of them, in runs: of pieces that do not overlap, as an ascending load makes them, only one is asked.
#[derive(Default)]
struct Later(Vec<Run>);

impl Later {
    fn add(&mut self, live: &Arc<LiveSegment>) {
        if !self.0.iter_mut().any(|run| run.insert_disjoint(live)) {
            self.0.push(Run::from_iter([Arc::clone(live)]));
        }
    }

    fn holds(&self, id: &[u8]) -> Result<bool> {
        for live in self.0.iter().flat_map(|run| run.candidates(id)) {
            if live.segment.find(id)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn compose(
    edited: &Version,
    meta: &Arc<CollectionMeta>,
    id: CollectionId,
    loaded: Vec<Arc<LiveSegment>>,
    next_ordinal: Ordinal,
) -> Version {
    let mut version = edited.edited(|_| None);
    let old = version.collections.get(&id);
    let runs = arrange(old.map(|collection| collection.runs.clone()).unwrap_or_default(), loaded);
    let next_ordinal = old.map_or(0, |collection| collection.next_ordinal).max(next_ordinal);
    version.collections.insert(id, Arc::new(CollectionVersion { meta: Arc::clone(meta), next_ordinal, runs }));
    version
}
