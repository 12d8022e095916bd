//! What `repair` can still read of a damaged log: every whole batch that provably belongs to it.

use super::{
    reader::{Frames, LogBatch},
    verify::find_activation,
};
use crate::{
    error::Error,
    format::{
        log::{FRAME_ALIGN, FRAMES_START},
        manifest::LogEntry,
    },
    types::Sequence,
};

/// What others say of where a log ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bounds {
    /// Its end as its successor or the manifest records it: what stands behind it is void.
    pub(crate) end: Option<u64>,
    /// A sequence that a later log begins with, or one behind that: whatever this log holds was synced, and is below it.
    pub(crate) before: Option<Sequence>,
}

/// Bytes of a log in which no whole batch stands, although batches stood there.
#[derive(Debug)]
pub(crate) struct Hole {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// What is wrong at its start.
    pub(crate) damage: Error,
    /// Whether it is known that batches stood there: the bytes were proven durable. A log of unknown end may simply end there.
    pub(crate) is_proven: bool,
    /// The highest sequence that a frame in it names, 0 without one.
    pub(crate) highest: Sequence,
}

/// What could be read of a log, in the order of its offsets.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    pub(crate) batches: Vec<LogBatch>,
    pub(crate) holes: Vec<Hole>,
}

/// Reads every whole batch of a log, before and behind damage.
///
/// A frame's header is checked with the id of this file and its own offset, so it was written here and nowhere else; logs are never reused. What
/// may not be taken for a part of the log is what its writer gave up: frames behind its end, if that is recorded, and frames behind the bytes that
/// were proven durable if it is the last log, from the first that is not whole. Everything before that was synced in one piece.
pub(crate) fn salvage(bytes: &[u8], entry: &LogEntry, bounds: Bounds) -> Salvaged {
    let mut frames = Frames::new(bytes, entry.file);
    let len = bytes.len() as u64;
    let proven = bounds.end.unwrap_or_else(|| frames.proven_behind());
    // With a later log in use all of this one was synced, wherever it ended.
    let through = if bounds.end.is_none() && bounds.before.is_some() { len } else { proven };
    let mut salvaged = Salvaged::default();
    let mut previous = None;
    let mut at = frames.offset;
    while bounds.end.is_none_or(|end| at < end) {
        let fits = |batch: &LogBatch, end: u64| {
            bounds.before.is_none_or(|before| batch.sequence < before) && bounds.end.is_none_or(|limit| end <= limit)
        };
        let damage = match frames.read_batch(previous) {
            Ok(batch) if fits(&batch, frames.offset) => {
                previous = Some(batch.sequence);
                at = frames.offset;
                salvaged.batches.push(batch);
                continue;
            }
            Ok(_) => Error::corruption("the log ends early").at(at),
            Err(error) => error,
        };
        if at >= through {
            break;
        }
        let (next, highest) = find_batch(&mut frames, at, through.min(len), previous, fits);
        let is_proven = at < proven;
        salvaged.holes.push(Hole { start: at, end: next.unwrap_or(through), damage, is_proven, highest });
        // Behind the last hole the log may still go on: what was proven durable ends where a batch does.
        match next {
            Some(next) => at = next,
            None if bounds.end.is_none() && through < len => at = through,
            None => break,
        }
        frames.offset = at;
    }
    salvaged
}

/// The offset of the next whole batch from behind `at` on that may follow `previous`, and the highest sequence named on the way to it.
fn find_batch(
    frames: &mut Frames<'_>,
    at: u64,
    end: u64,
    previous: Option<Sequence>,
    fits: impl Fn(&LogBatch, u64) -> bool,
) -> (Option<u64>, Sequence) {
    let mut highest = 0;
    let mut next = at;
    while next < end {
        if let Some((header, _)) = frames.header_at(next) {
            frames.offset = next;
            let batch = if header.first && next > at { frames.read_batch(previous).ok() } else { None };
            if batch.is_some_and(|batch| fits(&batch, frames.offset)) {
                return (Some(next), highest);
            }
            highest = highest.max(header.sequence);
        }
        next += FRAME_ALIGN as u64;
    }
    (None, highest)
}

/// A sequence that everything in the logs before this one is below, if this log was in use: its first one, or the first that can be read.
pub(crate) fn first_sequence(bytes: &[u8], entry: &LogEntry) -> Option<Sequence> {
    if let Some(activation) = find_activation(bytes, entry) {
        return Some(activation.first_sequence);
    }
    let frames = Frames::new(bytes, entry.file);
    let offsets = (FRAMES_START..bytes.len() as u64).step_by(FRAME_ALIGN);
    offsets.filter_map(|offset| frames.header_at(offset)).map(|(header, _)| header.sequence).next()
}
