//! varvite with its defaults, and without codes.

use varvite::{Codes, Collection, Database, DuplicatePolicy, Durability, Fields, Metric, Options};

use super::mode_setting;
use crate::{
    data::Batch,
    engine::{Engine, Mode, Opening, Reader, Result},
};

pub struct Varvite {
    db: Database,
    docs: Collection,
    mode: Mode,
}

impl Varvite {
    /// With the codes of the dimension, or others.
    pub fn open(opening: Opening<'_>, codes: Option<Codes>) -> Result<Self> {
        let durability = match opening.mode {
            Mode::Buffered => Durability::Buffered,
            Mode::Durable => Durability::Synced,
        };
        let mut options = Options::default().with_durability(durability);
        if let Some(bytes) = opening.memtable_bytes {
            // Its budget is that of all memtables: the one that is written to is frozen and flushed at half of it.
            options.memtable_bytes = 2 * bytes;
            options.log_bytes = 4 * bytes as u64;
        }
        let db = Database::open(opening.path.join("db"), options)?;
        let docs = match (db.collection("docs"), codes) {
            (Ok(docs), _) => docs,
            (Err(_), None) => db.create_collection("docs", opening.dimension, Metric::Dot)?,
            (Err(_), Some(codes)) => db.create_collection_with("docs", opening.dimension, Metric::Dot, codes)?,
        };
        Ok(Self { db, docs, mode: opening.mode })
    }
}

impl Engine for Varvite {
    fn settings(&self) -> Vec<(&'static str, String)> {
        let memtable = (Options::default().memtable_bytes / 2) >> 20;
        vec![
            ("options", format!("defaults: memtables of {memtable} MiB, codes {}", self.docs.codes())),
            mode_setting(self.mode, "Durability::Buffered", "Durability::Synced"),
        ]
    }

    fn put_batch(&self, batch: &Batch) -> Result<()> {
        self.docs.upsert_many(&batch.ids, &batch.rows)?;
        Ok(())
    }

    fn put(&self, id: &[u8], row: &[f32]) -> Result<()> {
        self.docs.upsert(id, row)?;
        Ok(())
    }

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()> {
        let mut batch = self.db.batch();
        for id in ids {
            batch.delete(&self.docs, id)?;
        }
        batch.commit()?;
        Ok(())
    }

    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()> {
        self.docs.bulk_load(rows.map(|(id, row)| (id, Fields::vector(row))), DuplicatePolicy::Refuse)?;
        self.settle()
    }

    fn flush(&self) -> Result<()> {
        Ok(self.db.flush()?)
    }

    fn settle(&self) -> Result<()> {
        Ok(self.db.wait_idle()?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(VarviteReader { docs: &self.docs }))
    }
}

/// Reads the current state each time: nothing is held between calls.
struct VarviteReader<'a> {
    docs: &'a Collection,
}

impl Reader for VarviteReader<'_> {
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        let row = self.docs.get(id)?;
        Ok(row.inspect(|row| visit(bytemuck::cast_slice(row))).is_some())
    }

    fn multi_get(&mut self, ids: &[Vec<u8>], visit: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let rows = self.docs.multi_get(ids)?;
        Ok(rows.iter().flatten().inspect(|row| visit(bytemuck::cast_slice(row))).count())
    }

    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let rows = if prefix.is_empty() { self.docs.iter()? } else { self.docs.prefix(prefix)? };
        for row in rows {
            let row = row?;
            if !visit(row.id(), bytemuck::cast_slice(&row)) {
                break;
            }
        }
        Ok(())
    }

    fn search(&mut self, query: &[f32], k: usize) -> Result<Vec<Vec<u8>>> {
        Ok(self.docs.search(query, k)?.into_iter().map(|hit| hit.id).collect())
    }

    fn search_many(&mut self, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Vec<u8>>>> {
        let answers = self.docs.search_many(&queries.concat(), k)?;
        Ok(answers.into_iter().map(|hits| hits.into_iter().map(|hit| hit.id).collect()).collect())
    }
}
