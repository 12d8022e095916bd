//! RocksDB with what its wiki page "Setup Options and Basic Tuning" recommends.

use std::path::PathBuf;

use rocksdb::{
    BlockBasedOptions, Cache, CompactionPri, DB, DBCompressionType, FlushOptions, IngestExternalFileOptions, Options, SstFileWriter,
    WaitForCompactOptions, WriteBatch, WriteOptions,
};

use super::mode_setting;
use crate::{
    data::Batch,
    engine::{Engine, Mode, Opening, Reader, Result},
};

/// Bytes of vectors a file of a bulk load: about the default size of files of the first level.
const INGEST_BYTES: usize = 64 << 20;

const DOCS: &str = rocksdb::DEFAULT_COLUMN_FAMILY_NAME;

pub struct RocksDb {
    db: DB,
    options: Options,
    path: PathBuf,
    mode: Mode,
    cache_bytes: usize,
}

impl RocksDb {
    pub fn open(opening: Opening<'_>) -> Result<Self> {
        let mut table = BlockBasedOptions::default();
        table.set_block_size(16 << 10);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_block_cache(&Cache::new_lru_cache(opening.cache_bytes));
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_max_background_jobs(6);
        options.set_bytes_per_sync(1 << 20);
        options.set_compaction_pri(CompactionPri::MinOverlappingRatio);
        options.set_compression_type(DBCompressionType::Lz4);
        if let Some(bytes) = opening.memtable_bytes {
            options.set_write_buffer_size(bytes);
            options.set_target_file_size_base(bytes as u64);
            options.set_max_bytes_for_level_base(4 * bytes as u64);
        }
        let path = opening.path.join("db");
        // By name, else there is no handle of the column family, which batched reads ask for.
        let db = DB::open_cf_with_opts(&options, &path, [(DOCS, options.clone())])?;
        Ok(Self { db, options, path, mode: opening.mode, cache_bytes: opening.cache_bytes })
    }

    fn write_options(&self) -> WriteOptions {
        let mut options = WriteOptions::default();
        options.set_sync(self.mode == Mode::Durable);
        options
    }

    fn write_file<'i, 'r>(&self, rows: impl Iterator<Item = (&'i [u8], &'r [f32])>, number: usize) -> Result<PathBuf> {
        let path = self.path.join(format!("load-{number}.sst"));
        let mut writer = SstFileWriter::create(&self.options);
        writer.open(&path)?;
        for (id, row) in rows {
            writer.put(id, bytemuck::cast_slice::<f32, u8>(row))?;
        }
        writer.finish()?;
        Ok(path)
    }
}

impl Engine for RocksDb {
    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "compaction",
                "memtables of 64 MiB, leveled, dynamic level bytes, MinOverlappingRatio, 6 background jobs, bytes_per_sync 1 MiB".into(),
            ),
            ("table", "blocks of 16 KiB, LZ4, Bloom filter of 10 bits, index and filter blocks cached, those of level 0 pinned".into()),
            ("cache", format!("{} MiB LRU: a quarter of memory (the wiki: a third of the budget)", self.cache_bytes >> 20)),
            ("bulk load", "sorted, SstFileWriter, ingested by moving".into()),
            mode_setting(self.mode, "log written to the system", "WriteOptions::sync"),
        ]
    }

    fn put_batch(&self, batch: &Batch) -> Result<()> {
        let mut write = WriteBatch::default();
        for (id, row) in batch.entries() {
            write.put(id, bytemuck::cast_slice::<f32, u8>(row));
        }
        Ok(self.db.write_opt(write, &self.write_options())?)
    }

    fn put(&self, id: &[u8], row: &[f32]) -> Result<()> {
        Ok(self.db.put_opt(id, bytemuck::cast_slice::<f32, u8>(row), &self.write_options())?)
    }

    fn delete_batch(&self, ids: &[Vec<u8>]) -> Result<()> {
        let mut write = WriteBatch::default();
        for id in ids {
            write.delete(id);
        }
        Ok(self.db.write_opt(write, &self.write_options())?)
    }

    fn bulk_load(&self, rows: &mut dyn Iterator<Item = (&[u8], &[f32])>) -> Result<()> {
        let (mut rows, mut files) = (rows.peekable(), Vec::new());
        while let Some((_, row)) = rows.peek() {
            let rows_a_file = INGEST_BYTES / size_of_val(*row);
            files.push(self.write_file(rows.by_ref().take(rows_a_file), files.len())?);
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        self.db.ingest_external_file_opts(&options, files)?;
        self.settle()
    }

    fn flush(&self) -> Result<()> {
        let mut flush = FlushOptions::default();
        flush.set_wait(true);
        self.db.flush_opt(&flush)?;
        Ok(self.db.flush_wal(true)?)
    }

    fn settle(&self) -> Result<()> {
        self.flush()?;
        Ok(self.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn reader(&self) -> Result<Box<dyn Reader + '_>> {
        Ok(Box::new(RocksDbReader { db: &self.db }))
    }
}

struct RocksDbReader<'a> {
    db: &'a DB,
}

impl Reader for RocksDbReader<'_> {
    fn get(&mut self, id: &[u8], visit: &mut dyn FnMut(&[u8])) -> Result<bool> {
        Ok(self.db.get_pinned(id)?.inspect(|row| visit(row)).is_some())
    }

    fn multi_get(&mut self, ids: &[Vec<u8>], visit: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let docs = self.db.cf_handle(DOCS).ok_or("no default column family")?;
        let mut found = 0;
        for row in self.db.batched_multi_get_cf(docs, ids, false) {
            if let Some(row) = row? {
                visit(&row);
                found += 1;
            }
        }
        Ok(found)
    }

    fn scan(&mut self, prefix: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> Result<()> {
        let mut rows = self.db.raw_iterator();
        rows.seek(prefix);
        while let Some((id, row)) = rows.item() {
            if !id.starts_with(prefix) || !visit(id, row) {
                break;
            }
            rows.next();
        }
        Ok(rows.status()?)
    }
}
