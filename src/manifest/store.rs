use super::leftover::belongs;
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        floor::{self, FLOOR_BYTES, Floor, SLOT_BYTES},
        manifest::{self, BODY_BYTES_MAX, Manifest},
        names::{FLOOR, FileName, manifest_name},
    },
    io::{FileInfo, ReadFile, Storage},
    sync::Arc,
    types::FileId,
};

/// Publishes manifests and keeps the floor. One owner: the writer.
#[derive(Debug)]
pub(crate) struct ManifestStore {
    storage: Arc<dyn Storage>,
    floor: Floor,
    /// Number of the newest manifest that may exist.
    newest: u64,
}

/// The newest manifest of a directory.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) manifest: Manifest,
    pub(crate) floor: Floor,
    /// Damage that did not stop the load: one of two copies.
    pub(crate) damages: Vec<Error>,
}

/// An open file of which no more is read than its format accounts for: its length may be anything.
struct Part<'a> {
    name: &'a str,
    file: Arc<dyn ReadFile>,
    len: u64,
}

impl<'a> Part<'a> {
    fn open(storage: &dyn Storage, name: &'a str) -> Result<Self> {
        let opened = storage.open_read(name).and_then(|file| Ok((file.len()?, file)));
        let (len, file) = opened.map_err(|source| Error::io(format_args!("read {name}"), source).in_file(name))?;
        Ok(Self { name, file, len })
    }

    fn read(&self, offset: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        let read = self.file.read_at(offset, &mut bytes);
        read.map_err(|source| Error::io(format_args!("read {}", self.name), source).in_file(self.name))?;
        Ok(bytes)
    }
}

/// Reads a manifest; and how long its file is.
pub(super) fn read_manifest_file(storage: &dyn Storage, name: &str) -> Result<(manifest::Decoded, u64)> {
    let part = Part::open(storage, name)?;
    let decoded = Manifest::read(part.len, |offset, len| part.read(offset, len)).map_err(|error| error.in_file(name))?;
    Ok((decoded, part.len))
}

pub(super) fn read_floor(storage: &dyn Storage) -> Result<floor::Decoded> {
    let part = Part::open(storage, FLOOR)?;
    let whole = FLOOR_BYTES as u64;
    let bytes = part.read(0, part.len.min(whole))?;
    let decoded = if bytes.len() < SLOT_BYTES {
        // One whole slot still tells the floor; less does not.
        Err(Error::corruption(format!("{} bytes long instead of {FLOOR_BYTES}", bytes.len())))
    } else {
        floor::decode(&bytes)
    };
    let mut decoded = decoded.map_err(|error| error.in_file(FLOOR))?;
    if part.len > whole {
        decoded.damages.push(Error::corruption(format!("{} bytes long, not {FLOOR_BYTES}", part.len)).at(whole));
    }
    decoded.damages = decoded.damages.into_iter().map(|error| error.in_file(FLOOR)).collect();
    Ok(decoded)
}

impl ManifestStore {
    /// Makes FLOOR with floor 0, durably, and no manifest yet. One that an unfinished creation left is replaced: the sync of its name may be what
    /// failed, and no later one makes up for that.
    pub(crate) fn create(storage: Arc<dyn Storage>, database: FileId) -> Result<Self> {
        let names = storage.list().map_err(|source| Error::io("list the directory", source))?;
        if names.iter().any(|info| info.name == FLOOR) {
            let database = read_floor(&*storage)?.floor.database;
            clear_unfinished(&*storage, &names, database).map_err(|source| Error::io("remove an unfinished creation", source))?;
        }
        let floor = Floor { database, generation: 1, floor: 0 };
        storage
            .publish(FLOOR, &floor::encode_file(&floor))
            .map_err(|source| Error::io(format_args!("create {FLOOR}"), source).in_file(FLOOR))?;
        Ok(Self { storage, floor, newest: 0 })
    }

    /// Finds the newest manifest of a listed directory; `None` if there is no database (or one whose creation never ended).
    pub(crate) fn load(storage: &dyn Storage, names: &[FileInfo]) -> Result<Option<Loaded>> {
        let parsed: Vec<FileName> = names.iter().map(|info| FileName::parse(&info.name)).collect();
        let newest = parsed.iter().filter_map(|name| if let FileName::Manifest(number) = name { Some(*number) } else { None }).max();
        if !parsed.contains(&FileName::Floor) {
            let ours = parsed.iter().any(|name| matches!(name, FileName::Manifest(_) | FileName::Log(_) | FileName::Segment(_)));
            return if ours {
                Err(Error::corruption("the file is missing, so a lost manifest would go unnoticed").in_file(FLOOR))
            } else {
                Ok(None)
            };
        }
        let decoded = read_floor(storage)?;
        let Some(newest) = newest else {
            return match decoded.floor.floor {
                0 => Ok(None),
                floor => Err(missing(floor, None)),
            };
        };
        if newest < decoded.floor.floor {
            return Err(missing(decoded.floor.floor, Some(newest)));
        }
        let name = manifest_name(newest);
        let (loaded, _) = read_manifest_file(storage, &name)?;
        if loaded.manifest.number != newest || loaded.manifest.database != decoded.floor.database {
            return Err(Error::corruption(format!(
                "this is manifest {} of database {}, not manifest {newest} of {}",
                loaded.manifest.number, loaded.manifest.database, decoded.floor.database
            ))
            .in_file(name));
        }
        let floor = decoded.floor;
        let of_floor = floor_damages(decoded, Some(newest));
        let damages = loaded.damages.into_iter().map(|error| error.in_file(&name).mended_by_opening()).chain(of_floor).collect();
        Ok(Some(Loaded { manifest: loaded.manifest, floor, damages }))
    }

