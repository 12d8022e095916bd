//! fjall: an LSM tree in Rust. Values of a vector's size are kept in the tree, as for RocksDB: its documentation means key-value separation for
//! larger ones, and separation has a laxer bound of space.

use std::time::Duration;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Snapshot};

use super::mode_setting;
use crate::{
    data::Batch,
    engine::{Engine, Mode, Opening, Reader, Result},
};

pub struct Fjall {
    db: Database,
    docs: Keyspace,
    mode: Mode,
    cache_bytes: usize,
}

impl Fjall {
    pub fn open(opening: Opening<'_>) -> Result<Self> {
        let db = Database::builder(opening.path.join("db")).cache_size(opening.cache_bytes as u64).open()?;
        let options = || {
            let options = KeyspaceCreateOptions::default();
            opening.memtable_bytes.map_or_else(KeyspaceCreateOptions::default, |bytes| options.max_memtable_size(bytes as u64))
        };
        let docs = db.keyspace("docs", options)?;
        Ok(Self { db, docs, mode: opening.mode, cache_bytes: opening.cache_bytes })
    }

    fn persist(&self) -> Option<PersistMode> {
        match self.mode {
            // A write alone may stay in the process.
            Mode::Buffered => Some(PersistMode::Buffer),
            Mode::Durable => Some(PersistMode::SyncData),
        }
    }
}

impl Engine for Fjall {
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("options", "defaults: memtables of 64 MiB, leveled, LZ4, blocks of 4 KiB".into()),
            ("cache", format!("{} MiB: a quarter of memory, as its documentation advises", self.cache_bytes >> 20)),
            mode_setting(self.mode, "journal flushed to the system after each write", "PersistMode::SyncData"),
        ]
    }

    fn put_batch(&self, batch: &Batch) -> Result<()> {
        let mut write = self.db.batch().durability(self.persist());
        for (id, row) in batch.entries() {
            write.insert(&self.docs, id, bytemuck::cast_slice::<f32, u8>(row));
        }
        Ok(write.commit()?)
    }

    fn put(&self, id: &[u8], row: &[f32]) -> Result<()> {
        self.docs.insert(id, bytemuck::cast_slice::<f32, u8>(row))?;
        if let Some(mode) = self.persist() {
            self.db.persist(mode)?;
        }
        Ok(())
    }

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()> {
        let mut write = self.db.batch().durability(self.persist());
        for id in ids {
            write.remove(&self.docs, id.as_slice());
        }
        Ok(write.commit()?)
    }

    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()> {
        let mut ingestion = self.docs.start_ingestion()?;
        for (id, row) in rows {
            ingestion.write(id, bytemuck::cast_slice::<f32, u8>(row))?;
        }
        ingestion.finish()?;
        self.settle()
    }

    fn flush(&self) -> Result<()> {
        self.docs.rotate_memtable_and_wait()?;
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn settle(&self) -> Result<()> {
        self.docs.rotate_memtable_and_wait()?;
        // There is no call that waits for compactions: quiet for a while is taken for done, a short one, since it counts as fjall's time.
        let mut quiet = 0;
        let mut before = self.db.compactions_completed();
        while quiet < 10 {
            std::thread::sleep(Duration::from_millis(1));
            let now = self.db.compactions_completed();
            let busy = self.db.active_compactions() > 0 || self.db.outstanding_flushes() > 0 || now != before;
            quiet = if busy { 0 } else { quiet + 1 };
            before = now;
        }
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(FjallReader { docs: &self.docs, snapshot: self.db.snapshot() }))
    }
}

struct FjallReader<'a> {
    docs: &'a Keyspace,
    snapshot: Snapshot,
}

impl Reader for FjallReader<'_> {
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let row = self.snapshot.get(self.docs, id)?;
        Ok(row.inspect(|row| visit(row)).is_some())
    }

    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        for entry in self.snapshot.prefix(self.docs, prefix) {
            let (id, row) = entry.into_inner()?;
            if !visit(&id, &row) {
                break;
            }
        }
        Ok(())
    }
}
