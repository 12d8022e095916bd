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
//! | 24 | 8 | the predecessor's end, 0 if none |
//! | 32 | 4 | the predecessor's frame chain checksum, 0 if none |
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

/// A log has this length before a manifest names it.
pub(crate) const LOG_BYTES_MIN: u64 = 256 << 10;
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
        debug_assert!(self.predecessor != 0 || (self.predecessor_end, self.predecessor_chain) == (0, 0), "{self:?}");
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
        if predecessor == 0 && (predecessor_end, predecessor_chain) != (0, 0) {
            return Err(Error::corruption("no predecessor, but its end is named").at(24));
        }
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
    /// The checksum over all frames so far.
    pub(crate) fn value(self) -> u32 {
        self.0
    }

    pub(crate) fn extend(&mut self, header: &[u8; FRAME_HEADER_BYTES]) {
        self.0 = Crc::resume(self.0).with(&header[28..]).finish();
    }
}

#[cfg(test)]
mod tests {
    use super::{ACTIVATION_BYTES, Activation, Chain, FRAME_BODY_MAX, FRAME_HEADER_BYTES, FRAMES_START, FrameHeader, frame_bytes};
    use crate::format::testing::{cuts, flips, hex, patched};
    use crate::format::{Crc, crc};
    use crate::types::FileId;
    use proptest::prelude::*;

    const FILE: FileId = FileId([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C, 0x1D, 0x1E, 0x1F]);
    const ACTIVATION: Activation =
        Activation { log: 4, predecessor: 3, predecessor_end: 20_480, predecessor_chain: 0xDEAD_BEEF, first_sequence: 17 };

    fn header(len: u32, body_crc: u32) -> FrameHeader {
        FrameHeader { len, first: true, last: true, sequence: 1, durable_through: FRAMES_START, body_crc }
    }

    /// A header changed on purpose, with a checksum that fits.
    fn resealed(offset: usize, patch: &[u8]) -> Vec<u8> {
        let bytes = patched(&header(36, 9).encode(FILE, FRAMES_START), offset, patch);
        let sum = Crc::new().with(&FILE.0).with(&FRAMES_START.to_le_bytes()).with(&bytes[..28]).finish();
        patched(&bytes, 28, &sum.to_le_bytes())
    }

    #[test]
    fn golden() {
        let activation = "5652565441435456040000000000000003000000000000000050000000000000
            efbeadde000000001100000000000000000000000000000000000000ca084fff";
        assert_eq!(ACTIVATION.encode(FILE).to_vec(), hex(activation));
        let body = hex("040100000000000000000000000001006107000000020200000068690000803f000000c0");
        let frame = header(36, crc(&body)).encode(FILE, FRAMES_START);
        assert_eq!(frame.to_vec(), hex("2400000003000000010000000000000000300000000000002226b057d9bb27e4"));
        let mut chain = Chain::default();
        assert_eq!(chain, Chain(0));
        chain.extend(&frame);
        assert_eq!(chain, Chain(0xCEB1_ACFA));
    }

    #[test]
    fn every_damage_is_found() {
        for (index, damaged) in flips(&ACTIVATION.encode(FILE)) {
            assert!(Activation::decode(&damaged, FILE).is_err(), "byte {index}");
        }
        assert!(cuts(&ACTIVATION.encode(FILE)).all(|cut| Activation::decode(cut, FILE).is_err()));
        let frame = header(36, 9).encode(FILE, FRAMES_START);
        for (index, damaged) in flips(&frame) {
            assert_eq!(FrameHeader::decode(&damaged, FILE, FRAMES_START), None, "byte {index}");
        }
        assert!(cuts(&frame).all(|cut| FrameHeader::decode(cut, FILE, FRAMES_START).is_none()));
    }

    #[test]
    fn copies_elsewhere_are_void() {
        let frame = header(36, 9).encode(FILE, FRAMES_START);
        assert_eq!(FrameHeader::decode(&frame, FILE, FRAMES_START), Some(header(36, 9)));
        assert_eq!(FrameHeader::decode(&frame, FILE, FRAMES_START + 8), None, "another offset");
        assert_eq!(FrameHeader::decode(&frame, FileId([0; 16]), FRAMES_START), None, "another file");
        assert!(Activation::decode(&ACTIVATION.encode(FILE), FileId([0; 16])).is_err(), "another file");
    }

