//! All that is done to the databases, numbered: a case is a few changes of one kind, and the cases of all kinds take turns, each kind in an order
//! that jumps about, so that a small budget sees a
//! little of everything and a large one ends with everything.

use std::{iter::StepBy, ops::Range};

use crate::support::{
    blunt::{self, Case},
    damage::Budget,
    subjects::{Image, Subject, closed, frames, killed, rotated},
};

use super::fields::{Target, targets};

/// Where the frames of a log start.
const FRAMES: usize = 12_288;
/// Bytes of a case of flips.
const FLIPPED: usize = 64;
/// Lengths of a case of cuts.
const CUT: usize = 16;
/// Of what is done to blocks and files.
const BLUNT: usize = 4;

/// What a case does, to the database of an index.
pub enum Work<'a> {
    /// A bit of each of some bytes of a file.
    Flip(usize, &'a str, Range<usize>, u32),
    /// A file cut to each of some lengths.
    Cut(usize, &'a str, StepBy<Range<usize>>),
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

/// Pieces of the files of all databases, first those that are not the zeros behind a log's end.
struct Flips {
    used: Vec<(usize, String, Range<usize>)>,
    void: Vec<(usize, String, Range<usize>)>,
}

impl Flips {
    fn new(subjects: &[Subject]) -> Self {
        let mut flips = Self { used: Vec::new(), void: Vec::new() };
        for (at, subject) in subjects.iter().enumerate() {
            for (name, bytes) in &subject.files {
                let end = |bytes: &[u8]| frames(bytes).last().map_or(FRAMES, |(_, end, _)| *end as usize);
                let void = if name.starts_with("log-") { end(bytes) } else { bytes.len() };
                for start in (0..bytes.len()).step_by(FLIPPED) {
                    let piece = (at, name.clone(), start..(start + FLIPPED).min(bytes.len()));
                    if start < void { flips.used.push(piece) } else { flips.void.push(piece) }
                }
            }
        }
        flips
    }

    fn len(&self) -> u64 {
        8 * (self.used.len() + self.void.len()) as u64
    }

    /// One bit of every byte of a piece, another one at the next visit.
    fn get(&self, number: u64) -> Option<Work<'_>> {
        let used = 8 * self.used.len() as u64;
        let (pieces, number) = if number < used { (&self.used, number) } else { (&self.void, number - used) };
        let count = pieces.len() as u64;
        let piece = jump(number % count, count)?;
        let (at, name, part) = pieces.get(piece as usize).filter(|_| number < 8 * count)?;
        Some(Work::Flip(*at, name, part.clone(), ((number / count + piece) % 8) as u32))
    }
}

pub struct Plan {
    pub subjects: Vec<Subject>,
    flips: Flips,
    blunt: Vec<Vec<Case>>,
    targets: Vec<Vec<Target>>,
}

impl Plan {
    pub fn new() -> Self {
        let subjects = vec![closed(), killed(), rotated()];
        let images: Vec<Image> = subjects.iter().map(|subject| subject.files.clone()).collect();
        let blunt = subjects.iter().map(|subject| blunt_cases(subject, &images)).collect();
        let targets = subjects.iter().map(|subject| targets(subject, 1)).collect();
        let flips = Flips::new(&subjects);
        Self { subjects, flips, blunt, targets }
    }

    /// The number of the first case that does nothing, and so do all behind it.
    pub fn end(&self) -> u64 {
        let rounds = |count: u64, turns: Range<u64>| count.div_ceil(turns.end - turns.start) * TURNS;
        let all = [(self.flips.len(), FLIPS), (self.cuts(), CUTS), (self.blunts(), BLUNTS), (self.places(), HOSTILE)];
        all.into_iter().map(|(count, turns)| rounds(count, turns)).max().unwrap_or(0)
    }

    /// What a case does; nothing once its kind is done with.
    pub fn work(&self, case: u64) -> Option<Work<'_>> {
        let (round, turn) = (case / TURNS, case % TURNS);
        let number = |turns: Range<u64>| round * (turns.end - turns.start) + turn - turns.start;
        match turn {
            turn if FLIPS.contains(&turn) => self.flips.get(number(FLIPS)),
            turn if CUTS.contains(&turn) => self.cut(jump(number(CUTS), self.cuts())?),
            turn if BLUNTS.contains(&turn) => self.blunt(jump(number(BLUNTS), self.blunts())?),
            _ => self.place(jump(number(HOSTILE), self.places())?),
        }
    }

    fn cuts(&self) -> u64 {
        self.subjects.iter().flat_map(|subject| subject.files.values()).map(|bytes| bytes.len().div_ceil(CUT) as u64).sum()
    }

    /// Lengths that are spread over a file.
    fn cut(&self, mut number: u64) -> Option<Work<'_>> {
        for (at, subject) in self.subjects.iter().enumerate() {
            for (name, bytes) in &subject.files {
                let step = bytes.len().div_ceil(CUT);
                if number < step as u64 {
                    return Some(Work::Cut(at, name, (number as usize..bytes.len()).step_by(step)));
                }
                number -= step as u64;
            }
        }
        None
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
