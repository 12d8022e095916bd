use std::collections::{BTreeMap, BTreeSet};

use super::{recover::Replay, repair::Lost};
use crate::{
    error::{Error, Result},
    format::{
        identity::{FileKind, IDENTITY_BYTES, Identity},
        manifest::{CollectionEntry, FileEntry, KillEntry, Manifest, SegmentEntry},
        names::{FileName, log_name, segment_name},
        segment_file::{FileFooter, TAIL_BYTES},
    },
    io::{FileInfo, Storage},
    log::{LogBatch, LogEnd, check_identity, check_length, find_activation},
    manifest::{manifest_numbers, read_manifest, survey},
    memtable::Memtable,
    options::Options,
    segment::{KillSet, Segment, SegmentFile},
    sync::Arc,
    types::{FileNumber, Metric, Ordinal, SegmentId},
    version::{Catalog, CollectionMeta, CollectionVersion, Counts, LiveSegment, Pending, Version},
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
    match find_manifest(storage, &names, &mut lost) {
        Some(manifest) => from_manifest(storage, options, &manifest, lost),
        None => from_segment_files(storage, options, &names, lost),
    }
}

fn note(lost: &mut Vec<Lost>, collection: &str, rows: u64, reason: impl Into<String>) {
    lost.push(Lost { collection: collection.to_owned(), rows, reason: reason.into(), ..Lost::default() });
}

/// The newest usable manifest. One below the floor, or behind a damaged one, is used all the same, and the report says so.
fn find_manifest(storage: &dyn Storage, names: &[FileInfo], lost: &mut Vec<Lost>) -> Option<Manifest> {
    let survey = survey(storage, names);
    if survey.manifest.is_some() {
        return survey.manifest;
    }
    for damage in &survey.damages {
        note(lost, "", 0, damage.to_string());
    }
    let older = manifest_numbers(names).into_iter().find_map(|number| read_manifest(storage, number).ok());
    let (manifest, _, _) = older?;
    note(lost, "", 0, format!("manifest {} is used, which is not the newest: later changes are lost", manifest.number));
    Some(manifest)
}

fn from_manifest(storage: &dyn Storage, options: &Options, manifest: &Manifest, mut lost: Vec<Lost>) -> Result<Salvage> {
    let mut files = BTreeMap::new();
    let mut failures = BTreeMap::new();
    for entry in &manifest.files {
        match SegmentFile::open(storage, entry, options.read_mode) {
            Ok(file) => drop(files.insert(entry.number, file)),
            Err(error) => drop(failures.insert(entry.number, error)),
        }
    }
    let mut catalog = Catalog { next_collection: manifest.next_collection, ..Catalog::default() };
    let mut collections = BTreeMap::new();
    let mut doubtful = BTreeSet::new();
    for entry in &manifest.collections {
        let meta = Arc::new(CollectionMeta { id: entry.id, name: entry.name.clone(), dimension: entry.dimension, metric: entry.metric });
        let runs = open_segments(options, entry, &files, &failures, &mut lost, &mut doubtful)
            .into_iter()
            .map(|live| std::iter::once(live).collect())
            .collect();
        catalog.collections.insert(entry.id, Arc::clone(&meta));
        catalog.next_ordinals.insert(entry.id, entry.next_ordinal);
        collections.insert(entry.id, Arc::new(CollectionVersion { meta, next_ordinal: entry.next_ordinal, runs }));
    }
    let version = Version { flushed_through: manifest.flushed_through, collections };
    let memtable = Arc::new(Memtable::new());
    replay_logs(storage, manifest, &version, &memtable, &mut catalog, &mut lost);
    let salvaged = catalog.collections.values().map(|meta| SalvagedCollection {
        meta: Arc::clone(meta),
        next_ordinal: catalog.next_ordinals.get(&meta.id).copied().unwrap_or_default(),
        segments: version.collections.get(&meta.id).map(|collection| collection.segments().cloned().collect()).unwrap_or_default(),
        doubtful: doubtful.clone(),
        memtable: Arc::clone(&memtable),
    });
    Ok(Salvage { collections: salvaged.collect(), lost })
}

