use proptest::prelude::*;

use super::{
    CodeSieve, CodeSums, Encoder, Factors,
    blocks::surplus,
    encoder::{PLANE, STEP},
    rotation::Rotation,
};
use crate::{
    kernel::{
        InstructionSet, Instructions, Scorer,
        floats::Floats,
        simd,
        tiles::{Panel, tiles},
    },
    types::Metric,
};

const DIMENSIONS: [usize; 8] = [384, 512, 768, 1000, 1024, 1536, 3072, 65_535];

/// The rotation in f64, by its definition: row i of a Walsh–Hadamard matrix has the sign of the bits that i and the column share.
fn exact_rotation(vector: &[f32]) -> Vec<f64> {
    let word = |seed: u64, number: u64| {
        let mut word = seed.wrapping_add((number + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    };
    let mut rotated: Vec<f64> = vector.iter().map(|element| f64::from(*element)).collect();
    let mut block = 1;
    while 2 * block <= vector.len() {
        block *= 2;
    }
    for (seed, start) in [(1, 0), (2, vector.len() - block)] {
        let signed: Vec<f64> =
            (0..block).map(|at| rotated[start + at] * if word(seed, at as u64 / 64) >> (at % 64) & 1 == 1 { -1.0 } else { 1.0 }).collect();
        for at in 0..block {
            let sum: f64 =
                signed.iter().zip(0..).map(|(x, column)| if (at & column as usize).count_ones() % 2 == 1 { -x } else { *x }).sum();
            rotated[start + at] = sum / (block as f64).sqrt();
        }
    }
    rotated
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn the_rotation_is_orthonormal_and_as_close_as_it_says() {
    let mut floats = Floats(1);
    for dimension in (1..=70).chain([100, 127, 128, 129, 300, 384, 768, 1000]) {
        let vector = floats.vector(dimension, 2.0);
        let mut rotated = vector.clone();
        let rotation = Rotation::new(dimension);
        rotation.apply(&mut rotated);
        let exact = exact_rotation(&vector);
        let size = norm(&vector.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        assert!((norm(&exact) - size).abs() <= 1e-12 * size, "dimension {dimension}");
        let apart: Vec<f64> = rotated.iter().zip(&exact).map(|(x, y)| f64::from(*x) - y).collect();
        assert!(norm(&apart) <= rotation.error() * size, "dimension {dimension}: {} of {}", norm(&apart), rotation.error() * size);
    }
}

#[test]
fn an_element_that_stands_out_is_spread_over_the_others() {
    for dimension in [2, 3, 100, 128, 384, 768, 1000, 1023] {
        for place in [0, dimension / 3, dimension - 1] {
            let mut vector = vec![0.0; dimension];
            vector[place] = 1.0;
            Rotation::new(dimension).apply(&mut vector);
            let greatest = vector.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs()));
            assert!(greatest <= 4.0 / (dimension as f32).sqrt(), "{greatest} of place {place} of {dimension}");
        }
    }
}

/// What files hold must be made again bit for bit, for ever. The values are of a program in Python that follows section 8.1 of the specification.
#[test]
fn codes_are_those_of_the_specification() {
    let long: Vec<f32> = (0..20u8).map(|i| (f32::from(i) * 37.0 % 101.0) / 8.0 - 6.0).collect();
    let cases: [(&[f32], &[i8], [u32; 3]); 2] = [
        (&[1.0, -2.0, 0.5, 3.25, -0.75, 4.0], &[11, -26, -127, 49, -30, -93], [0x3D09_1224, 0x40B6_13B0, 0x3CB1_6890]),
        (
            &long,
            &[90, 59, 29, -2, -75, -21, -33, 15, -85, 127, 61, -39, 11, -1, 55, -36, -46, 16, -27, -7],
            [0x3D92_64CA, 0x4187_7DE0, 0x3DAE_C6E2],
        ),
    ];
    for (row, elements, [scale, norm, residual]) in cases {
        let mut code = Vec::new();
        let factors = Encoder::new(row.len()).encode(row, &mut code);
        assert_eq!(code.iter().map(|byte| *byte as i8).collect::<Vec<_>>(), elements);
        assert_eq!([factors.scale, factors.norm, factors.residual].map(f32::to_bits), [scale, norm, residual]);
    }
}

#[test]
fn every_instruction_set_makes_the_same_code() {
    let mut floats = Floats(2);
    for dimension in (1..=300).chain(DIMENSIONS) {
        let row = floats.vector(dimension, 3.0);
        let all: Vec<(Vec<u8>, Factors)> = InstructionSet::available()
            .into_iter()
            .map(|set| {
                let mut code = Vec::new();
                let factors = Encoder::with_instructions(dimension, set).encode(&row, &mut code);
                (code, factors)
            })
            .collect();
        assert!(all.iter().all(|one| *one == all[0]), "dimension {dimension}");
        assert!(all[0].0.iter().any(|byte| [127, 129].contains(byte)), "the scale is not that of the greatest element");
    }
}

#[test]
fn the_residual_is_at_least_the_distance_to_the_code_and_hardly_more() {
    let mut floats = Floats(3);
    for dimension in (1..=100).chain([384, 768, 1000]) {
        for scale in [1e-12, 1.0, 1e12] {
            let row = floats.vector(dimension, scale);
            let mut code = Vec::new();
            let factors = Encoder::new(dimension).encode(&row, &mut code);
            let exact = exact_rotation(&row);
            let apart: Vec<f64> = exact.iter().zip(&code).map(|(x, code)| x - f64::from(*code as i8) * f64::from(factors.scale)).collect();
            let (residual, size) = (f64::from(factors.residual), norm(&exact));
            assert!(norm(&apart) <= residual, "dimension {dimension}");
            assert!(residual <= norm(&apart) * (1.0 + 1e-5) + 5e-6 * size, "dimension {dimension}: {residual} for {}", norm(&apart));
            assert!((f64::from(factors.norm) / size - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn a_row_of_which_nothing_is_known_says_so() {
    let mut encoder = Encoder::new(4);
    for row in
        [[0.0; 4], [f32::NAN, 0.0, 0.0, 1.0], [f32::INFINITY, 1.0, 1.0, 1.0], [f32::MAX; 4], [1e-30; 4], [f32::from_bits(1); 4], [1e20; 4]]
    {
        let mut code = Vec::new();
        let factors = encoder.encode(&row, &mut code);
        assert_eq!((code, factors), (vec![0; 4], Factors { scale: 0.0, norm: 0.0, residual: f32::INFINITY }), "{row:?}");
    }
}

#[test]
fn ordinary_rows_end_at_powers_of_two() {
    let mut encoder = Encoder::new(1);
    let (least, greatest) = (2.0f32.powi(-50), 2.0f32.powi(50));
    let (below, above) = (f32::from_bits(least.to_bits() - 1), f32::from_bits(greatest.to_bits() + 1));
    for (element, is_ordinary) in [(below, false), (least, true), (greatest, true), (above, false)] {
        assert_eq!(encoder.encode(&[element], &mut Vec::new()).residual.is_finite(), is_ordinary, "{element}");
    }
}

#[test]
fn factors_keep_their_bits() {
    let factors = Factors { scale: 1.5, norm: -0.0, residual: f32::INFINITY };
    assert_eq!(Factors::from_bytes(factors.to_bytes()), factors);
    assert_eq!(factors.to_bytes(), [0, 0, 0xC0, 0x3F, 0, 0, 0, 0x80, 0, 0, 0x80, 0x7F]);
}

/// The greatest sums there can be, and any.
#[test]
fn sums_of_codes_are_exact_at_every_dimension() {
    let mut floats = Floats(4);
    for dimension in (1..=300).chain(DIMENSIONS) {
        let mut codes: Vec<Vec<i8>> = vec![vec![127; dimension], vec![-127; dimension]];
        codes.extend((0..dimension % 9).map(|_| (0..dimension).map(|_| (floats.next() * 254.9 - 127.4) as i8).collect()));
        let mut planes: Vec<Vec<i8>> = vec![vec![64; dimension], vec![-64; dimension]];
        planes.extend((0..dimension % 14).map(|_| (0..dimension).map(|_| (floats.next() * 128.9 - 64.4) as i8).collect()));
        let bytes = |vectors: &[Vec<i8>]| vectors.iter().map(|vector| vector.iter().map(|x| *x as u8).collect()).collect::<Vec<Vec<u8>>>();
        let (code_bytes, plane_bytes) = (bytes(&codes), bytes(&planes));
        let rows: Vec<&[u8]> = code_bytes.iter().map(Vec::as_slice).collect();
        let of_planes: Vec<&[u8]> = plane_bytes.iter().map(Vec::as_slice).collect();
        let exact = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum::<i64>();
        for set in InstructionSet::available() {
            let mut squares = vec![0; rows.len()];
            set.code_squares(&rows, &mut squares);
            assert!(squares.iter().zip(&codes).all(|(square, code)| i64::from(*square) == exact(code, code)), "{set:?} {dimension}");
            let panels = Panel::all(&of_planes, set.register_bytes());
            for (panel, numbers) in panels.iter().zip(Panel::numbers(&panels, 1)) {
                let mut sums = vec![0; rows.len() * numbers.len()];
                match set.name() {
                    Instructions::Portable => tiles::<simd::Portable, 2, 1, 1>(panel, &rows, &mut sums),
                    #[cfg(target_arch = "x86_64")]
                    Instructions::Avx2 => tiles::<simd::Avx2, 4, 2, 2>(panel, &rows, &mut sums),
                    #[cfg(target_arch = "x86_64")]
                    Instructions::Avx512 => tiles::<simd::Avx512, 4, 6, 4>(panel, &rows, &mut sums),
                    #[cfg(not(target_arch = "x86_64"))]
                    _ => unreachable!("no other set is available"),
                }
                for (plane, sums) in planes[numbers.clone()].iter().zip(sums.chunks(rows.len())) {
                    let surplus = surplus(&plane.iter().map(|x| *x as u8).collect::<Vec<u8>>());
                    assert!(
                        sums.iter().zip(&codes).all(|(sum, code)| i64::from(*sum - surplus) == exact(plane, code)),
                        "{set:?} {dimension}"
                    );
                }
            }
            assert_eq!(Panel::numbers(&panels, 1).flatten().count(), planes.len());
        }
    }
}

#[test]
fn planes_stand_for_the_query() {
    let mut floats = Floats(5);
    for dimension in [1, 2, 100, 384] {
        let query = floats.vector(dimension, 7.0);
        for (count, levels) in [(1, PLANE), (2, PLANE * STEP + PLANE)] {
            let planes = Encoder::new(dimension).planes(&query, count, false).unwrap();
            let element = |at: usize| planes.planes.iter().fold(0, |sum, plane| sum * STEP + i32::from(plane[at] as i8));
            assert!((0..dimension).all(|at| planes.planes.iter().all(|plane| (-64..=64).contains(&(plane[at] as i8)))));
            assert_eq!((0..dimension).map(|at| element(at).abs()).max(), Some(levels));
            let apart: Vec<f64> =
                exact_rotation(&query).iter().zip(0..).map(|(x, at)| x - f64::from(element(at)) * f64::from(planes.scale)).collect();
            assert!(norm(&apart) <= planes.residual && planes.residual < 2.0 * norm(&apart) + 1e-4, "{dimension}");
        }
    }
}

/// The canonical score of every pair lies between its bounds, on every instruction set; and they are closer than `apart`, relative to the sizes of what is
/// compared, if that is given. A row within a threshold is found.
fn check(queries: &[Vec<f32>], rows: &[Vec<f32>], apart: Option<f32>) {
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    let dimension = queries[0].len();
    let mut encoder = Encoder::new(dimension);
    let (mut codes, mut factors) = (Vec::new(), Vec::new());
    rows.iter().for_each(|row| factors.push(encoder.encode(row, &mut codes)));
    let codes: Vec<&[u8]> = codes.chunks(dimension).collect();
    let norm = |vector: &[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
    for metric in Metric::ALL {
        for set in InstructionSet::available() {
            let Some(sieve) = CodeSieve::new(metric, &queries, set) else {
                assert!(apart.is_none(), "a query without a code");
                continue;
            };
            let mut sums = CodeSums::default();
            sieve.begin(&codes, &factors, &mut sums);
            let mut seen = 0;
            for (number, of_panel) in sieve.panels().enumerate() {
                sieve.panel((number, &of_panel), &codes, &mut sums);
                for query in of_panel {
                    let scorer = Scorer::new(metric, queries[query]);
                    seen += 1;
                    for (at, row) in rows.iter().enumerate() {
                        let score = scorer.score(row);
                        let (lower, upper) = sieve.bounds(query, at, &sums).unwrap();
                        let told = || format!("{metric} {set:?}: {:?} and {row:?}: {lower} to {upper}, not {score}", queries[query]);
                        let is_outside = lower > score || upper < score;
                        assert!(!is_outside, "{}", told());
                        assert!(upper.is_infinite() || upper.is_nan() || !score.is_nan(), "{}", told());
                        assert_eq!(sieve.first_within(query, score, &sums, at), Some(at), "{}", told());
                        let Some(apart) = apart else { continue };
                        let size = match metric {
                            Metric::Dot => norm(queries[query]) * norm(row),
                            Metric::Cosine => 1.0,
                            Metric::L2 => (norm(queries[query]) + norm(row)).powi(2),
                        };
                        assert!(upper - lower <= apart * size, "{}", told());
                        assert_ne!(sieve.first_within(query, score - apart * size, &sums, at), Some(at), "{}", told());
                    }
                }
            }
            assert_eq!(seen, queries.len());
        }
    }
}

#[test]
fn scores_lie_between_their_bounds_which_are_close() {
    let mut floats = Floats(6);
    for dimension in (1..=130).chain(DIMENSIONS.into_iter().filter(|dimension| *dimension < 4000)) {
        let rows: Vec<_> = (0..dimension % 23 + 1).map(|_| floats.vector(dimension, 1.0)).collect();
        let queries: Vec<_> = (0..dimension % 16 + 1).map(|_| floats.vector(dimension, 8.0)).collect();
        check(&queries, &rows, Some(0.12));
        check(&queries[..1], &rows, Some(0.06));
    }
}

#[test]
fn close_together_and_far_from_the_origin_they_lie_between_them_too() {
    let mut floats = Floats(7);
    for dimension in [1, 2, 7, 64, 100, 384] {
        let centre = floats.vector(dimension, 100.0);
        let near = |floats: &mut Floats| centre.iter().map(|x| x + (floats.next() - 0.5) * 1e-4).collect::<Vec<f32>>();
        let rows: Vec<_> = (0..20).map(|_| near(&mut floats)).collect();
        check(&rows[..3], &rows, None);
        check(&rows[..1], &rows, None);
    }
}

#[test]
fn any_scales_and_special_values_lie_between_them_too() {
    let mut floats = Floats(8);
    let special = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), 1.0];
    for dimension in [1, 3, 8, 17, 100] {
        let scales = [1e-45, 1e-38, 1e-30, 1e-23, 1e-16, 1e-14, 1e-10, 1.0, 1e9, 1e14, 1e15, 1e18, 3e19, 1e30, 1e38, f32::MAX];
        let mut rows: Vec<_> = scales.iter().map(|scale| floats.vector(dimension, *scale)).collect();
        rows.extend(special.iter().map(|value| vec![*value; dimension]));
        rows.extend(special.iter().map(|value| {
            let mut row = floats.vector(dimension, 1.0);
            row[dimension / 2] = *value;
            row
        }));
        rows.iter().for_each(|query| check(std::slice::from_ref(query), &rows, None));
        let ordinary: Vec<_> = rows[5..10].to_vec();
        check(&ordinary, &rows, None);
    }
}

#[test]
fn queries_without_a_code_have_no_sieve() {
    let set = InstructionSet::detect();
    for query in [[0.0, 0.0], [f32::NAN, 1.0], [1.0, f32::INFINITY], [1e30, 1.0], [1e-30, 0.0]] {
        assert!(CodeSieve::new(Metric::Dot, &[&[1.0, 2.0], &query], set).is_none(), "{query:?}");
    }
    assert!(CodeSieve::new(Metric::Cosine, &[&[1e-30, 0.0]], set).is_some(), "a direction has a code at every length");
    assert!(CodeSieve::new(Metric::Dot, &[], set).is_none());
}

fn bits() -> impl Strategy<Value = f32> {
    prop_oneof![any::<u32>().prop_map(f32::from_bits), any::<i16>().prop_map(f32::from), (-1.0f32..1.0)]
}

proptest! {
    /// Any bit patterns at all.
    #[test]
    fn any_score_lies_between_its_bounds(
        (queries, rows) in (1usize..70).prop_flat_map(|dimension| {
            let vectors = |count, element: BoxedStrategy<f32>| prop::collection::vec(prop::collection::vec(element, dimension), 1..count);
            (vectors(6, (-100.0f32..100.0).boxed()), vectors(14, bits().boxed()))
        }),
    ) {
        check(&queries, &rows, None);
    }
}
