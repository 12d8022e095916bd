use std::arch::x86_64::{
    __m128, __m128i, __m256, __m256i, _mm_add_epi32, _mm_add_ps, _mm_storeu_ps, _mm_storeu_si128, _mm256_add_epi16, _mm256_add_epi32,
    _mm256_add_ps, _mm256_and_si256, _mm256_castps256_ps128, _mm256_castsi256_si128, _mm256_extractf128_ps, _mm256_extracti128_si256,
    _mm256_fmadd_ps, _mm256_hadd_epi32, _mm256_hadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_maskload_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_ps, _mm256_setzero_si256, _mm256_slli_epi16,
    _mm256_srli_epi16, _mm256_sub_ps,
};

use super::{Bytes, Simd};

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

const BYTES: usize = 32;

impl Bytes for Avx2 {
    type Chunk = [u8; BYTES];
    type Register = __m256i;
    type Sum = __m256i;

    #[inline(always)]
    fn chunks(bytes: &[u8]) -> (&[Self::Chunk], &[u8]) {
        bytes.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Sum {
        // SAFETY: the caller has the features (see the trait); no memory is touched.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        // SAFETY: the caller has the features; a chunk is as long as a register, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(chunk.as_ptr().cast()) }
    }

    #[inline(always)]
    fn load_rest(rest: &[u8]) -> Self::Register {
        let mut chunk = [0; BYTES];
        chunk.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        <Self as Bytes>::load(&chunk)
    }

    #[inline(always)]
    fn low(bytes: Self::Register) -> Self::Register {
        // SAFETY: the caller has the features; no memory is touched.
        unsafe { _mm256_and_si256(bytes, _mm256_set1_epi8(15)) }
    }

    #[inline(always)]
    fn high(bytes: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), _mm256_set1_epi8(15)) }
    }

    #[inline(always)]
    fn join(upper: Self::Register, lower: Self::Register) -> Self::Register {
        // SAFETY: as above.
        unsafe { _mm256_or_si256(_mm256_slli_epi16::<4>(upper), lower) }
    }

    #[inline(always)]
    fn add(sum: Self::Sum, unsigned: Self::Register, signed: Self::Register) -> Self::Sum {
        // SAFETY: as above.
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(unsigned, signed), _mm256_set1_epi16(1))) }
    }

    #[inline(always)]
    fn add_both(sum: Self::Sum, [a, b]: [Self::Register; 2], [c, d]: [Self::Register; 2]) -> Self::Sum {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm256_add_epi16(_mm256_maddubs_epi16(a, c), _mm256_maddubs_epi16(b, d));
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    fn totals([a, b, c, d]: [Self::Sum; 4]) -> [i32; 4] {
        let mut totals = [0; 4];
        // SAFETY: the caller has the features; four lanes are stored into four elements.
        unsafe {
            let pairs = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
            let halves: (__m128i, __m128i) = (_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
            _mm_storeu_si128(totals.as_mut_ptr().cast(), _mm_add_epi32(halves.0, halves.1));
        }
        totals
    }
}
