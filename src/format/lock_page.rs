//! LOCK: who writes, and how far a reader beside the writer may replay (specification, section 4).
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 64 | identity header |
//! | 64 | 4 | process id of the last writer |
//! | 68 | 4 | CRC of bytes 64 to 67 and 72 to 135 |
//! | 72 | 64 | host name, UTF-8, zero-padded |
//! | 1,024 | 8 | how many points this writer has published |
//! | 1,032 | 16 | writer nonce, zero if no point was published |
//! | 1,048 | 8 | log number |
//! | 1,056 | 8 | synced-through offset in that log |
//! | 1,064 | 8 | highest synced sequence |
//! | 1,072 | 4 | CRC of bytes 1,024 to 1,071 |

use byteorder::{ByteOrder, LittleEndian};

use super::identity::{FileKind, Identity};
use super::{Crc, Put, Reader, crc};
use crate::error::{Error, Result};
use crate::types::FileId;

/// Length of the file.
pub(crate) const LOCK_BYTES: usize = 4096;
/// Where [`Holder`] stands.
pub(crate) const HOLDER_OFFSET: u64 = 64;
/// Length of an encoded [`Holder`].
pub(crate) const HOLDER_BYTES: usize = 72;
/// Where the slot of [`SyncedPoint`] stands.
pub(crate) const POINT_OFFSET: u64 = 1024;
/// Length of that slot.
pub(crate) const POINT_BYTES: usize = 52;

const HOST_BYTES: usize = 64;

/// The last writer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) process: u32,
    /// Cut to 64 bytes when written.
    pub(crate) host: String,
}

impl Holder {
    pub(crate) fn encode(&self) -> [u8; HOLDER_BYTES] {
        let host = self.host.split('\0').next().unwrap_or_default();
        let host = host.get(..host.floor_char_boundary(HOST_BYTES)).unwrap_or_default();
        let mut bytes = [0; HOLDER_BYTES];
        LittleEndian::write_u32(&mut bytes[..4], self.process);
        bytes[8..].iter_mut().zip(host.bytes()).for_each(|(slot, byte)| *slot = byte);
        let sum = Crc::new().with(&bytes[..4]).with(&bytes[8..]).finish();
        LittleEndian::write_u32(&mut bytes[4..8], sum);
        bytes
    }

    /// Reads what stands at [`HOLDER_OFFSET`].
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        let process = reader.array::<4>()?;
        let sum = reader.u32()?;
        let host = reader.array::<HOST_BYTES>()?;
        if Crc::new().with(&process).with(&host).finish() != sum {
            return Err(Error::corruption("checksum of the lock's holder does not match").at(4));
        }
        let mut parts = host.splitn(2, |&byte| byte == 0);
        let name = parts.next().unwrap_or_default();
        if parts.next().is_some_and(|padding| padding.iter().any(|&byte| byte != 0)) {
            return Err(Error::corruption("the host name is not padded with zeros").at(8));
        }
        let host = String::from_utf8(name.to_vec()).map_err(|_| Error::corruption("the host name is not UTF-8").at(8))?;
        Ok(Self { process: LittleEndian::read_u32(&process), host })
    }
}

/// Up to where the writer has synced its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyncedPoint {
    /// Random per writable open.
    pub(crate) nonce: FileId,
    pub(crate) log: u64,
    pub(crate) offset: u64,
    pub(crate) sequence: u64,
}

/// What a reader finds in the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PointSlot {
    /// Being written, or torn by a crash: read again.
    Busy,
    /// No writer has published a point.
    Empty,
    Point(SyncedPoint),
}

impl SyncedPoint {
    /// The whole slot, with the number of this point among the writer's.
    pub(crate) fn encode(&self, count: u64) -> [u8; POINT_BYTES] {
        let mut bytes = [0; POINT_BYTES];
        LittleEndian::write_u64(&mut bytes[..8], count);
        bytes[8..24].copy_from_slice(&self.nonce.0);
        LittleEndian::write_u64(&mut bytes[24..32], self.log);
        LittleEndian::write_u64(&mut bytes[32..40], self.offset);
        LittleEndian::write_u64(&mut bytes[40..48], self.sequence);
        let sum = crc(&bytes[..48]);
        LittleEndian::write_u32(&mut bytes[48..], sum);
        bytes
    }

    /// A slot without a point.
    pub(crate) fn encode_empty() -> [u8; POINT_BYTES] {
        Self { nonce: FileId::default(), log: 0, offset: 0, sequence: 0 }.encode(0)
    }

    /// Reads what stands at [`POINT_OFFSET`]. Refuses short input only: whatever else is wrong is a writer at work.
    pub(crate) fn decode(bytes: &[u8]) -> Result<PointSlot> {
        let slot: [u8; POINT_BYTES] = Reader::new(bytes).array()?;
        if slot == [0; POINT_BYTES] {
            return Ok(PointSlot::Empty);
        }
        let mut reader = Reader::new(&slot);
        let _count = reader.u64()?;
        let point = Self { nonce: reader.file_id()?, log: reader.u64()?, offset: reader.u64()?, sequence: reader.u64()? };
        if crc(&slot[..48]) != reader.u32()? {
            return Ok(PointSlot::Busy);
        }
        if point.nonce == FileId::default() {
            return Ok(PointSlot::Empty);
        }
        Ok(PointSlot::Point(point))
    }
}

