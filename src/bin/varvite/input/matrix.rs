//! Rows of f32 that follow one another in a file, read in pieces.

use std::io::{self, Read};

use crate::{
    failure::{Failure, Outcome},
    text::{counted, grouped},
};

/// Most elements of a row, as in the engine.
pub(crate) const DIMENSION_MAX: u64 = 65_535;

/// Where the rows of a file stand.
pub(crate) struct Shape {
    pub(crate) rows: u64,
    pub(crate) dimension: u64,
    /// Bytes before the elements of each row; they repeat the dimension.
    pub(crate) row_prefix: u64,
    /// Offset of the first row.
    pub(crate) data: u64,
    /// Whether the file held one row without saying so.
    pub(crate) one_dimensional: bool,
}

pub(crate) struct Matrix<R> {
    reader: R,
    name: String,
    shape: Shape,
    dimension: usize,
    next: u64,
    row: Vec<u8>,
}

impl<R: Read> Matrix<R> {
    /// Checks that the file's `length` is what `shape` makes it; `reader` stands before the first row.
    pub(crate) fn new(reader: R, name: &str, shape: Shape, length: u64) -> Outcome<Self> {
        let wrong = |offset: u64, what: String| Err(Failure::refused(format!("'{name}' at byte {offset}: {what}")));
        let dimension = match usize::try_from(shape.dimension) {
            Ok(dimension) if (1..=DIMENSION_MAX).contains(&shape.dimension) => dimension,
            _ => return wrong(0, format!("dimension {} refused: 1 to 65,535 are possible", shape.dimension)),
        };
        let row_bytes = shape.row_prefix + shape.dimension * 4;
        let expected = u128::from(shape.data) + u128::from(shape.rows) * u128::from(row_bytes);
        if u128::from(length) < expected {
            let whole = length.saturating_sub(shape.data) / row_bytes;
            return wrong(length, format!("the file is truncated: it ends after {} of {}", grouped(whole), counted(shape.rows, "row")));
        }
        if u128::from(length) > expected {
            return wrong(length, format!("the file is too long: {} end at byte {expected}", counted(shape.rows, "row")));
        }
        let row = vec![0; dimension * 4];
        Ok(Self { reader, name: name.to_owned(), shape, dimension, next: 0, row })
    }

    pub(crate) fn rows(&self) -> u64 {
        self.shape.rows
    }

    pub(crate) fn dimension(&self) -> usize {
        self.dimension
    }

    pub(crate) fn is_one_dimensional(&self) -> bool {
        self.shape.one_dimensional
    }

    /// Appends up to `count` rows to `out` and returns how many.
    pub(crate) fn read_rows(&mut self, count: usize, out: &mut Vec<f32>) -> Outcome<usize> {
        for done in 0..count {
            if self.next == self.shape.rows {
                return Ok(done);
            }
            self.read_row(out)?;
            self.next += 1;
        }
        Ok(count)
    }

    fn read_row(&mut self, out: &mut Vec<f32>) -> Outcome {
        let offset = self.shape.data + self.next * (self.shape.row_prefix + self.shape.dimension * 4);
        if self.shape.row_prefix == 4 {
            let mut prefix = [0; 4];
            self.reader.read_exact(&mut prefix).map_err(|error| self.broken(offset, &error))?;
            let dimension = i32::from_le_bytes(prefix);
            if i64::from(dimension) != self.shape.dimension.cast_signed() {
                let first = self.shape.dimension;
                return Err(Failure::refused(format!(
                    "'{}' at byte {offset}: row {} says it has {dimension} elements, the first row has {first}",
                    self.name, self.next
                )));
            }
        }
        self.reader.read_exact(&mut self.row).map_err(|error| self.broken(offset, &error))?;
        out.extend(self.row.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
        Ok(())
    }

    fn broken(&self, offset: u64, error: &io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                Failure::refused(format!("'{}' at byte {offset}: the file ends in row {}", self.name, self.next))
            }
            _ => Failure::refused(format!("cannot read '{}' at byte {offset}: {error}", self.name)),
        }
    }
}
