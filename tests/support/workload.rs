//! The scripted workload of the crash and fault tests: every kind of operation, with flushes, compactions, rotations and publications inside.

use varvite::{DuplicatePolicy, Durability, Metadata, Metric, Value};

use super::{
    Random,
    machine::Step,
    state::{Op, Parts, Verb},
};

pub fn vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut random = Random(seed);
    let element = |random: &mut Random| match random.below(8) {
        0 => -0.0,
        1 => f32::from_bits(random.below(1 << 22) as u32 + 1),
        2 => f32::from_bits(0x7FC0_0000 | random.below(1 << 20) as u32),
        _ => (random.below(2000) as f32 - 1000.0) / 37.0,
    };
    (0..dimension).map(|_| element(&mut random)).collect()
}

/// A vector as a test of every bit wants it: mostly on a small grid, so that distances tie; sometimes anything that a f32 can be.
pub fn any_vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut random = Random(seed);
    let wild = random.below(4) == 0;
    let element = |random: &mut Random| match if wild { random.below(9) } else { 8 } {
        0 => -0.0,
        1 => f32::from_bits(random.below(1 << 22) as u32 + 1),
        2 => -f32::from_bits(random.below(1 << 22) as u32 + 1),
        // Quiet and signalling NaN of either sign, with payloads.
        3 => f32::from_bits(0x7F80_0001 | random.next() as u32),
        4 => [f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::EPSILON][random.below(6) as usize],
        5 => f32::from_bits(random.next() as u32),
        6 => 0.0,
        _ => random.below(5) as f32 - 2.0,
    };
    (0..dimension).map(|_| element(&mut random)).collect()
}

/// Metadata of every type, NaN among them, empty arrays and texts too.
pub fn any_metadata(seed: u64) -> Metadata {
    let mut random = Random(seed);
    let mut metadata = Metadata::new();
    for key in ["", "n", "x", "tags", "ключ"].iter().take(random.below(6) as usize) {
        let few = random.below(3) as usize;
        let value = match random.below(8) {
            0 => Value::String("q".repeat(few)),
            1 => Value::I64(random.next() as i64),
            2 => Value::F64(f64::from_bits(random.next())),
            3 => Value::Bool(few == 1),
            4 => Value::Strings(vec!["ß".repeat(few); few]),
            5 => Value::I64s(vec![i64::MIN; few]),
            6 => Value::F64s(vec![f64::from_bits(0x7FF8_0000_0000_0000 | random.next()); few]),
            _ => Value::Bools(vec![true; few]),
        };
        metadata.insert(format!("k{key}"), value);
    }
    metadata
}

/// A record's parts; every third has a payload.
pub fn parts(seed: u64, dimension: usize) -> Parts {
    let mut parts = Parts { vector: Some(vector(seed, dimension)), ..Parts::default() };
    if seed.is_multiple_of(3) {
        parts.metadata = Some(Metadata::new().with("seed", seed as i64).with("tags", vec!["a".to_owned(), seed.to_string()]));
        parts.document = Some(Some(format!("document {seed} ").repeat(1 + seed as usize % 20)));
        parts.uri = Some(seed.is_multiple_of(2).then(|| format!("file:///{seed}")));
    }
    parts
}

pub fn id(number: u64) -> Vec<u8> {
    // Scattered, so that runs overlap; of different lengths, with bytes that are no text.
    let mut id = (number.wrapping_mul(0x9E37_79B1) as u32).to_be_bytes().to_vec();
    id.extend(std::iter::repeat_n(0xFF, number as usize % 5));
    id
}

pub fn upsert(name: &str, number: u64, seed: u64, dimension: usize) -> Op {
    Op::Put(Verb::Upsert, name.to_owned(), id(number), parts(seed, dimension))
}

pub fn delete(name: &str, number: u64) -> Op {
    Op::Delete(name.to_owned(), id(number))
}

fn one(op: Op, durability: Durability) -> Step {
    Step::Batch(vec![op], durability)
}

/// Mostly buffered, sometimes synced: crashes between them have many legal outcomes.
fn mixed(index: u64) -> Durability {
    if index % 5 == 4 { Durability::Synced } else { Durability::Buffered }
}

/// A batch over two collections with writes of the same ids.
fn across(seed: u64, durability: Durability) -> Step {
    let mut ops =
        vec![upsert("a", seed, seed, 4), upsert("b", seed % 7, seed, 3), delete("a", seed % 5), upsert("a", seed % 5, seed + 1, 4)];
    ops.extend([Op::Put(Verb::Insert, "b".to_owned(), id(1000 + seed), parts(seed, 3)), delete("b", 1000 + seed)]);
    Step::Batch(ops, durability)
}

pub fn bulk(name: &str, numbers: impl Iterator<Item = u64>, dimension: usize, document: usize) -> Step {
    let entry = |number: u64| {
        let mut parts = parts(number + 7, dimension);
        parts.document = Some(Some("x".repeat(document)));
        (id(number), parts)
    };
    Step::Bulk(name.to_owned(), numbers.map(entry).collect(), DuplicatePolicy::LastWins)
}

