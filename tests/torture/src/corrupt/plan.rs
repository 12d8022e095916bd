//! All that is done to the databases, numbered: a case is a few changes of one kind, and the cases of all kinds take turns, each kind in an order
//! that jumps about, so that a small budget sees a
//! little of everything and a large one ends with everything.

use std::ops::Range;

use crate::support::{
    blunt::{self, Case},
    damage::Budget,
    subjects::{Image, Subject, closed, frames, killed, rotated},
};

use super::fields::{Target, targets};

/// Where the frames of a log start.
const FRAMES: usize = 12_288;
/// Bytes of a case of flips: all their bits.
const FLIPPED: usize = 8;
/// Lengths of a case of cuts.
const CUT: usize = 16;
/// Of what is done to blocks and files.
const BLUNT: usize = 4;

/// What a case does, to the database of an index.
pub enum Work<'a> {
    /// Every bit of some bytes of a file.
    Flip(usize, &'a str, Range<usize>),
    /// A file cut to each of some lengths.
    Cut(usize, &'a str, Range<usize>),
    Blunt(usize, &'a [Case]),
    /// A place taken for an integer of every width, set to extremes, all checksums made right.
    Hostile(usize, &'a str, usize),
}

/// Which cases of 16 are of which kind.
const TURNS: u64 = 16;
const FLIPS: Range<u64> = 0..11;
const CUTS: Range<u64> = 11..13;
const BLUNTS: Range<u64> = 13..14;
const HOSTILE: Range<u64> = 14..16;

/// Parts of all files of all databases, first those that are not the zeros behind a log's end.
#[derive(Default)]
struct Parts {
    used: Vec<(usize, String, Range<usize>)>,
    void: Vec<(usize, String, Range<usize>)>,
}

impl Parts {
    fn new(subjects: &[Subject], size: usize) -> Self {
        let mut parts = Self::default();
        for (at, subject) in subjects.iter().enumerate() {
            for (name, bytes) in &subject.files {
                let void =
                    if name.starts_with("log-") { frames(bytes).last().map_or(FRAMES, |(_, end, _)| *end as usize) } else { bytes.len() };
                for start in (0..bytes.len()).step_by(size) {
                    let part = (at, name.clone(), start..(start + size).min(bytes.len()));
                    if start < void { parts.used.push(part) } else { parts.void.push(part) }
                }
            }
        }
        parts
    }

    fn len(&self) -> u64 {
        (self.used.len() + self.void.len()) as u64
    }

    fn get(&self, number: u64) -> Option<(usize, &str, Range<usize>)> {
        let used = self.used.len() as u64;
        let part = match jump(number, used) {
            Some(place) => self.used.get(place as usize),
            None => self.void.get(jump(number - used, self.void.len() as u64)? as usize),
        };
        part.map(|(at, name, part)| (*at, name.as_str(), part.clone()))
    }
}

pub struct Plan {
    pub subjects: Vec<Subject>,
    flips: Parts,
    cuts: Parts,
    blunt: Vec<Vec<Case>>,
    targets: Vec<Vec<Target>>,
}

impl Plan {
    pub fn new() -> Self {
        let subjects = vec![closed(), killed(), rotated()];
        let images: Vec<Image> = subjects.iter().map(|subject| subject.files.clone()).collect();
        let blunt = subjects.iter().map(|subject| blunt_cases(subject, &images)).collect();
        let targets = subjects.iter().map(|subject| targets(subject, 1)).collect();
        let (flips, cuts) = (Parts::new(&subjects, FLIPPED), Parts::new(&subjects, CUT));
        Self { subjects, flips, cuts, blunt, targets }
    }

    /// The number of the first case that does nothing, and so do all behind it.
    pub fn end(&self) -> u64 {
        let rounds = |count: u64, turns: Range<u64>| count.div_ceil(turns.end - turns.start) * TURNS;
        let all = [(self.flips.len(), FLIPS), (self.cuts.len(), CUTS), (self.blunts(), BLUNTS), (self.places(), HOSTILE)];
        all.into_iter().map(|(count, turns)| rounds(count, turns)).max().unwrap_or(0)
    }

    /// What a case does; nothing once its kind is done with.
    pub fn work(&self, case: u64) -> Option<Work<'_>> {
        let (round, turn) = (case / TURNS, case % TURNS);
        let number = |turns: Range<u64>| round * (turns.end - turns.start) + turn - turns.start;
        match turn {
            turn if FLIPS.contains(&turn) => self.flips.get(number(FLIPS)).map(|(at, name, part)| Work::Flip(at, name, part)),
            turn if CUTS.contains(&turn) => self.cuts.get(number(CUTS)).map(|(at, name, part)| Work::Cut(at, name, part)),
            turn if BLUNTS.contains(&turn) => self.blunt(jump(number(BLUNTS), self.blunts())?),
            _ => self.place(jump(number(HOSTILE), self.places())?),
        }
    }

    fn blunts(&self) -> u64 {
        self.blunt.iter().map(|cases| cases.len().div_ceil(BLUNT) as u64).sum()
    }

    fn places(&self) -> u64 {
        self.targets.iter().flatten().map(|target| target.places.len() as u64).sum()
    }

    fn blunt(&self, mut number: u64) -> Option<Work<'_>> {
        for (at, cases) in self.blunt.iter().enumerate() {
            let mut chunks = cases.chunks(BLUNT);
            if number < chunks.len() as u64 {
                return chunks.nth(number as usize).map(|cases| Work::Blunt(at, cases));
            }
            number -= chunks.len() as u64;
        }
        None
    }

    fn place(&self, mut number: u64) -> Option<Work<'_>> {
        for (at, target) in self.targets.iter().enumerate().flat_map(|(at, targets)| targets.iter().map(move |target| (at, target))) {
            if let Some(place) = target.places.get(number as usize) {
                return Some(Work::Hostile(at, &target.name, *place));
            }
            number -= target.places.len() as u64;
        }
        None
    }
}

/// A permutation of the numbers below a count.
fn jump(number: u64, count: u64) -> Option<u64> {
    // A prime larger than any count, so that it divides none.
    (number < count).then(|| (u128::from(number) * 2_654_435_761 % u128::from(count)) as u64)
}

/// Blocks zeroed, doubled and swapped, junk behind the end, files removed, swapped, older, and of another database.
fn blunt_cases(subject: &Subject, images: &[Image]) -> Vec<Case> {
    let budget = Budget { seed: 0xC0_44E7, stride: 1, void_stride: 1, threads: 1 };
    let foreign: Vec<Image> = images.iter().filter(|image| image["FLOOR"][16..32] != subject.files["FLOOR"][16..32]).cloned().collect();
    [
        blunt::blocks(subject, budget),
        blunt::extensions(subject, budget),
        blunt::removals(subject),
        blunt::swaps(subject),
        blunt::replacements(subject, &subject.older, "an earlier state"),
        blunt::replacements(subject, &foreign, "another database"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
