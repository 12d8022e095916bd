//! Memory that is written once, never moves, and lives as long as anything points into it.
//!
//! Invariants: a chunk's bytes before the tail were written before a [`Span`] over them existed and are never written again; the bytes
//! behind it are reached by nobody but the holder of the tail's lock.

use std::{mem::MaybeUninit, ops::Deref, ops::Range, ptr::NonNull};

use crate::sync::{Arc, AtomicUsize, Mutex, Ordering};

const LINE: usize = 64;
const CHUNK_MIN: usize = 64 << 10;
const CHUNK_MAX: usize = 4 << 20;

/// Hands out spans that start on a multiple of 64.
pub(super) struct Arena {
    tail: Mutex<Tail>,
    bytes: AtomicUsize,
}

#[derive(Default)]
struct Tail {
    chunk: Option<Arc<Chunk>>,
    used: usize,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self { tail: Mutex::new(Tail::default()), bytes: AtomicUsize::new(0) }
    }

    /// Bytes taken, in whole lines, the unused ends of full chunks among them. The newest chunk may reserve as much as a quarter of this,
    /// and 64 KiB, on top.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Copies the parts, one behind the other.
    pub(super) fn store(&self, parts: [&[u8]; 3]) -> Span {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let taken = len.next_multiple_of(LINE);
        let mut tail = self.tail.lock();
        let (chunk, offset) = self.take(&mut tail, taken);
        let mut at = offset;
        for part in parts {
            // SAFETY: `take` gave `offset..offset + taken` of the chunk to this call alone, and the parts fill at most `taken` bytes of it.
            // No span covers these bytes yet, so nobody reads them, and `part` cannot overlap them.
            unsafe { chunk.start().add(at).copy_from_nonoverlapping(NonNull::from(part).cast::<u8>(), part.len()) };
            at += part.len();
        }
        // SAFETY: `offset` lies inside the chunk.
        let start = unsafe { chunk.start().add(offset) };
        Span { start, len, _chunk: chunk }
    }

    /// Reserves bytes of the newest chunk, or of a new one. What is large beside the chunk that is due gets a chunk to itself.
    fn take(&self, tail: &mut Tail, taken: usize) -> (Arc<Chunk>, usize) {
        if let Some(chunk) = tail.chunk.as_ref().filter(|chunk| chunk.bytes() - tail.used >= taken) {
            let offset = tail.used;
            tail.used += taken;
            self.bytes.fetch_add(taken, Ordering::Relaxed);
            return (Arc::clone(chunk), offset);
        }
        let due = (self.bytes() / 4).next_multiple_of(LINE).clamp(CHUNK_MIN, CHUNK_MAX);
        if taken > due / 4 {
            self.bytes.fetch_add(taken, Ordering::Relaxed);
            return (Arc::new(Chunk::new(taken)), 0);
        }
        let unused = tail.chunk.as_ref().map_or(0, |chunk| chunk.bytes() - tail.used);
        self.bytes.fetch_add(unused + taken, Ordering::Relaxed);
        let chunk = Arc::new(Chunk::new(due));
        *tail = Tail { chunk: Some(Arc::clone(&chunk)), used: taken };
        (chunk, 0)
    }
}

#[repr(C, align(64))]
struct Line([u8; LINE]);

/// Uninitialised lines, reached by raw pointers only.
struct Chunk {
    lines: NonNull<[MaybeUninit<Line>]>,
}

// SAFETY: a chunk is only memory; who may touch which bytes is the arena's invariant (top of the file).
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(bytes: usize) -> Self {
        Self { lines: NonNull::from(Box::leak(Box::new_uninit_slice(bytes.div_ceil(LINE)))) }
    }

    fn start(&self) -> NonNull<u8> {
        self.lines.cast()
    }

    fn bytes(&self) -> usize {
        self.lines.len() * LINE
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a leaked box of this type, and the last owner is going. Lines need no drop.
        drop(unsafe { Box::from_raw(self.lines.as_ptr()) });
    }
}

/// Written bytes of a chunk; keeps it alive.
#[derive(Clone)]
pub(super) struct Span {
    start: NonNull<u8>,
    len: usize,
    _chunk: Arc<Chunk>,
}

// SAFETY: a span is a shared reference to bytes that nobody writes any more, with its own share of the chunk.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Span {
    /// A part of it, empty if outside.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        let part = self.get(range).unwrap_or_default();
        debug_assert!(!part.is_empty(), "a part outside its span");
        Self { start: NonNull::from(part).cast(), len: part.len(), _chunk: Arc::clone(&self._chunk) }
    }
}

impl Deref for Span {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start..start + len` was initialised before this span was made, is never written again, and lives in a chunk we share.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Arena, CHUNK_MAX, CHUNK_MIN, LINE, Mutex, Span};

    /// Bytes that tell which call wrote them.
    fn pattern(call: usize, len: usize) -> Vec<u8> {
        (0..len).map(|i| (call * 31 + i * 7) as u8).collect()
    }

    fn store(arena: &Arena, call: usize, len: usize) -> Span {
        let bytes = pattern(call, len);
        let (first, rest) = bytes.split_at(len / 2);
        let (second, third) = rest.split_at(rest.len() / 3);
        arena.store([first, second, third])
    }

    #[test]
    fn spans_keep_their_bytes_after_the_arena_is_gone() {
        let arena = Arena::new();
        let lengths = [0, 1, 63, 64, 65, 1536, CHUNK_MIN / 4, CHUNK_MIN / 4 + 1, CHUNK_MIN, CHUNK_MAX + 1, 5, 70_000];
        let spans: Vec<Span> = lengths.iter().cycle().take(200).enumerate().map(|(call, len)| store(&arena, call, *len)).collect();
        let least: usize = spans.iter().map(|span| span.len().next_multiple_of(LINE)).sum();
        assert!((least..least + least / 2 + CHUNK_MIN).contains(&arena.bytes()), "{} for {least}", arena.bytes());
        drop(arena);
        for (call, span) in spans.iter().enumerate() {
            assert_eq!(span.as_ptr() as usize % LINE, 0);
            assert_eq!(**span, *pattern(call, span.len()), "call {call}");
        }
    }

    #[test]
    fn a_part_outlives_its_whole() {
        let part = {
            let arena = Arena::new();
            store(&arena, 3, 100).part(40..90)
        };
        assert_eq!(*part, pattern(3, 100)[40..90]);
    }

    #[test]
    fn small_arenas_stay_small() {
        let arena = Arena::new();
        assert_eq!(arena.bytes(), 0);
        store(&arena, 0, 65);
        assert_eq!(arena.bytes(), 128);
    }

    /// Readers on other threads look at every span again and again while the writer fills the same chunks.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may start threads")]
    fn readers_beside_the_writer_see_whole_spans() {
        const CALLS: usize = 2_000;
        let (arena, published) = (Arena::new(), Mutex::new(Vec::<Span>::new()));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut spans: Vec<Span> = Vec::new();
                    while spans.len() < CALLS {
                        let known = spans.len();
                        spans.extend(published.lock().iter().skip(known).cloned());
                        for (call, span) in spans.iter().enumerate().skip(known.saturating_sub(50)) {
                            assert_eq!(**span, *pattern(call, call * 13 % 2_000), "call {call}");
                        }
                    }
                });
            }
            for call in 0..CALLS {
                let span = store(&arena, call, call * 13 % 2_000);
                published.lock().push(span);
            }
        });
    }
}
