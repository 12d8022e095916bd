//! What every engine is put through.

mod load;
mod mixed;
mod point;
mod put;
pub mod reopen;
mod scan;

use crate::{cell::Cell, engine::Result, measure::Metrics};

/// In the order of a round: loads leave the rows that the others read, and what changes them comes last.
pub const ALL: &[&str] = &[
    "bulk-load",
    "batch-load",
    "get-hit",
    "get-hit-2",
    "get-miss",
    "get-zipf",
    "multi-get-64",
    "scan",
    "prefix-scan",
    "scan-dot",
    "search",
    "reopen-clean",
    "get-under-load",
    "mixed",
    "put-under-load",
    "put-buffered",
    "delete",
    "put-1",
    "put-2",
    "put-8",
    "churn",
    "reopen-killed",
];

/// Exact search alone: one query and batches.
pub const SEARCHES: &[&str] = &["search", "search-16", "search-64", "search-512", "search-1000-nearest"];

pub fn run(cell: &Cell) -> Result<Metrics> {
    match cell.spec.workload.as_str() {
        "bulk-load" => load::bulk(cell),
        "batch-load" => load::batch(cell),
        "churn" => load::churn(cell),
        "delete" => load::delete(cell),
        "get-hit" => point::get(cell, point::Pick::Hit, 1),
        "get-hit-2" => point::get(cell, point::Pick::Hit, 2),
        "get-miss" => point::get(cell, point::Pick::Miss, 1),
        "get-zipf" => point::get(cell, point::Pick::Zipf, 1),
        "multi-get-64" => point::multi_get(cell, 64),
        "scan" => scan::ordered(cell),
        "prefix-scan" => scan::prefix(cell),
        "scan-dot" => scan::with_dot(cell),
        "search" => scan::search(cell, 1, 10),
        "search-16" => scan::search(cell, 16, 10),
        "search-64" => scan::search(cell, 64, 10),
        "search-512" => scan::search(cell, 512, 10),
        "search-1000-nearest" => scan::search(cell, 1, 1000),
        "put-1" => put::durable(cell, 1),
        "put-2" => put::durable(cell, 2),
        "put-8" => put::durable(cell, 8),
        "put-under-load" => put::under_load(cell),
        "put-buffered" => put::into_loaded(cell),
        "mixed" => mixed::half_and_half(cell),
        "get-under-load" => mixed::get_under_load(cell),
        "reopen-clean" => reopen::clean(cell),
        "reopen-killed" => reopen::killed(cell),
        other => Err(format!("no workload is named {other}").into()),
    }
}
