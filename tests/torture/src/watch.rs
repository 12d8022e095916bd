//! A case that hangs is a finding too: nothing else could report it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

type Running = Arc<Mutex<HashMap<ThreadId, (Instant, u64)>>>;

/// What each thread is at. A case that takes too long ends the process.
pub struct Watch(Running);

impl Watch {
    pub fn start(layer: &'static str, limit: Duration) -> Self {
        let running = Running::default();
        let watched = Arc::clone(&running);
        thread::spawn(move || {
            loop {
                thread::sleep(limit / 10);
                let hung = watched.lock().unwrap().values().find(|(since, _)| since.elapsed() > limit).map(|(_, case)| *case);
                if let Some(case) = hung {
                    println!("VIOLATION a case has not ended after {limit:?}\n  replay: torture {layer} --replay '{case}'");
                    std::process::exit(1);
                }
            }
        });
        Self(running)
    }

    /// This thread begins a case.
    pub fn begin(&self, case: u64) {
        self.0.lock().unwrap().insert(thread::current().id(), (Instant::now(), case));
    }

    pub fn end(&self) {
        self.0.lock().unwrap().remove(&thread::current().id());
    }
}
