use std::{collections::BTreeMap, path::Path};

use super::{
    Database,
    open::{check_place, unpublished},
    salvage::{Salvage, SalvagedCollection, damaged, salvage},
    target::{Target, in_directory},
};
use crate::{
    error::{Error, ErrorKind, NotAFile, Result},
    format::{names::LOCK, payload},
    io::{Storage, fs::Directory},
    memtable::{Lookup, MemRow},
    options::Options,
    sync::Arc,
    types::{CollectionId, Ordinal},
    version::{CollectionMeta, CollectionVersion, Draft, Finished, LiveSegment, OutputFile, SEGMENT_BYTES_MAX, Shared, Version, arrange},
};

/// What [`Database::repair`] saved, and what it could not.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RepairReport {
    /// Records in the new database.
    pub salvaged: u64,
    /// What is not in it, by cause.
    pub lost: Vec<Lost>,
}

/// Records, or batches of a log, that could not be saved for one cause.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Lost {
    /// Their collection; empty if that is not known.
    pub collection: String,
    /// Their ids, as far as they can be read.
    pub ids: Vec<Vec<u8>>,
    /// How many records of segments are lost, if that is known; never below the number of ids. What lost batches put is not among them: nobody can
    /// tell how much that was.
    pub rows: u64,
    /// How many batches of a log are lost, as a whole or from an operation on that cannot be read. What they put is missing; what they deleted or
    /// replaced may be back. Of batches that were never proven durable those count that stand whole behind the first that is not: a power cut
    /// leaves such too. 0 also where their number is not known: a program asks whether [`RepairReport::lost`] is empty.
    pub batches: u64,
    /// What is damaged: file, offset, how.
    pub reason: String,
}

impl Database {
    /// Salvages every undamaged record of a damaged database into a new one and says exactly what was lost. The source is only read.
    ///
    /// Ids, vectors, payloads and insertion ordinals stay bit for bit. Of a damaged log every whole batch is saved, before
    /// and behind the damage; the report says which are missing, by their sequence numbers. Where it cannot be read which
    /// rows of a segment are dead, these may be back unless a newer copy was saved; the report says how many. Without a usable manifest, older
    /// ones are tried, then the segment files alone. These do not tell their collections: segments with an id or
    /// ordinal in common are kept apart, as `recovered-<dimension>`, `recovered-<dimension>-2` and so on, with metric l2. Kill blocks that can be
    /// read hold there too; the report says what is not known.
    ///
    /// # Errors
    /// `NotFound` if there is nothing of a database; what keeps from reading the source and is no damage, above all `NewerFormat`, `ReadOnly` and `Io`
    /// (but not that of an unreadable block): nothing is lost then, another program or user reads it. `Locked` if a writer has it open; `AlreadyExists` if the target is not empty; `NoSpace`; `Io`. The target is
    /// no database before it is complete: what was made is removed after an error, and what a killed repair left is replaced by the next.
    ///
    /// ```
    /// use varvite::{Database, Metric, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let (path, out) = (directory.path().join("db"), directory.path().join("out"));
    /// let db = Database::open(&path, Options::default())?;
    /// db.create_collection("docs", 2, Metric::L2)?.insert("a", &[1.0, 2.0])?;
    /// db.close()?;
    /// # std::fs::remove_file(path.join("FLOOR")).unwrap();
    /// let report = Database::repair(&path, &out, Options::default())?;
    /// assert_eq!(report.salvaged, 1);
    /// # Ok::<(), varvite::Error>(())
    /// ```
    pub fn repair(path: impl AsRef<Path>, out: impl AsRef<Path>, options: Options) -> Result<RepairReport> {
        let path = path.as_ref();
        let source = Directory::open(path).map_err(|source| Error::io(format_args!("open the directory {}", path.display()), source))?;
        in_directory(out.as_ref(), |target| Self::repair_on(&source, target, options))
    }

