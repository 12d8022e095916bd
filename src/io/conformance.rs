//! What every storage must do alike. Each storage runs all of it on an empty instance.

use std::{io::ErrorKind, thread};

use proptest::{prelude::*, test_runner::TestRunner};

use super::{Storage, fs::Directory, memory::Memory, simulated::SimulatedDisk};

fn kind<T>(result: std::io::Result<T>) -> ErrorKind {
    result.map(drop).expect_err("it should have failed").kind()
}

fn content(storage: &dyn Storage, name: &str) -> Vec<u8> {
    let file = storage.open_read(name).unwrap();
    let mut buffer = vec![0xAA; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut buffer).unwrap();
    assert_eq!(*file.map().unwrap(), *buffer, "map and read_at differ");
    buffer
}

fn names(storage: &dyn Storage) -> Vec<String> {
    storage.list().unwrap().into_iter().map(|file| file.name).collect()
}

fn files_are_made_once_and_found(storage: &dyn Storage) {
    storage.create("b").unwrap().write_at(0, b"bb").unwrap();
    storage.create("a").unwrap();
    assert_eq!(kind(storage.create("a")), ErrorKind::AlreadyExists);
    let list: Vec<_> = storage.list().unwrap().into_iter().map(|file| (file.name, file.len)).collect();
    assert_eq!(list, [("a".to_owned(), 0), ("b".to_owned(), 2)]);
    storage.open_write("b").unwrap().write_at(1, b"c").unwrap();
    assert_eq!(content(storage, "b"), b"bc");
    for missing in [kind(storage.open_read("x")), kind(storage.open_write("x")), kind(storage.remove("x"))] {
        assert_eq!(missing, ErrorKind::NotFound);
    }
    for name in ["", ".", "..", "/b", "../b", "x/b", "b\0", &"x".repeat(256)] {
        assert_eq!(kind(storage.create(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.open_read(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.open_write(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.publish(name, b"x")), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.remove(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.lock(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.is_locked(name)), ErrorKind::InvalidInput, "{name:?}");
        assert_eq!(kind(storage.link_into("b", storage, name)), ErrorKind::InvalidInput, "{name:?}");
    }
}

fn bytes_come_back(storage: &dyn Storage) {
    let (writer, reader) = (storage.create("a").unwrap(), storage.open_read("a").unwrap());
    assert!(reader.is_empty().unwrap());
    assert_eq!((reader.map().unwrap().len(), reader.map().unwrap().as_ptr() as usize % 64), (0, 0));
    writer.write_at(3, b"defg").unwrap();
    writer.write_at(100, b"").unwrap();
    writer.write_parts_at(100, &[]).unwrap();
    writer.write_parts_at(4, &[b"", b"e", b"fg"]).unwrap();
    assert_eq!(content(storage, "a"), b"\0\0\0defg");
    let mut buffer = [0; 4];
    reader.read_at(3, &mut buffer).unwrap();
    assert_eq!(&buffer, b"defg");
    assert_eq!(kind(reader.read_at(4, &mut buffer)), ErrorKind::UnexpectedEof);
    assert_eq!(kind(reader.read_at(1 << 40, &mut buffer)), ErrorKind::UnexpectedEof);
    reader.read_at(1 << 40, &mut []).unwrap();
    assert_eq!(reader.map().unwrap().as_ptr() as usize % 64, 0);
    // A hint, whatever it names.
    for (offset, len) in [(0, 7), (3, 0), (5, 1 << 40), (u64::MAX, u64::MAX)] {
        writer.write_behind(offset, len);
    }
    assert_eq!(content(storage, "a"), b"\0\0\0defg");
    writer.sync_data().unwrap();
    storage.sync_names().unwrap();
}

fn lengths_change_with_zeros(storage: &dyn Storage) {
    let (writer, reader) = (storage.create("a").unwrap(), storage.open_read("a").unwrap());
    writer.write_at(0, b"abcdef").unwrap();
    writer.allocate(0).unwrap();
    writer.allocate(3).unwrap();
    assert_eq!(reader.len().unwrap(), 6, "a reservation shortened the file");
    writer.allocate(8).unwrap();
    assert_eq!(content(storage, "a"), b"abcdef\0\0");
    writer.set_len(2).unwrap();
    writer.set_len(4).unwrap();
    assert_eq!(content(storage, "a"), b"ab\0\0", "cut bytes came back");
}

fn publishing_never_replaces(storage: &dyn Storage) {
    storage.create("tmp-a").unwrap().write_at(0, b"left by a crash, and longer").unwrap();
    storage.publish("a", b"one").unwrap();
    assert_eq!(kind(storage.publish("a", b"two")), ErrorKind::AlreadyExists);
    storage.publish("empty", b"").unwrap();
    assert_eq!((names(storage), content(storage, "a")), (vec!["a".to_owned(), "empty".to_owned()], b"one".to_vec()));
    assert_eq!(storage.open_read("a").unwrap().links().unwrap(), 1);
}

fn open_files_outlive_their_name(storage: &dyn Storage) {
    storage.publish("a", b"old").unwrap();
    let reader = storage.open_read("a").unwrap();
    let mapped = reader.map().unwrap();
    storage.remove("a").unwrap();
    storage.sync_names().unwrap();
    storage.publish("a", b"new").unwrap();
    assert_eq!((&*mapped, &*reader.map().unwrap(), &*content(storage, "a")), (&b"old"[..], &b"old"[..], &b"new"[..]));
    drop(reader);
    assert_eq!(&*mapped, b"old");
}

fn one_owner_holds_the_lock(storage: &dyn Storage) {
    assert!(!storage.is_locked("LOCK").unwrap());
    let lock = storage.lock("LOCK").unwrap();
    assert!(lock.is_mine() && storage.is_locked("LOCK").unwrap() && !storage.is_locked("other").unwrap());
    assert_eq!(kind(storage.lock("LOCK")), ErrorKind::WouldBlock);
    storage.open_write("LOCK").unwrap().write_at(0, b"who").unwrap();
    drop(storage.open_read("LOCK").unwrap());
    assert_eq!(kind(storage.lock("LOCK")), ErrorKind::WouldBlock, "opening and closing the file freed the lock");
    drop(lock);
    assert!(!storage.is_locked("LOCK").unwrap());
    assert_eq!(content(storage, "LOCK"), b"who");
    drop(storage.lock("LOCK").unwrap());
}

fn a_second_name_is_the_same_file(storage: &dyn Storage) {
    storage.publish("a", b"abc").unwrap();
    assert!(storage.link_into("a", storage, "b").unwrap());
    assert_eq!(storage.open_read("a").unwrap().links().unwrap(), 2);
    assert_eq!(kind(storage.link_into("a", storage, "b")), ErrorKind::AlreadyExists);
    assert_eq!(kind(storage.link_into("x", storage, "c")), ErrorKind::NotFound);
    storage.remove("a").unwrap();
    assert_eq!((content(storage, "b"), storage.open_read("b").unwrap().links().unwrap()), (b"abc".to_vec(), 1));
}

fn threads_do_not_mix_their_bytes(storage: &dyn Storage) {
    let writer = storage.create("shared").unwrap();
    let won: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..8u8)
            .map(|thread| {
                let writer = &writer;
                scope.spawn(move || {
                    (0..100).for_each(|round| writer.write_at(round * 8 + u64::from(thread), &[thread]).unwrap());
                    match storage.publish("one", &[thread; 5000]) {
                        Ok(()) => 1,
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                            0
                        }
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(content(storage, "shared"), [0, 1, 2, 3, 4, 5, 6, 7].repeat(100));
    let one = content(storage, "one");
    assert!(one.len() == 5000 && one.iter().all(|byte| *byte == one[0]), "a publication mixed two writers");
    assert_eq!(names(storage), ["one", "shared"]);
}

const CHECKS: [fn(&dyn Storage); 8] = [
    files_are_made_once_and_found,
    bytes_come_back,
    lengths_change_with_zeros,
    publishing_never_replaces,
    open_files_outlive_their_name,
    one_owner_holds_the_lock,
    a_second_name_is_the_same_file,
    threads_do_not_mix_their_bytes,
];

#[test]
fn directory_conforms() {
    for check in CHECKS {
        let place = tempfile::tempdir().unwrap();
        check(&Directory::open(place.path()).unwrap());
    }
}

#[test]
fn memory_conforms() {
    CHECKS.iter().for_each(|check| check(&Memory::new()));
}

#[test]
fn simulated_disk_conforms() {
    CHECKS.iter().for_each(|check| check(&SimulatedDisk::new(1)));
}

#[derive(Clone, Debug)]
enum Step {
    Create(u8),
    Publish(u8, Vec<u8>),
    Write(u8, u64, Vec<u8>),
    Allocate(u8, u64),
    SetLen(u8, u64),
    Remove(u8),
    Link(u8, u8),
    Sync(u8),
}

fn any_step() -> impl Strategy<Value = Step> {
    let name = || 0..3u8;
    let bytes = || prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        name().prop_map(Step::Create),
        (name(), bytes()).prop_map(|(name, bytes)| Step::Publish(name, bytes)),
        (name(), 0..100u64, bytes()).prop_map(|(name, offset, bytes)| Step::Write(name, offset, bytes)),
        (name(), 0..100u64).prop_map(|(name, len)| Step::Allocate(name, len)),
        (name(), 0..100u64).prop_map(|(name, len)| Step::SetLen(name, len)),
        name().prop_map(Step::Remove),
        (name(), name()).prop_map(|(from, to)| Step::Link(from, to)),
        name().prop_map(Step::Sync),
    ]
}

fn run(storage: &dyn Storage, step: &Step) -> Result<bool, ErrorKind> {
    let name = |name: &u8| format!("file-{name}");
    let done = |result: std::io::Result<()>| result.map(|()| true).map_err(|error| error.kind());
    let open = |file: &u8| storage.open_write(&name(file)).map_err(|error| error.kind());
    match step {
        Step::Create(file) => done(storage.create(&name(file)).map(drop)),
        Step::Publish(file, bytes) => done(storage.publish(&name(file), bytes)),
        Step::Write(file, offset, bytes) => done(open(file)?.write_at(*offset, bytes)),
        Step::Allocate(file, len) => done(open(file)?.allocate(*len)),
        Step::SetLen(file, len) => done(open(file)?.set_len(*len)),
        Step::Remove(file) => done(storage.remove(&name(file))),
        Step::Link(from, to) => storage.link_into(&name(from), storage, &name(to)).map_err(|error| error.kind()),
        Step::Sync(file) => done(open(file)?.sync_data().and_then(|()| storage.sync_names())),
    }
}

/// The three storages are models of each other.
#[test]
fn any_steps_have_the_same_effect_everywhere() {
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec(any_step(), 1..30), |steps| {
            let place = tempfile::tempdir().unwrap();
            let (directory, memory, disk) = (Directory::open(place.path()).unwrap(), Memory::new(), SimulatedDisk::new(1));
            let storages: [&dyn Storage; 3] = [&directory, &memory, &disk];
            for step in &steps {
                let [one, two, three] = storages.map(|storage| run(storage, step));
                prop_assert_eq!(&one, &two, "memory differs at {:?}", step);
                prop_assert_eq!(&one, &three, "the simulated disk differs at {:?}", step);
                let state = |storage: &dyn Storage| -> Vec<_> {
                    let links = |name: &str| storage.open_read(name).unwrap().links().unwrap();
                    names(storage).into_iter().map(|name| (content(storage, &name), links(&name), name)).collect()
                };
                let [one, two, three] = storages.map(state);
                prop_assert_eq!(&one, &two, "memory differs after {:?}", step);
                prop_assert_eq!(&one, &three, "the simulated disk differs after {:?}", step);
            }
            disk.sync_names().unwrap();
            let killed = disk.crash(&super::simulated::CrashPlan::KeepAll);
            prop_assert_eq!(names(&disk), names(&killed), "a kill lost a name");
            names(&disk).iter().for_each(|name| assert_eq!(content(&disk, name), content(&killed, name), "a kill lost bytes"));
            Ok(())
        })
        .unwrap();
}
