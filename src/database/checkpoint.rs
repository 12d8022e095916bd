use std::path::Path;

use super::{
    Database,
    target::{Target, in_directory},
};
use crate::{
    error::{Error, Result},
    flush::flush_all,
    format::{
        manifest::{FileEntry, Manifest},
        names::segment_name,
    },
    io::{Storage, random_id},
    log::SpareLog,
    manifest::ManifestStore,
    segment::SegmentFile,
    sync::Arc,
    version::Shared,
};

/// Bytes copied at a time where files cannot be linked.
const COPY_BYTES: u64 = 1 << 20;

impl Database {
    /// Writes a consistent copy of this moment into a new or empty directory: a database of its own, with its own id.
    ///
    /// Segment files are hard-linked where both directories allow it, so that it takes next to no time and space; else they are copied. Writers and
    /// readers go on meanwhile.
    ///
    /// # Errors
    /// `AlreadyExists` if the directory is not empty; `NoSpace`; `Io`. What was made is removed after an error; what a killed checkpoint left is no
    /// database, and the next checkpoint into that directory replaces it.
    ///
    /// ```
    /// use varvite::{Database, Metric, Options};
    /// # let directory = tempfile::tempdir().unwrap();
    /// let db = Database::open(directory.path().join("db"), Options::default())?;
    /// db.create_collection("docs", 1, Metric::L2)?.insert("a", &[1.0])?;
    /// db.checkpoint(directory.path().join("copy"))?;
    /// let copy = Database::open(directory.path().join("copy"), Options::default())?;
    /// assert_eq!(copy.collection("docs")?.count()?, 1);
    /// # Ok::<(), varvite::Error>(())
    /// ```
    pub fn checkpoint(&self, path: impl AsRef<Path>) -> Result<()> {
        self.inner.writer()?;
        in_directory(path.as_ref(), |target| self.checkpoint_on(target))
    }

    /// [`Database::checkpoint`] into any empty [`Storage`].
    ///
    /// # Errors
    /// As [`Database::checkpoint`].
    pub fn checkpoint_on(&self, target: Arc<dyn Storage>) -> Result<()> {
        let writer = self.inner.writer()?;
        let claimed = Target::claim(target, "checkpoint")?;
        let target = claimed.storage();
        let shared = &writer.shared;
        flush_all(shared)?;
        let database = random_id(&*target.environment().random).map_err(|source| Error::io("draw a random number", source))?;
        // FLOOR first: until the manifest is there, the target is an unfinished creation.
        let mut store = ManifestStore::create(Arc::clone(target), database)?;
        let (mut manifest, to_copy) = link_files(shared, &**target)?;
        for (entry, file) in &to_copy {
            copy_file(&**target, entry, file)?;
        }
        let next = manifest.next_file;
        manifest.next_file += 2;
        let new_log = |number| {
            let id = random_id(&*target.environment().random).map_err(|source| Error::io("draw a random number", source))?;
            SpareLog::create(&**target, database, number, id)
        };
        let (first, second) = (new_log(next)?, new_log(next + 1)?);
        manifest.logs = vec![first.entry(), second.entry()];
        let mut log = first.activate(None, manifest.flushed_through + 1).map_err(|(_, error)| error)?;
        log.sync()?;
        target.sync_names().map_err(|source| Error::io("sync the target directory", source))?;
        store.publish(&mut manifest)?;
        claimed.complete();
        Ok(())
    }
}

type ToCopy = Vec<(FileEntry, Arc<SegmentFile>)>;

/// Links what can be linked while no file can be removed, and pins the rest.
fn link_files(shared: &Shared, target: &dyn Storage) -> Result<(Manifest, ToCopy)> {
    let publisher = shared.publisher.lock();
    let version = Arc::clone(&shared.view().version);
    let (next_file, next_segment) = shared.unused_numbers();
    let mut to_copy = Vec::new();
    for (number, named) in publisher.files() {
        let name = segment_name(*number);
        let linked = shared.storage.link_into(&name, target, &name).map_err(|source| Error::io(format_args!("link {name}"), source))?;
        if !linked {
            to_copy.push((named.entry.clone(), Arc::clone(&named.file)));
        }
    }
    let manifest = Manifest {
        flushed_through: version.flushed_through,
        next_file,
        next_segment,
        next_collection: version.collections.keys().max().map_or(1, |last| last + 1),
        files: publisher.files().values().map(|named| named.entry.clone()).collect(),
        collections: version.collection_entries(),
        ..Manifest::default()
    };
    Ok((manifest, to_copy))
}

fn copy_file(target: &dyn Storage, entry: &FileEntry, file: &SegmentFile) -> Result<()> {
    let name = segment_name(entry.number);
    let failed = |source| Error::io(format_args!("copy {name}"), source);
    let output = target.create(&name).map_err(failed)?;
    let mut offset = 0;
    while offset < entry.len {
        let len = COPY_BYTES.min(entry.len - offset);
        output.write_at(offset, &file.read_range(offset, len)?).map_err(failed)?;
        offset += len;
    }
    output.sync_data().map_err(failed)
}
