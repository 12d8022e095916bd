use std::{io, ops::Range};

use super::journal::Journal;
use crate::{
    io::{
        Bytes,
        buffer::{overwrite, resize},
    },
    sync::Arc,
};

/// A file, whatever names it has.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What the device holds for sure.
    pub(super) durable: Arc<Vec<u8>>,
    /// What reads return: the page cache.
    pub(super) current: Arc<Vec<u8>>,
    pub(super) journal: Journal<Change>,
    pub(super) handles: usize,
    /// `current`, mapped since its last change.
    pub(super) mapped: Option<Bytes>,
}

/// A change of a file that a crash can lose on its own: data and length apart.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    Lengthen(u64),
    Shorten(u64),
}

impl Inode {
    /// A file whose content is durable.
    pub(super) fn settled(content: Arc<Vec<u8>>) -> Self {
        Self { durable: Arc::clone(&content), current: content, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.current.len() as u64
    }

    /// What a crash needs to know of it: not what reads return.
    pub(super) fn crash_point(&self) -> Self {
        Self { durable: Arc::clone(&self.durable), journal: self.journal.clone(), ..Self::default() }
    }

    /// Applies a change to what reads return and notes it as unsynced.
    pub(super) fn change(&mut self, stamp: &mut u64, change: Change) -> io::Result<()> {
        self.mapped = None;
        let current = Arc::make_mut(&mut self.current);
        let end = match &change {
            Change::Write { offset, bytes } => offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?,
            Change::Lengthen(len) | Change::Shorten(len) => *len,
        };
        let lengthened = end > current.len() as u64;
        match &change {
            Change::Write { offset, bytes } => overwrite(current, *offset, bytes)?,
            Change::Lengthen(len) | Change::Shorten(len) => resize(current, *len)?,
        }
        if lengthened && matches!(change, Change::Write { .. }) {
            self.journal.push(next(stamp), Change::Lengthen(end));
        }
        self.journal.push(next(stamp), change);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        let mut image = Image::of(Arc::make_mut(&mut self.durable));
        self.journal.sync().for_each(|change| image.apply(&change, None));
        image.finish();
    }

    /// A sync failed: the pages are clean now. Without `keep_pages` they are read from the device again.
    pub(super) fn fail_sync(&mut self, keep_pages: bool) {
        self.journal.fail(|change| keep_pages || !matches!(change, Change::Write { .. }));
        if !keep_pages {
            self.current = self.image(|_| Some(Fate::Kept));
            self.mapped = None;
        }
    }

    /// What the device holds if each unsynced change meets its fate (by index in the journal; `None` is lost).
    pub(super) fn image(&self, fate: impl Fn(usize) -> Option<Fate>) -> Arc<Vec<u8>> {
        let mut bytes = Arc::clone(&self.durable);
        let kept = self.journal.entries().enumerate().filter_map(|(index, entry)| Some((fate(index)?, &entry.change)));
        let mut kept = kept.peekable();
        if kept.peek().is_some() {
            let mut image = Image::of(Arc::make_mut(&mut bytes));
            for (fate, change) in kept {
                match fate {
                    Fate::Kept => image.apply(change, None),
                    Fate::Torn(part) => image.apply(change, Some(part)),
                }
            }
            image.finish();
        }
        bytes
    }

    pub(super) fn map(&mut self) -> Bytes {
        self.mapped.get_or_insert_with(|| Bytes::copy_of(&self.current)).clone()
    }

    /// Damages the device, and what was read from it, behind everybody's back.
    pub(super) fn flip(&mut self, offset: usize, mask: u8) -> bool {
        self.mapped = None;
        let flip = |bytes: &mut Arc<Vec<u8>>| Arc::make_mut(bytes).get_mut(offset).map(|byte| *byte ^= mask).is_some();
        let (durable, current) = (flip(&mut self.durable), flip(&mut self.current));
        durable || current
    }
}

pub(super) fn next(stamp: &mut u64) -> u64 {
    *stamp += 1;
    *stamp
}

/// What becomes of an unsynced change that is not lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// Of a write, only this part of its bytes.
    Torn(Range<usize>),
}

/// A file being put together: data may lie behind the end, as the length can be lost apart from it.
struct Image<'a> {
    bytes: &'a mut Vec<u8>,
    len: u64,
}

impl<'a> Image<'a> {
    fn of(bytes: &'a mut Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { bytes, len }
    }

    fn apply(&mut self, change: &Change, part: Option<Range<usize>>) {
        match change {
            Change::Write { offset, bytes } => {
                let part = part.unwrap_or(0..bytes.len());
                let offset = offset.saturating_add(part.start as u64);
                // Cannot fail: the page cache has held as much.
                let _ = overwrite(self.bytes, offset, bytes.get(part).unwrap_or_default());
            }
            Change::Lengthen(len) => self.len = self.len.max(*len),
            Change::Shorten(len) => {
                self.len = self.len.min(*len);
                self.bytes.truncate(usize::try_from(*len).unwrap_or(usize::MAX));
            }
        }
    }

    fn finish(self) {
        let _ = resize(self.bytes, self.len);
    }
}
