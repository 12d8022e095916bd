//! Sequences of operations and crashes, compared with a map.

use std::collections::BTreeMap;

use crate::{
    Background, Batch, Codes, Collection, Database, Durability, ErrorKind, Fields, Metric, Options, Snapshot,
    io::simulated::{CrashPlan, SimulatedDisk},
    sync::Arc,
};

/// What a record holds: its first element and its document.
type Model = BTreeMap<Vec<u8>, (f32, Option<String>)>;

/// Arbitrary bytes as operations, each two bytes, on a simulated disk, compared with a map after every crash and at the end.
///
/// Every other write is synced; a crash may take back those behind the last synced one, whole and from the end.
pub fn operations(data: &[u8]) {
    let Some(mut run) = Run::begin(data.len() as u64) else { return };
    for pair in data.chunks_exact(2).take(400) {
        let &[kind, argument] = pair else { continue };
        run.step(kind, argument);
    }
    run.compare();
}

struct Run {
    disk: SimulatedDisk,
    db: Database,
    docs: Collection,
    /// The state after each write since the last synced one; the last is the present.
    states: Vec<Model>,
    snapshot: Option<(Snapshot, Model)>,
}

fn options() -> Options {
    Options { background: Background::Inline, memtable_bytes: 4096, ..Options::default() }
}

impl Run {
    fn begin(seed: u64) -> Option<Self> {
        let disk = SimulatedDisk::new(seed);
        let db = Database::open_on(Arc::new(disk.clone()), options()).ok()?;
        let docs = db.create_collection_with("docs", 2, Metric::L2, Codes::Int8).ok()?;
        Some(Self { disk, db, docs, states: vec![Model::new()], snapshot: None })
    }

    fn model(&self) -> Model {
        self.states.last().cloned().unwrap_or_default()
    }

    /// Notes the state after a write.
    fn wrote(&mut self, model: Model, durability: Durability) {
        if durability == Durability::Synced {
            self.states.clear();
        }
        self.states.push(model);
    }

    fn step(&mut self, kind: u8, argument: u8) {
        let id = vec![argument % 32 + 1];
        match kind % 20 {
            0..8 => self.put(kind, argument, &id),
            8 => {
                let mut model = self.model();
                assert_eq!(self.docs.delete(&id).ok(), Some(model.remove(&id).is_some()), "delete {id:?}");
                self.wrote(model, Durability::Synced);
            }
            9 => match self.docs.insert(&id, &[f32::from(argument), 1.0]).map(drop) {
                Ok(()) => {
                    let mut model = self.model();
                    assert!(model.insert(id, (f32::from(argument), None)).is_none(), "insert took a present id");
                    self.wrote(model, Durability::Synced);
                }
                Err(error) => assert!(error.kind() == ErrorKind::AlreadyExists && self.model().contains_key(&id), "insert: {error:?}"),
            },
            10 => {
                assert!(self.db.flush().is_ok(), "flush");
                let present = self.model();
                self.wrote(present, Durability::Synced);
            }
            11 => assert!(self.db.compact().is_ok(), "compact"),
            12 => {
                let found = self.docs.get(&id).ok().map(|row| row.map(|row| row.first().copied().unwrap_or_default()));
                assert_eq!(found, Some(self.model().get(&id).map(|(value, _)| *value)), "get {id:?}");
            }
            13 => self.compare(),
            14 => self.batch(argument),
            15 => self.snapshot = self.db.snapshot().ok().map(|snapshot| (snapshot, self.model())),
            16 => self.prefix(&id),
            17 => self.reopen(None),
            _ => self.reopen(Some(argument)),
        }
    }

    fn put(&mut self, kind: u8, argument: u8, id: &[u8]) {
        let value = f32::from(argument) + f32::from(kind) / 256.0;
        let document = (kind & 1 == 1).then(|| format!("text of {value}"));
        let durability = if kind & 2 == 0 { Durability::Synced } else { Durability::Buffered };
        let vector = [value, 1.0];
        let mut fields = Fields::from(vector.as_slice());
        fields = match &document {
            Some(document) => fields.with_document(document.as_str()),
            None => fields.without_document(),
        };
        let mut batch = self.db.batch();
        assert!(batch.upsert(&self.docs, id, fields).is_ok(), "batch");
        self.commit(batch, durability, |model| drop(model.insert(id.to_vec(), (value, document))));
    }

