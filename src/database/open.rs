use std::collections::BTreeSet;

use super::recover::{Cut, Recovered, Unproven, recover};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        lock_page::{HOLDER_OFFSET, Holder},
        manifest::{LogEntry, Sealed},
        names::{FileName, LOCK, log_name},
    },
    io::{Lock, Storage, WriteFile, random_id},
    log::{AppendError, Beacon, SpareLog},
    manifest::{Loaded, ManifestStore, belongs, lineage, nothing_here},
    options::Options,
    sync::Arc,
    types::{FileId, FileNumber, Sequence},
    version::{Draft, Frozen, Parts, Publisher, Shared, WriterState},
};

/// How much is written again at once.
const REWRITE_BYTES: usize = 1 << 20;
/// No database counts its files up to here: a foreign file with a greater number is in nobody's way.
const UNREACHED: u64 = 1 << 62;

/// A database opened for writing, before its background work starts.
pub(crate) struct Opened {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lock: Box<dyn Lock>,
    pub(crate) beacon: Beacon,
    /// Damage that did not stop the open.
    pub(crate) damages: Vec<Error>,
}

/// Opens or creates a database for writing.
///
/// Old logs are never continued: a manifest with new logs is published before anything is deleted or acknowledged. What was recovered waits in
/// a memtable for its flush. Until then the old logs stay, up to where they are proven durable; what follows is written again, into a log of its
/// own: a sync of the old could succeed and write nothing, since one that failed before may have left its pages clean.
pub(crate) fn open_writable(storage: Arc<dyn Storage>, options: Options) -> Result<Opened> {
    if !options.create_if_missing {
        // Before the lock: a directory that is refused stays as it is.
        let names = storage.list().map_err(|source| Error::io("list the directory", source))?;
        if let Ok(None) = ManifestStore::load(&*storage, &names) {
            return Err(nothing_here(&names));
        }
    }
    let lock = take_lock(&*storage)?;
    let names = storage.list().map_err(|source| Error::io("list the directory", source))?;
    let loaded = ManifestStore::load(&*storage, &names)?;
    let lineage = loaded.as_ref().map(|loaded| lineage(&*storage, &names, &loaded.manifest)).unwrap_or_default();
    let numbers = names.iter().filter_map(|info| match FileName::parse(&info.name) {
        FileName::Log(number) | FileName::Segment(number) => Some(number).filter(|number| *number < UNREACHED),
        _ => None,
    });
    // An earlier attempt may have left files under numbers that the manifest does not know of, and so may others.
    let next_file = numbers.max().map_or(1, |number| number + 1);
    let (shared, damages) = match loaded {
        None if !options.create_if_missing => return Err(nothing_here(&names)),
        None => (create(Arc::clone(&storage), options, next_file)?, Vec::new()),
        Some(loaded) => (resume(Arc::clone(&storage), options, &loaded, next_file)?, loaded.damages),
    };
    collect_orphans(&shared, &lineage)?;
    let beacon = start_beacon(&shared)?;
    Ok(Opened { shared: Arc::new(shared), lock, beacon, damages })
}

fn take_lock(storage: &dyn Storage) -> Result<Box<dyn Lock>> {
    storage.lock(LOCK).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => Error::new(ErrorKind::Locked, format!("another process or handle is writing{}", holder(storage)))
            .in_file(LOCK)
            .with_remedy("wait for it, or open read-only"),
        _ => Error::io("lock the database", source).in_file(LOCK),
    })
}

/// Who holds the lock, as far as the file says.
fn holder(storage: &dyn Storage) -> String {
    let mut bytes = vec![0; crate::format::lock_page::HOLDER_BYTES];
    let read = storage.open_read(LOCK).and_then(|file| file.read_at(HOLDER_OFFSET, &mut bytes));
    match read.ok().and_then(|()| Holder::decode(&bytes).ok()) {
        Some(holder) => format!(": process {} on {}", holder.process, holder.host),
        None => String::new(),
    }
}

