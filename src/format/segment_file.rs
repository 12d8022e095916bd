//! seg-n: its footer names the segments and kill blocks in it (specification, section 8). The footer ends the file.
//!
//! | field | width |
//! |---|---|
//! | segment count | u32 |
//! | per segment: segment id u64, offset u64, length u64, footer CRC u32 | 28 |
//! | kill block count | u32 |
//! | per block: victim segment id u64, offset u64, length u32, CRC u32 | 24 |
//! | file id | 16 |
//! | footer length, all of this table | u32 |
//! | CRC of the bytes before this field | u32 |
//! | end magic `VRVTSEGE` | 8 |

use super::{Put, Reader, crc};
use crate::error::{Error, Result};
use crate::format::identity::IDENTITY_BYTES;
use crate::types::{FileId, SegmentId};

/// Length of the last fields, which say how long the footer is.
pub(crate) const TAIL_BYTES: usize = 16;
/// Segments and kill blocks start on multiples of this.
pub(crate) const PLACE_ALIGN: u64 = 64;
/// The footer starts on a multiple of this.
pub(crate) const FOOTER_ALIGN: u64 = 8;

const END_MAGIC: [u8; 8] = *b"VRVTSEGE";
const SEGMENT_BYTES: usize = 28;
const KILL_BYTES: usize = 24;
const FOOTER_BYTES_MIN: usize = 4 + 4 + 16 + TAIL_BYTES;

/// Where a segment stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentPlace {
    pub(crate) id: SegmentId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
}

/// Where a kill block stands in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KillPlace {
    /// The victim.
    pub(crate) segment: SegmentId,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) crc: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileFooter {
    pub(crate) segments: Vec<SegmentPlace>,
    pub(crate) kills: Vec<KillPlace>,
    /// As in the identity header.
    pub(crate) file: FileId,
}

impl FileFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let len = FOOTER_BYTES_MIN + self.segments.len() * SEGMENT_BYTES + self.kills.len() * KILL_BYTES;
        let mut out = Vec::with_capacity(len);
        out.put_count(self.segments.len());
        for place in &self.segments {
            out.put_u64(place.id);
            out.put_u64(place.offset);
            out.put_u64(place.len);
            out.put_u32(place.footer_crc);
        }
        out.put_count(self.kills.len());
        for place in &self.kills {
            out.put_u64(place.segment);
            out.put_u64(place.offset);
            out.put_u32(place.len);
            out.put_u32(place.crc);
        }
        out.put_file_id(self.file);
        out.put_count(len);
        out.put_u32(crc(&out));
        out.put(&END_MAGIC);
        debug_assert_eq!(out.len(), len, "length of the footer");
        out
    }

    /// Length and CRC of the footer, from the last 16 bytes of the file.
    pub(crate) fn decode_tail(last16: &[u8]) -> Result<(u32, u32)> {
        let mut reader = Reader::new(last16);
        let (len, sum) = (reader.u32()?, reader.u32()?);
        if reader.array()? != END_MAGIC {
            return Err(Error::corruption("the end of a varvite segment file is missing").at(8));
        }
        reader.finish()?;
        if (len as usize) < FOOTER_BYTES_MIN {
            return Err(Error::corruption(format!("a file footer cannot be {len} bytes long")).at(0));
        }
        Ok((len, sum))
    }

    /// Reads a whole footer; offsets of errors count from its start.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let Some((checked, tail)) = bytes.split_last_chunk::<TAIL_BYTES>() else {
            return Err(Error::corruption(format!("a file footer cannot be {} bytes long", bytes.len())).at(0));
        };
        let (len, sum) = Self::decode_tail(tail).map_err(|error| error.shifted(checked.len() as u64))?;
        if len as usize != bytes.len() {
            return Err(Error::corruption(format!("the file footer has {} bytes, not {len}", bytes.len())).at(checked.len() as u64));
        }
        let summed = bytes.get(..bytes.len() - 12).unwrap_or_default();
        if crc(summed) != sum {
            return Err(Error::corruption("checksum of the file footer does not match").at(summed.len() as u64));
        }
        let mut reader = Reader::new(checked);
        let segments = (0..reader.count(SEGMENT_BYTES)?).map(|_| SegmentPlace::read(&mut reader)).collect::<Result<_>>()?;
        let kills = (0..reader.count(KILL_BYTES)?).map(|_| KillPlace::read(&mut reader)).collect::<Result<_>>()?;
        let file = reader.file_id()?;
        reader.finish()?;
        Ok(Self { segments, kills, file })
    }

    /// Segments and kill blocks must stand between the identity header and the footer, without overlapping.
    pub(crate) fn check_places(&self, footer_offset: u64) -> Result<()> {
        let segments = self.segments.iter().map(|place| (place.offset, place.len));
        let kills = self.kills.iter().map(|place| (place.offset, u64::from(place.len)));
        let mut places: Vec<(u64, u64)> = segments.chain(kills).collect();
        places.sort_unstable();
        let mut free = IDENTITY_BYTES as u64;
        for (offset, len) in places {
            let end = offset.checked_add(len).filter(|&end| end <= footer_offset);
            match end {
                Some(end) if offset >= free => free = end,
                _ => return Err(Error::corruption(format!("{len} bytes cannot stand at {offset}, {free} to {footer_offset} are free"))),
            }
        }
        Ok(())
    }
}

