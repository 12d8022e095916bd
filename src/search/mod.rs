//! Nearest neighbours.

mod candidates;
mod exact;
mod explanation;
mod ordinals;
mod request;
mod scan;
mod threshold;
mod top_k;

pub(crate) use exact::search;
pub use explanation::Explanation;
pub(crate) use ordinals::Ordinals;
pub use request::Search;
pub(crate) use top_k::{Neighbour, TopK};
