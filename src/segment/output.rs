use crate::error::{Error, Result};
use crate::io::{WriteFile, pipeline::Pipeline};
use crate::sync::Arc;

/// Bytes per write, each at a multiple of them: file systems that keep what is written at once in one piece of memory (ext4 since Linux 6.16,
/// XFS) can then map it by huge pages, and random reads of it do not wait for the page table as well.
const CHUNK_BYTES: usize = 2 << 20;

/// Sequential bytes of a new file, gathered into large writes.
///
/// The first error stays: what the file holds behind it is unknown, so that only removing the file is left.
pub(super) struct Output {
    file: Arc<dyn WriteFile>,
    /// Another thread that does the writes.
    pipeline: Option<Arc<Pipeline>>,
    name: String,
    buffer: Vec<u8>,
    written: u64,
    broken: Option<Error>,
}

/// A file that was written and may not be durable yet. Kept apart from the writing, so that several files are on their way to the device while
/// the next one is written, and the syncs at the end find little to do.
pub(crate) struct Unsynced {
    file: Arc<dyn WriteFile>,
    name: String,
}

impl Unsynced {
    /// Makes the bytes durable, but not the file's name.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_data().map_err(|source| Error::io(format_args!("sync {}", self.name), source).of_sync())
    }
}

impl Output {
    pub(super) fn new(file: Arc<dyn WriteFile>, pipeline: Option<Arc<Pipeline>>, name: String) -> Self {
        Self { file, pipeline, name, buffer: Vec::with_capacity(CHUNK_BYTES), written: 0, broken: None }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    pub(super) fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.check()?;
        while self.buffer.len() + bytes.len() >= CHUNK_BYTES {
            let room = CHUNK_BYTES - self.buffer.len();
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            self.flush()?;
            bytes = later;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Puts zeros up to the next multiple.
    pub(super) fn align(&mut self, to: u64) -> Result<()> {
        let zeros = self.position().next_multiple_of(to) - self.position();
        debug_assert!(zeros < 64, "no structure of the format is aligned further");
        self.put([0; 64].get(..zeros as usize).unwrap_or_default())
    }

    fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let len = self.buffer.len() as u64;
        let result = match &self.pipeline {
            Some(pipeline) => {
                let written = pipeline.write(&self.file, self.written, std::mem::take(&mut self.buffer));
                written.map(|empty| self.buffer = empty)
            }
            None => self.file.write_at(self.written, &self.buffer).map(|()| {
                self.file.write_behind(self.written, len);
                self.buffer.clear();
            }),
        };
        self.note("write", result)?;
        self.written += len;
        self.buffer.reserve(CHUNK_BYTES);
        Ok(())
    }

    /// Hands the last bytes to the operating system.
    pub(super) fn finish(mut self) -> Result<Unsynced> {
        self.check()?;
        self.flush()?;
        let result = self.pipeline.as_ref().map_or(Ok(()), |pipeline| pipeline.drain());
        self.note("write", result)?;
        Ok(Unsynced { file: self.file, name: self.name })
    }

    fn check(&self) -> Result<()> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn note(&mut self, action: &str, result: std::io::Result<()>) -> Result<()> {
        result.map_err(|source| {
            let error = Error::io(format_args!("{action} {}", self.name), source);
            self.broken = Some(error.clone());
            error
        })
    }
}
