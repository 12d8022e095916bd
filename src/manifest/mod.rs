//! Manifests on disk: which is the newest, and how the next one is published (format-spec.md, sections 5, 6 and 10).

mod leftover;
mod store;
mod survey;
#[cfg(test)]
mod tests;

pub(crate) use leftover::{belongs, is_linked, lineage, unfinished};
pub(crate) use store::{Loaded, ManifestStore, nothing_here};
pub(crate) use survey::{manifest_numbers, read_manifest, survey};
