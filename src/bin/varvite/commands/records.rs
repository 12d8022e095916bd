//! put, get, scan, delete, purge.

use std::{
    collections::HashSet,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use serde_json::{Value as Json, json};
use varvite::{Fields, Row};

use super::{Place, open_writer, open_writer_with, read};
use crate::{
    failure::{Failure, Outcome},
    ids::{IdOptions, readable},
    input::{Vectors, lines::Lines, records::Object},
    json,
    output::{shown, table},
    progress::busy,
    text::{counted, excerpt, grouped, harmless},
};

/// Write one record (upsert); what is left out stays as it is
#[derive(Args)]
#[command(group = clap::ArgGroup::new("part").required(true).multiple(true))]
pub(crate) struct Put {
    #[command(flatten)]
    place: Place,
    /// Id of the record, 1 to 65,535 bytes
    id: String,
    /// Its elements, "0.5,-1,2e-3", or a .npy or .fvecs file of one row
    #[arg(long, allow_hyphen_values = true, group = "part", value_name = "NUMBERS|FILE")]
    vector: Option<String>,
    /// Its text
    #[arg(long, allow_hyphen_values = true, group = "part", value_name = "TEXT")]
    document: Option<String>,
    /// Its metadata, as a flat JSON object of strings, integers, floats, booleans and arrays of one of these; replaces all keys
    #[arg(long, group = "part", value_name = "JSON")]
    metadata: Option<String>,
    /// Where it came from
    #[arg(long, allow_hyphen_values = true, group = "part")]
    uri: Option<String>,
    /// Refuse an id that exists already
    #[arg(long)]
    insert: bool,
    /// Accept NaN and infinities, and keep them bit-exactly
    #[arg(long)]
    allow_non_finite: bool,
    #[command(flatten)]
    ids: IdOptions,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Put {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let id = self.ids.id_encoding.decode(self.id.as_bytes()).map_err(Failure::Refused)?;
        let vector = self.vector.as_deref().map(parse_vector).transpose()?;
        if !self.allow_non_finite && vector.iter().flatten().any(|element| !element.is_finite()) {
            let id = readable(&id);
            return Err(Failure::refused(format!("the vector of {id} holds a NaN or an infinity (--allow-non-finite accepts it)")));
        }
        let metadata = match &self.metadata {
            Some(text) => {
                let object: Object =
                    serde_json::from_str(text).map_err(|error| Failure::refused(format!("the metadata is not a JSON object: {error}")))?;
                Some(json::to_metadata(object.0).map_err(Failure::Refused)?)
            }
            None => None,
        };
        let mut fields = vector.as_deref().map_or_else(Fields::default, Fields::vector);
        if let Some(metadata) = metadata {
            fields = fields.with_metadata(metadata);
        }
        if let Some(document) = &self.document {
            fields = fields.with_document(document.as_str());
        }
        if let Some(uri) = &self.uri {
            fields = fields.with_uri(uri.as_str());
        }
        let db = open_writer_with(&self.place.database, |options| options.allow_non_finite = self.allow_non_finite)?;
        let collection = db.collection(&self.place.collection)?;
        let commit = if self.insert { collection.insert(&id, fields)? } else { collection.upsert(&id, fields)? };
        let existed = commit.existed(0);
        db.close()?;
        if self.json {
            writeln!(out, "{}", json!({"id": self.ids.id_encoding.encode(&id)?, "inserted": !existed}))?;
        } else {
            writeln!(out, "{} {}", if existed { "updated" } else { "inserted" }, readable(&id))?;
        }
        Ok(())
    }
}

/// The elements of a vector as they are written on the command line.
fn parse_vector(text: &str) -> Outcome<Vec<f32>> {
    if let Some(mut vectors) = Vectors::open(Path::new(text))? {
        let mut row = Vec::new();
        return match vectors.rows() {
            1 => vectors.read_rows(1, &mut row).map(|_| row),
            rows => Err(Failure::refused(format!("'{text}' holds {}, one is needed", counted(rows, "row")))),
        };
    }
    let list = text.trim();
    let list = list.strip_prefix('[').and_then(|list| list.strip_suffix(']')).unwrap_or(list);
    let parse = |element: &str| match element.trim().parse::<f32>() {
        // An infinity that was not asked for is a number that does not fit.
        Ok(value) if value.is_infinite() && !element.contains(['i', 'I']) => {
            Err(Failure::refused(format!("the element '{}' of the vector does not fit an f32", element.trim())))
        }
        Ok(value) => Ok(value),
        Err(_) => {
            Err(Failure::refused(format!("the element '{}' of the vector is not a number (write 0.5,-1,2e-3)", excerpt(element, 40))))
        }
    };
    list.split(',').map(parse).collect()
}

/// Show one record
#[derive(Args)]
pub(crate) struct Get {
    #[command(flatten)]
    place: Place,
    /// Id of the record, 1 to 65,535 bytes
    id: String,
    #[command(flatten)]
    ids: IdOptions,
    /// As one JSON object, with every element of the vector
    #[arg(long)]
    json: bool,
}

impl Get {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let id = self.ids.id_encoding.decode(self.id.as_bytes()).map_err(Failure::Refused)?;
        let collection = read(&self.place)?;
        let row = collection.get(&id)?.ok_or_else(|| not_found(&id, &self.place))?;
        if self.json {
            let mut object = json::record(&row, self.ids.id_encoding, true)?;
            object.insert("ordinal".to_owned(), row.ordinal()?.into());
            writeln!(out, "{}", Json::Object(object))?;
            return Ok(());
        }
        self.show(&row, out)
    }

    fn show(&self, row: &Row, out: &mut dyn Write) -> Outcome {
        let mut table = table(&["field", "value"]);
        table.add_row(["id", &self.ids.id_encoding.show(row.id())]);
        table.add_row(["ordinal", &grouped(row.ordinal()?)]);
        let elements: Vec<String> = row.iter().take(6).map(|element| format!("{element:?}")).collect();
        let more = if row.len() > elements.len() { format!(" … ({})", counted(row.len() as u64, "element")) } else { String::new() };
        table.add_row(["vector", &format!("{}{more}", elements.join(" "))]);
        if let Some(document) = row.document()? {
            table.add_row(["document", &harmless(&document)]);
        }
        if let Some(uri) = row.uri()? {
            table.add_row(["uri", &harmless(&uri)]);
        }
        for (key, value) in row.metadata()?.iter() {
            table.add_row([&harmless(key), &harmless(&json::show(value))]);
        }
        writeln!(out, "{}", shown(&table))?;
        Ok(())
    }
}

