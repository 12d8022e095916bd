use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
};

use super::{
    Database,
    reader::read_cut,
    recover::{Cut, Recovered, recover},
};
use crate::{
    error::{Error, ErrorKind, NotAFile, Result},
    format::{
        identity::{FileKind, Identity},
        manifest::{CollectionEntry, LogEntry, Manifest, SegmentEntry},
        names::{FileName, LOCK, log_name, segment_name},
    },
    io::{Bytes, FileInfo, Storage, fs::Directory},
    log::{LogEnd, Role, check_identity, find_activation},
    manifest::{belongs, lineage, nothing_here, survey, unfinished},
    options::{ChecksumMode, Options},
    segment::{KillSet, Segment, SegmentFile},
    sync::Arc,
    types::{FileId, FileNumber},
};

/// Attempts to check a directory that a writer changes meanwhile.
const ATTEMPTS: usize = 20;

/// What [`Database::verify`] found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct VerifyReport {
    /// Every damage, each naming its file, and its offset where it has one.
    pub damages: Vec<Error>,
    /// Files that belong to the database.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Records as a reader sees them, those in the logs included. Where damage keeps the database from being opened: those alive in segments that
    /// can be read.
    pub records: u64,
    /// Files of ours that the manifest does not name: what a crash left, collected at the next writable open.
    pub orphans: Vec<String>,
    /// Files with names like ours that belong to another database, or to none: never read, never touched.
    pub foreign: Vec<String>,
}

impl Database {
    /// Checks every byte of a database that is used, without opening it (the hints in LOCK and what stands behind the end of a log are not): checksums of everything, padding, identities, and that manifest, segments and kills
    /// agree. Takes no lock and changes nothing; may run beside a writer.
    ///
    /// # Errors
    /// `NotFound` if there is no database; `NewerFormat`, `ReadOnly` and `Io` as [`Database::open`]. Damage is not an error, a block that the device
    /// cannot read included: it is in the report.
    ///
    /// ```
    /// use varvite::{Database, Metric, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("db");
    /// let db = Database::open(&path, Options::default())?;
    /// db.create_collection("docs", 2, Metric::L2)?.insert("a", &[1.0, 2.0])?;
    /// db.close()?;
    /// let report = Database::verify(&path, Options::default())?;
    /// assert!(report.damages.is_empty());
    /// assert_eq!(report.records, 1);
    /// # Ok::<(), varvite::Error>(())
    /// ```
    pub fn verify(path: impl AsRef<Path>, options: Options) -> Result<VerifyReport> {
        let path = path.as_ref();
        let directory = Directory::open(path).map_err(|source| Error::io(format_args!("open the directory {}", path.display()), source))?;
        Self::verify_on(&directory, &options)
    }

    /// [`Database::verify`] on any [`Storage`].
    ///
    /// # Errors
    /// As [`Database::verify`].
    pub fn verify_on(storage: &dyn Storage, options: &Options) -> Result<VerifyReport> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let cut = read_cut(storage)?;
            let names = list(storage)?;
            let mut report = check(storage, options, &names, &cut)?;
            if let Some(shortage) = report.damages.iter().position(Error::is_shortage) {
                return Err(report.damages.swap_remove(shortage));
            }
            // Beside a writer a file may go while it is being checked: only what two listings agree on is damage.
            if report.damages.is_empty() || matches!(cut, Cut::Recovery) || list(storage)? == names {
                return Ok(report);
            }
            last = Some(report);
        }
        Ok(last.unwrap_or_default())
    }
}

fn list(storage: &dyn Storage) -> Result<Vec<FileInfo>> {
    storage.list().map_err(|source| Error::io("list the directory", source))
}

