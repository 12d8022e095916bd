//! The one trait that every engine is driven through, so that every engine does the same work.

use std::path::Path;

use crate::{
    data::Batch,
    dot::{TopK, dot},
};

pub type Failure = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Failure>;

/// When a write is acknowledged. Every engine is opened in one of the two, because some (LMDB, SQLite) know no choice per write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Handed to the operating system: survives a kill of the process.
    Buffered,
    /// Synced to the device.
    Durable,
}

/// What an engine is told when it is opened: the same for all.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    pub path: &'a Path,
    pub dimension: usize,
    pub mode: Mode,
    /// For engines with a cache of their own; those that map files have the operating system's.
    pub cache_bytes: usize,
    /// What a log-structured engine flushes at once: one memtable, of which each of them may have two. None: the engine's default.
    pub memtable_bytes: Option<usize>,
}

/// A database with one table of rows: id → vector.
pub trait Engine: Send + Sync {
    /// How it is configured, beside its defaults, and why: printed with the results.
    fn settings(&self) -> Vec<(&'static str, String)>;

    /// Inserts or overwrites the rows of one batch, all or none.
    fn put_batch(&self, batch: &Batch) -> Result<()>;

    /// Inserts or overwrites one row.
    fn put(&self, id: &[u8], row: &[f32]) -> Result<()>;

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()>;

    /// Loads rows, which come in the order of their ids, into an empty table in the fastest way the engine documents. Durable and settled when it
    /// returns.
    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()>;

    /// Moves what is only journalled to where it stays, durably; compactions that it gives rise to are not waited for.
    fn flush(&self) -> Result<()>;

    /// Waits until everything is flushed, compacted as far as the engine wants it to be, and synced: nothing is left to do in the background.
    fn settle(&self) -> Result<()>;

    /// A view to read through. It may be one transaction: a workload that must see new writes takes a new one.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;
}

/// Bytes of rows are handed to a closure: no engine has to copy what it could lend.
pub trait Reader {
    /// Whether the id is there.
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool>;

    /// How many of the ids are there.
    fn multi_get(&mut self, ids: &[Vec<u8>], visit: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut found = 0;
        for id in ids {
            found += usize::from(self.get(id, visit)?);
        }
        Ok(found)
    }

    /// Rows whose id begins with the prefix, in the order of ids, until `visit` says no.
    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()>;

    /// The ids with the largest dot products. Engines without a search of their own are scanned with the same kernel.
    fn search(&mut self, query: &[f32], k: usize) -> Result<Vec<Vec<u8>>> {
        let mut top = TopK::new(k);
        self.scan(b"", &mut |id, row| {
            top.offer(dot(row, query), id);
            true
        })?;
        Ok(top.into_ids())
    }

    /// [`Reader::search`] for many queries.
    fn search_many(&mut self, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Vec<u8>>>> {
        queries.iter().map(|query| self.search(query, k)).collect()
    }
}
