//! Int8 codes of rows, and what they prove: an eighth of the bytes tells of most rows that they cannot be among the nearest, a quarter of nearly all others.
//!
//! An [`Encoder`] rotates a row (`rotation`), divides it by a scale and rounds, and says how far off that is at most, for the whole code and for the upper
//! four bits of its elements, which stand apart. A [`CodeSieve`] quantises queries alike, multiplies halves of codes exactly (`blocks`), and tells between
//! which numbers each canonical score lies (`bound`).

mod blocks;
mod bound;
mod encoder;
mod rotation;
mod rows;
mod sieve;

pub(super) use bound::{QueryBound, RowBounds};
pub(super) use encoder::encode;
pub(crate) use encoder::{Encoder, Factors, Halves};
pub(crate) use rows::{Pairs, Picked};
pub(crate) use sieve::{CodeSieve, CodeSums, Part};
pub(super) use sieve::{products, refined_products, squares};

#[cfg(test)]
mod tests;
