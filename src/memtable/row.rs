use super::arena::{Arena, Span};
use crate::{
    io::{
        Bytes,
        bytes::{as_f32s, prefetch},
    },
    sync::{Arc, AtomicBool, AtomicU64, Ordering},
    types::{Death, Ordinal, Sequence},
};

/// `dead_at` of a version that nothing has superseded.
pub(crate) const LIVE: Sequence = Sequence::MAX;

/// One version of a record, or the mark that it was deleted. Cheap to clone; stays valid when its memtable is gone.
#[derive(Clone)]
pub(crate) struct MemRow(Arc<Version>);

/// Immutable but for its death, which is set at most once.
struct Version {
    sequence: Sequence,
    dead_at: AtomicU64,
    /// Whether a delete was its death; set behind `dead_at` by the thread that set that.
    deleted: AtomicBool,
    /// `None`: the record was deleted.
    ordinal: Option<Ordinal>,
    /// Vector, id, payload.
    bytes: Span,
    vector_len: usize,
    id_len: usize,
}

impl MemRow {
    /// What a version costs beside its bytes: itself, its place in the arena's order, its share of the index.
    pub(super) const OVERHEAD: usize = size_of::<Version>() + 176;

    pub(super) fn put(arena: &Arena, sequence: Sequence, ordinal: Ordinal, id: &[u8], vector: &[u8], payload: &[u8]) -> Self {
        Self::new(sequence, Some(ordinal), arena.store([vector, id, payload]), vector.len(), id.len())
    }

    pub(super) fn tombstone(arena: &Arena, sequence: Sequence, id: &[u8]) -> Self {
        Self::new(sequence, None, arena.store([&[], id, &[]]), 0, id.len())
    }

    fn new(sequence: Sequence, ordinal: Option<Ordinal>, bytes: Span, vector_len: usize, id_len: usize) -> Self {
        Self(Arc::new(Version {
            sequence,
            dead_at: AtomicU64::new(LIVE),
            deleted: AtomicBool::new(false),
            ordinal,
            bytes,
            vector_len,
            id_len,
        }))
    }

    pub(crate) fn id(&self) -> &[u8] {
        self.part(self.0.vector_len, self.0.vector_len + self.0.id_len)
    }

    /// The id, sharing the version's memory.
    pub(super) fn id_span(&self) -> Span {
        self.0.bytes.part(self.0.vector_len..self.0.vector_len + self.0.id_len)
    }

    /// The elements; their start is aligned to 64. Empty for a tombstone.
    #[inline]
    pub(crate) fn vector(&self) -> &[f32] {
        as_f32s(self.part(0, self.0.vector_len)).unwrap_or_default()
    }

    /// The elements' bytes, as a handle that keeps them alive; allocates nothing.
    pub(crate) fn vector_bytes(&self) -> Bytes {
        Bytes::from_owner(Arc::clone(&self.0) as Arc<dyn AsRef<[u8]> + Send + Sync>)
    }

    /// Has its bytes brought near, as many as a vector of most models has.
    pub(crate) fn prefetch(&self) {
        prefetch(&self.0.bytes, 4096);
    }

    /// The encoded payload, empty without one.
    pub(crate) fn payload(&self) -> &[u8] {
        self.part(self.0.vector_len + self.0.id_len, self.0.bytes.len())
    }

    /// 0 for a tombstone.
    pub(crate) fn ordinal(&self) -> Ordinal {
        self.0.ordinal.unwrap_or_default()
    }

    pub(crate) fn sequence(&self) -> Sequence {
        self.0.sequence
    }

    /// Sequence of the batch that superseded or deleted it, here or in a newer memtable; [`LIVE`] if none did.
    pub(crate) fn dead_at(&self) -> Sequence {
        self.0.dead_at.load(Ordering::Acquire)
    }

    /// How it died, if it did. Exact only while no write can happen.
    pub(crate) fn death(&self) -> Option<Death> {
        let at = self.dead_at();
        (at != LIVE).then(|| Death { at, deleted: self.0.deleted.load(Ordering::Acquire) })
    }

    /// Bytes of vector, id and payload.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.len()
    }

    pub(crate) fn is_tombstone(&self) -> bool {
        self.0.ordinal.is_none()
    }

    /// Whether a reader at this sequence sees it. The caller publishes a sequence only after its writes, so a kill at or below `at` is
    /// never missed, and one above it changes nothing.
    #[inline]
    pub(crate) fn is_visible(&self, at: Sequence) -> bool {
        let dead_at = self.dead_at();
        self.0.sequence <= at && (at < dead_at || dead_at == LIVE) && !self.is_tombstone()
    }

    /// Records what superseded it; false if it was not live.
    pub(super) fn kill(&self, death: Death) -> bool {
        debug_assert!(death.at >= self.0.sequence, "killed at {}, before it was written at {}", death.at, self.0.sequence);
        let killed = !self.is_tombstone() && self.0.dead_at.compare_exchange(LIVE, death.at, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if killed && death.deleted {
            self.0.deleted.store(true, Ordering::Release);
        }
        killed
    }

    #[inline]
    fn part(&self, start: usize, end: usize) -> &[u8] {
        self.0.bytes.get(start..end).unwrap_or_default()
    }
}

/// The vector.
impl AsRef<[u8]> for Version {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.vector_len).unwrap_or_default()
    }
}
