use byteorder::{ByteOrder, LittleEndian};

use crate::error::{Error, Result};
use crate::types::FileId;

/// Reads fields one behind the other; every error names the offset at which the input went wrong.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    position: u64,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, position: 0 }
    }

    /// Offset of the next byte from the start of the input.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Everything not yet read, without reading it.
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(len) else {
            let left = self.rest.len();
            return Err(Error::corruption(format!("{len} bytes expected, {left} are left")).at(self.position));
        };
        self.rest = rest;
        self.position += len as u64;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.position;
        self.take(N)?.try_into().map_err(|_| Error::corruption("bytes are missing").at(at))
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array::<2>().map(|bytes| LittleEndian::read_u16(&bytes))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array::<4>().map(|bytes| LittleEndian::read_u32(&bytes))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array::<8>().map(|bytes| LittleEndian::read_u64(&bytes))
    }

    pub(crate) fn file_id(&mut self) -> Result<FileId> {
        self.array().map(FileId)
    }

    /// A `u16` length and that many bytes.
    pub(crate) fn bytes16(&mut self) -> Result<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// A `u32` length and that many bytes.
    pub(crate) fn bytes32(&mut self) -> Result<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    pub(crate) fn text16(&mut self) -> Result<&'a str> {
        let at = self.position;
        utf8(self.bytes16()?).map_err(|error| error.at(at))
    }

    pub(crate) fn text32(&mut self) -> Result<&'a str> {
        let at = self.position;
        utf8(self.bytes32()?).map_err(|error| error.at(at))
    }

    /// A `u32` count of entries of at least `entry_bytes_min` each: refused if they cannot all be there, so that the
    /// caller may reserve room for them.
    pub(crate) fn count(&mut self, entry_bytes_min: usize) -> Result<usize> {
        let at = self.position;
        let count = self.u32()? as usize;
        if count > self.rest.len() / entry_bytes_min.max(1) {
            let left = self.rest.len();
            return Err(Error::corruption(format!("{count} entries expected in the {left} bytes that are left")).at(at));
        }
        Ok(count)
    }

    /// Reserved bytes.
    pub(crate) fn zeros(&mut self, len: usize) -> Result<()> {
        let at = self.position;
        match first_nonzero(self.take(len)?) {
            Some(index) => Err(Error::corruption("reserved byte is not zero").at(at + index as u64)),
            None => Ok(()),
        }
    }

    /// Refuses bytes behind the last field.
    pub(crate) fn finish(self) -> Result<()> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Error::corruption(format!("{left} bytes too many")).at(self.position)),
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| Error::corruption("text is not UTF-8"))
}

/// Where the first byte that is not zero stands. Free space is mostly zeros, in long runs: these are compared a piece at a time.
pub(crate) fn first_nonzero(bytes: &[u8]) -> Option<usize> {
    const PIECE: usize = 512;
    let start = bytes.chunks(PIECE).position(|piece| Some(piece) != [0; PIECE].get(..piece.len()))? * PIECE;
    let index = bytes.get(start..)?.iter().position(|&byte| byte != 0)?;
    Some(start + index)
}

#[cfg(test)]
mod tests {
    use super::{Reader, first_nonzero};

    #[test]
    fn the_first_byte_that_is_not_zero_is_found_wherever_it_stands() {
        for len in [0, 1, 511, 512, 513, 1500] {
            assert_eq!(first_nonzero(&vec![0; len]), None, "{len}");
            for at in 0..len {
                let mut bytes = vec![0; len];
                bytes[at..].fill(7);
                assert_eq!(first_nonzero(&bytes), Some(at), "{len}");
            }
        }
    }

    #[test]
    fn fields_are_little_endian_and_in_order() {
        let bytes = [1, 2, 0, 3, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2, 0, b'h', b'i', 1, 0, 0, 0, b'!', 0, 0];
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.u8().unwrap(), reader.u16().unwrap(), reader.u32().unwrap(), reader.u64().unwrap()), (1, 2, 3, 4));
        assert_eq!((reader.text16().unwrap(), reader.text32().unwrap()), ("hi", "!"));
        reader.zeros(2).unwrap();
        reader.finish().unwrap();
    }

    #[test]
    fn errors_name_the_offset() {
        let mut reader = Reader::new(&[9, 0xFF, 0xFF, 1]);
        reader.u8().unwrap();
        assert_eq!(reader.clone().u64().unwrap_err().offset(), Some(1));
        assert_eq!(reader.clone().bytes16().unwrap_err().offset(), Some(3));
        assert_eq!(reader.clone().zeros(3).unwrap_err().offset(), Some(1));
        assert_eq!(reader.finish().unwrap_err().offset(), Some(1));
        assert_eq!(Reader::new(&[2, 0, 0xC3, 0x28]).text16().unwrap_err().offset(), Some(0));
    }

    #[test]
    fn counts_are_checked_against_what_is_left() {
        let bytes = [3, 0, 0, 0, 1, 2, 3, 4, 5, 6];
        assert_eq!(Reader::new(&bytes).count(2).unwrap(), 3);
        assert_eq!(Reader::new(&bytes).count(3).unwrap_err().offset(), Some(0));
        assert!(Reader::new(&[0xFF; 8]).count(0).is_err());
    }
}
