//! Registers of f32 and of bytes: what the kernels of [`super::blocks`] and [`super::codes`] ask of an instruction set, one file each. The sets differ in
//! speed and in the last bits of a sum of f32; how far those can be off, whatever the set, is proved in [`super::bound`]. Sums of bytes are exact.

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
    type Chunk: Copy + 'static;
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

/// A register of bytes.
///
/// Products of bytes are made of one without a sign and one with: a pair of them must fit the 16 bits in which some sets add it up. Sums are exact, in
/// 32 bits, as far as those reach. Callers are as those of [`Simd`].
pub(super) trait Bytes {
    /// As many bytes as a register has.
    type Chunk: Copy + 'static;
    type Register: Copy;
    type Sum: Copy;

    /// Bytes as whole registers, and the rest.
    fn chunks(bytes: &[u8]) -> (&[Self::Chunk], &[u8]);

    fn zero() -> Self::Sum;
    fn load(chunk: &Self::Chunk) -> Self::Register;
    /// Fewer bytes than a register has, zeros behind them.
    fn load_rest(rest: &[u8]) -> Self::Register;
    /// The lower halves of bytes.
    fn low(bytes: Self::Register) -> Self::Register;
    /// The upper halves of bytes, as numbers below 16.
    fn high(bytes: Self::Register) -> Self::Register;
    /// Bytes of upper and lower halves, both below 16.
    fn join(upper: Self::Register, lower: Self::Register) -> Self::Register;
    /// Adds products of bytes without a sign and bytes with one.
    fn add(sum: Self::Sum, unsigned: Self::Register, signed: Self::Register) -> Self::Sum;
    /// Adds both products of two registers each; two pairs must fit 16 bits.
    fn add_both(sum: Self::Sum, unsigned: [Self::Register; 2], signed: [Self::Register; 2]) -> Self::Sum;
    /// The sum of the lanes of each.
    fn totals(sums: [Self::Sum; 4]) -> [i32; 4];
}
