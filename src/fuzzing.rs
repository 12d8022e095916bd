//! Entry points of the fuzz targets in `fuzz/` and of `tests/corpus.rs`. Not part of the API.
//!
//! The property of the decoders: no panic and no large allocation, whatever the bytes. Checksums would stop nearly every mutated input early, so
//! each kind of input comes with a function that makes them fit again; the mutators in `fuzz/` call it. The property of the engine targets: it
//! agrees with a plain model.

mod decoders;
mod operations;
mod parts;
mod repair;
mod resign;
mod search;

pub use decoders::{log, manifest, pages, payload, segment};
pub use operations::operations;
pub use parts::{Part, parts_of_segment_file};
pub use repair::repair;
pub use resign::{
    adopt_segment, resign_floor, resign_lock, resign_log, resign_manifest, resign_pages, resign_payload, resign_segment, resign_short_log,
    shorten_log,
};
pub use search::search;

use crate::format::{
    crc,
    segment_file::{FileFooter, TAIL_BYTES},
};

/// Writes the CRC of a range of bytes, behind a prefix, to a place; nothing if either lies outside.
fn sign(bytes: &mut [u8], prefix: &[u8], range: std::ops::Range<usize>, at: usize) {
    let Some(part) = bytes.get(range) else { return };
    let sum = crc(&[prefix, part].concat());
    if let Some(place) = bytes.get_mut(at..at.saturating_add(4)) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at.saturating_add(4)).and_then(|part| part.first_chunk::<4>()).map_or(0, |part| u32::from_le_bytes(*part) as usize)
}

/// The footer's CRC stands twelve bytes before the end.
fn resign_footer(bytes: &mut [u8]) {
    let len = u32_at(bytes, bytes.len().saturating_sub(TAIL_BYTES));
    let (start, end) = (bytes.len().saturating_sub(len), bytes.len().saturating_sub(12));
    sign(bytes, &[], start..end, end);
}

fn footer_of(bytes: &[u8]) -> Option<(usize, FileFooter)> {
    let (len, _) = FileFooter::decode_tail(bytes.get(bytes.len().checked_sub(TAIL_BYTES)?..)?).ok()?;
    let start = bytes.len().checked_sub(len as usize)?;
    Some((start, FileFooter::decode(bytes.get(start..)?).ok()?))
}