fn check(storage: &dyn Storage, options: &Options, names: &[FileInfo], cut: &Cut) -> Result<VerifyReport> {
    let survey = survey(storage, names);
    if survey.manifest.is_none() && survey.damages.iter().all(|damage| damage.file() == Some("FLOOR")) && !names.iter().any(is_ours) {
        return Err(nothing_here(names));
    }
    if survey.damages.is_empty() && unfinished(storage, names).is_some() {
        return Err(nothing_here(names));
    }
    if let Some(error) = survey.obstacle {
        return Err(error);
    }
    let is_usable = survey.manifest.is_some();
    let mut check = Check { storage, options, report: VerifyReport { damages: survey.damages, ..VerifyReport::default() } };
    if let Some(manifest) = &survey.manifest {
        check.lock_file(names, manifest.database);
        check.logs(manifest, cut);
        let files = check.segment_files(manifest);
        for collection in &manifest.collections {
            check.collection(collection, &files);
        }
        check.note_names(names, manifest);
        check.count(manifest, cut);
    }
    // What another program or user reads is no damage. What opening gets over is: one copy of two, and LOCK.
    let gets_over = |error: &Error| is_usable && !error.file().is_some_and(|name| name.starts_with("log-") || name.starts_with("seg-"));
    let obstacle =
        check.report.damages.iter().find(|error| error.is_obstacle() && !(error.kind() == ErrorKind::NewerFormat && gets_over(error)));
    obstacle.cloned().map_or(Ok(check.report), Err)
}

fn is_ours(info: &FileInfo) -> bool {
    !matches!(FileName::parse(&info.name), FileName::Foreign | FileName::Temporary | FileName::Lock)
}

struct Check<'a> {
    storage: &'a dyn Storage,
    options: &'a Options,
    report: VerifyReport,
}

