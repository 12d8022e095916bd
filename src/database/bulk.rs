use std::{borrow::Cow, collections::HashMap, ops::Range};

use super::collection::Collection;
use crate::{
    error::{Error, ErrorKind, Result},
    flush::flush_all,
    format::{names::segment_name, payload},
    io::{bytes::f32s_as_bytes, pipeline::Pipeline},
    options::Background,
    segment::Cursor,
    sync::Arc,
    types::{CollectionId, Fields, Ordinal, Payload, SegmentId, check_id, sort_by_id},
    version::{
        CollectionMeta, CollectionVersion, Draft, Finished, Kills as KillsOf, LiveSegment, Loaded, NamedFile, OutputFile, Pending,
        Publisher, Run, SEGMENT_BYTES_MAX, Shared, Version, arrange, rehome_kills, write_kills,
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

/// Records that must ascend before an input is taken for sorted: what is random does not for so long.
const LOOK_AHEAD: usize = 256;
/// Ordinals taken at a time while the input is written as it comes.
const ORDINALS: u64 = 4096;

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
    // Without another thread this one writes.
    let pipeline = (shared.options.background == Background::Threads).then(Pipeline::start).and_then(std::io::Result::ok).map(Arc::new);
    let mut pieces = Pieces { shared, collection, policy, load, pipeline, scratch: Vec::new() };
    let written = pieces.write(entries);
    // What is still being written may be in a file that is given up.
    drop(pieces);
    written?;
    if load.chunks.is_empty() {
        return Ok(0);
    }
    for chunk in &mut load.chunks {
        chunk.durable(shared)?;
    }
    // From here on no writer runs: what is loaded gets one sequence, behind everything written before.
    let _gate = shared.gate.lock();
    flush_all(shared)?;
    publish(shared, collection, load, policy)
}

/// What a load has taken that no manifest names yet.
#[derive(Default)]
struct Load {
    chunks: Vec<Finished>,
    /// Ordinals: the first, and how many.
    ordinals: Vec<(Ordinal, u64)>,
    /// Behind those that a row has.
    next_ordinal: Ordinal,
}

impl Load {
    fn discard_files(&self, shared: &Shared) {
        for chunk in &self.chunks {
            shared.discard(segment_name(chunk.number()));
        }
    }

    fn release_ordinals(&self, shared: &Shared, collection: &Collection) {
        let catalog = &mut shared.writer.lock().catalog;
        for (base, count) in self.ordinals.iter().rev() {
            catalog.release_ordinals(collection.target().collection, *base, *count);
        }
    }
}

/// Writes the input in pieces of the memtable budget, each a segment file of its own: as it comes while its ids ascend, else sorted.
struct Pieces<'a, 'l> {
    shared: &'a Shared,
    collection: &'a Collection,
    policy: DuplicatePolicy,
    load: &'l mut Load,
    pipeline: Option<Arc<Pipeline>>,
    /// The encoded payload of a record that is written as it comes.
    scratch: Vec<u8>,
}

/// A piece whose ids have ascended so far.
struct Ascending<'a> {
    /// Begun with the first row.
    output: Option<OutputFile<'a>>,
    last: Vec<u8>,
    /// Ordinals that were taken and not given yet.
    ordinals: Range<Ordinal>,
}

enum Piece<'a> {
    /// Records at its beginning, which ascend, and their bytes.
    Begun(Vec<Entry>, usize),
    Ascending(Box<Ascending<'a>>),
    /// Records to be sorted, and their bytes.
    Unsorted(Vec<Entry>, usize),
}

