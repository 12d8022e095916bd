use std::{fmt, ops::Deref};

use smallvec::SmallVec;

use crate::{
    error::Result,
    format::payload,
    memtable::MemRow,
    segment::RowBytes,
    sync::Arc,
    types::{Metadata, Ordinal, Payload, Record},
    version::LiveSegment,
};

/// A stored record: dereferences to its vector, which is not copied.
///
/// It keeps the memtable or mapping it points into alive, so it stays valid and unchanged through updates, deletes, compaction and `close`.
/// Vectors are aligned to 64 bytes where rows are padded (dimensions that are a multiple of 16, and others where padding costs at most
/// 3 %), else to 4. Metadata, document and uri are read only when asked for.
///
/// ```
/// # use varvite::{Database, Fields, Metric, Options};
/// let db = Database::in_memory(Options::default())?;
/// let docs = db.create_collection("docs", 2, Metric::L2)?;
/// docs.insert("a", Fields::vector(&[1.0, 2.0]).with_document("text"))?;
/// let row = docs.get("a")?.expect("it was just inserted");
/// assert_eq!(&*row, [1.0, 2.0]);
/// assert_eq!(row.document()?.as_deref(), Some("text"));
/// # Ok::<(), varvite::Error>(())
/// ```
#[derive(Clone)]
pub struct Row {
    place: Place,
}

/// Most ids are short: they need no allocation of their own.
type Id = SmallVec<[u8; 32]>;

#[derive(Clone)]
enum Place {
    Memtable(MemRow),
    /// `copy` holds the vector where the file is not mapped.
    Segment {
        live: Arc<LiveSegment>,
        row: u32,
        id: Id,
        copy: Option<RowBytes>,
    },
}

impl Row {
    pub(crate) fn in_memtable(row: MemRow) -> Self {
        Self { place: Place::Memtable(row) }
    }

    pub(crate) fn in_segment(live: Arc<LiveSegment>, row: u32, id: &[u8]) -> Result<Self> {
        let copy = live.segment.check_row(row)?;
        let id = Id::from_slice(id);
        Ok(Self { place: Place::Segment { live, row, id, copy } })
    }

    /// The vector, zero-copy.
    #[must_use]
    pub fn vector(&self) -> &[f32] {
        match &self.place {
            Place::Memtable(row) => row.vector(),
            Place::Segment { copy: Some(copy), .. } => copy,
            // It was there and aligned when the row was found.
            Place::Segment { live, row, .. } => live.segment.mapped_row(*row).unwrap_or_default(),
        }
    }

    /// The id, 1 to 65,535 bytes.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        match &self.place {
            Place::Memtable(row) => row.id(),
            Place::Segment { id, .. } => id,
        }
    }

    /// Position in the order of first insertion into the collection; kept through updates, new after a delete.
    ///
    /// # Errors
    /// `Corruption` if its block is damaged.
    pub fn ordinal(&self) -> Result<Ordinal> {
        match &self.place {
            Place::Memtable(row) => Ok(row.ordinal()),
            Place::Segment { live, row, .. } => live.segment.ordinal(*row),
        }
    }

    /// The metadata; empty if there is none.
    ///
    /// # Errors
    /// `Corruption` if its block is damaged.
    pub fn metadata(&self) -> Result<Metadata> {
        self.with_payload(|bytes| if bytes.is_empty() { Ok(Metadata::new()) } else { payload::metadata(bytes) })
    }

    /// The document.
    ///
    /// # Errors
    /// `Corruption` if its block is damaged.
    pub fn document(&self) -> Result<Option<String>> {
        self.with_payload(|bytes| if bytes.is_empty() { Ok(None) } else { Ok(payload::document(bytes)?.map(str::to_owned)) })
    }

    /// The uri.
    ///
    /// # Errors
    /// `Corruption` if its block is damaged.
    pub fn uri(&self) -> Result<Option<String>> {
        self.with_payload(|bytes| if bytes.is_empty() { Ok(None) } else { Ok(payload::uri(bytes)?.map(str::to_owned)) })
    }

    /// Everything, copied.
    ///
    /// # Errors
    /// `Corruption` if a block of it is damaged.
    pub fn to_record(&self) -> Result<Record> {
        let payload = self.with_payload(|bytes| if bytes.is_empty() { Ok(Payload::default()) } else { payload::decode(bytes) })?;
        Ok(Record { id: self.id().to_vec(), vector: self.vector().to_vec(), ordinal: self.ordinal()?, payload })
    }

    /// Metadata, document and uri as they are stored; empty if there are none.
    ///
    /// # Errors
    /// `Corruption` if its block is damaged.
    #[doc(hidden)]
    pub fn encoded_payload(&self) -> Result<Vec<u8>> {
        self.with_payload(|bytes| Ok(bytes.to_vec()))
    }

    fn with_payload<T>(&self, read: impl FnOnce(&[u8]) -> Result<T>) -> Result<T> {
        match &self.place {
            Place::Memtable(row) => read(row.payload()),
            Place::Segment { live, row, .. } => {
                let bytes = live.segment.payload(*row)?.unwrap_or_default();
                read(&bytes).map_err(|error| error.in_file(live.segment.file().name()))
            }
        }
    }
}

impl Deref for Row {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.vector()
    }
}

impl AsRef<[f32]> for Row {
    fn as_ref(&self) -> &[f32] {
        self.vector()
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Row({}, {} elements)", self.id().escape_ascii(), self.vector().len())
    }
}
