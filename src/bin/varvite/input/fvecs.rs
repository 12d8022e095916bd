//! .fvecs files: each row is its dimension (u32, little-endian) and that many f32.

use std::io::{Chain, Cursor, Read, copy, sink};

use super::matrix::{DIMENSION_MAX, Matrix, Shape};
use crate::failure::{Failure, Outcome};

/// A reader whose first four bytes were looked at, from its beginning.
pub(crate) type Whole<R> = Chain<Cursor<[u8; 4]>, R>;

/// Looks at the first row of a file of `length` bytes; `None` if the file is empty, which says nothing about a dimension.
pub(crate) fn open<R: Read>(mut reader: R, length: u64, name: &str) -> Outcome<Option<Matrix<Whole<R>>>> {
    if length == 0 {
        return Ok(None);
    }
    let mut first = [0; 4];
    reader.read_exact(&mut first).map_err(|error| Failure::refused(format!("'{name}' at byte 0: this is not an .fvecs file: {error}")))?;
    // The format's own readers take it for signed.
    let stated = i32::from_le_bytes(first);
    let dimension = match u64::try_from(stated) {
        Ok(dimension) if (1..=DIMENSION_MAX).contains(&dimension) => dimension,
        _ => return Err(Failure::refused(format!("'{name}' at byte 0: dimension {stated} refused: 1 to 65,535 are possible"))),
    };
    let row_bytes = 4 + dimension * 4;
    let rows = length / row_bytes;
    if !length.is_multiple_of(row_bytes) {
        refuse_ragged(&mut reader, rows, dimension, name)?;
        let offset = rows * row_bytes;
        return Err(Failure::refused(format!(
            "'{name}' at byte {offset}: the file is truncated: it ends in row {rows} of {dimension} elements"
        )));
    }
    let whole = Cursor::new(first).chain(reader);
    Matrix::new(whole, name, Shape { rows, dimension, row_prefix: 4, data: 0, one_dimensional: false }, length).map(Some)
}

/// Names the row that has another dimension than the first, if one has: that, and no truncation, is why the length does not fit.
fn refuse_ragged<R: Read>(reader: &mut R, rows: u64, dimension: u64, name: &str) -> Outcome {
    let failed = |error| Failure::refused(format!("cannot read '{name}': {error}"));
    for row in 1..=rows {
        copy(&mut reader.by_ref().take(dimension * 4), &mut sink()).map_err(failed)?;
        let mut prefix = [0; 4];
        if reader.read_exact(&mut prefix).is_err() {
            return Ok(());
        }
        let stated = i32::from_le_bytes(prefix);
        if i64::from(stated) != dimension.cast_signed() {
            let offset = row * (4 + dimension * 4);
            return Err(Failure::refused(format!(
                "'{name}' at byte {offset}: row {row} says it has {stated} elements, the first row has {dimension}"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<f32>, String> {
        let mut rows = Vec::new();
        if let Some(mut matrix) = open(bytes, bytes.len() as u64, "f.fvecs").map_err(|error| error.to_string())? {
            while matrix.read_rows(1, &mut rows).map_err(|error| error.to_string())? > 0 {}
        }
        Ok(rows)
    }

    fn row(dimension: u32, values: &[f32]) -> Vec<u8> {
        dimension.to_le_bytes().into_iter().chain(values.iter().flat_map(|value| value.to_le_bytes())).collect()
    }

    #[test]
    fn rows_are_read_and_every_truncation_is_an_error() {
        let whole = [row(2, &[1., 2.]), row(2, &[3., -0.])].concat();
        assert_eq!(read(&whole).unwrap(), [1., 2., 3., -0.]);
        assert!(read(&[]).unwrap().is_empty());
        for end in (1..whole.len()).filter(|end| *end != 12) {
            let error = read(&whole[..end]).unwrap_err();
            assert!(error.contains("'f.fvecs' at byte"), "cut at {end}: {error}");
        }
    }

    #[test]
    fn hostile_dimensions_are_refused_by_name() {
        for (bytes, reason) in [
            (row(0, &[]), "dimension 0"),
            (row(u32::MAX, &[1.]), "dimension -1 refused"),
            ([row(2, &[1., 2.]), row(3, &[3., 4., 5.])].concat(), "row 1 says it has 3 elements"),
            (row(65_535, &[1.]), "truncated"),
            ([row(2, &[1., 2.]), row(1, &[3., 4.])].concat(), "row 1 says it has 1 elements"),
        ] {
            let error = read(&bytes).unwrap_err();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
}
