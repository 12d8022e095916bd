//! Distances. The canonical score is computed one way everywhere, the same bits on every machine, instruction set and segmentation; a [`Sieve`] tells
//! faster which rows need not be scored.
//!
//! [`lanes`] holds the one generic body of canonical sums, [`blocks`] and [`tiles`] those of approximate sums of many rows and queries, over the registers of
//! [`simd`]; [`dispatch`] compiles both for several instruction sets and chooses one. [`Scorer`] makes scores of canonical sums, [`bound`] says what
//! they are at least, given approximate ones.

mod blocks;
mod bound;
mod codes;
mod dispatch;
#[cfg(test)]
mod floats;
mod lanes;
mod scorer;
mod sieve;
mod simd;
mod tiles;

pub(crate) use codes::{CodeSieve, CodeSums, Encoder, Factors, Halves, Pairs, Part, Picked};
pub(crate) use dispatch::InstructionSet;
pub use dispatch::Instructions;
pub(crate) use scorer::Scorer;
pub(crate) use sieve::{Sieve, Sums};
pub(crate) use tiles::Rows;
