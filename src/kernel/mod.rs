//! Distances, computed one way everywhere: the same bits on every machine, instruction set and segmentation.
//!
//! [`lanes`] holds the one generic body, [`dispatch`] compiles it for several instruction sets and chooses one, [`Scorer`] makes scores of its sums.

mod dispatch;
mod lanes;
mod scorer;

pub(crate) use scorer::Scorer;
