use super::{Catalog, Counts, Version};
use crate::{
    memtable::Memtable,
    observe::Lookups,
    sync::{Arc, AtomicU64, Ordering},
    types::{FileNumber, Sequence},
};

/// A memtable that takes no more writes and waits for its flush.
#[derive(Debug)]
pub(crate) struct Frozen {
    pub(crate) memtable: Arc<Memtable>,
    /// The collections when it was frozen.
    pub(crate) catalog: Catalog,
    /// Last sequence in it.
    pub(crate) sequence: Sequence,
    /// The log that is not needed any more once it is flushed; neither are those before it.
    pub(crate) log: FileNumber,
}

/// Everything a read needs, replaced as a whole.
///
/// A view has its own `visible`: when another view is installed it stands still, so that whoever holds this view reads at a sequence for which
/// the pending kills beside it are complete. Only the holder of the writer's lock stores into it.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) active: Arc<Memtable>,
    pub(crate) frozen: Option<Arc<Frozen>>,
    pub(crate) version: Arc<Version>,
    pub(crate) counts: Counts,
    /// Of all views of a database.
    pub(crate) lookups: Arc<Lookups>,
    visible: AtomicU64,
}

impl View {
    pub(crate) fn new(catalog: Arc<Catalog>, active: Arc<Memtable>, version: Arc<Version>, counts: Counts, visible: Sequence) -> Self {
        Self { catalog, active, frozen: None, version, counts, lookups: Arc::default(), visible: AtomicU64::new(visible) }
    }

    /// The highest sequence that reads may see.
    pub(crate) fn visible(&self) -> Sequence {
        self.visible.load(Ordering::Acquire)
    }

    pub(crate) fn set_visible(&self, sequence: Sequence) {
        self.visible.store(sequence, Ordering::Release);
    }

    /// The memtables, newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(self.frozen.iter().map(|frozen| &frozen.memtable))
    }

    fn copy(&self) -> Self {
        Self {
            catalog: Arc::clone(&self.catalog),
            active: Arc::clone(&self.active),
            frozen: self.frozen.clone(),
            version: Arc::clone(&self.version),
            counts: self.counts.latest(),
            lookups: Arc::clone(&self.lookups),
            visible: AtomicU64::new(self.visible()),
        }
    }

    pub(crate) fn with_catalog(&self, catalog: Arc<Catalog>) -> Self {
        Self { catalog, ..self.copy() }
    }

    pub(crate) fn with_version(&self, version: Arc<Version>) -> Self {
        Self { version, ..self.copy() }
    }

    pub(crate) fn frozen(&self, frozen: Frozen) -> Self {
        Self { active: Arc::new(Memtable::new()), frozen: Some(Arc::new(frozen)), ..self.copy() }
    }

    pub(crate) fn flushed(&self, version: Arc<Version>) -> Self {
        // A look at every collection, which a flush takes anyway.
        let counts = self.counts.latest_of(|id| self.catalog.get(id).is_some());
        Self { version, frozen: None, counts, ..self.copy() }
    }
}
