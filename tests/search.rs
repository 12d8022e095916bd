//! Exact search: the same list, bit for bit, as scoring every record by the definition and sorting, on data of every kind, wherever the records stand,
//! whatever the batch, the threads and the limits asked for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic"
)]

mod support;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use support::{Random, reading::canonical_score};
use varvite::{
    Background, Codes, Collection, Database, DuplicatePolicy, ErrorKind, Fields, Hit, Instructions, Metric, Options, ReadMode, Search,
};

type Model = BTreeMap<Vec<u8>, Vec<f32>>;
type Answer = Vec<(Vec<u8>, u32)>;

/// What the records are like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Uniform,
    /// Few centres, and noise far below what sums of squares resolve.
    Clusters,
    /// Each vector many times.
    Duplicates,
    Constant,
    /// Norms from 1e-30 to 1e30.
    Norms,
    OneHot,
    /// Each nearer to the first query than all before it, by a little.
    Approaching,
    /// Far from the origin, near one another: what cancellation ruins.
    Offset,
    /// NaN, infinities, zeros, subnormals among ordinary elements.
    Special,
}

const KINDS: [Kind; 9] = [
    Kind::Uniform,
    Kind::Clusters,
    Kind::Duplicates,
    Kind::Constant,
    Kind::Norms,
    Kind::OneHot,
    Kind::Approaching,
    Kind::Offset,
    Kind::Special,
];
const METRICS: [Metric; 3] = [Metric::L2, Metric::Dot, Metric::Cosine];

/// In [−0.5, 0.5).
fn float(random: &mut Random) -> f32 {
    (random.below(1 << 24) as f32) / (1 << 24) as f32 - 0.5
}

fn uniform(random: &mut Random, dimension: usize) -> Vec<f32> {
    (0..dimension).map(|_| float(random)).collect()
}

fn vector(kind: Kind, random: &mut Random, number: usize, dimension: usize) -> Vec<f32> {
    let centre = |of: u64| uniform(&mut Random(of), dimension);
    match kind {
        Kind::Uniform => uniform(random, dimension),
        Kind::Clusters => centre(random.below(3)).into_iter().map(|x| x + float(random) * 1e-6).collect(),
        Kind::Duplicates => centre(random.below(7)),
        Kind::Constant => vec![0.25; dimension],
        Kind::Norms => {
            let scale = 10.0_f32.powi(random.below(61) as i32 - 30);
            uniform(random, dimension).into_iter().map(|x| x * scale).collect()
        }
        Kind::OneHot => (0..dimension).map(|at| if at == number % dimension { 1.0 } else { 0.0 }).collect(),
        Kind::Approaching => centre(99).into_iter().map(|x| x * (1.0 - 1e-4 * (1000 - number.min(999)) as f32)).collect(),
        Kind::Offset => uniform(random, dimension).into_iter().map(|x| 1000.0 + x * 0.01).collect(),
        Kind::Special => {
            let special = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0, f32::from_bits(1), f32::MAX, f32::MIN];
            let mut vector = uniform(random, dimension);
            if random.below(2) == 0 {
                vector[random.below(dimension as u64) as usize] = special[random.below(8) as usize];
            }
            vector
        }
    }
}

/// Records in segments of two loads and a flush, rows dead in each of them, and the newest in the memtable.
fn filled(kind: Kind, metric: Metric, dimension: usize, read_mode: ReadMode, seed: u64) -> (Database, Collection, Model) {
    let mut random = Random(seed);
    let options = Options { background: Background::Inline, allow_non_finite: true, read_mode, ..Options::default() };
    let db = Database::in_memory(options).unwrap();
    let docs = db.create_collection_with("docs", dimension, metric, Codes::Int8).unwrap();
    let mut model = Model::new();
    let id = |number: usize| format!("{:03}-{number}", number * 7919 % 1000).into_bytes();
    let mut next = |number: usize| vector(kind, &mut random, number, dimension);
    for load in 0..2 {
        let records: Vec<_> = (load * 250..(load + 1) * 250 + 50).map(|number| (id(number), next(number))).collect();
        let entries = records.iter().map(|(id, vector)| (id, Fields::vector(vector)));
        docs.bulk_load(entries, DuplicatePolicy::LastWins).unwrap();
        model.extend(records);
    }
    for number in (0..900).step_by(3) {
        let vector = next(number);
        docs.upsert(id(number), vector.as_slice()).unwrap();
        model.insert(id(number), vector);
        if number == 600 {
            db.flush().unwrap();
        }
    }
    for number in (0..900).step_by(11) {
        assert_eq!(docs.delete(id(number)).unwrap(), model.remove(&id(number)).is_some());
    }
    (db, docs, model)
}

