use crate::{
    error::{Error, Result},
    format::{
        lock_page::{POINT_OFFSET, SyncedPoint},
        names::LOCK,
    },
    io::WriteFile,
    sync::Arc,
    types::{FileId, FileNumber, Sequence},
};

/// Tells readers in other processes, through a page of the LOCK file, up to where the log is synced.
///
/// Recovery ignores it, but a reader beside the writer goes by nothing else: what it does not say is not seen, so that a failed write is an
/// error.
#[derive(Debug)]
pub(crate) struct Beacon {
    file: Arc<dyn WriteFile>,
    nonce: FileId,
    count: u64,
}

impl Beacon {
    pub(crate) fn new(file: Arc<dyn WriteFile>, nonce: FileId) -> Self {
        Self { file, nonce, count: 0 }
    }

    /// The first call comes before the writer's first append: whatever an earlier writer left is void from there on.
    pub(crate) fn publish(&mut self, log: FileNumber, offset: u64, sequence: Sequence) -> Result<()> {
        let point = SyncedPoint { nonce: self.nonce, log, offset, sequence };
        self.count += 1;
        // One write of the whole slot: a reader to which its checksum does not fit reads again.
        let written = self.file.write_at(POINT_OFFSET, &point.encode(self.count));
        written.map_err(|source| Error::io("tell readers what is synced", source).in_file(LOCK))
    }
}
