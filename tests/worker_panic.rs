//! A background thread that panics: writers are told instead of waiting for ever for memory that nobody frees (a store accepted writes until
//! memory was full after its worker had died unnoticed). Reads go on; a reopened database holds every acknowledged batch.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use varvite::{
    Database, Durability, ErrorKind, Metric, Options,
    io::{Environment, FileInfo, Lock, ReadFile, Storage, WriteFile, memory::Memory},
};

/// Memory in which one thread panics when it makes a segment file.
#[derive(Debug)]
struct Rigged {
    memory: Memory,
    thread: &'static str,
    armed: Arc<AtomicBool>,
}

impl Storage for Rigged {
    fn create(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        let here = std::thread::current().name() == Some(self.thread);
        assert!(!(here && self.armed.load(Ordering::Acquire) && name.starts_with("seg-")), "on purpose, in {}", self.thread);
        self.memory.create(name)
    }
    fn open_write(&self, name: &str) -> io::Result<Arc<dyn WriteFile>> {
        self.memory.open_write(name)
    }
    fn open_read(&self, name: &str) -> io::Result<Arc<dyn ReadFile>> {
        self.memory.open_read(name)
    }
    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.memory.publish(name, bytes)
    }
    fn list(&self) -> io::Result<Vec<FileInfo>> {
        self.memory.list()
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        self.memory.sync_names()
    }
    fn lock(&self, name: &str) -> io::Result<Box<dyn Lock>> {
        self.memory.lock(name)
    }
    fn is_locked(&self, name: &str) -> io::Result<bool> {
        self.memory.is_locked(name)
    }
    fn link_into(&self, name: &str, target: &dyn Storage, target_name: &str) -> io::Result<bool> {
        self.memory.link_into(name, target, target_name)
    }
    fn environment(&self) -> &Environment {
        self.memory.environment()
    }
}

/// Writes until it is refused; the number of batches acknowledged.
fn write_until_refused(db: &Database) -> u64 {
    let docs = db.collection("docs").unwrap().durability(Durability::Buffered);
    for number in 0..1_000_000_u64 {
        match docs.insert(number.to_be_bytes(), &[number as f32; 256]) {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Poisoned, "{error:?}");
                assert!(error.to_string().contains("panicked"), "{error}");
                return number;
            }
        }
    }
    panic!("never refused");
}

fn panics_in(thread: &'static str) {
    let (memory, armed) = (Memory::new(), Arc::new(AtomicBool::new(false)));
    let rigged = Rigged { memory: memory.clone(), thread, armed: Arc::clone(&armed) };
    // Short idle times, so that compactions come due too.
    let options = || Options { memtable_bytes: 1 << 20, idle_flush_after: Duration::from_millis(20), ..Options::default() };
    let db = Database::open_on(Arc::new(rigged), options()).unwrap();
    db.create_collection("docs", 256, Metric::L2).unwrap();
    armed.store(true, Ordering::Release);
    let (tell, told) = mpsc::channel();
    let writer = std::thread::spawn(move || {
        let acknowledged = write_until_refused(&db);
        tell.send(acknowledged).unwrap();
        db
    });
    let acknowledged = told.recv_timeout(Duration::from_secs(60)).expect("a writer must not wait for a thread that is gone");
    let db = writer.join().unwrap();
    assert_eq!(db.collection("docs").unwrap().count().unwrap(), acknowledged, "reads go on");
    armed.store(false, Ordering::Release);
    drop(db);
    let db = Database::open_on(Arc::new(memory), options()).unwrap();
    assert_eq!(db.collection("docs").unwrap().count().unwrap(), acknowledged);
}

#[test]
fn a_flush_thread_that_panics_stops_writers_by_name() {
    panics_in("varvite-flush");
}

#[test]
fn a_compaction_thread_that_panics_stops_writers_by_name() {
    panics_in("varvite-compact");
}
