//! What must hold within one manifest, whatever its bytes say.

use super::{CollectionEntry, FileEntry, KillEntry, LogEntry, Manifest, SegmentEntry};
use crate::error::{Error, Result};
use crate::format::log::FRAMES_START;
use crate::format::{identity, kills};

/// No counter comes this close to its end: only forged bytes hold such a number, and what counts on from it would overflow.
const ROOM: u64 = 1 << 32;
/// Segments and kill blocks start on multiples of this.
const ALIGN: u64 = 64;

impl Manifest {
    /// Numbers are unique and below the next one; what segments name is there.
    pub(super) fn check(&self) -> Result<()> {
        self.check_counters()?;
        self.check_files()?;
        ascending("collection ids", self.collections.iter().map(|collection| collection.id))?;
        for collection in &self.collections {
            self.check_collection(collection)?;
        }
        let segments = || self.collections.iter().flat_map(|collection| collection.runs.iter().flatten());
        unique("segment ids", segments().map(|segment| segment.id).collect())?;
        unique("collection names", self.collections.iter().map(|collection| collection.name.as_str()).collect())
    }

    fn check_counters(&self) -> Result<()> {
        let counters = [("number", self.number), ("flushed_through", self.flushed_through), ("next_file", self.next_file)];
        let all = counters.into_iter().chain([("next_segment", self.next_segment)]);
        if let Some((name, value)) = all.into_iter().find(|(_, value)| *value > u64::MAX - ROOM) {
            return Err(wrong(format!("{name} {value} is beyond anything that was ever counted")));
        }
        if self.next_collection == u32::MAX {
            return Err(wrong("no collection id is left"));
        }
        Ok(())
    }

    fn check_files(&self) -> Result<()> {
        ascending("file numbers", self.files.iter().map(|file| file.number))?;
        let numbers = self.files.iter().map(|file| file.number).chain(self.logs.iter().map(|log| log.number));
        unique("file numbers", numbers.clone().collect())?;
        if let Some(number) = numbers.into_iter().find(|&number| number == 0 || number >= self.next_file) {
            return Err(wrong(format!("file number {number} is not from 1 to below next_file {}", self.next_file)));
        }
        if self.files.iter().any(|file| file.origin_number == 0) {
            return Err(wrong("a segment file has origin number 0"));
        }
        self.logs.iter().try_for_each(LogEntry::check)
    }

    fn check_collection(&self, collection: &CollectionEntry) -> Result<()> {
        if collection.id == 0 || collection.id >= self.next_collection {
            return Err(wrong(format!("collection id {} is not from 1 to below next_collection {}", collection.id, self.next_collection)));
        }
        collection.runs.iter().flatten().try_for_each(|segment| self.check_segment(segment))
    }

    fn check_segment(&self, segment: &SegmentEntry) -> Result<()> {
        let SegmentEntry { id, rows, .. } = *segment;
        if id >= self.next_segment {
            return Err(wrong(format!("segment id {id} is not below next_segment {}", self.next_segment)));
        }
        if rows == 0 {
            return Err(wrong(format!("segment {id} has no rows")));
        }
        self.check_range(segment.file, segment.offset, segment.len).map_err(|reason| wrong(format!("segment {id} {reason}")))?;
        let Some(KillEntry { count, file, offset, len, .. }) = segment.kills else { return Ok(()) };
        if count > rows {
            return Err(wrong(format!("{count} rows of segment {id} are dead, but it has only {rows}")));
        }
        if u64::from(len) != kills::block_bytes(rows, count) {
            return Err(wrong(format!("the kill block of segment {id} cannot be {len} bytes long")));
        }
        self.check_range(file, offset, len.into()).map_err(|reason| wrong(format!("the kill block of segment {id} {reason}")))
    }

    fn check_range(&self, number: u64, offset: u64, len: u64) -> Result<(), String> {
        let file = self.file(number).ok_or_else(|| format!("stands in file {number}, which is not named"))?;
        let inside = offset >= identity::IDENTITY_BYTES as u64 && offset.checked_add(len).is_some_and(|end| end <= file.len);
        match inside && offset.is_multiple_of(ALIGN) {
            true => Ok(()),
            false => Err(format!("cannot stand at {offset} with {len} bytes in file {number} of {} bytes", file.len)),
        }
    }

    /// The entry of a segment file.
    pub(crate) fn file(&self, number: u64) -> Option<&FileEntry> {
        let index = self.files.binary_search_by_key(&number, |file| file.number).ok()?;
        self.files.get(index)
    }
}

impl LogEntry {
    fn check(&self) -> Result<()> {
        let Some(sealed) = self.sealed else { return Ok(()) };
        let possible = sealed.end >= FRAMES_START && sealed.end.is_multiple_of(8);
        if !possible || (sealed.end == FRAMES_START && sealed.chain != 0) {
            return Err(wrong(format!("log {} cannot end at {} with chain {:08x}", self.number, sealed.end, sealed.chain)));
        }
        Ok(())
    }
}

fn wrong(message: impl Into<String>) -> Error {
    Error::corruption(message)
}

fn ascending<T: Ord>(what: &str, values: impl Iterator<Item = T>) -> Result<()> {
    if values.is_sorted_by(|left, right| left < right) { Ok(()) } else { Err(wrong(format!("{what} do not ascend"))) }
}

fn unique<T: Ord>(what: &str, mut values: Vec<T>) -> Result<()> {
    values.sort_unstable();
    ascending(what, values.into_iter()).map_err(|_| wrong(format!("{what} are not unique")))
}