impl SegmentPlace {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let at = reader.position();
        let place = Self { id: reader.u64()?, offset: reader.u64()?, len: reader.u64()?, footer_crc: reader.u32()? };
        check_offset(place.offset).map_err(|error| error.at(at + 8))?;
        Ok(place)
    }
}

impl KillPlace {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let at = reader.position();
        let place = Self { segment: reader.u64()?, offset: reader.u64()?, len: reader.u32()?, crc: reader.u32()? };
        check_offset(place.offset).map_err(|error| error.at(at + 8))?;
        Ok(place)
    }
}

fn check_offset(offset: u64) -> Result<()> {
    match offset >= IDENTITY_BYTES as u64 && offset.is_multiple_of(PLACE_ALIGN) {
        true => Ok(()),
        false => Err(Error::corruption(format!("nothing can stand at offset {offset} of a segment file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::{FileFooter, KillPlace, SegmentPlace};
    use crate::format::crc;
    use crate::format::testing::{cuts, flips, hex, patched};
    use crate::types::FileId;
    use proptest::prelude::*;

    const GOLDEN: &str = "
        01000000 0500000000000000 4000000000000000 0010000000000000 04030201
        01000000 0200000000000000 4010000000000000 1c000000 0d0c0b0a
        101112131415161718191a1b1c1d1e1f 5c000000 c8c9ed7d 5652565453454745";

    fn sample() -> FileFooter {
        FileFooter {
            segments: vec![SegmentPlace { id: 5, offset: 64, len: 4096, footer_crc: 0x0102_0304 }],
            kills: vec![KillPlace { segment: 2, offset: 4160, len: 28, crc: 0x0A0B_0C0D }],
            file: FileId(std::array::from_fn(|index| 0x10 + index as u8)),
        }
    }

    /// A footer changed on purpose, with a checksum that fits.
    fn resealed(offset: usize, patch: &[u8]) -> Vec<u8> {
        let bytes = patched(&sample().encode(), offset, patch);
        let checked = bytes.len() - 12;
        patched(&bytes, checked, &crc(&bytes[..checked]).to_le_bytes())
    }

    #[test]
    fn golden() {
        let bytes = hex(GOLDEN);
        assert_eq!(sample().encode(), bytes);
        assert_eq!(FileFooter::decode_tail(&bytes[bytes.len() - 16..]).unwrap(), (92, 0x7DED_C9C8));
    }

    #[test]
    fn every_damage_is_found() {
        let bytes = sample().encode();
        for (index, damaged) in flips(&bytes) {
            assert!(FileFooter::decode(&damaged).is_err(), "byte {index}");
        }
        assert!(cuts(&bytes).all(|cut| FileFooter::decode(cut).is_err()));
        assert!(FileFooter::decode(&[vec![0], bytes].concat()).is_err());
        assert!(FileFooter::decode_tail(&[0; 15]).is_err());
        assert!(FileFooter::decode_tail(&[0; 17]).is_err());
    }

    #[test]
    fn hostile_counts_and_offsets_are_refused_where_they_stand() {
        for (offset, patch, named) in
            [(0, &[0xFF; 4][..], 0), (32, &[0xFF; 4], 32), (0, &[0], 4), (12, &[0], 12), (12, &[65], 12), (44, &[0x41], 44)]
        {
            let error = FileFooter::decode(&resealed(offset, patch)).unwrap_err();
            assert_eq!(error.offset(), Some(named), "{offset}: {error}");
        }
    }

    #[test]
    fn places_must_not_overlap_or_reach_into_the_footer() {
        let footer = sample();
        footer.check_places(4188).unwrap();
        assert!(footer.check_places(4187).is_err());
        let mut overlapping = footer.clone();
        overlapping.segments[0].len = 4097;
        assert!(overlapping.check_places(1 << 20).is_err());
        overlapping.segments[0].len = u64::MAX;
        assert!(overlapping.check_places(u64::MAX).is_err());
    }

    prop_compose! {
        fn footer()(segments in prop::collection::vec((any::<u64>(), 1..1_u64 << 50, any::<u64>(), any::<u32>()), 0..8),
            kills in prop::collection::vec((any::<u64>(), 1..1_u64 << 50, any::<u32>(), any::<u32>()), 0..8), file: [u8; 16]) -> FileFooter {
            FileFooter {
                segments: segments.into_iter().map(|(id, place, len, footer_crc)| SegmentPlace { id, offset: place * 64, len, footer_crc }).collect(),
                kills: kills.into_iter().map(|(segment, place, len, crc)| KillPlace { segment, offset: place * 64, len, crc }).collect(),
                file: FileId(file),
            }
        }
    }

    proptest! {
        #[test]
        fn round_trip(footer in footer()) {
            let bytes = footer.encode();
            let (len, _) = FileFooter::decode_tail(&bytes[bytes.len() - 16..]).unwrap();
            prop_assert_eq!(len as usize, bytes.len());
            prop_assert_eq!(FileFooter::decode(&bytes).unwrap(), footer);
        }

        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(FileFooter::decode(&bytes).is_err());
        }
    }
}
