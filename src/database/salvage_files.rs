//! What can be read of a database without any manifest: segments by what their own files say.
//!
//! No file says which collection a segment is of, what that was called, or how its vectors are compared. So segments are kept apart wherever
//! anything shows that they are of different collections, and kill blocks are applied where they are provably about the segment at hand.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{
    repair::Lost,
    salvage::{Salvage, SalvagedCollection, damaged, note},
};
use crate::{
    error::{Error, Result},
    format::{
        id_hash,
        identity::{FileKind, IDENTITY_BYTES, Identity},
        manifest::{FileEntry, SegmentEntry},
        names::{FileName, segment_name},
        segment_file::{FileFooter, TAIL_BYTES},
    },
    io::{FileInfo, Storage},
    memtable::Memtable,
    options::Options,
    segment::{KillSet, Segment, SegmentFile},
    sync::Arc,
    types::{Codes, Dimension, FileId, FileNumber, Metric, SegmentId},
    version::{CollectionMeta, LiveSegment, Pending},
};

/// Without a manifest: every segment that the files themselves name.
pub(super) fn from_segment_files(storage: &dyn Storage, options: &Options, names: &[FileInfo], mut lost: Vec<Lost>) -> Result<Salvage> {
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
    let unknown = "no manifest can be read: names and metrics of collections are lost, and so is what only the logs held; \
                   what that had deleted or replaced may be back";
    note(&mut lost, "", 0, unknown);
    let mut files = Vec::new();
    for number in numbers {
        match damaged(open_by_itself(storage, options, number))? {
            Ok(file) => files.push(file),
            Err(error) => note(&mut lost, "", 0, format!("{}; what only this file said to be dead may be back", error.told())),
        }
    }
    let segments = open_segments(options, &files, &mut lost)?;
    let collections = (1..).zip(keep_apart(segments)).map(|(id, group)| {
        let name = group.name.clone();
        if group.segments.len() > 1 {
            let reason = format!("{} segments are taken for one collection: no id and no ordinal is in two of them", group.segments.len());
            note(&mut lost, &name, 0, reason);
        }
        SalvagedCollection {
            meta: Arc::new(CollectionMeta {
                id,
                name,
                dimension: group.dimension,
                metric: Metric::L2,
                codes: if group.segments.iter().any(|live| live.segment.has_codes()) { Codes::Int8 } else { Codes::None },
            }),
            next_ordinal: 0,
            segments: group.segments,
            doubtful: BTreeSet::new(),
            memtable: Arc::new(Memtable::new()),
        }
    });
    let collections = collections.collect();
    Ok(Salvage { collections, lost })
}

/// Opens a segment file by what it says of itself.
fn open_by_itself(storage: &dyn Storage, options: &Options, number: FileNumber) -> Result<Arc<SegmentFile>> {
    let name = segment_name(number);
    let failed = |source| Error::io(format_args!("read {name}"), source).in_file(&name);
    let file = storage.open_read(&name).map_err(failed)?;
    let len = file.len().map_err(failed)?;
    if len < (IDENTITY_BYTES + TAIL_BYTES) as u64 {
        return Err(Error::corruption(format!("{len} bytes long: too short for a segment file")).in_file(name));
    }
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

/// Every segment once: within one database ids are never given twice, but two databases give the same ones.
fn open_segments(options: &Options, files: &[Arc<SegmentFile>], lost: &mut Vec<Lost>) -> Result<Vec<Arc<LiveSegment>>> {
    let mut segments: BTreeMap<(SegmentId, FileId), Arc<LiveSegment>> = BTreeMap::new();
    for file in files {
        let origin = file.entry().origin_database;
        for place in &file.footer().segments {
            match damaged(Segment::open_place(Arc::clone(file), place, options.checksum_mode))? {
                Ok(segment) => {
                    let kills = kills_of(files, origin, place.id, segment.rows(), lost);
                    let (id, offset, len, footer_crc) = (place.id, place.offset, place.len, place.footer_crc);
                    let entry = SegmentEntry { id, file: file.entry().number, offset, len, footer_crc, rows: segment.rows(), kills: None };
                    let live = LiveSegment::new(segment, entry, Arc::new(kills), Arc::new(Pending::default()));
                    segments.entry((id, origin)).or_insert_with(|| Arc::new(live));
                }
                Err(error) => note(lost, "", 0, error.told()),
            }
        }
    }
    Ok(segments.into_values().collect())
}

/// Everything that files of the same database say is dead in a segment. Its ids are unique there, and kill sets only grow, so each block that
/// was ever written still holds. A block of another database (one side of a checkpoint) may be about another segment of that id.
fn kills_of(files: &[Arc<SegmentFile>], origin: FileId, segment: SegmentId, rows: u32, lost: &mut Vec<Lost>) -> KillSet {
    let mut kills = KillSet::empty(rows);
    for file in files {
        for place in file.footer().kills.iter().filter(|place| place.segment == segment) {
            let doubt = match KillSet::read_place(file, place, rows) {
                Ok(read) if file.entry().origin_database == origin => {
                    kills = kills.union(read.iter());
                    continue;
                }
                Ok(read) => {
                    format!("{}: {} records of segment {segment} are said to be dead by another database", file.name(), read.count())
                }
                Err(error) => error.told(),
            };
            note(lost, "", 0, format!("{doubt}; they may be back"));
        }
    }
    kills
}

/// Segments that may be one collection.
struct Group {
    name: String,
    dimension: Dimension,
    segments: Vec<Arc<LiveSegment>>,
    taken: Keys,
}

/// What no two live rows of one collection share: hashes of their ids, and their insertion ordinals.
#[derive(Default)]
struct Keys {
    ids: HashSet<u64>,
    ordinals: HashSet<u64>,
}

impl Keys {
    /// Of the live rows, as far as they can be read.
    fn of(live: &LiveSegment) -> Self {
        let mut keys = Self::default();
        let mut id = Vec::new();
        for row in (0..live.segment.rows()).filter(|row| live.is_live(*row, u64::MAX)) {
            id.clear();
            if live.segment.id_of(row, &mut id).is_ok() {
                keys.ids.insert(id_hash::hash(&id, 0));
            }
            keys.ordinals.extend(live.segment.ordinal(row).ok());
        }
        keys
    }

    fn is_disjoint(&self, other: &Self) -> bool {
        self.ids.is_disjoint(&other.ids) && self.ordinals.is_disjoint(&other.ordinals)
    }
}

/// Puts a segment to others of its dimension if there is exactly one group that it may belong to; else into one of its own.
fn keep_apart(segments: Vec<Arc<LiveSegment>>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for live in segments {
        let (dimension, keys) = (live.segment.dimension(), Keys::of(&live));
        let of_dimension = groups.iter().filter(|group| group.dimension == dimension).count();
        let mut fitting = groups.iter_mut().filter(|group| group.dimension == dimension && group.taken.is_disjoint(&keys));
        match (fitting.next(), fitting.next()) {
            (Some(group), None) => {
                group.segments.push(live);
                group.taken.ids.extend(keys.ids);
                group.taken.ordinals.extend(keys.ordinals);
            }
            _ => {
                let name = match of_dimension {
                    0 => format!("recovered-{dimension}"),
                    others => format!("recovered-{dimension}-{}", others + 1),
                };
                groups.push(Group { name, dimension, segments: vec![live], taken: keys });
            }
        }
    }
    groups
}
