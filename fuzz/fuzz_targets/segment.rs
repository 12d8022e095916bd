#![no_main]
//! Arbitrary bytes as a segment file: opened and read through every section.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varvite::fuzzing::segment(data));
