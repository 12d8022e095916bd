//! Segment files: immutable rows, sorted by id, of one or more collections, and kill blocks of other segments.
//!
//! Everything is written once and front to back ([`builder`]), and read in place ([`reader`]). No byte is used before
//! its checksum was compared, and no number before it was compared with the length of what it points into.

mod builder;
mod codes;
mod cursor;
mod file;
mod id_index;
mod id_walk;
mod kills;
mod open_segment;
mod output;
mod payload;
mod reader;
mod rows;
mod sections;
mod verify;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub(crate) use builder::{BuiltSegment, FileBuilder};
pub(crate) use codes::StoredRows;
pub(crate) use cursor::Cursor;
pub(crate) use file::SegmentFile;
pub(crate) use id_walk::IdWalk;
pub(crate) use kills::KillSet;
pub(crate) use output::Unsynced;
pub(crate) use reader::Segment;
pub(crate) use rows::RowBytes;
