#![no_main]
//! Arbitrary bytes as a log in short: read, never believed.

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| varvite::fuzzing::log(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    varvite_fuzz::mutate(data, size, max_size, seed, varvite::fuzzing::resign_short_log)
});
