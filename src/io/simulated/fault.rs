use std::{collections::BTreeMap, error, fmt, io};

use rustix::io::Errno;

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It fails with this kind, and changes nothing.
    Error(io::ErrorKind),
    /// It fails with this error number of the operating system, and changes nothing.
    Errno(i32),
    /// It fails with this error number, and so does every later operation that this error can meet: a full or read-only device
    /// refuses what needs space or writes, missing descriptors what opens, anything else everything. Until [`super::SimulatedDisk::heal`].
    Sticky(i32),
    /// A read or write transfers only that many bytes; it is continued, as a further operation. Elsewhere without effect.
    ShortTransfer(usize),
    /// It is interrupted by a signal before it did anything; it is repeated, as a further operation.
    Interrupted,
    /// The first sync at or after this operation (each one, if `sticky`) fails with EIO, and its pages count as clean: no later sync
    /// makes them durable, though parts of them may be. Until the crash the old bytes are read at once (or the new ones, if
    /// `keep_pages`); a changed length stays.
    SyncFails {
        /// Whether reads go on to return what was written.
        keep_pages: bool,
        /// Whether all later syncs fail too.
        sticky: bool,
    },
    /// This and every later operation fails: see [`super::SimulatedDisk::is_power_cut`]. Go on with [`super::SimulatedDisk::crash`].
    PowerCut,
}

/// One operation, as [`super::SimulatedDisk::trace`] records it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Operation {
    /// Its number, counted from 0.
    pub number: u64,
    /// What was done.
    pub kind: OperationKind,
    /// The file's name when it was opened; empty for operations on the directory.
    pub name: String,
    /// Where a transfer starts; 0 elsewhere.
    pub offset: u64,
    /// Bytes to transfer, or the new length; 0 elsewhere.
    pub len: u64,
}

/// What an [`Operation`] did. `publish` is made of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// Made a file.
    Create,
    /// Opened a file for writing.
    OpenWrite,
    /// Opened a file for reading.
    OpenRead,
    /// Wrote bytes.
    Write,
    /// Reserved bytes.
    Allocate,
    /// Changed the length.
    SetLen,
    /// Synced a file.
    SyncData,
    /// Read bytes.
    Read,
    /// Mapped a file.
    Map,
    /// Asked for a file's length or links.
    Stat,
    /// Gave a file a second name.
    Link,
    /// Removed a name.
    Remove,
    /// Synced the names.
    SyncNames,
    /// Listed the names.
    List,
    /// Took the lock.
    Lock,
    /// Asked for the lock.
    IsLocked,
}

/// How an operation may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Passage {
    Whole,
    Short(usize),
    FailedSync { keep_pages: bool },
}

impl OperationKind {
    /// Whether it may change what a crash leaves.
    pub(super) fn changes(self) -> bool {
        use OperationKind::{Allocate, Create, Link, Remove, SetLen, SyncData, SyncNames, Write};
        matches!(self, Create | Write | Allocate | SetLen | SyncData | Link | Remove | SyncNames)
    }
}

/// Counts operations and decides which ones fail.
#[derive(Debug, Default)]
pub(super) struct Gate {
    pub(super) operations: u64,
    pub(super) trace: Option<Vec<Operation>>,
    /// What passed last.
    pub(super) last: Option<OperationKind>,
    pub(super) power_is_cut: bool,
    faults: BTreeMap<u64, Fault>,
    sync_faults: Vec<SyncFault>,
    sticky: Vec<Errno>,
}

#[derive(Clone, Copy, Debug)]
struct SyncFault {
    from: u64,
    keep_pages: bool,
    sticky: bool,
}

impl Gate {
    pub(super) fn inject(&mut self, at_operation: u64, fault: Fault) {
        if let Fault::SyncFails { keep_pages, sticky } = fault {
            self.sync_faults.push(SyncFault { from: at_operation, keep_pages, sticky });
        } else {
            self.faults.insert(at_operation, fault);
        }
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.sync_faults.clear();
        self.sticky.clear();
    }

    /// Every operation comes through here once, before it does anything.
    pub(super) fn pass(&mut self, kind: OperationKind, name: &str, offset: u64, len: u64) -> io::Result<Passage> {
        if self.power_is_cut {
            return Err(PowerCutError.into());
        }
        let number = self.operations;
        let fault = self.faults.remove(&number);
        if fault == Some(Fault::PowerCut) {
            self.power_is_cut = true;
            return Err(PowerCutError.into());
        }
        self.operations += 1;
        self.last = Some(kind);
        if let Some(trace) = &mut self.trace {
            trace.push(Operation { number, kind, name: name.to_owned(), offset, len });
        }
        match fault {
            Some(Fault::Error(kind)) => return Err(kind.into()),
            Some(Fault::Errno(errno)) => return Err(io::Error::from_raw_os_error(errno)),
            Some(Fault::Interrupted) => return Err(io::ErrorKind::Interrupted.into()),
            Some(Fault::Sticky(errno)) => {
                self.sticky.push(Errno::from_raw_os_error(errno));
                return Err(io::Error::from_raw_os_error(errno));
            }
            Some(Fault::ShortTransfer(bytes)) => return Ok(Passage::Short(bytes)),
            Some(Fault::SyncFails { .. } | Fault::PowerCut) | None => {}
        }
        if let Some(errno) = self.sticky.iter().find(|errno| meets(**errno, kind)) {
            return Err((*errno).into());
        }
        Ok(self.failed_sync(number, kind).unwrap_or(Passage::Whole))
    }

    fn failed_sync(&mut self, number: u64, kind: OperationKind) -> Option<Passage> {
        if !matches!(kind, OperationKind::SyncData | OperationKind::SyncNames) {
            return None;
        }
        let index = self.sync_faults.iter().position(|fault| fault.from <= number)?;
        let fault = *self.sync_faults.get(index)?;
        if !fault.sticky {
            self.sync_faults.remove(index);
        }
        Some(Passage::FailedSync { keep_pages: fault.keep_pages })
    }
}

/// Whether a lasting condition of this error number fails operations of a kind.
fn meets(errno: Errno, kind: OperationKind) -> bool {
    use OperationKind::{Allocate, Create, Link, List, Lock, OpenRead, OpenWrite, Remove, SetLen, Write};
    match errno {
        Errno::NOSPC | Errno::DQUOT | Errno::FBIG => matches!(kind, Create | Write | Allocate | SetLen | Link),
        Errno::ROFS => matches!(kind, Create | OpenWrite | Write | Allocate | SetLen | Link | Remove | Lock),
        Errno::MFILE | Errno::NFILE => matches!(kind, Create | OpenRead | OpenWrite | List | Lock),
        _ => true,
    }
}

/// The error of every operation after a power cut.
#[derive(Debug)]
pub(super) struct PowerCutError;

impl fmt::Display for PowerCutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated disk has no power")
    }
}

impl error::Error for PowerCutError {}

impl From<PowerCutError> for io::Error {
    fn from(error: PowerCutError) -> Self {
        Self::other(error)
    }
}