/// All records by the definition, nearest first.
fn sorted(metric: Metric, query: &[f32], model: &Model) -> Vec<(f32, Vec<u8>)> {
    let mut all: Vec<(f32, Vec<u8>)> = model.iter().map(|(id, row)| (canonical_score(metric, query, row), id.clone())).collect();
    // No score is −0 and there is one NaN, greater than infinity: the total order is that of results.
    all.sort_by(|(one, id), (two, other)| one.total_cmp(two).then_with(|| id.cmp(other)));
    all
}

fn bits(hits: Vec<Hit>) -> Answer {
    hits.into_iter().map(|hit| (hit.id, hit.distance.to_bits())).collect()
}

fn expected(sorted: &[(f32, Vec<u8>)], k: usize, keep: impl Fn(f32, &[u8]) -> bool) -> Answer {
    sorted.iter().filter(|(score, id)| keep(*score, id)).take(k).map(|(score, id)| (id.clone(), score.to_bits())).collect()
}

fn queries(kind: Kind, dimension: usize, count: usize) -> Vec<f32> {
    let mut random = Random(17);
    let first = uniform(&mut Random(99), dimension);
    let others = (1..count).flat_map(|number| match number % 4 {
        0 => vec![0.0; dimension],
        1 => uniform(&mut random, dimension),
        _ => vector(kind, &mut random, number, dimension),
    });
    first.into_iter().chain(others.collect::<Vec<f32>>()).collect()
}

#[test]
fn every_kind_of_data_gives_the_list_of_a_full_sort() {
    for (number, kind) in KINDS.into_iter().enumerate() {
        for metric in METRICS {
            let dimension = [1, 3, 16, 37, 64, 100, 128, 200, 384][(number + metric as usize) % 9];
            let read_mode = [ReadMode::Mapped, ReadMode::Copied][number % 2];
            let (_db, docs, model) = filled(kind, metric, dimension, read_mode, number as u64);
            // Panels of every width: 6 + 4 + 2 + 1 queries, and a single one.
            let queries = queries(kind, dimension, 13);
            let sorted: Vec<_> = queries.chunks(dimension).map(|query| sorted(metric, query, &model)).collect();
            let context = format!("{kind:?}, {metric}, dimension {dimension}");
            let mut coded = 0;
            for k in [1, 10, 400, 5000] {
                for threads in [1, 3] {
                    let search = Search::nearest(k).threads(threads);
                    for (query, hits) in docs.search_by(&search, &queries).unwrap().into_iter().enumerate() {
                        assert_eq!(
                            bits(hits),
                            expected(&sorted[query], k, |_, _| true),
                            "{context}, query {query}, k = {k}, {threads} threads"
                        );
                    }
                }
                // One query is compared with halves of codes, more of them with whole ones; some have none, and then none of their batch is looked for by
                // codes.
                for (width, codes) in [(1, true), (2, true), (3, true), (1, false)] {
                    let batches = queries.chunks(width * dimension).zip(sorted.chunks(width));
                    for (number, (queries, sorted)) in batches.enumerate() {
                        let (hits, explained) = docs.explain(&Search::nearest(k).codes(codes), queries).unwrap();
                        for (hits, sorted) in hits.into_iter().zip(sorted) {
                            assert_eq!(bits(hits), expected(sorted, k, |_, _| true), "{context}, {width} at once, batch {number}, k = {k}");
                        }
                        assert!(codes || explained.coded == 0);
                        coded += explained.coded;
                    }
                }
            }
            assert!(coded > 0 || matches!(kind, Kind::Special), "{context}: no code was looked at");
            for instructions in Instructions::available() {
                let hits = docs.search_by(&Search::nearest(10).instructions(instructions), &queries).unwrap().remove(1);
                assert_eq!(bits(hits), expected(&sorted[1], 10, |_, _| true), "{context}, {instructions:?}");
            }
            // An approximate search that scores all is none.
            let all = Search::nearest(10).approximate(model.len());
            for (number, (query, sorted)) in queries.chunks(dimension).zip(&sorted).enumerate() {
                for search in [all.clone(), all.clone().threads(2), Search::nearest(10).threads(3)] {
                    let hits = docs.search_by(&search, query).unwrap().remove(0);
                    assert_eq!(bits(hits), expected(sorted, 10, |_, _| true), "{context}, {search:?}, query {number}");
                }
            }
            limits(&docs, &queries, &sorted, &model, &context);
        }
    }
}

