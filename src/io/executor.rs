//! Threads.

use std::io;
#[cfg(not(any(shuttle, loom)))]
use std::thread;

#[cfg(loom)]
use loom::thread;
#[cfg(shuttle)]
use shuttle::thread;

/// A named background thread.
#[derive(Debug)]
pub(crate) struct Worker(thread::JoinHandle<()>);

impl Worker {
    pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        thread::Builder::new().name(name.to_owned()).spawn(body).map(Self)
    }

    /// Waits for its end; `false` if it panicked. A worker that joins itself (it dropped the last handle of what owns it) does not
    /// wait: it would wait for ever.
    pub(crate) fn join(self) -> bool {
        self.0.thread().id() == thread::current().id() || self.0.join().is_ok()
    }
}

/// How many threads run at once on this machine; 1 if it does not tell.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Lets other threads run.
pub(crate) fn yield_now() {
    thread::yield_now();
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::Worker;

    #[test]
    fn join_tells_an_end_from_a_panic() {
        let (sender, receiver) = mpsc::channel();
        let worker = Worker::spawn("varvite-test", move || {
            sender.send(std::thread::current().name().map(str::to_owned)).unwrap();
        })
        .unwrap();
        assert_eq!(receiver.recv().unwrap().as_deref(), Some("varvite-test"));
        assert!(worker.join());
        assert!(!Worker::spawn("varvite-test", || std::panic::resume_unwind(Box::new("on purpose"))).unwrap().join());
    }

    #[test]
    fn a_worker_that_joins_itself_goes_on() {
        let (give, take) = mpsc::channel::<Worker>();
        let (report, result) = mpsc::channel();
        let worker = Worker::spawn("varvite-test", move || report.send(take.recv().unwrap().join()).unwrap()).unwrap();
        give.send(worker).unwrap();
        assert!(result.recv_timeout(std::time::Duration::from_secs(10)).unwrap());
    }
}
