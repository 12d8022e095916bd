//! The floors up to `manifest/` as a crate of their own, so that a mutant is built in a second: see `run`.
#![allow(dead_code, unused_imports, missing_docs)]

mod error;
mod format;
pub mod io;
mod kernel;
mod log;
mod manifest;
mod observe;
mod options;
mod sync;
mod types;

pub use error::{Error, ErrorKind, Result};
pub use options::{Background, ChecksumMode, Durability, Options, ReadMode};
pub use types::{Fields, Metadata, Metric, Payload, Record, Value};