impl<'a> Pieces<'a, '_> {
    fn write<'e, I: AsRef<[u8]>>(&mut self, entries: impl Iterator<Item = (I, Fields<'e>)>) -> Result<()> {
        let mut piece = Piece::Begun(Vec::new(), 0);
        for (position, (id, fields)) in (0..).zip(entries) {
            piece = self.add(piece, id.as_ref(), fields, position)?;
        }
        match piece {
            Piece::Begun(buffer, _) | Piece::Unsorted(buffer, _) => self.write_sorted(buffer),
            Piece::Ascending(ascending) => self.end_ascending(ascending),
        }
    }

    /// Adds a record to a piece; returns the piece that the next one belongs to.
    fn add(&mut self, piece: Piece<'a>, id: &[u8], fields: Fields<'_>, position: u64) -> Result<Piece<'a>> {
        self.scratch.clear();
        let vector = check(self.collection, id, fields, position, &mut self.scratch)?;
        let entry = |payload: &[u8]| Entry { id: id.into(), position, vector: vector.to_vec(), payload: payload.to_vec() };
        match piece {
            Piece::Ascending(mut ascending) if *ascending.last < *id => {
                let payload = std::mem::take(&mut self.scratch);
                let (bytes, memory) = self.append(&mut ascending, id, &vector, &payload)?;
                self.scratch = payload;
                if bytes >= self.budget() as u64 || memory >= self.shared.options.merge_memory() {
                    ascending.output.take().map_or(Ok(()), |full| self.end(full))?;
                }
                Ok(Piece::Ascending(ascending))
            }
            Piece::Ascending(ascending) => {
                if *ascending.last == *id {
                    self.refuse_twice(id)?;
                }
                self.end_ascending(ascending)?;
                self.buffered(Vec::new(), 0, entry(&self.scratch), false)
            }
            Piece::Begun(buffer, bytes) => {
                let ascends = buffer.last().is_none_or(|last| *last.id < *id);
                self.buffered(buffer, bytes, entry(&self.scratch), ascends)
            }
            Piece::Unsorted(buffer, bytes) => self.buffered(buffer, bytes, entry(&self.scratch), false),
        }
    }

    /// Adds a record to those of a piece that are not written yet, as far as the budget goes.
    fn buffered(&mut self, mut buffer: Vec<Entry>, bytes: usize, entry: Entry, ascends: bool) -> Result<Piece<'a>> {
        let bytes = bytes + entry.bytes();
        buffer.push(entry);
        if bytes >= self.budget() {
            self.write_sorted(buffer)?;
            return Ok(Piece::Begun(Vec::new(), 0));
        }
        match ascends {
            false => Ok(Piece::Unsorted(buffer, bytes)),
            true if buffer.len() < LOOK_AHEAD => Ok(Piece::Begun(buffer, bytes)),
            true => self.begin_ascending(&buffer).map(Piece::Ascending),
        }
    }

    /// Bytes of a piece: it becomes a segment, and compaction moves whole segments.
    fn budget(&self) -> usize {
        self.shared.options.memtable_bytes.min(SEGMENT_BYTES_MAX as usize)
    }

    fn refuse_twice(&self, id: &[u8]) -> Result<()> {
        match self.policy {
            DuplicatePolicy::Refuse => Err(Error::invalid(format!("id {} occurs twice in the input", id.escape_ascii()))),
            DuplicatePolicy::LastWins => Ok(()),
        }
    }

    /// Ends a piece, and gives back the ordinals that it did not need.
    fn end_ascending(&mut self, ascending: Box<Ascending<'a>>) -> Result<()> {
        let Ascending { output, ordinals, .. } = *ascending;
        let left = ordinals.end - ordinals.start;
        // They are the last that the load has taken.
        if let Some((_, count)) = self.load.ordinals.last_mut() {
            *count -= left;
        }
        self.shared.writer.lock().catalog.release_ordinals(self.collection.target().collection, ordinals.start, left);
        output.map_or(Ok(()), |output| self.end(output))
    }

    fn begin_ascending(&mut self, buffer: &[Entry]) -> Result<Box<Ascending<'a>>> {
        let mut ascending = Box::new(Ascending { output: None, last: Vec::new(), ordinals: 0..0 });
        for entry in buffer {
            self.append(&mut ascending, &entry.id, &entry.vector, &entry.payload)?;
        }
        Ok(ascending)
    }

    /// Adds a record to its end. Returns the bytes of its segment so far, and the memory that it takes.
    fn append(&mut self, ascending: &mut Ascending<'a>, id: &[u8], vector: &[f32], payload: &[u8]) -> Result<(u64, usize)> {
        let ordinal = match ascending.ordinals.next() {
            Some(ordinal) => ordinal,
            None => {
                let base = self.reserve_ordinals(ORDINALS)?;
                ascending.ordinals = base.saturating_add(1)..base.saturating_add(ORDINALS);
                base
            }
        };
        let output = match &mut ascending.output {
            Some(output) => output,
            none => none.insert(self.begin()?),
        };
        let builder = output.builder()?;
        builder.add(id, f32s_as_bytes(vector), ordinal, payload)?;
        self.load.next_ordinal = self.load.next_ordinal.max(ordinal.saturating_add(1));
        ascending.last.clear();
        ascending.last.extend_from_slice(id);
        Ok(builder.size())
    }

    fn write_sorted(&mut self, buffer: Vec<Entry>) -> Result<()> {
        let Some(first) = buffer.first().map(|entry| entry.position) else { return Ok(()) };
        let base = self.reserve_ordinals(buffer.len() as u64)?;
        let buffer = sort_by_id(buffer, |entry| &entry.id, |a, b| b.position.cmp(&a.position));
        let mut output = self.begin()?;
        let mut last: Option<Box<[u8]>> = None;
        for entry in buffer {
            if last.as_ref() == Some(&entry.id) {
                self.refuse_twice(&entry.id)?;
                continue;
            }
            let ordinal = base + (entry.position - first);
            output.builder()?.add(&entry.id, f32s_as_bytes(&entry.vector), ordinal, &entry.payload)?;
            self.load.next_ordinal = self.load.next_ordinal.max(ordinal.saturating_add(1));
            last = Some(entry.id);
        }
        self.end(output)
    }

    fn begin(&self) -> Result<OutputFile<'a>> {
        let mut output = OutputFile::create_through(self.shared, self.pipeline.clone())?;
        output.begin(self.collection.typed_dimension(), self.collection.codes())?;
        Ok(output)
    }

    fn end(&mut self, mut output: OutputFile<'a>) -> Result<()> {
        output.end(self.collection.typed_dimension(), 0)?;
        let written = output.finish()?;
        // The device had the time of another piece for it.
        if let Some(before) = self.load.chunks.last_mut() {
            before.durable(self.shared)?;
        }
        self.load.chunks.push(written);
        Ok(())
    }

    /// Takes ordinals, so that no writer and no other load beside this one gets the same.
    fn reserve_ordinals(&mut self, count: u64) -> Result<Ordinal> {
        let base = self.shared.writer.lock().catalog.reserve_ordinals(self.collection.target().collection, count);
        let base = base.ok_or_else(|| Error::not_found("the collection was dropped"))?;
        self.load.ordinals.push((base, count));
        Ok(base)
    }
}

