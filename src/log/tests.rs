use super::{Bounds, LogEnd, SpareLog, check_length, salvage, scan};
use crate::{
    error::{ErrorKind, Result},
    format::{
        log::FRAMES_START,
        manifest::{LogEntry, Sealed},
        names::log_name,
    },
    io::simulated::SimulatedDisk,
    types::{FileId, Sequence},
};

/// A log of one batch after the other, from sequence 1 on, and where each ends.
fn log(bodies: &[&[u8]]) -> (Vec<u8>, LogEntry, Vec<Sealed>) {
    let disk = SimulatedDisk::new(1);
    let spare = SpareLog::create(&disk, FileId::default(), 7, FileId::default()).unwrap();
    let entry = spare.entry();
    let Ok(mut writer) = spare.activate(None, 1) else { panic!("the log cannot be activated") };
    let mut seals = vec![writer.seal()];
    for (sequence, body) in (1..).zip(bodies) {
        let appended = writer.append([(sequence, *body)].into_iter());
        assert!(appended.is_ok());
        seals.push(writer.seal());
    }
    (disk.read_all(&log_name(7)).unwrap(), entry, seals)
}

fn sequences(bytes: &[u8], entry: &LogEntry, end: LogEnd) -> Result<Vec<Sequence>> {
    Ok(scan(bytes, entry, true, end)?.batches.iter().map(|batch| batch.sequence).collect())
}

#[test]
fn a_sealed_log_is_read_to_its_end_and_no_other() {
    let (bytes, entry, seals) = log(&[b"one", b"two", b"three"]);
    for (batches, sealed) in (0..).zip(&seals) {
        assert_eq!(sequences(&bytes, &entry, LogEnd::Sealed(*sealed)).unwrap(), (1..=batches).collect::<Vec<_>>());
        let other = Sealed { chain: !sealed.chain, ..*sealed };
        let error = sequences(&bytes, &entry, LogEnd::Sealed(other)).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(sealed.end)), "{error}");
        // Between two frames, and behind the last.
        let other = Sealed { end: sealed.end + 16, ..*sealed };
        assert_eq!(sequences(&bytes, &entry, LogEnd::Sealed(other)).unwrap_err().kind(), ErrorKind::Corruption);
    }
}

#[test]
fn a_log_is_read_through_the_point_that_its_writer_tells() {
    let (bytes, entry, seals) = log(&[b"one", b"two"]);
    assert_eq!(sequences(&bytes, &entry, LogEnd::Through(seals[1].end)).unwrap(), [1]);
    assert_eq!(sequences(&bytes, &entry, LogEnd::Through(seals[2].end)).unwrap(), [1, 2]);
    let error = sequences(&bytes, &entry, LogEnd::Through(seals[2].end + 16)).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(seals[2].end)), "{error}");
}

#[test]
fn the_last_log_ends_where_nothing_is_proven_behind() {
    // Nothing was synced, and no frame says so of one before it.
    let (mut bytes, entry, seals) = log(&[b"one", b"two", b"three"]);
    assert_eq!(sequences(&bytes, &entry, LogEnd::Tail).unwrap(), [1, 2, 3]);
    bytes[seals[2].end as usize] ^= 1;
    assert_eq!(sequences(&bytes, &entry, LogEnd::Tail).unwrap(), [1, 2]);
    let short = &bytes[..bytes.len() - 1];
    assert_eq!(check_length(short, LogEnd::Tail).unwrap_err().kind(), ErrorKind::Corruption);
    assert!(check_length(short, LogEnd::Through(FRAMES_START)).is_ok());
    assert!(scan(&bytes, &entry, false, LogEnd::Tail).unwrap().batches.is_empty());
}

#[test]
fn what_is_salvaged_keeps_to_its_bounds() {
    let (bytes, entry, seals) = log(&[b"one", b"two", b"three"]);
    let saved = |bounds| salvage(&bytes, &entry, bounds).batches.iter().map(|batch| batch.sequence).collect::<Vec<_>>();
    assert_eq!(saved(Bounds { end: None, before: None }), [1, 2, 3]);
    assert_eq!(saved(Bounds { end: None, before: Some(3) }), [1, 2], "the later log begins with the third");
    assert_eq!(saved(Bounds { end: Some(seals[2].end), before: None }), [1, 2]);
    assert_eq!(saved(Bounds { end: Some(seals[2].end + 16), before: None }), [1, 2], "no batch reaches over the end");
}

/// Several frames, and a buffer that is not kept.
#[test]
fn a_large_batch_is_one_batch() {
    let large = vec![7; 17 << 20];
    let (bytes, entry, seals) = log(&[b"one", &large, b"three"]);
    let batches = scan(&bytes, &entry, true, LogEnd::Sealed(seals[3])).unwrap().batches;
    assert_eq!(batches.iter().map(|batch| batch.body.len()).collect::<Vec<_>>(), [3, 17 << 20, 5]);
    assert_eq!(batches[1].body, large);
}
