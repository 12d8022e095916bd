//! Lines of a text file, one at a time, with their numbers.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Outcome};

/// Longest line that is read: a document and metadata of 64 MiB each, with every character escaped, fit.
const LINE_BYTES_MAX: u64 = 1 << 30;

pub(crate) struct Lines<R> {
    reader: R,
    path: PathBuf,
    number: u64,
    buffer: Vec<u8>,
}

impl Lines<BufReader<File>> {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let (file, _) = crate::files::open_regular(path)?;
        Ok(Self::new(BufReader::with_capacity(1 << 18, file), path))
    }
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, path: &Path) -> Self {
        Self { reader, path: path.to_owned(), number: 0, buffer: Vec::new() }
    }

    /// The next line without its LF; a LF at the end of the file ends the last line and begins none.
    pub(crate) fn next_line(&mut self) -> Outcome<Option<&[u8]>> {
        self.buffer.clear();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer);
        if let Err(error) = read {
            return Err(Failure::file("read", &self.path, &error));
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
        } else if self.buffer.len() as u64 == LINE_BYTES_MAX {
            return Err(self.complaint("is longer than 1 GiB"));
        }
        Ok(Some(&self.buffer))
    }

    /// The number of the line that was read last, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// An error about the line that was read last.
    pub(crate) fn complaint(&self, what: &str) -> Failure {
        Failure::refused(format!("'{}' line {}: {what}", self.path.display(), self.number))
    }
}

impl<R: Read> Lines<BufReader<R>> {
    /// Whether another line has arrived already, so that reading it need not wait.
    pub(crate) fn has_line_waiting(&self) -> bool {
        self.reader.buffer().contains(&b'\n')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut lines = Lines::new(bytes, Path::new("f"));
        let mut all = Vec::new();
        while let Some(line) = lines.next_line().unwrap() {
            all.push(line.to_vec());
        }
        assert_eq!(lines.number(), all.len() as u64);
        all
    }

    #[test]
    fn a_trailing_newline_ends_the_last_line() {
        assert_eq!(lines(b""), Vec::<Vec<u8>>::new());
        assert_eq!(lines(b"a"), [b"a"]);
        assert_eq!(lines(b"a\n"), [b"a"]);
        assert_eq!(lines(b"a\n\nb"), [&b"a"[..], b"", b"b"]);
        assert_eq!(lines(b"\n"), [b""]);
        assert_eq!(lines(b"a\r\n"), [b"a\r"]);
    }
}
