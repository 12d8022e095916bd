//! log-n: batches in the order of their sequences (specification, section 7). Identity header at 0, the activation
//! record twice, frames from 12,288 on.
//!
//! Activation record, 64 bytes:
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 8 | magic `VRVTACTV` |
//! | 8 | 8 | number of this log |
//! | 16 | 8 | number of the predecessor, 0 if none |
//! | 24 | 8 | the predecessor's end |
//! | 32 | 4 | the predecessor's frame chain checksum |
//! | 36 | 4 | reserved |
//! | 40 | 8 | first sequence |
//! | 48 | 12 | reserved |
//! | 60 | 4 | CRC of this log's file id and bytes 0 to 59 |
//!
//! Frame, a header of 32 bytes, then the body, then zeros to a multiple of 8:
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 4 | body length |
//! | 4 | 1 | marks: bit 0 first frame of its batch, bit 1 last |
//! | 5 | 3 | reserved |
//! | 8 | 8 | sequence |
//! | 16 | 8 | durable-through |
//! | 24 | 4 | CRC of the body |
//! | 28 | 4 | CRC of file id, offset of this frame (u64), bytes 0 to 27 |

use byteorder::{ByteOrder, LittleEndian};

use super::{Crc, Reader};
use crate::error::{Error, Result};
use crate::types::{FileId, FileNumber, Sequence};

/// Where the first frame stands.
pub(crate) const FRAMES_START: u64 = 12_288;
/// Length of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 32;
/// Longest body of a frame; with its header it fills 1 MiB.
pub(crate) const FRAME_BODY_MAX: usize = 1_048_544;
/// Where the two copies of the activation record stand.
pub(crate) const ACTIVATION_OFFSETS: [u64; 2] = [4096, 8192];
/// Length of an activation record.
pub(crate) const ACTIVATION_BYTES: usize = 64;
/// Frames start on multiples of this.
pub(crate) const FRAME_ALIGN: usize = 8;

const ACTIVATION_MAGIC: [u8; 8] = *b"VRVTACTV";
const MARK_FIRST: u8 = 1;
const MARK_LAST: u8 = 2;

/// Says that a log is in use and where the one before it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Activation {
    pub(crate) log: FileNumber,
    /// 0 if there is none.
    pub(crate) predecessor: FileNumber,
    pub(crate) predecessor_end: u64,
    pub(crate) predecessor_chain: u32,
    pub(crate) first_sequence: Sequence,
}

impl Activation {
    pub(crate) fn encode(&self, file: FileId) -> [u8; ACTIVATION_BYTES] {
        let mut bytes = [0; ACTIVATION_BYTES];
        bytes[..8].copy_from_slice(&ACTIVATION_MAGIC);
        LittleEndian::write_u64(&mut bytes[8..16], self.log);
        LittleEndian::write_u64(&mut bytes[16..24], self.predecessor);
        LittleEndian::write_u64(&mut bytes[24..32], self.predecessor_end);
        LittleEndian::write_u32(&mut bytes[32..36], self.predecessor_chain);
        LittleEndian::write_u64(&mut bytes[40..48], self.first_sequence);
        let sum = Crc::new().with(&file.0).with(&bytes[..60]).finish();
        LittleEndian::write_u32(&mut bytes[60..], sum);
        bytes
    }

    /// Reads one copy at the start of `bytes`; `None` if there is none.
    pub(crate) fn decode(bytes: &[u8], file: FileId) -> Result<Option<Self>> {
        let record: [u8; ACTIVATION_BYTES] = Reader::new(bytes).array()?;
        if record == [0; ACTIVATION_BYTES] {
            return Ok(None);
        }
        let mut reader = Reader::new(&record);
        if reader.array()? != ACTIVATION_MAGIC {
            return Err(Error::corruption("not an activation record").at(0));
        }
        if Crc::new().with(&file.0).with(&record[..60]).finish() != LittleEndian::read_u32(&record[60..]) {
            return Err(Error::corruption("checksum of the activation record does not match").at(60));
        }
        let (log, predecessor, predecessor_end) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let predecessor_chain = reader.u32()?;
        reader.zeros(4)?;
        let first_sequence = reader.u64()?;
        reader.zeros(12)?;
        Ok(Some(Self { log, predecessor, predecessor_end, predecessor_chain, first_sequence }))
    }
}

