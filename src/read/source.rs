use std::{
    collections::VecDeque,
    ops::{Bound, Range},
};

use super::Row;
use crate::{
    error::{Error, Result},
    memtable::{MemRow, Memtable},
    segment::IdWalk,
    sync::Arc,
    types::{CollectionId, Sequence},
    version::{self, LiveSegment},
};

/// Rows fetched from a memtable at a time, so that no lock is held while the caller looks at one.
const PAGE: usize = 64;

/// One sorted part of what an iterator merges, read in one direction.
pub(crate) struct Source {
    kind: Kind,
    at: Sequence,
    reverse: bool,
    /// The next row.
    head: Option<Head>,
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
    Run(Run),
}

/// Disjoint segments, one after the other.
struct Run {
    segments: Vec<Arc<LiveSegment>>,
    /// Segments not begun: those from here on, or before here in reverse.
    rest: Range<usize>,
    /// The one it stands in, and its rows that are left.
    current: Option<Arc<LiveSegment>>,
    rows: Range<u32>,
    bounds: Arc<Bounds>,
    /// Stands on the id of the head.
    ids: IdWalk,
}

enum Head {
    Memtable(MemRow),
    /// A row of the segment that the run stands in.
    Segment(u32),
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

    pub(crate) fn run(run: &version::Run, bounds: &Arc<Bounds>, at: Sequence, reverse: bool) -> Self {
        let segments = run.get(run.overlapping(as_slices(bounds))).unwrap_or_default().to_vec();
        let rest = 0..segments.len();
        let kind = Kind::Run(Run { segments, rest, current: None, rows: 0..0, bounds: Arc::clone(bounds), ids: IdWalk::default() });
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
        match (self.head.as_ref()?, &self.kind) {
            (Head::Memtable(row), _) => Some(row.id()),
            (Head::Segment(_), Kind::Run(run)) => Some(run.ids.id()),
            (Head::Segment(_), Kind::Memtable { .. }) => None,
        }
    }

    /// Takes the next row and moves behind it.
    pub(crate) fn take(&mut self) -> Result<Option<Row>> {
        let row = match (self.head.take(), &self.kind) {
            (Some(Head::Memtable(row)), _) => Ok(Some(Row::in_memtable(row))),
            (Some(Head::Segment(row)), Kind::Run(Run { current: Some(live), ids, .. })) => {
                Row::in_segment(Arc::clone(live), row, ids.id()).map(Some)
            }
            _ => return Ok(None),
        };
        // A damaged row is reported once and passed: those behind it are readable.
        self.advance();
        row
    }

    fn advance(&mut self) {
        match self.find_next() {
            Ok(head) => self.head = head,
            Err(error) => self.damage = Some(error),
        }
    }

    fn find_next(&mut self) -> Result<Option<Head>> {
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
                Ok(page.pop_front().map(Head::Memtable))
            }
            Kind::Run(run) => Ok(run.next(at, reverse)?.map(Head::Segment)),
        }
    }
}

impl Run {
    fn next(&mut self, at: Sequence, reverse: bool) -> Result<Option<u32>> {
        loop {
            if let Some(live) = &self.current {
                while let Some(row) = if reverse { self.rows.next_back() } else { self.rows.next() } {
                    if live.is_live(row, at) {
                        self.ids.read(&live.segment, row)?;
                        return Ok(Some(row));
                    }
                }
            }
            self.ids.leave();
            let next = if reverse { self.rest.next_back() } else { self.rest.next() };
            self.current = next.and_then(|next| self.segments.get(next)).cloned();
            let Some(live) = &self.current else { return Ok(None) };
            // Of a segment whose bounds cannot be read nothing is given.
            self.rows = 0..0;
            self.rows = rows_within(live, &self.bounds)?;
        }
    }
}

/// The rows of a segment whose ids lie within bounds.
fn rows_within(live: &LiveSegment, bounds: &Bounds) -> Result<Range<u32>> {
    let behind = |id: &[u8]| [id, &[0]].concat();
    // Most segments of a long range lie wholly in it.
    let (first, last) = live.bounds().unzip();
    let start = match &bounds.0 {
        Bound::Unbounded => 0,
        Bound::Included(id) if first.is_some_and(|first| **id <= *first) => 0,
        Bound::Included(id) => live.segment.lower_bound(id)?,
        Bound::Excluded(id) => live.segment.lower_bound(&behind(id))?,
    };
    let end = match &bounds.1 {
        Bound::Unbounded => live.segment.rows(),
        Bound::Excluded(id) if last.is_some_and(|last| *last < **id) => live.segment.rows(),
        Bound::Included(id) => live.segment.lower_bound(&behind(id))?,
        Bound::Excluded(id) => live.segment.lower_bound(id)?,
    };
    Ok(start..end.max(start))
}
