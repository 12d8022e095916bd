use crate::{
    io::Storage,
    sync::{AtomicUsize, Mutex, Ordering},
};

/// Files that no durable manifest names any more, on their way out. To remove a large one takes longer than to publish the manifest that drops it,
/// so a thread of its own does it where there are threads.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    waiting: Mutex<Vec<String>>,
    /// Names that nobody has tried to remove yet.
    untried: AtomicUsize,
    /// Held while names are removed: who gets it knows that nobody is in the middle of one.
    turn: Mutex<()>,
}

impl Garbage {
    pub(super) fn add(&self, names: impl IntoIterator<Item = String>) {
        let mut waiting = self.waiting.lock();
        let before = waiting.len();
        waiting.extend(names);
        self.untried.fetch_add(waiting.len() - before, Ordering::Relaxed);
    }

    /// Adds a name whose removal was tried.
    pub(super) fn add_tried(&self, name: String) {
        self.waiting.lock().push(name);
    }

    pub(super) fn has_untried(&self) -> bool {
        self.untried.load(Ordering::Relaxed) > 0
    }

    /// Removes what can be removed, also of what could not be before. Returns the names of what stays.
    pub(super) fn remove(&self, storage: &dyn Storage) -> Vec<String> {
        let _turn = self.turn.lock();
        let mut names = std::mem::take(&mut *self.waiting.lock());
        self.untried.store(0, Ordering::Relaxed);
        names.retain(|name| storage.remove(name).is_err_and(|error| error.kind() != std::io::ErrorKind::NotFound));
        self.waiting.lock().extend_from_slice(&names);
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
        assert!(!garbage.has_untried());
        // No storage removes what cannot be a name.
        garbage.add(["a".to_owned(), "never there".to_owned(), "not/a/name".to_owned()]);
        assert!(garbage.has_untried());
        assert_eq!(garbage.remove(&storage), ["not/a/name"]);
        assert!(storage.list().unwrap().is_empty() && !garbage.has_untried());
        storage.create("b").unwrap();
        garbage.add_tried("b".to_owned());
        assert!(!garbage.has_untried());
        assert_eq!(garbage.remove(&storage), ["not/a/name"]);
        assert!(storage.list().unwrap().is_empty());
    }
}
