use super::{Neighbour, TopK};
use crate::{
    error::Result,
    io::bytes::as_f32s,
    kernel::Scorer,
    segment::KillSet,
    types::{CollectionId, Sequence},
    version::{LiveSegment, Reading},
};

/// Bytes of rows that all queries pass over before the next: about half of a core's second-level cache.
const BLOCK_BYTES: usize = 256 << 10;

/// The k nearest records of each query, exactly: every visible row is scored canonically.
///
/// Visibility comes first: a row counts only after its kill set and pending kills were asked, so that stale copies near a query never push
/// a true neighbour out.
pub(crate) fn search(reading: &Reading, collection: CollectionId, queries: &[&[f32]], k: usize) -> Result<Vec<Vec<Neighbour>>> {
    let meta = reading.meta(collection)?;
    let mut scan = Scan {
        searches: queries.iter().map(|query| (Scorer::new(meta.metric, query), TopK::new(k))).collect(),
        dimension: meta.dimension.get(),
        stride: meta.dimension.stride(),
    };
    for memtable in reading.view.memtables() {
        let mut result = Ok(());
        memtable.scan(collection, reading.sequence, |row| {
            if result.is_ok() {
                result = scan.row(row.vector(), || Ok(row.id().to_vec()));
            }
        });
        result?;
    }
    for live in reading.version(collection).iter().flat_map(|version| version.segments()) {
        scan.segment(live, reading.sequence)?;
    }
    Ok(scan.searches.into_iter().map(|(_, top)| top.into_sorted()).collect())
}

struct Scan {
    searches: Vec<(Scorer, TopK)>,
    dimension: usize,
    /// Bytes from row to row in a segment.
    stride: usize,
}

impl Scan {
    fn row(&mut self, vector: &[f32], id: impl Fn() -> Result<Vec<u8>>) -> Result<()> {
        self.searches.iter_mut().try_for_each(|(scorer, top)| top.push(scorer.score(vector), &id).map(drop))
    }

    fn segment(&mut self, live: &LiveSegment, at: Sequence) -> Result<()> {
        let dead = live.pending.dead_at(at);
        let merged = if dead.is_empty() { None } else { Some(live.kills.union(dead)) };
        let kills: &KillSet = merged.as_ref().unwrap_or(&live.kills);
        let rows_per_block = (BLOCK_BYTES / self.stride).max(1) as u32;
        let mut start = 0;
        while start < live.segment.rows() {
            let last = start.saturating_add(rows_per_block - 1).min(live.segment.rows() - 1);
            let end = live.segment.group_of(last).end;
            let block = live.segment.row_run(start..end)?;
            self.block(live, kills, start..end, &block)?;
            start = end;
        }
        Ok(())
    }

    fn block(&mut self, live: &LiveSegment, kills: &KillSet, rows: std::ops::Range<u32>, block: &[u8]) -> Result<()> {
        let elements = as_f32s(block).unwrap_or_default();
        for (scorer, top) in &mut self.searches {
            let vectors = elements.chunks(self.stride / 4).map(|row| row.get(..self.dimension).unwrap_or_default());
            for (row, vector) in rows.clone().zip(vectors).filter(|(row, _)| !kills.contains(*row)) {
                let score = scorer.score(vector);
                top.push(score, || {
                    let mut id = Vec::new();
                    live.segment.id_of(row, &mut id)?;
                    Ok(id)
                })?;
            }
        }
        Ok(())
    }
}
