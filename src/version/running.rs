use std::collections::BTreeSet;

use crate::sync::{Condvar, Mutex};

/// Compactions under way: until they end, the files they write hold rows that were alive when they began.
#[derive(Debug, Default)]
pub(crate) struct Running {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    present: BTreeSet<u64>,
}

impl Running {
    /// One more, until what is returned is dropped.
    pub(crate) fn begin(&self) -> Started<'_> {
        let mut state = self.state.lock();
        let number = state.next;
        state.next = number.saturating_add(1);
        state.present.insert(number);
        Started { running: self, number }
    }

    /// Waits until those that run now have ended; not for later ones.
    pub(crate) fn wait_for_present(&self) {
        let mut state = self.state.lock();
        let next = state.next;
        while state.present.first().is_some_and(|number| *number < next) {
            self.ended.wait(&mut state);
        }
    }
}

/// A compaction under way.
#[derive(Debug)]
pub(crate) struct Started<'a> {
    running: &'a Running,
    number: u64,
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        self.running.state.lock().present.remove(&self.number);
        self.running.ended.notify_all();
    }
}
