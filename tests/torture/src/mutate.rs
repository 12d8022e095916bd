//! The targets of `fuzz/` without feedback: their committed corpora, changed at random, run at the speed of the engine, which libFuzzer's
//! bookkeeping of what was reached halves and more. A case is a thousand inputs; all of it follows from the seed and the committed corpus.

use std::{fs, path::PathBuf};

use clap::ValueEnum;
use varvite::fuzzing;

use crate::{
    campaign::{Campaign, Replayed, processors},
    inputs,
    quiet::caught,
    support::Random,
};

/// Inputs of a case.
const INPUTS: u64 = 1000;
/// Bytes that lengths, counts and kinds are often wrong by.
const TELLING: [u8; 8] = [0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF, 0x40];

/// Makes the checksums of an input fit.
type Sign = fn(&[u8]) -> Vec<u8>;

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Target {
    Log,
    Segment,
    Manifest,
    Payload,
    Pages,
    Inputs,
    Operations,
    Repair,
    Search,
}

impl Target {
    pub fn layer(self) -> &'static str {
        match self {
            Self::Log => "mutate log",
            Self::Segment => "mutate segment",
            Self::Manifest => "mutate manifest",
            Self::Payload => "mutate payload",
            Self::Pages => "mutate pages",
            Self::Inputs => "mutate inputs",
            Self::Operations => "mutate operations",
            Self::Repair => "mutate repair",
            Self::Search => "mutate search",
        }
    }

    fn name(self) -> &'static str {
        self.layer().trim_start_matches("mutate ")
    }

    /// What runs an input, and what makes its checksums fit.
    fn entry(self) -> (fn(&[u8]), Option<Sign>) {
        match self {
            Self::Log => (fuzzing::log, Some(fuzzing::resign_short_log)),
            Self::Segment => (fuzzing::segment, Some(fuzzing::resign_segment)),
            Self::Manifest => (fuzzing::manifest, Some(fuzzing::resign_manifest)),
            Self::Payload => (fuzzing::payload, Some(fuzzing::resign_payload)),
            Self::Pages => (fuzzing::pages, Some(fuzzing::resign_pages)),
            Self::Inputs => (inputs::inputs, None),
            Self::Operations => (fuzzing::operations, None),
            Self::Repair => (fuzzing::repair, None),
            Self::Search => (fuzzing::search, None),
        }
    }

    /// The longest input, as in `fuzz/campaign`.
    fn len_max(self) -> usize {
        match self {
            Self::Log => 1024,
            Self::Segment => 2048,
            Self::Manifest => 8192,
            Self::Payload | Self::Pages | Self::Inputs => 512,
            Self::Operations => 96,
            Self::Repair => 33,
            Self::Search => 200,
        }
    }

    fn corpus(self) -> Vec<Vec<u8>> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(self.name());
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    }
}

pub fn explore(target: Target, campaign: &Campaign) {
    let corpus = target.corpus();
    campaign.on_threads(processors(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            for index in 0..INPUTS {
                if let Err(what) = caught(|| run(target, &input(target, &corpus, seed, index))) {
                    campaign.found(format!("{}/{seed}/{index}", target.name()), what);
                }
            }
            campaign.count("executions", INPUTS);
            campaign.progress("executions");
        }
    });
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let parts: Vec<&str> = case.split('/').collect();
    let wrong = || Replayed::Usage(format!("{case:?} is not TARGET/SEED/INDEX"));
    let &[target, seed, index] = &*parts else { return Err(wrong()) };
    let target = Target::from_str(target, false).map_err(Replayed::Usage)?;
    let (Ok(seed), Ok(index)) = (seed.parse(), index.parse()) else { return Err(wrong()) };
    let input = input(target, &target.corpus(), seed, index);
    let told = format!("input {}", input.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    Ok(caught(|| run(target, &input)).map(|()| told.clone()).map_err(|what| format!("{what}\n{told}"))?)
}

fn run(target: Target, input: &[u8]) {
    (target.entry().0)(input);
}

/// One of a case's inputs, by itself.
fn input(target: Target, corpus: &[Vec<u8>], seed: u64, index: u64) -> Vec<u8> {
    let mut random = Random(seed.wrapping_mul(INPUTS).wrapping_add(index) ^ 0x4D57_A7E5);
    let mut input = corpus[random.below(corpus.len() as u64) as usize].clone();
    for _ in 0..=random.below(6) {
        change(&mut input, corpus, &mut random);
    }
    input.truncate(target.len_max());
    match target.entry().1 {
        Some(sign) if random.below(8) > 0 => sign(&input),
        _ => input,
    }
}

fn change(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() as u64 + 1) as usize;
    let len = random.below(8).min((input.len() - at) as u64) as usize;
    match random.below(8) {
        0 | 1 if at < input.len() => input[at] ^= 1 << random.below(8),
        2 if at < input.len() => input[at] = random.next() as u8,
        3 if at < input.len() => input[at] = TELLING[random.below(TELLING.len() as u64) as usize],
        4 => drop(input.drain(at..at + len)),
        5 => {
            let copy = input[at..at + len].to_vec();
            let to = random.below(input.len() as u64 + 1) as usize;
            input.splice(to..to, copy);
        }
        6 => {
            let other = &corpus[random.below(corpus.len() as u64) as usize];
            input.truncate(at);
            input.extend_from_slice(&other[at.min(other.len())..]);
        }
        _ => {
            let bytes: Vec<u8> = (0..=random.below(4)).map(|_| random.next() as u8).collect();
            input.splice(at..at, bytes);
        }
    }
}
