//! Blunt damage: files cut, lengthened, removed, swapped, older, foreign; blocks zeroed, doubled, swapped.

use super::{
    Random,
    damage::{Bench, Budget, Change, Table, change, place, run},
    subjects::{Image, Subject},
};

const BLOCK: usize = 512;

/// A case: where it counts in the table, what it is, what it changes.
pub struct Case {
    pub place: String,
    pub what: String,
    pub change: Change,
}

/// Tries cases on threads.
pub fn judge(subject: &Subject, budget: Budget, cases: &[Case]) -> Table {
    run(subject, budget, cases.len(), &|index, bench: &Bench<'_>, table| {
        let Case { place, what, change } = &cases[index];
        table.note(place, &format!("{}, {what}", subject.name), &bench.examine(change));
    })
}

fn kind(name: &str) -> &str {
    name.split('-').next().unwrap()
}

/// Every length, sampled; those around blocks and pages always.
pub fn truncations(subject: &Subject, budget: Budget) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut random = Random(budget.seed);
    for (name, bytes) in &subject.files {
        let stride = if kind(name) == "log" { budget.void_stride } else { budget.stride };
        let mut lengths: Vec<usize> = (random.below(stride as u64) as usize..bytes.len()).step_by(stride).collect();
        lengths.extend([0, 1, 63, 64, 65, 4095, 4096, 4097, 8192, 12_287, 12_288, 12_289, bytes.len() - 8, bytes.len() - 1]);
        // Through the frames of a log as densely as through other files.
        if kind(name) == "log" {
            lengths.extend((12_288..16_384).step_by(budget.stride));
        }
        for len in lengths.into_iter().filter(|len| *len < bytes.len()) {
            let spot = place(&subject.files, name, len);
            cases.push(Case { place: spot, what: format!("{name} cut to {len}"), change: change(name, bytes[..len].to_vec()) });
        }
    }
    cases
}

/// Blocks of 512 bytes: zeroed, written over the next, swapped with the next and with one anywhere.
pub fn blocks(subject: &Subject, budget: Budget) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut random = Random(budget.seed);
    for (name, bytes) in &subject.files {
        let count = bytes.len() / BLOCK;
        for block in 0..count {
            let at = block * BLOCK;
            let other = random.below(count as u64) as usize * BLOCK;
            let spot = place(&subject.files, name, at);
            let mut add = |what: &str, changed: Vec<u8>| {
                if changed != **bytes {
                    let what = format!("{name} block {block} {what}");
                    cases.push(Case { place: format!("{}: {spot}", what.split(' ').nth(3).unwrap()), what, change: change(name, changed) });
                }
            };
            let swapped = |with: usize| {
                let mut changed = bytes.to_vec();
                changed[at..at + BLOCK].copy_from_slice(&bytes[with..with + BLOCK]);
                changed[with..with + BLOCK].copy_from_slice(&bytes[at..at + BLOCK]);
                changed
            };
            let mut zeroed = bytes.to_vec();
            zeroed[at..at + BLOCK].fill(0);
            add("zeroed", zeroed);
            if block + 1 < count {
                let mut doubled = bytes.to_vec();
                doubled.copy_within(at..at + BLOCK, at + BLOCK);
                add("doubled", doubled);
                add("swapped with the next", swapped(at + BLOCK));
            }
            add("swapped with any", swapped(other));
        }
    }
    cases
}

/// Junk behind the end.
pub fn extensions(subject: &Subject, budget: Budget) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut random = Random(budget.seed);
    for (name, bytes) in &subject.files {
        for len in [1, 511, 4096] {
            let longer = bytes.iter().copied().chain((0..len).map(|_| random.next() as u8)).collect();
            let place = format!("{} lengthened", kind(name));
            cases.push(Case { place, what: format!("{name} and {len} bytes"), change: change(name, longer) });
        }
    }
    cases
}

/// Every file in turn.
pub fn removals(subject: &Subject) -> Vec<Case> {
    let case = |name: &String| Case {
        place: format!("{} removed", kind(name)),
        what: format!("{name} removed"),
        change: Change::from([(name.clone(), None)]),
    };
    subject.files.keys().map(case).collect()
}

/// Every pair of files of a kind, swapped and one in both places.
pub fn swaps(subject: &Subject) -> Vec<Case> {
    let mut cases = Vec::new();
    for (one, first) in &subject.files {
        for (two, second) in subject.files.iter().filter(|(two, _)| kind(two) == kind(one) && **two > *one) {
            let place = |how: &str| format!("{}: {how}", kind(one));
            let both = Change::from([(one.clone(), Some(second.to_vec())), (two.clone(), Some(first.to_vec()))]);
            cases.push(Case { place: place("swapped"), what: format!("{one} and {two} swapped"), change: both });
            cases.push(Case { place: place("doubled"), what: format!("{two} as {one}"), change: change(one, second.to_vec()) });
            cases.push(Case { place: place("doubled"), what: format!("{one} as {two}"), change: change(two, first.to_vec()) });
        }
    }
    cases
}

/// Each file of another directory in the place of its namesake: an earlier state of this database, or another database.
pub fn replacements(subject: &Subject, others: &[Image], how: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (index, other) in others.iter().enumerate() {
        for (name, bytes) in other.iter().filter(|(name, bytes)| subject.files.get(*name).is_some_and(|own| own != *bytes)) {
            let what = format!("{name} of {how} {index}");
            cases.push(Case { place: format!("{} of {how}", kind(name)), what, change: change(name, bytes.to_vec()) });
        }
    }
    cases
}