#[test]
fn approximate_searches_find_most_and_all_the_same() {
    for metric in METRICS {
        let (_db, docs) = large(metric);
        let queries = uniform(&mut Random(6), 256 * 9);
        let exact = docs.search_by(&Search::nearest(10), &queries).unwrap();
        let search = Search::nearest(10).approximate(50);
        let (hits, explained) = docs.explain(&search, &queries).unwrap();
        assert!(explained.coded == 20_000 && explained.refined == 0 && explained.rows == 24_000, "{explained:?}");
        // 50 of those with codes, for each query, and what is not ruled out of the others.
        assert!(
            (9 * 50..9 * 250).contains(&explained.scored) && explained.bytes < 4_000 * 1024 + 20_000 * (128 + 10) + 9 * 50 * 1024 + 1,
            "{explained:?}"
        );
        let found = hits.iter().zip(&exact).map(|(hits, exact)| exact.iter().filter(|hit| hits.contains(hit)).count()).sum::<usize>();
        assert!(found >= 85, "{metric}: {found} of 90");
        let of_few = docs.search_by(&search.clone().approximate(1), &queries).unwrap();
        let found = of_few.iter().zip(&exact).map(|(hits, exact)| exact.iter().filter(|hit| hits.contains(hit)).count()).sum::<usize>();
        assert!((30..85).contains(&found), "{metric}: {found} of 90, of ten scored for ten asked for");
        for threads in [1, 2, 4] {
            for width in [1, 2, 9] {
                for instructions in Instructions::available() {
                    let search = search.clone().threads(threads).instructions(instructions);
                    for (queries, hits) in queries.chunks(width * 256).zip(hits.chunks(width)) {
                        assert_eq!(docs.search_by(&search, queries).unwrap(), hits, "{threads} threads, {width} at once, {instructions:?}");
                    }
                }
            }
        }
        let farthest = hits[0][4].distance;
        assert_eq!(docs.search_by(&search.clone().within(farthest), &queries[..256]).unwrap()[0], hits[0][..5]);
        assert_eq!(docs.search_by(&search.clone().codes(false), &queries).unwrap(), exact, "without codes it is exact");
        // A query without a code is compared exactly, and those asked with it are not.
        let zeros = [&queries[..512], &[0.0; 256], &queries[512..]].concat();
        let beside = docs.search_by(&search, &zeros).unwrap();
        assert_eq!(beside[2], docs.search_by(&Search::nearest(10), &[0.0; 256]).unwrap()[0]);
        assert_eq!([&beside[..2], &beside[3..]].concat(), hits);
        // Rows of which codes say nothing take nobody's place: they are compared exactly.
        let zero = [0.0; 256];
        let nothing: Vec<String> = (0..100).map(|number| format!("zero-{number}")).collect();
        docs.bulk_load(nothing.iter().map(|id| (id, Fields::vector(&zero))), DuplicatePolicy::Refuse).unwrap();
        let (beside, explained) = docs.explain(&search, &queries).unwrap();
        let exact = docs.search_by(&Search::nearest(10), &queries).unwrap();
        assert_eq!((explained.rows, explained.coded), (24_100, 24_000), "{explained:?}");
        let found = beside.iter().zip(&exact).map(|(hits, exact)| exact.iter().filter(|hit| hits.contains(hit)).count()).sum::<usize>();
        assert!(found >= 85, "{metric}: {found} of 90 beside zeros");
    }
}

