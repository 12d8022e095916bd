//! A directory of the operating system.

mod file;
mod lock;
mod network;
#[cfg(test)]
mod tests;

use std::{any::Any, fs, io, path::Path};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::{Errno, retry_on_intr},
};

use super::{Environment, FileInfo, Lock, ReadFile, Storage, WriteFile, failed_sync, publish, publish::check_name};
use crate::{
    error::NotAFile,
    sync::{Arc, Mutex},
};
use file::RegularFile;
use lock::FileLock;

/// A storage in one directory. It holds the directory open: renaming it, or changing the working directory, changes nothing.
///
/// Symbolic links, sub-directories and special files in it are left out of lists and refused by name.
///
/// ```
/// use varvite::io::{Storage, fs::Directory};
/// # let place = tempfile::tempdir()?;
/// # let path = place.path().join("vectors");
/// let directory = Directory::create(&path)?;
/// directory.publish("hello", b"world")?;
/// assert_eq!(&*directory.open_read("hello")?.map()?, b"world");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Directory {
    directory: fs::File,
    environment: Environment,
    publishing: Mutex<()>,
}

impl Directory {
    /// Opens an existing directory; nothing is written.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().canonicalize()?;
        let directory = fs::File::from(retry_on_intr(|| rustix::fs::open(&path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()))?);
        let network = network::is_network(&directory)?;
        let environment = Environment::of_system(Some(path), network);
        Ok(Self { directory, environment, publishing: Mutex::new(()) })
    }

    /// Opens a directory, making it and its parents if they are missing, durably.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let missing = path.ancestors().take_while(|ancestor| !ancestor.exists()).count();
        fs::create_dir_all(&path)?;
        // A made directory is a name in its parent. If none is missing, a maker before us may have been cut off before this sync.
        for made in path.ancestors().take(missing.max(1)) {
            match made.parent().map(sync_directory) {
                Some(Err(error)) if missing > 0 || error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        Self::open(path)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<fs::File> {
        check_name(name)?;
        // NONBLOCK so that a pipe under this name cannot hang us; regular files ignore it.
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mode = Mode::from_raw_mode(0o666);
        let file = match retry_on_intr(|| rustix::fs::openat(&self.directory, name, flags, mode)) {
            // What a link (EMLINK on FreeBSD), a socket or device without a peer and a directory say.
            Err(Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::ISDIR) => return Err(NotAFile::error(name)),
            opened => fs::File::from(opened?),
        };
        if file.metadata()?.is_file() { Ok(file) } else { Err(NotAFile::error(name)) }
    }

    fn read_directory(&self) -> Result<Vec<FileInfo>, Errno> {
        let mut files = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.directory)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if !matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown) {
                continue;
            }
            match retry_on_intr(|| rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)) {
                // Removed since it was read: as if it had been before.
                Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {}
                Ok(stat) => files.push(FileInfo { name: name.to_owned(), len: stat.st_size.try_into().unwrap_or(0) }),
            }
        }
        files.sort();
        Ok(files)
    }

    /// Gives `from` the name `to` without replacing. Where there are no hard links (FAT, some FUSE) it is moved.
    fn link_or_move(&self, from: &str, to: &str) -> io::Result<()> {
        let (directory, none) = (&self.directory, AtFlags::empty());
        match retry_on_intr(|| rustix::fs::linkat(directory, from, directory, to, none)) {
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => self.move_without_replacing(from, to),
            result => Ok(result?),
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    fn move_without_replacing(&self, from: &str, to: &str) -> io::Result<()> {
        let no_replace = rustix::fs::RenameFlags::NOREPLACE;
        Ok(retry_on_intr(|| rustix::fs::renameat_with(&self.directory, from, &self.directory, to, no_replace))?)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    fn move_without_replacing(&self, _from: &str, _to: &str) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this file system has no hard links"))
    }
}

/// Whether nothing has this path.
pub(crate) fn is_missing(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Removes a directory if it is empty.
pub(crate) fn remove_empty(path: &Path) {
    // Whatever keeps it from going keeps it.
    let _stays = fs::remove_dir(path);
}

fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

impl Storage for Directory {
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        Ok(Arc::new(RegularFile::new(self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?)))
    }

    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        Ok(Arc::new(RegularFile::new(self.open_file(name, OFlags::RDWR)?)))
    }

    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(RegularFile::new(self.open_file(name, OFlags::RDONLY)?)))
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let _alone = self.publishing.lock();
        publish::publish(self, &|from, to| self.link_or_move(from, to), name, bytes)
    }

    fn list(&self) -> io::Result<Vec<FileInfo>> {
        // From the start: a directory that is read on after an interruption may have lost an entry.
        Ok(retry_on_intr(|| self.read_directory())?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        check_name(name)?;
        Ok(retry_on_intr(|| rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()))?)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.directory.sync_all().map_err(failed_sync)
    }

    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        Ok(Box::new(FileLock::take(self.open_file(name, OFlags::RDWR | OFlags::CREATE)?)?))
    }

    fn is_locked(&self, name: &str) -> io::Result<bool> {
        match self.open_file(name, OFlags::RDONLY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            file => lock::is_locked(&file?),
        }
    }

    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool> {
        check_name(name)?;
        check_name(target_name)?;
        let target: &dyn Any = target;
        let Some(target) = target.downcast_ref::<Self>() else { return Ok(false) };
        match retry_on_intr(|| rustix::fs::linkat(&self.directory, name, &target.directory, target_name, AtFlags::empty())) {
            Ok(()) => Ok(true),
            Err(Errno::XDEV | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn environment(&self) -> &Environment {
        &self.environment
    }
}
