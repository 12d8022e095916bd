//! A writing process is killed (SIGKILL) at random moments, over and over, and its database examined: see `support/kill.rs` for the oracle.
//!
//! `VARVITE_KILL_ROUNDS=n` sets the number of kills, `VARVITE_KILL_SEED=n` the seed, which decides the batches and the delays.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]

mod support;

use std::path::Path;

use support::{child, kill};

const DIRECTORY: &str = "VARVITE_KILL_DIRECTORY";
const SEED: &str = "VARVITE_KILL_SEED";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Run as a process of its own by the test below.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Some(path) = std::env::var_os(DIRECTORY) else { return };
    kill::write_until_killed(Path::new(&path), number(SEED).unwrap());
}

#[test]
fn a_killed_writer_leaves_a_prefix_with_every_acknowledged_batch() {
    let (seed, rounds) = (number(SEED).unwrap_or(0x5EED_0009), number("VARVITE_KILL_ROUNDS").unwrap_or(12));
    println!("seed {seed}, {rounds} rounds");
    let counts = kill::campaign(seed, rounds, &|path, seed| {
        let mut command = child::command("child_that_writes_until_it_is_killed");
        command.env(DIRECTORY, path).env(SEED, seed.to_string());
        command
    });
    println!("{counts:#?}");
    assert!(counts.rounds == rounds && counts.examined > 0);
    if rounds >= 10 {
        assert!(counts.acknowledged_synced > 0 && counts.acknowledged_buffered > 0 && counts.flushes > 0 && counts.compactions > 0);
    }
}
