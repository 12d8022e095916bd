use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use super::{Catalog, Frozen, Publisher, Reading, View, garbage::Garbage, running::Running};
use crate::{
    error::{Error, ErrorKind, Result},
    format::manifest::{LogEntry, Sealed},
    io::{Clock, Storage, random_id},
    log::{LogWriter, SpareLog},
    observe::Counters,
    options::{Background, Options},
    sync::{Arc, AtomicBool, AtomicU64, Condvar, Look, Mutex, Ordering, Swap},
    types::{FileId, FileNumber, SegmentId, Sequence},
};

/// How long room that was in use counts as needed: compaction gives it back within this time.
const RECENT: Duration = Duration::from_secs(60);

/// What only the commit leader and publications change.
#[derive(Debug)]
pub(crate) struct WriterState {
    pub(crate) log: LogWriter,
    /// The activation record of `log` is not synced yet.
    pub(crate) activation_unsynced: bool,
    /// Named in the durable manifest, so that a rotation can use it at once.
    pub(crate) spare: Option<SpareLog>,
    /// Logs before `log` whose batches are not flushed yet.
    pub(crate) older: Vec<(LogEntry, Sealed)>,
    pub(crate) next_sequence: Sequence,
    /// The collections as of the last batch.
    pub(crate) catalog: Catalog,
}

impl WriterState {
    /// Makes every issued batch durable. An error here must poison.
    pub(crate) fn sync(&mut self, counters: &Counters) -> Result<()> {
        if self.log.synced() < self.log.end() || self.activation_unsynced {
            self.log.sync()?;
            counters.log_syncs.add(1);
            self.activation_unsynced = false;
        }
        Ok(())
    }

    /// All logs in the order of use, as a manifest lists them.
    pub(crate) fn log_entries(&self) -> Vec<LogEntry> {
        let older = self.older.iter().map(|(entry, sealed)| LogEntry { sealed: Some(*sealed), ..entry.clone() });
        older.chain([self.log.entry()]).chain(self.spare.as_ref().map(SpareLog::entry)).collect()
    }
}

