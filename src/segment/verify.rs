//! Checks of every byte, for `verify`: nothing that was checked before counts.

use super::file::SegmentFile;
use super::reader::{Segment, read_footer};
use crate::error::{Error, Result};
use crate::format::id_block::{Entries, IDS_PER_BLOCK, common_prefix};
use crate::format::identity::IDENTITY_BYTES;
use crate::format::kills::KillBlock;
use crate::format::payload_block::split_first;
use crate::format::segment::{Section, SectionKind, id_blocks, u32_at};
use crate::format::segment_file::KillPlace;
use crate::format::{crc, id_hash, payload};
use crate::kernel::{Encoder, Halves, Rows};
use crate::options::ChecksumMode;
use crate::sync::Arc;

/// Bytes of padding, or of rows, looked at in one piece.
const PIECE_BYTES: u64 = 256 << 10;

impl SegmentFile {
    /// Checks every byte of the file: header, padding, segments (also those that no manifest names any more), kill blocks, footer.
    pub(crate) fn verify(self: &Arc<Self>) -> Vec<Error> {
        let mut damages = Vec::new();
        note(&mut damages, self.check_identity());
        note(&mut damages, self.read_footer().map(|_| ()));
        let mut places: Vec<(u64, u64)> = Vec::new();
        for place in &self.footer().segments {
            places.push((place.offset, place.len));
            match Segment::open_place(Arc::clone(self), place, ChecksumMode::FirstTouch) {
                Ok(segment) => damages.append(&mut segment.verify()),
                Err(error) => damages.push(error),
            }
        }
        for place in &self.footer().kills {
            places.push((place.offset, place.len.into()));
            note(&mut damages, self.verify_kills(place));
        }
        places.push((self.footer_offset(), 0));
        places.sort_unstable();
        let mut end = IDENTITY_BYTES as u64;
        for (offset, len) in places {
            note(&mut damages, self.verify_zeros(end, offset.saturating_sub(end)));
            end = offset.saturating_add(len);
        }
        damages
    }

    fn verify_kills(&self, place: &KillPlace) -> Result<()> {
        let bytes = self.read_range(place.offset, place.len.into())?;
        let locate = |error: Error| error.shifted(place.offset).at(place.offset).in_file(self.name());
        if crc(&bytes) != place.crc {
            return Err(locate(Error::corruption("checksum of the kill block does not match")));
        }
        let block = KillBlock::decode(&bytes).map_err(locate)?;
        if block.segment != place.segment {
            return Err(locate(Error::corruption(format!("kill block of segment {}, not {}", block.segment, place.segment))));
        }
        Ok(())
    }

    /// Padding.
    fn verify_zeros(&self, offset: u64, len: u64) -> Result<()> {
        let mut done = 0;
        while done < len {
            let part = PIECE_BYTES.min(len - done);
            let bytes = self.read_range(offset + done, part)?;
            if let Some(index) = bytes.iter().position(|&byte| byte != 0) {
                let at = offset + done + index as u64;
                return Err(Error::corruption("padding that is not zero").at(at).in_file(self.name()));
            }
            done += part;
        }
        Ok(())
    }
}

impl Segment {
    /// Checks every byte of the segment: each damaged block is named, and if there is none, whether the sections agree with each other.
    pub(crate) fn verify(&self) -> Vec<Error> {
        let mut damages = Vec::new();
        note(&mut damages, read_footer(self.file(), self.place()).map(|_| ()));
        match self.sections.read_table() {
            Ok(table) => self.verify_sums(&table, &mut damages),
            Err(error) => damages.push(error),
        }
        self.verify_padding(&mut damages);
        if damages.is_empty() {
            note(&mut damages, self.verify_rows());
            note(&mut damages, self.verify_ids());
            note(&mut damages, self.verify_payloads());
            note(&mut damages, self.verify_codes());
        }
        damages
    }

