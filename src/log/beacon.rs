use crate::{
    format::lock_page::{POINT_OFFSET, SyncedPoint},
    io::WriteFile,
    sync::Arc,
    types::{FileId, FileNumber, Sequence},
};

/// Tells readers in other processes, through a page of the LOCK file, up to where the log is synced.
///
/// Only a hint for live readers: recovery ignores it, so a failed write is no error.
#[derive(Debug)]
pub(crate) struct Beacon {
    file: Arc<dyn WriteFile>,
    nonce: FileId,
    count: u64,
}

impl Beacon {
    /// Before the writer's first append: whatever an earlier writer left is void from here on.
    pub(crate) fn start(file: Arc<dyn WriteFile>, nonce: FileId, log: FileNumber, offset: u64, sequence: Sequence) -> Self {
        let mut beacon = Self { file, nonce, count: 0 };
        beacon.publish(log, offset, sequence);
        beacon
    }

    pub(crate) fn publish(&mut self, log: FileNumber, offset: u64, sequence: Sequence) {
        let point = SyncedPoint { nonce: self.nonce, log, offset, sequence };
        self.count += 2;
        let during = self.file.write_at(POINT_OFFSET, &(self.count - 1).to_le_bytes());
        // One write of the whole point: readers that see an odd count, or a checksum that does not fit, read again.
        let _hint = during.and_then(|()| self.file.write_at(POINT_OFFSET, &point.encode(self.count)));
    }
}
