//! A fixed orthonormal matrix, so that no element of a vector stands out: an int8 code has one scale for all of them.
//!
//! Two Walsh–Hadamard transforms of the greatest power of two b that is at most the dimension, over the first b elements and then over the last b,
//! each with its elements' signs flipped at random before (Ailon and Chazelle, "The Fast Johnson–Lindenstrauss Transform", SIAM J. Comput. 39(1), 2009,
//! for why signs). The blocks cover every element, and nothing is padded.

/// The first words of a SplitMix64 sequence (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn signs(seed: u64) -> impl Iterator<Item = u64> {
    (1u64..).map(move |number| {
        let mut word = seed.wrapping_add(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ word >> 31
    })
}

/// The rotation of a dimension.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    /// log₂ of the elements of a block.
    stages: u32,
    /// For each pass a 1 or −1 per element of its block, times what makes the transform orthonormal.
    factors: [Vec<f32>; 2],
}

impl Rotation {
    pub(super) fn new(dimension: usize) -> Self {
        let stages = dimension.max(1).ilog2();
        let factor = (f64::from(1u32 << stages)).sqrt().recip() as f32;
        let factors = [1, 2].map(|seed| {
            let bits = signs(seed).flat_map(|word| (0..64).map(move |bit| word >> bit & 1 == 1));
            bits.map(|is_flipped| if is_flipped { -factor } else { factor }).take(1 << stages).collect()
        });
        Self { stages, factors }
    }

    /// How far, at most, the computed rotation of a vector is from the exact one, relative to the vector's norm; what underflows is left out, which
    /// is below 2⁻¹³⁰ for each element.
    ///
    /// Each of the `stages` of a pass doubles squared norms and rounds every element once; the factor and its product are rounded before.
    pub(super) fn error(&self) -> f64 {
        let roundings = f64::from(2 * (self.stages + 2)) / f64::from(1u32 << 24);
        roundings / (1.0 - roundings)
    }

    /// Rotates a vector of the dimension. Every operation is rounded to f32 and none is fused: the same bits on every machine. O(d log d).
    #[inline(always)]
    pub(super) fn apply(&self, vector: &mut [f32]) {
        let block = 1usize << self.stages;
        let last = vector.len().saturating_sub(block);
        for (start, factors) in [0, last].into_iter().zip(&self.factors) {
            let Some(block) = vector.get_mut(start..start + block) else { continue };
            for (element, factor) in block.iter_mut().zip(factors) {
                *element *= factor;
            }
            hadamard(block);
        }
    }
}

/// Elements that the last stages work on at once.
const WIDTH: usize = 16;

/// The transform of a block, not scaled; from the greatest stride to 1.
#[inline(always)]
fn hadamard(block: &mut [f32]) {
    let mut stride = block.len() / 2;
    while stride >= WIDTH {
        for pair in block.chunks_exact_mut(2 * stride) {
            let (low, high) = pair.split_at_mut(stride);
            for (low, high) in low.as_chunks_mut::<WIDTH>().0.iter_mut().zip(high.as_chunks_mut::<WIDTH>().0) {
                for (a, b) in low.iter_mut().zip(high) {
                    (*a, *b) = (*a + *b, *a - *b);
                }
            }
        }
        stride /= 2;
    }
    if stride == WIDTH / 2 {
        for chunk in block.as_chunks_mut::<WIDTH>().0 {
            butterflies::<8>(chunk);
            butterflies::<4>(chunk);
            butterflies::<2>(chunk);
            butterflies::<1>(chunk);
        }
        return;
    }
    while stride > 0 {
        for pair in block.chunks_exact_mut(2 * stride) {
            let (low, high) = pair.split_at_mut(stride);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        stride /= 2;
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "by numbers below WIDTH, which is the length")]
fn butterflies<const STRIDE: usize>(chunk: &mut [f32; WIDTH]) {
    let mut out = [0.0; WIDTH];
    for at in 0..WIDTH {
        let other = chunk[at ^ STRIDE];
        out[at] = if at & STRIDE == 0 { chunk[at] + other } else { other - chunk[at] };
    }
    *chunk = out;
}
