//! Merges the live rows of sorted segments into one sorted sequence.

use crate::{
    error::Result,
    segment::{Cursor, KillSet, Segment},
    sync::Arc,
    types::Ordinal,
};

/// What is merged: the rows of a part of a segment, without those in a kill set.
pub(crate) struct Input {
    pub(crate) segment: Arc<Segment>,
    pub(crate) kills: Arc<KillSet>,
    pub(crate) rows: std::ops::Range<u32>,
}

/// An input being read.
struct Source {
    kills: Arc<KillSet>,
    cursor: Cursor,
    end: u32,
}

impl Source {
    /// Moves to the next row that lives by the manifest; `false` at the end.
    fn advance(&mut self) -> Result<bool> {
        while let Some(row) = self.cursor.advance()? {
            if row >= self.end {
                return Ok(false);
            }
            if !self.kills.contains(row) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// One merged record.
pub(crate) struct Merged<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) vector: &'a [u8],
    pub(crate) ordinal: Ordinal,
    pub(crate) payload: &'a [u8],
}

/// Merges inputs by ascending id. Memory: one id block and one payload block an input.
///
/// No two live rows share an id; should damage have made some, the first input wins.
pub(crate) fn merge(inputs: &[Input], mut emit: impl FnMut(Merged<'_>) -> Result<()>) -> Result<()> {
    let mut sources = Vec::with_capacity(inputs.len());
    for Input { segment, kills, rows } in inputs {
        let mut source = Source { kills: Arc::clone(kills), cursor: segment.cursor(rows.start), end: rows.end };
        if source.advance()? {
            sources.push(source);
        }
    }
    let mut last: Vec<u8> = Vec::new();
    let mut payload = Vec::new();
    while let Some(next) =
        (0..sources.len()).min_by(|a, b| sources.get(*a).map(|s| s.cursor.id()).cmp(&sources.get(*b).map(|s| s.cursor.id())))
    {
        let Some(source) = sources.get_mut(next) else { break };
        if last.is_empty() || last != source.cursor.id() {
            last.clear();
            last.extend_from_slice(source.cursor.id());
            payload.clear();
            payload.extend_from_slice(source.cursor.payload()?);
            let ordinal = source.cursor.ordinal()?;
            emit(Merged { id: &last, vector: source.cursor.vector()?, ordinal, payload: &payload })?;
        }
        if !source.advance()? {
            sources.remove(next);
        }
    }
    Ok(())
}
