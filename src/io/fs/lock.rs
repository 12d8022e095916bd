//! The writer's lock: an open-file-description lock on the whole file.
//!
//! It belongs to one opening of the file: two handles of one process exclude each other, closing an unrelated descriptor of the file
//! does not free it (as a POSIX record lock would be), and it ends with its owner.

use std::{fs, io, process};

use crate::io::Lock;

#[derive(Debug)]
pub(super) struct FileLock {
    file: fs::File,
    owner: u32,
}

impl FileLock {
    /// Locks a file that was opened for this alone.
    pub(super) fn take(file: fs::File) -> io::Result<Self> {
        system::take(&file)?;
        Ok(Self { file, owner: process::id() })
    }
}

impl Lock for FileLock {
    fn is_mine(&self) -> bool {
        self.owner == process::id()
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing is not enough while a forked child has a copy of the descriptor, and that child must not free what is not its own.
        if self.is_mine() {
            // Nothing can be done about a failure; closing frees it too.
            let _ = system::free(&self.file);
        }
    }
}

/// Whether somebody holds the lock, found without taking it.
pub(super) fn is_locked(file: &fs::File) -> io::Result<bool> {
    system::is_locked(file)
}

#[cfg(target_os = "linux")]
mod system {
    use std::{fs, io, os::fd::AsRawFd};

    pub(super) fn take(file: &fs::File) -> io::Result<()> {
        control(file, libc::F_OFD_SETLK, libc::F_WRLCK).map(drop).map_err(|error| match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EACCES) => io::Error::from(io::ErrorKind::WouldBlock),
            _ => error,
        })
    }

    pub(super) fn free(file: &fs::File) -> io::Result<()> {
        control(file, libc::F_OFD_SETLK, libc::F_UNLCK).map(drop)
    }

    pub(super) fn is_locked(file: &fs::File) -> io::Result<bool> {
        Ok(control(file, libc::F_OFD_GETLK, libc::F_WRLCK)? != libc::F_UNLCK)
    }

    /// One lock call on the whole file; gives the kind of lock that the kernel wrote back.
    fn control(file: &fs::File, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
        // SAFETY: `flock` is plain data; zeros mean the whole file, counted from its start, and the process id 0 that OFD locks ask for.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = kind as libc::c_short;
        range.l_whence = libc::SEEK_SET as libc::c_short;
        loop {
            // SAFETY: the descriptor is open for the whole call, and these commands read and write one `flock`, which `range` is.
            if unsafe { libc::fcntl(file.as_raw_fd(), command, &raw mut range) } == 0 {
                return Ok(libc::c_int::from(range.l_type));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::{fs, io};

    pub(super) fn take(file: &fs::File) -> io::Result<()> {
        file.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => io::Error::from(io::ErrorKind::WouldBlock),
            fs::TryLockError::Error(error) => error,
        })
    }

    pub(super) fn free(file: &fs::File) -> io::Result<()> {
        file.unlock()
    }

    /// There is no probe here: a shared lock is taken for an instant, which a writer that opens in it may see.
    pub(super) fn is_locked(file: &fs::File) -> io::Result<bool> {
        match file.try_lock_shared() {
            Ok(()) => file.unlock().map(|()| false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{FileLock, is_locked};
    use crate::io::Lock;

    #[test]
    fn a_copied_descriptor_does_not_hold_a_dropped_lock() {
        let place = tempfile::tempdir().unwrap();
        let file = std::fs::File::create_new(place.path().join("LOCK")).unwrap();
        let inherited = file.try_clone().unwrap();
        drop(FileLock::take(file).unwrap());
        assert!(!is_locked(&std::fs::File::open(place.path().join("LOCK")).unwrap()).unwrap());
        drop(inherited);
    }

    #[test]
    fn a_forked_child_neither_owns_nor_frees_the_lock() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("LOCK");
        let open = || std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).unwrap();
        let lock = FileLock::take(open()).unwrap();
        assert!(lock.is_mine());
        // SAFETY: the child uses only what it inherited (no locks of other threads) and leaves with `_exit`.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            let mine = lock.is_mine();
            drop(lock);
            // SAFETY: ends the child without running the destructors and exit handlers of the test harness.
            unsafe { libc::_exit(i32::from(mine)) }
        }
        let mut status = 0;
        // SAFETY: waits for the child made above; `status` is valid for writing.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child took itself for the owner: {status}");
        assert!(is_locked(&open()).unwrap(), "the child's drop freed its parent's lock");
        drop(lock);
        assert!(!is_locked(&open()).unwrap());
    }
}
