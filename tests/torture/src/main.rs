//! Campaigns that try to make varvite lose or falsify data. One subcommand per layer of `docs/reliability.md`; everything follows from the seed,
//! and whatever is found comes with the command that replays it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test program may panic, and looks at files, clocks and processes"
)]

mod campaign;
mod crash;
mod faults;
mod quiet;
#[path = "../../support/mod.rs"]
mod support;

use std::process::ExitCode;

use campaign::{Common, run};
use clap::{Parser, Subcommand};

/// Tries to make varvite lose or falsify data. Exit codes: 0 nothing found (or SKIPPED), 1 a promise is broken, 2 usage.
#[derive(Parser)]
#[command(name = "torture", version)]
struct Arguments {
    #[command(subcommand)]
    layer: Layer,
}

#[derive(Subcommand)]
enum Layer {
    /// Power cuts of a simulated disk at every storage operation, recoveries included; every legal image. A case is a workload.
    Crash(Common),
    /// Every storage call of a workload fails, in every way, once and for good. A case is a workload; a budget of time may end within one.
    Faults(Common),
}

fn main() -> ExitCode {
    match Arguments::parse().layer {
        Layer::Crash(common) => run("crash", &common, crash::replay, crash::explore),
        Layer::Faults(common) => run("faults", &common, faults::replay, faults::explore),
    }
}
