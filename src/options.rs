//! Options of a database. Defaults suit a service that keeps hundreds of thousands of embeddings.

use std::time::Duration;

/// When a write is acknowledged.
///
/// ```
/// use varvite::{Durability, Options};
/// let options = Options::default().with_durability(Durability::Buffered);
/// assert_eq!(Options::default().durability, Durability::Synced);
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// After its bytes are synced to the device.
    #[default]
    Synced,
    /// After its bytes are handed to the operating system: they survive a kill of the process, not a power cut.
    /// `Commit::wait` makes them durable.
    Buffered,
    /// Like `Buffered`, and synced by a thread of the database at most this long after (or with a later write that is synced). With
    /// [`Background::Inline`] there is no thread: nothing is synced before the first write after that time, `Commit::wait` or the close.
    Interval(Duration),
}

/// How segment files are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadMode {
    /// Memory-mapped, zero-copy. A failing device or a file that somebody else truncates is a signal (SIGBUS).
    #[default]
    Mapped,
    /// Copied with positioned reads, each fill checked. For hostile places: everything is an error, nothing a signal.
    Copied,
}

/// How often the checksum of a row group is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChecksumMode {
    /// When it is first touched after open.
    #[default]
    FirstTouch,
    /// At every read.
    EveryRead,
}

/// Who runs flush and compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Background {
    /// Threads of the database.
    #[default]
    Threads,
    /// The writer that makes them due, before its write returns. Deterministic; for tests and single-threaded places. Nothing happens by
    /// itself: while nobody writes, no interval is kept, nothing is flushed, and deleted records stay where they are.
    Inline,
}

/// Options of a database; see each field for its trade-off.
///
/// ```
/// use varvite::Options;
/// let options = Options { memtable_bytes: 16 << 20, ..Options::default() };
/// assert_eq!(options.log_bytes, 256 << 20);
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    /// Default durability of writes.
    pub durability: Durability,
    /// Budget of all memtables, in bytes, and of each piece of a bulk load. Larger: less write amplification, more memory, longer recovery;
    /// below 256 KiB, which is what a memtable begins with, every few writes are flushed. At least 4 KiB are taken, else every record of a
    /// bulk load would be a file. Default 128 MiB.
    pub memtable_bytes: usize,
    /// Budget of all log files, in bytes. At least 1 MiB is taken: with less, every write would end its log. Default 256 MiB.
    pub log_bytes: u64,
    /// Memory of one merge or ascending bulk load beside its vectors (ids, index, codes, payloads of the segment being built), in bytes: where it is
    /// used up, the segment ends. At least 64 KiB are taken. Default 16 MiB.
    pub merge_bytes: usize,
    /// Whether NaN and infinities are accepted (and kept bit-exactly). Default no: they are refused by name.
    pub allow_non_finite: bool,
    /// How segment files are read.
    pub read_mode: ReadMode,
    /// How often row checksums are compared.
    pub checksum_mode: ChecksumMode,
    /// Who runs flush and compaction.
    pub background: Background,
    /// How long writes must pause before the memtable is flushed and the log retired. Default 1 s.
    pub idle_flush_after: Duration,
    /// How long deleted records may stay in the files, logs included: after a quarter of it the log is retired, after a third of it a segment is
    /// rewritten, which leaves time for the work. What updates superseded goes in the same way once writes pause; while they go on, it goes when
    /// room is needed. Shorter: more writing where deletes are few and scattered. `Collection::purge` erases at once. Default 60 s.
    ///
    /// With [`Background::Inline`] it is looked at after a write only, and files are rewritten when a write has caused a flush. A file with a
    /// damaged segment stays as it is, deleted records in it included, until `repair`.
    pub erase_after: Duration,
    /// Whether a missing database is created by `open`. Default yes.
    pub create_if_missing: bool,
    /// Whether a network file system, whose locks may be unreliable, is accepted. Default no.
    pub allow_network_file_system: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            durability: Durability::Synced,
            memtable_bytes: 128 << 20,
            log_bytes: 256 << 20,
            merge_bytes: 16 << 20,
            allow_non_finite: false,
            read_mode: ReadMode::Mapped,
            checksum_mode: ChecksumMode::FirstTouch,
            background: Background::Threads,
            idle_flush_after: Duration::from_secs(1),
            erase_after: Duration::from_secs(60),
            create_if_missing: true,
            allow_network_file_system: false,
        }
    }
}

impl Options {
    /// Size from which a segment is worth a file of its own, in bytes: a 32nd of what a flush writes, at most 1 MiB.
    pub(crate) fn grain(&self) -> u64 {
        (self.memtable_bytes as u64 / 64).clamp(1 << 10, 1 << 20)
    }

    /// Memory of one merge, in bytes: with less, segments would be too small to be of use.
    pub(crate) fn merge_memory(&self) -> usize {
        self.merge_bytes.max(64 << 10)
    }

    /// The same with budgets large enough to work with.
    pub(crate) fn with_floors(mut self) -> Self {
        self.memtable_bytes = self.memtable_bytes.max(4 << 10);
        self.log_bytes = self.log_bytes.max(1 << 20);
        self
    }

    /// The same with another default durability.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}