    /// [`Database::repair`] from any [`Storage`] into any empty one.
    ///
    /// # Errors
    /// As [`Database::repair`].
    pub fn repair_on(source: &dyn Storage, target: Arc<dyn Storage>, options: Options) -> Result<RepairReport> {
        let doubt = check_unused(source)?;
        check_place(&*target, &options)?;
        let target = Target::claim(target, "repair")?;
        let Salvage { collections, mut lost } = salvage(source, &options)?;
        lost.extend(doubt);
        let shared = unpublished(Arc::clone(target.storage()), options)?;
        let mut draft = Draft { version: Version::default(), added: Vec::new(), spare: None, retire: None, loaded: None };
        let mut salvaged = 0;
        for (id, collection) in (1..).zip(&collections) {
            salvaged += write_collection(&shared, &mut draft, id, collection, &mut lost)?;
        }
        shared.writer.lock().catalog.next_collection = draft.version.collections.keys().max().map_or(1, |last| last + 1);
        // Until this manifest is there, the target is no database.
        shared.publisher.lock().publish(&shared, draft, |_| Ok(()))?;
        target.complete();
        Ok(RepairReport { salvaged, lost })
    }
}

/// Refuses what a writer has open. If that cannot be seen, because something else has the name of LOCK, no new one can have begun: the report
/// tells of it.
fn check_unused(source: &dyn Storage) -> Result<Option<Lost>> {
    match source.is_locked(LOCK) {
        Ok(false) => Ok(None),
        Ok(true) => Err(Error::new(ErrorKind::Locked, "a writer has the damaged database open").with_remedy("close it first")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) if NotAFile::is(&error) => {
            let reason = format!("{error}: if a writer was still at work could not be seen; what it wrote meanwhile may be missing");
            Ok(Some(Lost { reason, ..Lost::default() }))
        }
        Err(error) => Err(Error::io("look at the lock", error)),
    }
}

/// Where a record to be saved stands.
enum Place {
    Memtable(MemRow),
    Segment(Arc<LiveSegment>, u32),
}

/// What a record is but its id.
struct Content {
    vector: Vec<u8>,
    ordinal: Ordinal,
    payload: Vec<u8>,
}

impl Place {
    fn read(&self) -> Result<Content> {
        let content = match self {
            Self::Memtable(row) => Content { vector: row.vector_bytes().to_vec(), ordinal: row.ordinal(), payload: row.payload().to_vec() },
            Self::Segment(live, row) => Content {
                vector: live.segment.row(*row)?.as_bytes().to_vec(),
                ordinal: live.segment.ordinal(*row)?,
                payload: live.segment.payload(*row)?.unwrap_or_default(),
            },
        };
        // Of fitting checksums and no payload all the same: its record would be there, and could not be read.
        payload::decode(&content.payload).map_err(|error| match self {
            Self::Memtable(_) => error,
            Self::Segment(live, row) => Error::corruption(format!("payload of row {row} of segment {}: {error}", live.segment.id()))
                .in_file(live.segment.file().name()),
        })?;
        Ok(content)
    }
}

/// Collects losses, those of one cause in one entry.
struct Losses<'a> {
    collection: &'a str,
    lost: &'a mut Vec<Lost>,
}

impl Losses<'_> {
    fn add(&mut self, id: Option<Vec<u8>>, error: &Error) {
        let reason = error.told();
        let known = self.lost.iter().position(|lost| lost.collection == self.collection && lost.reason == reason);
        let index = known.unwrap_or_else(|| {
            self.lost.push(Lost { collection: self.collection.to_owned(), reason, ..Lost::default() });
            self.lost.len() - 1
        });
        if let Some(lost) = self.lost.get_mut(index) {
            lost.rows += 1;
            lost.ids.extend(id);
        }
    }
}