impl Check<'_> {
    fn damage(&mut self, error: Error) {
        self.report.damages.push(error);
    }

    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.damage(error)).ok()
    }

    /// LOCK holds no data; it only has to be ours, as far as it was written: it is never synced, so a power cut may keep its length alone, or a
    /// part of it among zeros.
    fn lock_file(&mut self, names: &[FileInfo], database: FileId) {
        let Some(info) = names.iter().find(|info| info.name == LOCK) else {
            // It may be missing; but whatever else has its name keeps writers out.
            if let Some(source) = self.storage.open_read(LOCK).err().filter(NotAFile::is) {
                self.damage(Error::io(format_args!("read {LOCK}"), source).in_file(LOCK).with_remedy("remove what has taken its name"));
            }
            return;
        };
        if info.len == 0 {
            return;
        }
        let Some(bytes) = self.note(self.read(LOCK)) else { return };
        let whole = Identity { kind: FileKind::Lock, database, number: 0, file: FileId::default() }.encode();
        if !bytes.iter().zip(whole).all(|(byte, expected)| *byte == expected || *byte == 0) {
            self.note(Identity::decode(&bytes, FileKind::Lock).map_err(|error| error.in_file(LOCK).mended_by_opening()));
        }
    }

    fn read(&self, name: &str) -> Result<Bytes> {
        self.storage.open_read(name).and_then(|file| file.map()).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => Error::corruption("the file that the manifest names is missing").in_file(name),
            _ => Error::io(format_args!("read {name}"), source).in_file(name),
        })
    }

    fn logs(&mut self, manifest: &Manifest, cut: &Cut) {
        let mut logs: Vec<(&LogEntry, Bytes)> = Vec::new();
        for entry in &manifest.logs {
            let bytes = self.read(&log_name(entry.number));
            if let Some(bytes) = self.note(bytes) {
                logs.push((entry, bytes));
            }
        }
        let activations: Vec<_> = logs.iter().map(|(entry, bytes)| find_activation(bytes, entry)).collect();
        for (index, (entry, bytes)) in logs.iter().enumerate() {
            let successor = activations.get(index + 1).and_then(Option::as_ref);
            let activated = activations.get(index).is_some_and(Option::is_some);
            let is_settled = manifest.is_settled(entry.number);
            let end = match (successor, entry.sealed, cut) {
                (Some(next), _, _) => LogEnd::Sealed(next.sealed()),
                (None, Some(sealed), _) => LogEnd::Sealed(sealed),
                (None, None, Cut::Through(point)) if point.log == entry.number => LogEnd::Through(point.offset),
                // Beside a writer nothing is known of what it writes at this moment.
                (None, None, Cut::Through(_)) => continue,
                (None, None, Cut::Recovery) => LogEnd::Tail,
            };
            let name = log_name(entry.number);
            let whole = crate::log::check_length(bytes, end).map_err(|error| error.in_file(&name));
            self.note(whole);
            if check_identity(bytes, manifest.database, entry).is_ok() && is_settled && !activated {
                let message = "the activation record is missing in both places, though this log was in use";
                self.damage(Error::corruption(message).at(4096).in_file(&name));
                continue;
            }
            let role = Role { activated, end, settled: is_settled || successor.is_some() };
            for damage in crate::log::verify(bytes, manifest.database, entry, role) {
                self.damage(damage.in_file(&name));
            }
        }
    }

    /// Checks every segment file; returns those that could be opened.
    fn segment_files(&mut self, manifest: &Manifest) -> BTreeMap<FileNumber, Arc<SegmentFile>> {
        let mut files = BTreeMap::new();
        for entry in &manifest.files {
            let opened = SegmentFile::open_prefix(self.storage, entry, self.options.read_mode);
            if let Some((file, surplus)) = self.note(opened) {
                if surplus > 0 {
                    let message = format!("{surplus} bytes stand behind its end: {} bytes long by the manifest", entry.len);
                    self.damage(Error::corruption(message).at(entry.len).in_file(file.name()));
                }
                self.report.damages.extend(file.verify());
                files.insert(entry.number, file);
            }
        }
        files
    }

    fn collection(&mut self, collection: &CollectionEntry, files: &BTreeMap<FileNumber, Arc<SegmentFile>>) {
        let mut alive: HashSet<Vec<u8>> = HashSet::new();
        for entry in collection.runs.iter().flatten() {
            let Some(file) = files.get(&entry.file) else { continue };
            let opened = Segment::open(Arc::clone(file), entry, collection.dimension, ChecksumMode::FirstTouch);
            let Some(segment) = self.note(opened) else { continue };
            let Some(kills) = self.kills(entry, files) else { continue };
            for row in (0..segment.rows()).filter(|row| !kills.contains(*row)) {
                let mut id = Vec::new();
                // An id that cannot be read is among the damages of its file already.
                if segment.id_of(row, &mut id).is_err() {
                    continue;
                }
                self.report.records += 1;
                if !alive.insert(id) {
                    let mut id = Vec::new();
                    let shown = segment.id_of(row, &mut id).map(|()| id.escape_ascii().to_string()).unwrap_or_default();
                    let message = format!("record {shown} of collection {:?} is alive twice", collection.name);
                    self.damage(Error::corruption(message).at(entry.offset).in_file(segment_name(entry.file)));
                }
            }
        }
    }

    fn kills(&mut self, entry: &SegmentEntry, files: &BTreeMap<FileNumber, Arc<SegmentFile>>) -> Option<KillSet> {
        let Some(kills) = &entry.kills else { return Some(KillSet::empty(entry.rows)) };
        let file = files.get(&kills.file)?;
        let read = KillSet::read(file, kills, entry.id, entry.rows);
        self.note(read)
    }

    fn count(&mut self, manifest: &Manifest, cut: &Cut) {
        // Whatever refuses it is among the damages.
        if let Ok(Recovered { view, .. }) = recover(self.storage, self.options, manifest, cut) {
            self.report.records = view.catalog.collections.values().map(|meta| view.counts.at(meta.id, view.visible())).sum();
        }
    }

    fn note_names(&mut self, names: &[FileInfo], manifest: &Manifest) {
        let lineage = lineage(self.storage, names, manifest);
        for info in names {
            let ours = match FileName::parse(&info.name) {
                FileName::Lock | FileName::Floor => true,
                FileName::Manifest(number) => number == manifest.number,
                FileName::Log(number) => manifest.logs.iter().any(|log| log.number == number),
                FileName::Segment(number) => manifest.files.iter().any(|file| file.number == number),
                FileName::Foreign => continue,
                FileName::Temporary => false,
            };
            if ours {
                self.report.files += 1;
                self.report.bytes += info.len;
            } else if FileName::parse(&info.name) == FileName::Temporary || belongs(self.storage, info, manifest.database, &lineage) {
                self.report.orphans.push(info.name.clone());
            } else {
                self.report.foreign.push(info.name.clone());
            }
        }
    }
}
