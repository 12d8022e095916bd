//! Layer 6: the whole engine, with its flush and compaction threads and several writers and readers, on a simulated disk under schedules that
//! shuttle chooses: at every lock, atomic and wait another thread may go on. PCT (Burckhardt et al., "A randomized scheduler with probabilistic
//! guarantees of finding bugs", 2010) finds a bug of depth d with a known probability; every other case schedules at random.
//!
//! A case is a workload. Its threads and the order of their steps follow from the seed, so a replay shows the same.

mod history;
mod scenario;

use shuttle::{
    Config, FailurePersistence, MaxSteps, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    campaign::{Campaign, Replayed, processors},
    quiet::caught,
};

/// Schedules of a workload.
const SCHEDULES: usize = 50;
/// Orders of threads that PCT changes at so many places.
const DEPTH: usize = 3;

pub fn explore(campaign: &Campaign) {
    campaign.on_threads(processors(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            match run(seed) {
                Ok(figures) => figures.iter().for_each(|(name, more)| campaign.count(name, *more)),
                Err(what) => campaign.found(seed.to_string(), what),
            }
            campaign.progress("schedules");
        }
    });
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let seed = case.parse().map_err(|_| Replayed::Usage(format!("{case:?} is not the seed of a workload")))?;
    Ok(run(seed).map(|figures| format!("{figures:?}; 0 violations"))?)
}

/// What the schedules of a case did.
#[derive(Default)]
pub struct Figures {
    pub operations: AtomicU64,
    pub reads: AtomicU64,
    pub cuts: AtomicU64,
    pub flushes: AtomicU64,
    pub compactions: AtomicU64,
}

fn run(seed: u64) -> Result<Vec<(&'static str, u64)>, String> {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::FailAfter(5_000_000);
    config.silence_warnings = true;
    let figures = Arc::new(Figures::default());
    let seen = Arc::clone(&figures);
    let body = move || scenario::run(seed, &seen);
    let schedules = caught(|| {
        if seed.is_multiple_of(2) {
            Runner::new(PctScheduler::new_from_seed(seed, DEPTH, SCHEDULES), config).run(body)
        } else {
            Runner::new(RandomScheduler::new_from_seed(seed, SCHEDULES), config).run(body)
        }
    })?;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    Ok(vec![
        ("schedules", schedules as u64),
        ("of them by PCT", if seed.is_multiple_of(2) { schedules as u64 } else { 0 }),
        ("writes", count(&figures.operations)),
        ("reads", count(&figures.reads)),
        ("power cuts", count(&figures.cuts)),
        ("flushes", count(&figures.flushes)),
        ("compactions", count(&figures.compactions)),
    ])
}
