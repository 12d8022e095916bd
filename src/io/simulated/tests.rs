use std::{collections::BTreeSet, io::ErrorKind, time::Duration};

use super::{CrashPlan, Fault, OperationKind, SimulatedDisk};
use crate::{
    io::{Clock, Storage, WriteFile},
    sync::Arc,
};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A disk with one durable file, open for writing.
fn disk_with(name: &str, content: &[u8]) -> (SimulatedDisk, Arc<dyn WriteFile>) {
    let disk = SimulatedDisk::new(1);
    disk.publish(name, content).unwrap();
    let file = disk.open_write(name).unwrap();
    (disk, file)
}

/// Every kind of plan, and every subset where they can be counted.
fn all_plans(disk: &SimulatedDisk) -> Vec<CrashPlan> {
    let items = disk.unsynced();
    let mut plans = vec![CrashPlan::LoseAll, CrashPlan::KeepAll];
    plans.extend((0..200).map(|seed| CrashPlan::Random { seed }));
    if items <= 8 {
        let subset = |bits: u32| (0..items).map(|item| bits & (1 << item) != 0).collect::<Vec<bool>>();
        plans.extend((0..1 << items).map(|bits| CrashPlan::Subset(subset(bits))));
        for last_write_bytes in 0..=disk.last_unsynced_write().unwrap_or(0) {
            plans.extend((0..1 << items).map(|bits| CrashPlan::Torn { subset: subset(bits), last_write_bytes }));
        }
    }
    plans
}

fn outcomes(disk: &SimulatedDisk, name: &str) -> BTreeSet<Option<Vec<u8>>> {
    all_plans(disk).iter().map(|plan| disk.crash(plan).read_all(name).ok()).collect()
}

fn found(bytes: &[u8]) -> Option<Vec<u8>> {
    Some(bytes.to_vec())
}

#[test]
fn synced_bytes_survive_every_crash() {
    let (disk, file) = disk_with("a", b"0123456789");
    file.write_at(2, b"AB").unwrap();
    file.sync_data().unwrap();
    file.write_at(8, b"XYZW").unwrap();
    let outcomes = outcomes(&disk, "a");
    assert!(outcomes.iter().all(|content| content.as_ref().unwrap().starts_with(b"01AB4567")), "{outcomes:?}");
    assert!(outcomes.contains(&found(b"01AB456789")), "a crash cannot lose the write");
    assert!(outcomes.contains(&found(b"01AB4567XYZW")), "a crash cannot keep the write");
    assert!(outcomes.contains(&found(b"01AB4567XYZ\0")), "a crash cannot tear the write");
    assert!(outcomes.contains(&found(b"01AB4567XY")), "a crash cannot lose the length alone");
    assert!(outcomes.contains(&found(b"01AB456789\0\0")), "a crash cannot keep the length alone");
}

#[test]
fn unsynced_writes_are_lost_independently() {
    let (disk, file) = disk_with("a", b"----");
    for (offset, byte) in [(0, b"1"), (1, b"2"), (2, b"3")] {
        file.write_at(offset, byte).unwrap();
    }
    assert_eq!((disk.unsynced(), disk.last_unsynced_write()), (3, Some(1)));
    assert_eq!(disk.unsynced_names(), ["a", "a", "a"]);
    disk.link_into("a", &disk, "b").unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.unsynced_names(), ["b", "b", "b", "b", "a"]);
    disk.link_into("b", &disk, "a").unwrap();
    disk.remove("b").unwrap();
    disk.sync_names().unwrap();
    let outcomes = outcomes(&disk, "a");
    assert_eq!(outcomes.len(), 8, "{outcomes:?}");
    assert!(outcomes.contains(&found(b"--3-")), "the last write cannot survive alone");
}

#[test]
fn overlapping_writes_arrive_in_order() {
    let (disk, file) = disk_with("a", b"----");
    file.write_at(0, b"1111").unwrap();
    file.write_at(1, b"22").unwrap();
    assert_eq!(disk.crash(&CrashPlan::KeepAll).read_all("a").unwrap(), b"1221");
    assert_eq!(disk.crash(&CrashPlan::Subset(vec![true])).read_all("a").unwrap(), b"1111");
    assert_eq!(disk.crash(&CrashPlan::Subset(vec![false, true])).read_all("a").unwrap(), b"-22-");
    let torn = CrashPlan::Torn { subset: vec![true, true], last_write_bytes: 1 };
    assert_eq!(disk.crash(&torn).read_all("a").unwrap(), b"1211");
}

