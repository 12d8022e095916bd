use std::{io, ops::Range};

use super::{content::Content, journal::Journal};
use crate::{io::Bytes, sync::Arc};

/// A file, whatever names it has.
#[derive(Debug, Default)]
pub(super) struct Inode {
    /// What the device holds for sure.
    pub(super) durable: Arc<Content>,
    /// What reads return: the page cache.
    pub(super) current: Arc<Content>,
    pub(super) journal: Journal<Change>,
    pub(super) handles: usize,
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
    pub(super) fn settled(content: Arc<Content>) -> Self {
        Self { durable: Arc::clone(&content), current: content, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.current.len()
    }

    /// What a crash needs to know of it: not what reads return.
    pub(super) fn crash_point(&self) -> Self {
        Self { durable: Arc::clone(&self.durable), journal: self.journal.clone(), ..Self::default() }
    }

    /// Applies a change to what reads return and notes it as unsynced.
    pub(super) fn change(&mut self, stamp: &mut u64, change: Change) -> io::Result<()> {
        let current = Arc::make_mut(&mut self.current);
        let end = match &change {
            Change::Write { offset, bytes } => offset.checked_add(bytes.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?,
            Change::Lengthen(len) | Change::Shorten(len) => *len,
        };
        let lengthened = end > current.len();
        match &change {
            Change::Write { offset, bytes } => current.write(*offset, bytes)?,
            Change::Lengthen(len) => current.lengthen(*len)?,
            Change::Shorten(len) => current.shorten(*len),
        }
        if lengthened && matches!(change, Change::Write { .. }) {
            self.journal.push(next(stamp), Change::Lengthen(end));
        }
        self.journal.push(next(stamp), change);
        Ok(())
    }

    pub(super) fn sync(&mut self) {
        let durable = Arc::make_mut(&mut self.durable);
        self.journal.sync().for_each(|change| change.arrive(durable, None));
        durable.cut_to_length();
    }

    /// A sync failed: the pages are clean now. Without `keep_pages` they are read from the device again.
    pub(super) fn fail_sync(&mut self, keep_pages: bool) {
        self.journal.fail(|change| keep_pages || !matches!(change, Change::Write { .. }));
        if !keep_pages {
            self.current = self.image(|_| Some(Fate::Kept));
        }
    }

    /// What the device holds if each unsynced change meets its fate (by index in the journal; `None` is lost).
    pub(super) fn image(&self, fate: impl Fn(usize) -> Option<Fate>) -> Arc<Content> {
        let mut bytes = Arc::clone(&self.durable);
        let kept = self.journal.entries().enumerate().filter_map(|(index, entry)| Some((fate(index)?, &entry.change)));
        let mut kept = kept.peekable();
        if kept.peek().is_some() {
            let image = Arc::make_mut(&mut bytes);
            for (fate, change) in kept {
                match fate {
                    Fate::Kept => change.arrive(image, None),
                    Fate::Torn(part) => change.arrive(image, Some(part)),
                }
            }
            image.cut_to_length();
        }
        bytes
    }

    pub(super) fn map(&self) -> Bytes {
        self.current.map()
    }

    /// Damages the device, and what was read from it, behind everybody's back.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) -> bool {
        let flip = |content: &mut Arc<Content>| Arc::make_mut(content).flip(offset, mask);
        let (durable, current) = (flip(&mut self.durable), flip(&mut self.current));
        durable || current
    }
}

impl Change {
    /// On a file that is being put together: data may come to lie behind the end, as the length can be lost apart from it.
    fn arrive(&self, image: &mut Content, part: Option<Range<usize>>) {
        match self {
            Self::Write { offset, bytes } => {
                let part = part.unwrap_or(0..bytes.len());
                let offset = offset.saturating_add(part.start as u64);
                // Cannot fail: the page cache has held as much.
                let _ = image.put(offset, bytes.get(part).unwrap_or_default());
            }
            Self::Lengthen(len) => {
                let _ = image.lengthen(*len);
            }
            Self::Shorten(len) => image.shorten(*len),
        }
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
