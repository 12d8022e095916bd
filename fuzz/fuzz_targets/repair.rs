#![no_main]
//! Arbitrary bytes as changes to the files of a database that is then verified, repaired and opened.

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| varvite::fuzzing::repair(data));
