use super::{
    AppendError, Beacon, Bounds, LogBatch, LogEnd, LogWriter, Role, SpareLog, activation, check_length, first_sequence, salvage, scan,
    verify,
};
use crate::{
    error::{ErrorKind, Result},
    format::{
        lock_page::{LOCK_BYTES, POINT_BYTES, POINT_OFFSET, SyncedPoint},
        log::{FRAME_BODY_MAX, FRAME_HEADER_BYTES, FRAMES_START, frame_bytes},
        manifest::{LogEntry, Sealed},
        names::{LOCK, log_name},
    },
    io::{
        Storage,
        simulated::{Fault, SimulatedDisk},
    },
    types::{FileId, Sequence},
};

type Batches<'a> = &'a [(Sequence, &'a [u8])];

/// A log of these batches, and where each ends; synced before each, so that its frames say so of those before them, or never.
fn written(batches: Batches<'_>, is_synced: bool) -> (Vec<u8>, LogEntry, Vec<Sealed>) {
    let disk = SimulatedDisk::new(1);
    let spare = SpareLog::create(&disk, FileId::default(), 7, FileId::default()).unwrap();
    let entry = spare.entry();
    let Ok(mut writer) = spare.activate(None, 1) else { panic!("the log cannot be activated") };
    let mut seals = vec![writer.seal()];
    for batch in batches {
        if is_synced {
            writer.sync().unwrap();
        }
        assert!(writer.append(std::iter::once(*batch)).is_ok());
        seals.push(writer.seal());
    }
    (disk.read_all(&log_name(7)).unwrap(), entry, seals)
}

/// Batches from sequence 1 on, never synced.
fn log(bodies: &[&[u8]]) -> (Vec<u8>, LogEntry, Vec<Sealed>) {
    written(&(1..).zip(bodies.iter().copied()).collect::<Vec<_>>(), false)
}

fn read(bytes: &[u8], entry: &LogEntry, activated: bool, end: LogEnd) -> Result<Vec<(Sequence, Vec<u8>)>> {
    let mut batches = Vec::new();
    let mut visit = |batch: &LogBatch| {
        batches.push((batch.sequence, batch.body.clone()));
        Ok(())
    };
    scan(bytes, entry, activated, end, &mut visit)?;
    Ok(batches)
}

fn sequences(bytes: &[u8], entry: &LogEntry, end: LogEnd) -> Result<Vec<Sequence>> {
    Ok(read(bytes, entry, true, end)?.into_iter().map(|(sequence, _)| sequence).collect())
}

#[test]
fn an_activation_is_of_the_log_that_is_named() {
    let (bytes, entry, _) = log(&[b"one"]);
    let database = FileId::default();
    assert_eq!(activation(&bytes, database, &entry).unwrap().unwrap().first_sequence, 1);
    for other in [LogEntry { number: 8, ..entry.clone() }, LogEntry { file: FileId([1; 16]), ..entry.clone() }] {
        let error = activation(&bytes, database, &other).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(16)), "{error}");
    }
    assert_eq!(activation(&bytes, FileId([1; 16]), &entry).unwrap_err().offset(), Some(16));
    // Either copy will do; without both there is none, and that is no error.
    for (damaged, is_there) in [(&[4096][..], true), (&[8192], true), (&[4096, 8192], false)] {
        let mut bytes = bytes.clone();
        damaged.iter().for_each(|at| bytes[at + 20] ^= 1);
        assert_eq!(activation(&bytes, database, &entry).unwrap().is_some(), is_there, "{damaged:?}");
    }
    // A record that stands whole, of another log of the same file id.
    let disk = SimulatedDisk::new(1);
    let (number, file) = (9, FileId::default());
    let spare = SpareLog::create(&disk, database, number, file).unwrap();
    assert!(spare.activate(None, 5).is_ok());
    let other = disk.read_all(&log_name(number)).unwrap();
    let mut bytes = bytes;
    bytes[4096..12_288].copy_from_slice(&other[4096..12_288]);
    assert!(activation(&bytes, database, &entry).unwrap().is_none());
}

