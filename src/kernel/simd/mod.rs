//! Registers of f32 and of int8: what the kernels of [`super::blocks`] and [`super::codes`] ask of an instruction set, one file each. The sets differ in
//! speed and in the last bits of a sum of f32; how far those can be off, whatever the set, is proved in [`super::bound`]. Sums of int8 are exact.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(super) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Portable;

use super::tiles::Tile;

/// A register of f32 lanes.
///
/// All is inlined into functions that are compiled with the set's features, and only [`super::dispatch`] makes such functions: a caller without the
/// features would be undefined behaviour.
pub(super) trait Simd {
    /// As many elements as a register has lanes.
    type Chunk: Copy;
    type Register: Copy;
    const LANES: usize;

    /// A vector as whole registers, and the rest.
    fn chunks(vector: &[f32]) -> (&[Self::Chunk], &[f32]);

    fn zero() -> Self::Register;
    fn load(chunk: &Self::Chunk) -> Self::Register;
    /// Fewer elements than lanes, zeros behind them.
    fn load_rest(rest: &[f32]) -> Self::Register;
    fn add(a: Self::Register, b: Self::Register) -> Self::Register;
    fn subtract(a: Self::Register, b: Self::Register) -> Self::Register;
    /// a·b + c, rounded once or twice.
    fn multiply_add(a: Self::Register, b: Self::Register, c: Self::Register) -> Self::Register;
    /// The sum of the lanes of each, as a tree.
    fn sums(registers: [Self::Register; 4]) -> [f32; 4];
}

/// A register of int8: rows' elements from −127 to 127, queries' from −64 to 64.
///
/// Products of bytes are made of one that has no sign and one that has: rows are loaded with 128 added to each element, so that a pair of products,
/// at most 2 · 255 · 64, fits the 16 bits in which some sets add it up. Sums are exact, in 32 bits, up to 65,535 elements. Callers are as those of
/// [`Simd`].
pub(super) trait Int8: Tile<Element = u8, Total = i32> {
    /// Adds the squares of a row's elements, which had 128 added.
    fn add_squares(sum: Self::Sum, row: Self::Register) -> Self::Sum;
}

/// How far ahead of its use a code is asked for, in bytes.
const CODES_AHEAD: usize = 8 << 10;