/// A greatest distance, a choice of ids or ordinals, and all of them.
fn limits(docs: &Collection, queries: &[f32], sorted: &[Vec<(f32, Vec<u8>)>], model: &Model, context: &str) {
    let chosen: Vec<Vec<u8>> = model.keys().step_by(5).cloned().chain([b"nobody".to_vec()]).collect();
    let chosen_twice = || chosen.iter().chain(&chosen[..3]);
    let dimension = docs.dimension();
    for (query, sorted) in queries.chunks(dimension).zip(sorted).take(3) {
        let middle = sorted[sorted.len() / 3].0;
        if middle.is_nan() {
            continue;
        }
        let within = |score: f32| score <= middle;
        assert_eq!(bits(docs.search_within(query, middle).unwrap()), expected(sorted, usize::MAX, |score, _| within(score)), "{context}");
        let among = Search::nearest(20).among(chosen_twice());
        let hits = docs.search_by(&among, query).unwrap().remove(0);
        assert_eq!(bits(hits), expected(sorted, 20, |_, id| chosen.iter().any(|chosen| chosen == id)), "{context}, among");
        let both = Search::all().among(chosen_twice()).within(middle).threads(2);
        let hits = docs.search_by(&both, query).unwrap().remove(0);
        let is_chosen = |id: &[u8]| chosen.iter().any(|chosen| chosen == id);
        let keep = |score: f32, id: &[u8]| within(score) && is_chosen(id);
        assert_eq!(bits(hits), expected(sorted, usize::MAX, keep), "{context}, among and within");
        // Few of each piece, and most of it.
        for (share, is_marked) in [(40, true), (40, false), (2, true)] {
            let ordinal = |id: &[u8]| docs.get(id).unwrap().unwrap().ordinal().unwrap();
            let marked: Vec<u64> = model.keys().map(|id| ordinal(id)).filter(|ordinal| (ordinal % share == 0) == is_marked).collect();
            let keep = |id: &[u8]| marked.contains(&ordinal(id));
            let search = Search::nearest(30).among_ordinals(marked.iter().copied().chain([u64::MAX]));
            let hits = docs.search_by(&search, query).unwrap().remove(0);
            assert_eq!(bits(hits), expected(sorted, 30, |_, id| keep(id)), "{context}, among ordinals");
            let hits = docs.search_by(&search.among(chosen_twice()), query).unwrap().remove(0);
            assert_eq!(bits(hits), expected(sorted, 30, |_, id| keep(id) && is_chosen(id)), "{context}, among ordinals and ids");
        }
    }
}

/// Large enough for several pieces a thread.
fn large(metric: Metric) -> (Database, Collection) {
    let db = Database::in_memory(Options { background: Background::Inline, ..Options::default() }).unwrap();
    let docs = db.create_collection("docs", 256, metric).unwrap();
    let mut random = Random(5);
    let records: Vec<_> = (0..20_000).map(|number| (format!("{number:05}"), uniform(&mut random, 256))).collect();
    docs.bulk_load(records.iter().map(|(id, vector)| (id, Fields::vector(vector))), DuplicatePolicy::Refuse).unwrap();
    for (id, vector) in &records[..4000] {
        docs.upsert(format!("{id}+"), vector.as_slice()).unwrap();
    }
    (db, docs)
}

