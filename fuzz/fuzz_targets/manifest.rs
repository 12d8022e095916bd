#![no_main]
//! Arbitrary bytes as a manifest: decoded, and encoded again.

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| varvite::fuzzing::manifest(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    varvite_fuzz::mutate(data, size, max_size, seed, varvite::fuzzing::resign_manifest)
});