/// A whole new page without a point.
pub(crate) fn encode_page(database: FileId, holder: &Holder) -> Vec<u8> {
    let identity = Identity { kind: FileKind::Lock, database, number: 0, file: FileId::default() };
    let mut page = Vec::with_capacity(LOCK_BYTES);
    page.put(&identity.encode());
    page.put(&holder.encode());
    page.resize(POINT_OFFSET as usize, 0);
    page.put(&SyncedPoint::encode_empty());
    page.resize(LOCK_BYTES, 0);
    page
}

#[cfg(test)]
mod tests {
    use super::{HOLDER_OFFSET, Holder, LOCK_BYTES, POINT_OFFSET, PointSlot, SyncedPoint, encode_page};
    use crate::format::identity::{FileKind, Identity};
    use crate::format::testing::{cuts, flips, hex};
    use crate::format::{Crc, crc};
    use crate::types::FileId;
    use proptest::prelude::*;

    fn holder() -> Holder {
        Holder { process: 4711, host: "node-1".into() }
    }

    fn point() -> SyncedPoint {
        SyncedPoint { nonce: FileId(std::array::from_fn(|index| 0x10 + index as u8)), log: 3, offset: 12_352, sequence: 41 }
    }

    #[test]
    fn golden() {
        let expected = hex("67120000b60fd9956e6f64652d31");
        assert_eq!(holder().encode()[..14].to_vec(), expected);
        assert!(holder().encode()[14..].iter().all(|&byte| byte == 0));
        let expected = "0600000000000000101112131415161718191a1b1c1d1e1f0300000000000000
            403000000000000029000000000000007e3d9ebc";
        assert_eq!(point().encode(6).to_vec(), hex(expected));
    }

    #[test]
    fn every_damage_of_the_holder_is_found() {
        for (index, damaged) in flips(&holder().encode()) {
            assert!(Holder::decode(&damaged).is_err(), "byte {index}");
        }
        assert!(cuts(&holder().encode()).all(|cut| Holder::decode(cut).is_err()));
    }

    #[test]
    fn a_host_name_is_padded_with_zeros() {
        let mut encoded = holder().encode().to_vec();
        *encoded.last_mut().unwrap() = b'x';
        let sum = Crc::new().with(&encoded[..4]).with(&encoded[8..]).finish();
        encoded[4..8].copy_from_slice(&sum.to_le_bytes());
        assert!(Holder::decode(&encoded).unwrap_err().to_string().contains("padded"));
    }

    #[test]
    fn a_slot_without_a_point_has_a_checksum_too() {
        let empty = SyncedPoint::encode_empty();
        assert_eq!((&empty[..48], &empty[48..]), (&[0; 48][..], &crc(&[0; 48]).to_le_bytes()[..]));
    }

    #[test]
    fn every_damage_of_the_point_looks_busy() {
        for (index, damaged) in flips(&point().encode(6)) {
            assert_eq!(SyncedPoint::decode(&damaged).unwrap(), PointSlot::Busy, "byte {index}");
        }
        assert!(cuts(&point().encode(6)).all(|cut| SyncedPoint::decode(cut).is_err()));
    }

    #[test]
    fn new_page_has_a_holder_and_no_point() {
        let page = encode_page(FileId([5; 16]), &holder());
        assert_eq!(page.len(), LOCK_BYTES);
        assert_eq!(Identity::decode(&page, FileKind::Lock).unwrap().database, FileId([5; 16]));
        assert_eq!(Holder::decode(&page[HOLDER_OFFSET as usize..]).unwrap(), holder());
        assert_eq!(SyncedPoint::decode(&page[POINT_OFFSET as usize..]).unwrap(), PointSlot::Empty);
        assert_eq!(SyncedPoint::decode(&[0; 100]).unwrap(), PointSlot::Empty, "a page of zeros");
    }

    proptest! {
        #[test]
        fn point_round_trip(nonce in any::<[u8; 16]>().prop_filter("zero says none", |nonce| *nonce != [0; 16]), log: u64, offset: u64, sequence: u64, count: u64) {
            let point = SyncedPoint { nonce: FileId(nonce), log, offset, sequence };
            prop_assert_eq!(SyncedPoint::decode(&point.encode(count)).unwrap(), PointSlot::Point(point));
        }

        #[test]
        fn holder_round_trip(process: u32, host in "\\PC{0,40}") {
            let decoded = Holder::decode(&Holder { process, host: host.clone() }.encode()).unwrap();
            prop_assert_eq!(decoded.process, process);
            prop_assert!(host.starts_with(&decoded.host));
            prop_assert!(decoded.host == host || decoded.host.len() > 60, "cut too early: {:?}", decoded.host);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = (Holder::decode(&bytes), SyncedPoint::decode(&bytes));
        }
    }
}