    fn verify_sums(&self, table: &[u8], damages: &mut Vec<Error>) {
        let known = SectionKind::ALL.into_iter().map(|kind| (kind.name(), self.sections.section(kind)));
        let unknown = self.footer().unknown.iter().map(|section| ("of a newer version", section));
        for (name, section) in known.chain(unknown) {
            for block in 0..section.blocks() {
                note(damages, self.verify_sum(table, name, section, block));
            }
        }
    }

    fn verify_sum(&self, table: &[u8], name: &str, section: &Section, block: u64) -> Result<()> {
        let start = block * u64::from(section.block_size);
        let offset = self.offset() + section.offset + start;
        let len = u64::from(section.block_size).min(section.len - start);
        let bytes = self.file().read_range(offset, len)?;
        if u32_at(table, (u64::from(section.first_checksum) + block) as usize) == Some(crc(&bytes)) {
            return Ok(());
        }
        let message = format!("checksum of {len} bytes in section '{name}' does not match");
        Err(Error::corruption(message).at(offset).in_file(self.file().name()))
    }

    /// Between the sections, and before the footer.
    fn verify_padding(&self, damages: &mut Vec<Error>) {
        let footer = self.footer();
        let present = footer.sections.iter().chain(&footer.unknown).filter(|section| section.len > 0);
        let mut places: Vec<(u64, u64)> = present.map(|section| (section.offset, section.end())).collect();
        let footer_offset = self.bytes().saturating_sub(footer.encoded_len());
        places.push((footer_offset, footer_offset));
        places.sort_unstable();
        let mut end = 0;
        for (offset, next) in places {
            note(damages, self.file().verify_zeros(self.offset() + end, offset.saturating_sub(end)));
            end = next;
        }
    }

    /// The padding of the rows.
    fn verify_rows(&self) -> Result<()> {
        let (stride, len) = (self.dimension().stride(), self.dimension().bytes());
        if stride == len {
            return Ok(());
        }
        let step = (PIECE_BYTES as usize / stride).max(1);
        for first in (0..self.rows()).step_by(step) {
            let run = self.row_run(first..first.saturating_add(step as u32).min(self.rows()))?;
            let padded = run.chunks(stride).position(|row| row.iter().skip(len).any(|&byte| byte != 0));
            if let Some(index) = padded {
                let start = (u64::from(first) + index as u64) * stride as u64;
                return Err(self.sections.damaged(SectionKind::Rows, start, "row with padding that is not zero"));
            }
        }
        Ok(())
    }

    /// Codes are exactly those that the rows have.
    fn verify_codes(&self) -> Result<()> {
        if !self.has_codes() {
            return Ok(());
        }
        let (dimension, step) = (self.dimension().get(), (PIECE_BYTES as usize / self.dimension().stride()).max(1));
        let (mut encoder, mut code) = (Encoder::new(dimension), Halves::default());
        for first in (0..self.rows()).step_by(step) {
            let rows = first..first.saturating_add(step as u32).min(self.rows());
            let run = self.row_run(rows.clone())?;
            let (upper, lower) = (self.upper_codes(rows.clone())?, self.lower_codes(rows.clone())?);
            let (stored, vector) = (self.code_factors(rows.clone())?, self.vectors(first, &run)?);
            for row in rows {
                code.clear();
                let factors = encoder.encode(vector(row), &mut code).to_bytes();
                let named = "code that is not that of its row";
                for (kind, stored, made, what) in [
                    (SectionKind::UpperCodes, &upper, &*code.upper, named),
                    (SectionKind::LowerCodes, &lower, &*code.lower, named),
                    (SectionKind::CodeFactors, &stored, &factors, "factors that are not those of the row"),
                ] {
                    if stored.pick(&[row]).row(0) != made {
                        return Err(self.sections.damaged(kind, u64::from(row) * made.len() as u64, what));
                    }
                }
            }
        }
        Ok(())
    }

