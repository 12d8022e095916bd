//! Every way to read a collection, compared with the model; and the canonical score, written again from its definition.

use std::ops::Bound;

use varvite::{CollectionSnapshot, Metric, Result, Row, Rows, Search, Snapshot};

use super::{
    Random,
    state::{Coll, Rec, State, record},
};

/// The distance as `docs/design.md` and the program's promise define it: f64, element i in lane i mod 8, the lanes added as
/// ((0+4)+(2+6))+((1+5)+(3+7)), rounded once to f32; one zero, one NaN.
pub fn canonical_score(metric: Metric, query: &[f32], row: &[f32]) -> f32 {
    let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
        let lane = |lane: usize| -> f64 {
            let mut sum = 0.0_f64;
            for index in (lane..row.len()).step_by(8) {
                sum += term(f64::from(query[index]), f64::from(row[index]));
            }
            sum
        };
        ((lane(0) + lane(4)) + (lane(2) + lane(6))) + ((lane(1) + lane(5)) + (lane(3) + lane(7)))
    };
    let score = match metric {
        Metric::L2 => sum(&|a, b| (a - b) * (a - b)),
        Metric::Dot => -sum(&|a, b| a * b),
        Metric::Cosine => {
            let (squares, row_squares) = (sum(&|a, _| a * a), sum(&|_, b| b * b));
            if squares == 0.0 || row_squares == 0.0 {
                1.0
            } else {
                (1.0 - sum(&|a, b| a * b) / (squares * row_squares).sqrt()).clamp(0.0, 2.0)
            }
        }
    };
    match score as f32 {
        nan if nan.is_nan() => f32::from_bits(0x7FC0_0000),
        0.0 => 0.0,
        score => score,
    }
}

/// All neighbours in order: by score, NaN last, then by id.
fn neighbours(coll: &Coll, query: &[f32], k: usize) -> Vec<(Vec<u8>, u32)> {
    let scored = coll.rows.iter().map(|(id, record)| {
        let row: Vec<f32> = record.bits.iter().map(|bits| f32::from_bits(*bits)).collect();
        (canonical_score(coll.metric, query, &row), id.clone())
    });
    let mut scored: Vec<(f32, Vec<u8>)> = scored.collect();
    scored.sort_by(|(one, id), (two, other)| {
        let by_score = if one.is_nan() || two.is_nan() { one.is_nan().cmp(&two.is_nan()) } else { one.partial_cmp(two).unwrap() };
        by_score.then_with(|| id.cmp(other))
    });
    scored.into_iter().take(k).map(|(score, id)| (id, score.to_bits())).collect()
}

type Found = Vec<(Vec<u8>, Rec)>;

fn forward(rows: Rows) -> Result<Found> {
    rows.map(|row| record(&row?)).collect()
}

fn backward(rows: Rows) -> Result<Found> {
    let mut found = rows.rev().map(|row| record(&row?)).collect::<Result<Found>>()?;
    found.reverse();
    Ok(found)
}

/// From both ends in turns, decided by chance.
fn inward(mut rows: Rows, random: &mut Random) -> Result<Found> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    loop {
        let next = if random.below(2) == 0 { (rows.next(), &mut front) } else { (rows.next_back(), &mut back) };
        match next {
            (Some(row), end) => end.push(record(&row?)?),
            (None, _) => break,
        }
    }
    assert!(rows.next().is_none() && rows.next_back().is_none(), "an iterator goes on behind its end");
    back.reverse();
    front.extend(back);
    Ok(front)
}

/// An id that is there, or one beside it.
fn some_id(coll: &Coll, random: &mut Random) -> Vec<u8> {
    let mut id = match coll.rows.len() as u64 {
        0 => vec![random.next() as u8],
        rows => coll.rows.keys().nth(random.below(rows) as usize).unwrap().clone(),
    };
    match random.below(4) {
        0 => id.push(0),
        1 if id.len() > 1 => drop(id.pop()),
        2 => *id.last_mut().unwrap() ^= 1,
        _ => {}
    }
    id
}

fn bound(coll: &Coll, random: &mut Random) -> Bound<Vec<u8>> {
    match random.below(5) {
        0 => Bound::Unbounded,
        1 | 2 => Bound::Included(some_id(coll, random)),
        _ => Bound::Excluded(some_id(coll, random)),
    }
}

fn holds((low, high): &(Bound<Vec<u8>>, Bound<Vec<u8>>), id: &[u8]) -> bool {
    let above = match low {
        Bound::Unbounded => true,
        Bound::Included(low) => id >= low.as_slice(),
        Bound::Excluded(low) => id > low.as_slice(),
    };
    let below = match high {
        Bound::Unbounded => true,
        Bound::Included(high) => id <= high.as_slice(),
        Bound::Excluded(high) => id < high.as_slice(),
    };
    above && below
}

