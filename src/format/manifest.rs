//! MANIFEST-n: the whole state of a database but the batches in its logs (specification, section 6). Two identical
//! copies, each padded to a multiple of 4,096; one copy:
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 64 | identity header |
//! | 64 | 8 | body length |
//! | 72 | 4 | CRC of the body |
//! | 76 | 4 | CRC of bytes 64 to 75 |
//! | 80 | body length | body (see `body`) |

mod body;
mod check;
#[cfg(test)]
mod tests;

use super::identity::{FileKind, IDENTITY_BYTES, Identity};
use super::{Put, Reader, crc};
use crate::error::{Error, ErrorKind, Result};
use crate::types::{Codes, CollectionId, Dimension, FileId, FileNumber, Metric, Ordinal, SegmentId, Sequence};

/// Longest body of a manifest: a head that says more is damaged or forged, and nothing is read on its word.
pub(crate) const BODY_BYTES_MAX: u64 = 1 << 30;

const COPY_ALIGN: usize = 4096;
const BODY_OFFSET: usize = IDENTITY_BYTES + 16;

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Default)]
pub(crate) struct Manifest {
    pub(crate) database: FileId,
    pub(crate) number: u64,
    pub(crate) flushed_through: Sequence,
    pub(crate) next_file: FileNumber,
    pub(crate) next_segment: SegmentId,
    pub(crate) next_collection: CollectionId,
    /// In the order of use.
    pub(crate) logs: Vec<LogEntry>,
    /// By number.
    pub(crate) files: Vec<FileEntry>,
    /// By id.
    pub(crate) collections: Vec<CollectionEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogEntry {
    pub(crate) number: FileNumber,
    pub(crate) file: FileId,
    /// `None`: in use, or a spare.
    pub(crate) sealed: Option<Sealed>,
}

/// Where a sealed log ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) end: u64,
    pub(crate) chain: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileEntry {
    /// Its name in this directory.
    pub(crate) number: FileNumber,
    pub(crate) origin_database: FileId,
    pub(crate) origin_number: FileNumber,
    pub(crate) file: FileId,
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CollectionEntry {
    pub(crate) id: CollectionId,
    pub(crate) dimension: Dimension,
    pub(crate) metric: Metric,
    pub(crate) codes: Codes,
    pub(crate) next_ordinal: Ordinal,
    pub(crate) name: String,
    /// Sorted runs; the segments of each by ascending id range.
    pub(crate) runs: Vec<Vec<SegmentEntry>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentEntry {
    pub(crate) id: SegmentId,
    /// Where it stands.
    pub(crate) file: FileNumber,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
    pub(crate) rows: u32,
    pub(crate) kills: Option<KillEntry>,
}

/// The kill block of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KillEntry {
    pub(crate) count: u32,
    /// Unix seconds of the oldest kill by a delete, 0 if all were superseded.
    pub(crate) deleted_since: u64,
    pub(crate) file: FileNumber,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

/// What could be read, and what was damaged beside it.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) manifest: Manifest,
    pub(crate) damages: Vec<Error>,
}

impl Manifest {
    /// Whether a log was in use when this manifest was written, and synced before it: the first, and the one behind those whose ends it records.
    pub(crate) fn is_settled(&self, log: FileNumber) -> bool {
        let position = self.logs.iter().position(|entry| entry.number == log);
        let before = position.and_then(|position| position.checked_sub(1)).and_then(|before| self.logs.get(before));
        position.is_some() && before.is_none_or(|before| before.sealed.is_some())
    }

    /// The whole file, both copies.
    pub(crate) fn encode(&self) -> Vec<u8> {
        debug_assert!(self.check().is_ok(), "{:?}", self.check());
        let body = self.encode_body();
        let identity = Identity { kind: FileKind::Manifest, database: self.database, number: self.number, file: FileId::default() };
        let copy_bytes = (BODY_OFFSET + body.len()).next_multiple_of(COPY_ALIGN);
        let mut bytes = Vec::with_capacity(2 * copy_bytes);
        bytes.put(&identity.encode());
        let mut lengths = Vec::with_capacity(12);
        lengths.put_u64(body.len() as u64);
        lengths.put_u32(crc(&body));
        bytes.put(&lengths);
        bytes.put_u32(crc(&lengths));
        bytes.put(&body);
        bytes.resize(copy_bytes, 0);
        bytes.extend_from_within(..);
        bytes
    }

    /// Reads a file of a length through `read` (offset, length): no more of it than the heads of its copies account for, however long it is.
    pub(crate) fn read(len: u64, read: impl Fn(u64, u64) -> Result<Vec<u8>>) -> Result<Decoded> {
        let head_bytes = BODY_OFFSET as u64;
        let head = read(0, len.min(head_bytes))?;
        if let Some(copy) = copy_bytes(&head) {
            let mut decoded = Self::decode(&read(0, len.min(2 * copy))?)?;
            decoded.damages.extend((len > 2 * copy).then(|| wrong_length(len, 2 * copy)));
            return Ok(decoded);
        }
        let second = second_copy(len);
        let other = read(second, (len - second).min(head_bytes))?;
        if copy_bytes(&other) == Some(second) {
            return Self::decode(&read(0, len)?);
        }
        match Identity::decode(&other, FileKind::Manifest) {
            Err(newer) if newer.kind() == ErrorKind::NewerFormat => Err(newer.shifted(second)),
            _ => Err(Copy::decode(&head, 0).err().unwrap_or_else(|| Error::corruption("neither copy tells its length").at(64))),
        }
    }

    /// Reads a whole file: the first valid copy counts.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Decoded> {
        let half = second_copy(bytes.len() as u64) as usize;
        match Copy::decode(bytes, 0) {
            Ok(first) => {
                let damages = first.damages_beside(bytes);
                Ok(Decoded { manifest: first.manifest, damages })
            }
            Err(error) => match Copy::decode(bytes, half) {
                Ok(second) => {
                    let length = (bytes.len() != 2 * half).then(|| wrong_length(bytes.len() as u64, 2 * half as u64));
                    let damages = [Some(error), length, second.padding].into_iter().flatten().collect();
                    Ok(Decoded { manifest: second.manifest, damages })
                }
                Err(other) if other.kind() == ErrorKind::NewerFormat => Err(other),
                Err(_) => Err(error),
            },
        }
    }
}

/// Length and CRC of the body.
fn read_lengths(reader: &mut Reader<'_>) -> Result<(u64, u32)> {
    let lengths = reader.take(12)?;
    if crc(lengths) != reader.u32()? {
        return Err(Error::corruption("checksum of the body length does not match").at(76));
    }
    let mut lengths = Reader::new(lengths);
    let (len, sum) = (lengths.u64()?, lengths.u32()?);
    if len > BODY_BYTES_MAX {
        return Err(Error::corruption(format!("a body of {len} bytes: no manifest is that long")).at(BODY_OFFSET as u64));
    }
    Ok((len, sum))
}

/// Length of a copy with its padding, if its head tells.
fn copy_bytes(head: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(head);
    reader.take(IDENTITY_BYTES).ok()?;
    let (len, _) = read_lengths(&mut reader).ok()?;
    Some((BODY_OFFSET as u64 + len).next_multiple_of(COPY_ALIGN as u64))
}

/// Where the second copy stands in a file of this length, if the first does not tell.
fn second_copy(len: u64) -> u64 {
    (len / 2).next_multiple_of(COPY_ALIGN as u64).min(len)
}

/// One copy, found valid.
struct Copy {
    manifest: Manifest,
    bytes: usize,
    /// Damage that does not touch the content.
    padding: Option<Error>,
}

impl Copy {
    fn decode(file: &[u8], offset: usize) -> Result<Self> {
        let (_, bytes) = file.split_at_checked(offset).unwrap_or_default();
        Self::decode_at_start(bytes).map_err(|error| error.shifted(offset as u64))
    }