fn open_segments(
    options: &Options,
    collection: &CollectionEntry,
    files: &BTreeMap<FileNumber, Arc<SegmentFile>>,
    failures: &BTreeMap<FileNumber, Error>,
    lost: &mut Vec<Lost>,
    doubtful: &mut BTreeSet<SegmentId>,
) -> Vec<Arc<LiveSegment>> {
    let mut segments = Vec::new();
    for entry in collection.runs.iter().flatten() {
        let live_rows = u64::from(entry.rows) - u64::from(entry.kills.map_or(0, |kills| kills.count));
        let Some(file) = files.get(&entry.file) else {
            let reason =
                failures.get(&entry.file).map_or_else(|| format!("{} is not named", segment_name(entry.file)), ToString::to_string);
            note(lost, &collection.name, live_rows, reason);
            continue;
        };
        let segment = match Segment::open(Arc::clone(file), entry, collection.dimension, options.checksum_mode) {
            Ok(segment) => segment,
            Err(error) => {
                note(lost, &collection.name, live_rows, error.to_string());
                continue;
            }
        };
        let kills = entry.kills.map(|kills| read_kills(files, entry, &kills));
        let kills = kills.transpose().unwrap_or_else(|error| {
            let (dead, rows) = (entry.kills.map_or(0, |kills| kills.count), entry.rows);
            let reason = format!("{dead} of {rows} records were deleted or superseded and may be back: which ones cannot be read: {error}");
            note(lost, &collection.name, 0, reason);
            doubtful.insert(entry.id);
            None
        });
        let kills = Arc::new(kills.unwrap_or_else(|| KillSet::empty(entry.rows)));
        segments.push(Arc::new(LiveSegment::new(segment, *entry, kills, Arc::new(Pending::default()))));
    }
    segments
}

fn read_kills(files: &BTreeMap<FileNumber, Arc<SegmentFile>>, entry: &SegmentEntry, kills: &KillEntry) -> Result<KillSet> {
    let file = files.get(&kills.file).ok_or_else(|| Error::corruption("the file cannot be read").in_file(segment_name(kills.file)))?;
    KillSet::read(file, kills, entry.id, entry.rows)
}

/// Replays the chain of logs up to its first damage.
fn replay_logs(
    storage: &dyn Storage,
    manifest: &Manifest,
    version: &Version,
    memtable: &Memtable,
    catalog: &mut Catalog,
    lost: &mut Vec<Lost>,
) {
    let counts = Counts::default();
    let mut replay = Replay::salvaging(version, memtable, &counts, catalog);
    let mut logs = Vec::new();
    for entry in &manifest.logs {
        let name = log_name(entry.number);
        match storage.open_read(&name).and_then(|file| file.map()) {
            Ok(bytes) => logs.push((entry, bytes)),
            Err(source) => {
                note(lost, "", 0, Error::io(format_args!("read {name}"), source).in_file(name).to_string());
                break;
            }
        }
    }
    for (index, (entry, bytes)) in logs.iter().enumerate() {
        let next = logs.get(index + 1).and_then(|(entry, bytes)| find_activation(bytes, entry));
        let end = next.map(|next| next.predecessor_end).or(entry.sealed.map(|sealed| sealed.end));
        let salvaged = crate::log::salvage(bytes, entry, end);
        let name = log_name(entry.number);
        let failed = salvaged.batches.iter().find_map(|batch: &LogBatch| replay.batch(batch).err());
        if let Some(damage) = failed.or(salvaged.damage) {
            let stranded = salvaged.stranded.len();
            note(lost, "", 0, format!("{}; {stranded} whole batches behind it are lost", damage.in_file(name)));
            break;
        }
        // Frames tell by themselves which log they are of: whatever is wrong around them, all that could be read was.
        let first = manifest.logs.first().is_some_and(|first| first.number == entry.number);
        let around = check_identity(bytes, manifest.database, entry)
            .and_then(|()| if end.is_none() { check_length(bytes, LogEnd::Tail) } else { Ok(()) })
            .and_then(|()| match find_activation(bytes, entry) {
                None if first => Err(Error::corruption("the activation record is missing in both places").at(4096)),
                _ => Ok(()),
            });
        if let Err(damage) = around {
            let read = salvaged.batches.len();
            note(lost, "", 0, format!("{}; {read} whole batches were read, more may be lost", damage.in_file(name)));
        }
    }
}

