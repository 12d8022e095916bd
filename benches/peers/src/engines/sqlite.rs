//! SQLite with a write-ahead log. A rowid table: its documentation advises WITHOUT ROWID only for rows under a twentieth of a page.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension, params};

use super::mode_setting;
use crate::{
    data::Batch,
    engine::{Engine, Mode, Opening, Reader, Result},
};

const UPSERT: &str = "INSERT INTO docs (id, vector) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET vector = excluded.vector";
/// "Internal Versus External BLOBs": pages of 8 or 16 KiB suit large values.
const PAGE_BYTES: u32 = 8192;

pub struct Sqlite {
    /// A connection is for one thread: writers share one (SQLite has one writer anyway), each reader opens its own.
    writer: Mutex<Connection>,
    path: PathBuf,
    mode: Mode,
    cache_bytes: usize,
}

fn connect(path: &Path, cache_bytes: usize, mode: Mode) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(60))?;
    db.pragma_update(None, "page_size", PAGE_BYTES)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", if mode == Mode::Durable { "FULL" } else { "NORMAL" })?;
    db.pragma_update(None, "mmap_size", cache_bytes as i64)?;
    db.set_prepared_statement_cache_capacity(16);
    Ok(db)
}

impl Sqlite {
    pub fn open(opening: Opening<'_>) -> Result<Self> {
        let path = opening.path.join("db.sqlite");
        let db = connect(&path, opening.cache_bytes, opening.mode)?;
        db.execute_batch("CREATE TABLE IF NOT EXISTS docs (id BLOB PRIMARY KEY NOT NULL, vector BLOB NOT NULL)")?;
        Ok(Self { writer: Mutex::new(db), path, mode: opening.mode, cache_bytes: opening.cache_bytes })
    }

    fn writer(&self) -> std::sync::MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Engine for Sqlite {
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("options", format!("journal_mode=WAL, page_size={PAGE_BYTES}, mmap_size={} MiB, prepared statements", self.cache_bytes >> 20)),
            ("table", "rowid table with a unique index of ids; bulk load sorted, in one transaction".into()),
            mode_setting(self.mode, "synchronous=NORMAL", "synchronous=FULL"),
        ]
    }

    fn put_batch(&self, batch: &Batch) -> Result<()> {
        let mut db = self.writer();
        let write = db.transaction()?;
        {
            let mut upsert = write.prepare_cached(UPSERT)?;
            for (id, row) in batch.entries() {
                upsert.execute(params![id, bytemuck::cast_slice::<f32, u8>(row)])?;
            }
        }
        Ok(write.commit()?)
    }

    fn put(&self, id: &[u8], row: &[f32]) -> Result<()> {
        self.writer().prepare_cached(UPSERT)?.execute(params![id, bytemuck::cast_slice::<f32, u8>(row)])?;
        Ok(())
    }

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()> {
        let mut db = self.writer();
        let write = db.transaction()?;
        {
            let mut delete = write.prepare_cached("DELETE FROM docs WHERE id = ?1")?;
            for id in ids {
                delete.execute(params![id])?;
            }
        }
        Ok(write.commit()?)
    }

    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()> {
        {
            let mut db = self.writer();
            let write = db.transaction()?;
            {
                let mut insert = write.prepare_cached("INSERT INTO docs (id, vector) VALUES (?1, ?2)")?;
                for (id, row) in rows {
                    insert.execute(params![id, bytemuck::cast_slice::<f32, u8>(row)])?;
                }
            }
            write.commit()?;
        }
        self.settle()
    }

    fn flush(&self) -> Result<()> {
        // In WAL mode synchronous=NORMAL syncs at checkpoints: there is no other call that does.
        let _moved: i64 = self.writer().query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))?;
        Ok(())
    }

    fn settle(&self) -> Result<()> {
        let busy: i64 = self.writer().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
        if busy == 0 { Ok(()) } else { Err("the checkpoint was blocked by a reader".into()) }
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        let db = connect(&self.path, self.cache_bytes, self.mode)?;
        // One transaction for all reads spares each the lock of its own.
        db.execute_batch("BEGIN")?;
        Ok(Box::new(SqliteReader { db }))
    }
}

struct SqliteReader {
    db: Connection,
}

impl Reader for SqliteReader {
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let mut select = self.db.prepare_cached("SELECT vector FROM docs WHERE id = ?1")?;
        let found = select
            .query_row([id], |row| {
                visit(row.get_ref(0)?.as_blob()?);
                Ok(())
            })
            .optional()?;
        Ok(found.is_some())
    }

    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut select = self.db.prepare_cached("SELECT id, vector FROM docs WHERE id >= ?1 ORDER BY id")?;
        let mut rows = select.query([prefix])?;
        while let Some(row) = rows.next()? {
            let id = row.get_ref(0)?.as_blob()?;
            if !id.starts_with(prefix) || !visit(id, row.get_ref(1)?.as_blob()?) {
                break;
            }
        }
        Ok(())
    }
}