    /// Goes on from what [`Self::load`] found.
    pub(crate) fn resume(storage: Arc<dyn Storage>, loaded: &Loaded) -> Self {
        Self { storage, floor: loaded.floor, newest: loaded.manifest.number }
    }

    /// Publishes a complete manifest under the next number and raises the floor to it.
    ///
    /// After `NoSpace` nothing has changed; after any other error the caller must stop writing.
    pub(crate) fn publish(&mut self, manifest: &mut Manifest) -> Result<()> {
        manifest.number = self.newest + 1;
        manifest.database = self.floor.database;
        let name = manifest_name(manifest.number);
        let bytes = manifest.encode();
        // What no reader would take is not written.
        if bytes.len() as u64 / 2 > BODY_BYTES_MAX {
            return Err(
                Error::new(ErrorKind::Io, "the manifest would be longer than 1 GiB: too many collections or segments").in_file(&name)
            );
        }
        if let Err(source) = self.storage.publish(&name, &bytes) {
            let error = Error::io(format_args!("publish {name}"), source).in_file(&name);
            let visible = self.storage.list().map_or(true, |names| names.iter().any(|info| info.name == name));
            return Err(if error.kind() == ErrorKind::NoSpace && visible { Error::new(ErrorKind::Io, error.to_string()) } else { error });
        }
        self.newest = manifest.number;
        self.raise_floor(manifest.number)
    }

    fn raise_floor(&mut self, number: u64) -> Result<()> {
        let next = Floor { generation: self.floor.generation + 1, floor: number, ..self.floor };
        let write = || {
            let file = self.storage.open_write(FLOOR)?;
            file.write_at(floor::slot_offset(next.generation), &floor::encode_slot(&next))?;
            file.sync_data()
        };
        // Never "no space": the slot was written before, and a floor that could not be raised must stop the writer.
        write().map_err(|source| Error::new(ErrorKind::Io, format!("cannot raise the floor: {source}")).in_file(FLOOR))?;
        self.floor = next;
        Ok(())
    }

    /// Number of the newest manifest.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn database(&self) -> FileId {
        self.floor.database
    }
}

/// Removes what an unfinished creation left: FLOOR last, and only once the rest is gone for sure. Without it logs would look like those of a
/// database that lost its FLOOR.
fn clear_unfinished(storage: &dyn Storage, names: &[FileInfo], database: FileId) -> std::io::Result<()> {
    for info in names.iter().filter(|info| belongs(storage, info, database, &[])) {
        storage.remove(&info.name)?;
    }
    storage.sync_names()?;
    storage.remove(FLOOR)
}

/// What is wrong with FLOOR beside the slot that was used. If the newest manifest is above the floor, the other slot may have been under way to
/// name it, or one before it, when the power was cut: it cannot be told from a damaged one, so the remedy says both.
pub(super) fn floor_damages(decoded: floor::Decoded, newest: Option<u64>) -> Vec<Error> {
    let raising = newest.is_some_and(|newest| newest > decoded.floor.floor);
    let used = floor::slot_offset(decoded.floor.generation);
    let told = |error: Error| match error.offset() {
        // Nothing cuts what stands behind both slots.
        Some(offset) if offset >= FLOOR_BYTES as u64 => error,
        // The other slot is written next, then this one.
        Some(offset) if (used..used + SLOT_BYTES as u64).contains(&offset) => error.with_remedy("opening for writing twice mends it"),
        _ if raising => error.with_remedy("a power cut leaves this too; opening for writing mends it"),
        _ => error.mended_by_opening(),
    };
    decoded.damages.into_iter().map(told).collect()
}

/// What a directory without a database says to whoever wants to open one.
pub(crate) fn nothing_here(names: &[FileInfo]) -> Error {
    if names.iter().any(|info| info.name == FLOOR) {
        Error::not_found("there is no database here, only an unfinished creation, checkpoint or repair")
    } else {
        Error::not_found("there is no database here")
    }
}

pub(super) fn missing(floor: u64, newest: Option<u64>) -> Error {
    let found =
        newest.map_or_else(|| "no manifest is there".to_owned(), |number| format!("the newest manifest is {}", manifest_name(number)));
    Error::corruption(format!("the file is missing: FLOOR proves that it was durable, but {found}")).in_file(manifest_name(floor))
}
