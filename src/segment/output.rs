use crate::error::{Error, Result};
use crate::io::WriteFile;
use crate::sync::Arc;

/// Bytes per write, each at a multiple of them: file systems that keep what is written at once in one piece of memory (ext4 since Linux 6.16,
/// XFS) can then map it by huge pages, and random reads of it do not wait for the page table as well.
const CHUNK_BYTES: usize = 2 << 20;

/// Sequential bytes of a new file, gathered into large writes.
///
/// The first error stays: what the file holds behind it is unknown, so that only removing the file is left.
pub(super) struct Output {
    file: Arc<dyn WriteFile>,
    name: String,
    buffer: Vec<u8>,
    written: u64,
    broken: Option<Error>,
}

impl Output {
    pub(super) fn new(file: Arc<dyn WriteFile>, name: String) -> Self {
        Self { file, name, buffer: Vec::with_capacity(CHUNK_BYTES), written: 0, broken: None }
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
        let result = self.file.write_at(self.written, &self.buffer);
        self.note("write", result)?;
        self.file.write_behind(self.written, self.buffer.len() as u64);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything put so far durable, but not the file's name.
    pub(super) fn sync(&mut self) -> Result<()> {
        self.check()?;
        self.flush()?;
        let result = self.file.sync_data();
        self.note("sync", result).map_err(Error::of_sync)
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
