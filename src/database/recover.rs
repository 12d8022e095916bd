use std::collections::BTreeMap;

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        batch::{Operation, Operations},
        lock_page::SyncedPoint,
        manifest::{CollectionEntry, FileEntry, LogEntry, Manifest, Sealed, SegmentEntry},
        names::log_name,
    },
    io::{Bytes, Storage},
    log::{self, LogBatch, LogEnd, Scanned},
    memtable::Memtable,
    options::Options,
    segment::{KillSet, Segment, SegmentFile},
    sync::Arc,
    types::{Death, FileNumber, Sequence},
    version::{Catalog, CollectionMeta, CollectionVersion, Counts, LiveSegment, NamedFile, Pending, Version, View},
};

/// A database as its newest manifest and logs say it is, before anything is written.
pub(crate) struct Recovered {
    pub(crate) view: View,
    /// Ordinals included, as of the last replayed batch.
    pub(crate) catalog: Catalog,
    pub(crate) files: BTreeMap<FileNumber, NamedFile>,
    pub(crate) next_sequence: Sequence,
    /// The logs whose batches stand in no segment, in the order of use, and where each ends.
    pub(crate) logs: Vec<(LogEntry, Sealed)>,
    /// Batches of the last log that are not known to be on the device: they must be written again.
    pub(crate) unproven: Option<Unproven>,
}

impl Recovered {
    /// Nothing: what a new database begins with.
    pub(crate) fn empty() -> Self {
        let (catalog, memtable, version) = (Arc::default(), Arc::new(Memtable::new()), Arc::default());
        let view = View::new(catalog, memtable, version, Counts::default(), 0);
        Self { view, catalog: Catalog::default(), files: BTreeMap::new(), next_sequence: 1, logs: Vec::new(), unproven: None }
    }
}

/// A part of a log.
#[derive(Debug)]
pub(crate) struct Unproven {
    entry: LogEntry,
    from: Sealed,
    through: Sealed,
    /// Of the first batch in it.
    pub(crate) first_sequence: Sequence,
}

impl Unproven {
    /// Reads its batches again.
    pub(crate) fn read(&self, storage: &dyn Storage, visit: &mut dyn FnMut(&LogBatch) -> Result<()>) -> Result<()> {
        let bytes = read_log(storage, self.entry.number)?;
        let read = log::read_between(&bytes, &self.entry, self.from, self.through, visit);
        let name = log_name(self.entry.number);
        match read {
            Ok(sealed) if sealed == self.through => Ok(()),
            // Pages that an earlier failed sync has left clean may leave the cache at any moment.
            Ok(_) => Err(Error::new(ErrorKind::Io, "the log changed while it was read; open again").in_file(name)),
            Err(error) if error.kind() == ErrorKind::Corruption => {
                Err(Error::new(ErrorKind::Io, format!("the log changed while it was read, open again: {}", error.message())).in_file(name))
            }
            Err(error) => Err(error.in_file(name)),
        }
    }
}

/// How much of the logs counts.
pub(crate) enum Cut {
    /// No writer lives: the rule of the proven durable-through.
    Recovery,
    /// A writer lives: what it says it has synced.
    Through(SyncedPoint),
}

/// Reads what a manifest names. Every missing or foreign file is an error that names it.
pub(crate) fn recover(storage: &dyn Storage, options: &Options, manifest: &Manifest, cut: &Cut) -> Result<Recovered> {
    let files = open_files(storage, options, manifest)?;
    let (version, mut catalog) = open_version(options, manifest, &files)?;
    let counts = Counts::starting(version.collections.values().map(|collection| (collection.meta.id, collection.live_rows())));
    let memtable = Arc::new(Memtable::new());
    let mut replay = Replay::new(&version, &memtable, &counts, &mut catalog);
    let mut held = Held::default();
    let logs = read_logs(storage, manifest, cut, &mut |index, entry, batch| {
        if replay.batch(batch).map_err(|error| error.shifted(batch.offset).in_file(log_name(entry.number)))? {
            held.note(index, batch);
        }
        Ok(())
    })?;
    let last = replay.last;
    let (logs, unproven) = still_needed(logs, &held);
    let view = View::new(Arc::new(catalog.clone()), memtable, Arc::new(version), counts, last);
    Ok(Recovered { view, catalog, files, next_sequence: last + 1, logs, unproven })
}

