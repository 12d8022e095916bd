//! Nearest neighbours.

mod exact;
mod request;
mod threshold;
mod top_k;

pub(crate) use exact::search;
pub use request::Search;
pub(crate) use top_k::{Neighbour, TopK};
