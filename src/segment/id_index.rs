use super::reader::Segment;
use crate::error::{Error, Result};
use crate::format::id_block::{self, IDS_PER_BLOCK};
use crate::format::id_hash::{self, BUCKET_BYTES, Bucket};
use crate::format::segment::{SectionKind, id_blocks, u32_at};

/// Bytes of a row that are fetched while its id is compared: from there on the processor sees the row coming.
const ROW_PREFETCH: u64 = 1024;

/// An id block and where it starts in its section.
pub(super) struct LocatedBlock<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) start: u64,
}

impl Segment {
    /// The row of an id. Touches one bucket, unless that overflowed, and one id block if the id is probably there; allocates nothing.
    pub(crate) fn find(&self, id: &[u8]) -> Result<Option<u32>> {
        self.find_hashed(id, self.hash(id))
    }

    /// What it looks ids up by.
    pub(crate) fn hash(&self, id: &[u8]) -> u64 {
        id_hash::hash(id, self.footer().hash_seed)
    }

    /// [`Self::find`], by an id's hash.
    pub(crate) fn find_hashed(&self, id: &[u8], hash: u64) -> Result<Option<u32>> {
        let buckets = id_hash::bucket_count(self.rows());
        let mut at = id_hash::home(hash, buckets);
        for _ in 0..buckets {
            let start = u64::from(at) * BUCKET_BYTES as u64;
            let bytes = self.sections.slice(SectionKind::IdHash, start, BUCKET_BYTES as u64)?;
            let bucket = Bucket::decode(bytes).map_err(|error| self.sections.locate(SectionKind::IdHash, start, error))?;
            for row in bucket.candidates(hash) {
                if row >= self.rows() {
                    return Err(self.sections.damaged(SectionKind::IdHash, start, "id hash: row beyond the last"));
                }
                // It most probably is the id: its row need not wait for that.
                self.prefetch_row(row);
                if self.is_id_of(row, id)? {
                    return Ok(Some(row));
                }
            }
            if !bucket.overflowed() {
                break;
            }
            at = id_hash::following(at, buckets);
        }
        Ok(None)
    }

    /// The first of two steps towards a [`Self::find_hashed`] that waits for no memory: a hint where it begins.
    pub(crate) fn prefetch_bucket(&self, hash: u64) {
        let home = id_hash::home(hash, id_hash::bucket_count(self.rows()));
        self.sections.prefetch_range(SectionKind::IdHash, u64::from(home) * BUCKET_BYTES as u64, BUCKET_BYTES as u64);
    }

    /// The second step: brings near the row that probably has the id, with its id block, and returns it for [`Self::find_guessed`]. What cannot be
    /// read is left to the look-up.
    pub(crate) fn guess(&self, hash: u64) -> Option<u32> {
        let start = u64::from(id_hash::home(hash, id_hash::bucket_count(self.rows()))) * BUCKET_BYTES as u64;
        let bytes = self.sections.slice(SectionKind::IdHash, start, BUCKET_BYTES as u64).ok()?;
        let row = Bucket::decode(bytes).ok()?.candidates(hash).next()?;
        if let Ok(block) = self.id_block(row / IDS_PER_BLOCK) {
            self.sections.prefetch_range(SectionKind::IdBlocks, block.start, 128);
        }
        self.prefetch_row(row);
        Some(row)
    }

    /// [`Self::find_hashed`], which a guess spares the bucket if it is right.
    pub(crate) fn find_guessed(&self, id: &[u8], hash: u64, guess: Option<u32>) -> Result<Option<u32>> {
        match guess {
            Some(row) if row < self.rows() && self.is_id_of(row, id)? => Ok(guess),
            _ => self.find_hashed(id, hash),
        }
    }

    fn prefetch_row(&self, row: u32) {
        self.sections.prefetch_range(SectionKind::Ordinals, u64::from(row) * 8, 8);
        let stride = self.dimension().stride() as u64;
        self.sections.prefetch_range(SectionKind::Rows, u64::from(row) * stride, stride.min(ROW_PREFETCH));
    }

    /// The first row whose id is at least `id`; [`Segment::rows`] if there is none.
    pub(crate) fn lower_bound(&self, id: &[u8]) -> Result<u32> {
        let (mut low, mut high) = (0, id_blocks(self.rows()));
        // All blocks before `low` start at or below the id, `high` and those behind it start above.
        while low < high {
            let middle = low + (high - low) / 2;
            let block = self.id_block(middle)?;
            let first = id_block::first(block.bytes).map_err(|error| self.in_id_block(&block, error))?;
            if first <= id {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let Some(number) = low.checked_sub(1) else { return Ok(0) };
        let block = self.id_block(number)?;
        let first_row = number * IDS_PER_BLOCK;
        let count = IDS_PER_BLOCK.min(self.rows() - first_row);
        let index = id_block::lower_bound(block.bytes, count, id).map_err(|error| self.in_id_block(&block, error))?;
        Ok(first_row + index)
    }

    /// Writes the id of a row into `id`.
    pub(crate) fn id_of(&self, row: u32, id: &mut Vec<u8>) -> Result<()> {
        if row >= self.rows() {
            return Err(Error::invalid(format!("no row {row} in a segment of {}", self.rows())));
        }
        let block = self.id_block(row / IDS_PER_BLOCK)?;
        id_block::get(block.bytes, row % IDS_PER_BLOCK, id).map_err(|error| self.in_id_block(&block, error))
    }

    fn is_id_of(&self, row: u32, id: &[u8]) -> Result<bool> {
        let block = self.id_block(row / IDS_PER_BLOCK)?;
        id_block::matches(block.bytes, row % IDS_PER_BLOCK, id).map_err(|error| self.in_id_block(&block, error))
    }

    /// An id block by its number.
    pub(super) fn id_block(&self, number: u32) -> Result<LocatedBlock<'_>> {
        let at = u64::from(number) * 4;
        let offsets = self.sections.slice(SectionKind::IdOffsets, at, 8)?;
        let (Some(start), Some(end)) = (u32_at(offsets, 0), u32_at(offsets, 1)) else {
            return Err(self.sections.damaged(SectionKind::IdOffsets, at, "id offset cut short"));
        };
        if start >= end || u64::from(end) > self.sections.section(SectionKind::IdBlocks).len {
            return Err(self.sections.damaged(SectionKind::IdOffsets, at, "id offsets that do not ascend within the ids"));
        }
        let bytes = self.sections.slice(SectionKind::IdBlocks, start.into(), (end - start).into())?;
        Ok(LocatedBlock { bytes, start: start.into() })
    }

    #[cold]
    pub(super) fn in_id_block(&self, block: &LocatedBlock<'_>, error: Error) -> Error {
        self.sections.locate(SectionKind::IdBlocks, block.start, error)
    }
}
