#![doc = include_str!("../README.md")]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("varvite needs a 64-bit little-endian target: stored rows are read in place");

mod compaction;
mod database;
mod dump;
mod error;
mod flush;
mod format;
#[cfg(any(fuzzing, test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod io;
mod kernel;
mod log;
mod manifest;
mod memtable;
mod merge;
mod observe;
mod options;
mod read;
mod search;
mod segment;
mod sync;
mod types;
mod version;
mod write;

pub use database::{
    Batch, Collection, CollectionInfo, CollectionSnapshot, CollectionStats, Commit, Database, DuplicatePolicy, Hit, Lost, PurgeReceipt,
    RepairReport, Snapshot, Stats, VerifyReport,
};
pub use dump::dump;
pub use error::{Error, ErrorKind, Result};
pub use kernel::Instructions;
pub use options::{Background, ChecksumMode, Durability, Options, ReadMode};
pub use read::{Row, Rows};
pub use search::{Explanation, Search};
pub use types::{Codes, Fields, Metadata, Metric, Payload, Record, Value};
