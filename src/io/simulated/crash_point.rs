use super::{CrashPlan, ManualClock, SimulatedDisk, clock::SeededRandom, state::State};

/// A moment of a disk, kept so that it can be crashed there later, in as many ways as wanted: see [`SimulatedDisk::record_crash_points`].
///
/// ```
/// use varvite::io::{Storage, simulated::{CrashPlan, SimulatedDisk}};
/// let disk = SimulatedDisk::new(1);
/// disk.record_crash_points(true);
/// disk.create("a")?;
/// disk.sync_names()?;
///
/// let points = disk.take_crash_points();
/// let names = |point: usize, plan| points[point].crash(&plan, 7).names();
/// assert_eq!((points[0].operation(), points[0].unsynced()), (0, 0));
/// assert!(names(1, CrashPlan::LoseAll).is_empty());
/// assert_eq!(names(1, CrashPlan::KeepAll), ["a"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct CrashPoint {
    operation: u64,
    state: State,
}

impl CrashPoint {
    pub(super) fn new(operation: u64, state: State) -> Self {
        Self { operation, state }
    }

    /// The number of the operation that did not happen any more.
    #[must_use]
    pub fn operation(&self) -> u64 {
        self.operation
    }

    /// As [`SimulatedDisk::unsynced`].
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.state.unsynced()
    }

    /// As [`SimulatedDisk::unsynced_names`].
    #[must_use]
    pub fn unsynced_names(&self) -> Vec<String> {
        self.state.unsynced_names()
    }

    /// Which unsynced item is the last write, and how long it is: the one that [`CrashPlan::Torn`] cuts.
    #[must_use]
    pub fn last_unsynced_write(&self) -> Option<(usize, usize)> {
        self.state.last_unsynced_write_item()
    }

    /// As [`SimulatedDisk::crash`]. The randomness of the new disk starts from a seed, its clock at 0: so the same image is recovered in the
    /// same way, wherever it came from.
    #[must_use]
    pub fn crash(&self, plan: &CrashPlan, seed: u64) -> SimulatedDisk {
        SimulatedDisk::assemble(self.state.crash(plan), ManualClock::default(), SeededRandom::new(seed))
    }
}
