//! What happened since the last sync, in order.

/// Changes that are not folded into their durable base yet.
#[derive(Clone, Debug)]
pub(super) struct Journal<C>(Vec<Entry<C>>);

#[derive(Clone, Debug)]
pub(super) struct Entry<C> {
    pub(super) change: C,
    pub(super) status: Status,
    /// Position among all changes of the disk.
    pub(super) stamp: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// The next sync makes it durable; a crash may lose it.
    Pending,
    /// A failed sync covered it: no sync makes it durable any more, and a crash may lose it.
    Stuck,
    /// Durable, but behind a stuck one.
    Synced,
}

impl<C> Default for Journal<C> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<C> Journal<C> {
    pub(super) fn push(&mut self, stamp: u64, change: C) {
        self.0.push(Entry { change, status: Status::Pending, stamp });
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry<C>> {
        self.0.iter()
    }

    /// A sync succeeded: yields what goes into the base.
    pub(super) fn sync(&mut self) -> impl Iterator<Item = C> + '_ {
        for entry in self.0.iter_mut().filter(|entry| entry.status == Status::Pending) {
            entry.status = Status::Synced;
        }
        let foldable = self.0.iter().take_while(|entry| entry.status == Status::Synced).count();
        self.0.drain(..foldable).map(|entry| entry.change)
    }

    /// A sync failed: what it covered and `stays` is stuck, the rest is gone.
    pub(super) fn fail(&mut self, stays: impl Fn(&C) -> bool) {
        self.0.retain(|entry| entry.status != Status::Pending || stays(&entry.change));
        for entry in self.0.iter_mut().filter(|entry| entry.status == Status::Pending) {
            entry.status = Status::Stuck;
        }
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&C) -> bool) {
        self.0.retain(|entry| stays(&entry.change));
    }
}
