//! The write-ahead log: one chain of files for all collections (format-spec.md, section 7).

mod beacon;
mod reader;
mod salvage;
#[cfg(test)]
mod tests;
mod verify;
mod writer;

pub(crate) use beacon::Beacon;
pub(crate) use reader::{LogBatch, LogEnd, Scanned, activation, check_length, read_between, scan};
pub(crate) use salvage::{Bounds, CutOff, Hole, first_sequence, salvage};
pub(crate) use verify::{Role, check_identity, find_activation, verify};
pub(crate) use writer::{AppendError, LogWriter, SpareLog};
