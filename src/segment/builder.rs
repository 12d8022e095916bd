use super::output::Output;
use super::reader::Segment;
use crate::error::{Error, Result};
use crate::format::identity::Identity;
use crate::format::kills::KillBlock;
use crate::format::names::segment_name;
use crate::format::segment::{BLOCK_BYTES, Section, SectionKind, SegmentFooter, group_rows};
use crate::format::segment_file::{FOOTER_ALIGN, FileFooter, KillPlace, PLACE_ALIGN, SegmentPlace};
use crate::format::{Crc, Put, crc, id_block, id_hash, payload_block};
use crate::io::WriteFile;
use crate::sync::Arc;
use crate::types::{Dimension, Ordinal, SegmentId, Sequence, check_id};

/// Bytes per read when a segment is copied.
const COPY_BYTES: u64 = 1 << 20;

/// Writes one segment file front to back.
///
/// Rows go to the file as they come. Kept in memory until their segment ends: its ids (prefix-compressed), 16 bytes a row
/// for ordinals and hashes, a checksum per row group, and its compressed payloads; at the end, for a moment, 19 bytes a row more for the
/// hash buckets. Beside that: one write buffer, and one payload block (16 KiB and the largest payload, twice while it is compressed).
/// Whoever bounds [`FileBuilder::segment_bytes`] therefore bounds the memory.
///
/// After an I/O error the file is of no use: every later call repeats the error.
pub(crate) struct FileBuilder {
    output: Output,
    footer: FileFooter,
    open: Option<OpenSegment>,
}

/// A segment that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuiltSegment {
    pub(crate) id: SegmentId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
    pub(crate) rows: u32,
    pub(crate) first_id: Vec<u8>,
    pub(crate) last_id: Vec<u8>,
}

/// A file that was written and synced; its name is not durable yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuiltFile {
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
    pub(crate) bytes_written: u64,
}

impl FileBuilder {
    /// Begins an empty file.
    pub(crate) fn new(file: Arc<dyn WriteFile>, identity: Identity) -> Result<Self> {
        let mut output = Output::new(file, segment_name(identity.number));
        output.put(&identity.encode())?;
        Ok(Self { output, footer: FileFooter { file: identity.file, ..FileFooter::default() }, open: None })
    }

    /// Begins a segment; the one before must have ended.
    pub(crate) fn begin(&mut self, id: SegmentId, dimension: Dimension, hash_seed: u64) -> Result<()> {
        self.align()?;
        self.open = Some(OpenSegment::new(id, dimension, hash_seed, self.output.position()));
        Ok(())
    }

    /// Adds a row: ids ascend strictly, `vector` is the dimension's f32s as they lie in memory, `payload` is encoded and may be empty.
    ///
    /// # Errors
    /// `InvalidArgument` without any effect if one of them is not so.
    pub(crate) fn add(&mut self, id: &[u8], vector: &[u8], ordinal: Ordinal, payload: &[u8]) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(no_segment)?;
        open.check(id, vector)?;
        self.output.put(vector)?;
        let padding = open.dimension.stride() - vector.len();
        self.output.put([0; 64].get(..padding).unwrap_or_default())?;
        open.add(id, vector, ordinal, payload);
        Ok(())
    }

    /// About how many bytes the open segment will occupy, so that callers can split; 0 without one.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, OpenSegment::bytes)
    }

    /// Ends the open segment, which has at least one row.
    pub(crate) fn end(&mut self, max_sequence: Sequence) -> Result<BuiltSegment> {
        let open = self.open.take().ok_or_else(no_segment)?;
        if open.rows == 0 {
            return Err(Error::invalid("a segment must have at least one row"));
        }
        let offset = open.start;
        let built = open.write(&mut self.output, max_sequence)?;
        debug_assert_eq!(built.offset + built.len, self.output.position());
        self.footer.segments.push(SegmentPlace { id: built.id, offset, len: built.len, footer_crc: built.footer_crc });
        Ok(built)
    }

    /// Copies a segment verbatim, its checksums included: damage stays as visible as it was.
    pub(crate) fn add_raw(&mut self, source: &Segment) -> Result<BuiltSegment> {
        self.align()?;
        let (offset, len) = (self.output.position(), source.bytes());
        let mut done = 0;
        while done < len {
            let part = COPY_BYTES.min(len - done);
            self.output.put(&source.file().read_range(source.offset() + done, part)?)?;
            done += part;
        }
        let footer_crc = source.footer_crc();
        self.footer.segments.push(SegmentPlace { id: source.id(), offset, len, footer_crc });
        let (first_id, last_id) = (source.first_id()?.to_vec(), source.last_id()?.to_vec());
        Ok(BuiltSegment { id: source.id(), offset, len, footer_crc, rows: source.rows(), first_id, last_id })
    }

    /// Writes the kill block of a segment, of this file or another.
    pub(crate) fn add_kills(&mut self, block: &KillBlock) -> Result<KillPlace> {
        self.align()?;
        let bytes = block.encode();
        let place = KillPlace { segment: block.segment, offset: self.output.position(), len: bytes.len() as u32, crc: crc(&bytes) };
        self.output.put(&bytes)?;
        self.footer.kills.push(place);
        Ok(place)
    }

    /// Makes what was added so far durable, so that [`FileBuilder::finish`] has little left to sync.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.output.sync()
    }

    /// Writes the file footer and makes all bytes durable.
    pub(crate) fn finish(mut self) -> Result<BuiltFile> {
        if self.open.is_some() {
            return Err(segment_open());
        }
        self.output.align(FOOTER_ALIGN)?;
        let bytes = self.footer.encode();
        let (_, footer_crc) = bytes.last_chunk::<16>().map_or(Ok((0, 0)), |tail| FileFooter::decode_tail(tail))?;
        self.output.put(&bytes)?;
        self.output.sync()?;
        let len = self.output.position();
        Ok(BuiltFile { len, footer_crc, bytes_written: len })
    }

    /// Name of the file in the database that it is written for.
    pub(crate) fn name(&self) -> &str {
        self.output.name()
    }

    fn align(&mut self) -> Result<()> {
        if self.open.is_some() {
            return Err(segment_open());
        }
        self.output.align(PLACE_ALIGN)
    }
}

