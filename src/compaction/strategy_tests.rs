use super::{Choice, Cut, Merge, Mode, choose, deepest, ranges};
use crate::{
    compaction::shape::{CollectionShape, FileShape, SegmentShape, Shape},
    sync::Arc,
};

const MB: u64 = 1 << 20;

/// Ids are numbers of five digits.
fn id(number: u64) -> Box<[u8]> {
    format!("{number:05}").into_bytes().into()
}

/// A segment whose rows are spread evenly over `ids`, with one row in `dead` parts of a hundred dead.
fn segment(number: u64, ids: std::ops::Range<u64>, bytes: u64, dead: u32) -> SegmentShape {
    let rows = 1000;
    let span = ids.clone();
    let live_rows_in = move |range: &super::IdRange| {
        let at = |row: u32| id(span.start + (span.end - span.start - 1) * u64::from(row) / u64::from(rows - 1));
        let inside =
            |id: &[u8]| range.after.as_deref().is_none_or(|after| id > after) && range.through.as_deref().is_none_or(|end| id <= end);
        (0..rows).filter(|row| inside(&at(*row))).count() as u32 * (100 - dead) / 100
    };
    let (first, last) = (id(ids.start), id(ids.end - 1));
    SegmentShape {
        id: number,
        bytes,
        memory: bytes / 16,
        rows,
        dead_rows: rows * dead / 100,
        first,
        last,
        live_rows_in: Arc::new(live_rows_in),
    }
}

fn collection(number: u32, runs: Vec<Vec<SegmentShape>>) -> CollectionShape {
    CollectionShape { id: number, runs }
}

/// One file a segment, numbered as it is.
fn shape(collections: Vec<CollectionShape>) -> Shape {
    let file = |segment: &SegmentShape| FileShape {
        number: segment.id,
        bytes: segment.bytes,
        orphaned_bytes: 0,
        dead_bytes: segment.dead_bytes(),
        erase_due: false,
    };
    let files = collections.iter().flat_map(|collection| collection.runs.iter().flatten()).map(file).collect();
    Shape { collections, files, memtable_bytes: 32 * MB, grain: MB, merge_bytes: 16 * MB }
}

fn merges(choice: Option<Choice>) -> Vec<Merge> {
    match choice {
        Some(Choice::Merge(merges)) => merges,
        other => panic!("not a merge: {other:?}"),
    }
}

/// A bottom of `parts` segments of `bytes` each over ids 0 to 99,999.
fn bottom(parts: u64, bytes: u64, dead: u32) -> Vec<SegmentShape> {
    (0..parts).map(|part| segment(1000 + part, 100_000 / parts * part..100_000 / parts * (part + 1), bytes, dead)).collect()
}

#[test]
fn nothing_is_due_where_nothing_is_dead_and_little_overlaps() {
    let shape = shape(vec![collection(1, vec![bottom(16, 20 * MB, 0), vec![segment(1, 0..100_000, 30 * MB, 0)]])]);
    for mode in [Mode::Busy, Mode::Idle] {
        assert_eq!(choose(&shape, mode), None);
    }
    assert!(matches!(choose(&shape, Mode::Full), Some(Choice::Merge(_))), "asked for, it leaves one run");
}

#[test]
fn the_four_smallest_of_the_deepest_pile_are_merged() {
    let mut runs = vec![bottom(16, 20 * MB, 0)];
    runs.extend((0..12).map(|index| vec![segment(index, 40_000..50_000, (12 - index) * MB, 0)]));
    runs.push(vec![segment(50, 0..1000, MB / 2, 0)]);
    let [merge] = &merges(choose(&shape(vec![collection(1, runs)]), Mode::Busy))[..] else { panic!("one merge") };
    assert_eq!((&*merge.inputs, merge.cut), (&[11, 10, 9, 8][..], Cut::AtBounds), "the small one elsewhere does not make this pile lower");
}

#[test]
fn what_overlaps_counts_not_the_number_of_segments() {
    let apart: Vec<_> = (0..50).map(|index| segment(index, index * 1000..index * 1000 + 900, MB, 0)).collect();
    let over: Vec<_> = (0..3).map(|index| segment(100 + index, 1000..2500, MB, 0)).collect();
    let all: Vec<&SegmentShape> = apart.iter().chain(&over).collect();
    let mut ids: Vec<u64> = deepest(&all).iter().map(|segment| segment.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 100, 101, 102]);
}

#[test]
fn small_collections_are_merged_in_one_publication() {
    let small = |number: u32| {
        let runs = (0..20).map(|index| vec![segment(u64::from(number) * 100 + index, 0..1000, 4000, 0)]);
        collection(number, runs.collect())
    };
    let merges = merges(choose(&shape((1..=50).map(small).collect()), Mode::Busy));
    assert_eq!(merges.len(), 50);
    assert!(merges.iter().all(|merge| merge.inputs.len() == 4));
}

#[test]
fn the_range_with_most_to_free_is_swept_once_half_as_much_is_dead() {
    let with_dead = |dead: u32| {
        let mut low = bottom(16, 20 * MB, dead);
        low[7].dead_rows += 100;
        shape(vec![collection(1, vec![low, vec![segment(1, 0..100_000, 30 * MB, 0)]])])
    };
    assert_eq!(choose(&with_dead(30), Mode::Busy), None);
    let [merge] = &merges(choose(&with_dead(40), Mode::Busy))[..] else { panic!("one merge") };
    assert!(merge.inputs.contains(&1007) && merge.cut == Cut::Evenly, "{merge:?}");
    assert!(!merges(choose(&with_dead(30), Mode::Idle)).is_empty(), "idle, less is tolerated");
}

/// A small bottom under large upper runs, cut nowhere: one sweep took all ranges at once, and the directory held everything twice.
#[test]
fn a_sweep_takes_a_few_segments_worth_whatever_lies_over_the_bottom() {
    let mut runs = vec![bottom(2, 3 * MB, 60)];
    for run in 0..6 {
        runs.push((0..16).map(|part| segment(run * 100 + part, part * 6250..(part + 1) * 6250, 8 * MB, 30)).collect());
    }
    let shape = shape(vec![collection(1, runs)]);
    let collection = &shape.collections[0];
    let target = crate::version::segment_bytes(collection.live_bytes(), MB);
    let parts: Vec<_> = ranges(&shape, collection, Mode::Busy).into_iter().map(|part| part.range).collect();
    assert!(parts.len() > 8, "{}", parts.len());
    for range in &parts {
        assert!(collection.live_in(range) <= target * 3, "{} of {target} in {range:?}", collection.live_in(range));
    }
    assert_eq!((&parts[0].after, &parts[parts.len() - 1].through), (&None, &None), "all ids are in one");
    assert!(parts.windows(2).all(|pair| pair[0].through == pair[1].after), "and in one only");
}

#[test]
fn files_of_many_small_collections_are_rewritten_by_their_dead_share() {
    let collections = (1..=40)
        .map(|number| collection(number, vec![vec![segment(u64::from(number), 0..1000, 2 * MB, if number == 9 { 90 } else { 60 })]]));
    match choose(&shape(collections.collect()), Mode::Busy) {
        Some(Choice::Rewrite(files)) => assert!(files[0] == 9 && files.len() == 8, "{files:?}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_must_be_erased_comes_first() {
    let mut shape = shape(vec![collection(1, vec![bottom(16, 20 * MB, 90)])]);
    shape.files[3].erase_due = true;
    assert_eq!(choose(&shape, Mode::Busy), Some(Choice::Rewrite(vec![1003])));
}
