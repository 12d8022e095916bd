use std::{fmt, ops::Deref};

use crate::sync::Arc;

/// Bytes that outlive their file's handle: a mapping, or an owned buffer; cloning and slicing share them.
///
/// The start of a whole file's `Bytes` is aligned to 64.
#[derive(Clone)]
pub struct Bytes {
    start: *const u8,
    len: usize,
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
}

// SAFETY: `start..start + len` lies in memory owned by `owner`, which is Send + Sync, never moves it and never writes to it while shared.
unsafe impl Send for Bytes {}
// SAFETY: as above; all access is by shared reference.
unsafe impl Sync for Bytes {}

impl Bytes {
    /// Shares what an owner holds. `AsRef` must return the same memory every time: only mappings and boxed buffers are used.
    pub(crate) fn from_owner(owner: Arc<dyn AsRef<[u8]> + Send + Sync>) -> Self {
        let bytes: &[u8] = (*owner).as_ref();
        Self { start: bytes.as_ptr(), len: bytes.len(), owner }
    }

    /// A zeroed 64-byte aligned buffer filled by the caller.
    pub(crate) fn filled<E>(len: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let mut buffer = AlignedBuffer::zeroed(len);
        fill(buffer.as_mut())?;
        Ok(Self::from_owner(Arc::new(buffer)))
    }

    /// An aligned copy.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = AlignedBuffer::zeroed(bytes.len());
        buffer.as_mut().copy_from_slice(bytes);
        Self::from_owner(Arc::new(buffer))
    }

    /// A part of it; `None` outside.
    pub(crate) fn slice(&self, offset: usize, len: usize) -> Option<Self> {
        let part = self.get(offset..offset.checked_add(len)?)?;
        Some(Self { start: part.as_ptr(), len, owner: Arc::clone(&self.owner) })
    }
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` and `len` were taken from a slice of the owner, which is alive and does not move or change its memory.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({} bytes)", self.len)
    }
}

/// One cache line; the unit of alignment.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Owned bytes whose start is aligned to 64.
pub(crate) struct AlignedBuffer {
    lines: Box<[Line]>,
    len: usize,
}

impl AlignedBuffer {
    pub(crate) fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0; 64]); len.div_ceil(64)].into_boxed_slice(), len }
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the lines are contiguous, initialised bytes, at least `len` of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast::<u8>(), self.len) }
    }
}

impl AsMut<[u8]> for AlignedBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_ref`; the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast::<u8>(), self.len) }
    }
}

/// Reads stored bytes as f32 in place; `None` if they are not whole, aligned elements.
pub(crate) fn as_f32s(bytes: &[u8]) -> Option<&[f32]> {
    // SAFETY: every bit pattern is a valid f32, and `align_to` yields only aligned, whole elements.
    let (before, elements, after) = unsafe { bytes.align_to::<f32>() };
    (before.is_empty() && after.is_empty()).then_some(elements)
}

/// The stored bytes of f32 elements.
pub(crate) fn f32s_as_bytes(elements: &[f32]) -> &[u8] {
    // SAFETY: f32 has no padding, and any alignment is fine for bytes.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<u8>(), std::mem::size_of_val(elements)) }
}

/// Asks the processor to bring the first `len` bytes near, as far as there are so many. Only a hint.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], len: usize) {
    let bytes = bytes.get(..len).unwrap_or(bytes);
    bytes.chunks(64).for_each(|line| prefetch_line(line.as_ptr()));
}

/// Asks the processor to bring the cache line of an address near; any address will do. Only a hint.
#[inline(always)]
pub(crate) fn prefetch_line(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is part of the baseline; it loads nothing that the program could see and faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _no_hint = address;
}

#[cfg(test)]
mod tests {
    use super::{Bytes, as_f32s, f32s_as_bytes, prefetch};

    #[test]
    fn a_prefetch_changes_nothing_wherever_it_points() {
        let bytes = Bytes::copy_of(&[7; 100]);
        [0, 1, 99, 100, usize::MAX].into_iter().for_each(|len| prefetch(&bytes, len));
        prefetch(&[], 0);
        assert!(bytes.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn slices_share_the_owner_and_keep_it_alive() {
        let part = {
            let whole = Bytes::copy_of(&(0..200).collect::<Vec<u8>>());
            assert_eq!(whole.as_ptr() as usize % 64, 0);
            assert!(whole.slice(150, 51).is_none() && whole.slice(usize::MAX, 2).is_none());
            whole.slice(150, 50).unwrap()
        };
        assert_eq!(part.to_vec(), (150..200).collect::<Vec<u8>>());
    }

    #[test]
    fn f32_views_are_bit_exact_and_checked() {
        let values = [1.5f32, -0.0, f32::from_bits(0x7FC0_1234), f32::MIN_POSITIVE / 2.0];
        let bytes = Bytes::copy_of(f32s_as_bytes(&values));
        let back = as_f32s(&bytes).unwrap();
        assert!(values.iter().zip(back).all(|(a, b)| a.to_bits() == b.to_bits()));
        assert!(as_f32s(&bytes[1..5]).is_none() && as_f32s(&bytes[..6]).is_none());
    }
}
