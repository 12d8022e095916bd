use super::{Int8, Simd};

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

const BYTES: usize = 16;

impl Int8 for Portable {
    type Chunk = [u8; BYTES];
    type Register = [i16; BYTES];
    type Sums = [i32; LANES];
    const BYTES: usize = BYTES;

    #[inline(always)]
    fn chunks(code: &[u8]) -> (&[Self::Chunk], &[u8]) {
        code.as_chunks()
    }

    #[inline(always)]
    fn zero() -> Self::Sums {
        [0; LANES]
    }

    #[inline(always)]
    fn load(chunk: &Self::Chunk) -> Self::Register {
        chunk.map(|byte| i16::from(byte as i8))
    }

    #[inline(always)]
    fn load_row(chunk: &Self::Chunk) -> Self::Register {
        chunk.map(|byte| i16::from(byte ^ 128))
    }

    #[inline(always)]
    fn load_row_rest(rest: &[u8]) -> Self::Register {
        let mut chunk = [0; BYTES];
        chunk.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self::load_row(&chunk)
    }

    #[inline(always)]
    fn add(mut sums: Self::Sums, query: Self::Register, row: Self::Register) -> Self::Sums {
        let pairs = query.as_chunks::<2>().0.iter().zip(row.as_chunks::<2>().0);
        for (sum, ([a, b], [c, d])) in sums.iter_mut().zip(pairs) {
            *sum += i32::from(*a) * i32::from(*c) + i32::from(*b) * i32::from(*d);
        }
        sums
    }

    #[inline(always)]
    fn add_squares(sums: Self::Sums, row: Self::Register) -> Self::Sums {
        let element = row.map(|element| element - 128);
        <Self as Int8>::add(sums, element, element)
    }

    #[inline(always)]
    fn totals(sums: [Self::Sums; 4]) -> [i32; 4] {
        sums.map(|lanes| lanes.iter().sum())
    }
}
