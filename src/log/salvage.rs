//! What `repair` can still read of a damaged log: every whole batch that provably belongs to it.

use super::{
    reader::{Frames, LogBatch},
    verify::find_activation,
};
use crate::{
    error::Error,
    format::{
        first_nonzero,
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
    pub(crate) cut_off: Option<CutOff>,
}

/// Whole batches behind the end that the last log has, because a frame before them is not whole: a power cut leaves such, and so does damage.
#[derive(Debug)]
pub(crate) struct CutOff {
    /// Where the log ends.
    pub(crate) offset: u64,
    /// What is wrong there.
    pub(crate) damage: Error,
    /// Those of the batches, rising; at least one.
    pub(crate) sequences: Vec<Sequence>,
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
            salvaged.cut_off = find_cut_off(frames, bytes, at, previous, damage);
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

/// What stands whole behind the end of the last log.
fn find_cut_off(mut frames: Frames<'_>, bytes: &[u8], at: u64, mut previous: Option<Sequence>, damage: Error) -> Option<CutOff> {
    let mut sequences = Vec::new();
    let mut next = usize::try_from(at).ok()? + FRAME_ALIGN;
    while let Some(zeros) = first_nonzero(bytes.get(next..).unwrap_or_default()) {
        next += zeros / FRAME_ALIGN * FRAME_ALIGN;
        frames.offset = next as u64;
        next += FRAME_ALIGN;
        if frames.header_at(frames.offset).is_none() {
            continue;
        }
        if let Ok(batch) = frames.read_batch(previous) {
            previous = Some(batch.sequence);
            sequences.push(batch.sequence);
            next = usize::try_from(frames.offset).ok()?;
        }
    }
    (!sequences.is_empty()).then_some(CutOff { offset: at, damage, sequences })
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
