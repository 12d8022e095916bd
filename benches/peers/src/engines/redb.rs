//! redb: a copy-on-write B-tree in Rust.

use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use super::mode_setting;
use crate::{
    data::Batch,
    engine::{Engine, Mode, Opening, Reader, Result},
};

const DOCS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("docs");

pub struct Redb {
    db: Database,
    mode: Mode,
    cache_bytes: usize,
}

impl Redb {
    pub fn open(opening: Opening<'_>) -> Result<Self> {
        let db = Database::builder().set_cache_size(opening.cache_bytes).create(opening.path.join("db.redb"))?;
        let engine = Self { db, mode: opening.mode, cache_bytes: opening.cache_bytes };
        if engine.db.begin_read()?.open_table(DOCS).is_err() {
            let write = engine.db.begin_write()?;
            write.open_table(DOCS)?;
            write.commit()?;
        }
        Ok(engine)
    }

    fn write(&self) -> Result<WriteTransaction> {
        let mut write = self.db.begin_write()?;
        if self.mode == Mode::Buffered {
            write.set_durability(Durability::None)?;
        }
        Ok(write)
    }
}

impl Engine for Redb {
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("cache", format!("{} MiB: a quarter of memory", self.cache_bytes >> 20)),
            ("bulk load", "sorted, in one transaction".into()),
            mode_setting(
                self.mode,
                "Durability::None: in memory of the process until a durable commit, a kill loses it",
                "Durability::Immediate",
            ),
        ]
    }

    fn put_batch(&self, batch: &Batch) -> Result<()> {
        let write = self.write()?;
        {
            let mut docs = write.open_table(DOCS)?;
            for (id, row) in batch.entries() {
                docs.insert(id, bytemuck::cast_slice::<f32, u8>(row))?;
            }
        }
        Ok(write.commit()?)
    }

    fn put(&self, id: &[u8], row: &[f32]) -> Result<()> {
        let write = self.write()?;
        write.open_table(DOCS)?.insert(id, bytemuck::cast_slice::<f32, u8>(row))?;
        Ok(write.commit()?)
    }

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()> {
        let write = self.write()?;
        {
            let mut docs = write.open_table(DOCS)?;
            for id in ids {
                docs.remove(id.as_slice())?;
            }
        }
        Ok(write.commit()?)
    }

    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()> {
        let write = self.db.begin_write()?;
        {
            let mut docs = write.open_table(DOCS)?;
            for (id, row) in rows {
                docs.insert(id, bytemuck::cast_slice::<f32, u8>(row))?;
            }
        }
        Ok(write.commit()?)
    }

    fn flush(&self) -> Result<()> {
        // A durable commit makes all earlier ones durable.
        Ok(self.db.begin_write()?.commit()?)
    }

    fn settle(&self) -> Result<()> {
        self.flush()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(RedbReader { docs: self.db.begin_read()?.open_table(DOCS)? }))
    }
}

struct RedbReader {
    docs: ReadOnlyTable<&'static [u8], &'static [u8]>,
}

impl Reader for RedbReader {
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.docs.get(id)?.inspect(|row| visit(row.value())).is_some())
    }

    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        for entry in self.docs.range::<&[u8]>(prefix..)? {
            let (id, row) = entry?;
            if !id.value().starts_with(prefix) || !visit(id.value(), row.value()) {
                break;
            }
        }
        Ok(())
    }
}
