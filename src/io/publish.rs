//! How a complete file becomes visible: the same steps on every storage, so that the simulated disk can stop between any two of them.

use std::io;

use super::Storage;

/// Refuses what could leave a flat directory.
pub(super) fn check_name(name: &str) -> io::Result<()> {
    let legal = (1..=255).contains(&name.len()) && !name.contains(['/', '\0']) && name != "." && name != "..";
    if legal {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not the name of a file in a storage")))
    }
}

/// Publishes by `storage`'s single steps and `link`, which gives a file a second name (or moves it there) but never replaces one.
///
/// Callers exclude each other: a second publisher of the same name would remove the first one's temporary file.
pub(super) fn publish(storage: &dyn Storage, link: &dyn Fn(&str, &str) -> io::Result<()>, name: &str, bytes: &[u8]) -> io::Result<()> {
    check_name(name)?;
    let temporary = format!("tmp-{name}");
    remove_if_present(storage, &temporary)?;
    let linked = write_whole(storage, &temporary, bytes).and_then(|()| link(&temporary, name));
    if let Err(error) = linked {
        // The error that counts is the first; a temporary file left behind is harmless.
        let _ = storage.remove(&temporary);
        return Err(error);
    }
    remove_if_present(storage, &temporary)?;
    storage.sync_names()
}

fn write_whole(storage: &dyn Storage, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = storage.create(name)?;
    file.write_at(0, bytes)?;
    file.sync_data()
}

fn remove_if_present(storage: &dyn Storage, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_cannot_leave_the_directory() {
        for name in ["", ".", "..", "/", "a/b", "../a", "a\0b", &"x".repeat(256)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        for name in ["a", "...", "seg-00000001", "a b", "ä", &"x".repeat(255)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
    }
}
