use super::{LiveSegment, NamedFile, Pending, Shared};
use crate::{
    error::{Error, Result},
    format::{
        identity::{FileKind, Identity},
        manifest::{FileEntry, SegmentEntry},
        names::segment_name,
    },
    io::pipeline::Pipeline,
    segment::{BuiltSegment, FileBuilder, KillSet, Segment, SegmentFile, Unsynced},
    sync::Arc,
    types::{Codes, Dimension, FileId, FileNumber, SegmentId},
};

/// A segment file being written by a flush, a compaction or a bulk load. Dropping it unfinished removes it.
pub(crate) struct OutputFile<'a> {
    shared: &'a Shared,
    number: FileNumber,
    id: FileId,
    pub(crate) builder: Option<FileBuilder>,
    segments: Vec<(BuiltSegment, Dimension)>,
    finished: bool,
}

impl<'a> OutputFile<'a> {
    pub(crate) fn create(shared: &'a Shared) -> Result<Self> {
        Self::create_through(shared, None)
    }

    /// A file that another thread writes.
    pub(crate) fn create_through(shared: &'a Shared, pipeline: Option<Arc<Pipeline>>) -> Result<Self> {
        // Once the database was closed the directory may be somebody else's.
        shared.check_healthy()?;
        let (number, id) = (shared.next_file(), shared.random_id()?);
        let name = segment_name(number);
        let identity = Identity { kind: FileKind::Segment, database: shared.database, number, file: id };
        let file = shared.storage.create(&name).map_err(|source| Error::io(format_args!("create {name}"), source).in_file(name))?;
        let mut output = Self { shared, number, id, builder: None, segments: Vec::new(), finished: false };
        output.builder = Some(FileBuilder::new(file, pipeline, identity).map_err(|error| error.in_file(output.name()))?);
        Ok(output)
    }

    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    pub(crate) fn name(&self) -> String {
        segment_name(self.number)
    }

    /// The builder; it is there until the file is finished.
    pub(crate) fn builder(&mut self) -> Result<&mut FileBuilder> {
        self.builder.as_mut().ok_or_else(|| Error::invalid("this output file is finished"))
    }

    /// Starts a segment with a hash seed of its own.
    pub(crate) fn begin(&mut self, dimension: Dimension, codes: Codes) -> Result<SegmentId> {
        let mut seed = [0; 8];
        self.shared.storage.environment().random.fill(&mut seed).map_err(|source| Error::io("draw a random number", source))?;
        let id = self.shared.next_segment();
        self.builder()?.begin(id, dimension, u64::from_le_bytes(seed), codes)?;
        Ok(id)
    }

    pub(crate) fn end(&mut self, dimension: Dimension, max_sequence: u64) -> Result<()> {
        let built = self.builder()?.end(max_sequence)?;
        self.segments.push((built, dimension));
        Ok(())
    }

    /// Copies a whole segment as it is.
    pub(crate) fn add_raw(&mut self, live: &LiveSegment, dimension: Dimension) -> Result<()> {
        let built = self.builder()?.add_raw(&live.segment)?;
        self.segments.push((built, dimension));
        Ok(())
    }

    /// Bytes written so far, without open segment and footer.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|(built, _)| built.len).sum()
    }

    /// Writes the footer and opens what was written.
    pub(crate) fn finish(mut self) -> Result<Finished> {
        let Some(builder) = self.builder.take() else { return Err(Error::invalid("this output file is finished")) };
        let (built, unsynced) = builder.finish().map_err(|error| error.in_file(self.name()))?;
        let entry = FileEntry {
            number: self.number,
            origin_database: self.shared.database,
            origin_number: self.number,
            file: self.id,
            len: built.len,
            footer_crc: built.footer_crc,
        };
        let options = &self.shared.options;
        let file = SegmentFile::open(&*self.shared.storage, &entry, options.read_mode)?;
        let open = |(built, dimension): &(BuiltSegment, Dimension)| {
            let entry = SegmentEntry {
                id: built.id,
                file: self.number,
                offset: built.offset,
                len: built.len,
                footer_crc: built.footer_crc,
                rows: built.rows,
                kills: None,
            };
            let segment = Segment::open(Arc::clone(&file), &entry, *dimension, options.checksum_mode)?;
            let kills = Arc::new(KillSet::empty(built.rows));
            Ok(Arc::new(LiveSegment::new(segment, entry, kills, Arc::new(Pending::default()))))
        };
        let segments = self.segments.iter().map(open).collect::<Result<Vec<_>>>()?;
        self.finished = true;
        Ok(Finished { named: NamedFile { entry, file }, synced: Synced::Due(unsynced), segments, bytes: built.bytes_written })
    }
}

impl Drop for OutputFile<'_> {
    fn drop(&mut self) {
        if !self.finished {
            self.shared.discard(segment_name(self.number));
        }
    }
}

/// A complete segment file that no manifest names yet.
pub(crate) struct Finished {
    named: NamedFile,
    synced: Synced,
    /// In the order in which they were built.
    pub(crate) segments: Vec<Arc<LiveSegment>>,
    pub(crate) bytes: u64,
}

enum Synced {
    Due(Unsynced),
    Done,
    /// It is never tried again.
    Failed(Error),
}

impl Finished {
    pub(crate) fn number(&self) -> FileNumber {
        self.named.entry.number
    }

    pub(crate) fn is_synced(&self) -> bool {
        matches!(self.synced, Synced::Done)
    }

    /// What a manifest may name: the file, synced if it was not.
    pub(crate) fn durable(&mut self, shared: &Shared) -> Result<NamedFile> {
        if let Synced::Due(unsynced) = &self.synced {
            self.synced = match unsynced.sync() {
                Ok(()) => Synced::Done,
                Err(error) => Synced::Failed(shared.stopped_by_sync(error.in_file(segment_name(self.number())))),
            };
        }
        match &self.synced {
            Synced::Failed(error) => Err(error.clone()),
            _ => Ok(self.named.clone()),
        }
    }
}
