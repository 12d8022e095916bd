use super::open_segment::OpenSegment;
use super::output::{Output, Unsynced};
use super::reader::Segment;
use crate::error::{Error, Result};
use crate::format::crc;
use crate::format::identity::Identity;
use crate::format::kills::KillBlock;
use crate::format::names::segment_name;
use crate::format::segment_file::{FOOTER_ALIGN, FileFooter, KillPlace, PLACE_ALIGN, SegmentPlace};
use crate::io::{WriteFile, pipeline::Pipeline};
use crate::sync::Arc;
use crate::types::{Codes, Dimension, Ordinal, SegmentId, Sequence};

/// Bytes per read when a segment is copied.
const COPY_BYTES: u64 = 1 << 20;

/// Writes one segment file front to back.
///
/// Rows go to the file as they come. Kept in memory until their segment ends: its ids (prefix-compressed), 16 bytes a row
/// for ordinals and hashes, a checksum per row group, and its compressed payloads; at the end, for a moment, 19 bytes a row more for the
/// hash buckets. With codes these too: a byte an element, and 10 bytes a row. Beside that: one write buffer (four with a pipeline), and one payload block (16 KiB and the largest payload, twice while it is compressed).
/// [`FileBuilder::size`] tells how much it is.
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

/// A file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BuiltFile {
    pub(crate) len: u64,
    pub(crate) footer_crc: u32,
    pub(crate) bytes_written: u64,
}

impl FileBuilder {
    /// Begins an empty file, written by this thread or through a pipeline.
    pub(crate) fn new(file: Arc<dyn WriteFile>, pipeline: Option<Arc<Pipeline>>, identity: Identity) -> Result<Self> {
        let mut output = Output::new(file, pipeline, segment_name(identity.number));
        output.put(&identity.encode())?;
        Ok(Self { output, footer: FileFooter { file: identity.file, ..FileFooter::default() }, open: None })
    }

    /// Begins a segment; the one before must have ended.
    pub(crate) fn begin(&mut self, id: SegmentId, dimension: Dimension, hash_seed: u64, codes: Codes) -> Result<()> {
        self.align()?;
        self.open = Some(OpenSegment::new(id, dimension, hash_seed, self.output.position(), codes));
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
        let padding = open.dimension().stride() - vector.len();
        self.output.put([0; 64].get(..padding).unwrap_or_default())?;
        open.add(id, vector, ordinal, payload);
        Ok(())
    }

    /// About how many bytes the open segment will occupy, so that callers can split; 0 without one.
    pub(crate) fn segment_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, OpenSegment::bytes)
    }

    /// [`Self::segment_bytes`], and the memory that it takes meanwhile.
    pub(crate) fn size(&self) -> (u64, usize) {
        self.open.as_ref().map_or((0, 0), |open| (open.bytes(), open.memory()))
    }

    /// Ends the open segment, which has at least one row.
    pub(crate) fn end(&mut self, max_sequence: Sequence) -> Result<BuiltSegment> {
        let open = self.open.take().ok_or_else(no_segment)?;
        if open.rows() == 0 {
            return Err(Error::invalid("a segment must have at least one row"));
        }
        let built = open.write(&mut self.output, max_sequence)?;
        debug_assert_eq!(built.offset + built.len, self.output.position());
        self.footer.segments.push(SegmentPlace { id: built.id, offset: built.offset, len: built.len, footer_crc: built.footer_crc });
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

    /// Writes the file footer. Nothing is durable before what is returned was synced.
    pub(crate) fn finish(mut self) -> Result<(BuiltFile, Unsynced)> {
        if self.open.is_some() {
            return Err(segment_open());
        }
        self.output.align(FOOTER_ALIGN)?;
        let bytes = self.footer.encode();
        let (_, footer_crc) = bytes.last_chunk::<16>().map_or(Ok((0, 0)), |tail| FileFooter::decode_tail(tail))?;
        self.output.put(&bytes)?;
        let len = self.output.position();
        let unsynced = self.output.finish()?;
        Ok((BuiltFile { len, footer_crc, bytes_written: len }, unsynced))
    }

    /// Name of the file in the database that it is written for.
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
