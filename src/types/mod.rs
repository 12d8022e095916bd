//! The words of the engine: ids, sequences, dimensions, metrics, records.

mod codes;
mod id_order;
mod metadata;
mod metric;
mod names;
mod number;
mod record;

pub use codes::Codes;
pub(crate) use id_order::sort_by_id;
pub use metadata::{Metadata, Value};
pub use metric::Metric;
pub(crate) use names::check_collection_name;
pub(crate) use number::{
    BATCH_BYTES_MAX, CollectionId, DOCUMENT_BYTES_MAX, Death, Dimension, FileId, FileNumber, ID_BYTES_MAX, METADATA_BYTES_MAX, Ordinal,
    SegmentId, Sequence, URI_BYTES_MAX, check_id,
};
pub use record::{Fields, Payload, Record};
