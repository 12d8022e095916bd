use super::rotation::Rotation;
use crate::kernel::{InstructionSet, lanes::Lanes};

/// The greatest element of a row's code.
pub(super) const GREATEST: f32 = 127.0;
/// The greatest elements of rotated vectors that have a code, 2⁻⁵⁰ to 2⁵⁰: products of two scales, and squares of norms, are ordinary numbers.
const ORDINARY: std::ops::RangeInclusive<f32> = f32::from_bits((127 - 50) << 23)..=f32::from_bits((127 + 50) << 23);

/// What stands beside a row's code.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factors {
    /// What an element of the code counts.
    pub(crate) scale: f32,
    /// Of the row.
    pub(crate) norm: f32,
    /// At least the distance between the rotated row and its code times the scale; infinite if nothing is known of it.
    pub(crate) residual: f32,
}

impl Factors {
    pub(crate) const UNKNOWN: Self = Self { scale: 0.0, norm: 0.0, residual: f32::INFINITY };

    pub(crate) fn to_bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        for (to, from) in bytes.as_chunks_mut().0.iter_mut().zip([self.scale, self.norm, self.residual]) {
            *to = from.to_le_bytes();
        }
        bytes
    }

    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h, i, j, k, l]: [u8; 12]) -> Self {
        let [scale, norm, residual] = [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(f32::from_le_bytes);
        Self { scale, norm, residual }
    }
}

/// Makes int8 codes of rows: rotated, divided by a 127th of the greatest element, rounded. The same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    rotation: Rotation,
    rotated: Vec<f32>,
    instructions: InstructionSet,
}

impl Encoder {
    /// For rows of a dimension.
    pub(crate) fn new(dimension: usize) -> Self {
        Self::with_instructions(dimension, InstructionSet::detect())
    }

    pub(super) fn with_instructions(dimension: usize, instructions: InstructionSet) -> Self {
        Self { rotation: Rotation::new(dimension), rotated: Vec::with_capacity(dimension), instructions }
    }

    /// Appends the code of a row, a byte an element. O(d log d).
    pub(crate) fn encode(&mut self, row: &[f32], codes: &mut Vec<u8>) -> Factors {
        self.instructions.encode(self, row, codes)
    }

    /// A vector divided by its norm or not, and rotated; its norm, and at most how far the rotation is from the exact one. `None` if it has no
    /// norm, or one out of the ordinary.
    #[inline(always)]
    fn rotate(&mut self, vector: &[f32], is_normalised: bool) -> Option<Rotated> {
        let norm = square(vector).sqrt();
        self.rotated.clear();
        self.rotated.extend_from_slice(vector);
        let (mut size, mut error) = (norm, self.rotation.error());
        if is_normalised {
            let inverse = norm.recip();
            self.rotated.iter_mut().for_each(|element| *element = (f64::from(*element) * inverse) as f32);
            // Rounded once, by at most 2⁻²⁴ of each element.
            (size, error) = (1.0, error + 2.0 / f64::from(1u32 << 24));
        }
        self.rotation.apply(&mut self.rotated);
        let greatest = greatest(&self.rotated);
        // What underflows, of the elements of a vector that is not tiny.
        let error = error * size + 1e-30;
        ORDINARY.contains(&greatest).then_some(Rotated { norm, greatest, error })
    }

    /// A query as the sum of planes of elements from −64 to 64, each counting 129 times as much as the next; `None` if it has none.
    pub(super) fn planes(&mut self, query: &[f32], planes: usize, is_normalised: bool) -> Option<Planes> {
        let Rotated { greatest, error, .. } = self.rotate(query, is_normalised)?;
        let levels = if planes == 1 { PLANE } else { PLANE * STEP + PLANE };
        let scale = greatest / levels as f32;
        let inverse = levels as f32 / greatest;
        let (mut square, mut distance) = (0.0, 0.0);
        let mut of_planes = vec![Vec::with_capacity(query.len()); planes];
        for element in &self.rotated {
            let number = ((element * inverse).round_ties_even() as i32).clamp(-levels, levels);
            let value = f64::from(number) * f64::from(scale);
            square += value * value;
            distance += (f64::from(*element) - value).powi(2);
            // Both parts lie within −64 and 64.
            let high = (number + PLANE).div_euclid(STEP);
            let parts = if planes == 1 { [number, 0] } else { [high, number - STEP * high] };
            of_planes.iter_mut().zip(parts).for_each(|(plane, part)| plane.push(part as i8 as u8));
        }
        let up = 1.0 + 1e-9;
        Some(Planes { planes: of_planes, scale, norm: square.sqrt() * up, residual: distance.sqrt() * up + error })
    }
}

/// The greatest element of a plane.
pub(super) const PLANE: i32 = 64;
/// How much more an element of the first plane counts than one of the second.
pub(super) const STEP: i32 = 2 * PLANE + 1;

struct Rotated {
    norm: f64,
    greatest: f32,
    error: f64,
}

/// A quantised query.
pub(super) struct Planes {
    pub(super) planes: Vec<Vec<u8>>,
    pub(super) scale: f32,
    /// At least that of what the planes stand for, and hardly more.
    pub(super) norm: f64,
    /// At least the distance between the rotated query and what the planes stand for.
    pub(super) residual: f64,
}

/// The body of [`Encoder::encode`].
#[inline(always)]
pub(in crate::kernel) fn encode(encoder: &mut Encoder, row: &[f32], codes: &mut Vec<u8>) -> Factors {
    let start = codes.len();
    codes.resize(start + row.len(), 0);
    let Some(Rotated { norm, greatest, error }) = encoder.rotate(row, false) else { return Factors::UNKNOWN };
    let (scale, inverse) = (greatest / GREATEST, GREATEST / greatest);
    let code = codes.get_mut(start..).unwrap_or_default();
    let scales = Lanes::padded(&[scale; Lanes::COUNT]);
    let mut square = Lanes::ZERO;
    for (code, elements) in code.chunks_mut(Lanes::COUNT).zip(encoder.rotated.chunks(Lanes::COUNT)) {
        let mut numbers = [0.0; Lanes::COUNT];
        for ((code, element), number) in code.iter_mut().zip(elements).zip(&mut numbers) {
            *number = (element * inverse).round_ties_even().clamp(-GREATEST, GREATEST);
            *code = *number as i8 as u8;
        }
        let distance = Lanes::padded(elements) - Lanes::padded(&numbers) * scales;
        square = square + distance * distance;
    }
    // Rounded up by more than all roundings since.
    let residual = (square.reduce().sqrt() + error) * (1.0 + 1e-6);
    Factors { scale, norm: norm as f32, residual: residual as f32 }
}

/// The sum of the squares.
#[inline(always)]
fn square(vector: &[f32]) -> f64 {
    let elements = vector.chunks(Lanes::COUNT).map(Lanes::padded);
    elements.fold(Lanes::ZERO, |square, elements| square + elements * elements).reduce()
}

/// The greatest magnitude; NaN if an element is.
#[inline(always)]
fn greatest(vector: &[f32]) -> f32 {
    let mut lanes = [0u32; 16];
    let (whole, rest) = vector.as_chunks::<16>();
    // As whole numbers magnitudes have the same order, those that are none above all.
    for chunk in whole {
        for (lane, element) in lanes.iter_mut().zip(chunk) {
            *lane = (*lane).max(element.to_bits() & 0x7FFF_FFFF);
        }
    }
    for (lane, element) in lanes.iter_mut().zip(rest) {
        *lane = (*lane).max(element.to_bits() & 0x7FFF_FFFF);
    }
    f32::from_bits(lanes.into_iter().fold(0, u32::max))
}