#[test]
fn reserved_bytes_read_as_zeros_and_can_be_lost() {
    let (disk, file) = disk_with("a", b"ab");
    file.allocate(4).unwrap();
    file.write_at(2, b"cd").unwrap();
    let outcomes = outcomes(&disk, "a");
    let legal = [&b"ab"[..], b"ab\0\0", b"abcd", b"abc\0", b"ab\0d"].map(found);
    assert_eq!(outcomes, legal.into_iter().collect(), "the length must not survive with other bytes than zeros or the write's");
    file.sync_data().unwrap();
    assert_eq!(disk.unsynced(), 0);
    assert_eq!(disk.crash(&CrashPlan::LoseAll).read_all("a").unwrap(), b"abcd");
}

#[test]
fn cut_bytes_do_not_come_back_as_others() {
    let (disk, file) = disk_with("a", b"abcd");
    file.set_len(1).unwrap();
    file.set_len(3).unwrap();
    let outcomes = outcomes(&disk, "a");
    assert_eq!(outcomes, [&b"abcd"[..], b"a", b"a\0\0"].map(found).into_iter().collect());
}

#[test]
fn a_synced_file_has_no_durable_name_before_names_are_synced() {
    let disk = SimulatedDisk::new(1);
    let file = disk.create("a").unwrap();
    file.write_at(0, b"abc").unwrap();
    file.sync_data().unwrap();
    assert_eq!(outcomes(&disk, "a"), [None, found(b"abc")].into_iter().collect());
    disk.sync_names().unwrap();
    assert_eq!(outcomes(&disk, "a"), [found(b"abc")].into_iter().collect());
    disk.remove("a").unwrap();
    assert_eq!(outcomes(&disk, "a"), [None, found(b"abc")].into_iter().collect(), "a removal is not durable before names are synced");
    disk.sync_names().unwrap();
    assert_eq!(outcomes(&disk, "a"), [None].into_iter().collect());
}

#[test]
fn names_are_lost_independently() {
    let disk = SimulatedDisk::new(1);
    disk.create("a").unwrap();
    disk.create("b").unwrap();
    let names: BTreeSet<_> = all_plans(&disk).iter().map(|plan| disk.crash(plan).names().join(" ")).collect();
    assert_eq!(names, ["", "a", "a b", "b"].map(str::to_owned).into_iter().collect());
}

#[test]
fn a_failed_sync_is_not_healed_by_the_next() {
    for keep_pages in [true, false] {
        let (disk, file) = disk_with("a", b"old!");
        file.write_at(0, b"new").unwrap();
        disk.inject(disk.operations(), Fault::SyncFails { keep_pages, sticky: false });
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
        assert_eq!(disk.read_all("a").unwrap(), if keep_pages { b"new!" } else { b"old!" });
        file.sync_data().unwrap();
        file.write_at(3, b"?").unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.crash(&CrashPlan::LoseAll).read_all("a").unwrap(), b"old?", "a later sync made the pages durable");
        let outcomes = outcomes(&disk, "a");
        assert!(outcomes.iter().all(|content| content.as_ref().unwrap().ends_with(b"?")), "{outcomes:?}");
        assert_eq!(outcomes.contains(&found(b"new?")), keep_pages);
    }
}

#[test]
fn bytes_synced_over_a_failed_sync_survive() {
    let (disk, file) = disk_with("a", b"----");
    file.write_at(0, b"1111").unwrap();
    disk.inject(0, Fault::SyncFails { keep_pages: true, sticky: false });
    file.sync_data().unwrap_err();
    file.write_at(1, b"22").unwrap();
    file.sync_data().unwrap();
    let outcomes = outcomes(&disk, "a");
    assert!(outcomes.iter().all(|content| &content.as_ref().unwrap()[1..3] == b"22"), "{outcomes:?}");
}