fn not_found(id: &[u8], place: &Place) -> Failure {
    Failure::missing(format!("there is no record {} in '{}'", readable(id), place.collection))
}

/// Show records in id order
#[derive(Args)]
pub(crate) struct Scan {
    #[command(flatten)]
    place: Place,
    /// Only ids that begin so
    #[arg(long, value_name = "P")]
    prefix: Option<String>,
    /// At most so many records
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::builder::RangedI64ValueParser::<usize>::new().range(0..))]
    limit: Option<usize>,
    #[command(flatten)]
    ids: IdOptions,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    /// With the vectors; such lines are what `import --vectors F.jsonl` reads
    #[arg(long, requires = "json")]
    with_vectors: bool,
}

impl Scan {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let encoding = self.ids.id_encoding;
        let prefix = match self.prefix.as_deref() {
            None | Some("") => Vec::new(),
            Some(prefix) => encoding.decode(prefix.as_bytes()).map_err(Failure::Refused)?,
        };
        let collection = read(&self.place)?;
        for row in collection.prefix(&prefix)?.take(self.limit.unwrap_or(usize::MAX)) {
            let row = row?;
            if self.json {
                writeln!(out, "{}", Json::Object(json::record(&row, encoding, self.with_vectors)?))?;
            } else {
                let document = row.document()?.unwrap_or_default();
                writeln!(out, "{}  {}", encoding.show(row.id()), excerpt(&document, 80))?;
            }
        }
        Ok(())
    }
}

/// Which records delete and purge are about.
#[derive(Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
struct Chosen {
    /// Ids of the records
    #[arg(group = "which")]
    id: Vec<String>,
    /// A file with further ids, one a line
    #[arg(long = "ids", value_name = "FILE", group = "which")]
    file: Option<PathBuf>,
    #[command(flatten)]
    ids: IdOptions,
}

