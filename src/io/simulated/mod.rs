//! A disk in memory that can lose what was not synced, fail on command, and be damaged.
//!
//! For testing databases, ours and those of programs that embed it: everything is reproducible from a seed, every operation has a
//! number, and a crash can be tried at each of them.
//!
//! ```
//! use varvite::io::{Storage, simulated::{CrashPlan, Fault, SimulatedDisk}};
//! let disk = SimulatedDisk::new(1);
//! let file = disk.create("a")?;
//! file.write_at(0, b"kept")?;
//! file.sync_data()?;
//! disk.sync_names()?;
//! file.write_at(0, b"lost")?;
//!
//! disk.inject(disk.operations(), Fault::PowerCut);
//! let error = file.sync_data().unwrap_err();
//! assert!(SimulatedDisk::is_power_cut(&error));
//!
//! let disk = disk.crash(&CrashPlan::LoseAll);
//! assert_eq!(disk.read_all("a")?, b"kept");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What a crash may do: each unsynced write is lost, kept or torn at any byte; each change of a length is lost or kept apart from the
//! data (where only the length arrived, zeros are read); each name made or removed is lost or kept until `sync_names`, whatever was
//! synced in the file itself. Writes to one file that overlap arrive in the order in which they were made.

mod clock;
mod content;
mod crash;
mod crash_point;
mod fault;
mod inode;
mod journal;
mod state;
mod storage;
#[cfg(test)]
mod tests;

pub use clock::ManualClock;
pub use content::Content;
pub use crash::CrashPlan;
pub use crash_point::CrashPoint;
pub use fault::{Fault, Operation, OperationKind};

use std::io;

use super::{Clock, Environment, Random, publish::check_name};
use crate::sync::{Arc, Mutex};
use clock::SeededRandom;
use fault::PowerCutError;
use inode::Inode;
use state::State;

/// A simulated disk; clones are the same disk. See the [module](self).
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    publishing: Mutex<()>,
    clock: Arc<ManualClock>,
    random: Arc<SeededRandom>,
    environment: Environment,
}

impl SimulatedDisk {
    /// An empty disk. The seed determines its randomness; its clock stands still until told to move.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::assemble(State::default(), ManualClock::default(), SeededRandom::new(seed))
    }

    fn assemble(state: State, clock: ManualClock, random: SeededRandom) -> Self {
        let (clock, random) = (Arc::new(clock), Arc::new(random));
        let environment = Environment {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::clone(&random) as Arc<dyn Random>,
            directory: None,
            network: false,
            process: 1,
            host: "simulated".to_owned(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), publishing: Mutex::new(()), clock, random, environment }) }
    }

    /// Its clock.
    #[must_use]
    pub fn clock(&self) -> &ManualClock {
        &self.shared.clock
    }

    /// How many operations were done: every call that touches the disk, each step of `publish`, each continued or repeated transfer.
    /// The next operation has this number.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.shared.state.lock().gate.operations
    }

    /// Starts a new trace, or stops tracing.
    pub fn record_trace(&self, on: bool) {
        self.shared.state.lock().gate.trace = on.then(Vec::new);
    }

    /// The operations since the trace was started.
    #[must_use]
    pub fn trace(&self) -> Vec<Operation> {
        self.shared.state.lock().gate.trace.clone().unwrap_or_default()
    }

    /// Lets the operation of that number (the next one is [`Self::operations`]) go wrong. One fault per number: the last counts.
    pub fn inject(&self, at_operation: u64, fault: Fault) {
        self.shared.state.lock().gate.inject(at_operation, fault);
    }

    /// Ends all faults, those to come too; a power cut stays, and so does what a failed sync did.
    pub fn heal(&self) {
        self.shared.state.lock().gate.heal();
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.shared.state.lock().gate.power_is_cut = true;
    }

    /// Whether the power was cut.
    #[must_use]
    pub fn power_is_cut(&self) -> bool {
        self.shared.state.lock().gate.power_is_cut
    }

    /// Whether an error comes from a power cut.
    #[must_use]
    pub fn is_power_cut(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<PowerCutError>())
    }

    /// How many items a crash could lose or keep each on its own: writes, changed lengths, names made and removed.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.shared.state.lock().unsynced()
    }

    /// The file of each unsynced item, in their order: for tests that try all subsets of those that matter.
    #[must_use]
    pub fn unsynced_names(&self) -> Vec<String> {
        self.shared.state.lock().unsynced_names()
    }

    /// The length of the last unsynced write: the one that [`CrashPlan::Torn`] cuts.
    #[must_use]
    pub fn last_unsynced_write(&self) -> Option<usize> {
        self.shared.state.lock().last_unsynced_write()
    }

    /// The disk as it may be found after a crash now. This one stays as it is, so that several crashes can be tried; the new one has
    /// no locks, no faults and counts from 0. Clock and randomness go on where they stand.
    #[must_use]
    pub fn crash(&self, plan: &CrashPlan) -> Self {
        let state = self.shared.state.lock().crash(plan);
        Self::assemble(state, self.shared.clock.copy(), self.shared.random.copy())
    }

    /// Starts to record the moment before each operation that changes the disk, or stops and forgets them. A run that is recorded once can
    /// be crashed everywhere, without being run again.
    pub fn record_crash_points(&self, on: bool) {
        self.shared.state.lock().crash_points = on.then(Vec::new);
    }

    /// The moments recorded since the last call.
    #[must_use]
    pub fn take_crash_points(&self) -> Vec<CrashPoint> {
        let taken = self.shared.state.lock().crash_points.as_mut().map(std::mem::take).unwrap_or_default();
        taken.into_iter().map(|(operation, state)| CrashPoint::new(operation, state)).collect()
    }

    /// This moment.
    #[must_use]
    pub fn crash_point(&self) -> CrashPoint {
        let (operation, state) = self.shared.state.lock().crash_point();
        CrashPoint::new(operation, state)
    }

    /// Limits the bytes of all files together; what goes beyond fails with ENOSPC, after what still fits was written.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.shared.state.lock().capacity = bytes;
    }

    /// Bytes that count against the capacity: the lengths of all files that have a name or are open.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.shared.state.lock().used()
    }
}

