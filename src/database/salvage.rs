use std::collections::{BTreeMap, BTreeSet};

use super::{repair::Lost, salvage_files::from_segment_files, salvage_logs::replay_logs};
use crate::{
    error::{Error, Result},
    format::{
        manifest::{CollectionEntry, KillEntry, Manifest, SegmentEntry},
        names::segment_name,
    },
    io::{FileInfo, Storage},
    manifest::{manifest_numbers, read_manifest, survey},
    memtable::Memtable,
    options::Options,
    segment::{KillSet, Segment, SegmentFile},
    sync::Arc,
    types::{FileNumber, Ordinal, SegmentId},
    version::{Catalog, CollectionMeta, CollectionVersion, LiveSegment, Pending, Version},
};

/// What can be read of a damaged database.
pub(super) struct Salvage {
    pub(super) collections: Vec<SalvagedCollection>,
    pub(super) lost: Vec<Lost>,
}

/// What can be read of a collection; single rows may still be damaged.
pub(super) struct SalvagedCollection {
    pub(super) meta: Arc<CollectionMeta>,
    pub(super) next_ordinal: Ordinal,
    pub(super) segments: Vec<Arc<LiveSegment>>,
    /// Those whose kill set cannot be read: what they hold may be dead.
    pub(super) doubtful: BTreeSet<SegmentId>,
    /// What the logs held, of all collections.
    pub(super) memtable: Arc<Memtable>,
}

/// Reads a directory as far as it can be read.
pub(super) fn salvage(storage: &dyn Storage, options: &Options) -> Result<Salvage> {
    let names = storage.list().map_err(|source| Error::io("list the directory", source))?;
    let mut lost = Vec::new();
    match find_manifest(storage, &names, &mut lost)? {
        Some(manifest) => from_manifest(storage, options, &manifest, lost),
        None => from_segment_files(storage, options, &names, lost),
    }
}

pub(super) fn note(lost: &mut Vec<Lost>, collection: &str, rows: u64, reason: impl Into<String>) {
    lost.push(Lost { collection: collection.to_owned(), rows, reason: reason.into(), ..Lost::default() });
}

/// The newest usable manifest. One below the floor, or behind a damaged one, is used all the same, and the report says so.
fn find_manifest(storage: &dyn Storage, names: &[FileInfo], lost: &mut Vec<Lost>) -> Result<Option<Manifest>> {
    let survey = survey(storage, names);
    if let Some(error) = survey.obstacle {
        return Err(error);
    }
    if survey.manifest.is_some() {
        return Ok(survey.manifest);
    }
    for damage in &survey.damages {
        note(lost, "", 0, damage.told());
    }
    let mut older = None;
    for number in manifest_numbers(names) {
        older = older.or(damaged(read_manifest(storage, number))?.ok());
    }
    let Some((manifest, _, _)) = older else { return Ok(None) };
    note(lost, "", 0, format!("manifest {} is used, which is not the newest: later changes are lost", manifest.number));
    Ok(Some(manifest))
}

/// The result, or the damage that keeps from it; any other failure ends the repair: nothing is lost, another program or user reads it.
pub(super) fn damaged<T>(result: Result<T>) -> Result<Result<T>> {
    match result {
        Err(error) if error.is_obstacle() => Err(error),
        result => Ok(result),
    }
}

fn from_manifest(storage: &dyn Storage, options: &Options, manifest: &Manifest, mut lost: Vec<Lost>) -> Result<Salvage> {
    let mut files = BTreeMap::new();
    let mut failures = BTreeMap::new();
    for entry in &manifest.files {
        match damaged(SegmentFile::salvage(storage, entry, options.read_mode))? {
            Ok(file) => drop(files.insert(entry.number, file)),
            // Not lost: a repair with more descriptors would save it.
            Err(error) if error.is_shortage() => return Err(error),
            Err(error) => drop(failures.insert(entry.number, error)),
        }
    }
    let mut catalog = Catalog { next_collection: manifest.next_collection, ..Catalog::default() };
    let mut collections = BTreeMap::new();
    let mut doubtful = BTreeSet::new();
    for entry in &manifest.collections {
        let meta = Arc::new(CollectionMeta {
            id: entry.id,
            name: entry.name.clone(),
            dimension: entry.dimension,
            metric: entry.metric,
            codes: entry.codes,
        });
        let segments = open_segments(options, entry, &files, &failures, &mut lost, &mut doubtful)?;
        let runs = segments.into_iter().map(|live| std::iter::once(live).collect()).collect();
        catalog.collections.insert(entry.id, Arc::clone(&meta));
        catalog.next_ordinals.insert(entry.id, entry.next_ordinal);
        collections.insert(entry.id, Arc::new(CollectionVersion { meta, next_ordinal: entry.next_ordinal, runs }));
    }
    let version = Version { flushed_through: manifest.flushed_through, collections };
    let memtable = Arc::new(Memtable::new());
    replay_logs(storage, manifest, &version, &memtable, &mut catalog, &mut lost)?;
    rename_doubles(&mut catalog, &mut lost);
    let salvaged = catalog.collections.values().map(|meta| SalvagedCollection {
        meta: Arc::clone(meta),
        next_ordinal: catalog.next_ordinals.get(&meta.id).copied().unwrap_or_default(),
        segments: version.collections.get(&meta.id).map(|collection| collection.segments().cloned().collect()).unwrap_or_default(),
        doubtful: doubtful.clone(),
        memtable: Arc::clone(&memtable),
    });
    Ok(Salvage { collections: salvaged.collect(), lost })
}

