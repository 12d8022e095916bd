//! Nearest neighbours.

mod top_k;

pub(crate) use top_k::{Neighbour, TopK};
