use std::arch::x86_64::{
    __m512, _mm_add_ps, _mm_storeu_ps, _mm512_add_ps, _mm512_castps512_ps128, _mm512_extractf32x4_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_maskz_loadu_ps, _mm512_setzero_ps, _mm512_shuffle_ps, _mm512_sub_ps, _mm512_unpackhi_ps, _mm512_unpacklo_ps,
};

use super::Simd;

/// AVX-512 F.
pub(in crate::kernel) struct Avx512;

const LANES: usize = 16;

impl Simd for Avx512 {
    type Chunk = [f32; LANES];
    type Register = __m512;
    const LANES: usize = LANES;

    #[inline(always)]
    fn chunks(vector: &[f32]) -> (&[Self::Chunk], &[f32]) {
        vector.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Register {
        // SAFETY: the caller has the feature (see the trait); no memory is touched.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        // SAFETY: the caller has the feature; a chunk is as long as a register, and the load needs no alignment.
        unsafe { _mm512_loadu_ps(chunk.as_ptr()) }
    }

    #[inline(always)]
    fn load_rest(rest: &[f32]) -> Self::Register {
        let mask = (1u32 << rest.len().min(LANES)) - 1;
        // SAFETY: the caller has the feature; lanes that the mask leaves out are not read from memory.
        unsafe { _mm512_maskz_loadu_ps(mask as u16, rest.as_ptr()) }
    }

    #[inline(always)]
    fn add(a: Self::Register, b: Self::Register) -> Self::Register {
        // SAFETY: the caller has the feature; no memory is touched.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn subtract(a: Self::Register, b: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn multiply_add(a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sums([a, b, c, d]: [Self::Register; 4]) -> [f32; 4] {
        let mut sums = [0.0; 4];
        // SAFETY: the caller has the feature; four lanes are stored into four elements.
        unsafe {
            // Lanes of a and b, and of c and d, in turns; then all four in turns: a quarter of a register holds a part of each sum.
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let all = _mm512_add_ps(_mm512_shuffle_ps::<0b01_00_01_00>(ab, cd), _mm512_shuffle_ps::<0b11_10_11_10>(ab, cd));
            let halves = (
                _mm_add_ps(_mm512_castps512_ps128(all), _mm512_extractf32x4_ps::<1>(all)),
                _mm_add_ps(_mm512_extractf32x4_ps::<2>(all), _mm512_extractf32x4_ps::<3>(all)),
            );
            _mm_storeu_ps(sums.as_mut_ptr(), _mm_add_ps(halves.0, halves.1));
        }
        sums
    }
}
