use super::rotation::Rotation;
use crate::kernel::{InstructionSet, lanes::Lanes};

/// The greatest element of a row's code.
pub(super) const GREATEST: f32 = 127.0;
/// The greatest elements of rotated vectors that have a code, 2⁻⁵⁰ to 2⁵⁰: products of two scales, and squares of norms, are ordinary numbers.
const ORDINARY: std::ops::RangeInclusive<f32> = f32::from_bits((127 - 50) << 23)..=f32::from_bits((127 + 50) << 23);

/// What is added to an element of a row's code, so that it is a byte without a sign, of which a half has four bits.
pub(super) const ADDED: u8 = 128;
/// What an upper half with zeros below stands for, less that half: in the middle between what the lower may make of it, less what was added.
const MIDDLE: f32 = 7.5 - 128.0;

/// Codes of rows, two elements in a byte, the first in its lower half; after an odd number of them, zeros.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Halves {
    /// The upper four bits of each element.
    pub(crate) upper: Vec<u8>,
    /// The lower four.
    pub(crate) lower: Vec<u8>,
}

impl Halves {
    /// Bytes of either half of the code of a row.
    #[must_use]
    pub(crate) const fn row_bytes(dimension: usize) -> usize {
        dimension.div_ceil(2)
    }

    pub(crate) fn clear(&mut self) {
        self.upper.clear();
        self.lower.clear();
    }

    /// Adds the bytes of one row.
    #[inline(always)]
    pub(super) fn push(&mut self, elements: &[u8]) {
        let pairs = elements.chunks(2).map(|pair| [pair.first(), pair.get(1)].map(|element| element.copied().unwrap_or(0)));
        self.upper.extend(pairs.clone().map(|[first, second]| first >> 4 | second & 0xF0));
        self.lower.extend(pairs.map(|[first, second]| first & 0xF | second << 4));
    }
}

/// What stands beside a row's code. All but the norm are numbers of which only the upper 16 bits are not zero (bfloat16).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Factors {
    /// What an element of the code counts.
    pub(crate) scale: f32,
    /// Of the row.
    pub(crate) norm: f32,
    /// At least the distance between the rotated row and its code times the scale; infinite if nothing is known of it.
    pub(crate) residual: f32,
    /// The same of the upper half of the code, in the middle between what the lower may make of it.
    pub(crate) upper_residual: f32,
}

impl Factors {
    pub(crate) const UNKNOWN: Self = Self { scale: 0.0, norm: 0.0, residual: f32::INFINITY, upper_residual: f32::INFINITY };

    pub(crate) fn to_bytes(self) -> [u8; 10] {
        let [a, b, c, d] = self.norm.to_le_bytes();
        let short = |number: f32| (number.to_bits() >> 16) as u16;
        let [[e, f], [g, h], [i, j]] = [self.scale, self.residual, self.upper_residual].map(|number| short(number).to_le_bytes());
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// Whether factors, as they are stored, say how far their code is from its row at most.
    pub(crate) fn are_known(stored: &[u8]) -> bool {
        stored.first_chunk().is_some_and(|bytes| Self::from_bytes(*bytes).upper_residual.is_finite())
    }

    #[inline]
    pub(crate) fn from_bytes([a, b, c, d, e, f, g, h, i, j]: [u8; 10]) -> Self {
        let [scale, residual, upper_residual] = [[e, f], [g, h], [i, j]].map(|[low, high]| f32::from_le_bytes([0, 0, low, high]));
        Self { scale, norm: f32::from_le_bytes([a, b, c, d]), residual, upper_residual }
    }
}

/// The least number of 16 bits that is not below another one, which is positive and finite.
fn up_to_16_bits(number: f32) -> f32 {
    f32::from_bits((number.to_bits() + 0xFFFF) & 0xFFFF_0000)
}

/// Makes int8 codes of rows: rotated, divided by about a 127th of the greatest element, rounded. The same on every machine.
#[derive(Clone, Debug)]
pub(crate) struct Encoder {
    rotation: Rotation,
    rotated: Vec<f32>,
    /// The elements of the last code.
    elements: Vec<u8>,
    instructions: InstructionSet,
}

impl Encoder {
    /// For rows of a dimension.
    pub(crate) fn new(dimension: usize) -> Self {
        Self::with_instructions(dimension, InstructionSet::detect())
    }

