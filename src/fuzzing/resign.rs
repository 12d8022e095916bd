//! Makes every checksum of a changed file fit again, so that what lies behind the checksums is reached. Nothing is believed: what does not lie
//! in the file is left as it is.

use super::{footer_of, resign_footer, sign, u32_at};
use crate::format::{
    crc,
    identity::IDENTITY_BYTES,
    lock_page::{HOLDER_BYTES, HOLDER_OFFSET, POINT_BYTES, POINT_OFFSET},
    log::{ACTIVATION_BYTES, ACTIVATION_OFFSETS, FRAME_BODY_MAX, FRAME_HEADER_BYTES, FRAMES_START, frame_bytes},
    manifest::Manifest,
    segment_file::SegmentPlace,
};

/// Places of the fields of a segment footer, from its start.
const TABLE_CRC_AT: usize = 52;
const SECTIONS_AT: usize = 56;
const SECTION_BYTES: usize = 32;
const CHECKSUMS_KIND: usize = 8;

/// A log: identity, activation records, and frames up to the first whose length is impossible.
#[must_use]
pub fn resign_log(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    sign(&mut signed, &[], 0..60, 60);
    let id: Vec<u8> = signed.get(40..56).unwrap_or_default().to_vec();
    for copy in ACTIVATION_OFFSETS {
        let start = copy as usize;
        sign(&mut signed, &id, start..start + ACTIVATION_BYTES - 4, start + ACTIVATION_BYTES - 4);
    }
    let mut at = FRAMES_START as usize;
    while at + FRAME_HEADER_BYTES < signed.len() {
        let len = u32_at(&signed, at);
        if len == 0 || len > FRAME_BODY_MAX {
            break;
        }
        let body = at + FRAME_HEADER_BYTES;
        sign(&mut signed, &[], body..body + len, at + 24);
        let prefix = [id.as_slice(), &(at as u64).to_le_bytes()].concat();
        sign(&mut signed, &prefix, at..at + 28, at + 28);
        at += frame_bytes(len);
    }
    signed
}

/// Where the parts of a log in short stand: in the short form, in the file, and how long they are.
const SHORT_LOG: [(usize, usize, usize); 3] = [
    (0, 0, IDENTITY_BYTES),
    (IDENTITY_BYTES, ACTIVATION_OFFSETS[0] as usize, ACTIVATION_BYTES),
    (IDENTITY_BYTES + ACTIVATION_BYTES, ACTIVATION_OFFSETS[1] as usize, ACTIVATION_BYTES),
];
const SHORT_FRAMES: usize = IDENTITY_BYTES + 2 * ACTIVATION_BYTES;

/// The file that a log in short stands for: identity, the two activation records and the frames, each in its place.
pub(super) fn lengthen_log(short: &[u8]) -> Vec<u8> {
    let frames = short.get(SHORT_FRAMES..).unwrap_or_default();
    let mut file = Vec::with_capacity(FRAMES_START as usize + frames.len());
    file.resize(FRAMES_START as usize, 0);
    for (from, to, len) in SHORT_LOG {
        let part = short.get(from..).unwrap_or_default();
        file.iter_mut().skip(to).zip(part.iter().take(len)).for_each(|(place, byte)| *place = *byte);
    }
    file.extend_from_slice(frames);
    file
}

/// A log in short, as the target `log` takes it; never longer than it was.
#[must_use]
pub fn resign_short_log(short: &[u8]) -> Vec<u8> {
    let mut signed = shorten_log(&resign_log(&lengthen_log(short)));
    signed.resize(short.len(), 0);
    signed
}

/// A log without the padding before its frames and the zeros behind them.
#[must_use]
pub fn shorten_log(file: &[u8]) -> Vec<u8> {
    let parts = SHORT_LOG.iter().map(|(_, at, len)| file.get(*at..at + len).unwrap_or_default());
    let mut short = parts.collect::<Vec<_>>().concat();
    let frames = file.get(FRAMES_START as usize..).unwrap_or_default();
    let end = frames.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    short.extend_from_slice(frames.get(..end).unwrap_or_default());
    short
}

/// A payload block states the length that it has.
#[must_use]
pub fn resign_payload(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    let stored = data.len().saturating_sub(25) as u32;
    if data.first().is_some_and(|kind| kind % 2 == 1) {
        put(&mut signed, 17, Some(stored.to_le_bytes()));
        let is_plain = u32_at(data, 21) >> 31 == 0;
        put(&mut signed, 21, is_plain.then_some(stored.to_le_bytes()));
    }
    signed
}

/// The checksums of FLOOR's slots, or of LOCK's parts.
#[must_use]
pub fn resign_pages(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    let Some((kind, parts)) = signed.split_first_mut() else { return signed };
    match *kind % 5 {
        3 => {
            let floor = resign_floor(parts);
            parts.copy_from_slice(&floor);
        }
        4 => resign_lock_parts(parts, 0, HOLDER_BYTES),
        _ => {}
    }
    signed
}

/// The checksums of who holds LOCK and of its point, which start at these offsets.
fn resign_lock_parts(bytes: &mut [u8], holder: usize, point: usize) {
    let process: Vec<u8> = bytes.get(holder..holder + 4).unwrap_or_default().to_vec();
    sign(bytes, &process, holder + 8..holder + HOLDER_BYTES, holder + 4);
    sign(bytes, &[], point..point + POINT_BYTES - 4, point + POINT_BYTES - 4);
}

/// LOCK: identity, holder and point.
#[must_use]
pub fn resign_lock(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    sign(&mut signed, &[], 0..60, 60);
    resign_lock_parts(&mut signed, HOLDER_OFFSET as usize, POINT_OFFSET as usize);
    signed
}

