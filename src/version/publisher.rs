use std::collections::{BTreeMap, BTreeSet};

use super::{LiveSegment, OutputFile, Pending, Shared, Version, View};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        manifest::{FileEntry, KillEntry, Manifest},
        names::{log_name, manifest_name, segment_name},
    },
    log::SpareLog,
    manifest::ManifestStore,
    observe::event,
    segment::{KillSet, SegmentFile},
    sync::{Arc, Weak},
    types::{CollectionId, FileId, FileNumber},
};

/// A file that the newest manifest names.
#[derive(Clone, Debug)]
pub(crate) struct NamedFile {
    pub(crate) entry: FileEntry,
    pub(crate) file: Arc<SegmentFile>,
}

/// The one who publishes manifests: flush, compaction and bulk load lock it in turn.
#[derive(Debug)]
pub(crate) struct Publisher {
    store: ManifestStore,
    files: BTreeMap<FileNumber, NamedFile>,
    /// Since when (Unix seconds) a file has held a segment that nobody references.
    dead_since: BTreeMap<FileNumber, u64>,
    /// Removed files that a snapshot, row or reader may still hold open.
    removed: Vec<(u64, Weak<SegmentFile>)>,
}

/// What is to be published.
pub(crate) struct Draft {
    pub(crate) version: Version,
    pub(crate) added: Vec<NamedFile>,
    /// A new spare log to name.
    pub(crate) spare: Option<SpareLog>,
    /// Logs up to this number are flushed; the frozen memtable goes with them.
    pub(crate) retire: Option<FileNumber>,
    /// A batch that is in the segments only.
    pub(crate) loaded: Option<Loaded>,
}

/// What a version holds that no memtable did. It takes the next sequence, which is the version's `flushed_through`.
pub(crate) struct Loaded {
    pub(crate) collection: CollectionId,
    /// Records more than before.
    pub(crate) net: i64,
}

impl Publisher {
    pub(crate) fn new(store: ManifestStore, files: BTreeMap<FileNumber, NamedFile>) -> Self {
        Self { store, files, dead_since: BTreeMap::new(), removed: Vec::new() }
    }

    pub(crate) fn database(&self) -> FileId {
        self.store.database()
    }

    pub(crate) fn manifest_number(&self) -> u64 {
        self.store.newest()
    }

    /// Files of the newest manifest.
    pub(crate) fn files(&self) -> &BTreeMap<FileNumber, NamedFile> {
        &self.files
    }

    /// Since when (Unix seconds) a file has held dead segments; 0, long ago, if they were dead at open.
    pub(crate) fn dead_since(&self, file: FileNumber) -> u64 {
        self.dead_since.get(&file).copied().unwrap_or(0)
    }

    fn note_dead(&mut self, version: &Version, now: u64) {
        let mut referenced: BTreeMap<FileNumber, usize> = BTreeMap::new();
        for live in version.segments() {
            *referenced.entry(live.entry.file).or_default() += 1;
        }
        for (number, named) in &self.files {
            let whole = named.file.footer().segments.len() == referenced.get(number).copied().unwrap_or_default();
            if whole {
                // A later death starts the clock; without an entry it would count as old.
                self.dead_since.insert(*number, now);
            }
        }
        self.dead_since.retain(|number, _| self.files.contains_key(number));
    }

    /// Whether a file is still in use.
    pub(crate) fn names(&self, file: FileNumber) -> bool {
        self.files.contains_key(&file)
    }

    /// Bytes of removed files that something still holds.
    pub(crate) fn pinned_bytes(&self) -> u64 {
        self.removed.iter().filter(|(_, file)| file.strong_count() > 0).map(|(bytes, _)| bytes).sum()
    }

