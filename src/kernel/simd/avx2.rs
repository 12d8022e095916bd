use std::arch::x86_64::{
    __m128, __m256, __m256i, _mm_add_ps, _mm_storeu_ps, _mm256_add_ps, _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps,
    _mm256_hadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskload_ps, _mm256_setzero_ps, _mm256_sub_ps,
};

use super::Simd;

/// AVX2 and FMA.
pub(in crate::kernel) struct Avx2;

const LANES: usize = 8;

/// From the eighth behind on, as many ones as elements are left.
const MASKS: [i32; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

impl Simd for Avx2 {
    type Chunk = [f32; LANES];
    type Register = __m256;
    const LANES: usize = LANES;

    #[inline(always)]
    fn chunks(vector: &[f32]) -> (&[Self::Chunk], &[f32]) {
        vector.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Register {
        // SAFETY: the caller has the features (see the trait); no memory is touched.
        unsafe { _mm256_setzero_ps() }
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        // SAFETY: the caller has the features; a chunk is as long as a register, and the load needs no alignment.
        unsafe { _mm256_loadu_ps(chunk.as_ptr()) }
    }

    #[inline(always)]
    fn load_rest(rest: &[f32]) -> Self::Register {
        let skipped = LANES - rest.len().min(LANES);
        // SAFETY: the caller has the features; the mask is read from within MASKS, as `skipped` is at most LANES, and lanes that it leaves out
        // are not read from memory.
        unsafe {
            let mask: __m256i = _mm256_loadu_si256(MASKS.as_ptr().add(skipped).cast());
            _mm256_maskload_ps(rest.as_ptr(), mask)
        }
    }

    #[inline(always)]
    fn add(a: Self::Register, b: Self::Register) -> Self::Register {
        // SAFETY: the caller has the features; no memory is touched.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn subtract(a: Self::Register, b: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn multiply_add(a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sums([a, b, c, d]: [Self::Register; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // SAFETY: the caller has the features; four lanes are stored into four elements.
        unsafe {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let halves: (__m128, __m128) = (_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(halves.0, halves.1));
        }
        sums
    }
}