/// FLOOR, both slots.
#[must_use]
pub fn resign_floor(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    for start in [0, data.len() / 2] {
        sign(&mut signed, &[], start..start + 60, start + 60);
        sign(&mut signed, &[], start..start + 80, start + 80);
    }
    signed
}

/// A manifest, both copies.
#[must_use]
pub fn resign_manifest(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    for start in [0, data.len() / 2] {
        let body = start + 80;
        let len = u32_at(&signed, start + 64);
        sign(&mut signed, &[], start..start + 60, start + 60);
        sign(&mut signed, &[], body..body.saturating_add(len), start + 72);
        sign(&mut signed, &[], start + 64..start + 76, start + 76);
    }
    signed
}

/// A segment file: blocks of sections, checksum tables, segment footers, kill blocks, file footer.
#[must_use]
pub fn resign_segment(data: &[u8]) -> Vec<u8> {
    let mut signed = data.to_vec();
    sign(&mut signed, &[], 0..60, 60);
    resign_footer(&mut signed);
    let Some((start, footer)) = footer_of(&signed) else { return signed };
    for (index, place) in footer.segments.iter().enumerate() {
        let (offset, end) = (place.offset as usize, place.offset.saturating_add(place.len) as usize);
        let from = end.saturating_sub(u32_at(&signed, end.saturating_sub(8))).max(offset);
        resign_sections(&mut signed, offset, from);
        sign(&mut signed, &[], from..end.saturating_sub(4), end.saturating_sub(4));
        let sum: Option<[u8; 4]> = signed.get(end.saturating_sub(4)..end).and_then(|part| part.first_chunk().copied());
        put(&mut signed, start + 4 + index * 28 + 24, sum);
    }
    let kills = start + 4 + footer.segments.len() * 28 + 4;
    for (index, place) in footer.kills.iter().enumerate() {
        let block = signed.get(place.offset as usize..place.offset.saturating_add(place.len.into()) as usize);
        let sum = block.map(|block| crc(block).to_le_bytes());
        put(&mut signed, kills + index * 24 + 20, sum);
    }
    resign_footer(&mut signed);
    signed
}

/// The checksum table of the segment at `base` whose footer stands at `footer`, and the table's own checksum.
fn resign_sections(bytes: &mut [u8], base: usize, footer: usize) {
    if footer >= bytes.len() {
        return;
    }
    let u64_at = |bytes: &[u8], at: usize| u32_at(bytes, at) as u64 | (u32_at(bytes, at + 4) as u64) << 32;
    let count = u32_at(bytes, footer + 4).min(bytes.len() / SECTION_BYTES);
    let sections: Vec<(usize, usize, usize, usize, usize)> = (0..count)
        .map(|index| footer + SECTIONS_AT + index * SECTION_BYTES)
        .map(|at| {
            let (offset, len) = (u64_at(bytes, at + 8) as usize, u64_at(bytes, at + 16) as usize);
            (u32_at(bytes, at) & 0xFFFF, u32_at(bytes, at + 4), base.saturating_add(offset), len, u32_at(bytes, at + 24))
        })
        .collect();
    let Some(&(_, _, table, table_len, _)) = sections.iter().find(|section| section.0 == CHECKSUMS_KIND) else { return };
    let file_len = bytes.len();
    for (_, block_size, offset, len, first) in sections.iter().filter(|section| section.1 > 0 && section.3 <= file_len) {
        for block in 0..len.div_ceil(*block_size) {
            let from = offset.saturating_add(block * block_size);
            let to = from.saturating_add(*block_size).min(offset.saturating_add(*len));
            let sum = bytes.get(from..to).map(|part| crc(part).to_le_bytes());
            put(bytes, table.saturating_add((first + block) * 4), sum);
        }
    }
    sign(bytes, &[], table..table.saturating_add(table_len), footer + TABLE_CRC_AT);
}

fn put(bytes: &mut [u8], at: usize, sum: Option<[u8; 4]>) {
    if let (Some(sum), Some(place)) = (sum, bytes.get_mut(at..at.saturating_add(4))) {
        place.copy_from_slice(&sum);
    }
}

/// A manifest that names a changed segment file as it is now; `None` if either cannot be read at all.
#[must_use]
pub fn adopt_segment(manifest: &[u8], number: u64, segment: &[u8]) -> Option<Vec<u8>> {
    let mut manifest = Manifest::decode(manifest).ok()?.manifest;
    let (_, footer) = footer_of(segment)?;
    let entry = manifest.files.iter_mut().find(|entry| entry.number == number)?;
    entry.len = segment.len() as u64;
    entry.footer_crc = u32_at(segment, segment.len().checked_sub(12)?) as u32;
    for entry in manifest.collections.iter_mut().flat_map(|collection| &mut collection.runs).flatten() {
        // Places that are hostile themselves stay as they were: a manifest that cannot be is never written.
        let own = |place: &&SegmentPlace| (entry.file, entry.id, entry.offset, entry.len) == (number, place.id, place.offset, place.len);
        if let Some(place) = footer.segments.iter().find(own) {
            entry.footer_crc = place.footer_crc;
        }
        if let Some(kills) = entry.kills.as_mut().filter(|kills| kills.file == number)
            && let Some(place) =
                footer.kills.iter().find(|place| (place.segment, place.offset, place.len) == (entry.id, kills.offset, kills.len))
        {
            kills.crc = place.crc;
        }
    }
    Some(manifest.encode())
}
