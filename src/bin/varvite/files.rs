//! Files of the user: read with care for what they are, written with care for what they replace.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, BufWriter, ErrorKind, Write},
    path::{Path, PathBuf},
    process,
};

use crate::failure::{Failure, Outcome};

/// Names that are tried for a temporary file: those of a killed process of the same number may be taken.
const TEMPORARY_NAMES: u32 = 16;

/// Opens a regular file and says how long it is. Pipes and devices are refused before they are opened, which could wait for ever.
pub(crate) fn open_regular(path: &Path) -> Outcome<(File, u64)> {
    refuse_special(path, &fs::metadata(path).map_err(|error| Failure::file("open", path, &error))?)?;
    let file = File::open(path).map_err(|error| Failure::file("open", path, &error))?;
    let metadata = file.metadata().map_err(|error| Failure::file("look at", path, &error))?;
    refuse_special(path, &metadata)?;
    Ok((file, metadata.len()))
}

fn refuse_special(path: &Path, metadata: &Metadata) -> Outcome {
    let name = path.display();
    match metadata {
        metadata if metadata.is_file() => Ok(()),
        metadata if metadata.is_dir() => Err(Failure::refused(format!("'{name}' is a directory, not a regular file"))),
        _ => Err(Failure::refused(format!("'{name}' is not a regular file: pipes and devices are neither read nor replaced"))),
    }
}

/// Whether a name ends so, in letters of any case: `has_ending("V.NPY", "npy")`.
pub(crate) fn has_ending(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(ending))
}

/// The path with all links followed, as far as it exists.
fn resolve(path: &Path) -> Outcome<PathBuf> {
    let failed = |error| Failure::file("look at", path, &error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    let mut existing = absolute.as_path();
    loop {
        match fs::canonicalize(existing) {
            Ok(resolved) => {
                let rest = absolute.strip_prefix(existing).unwrap_or(Path::new(""));
                return Ok(if rest.as_os_str().is_empty() { resolved } else { resolved.join(rest) });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if fs::symlink_metadata(existing).is_ok() {
                    let link = existing.display();
                    return Err(Failure::refused(format!(
                        "'{link}' is a symbolic link to nothing: remove it or name what it should stand for"
                    )));
                }
                existing = existing.parent().ok_or_else(|| failed(error))?;
            }
            Err(error) => return Err(failed(error)),
        }
    }
}

/// Refuses a path inside the directory of a database, whose files nobody else may touch. `..` behind links is followed as the system does.
pub(crate) fn refuse_inside_database(path: &Path) -> Outcome {
    let resolved = resolve(path)?;
    let parent = resolved.parent().filter(|parent| holds_manifest(parent));
    match parent.or_else(|| resolved.ancestors().skip(1).find(|directory| directory.join("FLOOR").is_file())) {
        Some(database) => {
            let (name, database) = (path.display(), database.display());
            Err(Failure::refused(format!(
                "'{name}' lies inside the database '{database}', whose directory is its own: choose a place outside"
            )))
        }
        None => Ok(()),
    }
}

/// What is left of a database that has lost its FLOOR.
fn holds_manifest(directory: &Path) -> bool {
    let is_manifest = |name: &str| name.strip_prefix("MANIFEST-").is_some_and(|number| number.len() >= 8);
    fs::read_dir(directory).is_ok_and(|entries| entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(is_manifest)))
}

/// A file under a temporary name beside its target; removed again unless it is published.
pub(crate) struct Staged {
    out: BufWriter<File>,
    /// As the user named it.
    name: PathBuf,
    /// With all links followed: what a link stands for is replaced, not the link.
    target: PathBuf,
    temporary: Option<PathBuf>,
    replaces: bool,
}

impl Staged {
    /// Begins a file. One that exists is replaced if `replaces` says so, and keeps its permissions.
    pub(crate) fn create(name: &Path, replaces: bool) -> Outcome<Self> {
        let failed = |error| Failure::file("create", name, &error);
        refuse_inside_database(name)?;
        let target = resolve(name)?;
        let existing = match fs::metadata(&target) {
            Ok(metadata) => {
                refuse_special(name, &metadata)?;
                if !replaces {
                    return Err(Failure::exists(format!("'{}' exists already, and --no-clobber keeps it", name.display())));
                }
                Some(metadata)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let (file, temporary) = create_beside(&target).map_err(failed)?;
        let staged =
            Self { out: BufWriter::with_capacity(1 << 18, file), name: name.to_owned(), target, temporary: Some(temporary), replaces };
        if let Some(metadata) = existing {
            staged.out.get_ref().set_permissions(metadata.permissions()).map_err(failed)?;
        }
        Ok(staged)
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    pub(crate) fn write(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Outcome {
        write(&mut self.out).map_err(|error| Failure::file("write", &self.name, &error))
    }

    /// Makes its bytes durable, still under the temporary name.
    pub(crate) fn finish(&mut self) -> Outcome {
        self.write(|out| {
            out.flush()?;
            out.get_ref().sync_all()
        })
    }

    /// Gives it its name, durably.
    pub(crate) fn publish(&mut self) -> Outcome {
        if let Some(temporary) = &self.temporary {
            give_name(temporary, &self.target, self.replaces).map_err(|error| Failure::file("create", &self.name, &error))?;
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

/// A new file in the directory of `target`, under a name of our own.
fn create_beside(target: &Path) -> io::Result<(File, PathBuf)> {
    let mut last = io::Error::from(ErrorKind::AlreadyExists);
    for attempt in 0..TEMPORARY_NAMES {
        let name = target.file_name().ok_or(ErrorKind::InvalidFilename)?;
        let name = format!(".{}.varvite-{}-{attempt}.tmp", name.to_string_lossy(), process::id());
        let temporary = target.with_file_name(name);
        // Never through a link that somebody has put there.
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((file, temporary)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}

fn give_name(temporary: &Path, target: &Path, replaces: bool) -> io::Result<()> {
    let linked = if replaces { Err(ErrorKind::Unsupported.into()) } else { fs::hard_link(temporary, target) };
    match linked {
        // A link, unlike a rename, does not replace what has come there meanwhile.
        Ok(()) => fs::remove_file(temporary)?,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(error),
        // Some file systems have no hard links.
        Err(_) => fs::rename(temporary, target)?,
    }
    match target.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}
