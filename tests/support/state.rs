//! The model: what a database must hold, as plain maps, and what is read from a real one.

use std::collections::{BTreeMap, BTreeSet};

use varvite::{Database, DuplicatePolicy, ErrorKind, Fields, Metadata, Metric, Payload, Result, Row, Snapshot, Value};

/// A record as a reader sees it. Equal means bit for bit, NaN in metadata included.
#[derive(Clone, Debug)]
pub struct Rec {
    pub ordinal: u64,
    /// The vector, bit for bit.
    pub bits: Vec<u32>,
    pub payload: Payload,
}

impl PartialEq for Rec {
    fn eq(&self, other: &Self) -> bool {
        self.ordinal == other.ordinal && self.bits == other.bits && same_payload(&self.payload, &other.payload)
    }
}

fn same_payload(one: &Payload, two: &Payload) -> bool {
    one.document == two.document
        && one.uri == two.uri
        && one.metadata.len() == two.metadata.len()
        && one.metadata.iter().zip(two.metadata.iter()).all(|((key, value), (other, second))| key == other && same_value(value, second))
}

fn same_value(one: &Value, two: &Value) -> bool {
    match (one, two) {
        (Value::F64(one), Value::F64(two)) => one.to_bits() == two.to_bits(),
        (Value::F64s(one), Value::F64s(two)) => one.iter().map(|x| x.to_bits()).eq(two.iter().map(|x| x.to_bits())),
        _ => one == two,
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Coll {
    pub dimension: usize,
    pub metric: Metric,
    pub rows: BTreeMap<Vec<u8>, Rec>,
}

/// All collections by name.
pub type State = BTreeMap<String, Coll>;

/// A state with what tells equal ones apart: the next ordinal of each collection, and the sequence of the last batch.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub state: State,
    pub next_ordinals: BTreeMap<String, u64>,
    pub sequence: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Insert,
    Update,
    Upsert,
}

/// The parts of a record that a write gives.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    pub vector: Option<Vec<f32>>,
    pub metadata: Option<Metadata>,
    pub document: Option<Option<String>>,
    pub uri: Option<Option<String>>,
}

impl Parts {
    pub fn fields(&self) -> Fields<'static> {
        let mut fields = self.vector.clone().map_or_else(Fields::default, Fields::from);
        if let Some(metadata) = &self.metadata {
            fields = fields.with_metadata(metadata.clone());
        }
        fields = match self.document.clone() {
            None => fields,
            Some(None) => fields.without_document(),
            Some(Some(document)) => fields.with_document(document),
        };
        match self.uri.clone() {
            None => fields,
            Some(None) => fields.without_uri(),
            Some(Some(uri)) => fields.with_uri(uri),
        }
    }

    fn patch(&self, payload: &mut Payload) {
        if let Some(metadata) = &self.metadata {
            payload.metadata = metadata.clone();
        }
        if let Some(document) = &self.document {
            payload.document = document.clone();
        }
        if let Some(uri) = &self.uri {
            payload.uri = uri.clone();
        }
    }
}

/// One operation of a batch. Collections are named as they were before the batch.
#[derive(Clone, Debug)]
pub enum Op {
    Put(Verb, String, Vec<u8>, Parts),
    Delete(String, Vec<u8>),
    Create(String, usize, Metric),
    Drop(String),
    Rename(String, String),
}

pub fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|element| element.to_bits()).collect()
}

impl Model {
    /// The model after a batch, or why it is refused.
    pub fn after(&self, ops: &[Op]) -> Result<Self, ErrorKind> {
        self.after_telling(ops).map(|(next, _)| next)
    }

    /// The same, and per operation whether what it is about existed before it. A batch that changes nothing takes no sequence.
    pub fn after_telling(&self, ops: &[Op]) -> Result<(Self, Vec<bool>), ErrorKind> {
        if let Some(kind) = ops.iter().find_map(|op| self.refused_at_once(op)) {
            return Err(kind);
        }
        let mut next = self.clone();
        // Where the collections that had a name at the beginning are now.
        let mut names: BTreeMap<String, Option<String>> = self.state.keys().map(|name| (name.clone(), Some(name.clone()))).collect();
        let existed = ops.iter().map(|op| next.apply(op, &mut names)).collect::<Result<Vec<bool>, ErrorKind>>()?;
        let changes = ops.iter().zip(&existed).any(|(op, existed)| *existed || !matches!(op, Op::Delete(..)));
        next.sequence += u64::from(changes);
        Ok((next, existed))
    }

    /// What is refused before the batch is committed: a handle of a collection that is not there, an insert without a vector.
    fn refused_at_once(&self, op: &Op) -> Option<ErrorKind> {
        match op {
            Op::Put(_, name, ..) | Op::Delete(name, _) if !self.state.contains_key(name) => Some(ErrorKind::NotFound),
            Op::Put(Verb::Insert, _, _, parts) if parts.vector.is_none() => Some(ErrorKind::InvalidArgument),
            _ => None,
        }
    }

