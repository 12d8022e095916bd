//! Int8 codes of rows, and what they prove: a quarter of the bytes tells which rows cannot be among the nearest.
//!
//! An [`Encoder`] rotates a row (`rotation`), divides it by a scale and rounds, and says how far off that is at most. A [`CodeSieve`]
//! quantises queries alike, multiplies codes exactly (`blocks`), and tells between which numbers each canonical score lies (`bound`).

mod blocks;
mod bound;
mod encoder;
mod rotation;
mod sieve;

pub(super) use blocks::squares;
pub(super) use bound::{QueryBound, RowBounds};
pub(super) use encoder::encode;
pub(crate) use encoder::{Encoder, Factors};
pub(super) use sieve::products;
pub(crate) use sieve::{CodeSieve, CodeSums};

#[cfg(test)]
mod tests;
