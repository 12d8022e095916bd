//! What the tests of crashes, faults and models share: the model, steps that run on both, and the oracle.
#![allow(dead_code, unreachable_pub, reason = "every test crate uses another part")]

pub mod blunt;
pub mod child;
pub mod counting;
pub mod damage;
pub mod generated;
pub mod hooked;
pub mod kill;
pub mod machine;
pub mod oracle;
pub mod reading;
pub mod salvage;
pub mod state;
pub mod subjects;
pub mod workload;

/// SplitMix64: reproducible, and independent of any crate's version.
#[derive(Clone, Copy, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// How much more than by default a test shall try: `VARVITE_CRASH_BUDGET`, 1 if it is not set.
pub fn budget() -> u64 {
    std::env::var("VARVITE_CRASH_BUDGET").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}
