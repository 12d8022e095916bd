use super::{Loaded, ManifestStore, belongs, is_linked, lineage, manifest_numbers, nothing_here, read_manifest, survey, unfinished};
use crate::{
    error::{ErrorKind, Result},
    format::{
        floor::{self, FLOOR_BYTES, SLOT_BYTES},
        identity::{FileKind, Identity},
        manifest::{FileEntry, LogEntry, Manifest},
        names::{FLOOR, log_name, manifest_name, segment_name},
    },
    io::{
        FileInfo, Storage,
        simulated::{Fault, SimulatedDisk},
    },
    sync::Arc,
    types::FileId,
};

fn id(byte: u8) -> FileId {
    FileId([byte; 16])
}

fn manifest() -> Manifest {
    let log = |number| LogEntry { number, file: id(number as u8), sealed: None };
    Manifest { next_file: 3, next_segment: 1, next_collection: 1, logs: vec![log(1), log(2)], ..Manifest::default() }
}

fn create(disk: &SimulatedDisk, database: u8) -> ManifestStore {
    ManifestStore::create(Arc::new(disk.clone()), id(database)).unwrap()
}

/// A directory with as many manifests, the older ones still there.
fn published(database: u8, manifests: u64) -> (SimulatedDisk, ManifestStore) {
    let disk = SimulatedDisk::new(1);
    let mut store = create(&disk, database);
    (0..manifests).for_each(|_| store.publish(&mut manifest()).unwrap());
    (disk, store)
}

fn load(disk: &SimulatedDisk) -> Result<Option<Loaded>> {
    ManifestStore::load(disk, &disk.list().unwrap())
}

fn floor_of(disk: &SimulatedDisk) -> (u64, u64) {
    let decoded = floor::decode(&disk.read_all(FLOOR).unwrap()).unwrap();
    assert!(decoded.damages.is_empty(), "{:?}", decoded.damages);
    (decoded.floor.generation, decoded.floor.floor)
}

fn info(disk: &SimulatedDisk, name: &str) -> FileInfo {
    disk.list().unwrap().into_iter().find(|info| info.name == name).unwrap()
}

#[test]
fn the_newest_manifest_is_found_and_the_floor_is_raised_to_it() {
    let disk = SimulatedDisk::new(1);
    assert!(load(&disk).unwrap().is_none());
    assert!(nothing_here(&disk.list().unwrap()).to_string().contains("no database here"));
    let mut store = create(&disk, 7);
    assert!(load(&disk).unwrap().is_none(), "its creation has not ended");
    assert!(nothing_here(&disk.list().unwrap()).to_string().contains("unfinished"));
    assert_eq!((store.newest(), store.database(), floor_of(&disk)), (0, id(7), (1, 0)));
    for number in 1..4 {
        let mut next = manifest();
        store.publish(&mut next).unwrap();
        assert_eq!((next.number, next.database, store.newest()), (number, id(7), number));
        assert_eq!(floor_of(&disk), (number + 1, number));
        let loaded = load(&disk).unwrap().unwrap();
        assert_eq!((&loaded.manifest, loaded.floor.floor), (&next, number));
        assert!(loaded.damages.is_empty(), "{:?}", loaded.damages);
    }
    assert_eq!(manifest_numbers(&disk.list().unwrap()), [3, 2, 1]);
    let mut resumed = ManifestStore::resume(Arc::new(disk.clone()), &load(&disk).unwrap().unwrap());
    assert_eq!((resumed.newest(), resumed.database()), (3, id(7)));
    resumed.publish(&mut manifest()).unwrap();
    assert_eq!((resumed.newest(), floor_of(&disk)), (4, (5, 4)));
    // A manifest above the floor counts: the power was cut before it was raised.
    let four = disk.read_all(&manifest_name(4)).unwrap();
    let (disk, _) = published(7, 3);
    disk.write_all(&manifest_name(4), &four).unwrap();
    assert_eq!(load(&disk).unwrap().unwrap().manifest.number, 4);
}

