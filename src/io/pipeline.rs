//! Large writes done by a thread of their own: who gathers the bytes does not wait while they are copied into the page cache.

use std::{collections::VecDeque, io};

use super::{WriteFile, executor::Worker};
use crate::sync::{Arc, Condvar, Mutex};

/// Writes that may wait, beside the one that is being done and the one that is being gathered.
const WAITING_MAX: usize = 2;

/// Does writes in the order in which they come. The first that fails is the error of a later call, and nothing behind it is tried.
///
/// Dropped, it waits for the write that is being done, and forgets the others.
#[derive(Debug)]
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
    worker: Option<Worker>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Write>,
    is_writing: bool,
    /// Buffers whose bytes are written.
    empty: Vec<Vec<u8>>,
    error: Option<io::Error>,
    has_failed: bool,
    is_over: bool,
}

#[derive(Debug)]
struct Write {
    file: Arc<dyn WriteFile>,
    offset: u64,
    bytes: Vec<u8>,
}

impl Pipeline {
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_worker = Arc::clone(&shared);
        let worker = Worker::spawn("varvite-write", move || of_worker.work())?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// Takes bytes to be written, and has writing to the device begin behind them. Returns an empty buffer for the next ones.
    pub(crate) fn write(&self, file: &Arc<dyn WriteFile>, offset: u64, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut queue = self.shared.queue.lock();
        while queue.waiting.len() >= WAITING_MAX && !queue.has_failed {
            self.shared.changed.wait(&mut queue);
        }
        queue.check()?;
        queue.waiting.push_back(Write { file: Arc::clone(file), offset, bytes });
        let empty = queue.empty.pop().unwrap_or_default();
        drop(queue);
        self.shared.changed.notify_all();
        Ok(empty)
    }

    /// Waits until everything is written.
    pub(crate) fn drain(&self) -> io::Result<()> {
        let mut queue = self.shared.queue.lock();
        while (queue.is_writing || !queue.waiting.is_empty()) && !queue.has_failed {
            self.shared.changed.wait(&mut queue);
        }
        queue.check()
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let mut queue = self.shared.queue.lock();
        queue.is_over = true;
        queue.waiting.clear();
        drop(queue);
        self.shared.changed.notify_all();
        // What it failed with was told, or nobody wants to know.
        let _ended = self.worker.take().is_none_or(Worker::join);
    }
}

impl Queue {
    fn check(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None if self.has_failed => Err(io::Error::other("a write before this one failed")),
            None => Ok(()),
        }
    }

    fn fail(&mut self, error: io::Error) {
        self.error.get_or_insert(error);
        self.has_failed = true;
        self.waiting.clear();
    }
}

impl Shared {
    fn work(&self) {
        // However this thread ends, nobody waits for it.
        let _end = End(self);
        loop {
            let mut queue = self.queue.lock();
            let write = loop {
                if queue.is_over {
                    return;
                }
                if let Some(write) = queue.waiting.pop_front() {
                    break write;
                }
                self.changed.wait(&mut queue);
            };
            queue.is_writing = true;
            drop(queue);
            let Write { file, offset, mut bytes } = write;
            let written = file.write_at(offset, &bytes);
            file.write_behind(offset, bytes.len() as u64);
            bytes.clear();
            let mut queue = self.queue.lock();
            queue.is_writing = false;
            queue.empty.push(bytes);
            if let Err(error) = written {
                queue.fail(error);
            }
            drop(queue);
            self.changed.notify_all();
        }
    }
}

struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        if !queue.is_over {
            queue.fail(io::Error::other("the thread that writes has ended"));
        }
        drop(queue);
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::Pipeline;
    use crate::{
        io::{
            Storage, WriteFile,
            memory::Memory,
            simulated::{Fault, SimulatedDisk},
        },
        sync::Arc,
    };

    #[test]
    fn writes_come_in_their_order_and_are_there_once_drained() {
        let storage = Memory::new();
        let file: Arc<dyn WriteFile> = storage.create("seg-1").unwrap();
        let pipeline = Pipeline::start().unwrap();
        let mut buffer = Vec::new();
        for number in 0..100_u64 {
            buffer.resize(1000, number as u8);
            // Half over the one before.
            buffer = pipeline.write(&file, number * 500, buffer).unwrap();
            assert!(buffer.is_empty());
        }
        pipeline.drain().unwrap();
        let bytes = storage.open_read("seg-1").unwrap().map().unwrap();
        assert!(bytes.iter().zip(0..99 * 500).all(|(byte, at)| usize::from(*byte) == at / 500) && bytes.len() == 99 * 500 + 1000);
    }

    #[test]
    fn the_first_write_that_fails_is_told_and_no_other_is_tried() {
        let disk = SimulatedDisk::new(1);
        let file: Arc<dyn WriteFile> = disk.create("seg-1").unwrap();
        let pipeline = Pipeline::start().unwrap();
        disk.inject(disk.operations() + 2, Fault::Errno(28));
        let mut told = Vec::new();
        for number in 0..10 {
            told.extend(pipeline.write(&file, number * 10, vec![7; 10]).err());
        }
        told.extend(pipeline.drain().err());
        assert_eq!(told[0].raw_os_error(), Some(28));
        assert!(told.len() > 1 && told[1..].iter().all(|error| error.raw_os_error().is_none()), "{told:?}");
        assert_eq!(disk.open_read("seg-1").unwrap().len().unwrap(), 20);
    }

    #[test]
    fn dropped_with_writes_that_wait_it_ends() {
        let storage = Memory::new();
        let file: Arc<dyn WriteFile> = storage.create("seg-1").unwrap();
        let pipeline = Pipeline::start().unwrap();
        for number in 0..3 {
            pipeline.write(&file, number, vec![1]).unwrap();
        }
    }
}