    /// Four records at once, one of them deleted again in the same batch.
    fn batch(&mut self, argument: u8) {
        let mut batch = self.db.batch();
        let ids: Vec<Vec<u8>> = (0..4).map(|index| vec![argument.wrapping_mul(index + 1) % 32 + 1]).collect();
        for id in &ids {
            assert!(batch.upsert(&self.docs, id, &[f32::from(argument), 1.0][..]).is_ok(), "batch");
        }
        if let Some(id) = ids.first() {
            assert!(batch.delete(&self.docs, id).is_ok(), "batch");
        }
        let durability = if argument & 1 == 0 { Durability::Synced } else { Durability::Buffered };
        self.commit(batch, durability, |model| {
            for id in &ids {
                let document = model.get(id).and_then(|(_, document)| document.clone());
                model.insert(id.clone(), (f32::from(argument), document));
            }
            ids.first().map(|id| model.remove(id));
        });
    }

    fn commit(&mut self, mut batch: Batch, durability: Durability, apply: impl FnOnce(&mut Model)) {
        batch.durability(durability);
        let written = batch.commit().map(drop);
        assert!(written.is_ok(), "commit: {written:?}");
        let mut model = self.model();
        apply(&mut model);
        self.wrote(model, durability);
    }

    fn prefix(&self, prefix: &[u8]) {
        let rows =
            self.docs.prefix(prefix).and_then(|rows| rows.map(|row| row.map(|row| row.id().to_vec())).collect::<Result<Vec<_>, _>>());
        let expected: Vec<Vec<u8>> = self.model().keys().filter(|id| id.starts_with(prefix)).cloned().collect();
        assert_eq!(rows.ok(), Some(expected), "prefix {prefix:?}");
    }

    /// Opens again: after a clean end of the process, or after a power cut.
    fn reopen(&mut self, cut: Option<u8>) {
        self.snapshot = None;
        if cut.is_some() {
            self.disk.cut_power();
        }
        let plan = cut.map_or(CrashPlan::KeepAll, |seed| CrashPlan::Random { seed: u64::from(seed) });
        let disk = self.disk.crash(&plan);
        let opened = Database::open_on(Arc::new(disk.clone()), options()).and_then(|db| Ok((db.collection("docs")?, db)));
        assert!(opened.is_ok(), "reopen: {opened:?}");
        let Ok((docs, db)) = opened else { return };
        (self.disk, self.docs, self.db) = (disk, docs, db);
        let found = observe(&self.docs);
        let legal = if cut.is_some() { self.states.iter().rposition(|state| Some(state) == found.as_ref()) } else { None };
        match legal {
            Some(place) => self.states.truncate(place + 1),
            None => assert_eq!(found, Some(self.model()), "after a reopen, cut {cut:?}"),
        }
        // What recovery returned is durable.
        self.states = vec![self.model()];
        self.compare();
    }

    fn compare(&mut self) {
        let model = self.model();
        assert_eq!(observe(&self.docs).as_ref(), Some(&model));
        assert_eq!(self.docs.count().ok(), Some(model.len() as u64));
        let nearest = self.docs.search(&[0.0, 1.0], 3).map(|hits| hits.into_iter().map(|hit| hit.distance).collect::<Vec<_>>());
        let mut distances: Vec<f32> = model.values().map(|(value, _)| (f64::from(*value) * f64::from(*value)) as f32).collect();
        distances.sort_by(f32::total_cmp);
        distances.truncate(3);
        assert_eq!(nearest.ok(), Some(distances));
        if let Some((snapshot, then)) = &self.snapshot {
            assert_eq!(snapshot.collection("docs").ok().and_then(|docs| docs.count().ok()), Some(then.len() as u64), "count of a snapshot");
            for (id, (value, _)) in then {
                let row = snapshot.collection("docs").and_then(|docs| docs.get(id)).ok().flatten();
                assert_eq!(row.and_then(|row| row.first().copied()), Some(*value), "{id:?} of a snapshot");
            }
        }
    }
}

/// All there is, from an iterator.
fn observe(docs: &Collection) -> Option<Model> {
    let mut model = Model::new();
    for row in docs.iter().ok()? {
        let row = row.ok()?;
        let document = row.document().ok()?.map(|document| document.to_owned());
        model.insert(row.id().to_vec(), (row.first().copied()?, document));
    }
    Some(model)
}
