//! Nearest neighbours.

mod exact;
mod top_k;

pub(crate) use exact::search;
pub(crate) use top_k::{Neighbour, TopK};
