//! The one place that chooses an instruction set at run time.
//!
//! Generic code is compiled once per set of target features. That of [`super::lanes`] has no intrinsics, the compiler vectorises it, and no set may fuse a
//! multiplication with an addition there (Rust never does so on its own), so they differ in speed only.

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::{
    bound::QueryBound,
    codes::{self, CodeSieve, CodeSums, Encoder, Factors, Halves, Part, Picked, RowBounds},
    lanes::{Lanes, Terms},
    sieve::{Sieve, Sums},
    simd::{Portable, Simd},
};

/// Instruction sets that there are kernels for, the narrowest first.
///
/// ```
/// use varvite::Instructions;
/// assert!(Instructions::available().contains(&Instructions::Portable));
/// assert_eq!(Instructions::available().last(), Some(&Instructions::widest()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Instructions {
    /// What every processor of the target has.
    Portable,
    /// AVX2 with FMA, on x86-64.
    Avx2,
    /// AVX-512 F and BW, on x86-64.
    Avx512,
}

impl Instructions {
    const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// Those that this machine has, the narrowest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|set| set.is_available()).collect()
    }

    /// The widest one of this machine.
    #[must_use]
    pub fn widest() -> Self {
        InstructionSet::up_to(Self::Avx512).0
    }

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

/// An instruction set that this machine has: no other value can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstructionSet(Instructions);

impl InstructionSet {
    /// The widest one of this machine up to another one.
    pub(crate) fn up_to(widest: Instructions) -> Self {
        let found = Instructions::ALL.into_iter().rev().find(|set| *set <= widest && set.is_available());
        Self(found.unwrap_or(Instructions::Portable))
    }

    /// The widest one of this machine.
    pub(crate) fn detect() -> Self {
        Self(Instructions::widest())
    }

    /// All that this machine has, so that each can be checked against the others.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        Instructions::available().into_iter().map(Self).collect()
    }

    /// Which one it is.
    pub(crate) fn name(self) -> Instructions {
        self.0
    }

    /// Bytes of a register.
    pub(super) fn register_bytes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => size_of::<<Avx2 as Simd>::Chunk>(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => size_of::<<Avx512 as Simd>::Chunk>(),
            _ => size_of::<<Portable as Simd>::Chunk>(),
        }
    }
}

/// Calls the function of a name that was compiled for a set.
macro_rules! on {
    ($set:expr, $function:ident $(::<$terms:ident>)? ($($argument:expr),*)) => {
        match $set.0 {
            // SAFETY: a value of this kind exists only after the features were detected.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { avx2::$function $(::<$terms>)? ($($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { avx512::$function $(::<$terms>)? ($($argument),*) },
            _ => portable::$function $(::<$terms>)? ($($argument),*),
        }
    };
}

impl InstructionSet {
    /// The canonical sums of one row, see [`super::lanes::sums`].
    #[inline]
    pub(super) fn sums<T: Terms>(self, query: &[Lanes], row: &[f32]) -> T::Sums {
        on!(self, sums::<T>(query, row))
    }

    /// See [`Sieve::begin`].
    pub(super) fn begin(self, sieve: &Sieve, rows: &[&[f32]], into: &mut Sums) {
        on!(self, begin(sieve, rows, into));
    }

    /// See [`Sieve::panel`].
    pub(super) fn panel(self, sieve: &Sieve, number: usize, rows: &[&[f32]], into: &mut Sums) {
        on!(self, panel(sieve, number, rows, into));
    }

    /// See [`QueryBound::first_within`].
    pub(super) fn first_within(self, bound: &QueryBound, threshold: f32, sums: &[f32], of_rows: &[f32], from: usize) -> Option<usize> {
        on!(self, first_within(bound, threshold, sums, of_rows, from))
    }

    /// See [`Encoder::encode`].
    pub(super) fn encode(self, encoder: &mut Encoder, row: &[f32], code: &mut Halves) -> Factors {
        on!(self, encode(encoder, row, code))
    }

