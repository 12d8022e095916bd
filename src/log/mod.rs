//! The write-ahead log: one chain of files for all collections (format-spec.md, section 7).

mod beacon;
mod reader;
mod writer;

pub(crate) use beacon::Beacon;
pub(crate) use reader::{LogBatch, LogEnd, activation, scan};
pub(crate) use writer::{AppendError, LogWriter, SpareLog};
