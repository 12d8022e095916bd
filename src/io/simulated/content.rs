use std::io;

use crate::{
    io::{
        Bytes,
        buffer::{overwrite, read_exact},
    },
    sync::OnceLock,
};

/// A length from which on it is asked whether there is so much memory.
const LARGE: u64 = 1 << 30;

/// The bytes of a file. Reserved space is not held: logs are zeros, mostly, and a crash is tried a million times.
///
/// ```
/// use varvite::io::{Storage, simulated::SimulatedDisk};
/// let disk = SimulatedDisk::new(1);
/// let file = disk.create("a")?;
/// file.write_at(0, b"ab\0")?;
/// file.allocate(1000)?;
/// let (name, content) = disk.contents().remove(0);
/// assert_eq!((name.as_str(), content.len(), content.used()), ("a", 1000, &b"ab"[..]));
/// assert_eq!(content.to_vec()[..4], *b"ab\0\0");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Content {
    /// What stands behind them, up to `len`, are zeros. Never longer than `len`, but while an image is put together.
    head: Vec<u8>,
    len: u64,
    /// All of it, mapped since the last change.
    mapped: OnceLock<Bytes>,
}

impl Content {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self { len: bytes.len() as u64, head: bytes, mapped: OnceLock::default() }
    }

    /// How long the file is.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "a length in bytes, as of a file")]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Its bytes without the zeros at its end.
    #[must_use]
    pub fn used(&self) -> &[u8] {
        let is_zero = |part: &&[u8]| part.iter().fold(0, |all, byte| all | byte) == 0;
        let zeros: usize = self.head.rchunks(512).take_while(is_zero).map(<[u8]>::len).sum();
        let rest = self.head.get(..self.head.len() - zeros).unwrap_or_default();
        rest.get(..rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)).unwrap_or_default()
    }

    /// All its bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = self.head.clone();
        bytes.resize(self.len as usize, 0);
        bytes
    }

    /// Writes; the file becomes as long as it must.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.put(offset, bytes)?;
        if !bytes.is_empty() {
            self.len = self.len.max(offset.saturating_add(bytes.len() as u64));
        }
        Ok(())
    }

    /// Writes, also behind the end, which stays: the data of a write may reach the device without its length. [`Self::cut_to_length`] follows.
    pub(super) fn put(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.mapped = OnceLock::default();
        overwrite(&mut self.head, offset, bytes)
    }

    /// Forgets what lies behind the end.
    pub(super) fn cut_to_length(&mut self) {
        self.mapped = OnceLock::default();
        self.head.truncate(usize::try_from(self.len).unwrap_or(usize::MAX));
    }

    /// Memory that is not there is an error.
    pub(super) fn lengthen(&mut self, len: u64) -> io::Result<()> {
        if len > LARGE {
            let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
            Vec::<u8>::new().try_reserve_exact(len).map_err(|_| io::ErrorKind::StorageFull)?;
        }
        self.mapped = OnceLock::default();
        self.len = self.len.max(len);
        Ok(())
    }

    pub(super) fn shorten(&mut self, len: u64) {
        self.len = self.len.min(len);
        self.head.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        self.mapped = OnceLock::default();
    }

    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64).filter(|end| *end <= self.len || buffer.is_empty());
        end.ok_or(io::ErrorKind::UnexpectedEof)?;
        let held = (self.head.len() as u64).saturating_sub(offset).min(buffer.len() as u64) as usize;
        let (there, zeros) = buffer.split_at_mut(held);
        zeros.fill(0);
        read_exact(&self.head, offset, there)
    }

    pub(super) fn map(&self) -> Bytes {
        let copy = || {
            let fill = |buffer: &mut [u8]| self.read(0, buffer);
            Bytes::filled(self.len as usize, fill).unwrap_or_else(|_| Bytes::copy_of(&self.to_vec()))
        };
        self.mapped.get_or_init(copy).clone()
    }

    /// Whether there is such a byte.
    pub(super) fn flip(&mut self, offset: u64, mask: u8) -> bool {
        let mut byte = [0];
        self.read(offset, &mut byte).is_ok() && self.write(offset, &[byte[0] ^ mask]).is_ok()
    }
}

impl Clone for Content {
    /// To be changed, mostly: so the copy is not mapped.
    fn clone(&self) -> Self {
        Self { head: self.head.clone(), len: self.len, mapped: OnceLock::default() }
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        (self.len, self.used()) == (other.len, other.used())
    }
}

impl Eq for Content {}

#[cfg(test)]
mod tests {
    use super::Content;

    /// Against a plain buffer, whatever of it is held.
    #[test]
    fn reserved_space_reads_as_zeros_however_it_came_to_be() {
        let mut content = Content::of(b"abc".to_vec());
        content.lengthen(10).unwrap();
        content.lengthen(5).unwrap();
        assert_eq!((content.len(), content.used(), content.to_vec()), (10, &b"abc"[..], b"abc\0\0\0\0\0\0\0".to_vec()));
        assert_eq!(content.map().to_vec(), content.to_vec());
        let mut part = [9; 4];
        content.read(2, &mut part).unwrap();
        assert_eq!(&part, b"c\0\0\0");
        assert!(content.read(7, &mut part).is_err() && content.read(u64::MAX, &mut part).is_err());

        assert!(content.flip(8, 0x81) && !content.flip(10, 1));
        assert_eq!((content.map().to_vec(), content.used().len()), (b"abc\0\0\0\0\0\x81\0".to_vec(), 9));
        content.shorten(6);
        assert_eq!(content.map().to_vec(), b"abc\0\0\0");
        assert!(content == Content::of(b"abc\0\0\0".to_vec()) && content != Content::of(b"abc\0\0".to_vec()));
        content.shorten(2);
        content.lengthen(4).unwrap();
        assert_eq!(content.to_vec(), b"ab\0\0", "what was cut does not come back");
        content.put(6, b"z").unwrap();
        content.cut_to_length();
        content.lengthen(8).unwrap();
        assert_eq!(content.to_vec(), b"ab\0\0\0\0\0\0");
        assert!(content.lengthen(u64::MAX).is_err());
        assert_eq!(content.len(), 8);
    }
}
