//! Layer 5: three small databases that hold everything the format knows, changed in every way. A change is detected, by an error that names the
//! file, or it hit what is provably unused; nothing read is ever wrong, what is undamaged stays readable, `repair` saves it, and memory stays
//! within twice what the undamaged database takes and twice its files.
//!
//! A case is a few changes of one kind: see [`plan`]. The campaign ends by itself when everything was tried.

#[path = "../../../support/hostile.rs"]
mod fields;
mod plan;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use crate::{
    campaign::{Campaign, Replayed, processors},
    quiet::caught,
    support::{
        counting::peak_of,
        damage::{Change, Outcome, change, place},
        salvage::{accounts_for, logged_is_there, missing, readable, repair},
        subjects::Subject,
    },
    watch::Watch,
};
use fields::{Limits, try_place};
use plan::{Plan, Work};

/// How long a case may take.
const HANG: Duration = Duration::from_secs(120);

pub fn explore(campaign: &Campaign, bits_alone: bool) {
    let (plan, watch) = (Plan::new(), Watch::start("corrupt", HANG));
    let (end, ended) = (if bits_alone { plan.end_of_flips() } else { plan.end() }, AtomicBool::new(false));
    campaign.on_threads(processors(), |campaign| {
        let mut benches: Vec<Limits<'_>> = plan.subjects.iter().map(Limits::new).collect();
        while let Some(case) = campaign.next_case() {
            if case > end {
                ended.store(true, Ordering::Relaxed);
                break;
            }
            // Campaigns count from 1: the last one is the first of the plan.
            let case = case % end;
            if bits_alone && !plan::flips_bits(case) {
                continue;
            }
            watch.begin(case);
            let mut told = Told::default();
            let tried = caught(|| try_case(&plan, &mut benches, case, &mut told));
            watch.end();
            told.counts.iter().for_each(|(name, count)| campaign.count(name, *count));
            campaign.count("changes", told.changes());
            told.wrong.extend(tried.err());
            told.wrong.into_iter().for_each(|what| campaign.found(case.to_string(), what));
            campaign.progress("changes");
        }
    });
    if ended.into_inner() {
        campaign.count("came to the end", 1);
    }
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let number = case.parse().map_err(|_| Replayed::Usage(format!("{case:?} is not the number of a case")))?;
    let plan = Plan::new();
    let mut benches: Vec<Limits<'_>> = plan.subjects.iter().map(Limits::new).collect();
    let mut told = Told::default();
    caught(|| try_case(&plan, &mut benches, number, &mut told))?;
    if told.wrong.is_empty() { Ok(format!("{:?}; 0 violations", told.counts)) } else { Err(told.wrong.join("\n").into()) }
}

/// What a case came to.
#[derive(Default)]
struct Told {
    counts: Vec<(&'static str, u64)>,
    wrong: Vec<String>,
}

const KINDS: [&str; 4] = ["bits flipped", "lengths", "blocks and files", "hostile fields"];

impl Told {
    fn count(&mut self, name: &'static str, more: u64) {
        self.counts.push((name, more));
    }

    fn changes(&self) -> u64 {
        self.counts.iter().filter(|(name, _)| KINDS.contains(name)).map(|(_, count)| count).sum()
    }
}

fn try_case(plan: &Plan, benches: &mut [Limits<'_>], case: u64, told: &mut Told) {
    match plan.work(case) {
        None => {}
        Some(Work::Flip(at, name, part, bit, apart)) => {
            for (index, offset) in (0..).zip(part) {
                let mut bytes = benches[at].bench.subject.files[name].to_vec();
                let flipped: Vec<usize> = (offset..bytes.len()).step_by(apart).collect();
                flipped.iter().for_each(|offset| bytes[*offset] ^= 1 << bit);
                let what = format!("{name} byte {offset} ({} of them), bit {bit}", flipped.len());
                let saved = index == case % 64;
                one(&benches[at], told, &what, &change(name, bytes), Some(&place(&benches[at].bench.subject.files, name, offset)), saved);
                told.count(KINDS[0], flipped.len() as u64);
            }
        }
        Some(Work::Cut(at, name, lengths)) => {
            for (index, length) in (0..).zip(lengths) {
                let bytes = benches[at].bench.subject.files[name][..length].to_vec();
                let what = format!("{name} cut to {length}");
                let saved = index == case % 16;
                one(&benches[at], told, &what, &change(name, bytes), Some(&place(&benches[at].bench.subject.files, name, length)), saved);
                told.count(KINDS[1], 1);
            }
        }
        Some(Work::Blunt(at, cases)) => {
            for case in cases {
                one(&benches[at], told, &case.what, &case.change, None, true);
                told.count(KINDS[2], 1);
            }
        }
        Some(Work::Hostile(at, name, offset)) => {
            let before = benches[at].tried;
            try_place(&mut benches[at], name, offset);
            told.count(KINDS[3], benches[at].tried - before);
        }
    }
}

/// Tries one change; `saved`: repairs it too. Of a change at one place it is known whether anything uses it.
fn one(limits: &Limits<'_>, told: &mut Told, what: &str, change: &Change, place: Option<&str>, saved: bool) {
    let context = format!("{}, {what}", limits.bench.subject.name);
    let (outcome, taken) = peak_of(|| limits.bench.examine(change));
    if taken > limits.limit {
        told.wrong.push(format!("{context}: {taken} bytes allocated, {} allowed", limits.limit));
    }
    match &outcome {
        Outcome::AtOpen => told.count("refused at open", 1),
        Outcome::AtRead => told.count("errors at read", 1),
        Outcome::ByVerify => told.count("reported by verify", 1),
        Outcome::Harmless if place.is_none_or(is_unused) => told.count("hit nothing that is used", 1),
        Outcome::Harmless => told.wrong.push(format!("{context}: nobody noticed, although {place:?} is used")),
        Outcome::Dropped => told.count("last sync group dropped", 1),
        // The limit that docs/reliability.md states: what proved that the log goes on is gone too.
        Outcome::Wiped if place.is_none() => told.count("proof of the log's end gone", 1),
        Outcome::Wiped | Outcome::Silent(_) | Outcome::Panic(_) | Outcome::Unnamed(_) => told.wrong.push(format!("{context}: {outcome:?}")),
    }
    if saved {
        save(limits, told, change, &context);
    }
}

/// What no decoder reads: LOCK behind its header, the zeros behind a log's end, and one of two activation records.
fn is_unused(place: &str) -> bool {
    ["LOCK", "void behind the end", "activation record"].iter().any(|part| place.contains(part))
}

fn save(limits: &Limits<'_>, told: &mut Told, change: &Change, context: &str) {
    let bench = &limits.bench;
    let (found, report) = repair(bench, change, context);
    let missing = missing(bench.subject, &found);
    assert!(missing.is_disjoint(&readable(bench, change)), "{context}: readable, but not saved: {missing:?}; {report:?}");
    if change.keys().all(|name| name.starts_with("seg-")) {
        accounts_for(&missing, &report, context);
        logged_is_there(bench.subject, &missing, context);
    }
    let records = |subject: &Subject| subject.legal.last().map_or(0, |state| state.values().map(|coll| coll.rows.len()).sum());
    told.count("repairs", 1);
    told.count("records repaired", (records(bench.subject) - missing.len()) as u64);
}