/// Without a manifest: every segment that the files themselves name.
fn from_segment_files(storage: &dyn Storage, options: &Options, names: &[FileInfo], mut lost: Vec<Lost>) -> Result<Salvage> {
    let numbers = names.iter().filter_map(|info| match FileName::parse(&info.name) {
        FileName::Segment(number) => Some(number),
        _ => None,
    });
    let numbers: Vec<FileNumber> = numbers.collect();
    if numbers.is_empty()
        && !names.iter().any(|info| matches!(FileName::parse(&info.name), FileName::Manifest(_) | FileName::Log(_) | FileName::Floor))
    {
        return Err(Error::not_found("there is nothing of a database here"));
    }
    note(&mut lost, "", 0, "no manifest can be read: names and metrics of collections, and what only the logs held, are lost");
    let mut files = Vec::new();
    for number in numbers {
        match open_by_itself(storage, options, number) {
            Ok(file) => files.push((number, file)),
            Err(error) => note(&mut lost, "", 0, error.to_string()),
        }
    }
    let mut segments: BTreeMap<SegmentId, Arc<LiveSegment>> = BTreeMap::new();
    for (number, file) in &files {
        for place in &file.footer().segments {
            match Segment::open_place(Arc::clone(file), place, options.checksum_mode) {
                Ok(segment) => {
                    let kills = kills_of(&files, place.id, segment.rows());
                    let (id, offset, len, footer_crc) = (place.id, place.offset, place.len, place.footer_crc);
                    let entry = SegmentEntry { id, file: *number, offset, len, footer_crc, rows: segment.rows(), kills: None };
                    segments.insert(id, Arc::new(LiveSegment::new(segment, entry, Arc::new(kills), Arc::new(Pending::default()))));
                }
                Err(error) => note(&mut lost, "", 0, error.to_string()),
            }
        }
    }
    let mut by_dimension: BTreeMap<usize, Vec<Arc<LiveSegment>>> = BTreeMap::new();
    for live in segments.into_values() {
        by_dimension.entry(live.segment.dimension().get()).or_default().push(live);
    }
    let collections = (1..).zip(by_dimension).filter_map(|(id, (elements, segments))| {
        let dimension = segments.first()?.segment.dimension();
        let meta = CollectionMeta { id, name: format!("recovered-{elements}"), dimension, metric: Metric::L2 };
        Some(SalvagedCollection {
            meta: Arc::new(meta),
            next_ordinal: 0,
            segments,
            doubtful: BTreeSet::new(),
            memtable: Arc::new(Memtable::new()),
        })
    });
    Ok(Salvage { collections: collections.collect(), lost })
}

/// Opens a segment file by what it says of itself.
fn open_by_itself(storage: &dyn Storage, options: &Options, number: FileNumber) -> Result<Arc<SegmentFile>> {
    let name = segment_name(number);
    let failed = |source| Error::io(format_args!("read {name}"), source).in_file(&name);
    let file = storage.open_read(&name).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    let mut header = [0; IDENTITY_BYTES];
    file.read_at(0, &mut header).map_err(failed)?;
    let identity = Identity::decode(&header, FileKind::Segment).map_err(|error| error.in_file(&name))?;
    let mut tail = [0; TAIL_BYTES];
    file.read_at(len.saturating_sub(TAIL_BYTES as u64), &mut tail).map_err(failed)?;
    let (_, footer_crc) = FileFooter::decode_tail(&tail).map_err(|error| error.in_file(&name))?;
    let (origin_database, origin_number) = (identity.database, identity.number);
    let entry = FileEntry { number, origin_database, origin_number, file: identity.file, len, footer_crc };
    SegmentFile::open(storage, &entry, options.read_mode)
}

/// Everything any file says is dead in a segment: kill sets only grow.
fn kills_of(files: &[(FileNumber, Arc<SegmentFile>)], segment: SegmentId, rows: u32) -> KillSet {
    let mut kills = KillSet::empty(rows);
    for (number, file) in files {
        for place in file.footer().kills.iter().filter(|place| place.segment == segment) {
            let entry = KillEntry { count: 0, deleted_since: 0, file: *number, offset: place.offset, len: place.len, crc: place.crc };
            if let Ok(read) = KillSet::read(file, &entry, segment, rows) {
                kills = kills.union(read.iter());
            }
        }
    }
    kills
}