/// Looking and damaging behind the back of whoever uses the disk: none of it counts as an operation, all of it is durable at once.
impl SimulatedDisk {
    /// All names, ascending.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.shared.state.lock().names.keys().cloned().collect()
    }

    /// The bytes that a read would return.
    pub fn read_all(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut state = self.shared.state.lock();
        let inode = state.find(name)?;
        Ok(state.inode(inode)?.current.to_vec())
    }

    /// All files by name, ascending, as reads return them; unchanged ones are shared, not copied.
    #[must_use]
    pub fn contents(&self) -> Vec<(String, Arc<Content>)> {
        let state = self.shared.state.lock();
        let content = |inode| state.inodes.get(inode).map(|file| Arc::clone(&file.current)).unwrap_or_default();
        state.names.iter().map(|(name, inode)| (name.clone(), content(inode))).collect()
    }

    /// Replaces a file, or makes one; whoever has the old one open keeps it.
    pub fn write_all(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        check_name(name)?;
        let mut state = self.shared.state.lock();
        let inode = state.inode_last + 1;
        state.inode_last = inode;
        state.inodes.insert(inode, Inode::settled(Arc::new(Content::of(bytes.to_vec()))));
        state.name_journal.retain(|change| change.name() != name);
        state.names.insert(name.to_owned(), inode);
        state.durable_names.insert(name.to_owned(), inode);
        Ok(())
    }

    /// Flips the bits of a mask in one byte.
    pub fn corrupt(&self, name: &str, offset: u64, xor_mask: u8) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let inode = state.find(name)?;
        let flipped = state.inode(inode)?.flip(offset, xor_mask);
        if flipped { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Changes a file's length; new bytes are zeros. What was unsynced in this file becomes durable.
    pub fn truncate(&self, name: &str, len: u64) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        let inode = state.find(name)?;
        let file = state.inode(inode)?;
        let mut content = Content::clone(&file.current);
        content.shorten(len);
        content.lengthen(len)?;
        *file = Inode { handles: file.handles, ..Inode::settled(Arc::new(content)) };
        Ok(())
    }

    /// Removes a name.
    pub fn delete(&self, name: &str) -> io::Result<()> {
        let mut state = self.shared.state.lock();
        state.find(name)?;
        state.names.remove(name);
        state.durable_names.remove(name);
        state.name_journal.retain(|change| change.name() != name);
        Ok(())
    }
}
