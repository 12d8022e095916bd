use crate::{
    io::Storage,
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Files that no durable manifest names any more, on their way out. To remove a large one takes longer than to publish the manifest that drops it,
/// so a thread of its own does it where there are threads.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    names: Mutex<Names>,
    /// Names that nobody has finished trying to remove.
    pending: AtomicUsize,
    /// Held while names are removed: who gets it knows that nobody is in the middle of one.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Names {
    untried: Vec<String>,
    /// Those that could not be removed.
    stuck: Vec<String>,
}

impl Garbage {
    pub(super) fn add(&self, names: impl IntoIterator<Item = String>) {
        let mut all = self.names.lock();
        let before = all.untried.len();
        all.untried.extend(names);
        self.pending.fetch_add(all.untried.len() - before, Ordering::Relaxed);
    }

    /// Adds a name whose removal was tried.
    pub(super) fn add_stuck(&self, name: String) {
        self.names.lock().stuck.push(name);
    }

    /// Whether a removal would free something, or somebody is about it.
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Relaxed) > 0
    }

    /// Removes what can be removed, also of what could not be before. Returns the names of what stays.
    pub(super) fn remove(&self, storage: &dyn Storage) -> Vec<String> {
        let _turn = self.turn.lock();
        let Names { untried, stuck: mut names } = std::mem::take(&mut *self.names.lock());
        let tried = untried.len();
        names.extend(untried);
        names.retain(|name| storage.remove(name).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound));
        self.names.lock().stuck.extend_from_slice(&names);
        self.pending.fetch_sub(tried, Ordering::Relaxed);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::Garbage;
    use crate::io::{Storage, memory::Memory};

    #[test]
    fn what_is_gone_is_forgotten_and_what_stays_is_tried_again() {
        let (storage, garbage) = (Memory::new(), Garbage::default());
        storage.create("a").unwrap();
        assert!(!garbage.is_pending());
        // No storage removes what cannot be a name.
        garbage.add(["a".to_owned(), "never there".to_owned(), "not/a/name".to_owned()]);
        assert!(garbage.is_pending());
        assert_eq!(garbage.remove(&storage), ["not/a/name"]);
        assert!(storage.list().unwrap().is_empty() && !garbage.is_pending());
        storage.create("b").unwrap();
        garbage.add_stuck("b".to_owned());
        assert!(!garbage.is_pending());
        assert_eq!(garbage.remove(&storage), ["not/a/name"]);
        assert!(storage.list().unwrap().is_empty());
    }
}
