//! Files, names, locks, clocks, randomness and threads: everything the engine asks of the outside.
//!
//! One engine runs on three storages: [`fs`] (a directory), [`memory`] and [`simulated`] (a disk that can lose what was not synced).

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "the one place that touches the operating system")]

pub mod fs;
pub mod memory;
pub mod simulated;

mod buffer;
pub(crate) mod bytes;
mod clock;
#[cfg(test)]
mod conformance;
pub(crate) mod executor;
pub(crate) mod pipeline;
mod publish;
mod random;

pub use bytes::Bytes;
pub use clock::{Clock, SystemClock};
pub use random::SystemRandom;
pub(crate) use random::random_id;

use std::{any::Any, fmt::Debug, io};

use crate::sync::Arc;

/// A flat set of named files on one device.
///
/// Names are 1 to 255 bytes without `/` and NUL, and not `.` or `..`; others are refused with `InvalidInput`.
/// Errors are those of the operating system; the engine adds what it was doing. Every method may be called from any thread.
pub trait Storage: Any + Debug + Send + Sync {
    /// Makes an empty file under a name that must not exist. Neither the name nor the bytes are durable yet.
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>>;

    /// Opens an existing file for writing in place (LOCK and FLOOR only; all other files are written once).
    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>>;

    /// Opens an existing file for reading.
    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>>;

    /// Makes a complete file visible, durably, under a name that must not exist: writes and syncs `tmp-<name>`, links it under `name`
    /// without replacing, removes the temporary name, syncs the names. After an error the name may or may not exist.
    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// All names with their lengths, in ascending order; sub-directories and special files are left out.
    fn list(&self) -> io::Result<Vec<FileInfo>>;

    /// Removes a name. Open files stay readable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all names created and removed before durable. Like that of [`WriteFile::sync_data`], its error is never one of missing space.
    fn sync_names(&self) -> io::Result<()>;

    /// Takes the writer's lock on a file (created if absent) until the result is dropped, or fails with `WouldBlock`.
    /// The lock of a dead owner is free.
    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>>;

    /// Whether anybody holds the writer's lock, in this process or another. It is never taken, not even for an instant.
    fn is_locked(&self, name: &str) -> io::Result<bool>;

    /// Gives `self`'s file a second name in another storage without copying, if both can; `false` if not (the caller copies).
    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool>;

    /// Clock, randomness and place.
    fn environment(&self) -> &Environment;
}

/// What else the engine asks of the outside.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for identities and hash seeds.
    pub random: Arc<dyn Random>,
    /// The directory behind the storage, if there is one.
    pub directory: Option<std::path::PathBuf>,
    /// Whether that directory lies on a network file system.
    pub network: bool,
    /// This process, for naming the holder of a lock.
    pub process: u32,
    /// This machine, likewise.
    pub host: String,
}

impl Environment {
    /// The clocks, randomness and names of the operating system.
    #[must_use]
    pub fn of_system(directory: Option<std::path::PathBuf>, network: bool) -> Self {
        Self {
            clock: Arc::new(SystemClock::default()),
            random: Arc::new(SystemRandom),
            directory,
            network,
            process: std::process::id(),
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }
}

/// A source of random bytes.
pub trait Random: Debug + Send + Sync {
    /// Fills the buffer.
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()>;
}

/// A held writer's lock; dropping it in the process that took it frees it.
pub trait Lock: Debug + Send + Sync {
    /// Whether this process took it: `false` in a child that was forked off its owner, which must not write.
    fn is_mine(&self) -> bool;
}

/// Name and length of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileInfo {
    /// Name in its storage.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
}

/// A file being written.
pub trait WriteFile: Debug + Send + Sync {
    /// Writes all bytes at an offset, lengthening the file as needed. Short transfers and `EINTR` are continued inside.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes parts one behind the other, as [`Self::write_at`] would write them joined; without copying where the backend can.
    fn write_parts_at(&self, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        self.write_at(offset, &parts.concat())
    }

    /// Reserves zero bytes up to a length, which becomes the file's length if it was shorter.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Shortens (or, with zeros, lengthens) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes all bytes and the length durable (not the name). After an error nothing is known about what is durable, so that it is never
    /// `StorageFull` or `QuotaExceeded`: those say that nothing has changed, and that trying again may help.
    fn sync_data(&self) -> io::Result<()>;

    /// Asks that what was written into a range be on its way to the device, without waiting for it, so that a later sync has less to do. Only a
    /// hint: nothing is durable by it, and what fails is for that sync to say.
    fn write_behind(&self, offset: u64, len: u64) {
        let _no_hint = (offset, len);
    }
}

/// The error of a sync. A file system that places data late finds only here that it has no space; what it could not place may be gone from its
/// cache, and a second sync would not miss it.
pub(crate) fn failed_sync(source: io::Error) -> io::Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => io::Error::other(format!("a sync found no space: {source}")),
        _ => source,
    }
}

/// A file being read.
pub trait ReadFile: Debug + Send + Sync {
    /// Current length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills the buffer from an offset; `UnexpectedEof` if the file ends before. Short transfers and `EINTR` are continued inside.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// The whole file as it is now, without copying where the backend can. Its start is aligned to 64 bytes.
    fn map(&self) -> io::Result<Bytes>;

    /// How many names the file has (hard links), where that is known: 1 otherwise.
    fn links(&self) -> io::Result<u64> {
        Ok(1)
    }
}
