use std::{
    collections::BTreeMap,
    ops::Bound::{self, Excluded, Included, Unbounded},
};

use proptest::prelude::*;

use super::{Lookup, MemRow, Memtable, row::LIVE};
use crate::{
    io::bytes::f32s_as_bytes,
    sync::{AtomicBool, AtomicU64, Ordering},
    types::{CollectionId, Death, Dimension, Sequence},
};

#[derive(Clone, Debug)]
enum Operation {
    Put(CollectionId, Vec<u8>, Vec<u8>),
    Delete(CollectionId, Vec<u8>),
    MarkDead(CollectionId, Vec<u8>),
}

/// What happened to an id, in order: `Some` is a put (its number among all), `None` a deletion or a kill from outside.
type History = Vec<(Sequence, Option<usize>)>;

struct Put {
    collection: CollectionId,
    id: Vec<u8>,
    payload: Vec<u8>,
    sequence: Sequence,
}

#[derive(Default)]
struct Model {
    histories: BTreeMap<(CollectionId, Vec<u8>), History>,
    puts: Vec<Put>,
}

impl Model {
    fn at(history: &History, at: Sequence) -> Option<Option<usize>> {
        history.iter().rev().find(|(sequence, _)| *sequence <= at).map(|(_, put)| *put)
    }

    fn visible(&self, collection: CollectionId, at: Sequence) -> impl DoubleEndedIterator<Item = (&Vec<u8>, usize)> {
        self.histories
            .iter()
            .filter(move |((of, _), _)| *of == collection)
            .filter_map(move |((_, id), history)| Some((id, Self::at(history, at)??)))
    }

    fn check_row(&self, row: &MemRow, put: usize) {
        let expected = &self.puts[put];
        assert_eq!((row.id(), row.payload()), (expected.id.as_slice(), expected.payload.as_slice()));
        assert_eq!((row.sequence(), row.ordinal()), (expected.sequence, put as u64 + 1));
        assert_eq!(row.vector(), vector(expected.collection, put));
        assert_eq!(*row.vector_bytes(), *f32s_as_bytes(&vector(expected.collection, put)));
        let history = &self.histories[&(expected.collection, expected.id.clone())];
        let next = history.iter().skip_while(|(_, event)| *event != Some(put)).nth(1);
        assert_eq!(row.dead_at(), next.map_or(LIVE, |(sequence, _)| *sequence));
    }
}

fn dimension(collection: CollectionId) -> Dimension {
    Dimension::new(collection as usize * 3).unwrap()
}

fn vector(collection: CollectionId, put: usize) -> Vec<f32> {
    (0..dimension(collection).get()).map(|i| (put * 100 + i) as f32).collect()
}

/// Runs operations; a batch is as many operations as share a sequence.
fn run(operations: Vec<(bool, Operation)>) -> (Memtable, Model, Sequence) {
    let (memtable, mut model, mut sequence) = (Memtable::new(), Model::default(), 5);
    for (new_batch, operation) in operations {
        sequence += Sequence::from(new_batch);
        match operation {
            Operation::Put(collection, id, payload) => {
                let put = model.puts.len();
                let vector = vector(collection, put);
                memtable.put(collection, dimension(collection), sequence, &id, put as u64 + 1, f32s_as_bytes(&vector), &payload);
                model.histories.entry((collection, id.clone())).or_default().push((sequence, Some(put)));
                model.puts.push(Put { collection, id, payload, sequence });
            }
            Operation::Delete(collection, id) => {
                memtable.delete(collection, sequence, &id);
                model.histories.entry((collection, id)).or_default().push((sequence, None));
            }
            Operation::MarkDead(collection, id) => {
                let live = model.histories.get_mut(&(collection, id.clone())).filter(|history| history.last().unwrap().1.is_some());
                assert_eq!(memtable.mark_dead(collection, &id, Death { at: sequence, deleted: false }), live.is_some());
                if let Some(history) = live {
                    history.push((sequence, None));
                }
            }
        }
    }
    (memtable, model, sequence)
}

