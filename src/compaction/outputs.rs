use crate::{
    error::Result,
    format::names::segment_name,
    sync::Arc,
    types::{CollectionId, Dimension, SegmentId},
    version::{Finished, LiveSegment, OutputFile, Shared},
};

/// Rows of one collection that were copied into new segments.
pub(crate) struct Part {
    pub(crate) collection: CollectionId,
    /// Segments with the rows taken from each.
    pub(crate) inputs: Vec<(Arc<LiveSegment>, std::ops::Range<u32>)>,
    pub(crate) into_run_of: Option<SegmentId>,
    /// Segments that were built for it: a part may take any number.
    pub(crate) built: Vec<SegmentId>,
    /// The same, open, once their files are finished. Ascending, disjoint.
    pub(crate) outputs: Vec<Arc<LiveSegment>>,
}

/// The files a compaction writes. Dropped before they are published, they are removed.
pub(crate) struct Outputs<'a> {
    shared: &'a Shared,
    open: Option<OutputFile<'a>>,
    finished: Vec<Finished>,
    /// Bytes at which a file ends.
    file_bytes: u64,
    published: bool,
}

impl<'a> Outputs<'a> {
    pub(crate) fn new(shared: &'a Shared, file_bytes: u64) -> Self {
        Self { shared, open: None, finished: Vec::new(), file_bytes, published: false }
    }

    /// The file that the next segment goes into.
    pub(crate) fn file(&mut self) -> Result<&mut OutputFile<'a>> {
        if self.open.is_none() {
            self.open = Some(OutputFile::create(self.shared)?);
        }
        self.open.as_mut().ok_or_else(|| crate::Error::invalid("no output file is open"))
    }

    /// Ends a segment and tells its id; ends its file too once that is large enough.
    pub(crate) fn end_segment(&mut self, dimension: Dimension, max_sequence: u64) -> Result<SegmentId> {
        let limit = self.file_bytes;
        let file = self.file()?;
        let id = file.end(dimension, max_sequence)?;
        if file.bytes() >= limit {
            self.finish_file()?;
        }
        Ok(id)
    }

    pub(crate) fn finish_file(&mut self) -> Result<()> {
        if let Some(file) = self.open.take() {
            let finished = file.finish()?;
            self.shared.add_unpublished(finished.named.entry.len);
            self.finished.push(finished);
        }
        Ok(())
    }

    /// All segments built so far in finished files, in the order in which they were built.
    pub(crate) fn segments(&self) -> impl Iterator<Item = &Arc<LiveSegment>> {
        self.finished.iter().flat_map(|finished| &finished.segments)
    }

    pub(crate) fn finished(&self) -> &[Finished] {
        &self.finished
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.finished.iter().map(|finished| finished.bytes).sum()
    }

    /// From here on a manifest names the files.
    pub(crate) fn published(&mut self) {
        self.published = true;
    }
}

impl Drop for Outputs<'_> {
    fn drop(&mut self) {
        self.shared.take_unpublished(self.finished.iter().map(|finished| finished.named.entry.len).sum());
        if !self.published {
            for finished in &self.finished {
                // Best effort: what stays is an orphan that the next open collects.
                let _orphan = self.shared.storage.remove(&segment_name(finished.named.entry.number));
            }
        }
    }
}
