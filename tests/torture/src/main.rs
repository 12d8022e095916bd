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
mod corrupt;
mod crash;
mod device;
mod faults;
#[path = "../../support/inputs.rs"]
mod inputs;
mod kill;
mod ledger;
mod mutate;
mod powercut;
mod preload;
mod quiet;
#[cfg(shuttle)]
mod schedules;
#[path = "../../support/mod.rs"]
mod support;
mod watch;

use std::{path::PathBuf, process::ExitCode};

#[cfg(not(shuttle))]
use campaign::Replayed;
use campaign::{Common, run};
use clap::{Args, Parser, Subcommand};
use inputs::{failure, files, ids, json, text};

#[global_allocator]
static COUNTING: support::counting::Counting = support::counting::Counting;

#[cfg(not(shuttle))]
const UNBUILT: &str = "built without it: RUSTFLAGS='--cfg shuttle' cargo run --target-dir target/shuttle ...";

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
    Faults(Faults),
    /// SIGKILL of a writing process with several threads, at random moments. A case is a database that is killed 40 times.
    Kill(Common),
    /// Power cuts of real file systems (ext4, XFS) under a writing process; needs root. A case is a file system that is cut 40 times.
    Powercut(Common),
    /// Crash states of the device below a real file system (ext4, XFS), from a log of its writes; needs root, FUSE and loop devices. A case is
    /// a file system, with up to 250 images of each of three generations.
    Device(Common),
    /// The whole engine with its threads on a simulated disk, its schedules chosen by shuttle; needs a build with `--cfg shuttle`. A case is a
    /// workload under 50 schedules.
    Schedules(Common),
    /// Three databases changed in every way: bits, lengths, blocks, files, signed integers. A case is a few changes; there is an end.
    Corrupt(Corrupt),
    /// The targets of `fuzz/` on their committed corpora, changed at random, without feedback. A case is a thousand inputs.
    Mutate {
        /// Which target.
        target: mutate::Target,
        #[command(flatten)]
        common: Common,
    },
    /// Prints the sums of a ledger as a table, a row for each layer. Changes nothing.
    Ledger {
        /// A file that `--resume` and `fuzz/campaign` add their lines to.
        file: PathBuf,
    },
    #[command(hide = true)]
    KillChild(Child),
    #[command(hide = true)]
    PowercutChild(Child),
    #[command(hide = true)]
    DeviceServer,
}

#[derive(Args)]
struct Faults {
    #[command(flatten)]
    common: Common,
    /// The calls of the C library fail, below our own seam, in a real directory (TMPDIR).
    #[arg(long)]
    preload: bool,
}

#[derive(Args)]
struct Corrupt {
    #[command(flatten)]
    common: Common,
    /// Flips bits, and passes over the cases of every other kind: these end first.
    #[arg(long)]
    bits: bool,
}

/// A process that is killed.
#[derive(Args)]
struct Child {
    #[arg(long)]
    path: PathBuf,
    #[arg(long)]
    seed: u64,
}

fn main() -> ExitCode {
    match Arguments::parse().layer {
        Layer::Crash(common) => run("crash", &common, crash::replay, crash::explore),
        Layer::Faults(Faults { common, preload: true }) => preload::start(&common),
        Layer::Faults(Faults { common, .. }) => run("faults", &common, faults::replay, faults::explore),
        Layer::Kill(common) => run("kill", &common, kill::replay, kill::explore),
        Layer::Powercut(common) => run("powercut", &common, powercut::replay, powercut::explore),
        Layer::Device(common) => run("device", &common, device::replay, device::explore),
        #[cfg(shuttle)]
        Layer::Schedules(common) => run("schedules", &common, schedules::replay, schedules::explore),
        #[cfg(not(shuttle))]
        Layer::Schedules(common) => {
            run("schedules", &common, |_| Err(Replayed::Skipped(UNBUILT.to_owned())), |campaign| campaign.skip(UNBUILT.to_owned()))
        }
        // Apart in the ledger: what it passes over is left to the other.
        Layer::Corrupt(Corrupt { common, bits: true }) => {
            run("corrupt --bits", &common, corrupt::replay, |campaign| corrupt::explore(campaign, true))
        }
        Layer::Corrupt(Corrupt { common, .. }) => run("corrupt", &common, corrupt::replay, |campaign| corrupt::explore(campaign, false)),
        Layer::Mutate { target, common } => run(target.layer(), &common, mutate::replay, |campaign| mutate::explore(target, campaign)),
        Layer::Ledger { file } => ledger::print(&file),
        Layer::KillChild(Child { path, seed }) => {
            support::kill::write_until_killed(&path, seed);
            ExitCode::SUCCESS
        }
        Layer::PowercutChild(Child { path, seed }) => {
            powercut::writer::write_until_cut(&path, seed);
            ExitCode::SUCCESS
        }
        Layer::DeviceServer => {
            device::server::serve();
            ExitCode::SUCCESS
        }
    }
}