/// Reads a collection in every way there is. Errors are passed on; whatever differs from the model panics.
pub fn check_reads(found: &CollectionSnapshot, coll: &Coll, random: &mut Random) -> Result<()> {
    assert_eq!(
        (found.dimension(), found.metric(), found.count()?),
        (coll.dimension, coll.metric, coll.rows.len() as u64),
        "shape and count"
    );
    let all: Found = coll.rows.iter().map(|(id, record)| (id.clone(), record.clone())).collect();
    assert_eq!(forward(found.iter()?)?, all, "iterated forward");
    assert_eq!(backward(found.iter()?)?, all, "iterated backward");
    assert_eq!(inward(found.iter()?, random)?, all, "iterated from both ends");
    check_points(found, coll, random)?;
    for _ in 0..3 {
        let range = (bound(coll, random), bound(coll, random));
        let within: Found = all.iter().filter(|(id, _)| holds(&range, id)).cloned().collect();
        assert_eq!(forward(found.range(range.clone())?)?, within, "the range {range:?}");
        assert_eq!(backward(found.range(range.clone())?)?, within, "the range {range:?} backward");
        assert_eq!(inward(found.range(range.clone())?, random)?, within, "the range {range:?} from both ends");
        let mut prefix = some_id(coll, random);
        prefix.truncate(random.below(prefix.len() as u64 + 1) as usize);
        let within: Found = all.iter().filter(|(id, _)| id.starts_with(&prefix)).cloned().collect();
        assert_eq!(forward(found.prefix(&prefix)?)?, within, "the prefix {prefix:?}");
        assert_eq!(backward(found.prefix(&prefix)?)?, within, "the prefix {prefix:?} backward");
    }
    check_search(found, coll, random)
}

fn check_points(found: &CollectionSnapshot, coll: &Coll, random: &mut Random) -> Result<()> {
    let mut ids: Vec<Vec<u8>> = coll.rows.keys().cloned().collect();
    ids.extend((0..4).map(|_| some_id(coll, random)));
    let check = |id: &Vec<u8>, row: &Option<Row>| -> Result<()> {
        let got = row.as_ref().map(record).transpose()?;
        let expected = coll.rows.get(id).map(|record| (id.clone(), record.clone()));
        assert_eq!(got, expected, "got {}", id.escape_ascii());
        // The parts one by one, as they are read alone.
        if let (Some(row), Some((_, record))) = (row, expected) {
            assert_eq!(
                (row.document()?, row.uri()?, row.ordinal()?),
                (record.payload.document.clone(), record.payload.uri.clone(), record.ordinal)
            );
            assert_eq!(row.metadata()?.len(), record.payload.metadata.len());
            assert_eq!(super::state::bits(row), record.bits);
        }
        Ok(())
    };
    for id in &ids {
        check(id, &found.get(id)?)?;
        assert_eq!(found.contains(id)?, coll.rows.contains_key(id), "contains {}", id.escape_ascii());
    }
    let shuffled: Vec<Vec<u8>> = (0..ids.len()).map(|_| ids[random.below(ids.len() as u64) as usize].clone()).collect();
    let rows = found.multi_get(&shuffled)?;
    assert_eq!(rows.len(), shuffled.len());
    shuffled.iter().zip(&rows).try_for_each(|(id, row)| check(id, row))
}

fn check_search(found: &CollectionSnapshot, coll: &Coll, random: &mut Random) -> Result<()> {
    let queries: Vec<Vec<f32>> = (0..3).map(|_| super::workload::any_vector(random.next(), coll.dimension)).collect();
    for k in [1, 1 + random.below(6) as usize, coll.rows.len() + 3] {
        let expected: Vec<_> = queries.iter().map(|query| neighbours(coll, query, k)).collect();
        let plain = |hits: Vec<varvite::Hit>| hits.into_iter().map(|hit| (hit.id, hit.distance.to_bits())).collect::<Vec<_>>();
        let together = found.search_by(&Search::nearest(k).threads(3), &queries.concat())?;
        let together: Vec<_> = together.into_iter().map(plain).collect();
        assert_eq!(together, expected, "the {k} nearest, three queries at once");
        assert_eq!(plain(found.search(&queries[0], k)?), expected[0], "the {k} nearest of {:?}", queries[0]);
    }
    Ok(())
}

/// Reads all collections of a moment in every way.
pub fn check_all(found: &Snapshot, state: &State, random: &mut Random) -> Result<()> {
    let infos = found.list_collections();
    assert_eq!(infos.iter().map(|info| info.name.as_str()).collect::<Vec<_>>(), state.keys().map(String::as_str).collect::<Vec<_>>());
    for (info, (name, coll)) in infos.iter().zip(state) {
        assert_eq!((info.dimension, info.metric, info.count), (coll.dimension, coll.metric, coll.rows.len() as u64), "{name}");
        let collection = found.collection(name)?;
        assert_eq!(collection.name(), name);
        check_reads(&collection, coll, random)?;
    }
    Ok(())
}
