//! File semantics over a buffer: holes are zeros, and memory that is not there is an error.

use std::io;

/// Changes a buffer's length; new bytes are zeros. Memory that is not there is an error, not an abort.
pub(super) fn resize(bytes: &mut Vec<u8>, len: u64) -> io::Result<()> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    bytes.try_reserve(len.saturating_sub(bytes.len())).map_err(|_| io::ErrorKind::StorageFull)?;
    bytes.resize(len, 0);
    Ok(())
}

/// Puts `part` at an offset, with zeros before it where there was nothing.
pub(super) fn overwrite(bytes: &mut Vec<u8>, offset: u64, part: &[u8]) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    let end = offset.checked_add(part.len() as u64).ok_or(io::ErrorKind::FileTooLarge)?;
    if end > bytes.len() as u64 {
        resize(bytes, end)?;
    }
    // Cannot be cut short or fail: the buffer reaches to `end`.
    if let Some(place) = bytes.get_mut(offset as usize..end as usize) {
        place.copy_from_slice(part);
    }
    Ok(())
}

/// Fills `buffer` from an offset of `bytes`.
pub(super) fn read_exact(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    if buffer.is_empty() {
        return Ok(());
    }
    let part = usize::try_from(offset).ok().and_then(|start| bytes.get(start..)?.get(..buffer.len()));
    buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{overwrite, read_exact, resize};

    #[test]
    fn holes_are_zeros_and_ends_are_errors() {
        let mut bytes = Vec::new();
        overwrite(&mut bytes, 3, b"ab").unwrap();
        assert_eq!(bytes, [0, 0, 0, b'a', b'b']);
        overwrite(&mut bytes, 100, b"").unwrap();
        assert_eq!(bytes.len(), 5);
        let mut buffer = [9; 2];
        read_exact(&bytes, 3, &mut buffer).unwrap();
        assert_eq!(&buffer, b"ab");
        assert!(read_exact(&bytes, 4, &mut buffer).is_err() && read_exact(&bytes, u64::MAX, &mut buffer).is_err());
        assert!(overwrite(&mut bytes, u64::MAX, b"ab").is_err() && resize(&mut bytes, u64::MAX).is_err());
        assert_eq!(bytes.len(), 5);
    }
}
