#![no_main]
//! Arbitrary bytes as a sequence of operations and crashes, checked against a model.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varvite::fuzzing::operations(data));