    /// Ids ascend, share all they can, fill their blocks without gaps, and the hash is exactly the one that they make.
    fn verify_ids(&self) -> Result<()> {
        let (mut id, mut previous) = (Vec::new(), Vec::new());
        let (mut hashes, mut expected_start) = (Vec::with_capacity(self.rows() as usize), 0);
        for number in 0..id_blocks(self.rows()) {
            let block = self.id_block(number)?;
            let damaged = |at: usize, what| self.sections.damaged(SectionKind::IdBlocks, block.start + at as u64, what);
            if block.start != expected_start {
                return Err(damaged(0, "id blocks with a gap between them"));
            }
            expected_start += block.bytes.len() as u64;
            let mut entries = Entries::new(block.bytes);
            for index in 0..IDS_PER_BLOCK.min(self.rows() - number * IDS_PER_BLOCK) {
                let at = entries.at();
                let entry = entries.next().map_err(|error| self.in_id_block(&block, error))?;
                entry.apply(&mut id);
                if (number > 0 || index > 0) && id <= previous {
                    return Err(damaged(at, "ids that do not ascend"));
                }
                if index > 0 && entry.shared != common_prefix(&id, &previous) {
                    return Err(damaged(at, "id that shares less than it could"));
                }
                hashes.push(id_hash::hash(&id, self.footer().hash_seed));
                previous.clone_from(&id);
            }
            if !entries.is_at_end() {
                return Err(damaged(entries.at(), "id block with more ids than rows"));
            }
        }
        if expected_start != self.sections.section(SectionKind::IdBlocks).len {
            return Err(self.sections.damaged(SectionKind::IdBlocks, expected_start, "bytes behind the last id block"));
        }
        self.verify_hash(&id_hash::encode(&hashes))
    }

    fn verify_hash(&self, expected: &[u8]) -> Result<()> {
        let stored = self.sections.slice(SectionKind::IdHash, 0, expected.len() as u64)?;
        match stored.chunks(id_hash::BUCKET_BYTES).zip(expected.chunks(id_hash::BUCKET_BYTES)).position(|(own, wanted)| own != wanted) {
            None => Ok(()),
            Some(bucket) => {
                let start = (bucket * id_hash::BUCKET_BYTES) as u64;
                Err(self.sections.damaged(SectionKind::IdHash, start, "id hash that is not that of the ids"))
            }
        }
    }

    /// Payload blocks follow each other without gaps, with ascending rows and payloads that can be decoded.
    fn verify_payloads(&self) -> Result<()> {
        let (mut expected_offset, mut next_row) = (0, 0);
        for number in 0..self.payload_blocks() {
            let entry = self.payload_entry(number)?;
            let plain = self.payload_block(&entry)?;
            let damaged = |what: &str| self.sections.damaged(SectionKind::PayloadBlocks, entry.offset, what);
            if entry.offset != expected_offset {
                return Err(damaged("payload blocks with a gap between them"));
            }
            expected_offset += u64::from(entry.stored_len);
            let (mut rest, mut is_first) = (plain.as_slice(), true);
            while let Some((row, bytes, tail)) = split_first(rest).map_err(|error| self.in_payload_block(&entry, error))? {
                if row < next_row || row >= self.rows() || (is_first && row != entry.first_row) {
                    return Err(damaged("payload block with a row out of order"));
                }
                if bytes.is_empty() {
                    return Err(damaged("payload that is empty"));
                }
                // Offsets in a compressed block say nothing: the block is named.
                payload::decode(bytes).map_err(|error| damaged(&format!("payload of row {row}: {error}")))?;
                (rest, next_row, is_first) = (tail, row + 1, false);
            }
        }
        if expected_offset != self.sections.section(SectionKind::PayloadBlocks).len {
            return Err(self.sections.damaged(SectionKind::PayloadBlocks, expected_offset, "bytes behind the last payload block"));
        }
        Ok(())
    }
}

fn note(damages: &mut Vec<Error>, result: Result<()>) {
    damages.extend(result.err());
}
