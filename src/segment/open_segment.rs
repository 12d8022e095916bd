use super::builder::BuiltSegment;
use super::output::Output;
use crate::error::{Error, Result};
use crate::format::segment::{ALIGNMENT, BLOCK_BYTES, Section, SectionKind, SegmentFooter, group_rows, tail};
use crate::format::{Crc, Put, crc, id_block, id_hash, payload_block};
use crate::kernel::{Encoder, Halves};
use crate::types::{Codes, Dimension, Ordinal, SegmentId, Sequence, check_id};

/// What is known of a segment whose rows are being written.
pub(super) struct OpenSegment {
    id: SegmentId,
    dimension: Dimension,
    hash_seed: u64,
    start: u64,
    rows: u32,
    group_rows: u32,
    group: Crc,
    checksums: Vec<u32>,
    ordinals: Vec<u8>,
    id_offsets: Vec<u8>,
    id_blocks: Vec<u8>,
    hashes: Vec<u64>,
    payload_index: Vec<u8>,
    payload_blocks: Vec<u8>,
    payload_plain: Vec<u8>,
    first_id: Vec<u8>,
    last_id: Vec<u8>,
    codes: Option<OpenCodes>,
}

/// The codes of its rows.
struct OpenCodes {
    encoder: Encoder,
    row: Vec<f32>,
    codes: Halves,
    factors: Vec<u8>,
}

impl OpenCodes {
    fn new(dimension: usize) -> Self {
        Self { encoder: Encoder::new(dimension), row: Vec::with_capacity(dimension), codes: Halves::default(), factors: Vec::new() }
    }

    fn add(&mut self, vector: &[u8]) {
        self.row.clear();
        self.row.extend(vector.as_chunks().0.iter().map(|element| f32::from_le_bytes(*element)));
        self.factors.extend_from_slice(&self.encoder.encode(&self.row, &mut self.codes).to_bytes());
    }
}

impl OpenSegment {
    /// A segment that begins at `start` of its file.
    pub(super) fn new(id: SegmentId, dimension: Dimension, hash_seed: u64, start: u64, codes: Codes) -> Self {
        Self {
            id,
            dimension,
            hash_seed,
            start,
            rows: 0,
            group_rows: group_rows(dimension),
            group: Crc::new(),
            checksums: Vec::new(),
            ordinals: Vec::new(),
            id_offsets: Vec::new(),
            id_blocks: Vec::new(),
            hashes: Vec::new(),
            payload_index: Vec::new(),
            payload_blocks: Vec::new(),
            payload_plain: Vec::new(),
            first_id: Vec::new(),
            last_id: Vec::new(),
            codes: (codes == Codes::Int8).then(|| OpenCodes::new(dimension.get())),
        }
    }

    /// Refuses what cannot be the next row.
    pub(super) fn check(&self, id: &[u8], vector: &[u8]) -> Result<()> {
        check_id(id)?;
        if self.rows > 0 && id <= self.last_id.as_slice() {
            return Err(Error::invalid("ids of a segment must ascend strictly"));
        }
        if vector.len() != self.dimension.bytes() {
            return Err(Error::invalid(format!("{} bytes are no vector of dimension {}", vector.len(), self.dimension)));
        }
        // Half the rows that a u32 can count, fewer if their codes are long: their checksums, one a row at most, those of codes, and of the other
        // sections, fit one too.
        if self.rows >= u32::MAX / 2 / (1 + self.dimension.as_u32() / (BLOCK_BYTES / 2))
            || self.id_blocks.len() + 4 + id.len() > u32::MAX as usize
        {
            return Err(Error::invalid("the segment is full"));
        }
        Ok(())
    }

    /// Takes in a row that was checked and written.
    pub(super) fn add(&mut self, id: &[u8], vector: &[u8], ordinal: Ordinal, payload: &[u8]) {
        self.group.update(vector);
        let padding = self.dimension.stride() - vector.len();
        self.group.update([0; 64].get(..padding).unwrap_or_default());
        if let Some(codes) = &mut self.codes {
            codes.add(vector);
        }
        self.ordinals.put_u64(ordinal);
        self.hashes.push(id_hash::hash(id, self.hash_seed));
        let starts_block = self.rows.is_multiple_of(id_block::IDS_PER_BLOCK);
        if starts_block {
            self.id_offsets.put_count(self.id_blocks.len());
        }
        id_block::append(&mut self.id_blocks, if starts_block { &[] } else { &self.last_id }, id);
        if self.rows == 0 {
            self.first_id.extend_from_slice(id);
        }
        self.last_id.clear();
        self.last_id.extend_from_slice(id);
        if !payload.is_empty() {
            payload_block::append(&mut self.payload_plain, self.rows, payload);
            if self.payload_plain.len() >= payload_block::PLAIN_BYTES {
                self.end_payload_block();
            }
        }
        self.rows += 1;
        if self.rows.is_multiple_of(self.group_rows) {
            self.end_group();
        }
    }

    pub(super) fn rows(&self) -> u32 {
        self.rows
    }

    pub(super) fn dimension(&self) -> Dimension {
        self.dimension
    }

