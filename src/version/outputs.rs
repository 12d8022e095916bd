use super::{Finished, LiveSegment, NamedFile, OutputFile, Shared};
use crate::{
    error::Result,
    format::names::segment_name,
    sync::Arc,
    types::{Codes, Dimension, SegmentId, Sequence},
};

/// Files that wait for their sync at most, each with a descriptor. The device has been at work on the oldest for longest.
const UNSYNCED_MAX: usize = 16;

/// The files that a flush or compaction writes. Dropped before they are published, they are removed.
///
/// A segment of a grain ([`crate::Options::grain`]) or more has a file to itself, so that its room is free as soon as it is merged away; smaller
/// ones share files.
pub(crate) struct Outputs<'a> {
    shared: &'a Shared,
    open: Option<OutputFile<'a>>,
    finished: Vec<Finished>,
    /// Bytes that space accounting knows of.
    counted: u64,
    published: bool,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(shared: &'a Shared) -> Self {
        Self { shared, open: None, finished: Vec::new(), counted: 0, published: false }
    }

    /// The file that the next segment or kill block goes into.
    pub(crate) fn file(&mut self) -> Result<&mut OutputFile<'a>> {
        match &mut self.open {
            Some(file) => Ok(file),
            none => Ok(none.insert(OutputFile::create(self.shared)?)),
        }
    }

    pub(crate) fn begin_segment(&mut self, dimension: Dimension, codes: Codes) -> Result<SegmentId> {
        self.file()?.begin(dimension, codes)
    }

    /// Ends a segment; ends its file too once that is large enough.
    pub(crate) fn end_segment(&mut self, dimension: Dimension, max_sequence: Sequence) -> Result<()> {
        self.file()?.end(dimension, max_sequence)?;
        self.end_file_if_large()
    }

    /// Copies a whole segment as it is.
    pub(crate) fn add_raw(&mut self, live: &LiveSegment, dimension: Dimension) -> Result<()> {
        self.file()?.add_raw(live, dimension)?;
        self.end_file_if_large()
    }

    fn end_file_if_large(&mut self) -> Result<()> {
        let bytes = self.finished.iter().map(|finished| finished.bytes).sum::<u64>() + self.open.as_ref().map_or(0, OutputFile::bytes);
        self.shared.add_unpublished(bytes.saturating_sub(self.counted));
        self.counted = self.counted.max(bytes);
        if self.open.as_ref().is_some_and(|file| file.bytes() >= self.shared.options.grain()) { self.finish_file() } else { Ok(()) }
    }

    pub(crate) fn finish_file(&mut self) -> Result<()> {
        if let Some(file) = self.open.take() {
            self.finished.push(file.finish()?);
        }
        let unsynced = self.finished.iter().filter(|finished| !finished.is_synced()).count();
        if unsynced > UNSYNCED_MAX
            && let Some(oldest) = self.finished.iter_mut().find(|finished| !finished.is_synced())
        {
            oldest.durable(self.shared)?;
        }
        Ok(())
    }

    /// Ends the last file; without anything in it that counts, it is removed instead.
    pub(crate) fn finish_file_if(&mut self, needed: bool) -> Result<()> {
        if needed {
            return self.finish_file();
        }
        self.open = None;
        Ok(())
    }

    /// Memory that an open segment may take before it should end.
    pub(crate) fn memory_budget(&self) -> usize {
        self.shared.options.merge_memory()
    }

    /// All segments built so far in finished files, in the order in which they were built.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.finished.iter().flat_map(|finished| &finished.segments)
    }

    /// The finished files, all synced: what a manifest may name.
    pub(crate) fn durable(&mut self) -> Result<Vec<NamedFile>> {
        self.finished.iter_mut().map(|finished| finished.durable(self.shared)).collect()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.finished.iter().map(|finished| finished.bytes).sum()
    }

    /// From here on a manifest may name the files.
    pub(crate) fn published(&mut self) {
        self.published = true;
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        self.shared.take_unpublished(self.counted);
        if !self.published {
            for finished in &self.finished {
                self.shared.discard(segment_name(finished.number()));
            }
        }
    }
}
