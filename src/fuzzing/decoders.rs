//! The decoders of single files and of the parts that files are made of.

use crate::{
    ReadMode,
    format::{
        batch::Operations,
        floor, id_block, id_hash,
        identity::{FileKind, IDENTITY_BYTES, Identity},
        kills::KillBlock,
        lock_page::{HOLDER_BYTES, Holder, POINT_BYTES, SyncedPoint},
        manifest::{FileEntry, LogEntry, Manifest, Sealed},
        payload as record_payload,
        payload_block::{self, INDEX_ENTRY_BYTES, IndexEntry},
        segment_file::TAIL_BYTES,
    },
    io::{Storage, memory::Memory},
    log::{self, LogEnd, Role},
    options::ChecksumMode,
    segment::{Segment, SegmentFile},
    sync::Arc,
    types::Dimension,
};

use super::resign::lengthen_log;

/// Arbitrary bytes as a log in short: identity, the two activation records, frames, without the padding between them.
pub fn log(data: &[u8]) {
    let bytes = &lengthen_log(data);
    let Ok(identity) = Identity::decode(bytes, FileKind::Log) else { return };
    let entry = LogEntry { number: identity.number, file: identity.file, sealed: None };
    let activated = log::activation(bytes, identity.database, &entry).is_ok_and(|activation| activation.is_some());
    let middle = bytes.len() as u64 / 16 * 8;
    let ends = [LogEnd::Tail, LogEnd::Through(middle), LogEnd::Sealed(Sealed { end: middle, chain: 0 })];
    // One of the three an input, so that inputs stay cheap.
    let end = ends.into_iter().nth(data.len() % 3).unwrap_or(LogEnd::Tail);
    let damages = log::verify(bytes, identity.database, &entry, Role { activated, end, settled: true });
    let mut last = None;
    let mut visit = |batch: &log::LogBatch| {
        assert!(last < Some(batch.sequence), "sequences that do not ascend");
        last = Some(batch.sequence);
        let mut operations = Operations::new(&batch.body);
        while let Ok(Some(_)) = operations.next(|_| Dimension::new(4).ok()) {}
        Ok(())
    };
    let scanned = log::scan(bytes, &entry, activated, end, &mut visit);
    assert!(scanned.is_ok() || !damages.is_empty(), "a log that cannot be read passes verification");
    let salvaged = log::salvage(bytes, &entry, log::Bounds::default());
    assert!(salvaged.batches.is_sorted_by_key(|batch| batch.sequence), "batches out of order");
}

/// Arbitrary bytes as a manifest: what is read is written again as it was.
pub fn manifest(data: &[u8]) {
    if let Ok(decoded) = Manifest::decode(data) {
        let again = Manifest::decode(&decoded.manifest.encode());
        assert!(
            again.is_ok_and(|again| again.manifest == decoded.manifest && again.damages.is_empty()),
            "a manifest changed when written again"
        );
    }
}

/// Arbitrary bytes as a segment file: opened and read through every section.
pub fn segment(data: &[u8]) {
    let Ok(identity) = Identity::decode(data.get(..IDENTITY_BYTES).unwrap_or_default(), FileKind::Segment) else { return };
    let Some(tail) = data.len().checked_sub(TAIL_BYTES).and_then(|at| data.get(at..)) else { return };
    let Ok((_, footer_crc)) = crate::format::segment_file::FileFooter::decode_tail(tail) else { return };
    let storage = Memory::new();
    if storage.create("seg-00000001").and_then(|file| file.write_at(0, data)).is_err() {
        return;
    }
    let (origin_database, origin_number) = (identity.database, identity.number);
    let entry = FileEntry { number: 1, origin_database, origin_number, file: identity.file, len: data.len() as u64, footer_crc };
    let Ok(file) = SegmentFile::open(&storage, &entry, ReadMode::Mapped) else { return };
    let damages = file.verify();
    for place in &file.footer().segments {
        let Ok(segment) = Segment::open_place(Arc::clone(&file), place, ChecksumMode::FirstTouch) else { continue };
        let mut unreadable = false;
        let mut id = Vec::new();
        for row in 0..segment.rows().min(100) {
            if segment.id_of(row, &mut id).is_ok() {
                let _found = segment.find(&id);
                let _bound = segment.lower_bound(&id);
            } else {
                unreadable = true;
            }
            unreadable |= segment.row(row).is_err() | segment.ordinal(row).is_err() | segment.payload(row).is_err();
        }
        let mut cursor = segment.cursor(0);
        for _ in 0..segment.rows().min(100) {
            match cursor.advance() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    unreadable = true;
                    break;
                }
            }
            let _payload = cursor.payload().map(<[u8]>::len);
            let _vector = cursor.vector().map(<[u8]>::len);
        }
        assert!(!unreadable || !damages.is_empty(), "a segment that cannot be read passes verification");
    }
}

