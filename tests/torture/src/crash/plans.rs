//! Which images to try at a moment, and their names in a case.

use varvite::io::simulated::{CrashPlan, CrashPoint};

use crate::support::Random;

/// All subsets of so many unsynced items.
const ALL_SUBSETS_MAX: usize = 12;
/// All pairs of losses of so many.
const PAIRS_MAX: usize = 32;
/// Subsets by chance, where not all are tried.
const CHANCES: u64 = 96;
/// Up to here the last write is torn at every byte, behind at sectors.
const EVERY_BYTE_MAX: usize = 512;
const EVERY_BYTE_MAX_INSIDE: usize = 64;
const SECTOR: usize = 512;

/// Images of a moment: all legal ones of up to twelve unsynced items; of more, prefixes, losses of one and two, one alone, and some by
/// chance; then the last write torn. What recovery never reads (the LOCK page) is kept or lost by chance. Within recoveries writes are torn at
/// fewer bytes, within recoveries of those few images are tried.
pub fn plans(point: &CrashPoint, random: &mut Random, depth: usize) -> Vec<CrashPlan> {
    let thin = depth > 1;
    let names = point.unsynced_names();
    let items: Vec<usize> = (0..names.len()).filter(|index| names[*index] != "LOCK").collect();
    let base: Vec<bool> = names.iter().map(|_| random.below(2) == 1).collect();
    let mut plans = Vec::new();
    let mut keep = |kept: &dyn Fn(usize) -> bool| {
        let mut subset = base.clone();
        items.iter().enumerate().for_each(|(place, item)| subset[*item] = kept(place));
        plans.push(CrashPlan::Subset(subset));
    };
    let all = if thin { 4 } else { ALL_SUBSETS_MAX };
    if items.len() <= all {
        (0..1_u64 << items.len()).for_each(|mask| keep(&|place| mask >> place & 1 == 1));
    } else {
        (0..=items.len()).for_each(|prefix| keep(&|place| place < prefix));
        for one in 0..items.len() {
            keep(&|place| place != one);
            keep(&|place| place == one);
        }
        if items.len() <= PAIRS_MAX && !thin {
            (1..items.len()).for_each(|two| (0..two).for_each(|one| keep(&|place| place != one && place != two)));
        }
        for _ in 0..if thin { 4 } else { CHANCES } {
            let (mask, denser) = (random.next(), random.next() | random.next());
            let mask = if random.below(2) == 0 { mask } else { denser };
            keep(&|place| mask.rotate_left(place as u32 / 64 * 7) >> (place % 64) & 1 == 1);
        }
    }
    torn(point, &names, random, depth, &mut plans);
    plans
}

fn torn(point: &CrashPoint, names: &[String], random: &mut Random, depth: usize, plans: &mut Vec<CrashPlan>) {
    let Some((item, len)) = point.last_unsynced_write().filter(|(item, _)| names[*item] != "LOCK") else { return };
    let every = if depth == 0 { EVERY_BYTE_MAX } else { EVERY_BYTE_MAX_INSIDE };
    let mut cuts: Vec<usize> = (1..len.min(every)).collect();
    cuts.extend((1..).map(|sector| sector * SECTOR).take_while(|cut| *cut < len));
    if depth > 1 {
        cuts = (0..4).filter(|_| len > 1).map(|_| 1 + random.below(len as u64 - 1) as usize).collect();
    }
    for last_write_bytes in cuts {
        plans.push(CrashPlan::Torn { subset: vec![true; names.len()], last_write_bytes });
        if random.below(16) == 0 {
            let subset = (0..names.len()).map(|index| index == item || random.below(2) == 1).collect();
            plans.push(CrashPlan::Torn { subset, last_write_bytes });
        }
    }
}

/// `k0110` keeps the second and third item; `k0110t17` tears the last write at 17.
pub fn name(plan: &CrashPlan) -> String {
    let bits = |subset: &[bool]| subset.iter().map(|kept| if *kept { '1' } else { '0' }).collect::<String>();
    match plan {
        CrashPlan::Subset(subset) => format!("k{}", bits(subset)),
        CrashPlan::Torn { subset, last_write_bytes } => format!("k{}t{last_write_bytes}", bits(subset)),
        other => panic!("no name for {other:?}"),
    }
}

pub fn parse(text: &str) -> Option<CrashPlan> {
    let (bits, torn) = text.strip_prefix('k')?.split_once('t').map_or((&text[1..], None), |(bits, torn)| (bits, Some(torn)));
    let subset = bits.chars().map(|bit| bit == '1').collect();
    Some(match torn {
        Some(torn) => CrashPlan::Torn { subset, last_write_bytes: torn.parse().ok()? },
        None => CrashPlan::Subset(subset),
    })
}
