//! Ids and vectors: random ones made from a seed (the Python runner makes the same), or real ones from files.

use std::path::Path;

use crate::engine::Result;

/// Floats in the pool that random rows are cut from: rows cost no memory and no time to make, and no two of a million are the same.
const POOL: usize = 1 << 20;
const SEED: u64 = 42;
/// Rows a batch, as in every load.
pub const BATCH: usize = 1000;

/// The finaliser of SplitMix64.
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A generator of its own for every thread and purpose.
pub struct Random(u64);

impl Random {
    pub fn new(stream: u64) -> Self {
        Self(mix(SEED ^ mix(stream)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Skewed towards low numbers: rank r is drawn about in proportion to 1/r (Zipf with exponent 1, by inversion of its continuous form).
    pub fn zipf(&mut self, bound: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((bound as f64).powf(unit) as usize).saturating_sub(1).min(bound - 1)
    }
}

/// The rows of one data set.
pub struct Data {
    /// Of real rows; random ones have a pattern.
    ids: Option<Vec<Vec<u8>>>,
    floats: Vec<f32>,
    pub dimension: usize,
    pub rows: usize,
}

impl Data {
    pub fn random(rows: usize, dimension: usize) -> Self {
        let floats = (0..POOL as u64).map(|i| (mix(SEED ^ i) >> 40) as f32 / 16_777_216.0 - 0.5).collect();
        Self { ids: None, floats, dimension, rows }
    }

    /// The first rows of an npy file, and an id a line.
    pub fn real(vectors: &Path, ids: &Path, rows: usize) -> Result<Self> {
        let (floats, dimension) = read_npy(vectors)?;
        let ids: Vec<Vec<u8>> = std::fs::read_to_string(ids)?.lines().map(|line| line.as_bytes().to_vec()).collect();
        if ids.len() * dimension != floats.len() {
            return Err(format!("{} ids for {} vectors", ids.len(), floats.len() / dimension).into());
        }
        let rows = rows.min(ids.len());
        Ok(Self { ids: Some(ids), floats, dimension, rows })
    }

    pub fn id(&self, row: usize) -> Vec<u8> {
        match &self.ids {
            Some(ids) => ids[row].clone(),
            None => format!("doc-{row:08}#chunk-3").into_bytes(),
        }
    }

    /// An id that is not there, between those that are.
    pub fn missing_id(&self, row: usize) -> Vec<u8> {
        let mut id = self.id(row);
        id.push(b'?');
        id
    }

    /// A prefix of the row's id that some hundred rows share at most.
    pub fn prefix(&self, row: usize) -> Vec<u8> {
        let mut id = self.id(row);
        let end =
            if self.ids.is_none() { "doc-000000".len() } else { id.iter().rposition(|byte| *byte == b':').map_or(id.len(), |at| at + 1) };
        id.truncate(end);
        id
    }

    /// The vector that a row has after so many overwrites.
    pub fn vector(&self, row: usize, version: u64) -> &[f32] {
        let at = match &self.ids {
            Some(_) => (row + version as usize) % self.rows * self.dimension,
            None => mix(row as u64 ^ (version << 40)) as usize % (self.floats.len() - self.dimension),
        };
        &self.floats[at..at + self.dimension]
    }

    pub fn row_bytes(&self, row: usize) -> usize {
        self.id(row).len() + self.dimension * 4
    }

    /// Bytes of all ids and vectors.
    pub fn bytes(&self) -> u64 {
        let ids: usize = match &self.ids {
            Some(ids) => ids[..self.rows].iter().map(Vec::len).sum(),
            None => self.id(0).len() * self.rows,
        };
        (ids + self.rows * self.dimension * 4) as u64
    }

    /// All rows in random order.
    pub fn order(&self) -> Vec<usize> {
        let mut keyed: Vec<(u64, usize)> = (0..self.rows).map(|row| (mix(row as u64 ^ SEED), row)).collect();
        keyed.sort_unstable();
        keyed.into_iter().map(|(_, row)| row).collect()
    }

    /// All rows in the order of their ids.
    pub fn sorted(&self) -> Vec<(Vec<u8>, usize)> {
        let mut entries: Vec<(Vec<u8>, usize)> = (0..self.rows).map(|row| (self.id(row), row)).collect();
        entries.sort_unstable();
        entries
    }
}

/// What is written at once: ids, and the matrix that an embedding model gives.
#[derive(Default)]
pub struct Batch {
    pub ids: Vec<Vec<u8>>,
    pub rows: Vec<f32>,
    pub dimension: usize,
}

impl Batch {
    pub fn of(data: &Data, rows: &[usize], version: u64) -> Self {
        let mut batch = Self::default();
        batch.fill(data, rows, version);
        batch
    }

    /// In the memory of the batch before it: fresh pages would cost as much as the copy. The first of equal rows counts.
    pub fn fill(&mut self, data: &Data, rows: &[usize], version: u64) {
        let mut seen = std::collections::HashSet::with_capacity(rows.len());
        self.dimension = data.dimension;
        self.ids.clear();
        self.rows.clear();
        for row in rows.iter().filter(|row| seen.insert(**row)) {
            self.ids.push(data.id(*row));
            self.rows.extend_from_slice(data.vector(*row, version));
        }
    }

    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[f32])> {
        self.ids.iter().map(Vec::as_slice).zip(self.rows.chunks_exact(self.dimension))
    }

    pub fn bytes(&self) -> u64 {
        (self.ids.iter().map(Vec::len).sum::<usize>() + self.rows.len() * 4) as u64
    }
}

/// NumPy format 1, little-endian f32, C order, two axes: what the samples are.
fn read_npy(path: &Path) -> Result<(Vec<f32>, usize)> {
    let bytes = std::fs::read(path)?;
    let refuse = || format!("{}: not an npy file of version 1 with a two-dimensional <f4 array in C order", path.display());
    let length = bytes.get(8..10).map(|field| usize::from(field[0]) | usize::from(field[1]) << 8).ok_or_else(refuse)?;
    let header = bytes.get(10..10 + length).and_then(|header| std::str::from_utf8(header).ok()).ok_or_else(refuse)?;
    if !bytes.starts_with(b"\x93NUMPY\x01") || !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err(refuse().into());
    }
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')')).map(|(shape, _)| shape).ok_or_else(refuse)?;
    let dimension = shape.split(',').nth(1).and_then(|axis| axis.trim().parse().ok()).ok_or_else(refuse)?;
    let (values, _) = bytes[10 + length..].as_chunks::<4>();
    Ok((values.iter().map(|value| f32::from_le_bytes(*value)).collect(), dimension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_rows_are_those_that_python_data_makes() {
        let data = Data::random(1000, 384);
        let bits = |at: usize| [0, 7, 999].map(|row| data.vector(row, 0)[at].to_bits());
        // Printed by python/data.py.
        assert_eq!(bits(0), [1_050_089_782, 1_034_188_600, 3_197_216_556]);
        assert_eq!(bits(383), [1_045_273_364, 3_201_140_446, 3_195_215_536]);
        assert_eq!(data.order()[..4], [432, 799, 324, 477]);
        assert_eq!(data.bytes(), 1_556_000);
    }

    #[test]
    fn a_batch_has_no_id_twice() {
        let data = Data::random(10, 8);
        assert_eq!(Batch::of(&data, &[3, 3, 4], 0).ids, [data.id(3), data.id(4)]);
    }

    #[test]
    fn zipf_prefers_low_ranks_and_stays_below_the_bound() {
        let mut random = Random::new(1);
        let drawn: Vec<usize> = (0..10_000).map(|_| random.zipf(1000)).collect();
        assert!(drawn.iter().all(|rank| *rank < 1000));
        assert!(drawn.iter().filter(|rank| **rank < 32).count() > 4000);
    }
}
