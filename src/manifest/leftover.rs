//! Which of the files that no manifest names are a database's own: what a crash leaves of them says so.

use super::{
    store::read_floor,
    survey::{manifest_numbers, read_manifest},
};
use crate::{
    format::{
        identity::{FileKind, IDENTITY_BYTES, Identity},
        manifest::Manifest,
        names::FileName,
    },
    io::{FileInfo, Storage},
    types::FileId,
};

/// Bytes of an identity header that kind, database and number tell; the file id and the checksum behind them do not follow from these.
const KNOWN_BYTES: usize = 40;

/// The database of an unfinished creation: its FLOOR says 0, and there is no manifest.
pub(crate) fn unfinished(storage: &dyn Storage, names: &[FileInfo]) -> Option<FileId> {
    let floor = read_floor(storage).ok()?.floor;
    (floor.floor == 0 && manifest_numbers(names).is_empty()).then_some(floor.database)
}

/// The databases whose files may be here: this one, and those that the files of its manifests come from, older ones included.
pub(crate) fn lineage(storage: &dyn Storage, names: &[FileInfo], manifest: &Manifest) -> Vec<FileId> {
    let origins = |manifest: &Manifest| manifest.files.iter().map(|file| file.origin_database).collect::<Vec<_>>();
    let older = manifest_numbers(names).into_iter().filter(|number| *number < manifest.number);
    let older = older.filter_map(|number| read_manifest(storage, number).ok()).flat_map(|(older, _, _)| origins(&older));
    let mut all = vec![manifest.database];
    all.extend(origins(manifest));
    all.extend(older);
    all.sort_unstable();
    all.dedup();
    all
}

/// Whether a log, segment file or manifest belongs to a database by its header: a whole one of its lineage, or what a crash leaves of one that this
/// database began to write, each byte there or still zero. A file that merely has such a name is somebody else's.
pub(crate) fn belongs(storage: &dyn Storage, info: &FileInfo, database: FileId, lineage: &[FileId]) -> bool {
    let (kind, number) = match FileName::parse(&info.name) {
        FileName::Manifest(number) => (FileKind::Manifest, number),
        FileName::Log(number) => (FileKind::Log, number),
        FileName::Segment(number) => (FileKind::Segment, number),
        _ => return false,
    };
    let Some(header) = read_header(storage, info) else { return false };
    let begun = Identity { kind, database, number, file: FileId::default() }.encode();
    let is_begun = header.iter().zip(begun).take(KNOWN_BYTES).all(|(found, expected)| *found == expected || *found == 0);
    is_begun || Identity::decode(&header, kind).is_ok_and(|found| found.number == number && lineage.contains(&found.database))
}

/// Whether this is a whole segment file header under its own number, of whichever database: a checkpoint links such files.
pub(crate) fn is_linked(storage: &dyn Storage, info: &FileInfo) -> bool {
    let FileName::Segment(number) = FileName::parse(&info.name) else { return false };
    let header = read_header(storage, info).unwrap_or_default();
    Identity::decode(&header, FileKind::Segment).is_ok_and(|found| found.number == number)
}

fn read_header(storage: &dyn Storage, info: &FileInfo) -> Option<Vec<u8>> {
    let mut header = vec![0; IDENTITY_BYTES.min(usize::try_from(info.len).unwrap_or(IDENTITY_BYTES))];
    storage.open_read(&info.name).and_then(|file| file.read_at(0, &mut header)).ok()?;
    Some(header)
}
