//! An empty place that becomes a database in one step, or not at all: the target of a repair or a checkpoint.

use std::path::Path;

use crate::{
    error::{Error, ErrorKind, Result},
    format::names::{FLOOR, FileName, LOCK},
    io::{FileInfo, Lock, Storage, fs, fs::Directory},
    manifest::{belongs, is_linked, unfinished},
    sync::Arc,
};

/// What is built there has a FLOOR of 0 and no manifest until it is complete: an unfinished creation, which nothing opens. Dropped before that,
/// it removes what was made; killed before that, the next attempt does.
pub(super) struct Target {
    storage: Arc<dyn Storage>,
    lock: Option<Box<dyn Lock>>,
    is_complete: bool,
}

impl Target {
    /// Takes an empty place, or one that holds nothing but an unfinished attempt, and keeps others out.
    pub(super) fn claim(storage: Arc<dyn Storage>, what: &str) -> Result<Self> {
        // Before the lock, so that a place which is refused stays as it is.
        check_vacant(&*storage, what)?;
        let lock = storage.lock(LOCK).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => {
                Error::new(ErrorKind::Locked, format!("somebody else is at work in the target of the {what}"))
            }
            _ => {
                // Nobody holds it: a file system without locks, or no space for the file.
                let _free = storage.remove(LOCK);
                Error::io("lock the target", source).in_file(LOCK)
            }
        })?;
        let links = check_vacant(&*storage, what).inspect_err(|error| {
            // Unless somebody was faster, the lock is all that is here.
            if error.kind() != ErrorKind::AlreadyExists {
                let _free = storage.remove(LOCK);
            }
        })?;
        for link in links {
            storage.remove(&link).map_err(|source| Error::io(format_args!("remove an unfinished {what}"), source).in_file(link))?;
        }
        Ok(Self { storage, lock: Some(lock), is_complete: false })
    }

    pub(super) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    /// The manifest is published: it is a database now.
    pub(super) fn complete(mut self) {
        self.is_complete = true;
    }

    /// FLOOR goes last: without it the rest would look like a database that lost it. Nothing can be done about a failure, so it stays for the
    /// next attempt to see, as it does where the rest cannot be listed.
    fn discard(&self) {
        let is_made = |info: &&FileInfo| !matches!(FileName::parse(&info.name), FileName::Foreign | FileName::Floor | FileName::Lock);
        let Ok(names) = self.storage.list() else { return };
        let removed = names.iter().filter(is_made).all(|info| self.storage.remove(&info.name).is_ok());
        if removed && self.storage.sync_names().is_ok() {
            let _gone = self.storage.remove(FLOOR);
            let _free = self.storage.remove(LOCK);
        }
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if !self.is_complete {
            self.discard();
        }
        self.lock = None;
    }
}

/// Refuses a place that holds something; names the files of other databases that an unfinished checkpoint linked there.
fn check_vacant(storage: &dyn Storage, what: &str) -> Result<Vec<String>> {
    let names = storage.list().map_err(|source| Error::io("list the target", source))?;
    let database = unfinished(storage, &names);
    let mut links = Vec::new();
    for info in &names {
        let is_own = database.is_some_and(|database| belongs(storage, info, database, &[]));
        match FileName::parse(&info.name) {
            FileName::Lock => {}
            FileName::Floor if database.is_some() => {}
            FileName::Temporary if info.name.ends_with(FLOOR) || database.is_some() => {}
            _ if is_own => {}
            FileName::Segment(_) if database.is_some() && is_linked(storage, info) => links.push(info.name.clone()),
            _ => {
                let message = format!("the target of a {what} must be empty: it holds {}", info.name);
                return Err(Error::new(ErrorKind::AlreadyExists, message));
            }
        }
    }
    Ok(links)
}

/// Builds in a directory; one that was made for it goes again if that fails.
pub(super) fn in_directory<T>(path: &Path, build: impl FnOnce(Arc<Directory>) -> Result<T>) -> Result<T> {
    let is_new = fs::is_missing(path);
    let target = Directory::create(path).map_err(|source| Error::io(format_args!("create the directory {}", path.display()), source))?;
    let built = build(Arc::new(target));
    if built.is_err() && is_new {
        fs::remove_empty(path);
    }
    built
}