    #[test]
    fn impossible_headers_are_refused_even_with_a_valid_checksum() {
        let durable = |offset: u64| offset.to_le_bytes().to_vec();
        for (offset, patch) in [
            (0, vec![0, 0, 0, 0]),
            (0, (FRAME_BODY_MAX as u32 + 1).to_le_bytes().to_vec()),
            (4, vec![4]),
            (5, vec![1]),
            (7, vec![1]),
            (16, durable(FRAMES_START - 1)),
            (16, durable(FRAMES_START + 1)),
        ] {
            assert_eq!(FrameHeader::decode(&resealed(offset, &patch), FILE, FRAMES_START), None, "{offset}: {patch:?}");
        }
        assert!(FrameHeader::decode(&resealed(4, &[0]), FILE, FRAMES_START).is_some(), "a middle frame");
    }

    #[test]
    fn reserved_bytes_of_an_activation_are_refused() {
        for offset in [36, 39, 48, 59] {
            let bytes = patched(&ACTIVATION.encode(FILE), offset, &[1]);
            let sum = Crc::new().with(&FILE.0).with(&bytes[..60]).finish();
            let error = Activation::decode(&patched(&bytes, 60, &sum.to_le_bytes()), FILE).unwrap_err();
            assert_eq!(error.offset(), Some(offset as u64));
        }
    }

    #[test]
    fn free_space_is_neither_a_frame_nor_damage() {
        assert_eq!(Activation::decode(&[0; ACTIVATION_BYTES], FILE).unwrap(), None);
        assert_eq!(FrameHeader::decode(&[0; FRAME_HEADER_BYTES], FILE, FRAMES_START), None);
    }

    #[test]
    fn the_chain_is_the_checksum_of_all_header_checksums() {
        let headers = [header(3, 1).encode(FileId::default(), FRAMES_START), header(5, 2).encode(FileId::default(), FRAMES_START + 40)];
        let mut chain = Chain::default();
        assert_eq!(chain.value(), 0);
        headers.iter().for_each(|header| chain.extend(header));
        assert_eq!(chain.value(), crc(&[&headers[0][28..], &headers[1][28..]].concat()));
    }

    #[test]
    fn frames_are_padded_to_eight() {
        for (len, bytes) in [(1, 40), (8, 40), (9, 48), (36, 72), (FRAME_BODY_MAX, 1 << 20)] {
            assert_eq!(frame_bytes(len), bytes, "{len}");
        }
    }

    proptest! {
        #[test]
        fn frame_round_trip(len in 1..=FRAME_BODY_MAX as u32, first: bool, last: bool, sequence: u64, body_crc: u32, file: [u8; 16],
            place in FRAMES_START / 8..1 << 40, synced in 0.0..=1.0) {
            let offset = place * 8;
            let durable_through = FRAMES_START + ((offset - FRAMES_START) as f64 * synced) as u64;
            let header = FrameHeader { len, first, last, sequence, durable_through, body_crc };
            prop_assert_eq!(FrameHeader::decode(&header.encode(FileId(file), offset), FileId(file), offset), Some(header));
        }

        #[test]
        fn activation_round_trip(log: u64, predecessor in 1_u64.., predecessor_end: u64, predecessor_chain: u32, first_sequence: u64, file: [u8; 16]) {
            let activation = Activation { log, predecessor, predecessor_end, predecessor_chain, first_sequence };
            let first = Activation { predecessor: 0, predecessor_end: 0, predecessor_chain: 0, ..activation };
            prop_assert_eq!(Activation::decode(&first.encode(FileId(file)), FileId(file)).unwrap(), Some(first));
            prop_assert_eq!(Activation::decode(&activation.encode(FileId(file)), FileId(file)).unwrap(), Some(activation));
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 1..100)) {
            prop_assert_eq!(FrameHeader::decode(&bytes, FILE, FRAMES_START), None);
            prop_assert!(Activation::decode(&bytes, FILE).map_or(true, |found| found.is_none()));
        }

        #[test]
        fn chain_depends_on_every_frame_and_their_order(sums in prop::collection::vec(any::<u32>(), 2..6), at: prop::sample::Index) {
            let chain = |sums: &[u32]| {
                let mut chain = Chain::default();
                for (sequence, sum) in sums.iter().enumerate() {
                    chain.extend(&FrameHeader { sequence: sequence as u64, ..header(1, *sum) }.encode(FILE, FRAMES_START));
                }
                chain
            };
            let mut other = sums.clone();
            other[at.index(sums.len())] ^= 1;
            prop_assert_ne!(chain(&sums), chain(&other));
            prop_assert_ne!(chain(&sums), chain(&sums[1..]));
        }
    }
}
