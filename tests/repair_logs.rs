//! What `repair` saves of damaged logs: every whole batch, before and behind the damage, in every log, and nothing that a log gave up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

mod support;

use std::{collections::BTreeSet, sync::Arc};

use support::{
    salvage::repair_image,
    subjects::{Image, frames, image, killed, options},
};
use varvite::{
    Database, Fields, Metric, RepairReport,
    io::{memory::Memory, simulated::SimulatedDisk},
};

fn changed(files: &Image, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Image {
    let mut files = files.clone();
    change(Arc::make_mut(files.get_mut(name).unwrap()));
    files
}

fn batches(report: &RepairReport) -> u64 {
    report.lost.iter().map(|lost| lost.batches).sum()
}

/// Two logs in use with batches in both: a full device stops the flush between them. `docs` holds "a" to "g", one batch each.
fn two_logs() -> (Image, [String; 2]) {
    let disk = SimulatedDisk::new(9);
    let db = Database::open_on(Arc::new(disk.clone()), options()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    let put = |id: &str, bytes: usize| docs.insert(id, Fields::from(vec![1.0, 2.0]).with_document("x".repeat(bytes)));
    for id in ["a", "b", "c"] {
        put(id, 60_000).unwrap();
    }
    disk.set_capacity(Some(image(&disk).values().map(|bytes| bytes.len() as u64).sum()));
    for id in ["d", "e", "f", "g"] {
        put(id, 50_000).unwrap();
    }
    let files = image(&disk);
    let logs: Vec<String> = files.keys().filter(|name| name.starts_with("log-")).cloned().collect();
    let [first, second] = logs.try_into().unwrap();
    assert!(frames(&files[&first]).len() >= 4 && frames(&files[&second]).len() >= 2, "batches in both logs");
    (files, [first, second])
}

/// The bytes of a document's middle in a log.
fn flip_in(files: &Image, log: &str, frame: usize) -> Image {
    let (start, end, _) = frames(&files[log])[frame];
    changed(files, log, |bytes| bytes[(start + end) as usize / 2] ^= 1)
}

#[test]
fn a_damaged_batch_is_lost_alone_in_each_log() {
    let (files, [first, second]) = two_logs();
    let (whole, report) = repair_image(&files);
    assert!(report.lost.is_empty(), "{report:?}");
    let all: BTreeSet<String> = ["a", "b", "c", "d", "e", "f", "g"].map(str::to_owned).into();
    assert_eq!(whole["docs"], all);
    let in_first = frames(&files[&first]).len();
    for (log, frames_before) in [(&first, 0), (&second, in_first)] {
        let all_frames = frames(&files[log]);
        // The last batch of the last log is proven by nothing: it is cut off as at any open.
        let proven = if log == &second { all_frames.len() - 1 } else { all_frames.len() };
        for (index, (start, end, _)) in all_frames.iter().enumerate().take(proven) {
            let (found, report) = repair_image(&flip_in(&files, log, index));
            // The first batch of all creates the collection: nothing else can be decoded without it.
            if frames_before + index == 0 {
                assert!(found.is_empty() && batches(&report) == 8, "{report:?}");
                continue;
            }
            let gone = all.iter().nth(frames_before + index - 1).unwrap();
            let kept: BTreeSet<String> = all.iter().filter(|id| *id != gone).cloned().collect();
            assert_eq!(found["docs"], kept, "{log}, batch {index}: {report:?}");
            assert_eq!((report.lost.len(), batches(&report), report.lost[0].rows), (1, 1, 0), "{report:?}");
            let reason = &report.lost[0].reason;
            assert!(reason.contains(&format!("{log}, bytes {start} to {end}")) && reason.contains("may be back"), "{reason}");
            assert!(reason.contains(&format!("sequence {}", frames_before + index + 1)), "{reason}");
        }
    }
}

#[test]
fn a_log_that_is_gone_costs_its_own_batches_and_they_are_counted() {
    let (files, [first, second]) = two_logs();
    let held = frames(&files[&first]).len() as u64;
    for damage in ["missing", "zeroed", "cut"] {
        let mut damaged = files.clone();
        match damage {
            "missing" => drop(damaged.remove(&first)),
            "zeroed" => damaged = changed(&files, &first, |bytes| bytes.fill(0)),
            _ => damaged = changed(&files, &first, |bytes| bytes.truncate(12_288)),
        }
        let (_, report) = repair_image(&damaged);
        let (lost, undecoded): (Vec<_>, Vec<_>) = report.lost.iter().partition(|lost| lost.reason.contains(&first));
        assert_eq!(lost.iter().map(|lost| lost.batches).sum::<u64>(), held, "{damage}: {report:?}");
        assert_eq!(undecoded.iter().map(|lost| lost.batches).sum::<u64>(), 8 - held, "the creation stood in the first: {report:?}");
        assert!(undecoded.iter().all(|lost| lost.reason.contains(&second) && lost.reason.contains("collection 1")), "{report:?}");
    }
    // Two holes in one log and one at its end.
    let several = flip_in(&flip_in(&files, &first, 1), &first, 3);
    let (found, report) = repair_image(&several);
    assert_eq!((found["docs"].len(), batches(&report)), (5, 2), "{report:?}");
}

/// Where one log ends and the next begins is not known without the activation: what is missing between them is counted once.
#[test]
fn damage_on_both_sides_of_a_lost_activation_is_counted_once() {
    let (files, [first, second]) = two_logs();
    let last = frames(&files[&first]).len() - 1;
    let damaged = flip_in(&flip_in(&files, &first, last), &second, 0);
    let (found, report) = repair_image(&damaged);
    assert_eq!((found["docs"].len(), batches(&report), report.lost.len()), (5, 2, 2), "{report:?}");
    let (found, report) = repair_image(&changed(&damaged, &second, |bytes| bytes[4096..12_288].fill(0)));
    assert_eq!((found["docs"].len(), batches(&report), report.lost.len()), (5, 2, 2), "{report:?}");
    assert!(report.lost[0].reason.contains(&first) && report.lost[0].batches == 2, "{report:?}");
    assert!(report.lost[1].reason.contains(&second) && report.lost[1].reason.contains("counted with the damage before it"), "{report:?}");
}

/// Both copies of the second log's activation are gone: where the first one ends is told by the frames alone.
#[test]
fn batches_of_both_logs_are_read_without_the_activation_between_them() {
    let (files, [_, second]) = two_logs();
    let without = changed(&files, &second, |bytes| bytes[4096..12_288].fill(0));
    let (found, report) = repair_image(&without);
    assert_eq!(found["docs"].len(), 7, "{report:?}");
    assert_eq!(batches(&report), 0, "{report:?}");
}

#[test]
fn nothing_behind_a_logs_end_comes_back() {
    let (files, [first, second]) = two_logs();
    // A frame of the first log again, behind its end: a header at another offset is void, whatever it says.
    let (start, end, _) = frames(&files[&first])[1];
    let (_, tail, _) = *frames(&files[&first]).last().unwrap();
    let again = changed(&files, &first, |bytes| {
        let frame = bytes[start as usize..end as usize].to_vec();
        let at = tail as usize;
        bytes.resize(bytes.len().max(at + frame.len()), 0);
        bytes[at..at + frame.len()].copy_from_slice(&frame);
    });
    let (found, report) = repair_image(&again);
    assert_eq!((found["docs"].len(), report.lost.len()), (7, 0), "{report:?}");
    // The last log behind what is proven durable: the batch that is not whole ends it, and no loss is claimed.
    let last = frames(&files[&second]).len() - 1;
    let (found, report) = repair_image(&flip_in(&files, &second, last));
    assert_eq!((found["docs"].len(), report.lost.len()), (6, 0), "{report:?}");
    // The same with whole batches of the last group behind the damage: they were never proven, and are void; but they are told.
    let subject = killed();
    let tail = subject.tail.as_ref().unwrap();
    let offset = subject.ends[subject.proven];
    let torn = changed(&subject.files, tail, |bytes| bytes[offset as usize + 40] ^= 1);
    let (found, report) = repair_image(&torn);
    assert!(!found["made"].contains("tail 1"), "{report:?}");
    let behind = frames(&subject.files[tail]).iter().filter(|(start, _, _)| *start > offset).count() as u64;
    assert!(behind > 0 && batches(&report) == behind && report.lost.len() == 1, "{report:?}");
    let reason = &report.lost[0].reason;
    assert!(reason.contains(&format!("{tail}, from byte {offset} on")) && reason.contains("never proven durable"), "{reason}");
    assert!(found["dot"].contains("new"), "its deletion stands behind the damage: {found:?}");
}

/// A collection was dropped and its name given again in batches of which one is lost: both are kept.
#[test]
fn two_collections_of_one_name_are_kept_apart() {
    // The second is as long as a name may be, and the number is put in the middle of a character unless care is taken.
    let long = format!("{}x", "é".repeat(127));
    for name in ["docs", &long] {
        let storage = Memory::new();
        let db = Database::open_on(Arc::new(storage.clone()), options()).unwrap();
        db.create_collection(name, 2, Metric::L2).unwrap().insert("old", &[1.0, 2.0]).unwrap();
        db.drop_collection(name).unwrap();
        db.create_collection(name, 3, Metric::Dot).unwrap().insert("new", &[1.0, 2.0, 3.0]).unwrap();
        let files = image(&storage);
        let log = files.keys().find(|name| name.starts_with("log-") && !frames(&files[*name]).is_empty()).unwrap();
        let (found, report) = repair_image(&flip_in(&files, log, 2));
        assert_eq!(batches(&report), 1, "{report:?}");
        let second = format!("{} (2)", name.chars().take(115).collect::<String>());
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[name].contains("new"), "the newer one keeps the name: {found:?}");
        assert!(found[&second].contains("old"), "{found:?}");
        assert!(report.lost.iter().any(|lost| lost.collection == second), "{report:?}");
    }
}
