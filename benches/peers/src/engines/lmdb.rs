//! LMDB through heed: a B+ tree in a file mapping. Without MDB_WRITEMAP, whose documentation warns of stray writes.

use heed::{Database, Env, EnvFlags, EnvOpenOptions, PutFlags, RoTxn, WithoutTls, types::Bytes};

use super::mode_setting;
use crate::{
    data::Batch,
    engine::{Engine, Mode, Opening, Reader, Result},
};

/// Address space, not memory: larger than every data set.
const MAP_BYTES: usize = 256 << 30;
/// Rows a transaction of a bulk load: its dirty pages are kept in memory.
const BULK_ROWS: usize = 20_000;

pub struct Lmdb {
    env: Env<WithoutTls>,
    docs: Database<Bytes, Bytes>,
    mode: Mode,
}

impl Lmdb {
    pub fn open(opening: Opening<'_>) -> Result<Self> {
        // Readers are not tied to threads, so that a thread may read beside its own write.
        let mut options = EnvOpenOptions::new().read_txn_without_tls();
        options.map_size(MAP_BYTES).max_readers(64);
        if opening.mode == Mode::Buffered {
            // SAFETY: what is lost with the system is measured for nobody; a kill loses nothing without MDB_WRITEMAP.
            unsafe { options.flags(EnvFlags::NO_SYNC) };
        }
        // SAFETY: nobody else opens or changes the file.
        let env = unsafe { options.open(opening.path)? };
        let mut write = env.write_txn()?;
        let docs = env.create_database::<Bytes, Bytes>(&mut write, None)?;
        write.commit()?;
        Ok(Self { env, docs, mode: opening.mode })
    }
}

impl Engine for Lmdb {
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("options", "defaults; map of 256 GiB; bulk load sorted, with MDB_APPEND".into()),
            mode_setting(self.mode, "MDB_NOSYNC, then mdb_env_sync", "a transaction each"),
        ]
    }

    fn put_batch(&self, batch: &Batch) -> Result<()> {
        let mut write = self.env.write_txn()?;
        for (id, row) in batch.entries() {
            self.docs.put(&mut write, id, bytemuck::cast_slice(row))?;
        }
        Ok(write.commit()?)
    }

    fn put(&self, id: &[u8], row: &[f32]) -> Result<()> {
        let mut write = self.env.write_txn()?;
        self.docs.put(&mut write, id, bytemuck::cast_slice(row))?;
        Ok(write.commit()?)
    }

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()> {
        let mut write = self.env.write_txn()?;
        for id in ids {
            self.docs.delete(&mut write, id)?;
        }
        Ok(write.commit()?)
    }

    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()> {
        let mut rows = rows.peekable();
        while rows.peek().is_some() {
            let mut write = self.env.write_txn()?;
            for (id, row) in rows.by_ref().take(BULK_ROWS) {
                self.docs.put_with_flags(&mut write, PutFlags::APPEND, id, bytemuck::cast_slice(row))?;
            }
            write.commit()?;
        }
        self.settle()
    }

    fn flush(&self) -> Result<()> {
        Ok(self.env.force_sync()?)
    }

    fn settle(&self) -> Result<()> {
        self.flush()
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(LmdbReader { docs: self.docs, read: self.env.read_txn()? }))
    }
}

struct LmdbReader<'a> {
    docs: Database<Bytes, Bytes>,
    read: RoTxn<'a, WithoutTls>,
}

impl Reader for LmdbReader<'_> {
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.docs.get(&self.read, id)?.inspect(|row| visit(row)).is_some())
    }

    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        // An empty prefix has no end to seek: LMDB refuses empty keys.
        if prefix.is_empty() {
            for entry in self.docs.iter(&self.read)? {
                let (id, row) = entry?;
                if !visit(id, row) {
                    break;
                }
            }
            return Ok(());
        }
        for entry in self.docs.prefix_iter(&self.read, prefix)? {
            let (id, row) = entry?;
            if !visit(id, row) {
                break;
            }
        }
        Ok(())
    }
}