#[test]
fn a_failed_sync_of_names_is_not_healed_by_the_next() {
    for keep_pages in [true, false] {
        let disk = SimulatedDisk::new(1);
        disk.create("a").unwrap();
        disk.inject(0, Fault::SyncFails { keep_pages, sticky: true });
        disk.sync_names().unwrap_err();
        disk.sync_names().unwrap_err();
        disk.heal();
        disk.sync_names().unwrap();
        assert_eq!(disk.names().len(), usize::from(keep_pages));
        assert!(disk.crash(&CrashPlan::LoseAll).names().is_empty());
    }
}

#[test]
fn publishing_is_all_or_nothing_at_every_step() {
    let steps = {
        let disk = SimulatedDisk::new(1);
        disk.publish("a", b"content").unwrap();
        disk.operations()
    };
    assert!(steps >= 6, "create, write, sync, link, remove, sync names: {steps}");
    for step in 0..=steps {
        let disk = SimulatedDisk::new(1);
        disk.inject(step, Fault::PowerCut);
        let published = disk.publish("a", b"content");
        assert_eq!(published.is_err(), step < steps);
        if let Err(error) = &published {
            assert!(SimulatedDisk::is_power_cut(error) && disk.power_is_cut() && disk.operations() == step, "{error}");
        }
        for plan in all_plans(&disk) {
            let crashed = disk.crash(&plan);
            match crashed.read_all("a") {
                Ok(content) => assert_eq!(content, b"content", "step {step}, {plan:?}"),
                Err(_) => assert!(published.is_err(), "an acknowledged publication was lost: {plan:?}"),
            }
            // Whatever is left, the next attempt gets through.
            let again = crashed.publish("a", b"content");
            assert!(again.is_ok() || again.is_err_and(|error| error.kind() == ErrorKind::AlreadyExists), "step {step}, {plan:?}");
        }
    }
}

#[test]
fn every_operation_can_fail_by_every_error() {
    let scenario = |disk: &SimulatedDisk| -> std::io::Result<()> {
        let _lock = disk.lock("LOCK")?;
        disk.publish("a", b"abc")?;
        let file = disk.open_write("a")?;
        file.write_at(1, b"x")?;
        file.allocate(9)?;
        file.set_len(5)?;
        file.sync_data()?;
        let reader = disk.open_read("a")?;
        reader.read_at(0, &mut [0; 3])?;
        reader.map()?;
        reader.links()?;
        disk.list()?;
        disk.is_locked("LOCK")?;
        disk.link_into("a", disk, "b")?;
        disk.remove("b")
    };
    let dry = SimulatedDisk::new(1);
    dry.record_trace(true);
    scenario(&dry).unwrap();
    let trace = dry.trace();
    assert_eq!(trace.iter().map(|operation| operation.number).collect::<Vec<_>>(), (0..dry.operations()).collect::<Vec<_>>());
    assert_eq!(trace.iter().map(|operation| operation.kind).collect::<BTreeSet<_>>().len(), 16, "a kind is not covered");
    for operation in &trace {
        // Removing a stale temporary file, and looking for a lock file, may fail by NotFound; no other error may be swallowed.
        for fault in [Fault::Errno(EIO), Fault::Errno(ENOSPC), Fault::Error(ErrorKind::PermissionDenied), Fault::Sticky(EIO)] {
            let disk = SimulatedDisk::new(1);
            disk.inject(operation.number, fault);
            assert!(scenario(&disk).is_err(), "{fault:?} at {operation:?} was swallowed");
        }
        for fault in [Fault::Interrupted, Fault::ShortTransfer(1)] {
            let disk = SimulatedDisk::new(1);
            disk.inject(operation.number, fault);
            scenario(&disk).unwrap_or_else(|error| panic!("{fault:?} at {operation:?}: {error}"));
            assert_eq!(disk.read_all("a").unwrap(), b"axc\0\0");
            let repeated = fault == Fault::Interrupted || operation.len > 1 && is_transfer(operation.kind);
            assert_eq!(disk.operations(), dry.operations() + u64::from(repeated), "{fault:?} at {operation:?}");
        }
    }
}

fn is_transfer(kind: OperationKind) -> bool {
    matches!(kind, OperationKind::Read | OperationKind::Write)
}

