//! What FLOOR and the manifests of a directory say, damaged or not: for `verify` and `repair`.

use super::store::{floor_damages, missing, read_floor, read_manifest_file};
use crate::{
    error::{Error, Result},
    format::{
        floor::Floor,
        manifest::Manifest,
        names::{FLOOR, FileName, manifest_name},
    },
    io::{FileInfo, Storage},
};

/// FLOOR and the newest manifest, as far as they can be read.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    pub(crate) floor: Option<Floor>,
    /// The newest one, if it is usable and not below the floor.
    pub(crate) manifest: Option<Manifest>,
    pub(crate) damages: Vec<Error>,
    /// What kept FLOOR or the manifest from being read, if it was no damage.
    pub(crate) obstacle: Option<Error>,
    /// Bytes that were read.
    pub(crate) bytes: u64,
    /// Files that were read.
    pub(crate) files: u64,
}

/// Numbers of the manifests of a listed directory, newest first.
pub(crate) fn manifest_numbers(names: &[FileInfo]) -> Vec<u64> {
    let number = |info: &FileInfo| if let FileName::Manifest(number) = FileName::parse(&info.name) { Some(number) } else { None };
    let mut numbers: Vec<u64> = names.iter().filter_map(number).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

/// Reads FLOOR and the newest manifest; whatever is wrong with either is a damage, not an error.
pub(crate) fn survey(storage: &dyn Storage, names: &[FileInfo]) -> Survey {
    let mut survey = Survey::default();
    for info in names.iter().filter(|info| info.name == FLOOR) {
        survey.note_file(info.len);
    }
    let newest = manifest_numbers(names).first().copied();
    match read_floor(storage) {
        Ok(decoded) => {
            survey.floor = Some(decoded.floor);
            survey.damages.extend(floor_damages(decoded, newest));
        }
        Err(_) if survey.files == 0 => {
            survey.damages.push(Error::corruption("the file is missing, so a lost manifest would go unnoticed").in_file(FLOOR));
        }
        Err(error) => survey.refuse(error),
    }
    if let Some(newest) = newest {
        match read_manifest(storage, newest) {
            Ok((manifest, damages, bytes)) => {
                survey.note_file(bytes);
                survey.damages.extend(damages);
                survey.accept(manifest);
            }
            Err(error) => {
                survey.note_file(0);
                survey.refuse(error);
            }
        }
    }
    let floor = survey.floor.map_or(0, |floor| floor.floor);
    if newest.unwrap_or(0) < floor {
        survey.damages.push(missing(floor, newest));
        survey.manifest = None;
    }
    survey
}

impl Survey {
    fn note_file(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }

    fn refuse(&mut self, error: Error) {
        if error.is_obstacle() {
            self.obstacle.get_or_insert(error);
        } else {
            self.damages.push(error);
        }
    }

    fn accept(&mut self, manifest: Manifest) {
        match self.floor {
            Some(floor) if floor.database != manifest.database => {
                let message = format!("a manifest of database {}, but FLOOR is of {}", manifest.database, floor.database);
                self.damages.push(Error::corruption(message).at(16).in_file(manifest_name(manifest.number)));
            }
            _ => self.manifest = Some(manifest),
        }
    }
}

/// Reads one manifest: what it says, what is damaged beside that, and its length.
pub(crate) fn read_manifest(storage: &dyn Storage, number: u64) -> Result<(Manifest, Vec<Error>, u64)> {
    let name = manifest_name(number);
    let (decoded, len) = read_manifest_file(storage, &name)?;
    if decoded.manifest.number != number {
        return Err(Error::corruption(format!("this is manifest {}, not {number}", decoded.manifest.number)).at(32).in_file(name));
    }
    let damages = decoded.damages.into_iter().map(|error| error.in_file(&name).mended_by_opening()).collect();
    Ok((decoded.manifest, damages, len))
}
