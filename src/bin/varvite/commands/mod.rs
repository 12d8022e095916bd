//! One file per group of commands.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use varvite::{CollectionSnapshot, Database, Options};

use crate::failure::{Failure, Outcome};

pub(crate) mod collections;
pub(crate) mod export;
pub(crate) mod import;
pub(crate) mod maintain;
pub(crate) mod recall;
pub(crate) mod records;
pub(crate) mod search;

/// Which collection a command is about.
#[derive(Debug, clap::Args)]
pub(crate) struct Place {
    /// Directory of the database
    #[arg(value_name = "DB")]
    pub(crate) database: PathBuf,
    /// Name of the collection
    #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
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
    let options = options(adjust);
    check_place(path, options.create_if_missing)?;
    Ok(Database::open(path, options)?)
}

/// Opens an existing database for reading, beside a writer if there is one.
pub(crate) fn open_reader(path: &Path) -> Outcome<Database> {
    check_place(path, false)?;
    Ok(Database::open_read_only(path, options(|_| {}))?)
}

/// Says in the user's words where no database can be; whether there is one, the library judges.
pub(crate) fn check_place(path: &Path, may_create: bool) -> Outcome {
    let name = path.display();
    let hint = format!("`varvite create {name} COLLECTION --dim N --metric M` makes one");
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Err(Failure::refused(format!("'{name}' is a file: a database is a directory"))),
        Ok(_) if may_create => Ok(()),
        Ok(_) if fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none()) => {
            Err(Failure::missing(format!("there is no database in '{name}', which is an empty directory ({hint})")))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && !may_create => {
            Err(Failure::missing(format!("there is no database '{name}' ({hint})")))
        }
        // Every other error is the library's to report.
        _ => Ok(()),
    }
}

/// One moment of one collection.
pub(crate) fn read(place: &Place) -> Outcome<CollectionSnapshot> {
    Ok(open_reader(&place.database)?.snapshot()?.collection(&place.collection)?)
}
