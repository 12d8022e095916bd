//! export: vectors and ids in id order, into files that appear when they are whole.

use std::{io::Write, path::PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};
use varvite::CollectionSnapshot;

use super::{Place, read};
use crate::{
    failure::{Failure, Outcome},
    files::{Staged, has_ending},
    ids::IdOptions,
    input::npy,
    json,
    progress::Progress,
    text::counted,
};

/// Write the vectors and ids of a collection into files, in id order
///
/// A failed export leaves no files. Importing an export and exporting again gives the same bytes. Files appear when they are whole and
/// synced; one that is killed (Ctrl-C too) leaves its unfinished files behind, hidden: .NAME.varvite-PROCESS-N.tmp, to be deleted.
#[derive(Args)]
#[command(after_help = "Examples:
  varvite export db verses --vectors verses.npy --ids verses.ids --records verses.jsonl
  varvite export db verses --vectors verses.npy --ids verses.hex --id-encoding hex --no-clobber")]
pub(crate) struct Export {
    #[command(flatten)]
    place: Place,
    /// Where the vectors go: NumPy v1, little-endian f32, C order
    #[arg(long, value_name = "FILE.npy")]
    vectors: PathBuf,
    /// Where the ids go, one a line, in the same order
    #[arg(long, value_name = "FILE")]
    ids: PathBuf,
    /// Where texts and metadata go, one JSON object a line, in the same order
    #[arg(long, value_name = "FILE.jsonl")]
    records: Option<PathBuf>,
    /// Refuse if one of the files exists already; without it files are replaced, but never those of a database
    #[arg(long)]
    no_clobber: bool,
    #[command(flatten)]
    id_options: IdOptions,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        if !has_ending(&self.vectors, "npy") {
            let name = self.vectors.display();
            return Err(Failure::usage(format!("'{name}' does not end in .npy, so `import` would not know its format")));
        }
        let collection = read(&self.place)?;
        let mut files = Files {
            vectors: Staged::create(&self.vectors, !self.no_clobber)?,
            ids: Staged::create(&self.ids, !self.no_clobber)?,
            records: self.records.as_deref().map(|path| Staged::create(path, !self.no_clobber)).transpose()?,
        };
        files.check_apart()?;
        let count = self.write(&collection, &mut files)?;
        files.publish()?;
        if self.json {
            writeln!(out, "{}", json!({"exported": count}))?;
        } else {
            writeln!(out, "exported {}", counted(count, "record"))?;
        }
        Ok(())
    }

    fn write(&self, collection: &CollectionSnapshot, files: &mut Files) -> Outcome<u64> {
        let count = collection.count()?;
        let mut progress = Progress::new("exporting", count);
        files.vectors.write(|out| npy::write_header(out, count, collection.dimension()))?;
        let mut written = 0;
        let mut row_bytes = Vec::with_capacity(collection.dimension() * 4);
        for row in collection.iter()? {
            let row = row?;
            let id = self.id_options.id_encoding.encode_line(row.id())?;
            row_bytes.clear();
            row_bytes.extend(row.iter().flat_map(|element| element.to_le_bytes()));
            files.vectors.write(|out| out.write_all(&row_bytes))?;
            files.ids.write(|out| writeln!(out, "{id}"))?;
            if let Some(records) = &mut files.records {
                let object = Json::Object(json::record(&row, self.id_options.id_encoding, false)?);
                records.write(|out| writeln!(out, "{object}"))?;
            }
            written += 1;
            progress.advance(1);
        }
        if written != count {
            return Err(Failure::Damage(format!("the collection counts {count} records, but {written} were read")));
        }
        Ok(count)
    }
}

struct Files {
    vectors: Staged,
    ids: Staged,
    records: Option<Staged>,
}

impl Files {
    fn check_apart(&self) -> Outcome {
        let [vectors, ids] = [self.vectors.target(), self.ids.target()];
        let records = self.records.as_ref().map(Staged::target);
        if vectors == ids || records.is_some_and(|records| records == vectors || records == ids) {
            return Err(Failure::usage("two parts of the export would go into the same file"));
        }
        Ok(())
    }

    /// Makes all of them durable before any of them takes its name.
    fn publish(mut self) -> Outcome {
        let mut all: Vec<&mut Staged> = [&mut self.vectors, &mut self.ids].into_iter().chain(&mut self.records).collect();
        all.iter_mut().try_for_each(|file| file.finish())?;
        all.into_iter().try_for_each(Staged::publish)
    }
}
