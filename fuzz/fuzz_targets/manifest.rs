#![no_main]
//! Arbitrary bytes as a manifest: decoded, and encoded again.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varvite::fuzzing::manifest(data));