#[test]
fn what_floor_proves_must_be_there() {
    let (disk, _) = published(7, 3);
    disk.delete(&manifest_name(3)).unwrap();
    let error = load(&disk).unwrap_err();
    assert_eq!(error.file(), Some(&*manifest_name(3)));
    assert!(error.to_string().contains(&format!("the newest manifest is {}", manifest_name(2))), "{error}");
    disk.delete(&manifest_name(2)).unwrap();
    disk.delete(&manifest_name(1)).unwrap();
    assert!(load(&disk).unwrap_err().to_string().contains("no manifest is there"));
    let (disk, _) = published(7, 1);
    disk.delete(FLOOR).unwrap();
    let error = load(&disk).unwrap_err();
    assert_eq!((error.kind(), error.file()), (ErrorKind::Corruption, Some(FLOOR)), "{error}");
    // Without a file of ours there is nothing to miss.
    let disk = SimulatedDisk::new(1);
    disk.write_all("notes", b"mine").unwrap();
    assert!(load(&disk).unwrap().is_none());
}

#[test]
fn another_manifest_in_its_place_is_refused() {
    let (disk, _) = published(7, 2);
    let (other, _) = published(8, 2);
    for (bytes, why) in [(other.read_all(&manifest_name(2)).unwrap(), "database"), (disk.read_all(&manifest_name(1)).unwrap(), "number")] {
        let (disk, _) = published(7, 2);
        disk.delete(&manifest_name(2)).unwrap();
        disk.write_all(&manifest_name(2), &bytes).unwrap();
        let error = load(&disk).unwrap_err();
        assert!(error.file() == Some(&*manifest_name(2)) && error.to_string().contains("not manifest 2 of"), "{why}: {error}");
        let seen = survey(&disk, &disk.list().unwrap());
        assert_eq!((seen.manifest.is_none(), seen.damages.len()), (true, 1), "{why}: {:?}", seen.damages);
        assert_eq!(seen.damages[0].offset(), Some(if why == "number" { 32 } else { 16 }), "{:?}", seen.damages);
    }
}

#[test]
fn a_publication_that_fails_for_space_has_changed_nothing() {
    let mut refused = 0;
    for operation in 0..20 {
        let (disk, mut store) = published(7, 1);
        disk.inject(disk.operations() + operation, Fault::Errno(28));
        let Err(error) = store.publish(&mut manifest()) else { continue };
        let is_visible = disk.names().contains(&manifest_name(2));
        if error.kind() == ErrorKind::NoSpace {
            refused += 1;
            assert!(!is_visible && store.newest() == 1, "operation {operation}");
            store.publish(&mut manifest()).unwrap();
            assert_eq!(load(&disk).unwrap().unwrap().manifest.number, 2);
        } else {
            let is_sync = error.to_string().contains("a sync found no space");
            assert!(error.kind() == ErrorKind::Io && (is_visible || is_sync), "operation {operation}: {error}");
        }
    }
    assert!(refused > 1, "{refused}");
}

#[test]
fn a_creation_beside_files_of_others_needs_no_floor() {
    let disk = SimulatedDisk::new(1);
    disk.write_all("notes", b"mine").unwrap();
    create(&disk, 7);
    assert_eq!(floor_of(&disk), (1, 0));
}

#[test]
fn a_creation_replaces_what_an_unfinished_one_left_and_nothing_else() {
    let disk = SimulatedDisk::new(1);
    create(&disk, 7);
    assert_eq!(unfinished(&disk, &disk.list().unwrap()), Some(id(7)));
    let log = |database, number| Identity { kind: FileKind::Log, database: id(database), number, file: id(1) }.encode();
    // Of the first attempt: begun, all zero, empty; whole ones, and those of others, are not.
    disk.write_all(&log_name(1), &[&log(7, 1)[..40], &[0; 24]].concat()).unwrap();
    disk.write_all(&log_name(2), &[0; 64]).unwrap();
    disk.write_all(&log_name(3), b"").unwrap();
    disk.write_all(&log_name(4), &log(8, 4)).unwrap();
    disk.write_all(&log_name(5), b"notes").unwrap();
    create(&disk, 9);
    let mut names = disk.names();
    names.sort();
    assert_eq!(names, [FLOOR, &log_name(4), &log_name(5)]);
    assert_eq!(unfinished(&disk, &disk.list().unwrap()), Some(id(9)));
    let (disk, _) = published(7, 1);
    assert_eq!(unfinished(&disk, &disk.list().unwrap()), None);
    disk.delete(&manifest_name(1)).unwrap();
    assert_eq!(unfinished(&disk, &disk.list().unwrap()), None, "FLOOR says that there was one");
}

