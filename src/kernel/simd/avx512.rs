use std::arch::x86_64::{
    __m512, __m512i, _mm_add_epi32, _mm_add_ps, _mm_storeu_ps, _mm_storeu_si128, _mm512_add_epi16, _mm512_add_epi32, _mm512_add_ps,
    _mm512_and_si512, _mm512_castps512_ps128, _mm512_castsi512_si128, _mm512_extractf32x4_ps, _mm512_extracti32x4_epi32, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_loadu_si512, _mm512_madd_epi16, _mm512_maddubs_epi16, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_ps,
    _mm512_or_si512, _mm512_set1_epi8, _mm512_set1_epi16, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_shuffle_ps, _mm512_slli_epi16,
    _mm512_srli_epi16, _mm512_sub_ps, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpackhi_ps, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_unpacklo_ps,
};

use super::{Bytes, Simd};

/// AVX-512 F and BW.
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

const BYTES: usize = 64;

impl Bytes for Avx512 {
    type Chunk = [u8; BYTES];
    type Register = __m512i;
    type Sum = __m512i;

    #[inline(always)]
    fn chunks(bytes: &[u8]) -> (&[Self::Chunk], &[u8]) {
        bytes.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Sum {
        // SAFETY: the caller has the features (see the trait); no memory is touched.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        // SAFETY: the caller has the features; a chunk is as long as a register, and the load needs no alignment.
        unsafe { _mm512_loadu_si512(chunk.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_rest(rest: &[u8]) -> Self::Register {
        let mask = (1u64 << rest.len().min(BYTES - 1)) - 1;
        // SAFETY: the caller has the features; bytes that the mask leaves out, which are all from the rest's end on, are not read from memory.
        unsafe { _mm512_maskz_loadu_epi8(mask, rest.as_ptr().cast()) }
    }

    #[inline(always)]
    fn low(bytes: Self::Register) -> Self::Register {
        // SAFETY: the caller has the features; no memory is touched.
        unsafe { _mm512_and_si512(bytes, _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    fn high(bytes: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(bytes), _mm512_set1_epi8(15)) }
    }

    #[inline(always)]
    fn join(upper: Self::Register, lower: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm512_or_si512(_mm512_slli_epi16::<4>(upper), lower) }
    }

    #[inline(always)]
    fn add(sum: Self::Sum, unsigned: Self::Register, signed: Self::Register) -> Self::Sum {
        // SAFETY: as above.
        unsafe { _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_maddubs_epi16(unsigned, signed), _mm512_set1_epi16(1))) }
    }

    #[inline(always)]
    fn add_both(sum: Self::Sum, [a, b]: [Self::Register; 2], [c, d]: [Self::Register; 2]) -> Self::Sum {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm512_add_epi16(_mm512_maddubs_epi16(a, c), _mm512_maddubs_epi16(b, d));
            _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn totals([a, b, c, d]: [Self::Sum; 4]) -> [i32; 4] {
        let mut totals = [0; 4];
        // SAFETY: the caller has the features; four lanes are stored into four elements.
        unsafe {
            // As in the sums of f32.
            let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
            let halves = (
                _mm_add_epi32(_mm512_castsi512_si128(all), _mm512_extracti32x4_epi32::<1>(all)),
                _mm_add_epi32(_mm512_extracti32x4_epi32::<2>(all), _mm512_extracti32x4_epi32::<3>(all)),
            );
            _mm_storeu_si128(totals.as_mut_ptr().cast(), _mm_add_epi32(halves.0, halves.1));
        }
        totals
    }
}
