//! The write path: batches, their resolution against what exists, group commit, slow-down.

mod batch;
mod body;
mod commit;
mod group;
mod resolve;
mod throttle;

pub(crate) use batch::{Action, Target, WriteBatch, check_vector};
pub(crate) use commit::{Committer, Outcome};
pub(crate) use throttle::throttle;
