//! NumPy's .npy files: versions 1 to 3, little-endian f32 in C order. Read and written row by row.

use std::io::{self, Read, Write};

use super::matrix::{Matrix, Shape};
use crate::failure::{Failure, Outcome};

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// Longest header that is believed; numpy's own are below 200 bytes.
const HEADER_BYTES_MAX: u32 = 1 << 16;
/// numpy leaves room for the first number of the shape to grow to this many digits.
const GROWTH_DIGITS: usize = 21;

/// Reads the header of a file of `length` bytes and stands before its first row.
pub(crate) fn open<R: Read>(mut reader: R, length: u64, name: &str) -> Outcome<Matrix<R>> {
    let wrong = |offset: u64, what: String| Failure::refused(format!("'{name}' at byte {offset}: {what}"));
    let mut lead = [0; 8];
    fill(&mut reader, &mut lead, name, 0)?;
    let [magic @ .., major, _minor] = lead;
    if &magic != MAGIC {
        return Err(wrong(0, "this is not a .npy file (it does not begin with \\x93NUMPY)".to_owned()));
    }
    let (prefix, header_length) = match major {
        1 => {
            let mut bytes = [0; 2];
            fill(&mut reader, &mut bytes, name, 8)?;
            (10, u32::from(u16::from_le_bytes(bytes)))
        }
        2 | 3 => {
            let mut bytes = [0; 4];
            fill(&mut reader, &mut bytes, name, 8)?;
            (12, u32::from_le_bytes(bytes))
        }
        other => return Err(wrong(6, format!("version {other} of .npy is unknown: 1, 2 and 3 are read"))),
    };
    if header_length > HEADER_BYTES_MAX || u64::from(header_length) + prefix > length {
        return Err(wrong(8, format!("a header of {header_length} bytes refused: the file is damaged or truncated")));
    }
    let mut header = vec![0; header_length as usize];
    fill(&mut reader, &mut header, name, prefix)?;
    let header = String::from_utf8(header).map_err(|_| wrong(prefix, "the header is not text".to_owned()))?;
    let (rows, dimension, one_dimensional) = Header::parse(&header).and_then(|h| h.shape()).map_err(|what| wrong(prefix, what))?;
    let data = prefix + u64::from(header_length);
    Matrix::new(reader, name, Shape { rows, dimension, row_prefix: 0, data, one_dimensional }, length)
}

fn fill(reader: &mut impl Read, bytes: &mut [u8], name: &str, offset: u64) -> Outcome {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Failure::refused(format!("'{name}' at byte {offset}: the file ends in the middle of its .npy header"))
        }
        _ => Failure::refused(format!("cannot read '{name}': {error}")),
    })
}

/// What the Python dictionary in the header says.
#[derive(Debug, Default, PartialEq)]
struct Header<'a> {
    element_type: Option<&'a str>,
    fortran_order: Option<bool>,
    shape: Option<Vec<u64>>,
}

impl<'a> Header<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let broken = || format!("the header is not the dictionary that numpy writes: {:?}", text.chars().take(120).collect::<String>());
        let mut header = Self::default();
        let mut rest = text.trim().strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(broken)?.trim_start();
        while !rest.is_empty() {
            let (key, after) = quoted(rest).ok_or_else(broken)?;
            let value = after.trim_start().strip_prefix(':').ok_or_else(broken)?.trim_start();
            let after = match key {
                "descr" if value.starts_with('[') => {
                    return Err("a structured array refused: save one plain array of f32".to_owned());
                }
                "descr" => {
                    let (name, after) = quoted(value).ok_or_else(broken)?;
                    header.element_type = Some(name);
                    after
                }
                "fortran_order" => {
                    let (truth, after) = truth(value).ok_or_else(broken)?;
                    header.fortran_order = Some(truth);
                    after
                }
                "shape" => {
                    let (inside, after) = value.strip_prefix('(').and_then(|t| t.split_once(')')).ok_or_else(broken)?;
                    header.shape = Some(numbers(inside).ok_or_else(broken)?);
                    after
                }
                _ => return Err(broken()),
            };
            let after = after.trim_start();
            rest = match after.strip_prefix(',') {
                Some(next) => next.trim_start(),
                None if after.is_empty() => after,
                None => return Err(broken()),
            };
        }
        Ok(header)
    }

    /// Rows, dimension and whether the array is one-dimensional, if it is an array that can be read.
    fn shape(self) -> Result<(u64, u64, bool), String> {
        let missing = |key: &str| format!("the header lacks '{key}'");
        match self.element_type.ok_or_else(|| missing("descr"))? {
            "<f4" => {}
            other => {
                return Err(format!(
                    "elements of type '{other}' refused: only little-endian f32 ('<f4') keeps every bit; convert with array.astype('<f4')"
                ));
            }
        }
        let shape = self.shape.ok_or_else(|| missing("shape"))?;
        if self.fortran_order.ok_or_else(|| missing("fortran_order"))? {
            return Err("an array in Fortran order refused: convert with numpy.ascontiguousarray(array)".to_owned());
        }
        match *shape {
            [rows, dimension] => Ok((rows, dimension, false)),
            [dimension] => Ok((1, dimension, true)),
            _ => Err(format!("an array of {} dimensions refused: rows and elements are two", shape.len())),
        }
    }
}

fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.get(1..)?.split_once(quote)
}

fn truth(text: &str) -> Option<(bool, &str)> {
    text.strip_prefix("False").map(|rest| (false, rest)).or_else(|| text.strip_prefix("True").map(|rest| (true, rest)))
}

fn numbers(text: &str) -> Option<Vec<u64>> {
    let text = text.trim();
    let text = text.strip_suffix(',').unwrap_or(text);
    if text.trim().is_empty() {
        return Some(Vec::new());
    }
    // Python 2 wrote 3L.
    text.split(',').map(|part| part.trim().trim_end_matches('L').parse().ok()).collect()
}

/// Writes the header of a `rows` × `dimension` array, byte for byte as numpy does.
pub(crate) fn write_header(out: &mut impl Write, rows: u64, dimension: usize) -> io::Result<()> {
    let growth = GROWTH_DIGITS.saturating_sub(rows.to_string().len());
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dimension}), }}{:growth$}", "");
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    let padding = 64 - unpadded % 64;
    header.push_str(&" ".repeat(padding));
    header.push('\n');
    let length = u16::try_from(header.len()).map_err(io::Error::other)?;
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(header.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([version, 0]);
        match version {
            1 => bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes()),
            _ => bytes.extend(u32::try_from(header.len()).unwrap().to_le_bytes()),
        }
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<(u64, usize, Vec<f32>), String> {
        let mut matrix = open(bytes, bytes.len() as u64, "f.npy").map_err(|error| error.to_string())?;
        let mut rows = Vec::new();
        while matrix.read_rows(2, &mut rows).map_err(|error| error.to_string())? > 0 {}
        Ok((matrix.rows(), matrix.dimension(), rows))
    }

    fn f32s(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn all_three_versions_are_read() {
        for version in 1..=3 {
            let bytes =
                file(version, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }  \n", &f32s(&[1., -0., 3., 4., 5., 6e-45]));
            assert_eq!(read(&bytes).unwrap(), (3, 2, vec![1., -0., 3., 4., 5., 6e-45]));
        }
        let one = file(1, "{\"shape\":(2L,),'fortran_order':False,'descr':'<f4'}", &f32s(&[1., 2.]));
        assert_eq!(read(&one).unwrap(), (1, 2, vec![1., 2.]));
        let none = file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2)}", &[]);
        assert_eq!(read(&none).unwrap(), (0, 2, vec![]));
    }

    #[test]
    fn hostile_headers_are_refused_by_name() {
        let head = |kind: &str, order: &str, shape: &str| {
            file(1, &format!("{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}\n"), &[0; 16])
        };
        for (bytes, reason) in [
            (head("'<f8'", "False", "(1, 2)"), "'<f8'"),
            (head("'>f4'", "False", "(2, 2)"), "'>f4'"),
            (head("[('a', '<f4')]", "False", "(4,)"), "structured"),
            (head("'<f4'", "True", "(2, 2)"), "Fortran"),
            (head("'<f4'", "False", "(2, 1, 2)"), "3 dimensions"),
            (head("'<f4'", "False", "()"), "0 dimensions"),
            (head("'<f4'", "False", "(2, -2)"), "dictionary"),
            (head("'<f4'", "False", "(4, 0)"), "dimension"),
            (head("'<f4'", "False", "(0, 99999)"), "dimension"),
            (head("'<f4'", "False", "(3, 2)"), "truncated"),
            (head("'<f4'", "False", "(1, 2)"), "too long"),
            (head("'<f4'", "False", "(18446744073709551615, 65535)"), "truncated"),
            (head("'<f4'", "False", "(99999999999999999999, 2)"), "dictionary"),
            (head("'<f4'", "Maybe", "(2, 2)"), "dictionary"),
            (file(1, "{'descr': '<f4'}", &[]), "lacks"),
            (file(1, "hello", &[]), "dictionary"),
            (file(9, "{}", &[]), "version 9"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec(), "header of 4294967295"),
            (b"\x93NUMPY\x01\x00\xff\x00{}".to_vec(), "header of 255"),
            (b"\x93NUMPY\x01".to_vec(), "byte 0"),
            (b"PK\x03\x04 an .npz file".to_vec(), "not a .npy"),
            (Vec::new(), "ends"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(reason) && error.contains("'f.npy' at byte"), "{reason}: {error}");
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }\n", &f32s(&[1., 2., 3., 4., 5., 6.]));
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
        assert!(read(&whole).is_ok());
    }

    #[test]
    fn the_written_header_is_numpys() {
        let mut written = Vec::new();
        write_header(&mut written, 1228, 384).unwrap();
        let numpy = include_bytes!("../../../../examples/data/verses.npy");
        assert_eq!(written, numpy[..128]);
        for (rows, dimension) in [(0, 1), (1, 65_535), (u64::MAX, 65_535)] {
            let mut bytes = Vec::new();
            write_header(&mut bytes, rows, dimension).unwrap();
            assert_eq!(bytes.len() % 64, 0);
            let header = std::str::from_utf8(&bytes[10..]).unwrap();
            assert_eq!(Header::parse(header).unwrap().shape().unwrap(), (rows, dimension as u64, false));
        }
    }
}
