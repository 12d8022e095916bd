//! Where the parts of a segment file stand, so that a campaign tries something of each.

use std::ops::Range;

use super::footer_of;
use crate::format::{
    identity::IDENTITY_BYTES,
    payload_block::INDEX_ENTRY_BYTES,
    segment::{SectionKind, SegmentFooter, TAIL_BYTES, tail},
    segment_file::SegmentPlace,
};

/// A part of a segment file.
#[derive(Clone, Debug)]
pub struct Part {
    /// What it is.
    pub name: &'static str,
    /// Its bytes in the file.
    pub range: Range<usize>,
    /// Bytes of the records it consists of; 0 if they differ.
    pub record: usize,
}

/// The parts of an undamaged segment file; padding belongs to none.
#[must_use]
pub fn parts_of_segment_file(bytes: &[u8]) -> Vec<Part> {
    let Some((start, footer)) = footer_of(bytes) else { return Vec::new() };
    let part = |name, range| Part { name, range, record: 0 };
    let mut parts = vec![part("identity", 0..IDENTITY_BYTES), part("file footer", start..bytes.len())];
    for place in &footer.kills {
        let from = place.offset as usize;
        parts.push(part("kill block", from..from + place.len as usize));
    }
    for place in &footer.segments {
        parts.extend(parts_of_segment(bytes, place).unwrap_or_default());
    }
    parts
}

fn parts_of_segment(bytes: &[u8], place: &SegmentPlace) -> Option<Vec<Part>> {
    let base = place.offset as usize;
    let segment = bytes.get(base..)?.get(..place.len as usize)?;
    let (len, _) = tail(segment.last_chunk::<TAIL_BYTES>()?);
    let start = segment.len().checked_sub(len as usize)?;
    let footer = SegmentFooter::decode(segment.get(start..)?, place.len).ok()?;
    let mut parts = vec![Part { name: "segment footer", range: base + start..base + segment.len(), record: 0 }];
    for kind in SectionKind::ALL {
        let section = footer.section(kind);
        let record = if kind == SectionKind::PayloadIndex { INDEX_ENTRY_BYTES } else { 0 };
        parts.push(Part { name: kind.name(), range: base + section.offset as usize..base + section.end() as usize, record });
    }
    Some(parts)
}
