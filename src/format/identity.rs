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

    /// The kind that a header claims, valid or not; `None` for a file that is not ours.
    pub(crate) fn kind_of(bytes: &[u8]) -> Option<FileKind> {
        let code = bytes.strip_prefix(&MAGIC)?.first_chunk::<4>()?;
        FileKind::ALL.into_iter().find(|kind| kind.code() == *code)
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

#[cfg(test)]
mod tests {
    use super::{FileKind, IDENTITY_BYTES, Identity};
    use crate::error::ErrorKind;
    use crate::format::crc;
    use crate::format::testing::{cuts, flips, hex, patched};
    use crate::types::FileId;
    use proptest::prelude::*;

    fn sample() -> Identity {
        let [database, file] = [0xD0, 0x10].map(|first| FileId(std::array::from_fn(|index| first + index as u8)));
        Identity { kind: FileKind::Log, database, number: 7, file }
    }

    /// A header changed on purpose, with a checksum that fits.
    fn resealed(offset: usize, patch: &[u8]) -> Vec<u8> {
        let bytes = patched(&sample().encode(), offset, patch);
        patched(&bytes, 60, &crc(&bytes[..60]).to_le_bytes())
    }

    #[test]
    fn golden() {
        let expected = "565256544c4f47460100000000000000d0d1d2d3d4d5d6d7d8d9dadbdcdddedf
            0700000000000000101112131415161718191a1b1c1d1e1f0000000057710234";
        assert_eq!(sample().encode().to_vec(), hex(expected));
    }

    #[test]
    fn every_damage_is_found() {
        let bytes = sample().encode();
        for (index, damaged) in flips(&bytes) {
            assert_eq!(Identity::decode(&damaged, FileKind::Log).unwrap_err().kind(), ErrorKind::Corruption, "byte {index}");
        }
        for cut in cuts(&bytes) {
            let error = Identity::decode(cut, FileKind::Log).unwrap_err().to_string();
            assert!(error.contains("not a varvite log file"), "{error}");
        }
    }

    #[test]
    fn another_kind_is_named() {
        let error = Identity::decode(&sample().encode(), FileKind::Segment).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(0)));
        assert!(error.to_string().contains("not a varvite segment file"), "{error}");
    }

    #[test]
    fn what_is_not_ours_is_told_from_damage() {
        for (offset, patch) in [(0, &b"X"[..]), (4, &b"NONE"[..])] {
            let error = Identity::decode(&resealed(offset, patch), FileKind::Log).unwrap_err();
            assert_eq!((error.offset(), error.to_string().contains("not a varvite log file")), (Some(0), true), "{error}");
            assert_eq!(Identity::kind_of(&resealed(offset, patch)), None);
        }
        // Whatever its checksum says.
        let error = Identity::decode(&patched(&sample().encode(), 4, b"NONE"), FileKind::Log).unwrap_err();
        assert_eq!(error.offset(), Some(0), "{error}");
        for kind in FileKind::ALL {
            let (number, file) = (u64::from(kind.has_number()), if kind.has_file_id() { FileId([1; 16]) } else { FileId::default() });
            assert_eq!(Identity::kind_of(&Identity { kind, number, file, ..sample() }.encode()), Some(kind));
        }
    }

    #[test]
    fn newer_major_is_refused_by_number_and_newer_minor_is_read() {
        let error = Identity::decode(&resealed(8, &[2, 0, 3, 0]), FileKind::Log).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::NewerFormat, Some(8)));
        assert!(error.to_string().contains("newer varvite: format 2.3"), "{error}");
        assert_eq!(Identity::decode(&resealed(10, &[9, 0]), FileKind::Log).unwrap(), sample());
        assert_eq!(Identity::decode(&resealed(8, &[0, 0]), FileKind::Log).unwrap_err().kind(), ErrorKind::Corruption);
    }

    #[test]
    fn reserved_and_impossible_fields_are_refused() {
        for (offset, patch, named) in [(12, vec![0, 1], 13), (56, vec![0, 0, 0, 9], 59), (32, vec![0; 8], 32)] {
            assert_eq!(Identity::decode(&resealed(offset, &patch), FileKind::Log).unwrap_err().offset(), Some(named));
        }
        let as_manifest = resealed(4, b"MANI");
        assert_eq!(Identity::decode(&as_manifest, FileKind::Manifest).unwrap_err().offset(), Some(40));
    }

    proptest! {
        #[test]
        fn round_trip(database: [u8; 16], number in 1_u64.., file: [u8; 16], kind in prop::sample::select(&FileKind::ALL)) {
            let number = if kind.has_number() { number } else { 0 };
            let file = FileId(if kind.has_file_id() { file } else { [0; 16] });
            let identity = Identity { kind, database: FileId(database), number, file };
            prop_assert_eq!(Identity::decode(&identity.encode(), kind).unwrap(), identity);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..2 * IDENTITY_BYTES)) {
            prop_assert!(Identity::decode(&bytes, FileKind::Log).is_err());
        }
    }
}
