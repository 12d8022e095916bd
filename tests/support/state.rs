//! The model: what a database must hold, as plain maps, and what is read from a real one.

use std::collections::BTreeMap;

use varvite::{Database, ErrorKind, Fields, Metadata, Metric, Payload, Result, Row};

/// A record as a reader sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rec {
    pub ordinal: u64,
    /// The vector, bit for bit.
    pub bits: Vec<u32>,
    pub payload: Payload,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Coll {
    pub dimension: usize,
    pub metric: Metric,
    pub rows: BTreeMap<Vec<u8>, Rec>,
}

/// All collections by name.
pub type State = BTreeMap<String, Coll>;

/// A state with what cannot be read: the next ordinal of each collection.
#[derive(Clone, Debug, Default)]
pub struct Model {
    pub state: State,
    pub next_ordinals: BTreeMap<String, u64>,
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
        let mut next = self.clone();
        // Where the collections that had a name at the beginning are now.
        let mut names: BTreeMap<String, Option<String>> = self.state.keys().map(|name| (name.clone(), Some(name.clone()))).collect();
        for op in ops {
            next.apply(op, &mut names)?;
        }
        Ok(next)
    }

    fn apply(&mut self, op: &Op, names: &mut BTreeMap<String, Option<String>>) -> Result<(), ErrorKind> {
        match op {
            Op::Put(verb, name, id, parts) => {
                let name = names.get(name).cloned().flatten().ok_or(ErrorKind::NotFound)?;
                self.put(*verb, &name, id, parts)
            }
            Op::Delete(name, id) => {
                let name = names.get(name).cloned().flatten().ok_or(ErrorKind::NotFound)?;
                self.state.get_mut(&name).unwrap().rows.remove(id);
                Ok(())
            }
            Op::Create(name, dimension, metric) => {
                if self.state.contains_key(name) {
                    return Err(ErrorKind::AlreadyExists);
                }
                self.state.insert(name.clone(), Coll { dimension: *dimension, metric: *metric, rows: BTreeMap::new() });
                self.next_ordinals.insert(name.clone(), 0);
                Ok(())
            }
            Op::Drop(name) => {
                self.state.remove(name).ok_or(ErrorKind::NotFound)?;
                self.next_ordinals.remove(name);
                names.values_mut().filter(|now| now.as_ref() == Some(name)).for_each(|now| *now = None);
                Ok(())
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
                Ok(())
            }
        }
    }

    fn put(&mut self, verb: Verb, name: &str, id: &[u8], parts: &Parts) -> Result<(), ErrorKind> {
        let rows = &mut self.state.get_mut(name).unwrap().rows;
        match (verb, rows.get_mut(id)) {
            (Verb::Insert, Some(_)) => Err(ErrorKind::AlreadyExists),
            (Verb::Update, None) => Err(ErrorKind::NotFound),
            (_, Some(record)) => {
                if let Some(vector) = &parts.vector {
                    record.bits = bits(vector);
                }
                parts.patch(&mut record.payload);
                Ok(())
            }
            (_, None) => {
                let vector = parts.vector.as_ref().ok_or(ErrorKind::InvalidArgument)?;
                let next = self.next_ordinals.get_mut(name).unwrap();
                let mut record = Rec { ordinal: *next, bits: bits(vector), payload: Payload::default() };
                *next += 1;
                parts.patch(&mut record.payload);
                rows.insert(id.to_vec(), record);
                Ok(())
            }
        }
    }

    /// The model after a bulk load by which the last record of an id wins. A loaded record is a new one: it gets a new ordinal.
    pub fn after_bulk(&self, name: &str, entries: &[(Vec<u8>, Parts)]) -> Self {
        let mut next = self.clone();
        let base = next.next_ordinals[name];
        let rows = &mut next.state.get_mut(name).unwrap().rows;
        for (position, (id, parts)) in entries.iter().enumerate() {
            let mut record =
                Rec { ordinal: base + position as u64, bits: bits(parts.vector.as_ref().unwrap()), payload: Payload::default() };
            parts.patch(&mut record.payload);
            rows.insert(id.clone(), record);
        }
        next.next_ordinals.insert(name.to_owned(), base + entries.len() as u64);
        next
    }
}

pub fn record(row: &Row) -> Result<(Vec<u8>, Rec)> {
    let record = row.to_record()?;
    Ok((record.id, Rec { ordinal: record.ordinal, bits: bits(&record.vector), payload: record.payload }))
}

/// Reads everything, and checks on the way that counts and order agree.
pub fn observe(db: &Database) -> Result<State> {
    let snapshot = db.snapshot()?;
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
