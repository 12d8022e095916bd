//! The read path: rows that borrow from memtables and mappings, and iterators over both.

mod iterator;
mod row;
mod source;

pub use iterator::Rows;
pub use row::Row;

use crate::{
    error::Result,
    types::CollectionId,
    version::{Found, Reading},
};

/// The row of an id at a reading's sequence.
pub(crate) fn get(reading: &Reading, collection: CollectionId, id: &[u8]) -> Result<Option<Row>> {
    reading.meta(collection)?;
    Ok(match reading.find(collection, id)? {
        None => None,
        Some(Found::Memtable(row)) => Some(Row::in_memtable(row)),
        Some(Found::Segment(live, row)) => Some(Row::in_segment(live, row, id.into())?),
    })
}

/// Whether an id has a row.
pub(crate) fn contains(reading: &Reading, collection: CollectionId, id: &[u8]) -> Result<bool> {
    reading.meta(collection)?;
    Ok(reading.find(collection, id)?.is_some())
}
