//! Identity header: the first 64 bytes of every file (specification, section 3).
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 4 | magic `VRVT` |
//! | 4 | 4 | kind |
//! | 8 | 2 | major version |
//! | 10 | 2 | minor version |
//! | 12 | 4 | reserved |
//! | 16 | 16 | database id |
//! | 32 | 8 | file number |
//! | 40 | 16 | file id |
//! | 56 | 4 | reserved |
//! | 60 | 4 | CRC of bytes 0 to 59 |

use std::fmt;

use byteorder::{ByteOrder, LittleEndian};

use super::{Reader, crc};
use crate::error::{Error, ErrorKind, Result};
use crate::types::FileId;

/// Length of the header.
pub(crate) const IDENTITY_BYTES: usize = 64;

const MAGIC: [u8; 4] = *b"VRVT";
const MAJOR: u16 = 1;
const MINOR: u16 = 0;

/// The kinds of file that carry the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileKind {
    Lock,
    Floor,
    Manifest,
    Log,
    Segment,
}

impl FileKind {
    const ALL: [Self; 5] = [Self::Lock, Self::Floor, Self::Manifest, Self::Log, Self::Segment];

    const fn code(self) -> [u8; 4] {
        match self {
            Self::Lock => *b"LOCK",
            Self::Floor => *b"FLOR",
            Self::Manifest => *b"MANI",
            Self::Log => *b"LOGF",
            Self::Segment => *b"SEGM",
        }
    }

    const fn has_number(self) -> bool {
        !matches!(self, Self::Lock | Self::Floor)
    }

    const fn has_file_id(self) -> bool {
        matches!(self, Self::Log | Self::Segment)
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Lock => "lock",
            Self::Floor => "floor",
            Self::Manifest => "manifest",
            Self::Log => "log",
            Self::Segment => "segment",
        })
    }
}

/// Which file of which database this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) kind: FileKind,
    /// In a segment file: the database that wrote it first.
    pub(crate) database: FileId,
    /// In a segment file: its number there. 0 in LOCK and FLOOR.
    pub(crate) number: u64,
    /// Zero in LOCK, FLOOR and manifests.
    pub(crate) file: FileId,
}

impl Identity {
    pub(crate) fn encode(&self) -> [u8; IDENTITY_BYTES] {
        debug_assert!(self.kind.has_number() || self.number == 0, "a {} file has no number", self.kind);
        debug_assert!(self.kind.has_file_id() || self.file == FileId::default(), "a {} file has no file id", self.kind);
        let mut bytes = [0; IDENTITY_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&self.kind.code());
        LittleEndian::write_u16(&mut bytes[8..10], MAJOR);
        LittleEndian::write_u16(&mut bytes[10..12], MINOR);
        bytes[16..32].copy_from_slice(&self.database.0);
        LittleEndian::write_u64(&mut bytes[32..40], self.number);
        bytes[40..56].copy_from_slice(&self.file.0);
        let sum = crc(&bytes[..60]);
        LittleEndian::write_u32(&mut bytes[60..], sum);
        bytes
    }

    /// Reads the header at the start of `bytes`, which must be that of a `kind` file; what follows it is not looked at.
    pub(crate) fn decode(bytes: &[u8], kind: FileKind) -> Result<Self> {
        let header: [u8; IDENTITY_BYTES] = Reader::new(bytes).array().map_err(|_| not_ours(kind))?;
        if header[..4] != MAGIC || !FileKind::ALL.iter().any(|known| known.code() == header[4..8]) {
            return Err(not_ours(kind));
        }
        if crc(&header[..60]) != LittleEndian::read_u32(&header[60..]) {
            return Err(Error::corruption("checksum of the identity header does not match").at(60));
        }
        let mut reader = Reader::new(&header);
        reader.take(4)?;
        let code = reader.array::<4>()?;
        check_version(reader.u16()?, reader.u16()?)?;
        if code != kind.code() {
            return Err(not_ours(kind));
        }
        reader.zeros(4)?;
        let identity = Self { kind, database: reader.file_id()?, number: reader.u64()?, file: reader.file_id()? };
        reader.zeros(4)?;
        if kind.has_number() != (identity.number != 0) {
            return Err(Error::corruption(format!("{} is not the number of a {kind} file", identity.number)).at(32));
        }
        if !kind.has_file_id() && identity.file != FileId::default() {
            return Err(Error::corruption(format!("a {kind} file has no file id")).at(40));
        }
        Ok(identity)
    }
}

fn not_ours(kind: FileKind) -> Error {
    Error::corruption(format!("not a varvite {kind} file")).at(0)
}

fn check_version(major: u16, minor: u16) -> Result<()> {
    if major > MAJOR {
        let message = format!("written by a newer varvite: format {major}.{minor}, this one reads {MAJOR}.x");
        return Err(Error::new(ErrorKind::NewerFormat, message).at(8).with_remedy("open it with that version"));
    }
    if major < MAJOR {
        return Err(Error::corruption(format!("format version {major}.{minor} never existed")).at(8));
    }
    Ok(())
}
