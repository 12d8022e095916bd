use proptest::prelude::*;

use super::{Sieve, Sums};
use crate::{
    kernel::{InstructionSet, Scorer, floats::Floats},
    types::Metric,
};

fn sieve(metric: Metric, queries: &[&[f32]], set: InstructionSet) -> Sieve {
    let scorers: Vec<Scorer> = queries.iter().map(|query| Scorer::new(metric, query)).collect();
    Sieve::new(metric, queries, &scorers, set)
}

/// Which rows the sieve leaves for each query, given a threshold for each pair.
fn left(sieve: &Sieve, rows: &[&[f32]], threshold: impl Fn(usize, usize) -> f32) -> Vec<Vec<bool>> {
    let mut sums = Sums::default();
    sieve.begin(rows, &mut sums);
    let mut left = Vec::new();
    for (number, queries) in sieve.panels().enumerate() {
        sieve.panel((number, &queries), rows, &mut sums);
        for query in queries {
            left.push((0..rows.len()).map(|row| sieve.first_within(query, threshold(query, row), &sums, row) == Some(row)).collect());
        }
    }
    left
}

/// No row whose canonical score is at most the threshold is dropped, on any instruction set; `slack` above it, relative to what sums are made of,
/// every row is, if it is given.
fn check(queries: &[Vec<f32>], rows: &[Vec<f32>], slack: Option<f32>) {
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    let norm = |vector: &[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    for metric in Metric::ALL {
        let scores: Vec<Vec<f32>> =
            queries.iter().map(|query| rows.iter().map(|row| Scorer::new(metric, query).score(row)).collect()).collect();
        for set in InstructionSet::available() {
            let sieve = sieve(metric, &queries, set);
            for (query, left) in left(&sieve, &rows, |query, row| scores[query][row]).iter().enumerate() {
                for (row, left) in left.iter().enumerate() {
                    let (query, row) = (queries[query], rows[row]);
                    assert!(
                        left,
                        "{metric} {set:?}, dimension {}: {query:?} and {row:?} at {}",
                        query.len(),
                        Scorer::new(metric, query).score(row)
                    );
                }
            }
            let Some(slack) = slack else { continue };
            let below = |query: usize, row: usize| {
                let size = match metric {
                    Metric::Dot => norm(queries[query]) * norm(rows[row]),
                    Metric::Cosine => 1.0,
                    Metric::L2 => scores[query][row],
                };
                scores[query][row] - slack * size
            };
            for (query, left) in left(&sieve, &rows, below).iter().enumerate() {
                assert!(!left.contains(&true), "{metric} {set:?}: query {query} of dimension {} leaves {left:?}", queries[query].len());
            }
        }
    }
}

#[test]
fn every_row_at_its_score_is_left_and_none_a_little_above_it() {
    let mut floats = Floats(1);
    for dimension in (1..=300).chain([384, 512, 768, 1024, 1536, 3072, 65_535]) {
        // Whole tiles, a rest of them, panels of every width.
        let rows: Vec<_> = (0..dimension % 8 + 1).map(|_| floats.vector(dimension, 1.0)).collect();
        let queries: Vec<_> = (0..dimension % 16 + 1).map(|_| floats.vector(dimension, 8.0)).collect();
        check(&queries, &rows, Some(8.0 * (dimension as f32 / 8.0 + 40.0) / (1 << 24) as f32));
    }
}

#[test]
fn many_rows_and_queries_keep_their_places() {
    let mut floats = Floats(2);
    let rows: Vec<_> = (0..71).map(|_| floats.vector(100, 1.0)).collect();
    let queries: Vec<_> = (0..11).map(|_| floats.vector(100, 1.0)).collect();
    check(&queries, &rows, Some(1e-4));
    check(&queries[..1], &rows, Some(1e-4));
}

#[test]
fn sums_that_overflow_underflow_or_cancel_drop_nothing() {
    let mut floats = Floats(3);
    for dimension in [1, 3, 8, 17, 100] {
        let scales = [1e-45, 1e-38, 1e-30, 1e-23, 1e-19, 1e-10, 1.0, 1e9, 1e18, 3e19, 1e30, 1e38, f32::MAX];
        let rows: Vec<_> = scales.iter().map(|scale| floats.vector(dimension, *scale)).collect();
        check(&rows, &rows, None);
        let mut near = rows.clone();
        near.iter_mut().for_each(|row| row[0] = f32::from_bits(row[0].to_bits() ^ 1));
        check(&near, &rows, None);
        let opposite: Vec<Vec<f32>> = rows.iter().map(|row| row.iter().map(|x| -x).collect()).collect();
        check(&opposite, &rows, None);
    }
}

/// Sums of squares next to the greatest number: rounded up on their way they are infinite, rounded once they are not.
#[test]
fn sums_that_are_rounded_to_infinity_drop_nothing() {
    for dimension in [3, 7, 24, 100, 333] {
        let greatest = (f64::from(f32::MAX) / f64::from(dimension)).sqrt() as f32;
        let near = |steps: u32| vec![f32::from_bits(greatest.to_bits() - 24 + steps); dimension as usize];
        let rows: Vec<_> = (0..32).map(near).collect();
        check(&[vec![0.0; dimension as usize]], &rows, None);
        check(&[vec![0.0; dimension as usize], near(0)], &rows, None);
    }
}

#[test]
fn special_values_drop_nothing() {
    let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), 1.0];
    let mut floats = Floats(4);
    for dimension in [1, 2, 8, 9, 16, 23, 70] {
        let mut rows: Vec<_> = special.iter().map(|value| vec![*value; dimension]).collect();
        for value in special {
            let mut row = floats.vector(dimension, 1.0);
            row[dimension / 2] = value;
            rows.push(row);
        }
        check(&rows, &rows, None);
    }
}

#[test]
fn a_threshold_of_nan_or_infinity_keeps_every_row() {
    let mut floats = Floats(5);
    let rows: Vec<_> = (0..40).map(|_| floats.vector(24, 1.0)).collect();
    let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
    for metric in Metric::ALL {
        let sieve = sieve(metric, &rows[..3], InstructionSet::detect());
        for threshold in [f32::NAN, f32::INFINITY] {
            assert!(left(&sieve, &rows, |_, _| threshold).concat().iter().all(|left| *left), "{metric}");
        }
    }
}

#[test]
fn no_rows_are_no_error() {
    let sieve = sieve(Metric::Dot, &[&[1.0, 2.0]], InstructionSet::detect());
    assert_eq!(left(&sieve, &[], |_, _| 0.0), [Vec::<bool>::new()]);
}

fn bits() -> impl Strategy<Value = f32> {
    prop_oneof![any::<u32>().prop_map(f32::from_bits), any::<i16>().prop_map(f32::from), (-1.0f32..1.0)]
}

proptest! {
    /// Any bit patterns at all.
    #[test]
    fn no_row_at_its_score_is_dropped(
        (queries, rows) in (1usize..70).prop_flat_map(|dimension| {
            let vectors = |count| prop::collection::vec(prop::collection::vec(bits(), dimension), 1..count);
            (vectors(6), vectors(14))
        }),
    ) {
        check(&queries, &rows, None);
    }
}
