//! Pure encoders and decoders of every byte on disk, in the order of `format-spec.md`: one file per object, encoder
//! beside decoder. Decoders take any bytes, never panic, and allocate no more than those bytes justify.

pub(crate) mod batch;
mod checksum;
pub(crate) mod floor;
pub(crate) mod id_block;
pub(crate) mod id_hash;
pub(crate) mod identity;
pub(crate) mod kills;
pub(crate) mod lock_page;
pub(crate) mod log;
pub(crate) mod manifest;
pub(crate) mod names;
pub(crate) mod payload;
pub(crate) mod payload_block;
mod reader;
mod schema;
pub(crate) mod segment;
pub(crate) mod segment_file;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod worked_example;
mod writer;

pub(crate) use checksum::{Crc, crc};
pub(crate) use reader::{Reader, first_nonzero};
pub(crate) use writer::Put;
