use proptest::prelude::*;

use super::{super::dispatch::InstructionSet, Scorer};
use crate::types::Metric;

/// The definition, spelled out with none of the kernel's parts: one pass per lane, by index.
fn oracle(metric: Metric, a: &[f32], b: &[f32]) -> u32 {
    let sum = |term: fn(f64, f64) -> f64| {
        let mut lanes = [0.0f64; 8];
        for (lane, sum) in lanes.iter_mut().enumerate() {
            let mut i = lane;
            while i < a.len() {
                *sum += term(a[i] as f64, b[i] as f64);
                i += 8;
            }
        }
        ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
    };
    let wide = match metric {
        Metric::L2 => sum(|x, y| (x - y).powi(2)),
        Metric::Dot => 0.0 - sum(|x, y| x * y),
        Metric::Cosine if a.iter().all(|x| *x == 0.0) || b.iter().all(|x| *x == 0.0) => 1.0,
        Metric::Cosine => (1.0 - sum(|x, y| x * y) / (sum(|x, _| x * x) * sum(|_, y| y * y)).sqrt()).clamp(0.0, 2.0),
    };
    let narrow = wide as f32;
    match narrow.to_bits() {
        _ if narrow.is_nan() => 0x7FC0_0000,
        0x8000_0000 => 0,
        bits => bits,
    }
}

/// A reproducible stream of floats: ordinary ones, or any bit pattern.
struct Floats(u64);

impl Floats {
    fn bits(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    fn ordinary(&mut self) -> f32 {
        self.bits() as f32 / u32::MAX as f32 - 0.5
    }

    fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.ordinary()).collect()
    }
}

fn metrics_and_sets() -> impl Iterator<Item = (Metric, InstructionSet)> {
    Metric::ALL.into_iter().flat_map(|metric| InstructionSet::available().into_iter().map(move |set| (metric, set)))
}

/// Checks one query against rows on every instruction set.
fn check(query: &[f32], rows: &[Vec<f32>]) {
    for metric in Metric::ALL {
        let expected: Vec<u32> = rows.iter().map(|row| oracle(metric, query, row)).collect();
        for set in InstructionSet::available() {
            let scorer = Scorer::with_instructions(metric, query, set);
            let scores: Vec<u32> = rows.iter().map(|row| scorer.score(row).to_bits()).collect();
            assert_eq!(scores, expected, "{metric} {set:?}, dimension {}", query.len());
        }
    }
}

#[test]
fn all_dimensions_and_instruction_sets_give_the_oracles_bits() {
    let mut floats = Floats(1);
    for dimension in (1..=300).chain([384, 512, 768, 1024, 1536, 3072, 65_535]) {
        let rows: Vec<Vec<f32>> = (0..dimension % 6 + 1).map(|_| floats.vector(dimension)).collect();
        check(&floats.vector(dimension), &rows);
    }
}

#[test]
fn special_values_give_the_oracles_bits() {
    let special = [
        0.0,
        -0.0,
        f32::NAN,
        f32::from_bits(0xFFC0_1234),
        f32::from_bits(0x7F80_0001),
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::MAX,
        f32::MIN,
        f32::MIN_POSITIVE,
        f32::from_bits(1),
        f32::from_bits(0x8000_0001),
        1.0,
        -1.0,
    ];
    let mut floats = Floats(2);
    for dimension in [1, 2, 7, 8, 9, 16, 23] {
        for value in special {
            for (other, position) in special.iter().zip((0..dimension).cycle()) {
                let (mut query, mut row) = (floats.vector(dimension), floats.vector(dimension));
                check(&vec![value; dimension], &[vec![*other; dimension], row.clone()]);
                query[position] = value;
                row[position] = *other;
                check(&query, &[row, vec![*other; dimension]]);
            }
        }
    }
}

#[test]
fn unaligned_rows_and_any_padding_give_the_same_bits() {
    let mut floats = Floats(3);
    for (dimension, stride) in [(5, 5), (61, 64), (384, 384), (100, 113)] {
        let block = floats.vector(stride * 9 + 1);
        let query = floats.vector(dimension);
        for start in [0, 1] {
            // The last row comes without its padding.
            let rows = &block[start..start + stride * 8 + dimension];
            for (metric, set) in metrics_and_sets() {
                let scorer = Scorer::with_instructions(metric, &query, set);
                let scores: Vec<f32> = rows.chunks(stride).map(|row| scorer.score(&row[..dimension])).collect();
                let expected: Vec<u32> = (0..9).map(|r| oracle(metric, &query, &rows[r * stride..r * stride + dimension])).collect();
                assert_eq!(scores.iter().map(|s| s.to_bits()).collect::<Vec<_>>(), expected, "{metric} {set:?} {dimension}/{stride}");
            }
        }
    }
}

#[test]
fn known_scores() {
    let score = |metric, a: &[f32], b: &[f32]| Scorer::new(metric, a).score(b).to_bits();
    assert_eq!(score(Metric::L2, &[1.0, 2.0], &[4.0, 6.0]), 25.0f32.to_bits());
    assert_eq!(score(Metric::Dot, &[1.0, 2.0], &[4.0, 6.0]), (-16.0f32).to_bits());
    assert_eq!(score(Metric::Dot, &[1.0, 2.0], &[0.0, -0.0]), 0, "−0 becomes +0");
    assert_eq!(score(Metric::Dot, &[f32::from_bits(1)], &[1e-30]), 0, "underflow from below becomes +0");
    assert_eq!(score(Metric::Cosine, &[3.0, 0.0], &[0.5, 0.0]), 0);
    assert_eq!(score(Metric::Cosine, &[3.0, 0.0], &[-0.5, 0.0]), 2.0f32.to_bits());
    assert_eq!(score(Metric::Cosine, &[0.0, -0.0], &[f32::NAN, 1.0]), 1.0f32.to_bits(), "a zero vector is at 1 from all");
    assert_eq!(score(Metric::Cosine, &[f32::from_bits(1)], &[f32::from_bits(1)]), 0, "subnormals do not vanish");
    assert_eq!(score(Metric::Cosine, &[f32::MAX; 9], &[f32::MAX; 9]), 0, "nothing overflows on the way");
    assert_eq!(score(Metric::L2, &[f32::MAX], &[f32::MIN]), f32::INFINITY.to_bits(), "only the result does");
    assert_eq!(score(Metric::L2, &[f32::INFINITY], &[f32::INFINITY]), 0x7FC0_0000);
}

/// The order of summation is part of the contract: 1 is lost beside 2^60 in the same lane and kept in another.
#[test]
fn lanes_are_what_the_contract_says() {
    let big = 2.0f32.powi(60);
    let row = |one: usize| {
        let mut row = vec![0.0; 18];
        (row[0], row[one], row[16]) = (big, 1.0, -big);
        row
    };
    let scorer = Scorer::new(Metric::Dot, &[1.0; 18]);
    assert_eq!(scorer.score(&row(8)), 0.0, "elements 0, 8 and 16 share a lane");
    assert_eq!(scorer.score(&row(9)), -1.0, "element 9 is in another one");
}

proptest! {
    /// Any bit patterns at all.
    #[test]
    fn any_bits_give_the_oracles_bits(
        query in prop::collection::vec(any::<u32>(), 1..40),
        rows in prop::collection::vec(prop::collection::vec(any::<u32>(), 40), 1..9),
    ) {
        let floats = |bits: &[u32]| bits.iter().take(query.len()).map(|b| f32::from_bits(*b)).collect::<Vec<_>>();
        check(&floats(&query), &rows.iter().map(|row| floats(row)).collect::<Vec<_>>());
    }
}
