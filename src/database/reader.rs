use super::recover::{Cut, Recovered, recover};
use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        lock_page::{POINT_BYTES, POINT_OFFSET, PointSlot, SyncedPoint},
        names::LOCK,
    },
    io::Storage,
    manifest::{ManifestStore, nothing_here},
    options::Options,
    sync::{Arc, AtomicBool, Look, Ordering, Swap},
    version::{Reading, View},
};

/// Attempts to read a directory that a writer changes meanwhile.
const ATTEMPTS: usize = 100;

/// A database opened for reading: a view that `refresh` replaces.
pub(crate) struct ReadOnly {
    storage: Arc<dyn Storage>,
    options: Options,
    view: Swap<View>,
    unsettled: AtomicBool,
}

impl ReadOnly {
    pub(crate) fn open(storage: Arc<dyn Storage>, options: Options) -> Result<Self> {
        let (view, unsettled) = load(&*storage, &options)?;
        Ok(Self { storage, options, view: Swap::new(Arc::new(view)), unsettled: AtomicBool::new(unsettled) })
    }

    pub(crate) fn reading(&self) -> Reading {
        Reading::newest(self.view.share())
    }

    pub(crate) fn look(&self) -> Reading<Look<View>> {
        Reading::newest(self.view.look())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    pub(crate) fn refresh(&self) -> Result<()> {
        let (view, unsettled) = load(&*self.storage, &self.options)?;
        self.view.replace(Arc::new(view));
        self.unsettled.store(unsettled, Ordering::Release);
        Ok(())
    }
}

/// Reads the newest state. Files that a writer removes between the listing and their opening are a reason to list again, as long as the
/// listing changes; a file missing from an unchanged directory is an error.
fn load(storage: &dyn Storage, options: &Options) -> Result<(View, bool)> {
    let mut failure: Option<(u64, Error)> = None;
    for attempt in 0..ATTEMPTS {
        // Before the manifest: whatever was acknowledged before this point is in the log it names, or flushed by a newer manifest.
        let cut = read_cut(storage)?;
        let names = storage.list().map_err(|source| Error::io("list the directory", source))?;
        let loaded = match ManifestStore::load(storage, &names) {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Err(nothing_here(&names)),
            Err(error) if attempt + 1 < ATTEMPTS && is_transient(&error) && is_live(storage)? => {
                pause(storage);
                continue;
            }
            Err(error) => return Err(error),
        };
        match recover(storage, options, &loaded.manifest, &cut) {
            Ok(Recovered { view, .. }) => {
                // A writer that died meanwhile leaves what it had synced; the cut stays right. Whether it lives tells if it is final.
                return Ok((view, matches!(cut, Cut::Recovery)));
            }
            Err(error) => {
                let number = loaded.manifest.number;
                let again = failure.as_ref().is_some_and(|(earlier, _)| *earlier == number);
                if again && !is_live(storage)? {
                    return Err(error);
                }
                failure = Some((number, error));
                pause(storage);
            }
        }
    }
    Err(failure.map_or_else(|| Error::new(ErrorKind::Io, "the directory changes too fast to be read"), |(_, error)| error))
}

fn is_transient(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Corruption)
}

fn is_live(storage: &dyn Storage) -> Result<bool> {
    storage.is_locked(LOCK).map_err(|source| Error::io("look at the lock", source).in_file(LOCK))
}

fn pause(storage: &dyn Storage) {
    storage.environment().clock.sleep(std::time::Duration::from_millis(2));
}

/// Beside a live writer its synced point; else recovery's rule.
pub(super) fn read_cut(storage: &dyn Storage) -> Result<Cut> {
    if !storage.list().map_err(|source| Error::io("list the directory", source))?.iter().any(|info| info.name == LOCK) || !is_live(storage)?
    {
        return Ok(Cut::Recovery);
    }
    for _ in 0..ATTEMPTS {
        let mut slot = [0; POINT_BYTES];
        let read = storage.open_read(LOCK).and_then(|file| file.read_at(POINT_OFFSET, &mut slot));
        match read {
            Ok(()) => {}
            // The page is not written yet: the writer has acknowledged nothing.
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof) => {
                return Ok(Cut::Recovery);
            }
            Err(source) => return Err(Error::io("read the synced point", source).in_file(LOCK)),
        }
        match SyncedPoint::decode(&slot)? {
            PointSlot::Point(point) => return Ok(Cut::Through(point)),
            PointSlot::Empty => return Ok(Cut::Recovery),
            PointSlot::Busy => pause(storage),
        }
    }
    let message = "what the writer has synced cannot be read: its record is torn";
    Err(Error::new(ErrorKind::Io, message)
        .in_file(LOCK)
        .with_remedy("try again once the writer has opened the database, or has synced again"))
}

impl std::fmt::Debug for ReadOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadOnly")
    }
}
