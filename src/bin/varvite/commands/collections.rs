//! create, list, drop, rename.

use std::{io::Write, path::PathBuf};

use clap::{
    Args,
    builder::{NonEmptyStringValueParser, RangedI64ValueParser},
};
use serde_json::json;
use varvite::{Codes, Collection, Database, Metric, Options};

use super::{Place, open_reader, open_writer, open_writer_with};
use crate::{
    failure::Outcome,
    files::refuse_inside_database,
    output::{right, shown, table},
    text::grouped,
};

/// Create a collection, and the database if there is none
#[derive(Args)]
pub(crate) struct Create {
    #[command(flatten)]
    place: Place,
    /// Elements of every vector, 1 to 65,535
    #[arg(long = "dim", value_name = "N", allow_negative_numbers = true, value_parser = RangedI64ValueParser::<usize>::new().range(1..=65_535))]
    dimension: usize,
    /// How vectors are compared: l2, cosine or dot
    #[arg(long)]
    metric: Metric,
    /// What is kept beside the vectors to make searches faster: none or int8 (default: int8 from 128 dimensions on)
    #[arg(long)]
    codes: Option<Codes>,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Create {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let Place { database, collection } = &self.place;
        refuse_inside_database(database)?;
        // A refused collection must not leave a new, empty database behind: the engine judges it in memory first.
        self.create(&Database::in_memory(Options::default())?)?;
        let db = open_writer_with(database, |options| options.create_if_missing = true)?;
        let codes = self.create(&db)?.codes();
        db.close()?;
        if self.json {
            writeln!(
                out,
                "{}",
                json!({"created": collection, "dimension": self.dimension, "metric": self.metric.name(), "codes": codes.name()})
            )?;
        } else {
            writeln!(
                out,
                "created collection '{collection}': dimension {}, metric {}, codes {codes}",
                grouped(self.dimension as u64),
                self.metric
            )?;
        }
        Ok(())
    }

    fn create(&self, db: &Database) -> varvite::Result<Collection> {
        match self.codes {
            None => db.create_collection(&self.place.collection, self.dimension, self.metric),
            Some(codes) => db.create_collection_with(&self.place.collection, self.dimension, self.metric, codes),
        }
    }
}

/// List the collections of a database
#[derive(Args)]
pub(crate) struct List {
    /// Directory of the database
    #[arg(value_name = "DB")]
    database: PathBuf,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

impl List {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let collections = open_reader(&self.database)?.list_collections()?;
        if self.json {
            for info in collections {
                let line = json!({"name": info.name, "dimension": info.dimension, "metric": info.metric.name(), "codes": info.codes.name(), "count": info.count});
                writeln!(out, "{line}")?;
            }
            return Ok(());
        }
        let mut table = table(&["collection", "dimension", "metric", "codes", "records"]);
        for info in collections {
            table.add_row([
                info.name.into(),
                right(grouped(info.dimension as u64)),
                info.metric.name().into(),
                info.codes.name().into(),
                right(grouped(info.count)),
            ]);
        }
        writeln!(out, "{}", shown(&table))?;
        Ok(())
    }
}

/// Drop a collection and everything in it
#[derive(Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    place: Place,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Drop {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let Place { database, collection } = &self.place;
        let db = open_writer(database)?;
        db.drop_collection(collection)?;
        db.close()?;
        if self.json {
            writeln!(out, "{}", json!({"dropped": collection}))?;
        } else {
            writeln!(out, "dropped collection '{collection}'")?;
        }
        Ok(())
    }
}

/// Rename a collection
#[derive(Args)]
pub(crate) struct Rename {
    #[command(flatten)]
    place: Place,
    /// Its new name
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    new_name: String,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Rename {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let Place { database, collection } = &self.place;
        let db = open_writer(database)?;
        db.rename_collection(collection, &self.new_name)?;
        db.close()?;
        if self.json {
            writeln!(out, "{}", json!({"renamed": collection, "name": self.new_name}))?;
        } else {
            writeln!(out, "renamed collection '{collection}' to '{}'", self.new_name)?;
        }
        Ok(())
    }
}
