//! Workloads by chance, within bounds: every kind of operation on a few small collections, all of it decided by a seed.

use varvite::{DuplicatePolicy, Durability, Metric};

use super::{
    Random,
    machine::Step,
    state::{Model, Op, Parts, Verb},
    workload::{any_metadata, any_vector, bulk, delete, id, parts},
};

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
/// Few, so that writes hit what is there.
const IDS: u64 = 24;

/// Makes steps that mostly succeed, with a model of what they leave.
struct Generator {
    random: Random,
    model: Model,
    steps: Vec<Step>,
    /// Out of 8: how many writes are synced.
    synced: u64,
}

/// About `len` steps.
pub fn generated(seed: u64, len: usize) -> Vec<Step> {
    let mut random = Random(seed ^ 0x7E57_ED00);
    let synced = [0, 2, 2, 4, 8][random.below(5) as usize];
    let mut generator = Generator { random, model: Model::default(), steps: Vec::new(), synced };
    let create = |name: &str, dimension, metric| Op::Create(name.to_owned(), dimension, metric);
    generator.batch(vec![create("a", 4, Metric::L2), create("b", 3, Metric::Cosine)]);
    while generator.steps.len() < len {
        generator.next();
    }
    generator.steps
}

impl Generator {
    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn durability(&mut self) -> Durability {
        if self.below(8) < self.synced { Durability::Synced } else { Durability::Buffered }
    }

    fn next(&mut self) {
        match self.below(44) {
            0..=11 => self.single(),
            12..=17 => self.several(),
            18..=19 => self.burst(),
            20..=22 => self.steps.push(Step::Await),
            23..=25 => self.steps.push(Step::Flush),
            26..=27 => self.steps.push(Step::Compact),
            28 => self.steps.extend([Step::Advance(60), Step::Idle]),
            29..=30 => self.load(),
            31 => self.many(),
            32..=33 => self.purge(),
            34 => self.steps.push(Step::Checkpoint),
            35..=37 => self.schema(),
            38 => self.steps.push(Step::Reopen),
            // A reader is most telling behind what may not be synced.
            39..=40 => {
                self.single();
                self.steps.push(Step::Beside);
            }
            _ => self.steps.push(Step::Snapshot),
        }
    }

    fn batch(&mut self, ops: Vec<Op>) {
        if let Ok(next) = self.model.after(&ops) {
            self.model = next;
        }
        let durability = self.durability();
        self.steps.push(Step::Batch(ops, durability));
    }

    /// A collection that is there, with its dimension.
    fn collection(&mut self) -> Option<(String, usize)> {
        let index = self.below(self.model.state.len().max(1) as u64) as usize;
        self.model.state.iter().nth(index).map(|(name, coll)| (name.clone(), coll.dimension))
    }

    fn write(&mut self) -> Option<Op> {
        let (name, dimension) = self.collection()?;
        let (number, seed) = (self.below(IDS), self.below(1 << 40));
        let exists = self.model.state[&name].rows.contains_key(&id(number));
        let mut parts = parts(seed, dimension);
        match self.below(16) {
            0 => parts.vector = Some(any_vector(seed, dimension)),
            1 => parts.metadata = Some(any_metadata(seed)),
            2 => parts.document = Some(Some("many words ".repeat(1 + seed as usize % 900))),
            3 if exists => parts.vector = None,
            _ => {}
        }
        Some(match self.below(8) {
            0..=1 => delete(&name, number),
            2 if exists => Op::Put(Verb::Update, name, id(number), parts),
            3 if !exists => Op::Put(Verb::Insert, name, id(number), parts),
            // Mostly refused.
            4 if seed.is_multiple_of(8) => Op::Put(Verb::Insert, name, id(number), Parts { document: Some(None), ..parts }),
            _ => Op::Put(Verb::Upsert, name, id(number), Parts { vector: parts.vector.or(Some(vec![0.25; dimension])), ..parts }),
        })
    }

    fn single(&mut self) {
        let op = self.write();
        self.batch(op.into_iter().collect());
    }

    fn several(&mut self) {
        let many = 2 + self.below(5);
        let ops = (0..many).filter_map(|_| self.write()).collect();
        self.batch(ops);
    }

    /// Enough for a full memtable: a rotation, a flush, and often a compaction.
    fn burst(&mut self) {
        for _ in 0..4 {
            let ops = (0..6).filter_map(|_| self.write()).collect();
            self.batch(ops);
        }
    }

    fn load(&mut self) {
        let Some((name, dimension)) = self.collection() else { return };
        let (from, many, document) = (self.below(IDS), 1 + self.below(20), self.below(3) * 700);
        let step = bulk(&name, from..from + many, dimension, document as usize);
        let Step::Bulk(_, entries, _) = &step else { return };
        if let Ok(next) = self.model.after_bulk(&name, entries, DuplicatePolicy::LastWins) {
            self.model = next;
        }
        self.steps.push(step);
    }

    fn many(&mut self) {
        let Some((name, dimension)) = self.collection() else { return };
        let (from, durability) = (self.below(IDS), self.durability());
        let entries: Vec<_> = (from..from + 4).map(|number| (id(number), any_vector(number + from, dimension))).collect();
        let put = |(id, vector): &(Vec<u8>, Vec<f32>)| {
            Op::Put(Verb::Upsert, name.clone(), id.clone(), Parts { vector: Some(vector.clone()), ..Parts::default() })
        };
        let ops: Vec<Op> = entries.iter().map(put).collect();
        if let Ok(next) = self.model.after(&ops) {
            self.model = next;
        }
        self.steps.push(Step::Many(Verb::Upsert, name, entries, durability));
    }

    fn purge(&mut self) {
        let Some((name, _)) = self.collection() else { return };
        let ids: Vec<_> = (0..1 + self.below(3)).map(|_| id(self.below(IDS))).collect();
        let deletes: Vec<Op> = ids.iter().map(|id| Op::Delete(name.clone(), id.clone())).collect();
        if let Ok(next) = self.model.after(&deletes) {
            self.model = next;
        }
        self.steps.push(Step::Purge(name, ids));
    }

    fn schema(&mut self) {
        let (one, two) = (NAMES[self.below(4) as usize].to_owned(), NAMES[self.below(4) as usize].to_owned());
        let mut ops = match (self.below(4), self.model.state.contains_key(&one)) {
            (_, false) => vec![Op::Create(one, 1 + self.below(5) as usize, Metric::Dot)],
            (0, true) if self.model.state.len() > 1 => vec![Op::Drop(one)],
            (1, true) if self.model.state.len() > 1 => vec![Op::Drop(one.clone()), Op::Create(one, 2, Metric::L2)],
            _ => vec![Op::Rename(one, two)],
        };
        if self.below(2) == 0 {
            ops.extend(self.write());
        }
        self.batch(ops);
    }
}
