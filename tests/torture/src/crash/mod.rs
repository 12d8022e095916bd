//! Layer 1: power cuts of a simulated disk. A workload runs once; the disk records the moment before each operation that changes it, and each
//! moment is crashed in every legal way. Each distinct image is recovered and examined; some recoveries are cut too, and recoveries of those.
//!
//! A case is `SEED/OPERATION.PLAN[/OPERATION.PLAN...]`: the workload, the operation that did not happen any more, what was kept, and the same
//! within the recovery.

mod explore;
mod plans;

use varvite::io::simulated::{Fault, SimulatedDisk};

use crate::{
    campaign::{Campaign, Replayed, processors},
    quiet::caught,
    support::{
        Random,
        generated::generated,
        machine::{Machine, Step},
        state::Model,
    },
};
use explore::Explorer;

const STEPS: usize = 30;

pub fn explore(campaign: &Campaign) {
    campaign.on_threads(processors(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            let mut explorer = Explorer::new(campaign, seed);
            if let Err(what) = caught(|| workload(seed, &mut |points, legal| explorer.points(&points, legal))) {
                campaign.found(seed.to_string(), what);
            }
            campaign.count("workloads", 1);
            explorer.count();
            if campaign.is_over() {
                break;
            }
        }
    });
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let (seed, path) = case.split_once('/').unwrap_or((case, ""));
    let seed = seed.parse().map_err(|_| Replayed::Usage(format!("{case:?} does not start with the seed of a workload")))?;
    let mut told = Vec::new();
    caught(|| workload(seed, &mut |points, legal| told.extend(explore::replay(seed, points, legal, path))))?;
    match told.into_iter().collect::<Result<Vec<String>, String>>()? {
        told if told.is_empty() && !path.is_empty() => Err(Replayed::Usage(format!("the workload {seed} has no such operation"))),
        told => Ok(told.join("; ") + "; 0 violations"),
    }
}

type Points = Vec<varvite::io::simulated::CrashPoint>;

/// Runs the workload of a seed and hands out its moments, with the states that are legal at them. Every third suffers a failed sync.
fn workload(seed: u64, on_points: &mut dyn FnMut(Points, &[Model])) {
    let steps = generated(seed, STEPS);
    let mut random = Random(seed ^ 0xFA11);
    let failing = (random.below(3) == 0).then(|| random.below(steps.len() as u64) as usize);
    let disk = SimulatedDisk::new(seed);
    disk.record_crash_points(true);
    let mut machine = Machine::new(disk);
    machine.open().unwrap();
    on_points(machine.disk.take_crash_points(), machine.legal());
    for (index, step) in steps.iter().enumerate() {
        if failing == Some(index) {
            let fault = Fault::SyncFails { keep_pages: random.below(2) == 0, sticky: random.below(4) == 0 };
            machine.disk.inject(machine.disk.operations() + random.below(4), fault);
        }
        step_and_tell(&mut machine, step, on_points);
    }
    machine.kill();
}

fn step_and_tell(machine: &mut Machine, step: &Step, on_points: &mut dyn FnMut(Points, &[Model])) {
    let durable = machine.durable;
    let done = machine.step(step);
    let points = machine.disk.take_crash_points();
    on_points(points, &machine.history[durable..]);
    if let Err(error) = done {
        assert!(error.to_string().contains("os error 5") || error.kind() == varvite::ErrorKind::Poisoned, "{step:?}: {error:?}");
        // Pages that a failed sync left clean are read by the next recovery, and lost by the next power cut.
        machine.disk.heal();
        machine.restart().unwrap_or_else(|error| panic!("cannot be opened after a failed sync: {error:?}"));
        on_points(machine.disk.take_crash_points(), machine.legal());
        machine.adopt("after a failed sync");
        drop(machine.disk.take_crash_points());
    }
    // What was acknowledged counts at once, not from the next operation on.
    on_points(vec![machine.disk.crash_point()], machine.legal());
}