#[test]
fn threads_agree_on_more_than_each_of_them_holds() {
    for metric in METRICS {
        let (_db, docs) = large(metric);
        let queries = uniform(&mut Random(6), 256 * 9);
        let third = |search: Search| search.among((0..20_000).step_by(3).map(|number| format!("{number:05}")));
        let odd = |search: Search| search.among_ordinals((0..24_000).filter(|ordinal| ordinal % 2 == 1));
        for search in [Search::nearest(100), third(Search::nearest(100)), odd(Search::nearest(100))] {
            let (alone, explained) = docs.explain(&search, &queries).unwrap();
            assert_eq!(explained.threads, 1);
            for threads in [2, 4, usize::MAX] {
                let (hits, explained) = docs.explain(&search.clone().threads(threads), &queries).unwrap();
                assert_eq!(hits, alone, "{metric}, {threads} threads");
                assert!(explained.threads > 1, "{explained:?}");
            }
        }
    }
}

/// What is told of a search is what was done, and most rows are ruled out by their bounds.
#[test]
fn an_explanation_counts_rows_bytes_and_scores() {
    let (_db, docs) = large(Metric::Cosine);
    let queries = uniform(&mut Random(6), 256 * 3);
    for threads in [1, 2] {
        let (hits, explained) = docs.explain(&Search::nearest(10).threads(threads), &queries).unwrap();
        assert_eq!(hits, docs.search_by(&Search::nearest(10), &queries).unwrap());
        assert_eq!((explained.queries, explained.rows, explained.threads), (3, 24_000, threads));
        assert!((30..3 * 24_000 / 100).contains(&explained.scored), "{explained:?}");
        assert!((30..=explained.scored).contains(&explained.kept), "{explained:?}");
        assert_eq!(explained.instructions, Instructions::widest());
        // All but the rows of the memtable and the first few.
        assert!((19_000..=20_000).contains(&explained.coded), "{explained:?}");
        assert!((1..3 * 24_000 / 100).contains(&explained.candidates), "{explained:?}");
        assert!(
            explained.bytes < 5_000 * 1024 + 19_500 * (256 + 10) && explained.refined == 0 && explained.fallbacks == 0,
            "{explained:?}"
        );
        let (again, vectors) = docs.explain(&Search::nearest(10).threads(threads).codes(false), &queries).unwrap();
        assert_eq!((again, vectors.coded, vectors.candidates, vectors.rescoring), (hits, 0, 0, Duration::ZERO));
        assert_eq!((vectors.rows, vectors.bytes), (24_000, 24_000 * 1024));
    }
    // One query alone looks at lower halves of codes where the upper do not suffice, of those that it compares by codes at all.
    let (_, explained) = docs.explain(&Search::nearest(10), &queries[..256]).unwrap();
    assert!((10..=explained.coded).contains(&explained.refined) && explained.coded > 19_000, "{explained:?}");
    let halves = explained.coded * (128 + 10) + explained.refined * 128;
    assert!((halves..halves + 5_500 * 1024).contains(&explained.bytes), "{explained:?}");
    let (_, explained) =
        docs.explain(&Search::nearest(10).among(["00001", "00002"]).instructions(Instructions::Portable), &queries).unwrap();
    assert_eq!((explained.rows, explained.scored, explained.kept, explained.instructions), (2, 6, 6, Instructions::Portable));
}

/// Near one another by less than a code tells, rows are not ruled out: their vectors are read, and few of their codes.
#[test]
fn codes_that_rule_nothing_out_are_soon_left_alone() {
    let db = Database::in_memory(Options { background: Background::Inline, ..Options::default() }).unwrap();
    let docs = db.create_collection("docs", 384, Metric::L2).unwrap();
    let mut random = Random(8);
    let records: Vec<_> = (0..40_000)
        .map(|number| (format!("{number:05}"), uniform(&mut random, 384).into_iter().map(|x| 1.0 + x * 1e-4).collect::<Vec<f32>>()))
        .collect();
    docs.bulk_load(records.iter().map(|(id, vector)| (id, Fields::vector(vector))), DuplicatePolicy::Refuse).unwrap();
    for query in [&records[7].1, &records[39_000].1] {
        let (hits, explained) = docs.explain(&Search::nearest(10), query).unwrap();
        assert!(explained.fallbacks >= 2 && explained.coded < 3_000, "{explained:?}");
        assert!(explained.candidates < 3_000 && explained.rows == 40_000, "{explained:?}");
        assert_eq!(hits, docs.search_by(&Search::nearest(10).codes(false), query).unwrap());
        assert_eq!(hits[0][0].distance, 0.0);
    }
}