/// Refuses a place whose locks may not hold.
pub(super) fn check_place(storage: &dyn Storage, options: &Options) -> Result<()> {
    if storage.environment().network && !options.allow_network_file_system {
        return Err(Error::invalid("this is a network file system, whose locks may not hold: set `allow_network_file_system` to use it"));
    }
    Ok(())
}

fn create(storage: Arc<dyn Storage>, options: Options, next_file: u64) -> Result<Shared> {
    let shared = prepare(storage, options, next_file)?;
    published(&shared, publish_as_is(&shared), next_file)?;
    Ok(shared)
}

/// A new database without collections, and without a manifest yet: the caller publishes the first one, with whatever it has put there.
pub(super) fn unpublished(storage: Arc<dyn Storage>, options: Options) -> Result<Shared> {
    prepare(storage, options.with_floors(), 1)
}

fn prepare(storage: Arc<dyn Storage>, options: Options, next_file: u64) -> Result<Shared> {
    let database = new_id(&*storage)?;
    let store = ManifestStore::create(Arc::clone(&storage), database)?;
    make(storage, options, store, Recovered::empty(), next_file, 1)
}

fn resume(storage: Arc<dyn Storage>, options: Options, loaded: &Loaded, next_file: u64) -> Result<Shared> {
    let recovered = recover(&*storage, &options, &loaded.manifest, &Cut::Recovery)?;
    let store = ManifestStore::resume(Arc::clone(&storage), loaded);
    let next_file = next_file.max(loaded.manifest.next_file);
    let shared = make(storage, options, store, recovered, next_file, loaded.manifest.next_segment)?;
    published(&shared, publish_as_is(&shared), next_file)?;
    Ok(shared)
}

fn new_id(storage: &dyn Storage) -> Result<FileId> {
    random_id(&*storage.environment().random).map_err(|source| Error::io("draw a random number", source))
}

/// New log files, which no manifest names yet.
struct NewLogs<'a> {
    storage: &'a dyn Storage,
    database: FileId,
    first: FileNumber,
    next: FileNumber,
}

impl NewLogs<'_> {
    fn create(&mut self) -> Result<SpareLog> {
        let number = self.next;
        self.next += 1;
        SpareLog::create(self.storage, self.database, number, new_id(self.storage)?)
    }

    /// A log that holds batches of an old one, synced.
    fn rewrite(&mut self, unproven: &Unproven, predecessor: Option<(FileNumber, Sealed)>) -> Result<(LogEntry, Sealed)> {
        let mut log = self.create()?.activate(predecessor, unproven.first_sequence).map_err(|(_, error)| error)?;
        let mut batches: Vec<(Sequence, Vec<u8>)> = Vec::new();
        let mut write = |batches: &mut Vec<(Sequence, Vec<u8>)>| {
            let appended = log.append(batches.iter().map(|(sequence, body)| (*sequence, &**body)));
            batches.clear();
            appended.map(drop).map_err(|(AppendError::NoSpace(error) | AppendError::Broken(error))| error)
        };
        let mut bytes = 0;
        unproven.read(self.storage, &mut |batch| {
            bytes += batch.body.len();
            batches.push((batch.sequence, batch.body.clone()));
            if bytes < REWRITE_BYTES {
                return Ok(());
            }
            bytes = 0;
            write(&mut batches)
        })?;
        write(&mut batches)?;
        log.sync()?;
        Ok((log.entry(), log.seal()))
    }

    fn discard(&self) {
        for number in self.first..self.next {
            // Best effort: what stays is an orphan that the next open collects.
            let _orphan = self.storage.remove(&log_name(number));
        }
    }
}