#[test]
fn what_was_proven_durable_is_not_cut_off() {
    let (bytes, entry, seals) = written(&[(1, b"one"), (2, b"two"), (3, b"three")], true);
    assert_eq!(sequences(&bytes, &entry, LogEnd::Tail).unwrap(), [1, 2, 3]);
    let damaged = |at: u64| {
        let mut bytes = bytes.clone();
        bytes[at as usize] ^= 1;
        bytes
    };
    // The third frame proves the second.
    let error = sequences(&damaged(seals[1].end), &entry, LogEnd::Tail).unwrap_err();
    assert!(error.offset() == Some(seals[1].end) && error.to_string().contains(&format!("up to {} were proven", seals[2].end)), "{error}");
    // The header or the body of the frame that proves all before it, and nothing of itself.
    for at in [seals[2].end, seals[2].end + 32] {
        assert_eq!(sequences(&damaged(at), &entry, LogEnd::Tail).unwrap(), [1, 2]);
    }
    // A log that was never activated has no such frame.
    let error = read(&bytes, &entry, false, LogEnd::Tail).unwrap_err();
    assert!(error.offset() == Some(4096) && error.to_string().contains("activation record"), "{error}");
    // Damage before a recorded end is named as such.
    let error = sequences(&damaged(seals[1].end), &entry, LogEnd::Sealed(seals[3])).unwrap_err();
    assert!(error.offset() == Some(seals[1].end) && error.to_string().contains("frame header"), "{error}");
}

