//! The read path: rows that borrow from memtables and mappings, and iterators over both.

mod iterator;
mod row;
mod source;

pub use iterator::Rows;
pub use row::Row;

use std::ops::Deref;

use crate::{
    error::Result,
    types::CollectionId,
    version::{Found, Reading, View},
};

/// The row of an id at a reading's sequence.
pub(crate) fn get(reading: &Reading<impl Deref<Target = View>>, collection: CollectionId, id: &[u8]) -> Result<Option<Row>> {
    reading.meta(collection)?;
    reading.find(collection, id)?.map(|found| row(found, id)).transpose()
}

/// The rows of many ids, in their order.
pub(crate) fn get_many<I: AsRef<[u8]>>(reading: &Reading, collection: CollectionId, ids: &[I]) -> Result<Vec<Option<Row>>> {
    reading.meta(collection)?;
    let mut rows = Vec::with_capacity(ids.len());
    for ids in ids.chunks(Reading::LOOK_AHEAD) {
        let ids: Vec<_> = ids.iter().map(|id| (collection, id.as_ref())).collect();
        for (found, (_, id)) in reading.find_many(&ids).into_iter().zip(ids) {
            rows.push(found?.map(|found| row(found, id)).transpose()?);
        }
    }
    Ok(rows)
}

fn row(found: Found, id: &[u8]) -> Result<Row> {
    match found {
        Found::Memtable(row) => Ok(Row::in_memtable(row)),
        Found::Segment(live, row) => Row::in_segment(live, row, id),
    }
}

/// Whether an id has a row.
pub(crate) fn contains(reading: &Reading<impl Deref<Target = View>>, collection: CollectionId, id: &[u8]) -> Result<bool> {
    reading.meta(collection)?;
    Ok(reading.find(collection, id)?.is_some())
}
