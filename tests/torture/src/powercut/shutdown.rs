//! The one system call that cuts a mounted file system off.

use std::{fs::File, io, os::fd::AsRawFd, path::Path};

/// `_IOR('X', 125, u32)`: FS_IOC_SHUTDOWN, of ext4 and XFS.
const SHUTDOWN: libc::Ioctl = 0x8004_587D;
/// Without flushing the journal: whatever was not synced is gone.
const NO_LOG_FLUSH: u32 = 2;

/// From now on nothing reaches the device any more.
pub fn shutdown(mounted: &Path) -> io::Result<()> {
    let directory = File::open(mounted)?;
    let flag = NO_LOG_FLUSH;
    // SAFETY: the descriptor is open for the whole call, which reads one u32 at the pointer and keeps nothing.
    let result = unsafe { libc::ioctl(directory.as_raw_fd(), SHUTDOWN, &raw const flag) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
