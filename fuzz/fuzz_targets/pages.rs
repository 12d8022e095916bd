#![no_main]
//! Arbitrary bytes as an id block, a bucket of ids, a kill block, FLOOR or parts of LOCK.

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| varvite::fuzzing::pages(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    varvite_fuzz::mutate(data, size, max_size, seed, varvite::fuzzing::resign_pages)
});