    pub(super) fn with_instructions(dimension: usize, instructions: InstructionSet) -> Self {
        Self {
            rotation: Rotation::new(dimension),
            rotated: Vec::with_capacity(dimension),
            elements: Vec::with_capacity(dimension),
            instructions,
        }
    }

    /// Appends the code of a row. O(d log d).
    pub(crate) fn encode(&mut self, row: &[f32], codes: &mut Halves) -> Factors {
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

    /// A query, rounded to whole numbers of at most `most`, which is 127 or less; `None` if it has none.
    pub(super) fn plane(&mut self, query: &[f32], most: f32, is_normalised: bool) -> Option<Plane> {
        let Rotated { greatest, error, .. } = self.rotate(query, is_normalised)?;
        let (scale, inverse) = (greatest / most, most / greatest);
        let (mut square, mut distance) = (0.0, 0.0);
        let mut elements = Vec::with_capacity(query.len());
        for element in &self.rotated {
            let number = (element * inverse).round_ties_even().clamp(-most, most);
            let value = f64::from(number) * f64::from(scale);
            square += value * value;
            distance += (f64::from(*element) - value).powi(2);
            elements.push(number as i8 as u8);
        }
        let up = 1.0 + 1e-9;
        Some(Plane { elements, scale, norm: square.sqrt() * up, residual: distance.sqrt() * up + error })
    }
}

/// The greatest element of a plane that is multiplied with halves of codes, and with whole ones.
pub(super) const HALF_PLANE: f32 = 127.0;
pub(super) const WHOLE_PLANE: f32 = 64.0;

struct Rotated {
    norm: f64,
    greatest: f32,
    error: f64,
}

/// A quantised query.
pub(super) struct Plane {
    pub(super) elements: Vec<u8>,
    /// What an element counts.
    pub(super) scale: f32,
    /// At least that of what the elements stand for, and hardly more.
    pub(super) norm: f64,
    /// At least the distance between the rotated query and what the elements stand for.
    pub(super) residual: f64,
}

/// The body of [`Encoder::encode`].
#[inline(always)]
pub(in crate::kernel) fn encode(encoder: &mut Encoder, row: &[f32], codes: &mut Halves) -> Factors {
    encoder.elements.clear();
    encoder.elements.resize(row.len(), 0);
    let Some(Rotated { norm, greatest, error }) = encoder.rotate(row, false) else {
        codes.push(&encoder.elements);
        return Factors::UNKNOWN;
    };
    let scale = up_to_16_bits(greatest / GREATEST);
    let inverse = scale.recip();
    let scales = Lanes::padded(&[scale; Lanes::COUNT]);
    let (mut square, mut upper_square) = (Lanes::ZERO, Lanes::ZERO);
    for (code, elements) in encoder.elements.chunks_mut(Lanes::COUNT).zip(encoder.rotated.chunks(Lanes::COUNT)) {
        let (mut numbers, mut middles) = ([0.0; Lanes::COUNT], [0.0; Lanes::COUNT]);
        for (((code, element), number), middle) in code.iter_mut().zip(elements).zip(&mut numbers).zip(&mut middles) {
            *number = (element * inverse).round_ties_even().clamp(-GREATEST, GREATEST);
            *code = ADDED.wrapping_add_signed(*number as i8);
            *middle = f32::from(*code & 0xF0) + MIDDLE;
        }
        let elements = Lanes::padded(elements);
        let (distance, upper_distance) = (elements - Lanes::padded(&numbers) * scales, elements - Lanes::padded(&middles) * scales);
        square = square + distance * distance;
        upper_square = upper_square + upper_distance * upper_distance;
    }
    codes.push(&encoder.elements);
    // Rounded up by more than all roundings since.
    let residual = |square: Lanes| up_to_16_bits(((square.reduce().sqrt() + error) * (1.0 + 1e-6)) as f32);
    Factors { scale, norm: norm as f32, residual: residual(square), upper_residual: residual(upper_square) }
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
