use std::ops::Range;

use super::file::SegmentFile;
use crate::error::{Error, Result};
use crate::format::crc;
use crate::format::segment::{Section, SectionKind, SegmentFooter, u32_at};
use crate::io::{Bytes, bytes::prefetch};
use crate::options::ChecksumMode;
use crate::sync::{Arc, AtomicU64, OnceLock, Ordering};

/// The sections of a segment, of which no byte is handed out before its checksum was compared.
///
/// The small sections (all but rows, codes and payload blocks) are *resident*: slices of the mapping, or read whole on first use. Their blocks and
/// mapped rows are checked on first touch, with a bit per checksum; whatever is read anew into memory is checked every time. A mismatch is
/// not remembered, and concerns its block alone.
#[derive(Debug)]
pub(super) struct Sections {
    file: Arc<SegmentFile>,
    /// Of the segment, in the file.
    base: u64,
    footer: SegmentFooter,
    resident: [OnceLock<Bytes>; SectionKind::ALL.len()],
    /// Bit i mod 64 of word i div 64: checksum i was compared.
    touched: Box<[AtomicU64]>,
    /// For each section the checksums that were not compared yet: none left is known at a glance.
    untouched: [AtomicU64; SectionKind::ALL.len()],
    checks: ChecksumMode,
}

