//! One file per group of commands.

use std::path::{Path, PathBuf};

use varvite::{CollectionSnapshot, Database, Options};

use crate::failure::Outcome;

pub(crate) mod collections;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod maintain;
pub(crate) mod records;
pub(crate) mod search;

/// Which collection a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Directory of the database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// Name of the collection
    pub(crate) collection: String,
}

/// The default options with some changed; a database that does not exist is not created unless asked for.
pub(crate) fn options(adjust: impl FnOnce(&mut Options)) -> Options {
    let mut options = Options { create_if_missing: false, ..Options::default() };
    adjust(&mut options);
    options
}

/// Opens an existing database for writing; refused while another process writes.
pub(crate) fn open_writer(path: &Path) -> Outcome<Database> {
    open_writer_with(path, |_| {})
}

/// The same with other options.
pub(crate) fn open_writer_with(path: &Path, adjust: impl FnOnce(&mut Options)) -> Outcome<Database> {
    Ok(Database::open(path, options(adjust))?)
}

/// Opens an existing database for reading, beside a writer if there is one.
pub(crate) fn open_reader(path: &Path) -> Outcome<Database> {
    Ok(Database::open_read_only(path, options(|_| {}))?)
}

/// One moment of one collection.
pub(crate) fn read(place: &Place) -> Outcome<CollectionSnapshot> {
    Ok(open_reader(&place.database)?.snapshot()?.collection(&place.collection)?)
}