impl Chosen {
    /// The ids, each once.
    fn collect(&self) -> Outcome<Vec<Vec<u8>>> {
        let mut ids = self.ids.id_encoding.decode_arguments(&self.id)?;
        if let Some(path) = &self.file {
            let mut lines = Lines::open(path)?;
            while let Some(line) = lines.next_id()? {
                let id = self.ids.id_encoding.decode(line);
                ids.push(id.map_err(|what| lines.complaint(&what))?);
            }
        }
        let mut seen = HashSet::new();
        ids.retain(|id| seen.insert(id.clone()));
        Ok(ids)
    }

    fn print_absent(&self, absent: &[&Vec<u8>], out: &mut dyn Write) -> Outcome {
        for id in absent {
            writeln!(out, "was not there: {}", self.ids.id_encoding.show(id))?;
        }
        Ok(())
    }

    /// The work is done: an id that is not UTF-8 cannot have come from the command line either.
    fn absent_json(&self, absent: &[&Vec<u8>]) -> Outcome<Vec<String>> {
        absent.iter().map(|id| self.ids.id_encoding.encode(id)).collect()
    }
}

/// Delete records, all of them at one moment
#[derive(Args)]
pub(crate) struct Delete {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Delete {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let ids = self.chosen.collect()?;
        let db = open_writer(&self.place.database)?;
        let collection = db.collection(&self.place.collection)?;
        let mut batch = db.batch();
        for id in &ids {
            batch.delete(&collection, id)?;
        }
        let commit = batch.commit()?;
        db.close()?;
        let absent: Vec<&Vec<u8>> = ids.iter().enumerate().filter(|(index, _)| !commit.existed(*index)).map(|(_, id)| id).collect();
        let deleted = ids.len() - absent.len();
        if self.json {
            writeln!(out, "{}", json!({"deleted": deleted, "absent": self.chosen.absent_json(&absent)?}))?;
            return Ok(());
        }
        writeln!(out, "deleted {} of {}", grouped(deleted as u64), counted(ids.len() as u64, "record"))?;
        self.chosen.print_absent(&absent, out)
    }
}

/// Delete records and every trace of them in the files of the database
#[derive(Args)]
pub(crate) struct Purge {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    chosen: Chosen,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Purge {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let ids = self.chosen.collect()?;
        let db = open_writer(&self.place.database)?;
        let collection = db.collection(&self.place.collection)?;
        // Nobody else can write while this process may.
        let mut absent = Vec::new();
        for id in &ids {
            if !collection.contains(id)? {
                absent.push(id);
            }
        }
        let receipt = busy("purging", || collection.purge(&ids))?;
        db.close()?;
        if self.json {
            let absent = self.chosen.absent_json(&absent)?;
            let line = json!({"deleted": receipt.deleted, "absent": absent, "files_rewritten": receipt.files_rewritten, "cannot_vouch_for": receipt.cannot_vouch_for});
            writeln!(out, "{line}")?;
            return Ok(());
        }
        let (records, files) = (counted(ids.len() as u64, "record"), counted(receipt.files_rewritten.len() as u64, "file"));
        writeln!(out, "purged {} of {records}; {files} rewritten", grouped(receipt.deleted))?;
        self.chosen.print_absent(&absent, out)?;
        for file in receipt.files_rewritten {
            writeln!(out, "rewritten: {file}")?;
        }
        for place in receipt.cannot_vouch_for {
            writeln!(out, "cannot vouch for: {place}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::parse_vector;

    #[test]
    fn vectors_are_read_from_the_command_line() {
        assert_eq!(parse_vector("[1, -0.5,2e-3]").unwrap(), [1.0, -0.5, 2e-3]);
        assert_eq!(parse_vector("-1").unwrap(), [-1.0]);
        assert!(parse_vector("nan").unwrap()[0].is_nan());
        for (text, reason) in [("", "''"), ("1,,2", "''"), ("1,x", "'x'"), ("1e39", "fit"), ("[1", "'[1'"), ("absent.npy", "absent.npy")] {
            let error = parse_vector(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