/// The second frame of a batch is the next one of the same batch: whatever else stands there, valid by itself, the batch is none.
#[test]
fn a_batch_is_whole_or_is_none() {
    let (large, one_frame) = (vec![7; 3 << 20], vec![8; FRAME_BODY_MAX]);
    let (bytes, entry, seals) = log(&[b"one", &large]);
    let second = seals[1].end as usize + FRAME_HEADER_BYTES + FRAME_BODY_MAX;
    let others: [(Batches<'_>, &str); 3] = [
        (&[(1, b"one"), (9, &one_frame), (2, b"x")], "the beginning of a batch of that sequence"),
        (&[(1, b"one"), (5, &large)], "a later frame of another batch"),
        (&[(1, b"one"), (9, &one_frame), (3, b"x")], "the beginning of the next batch"),
    ];
    for (other, what) in others {
        let (other, _, other_seals) = written(other, false);
        assert_eq!(other_seals[1].end, seals[1].end);
        let len = bytes.len().min(other.len());
        let mixed = [&bytes[..second], &other[second..len], &bytes[len..]].concat();
        assert_eq!(sequences(&mixed, &entry, LogEnd::Tail).unwrap(), [1], "{what}");
    }
    let (mut other, _, _) = written(&[(1, b"one"), (2, &one_frame)], false);
    other.resize(bytes.len(), 0);
    other[second..].copy_from_slice(&bytes[second..]);
    assert_eq!(sequences(&other, &entry, LogEnd::Tail).unwrap(), [1, 2], "a frame that nothing began");
}

#[test]
fn sequences_rise() {
    let (bytes, entry, seals) = written(&[(1, b"one"), (3, b"three"), (3, b"again"), (4, b"four")], false);
    assert_eq!(sequences(&bytes, &entry, LogEnd::Tail).unwrap(), [1, 3]);
    let error = sequences(&bytes, &entry, LogEnd::Sealed(seals[4])).unwrap_err();
    assert!(error.to_string().contains("does not rise"), "{error}");
}

#[test]
fn readers_are_told_each_point_with_a_number_of_its_own() {
    let disk = SimulatedDisk::new(1);
    let file = disk.create(LOCK).unwrap();
    file.allocate(LOCK_BYTES as u64).unwrap();
    let mut beacon = Beacon::new(file, FileId([3; 16]));
    for count in 1..4_u64 {
        beacon.publish(7, 4096 * count, count).unwrap();
        let slot = disk.read_all(LOCK).unwrap()[POINT_OFFSET as usize..][..POINT_BYTES].to_vec();
        let point = SyncedPoint { nonce: FileId([3; 16]), log: 7, offset: 4096 * count, sequence: count };
        assert_eq!(slot, point.encode(count));
    }
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

/// What is not proven is written again by recovery: the bound must be the last one that a frame states, neither more nor less.
#[test]
fn the_last_frame_says_how_far_the_last_log_is_proven() {
    let scanned = |bytes: &[u8], entry: &LogEntry| scan(bytes, entry, true, LogEnd::Tail, &mut |_| Ok(())).unwrap();
    let (bytes, entry, seals) = written(&[(1, b"one"), (2, b"two"), (3, b"three")], true);
    assert_eq!((scanned(&bytes, &entry).end, scanned(&bytes, &entry).proven), (seals[3], seals[2]));
    let (bytes, entry, seals) = log(&[b"one", b"two", b"three"]);
    assert_eq!((scanned(&bytes, &entry).end, scanned(&bytes, &entry).proven), (seals[3], seals[0]));
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
    let sealed = scan(&bytes, &entry, false, LogEnd::Tail, &mut |_| panic!("one that was never activated has no batch")).unwrap();
    assert_eq!((sealed.end.end, sealed.proven.end), (FRAMES_START, FRAMES_START));
}

#[test]
fn what_is_salvaged_keeps_to_its_bounds() {
    let (bytes, entry, seals) = log(&[b"one", b"two", b"three"]);
    let saved = |bounds| salvage(&bytes, &entry, bounds).batches.iter().map(|batch| batch.sequence).collect::<Vec<_>>();
    assert_eq!(saved(Bounds { end: None, before: None }), [1, 2, 3]);
    assert_eq!(saved(Bounds { end: None, before: Some(3) }), [1, 2], "the later log begins with the third");
    assert_eq!(saved(Bounds { end: Some(seals[2].end), before: None }), [1, 2]);
    assert_eq!(saved(Bounds { end: Some(seals[2].end + 16), before: None }), [1, 2], "no batch reaches over the end");
    let whole = salvage(&bytes, &entry, Bounds { end: Some(seals[1].end), before: None });
    assert!(whole.holes.is_empty() && whole.cut_off.is_none(), "what stands behind a recorded end is void: {whole:?}");
}

/// Several frames, and a buffer that is not kept.
#[test]
fn a_large_batch_is_one_batch() {
    let large = vec![7; 17 << 20];
    let (bytes, entry, seals) = log(&[b"one", &large, b"three"]);
    let batches = read(&bytes, &entry, true, LogEnd::Sealed(seals[3])).unwrap();
    assert_eq!(batches.iter().map(|(_, body)| body.len()).collect::<Vec<_>>(), [3, 17 << 20, 5]);
    assert_eq!(batches[1].1, large);
}

#[test]
fn proof_is_found_behind_any_damage() {
    // The last header begins with a zero, the low byte of its length.
    let (bytes, entry, seals) = written(&[(1, b"one"), (2, b"two"), (3, b"three"), (4, &[7; 256])], true);
    // Zeros are passed over in long runs, anything else in steps of eight.
    for (from, to, byte) in [(1, 2, 0_u8), (1, 3, 0), (1, 2, 0xFF), (0, 3, 0xFF), (0, 3, 0)] {
        let mut bytes = bytes.clone();
        bytes[seals[from].end as usize..seals[to].end as usize].fill(byte);
        let error = sequences(&bytes, &entry, LogEnd::Tail).unwrap_err();
        assert!(error.offset() == Some(seals[from].end) && error.to_string().contains(&format!("up to {} were", seals[3].end)), "{error}");
    }
    // Far behind, with a lone byte on the way.
    let mut far = vec![0; bytes.len() + 8192];
    far[..seals[1].end as usize].copy_from_slice(&bytes[..seals[1].end as usize]);
    far[seals[1].end as usize + 1003] = 1;
    assert_eq!(sequences(&far, &entry, LogEnd::Tail).unwrap(), [1]);
}

#[test]
fn what_is_salvaged_stands_around_the_holes() {
    let synced = written(&[(1, b"one"), (2, b"two"), (3, b"three"), (4, b"four")], true);
    let buffered = log(&[b"one", b"two", b"three", b"four"]);
    let damaged = |(bytes, entry, seals): &(Vec<u8>, LogEntry, Vec<Sealed>), at: u64, bounds| {
        let mut bytes = bytes.clone();
        bytes[(seals[1].end + at) as usize] ^= 1;
        let salvaged = salvage(&bytes, entry, bounds);
        let holes: Vec<_> = salvaged.holes.iter().map(|hole| (hole.start, hole.end, hole.is_proven, hole.highest)).collect();
        let cut_off = salvaged.cut_off.map(|cut_off| (cut_off.offset, cut_off.sequences));
        (salvaged.batches.iter().map(|batch| batch.sequence).collect::<Vec<_>>(), holes, cut_off)
    };
    let seals = &synced.2;
    let none = Bounds { end: None, before: None };
    // Of a damaged header nothing is known, of a damaged body the sequence.
    for (at, highest) in [(0, 0), (32, 2)] {
        let hole = (seals[1].end, seals[2].end, true, highest);
        assert_eq!(damaged(&synced, at, none), (vec![1, 3, 4], vec![hole], None));
        assert_eq!(damaged(&synced, at, Bounds { end: Some(seals[4].end), before: None }), (vec![1, 3, 4], vec![hole], None));
        assert_eq!(damaged(&synced, at, Bounds { end: Some(seals[3].end), before: Some(4) }), (vec![1, 3], vec![hole], None));
        // Nothing proves the second batch: the log may end there, and what stands behind is reported.
        assert_eq!(damaged(&buffered, at, none), (vec![1], vec![], Some((seals[1].end, vec![3, 4]))));
        // With a later log in use, all of this one was synced.
        let (batches, holes, cut_off) = damaged(&buffered, at, Bounds { end: None, before: Some(5) });
        assert_eq!((batches, cut_off), (vec![1, 3, 4], None));
        assert_eq!(holes.first(), Some(&(seals[1].end, seals[2].end, false, highest)), "{holes:?}");
    }
    // From the first frame on; nothing says that it was durable.
    let (mut bytes, entry, seals) = buffered;
    bytes[FRAMES_START as usize] ^= 1;
    let holes = salvage(&bytes, &entry, Bounds { end: None, before: Some(5) }).holes;
    assert_eq!(holes.first().map(|hole| (hole.start, hole.end, hole.is_proven)), Some((FRAMES_START, seals[1].end, false)));
}

#[test]
fn what_is_cut_off_is_found_behind_zeros() {
    // The third header begins with a zero, the low byte of its length.
    let (mut bytes, entry, seals) = log(&[b"one", &[7; 100], &[8; 256], b"four"]);
    bytes[seals[1].end as usize..seals[2].end as usize].fill(0);
    let salvaged = salvage(&bytes, &entry, Bounds { end: None, before: None });
    assert_eq!(salvaged.cut_off.map(|cut_off| (cut_off.offset, cut_off.sequences)), Some((seals[1].end, vec![3, 4])));
}

#[test]
fn verification_names_what_is_wrong_beside_the_frames() {
    let (bytes, entry, seals) = written(&[(1, b"one"), (2, b"two")], true);
    let role = |end, settled| Role { activated: true, end, settled };
    let damages = |changes: &[usize], role: Role| {
        let mut bytes = bytes.clone();
        changes.iter().for_each(|at| bytes[*at] ^= 1);
        verify(&bytes, FileId::default(), &entry, role).iter().map(|damage| damage.offset()).collect::<Vec<_>>()
    };
    let (settled, last) = (role(LogEnd::Sealed(seals[2]), true), role(LogEnd::Tail, false));
    assert_eq!((damages(&[], settled), damages(&[], last)), (vec![], vec![]));
    // Identity, the padding between the parts, that behind a frame's body.
    assert_eq!(damages(&[60], settled), [Some(60)]);
    for at in [64, 4095, 4096 + 64, 8191, 8192 + 64, 12_287] {
        assert_eq!(damages(&[at], settled), [Some(at as u64)], "{at}");
    }
    let padding = seals[1].end as usize - 1;
    assert_eq!(damages(&[padding], settled), [Some(padding as u64)]);
    // One copy of the activation record: damage once the log is known to have been in use, else a crash may have torn it.
    assert_eq!(damages(&[4096 + 20], settled).len(), 1);
    assert_eq!(damages(&[4096 + 20], last).len(), 1, "its frames prove that it was synced");
    // Records of another log that has the same file id.
    let disk = SimulatedDisk::new(1);
    assert!(SpareLog::create(&disk, FileId::default(), 9, FileId::default()).unwrap().activate(None, 1).is_ok());
    let mut other = bytes.clone();
    other[4096..12_288].copy_from_slice(&disk.read_all(&log_name(9)).unwrap()[4096..12_288]);
    let found: Vec<_> = verify(&other, FileId::default(), &entry, settled).iter().map(ToString::to_string).collect();
    assert!(found.len() == 2 && found.iter().all(|damage| damage.contains("of another log")), "{found:?}");
    let (bytes, entry, _) = log(&[b"one"]);
    let mut torn = bytes.clone();
    torn[4096 + 20] ^= 1;
    assert!(verify(&torn, FileId::default(), &entry, last).is_empty());
    assert_eq!(verify(&torn, FileId::default(), &entry, role(LogEnd::Tail, true)).len(), 1);
    torn[4096..4096 + 64].fill(0);
    assert!(verify(&torn, FileId::default(), &entry, last).is_empty(), "lost with the crash that came before its sync");
    let damages = verify(&torn, FileId::default(), &entry, role(LogEnd::Tail, true));
    assert!(damages.len() == 1 && damages[0].offset() == Some(4096) && damages[0].to_string().contains("missing"), "{damages:?}");
    // Behind the end everything is void.
    let mut longer = bytes.clone();
    let at = longer.len() - 8;
    longer[at] = 1;
    assert!(verify(&longer, FileId::default(), &entry, last).is_empty());
}

fn writer(disk: &SimulatedDisk) -> LogWriter {
    let spare = SpareLog::create(disk, FileId([1; 16]), 7, FileId([2; 16])).unwrap();
    assert_eq!(spare.entry(), LogEntry { number: 7, file: FileId([2; 16]), sealed: None });
    let Ok(writer) = spare.activate(None, 1) else { panic!("the log cannot be activated") };
    writer
}

#[test]
fn a_writer_knows_its_log() {
    let disk = SimulatedDisk::new(1);
    let mut writer = writer(&disk);
    assert_eq!((writer.number(), writer.entry()), (7, LogEntry { number: 7, file: FileId([2; 16]), sealed: None }));
    assert!(writer.is_empty());
    assert_eq!((writer.end(), writer.synced(), writer.allocated()), (FRAMES_START, FRAMES_START, 256 << 10));
    // 32 bytes of header each, padded to eight.
    let Ok(bytes) = writer.append([(1, &b"one"[..]), (2, &b"twoandmore"[..])].into_iter()) else { panic!("refused") };
    assert_eq!((bytes, writer.end(), writer.synced(), writer.is_empty()), (40 + 48, FRAMES_START + 88, FRAMES_START, false));
    assert_eq!(writer.seal().end, writer.end());
    writer.sync().unwrap();
    assert_eq!(writer.synced(), writer.end());
}

#[test]
fn a_log_that_is_just_full_does_not_grow() {
    let disk = SimulatedDisk::new(1);
    let mut writer = writer(&disk);
    let body = vec![7; (256 << 10) - FRAMES_START as usize - FRAME_HEADER_BYTES];
    assert!(writer.append(std::iter::once((1, &*body))).is_ok());
    assert_eq!((writer.end(), writer.allocated()), (256 << 10, 256 << 10));
}

/// From 256 KiB on by twice the step before, up to 8 MiB; by more for a batch that needs it.
#[test]
fn a_log_grows_in_doubling_steps() {
    let disk = SimulatedDisk::new(1);
    let mut writer = writer(&disk);
    let body = vec![7; 100 << 10];
    let mut sizes = vec![writer.allocated()];
    for sequence in 1..400 {
        assert!(writer.append(std::iter::once((sequence, &*body))).is_ok());
        assert!(writer.end() <= writer.allocated());
        if sizes.last() != Some(&writer.allocated()) {
            sizes.push(writer.allocated());
        }
    }
    let steps: Vec<u64> = sizes.windows(2).map(|pair| (pair[1] - pair[0]) >> 10).collect();
    assert_eq!(steps, [512, 1024, 2048, 4096, 8192, 8192, 8192, 8192]);
    assert_eq!(disk.read_all(&log_name(7)).unwrap().len() as u64, writer.allocated());
    let large = vec![7; 20 << 20];
    let end = writer.end() + frame_bytes(FRAME_BODY_MAX) as u64 * 20 + frame_bytes(20 * 32) as u64;
    assert!(writer.append(std::iter::once((400, &*large))).is_ok());
    assert_eq!((writer.end(), writer.allocated()), (end, end.next_multiple_of(256 << 10)));
}

#[test]
fn a_full_device_leaves_a_log_as_it_was() {
    let disk = SimulatedDisk::new(1);
    let mut writer = writer(&disk);
    assert!(writer.append([(1, &b"one"[..])].into_iter()).is_ok());
    let (seal, allocated) = (writer.seal(), writer.allocated());
    // Not even what this batch needs.
    disk.set_capacity(Some(disk.used()));
    let large = vec![7; 300 << 10];
    assert!(matches!(writer.append([(2, &*large)].into_iter()), Err(AppendError::NoSpace(error)) if error.kind() == ErrorKind::NoSpace));
    assert_eq!((writer.seal(), writer.allocated()), (seal, allocated));
    // What it needs, but not the step that is due.
    disk.set_capacity(Some(disk.used() + (64 << 10)));
    assert!(writer.append([(2, &*large)].into_iter()).is_ok());
    assert_eq!(writer.allocated(), writer.end());
    let bytes = disk.read_all(&log_name(7)).unwrap();
    let entry = writer.entry();
    assert_eq!(sequences(&bytes, &entry, LogEnd::Sealed(writer.seal())).unwrap(), [1, 2]);
}

/// Without zeros a later, shorter batch could end where a frame of the refused one begins.
#[test]
fn frames_of_a_refused_batch_do_not_come_back() {
    for (errno, is_space) in [(28, true), (5, false)] {
        let disk = SimulatedDisk::new(1);
        let mut writer = writer(&disk);
        let end = writer.end() as usize;
        // Some of it arrives.
        disk.inject(disk.operations(), Fault::ShortTransfer(3000));
        disk.inject(disk.operations() + 1, Fault::Errno(errno));
        let refused = writer.append([(1, &[7; 5000][..])].into_iter());
        assert!(matches!((refused, is_space), (Err(AppendError::NoSpace(_)), true) | (Err(AppendError::Broken(_)), false)), "{errno}");
        if is_space {
            assert!(disk.read_all(&log_name(7)).unwrap()[end..].iter().all(|byte| *byte == 0));
            assert_eq!(writer.end() as usize, end);
        }
    }
}

#[test]
fn behind_the_last_hole_the_log_goes_on() {
    let (mut bytes, entry, seals) = written(&[(1, b"one"), (2, b"two"), (3, b"three"), (4, b"four")], true);
    bytes[seals[2].end as usize] ^= 1;
    let saved = |end| {
        let salvaged = salvage(&bytes, &entry, Bounds { end, before: None });
        let holes: Vec<_> = salvaged.holes.iter().map(|hole| (hole.start, hole.end, hole.is_proven)).collect();
        (salvaged.batches.iter().map(|batch| batch.sequence).collect::<Vec<_>>(), holes)
    };
    // The fourth proves the third, and stands where that ends.
    let hole = (seals[2].end, seals[3].end, true);
    // What stands behind a hole says nothing of what is lost in it.
    let mut both = bytes.clone();
    both[seals[3].end as usize + 32] ^= 1;
    let holes = salvage(&both, &entry, Bounds { end: None, before: None }).holes;
    assert_eq!(holes.iter().map(|hole| (hole.start, hole.end, hole.highest)).collect::<Vec<_>>(), [(hole.0, hole.1, 0)]);
    assert_eq!(saved(None), (vec![1, 2, 4], vec![hole]));
    assert_eq!(saved(Some(seals[4].end)), (vec![1, 2, 4], vec![hole]));
    assert_eq!(saved(Some(seals[3].end)), (vec![1, 2], vec![hole]));
}

#[test]
fn a_log_tells_its_first_sequence_as_long_as_anything_does() {
    let (bytes, entry, seals) = written(&[(4, b"four"), (5, b"five")], false);
    let without = |places: &[usize]| {
        let mut bytes = bytes.clone();
        places.iter().for_each(|at| bytes[*at] ^= 1);
        first_sequence(&bytes, &entry)
    };
    let copies = [4096 + 20, 8192 + 20];
    assert_eq!(without(&[]), Some(1), "as its activation says");
    assert_eq!(without(&copies[..1]), Some(1));
    assert_eq!(without(&copies), Some(4), "as its first frame says");
    let first = FRAMES_START as usize;
    assert_eq!(without(&[copies[0], copies[1], first]), Some(5));
    assert_eq!(without(&[copies[0], copies[1], first, seals[1].end as usize]), None);
}
