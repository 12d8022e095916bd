//! Registers of f32: what the kernels of [`super::blocks`] ask of an instruction set, one file each. The sets differ in speed and in the last bits of
//! a sum; how far those can be off, whatever the set, is proved in [`super::bound`].

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
