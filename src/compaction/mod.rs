//! Compaction: what to merge (a pure function of the version's shape), the merge, and its publication.

mod job;
mod publish;
mod shape;
mod strategy;

pub(crate) use job::run;
pub(crate) use shape::{Shape, loose_files, rewrite_choice};
pub(crate) use strategy::{Choice, Mode, choose};
