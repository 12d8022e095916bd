//! Counters behind `stats()`, and events for the `tracing` feature.

use crate::sync::{AtomicU64, Ordering};

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
}

/// A relaxed counter: only its total matters.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
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