#[test]
fn a_search_ends_when_it_is_told_to_or_late() {
    let (_db, docs) = large(Metric::L2);
    let query = [0.0; 256];
    let asked = Arc::new(AtomicUsize::new(0));
    for threads in [1, 2] {
        let count = Arc::clone(&asked);
        let search = Search::nearest(1).threads(threads).cancelled_when(move || count.fetch_add(1, Ordering::Relaxed) >= 3);
        asked.store(0, Ordering::Relaxed);
        assert_eq!(docs.search_by(&search, &query).unwrap_err().kind(), ErrorKind::Cancelled);
        // It did not go on: a whole search asks dozens of times.
        assert!(asked.load(Ordering::Relaxed) < 4 + 2 * threads, "asked {asked:?} times");
    }
    let late = Search::nearest(1).timeout(Duration::ZERO);
    for late in [late.clone(), late.clone().among(["00001"]), late.among_ordinals([u64::MAX])] {
        assert_eq!(docs.search_by(&late, &query).unwrap_err().kind(), ErrorKind::TimedOut);
    }
    let in_time = Search::nearest(1).timeout(Duration::from_secs(1000)).cancelled_when(|| false);
    assert_eq!(docs.search_by(&in_time, &query).unwrap()[0].len(), 1);
}

/// A caller's function that panics ends all threads, in the caller's or in another's.
#[test]
fn a_panic_of_the_callers_function_leaves_nothing_behind() {
    let (_db, docs) = large(Metric::Dot);
    for in_helper in [false, true] {
        let caller = std::thread::current().id();
        let running = Arc::new(());
        let held = Arc::clone(&running);
        let search = Search::nearest(1).threads(2).cancelled_when(move || {
            let _held = &held;
            assert!((std::thread::current().id() == caller) == in_helper, "on purpose");
            false
        });
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| docs.search_by(&search, &[0.0; 256])));
        match ended {
            Err(_) => assert!(!in_helper),
            Ok(Err(error)) => assert_eq!(error.kind(), ErrorKind::Cancelled),
            // The helper came too late to be asked.
            Ok(Ok(_)) => assert!(in_helper),
        }
        drop(search);
        assert_eq!(Arc::strong_count(&running), 1, "a thread of the search still runs");
    }
}

#[test]
fn what_has_no_answer_is_refused_by_name() {
    let db = Database::in_memory(Options::default()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.insert("a", &[1.0, 2.0]).unwrap();
    let refused = |search: Search, queries: &[f32], word: &str| {
        let error = docs.search_by(&search, queries).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.to_string().contains(word), "{error}");
    };
    refused(Search::nearest(0), &[0.0; 2], "k = 0");
    refused(Search::nearest(1).threads(0), &[0.0; 2], "0 threads");
    refused(Search::nearest(1).approximate(0), &[0.0; 2], "approximate search of 0 records");
    refused(Search::nearest(1).approximate(65_537), &[0.0; 2], "from 1 to 65536");
    refused(Search::all().approximate(10), &[0.0; 2], "from 1 to 65536");
    refused(Search::all().within(f32::NAN), &[0.0; 2], "NaN");
    refused(Search::nearest(1), &[0.0; 3], "3 elements");
    refused(Search::nearest(1), &[f32::NAN; 2], "NaN");
    let nobody: [&str; 0] = [];
    assert_eq!(docs.search_by(&Search::nearest(5).among(nobody), &[0.0; 4]).unwrap(), [vec![], vec![]]);
    assert_eq!(docs.search_within(&[1.0, 2.0], 0.0).unwrap().len(), 1, "a distance that is met is within");
    assert!(docs.search_within(&[1.0, 2.0], -1.0).unwrap().is_empty());
}
