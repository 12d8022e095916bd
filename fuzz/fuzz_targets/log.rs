#![no_main]
//! Arbitrary bytes as a log file: read, never believed.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varvite::fuzzing::log(data));