#[test]
fn a_file_belongs_to_those_that_its_header_names() {
    let disk = SimulatedDisk::new(1);
    let header = |kind, database, number| Identity { kind, database: id(database), number, file: id(1) }.encode().to_vec();
    let own = [id(7), id(6)];
    for (kind, name) in [(FileKind::Log, log_name(5)), (FileKind::Segment, segment_name(5)), (FileKind::Manifest, manifest_name(5))] {
        let header = |database, number| match kind {
            FileKind::Manifest => Identity { kind, database: id(database), number, file: FileId::default() }.encode().to_vec(),
            _ => header(kind, database, number),
        };
        for (bytes, expected, what) in [
            (header(7, 5), true, "whole"),
            (header(6, 5), true, "of the lineage"),
            (header(8, 5), false, "of another database"),
            (header(6, 4), false, "of another number"),
            ([&header(7, 5)[..20], &[0; 44]].concat(), true, "begun"),
            ([&header(6, 5)[..20], &[0; 44]].concat(), false, "begun by another"),
            ([&header(7, 5)[..20], b"x", &[0; 43]].concat(), false, "something else"),
            (header(7, 5)[..10].to_vec(), true, "cut short"),
        ] {
            disk.write_all(&name, &bytes).unwrap();
            assert_eq!(belongs(&disk, &info(&disk, &name), id(7), &own), expected, "{name}: {what}");
            disk.delete(&name).unwrap();
        }
    }
    disk.write_all("notes", &header(FileKind::Log, 7, 5)).unwrap();
    assert!(!belongs(&disk, &info(&disk, "notes"), id(7), &own));
    for (name, bytes, expected) in [
        (segment_name(5), header(FileKind::Segment, 9, 5), true),
        (segment_name(6), header(FileKind::Segment, 9, 5), false),
        (segment_name(7), b"notes".to_vec(), false),
        (log_name(5), header(FileKind::Segment, 9, 5), false),
    ] {
        disk.write_all(&name, &bytes).unwrap();
        assert_eq!(is_linked(&disk, &info(&disk, &name)), expected, "{name}");
    }
}

#[test]
fn a_lineage_has_the_origins_of_all_manifests() {
    let disk = SimulatedDisk::new(1);
    let mut store = create(&disk, 7);
    let file = |number: u64, origin: u8| {
        let origin_number = if origin == 7 { number } else { number + 10 };
        FileEntry { number, origin_database: id(origin), origin_number, file: id(1), len: 4096, footer_crc: 0 }
    };
    for files in [vec![file(3, 4)], vec![file(3, 5), file(4, 7)], vec![file(5, 9)]] {
        store.publish(&mut Manifest { next_file: 6, files, ..manifest() }).unwrap();
    }
    let names = disk.list().unwrap();
    let of = |number| read_manifest(&disk, number).unwrap().0;
    assert_eq!(lineage(&disk, &names, &of(2)), [id(4), id(5), id(7)], "a newer one does not count");
    assert_eq!(lineage(&disk, &names, &of(3)), [id(4), id(5), id(7), id(9)]);
}

