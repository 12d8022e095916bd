//! Lines of a text file, one at a time, with their numbers.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

use crate::failure::{Failure, Outcome};

/// Longest line that is read: a document and metadata of 64 MiB each, with every character escaped, fit.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// U+FEFF in UTF-8, which some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub(crate) struct Lines<R> {
    reader: R,
    path: PathBuf,
    number: u64,
    buffer: Vec<u8>,
    /// How the first line of ids ends, and so must all.
    ends_in_crlf: Option<bool>,
}

impl Lines<BufReader<File>> {
    pub(crate) fn open(path: &Path) -> Outcome<Self> {
        let (file, _) = crate::files::open_regular(path)?;
        Ok(Self::new(BufReader::with_capacity(1 << 18, file), path))
    }
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, path: &Path) -> Self {
        Self { reader, path: path.to_owned(), number: 0, buffer: Vec::new(), ends_in_crlf: None }
    }

    /// The next line without its LF; a LF at the end of the file ends the last line and begins none. A byte order mark belongs to none either.
    pub(crate) fn next_line(&mut self) -> Outcome<Option<&[u8]>> {
        Ok(self.read_line()?.map(|_| self.buffer.as_slice()))
    }

    /// The next line as an id: without CR LF, if all lines end so. What could be a wrong id is refused, for nobody would see it.
    pub(crate) fn next_id(&mut self) -> Outcome<Option<&[u8]>> {
        let Some(ended) = self.read_line()? else { return Ok(None) };
        if ended {
            let crlf = self.buffer.last() == Some(&b'\r');
            let expected = *self.ends_in_crlf.get_or_insert(crlf);
            if expected != crlf {
                let (this, others) = if crlf { ("CR LF", "LF") } else { ("LF", "CR LF") };
                let what = format!(
                    "ends in {this}, the lines before it in {others}: use one line end (ids that end in a carriage return: --id-encoding hex)"
                );
                return Err(self.complaint(&what));
            }
            if crlf {
                self.buffer.pop();
            }
        }
        if self.buffer.last() == Some(&b'\r') {
            return Err(self.complaint("the id ends in a carriage return: remove it, or write ids in hex and say --id-encoding hex"));
        }
        Ok(Some(&self.buffer))
    }

    /// Reads a line into the buffer and tells whether a LF ended it; `None` at the end.
    fn read_line(&mut self) -> Outcome<Option<bool>> {
        self.buffer.clear();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer);
        if let Err(error) = read {
            return Err(Failure::file("read", &self.path, &error));
        }
        if self.buffer.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let ended = self.buffer.last() == Some(&b'\n');
        if ended {
            self.buffer.pop();
        } else if self.buffer.len() as u64 == LINE_BYTES_MAX {
            return Err(self.complaint("is longer than 1 GiB"));
        }
        if self.number == 1 && self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.drain(..BYTE_ORDER_MARK.len());
        }
        Ok(Some(ended))
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
        assert_eq!(lines(b"\xef\xbb\xbfa\n\xef\xbb\xbfb"), [&b"a"[..], b"\xef\xbb\xbfb"]);
    }

    #[test]
    fn ids_are_the_same_with_every_line_end_or_refused() {
        let ids = |bytes: &[u8]| {
            let mut lines = Lines::new(bytes, Path::new("f"));
            let mut all = Vec::new();
            while let Some(id) = lines.next_id().map_err(|error| error.to_string())? {
                all.push(String::from_utf8(id.to_vec()).unwrap());
            }
            Ok::<_, String>(all)
        };
        for same in ["a\nb\n", "a\nb", "a\r\nb\r\n", "a\r\nb", "\u{feff}a\nb\n", "\u{feff}a\r\nb"] {
            assert_eq!(ids(same.as_bytes()).unwrap(), ["a", "b"], "{same:?}");
        }
        assert_eq!(ids(b"a\rb\n").unwrap(), ["a\rb"]);
        for (mixed, reason) in [
            ("a\nb\r\n", "line 2: ends in CR LF, the lines before it in LF"),
            ("a\r\nb\n", "line 2: ends in LF, the lines before it in CR LF"),
            ("a\nb\r", "line 2: the id ends in a carriage return"),
            ("a\r\r\n", "line 1: the id ends in a carriage return"),
            ("a\r", "--id-encoding hex"),
        ] {
            let error = ids(mixed.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{mixed:?}: {error}");
        }
    }
}
