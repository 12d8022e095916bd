//! The exact search against a plain scan in f64.

use std::collections::BTreeMap;

use crate::{Background, Codes, Collection, Database, Hit, Metric, Options};

/// Relative error that the plain scan may have: its sums are not ordered as the engine's are.
const TOLERANCE: f64 = 1e-12;

/// Arbitrary bytes as dimension, metric, k, and then records to write and deletions; the query comes first. Searched in the memtable, after a
/// flush and after a compaction: the same bits each time, and what the plain scan finds.
pub fn search(data: &[u8]) {
    let Some((&[shape, metric, k], data)) = data.split_first_chunk() else { return };
    let dimension = usize::from(shape % 20) + 1;
    let metric = match metric % 3 {
        0 => Metric::L2,
        1 => Metric::Cosine,
        _ => Metric::Dot,
    };
    let k = usize::from(k % 12) + 1;
    let options = Options { background: Background::Inline, ..Options::default() };
    let Ok(db) = Database::in_memory(options) else { return };
    let Ok(docs) = db.create_collection_with("docs", dimension, metric, Codes::Int8) else { return };
    let mut records = data.chunks_exact(1 + 2 * dimension);
    let Some(query) = records.next().map(vector) else { return };
    let mut model: BTreeMap<u8, Vec<f32>> = BTreeMap::new();
    for record in records.take(64) {
        let id = record.first().map_or(0, |id| id % 32);
        if record.first().is_some_and(|kind| kind / 32 == 7) {
            assert_eq!(docs.delete([id]).ok(), Some(model.remove(&id).is_some()), "delete");
        } else if record.first().is_some_and(|kind| kind / 32 == 6) {
            assert!(db.flush().is_ok(), "flush");
        } else {
            let vector = vector(record);
            assert!(docs.upsert([id], vector.as_slice()).is_ok(), "upsert");
            model.insert(id, vector);
        }
    }
    let first = searched(&docs, &query, k);
    check(metric, &query, k, &model, &first);
    assert!(db.flush().is_ok(), "flush");
    assert_eq!(searched(&docs, &query, k), first, "after a flush");
    assert!(db.compact().is_ok(), "compact");
    assert_eq!(searched(&docs, &query, k), first, "after a compaction");
}

/// The elements of a record: the upper halves of f32, so that every magnitude is met; what is not finite is 1.
fn vector(record: &[u8]) -> Vec<f32> {
    let (pairs, _) = record.get(1..).unwrap_or_default().as_chunks::<2>();
    let element = |pair: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*pair)) << 16);
    pairs.iter().map(element).map(|value| if value.is_finite() { value } else { 1.0 }).collect()
}

/// Ids and the bits of distances.
fn searched(docs: &Collection, query: &[f32], k: usize) -> Vec<(Vec<u8>, u32)> {
    let hits: Vec<Hit> = docs.search(query, k).unwrap_or_default();
    hits.into_iter().map(|hit| (hit.id.to_vec(), hit.distance.to_bits())).collect()
}

fn check(metric: Metric, query: &[f32], k: usize, model: &BTreeMap<u8, Vec<f32>>, hits: &[(Vec<u8>, u32)]) {
    assert_eq!(hits.len(), k.min(model.len()), "number of hits");
    let distances: Vec<f32> = hits.iter().map(|(_, bits)| f32::from_bits(*bits)).collect();
    assert!(distances.is_sorted(), "distances do not ascend: {distances:?}");
    let mut rest = model.clone();
    for ((id, _), &distance) in hits.iter().zip(&distances) {
        let row = id.first().and_then(|id| rest.remove(id));
        assert!(row.is_some(), "id {id:?} twice or not there");
        let (low, high) = bounds(metric, query, &row.unwrap_or_default());
        assert!(low <= distance && distance <= high, "{metric:?} of {id:?} is {distance}, not in {low} to {high}");
    }
    let last = distances.last().copied().unwrap_or(f32::NEG_INFINITY);
    for (id, row) in &rest {
        let (_, high) = bounds(metric, query, row);
        assert!(high >= last, "{id} at {high} or nearer is missing; the last hit is at {last}");
    }
}

/// Where the distance must lie, by sums in the order of the elements.
fn bounds(metric: Metric, query: &[f32], row: &[f32]) -> (f32, f32) {
    let pairs = || query.iter().zip(row).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let (value, error) = match metric {
        Metric::L2 => {
            let sum: f64 = pairs().map(|(a, b)| (a - b) * (a - b)).sum();
            (sum, sum * TOLERANCE)
        }
        Metric::Dot => (-pairs().map(|(a, b)| a * b).sum::<f64>(), pairs().map(|(a, b)| (a * b).abs()).sum::<f64>() * TOLERANCE),
        Metric::Cosine => {
            let (of_query, of_row): (f64, f64) = (pairs().map(|(a, _)| a * a).sum(), pairs().map(|(_, b)| b * b).sum());
            if of_query == 0.0 || of_row == 0.0 {
                (1.0, 0.0)
            } else {
                (1.0 - pairs().map(|(a, b)| a * b).sum::<f64>() / (of_query.sqrt() * of_row.sqrt()), TOLERANCE)
            }
        }
    };
    let clamp = |bound: f64| if metric == Metric::Cosine { bound.clamp(0.0, 2.0) } else { bound };
    ((clamp(value - error) as f32).next_down(), (clamp(value + error) as f32).next_up())
}