/// Writes what is left of a collection and puts it into the draft under a new id.
fn write_collection(
    shared: &Shared,
    draft: &mut Draft,
    id: CollectionId,
    salvaged: &SalvagedCollection,
    lost: &mut Vec<Lost>,
) -> Result<u64> {
    let name = salvaged.meta.name.clone();
    let mut losses = Losses { collection: &name, lost };
    let places = find_places(salvaged, &mut losses)?;
    let Written { files, next_ordinal, rows } = write_segments(shared, salvaged, places, &mut losses)?;
    let mut segments = Vec::new();
    for mut file in files {
        draft.added.push(file.durable(shared)?);
        segments.extend(file.segments);
    }
    let meta = Arc::new(CollectionMeta { id, ..CollectionMeta::clone(&salvaged.meta) });
    let next_ordinal = next_ordinal.max(salvaged.next_ordinal);
    draft.version.collections.insert(id, Arc::new(CollectionVersion { meta, next_ordinal, runs: arrange(Vec::new(), segments) }));
    Ok(rows)
}

/// The newest copy of every record whose id can be read.
fn find_places(salvaged: &SalvagedCollection, losses: &mut Losses<'_>) -> Result<BTreeMap<Vec<u8>, Place>> {
    let mut places: BTreeMap<Vec<u8>, Place> = BTreeMap::new();
    let mut segments: Vec<&Arc<LiveSegment>> = salvaged.segments.iter().collect();
    // Only where kills were lost is an id in two segments. Then a row that a readable kill set leaves alive is the newer: a merge may have
    // given the older copy's segment the higher sequence.
    segments.sort_by_key(|live| (!salvaged.doubtful.contains(&live.entry.id), live.segment.max_sequence()));
    for live in segments {
        for row in (0..live.segment.rows()).filter(|row| live.is_live(*row, u64::MAX)) {
            let mut id = Vec::new();
            match damaged(live.segment.id_of(row, &mut id))? {
                // The log knows better, also where damage kept it from marking the row as dead.
                Ok(()) if !matches!(salvaged.memtable.get(salvaged.meta.id, &id, u64::MAX), Lookup::Absent) => {}
                Ok(()) => drop(places.insert(id, Place::Segment(Arc::clone(live), row))),
                Err(error) => losses.add(None, &error),
            }
        }
    }
    for row in salvaged.memtable.newest(salvaged.meta.id) {
        places.insert(row.id().to_vec(), Place::Memtable(row));
    }
    Ok(places)
}

/// Files written for a collection, and the first ordinal behind theirs.
struct Written {
    files: Vec<Finished>,
    next_ordinal: Ordinal,
    rows: u64,
}

impl Written {
    /// Adds a file; the one before must be durable by then, so that only one is open for its sync.
    fn add(&mut self, shared: &Shared, file: Finished) -> Result<()> {
        if let Some(before) = self.files.last_mut() {
            before.durable(shared)?;
        }
        self.files.push(file);
        Ok(())
    }
}

fn write_segments(
    shared: &Shared,
    salvaged: &SalvagedCollection,
    places: BTreeMap<Vec<u8>, Place>,
    losses: &mut Losses<'_>,
) -> Result<Written> {
    let dimension = salvaged.meta.dimension;
    let mut written = Written { files: Vec::new(), next_ordinal: 0, rows: 0 };
    let mut open: Option<OutputFile<'_>> = None;
    for (id, place) in places {
        let content = match damaged(place.read())? {
            Ok(content) => content,
            Err(error) => {
                losses.add(Some(id), &error);
                continue;
            }
        };
        let output = match &mut open {
            Some(output) => output,
            none => {
                let mut output = OutputFile::create(shared)?;
                output.begin(dimension, salvaged.meta.codes)?;
                none.insert(output)
            }
        };
        output.builder()?.add(&id, &content.vector, content.ordinal, &content.payload)?;
        written.next_ordinal = written.next_ordinal.max(content.ordinal.saturating_add(1));
        written.rows += 1;
        if output.builder()?.segment_bytes() >= SEGMENT_BYTES_MAX
            && let Some(mut full) = open.take()
        {
            full.end(dimension, 0)?;
            written.add(shared, full.finish()?)?;
        }
    }
    if let Some(mut last) = open {
        last.end(dimension, 0)?;
        written.add(shared, last.finish()?)?;
    }
    Ok(written)
}
