use std::ops::Range;

use super::cursor::Cursor;
use super::file::SegmentFile;
use super::sections::Sections;
use crate::error::{Error, Result};
use crate::format::manifest::SegmentEntry;
use crate::format::segment::{ALIGNMENT, SectionKind, SegmentFooter, TAIL_BYTES, tail, u64_at};
use crate::format::segment_file::SegmentPlace;
use crate::io::Bytes;
use crate::options::ChecksumMode;
use crate::sync::{Arc, OnceLock};
use crate::types::{Dimension, Ordinal, SegmentId, Sequence};

/// One segment, open for reading; shared by `Arc`.
///
/// Rows are numbered from 0 in ascending order of their ids. A damaged block is an error of those reads that need it, each time, and of
/// no others.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(super) sections: Sections,
    place: SegmentPlace,
    first_id: OnceLock<Box<[u8]>>,
    last_id: OnceLock<Box<[u8]>>,
}

/// Insertion ordinals, as they are stored.
pub(crate) struct StoredOrdinals(Bytes);

impl StoredOrdinals {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Ordinal> {
        let (words, _) = self.0.as_chunks::<8>();
        words.iter().map(|word| Ordinal::from_le_bytes(*word))
    }
}

impl Segment {
    /// Opens the segment of an entry of the manifest and reads its footer, nothing else.
    pub(crate) fn open(file: Arc<SegmentFile>, entry: &SegmentEntry, dimension: Dimension, checks: ChecksumMode) -> Result<Arc<Self>> {
        let place = SegmentPlace { id: entry.id, offset: entry.offset, len: entry.len, footer_crc: entry.footer_crc };
        let segment = Self::open_place(file, &place, checks)?;
        let (own, rows) = (segment.dimension(), segment.rows());
        if own == dimension && rows == entry.rows {
            return Ok(segment);
        }
        let message = format!("segment {} has {rows} rows of dimension {own}, the manifest says {} of {dimension}", entry.id, entry.rows);
        Err(Error::corruption(message).at(entry.offset).in_file(segment.file().name()))
    }

    /// Opens what the file's own footer lists.
    pub(crate) fn open_place(file: Arc<SegmentFile>, place: &SegmentPlace, checks: ChecksumMode) -> Result<Arc<Self>> {
        let footer = read_footer(&file, place)?;
        let sections = Sections::new(file, place.offset, footer, checks)?;
        Ok(Arc::new(Self { sections, place: *place, first_id: OnceLock::new(), last_id: OnceLock::new() }))
    }

    /// Its name for ever, in whichever file it stands.
    pub(crate) fn id(&self) -> SegmentId {
        self.place.id
    }

    /// Number of rows, dead or alive; at least one.
    #[inline]
    pub(crate) fn rows(&self) -> u32 {
        self.footer().rows
    }

    /// Of its collection.
    #[inline]
    pub(crate) fn dimension(&self) -> Dimension {
        self.footer().dimension
    }

    /// The highest sequence of its rows.
    pub(crate) fn max_sequence(&self) -> Sequence {
        self.footer().max_sequence
    }

    /// Length in its file.
    pub(crate) fn bytes(&self) -> u64 {
        self.place.len
    }

    /// Where it stands in its file.
    pub(crate) fn offset(&self) -> u64 {
        self.place.offset
    }

    /// CRC of its footer: by the footer's table, that of everything in it.
    pub(crate) fn footer_crc(&self) -> u32 {
        self.place.footer_crc
    }

    /// The file that it stands in.
    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        self.sections.file()
    }

    /// Its smallest id; kept once read.
    pub(crate) fn first_id(&self) -> Result<&[u8]> {
        self.kept_id(&self.first_id, 0)
    }

    /// Its greatest id; kept once read.
    pub(crate) fn last_id(&self) -> Result<&[u8]> {
        self.kept_id(&self.last_id, self.rows().saturating_sub(1))
    }

    fn kept_id<'a>(&self, kept: &'a OnceLock<Box<[u8]>>, row: u32) -> Result<&'a [u8]> {
        if let Some(id) = kept.get() {
            return Ok(id);
        }
        let mut id = Vec::new();
        self.id_of(row, &mut id)?;
        Ok(kept.get_or_init(|| id.into_boxed_slice()))
    }

    /// Insertion ordinal of a row.
    pub(crate) fn ordinal(&self, row: u32) -> Result<Ordinal> {
        let start = u64::from(row) * 8;
        let bytes = self.sections.slice(SectionKind::Ordinals, start, 8)?;
        u64_at(bytes, 0).ok_or_else(|| self.sections.damaged(SectionKind::Ordinals, start, "ordinal cut short"))
    }

    /// Insertion ordinals of consecutive rows.
    pub(crate) fn ordinals(&self, rows: Range<u32>) -> Result<StoredOrdinals> {
        let (start, len) = (u64::from(rows.start) * 8, u64::from(rows.end.saturating_sub(rows.start)) * 8);
        self.sections.fetch(SectionKind::Ordinals, start, len).map(StoredOrdinals)
    }

    /// Walks the rows from `start_row` on.
    pub(crate) fn cursor(self: &Arc<Self>, start_row: u32) -> Cursor {
        Cursor::new(Arc::clone(self), start_row)
    }

    pub(super) fn footer(&self) -> &SegmentFooter {
        self.sections.footer()
    }

    pub(super) fn place(&self) -> &SegmentPlace {
        &self.place
    }
}

/// Reads and checks the footer of the segment that stands at a place.
pub(super) fn read_footer(file: &SegmentFile, place: &SegmentPlace) -> Result<SegmentFooter> {
    let &SegmentPlace { id, offset, len, footer_crc } = place;
    let refuse = |what: String, at: u64| Err(Error::corruption(what).at(at).in_file(file.name()));
    let end = offset.checked_add(len).filter(|&end| end <= file.footer_offset());
    let tail_offset = end.and_then(|end| end.checked_sub(TAIL_BYTES as u64)).filter(|&at| at >= offset && offset.is_multiple_of(ALIGNMENT));
    let Some(tail_offset) = tail_offset else {
        return refuse(format!("a segment of {len} bytes cannot stand here"), offset);
    };
    let tail_bytes = file.read_range(tail_offset, TAIL_BYTES as u64)?;
    let (footer_len, sum) = tail_bytes.first_chunk().map_or((0, 0), tail);
    if sum != footer_crc {
        return refuse(format!("not segment {id}: its footer has another checksum"), tail_offset + 4);
    }
    if u64::from(footer_len) > len {
        return refuse(format!("segment {id} has a footer longer than itself"), tail_offset);
    }
    let footer_offset = offset + len - u64::from(footer_len);
    let bytes = file.read_range(footer_offset, footer_len.into())?;
    let footer = SegmentFooter::decode(&bytes, len).map_err(|error| error.shifted(footer_offset).at(footer_offset).in_file(file.name()))?;
    if footer.id != id {
        return refuse(format!("segment {} stands here, not {id}", footer.id), footer_offset + 8);
    }
    Ok(footer)
}
