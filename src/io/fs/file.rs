use std::{
    fs, io,
    os::{
        fd::AsRawFd,
        unix::fs::{FileExt, MetadataExt},
    },
};

use crate::{
    io::{Bytes, ReadFile, WriteFile, failed_sync},
    sync::Arc,
};

/// An open regular file.
#[derive(Debug)]
pub(super) struct RegularFile(fs::File);

impl RegularFile {
    pub(super) fn new(file: fs::File) -> Self {
        Self(file)
    }
}

impl WriteFile for RegularFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        if len == 0 || reserve(&self.0, len)? {
            return Ok(());
        }
        // Without reservations (NFS 3, ZFS, some FUSE) the zeros are only promised; running out of space shows at the write.
        if self.0.metadata()?.len() < len { self.0.set_len(len) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data().map_err(failed_sync)
    }

    #[cfg(target_os = "linux")]
    fn write_behind(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (offset.try_into(), len.try_into()) else { return };
        // SAFETY: the descriptor is open, and the call touches no memory of this process. Without a flag that waits it takes no error away from
        // the sync that comes.
        let _only_a_hint = unsafe { libc::sync_file_range(self.0.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }
}

/// Reserves blocks up to `len`; `false` if the file system cannot.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &fs::File, len: u64) -> io::Result<bool> {
    use rustix::io::Errno;
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len)) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(_file: &fs::File, _len: u64) -> io::Result<bool> {
    Ok(false)
}

impl ReadFile for RegularFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn map(&self) -> io::Result<Bytes> {
        if self.is_empty()? {
            return Ok(Bytes::copy_of(&[]));
        }
        // SAFETY: the mapping is read-only and outlives every slice of it (`Bytes` owns it). Files of a database are written once
        // and only unlinked, never truncated, by us; what others do to them is the documented limit of the mapped mode.
        let mapping = unsafe { memmap2::Mmap::map(&self.0) }?;
        // What is not in memory yet is read so that it can be mapped by huge pages. Not all kernels and file systems can.
        #[cfg(target_os = "linux")]
        let _only_a_hint = mapping.advise(memmap2::Advice::HugePage);
        Ok(Bytes::from_owner(Arc::new(mapping)))
    }

    fn links(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.nlink())
    }
}
