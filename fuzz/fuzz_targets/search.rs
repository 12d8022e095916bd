#![no_main]
//! Arbitrary bytes as records and a query: the exact search against a plain scan.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varvite::fuzzing::search(data));
