//! Power cuts at every storage operation of a scripted workload, and of the recovery after it.
//!
//! The oracle: what is recovered is the model after k whole batches, acknowledged ≤ k ≤ issued; a second recovery changes nothing; writes
//! work; no file is left behind. Everything follows from the printed seed; `VARVITE_CRASH_BUDGET=n` tries about n times as much.

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

use support::{
    Random, budget,
    machine::{Machine, open},
    oracle::{Checker, check, plans},
    state::observe,
    workload::{script, short_script},
};
use varvite::{
    ErrorKind,
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
    println!(
        "{operations} operations, {} crashes, {} distinct, {} states recovered",
        checker.tried,
        checker.distinct,
        checker.states.len()
    );
    assert!(operations > 500 && checker.states.len() > 40, "the workload is too small to find anything");
}

/// A crash in the middle of a recovery, at each of its operations, and a recovery after that.
#[test]
fn a_power_cut_at_every_operation_of_a_recovery_recovers_the_same() {
    let steps = short_script();
    let operations = operations(&steps);
    let mut random = Random(SEED + 1);
    let (mut tried, mut checker) = (0, Checker::default());
    for operation in (0..=operations).step_by(if budget() > 1 { 1 } else { 5 }) {
        let machine = cut_at(&steps, operation);
        let context = format!("seed {SEED:#x}, cut at operation {operation}");
        let crashed = machine.disk.crash(&CrashPlan::Random { seed: random.next() });
        let calm = crashed.crash(&CrashPlan::KeepAll);
        let before = calm.operations();
        let Ok(db) = open(&calm) else { panic!("{context}: cannot be opened") };
        let needed = calm.operations() - before;
        drop(db);
        for inside in (0..needed).step_by(if budget() > 1 { 1 } else { 3 }) {
            let disk = crashed.crash(&CrashPlan::KeepAll);
            disk.inject(disk.operations() + inside, Fault::PowerCut);
            if let Ok(db) = open(&disk) {
                drop(db);
            }
            tried += 1;
            let plans = [CrashPlan::LoseAll, CrashPlan::Random { seed: random.next() }];
            checker.crash(&disk, &machine.history, machine.durable, &plans, &format!("{context}, again at {inside} of the recovery"));
        }
    }
    println!("{tried} recoveries cut, {} crashes, {} distinct", checker.tried, checker.distinct);
    assert!(tried > 100);
}

/// Every operation fails once in every way. Whatever the step says, what is read afterwards is a state that was written, and a crash recovers a prefix.
#[test]
fn every_operation_may_fail_once() {
    let steps = short_script();
    let operations = operations(&steps);
    let errno = [5, 28, 24];
    let mut faults: Vec<Fault> = errno.into_iter().map(Fault::Errno).collect();
    faults.extend([Fault::ShortTransfer(3), Fault::Interrupted]);
    faults.extend([true, false].map(|keep_pages| Fault::SyncFails { keep_pages, sticky: false }));
    let (mut failed, mut poisoned) = (0, 0);
    for operation in (0..=operations).step_by(if budget() > 1 { 1 } else { 3 }) {
        for fault in &faults {
            let disk = SimulatedDisk::new(SEED);
            disk.inject(operation, *fault);
            let mut machine = Machine::new(disk);
            let context = format!("seed {SEED:#x}, {fault:?} at operation {operation}");
            if let Err(error) = machine.run(&steps) {
                assert!(!matches!(fault, Fault::ShortTransfer(_) | Fault::Interrupted), "{context}: not continued: {error:?}");
                failed += 1;
                poisoned += u64::from(error.kind() == ErrorKind::Poisoned);
            }
            if let Some(db) = &machine.db {
                let seen = observe(db).unwrap_or_else(|error| panic!("{context}: reads must go on: {error:?}"));
                assert!(machine.history.iter().any(|model| model.state == seen), "{context}: reads show a state that never was");
            }
            machine.kill();
            let crashed = machine.disk.crash(&CrashPlan::LoseAll);
            check(&crashed, machine.legal(), &context);
        }
    }
    println!("{operations} operations, {} faults, {failed} runs failed, {poisoned} poisoned", faults.len());
    assert!(failed > 50);
}