fn no_segment() -> Error {
    Error::invalid("no segment was begun")
}

fn segment_open() -> Error {
    Error::invalid("a segment was begun and not ended")
}

/// What is known of a segment whose rows are being written.
struct OpenSegment {
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
}

impl OpenSegment {
    fn new(id: SegmentId, dimension: Dimension, hash_seed: u64, start: u64) -> Self {
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
        }
    }

    fn check(&self, id: &[u8], vector: &[u8]) -> Result<()> {
        check_id(id)?;
        if self.rows > 0 && id <= self.last_id.as_slice() {
            return Err(Error::invalid("ids of a segment must ascend strictly"));
        }
        if vector.len() != self.dimension.bytes() {
            return Err(Error::invalid(format!("{} bytes are no vector of dimension {}", vector.len(), self.dimension)));
        }
        // Half the rows that a u32 can count: their checksums, one a row at most and those of the other sections, fit one too.
        if self.rows >= u32::MAX / 2 || self.id_blocks.len() + 4 + id.len() > u32::MAX as usize {
            return Err(Error::invalid("the segment is full"));
        }
        Ok(())
    }

    fn add(&mut self, id: &[u8], vector: &[u8], ordinal: Ordinal, payload: &[u8]) {
        self.group.update(vector);
        let padding = self.dimension.stride() - vector.len();
        self.group.update([0; 64].get(..padding).unwrap_or_default());
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

    fn end_group(&mut self) {
        self.checksums.push(std::mem::take(&mut self.group).finish());
    }

    fn end_payload_block(&mut self) {
        payload_block::store(&mut self.payload_blocks, &self.payload_plain).encode(&mut self.payload_index);
        // A huge document must not keep its room for the rest of the segment.
        self.payload_plain.clear();
        self.payload_plain.shrink_to(4 * payload_block::PLAIN_BYTES);
    }

    fn bytes(&self) -> u64 {
        let rows = u64::from(self.rows) * self.dimension.stride() as u64;
        let hash = u64::from(id_hash::bucket_count(self.rows)) * id_hash::BUCKET_BYTES as u64;
        let kept = [&self.ordinals, &self.id_offsets, &self.id_blocks, &self.payload_index, &self.payload_blocks, &self.payload_plain];
        rows + hash + kept.iter().map(|bytes| bytes.len() as u64).sum::<u64>() + self.checksums.len() as u64 * 4
    }

    /// Writes everything behind the rows.
    fn write(mut self, output: &mut Output, max_sequence: Sequence) -> Result<BuiltSegment> {
        if !self.rows.is_multiple_of(self.group_rows) {
            self.end_group();
        }
        if !self.payload_plain.is_empty() {
            self.end_payload_block();
        }
        self.id_offsets.put_count(self.id_blocks.len());
        let stride = self.dimension.stride();
        let mut table = Table { start: self.start, checksums: std::mem::take(&mut self.checksums), sections: Vec::with_capacity(8) };
        let len = u64::from(self.rows) * stride as u64;
        table.sections.push(Section { block_size: self.group_rows * stride as u32, offset: 0, len, first_checksum: 0 });
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
        let (_, footer_crc) = bytes.last_chunk().map_or((0, 0), crate::format::segment::tail);
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
        output.align(crate::format::segment::ALIGNMENT)?;
        let offset = output.position() - self.start;
        self.sections.push(Section { block_size, offset, len: bytes.len() as u64, first_checksum });
        output.put(bytes)
    }
}
