use std::{
    fs,
    io::{self, IoSlice},
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

    fn write_parts_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        write_all_parts(parts, offset, |slices, at| Ok(rustix::io::pwritev(&self.0, slices, at)?))
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

/// How many parts one call may have: IOV_MAX of every system.
const PARTS_MAX: usize = 1024;

/// Writes parts one behind the other, by calls that may write less than they are given.
fn write_all_parts(parts: &[&[u8]], mut offset: u64, mut write: impl FnMut(&[IoSlice<'_>], u64) -> io::Result<usize>) -> io::Result<()> {
    let parts: Vec<&[u8]> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    for parts in parts.chunks(PARTS_MAX) {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = slices.as_mut_slice();
        while !rest.is_empty() {
            match write(rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::{PARTS_MAX, write_all_parts};
    use std::io;

    /// As a file would, but by at most `step` bytes a call, every third of which a signal ends.
    fn written(parts: &[&[u8]], step: usize) -> (Vec<u8>, usize) {
        let (mut file, mut calls) = (Vec::new(), 0);
        let result = write_all_parts(parts, 7, |slices, at| {
            calls += 1;
            assert!(slices.len() <= PARTS_MAX);
            assert_eq!(at, 7 + file.len() as u64);
            if calls % 3 == 0 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).take(step).collect();
            file.extend(&all);
            Ok(all.len())
        });
        result.unwrap();
        (file, calls)
    }

    #[test]
    fn parts_are_written_whole_however_short_the_calls_are() {
        let parts: [&[u8]; 6] = [b"", b"abc", b"", b"d", b"efghij", b""];
        for step in 1..12 {
            assert_eq!(written(&parts, step).0, b"abcdefghij", "{step}");
        }
        assert_eq!(written(&parts, 100), (b"abcdefghij".to_vec(), 1));
        assert_eq!(written(&[b"", b""], 100), (Vec::new(), 0));
        let many = vec![&b"xy"[..]; 2 * PARTS_MAX + 1];
        assert_eq!(written(&many, usize::MAX), (b"xy".repeat(many.len()), 4));
    }

    #[test]
    fn a_call_that_fails_or_writes_nothing_is_an_error() {
        for (answer, kind) in [(Ok(0), io::ErrorKind::WriteZero), (Err(io::ErrorKind::StorageFull), io::ErrorKind::StorageFull)] {
            let error = write_all_parts(&[b"abc"], 0, |_, _| answer.map_err(io::Error::from)).unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }
}