/// Header of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Of the body, 1 to [`FRAME_BODY_MAX`].
    pub(crate) len: u32,
    pub(crate) first: bool,
    pub(crate) last: bool,
    pub(crate) sequence: Sequence,
    /// Everything in this log before it was synced before this frame was written.
    pub(crate) durable_through: u64,
    pub(crate) body_crc: u32,
}

impl FrameHeader {
    pub(crate) fn encode(&self, file: FileId, offset: u64) -> [u8; FRAME_HEADER_BYTES] {
        debug_assert!(self.is_possible_at(offset), "{self:?} at {offset}");
        let mut bytes = [0; FRAME_HEADER_BYTES];
        LittleEndian::write_u32(&mut bytes[..4], self.len);
        bytes[4] = if self.first { MARK_FIRST } else { 0 } | if self.last { MARK_LAST } else { 0 };
        LittleEndian::write_u64(&mut bytes[8..16], self.sequence);
        LittleEndian::write_u64(&mut bytes[16..24], self.durable_through);
        LittleEndian::write_u32(&mut bytes[24..28], self.body_crc);
        let sum = header_crc(&bytes, file, offset);
        LittleEndian::write_u32(&mut bytes[28..], sum);
        bytes
    }

    /// Reads a header at the start of `bytes`, which stands at `offset` in the log `file`; `None` if there is no valid
    /// one: where a log ends, that is not an error.
    pub(crate) fn decode(bytes: &[u8], file: FileId, offset: u64) -> Option<Self> {
        let header: &[u8; FRAME_HEADER_BYTES] = bytes.first_chunk()?;
        let marks = header[4];
        let decoded = Self {
            len: LittleEndian::read_u32(&header[..4]),
            first: marks & MARK_FIRST != 0,
            last: marks & MARK_LAST != 0,
            sequence: LittleEndian::read_u64(&header[8..16]),
            durable_through: LittleEndian::read_u64(&header[16..24]),
            body_crc: LittleEndian::read_u32(&header[24..28]),
        };
        // The cheap checks go first: a search for headers tries every eighth byte of a log.
        let possible = marks <= (MARK_FIRST | MARK_LAST) && header[5..8] == [0; 3] && decoded.is_possible_at(offset);
        (possible && header_crc(header, file, offset) == LittleEndian::read_u32(&header[28..])).then_some(decoded)
    }

    fn is_possible_at(&self, offset: u64) -> bool {
        (1..=FRAME_BODY_MAX as u32).contains(&self.len)
            && (FRAMES_START..=offset).contains(&self.durable_through)
            && offset.is_multiple_of(FRAME_ALIGN as u64)
    }
}

fn header_crc(header: &[u8; FRAME_HEADER_BYTES], file: FileId, offset: u64) -> u32 {
    Crc::new().with(&file.0).with(&offset.to_le_bytes()).with(&header[..28]).finish()
}

/// Length of a frame with a body of `len` bytes, padding included.
pub(crate) const fn frame_bytes(len: usize) -> usize {
    (FRAME_HEADER_BYTES + len).next_multiple_of(FRAME_ALIGN)
}

/// Frame chain checksum: pins the content of all frames of a log up to an offset. Starts at 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Chain(pub(crate) u32);

impl Chain {
    pub(crate) fn extend(&mut self, header: &[u8; FRAME_HEADER_BYTES]) {
        self.0 = Crc::resume(self.0).with(&header[28..]).finish();
    }
}
