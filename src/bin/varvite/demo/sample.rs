//! The sample that travels inside the program.

use std::path::Path;

use varvite::Fields;

use crate::{
    failure::{Failure, Outcome},
    ids::IdEncoding,
    input::{
        lines::Lines,
        npy,
        records::{RecordLine, next_record},
    },
};

const VECTORS: &[u8] = include_bytes!("../../../../examples/data/verses.npy");
const RECORDS: &[u8] = include_bytes!("../../../../examples/data/verses.jsonl");

pub(super) struct Sample {
    pub(super) dimension: usize,
    vectors: Vec<f32>,
    records: Vec<RecordLine>,
}

#[derive(Clone, Copy)]
pub(super) struct Verse<'a> {
    pub(super) id: &'a [u8],
    pub(super) vector: &'a [f32],
    pub(super) record: &'a RecordLine,
}

impl<'a> Verse<'a> {
    pub(super) fn fields(self) -> Fields<'a> {
        self.record.add_to(Fields::vector(self.vector))
    }

    pub(super) fn text(self) -> &'a str {
        self.record.document().unwrap_or_default()
    }
}

impl Sample {
    pub(super) fn read() -> Outcome<Self> {
        let mut matrix = npy::open(VECTORS, VECTORS.len() as u64, "verses.npy")?;
        let mut sample = Self { dimension: matrix.dimension(), vectors: Vec::new(), records: Vec::new() };
        while matrix.read_rows(1024, &mut sample.vectors)? > 0 {}
        let mut lines = Lines::new(RECORDS, Path::new("verses.jsonl"));
        while let Some(record) = next_record(&mut lines, IdEncoding::Utf8)? {
            sample.records.push(record);
        }
        if sample.records.len() as u64 != matrix.rows() || sample.records.is_empty() {
            return Err(Failure::refused("the sample inside the program is broken: its files do not fit each other"));
        }
        Ok(sample)
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn verses(&self) -> impl Iterator<Item = Verse<'_>> {
        self.records.iter().zip(self.vectors.chunks_exact(self.dimension)).map(|(record, vector)| Verse {
            id: record.id.as_deref().unwrap_or_default(),
            vector,
            record,
        })
    }

    /// The verse of this id.
    pub(super) fn find(&self, id: &[u8]) -> Option<Verse<'_>> {
        self.verses().find(|verse| verse.id == id)
    }

    /// The vector of the verse `number`, going round.
    pub(super) fn vector(&self, number: usize) -> &[f32] {
        let start = number % self.len() * self.dimension;
        self.vectors.get(start..start + self.dimension).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_sample_is_whole() {
        let sample = super::Sample::read().unwrap();
        assert_eq!((sample.len(), sample.dimension), (1228, 384));
        assert!(sample.verses().all(|verse| !verse.id.is_empty() && !verse.text().is_empty()));
        let psalm = sample.find(b"kjv:Psalms:23:1").unwrap();
        assert_eq!(psalm.text(), "The LORD is my shepherd; I shall not want.");
        let norm: f64 = psalm.vector.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
        assert_eq!(sample.vector(1228), sample.vector(0));
    }
}