impl Sections {
    pub(super) fn new(file: Arc<SegmentFile>, base: u64, footer: SegmentFooter, checks: ChecksumMode) -> Result<Self> {
        let touched = (0..footer.checksums.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        let untouched = SectionKind::ALL.map(|kind| AtomicU64::new(footer.section(kind).blocks()));
        let sections = Self { file, base, footer, resident: Default::default(), touched, untouched, checks };
        if sections.file.is_mapped() {
            for kind in SectionKind::ALL.into_iter().filter(|&kind| kind != SectionKind::Checksums) {
                sections.resident(kind)?;
            }
        }
        Ok(sections)
    }

    pub(super) fn file(&self) -> &Arc<SegmentFile> {
        &self.file
    }

    #[inline]
    pub(super) fn footer(&self) -> &SegmentFooter {
        &self.footer
    }

    #[inline]
    pub(super) fn section(&self, kind: SectionKind) -> &Section {
        self.footer.section(kind)
    }

    /// Checked bytes of a resident section.
    #[inline]
    pub(super) fn slice(&self, kind: SectionKind, start: u64, len: u64) -> Result<&[u8]> {
        let bytes = self.resident(kind)?;
        self.check(kind, bytes, start, len)?;
        bytes.get(start as usize..(start + len) as usize).ok_or_else(|| self.outside(kind, start))
    }

    /// Checked bytes of any section, to keep: a slice of the mapping, or a copy.
    #[inline]
    pub(super) fn fetch(&self, kind: SectionKind, start: u64, len: u64) -> Result<Bytes> {
        if !self.file.is_mapped() {
            return self.fetch_copy(kind, start, len);
        }
        let bytes = self.resident(kind)?;
        self.check(kind, bytes, start, len)?;
        bytes.slice(start as usize, len as usize).ok_or_else(|| self.outside(kind, start))
    }

    #[inline]
    pub(super) fn is_mapped(&self) -> bool {
        self.file.is_mapped()
    }

    /// Bytes of a section in memory that were checked before.
    #[inline]
    pub(super) fn unchecked(&self, kind: SectionKind, start: usize, len: usize) -> Option<&[u8]> {
        self.resident.get(kind as usize)?.get()?.get(start..start + len)
    }

    /// Has bytes that will be asked for soon brought near.
    #[inline]
    pub(super) fn prefetch_range(&self, kind: SectionKind, start: u64, len: u64) {
        if let Some(bytes) = self.resident.get(kind as usize).and_then(OnceLock::get) {
            prefetch(bytes.get(start as usize..).unwrap_or_default(), len as usize);
        }
    }

    /// Reads the blocks around the wanted bytes and checks them all.
    fn fetch_copy(&self, kind: SectionKind, start: u64, len: u64) -> Result<Bytes> {
        let section = self.section(kind);
        let block_size = u64::from(section.block_size).max(1);
        let end = start.checked_add(len).filter(|&end| end <= section.len).ok_or_else(|| self.outside(kind, start))?;
        let (from, to) = (start / block_size * block_size, end.next_multiple_of(block_size).min(section.len));
        let bytes = self.file.read_range(self.base + section.offset + from, to - from)?;
        for (block, stored) in (from / block_size..).zip(bytes.chunks(block_size as usize)) {
            self.compare(kind, section, block, stored)?;
        }
        bytes.slice((start - from) as usize, len as usize).ok_or_else(|| self.outside(kind, start))
    }

    /// All bytes of a section, not checked yet.
    #[inline]
    fn resident(&self, kind: SectionKind) -> Result<&Bytes> {
        let Some(slot) = self.resident.get(kind as usize) else { return Err(self.outside(kind, 0)) };
        match slot.get() {
            Some(bytes) => Ok(bytes),
            None => {
                let section = self.section(kind);
                let bytes = self.file.read_range(self.base + section.offset, section.len)?;
                Ok(slot.get_or_init(|| bytes))
            }
        }
    }

    /// Compares the checksums of the blocks that hold a range, as far as that was not done. `bytes` is the whole section.
    #[inline]
    fn check(&self, kind: SectionKind, bytes: &[u8], start: u64, len: u64) -> Result<()> {
        let section = self.section(kind);
        let end = start.checked_add(len).filter(|&end| len > 0 && end <= section.len).ok_or_else(|| self.outside(kind, start))?;
        if self.is_wholly_touched(kind) { Ok(()) } else { self.check_blocks(kind, bytes, start..end) }
    }

    fn check_blocks(&self, kind: SectionKind, bytes: &[u8], range: Range<u64>) -> Result<()> {
        let section = self.section(kind);
        let block_size = u64::from(section.block_size).max(1);
        for block in range.start / block_size..=(range.end - 1) / block_size {
            if self.is_touched(section, block) {
                continue;
            }
            let offset = block * block_size;
            let stored = bytes.get(offset as usize..(offset + block_size).min(section.len) as usize);
            let stored = stored.ok_or_else(|| self.outside(kind, offset))?;
            self.compare(kind, section, block, stored)?;
            self.touch(kind, block);
        }
        Ok(())
    }

    #[inline]
    fn is_wholly_touched(&self, kind: SectionKind) -> bool {
        let untouched = self.untouched.get(kind as usize).map_or(1, |count| count.load(Ordering::Relaxed));
        self.checks == ChecksumMode::FirstTouch && untouched == 0
    }

    #[inline]
    fn is_touched(&self, section: &Section, block: u64) -> bool {
        let index = u64::from(section.first_checksum) + block;
        // Nothing is published by the bit: the bytes never change.
        let word = self.touched.get((index / 64) as usize).map_or(0, |word| word.load(Ordering::Relaxed));
        self.checks == ChecksumMode::FirstTouch && word >> (index % 64) & 1 == 1
    }

    #[cold]
    fn touch(&self, kind: SectionKind, block: u64) {
        let index = u64::from(self.section(kind).first_checksum) + block;
        let (Some(word), Some(untouched)) = (self.touched.get((index / 64) as usize), self.untouched.get(kind as usize)) else { return };
        let bit = 1 << (index % 64);
        if word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            untouched.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn compare(&self, kind: SectionKind, section: &Section, block: u64, stored: &[u8]) -> Result<()> {
        let index = u64::from(section.first_checksum) + block;
        let wanted = u32_at(self.table()?, index as usize);
        if wanted == Some(crc(stored)) {
            return Ok(());
        }
        let offset = block * u64::from(section.block_size);
        Err(self.damaged(kind, offset, &format!("checksum of {} bytes in section '{}' does not match", stored.len(), kind.name())))
    }

    /// The checksums themselves; resident once their own checksum was compared.
    fn table(&self) -> Result<&Bytes> {
        let kind = SectionKind::Checksums;
        let Some(slot) = self.resident.get(kind as usize) else { return Err(self.outside(kind, 0)) };
        match slot.get() {
            Some(table) => Ok(table),
            None => {
                let table = self.read_table()?;
                Ok(slot.get_or_init(|| table))
            }
        }
    }

    /// Reads and checks the checksums.
    pub(super) fn read_table(&self) -> Result<Bytes> {
        let section = self.section(SectionKind::Checksums);
        let table = self.file.read_range(self.base + section.offset, section.len)?;
        if crc(&table) != self.footer.checksum_table_crc {
            return Err(self.damaged(SectionKind::Checksums, 0, "checksum of the checksum table does not match"));
        }
        Ok(table)
    }

    /// Gives an error about something in a section its file and offset; `start` is where that something starts.
    #[cold]
    pub(super) fn locate(&self, kind: SectionKind, start: u64, error: Error) -> Error {
        let offset = self.base.saturating_add(self.section(kind).offset).saturating_add(start);
        error.shifted(offset).at(offset).in_file(self.file.name())
    }

    #[cold]
    pub(super) fn damaged(&self, kind: SectionKind, start: u64, what: &str) -> Error {
        self.locate(kind, start, Error::corruption(what))
    }

    #[cold]
    fn outside(&self, kind: SectionKind, start: u64) -> Error {
        let what = format!("something beyond the {} bytes of section '{}' was pointed to", self.section(kind).len, kind.name());
        self.damaged(kind, start.min(self.section(kind).len), &what)
    }
}