fn operation() -> impl Strategy<Value = Operation> {
    let collection = 1u32..3;
    let id = prop::collection::vec(0u8..3, 1..4);
    prop_oneof![
        5 => (collection.clone(), id.clone(), prop::collection::vec(any::<u8>(), 0..5)).prop_map(|(c, id, payload)| Operation::Put(c, id, payload)),
        2 => (collection.clone(), id.clone()).prop_map(|(c, id)| Operation::Delete(c, id)),
        1 => (collection, id).prop_map(|(c, id)| Operation::MarkDead(c, id)),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    let id = prop::collection::vec(0u8..4, 0..3);
    prop_oneof![Just(Unbounded), id.clone().prop_map(Included), id.prop_map(Excluded)]
}

fn within(id: &[u8], bounds: &(Bound<Vec<u8>>, Bound<Vec<u8>>)) -> bool {
    let above = match &bounds.0 {
        Unbounded => true,
        Included(low) => id >= low.as_slice(),
        Excluded(low) => id > low.as_slice(),
    };
    above
        && match &bounds.1 {
            Unbounded => true,
            Included(high) => id <= high.as_slice(),
            Excluded(high) => id < high.as_slice(),
        }
}

proptest! {
    #[test]
    fn equals_a_map_of_histories_at_every_sequence(
        operations in prop::collection::vec((any::<bool>(), operation()), 0..80),
        bounds in (bound(), bound()),
        limit in 0usize..9,
    ) {
        let (memtable, model, last) = run(operations);
        for collection in 1..4 {
            for at in (4..=last).chain([LIVE]) {
                for ((of, id), history) in &model.histories {
                    match (memtable.get(*of, id, at), Model::at(history, at)) {
                        (Lookup::Row(row), Some(Some(put))) => model.check_row(&row, put),
                        (Lookup::Deleted, Some(None)) | (Lookup::Absent, None) => {}
                        (_, expected) => prop_assert!(false, "{id:?} at {at}: {expected:?} expected"),
                    }
                }
                let borrowed = (bounds.0.as_ref().map(Vec::as_slice), bounds.1.as_ref().map(Vec::as_slice));
                let mut expected: Vec<usize> = model.visible(collection, at).filter(|(id, _)| within(id, &bounds)).map(|(_, put)| put).collect();
                for reverse in [false, true] {
                    let page = memtable.page(collection, borrowed, reverse, at, limit);
                    prop_assert_eq!(page.len(), expected.len().min(limit));
                    page.iter().zip(&expected).for_each(|(row, put)| model.check_row(row, *put));
                    expected.reverse();
                }
                let mut scanned = Vec::new();
                memtable.scan(collection, at, (0, 1), |row| scanned.push(row.ordinal() as usize - 1));
                let mut expected: Vec<usize> = model.visible(collection, at).map(|(_, put)| put).collect();
                expected.sort_unstable();
                prop_assert_eq!(scanned, expected, "collection {} at {}", collection, at);
            }
        }
    }

    #[test]
    fn newest_is_the_last_version_of_every_id(operations in prop::collection::vec((any::<bool>(), operation()), 0..80)) {
        let (memtable, model, _) = run(operations);
        for collection in 1..4 {
            let newest = memtable.newest(collection);
            // A kill from outside leaves the put the newest version, marked dead; a deletion takes it out.
            for row in &newest {
                let history = &model.histories[&(collection, row.id().to_vec())];
                model.check_row(row, history.iter().rev().find_map(|(_, put)| *put).unwrap());
            }
            let living = model.histories.iter().filter(|((of, _), history)| *of == collection && history.last().unwrap().1.is_some());
            let ids: Vec<_> = newest.iter().map(MemRow::id).collect();
            prop_assert!(ids.is_sorted() && living.into_iter().all(|((_, id), _)| ids.contains(&id.as_slice())));
        }
    }
}

fn put_number(memtable: &Memtable, dimension: usize, sequence: Sequence, number: u32) {
    let vector = vec![sequence as f32; dimension];
    let dimension = Dimension::new(dimension).unwrap();
    memtable.put(1, dimension, sequence, &number.to_be_bytes(), u64::from(number), f32s_as_bytes(&vector), b"");
}

#[test]
fn pages_and_scans_pass_over_long_invisible_stretches() {
    let memtable = Memtable::new();
    (0..5_000).for_each(|number| put_number(&memtable, 2, 1, number));
    (0..5_000u32).filter(|number| number % 1_700 != 0).for_each(|number| memtable.delete(1, 2, &number.to_be_bytes()));
    let numbers = |rows: &[MemRow]| rows.iter().map(|row| row.ordinal()).collect::<Vec<_>>();
    assert_eq!(numbers(&memtable.page(1, (Unbounded, Unbounded), false, 2, 9)), [0, 1_700, 3_400]);
    assert_eq!(numbers(&memtable.page(1, (Unbounded, Unbounded), true, 2, 2)), [3_400, 1_700]);
    assert_eq!(numbers(&memtable.page(1, (Unbounded, Unbounded), false, 1, usize::MAX)), (0..5_000).collect::<Vec<_>>());
    let mut scanned = Vec::new();
    memtable.scan(1, 2, (0, 1), |row| scanned.push(row.ordinal()));
    assert_eq!(scanned, [0, 1_700, 3_400]);
    for shares in [2, 3, 79, 1000] {
        let mut scanned = Vec::new();
        (0..shares).for_each(|share| memtable.scan(1, 1, (share, shares), |row| scanned.push(row.ordinal())));
        scanned.sort_unstable();
        assert_eq!(scanned, (0..5_000).collect::<Vec<_>>(), "{shares} shares together");
    }
}

#[test]
fn rows_are_aligned_and_outlive_their_memtable() {
    let memtable = Memtable::new();
    for (sequence, dimension) in [(1, 384), (2, 100), (3, 1), (4, 65_535)] {
        put_number(&memtable, dimension, sequence, sequence as u32);
    }
    let rows = memtable.page(1, (Unbounded, Unbounded), false, 4, 9);
    let bytes: Vec<_> = rows.iter().map(MemRow::vector_bytes).collect();
    drop(memtable);
    for (row, dimension) in rows.iter().zip([384, 100, 1, 65_535]) {
        assert_eq!(row.vector().as_ptr() as usize % 64, 0);
        assert_eq!(row.vector(), vec![row.sequence() as f32; dimension]);
    }
    drop(rows);
    assert_eq!(bytes[3].len(), 65_535 * 4);
    assert_eq!(bytes[1][..4], 2.0f32.to_le_bytes());
}

/// A linked list of versions would overflow the stack when dropped.
#[test]
fn one_id_may_have_very_many_versions() {
    let memtable = Memtable::new();
    (1..=200_000).for_each(|sequence| put_number(&memtable, 1, sequence, 7));
    for at in [1, 99_999, 200_000] {
        assert!(
            matches!(memtable.get(1, &7u32.to_be_bytes(), at), Lookup::Row(row) if row.sequence() == at && row.vector() == [at as f32])
        );
    }
    assert!(matches!(memtable.get(1, &7u32.to_be_bytes(), 0), Lookup::Absent));
    let estimate = memtable.bytes() / 200_000;
    assert!((200..600).contains(&estimate), "{estimate} bytes a version");
}

/// Every batch supersedes three ids; a reader at a published sequence must see exactly that batch, by every way of reading.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may start threads")]
fn readers_beside_the_writer_see_whole_batches() {
    let (memtable, published, done) = (Memtable::new(), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut rounds = 0;
                    while !done.load(Ordering::Acquire) || rounds == 0 {
                        let at = published.load(Ordering::Acquire);
                        let expected = if at == 0 { vec![] } else { vec![at as f32; 3] };
                        let mut scanned = Vec::new();
                        memtable.scan(1, at, (0, 1), |row| scanned.push(row.vector()[40]));
                        assert_eq!(scanned, expected, "scan at {at}");
                        let page = memtable.page(1, (Unbounded, Unbounded), rounds % 2 == 0, at, 9);
                        assert_eq!(page.iter().map(|row| row.vector()[50]).collect::<Vec<_>>(), expected, "page at {at}");
                        assert_eq!(matches!(memtable.get(1, &1u32.to_be_bytes(), at), Lookup::Row(_)), at != 0);
                        rounds += 1;
                    }
                })
            })
            .collect();
        for sequence in 1..=3_000 {
            (0..3).for_each(|number| put_number(&memtable, 64, sequence, number));
            published.store(sequence, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}
