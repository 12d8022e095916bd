use std::{
    io::{BufRead, BufReader, ErrorKind},
    process::{Command, Stdio},
};

use super::Directory;
use crate::io::{Storage, memory::Memory};

const CHILD_DIRECTORY: &str = "VARVITE_TEST_LOCK_DIRECTORY";

/// Run as a process of its own by the test below.
#[test]
fn child_that_holds_the_lock() {
    let Some(path) = std::env::var_os(CHILD_DIRECTORY) else { return };
    let _lock = Directory::open(path).unwrap().lock("LOCK").unwrap();
    println!("\nlocked");
    std::thread::sleep(std::time::Duration::from_secs(60));
}

#[test]
fn the_lock_excludes_other_processes_and_dies_with_its_owner() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "io::fs::tests::child_that_holds_the_lock", "--nocapture", "--test-threads=1"])
        .env(CHILD_DIRECTORY, place.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok).any(|line| line == "locked");
    let (probed, taken) = (directory.is_locked("LOCK"), directory.lock("LOCK").map(drop));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(said, "the child did not lock");
    assert!(probed.unwrap(), "the probe missed another process");
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(!directory.is_locked("LOCK").unwrap());
    assert!(directory.lock("LOCK").unwrap().is_mine(), "the lock of a dead owner is not free");
}

#[test]
fn two_handles_of_one_process_exclude_each_other() {
    let place = tempfile::tempdir().unwrap();
    let (one, two) = (Directory::open(place.path()).unwrap(), Directory::open(place.path()).unwrap());
    let lock = one.lock("LOCK").unwrap();
    assert_eq!(two.lock("LOCK").unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(one.is_locked("LOCK").unwrap() && two.is_locked("LOCK").unwrap());
    drop(lock);
    drop(two.lock("LOCK").unwrap());
}

#[test]
fn only_regular_files_are_seen() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    std::fs::create_dir(path("directory")).unwrap();
    std::fs::write(path("file"), b"abc").unwrap();
    std::os::unix::fs::symlink(path("file"), path("symlink")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0).unwrap();
    let strange = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not \xFF utf8");
    std::fs::write(place.path().join(strange), b"x").unwrap();
    let directory = Directory::open(place.path()).unwrap();
    let names: Vec<_> = directory.list().unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!(names, ["file"]);
    for name in ["directory", "symlink", "pipe"] {
        assert!(directory.open_read(name).is_err(), "{name} was opened for reading");
        assert!(directory.open_write(name).is_err(), "{name} was opened for writing");
    }
}

#[test]
fn the_directory_stays_the_same_when_it_is_moved() {
    let place = tempfile::tempdir().unwrap();
    let (first, second) = (place.path().join("first"), place.path().join("second"));
    let directory = Directory::create(first.join("deep/er")).unwrap();
    assert_eq!(directory.environment().directory.as_deref(), Some(&*first.join("deep/er").canonicalize().unwrap()));
    std::fs::rename(&first, &second).unwrap();
    directory.publish("a", b"abc").unwrap();
    assert_eq!(std::fs::read(second.join("deep/er/a")).unwrap(), b"abc");
    assert_eq!(Directory::open(&first).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(Directory::open(second.join("deep/er/a")).is_err(), "a file was opened as a directory");
    Directory::create(second.join("deep/er")).unwrap();
}

#[test]
fn files_are_linked_into_other_directories_only() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (source, target) = (Directory::open(one.path()).unwrap(), Directory::open(two.path()).unwrap());
    source.publish("a", b"abc").unwrap();
    assert!(source.link_into("a", &target, "b").unwrap());
    assert_eq!((target.open_read("b").unwrap().links().unwrap(), &*target.open_read("b").unwrap().map().unwrap()), (2, &b"abc"[..]));
    assert!(!source.link_into("a", &Memory::new(), "b").unwrap());
    if let Ok(elsewhere) = tempfile::tempdir_in("/dev/shm") {
        let elsewhere = Directory::open(elsewhere.path()).unwrap();
        let other_device = !source.link_into("a", &elsewhere, "b").unwrap();
        assert_eq!(elsewhere.list().unwrap().is_empty(), other_device);
    }
}

#[test]
fn the_fallback_for_links_does_not_replace() {
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    directory.publish("a", b"a").unwrap();
    directory.publish("b", b"b").unwrap();
    assert_eq!(directory.move_without_replacing("a", "b").unwrap_err().kind(), ErrorKind::AlreadyExists);
    directory.move_without_replacing("a", "c").unwrap();
    let names: Vec<_> = directory.list().unwrap().into_iter().map(|file| file.name).collect();
    assert_eq!((names, std::fs::read(place.path().join("b")).unwrap()), (vec!["b".to_owned(), "c".to_owned()], b"b".to_vec()));
}

#[test]
fn allocation_reserves_blocks() {
    use std::os::unix::fs::MetadataExt;
    let place = tempfile::tempdir().unwrap();
    let directory = Directory::open(place.path()).unwrap();
    directory.create("a").unwrap().allocate(1 << 20).unwrap();
    let metadata = std::fs::metadata(place.path().join("a")).unwrap();
    assert_eq!(metadata.len(), 1 << 20);
    // Where the file system cannot reserve, the length is all there is.
    assert!(metadata.blocks() == 0 || metadata.blocks() * 512 >= 1 << 20, "{} blocks", metadata.blocks());
}