/// Everything in one sequence of about a hundred steps.
pub fn script() -> Vec<Step> {
    use Durability::{Buffered, Synced};
    let mut steps = vec![
        Step::Batch(vec![Op::Create("a".to_owned(), 4, Metric::L2), Op::Create("b".to_owned(), 3, Metric::Cosine)], Synced),
        one(Op::Put(Verb::Insert, "a".to_owned(), b"first".to_vec(), parts(3, 4)), Buffered),
        one(Op::Put(Verb::Insert, "a".to_owned(), b"first".to_vec(), parts(3, 4)), Buffered),
        one(Op::Put(Verb::Update, "a".to_owned(), b"nobody".to_vec(), parts(3, 4)), Synced),
    ];
    steps.extend(
        (0..12).map(|index| {
            one(upsert(if index % 2 == 0 { "a" } else { "b" }, index, index, if index % 2 == 0 { 4 } else { 3 }), mixed(index))
        }),
    );
    steps.extend((0..4).map(|index| across(index + 20, mixed(index + 3))));
    steps.extend([Step::Await, Step::Flush]);
    // Updates and deletes of what is in segments now: kills.
    let document = Parts { document: Some(Some("changed".to_owned())), ..Parts::default() };
    steps.push(one(Op::Put(Verb::Update, "a".to_owned(), b"first".to_vec(), document), Buffered));
    steps.extend(
        (0..8).map(|index| one(if index % 3 == 0 { delete("a", index) } else { upsert("a", index, index + 100, 4) }, mixed(index))),
    );
    steps.push(Step::Batch(vec![Op::Rename("b".to_owned(), "c".to_owned()), upsert("b", 2, 77, 3)], Buffered));
    steps.extend((0..5).map(|index| one(upsert("c", index, index + 200, 3), Buffered)));
    // A bulk load flushes what was buffered before it, in all collections.
    steps.push(bulk("a", (3..9).chain(50..60).chain([3]), 4, 9_000));
    steps.push(one(delete("a", 51), Buffered));
    steps.push(Step::Batch(vec![Op::Create("d".to_owned(), 2, Metric::Dot), delete("c", 1)], Buffered));
    // Enough for two automatic flushes and the compactions that they make due.
    for round in 0..6 {
        steps.extend((0..4).map(|index| {
            let ops = (0..5)
                .map(|part| upsert("a", index * 5 + part, round * 100 + index * 5 + part, 4))
                .chain([upsert("d", index, round, 2)])
                .collect();
            Step::Batch(ops, if index == 1 { Synced } else { Buffered })
        }));
        if round == 3 {
            steps.push(Step::Batch(vec![Op::Drop("c".to_owned()), Op::Create("c".to_owned(), 1, Metric::L2)], Buffered));
        }
    }
    steps.extend([upsert("c", 1, 1, 1), delete("d", 0)].map(|op| one(op, Buffered)));
    steps.push(Step::Compact);
    steps.extend((0..3).map(|index| one(delete("a", index + 5), Buffered)));
    steps.push(Step::Purge("a".to_owned(), vec![id(50), id(9), id(5_000)]));
    steps.push(Step::Checkpoint);
    steps.push(one(upsert("d", 9, 9, 2), Buffered));
    steps.push(Step::Reopen);
    steps.extend((0..3).map(|index| one(upsert("d", index, index + 300, 2), mixed(index + 2))));
    // Erasing becomes due; the next flush makes it happen.
    steps.extend([Step::Flush, Step::Advance(60), one(delete("d", 1), Buffered), Step::Idle]);
    steps.push(one(Op::Drop("a".to_owned()), Buffered));
    steps.extend((0..3).map(|index| one(upsert("c", index, index + 400, 1), mixed(index + 3))));
    steps.push(Step::Flush);
    steps
}

/// A short one with all that is special about logs: for tests whose cost is the square of the length.
pub fn short_script() -> Vec<Step> {
    use Durability::{Buffered, Synced};
    let mut steps =
        vec![Step::Batch(vec![Op::Create("a".to_owned(), 4, Metric::L2), Op::Create("b".to_owned(), 3, Metric::Cosine)], Synced)];
    steps.extend((0..4).map(|index| across(index, mixed(index + 3))));
    steps.push(Step::Flush);
    steps.extend((0..3).map(|index| one(if index == 0 { delete("a", 0) } else { upsert("a", index, index + 100, 4) }, Buffered)));
    steps.push(bulk("a", 1..4, 4, 50));
    steps.push(one(upsert("b", 2, 9, 3), Buffered));
    steps.extend([Step::Compact, one(delete("b", 2), Buffered), one(upsert("a", 2, 50, 4), Synced), one(upsert("a", 3, 51, 4), Buffered)]);
    steps
}