    /// Publishes a draft and installs it as the newest view. `fill` carries what was written since the draft's base into its pending
    /// maps; it runs while no write can happen.
    ///
    /// After `NoSpace` nothing has changed. Any other error has poisoned the database.
    pub(crate) fn publish(&mut self, shared: &Shared, draft: Draft, fill: impl FnOnce(&View) -> Result<()>) -> Result<()> {
        shared.check_healthy()?;
        let Draft { version, added, spare, retire, loaded } = draft;
        let mut logs = {
            let mut writer = shared.writer.lock();
            writer.sync(&shared.counters).map_err(|error| shared.poison(error))?;
            writer.log_entries()
        };
        // More than one if a full device made the writer go on in another log without a flush.
        let retired: Vec<String> =
            logs.iter().filter(|log| retire.is_some_and(|retire| log.number <= retire)).map(|log| log_name(log.number)).collect();
        logs.retain(|log| retire.is_none_or(|retire| log.number > retire));
        logs.extend(spare.as_ref().map(SpareLog::entry));
        let mut files = self.files.clone();
        files.extend(added.into_iter().map(|named| (named.entry.number, named)));
        let used = version.files();
        let mut unused: Vec<NamedFile> = Vec::new();
        files.retain(|number, named| {
            used.contains(number) || {
                unused.push(named.clone());
                false
            }
        });
        let (next_file, next_segment) = shared.unused_numbers();
        let mut manifest = Manifest {
            flushed_through: version.flushed_through,
            next_file,
            next_segment,
            next_collection: shared.writer.lock().catalog.next_collection.max(1),
            logs,
            files: files.values().map(|named| named.entry.clone()).collect(),
            collections: version.collection_entries(),
            ..Manifest::default()
        };
        if let Err(error) = self.write(shared, &mut manifest) {
            if error.kind() == ErrorKind::NoSpace {
                let logs = spare.iter().map(|spare| log_name(spare.entry().number));
                let unpublished = files.keys().filter(|number| !self.files.contains_key(number)).map(|number| segment_name(*number));
                unpublished.chain(logs).for_each(|name| shared.discard(name));
            }
            return Err(error);
        }
        self.files = files;
        self.note_dead(&version, shared.clock().unix_seconds());
        self.measure(shared, &version);
        self.install(shared, Installed { version, spare, retire, loaded }, fill)?;
        self.collect(shared, &unused, retired, manifest.number);
        Ok(())
    }

    /// Tells the slow-down of writers what the files hold. What stays where it is for the sake of a damaged segment is no part of it: no
    /// waiting would free that.
    pub(crate) fn measure(&self, shared: &Shared, version: &Version) {
        let set_aside = shared.all_set_aside();
        let (movable, stuck): (Vec<_>, Vec<_>) =
            version.segments().partition(|live| live.bounds().is_some() && !set_aside.contains(&live.entry.id));
        let stay: BTreeSet<FileNumber> = stuck.iter().map(|live| live.entry.file).collect();
        let free = self.files.values().filter(|named| !stay.contains(&named.entry.number)).map(|named| named.entry.len);
        let beside_stuck = movable.iter().filter(|live| stay.contains(&live.entry.file)).map(|live| live.entry.len);
        shared.set_space(movable.iter().map(|live| live.live_bytes()).sum(), free.chain(beside_stuck).sum());
    }

    fn write(&mut self, shared: &Shared, manifest: &mut Manifest) -> Result<()> {
        let names = shared.storage.sync_names().map_err(|source| Error::io("sync the directory", source));
        let result = names.and_then(|()| self.store.publish(manifest));
        result.map_err(|error| if error.kind() == ErrorKind::NoSpace { error } else { shared.poison(error) })?;
        shared.counters.manifests.add(1);
        event!(number = manifest.number, files = manifest.files.len(), "manifest published");
        Ok(())
    }

    fn install(&mut self, shared: &Shared, installed: Installed, fill: impl FnOnce(&View) -> Result<()>) -> Result<()> {
        let Installed { version, spare, retire, loaded } = installed;
        let mut writer = shared.writer.lock();
        let view = shared.view();
        // The manifest names it already: a view that does not fit it must stop the writer.
        fill(&view).map_err(|error| shared.poison(error))?;
        let version = Arc::new(version);
        let next = if let Some(retire) = retire {
            writer.older.retain(|(entry, _)| entry.number > retire);
            view.flushed(Arc::clone(&version))
        } else {
            view.with_version(Arc::clone(&version))
        };
        if let Some(Loaded { collection, net }) = loaded {
            let sequence = version.flushed_through;
            debug_assert_eq!(sequence, writer.next_sequence);
            writer.next_sequence = sequence.saturating_add(1);
            let next_ordinal = version.collections.get(&collection).map_or(0, |collection| collection.next_ordinal);
            writer.catalog.ordinal_used(collection, next_ordinal.saturating_sub(1));
            // Before it is installed: whoever takes this view takes rows, count and sequence of the same moment.
            next.counts.add(collection, sequence, net);
            next.set_visible(sequence);
        }
        shared.install(next);
        if spare.is_some() {
            debug_assert!(writer.spare.is_none());
            writer.spare = spare;
        }
        Ok(())
    }

