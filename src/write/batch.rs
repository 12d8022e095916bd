use std::ops::Range;

use crate::{
    error::{Error, Result},
    format::{
        batch::{Operation, Parts},
        payload,
    },
    io::bytes::f32s_as_bytes,
    types::{Codes, CollectionId, Dimension, Fields, Metadata, Metric, Payload, check_collection_name, check_id},
};

/// What a write demands of the record it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It must be absent.
    Insert,
    /// It must be present.
    Update,
    /// Either.
    Upsert,
    /// Either; present or not is told.
    Delete,
}

/// What a write says about the payload; `None` leaves a part as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    metadata: Option<Metadata>,
    document: Option<Option<String>>,
    uri: Option<Option<String>>,
}

impl Patch {
    /// Whether it sets or clears every part, so that the old payload does not matter.
    pub(crate) fn is_complete(&self) -> bool {
        self.metadata.is_some() && self.document.is_some() && self.uri.is_some()
    }

    /// Whether it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.metadata.is_none() && self.document.is_none() && self.uri.is_none()
    }

    pub(crate) fn apply(&self, payload: &mut Payload) {
        if let Some(metadata) = &self.metadata {
            payload.metadata.clone_from(metadata);
        }
        if let Some(document) = &self.document {
            payload.document.clone_from(document);
        }
        if let Some(uri) = &self.uri {
            payload.uri.clone_from(uri);
        }
    }
}

/// One write of a record.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) action: Action,
    pub(crate) collection: CollectionId,
    /// Its operation in the body of the batch.
    pub(crate) encoded: Range<usize>,
    pub(crate) parts: Parts,
    /// Whether it keeps parts of the payload that the record has: all that `patch` does not change.
    pub(crate) keeps_payload: bool,
    pub(crate) patch: Option<Box<Patch>>,
}

impl Write {
    /// Whether it brings its vector. A dimension is at least 1.
    pub(crate) fn has_vector(&self) -> bool {
        !self.parts.vector.is_empty()
    }
}

/// One operation of a batch.
#[derive(Clone, Debug)]
pub(crate) enum BatchOperation {
    Create { name: String, dimension: Dimension, metric: Metric, codes: Codes },
    Drop { name: String },
    Rename { from: String, to: String },
    Write(Write),
}

/// Checked operations that are committed together.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteBatch {
    pub(crate) operations: Vec<BatchOperation>,
    /// The writes as the log will have them if nothing that they name exists.
    pub(crate) body: Vec<u8>,
}

impl WriteBatch {
    /// For so many records, ids of so many bytes in all, and vectors of so many elements in all.
    pub(crate) fn with_capacity(records: usize, id_bytes: usize, elements: usize) -> Self {
        let body = Vec::with_capacity(records * Parts::of_put(0, 0, 0, 0).end() + id_bytes + elements * size_of::<f32>());
        Self { operations: Vec::with_capacity(records), body }
    }

    pub(crate) fn create(&mut self, name: &str, dimension: usize, metric: Metric, codes: Option<Codes>) -> Result<()> {
        check_collection_name(name)?;
        let dimension = Dimension::new(dimension)?;
        let codes = codes.unwrap_or(Codes::by_default(dimension));
        self.operations.push(BatchOperation::Create { name: name.to_owned(), dimension, metric, codes });
        Ok(())
    }

    pub(crate) fn drop_collection(&mut self, name: &str) {
        self.operations.push(BatchOperation::Drop { name: name.to_owned() });
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check_collection_name(to)?;
        self.operations.push(BatchOperation::Rename { from: from.to_owned(), to: to.to_owned() });
        Ok(())
    }

    /// Adds an insert, update or upsert, checking all that can be checked without the database.
    pub(crate) fn put(&mut self, target: Target, action: Action, id: &[u8], fields: Fields<'_>) -> Result<()> {
        check_id(id)?;
        let describe = |error: Error| Error::invalid(format!("record {}: {error}", id.escape_ascii()));
        if let Some(vector) = &fields.vector {
            check_vector(vector, target).map_err(describe)?;
        } else if action == Action::Insert {
            return Err(describe(Error::invalid("an insert needs a vector")));
        }
        let own = |text: Option<Option<std::borrow::Cow<'_, str>>>| text.map(|inner| inner.map(std::borrow::Cow::into_owned));
        let patch = Patch { metadata: fields.metadata, document: own(fields.document), uri: own(fields.uri) };
        let mut payload = Vec::new();
        if !patch.is_empty() {
            let mut alone = Payload::default();
            patch.apply(&mut alone);
            payload::encode(&alone, &mut payload).map_err(describe)?;
        }
        let vector = fields.vector.as_deref().map(f32s_as_bytes).unwrap_or_default();
        let (collection, start) = (target.collection, self.body.len());
        let parts = Parts::of_put(start, id.len(), payload.len(), vector.len());
        self.body.reserve(parts.end() - start);
        Operation::Put { collection, replaces: false, ordinal: 0, id, payload: &payload, vector }.encode(&mut self.body);
        let keeps_payload = !patch.is_complete();
        let patch = (keeps_payload && !patch.is_empty()).then(|| Box::new(patch));
        self.push(Write { action, collection, encoded: start..self.body.len(), parts, keeps_payload, patch });
        Ok(())
    }

    pub(crate) fn delete(&mut self, target: Target, id: &[u8]) -> Result<()> {
        check_id(id)?;
        let (collection, start) = (target.collection, self.body.len());
        Operation::Delete { collection, id }.encode(&mut self.body);
        let parts = Parts::of_delete(start, id.len());
        self.push(Write { action: Action::Delete, collection, encoded: start..self.body.len(), parts, keeps_payload: false, patch: None });
        Ok(())
    }

    fn push(&mut self, write: Write) {
        debug_assert_eq!(write.parts.end(), write.encoded.end, "the parts of an operation");
        self.operations.push(BatchOperation::Write(write));
    }

    /// About how many bytes it takes in the log.
    pub(crate) fn bytes(&self) -> usize {
        self.body.len() + self.operations.len() * 32
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

/// The collection of a write, and what its vectors must be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) collection: CollectionId,
    pub(crate) dimension: Dimension,
    pub(crate) allow_non_finite: bool,
}

/// Refuses a vector of another dimension, and NaN or infinities unless they are allowed.
pub(crate) fn check_vector(vector: &[f32], target: Target) -> Result<()> {
    if vector.len() != target.dimension.get() {
        return Err(Error::invalid(format!("a vector of dimension {} refused: the collection has {}", vector.len(), target.dimension)));
    }
    // Without an early end the compiler makes vector instructions of it.
    let is_finite = |vector: &[f32]| vector.iter().fold(true, |finite, element| finite & element.is_finite());
    if !target.allow_non_finite && !is_finite(vector) {
        let at = vector.iter().position(|element| !element.is_finite()).unwrap_or_default();
        let value = vector.get(at).copied().unwrap_or_default();
        return Err(Error::invalid(format!("element {at} of the vector is {value}: set `allow_non_finite` to store it")));
    }
    Ok(())
}