impl Entry {
    /// Memory that it takes.
    fn bytes(&self) -> usize {
        self.id.len() + self.vector.len() * 4 + self.payload.len() + 64
    }
}

/// Checks a record; appends its encoded payload and returns its vector.
fn check<'e>(collection: &Collection, id: &[u8], fields: Fields<'e>, position: u64, payload: &mut Vec<u8>) -> Result<Cow<'e, [f32]>> {
    check_id(id)?;
    let named = |error: Error| Error::invalid(format!("record {position} ({}): {error}", id.escape_ascii()));
    let Some(vector) = fields.vector else { return Err(named(Error::invalid("a bulk load needs a vector"))) };
    check_vector(&vector, collection.target()).map_err(named)?;
    let parts = Payload {
        metadata: fields.metadata.unwrap_or_default(),
        document: fields.document.flatten().map(Cow::into_owned),
        uri: fields.uri.flatten().map(Cow::into_owned),
    };
    payload::encode(&parts, payload).map_err(named)?;
    Ok(vector)
}

/// What the load kills: rows of existing segments and earlier rows of its own.
#[derive(Default)]
struct Kills {
    existing: HashMap<SegmentId, Vec<u32>>,
    own: HashMap<SegmentId, Vec<u32>>,
    replaced: u64,
}

fn publish(shared: &Shared, collection: &Collection, load: &mut Load, policy: DuplicatePolicy) -> Result<u64> {
    let chunks = &mut load.chunks;
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
    let version = compose(&edited, meta, id, loaded, load.next_ordinal);
    let version = rehome_kills(shared, &publisher, &mut output, &version)?;
    let mut added = chunks.iter_mut().map(|chunk| chunk.durable(shared)).collect::<Result<Vec<_>>>()?;
    if version.files().contains(&output.number()) {
        added.push(output.finish()?.durable(shared)?);
    }
    install_loaded(shared, &mut publisher, version, added, id, count as i64 - kills.replaced as i64)?;
    shared.counters.bulk_bytes.add(chunks.iter().map(|chunk| chunk.bytes).sum());
    shared.counters.records.add(count);
    shared.remove_garbage();
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

/// Finds every id of the load that exists, or recurs in a later piece of it.
fn find_kills(existing: Option<&CollectionVersion>, segments: &[&Arc<LiveSegment>], policy: DuplicatePolicy) -> Result<Kills> {
    let mut kills = Kills::default();
    let mut later = Later::default();
    for live in segments.iter().rev() {
        let may_exist = existing.is_some_and(|version| version.segments().any(|other| other.overlaps(live)));
        if !may_exist && !later.overlaps(live) {
            later.add(live);
            continue;
        }
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

    fn overlaps(&self, live: &LiveSegment) -> bool {
        self.0.iter().any(|run| run.iter().any(|other| other.overlaps(live)))
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
