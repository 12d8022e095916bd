//! export: vectors and ids in id order, into files that appear when they are whole.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    process,
};

use clap::Args;
use serde_json::{Value as Json, json};
use varvite::CollectionSnapshot;

use super::{Place, read};
use crate::{
    failure::{Failure, Outcome},
    ids::IdOptions,
    input::npy,
    json,
    output::grouped,
    progress::Progress,
};

/// Write the vectors and ids of a collection into files, in id order
///
/// A failed export leaves no files. Importing an export and exporting again gives the same bytes.
#[derive(Args)]
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
    #[command(flatten)]
    id_options: IdOptions,
    /// Report as one JSON object
    #[arg(long)]
    json: bool,
}

impl Export {
    pub(crate) fn run(self, out: &mut dyn Write) -> Outcome {
        let targets = [Some(&self.vectors), Some(&self.ids), self.records.as_ref()];
        for (index, target) in targets.iter().enumerate() {
            if target.is_some() && targets.iter().skip(index + 1).any(|other| other == target) {
                return Err(Failure::usage("two parts of the export would go into the same file"));
            }
        }
        let collection = read(&self.place)?;
        let mut files = Files {
            vectors: Staged::create(&self.vectors)?,
            ids: Staged::create(&self.ids)?,
            records: self.records.as_deref().map(Staged::create).transpose()?,
        };
        let count = self.write(&collection, &mut files)?;
        files.publish()?;
        if self.json {
            writeln!(out, "{}", json!({"exported": count}))?;
        } else {
            writeln!(out, "exported {} records", grouped(count))?;
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
    /// Makes all of them durable before any of them takes its name.
    fn publish(mut self) -> Outcome {
        let mut all: Vec<&mut Staged> = [&mut self.vectors, &mut self.ids].into_iter().chain(&mut self.records).collect();
        all.iter_mut().try_for_each(|file| file.finish())?;
        all.into_iter().try_for_each(Staged::publish)
    }
}

/// A file under a temporary name beside its target; removed again unless it is published.
struct Staged {
    out: BufWriter<File>,
    target: PathBuf,
    temporary: Option<PathBuf>,
}

impl Staged {
    fn create(target: &Path) -> Outcome<Self> {
        let failed = |error| Failure::file("create", target, &error);
        // Following links replaces what the name stands for, not the link.
        let target = fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
        let (path, temporary) = match fs::metadata(&target) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(Failure::refused(format!("cannot create '{}': it is a directory", target.display())));
            }
            // A device or a pipe cannot be replaced by a file; it is written to.
            Ok(metadata) if !metadata.is_file() => (target.clone(), None),
            _ => {
                let name = target.file_name().ok_or_else(|| Failure::usage(format!("'{}' is not the name of a file", target.display())))?;
                let temporary = target.with_file_name(format!(".{}.varvite-{}.tmp", name.to_string_lossy(), process::id()));
                (temporary.clone(), Some(temporary))
            }
        };
        let file = File::create(&path).map_err(failed)?;
        Ok(Self { out: BufWriter::with_capacity(1 << 18, file), target, temporary })
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Outcome {
        write(&mut self.out).map_err(|error| Failure::file("write", &self.target, &error))
    }

    fn finish(&mut self) -> Outcome {
        let synced = self.temporary.is_some();
        self.write(|out| {
            out.flush()?;
            if synced { out.get_ref().sync_all() } else { Ok(()) }
        })
    }

    fn publish(&mut self) -> Outcome {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target).map_err(|error| Failure::file("create", &self.target, &error))?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // It is on its way out with an error of its own, and that is the one to report.
            let _ = fs::remove_file(temporary);
        }
    }
}
