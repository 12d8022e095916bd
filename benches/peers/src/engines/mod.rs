//! One adapter a file.

mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sqlite;
mod varvite;

use crate::engine::{Engine, Opening, Result};

/// Engines of this program, as they are named in results. `machine` is none: it stands for the raw probes.
pub const NAMES: &[&str] = &[
    "varvite",
    #[cfg(feature = "rocksdb")]
    "rocksdb",
    "fjall",
    "lmdb",
    "redb",
    "sqlite",
];

pub fn open(name: &str, opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(opening.path)?;
    Ok(match name {
        "varvite" => Box::new(varvite::Varvite::open(opening)?),
        #[cfg(feature = "rocksdb")]
        "rocksdb" => Box::new(rocksdb::RocksDb::open(opening)?),
        "fjall" => Box::new(fjall::Fjall::open(opening)?),
        "lmdb" => Box::new(lmdb::Lmdb::open(opening)?),
        "redb" => Box::new(redb::Redb::open(opening)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(opening)?),
        other => return Err(format!("no engine is named {other} (RocksDB needs --features rocksdb)").into()),
    })
}

fn mode_setting(mode: crate::engine::Mode, buffered: &str, durable: &str) -> (&'static str, String) {
    (
        "acknowledged",
        match mode {
            crate::engine::Mode::Buffered => format!("unsynced: {buffered}"),
            crate::engine::Mode::Durable => format!("synced: {durable}"),
        },
    )
}
