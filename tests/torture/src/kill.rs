//! Layer 3: a writing process with several threads is killed (SIGKILL) at random moments. The oracle is that of `tests/kill.rs`; a case is a
//! database that lives through a number of kills. What is written follows from the seed, when it is cut does not: a replay may need several tries.

use std::process::Command;

use crate::{
    campaign::{Campaign, Replayed, processors},
    quiet::caught,
    support::kill::{Counts, campaign as kills},
};

/// Kills of one database.
const ROUNDS: u64 = 40;

pub fn explore(campaign: &Campaign) {
    campaign.on_threads(processors(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            match caught(|| rounds(seed, ROUNDS)) {
                Ok(counts) => count(campaign, &counts),
                Err(what) => campaign.found(seed.to_string(), what),
            }
            campaign.count("databases", 1);
            campaign.progress("kills");
        }
    });
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let seed = case.parse().map_err(|_| Replayed::Usage(format!("{case:?} is not the seed of a database")))?;
    Ok(caught(|| rounds(seed, 5 * ROUNDS)).map(|counts| format!("{counts:?}; 0 violations"))?)
}

fn rounds(seed: u64, rounds: u64) -> Counts {
    kills(seed, rounds, &|path, seed| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["kill-child", "--seed", &seed.to_string(), "--path"]).arg(path);
        command
    })
}

fn count(campaign: &Campaign, counts: &Counts) {
    let figures = [
        ("kills", counts.rounds),
        ("of them while opening", counts.killed_opening),
        ("examined", counts.examined),
        ("batches acknowledged", counts.acknowledged),
        ("of them synced", counts.acknowledged_synced),
        ("recovered unacknowledged", counts.recovered_unacknowledged),
        ("bulk loads", counts.bulk_loads),
        ("records compared", counts.records_compared),
        ("flushes", counts.flushes),
        ("compactions", counts.compactions),
    ];
    figures.iter().for_each(|(name, more)| campaign.count(name, *more));
}
