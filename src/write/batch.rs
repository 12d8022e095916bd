use std::ops::Range;

use crate::{
    error::{Error, Result},
    io::bytes::f32s_as_bytes,
    types::{
        CollectionId, DOCUMENT_BYTES_MAX, Dimension, Fields, Metadata, Metric, Payload, URI_BYTES_MAX, check_collection_name, check_id,
    },
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

    fn check(&self) -> Result<()> {
        let document = self.document.iter().flatten().map(String::len).max().unwrap_or(0);
        if document > DOCUMENT_BYTES_MAX {
            return Err(Error::invalid(format!("a document of {document} bytes refused: at most {DOCUMENT_BYTES_MAX}")));
        }
        let uri = self.uri.iter().flatten().map(String::len).max().unwrap_or(0);
        if uri > URI_BYTES_MAX {
            return Err(Error::invalid(format!("a uri of {uri} bytes refused: at most {URI_BYTES_MAX}")));
        }
        // Encoding checks the metadata limits; a batch must be refused before it is queued.
        crate::format::payload::encode(
            &Payload { metadata: self.metadata.clone().unwrap_or_default(), ..Payload::default() },
            &mut Vec::new(),
        )
    }
}

/// One write of a record.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) action: Action,
    pub(crate) collection: CollectionId,
    id: Range<usize>,
    /// Elements of the batch's vectors.
    vector: Option<Range<usize>>,
    pub(crate) patch: Option<Box<Patch>>,
}

/// One operation of a batch.
#[derive(Clone, Debug)]
pub(crate) enum BatchOperation {
    Create { name: String, dimension: Dimension, metric: Metric },
    Drop { name: String },
    Rename { from: String, to: String },
    Write(Write),
}

/// Checked operations that are committed together. Ids and vectors stand in two flat buffers.
#[derive(Clone, Debug, Default)]
pub(crate) struct WriteBatch {
    pub(crate) operations: Vec<BatchOperation>,
    ids: Vec<u8>,
    vectors: Vec<f32>,
    payload_bytes: usize,
}

impl WriteBatch {
    /// For so many records, ids of so many bytes in all, and vectors of so many elements in all.
    pub(crate) fn with_capacity(records: usize, id_bytes: usize, elements: usize) -> Self {
        Self {
            operations: Vec::with_capacity(records),
            ids: Vec::with_capacity(id_bytes),
            vectors: Vec::with_capacity(elements),
            payload_bytes: 0,
        }
    }

    pub(crate) fn create(&mut self, name: &str, dimension: usize, metric: Metric) -> Result<()> {
        check_collection_name(name)?;
        self.operations.push(BatchOperation::Create { name: name.to_owned(), dimension: Dimension::new(dimension)?, metric });
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
        if !patch.is_empty() {
            patch.check().map_err(describe)?;
            self.payload_bytes += patch.document.iter().flatten().map(String::len).sum::<usize>();
        }
        let vector = fields.vector.as_deref().map(|vector| self.push_vector(vector));
        let id = self.push_id(id);
        let patch = (!patch.is_empty()).then(|| Box::new(patch));
        self.operations.push(BatchOperation::Write(Write { action, collection: target.collection, id, vector, patch }));
        Ok(())
    }

    pub(crate) fn delete(&mut self, target: Target, id: &[u8]) -> Result<()> {
        check_id(id)?;
        let id = self.push_id(id);
        let collection = target.collection;
        self.operations.push(BatchOperation::Write(Write { action: Action::Delete, collection, id, vector: None, patch: None }));
        Ok(())
    }

    fn push_id(&mut self, id: &[u8]) -> Range<usize> {
        let start = self.ids.len();
        self.ids.extend_from_slice(id);
        start..self.ids.len()
    }

    fn push_vector(&mut self, vector: &[f32]) -> Range<usize> {
        let start = self.vectors.len();
        self.vectors.extend_from_slice(vector);
        start..self.vectors.len()
    }

    pub(crate) fn id(&self, write: &Write) -> &[u8] {
        self.ids.get(write.id.clone()).unwrap_or_default()
    }

    /// Raw bytes of the vector, if the write has one.
    pub(crate) fn vector(&self, write: &Write) -> Option<&[u8]> {
        self.vectors.get(write.vector.clone()?).map(f32s_as_bytes)
    }

    /// About how many bytes it takes in the log.
    pub(crate) fn bytes(&self) -> usize {
        self.ids.len() + self.vectors.len() * 4 + self.payload_bytes + self.operations.len() * 32
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
    if !target.allow_non_finite
        && let Some(at) = vector.iter().position(|element| !element.is_finite())
    {
        let value = vector.get(at).copied().unwrap_or_default();
        return Err(Error::invalid(format!("element {at} of the vector is {value}: set `allow_non_finite` to store it")));
    }
    Ok(())
}