    /// Applies one operation; says whether what it is about existed.
    fn apply(&mut self, op: &Op, names: &mut BTreeMap<String, Option<String>>) -> Result<bool, ErrorKind> {
        match op {
            Op::Put(verb, name, id, parts) => {
                let name = names.get(name).cloned().flatten().ok_or(ErrorKind::NotFound)?;
                self.put(*verb, &name, id, parts)
            }
            Op::Delete(name, id) => {
                let name = names.get(name).cloned().flatten().ok_or(ErrorKind::NotFound)?;
                Ok(self.state.get_mut(&name).unwrap().rows.remove(id).is_some())
            }
            Op::Create(name, dimension, metric) => {
                if self.state.contains_key(name) {
                    return Err(ErrorKind::AlreadyExists);
                }
                self.state.insert(name.clone(), Coll { dimension: *dimension, metric: *metric, rows: BTreeMap::new() });
                self.next_ordinals.insert(name.clone(), 0);
                Ok(false)
            }
            Op::Drop(name) => {
                self.state.remove(name).ok_or(ErrorKind::NotFound)?;
                self.next_ordinals.remove(name);
                names.values_mut().filter(|now| now.as_ref() == Some(name)).for_each(|now| *now = None);
                Ok(true)
            }
            Op::Rename(from, to) => {
                if !self.state.contains_key(from) {
                    return Err(ErrorKind::NotFound);
                }
                if from != to && self.state.contains_key(to) {
                    return Err(ErrorKind::AlreadyExists);
                }
                let (coll, next) = (self.state.remove(from).unwrap(), self.next_ordinals.remove(from).unwrap());
                self.state.insert(to.clone(), coll);
                self.next_ordinals.insert(to.clone(), next);
                names.values_mut().filter(|now| now.as_ref() == Some(from)).for_each(|now| *now = Some(to.clone()));
                Ok(true)
            }
        }
    }

    fn put(&mut self, verb: Verb, name: &str, id: &[u8], parts: &Parts) -> Result<bool, ErrorKind> {
        let rows = &mut self.state.get_mut(name).unwrap().rows;
        match (verb, rows.get_mut(id)) {
            (Verb::Insert, Some(_)) => Err(ErrorKind::AlreadyExists),
            (Verb::Update, None) => Err(ErrorKind::NotFound),
            (_, Some(record)) => {
                if let Some(vector) = &parts.vector {
                    record.bits = bits(vector);
                }
                parts.patch(&mut record.payload);
                Ok(true)
            }
            (_, None) => {
                let vector = parts.vector.as_ref().ok_or(ErrorKind::InvalidArgument)?;
                let next = self.next_ordinals.get_mut(name).unwrap();
                let mut record = Rec { ordinal: *next, bits: bits(vector), payload: Payload::default() };
                *next += 1;
                parts.patch(&mut record.payload);
                rows.insert(id.to_vec(), record);
                Ok(false)
            }
        }
    }

    /// The model after a bulk load. A loaded record is a new one: it gets a new ordinal.
    pub fn after_bulk(&self, name: &str, entries: &[(Vec<u8>, Parts)], policy: DuplicatePolicy) -> Result<Self, ErrorKind> {
        let mut next = self.clone();
        let base = *next.next_ordinals.get(name).ok_or(ErrorKind::NotFound)?;
        if policy == DuplicatePolicy::Refuse {
            let ids: BTreeSet<&Vec<u8>> = entries.iter().map(|(id, _)| id).collect();
            if ids.len() < entries.len() {
                return Err(ErrorKind::InvalidArgument);
            }
            if ids.into_iter().any(|id| self.state[name].rows.contains_key(id)) {
                return Err(ErrorKind::AlreadyExists);
            }
        }
        let rows = &mut next.state.get_mut(name).unwrap().rows;
        for (position, (id, parts)) in entries.iter().enumerate() {
            let mut record =
                Rec { ordinal: base + position as u64, bits: bits(parts.vector.as_ref().unwrap()), payload: Payload::default() };
            parts.patch(&mut record.payload);
            rows.insert(id.clone(), record);
        }
        next.next_ordinals.insert(name.to_owned(), base + entries.len() as u64);
        next.sequence += 1;
        Ok(next)
    }
}

pub fn record(row: &Row) -> Result<(Vec<u8>, Rec)> {
    let record = row.to_record()?;
    Ok((record.id, Rec { ordinal: record.ordinal, bits: bits(&record.vector), payload: record.payload }))
}

/// Reads everything, and checks on the way that counts and order agree.
pub fn observe(db: &Database) -> Result<State> {
    observe_snapshot(&db.snapshot()?)
}

/// The same, of a moment that was kept.
pub fn observe_snapshot(snapshot: &Snapshot) -> Result<State> {
    let mut state = State::new();
    for info in snapshot.list_collections() {
        let collection = snapshot.collection(&info.name)?;
        let mut rows = BTreeMap::new();
        for row in collection.iter()? {
            let (id, record) = record(&row?)?;
            assert!(rows.last_key_value().is_none_or(|(last, _)| *last < id), "{:?} comes out of order", id.escape_ascii().to_string());
            rows.insert(id, record);
        }
        assert_eq!((info.count, collection.count()?), (rows.len() as u64, rows.len() as u64), "the count of {} is wrong", info.name);
        state.insert(info.name, Coll { dimension: info.dimension, metric: info.metric, rows });
    }
    Ok(state)
}

/// What tells two states apart, short enough to be read.
pub fn difference(expected: &State, found: &State) -> String {
    let mut lines = Vec::new();
    for name in expected.keys().chain(found.keys()) {
        match (expected.get(name), found.get(name)) {
            (Some(expected), Some(found)) => {
                for id in expected.rows.keys().chain(found.rows.keys()) {
                    let (one, two) = (expected.rows.get(id), found.rows.get(id));
                    if one != two {
                        lines.push(format!("{name}/{}: expected {one:.120?}, found {two:.120?}", id.escape_ascii()));
                    }
                }
            }
            (one, two) => lines.push(format!("collection {name}: expected {}, found {}", one.is_some(), two.is_some())),
        }
    }
    lines.dedup();
    lines.truncate(6);
    lines.join("\n  ")
}
