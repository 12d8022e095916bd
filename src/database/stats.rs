use std::time::Duration;

use super::{Database, Inner};
use crate::{error::Result, version::Shared};

/// Figures of one collection.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct CollectionStats {
    /// Its name.
    pub name: String,
    /// Number of records.
    pub count: u64,
    /// Sorted runs: segments a miss has to ask.
    pub runs: u64,
    /// Segments.
    pub segments: u64,
    /// Bytes that live rows and their indexes occupy in segments.
    pub live_bytes: u64,
    /// Bytes that segments occupy.
    pub segment_bytes: u64,
}

/// Figures of a database. Counters start at open; bytes are those of files unless said otherwise.
///
/// ```
/// use varvite::{Database, Metric, Options};
/// let db = Database::in_memory(Options::default())?;
/// db.create_collection("docs", 2, Metric::L2)?.insert("a", &[1.0, 2.0])?;
/// let stats = db.stats()?;
/// assert_eq!(stats.collections[0].count, 1);
/// assert!(stats.log_syncs >= 1 && stats.log_bytes_written > 8);
/// assert!(db.collection("docs")?.contains("a")?);
/// assert_eq!(db.stats()?.memtable_hits, 1);
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// Figures by collection, in the order of their names.
    pub collections: Vec<CollectionStats>,
    /// What live rows and their indexes occupy in segment files.
    pub live_bytes: u64,
    /// What the segment files occupy.
    pub total_bytes: u64,
    /// `total_bytes` less `live_bytes`.
    pub dead_bytes: u64,
    /// Removed segment files that snapshots, rows or iterators of this process keep on the device.
    pub pinned_bytes: u64,
    /// What the log files occupy.
    pub log_bytes: u64,
    /// Memory of the memtables.
    pub memtable_bytes: u64,
    /// Highest visible sequence.
    pub sequence: u64,
    /// Batches committed.
    pub batches: u64,
    /// Records written, deletions among them.
    pub records: u64,
    /// Bytes written into the log.
    pub log_bytes_written: u64,
    /// Bytes written by flushes.
    pub flush_bytes_written: u64,
    /// Bytes written by compactions.
    pub compaction_bytes_written: u64,
    /// Bytes written by bulk loads.
    pub bulk_bytes_written: u64,
    /// Data syncs of the log.
    pub log_syncs: u64,
    /// Flushes published.
    pub flushes: u64,
    /// Compactions published.
    pub compactions: u64,
    /// Manifests published.
    pub manifests: u64,
    /// Writes that were slowed down.
    pub stalls: u64,
    /// Time that writes were slowed down, in total.
    pub stall_time: Duration,
    /// Time that one write was slowed down, at most.
    pub longest_stall: Duration,
    /// Look-ups by id, those of writes among them.
    pub lookups: u64,
    /// Look-ups that a memtable answered.
    pub memtable_hits: u64,
    /// Segments whose id hash was asked, over all look-ups.
    pub segments_asked: u64,
    /// Of those, segments that hold the id; the hash of all others answered "not here".
    pub segments_hit: u64,
    /// Damage that did not stop the open, as text.
    pub damages: Vec<String>,
    /// Why the last flush or compaction failed, if it did.
    pub background_error: Option<String>,
}

impl Database {
    /// Figures of this moment.
    ///
    /// # Errors
    /// None at present.
    pub fn stats(&self) -> Result<Stats> {
        let reading = self.inner.reading();
        let mut stats = Stats { sequence: reading.sequence, ..Stats::default() };
        for meta in reading.view.catalog.collections.values() {
            let mut collection = CollectionStats { name: meta.name.clone(), count: reading.count(meta.id), ..CollectionStats::default() };
            if let Some(version) = reading.version(meta.id) {
                collection.runs = version.runs.len() as u64;
                collection.segments = version.segments().count() as u64;
                collection.live_bytes = version.segments().map(|live| live.live_bytes()).sum();
                collection.segment_bytes = version.segments().map(|live| live.entry.len).sum();
            }
            stats.collections.push(collection);
        }
        stats.collections.sort_by(|a, b| a.name.cmp(&b.name));
        stats.live_bytes = reading.view.version.segments().map(|live| live.live_bytes()).sum();
        stats.memtable_bytes = reading.view.memtables().map(|memtable| memtable.bytes() as u64).sum();
        let (lookups, probes) = reading.view.lookups.total();
        (stats.lookups, stats.memtable_hits) = (lookups, probes.in_memtable);
        (stats.segments_asked, stats.segments_hit) = (probes.asked, probes.held);
        let storage = match &*self.inner {
            Inner::Writer(writer) => {
                add_counters(&writer.shared, &mut stats);
                stats.damages = writer.damages.iter().map(ToString::to_string).collect();
                &*writer.shared.storage
            }
            Inner::Reader(reader) => {
                let files = reading.view.version.segments().map(|live| (live.entry.file, live.segment.file().entry().len));
                stats.total_bytes = files.collect::<std::collections::BTreeMap<_, _>>().into_values().sum();
                reader.storage()
            }
        };
        let names = storage.list().unwrap_or_default();
        stats.log_bytes = names.iter().filter(|info| info.name.starts_with("log-")).map(|info| info.len).sum();
        stats.dead_bytes = stats.total_bytes.saturating_sub(stats.live_bytes);
        Ok(stats)
    }
}

fn add_counters(shared: &Shared, stats: &mut Stats) {
    {
        let publisher = shared.publisher.lock();
        stats.total_bytes = publisher.files().values().map(|named| named.entry.len).sum();
        stats.pinned_bytes = publisher.pinned_bytes();
    }
    let counters = &shared.counters;
    stats.batches = counters.batches.get();
    stats.records = counters.records.get();
    stats.log_bytes_written = counters.log_bytes.get();
    stats.flush_bytes_written = counters.flush_bytes.get();
    stats.compaction_bytes_written = counters.compaction_bytes.get();
    stats.bulk_bytes_written = counters.bulk_bytes.get();
    stats.log_syncs = counters.log_syncs.get();
    stats.flushes = counters.flushes.get();
    stats.compactions = counters.compactions.get();
    stats.manifests = counters.manifests.get();
    stats.stalls = counters.stalls.get();
    stats.stall_time = Duration::from_micros(counters.stall_micros.get());
    stats.longest_stall = Duration::from_micros(counters.longest_stall_micros.get());
    stats.background_error = shared.flush_error().or_else(|| shared.compaction_error()).map(|error| error.to_string());
}
