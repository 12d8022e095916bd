use std::{collections::VecDeque, ops::Bound};

use super::Row;
use crate::{
    error::{Error, Result},
    memtable::{MemRow, Memtable},
    sync::Arc,
    types::{CollectionId, Sequence},
    version::LiveSegment,
};

/// Rows fetched from a memtable at a time, so that no lock is held while the caller looks at one.
const PAGE: usize = 64;

/// One sorted part of what an iterator merges, read in one direction.
pub(crate) struct Source {
    kind: Kind,
    at: Sequence,
    reverse: bool,
    /// The next row and its id.
    head: Option<(Vec<u8>, Head)>,
    /// What kept the next row from being found.
    damage: Option<Error>,
}

enum Kind {
    Memtable {
        memtable: Arc<Memtable>,
        collection: CollectionId,
        page: VecDeque<MemRow>,
        rest: (Bound<Vec<u8>>, Bound<Vec<u8>>),
        ended: bool,
    },
    Run {
        segments: Vec<Arc<LiveSegment>>,
        index: usize,
        rows: std::ops::Range<u32>,
        bounds: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    },
}

enum Head {
    Memtable(MemRow),
    Segment(Arc<LiveSegment>, u32),
}

pub(crate) type Bounds = (Bound<Vec<u8>>, Bound<Vec<u8>>);

fn as_slices(bounds: &Bounds) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice))
}

impl Source {
    pub(crate) fn memtable(memtable: Arc<Memtable>, collection: CollectionId, bounds: Bounds, at: Sequence, reverse: bool) -> Self {
        let kind = Kind::Memtable { memtable, collection, page: VecDeque::new(), rest: bounds, ended: false };
        Self { kind, at, reverse, head: None, damage: None }.started()
    }

    pub(crate) fn run(run: &[Arc<LiveSegment>], bounds: Bounds, at: Sequence, reverse: bool) -> Self {
        let index = if reverse { run.len() } else { 0 };
        let kind = Kind::Run { segments: run.to_vec(), index, rows: 0..0, bounds };
        Self { kind, at, reverse, head: None, damage: None }.started()
    }

    fn started(mut self) -> Self {
        self.advance();
        self
    }

    /// Reports a damage once and moves behind it.
    pub(crate) fn take_damage(&mut self) -> Option<Error> {
        let damage = self.damage.take()?;
        self.advance();
        Some(damage)
    }

    pub(crate) fn head_id(&self) -> Option<&[u8]> {
        self.head.as_ref().map(|(id, _)| id.as_slice())
    }

    /// Takes the next row and moves behind it.
    pub(crate) fn take(&mut self) -> Result<Option<Row>> {
        let Some((id, head)) = self.head.take() else { return Ok(None) };
        let row = match head {
            Head::Memtable(row) => Ok(Row::in_memtable(row)),
            Head::Segment(live, row) => Row::in_segment(live, row, id.into_boxed_slice()),
        };
        // A damaged row is reported once and passed: those behind it are readable.
        self.advance();
        row.map(Some)
    }

    fn advance(&mut self) {
        match self.find_next() {
            Ok(head) => self.head = head,
            Err(error) => self.damage = Some(error),
        }
    }

    fn find_next(&mut self) -> Result<Option<(Vec<u8>, Head)>> {
        let (at, reverse) = (self.at, self.reverse);
        match &mut self.kind {
            Kind::Memtable { memtable, collection, page, rest, ended } => {
                if page.is_empty() && !*ended {
                    page.extend(memtable.page(*collection, as_slices(rest), reverse, at, PAGE));
                    *ended = page.len() < PAGE;
                    if let Some(last) = page.back() {
                        let behind = Bound::Excluded(last.id().to_vec());
                        if reverse { rest.1 = behind } else { rest.0 = behind }
                    }
                }
                Ok(page.pop_front().map(|row| (row.id().to_vec(), Head::Memtable(row))))
            }
            Kind::Run { segments, index, rows, bounds } => next_in_run(segments, index, rows, bounds, at, reverse),
        }
    }
}

fn next_in_run(
    segments: &[Arc<LiveSegment>],
    index: &mut usize,
    rows: &mut std::ops::Range<u32>,
    bounds: &Bounds,
    at: Sequence,
    reverse: bool,
) -> Result<Option<(Vec<u8>, Head)>> {
    loop {
        let current = if reverse { segments.get(*index) } else { index.checked_sub(1).and_then(|current| segments.get(current)) };
        if let Some(live) = current {
            while let Some(row) = if reverse { rows.next_back() } else { rows.next() } {
                if live.is_live(row, at) {
                    let mut id = Vec::new();
                    live.segment.id_of(row, &mut id)?;
                    return Ok(Some((id, Head::Segment(Arc::clone(live), row))));
                }
            }
        }
        let next = if reverse {
            let Some(before) = index.checked_sub(1) else { return Ok(None) };
            *index = before;
            segments.get(before)
        } else {
            let next = segments.get(*index);
            *index += 1;
            next
        };
        let Some(live) = next else {
            *index = segments.len() + 1;
            return Ok(None);
        };
        *rows = rows_within(live, bounds)?;
    }
}

/// The rows of a segment whose ids lie within bounds.
fn rows_within(live: &LiveSegment, bounds: &Bounds) -> Result<std::ops::Range<u32>> {
    let behind = |id: &[u8]| [id, &[0]].concat();
    let start = match &bounds.0 {
        Bound::Unbounded => 0,
        Bound::Included(id) => live.segment.lower_bound(id)?,
        Bound::Excluded(id) => live.segment.lower_bound(&behind(id))?,
    };
    let end = match &bounds.1 {
        Bound::Unbounded => live.segment.rows(),
        Bound::Included(id) => live.segment.lower_bound(&behind(id))?,
        Bound::Excluded(id) => live.segment.lower_bound(id)?,
    };
    Ok(start..end.max(start))
}
