#![doc = include_str!("../README.md")]

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("varvite needs a 64-bit little-endian target: stored rows are read in place");

mod error;
mod format;
pub mod io;
mod kernel;
mod memtable;
mod options;
mod search;
mod segment;
mod sync;
mod types;

pub use error::{Error, ErrorKind, Result};
pub use options::{Background, ChecksumMode, Durability, Options, ReadMode};
pub use types::{Dimension, Fields, Metadata, Metric, Payload, Record, Value};
