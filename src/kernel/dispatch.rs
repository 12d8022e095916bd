//! The one place that chooses an instruction set at run time.
//!
//! No intrinsics: the generic code of [`super::lanes`] is compiled once per set of target features, and the compiler vectorises it. None of the sets may fuse a
//! multiplication with an addition (Rust never does so on its own), so they differ in speed only.

use super::lanes::{Lanes, Terms};

/// An instruction set that this machine has; values can only be had from [`InstructionSet::detect`] and [`InstructionSet::available`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InstructionSet(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The widest one of this machine.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512f") {
            return Self(Kind::Avx512);
        } else if is_x86_feature_detected!("avx2") {
            return Self(Kind::Avx2);
        }
        Self(Kind::Portable)
    }

    /// All that this machine has, so that each can be checked against the others.
    #[cfg(test)]
    pub(super) fn available() -> Vec<Self> {
        let mut sets = vec![Self(Kind::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(is_x86_feature_detected!("avx2").then_some(Self(Kind::Avx2)));
            sets.extend(is_x86_feature_detected!("avx512f").then_some(Self(Kind::Avx512)));
        }
        sets
    }

    /// The sums of one row, see [`super::lanes::sums`].
    #[inline]
    pub(super) fn sums<T: Terms>(self, query: &[Lanes], row: &[f32]) -> T::Sums {
        match self.0 {
            Kind::Portable => portable::sums::<T>(query, row),
            // SAFETY: a value of this kind exists only after the feature was detected.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { avx2::sums::<T>(query, row) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { avx512::sums::<T>(query, row) },
        }
    }
}

/// The kernel, compiled for the target's baseline or for a set of features. Never inlined, and it returns lanes, not their sum: what the
/// compiler does with the result afterwards must not disturb the way it vectorises the loop.
macro_rules! compiled {
    ($set:ident $(, $feature:literal)?) => {
        mod $set {
            use super::super::lanes::{self, Lanes, Terms};

            #[inline(never)]
            $(#[target_feature(enable = $feature)])?
            pub(super) fn sums<T: Terms>(query: &[Lanes], row: &[f32]) -> T::Sums {
                lanes::sums::<T>(query, row)
            }
        }
    };
}

compiled!(portable);
#[cfg(target_arch = "x86_64")]
compiled!(avx2, "avx2");
#[cfg(target_arch = "x86_64")]
compiled!(avx512, "avx512f");
