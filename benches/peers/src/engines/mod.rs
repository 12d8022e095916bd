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

/// varvite without codes: what they cost and save.
pub const VECTORS_ONLY: &str = "varvite-f32";

pub fn open(name: &str, opening: Opening<'_>) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(opening.path)?;
    Ok(match name {
        "varvite" => Box::new(varvite::Varvite::open(opening, None)?),
        VECTORS_ONLY => Box::new(varvite::Varvite::open(opening, Some(::varvite::Codes::None))?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{Batch, Data},
        engine::Mode,
    };

    const DIMENSION: usize = 24;

    fn opening(path: &std::path::Path, mode: Mode) -> Opening<'_> {
        Opening { path, dimension: DIMENSION, mode, cache_bytes: 8 << 20, memtable_bytes: None }
    }

    fn ids(engine: &dyn Engine, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        engine.reader()?.scan(prefix, &mut |id, _| {
            found.push(id.to_vec());
            true
        })?;
        Ok(found)
    }

    /// An adapter that loses, doubles or reorders would be measured doing less work than the others.
    fn conforms(name: &str) -> Result<()> {
        let directory = std::env::temp_dir().join(format!("varvite-peers-{}-{name}", std::process::id()));
        let data = Data::random(250, DIMENSION);
        for mode in [Mode::Buffered, Mode::Durable] {
            let path = directory.join(if mode == Mode::Durable { "durable" } else { "buffered" });
            let engine = open(name, opening(&path, mode))?;
            engine.put_batch(&Batch::of(&data, &data.order(), 0))?;
            engine.put(&data.id(3), data.vector(3, 1))?;
            engine.delete_batch(&[data.id(4)])?;
            engine.flush()?;
            engine.settle()?;
            drop(engine);
            let engine = open(name, opening(&path, mode))?;
            let expected: Vec<Vec<u8>> = (0..250).filter(|row| *row != 4).map(|row| data.id(row)).collect();
            assert_eq!(ids(&*engine, b"")?, expected, "{name}");
            assert_eq!(ids(&*engine, b"doc-000001")?, expected[99..199], "{name}");
            let mut reader = engine.reader()?;
            for (row, version) in [(0, 0), (3, 1), (249, 0)] {
                let (mut seen, bytes) = (Vec::new(), bytemuck::cast_slice::<f32, u8>(data.vector(row, version)));
                assert!(reader.get(&data.id(row), &mut |row| seen = row.to_vec())?, "{name}");
                assert_eq!(seen, bytes, "{name}");
            }
            assert!(!reader.get(&data.missing_id(3), &mut |_| ())?, "{name}");
            assert_eq!(reader.multi_get(&[data.id(1), data.id(4), data.id(9)], &mut |_| ())?, 2, "{name}");
            assert_eq!(reader.search(data.vector(9, 0), 10)?.len(), 10, "{name}");
        }
        let engine = open(name, opening(&directory.join("bulk"), Mode::Buffered))?;
        engine.bulk_load(&mut data.sorted().iter().map(|(id, row)| (id.as_slice(), data.vector(*row, 0))))?;
        assert_eq!(ids(&*engine, b"")?.len(), 250, "{name}");
        drop(engine);
        Ok(std::fs::remove_dir_all(directory)?)
    }

    #[test]
    fn every_adapter_keeps_what_it_is_given() -> Result<()> {
        NAMES.iter().chain([&VECTORS_ONLY]).try_for_each(|name| conforms(name))
    }
}