    fn end_group(&mut self) {
        self.checksums.push(std::mem::take(&mut self.group).finish());
    }

    fn end_payload_block(&mut self) {
        payload_block::store(&mut self.payload_blocks, &self.payload_plain).encode(&mut self.payload_index);
        // A huge document must not keep its room for the rest of the segment.
        self.payload_plain.clear();
        self.payload_plain.shrink_to(4 * payload_block::PLAIN_BYTES);
    }

    /// About the bytes that it would occupy if it ended now.
    pub(super) fn bytes(&self) -> u64 {
        let rows = u64::from(self.rows) * self.dimension.stride() as u64;
        let hash = u64::from(id_hash::bucket_count(self.rows)) * id_hash::BUCKET_BYTES as u64;
        let kept = [&self.ordinals, &self.id_offsets, &self.id_blocks, &self.payload_index, &self.payload_blocks, &self.payload_plain];
        let codes = self.codes.as_ref().map_or(0, |open| (open.codes.upper.len() + open.codes.lower.len() + open.factors.len()) as u64);
        rows + codes + hash + kept.iter().map(|bytes| bytes.len() as u64).sum::<u64>() + self.checksums.len() as u64 * 4
    }

    /// Memory it takes: all but its rows, and the hash of its ids twice while it ends.
    pub(super) fn memory(&self) -> usize {
        let rows = self.rows as usize * self.dimension.stride();
        usize::try_from(self.bytes()).unwrap_or(usize::MAX).saturating_sub(rows) + self.hashes.len() * 8
    }

    /// Writes everything behind the rows.
    pub(super) fn write(mut self, output: &mut Output, max_sequence: Sequence) -> Result<BuiltSegment> {
        if !self.rows.is_multiple_of(self.group_rows) {
            self.end_group();
        }
        if !self.payload_plain.is_empty() {
            self.end_payload_block();
        }
        self.id_offsets.put_count(self.id_blocks.len());
        let stride = self.dimension.stride();
        let mut table = Table {
            start: self.start,
            checksums: std::mem::take(&mut self.checksums),
            sections: Vec::with_capacity(SectionKind::ALL.len()),
        };
        let len = u64::from(self.rows) * stride as u64;
        table.sections.push(Section { block_size: self.group_rows * stride as u32, offset: 0, len, first_checksum: 0 });
        // Before what single look-ups read, so that this stays close together at the end.
        let (Halves { upper, lower }, factors) = self.codes.take().map(|open| (open.codes, open.factors)).unwrap_or_default();
        for of_codes in [upper, factors, lower] {
            table.put(output, &of_codes)?;
        }
        table.put(output, &self.ordinals)?;
        table.put(output, &self.id_offsets)?;
        table.put(output, &self.id_blocks)?;
        table.put(output, &id_hash::encode(&std::mem::take(&mut self.hashes)))?;
        table.put(output, &self.payload_index)?;
        table.put(output, &self.payload_blocks)?;
        let (checksums, checksum_table_crc) = table.put_checksums(output)?;
        let mut sections = [Section::default(); SectionKind::ALL.len()];
        sections.iter_mut().zip(table.sections).for_each(|(slot, section)| *slot = section);
        let footer = SegmentFooter {
            id: self.id,
            dimension: self.dimension,
            rows: self.rows,
            max_sequence,
            hash_seed: self.hash_seed,
            checksums,
            checksum_table_crc,
            sections,
            unknown: Vec::new(),
        };
        let bytes = footer.encode();
        let (_, footer_crc) = bytes.last_chunk().map_or((0, 0), tail);
        output.put(&bytes)?;
        let len = output.position() - self.start;
        let Self { id, start, rows, first_id, last_id, .. } = self;
        Ok(BuiltSegment { id, offset: start, len, footer_crc, rows, first_id, last_id })
    }
}

/// The section table of a segment being ended.
struct Table {
    start: u64,
    checksums: Vec<u32>,
    sections: Vec<Section>,
}

impl Table {
    /// Writes the next section; one without content only keeps its place in the table.
    fn put(&mut self, output: &mut Output, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            self.sections.push(Section::default());
            return Ok(());
        }
        let first_checksum = self.checksums.len() as u32;
        self.checksums.extend(bytes.chunks(BLOCK_BYTES as usize).map(crc));
        self.put_section(output, bytes, BLOCK_BYTES, first_checksum)
    }

    /// Writes the checksums; their number and the CRC over them.
    fn put_checksums(&mut self, output: &mut Output) -> Result<(u32, u32)> {
        let mut bytes = Vec::with_capacity(self.checksums.len() * 4);
        self.checksums.iter().for_each(|&sum| bytes.put_u32(sum));
        self.put_section(output, &bytes, 0, 0)?;
        Ok((self.checksums.len() as u32, crc(&bytes)))
    }

    fn put_section(&mut self, output: &mut Output, bytes: &[u8], block_size: u32, first_checksum: u32) -> Result<()> {
        output.align(ALIGNMENT)?;
        let offset = output.position() - self.start;
        self.sections.push(Section { block_size, offset, len: bytes.len() as u64, first_checksum });
        output.put(bytes)
    }
}