/// The state of a writable database that its write, flush and compaction paths share.
///
/// Locks are taken in this order: `gate`, `publisher`, `writer`, `view`.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) counters: Counters,
    pub(crate) database: FileId,
    /// Held by the commit leader for a group, and by whoever must keep writers out for longer.
    pub(crate) gate: Mutex<()>,
    pub(crate) publisher: Mutex<Publisher>,
    pub(crate) writer: Mutex<WriterState>,
    view: Swap<View>,
    poison: Mutex<Option<Error>>,
    poisoned: AtomicBool,
    next_file: AtomicU64,
    next_segment: AtomicU64,
    space: Mutex<Space>,
    /// Live bytes of late, newest last.
    recent_live: Mutex<VecDeque<(Duration, u64)>>,
    /// Segments whose damage stopped a compaction: it leaves them alone.
    set_aside: Mutex<BTreeSet<SegmentId>>,
    garbage: Garbage,
    /// Compactions under way.
    pub(crate) compacting: Running,
    /// Why the last flush failed, until one succeeds.
    flush_error: Mutex<Option<Error>>,
    /// Why the last compaction failed, until one succeeds.
    compaction_error: Mutex<Option<Error>>,
    /// When a batch was last committed, in microseconds of the clock.
    last_write: AtomicU64,
    /// When the active log got its first delete, in microseconds of the clock; 0 without one.
    first_delete: AtomicU64,
    stopping: AtomicBool,
    /// Manifests published when compaction last found nothing to do.
    compact_at: AtomicU64,
    /// Bytes of segment files being written.
    unpublished: AtomicU64,
    /// When the next write may start while writes are slowed down.
    next_write: Mutex<Duration>,
    /// Something that background work or a waiting writer may be interested in has changed.
    signal: Mutex<u64>,
    changed: Condvar,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            storage: parts.storage,
            options: parts.options,
            counters: Counters::default(),
            database: parts.publisher.database(),
            gate: Mutex::new(()),
            publisher: Mutex::new(parts.publisher),
            writer: Mutex::new(parts.writer),
            view: Swap::new(Arc::new(parts.view)),
            garbage: Garbage::default(),
            poison: Mutex::new(None),
            poisoned: AtomicBool::new(false),
            next_file: AtomicU64::new(parts.next_file),
            next_segment: AtomicU64::new(parts.next_segment),
            space: Mutex::default(),
            recent_live: Mutex::default(),
            set_aside: Mutex::default(),
            compacting: Running::default(),
            flush_error: Mutex::new(None),
            compaction_error: Mutex::new(None),
            last_write: AtomicU64::new(0),
            first_delete: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            compact_at: AtomicU64::new(u64::MAX),
            unpublished: AtomicU64::new(0),
            next_write: Mutex::default(),
            signal: Mutex::new(0),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.storage.environment().clock
    }

    pub(crate) fn random_id(&self) -> Result<FileId> {
        random_id(&*self.storage.environment().random).map_err(|source| Error::io("draw a random number", source))
    }

    pub(crate) fn view(&self) -> Arc<View> {
        self.view.share()
    }

    /// Only with `writer` locked: nothing is written between the copy that `next` is and its installation.
    pub(crate) fn install(&self, next: View) {
        self.view.replace(Arc::new(next));
        self.notify();
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading::newest(self.view())
    }

    /// For one read: nothing that other threads write to is written.
    pub(crate) fn look(&self) -> Reading<Look<View>> {
        Reading::newest(self.view.look())
    }

    pub(crate) fn next_file(&self) -> FileNumber {
        self.next_file.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_segment(&self) -> SegmentId {
        self.next_segment.fetch_add(1, Ordering::Relaxed)
    }

    /// First numbers not given yet: of files, of segments.
    pub(crate) fn unused_numbers(&self) -> (FileNumber, SegmentId) {
        (self.next_file.load(Ordering::Relaxed), self.next_segment.load(Ordering::Relaxed))
    }

    /// Gives a write its turn at the common pace: how long it must wait if each takes so many seconds. At most a second is owed.
    pub(crate) fn pace(&self, now: Duration, seconds: f64) -> Duration {
        let mut next = self.next_write.lock();
        let turn = (*next).max(now) + Duration::from_secs_f64(seconds.clamp(0.0, 1.0));
        *next = turn.min(now + Duration::from_secs(1));
        turn - now
    }

    /// Removes a file that no manifest names. What cannot be removed is tried again with the next publication, and no purge vouches for it.
    pub(crate) fn discard(&self, name: String) {
        if self.storage.remove(&name).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound) {
            self.garbage.add_stuck(name);
        }
    }

    /// Has files removed that the durable manifest does not name any more: by a thread if there are threads, or now.
    pub(super) fn retire(&self, names: impl IntoIterator<Item = String>) {
        self.garbage.add(names);
        if self.options.background == Background::Threads {
            self.notify();
        } else {
            self.remove_garbage();
        }
    }

    /// Whether there is work for [`Self::remove_garbage`] that it has not tried yet.
    pub(crate) fn has_garbage(&self) -> bool {
        self.garbage.is_pending()
    }

    /// For whoever found the device full: whether there was something to remove, which is gone now.
    pub(crate) fn make_room(&self) -> bool {
        let pending = self.has_garbage();
        if pending {
            self.remove_garbage();
        }
        pending
    }

    /// Tries again what found the device full, if there was something to remove.
    pub(crate) fn with_room<T>(&self, attempt: impl Fn() -> Result<T>) -> Result<T> {
        match attempt() {
            Err(error) if error.kind() == ErrorKind::NoSpace && self.make_room() => attempt(),
            result => result,
        }
    }

    /// Removes all that is to be removed, once nobody else is about it. The names of what cannot be.
    pub(crate) fn remove_garbage(&self) -> Vec<String> {
        self.garbage.remove(&*self.storage)
    }

    /// Remembers the first failure after which nothing may be acknowledged, and passes it on.
    pub(crate) fn poison(&self, error: Error) -> Error {
        let error = error.stopping();
        self.poison.lock().get_or_insert_with(|| error.clone());
        self.poisoned.store(true, Ordering::Release);
        self.notify();
        error
    }

    /// Poisons if the error is that of a sync, be it of a file that is given up: a device that fails one is not trusted with the next.
    pub(crate) fn stopped_by_sync(&self, error: Error) -> Error {
        if error.is_failed_sync() { self.poison(error) } else { error }
    }

    /// Refuses to go on after a failed sync.
    pub(crate) fn check_healthy(&self) -> Result<()> {
        if !self.poisoned.load(Ordering::Acquire) {
            return Ok(());
        }
        let poison = self.poison.lock();
        if let Some(closed) = poison.as_ref().filter(|error| error.kind() == ErrorKind::Closed) {
            return Err(closed.clone());
        }
        let cause = poison.as_ref().map(ToString::to_string).unwrap_or_default();
        Err(Error::new(ErrorKind::Poisoned, format!("writing has stopped: {cause}"))
            .with_remedy("reads go on; reopen the database to write again"))
    }

    /// Stops writing for good: the database was closed.
    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Files being written count: they are on the device before a manifest names them.
    pub(crate) fn space(&self) -> Space {
        let named = *self.space.lock();
        Space { total: named.total + self.unpublished.load(Ordering::Relaxed), ..named }
    }

    pub(crate) fn add_unpublished(&self, bytes: u64) {
        self.unpublished.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn take_unpublished(&self, bytes: u64) {
        self.unpublished.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_space(&self, live: u64, total: u64) {
        let now = self.clock().elapsed();
        let mut recent = self.recent_live.lock();
        // Each entry is the largest of those behind it.
        while recent.back().is_some_and(|(_, earlier)| *earlier <= live) {
            recent.pop_back();
        }
        recent.push_back((now, live));
        while recent.len() > 1 && recent.front().is_some_and(|(at, _)| now.saturating_sub(*at) > RECENT) {
            recent.pop_front();
        }
        let live = recent.front().map_or(live, |(_, largest)| *largest);
        *self.space.lock() = Space { live, total, memtable_bytes: self.options.memtable_bytes as u64 };
    }

    pub(crate) fn set_aside(&self, segments: &[SegmentId]) {
        self.set_aside.lock().extend(segments);
    }

    pub(crate) fn is_set_aside(&self, segment: SegmentId) -> bool {
        self.set_aside.lock().contains(&segment)
    }

    pub(crate) fn all_set_aside(&self) -> BTreeSet<SegmentId> {
        self.set_aside.lock().clone()
    }

    /// Notes that compaction found nothing to do after so many manifests.
    pub(crate) fn note_compact(&self, manifests: u64) {
        self.compact_at.store(manifests, Ordering::Release);
        self.notify();
    }

    /// Whether compaction has seen the newest version and has nothing to do: waiting for it is in vain.
    pub(crate) fn is_compact(&self) -> bool {
        self.compact_at.load(Ordering::Acquire) == self.counters.manifests.get()
    }

    /// Why memtables cannot be emptied, if they cannot.
    pub(crate) fn flush_error(&self) -> Option<Error> {
        self.flush_error.lock().clone()
    }

    pub(crate) fn set_flush_error(&self, error: Option<Error>) {
        *self.flush_error.lock() = error;
    }

    pub(crate) fn compaction_error(&self) -> Option<Error> {
        self.compaction_error.lock().clone()
    }

    pub(crate) fn set_compaction_error(&self, error: Option<Error>) {
        *self.compaction_error.lock() = error;
    }

    pub(crate) fn note_write(&self) {
        self.last_write.store(self.clock().elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    /// Notes that the active log holds bytes which shall go.
    pub(crate) fn note_delete(&self) {
        let now = (self.clock().elapsed().as_micros() as u64).max(1);
        let _first_stays = self.first_delete.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Whether deleted bytes have been in the active log for their share of `erase_after`.
    pub(crate) fn is_erase_due(&self) -> bool {
        let first = self.first_delete.load(Ordering::Relaxed);
        first > 0 && self.clock().elapsed().saturating_sub(Duration::from_micros(first)) >= self.options.erase_after / 4
    }

    /// How long writes have paused.
    pub(crate) fn since_last_write(&self) -> Duration {
        self.clock().elapsed().saturating_sub(Duration::from_micros(self.last_write.load(Ordering::Relaxed)))
    }

    /// Ends background work after what it is doing.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.notify();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits a while, or until background work shall end.
    pub(crate) fn pause(&self, duration: Duration) {
        let until = self.clock().elapsed() + duration;
        while !self.is_stopping() {
            let left = until.saturating_sub(self.clock().elapsed());
            if left.is_zero() {
                break;
            }
            self.wait_change(self.changes(), left);
        }
    }

    pub(crate) fn notify(&self) {
        *self.signal.lock() += 1;
        self.changed.notify_all();
    }

    /// Number of changes so far, for [`Self::wait_change`].
    pub(crate) fn changes(&self) -> u64 {
        *self.signal.lock()
    }

    /// Waits until something changed since `seen`, at most for a while.
    pub(crate) fn wait_change(&self, seen: u64, at_most: Duration) {
        let mut signal = self.signal.lock();
        if *signal == seen {
            self.changed.wait_for(&mut signal, at_most);
        }
    }

    /// Moves the active memtable aside and goes on in another log. `false` if there is nothing to freeze, a frozen one waits still, or no
    /// spare is named yet.
    pub(crate) fn freeze(&self, writer: &mut WriterState) -> Result<bool> {
        let view = self.view();
        if view.frozen.is_some() {
            return Ok(false);
        }
        // A log without a batch is that other log already: a full device made the writer rotate, and the batch did not fit there either.
        match (writer.log.is_empty(), writer.older.is_empty()) {
            (true, true) => return Ok(false),
            (true, false) => {}
            (false, _) if writer.spare.is_none() => return Ok(false),
            (false, _) => self.rotate(writer)?,
        }
        self.first_delete.store(0, Ordering::Relaxed);
        let log = writer.older.last().map_or(0, |(entry, _)| entry.number);
        let sequence = writer.next_sequence.saturating_sub(1);
        self.install(view.frozen(Frozen { memtable: Arc::clone(&view.active), catalog: writer.catalog.clone(), sequence, log }));
        Ok(true)
    }

    /// Switches to the spare log.
    pub(crate) fn rotate(&self, writer: &mut WriterState) -> Result<()> {
        self.check_healthy()?;
        writer.sync(&self.counters).map_err(|error| self.poison(error))?;
        let Some(spare) = writer.spare.take() else { return Ok(()) };
        let (entry, sealed) = (writer.log.entry(), writer.log.seal());
        match spare.activate(Some((entry.number, sealed)), writer.next_sequence) {
            Ok(log) => {
                writer.log = log;
                writer.activation_unsynced = true;
                writer.older.push((entry, sealed));
                Ok(())
            }
            Err((_spare, error)) => Err(self.poison(error)),
        }
    }

    /// A new log file for the next rotation; not named in a manifest yet.
    pub(crate) fn create_spare(&self) -> Result<SpareLog> {
        SpareLog::create(&*self.storage, self.database, self.next_file(), self.random_id()?).map_err(|error| self.stopped_by_sync(error))
    }
}

/// Bytes of segment files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Space {
    /// What live rows and their indexes occupied at most in the last minute; without those of damaged segments, here and below.
    pub(crate) live: u64,
    /// What the files occupy.
    pub(crate) total: u64,
    /// Budget of the memtables, which the bound contains.
    pub(crate) memtable_bytes: u64,
}

impl Space {
    /// How near the files are to their bound: 0 up to 1.6 times the live bytes and half of the memtables' budget, 1 from 1.9 times on. That half
    /// is what a flush writes; until it is published nobody knows how much of it is new, and at first nothing else is live.
    pub(crate) fn pressure(self) -> f64 {
        let least = (self.memtable_bytes / 8).max(1);
        let ratio = self.total.saturating_sub(self.memtable_bytes / 2) as f64 / self.live.max(least) as f64;
        ((ratio - 1.6) / 0.3).max(0.0)
    }
}

/// What a [`Shared`] starts from.
pub(crate) struct Parts {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) publisher: Publisher,
    pub(crate) writer: WriterState,
    pub(crate) view: View,
    pub(crate) next_file: FileNumber,
    pub(crate) next_segment: SegmentId,
}

#[cfg(test)]
mod tests {
    use super::Space;

    #[test]
    fn what_a_flush_writes_is_no_pressure_and_files_near_their_bound_are() {
        let pressure = |live, total| Space { live, total, memtable_bytes: 128 << 20 }.pressure();
        // Nothing is live before the first flush is published.
        assert!(pressure(0, 65 << 20) <= 0.0);
        assert!(pressure(1000 << 20, (1600 + 64) << 20) <= 0.0);
        assert!((0.4..0.6).contains(&pressure(1000 << 20, (1750 + 64) << 20)));
        assert!(pressure(1000 << 20, (1900 + 65) << 20) >= 1.0);
        // The bound is twice the live bytes and the budget, however little is live.
        for live in [0, 1 << 20, 16 << 20, 1 << 30] {
            assert!(pressure(live, 2 * live + (128 << 20)) >= 1.0, "{live}");
        }
    }
}
