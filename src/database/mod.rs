//! The facade of a database: open, schema, maintenance, close.

mod background;
mod batch;
mod bulk;
mod checkpoint;
mod collection;
mod handle;
mod open;
mod purge;
mod reader;
mod recover;

mod repair;
mod salvage;
mod salvage_files;
mod salvage_logs;
mod snapshot;
mod stats;
mod target;
mod verify;

pub use batch::{Batch, Commit};
pub use bulk::DuplicatePolicy;
pub use collection::{Collection, Hit};
pub use handle::{CollectionInfo, Database};
pub use purge::PurgeReceipt;

pub use repair::{Lost, RepairReport};
pub use snapshot::{CollectionSnapshot, Snapshot};
pub use stats::{CollectionStats, Stats};
pub use verify::VerifyReport;

pub(crate) use handle::Inner;
