//! All that is done to the databases, numbered: a case is a few changes of one kind, and the cases of all kinds take turns. Within a kind the
//! parts of the files take turns too, whatever their size, each in an order that jumps about: a small budget sees a little of everything, the
//! few bytes of a kill block as well as the many of the rows, and a large one ends with everything.

use std::{collections::BTreeMap, iter::StepBy, ops::Range};

use varvite::fuzzing::{Part, parts_of_segment_file};

use crate::support::{
    blunt::{self, Case},
    damage::{Budget, place},
    subjects::{Image, Subject, closed, frames, killed, rotated},
};

use super::fields::{Target, targets};

/// Where the frames of a log start.
const FRAMES: usize = 12_288;
/// Bytes of a case of flips.
const FLIPPED: usize = 64;
/// Of the zeros that a log reserves behind its end, bits this far apart are flipped together.
const APART: usize = 4096;
/// Lengths of a case of cuts.
const CUT: usize = 16;
/// Of what is done to blocks and files.
const BLUNT: usize = 4;

/// What a case does, to the database of an index.
pub enum Work<'a> {
    /// A bit of each of some bytes of a file, and with each the bits that lie a multiple of a number of bytes behind it.
    Flip(usize, &'a str, Range<usize>, u32, usize),
    /// A file cut to each of some lengths.
    Cut(usize, &'a str, StepBy<Range<usize>>),
    Blunt(usize, &'a [Case]),
    /// A place taken for an integer of every width, set to extremes, all checksums made right.
    Hostile(usize, &'a str, usize),
}

/// Which cases of 16 are of which kind.
const TURNS: u64 = 16;
const FLIPS: Range<u64> = 0..9;
const CUTS: Range<u64> = 9..11;
const BLUNTS: Range<u64> = 11..12;
const HOSTILE: Range<u64> = 12..16;

/// Whether a case flips bits.
pub fn flips_bits(case: u64) -> bool {
    FLIPS.contains(&(case % TURNS))
}

/// Names the part of a file that an offset lies in.
struct Places<'a> {
    subject: &'a Subject,
    name: &'a str,
    parts: Vec<Part>,
}

impl<'a> Places<'a> {
    fn new(subject: &'a Subject, name: &'a str) -> Self {
        let parts = if name.starts_with("seg-") { parts_of_segment_file(&subject.files[name]) } else { Vec::new() };
        Self { subject, name, parts }
    }

    fn part(&self, offset: usize) -> String {
        match self.parts.iter().find(|part| part.range.contains(&offset)) {
            Some(part) => part.name.to_owned(),
            None => place(&self.subject.files, self.name, offset),
        }
    }

    /// Tells the fields of a record apart, where all records are alike.
    fn field(&self, offset: usize) -> String {
        match self.parts.iter().find(|part| part.range.contains(&offset)) {
            Some(part) if part.record > 0 => format!("{}, field at {}", part.name, (offset - part.range.start) % part.record),
            _ => self.part(offset),
        }
    }
}

/// What belongs to each part, dealt in turns.
fn dealt<T>(by_part: BTreeMap<String, Vec<T>>) -> Vec<T> {
    let mut all: Vec<(u64, T)> = Vec::new();
    for items in by_part.into_values() {
        let count = items.len() as u64;
        // A permutation, and so is its inverse.
        all.extend(items.into_iter().zip(0..).filter_map(|(item, number)| Some((jump(number, count)?, item))));
    }
    all.sort_by_key(|(turn, _)| *turn);
    all.into_iter().map(|(_, item)| item).collect()
}

/// Pieces of the files of all databases, first those that are not the zeros behind a log's end. Of those only what lies within [`APART`] of the
/// end: what is further off is flipped with it, or twelve million changes would say again what one says.
struct Flips {
    used: Vec<(usize, String, Range<usize>)>,
    void: Vec<(usize, String, Range<usize>)>,
}

impl Flips {
    fn new(subjects: &[Subject]) -> Self {
        let (mut used, mut zeros) = (BTreeMap::<String, Vec<_>>::new(), BTreeMap::<String, Vec<_>>::new());
        for (at, subject) in subjects.iter().enumerate() {
            for (name, bytes) in &subject.files {
                let places = Places::new(subject, name);
                let end = |bytes: &[u8]| frames(bytes).last().map_or(FRAMES, |(_, end, _)| *end as usize);
                let void = if name.starts_with("log-") { end(bytes) } else { bytes.len() };
                for start in (0..void).step_by(FLIPPED) {
                    let piece = (at, name.clone(), start..(start + FLIPPED).min(void));
                    used.entry(places.part(start)).or_default().push(piece);
                }
                let near = (void + APART).min(bytes.len());
                for start in (void..near).step_by(FLIPPED) {
                    let piece = (at, name.clone(), start..(start + FLIPPED).min(near));
                    zeros.entry(name.clone()).or_default().push(piece);
                }
            }
        }
        Self { used: dealt(used), void: dealt(zeros) }
    }

    fn len(&self) -> u64 {
        8 * (self.used.len() + self.void.len()) as u64
    }

    /// One bit of every byte of a piece, another one at the next visit.
    fn get(&self, number: u64) -> Option<Work<'_>> {
        let used = 8 * self.used.len() as u64;
        let alone = number < used;
        let (pieces, number) = if alone { (&self.used, number) } else { (&self.void, number - used) };
        let count = pieces.len() as u64;
        let piece = number % count;
        let (at, name, part) = pieces.get(piece as usize).filter(|_| number < 8 * count)?;
        let bit = ((number / count + piece) % 8) as u32;
        Some(Work::Flip(*at, name, part.clone(), bit, if alone { usize::MAX } else { APART }))
    }
}

pub struct Plan {
    pub subjects: Vec<Subject>,
    flips: Flips,
    blunt: Vec<Vec<Case>>,
    /// Places taken for integers, with their database and file.
    hostile: Vec<(usize, String, usize)>,
}

impl Plan {
    pub fn new() -> Self {
        let subjects = vec![closed(), killed(), rotated()];
        let images: Vec<Image> = subjects.iter().map(|subject| subject.files.clone()).collect();
        let blunt = subjects.iter().map(|subject| blunt_cases(subject, &images)).collect();
        let (flips, hostile) = (Flips::new(&subjects), hostile(&subjects));
        Self { subjects, flips, blunt, hostile }
    }

    /// The number of the first case that does nothing, and so do all behind it.
    pub fn end(&self) -> u64 {
        let rounds = |count: u64, turns: Range<u64>| count.div_ceil(turns.end - turns.start) * TURNS;
        let all = [(self.flips.len(), FLIPS), (self.cuts(), CUTS), (self.blunts(), BLUNTS), (self.hostile.len() as u64, HOSTILE)];
        all.into_iter().map(|(count, turns)| rounds(count, turns)).max().unwrap_or(0)
    }

    /// Behind the last case that flips bits.
    pub fn end_of_flips(&self) -> u64 {
        self.flips.len().div_ceil(FLIPS.end - FLIPS.start) * TURNS
    }

    /// What a case does; nothing once its kind is done with.
    pub fn work(&self, case: u64) -> Option<Work<'_>> {
        let (round, turn) = (case / TURNS, case % TURNS);
        let number = |turns: Range<u64>| round * (turns.end - turns.start) + turn - turns.start;
        match turn {
            turn if FLIPS.contains(&turn) => self.flips.get(number(FLIPS)),
            turn if CUTS.contains(&turn) => self.cut(jump(number(CUTS), self.cuts())?),
            turn if BLUNTS.contains(&turn) => self.blunt(jump(number(BLUNTS), self.blunts())?),
            _ => self.hostile.get(number(HOSTILE) as usize).map(|(at, name, place)| Work::Hostile(*at, name, *place)),
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
}

/// Every place of every database that is taken for an integer.
fn hostile(subjects: &[Subject]) -> Vec<(usize, String, usize)> {
    let mut by_field = BTreeMap::<String, Vec<_>>::new();
    for (at, subject) in subjects.iter().enumerate() {
        for Target { name, places } in targets(subject, 1) {
            let parts = Places::new(subject, &name);
            for place in places {
                by_field.entry(parts.field(place)).or_default().push((at, name.clone(), place));
            }
        }
    }
    dealt(by_field)
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
