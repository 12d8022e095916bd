use std::ops::Range;

use super::id_walk::IdWalk;
use super::reader::Segment;
use crate::error::{Error, Result};
use crate::format::payload_block::{IndexEntry, split_first};
use crate::io::Bytes;
use crate::sync::Arc;
use crate::types::Ordinal;

/// Bytes of rows read at a time, so that a merge of copied files makes few, large reads.
const RUN_BYTES: usize = 256 << 10;

/// Walks a segment row by row, for merges: decodes each id block and payload block once, and only those asked for.
///
/// Stands before its first row until [`Cursor::advance`]. After an error it can go on: the damaged row is skipped by the next advance.
#[derive(Debug)]
pub(crate) struct Cursor {
    segment: Arc<Segment>,
    next: u32,
    current: Option<u32>,
    ids: IdWalk,
    run: Option<(Range<u32>, Bytes)>,
    payloads: Option<PayloadRun>,
}

/// Rows that the same payload block answers for; without a block they have no payload.
#[derive(Debug)]
struct PayloadRun {
    rows: Range<u32>,
    block: Option<(IndexEntry, Vec<u8>)>,
    /// Offset in the block behind which the payloads of all rows to come stand.
    at: usize,
}

impl Cursor {
    pub(super) fn new(segment: Arc<Segment>, start_row: u32) -> Self {
        Self { segment, next: start_row, current: None, ids: IdWalk::default(), run: None, payloads: None }
    }

    /// Steps onto the next row; `None` behind the last. After an error it stands on the row whose id cannot be read.
    pub(crate) fn advance(&mut self) -> Result<Option<u32>> {
        let row = self.next;
        self.current = (row < self.segment.rows()).then_some(row);
        if self.current.is_none() {
            self.ids.leave();
            return Ok(None);
        }
        self.next += 1;
        self.ids.read(&self.segment, row)?;
        Ok(self.current)
    }

    /// The row it stands on.
    #[cfg(test)]
    pub(crate) fn row(&self) -> Option<u32> {
        self.current
    }

    /// The id of the row; empty off the rows and after an error.
    pub(crate) fn id(&self) -> &[u8] {
        self.ids.id()
    }

    /// Insertion ordinal of the row.
    pub(crate) fn ordinal(&self) -> Result<Ordinal> {
        self.segment.ordinal(self.on_row()?)
    }

    /// The f32s of the row as they are stored.
    pub(crate) fn vector(&mut self) -> Result<&[u8]> {
        let row = self.on_row()?;
        let (stride, len) = (self.segment.dimension().stride(), self.segment.dimension().bytes());
        if self.run.as_ref().is_none_or(|(rows, _)| !rows.contains(&row)) {
            self.run = Some(self.read_run(row)?);
        }
        let bytes = self.run.as_ref().and_then(|(rows, bytes)| bytes.get((row - rows.start) as usize * stride..)?.get(..len));
        bytes.ok_or_else(|| Error::corruption("row cut short").in_file(self.segment.file().name()))
    }

    fn read_run(&self, row: u32) -> Result<(Range<u32>, Bytes)> {
        let count = (RUN_BYTES / self.segment.dimension().stride()).max(1) as u32;
        let last = row.saturating_add(count - 1).min(self.segment.rows() - 1);
        let rows = self.segment.group_of(row).start..self.segment.group_of(last).end;
        match self.segment.row_run(rows.clone()) {
            Ok(bytes) => Ok((rows, bytes)),
            // Damage further on must not hide this row.
            Err(_) => self.segment.row_group(row),
        }
    }

    /// The encoded payload of the row; empty if it has none.
    pub(crate) fn payload(&mut self) -> Result<&[u8]> {
        let row = self.on_row()?;
        if self.payloads.as_ref().is_none_or(|run| !run.rows.contains(&row)) {
            self.payloads = Some(self.read_payloads(row)?);
        }
        let Some(PayloadRun { block: Some((entry, plain)), at, .. }) = &mut self.payloads else { return Ok(&[]) };
        while let Some((own, payload, rest)) =
            split_first(plain.get(*at..).unwrap_or_default()).map_err(|error| self.segment.in_payload_block(entry, error))?
        {
            if own >= row {
                return Ok(if own == row { payload } else { &[] });
            }
            *at = plain.len() - rest.len();
        }
        Ok(&[])
    }

    fn read_payloads(&self, row: u32) -> Result<PayloadRun> {
        let segment = &self.segment;
        let number = segment.payload_block_of(row)?;
        let following = number.map_or(0, |number| number + 1);
        let end = if following < segment.payload_blocks() { segment.payload_entry(following)?.first_row } else { segment.rows() };
        let block = match number {
            None => None,
            Some(number) => {
                let entry = segment.payload_entry(number)?;
                Some((entry, segment.payload_block(&entry)?))
            }
        };
        // At least this row, even if a damaged index says otherwise.
        Ok(PayloadRun { rows: row..end.max(row + 1), block, at: 0 })
    }

    fn on_row(&self) -> Result<u32> {
        self.current.ok_or_else(|| Error::invalid("the cursor stands on no row"))
    }
}