    fn decode_at_start(bytes: &[u8]) -> Result<Self> {
        let identity = Identity::decode(bytes, FileKind::Manifest)?;
        let mut reader = Reader::new(bytes);
        reader.take(IDENTITY_BYTES)?;
        let (len, sum) = read_lengths(&mut reader)?;
        let body = reader.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        if crc(body) != sum {
            return Err(Error::corruption("checksum of the manifest's body does not match").at(72));
        }
        let padding = (reader.position().next_multiple_of(COPY_ALIGN as u64) - reader.position()) as usize;
        let bytes = BODY_OFFSET + body.len() + padding;
        let padding = reader.zeros(padding).err();
        let manifest = Manifest::decode_body(&identity, body).map_err(|error| error.shifted(BODY_OFFSET as u64))?;
        manifest.check()?;
        Ok(Self { manifest, bytes, padding })
    }

    /// What is wrong with the rest of a file whose first copy this is.
    fn damages_beside(&self, file: &[u8]) -> Vec<Error> {
        let (copy, rest) = file.split_at_checked(self.bytes).unwrap_or((file, &[]));
        let second = match Self::decode(file, self.bytes) {
            _ if rest == copy => None,
            Err(error) => Some(error),
            Ok(second) => second.padding.map(|error| error.shifted(self.bytes as u64)).or_else(|| {
                let differs = second.manifest != self.manifest;
                differs.then(|| Error::corruption("the two copies of the manifest differ").at(self.bytes as u64))
            }),
        };
        let length = (file.len() != 2 * self.bytes).then(|| wrong_length(file.len() as u64, 2 * self.bytes as u64));
        [self.padding.clone(), second, length].into_iter().flatten().collect()
    }
}

fn wrong_length(len: u64, expected: u64) -> Error {
    Error::corruption(format!("{len} bytes long, not {expected}")).at(len.min(expected))
}