/// Where a dropping or renaming is lost, two collections may have one name: the newest keeps it.
fn rename_doubles(catalog: &mut Catalog, lost: &mut Vec<Lost>) {
    let mut taken: BTreeSet<String> = catalog.collections.values().map(|meta| meta.name.clone()).collect();
    let mut kept = BTreeSet::new();
    let all: Vec<Arc<CollectionMeta>> = catalog.collections.values().cloned().collect();
    for meta in all.iter().rev().filter(|meta| !kept.insert(meta.name.clone())) {
        let name = free_name(&meta.name, &taken);
        note(lost, &name, 0, format!("another collection is named {:?} too: this one was dropped or renamed, and may be back", meta.name));
        catalog.rename(meta.id, &name);
        taken.insert(name);
    }
}

/// The name with a number behind it that is not taken.
fn free_name(name: &str, taken: &BTreeSet<String>) -> String {
    let mut end = name.len().min(255 - 24);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let start = name.get(..end).unwrap_or_default();
    (2_u64..).map(|number| format!("{start} ({number})")).find(|name| !taken.contains(name)).unwrap_or_default()
}

fn open_segments(
    options: &Options,
    collection: &CollectionEntry,
    files: &BTreeMap<FileNumber, Arc<SegmentFile>>,
    failures: &BTreeMap<FileNumber, Error>,
    lost: &mut Vec<Lost>,
    doubtful: &mut BTreeSet<SegmentId>,
) -> Result<Vec<Arc<LiveSegment>>> {
    let mut segments = Vec::new();
    for entry in collection.runs.iter().flatten() {
        let live_rows = u64::from(entry.rows) - u64::from(entry.kills.map_or(0, |kills| kills.count));
        let Some(file) = files.get(&entry.file) else {
            let reason = failures.get(&entry.file).map_or_else(|| format!("{} is not named", segment_name(entry.file)), Error::told);
            note(lost, &collection.name, live_rows, reason);
            continue;
        };
        let segment = match damaged(Segment::open(Arc::clone(file), entry, collection.dimension, options.checksum_mode))? {
            Ok(segment) => segment,
            Err(error) => {
                note(lost, &collection.name, live_rows, error.told());
                continue;
            }
        };
        let kills = entry.kills.map(|kills| damaged(read_kills(files, entry, &kills))).transpose()?;
        let kills = kills.transpose().unwrap_or_else(|error| {
            let (dead, rows) = (entry.kills.map_or(0, |kills| kills.count), entry.rows);
            let reason =
                format!("{dead} of {rows} records were deleted or superseded and may be back: which ones cannot be read: {}", error.told());
            note(lost, &collection.name, 0, reason);
            doubtful.insert(entry.id);
            None
        });
        let kills = Arc::new(kills.unwrap_or_else(|| KillSet::empty(entry.rows)));
        segments.push(Arc::new(LiveSegment::new(segment, *entry, kills, Arc::new(Pending::default()))));
    }
    Ok(segments)
}

fn read_kills(files: &BTreeMap<FileNumber, Arc<SegmentFile>>, entry: &SegmentEntry, kills: &KillEntry) -> Result<KillSet> {
    let file = files.get(&kills.file).ok_or_else(|| Error::corruption("the file cannot be read").in_file(segment_name(kills.file)))?;
    KillSet::read(file, kills, entry.id, entry.rows)
}
