//! Manifests on disk: which is the newest, and how the next one is published (format-spec.md, sections 5, 6 and 10).

mod store;
mod survey;

pub(crate) use store::{Loaded, ManifestStore};
pub(crate) use survey::{manifest_numbers, read_manifest, survey};
