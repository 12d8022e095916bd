//! Counters behind `stats()`, and events for the `tracing` feature.

use crate::sync::{AtomicU64, Ordering, thread_number};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// Monotone counters since the database was opened. Each may be added to from any thread.
        #[derive(Debug, Default)]
        pub(crate) struct Counters { $($(#[$doc])* pub(crate) $name: Counter),+ }
    };
}

counters! {
    /// Bytes written into log files, headers included.
    log_bytes,
    /// Bytes written into segment files by flushes.
    flush_bytes,
    /// Bytes written into segment files by compactions.
    compaction_bytes,
    /// Bytes written into segment files by bulk loads.
    bulk_bytes,
    /// Data syncs of logs.
    log_syncs,
    /// Batches committed.
    batches,
    /// Records written, deletions among them.
    records,
    /// Flushes published.
    flushes,
    /// Compactions published.
    compactions,
    /// Manifests published.
    manifests,
    /// Writes that were slowed down.
    stalls,
    /// Microseconds that writes were slowed down in total.
    stall_micros,
    /// Microseconds that one write was slowed down at most.
    longest_stall_micros,
}

/// A relaxed counter: only its total matters.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// For one that keeps the greatest amount instead of the sum.
    pub(crate) fn raise(&self, amount: u64) {
        self.0.fetch_max(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts of look-ups by id, a cache line for each of sixteen threads, so that reading threads do not share one.
#[derive(Debug, Default)]
pub(crate) struct Lookups([LookupShard; 16]);

#[derive(Debug, Default)]
#[repr(align(64))]
struct LookupShard {
    lookups: Counter,
    in_memtable: Counter,
    asked: Counter,
    held: Counter,
}

/// What one look-up did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Probes {
    /// Found in a memtable, deleted or not.
    pub(crate) in_memtable: u64,
    /// Segments whose id hash was asked.
    pub(crate) asked: u64,
    /// Of those, segments that hold the id, dead or alive.
    pub(crate) held: u64,
}

impl Lookups {
    pub(crate) fn add(&self, probes: Probes) {
        if let Some(shard) = self.0.get(thread_number() % self.0.len()) {
            shard.lookups.add(1);
            if probes.in_memtable > 0 {
                shard.in_memtable.add(probes.in_memtable);
            }
            if probes.asked > 0 {
                shard.asked.add(probes.asked);
                shard.held.add(probes.held);
            }
        }
    }

    /// Look-ups, and what they did in all.
    pub(crate) fn total(&self) -> (u64, Probes) {
        let sum = |count: fn(&LookupShard) -> &Counter| self.0.iter().map(|shard| count(shard).get()).sum();
        let probes =
            Probes { in_memtable: sum(|shard| &shard.in_memtable), asked: sum(|shard| &shard.asked), held: sum(|shard| &shard.held) };
        (sum(|shard| &shard.lookups), probes)
    }
}

/// Emits a `tracing` event at debug level when the feature is on; costs nothing otherwise.
macro_rules! event {
    ($($argument:tt)*) => {{
        #[cfg(feature = "tracing")]
        tracing::debug!(target: "varvite", $($argument)*);
    }};
}
pub(crate) use event;