/// Makes two new logs, and one more for what is written again; freezes what was recovered.
fn make(
    storage: Arc<dyn Storage>,
    options: Options,
    store: ManifestStore,
    recovered: Recovered,
    next_file: u64,
    next_segment: u64,
) -> Result<Shared> {
    let Recovered { view, catalog, files, next_sequence, logs: mut older, unproven } = recovered;
    let last_of = |older: &[(LogEntry, Sealed)]| older.last().map(|(entry, sealed)| (entry.number, *sealed));
    let mut new = NewLogs { storage: &*storage, database: store.database(), first: next_file, next: next_file };
    let mut make = || {
        if let Some(unproven) = &unproven {
            older.push(new.rewrite(unproven, last_of(&older))?);
        }
        let log = new.create()?.activate(last_of(&older), next_sequence).map_err(|(_, error)| error)?;
        Ok((log, new.create()?))
    };
    let made = make();
    let (log, spare) = made.inspect_err(|_| new.discard())?;
    let next_file = new.next;
    let view = match older.last() {
        None => view,
        Some((last, _)) => {
            let memtable = Arc::clone(&view.active);
            view.frozen(Frozen { memtable, catalog: catalog.clone(), sequence: next_sequence - 1, log: last.number })
        }
    };
    let writer = WriterState { log, activation_unsynced: true, spare: Some(spare), older, next_sequence, catalog };
    let publisher = Publisher::new(store, files);
    Ok(Shared::new(Parts { storage, options, publisher, writer, view, next_file, next_segment }))
}

/// A first manifest that found no space leaves nothing behind.
fn published(shared: &Shared, result: Result<()>, first: FileNumber) -> Result<()> {
    result.inspect_err(|error| {
        if error.kind() == ErrorKind::NoSpace {
            let next = shared.next_file();
            NewLogs { storage: &*shared.storage, database: shared.database, first, next }.discard();
        }
    })
}

fn publish_as_is(shared: &Shared) -> Result<()> {
    let view = shared.view();
    let version = view.version.edited(|_| None);
    let draft = Draft { version, added: Vec::new(), spare: None, retire: None, loaded: None };
    shared.publisher.lock().publish(shared, draft, |_| Ok(()))
}

/// Removes files of ours that the durable manifest does not name: unfinished publications, and what belongs to this database by its header.
/// Others are left alone, whatever they are called.
fn collect_orphans(shared: &Shared, lineage: &[FileId]) -> Result<()> {
    let publisher = shared.publisher.lock();
    let logs: BTreeSet<u64> = shared.writer.lock().log_entries().iter().map(|log| log.number).collect();
    for info in shared.storage.list().map_err(|source| Error::io("list the directory", source))? {
        let orphan = match FileName::parse(&info.name) {
            FileName::Temporary => true,
            FileName::Manifest(number) => number < publisher.manifest_number(),
            FileName::Log(number) => !logs.contains(&number),
            FileName::Segment(number) => !publisher.files().contains_key(&number),
            FileName::Lock | FileName::Floor | FileName::Foreign => false,
        };
        let is_ours = || FileName::parse(&info.name) == FileName::Temporary || belongs(&*shared.storage, &info, shared.database, lineage);
        if orphan && is_ours() {
            shared.discard(info.name);
        }
    }
    Ok(())
}

/// Names this process as the holder and starts telling readers what is synced.
fn start_beacon(shared: &Shared) -> Result<Beacon> {
    let environment = shared.storage.environment();
    let holder = Holder { process: environment.process, host: environment.host.clone() };
    let nonce = shared.random_id()?;
    let file = shared.storage.open_write(LOCK).and_then(|file| write_page(&*file, shared.database, &holder).map(|()| file));
    let mut beacon = Beacon::new(file.map_err(|source| Error::io("name the writer", source).in_file(LOCK))?, nonce);
    let writer = shared.writer.lock();
    beacon.publish(writer.log.number(), writer.log.synced(), writer.next_sequence.saturating_sub(1))?;
    Ok(beacon)
}

fn write_page(file: &dyn WriteFile, database: FileId, holder: &Holder) -> std::io::Result<()> {
    let page = crate::format::lock_page::encode_page(database, holder);
    let end = crate::format::lock_page::POINT_OFFSET as usize;
    // The point behind it is a reader's: only the beacon touches it.
    file.write_at(0, page.get(..end).unwrap_or_default())?;
    file.allocate(page.len() as u64)
}
