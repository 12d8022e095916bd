//! Many segments, many collections, many pieces of a load: what was quadratic once is walked here with counts that would show it, and
//! compared with plain maps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;

use varvite::{Background, Database, DuplicatePolicy, ErrorKind, Fields, Metric, Options};

fn inline() -> Options {
    Options { background: Background::Inline, memtable_bytes: 1 << 20, ..Options::default() }
}

/// A get looked at every segment of a run to learn whether a binary search was allowed: 10 µs with 5,000 of them, now below 1 µs.
#[test]
fn a_look_up_among_very_many_segments_asks_one_a_run() {
    let db = Database::in_memory(inline()).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    let mut model = BTreeMap::new();
    for step in 0..600_u32 {
        // Every other number; every third load replaces what an earlier one brought, and spans its neighbours.
        let key = step * 7919 % 600 * 2;
        let keys = if step % 3 == 0 { vec![key, (key + 6) % 1200] } else { vec![key] };
        let entries: Vec<_> = keys.iter().map(|key| (format!("{key:05}"), Fields::from(vec![*key as f32, step as f32]))).collect();
        docs.bulk_load(entries, DuplicatePolicy::LastWins).unwrap();
        model.extend(keys.into_iter().map(|key| (key, step)));
    }
    let stats = &db.stats().unwrap().collections[0];
    assert!(stats.segments > 400, "{} segments", stats.segments);
    let (runs, before) = (stats.runs, db.stats().unwrap());
    for key in 0..1200 {
        let found = docs.get(format!("{key:05}")).unwrap().map(|row| row[1] as u32);
        assert_eq!(found, model.get(&key).copied(), "record {key}");
    }
    let after = db.stats().unwrap();
    assert!(after.segments_asked - before.segments_asked <= 1200 * runs, "at most one segment of each of {runs} runs is asked");
    assert_eq!(docs.count().unwrap(), model.len() as u64);
    db.compact().unwrap();
    assert!((0..1200).all(|key| docs.get(format!("{key:05}")).unwrap().map(|row| row[1] as u32) == model.get(&key).copied()));
}

/// Creating a collection cloned the catalog and every count: 10,000 took 14 s.
#[test]
fn thousands_of_collections_come_go_and_change_names() {
    let db = Database::in_memory(inline()).unwrap();
    let mut model = BTreeMap::new();
    let mut frozen = Vec::new();
    for step in 0..3_000_u32 {
        let name = format!("collection {:04}", step * 7919 % 3_000);
        db.create_collection(&name, 1 + step as usize % 7, Metric::L2).unwrap();
        model.insert(name.clone(), 1 + step as usize % 7);
        if step % 5 == 1 {
            let new = format!("renamed {step}");
            db.rename_collection(&name, &new).unwrap();
            let dimension = model.remove(&name).unwrap();
            model.insert(new, dimension);
        }
        if step % 7 == 2 {
            let (victim, _) = model.pop_first().unwrap();
            db.drop_collection(&victim).unwrap();
            assert_eq!(db.collection(&victim).unwrap_err().kind(), ErrorKind::NotFound);
        }
        if step % 1_000 == 500 {
            frozen.push((db.snapshot().unwrap(), model.clone()));
        }
        if step == 2_000 {
            db.flush().unwrap();
        }
    }
    let names = |infos: Vec<varvite::CollectionInfo>| infos.into_iter().map(|info| (info.name, info.dimension)).collect::<BTreeMap<_, _>>();
    assert_eq!(names(db.list_collections().unwrap()), model);
    for (name, dimension) in &model {
        assert_eq!(db.collection(name).unwrap().dimension(), *dimension);
    }
    for (snapshot, model) in frozen {
        assert_eq!(names(snapshot.list_collections()), model, "a snapshot keeps its catalog");
    }
}

/// Ascending pieces do not overlap: a load asks none of them for each record, whatever their number.
#[test]
fn a_load_of_many_pieces_finds_what_recurs_in_any_of_them() {
    let options = Options { memtable_bytes: 8 << 10, ..inline() };
    for stride in [1, 7919] {
        let db = Database::in_memory(options.clone()).unwrap();
        let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
        let entry = |step: u32| (format!("{:06}", step * stride % 4_000), Fields::from(vec![step as f32, 0.0]));
        assert_eq!(docs.bulk_load((0..5_000).map(entry), DuplicatePolicy::LastWins).unwrap(), 4_000);
        for step in 0..5_000 {
            let last = if step < 1_000 { step + 4_000 } else { step };
            assert_eq!(docs.get(entry(step).0).unwrap().unwrap()[0], last as f32);
        }
        let refused = docs.bulk_load((10_000..14_001).map(|step| (entry(step).0 + "x", entry(step).1)), DuplicatePolicy::Refuse);
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidArgument, "the last one repeats the first");
        assert_eq!(docs.count().unwrap(), 4_000);
    }
}

/// With no budget at all every record of a load was a file, and every write ended its log.
#[test]
fn budgets_of_nothing_are_raised_to_what_works() {
    let db = Database::in_memory(Options { memtable_bytes: 0, merge_bytes: 0, ..inline() }).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    docs.bulk_load((0..1_000).map(|step| (format!("{step:06}"), Fields::from(vec![1.0, 0.0]))), DuplicatePolicy::Refuse).unwrap();
    let segments = db.stats().unwrap().collections[0].segments;
    assert!(segments < 40, "{segments} segments of 1,000 records");
    let db = Database::in_memory(Options { log_bytes: 0, ..inline() }).unwrap();
    let docs = db.create_collection("docs", 2, Metric::L2).unwrap();
    for step in 0..100 {
        docs.upsert(format!("{step:06}"), &[2.0, 0.0]).unwrap();
    }
    assert_eq!((docs.count().unwrap(), db.stats().unwrap().flushes), (100, 0));
}
