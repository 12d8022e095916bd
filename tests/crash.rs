//! Power cuts at every storage operation of a scripted workload, and of the recovery after it.
//!
//! The oracle: what is recovered is the model after k whole batches, acknowledged ≤ k ≤ issued; a second recovery changes nothing; writes
//! work; no file is left behind. Everything follows from the printed seed; `VARVITE_CRASH_BUDGET=n` tries about n times as much.

mod support;

use support::{
    Random, budget,
    machine::{Machine, open},
    oracle::{Checker, check, fingerprint, plans, short},
    state::{Model, observe},
    workload::{script, short_script},
};
use varvite::{
    Database,
    io::simulated::{CrashPlan, Fault, SimulatedDisk},
};

const SEED: u64 = 0x5EED_0001;

/// Runs steps with the power cut at an operation, and lets go of the database.
fn cut_at(steps: &[support::machine::Step], operation: u64) -> Machine {
    let disk = SimulatedDisk::new(SEED);
    disk.inject(operation, Fault::PowerCut);
    let mut machine = Machine::new(disk);
    if let Err(error) = machine.run(steps) {
        assert!(machine.disk.power_is_cut(), "operation {operation}: failed without a power cut: {error:?}");
    }
    machine.kill();
    machine
}

fn operations(steps: &[support::machine::Step]) -> u64 {
    let mut machine = Machine::new(SimulatedDisk::new(SEED));
    machine.run(steps).unwrap();
    machine.disk.operations()
}

#[test]
fn a_power_cut_at_every_operation_recovers_a_prefix() {
    let steps = script();
    let operations = operations(&steps);
    let mut random = Random(SEED);
    let mut checker = Checker::default();
    for operation in 0..=operations {
        let machine = cut_at(&steps, operation);
        let plans = plans(&machine.disk, &mut random, budget());
        checker.crash(&machine.disk, &machine.history, machine.durable, &plans, &format!("seed {SEED:#x}, cut at operation {operation}"));
    }
    println!("{operations} operations, {} crashes, {} distinct, {} states recovered", checker.tried, checker.distinct, checker.states.len());
    assert!(operations > 500 && checker.states.len() > 40, "the workload is too small to find anything");
}
