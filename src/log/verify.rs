//! Checks of every byte of a log, for `verify`.

use super::reader::{Frames, LogEnd, scan};
use crate::{
    error::{Error, Result},
    format::{
        first_nonzero,
        identity::{FileKind, IDENTITY_BYTES, Identity},
        log::{ACTIVATION_BYTES, ACTIVATION_OFFSETS, Activation, FRAME_HEADER_BYTES, FRAMES_START, frame_bytes},
        manifest::LogEntry,
    },
    types::FileId,
};

/// What `verify` knows of a log beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    /// Whether it has an activation record.
    pub(crate) activated: bool,
    /// Where it ends.
    pub(crate) end: LogEnd,
    /// Whether its activation is known to have been synced: it is the first log of a manifest, or another one follows it.
    pub(crate) settled: bool,
}

/// Checks identity, padding, both activation records and every frame that counts. What stands behind the end is void.
pub(crate) fn verify(bytes: &[u8], database: FileId, entry: &LogEntry, role: Role) -> Vec<Error> {
    let mut damages = Vec::new();
    damages.extend(check_identity(bytes, database, entry).err());
    let mut start = IDENTITY_BYTES as u64;
    for copy in ACTIVATION_OFFSETS {
        damages.extend(check_zeros(bytes, start, copy).err());
        start = copy + ACTIVATION_BYTES as u64;
    }
    damages.extend(check_zeros(bytes, start, FRAMES_START).err());
    check_activations(bytes, entry, role, &mut damages);
    match scan(bytes, entry, role.activated, role.end, &mut |_| Ok(())) {
        Ok(scanned) => damages.extend(check_padding(bytes, entry, scanned.end.end).err()),
        Err(error) => damages.push(error),
    }
    damages
}

/// Whether this is the log of an entry of the manifest.
pub(crate) fn check_identity(bytes: &[u8], database: FileId, entry: &LogEntry) -> Result<()> {
    let identity = Identity::decode(bytes, FileKind::Log)?;
    if (identity.database, identity.number, identity.file) == (database, entry.number, entry.file) {
        return Ok(());
    }
    let found = format!("log {} (file id {}) of database {}", identity.number, identity.file, identity.database);
    Err(Error::corruption(format!("this is {found}, not the log {} (file id {}) that the manifest names", entry.number, entry.file)).at(16))
}

/// The activation record, whichever copy of it is good.
pub(crate) fn find_activation(bytes: &[u8], entry: &LogEntry) -> Option<Activation> {
    ACTIVATION_OFFSETS.into_iter().find_map(|offset| read_activation(bytes, entry, offset).ok().flatten())
}

fn read_activation(bytes: &[u8], entry: &LogEntry, offset: u64) -> Result<Option<Activation>> {
    let record = bytes.get(offset as usize..).unwrap_or_default();
    let found = Activation::decode(record, entry.file).map_err(|error| error.shifted(offset))?;
    match found {
        Some(activation) if activation.log != entry.number => Err(Error::corruption("activation record of another log").at(offset)),
        found => Ok(found),
    }
}

/// A crash may tear the copies of the last activation as long as nothing was proven durable behind them.
fn check_activations(bytes: &[u8], entry: &LogEntry, role: Role, damages: &mut Vec<Error>) {
    let proven = Frames::new(bytes, entry.file).proven_behind() > FRAMES_START;
    let needed = role.activated && (role.settled || proven);
    let copies = ACTIVATION_OFFSETS.map(|offset| (offset, read_activation(bytes, entry, offset)));
    for (offset, copy) in &copies {
        match copy {
            Err(error) if needed || proven => damages.push(error.clone()),
            Ok(None) if needed => damages.push(Error::corruption("a copy of the activation record is missing").at(*offset)),
            _ => {}
        }
    }
    if let [(_, Ok(Some(first))), (at, Ok(Some(second)))] = &copies
        && first != second
    {
        damages.push(Error::corruption("the two copies of the activation record differ").at(*at));
    }
}

fn check_zeros(bytes: &[u8], start: u64, end: u64) -> Result<()> {
    let Some(part) = bytes.get(start as usize..end as usize) else {
        return Err(Error::corruption(format!("{} bytes long: a log has at least {FRAMES_START}", bytes.len())).at(bytes.len() as u64));
    };
    match first_nonzero(part) {
        Some(index) => Err(Error::corruption("padding that is not zero").at(start + index as u64)),
        None => Ok(()),
    }
}

/// The bytes between frames, up to the end of the last.
fn check_padding(bytes: &[u8], entry: &LogEntry, end: u64) -> Result<()> {
    let frames = Frames::new(bytes, entry.file);
    let mut at = FRAMES_START;
    while at < end {
        let Some((header, _)) = frames.header_at(at) else { return Err(Error::corruption("no valid frame header").at(at)) };
        let next = at + frame_bytes(header.len as usize) as u64;
        check_zeros(bytes, at + FRAME_HEADER_BYTES as u64 + u64::from(header.len), next)?;
        at = next;
    }
    Ok(())
}