/// Arbitrary bytes, by the first one, as the payload of a record or as a block of payloads with its index entry.
pub fn payload(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    if kind % 2 == 0 {
        return read_payload(data);
    }
    let Some((entry, stored)) = data.split_first_chunk::<INDEX_ENTRY_BYTES>() else { return };
    let Ok(entry) = IndexEntry::decode(entry) else { return };
    let Ok(plain) = payload_block::load(&entry, stored.get(..entry.stored_len as usize).unwrap_or(stored)) else { return };
    let mut rest = plain.as_slice();
    while let Ok(Some((row, payload, following))) = payload_block::split_first(rest) {
        let _found = payload_block::find(&plain, row);
        read_payload(payload);
        rest = following;
    }
}

fn read_payload(bytes: &[u8]) {
    let whole = record_payload::decode(bytes);
    let parts = (record_payload::metadata(bytes), record_payload::document(bytes), record_payload::uri(bytes));
    let Ok(payload) = whole else { return };
    assert!(parts.1.is_ok_and(|document| document == payload.document.as_deref()), "document");
    assert!(parts.2.is_ok_and(|uri| uri == payload.uri.as_deref()), "uri");
    assert!(parts.0.is_ok_and(|metadata| metadata.len() == payload.metadata.len()), "metadata");
    let mut again = Vec::new();
    assert!(record_payload::encode(&payload, &mut again).is_ok() && again == bytes, "a payload changed when written again");
}

/// Arbitrary bytes, by the first one, as an id block, a bucket of ids, a kill block, FLOOR in short or a part of LOCK.
pub fn pages(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 5 {
        0 => read_ids(data),
        1 => {
            if let Ok(bucket) = id_hash::Bucket::decode(data) {
                let _rows = (bucket.candidates(u64::from(*kind)).count(), bucket.overflowed());
            }
        }
        2 => {
            if let Ok(kills) = KillBlock::decode(data) {
                assert!(kills.encode() == data, "a kill block changed when written again");
            }
        }
        3 => {
            let (first, second) = data.split_at(data.len() / 2);
            let mut file = vec![0; floor::FLOOR_BYTES];
            for (slot, bytes) in file.chunks_mut(floor::FLOOR_BYTES / 2).zip([first, second]) {
                slot.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
            }
            if let Ok(decoded) = floor::decode(&file) {
                let again = floor::decode(&floor::encode_file(&decoded.floor));
                assert!(again.is_ok_and(|again| again.floor.floor == decoded.floor.floor), "a floor changed when written again");
            }
        }
        _ => {
            let (holder, point) = (data.get(..HOLDER_BYTES).unwrap_or(data), data.get(HOLDER_BYTES..).unwrap_or_default());
            if let Ok(holder) = Holder::decode(holder) {
                assert_eq!(Holder::decode(&holder.encode()).ok(), Some(holder), "a holder changed when written again");
            }
            let _point = SyncedPoint::decode(point.get(..POINT_BYTES).unwrap_or(point));
        }
    }
}

/// Every way to look into an id block gives the same ids.
fn read_ids(block: &[u8]) {
    let mut entries = id_block::Entries::new(block);
    let (mut ids, mut id) = (Vec::new(), Vec::new());
    while let Ok(entry) = entries.next() {
        entry.apply(&mut id);
        ids.push(id.clone());
    }
    let count = ids.len() as u32;
    let ascend = ids.is_sorted_by(|left, right| left < right);
    for (index, id) in (0..count).zip(&ids) {
        let mut own = Vec::new();
        assert!(id_block::get(block, index, &mut own).is_ok() && own == *id, "id {index}");
        assert_eq!(id_block::matches(block, index, id).ok(), Some(true), "match of {index}");
        if ascend && id_block::lower_bound(block, count, id).is_ok_and(|bound| bound != index) {
            // Legal only where a prefix is stored shorter than it could be, which no writer does.
            assert!(shortened(block), "lower bound of {index}");
        }
    }
}

/// Whether an entry shares fewer bytes with the one before it than it could.
fn shortened(block: &[u8]) -> bool {
    let mut entries = id_block::Entries::new(block);
    let mut id = Vec::new();
    while let Ok(entry) = entries.next() {
        if entry.rest.first() == id.get(entry.shared) && entry.shared < id.len() {
            return true;
        }
        entry.apply(&mut id);
    }
    false
}
