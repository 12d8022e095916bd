use super::Simd;

/// Arrays that the compiler's vectoriser takes for registers; for any processor.
pub(in crate::kernel) struct Portable;

const LANES: usize = 8;

#[inline(always)]
fn zip(mut a: [f32; LANES], b: [f32; LANES], operation: impl Fn(f32, f32) -> f32) -> [f32; LANES] {
    for (a, b) in a.iter_mut().zip(b) {
        *a = operation(*a, b);
    }
    a
}

impl Simd for Portable {
    type Chunk = [f32; LANES];
    type Register = [f32; LANES];
    const LANES: usize = LANES;

    #[inline(always)]
    fn chunks(vector: &[f32]) -> (&[Self::Chunk], &[f32]) {
        vector.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Register {
        [0.0; LANES]
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        *chunk
    }

    #[inline(always)]
    fn load_rest(rest: &[f32]) -> Self::Register {
        let mut whole = Self::zero();
        for (to, from) in whole.iter_mut().zip(rest) {
            *to = *from;
        }
        whole
    }

    #[inline(always)]
    fn add(a: Self::Register, b: Self::Register) -> Self::Register {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn subtract(a: Self::Register, b: Self::Register) -> Self::Register {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn multiply_add(a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register {
        zip(c, zip(a, b, |a, b| a * b), |c, product| c + product)
    }

    #[inline(always)]
    fn sums(registers: [Self::Register; 4]) -> [f32; 4] {
        registers.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
    }
}
