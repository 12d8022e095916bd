use super::{Bytes, Simd};

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
        let mut whole = [0.0; LANES];
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

/// As many as eight f32 have.
const BYTES: usize = 32;

impl Bytes for Portable {
    type Chunk = [u8; BYTES];
    type Register = [u8; BYTES];
    type Sum = [i32; BYTES / 2];

    #[inline(always)]
    fn chunks(bytes: &[u8]) -> (&[Self::Chunk], &[u8]) {
        bytes.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Sum {
        [0; BYTES / 2]
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        *chunk
    }

    #[inline(always)]
    fn load_rest(rest: &[u8]) -> Self::Register {
        let mut chunk = [0; BYTES];
        chunk.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        chunk
    }

    #[inline(always)]
    fn low(bytes: Self::Register) -> Self::Register {
        bytes.map(|byte| byte & 15)
    }

    #[inline(always)]
    fn high(bytes: Self::Register) -> Self::Register {
        bytes.map(|byte| byte >> 4)
    }

    #[inline(always)]
    fn join(mut upper: Self::Register, lower: Self::Register) -> Self::Register {
        for (upper, lower) in upper.iter_mut().zip(lower) {
            *upper = *upper << 4 | lower;
        }
        upper
    }

    #[inline(always)]
    fn add(mut sum: Self::Sum, unsigned: Self::Register, signed: Self::Register) -> Self::Sum {
        let pairs = unsigned.as_chunks::<2>().0.iter().zip(signed.as_chunks::<2>().0);
        for (sum, (unsigned, signed)) in sum.iter_mut().zip(pairs) {
            let ([a, b], [c, d]) = (unsigned.map(i16::from), signed.map(|byte| i16::from(byte as i8)));
            *sum += i32::from(a) * i32::from(c) + i32::from(b) * i32::from(d);
        }
        sum
    }

    #[inline(always)]
    fn add_both(sum: Self::Sum, [a, b]: [Self::Register; 2], [c, d]: [Self::Register; 2]) -> Self::Sum {
        <Self as Bytes>::add(<Self as Bytes>::add(sum, a, c), b, d)
    }

    #[inline(always)]
    fn totals(sums: [Self::Sum; 4]) -> [i32; 4] {
        sums.map(|lanes| lanes.iter().sum())
    }
}