/// Which batches were replayed.
#[derive(Default)]
struct Held {
    /// The first and the last log of some, as positions in the manifest.
    logs: Option<(usize, usize)>,
    /// Offset and sequence of those in the last one.
    last: Vec<(u64, Sequence)>,
}

impl Held {
    fn note(&mut self, log: usize, batch: &LogBatch) {
        let (first, last) = self.logs.unwrap_or((log, log));
        if last != log {
            self.last.clear();
        }
        self.logs = Some((first, log));
        self.last.push((batch.offset, batch.sequence));
    }
}

/// The logs of which batches were replayed, each up to where it is proven durable, with those between them, which are links of their chain; and
/// what the last of them holds beyond that. The ends of those before the last are recorded, so they are proven whole.
fn still_needed(logs: Vec<(LogEntry, Scanned)>, held: &Held) -> (Vec<(LogEntry, Sealed)>, Option<Unproven>) {
    let Some((first, last)) = held.logs else { return (Vec::new(), None) };
    let Some((entry, Scanned { end, proven })) = logs.get(last) else { return (Vec::new(), None) };
    let behind = held.last.iter().find(|(offset, _)| *offset >= proven.end);
    let unproven = behind.map(|(_, sequence)| Unproven { entry: entry.clone(), from: *proven, through: *end, first_sequence: *sequence });
    let is_proven_in_part = held.last.first().is_some_and(|(offset, _)| *offset < proven.end);
    let kept = if is_proven_in_part { first..last + 1 } else { first..last };
    let logs = logs.into_iter().enumerate().filter(|(index, _)| kept.contains(index));
    (logs.map(|(_, (entry, scanned))| (entry, scanned.proven)).collect(), unproven)
}

fn open_files(storage: &dyn Storage, options: &Options, manifest: &Manifest) -> Result<BTreeMap<FileNumber, NamedFile>> {
    let open = |entry: &FileEntry| {
        let file = SegmentFile::open(storage, entry, options.read_mode)?;
        Ok((entry.number, NamedFile { entry: entry.clone(), file }))
    };
    manifest.files.iter().map(open).collect()
}

fn open_version(options: &Options, manifest: &Manifest, files: &BTreeMap<FileNumber, NamedFile>) -> Result<(Version, Catalog)> {
    let mut catalog = Catalog { next_collection: manifest.next_collection, ..Catalog::default() };
    let mut collections = BTreeMap::new();
    for entry in &manifest.collections {
        let collection = open_collection(options, entry, files)?;
        catalog.collections.insert(entry.id, Arc::clone(&collection.meta));
        catalog.next_ordinals.insert(entry.id, entry.next_ordinal);
        collections.insert(entry.id, Arc::new(collection));
    }
    Ok((Version { flushed_through: manifest.flushed_through, collections }, catalog))
}

fn open_collection(options: &Options, entry: &CollectionEntry, files: &BTreeMap<FileNumber, NamedFile>) -> Result<CollectionVersion> {
    let named = |number: FileNumber| {
        files.get(&number).ok_or_else(|| Error::corruption(format!("segment file {number} is not among the files that the manifest names")))
    };
    let open = |segment: &SegmentEntry| {
        let opened = Segment::open(Arc::clone(&named(segment.file)?.file), segment, entry.dimension, options.checksum_mode)?;
        let kills = match &segment.kills {
            None => KillSet::empty(segment.rows),
            Some(kills) => KillSet::read(&named(kills.file)?.file, kills, segment.id, segment.rows)?,
        };
        Ok(Arc::new(LiveSegment::new(opened, *segment, Arc::new(kills), Arc::new(Pending::default()))))
    };
    let runs = entry.runs.iter().map(|run| run.iter().map(open).collect::<Result<_>>()).collect::<Result<Vec<_>>>()?;
    let meta =
        CollectionMeta { id: entry.id, name: entry.name.clone(), dimension: entry.dimension, metric: entry.metric, codes: entry.codes };
    Ok(CollectionVersion { meta: Arc::new(meta), next_ordinal: entry.next_ordinal, runs })
}

fn read_log(storage: &dyn Storage, number: FileNumber) -> Result<Bytes> {
    let name = log_name(number);
    let bytes = storage.open_read(&name).and_then(|file| file.map());
    bytes.map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::corruption("the log that the manifest names is missing").in_file(&name),
        _ => Error::io(format_args!("read {name}"), source).in_file(&name),
    })
}

