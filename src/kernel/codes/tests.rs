use proptest::prelude::*;

use super::{
    CodeSieve, CodeSums, Encoder, Factors, Halves, Pairs, Part, Picked,
    blocks::{Half, Whole, arranged, joined_sum, squares, upper_product, upper_squares, whole_product},
    encoder::{HALF_PLANE, WHOLE_PLANE},
    rotation::Rotation,
};
use crate::{
    kernel::{
        InstructionSet, Instructions, Rows, Scorer,
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

/// The elements of a code, from the halves of one row.
fn elements(halves: &Halves, dimension: usize) -> Vec<i32> {
    let nibbles = |bytes: &[u8]| bytes.iter().flat_map(|byte| [byte & 15, byte >> 4]).take(dimension).map(i32::from).collect::<Vec<_>>();
    nibbles(&halves.upper).into_iter().zip(nibbles(&halves.lower)).map(|(upper, lower)| 16 * upper + lower - 128).collect()
}

/// What files hold must be made again bit for bit, for ever. The values are of a program in Python that follows section 8.1 of the specification.
#[test]
fn codes_are_those_of_the_specification() {
    let long: Vec<f32> = (0..21u8).map(|i| (f32::from(i) * 37.0 % 101.0) / 8.0 - 6.0).collect();
    type Case<'a> = (&'a [f32], &'a [i32], &'a [u8], &'a [u8], [u8; 10]);
    let cases: [Case<'_>; 2] = [
        (
            &[1.0, -2.0, 0.5, 3.25, -0.75, 4.0],
            &[11, -26, -126, 48, -30, -93],
            &[104, 176, 38],
            &[107, 2, 50],
            [176, 19, 182, 64, 10, 61, 140, 60, 208, 62],
        ),
        (
            &long,
            &[111, 73, 36, -3, -26, 64, 10, 71, 100, 3, -19, -41, 76, -7, 0, 7, -6, -127, -74, 112, 70],
            &[206, 122, 198, 200, 142, 86, 124, 136, 7, 243, 12],
            &[159, 212, 6, 122, 52, 125, 156, 112, 26, 6, 6],
            [201, 81, 136, 65, 110, 61, 161, 61, 154, 63],
        ),
    ];
    for (row, numbers, upper, lower, factors) in cases {
        let mut code = Halves::default();
        let made = Encoder::new(row.len()).encode(row, &mut code);
        assert_eq!(elements(&code, row.len()), numbers);
        assert_eq!((&*code.upper, &*code.lower, made.to_bytes()), (upper, lower, factors));
    }
}

#[test]
fn every_instruction_set_makes_the_same_code() {
    let mut floats = Floats(2);
    for dimension in (1..=300).chain(DIMENSIONS) {
        let row = floats.vector(dimension, 3.0);
        let all: Vec<(Halves, Factors)> = InstructionSet::available()
            .into_iter()
            .map(|set| {
                let mut code = Halves::default();
                let factors = Encoder::with_instructions(dimension, set).encode(&row, &mut code);
                (code, factors)
            })
            .collect();
        assert!(all.iter().all(|one| *one == all[0]), "dimension {dimension}");
        let greatest = elements(&all[0].0, dimension).into_iter().map(i32::abs).max().unwrap();
        assert!((126..=127).contains(&greatest), "{greatest}: the scale is not that of the greatest element");
    }
}

#[test]
fn residuals_are_at_least_the_distances_to_what_codes_stand_for_and_hardly_more() {
    let mut floats = Floats(3);
    for dimension in (1..=100).chain([384, 768, 1000]) {
        for scale in [1e-12, 1.0, 1e12] {
            let row = floats.vector(dimension, scale);
            let mut code = Halves::default();
            let factors = Encoder::new(dimension).encode(&row, &mut code);
            let (exact, elements) = (exact_rotation(&row), elements(&code, dimension));
            let size = norm(&exact);
            let check = |residual: f32, stands_for: &dyn Fn(i32) -> f64| {
                let values = elements.iter().map(|element| stands_for(*element) * f64::from(factors.scale));
                let apart = norm(&exact.iter().zip(values).map(|(x, value)| x - value).collect::<Vec<_>>());
                let residual = f64::from(residual);
                assert!(apart <= residual, "dimension {dimension}: {residual} for {apart}");
                assert!(residual <= apart * (1.0 + 1.0 / 128.0) + 5e-6 * size, "dimension {dimension}: {residual} for {apart}");
            };
            check(factors.residual, &f64::from);
            check(factors.upper_residual, &|element| f64::from((element + 128) / 16 * 16) + 7.5 - 128.0);
            assert!((f64::from(factors.norm) / size - 1.0).abs() < 1e-6);
        }
    }
}

#[test]
fn a_row_of_which_nothing_is_known_says_so() {
    let mut encoder = Encoder::new(3);
    for row in [[0.0; 3], [f32::NAN, 0.0, 1.0], [f32::INFINITY, 1.0, 1.0], [f32::MAX; 3], [1e-30; 3], [f32::from_bits(1); 3], [1e20; 3]] {
        let mut code = Halves::default();
        let factors = encoder.encode(&row, &mut code);
        assert_eq!((code, factors), (Halves { upper: vec![0; 2], lower: vec![0; 2] }, Factors::UNKNOWN), "{row:?}");
    }
    assert_eq!(Factors::UNKNOWN.to_bytes(), [0, 0, 0, 0, 0, 0, 0x80, 0x7F, 0x80, 0x7F]);
}

#[test]
fn ordinary_rows_end_at_powers_of_two() {
    let mut encoder = Encoder::new(1);
    let (least, greatest) = (2.0f32.powi(-50), 2.0f32.powi(50));
    let (below, above) = (f32::from_bits(least.to_bits() - 1), f32::from_bits(greatest.to_bits() + 1));
    for (element, is_ordinary) in [(below, false), (least, true), (greatest, true), (above, false)] {
        assert_eq!(encoder.encode(&[element], &mut Halves::default()).residual.is_finite(), is_ordinary, "{element}");
    }
}

#[test]
fn factors_keep_their_bits() {
    let factors = Factors { scale: 1.5, norm: -0.1, residual: 2.0f32.powi(-40), upper_residual: f32::INFINITY };
    assert_eq!(Factors::from_bytes(factors.to_bytes()), factors);
    assert_eq!(factors.to_bytes()[..6], [0xCD, 0xCC, 0xCC, 0xBD, 0xC0, 0x3F]);
}

/// Runs something generic over the registers of a set.
macro_rules! with_set {
    ($set:expr, $function:ident($($argument:expr),*)) => {
        match $set.name() {
            Instructions::Portable => $function::<simd::Portable>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => $function::<simd::Avx2>($($argument),*),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => $function::<simd::Avx512>($($argument),*),
            #[cfg(not(target_arch = "x86_64"))]
            _ => unreachable!("no other set is available"),
        }
    };
}

fn panels<S: simd::Bytes>(planes: &[Vec<i32>]) -> Vec<Panel> {
    let bytes = size_of::<S::Chunk>();
    let arranged: Vec<Vec<u8>> =
        planes.iter().map(|plane| arranged(&plane.iter().map(|x| *x as i8 as u8).collect::<Vec<_>>(), bytes)).collect();
    Panel::all(&arranged.iter().map(Vec::as_slice).collect::<Vec<_>>(), 2 * bytes)
}

/// All products of codes and planes, by what the kernels make of halves and of whole codes.
fn check_products<S: simd::Bytes>(codes: &[Vec<i32>], half_planes: &[Vec<i32>], whole_planes: &[Vec<i32>]) {
    let dimension = codes[0].len();
    let (width, numbers) = (Halves::row_bytes(dimension), (0..codes.len() as u32).collect::<Vec<_>>());
    let mut halves = Halves::default();
    for code in codes {
        halves.push(&code.iter().map(|element| (element + 128) as u8).collect::<Vec<_>>());
    }
    let pick = |bytes| Picked::new(bytes, width, 0, &numbers);
    let codes_of = Pairs { upper: pick(&halves.upper), lower: pick(&halves.lower) };
    let exact = |a: &[i32], b: &[i32]| a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum::<i64>();
    let uppers: Vec<Vec<i32>> = codes.iter().map(|code| code.iter().map(|x| (x + 128) / 16 * 32 - 241).collect()).collect();
    let sum = |plane: &[i32]| plane.iter().sum::<i32>();
    let all = panels::<S>(half_planes);
    for (panel, of_panel) in all.iter().zip(Panel::numbers(&all)) {
        let mut sums = [0, 1].map(|_| vec![0; codes.len() * of_panel.len()]);
        tiles::<Half<S>, 4, 2, 1, 7>(panel, codes_of.upper, &mut sums[0]);
        tiles::<Half<S>, 2, 4, 3, 0>(panel, codes_of.lower, &mut sums[1]);
        for (number, plane) in half_planes[of_panel].iter().enumerate() {
            for (at, (code, upper)) in codes.iter().zip(&uppers).enumerate() {
                let [of_upper, of_lower] = [0, 1].map(|half| sums[half][number * codes.len() + at]);
                assert_eq!(i64::from(upper_product(of_upper, sum(plane))), exact(plane, upper), "dimension {dimension}");
                assert_eq!(
                    i64::from(whole_product(joined_sum(of_upper, of_lower), sum(plane))),
                    exact(plane, code),
                    "dimension {dimension}"
                );
            }
        }
    }
    let all = panels::<S>(whole_planes);
    for (panel, of_panel) in all.iter().zip(Panel::numbers(&all)) {
        let mut sums = vec![0; codes.len() * of_panel.len()];
        tiles::<Whole<S>, 4, 4, 3, 0>(panel, codes_of, &mut sums);
        for (plane, sums) in whole_planes[of_panel].iter().zip(sums.chunks(codes.len())) {
            for (sum_of, code) in sums.iter().zip(codes) {
                assert_eq!(i64::from(whole_product(*sum_of, sum(plane))), exact(plane, code), "dimension {dimension}");
            }
        }
    }
    let ones = &panels::<S>(&[vec![1; dimension]])[0];
    let mut found = Vec::new();
    upper_squares::<S>(ones, codes_of.upper, dimension, &mut found);
    assert!(found.iter().zip(&uppers).all(|(square, upper)| *square == exact(upper, upper) as f32), "dimension {dimension}");
    squares::<S>(ones, codes_of, dimension, &mut found);
    assert!(found.iter().zip(codes).all(|(square, code)| *square == exact(code, code) as f32), "dimension {dimension}");
    assert_eq!(found.len(), codes.len());
}

/// The greatest sums there can be, and any.
#[test]
fn sums_of_codes_are_exact_at_every_dimension() {
    let mut floats = Floats(4);
    for dimension in (1..=300).chain(DIMENSIONS) {
        let mut vectors = |extremes: &[i32], count: usize, most: f32| {
            let mut all: Vec<Vec<i32>> = extremes.iter().map(|extreme| vec![*extreme; dimension]).collect();
            all.extend((0..count).map(|_| (0..dimension).map(|_| ((floats.next() * 2.0 - 1.0) * (most + 0.4)) as i32).collect()));
            all
        };
        let codes = vectors(&[127, -127, 0, -128], dimension % 9, 127.0);
        let (half_planes, whole_planes) = (vectors(&[127, -127], dimension % 14, 127.0), vectors(&[64, -64], dimension % 14, 64.0));
        for set in InstructionSet::available() {
            with_set!(set, check_products(&codes, &half_planes, &whole_planes));
        }
    }
}

#[test]
fn rows_are_picked_by_their_numbers() {
    let bytes: Vec<u8> = (0..40).collect();
    let picked = Picked::new(&bytes, 4, 100, &[100, 103, 104, 109, 110, 99]);
    let rows: Vec<&[u8]> = (0..7).map(|place| picked.row(place)).collect();
    assert_eq!(rows, [&bytes[..4], &bytes[12..16], &bytes[16..20], &bytes[36..], &[], &[], &bytes[..4]]);
    assert_eq!((picked.count(), picked.consecutive()), (6, None));
    assert_eq!(Picked::new(&bytes, 4, 100, &[102, 103, 104]).consecutive(), Some(&bytes[8..20]));
    assert_eq!(Picked::new(&bytes, 4, 100, &[109, 110]).consecutive(), None);
    assert_eq!(Picked::new(&bytes, 4, 100, &[]).consecutive(), None);
}

#[test]
fn planes_stand_for_the_query() {
    let mut floats = Floats(5);
    for dimension in [1, 2, 100, 384] {
        let query = floats.vector(dimension, 7.0);
        for most in [HALF_PLANE, WHOLE_PLANE] {
            let plane = Encoder::new(dimension).plane(&query, most, false).unwrap();
            let elements: Vec<f32> = plane.elements.iter().map(|byte| f32::from(*byte as i8)).collect();
            assert_eq!(elements.iter().map(|x| x.abs()).fold(0.0, f32::max), most);
            let apart =
                exact_rotation(&query).iter().zip(&elements).map(|(x, y)| x - f64::from(*y) * f64::from(plane.scale)).collect::<Vec<_>>();
            assert!(norm(&apart) <= plane.residual && plane.residual < 2.0 * norm(&apart) + 1e-4, "{dimension}");
        }
    }
}

/// How close bounds are at least, relative to the sizes of what is compared: those by upper halves and by whole codes.
type Apart = Option<[f32; 2]>;

/// The canonical score of every pair lies between its bounds, on every instruction set; and they are close, if it is said how much. A row within a
/// threshold is found.
fn check(queries: &[Vec<f32>], rows: &[Vec<f32>], apart: Apart) {
    let queries: Vec<&[f32]> = queries.iter().map(Vec::as_slice).collect();
    for metric in Metric::ALL {
        for set in InstructionSet::available() {
            let Some(sieve) = CodeSieve::new(metric, &queries, false, set) else {
                assert!(apart.is_none(), "a query without a code");
                continue;
            };
            let checked = Checked { sieve, metric, rows, apart };
            if queries.len() == 1 { checked.one(queries[0]) } else { checked.several(&queries) }
        }
    }
}

struct Checked<'a> {
    sieve: CodeSieve,
    metric: Metric,
    rows: &'a [Vec<f32>],
    apart: Apart,
}

impl Checked<'_> {
    /// Halves, factors and numbers of the rows.
    fn codes(&self) -> (Halves, Vec<u8>, Vec<u32>) {
        let mut encoder = Encoder::new(self.rows[0].len());
        let (mut halves, mut factors) = (Halves::default(), Vec::new());
        self.rows.iter().for_each(|row| factors.extend(encoder.encode(row, &mut halves).to_bytes()));
        (halves, factors, (0..self.rows.len() as u32).collect())
    }

    fn one(&self, query: &[f32]) {
        let ((halves, factors, numbers), mut sums) = (self.codes(), CodeSums::default());
        let width = Halves::row_bytes(query.len());
        assert!(self.sieve.is_by_halves());
        let upper = Part::Upper(Picked::new(&halves.upper, width, 0, &numbers));
        self.sieve.begin(upper, Picked::new(&factors, 10, 0, &numbers), &mut sums);
        self.sieve.panel((0, &(0..1)), upper, &mut sums);
        let bounds = |at, sums: &CodeSums| self.sieve.bounds(0, at, sums).unwrap();
        self.bounded(query, &numbers, self.apart.map(|[apart, _]| apart), &sums, bounds, |threshold, found| {
            self.sieve.all_within(0, threshold, &sums, found);
        });
        // All rows, and some.
        for step in [1, 3] {
            let some: Vec<u32> = numbers.iter().copied().step_by(step).collect();
            let pick = |bytes, width| Picked::new(bytes, width, 0, &some);
            let codes = Pairs { upper: pick(&halves.upper, width), lower: pick(&halves.lower, width) };
            self.sieve.refine(&some, codes, pick(&factors, 10), &mut sums);
            self.whole(query, 0, &some, &sums);
        }
    }

    fn several(&self, queries: &[&[f32]]) {
        let ((halves, factors, numbers), mut sums) = (self.codes(), CodeSums::default());
        let pick = |bytes, width| Picked::new(bytes, width, 0, &numbers);
        let width = Halves::row_bytes(queries[0].len());
        let codes = Pairs { upper: pick(&halves.upper, width), lower: pick(&halves.lower, width) };
        assert!(!self.sieve.is_by_halves());
        self.sieve.begin(Part::Whole(codes), pick(&factors, 10), &mut sums);
        let mut seen = 0;
        for (number, of_panel) in self.sieve.panels().enumerate() {
            self.sieve.panel((number, &of_panel), Part::Whole(codes), &mut sums);
            for query in of_panel {
                self.whole(queries[query], query, &numbers, &sums);
                seen += 1;
            }
        }
        assert_eq!(seen, queries.len());
    }

    fn whole(&self, query: &[f32], number: usize, rows: &[u32], sums: &CodeSums) {
        let bounds = |at, sums: &CodeSums| self.sieve.bounds(number, at, sums).unwrap();
        self.bounded(query, rows, self.apart.map(|[_, apart]| apart), sums, bounds, |threshold, found| {
            self.sieve.all_within(number, threshold, sums, found);
        });
    }

    fn bounded(
        &self,
        query: &[f32],
        rows: &[u32],
        apart: Option<f32>,
        sums: &CodeSums,
        bounds: impl Fn(usize, &CodeSums) -> (f32, f32),
        within: impl Fn(f32, &mut Vec<u32>),
    ) {
        let norm = |vector: &[f32]| vector.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
        let (metric, scorer, mut found) = (self.metric, Scorer::new(self.metric, query), Vec::new());
        for (at, number) in rows.iter().enumerate() {
            let row = &self.rows[*number as usize];
            let score = scorer.score(row);
            let (lower, upper) = bounds(at, sums);
            let told = || format!("{metric}: {query:?} and {row:?}: {lower} to {upper}, not {score}");
            let is_outside = lower > score || upper < score;
            assert!(!is_outside, "{}", told());
            assert!(upper.is_infinite() || upper.is_nan() || !score.is_nan(), "{}", told());
            within(score, &mut found);
            assert!(found.contains(&(at as u32)) && found.is_sorted(), "{}", told());
            let Some(apart) = apart else { continue };
            let size = match metric {
                Metric::Dot => norm(query) * norm(row),
                Metric::Cosine => 1.0,
                Metric::L2 => (norm(query) + norm(row)).powi(2),
            };
            assert!(upper - lower <= apart * size, "{}", told());
            within(score - apart * size, &mut found);
            assert!(!found.contains(&(at as u32)), "{}", told());
        }
    }
}

#[test]
fn scores_lie_between_their_bounds_which_are_close() {
    let mut floats = Floats(6);
    for dimension in (1..=130).chain(DIMENSIONS.into_iter().filter(|dimension| *dimension < 4000)) {
        let rows: Vec<_> = (0..dimension % 23 + 1).map(|_| floats.vector(dimension, 1.0)).collect();
        let queries: Vec<_> = (0..dimension % 16 + 1).map(|_| floats.vector(dimension, 8.0)).collect();
        check(&queries, &rows, Some([0.7, 0.12]));
        check(&queries[..1], &rows, Some([0.5, 0.09]));
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
        assert!(CodeSieve::new(Metric::Dot, &[&[1.0, 2.0], &query], false, set).is_none(), "{query:?}");
    }
    assert!(CodeSieve::new(Metric::Cosine, &[&[1e-30, 0.0]], false, set).is_some(), "a direction has a code at every length");
    assert!(CodeSieve::new(Metric::Dot, &[], false, set).is_none());
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