#[test]
fn damage_of_floor_says_what_mends_it() {
    let (disk, _) = published(7, 2);
    // Generation 3 stands in the second slot.
    assert_eq!(floor_of(&disk), (3, 2));
    let told = |change: &dyn Fn(&SimulatedDisk)| {
        let (disk, _) = published(7, 2);
        change(&disk);
        load(&disk).map(|loaded| loaded.unwrap().damages.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let flip = |at: u64| move |disk: &SimulatedDisk| disk.corrupt(FLOOR, at, 1).unwrap();
    let other = told(&flip(70)).unwrap();
    assert!(other.len() == 1 && other[0].contains("FLOOR") && !other[0].contains("twice") && !other[0].contains("power cut"), "{other:?}");
    // Behind the slot that counts: it is written again only after the other one.
    let behind = told(&flip(SLOT_BYTES as u64 + 200)).unwrap();
    assert!(behind.len() == 1 && behind[0].contains("twice"), "{behind:?}");
    // The slot that counted: the manifest is above what the other one says.
    let used = told(&flip(SLOT_BYTES as u64 + 70)).unwrap();
    assert!(used.len() == 1 && used[0].contains("power cut"), "{used:?}");
    let longer = told(&|disk| disk.truncate(FLOOR, FLOOR_BYTES as u64 + 5).unwrap()).unwrap();
    assert!(longer.len() == 1 && longer[0].contains(&format!("{} bytes long", FLOOR_BYTES + 5)), "{longer:?}");
    assert!(!longer[0].contains("opening for writing"), "that cuts nothing: {longer:?}");
    // Generation 4 stands in the first slot.
    let (disk, _) = published(7, 3);
    disk.corrupt(FLOOR, 200, 1).unwrap();
    let behind = load(&disk).unwrap().unwrap().damages;
    assert!(behind.len() == 1 && behind[0].to_string().contains("twice"), "{behind:?}");
    assert!(told(&|disk| disk.truncate(FLOOR, SLOT_BYTES as u64).unwrap()).is_ok());
    let short = told(&|disk| disk.truncate(FLOOR, SLOT_BYTES as u64 - 1).unwrap()).unwrap_err();
    assert!(short.file() == Some(FLOOR) && short.to_string().contains("4095 bytes long instead of"), "{short}");
}

#[test]
fn a_survey_tells_damage_from_what_keeps_from_reading() {
    let (disk, _) = published(7, 3);
    let names = disk.list().unwrap();
    let whole = survey(&disk, &names);
    assert_eq!(whole.manifest.as_ref().map(|manifest| manifest.number), Some(3));
    assert_eq!((whole.floor.map(|floor| floor.floor), whole.files, whole.damages.len(), whole.obstacle.is_none()), (Some(3), 2, 0, true));
    assert_eq!(whole.bytes, FLOOR_BYTES as u64 + info(&disk, &manifest_name(3)).len);
    // No permission, at FLOOR and then at the manifest.
    for (operation, has_floor) in [(0, false), (3, true)] {
        let (disk, _) = published(7, 3);
        disk.inject(disk.operations() + operation, Fault::Errno(13));
        let seen = survey(&disk, &names);
        assert_eq!((seen.floor.is_some(), seen.manifest.is_some(), seen.damages.len()), (has_floor, !has_floor, 0), "{operation}");
        assert_eq!(seen.obstacle.map(|error| error.kind()), Some(ErrorKind::ReadOnly));
        assert_eq!(seen.files, 2);
    }
    let (damaged, _) = published(7, 3);
    for at in [100, 4096 + 100] {
        damaged.corrupt(&manifest_name(3), at, 1).unwrap();
    }
    let seen = survey(&damaged, &names);
    assert!(seen.manifest.is_none() && seen.damages.len() == 1 && seen.obstacle.is_none(), "{:?}", seen.damages);
    // FLOOR missing; a manifest that it proves missing.
    let (floorless, _) = published(7, 3);
    floorless.delete(FLOOR).unwrap();
    let seen = survey(&floorless, &floorless.list().unwrap());
    assert!(seen.manifest.is_some() && seen.files == 1 && seen.damages.iter().all(|damage| damage.file() == Some(FLOOR)), "{seen:?}");
    assert!(seen.damages.len() == 1 && seen.damages[0].to_string().contains("a lost manifest would go unnoticed"), "{seen:?}");
    disk.delete(&manifest_name(3)).unwrap();
    let seen = survey(&disk, &disk.list().unwrap());
    assert!(seen.manifest.is_none() && seen.damages.len() == 1, "{seen:?}");
    assert_eq!(seen.damages[0].file(), Some(&*manifest_name(3)));
}