    /// See [`CodeSieve::begin`].
    pub(super) fn code_squares(self, sieve: &CodeSieve, part: Part<'_>, squares: &mut Vec<f32>) {
        on!(self, code_squares(sieve, part, squares));
    }

    /// See [`CodeSieve::panel`].
    pub(super) fn code_products(self, sieve: &CodeSieve, number: usize, part: Part<'_>, into: &mut CodeSums) {
        on!(self, code_products(sieve, number, part, into));
    }

    /// See [`CodeSieve::refine`].
    pub(super) fn refined_products(self, sieve: &CodeSieve, places: &[u32], codes: Picked<'_>, into: &mut CodeSums) {
        on!(self, refined_products(sieve, places, codes, into));
    }

    /// See [`CodeSieve::all_within`].
    pub(super) fn all_codes_within(
        self,
        bound: &codes::QueryBound,
        threshold: f32,
        products: &[f32],
        rows: &RowBounds,
        found: &mut Vec<u32>,
    ) {
        on!(self, all_codes_within(bound, threshold, products, rows, found));
    }
}

/// The bodies, compiled for the target's baseline or for a set of features. `sums` is never inlined, and it returns lanes, not their sum: what the
/// compiler does with the result afterwards must not disturb the way it vectorises the loop.
macro_rules! compiled {
    ($set:ident, $simd:ty, ($($rows:literal),*), ($($code_rows:literal),*) $(, $features:literal)?) => {
        mod $set {
            use super::super::{
                bound::QueryBound,
                codes::{self, CodeSieve, CodeSums, Encoder, Factors, Halves, Part, Picked, RowBounds},
                lanes::{self, Lanes, Terms},
                sieve::{self, Sieve, Sums},
                simd,
            };

            #[inline(never)]
            $(#[target_feature(enable = $features)])?
            pub(super) fn sums<T: Terms>(query: &[Lanes], row: &[f32]) -> T::Sums {
                lanes::sums::<T>(query, row)
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn begin(sieve: &Sieve, rows: &[&[f32]], into: &mut Sums) {
                sieve::begin::<$simd>(sieve, rows, into);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn panel(sieve: &Sieve, number: usize, rows: &[&[f32]], into: &mut Sums) {
                sieve::panel::<$simd, $($rows),*>(sieve, number, rows, into);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn first_within(bound: &QueryBound, threshold: f32, sums: &[f32], of_rows: &[f32], from: usize) -> Option<usize> {
                bound.first_within(threshold, sums, of_rows, from)
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn encode(encoder: &mut Encoder, row: &[f32], code: &mut Halves) -> Factors {
                codes::encode(encoder, row, code)
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn code_squares(sieve: &CodeSieve, part: Part<'_>, squares: &mut Vec<f32>) {
                codes::squares::<$simd>(sieve, part, squares);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn code_products(sieve: &CodeSieve, number: usize, part: Part<'_>, into: &mut CodeSums) {
                codes::products::<$simd, $($code_rows),*>(sieve, number, part, into);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn refined_products(sieve: &CodeSieve, places: &[u32], codes: Picked<'_>, into: &mut CodeSums) {
                codes::refined_products::<$simd>(sieve, places, codes, into);
            }

            $(#[target_feature(enable = $features)])?
            pub(super) fn all_codes_within(
                bound: &codes::QueryBound,
                threshold: f32,
                products: &[f32],
                rows: &RowBounds,
                found: &mut Vec<u32>,
            ) {
                bound.all_within(threshold, products, rows, found);
            }
        }
    };
}

// With the rows of a tile for panels of up to two queries, four, and six; and the same of codes.
compiled!(portable, simd::Portable, (2, 1, 1), (2, 1, 1));
#[cfg(target_arch = "x86_64")]
compiled!(avx2, simd::Avx2, (4, 2, 2), (2, 2, 1), "avx2,fma");
#[cfg(target_arch = "x86_64")]
compiled!(avx512, simd::Avx512, (8, 6, 4), (4, 4, 3), "avx512f,avx512bw");