    /// Removes what the durable manifest does not name any more. Open files stay readable for those who hold them.
    fn collect(&mut self, shared: &Shared, unused: &[NamedFile], retired: Vec<String>, manifest: u64) {
        self.removed.retain(|(_, file)| file.strong_count() > 0);
        self.removed.extend(unused.iter().map(|named| (named.entry.len, Arc::downgrade(&named.file))));
        let unused = unused.iter().map(|named| segment_name(named.entry.number));
        shared.retire(unused.chain([manifest_name(manifest.saturating_sub(1))]).chain(retired));
    }
}

/// The part of a draft that changes what is in memory.
struct Installed {
    version: Version,
    spare: Option<SpareLog>,
    retire: Option<FileNumber>,
    loaded: Option<Loaded>,
}

/// A kill set to be published.
pub(crate) struct Kills {
    pub(crate) set: Arc<KillSet>,
    /// Whether a row that the segment's present set does not have was deleted, not superseded.
    pub(crate) deleted: bool,
}

/// Writes the kill set of a segment into a file being built and returns the segment as it stands with it; `None` if no row lives.
pub(crate) fn write_kills(
    shared: &Shared,
    output: &mut OutputFile<'_>,
    live: &LiveSegment,
    kills: Kills,
    pending: Arc<Pending>,
) -> Result<Option<Arc<LiveSegment>>> {
    let Kills { set, deleted } = kills;
    if set.count() >= live.segment.rows() {
        return Ok(None);
    }
    let Some(block) = set.to_block(live.entry.id) else {
        return Ok(Some(Arc::new(live.with(live.entry, set, pending))));
    };
    let file = output.number();
    let place = output.builder()?.add_kills(&block)?;
    let since = match live.entry.kills.map_or(0, |old| old.deleted_since) {
        0 if deleted => shared.clock().unix_seconds().max(1),
        earlier => earlier,
    };
    let entry = KillEntry { count: set.count(), deleted_since: since, file, offset: place.offset, len: place.len, crc: place.crc };
    let entry = crate::format::manifest::SegmentEntry { kills: Some(entry), ..live.entry };
    Ok(Some(Arc::new(live.with(entry, set, pending))))
}

/// Moves kill blocks out of files that hold no live segment and, mostly, kill blocks of no use, so that those can go.
pub(crate) fn rehome_kills(shared: &Shared, publisher: &Publisher, output: &mut OutputFile<'_>, version: &Version) -> Result<Version> {
    let mut worth_keeping = version.segment_files();
    worth_keeping.insert(output.number());
    let mut used: BTreeMap<FileNumber, u64> = BTreeMap::new();
    for kills in version.segments().filter_map(|live| live.entry.kills) {
        *used.entry(kills.file).or_default() += u64::from(kills.len);
    }
    let half_used = |(number, bytes): (&FileNumber, &u64)| {
        let len = publisher.files.get(number).map_or(0, |named| named.entry.len);
        (bytes * 2 >= len).then_some(*number)
    };
    worth_keeping.extend(used.iter().filter_map(half_used));
    let mut failure = None;
    let moved = version.edited(|live| {
        let kills = live.entry.kills?;
        if worth_keeping.contains(&kills.file) || failure.is_some() {
            return None;
        }
        let same = Kills { set: Arc::clone(&live.kills), deleted: false };
        match write_kills(shared, output, live, same, Arc::clone(&live.pending)) {
            Ok(replaced) => Some(replaced),
            Err(error) => {
                failure = Some(error);
                None
            }
        }
    });
    failure.map_or(Ok(moved), Err)
}