/// Reads the logs in the order of use, each up to where it counts, and says where that is.
fn read_logs(
    storage: &dyn Storage,
    manifest: &Manifest,
    cut: &Cut,
    visit: &mut dyn FnMut(usize, &LogEntry, &LogBatch) -> Result<()>,
) -> Result<Vec<(LogEntry, Scanned)>> {
    let mut opened = Vec::new();
    for entry in &manifest.logs {
        let name = log_name(entry.number);
        let bytes = read_log(storage, entry.number)?;
        let activation = log::activation(&bytes, manifest.database, entry).map_err(|error| error.in_file(&name))?;
        opened.push((entry, bytes, activation));
    }
    let mut logs = Vec::new();
    for (index, (entry, bytes, activation)) in opened.iter().enumerate() {
        let name = log_name(entry.number);
        if manifest.is_settled(entry.number) && activation.is_none() {
            return Err(Error::corruption("the activation record is missing in both places, though this log was in use")
                .at(4096)
                .in_file(name));
        }
        let successor = opened.get(index + 1).and_then(|(_, _, activation)| activation.as_ref());
        if successor.is_some_and(|next| next.predecessor != entry.number) {
            return Err(Error::corruption("the next log names another predecessor").in_file(name));
        }
        let end = match (cut, successor, entry.sealed) {
            (_, Some(next), _) => LogEnd::Sealed(next.sealed()),
            (_, None, Some(sealed)) => LogEnd::Sealed(sealed),
            (Cut::Through(point), None, None) if point.log == entry.number => LogEnd::Through(point.offset),
            (Cut::Through(_), None, None) => continue,
            (Cut::Recovery, None, None) => LogEnd::Tail,
        };
        let scanned = log::check_length(bytes, end)
            .and_then(|()| log::scan(bytes, entry, activation.is_some(), end, &mut |batch| visit(index, entry, batch)));
        let scanned = scanned.map_err(|error| error.in_file(&name))?;
        logs.push(((*entry).clone(), scanned));
        // Behind one whose end is recorded, what a recovery has written again follows, whatever its writer has told last.
        if matches!(end, LogEnd::Through(_)) {
            break;
        }
    }
    Ok(logs)
}

/// Puts batches into a memtable as the commit leader would have.
pub(super) struct Replay<'a> {
    version: &'a Version,
    memtable: &'a Memtable,
    counts: &'a Counts,
    catalog: &'a mut Catalog,
    last: Sequence,
    /// Whether damage of a segment stops it. It must where the kills are what hides superseded rows.
    strict: bool,
}

impl<'a> Replay<'a> {
    /// Goes on behind what a version holds.
    pub(super) fn new(version: &'a Version, memtable: &'a Memtable, counts: &'a Counts, catalog: &'a mut Catalog) -> Self {
        Self { version, memtable, counts, catalog, last: version.flushed_through, strict: true }
    }

    /// The same for `repair`, which asks the memtable for every id before it believes a segment: damage there does not stop it.
    pub(super) fn salvaging(version: &'a Version, memtable: &'a Memtable, counts: &'a Counts, catalog: &'a mut Catalog) -> Self {
        Self { strict: false, ..Self::new(version, memtable, counts, catalog) }
    }

    /// Applies one batch, unless the version holds it already: then it says `false`.
    pub(super) fn batch(&mut self, batch: &LogBatch) -> Result<bool> {
        if batch.sequence <= self.version.flushed_through {
            return Ok(false);
        }
        if batch.sequence != self.last + 1 {
            return Err(Error::corruption(format!("sequence {} follows {}: a batch is missing between them", batch.sequence, self.last)));
        }
        self.apply(batch).map(|()| true)
    }

    /// The same, whatever is missing before it. After an error the operations before the one that could not be read are done.
    pub(super) fn apply(&mut self, batch: &LogBatch) -> Result<()> {
        if batch.sequence <= self.version.flushed_through {
            return Ok(());
        }
        self.last = batch.sequence;
        let mut operations = Operations::new(&batch.body);
        loop {
            let catalog = &*self.catalog;
            let dimension = |id| catalog.get(id).map(|meta| meta.dimension);
            let Some(operation) = operations.next(dimension)? else { break };
            self.operation(batch.sequence, &operation)?;
        }
        Ok(())
    }

