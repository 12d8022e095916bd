use std::borrow::Cow;

use super::{Metadata, Ordinal};

/// Everything of a record but its id, vector and ordinal.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Payload {
    /// Typed metadata; empty if the record has none.
    pub metadata: Metadata,
    /// The text the vector was made from.
    pub document: Option<String>,
    /// Where the record came from.
    pub uri: Option<String>,
}

impl Payload {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.document.is_none() && self.uri.is_none()
    }
}

/// An owned record.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// 1 to 65,535 bytes.
    pub id: Vec<u8>,
    /// As many elements as the collection has dimensions.
    pub vector: Vec<f32>,
    /// Position in the order of first insertion; kept through updates.
    pub ordinal: Ordinal,
    /// Metadata, document, uri.
    pub payload: Payload,
}

/// What a write says about one record. What it leaves out stays as it is; clearing is explicit.
///
/// ```
/// use varvite::{Fields, Metadata};
/// let vector = [1.0, 2.0];
/// let whole = Fields::vector(&vector).with_document("In the beginning").with_metadata(Metadata::new().with("chapter", 1));
/// let text_only = Fields::default().with_document("new text").without_uri();
/// # let _ = (whole, text_only);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fields<'a> {
    pub(crate) vector: Option<Cow<'a, [f32]>>,
    pub(crate) metadata: Option<Metadata>,
    pub(crate) document: Option<Option<Cow<'a, str>>>,
    pub(crate) uri: Option<Option<Cow<'a, str>>>,
}

impl<'a> Fields<'a> {
    /// A vector and nothing else yet.
    #[must_use]
    pub fn vector(vector: &'a [f32]) -> Self {
        Self { vector: Some(Cow::Borrowed(vector)), ..Self::default() }
    }

    /// Sets the metadata, replacing all keys.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sets the document.
    #[must_use]
    pub fn with_document(mut self, document: impl Into<Cow<'a, str>>) -> Self {
        self.document = Some(Some(document.into()));
        self
    }

    /// Sets the uri.
    #[must_use]
    pub fn with_uri(mut self, uri: impl Into<Cow<'a, str>>) -> Self {
        self.uri = Some(Some(uri.into()));
        self
    }

    /// Clears the metadata.
    #[must_use]
    pub fn without_metadata(self) -> Self {
        self.with_metadata(Metadata::new())
    }

    /// Clears the document.
    #[must_use]
    pub fn without_document(mut self) -> Self {
        self.document = Some(None);
        self
    }

    /// Clears the uri.
    #[must_use]
    pub fn without_uri(mut self) -> Self {
        self.uri = Some(None);
        self
    }

    /// The same, owning what it borrowed.
    #[must_use]
    pub fn into_owned(self) -> Fields<'static> {
        let own = |text: Option<Option<Cow<'a, str>>>| text.map(|inner| inner.map(|value| Cow::Owned(value.into_owned())));
        Fields {
            vector: self.vector.map(|vector| Cow::Owned(vector.into_owned())),
            metadata: self.metadata,
            document: own(self.document),
            uri: own(self.uri),
        }
    }
}

impl<'a, V: AsRef<[f32]> + ?Sized> From<&'a V> for Fields<'a> {
    fn from(vector: &'a V) -> Self {
        Self::vector(vector.as_ref())
    }
}

impl From<Vec<f32>> for Fields<'static> {
    fn from(vector: Vec<f32>) -> Self {
        Self { vector: Some(Cow::Owned(vector)), ..Self::default() }
    }
}