#[test]
fn transfers_of_every_short_length_give_the_same() {
    for short in 0..=8 {
        let disk = SimulatedDisk::new(1);
        let file = disk.create("a").unwrap();
        disk.inject(disk.operations(), Fault::ShortTransfer(short));
        let written = file.write_at(0, b"abcdefg");
        if short == 0 {
            assert_eq!(written.unwrap_err().kind(), ErrorKind::WriteZero);
            continue;
        }
        written.unwrap();
        let reader = disk.open_read("a").unwrap();
        disk.inject(disk.operations(), Fault::ShortTransfer(short));
        let mut buffer = [0; 7];
        reader.read_at(0, &mut buffer).unwrap();
        assert_eq!(&buffer, b"abcdefg");
    }
}

#[test]
fn a_full_disk_takes_what_fits_and_reads_go_on() {
    let (disk, file) = disk_with("a", b"abcd");
    disk.set_capacity(Some(6));
    assert_eq!(file.write_at(2, b"CDEFGH").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!((disk.read_all("a").unwrap(), disk.used()), (b"abCDEF".to_vec(), 6));
    file.write_at(0, b"xyz").unwrap();
    assert_eq!(file.allocate(7).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(file.set_len(7).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.publish("b", b"b").unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(disk.names(), ["a"], "a failed publication left something");
    disk.open_read("a").unwrap().read_at(0, &mut [0; 6]).unwrap();
    // An open file keeps its space until it is closed.
    disk.remove("a").unwrap();
    assert_eq!(disk.publish("b", b"b").unwrap_err().kind(), ErrorKind::StorageFull);
    drop(file);
    disk.publish("b", b"b").unwrap();
    assert_eq!(disk.crash(&CrashPlan::KeepAll).used(), 1);
}

#[test]
fn a_lasting_error_fails_what_it_can_meet_until_healed() {
    let (disk, file) = disk_with("a", b"abcd");
    disk.inject(disk.operations(), Fault::Sticky(ENOSPC));
    file.write_at(0, b"x").unwrap_err();
    file.write_at(0, b"x").unwrap_err();
    assert_eq!(disk.create("b").unwrap_err().kind(), ErrorKind::StorageFull);
    file.sync_data().unwrap();
    disk.open_read("a").unwrap().map().unwrap();
    disk.heal();
    file.write_at(0, b"x").unwrap();
    assert_eq!(disk.read_all("a").unwrap(), b"xbcd");
}

#[test]
fn a_power_cut_lasts_and_a_crash_frees_the_locks() {
    let (disk, file) = disk_with("a", b"abcd");
    let _lock = disk.lock("LOCK").unwrap();
    disk.sync_names().unwrap();
    disk.cut_power();
    let operations = disk.operations();
    for error in [file.write_at(0, b"x").unwrap_err(), disk.list().unwrap_err(), disk.sync_names().unwrap_err()] {
        assert!(SimulatedDisk::is_power_cut(&error));
    }
    assert_eq!(disk.operations(), operations);
    assert!(!SimulatedDisk::is_power_cut(&std::io::Error::other("x")));
    let crashed = disk.crash(&CrashPlan::LoseAll);
    assert_eq!((crashed.operations(), crashed.unsynced(), crashed.power_is_cut()), (0, 0, false));
    assert!(!crashed.is_locked("LOCK").unwrap());
    let _lock = crashed.lock("LOCK").unwrap();
}

#[test]
fn a_crash_leaves_the_disk_and_its_other_crashes_alone() {
    let (disk, file) = disk_with("a", b"abcd");
    file.write_at(0, b"x").unwrap();
    let (one, two) = (disk.crash(&CrashPlan::LoseAll), disk.crash(&CrashPlan::LoseAll));
    let changed = one.open_write("a").unwrap();
    changed.write_at(0, b"ZZZZZ").unwrap();
    changed.sync_data().unwrap();
    assert_eq!((two.read_all("a").unwrap(), disk.read_all("a").unwrap()), (b"abcd".to_vec(), b"xbcd".to_vec()));
    assert_eq!(one.crash(&CrashPlan::LoseAll).read_all("a").unwrap(), b"ZZZZZ");
    assert_eq!(disk.crash(&CrashPlan::LoseAll).read_all("a").unwrap(), b"abcd");
}

#[test]
fn damage_is_durable_and_uncounted() {
    let (disk, _file) = disk_with("a", b"abcd");
    let operations = disk.operations();
    let mapped = disk.open_read("a").unwrap();
    assert_eq!(&*mapped.map().unwrap(), b"abcd");
    disk.corrupt("a", 1, 0x02).unwrap();
    assert_eq!(&*mapped.map().unwrap(), b"a`cd");
    assert!(disk.corrupt("a", 4, 1).is_err() && disk.corrupt("x", 0, 1).is_err() && disk.delete("x").is_err());
    disk.truncate("a", 6).unwrap();
    disk.write_all("b", b"b").unwrap();
    disk.write_all("c", b"c").unwrap();
    disk.delete("c").unwrap();
    assert_eq!(disk.operations(), operations + 3, "only opening and mapping count");
    let crashed = disk.crash(&CrashPlan::LoseAll);
    assert_eq!((crashed.names(), crashed.read_all("a").unwrap()), (vec!["a".to_owned(), "b".to_owned()], b"a`cd\0\0".to_vec()));
    disk.truncate("a", 1).unwrap();
    assert_eq!(disk.crash(&CrashPlan::KeepAll).read_all("a").unwrap(), b"a");
}

#[test]
fn everything_follows_from_the_seed() {
    let run = |disk_seed: u64, crash_seed: u64| {
        let disk = SimulatedDisk::new(disk_seed);
        disk.record_trace(true);
        let mut content = [0; 64];
        disk.environment().random.fill(&mut content).unwrap();
        for name in ["a", "b", "c"] {
            let file = disk.create(name).unwrap();
            disk.sync_names().unwrap();
            content.chunks(8).enumerate().for_each(|(index, part)| file.write_at(index as u64 * 8, part).unwrap());
        }
        disk.environment().clock.sleep(Duration::from_secs(3));
        let crashed = disk.crash(&CrashPlan::Random { seed: crash_seed });
        let mut after = [0; 8];
        crashed.environment().random.fill(&mut after).unwrap();
        assert_ne!(after, content[..8], "identities come again after a crash");
        assert_eq!(crashed.clock().elapsed(), Duration::from_secs(3));
        let files: Vec<_> = crashed.names().into_iter().map(|name| (crashed.read_all(&name).unwrap(), name)).collect();
        (disk.trace(), files, after)
    };
    assert_eq!(run(7, 3), run(7, 3));
    assert_ne!(run(7, 3).2, run(8, 3).2);
    let crashes: BTreeSet<_> = (0..50).map(|seed| run(7, seed).1).collect();
    assert!(crashes.len() > 40, "seeds make too few different crashes: {}", crashes.len());
}

/// One recorded run must stand for a run per power cut: else a campaign on recorded moments tries other images than those that can happen.
#[test]
fn a_recorded_moment_crashes_like_a_power_cut_there() {
    let run = |disk: &SimulatedDisk| -> std::io::Result<()> {
        let file = disk.create("log")?;
        file.allocate(64)?;
        file.write_at(3, b"one")?;
        file.sync_data()?;
        disk.sync_names()?;
        file.write_at(5, b"two")?;
        disk.publish("manifest", b"names the log")?;
        disk.list()?;
        disk.remove("log")?;
        file.set_len(4)
    };
    let recorded = SimulatedDisk::new(1);
    recorded.record_crash_points(true);
    run(&recorded).unwrap();
    let points = recorded.take_crash_points();
    assert!(points.len() > 10 && recorded.take_crash_points().is_empty());
    for point in points.iter().chain([&recorded.crash_point()]) {
        let cut = SimulatedDisk::new(1);
        cut.inject(point.operation(), Fault::PowerCut);
        assert_eq!(run(&cut).is_err(), point.operation() < recorded.operations());
        assert_eq!(point.unsynced_names(), cut.unsynced_names());
        assert_eq!(point.last_unsynced_write().map(|(_, len)| len), cut.last_unsynced_write());
        for plan in all_plans(&cut) {
            assert_eq!(point.crash(&plan, 1).contents(), cut.crash(&plan).contents(), "operation {}, {plan:?}", point.operation());
        }
    }
}