    fn operation(&mut self, sequence: Sequence, operation: &Operation<'_>) -> Result<()> {
        match *operation {
            Operation::CreateCollection { id, dimension, metric, codes, name } => {
                self.catalog.create(CollectionMeta { id, name: name.to_owned(), dimension, metric, codes });
            }
            Operation::DropCollection { id } => self.catalog.remove(id),
            Operation::RenameCollection { id, name } => self.catalog.rename(id, name),
            Operation::Put { collection, replaces, ordinal, id, payload, vector } => {
                let Some(meta) = self.catalog.get(collection) else {
                    return Err(Error::corruption(format!("a put into collection {collection}, which does not exist")));
                };
                let dimension = meta.dimension;
                self.kill(collection, id, Death { at: sequence, deleted: false })?;
                self.catalog.ordinal_used(collection, ordinal);
                self.memtable.put(collection, dimension, sequence, id, ordinal, vector, payload);
                if !replaces {
                    self.counts.add(collection, sequence, 1);
                }
            }
            Operation::Delete { collection, id } => {
                self.kill(collection, id, Death { at: sequence, deleted: true })?;
                self.memtable.delete(collection, sequence, id);
                self.counts.add(collection, sequence, -1);
            }
        }
        Ok(())
    }

    /// Marks the segment row that this write supersedes.
    fn kill(&self, collection: u32, id: &[u8], death: Death) -> Result<()> {
        let Some(version) = self.version.collections.get(&collection) else { return Ok(()) };
        match version.find(id, death.at) {
            Ok(Some((live, row))) => live.pending.insert(row, death),
            Err(error) if self.strict => return Err(error),
            Ok(None) | Err(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cut, Unproven, log_name, recover};
    use crate::{
        Database, Durability, Error, ErrorKind, Metric, Options,
        io::{Storage, memory::Memory},
        manifest::ManifestStore,
        sync::Arc,
    };

    /// The directory of a killed writer, and what its log holds beyond what is known to be on the device.
    fn killed() -> (Memory, Unproven) {
        let storage = Memory::new();
        let db = Database::open_on(Arc::new(storage.clone()), Options::default()).unwrap();
        let docs = db.create_collection("docs", 2, Metric::L2).unwrap().durability(Durability::Buffered);
        for id in 0..9_u8 {
            docs.upsert([id + 1], &[f32::from(id), 1.0]).unwrap();
        }
        let copy = Memory::new();
        for info in storage.list().unwrap() {
            let bytes = storage.open_read(&info.name).unwrap().map().unwrap().to_vec();
            copy.create(&info.name).unwrap().write_at(0, &bytes).unwrap();
        }
        let loaded = ManifestStore::load(&copy, &copy.list().unwrap()).unwrap().unwrap();
        let recovered = recover(&copy, &Options::default(), &loaded.manifest, &Cut::Recovery).unwrap();
        (copy, recovered.unproven.unwrap())
    }

    fn read(storage: &Memory, unproven: &Unproven) -> Result<u32, Error> {
        let mut batches = 0;
        unproven.read(storage, &mut |_| {
            batches += 1;
            Ok(())
        })?;
        Ok(batches)
    }

    /// A page that a failed sync has left clean may be read once, and be gone the next time.
    #[test]
    fn a_log_that_changes_while_it_is_read_again_is_an_error_of_the_device() {
        let (storage, unproven) = killed();
        assert_eq!(read(&storage, &unproven).unwrap(), 9);
        let name = log_name(unproven.entry.number);
        let (from, through) = (unproven.from.end, unproven.through.end);
        let whole = storage.open_read(&name).unwrap().map().unwrap().to_vec();
        for at in from..through {
            let file = storage.open_write(&name).unwrap();
            file.write_at(at, &vec![0; (through - at) as usize]).unwrap();
            if *storage.open_read(&name).unwrap().map().unwrap() != *whole {
                let error = read(&storage, &unproven).unwrap_err();
                assert!(error.kind() == ErrorKind::Io && error.file() == Some(&*name), "cut at {at}: {error:?}");
            }
            file.write_at(0, &whole).unwrap();
        }
        let file = storage.open_write(&name).unwrap();
        file.write_at(from, &[whole[from as usize] ^ 0x10]).unwrap();
        let error = read(&storage, &unproven).unwrap_err();
        assert!(error.kind() == ErrorKind::Io && error.file() == Some(&*name), "{error:?}");
        file.write_at(0, &whole).unwrap();
        let refused = unproven.read(&storage, &mut |_| Err(Error::invalid("enough")));
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}
