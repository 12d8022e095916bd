//! Immutable versions of a database, what changes beside them (pending kills, counts), and their publication.

mod catalog;
mod counts;
mod garbage;
mod output;
mod outputs;
mod paged;
mod pending;
mod publisher;
mod run;
mod running;
mod shared;
mod snapshot;
mod splitter;
mod version_set;
mod view;

pub(crate) use catalog::{Catalog, CollectionMeta};
pub(crate) use counts::Counts;
pub(crate) use output::{Finished, OutputFile};
pub(crate) use outputs::Outputs;
pub(crate) use paged::PagedMap;
pub(crate) use pending::Pending;
pub(crate) use publisher::{Draft, Kills, Loaded, NamedFile, Publisher, rehome_kills, write_kills};
pub(crate) use run::{Run, arrange};
pub(crate) use shared::{Parts, Shared, WriterState};
pub(crate) use snapshot::{Found, Reading};
pub(crate) use splitter::{SEGMENT_BYTES_MAX, Splitter, segment_bytes};
pub(crate) use version_set::{CollectionVersion, LiveSegment, Version};
pub(crate) use view::{Frozen, View};
