#![no_main]
//! Arbitrary bytes as a file that the program's `import` reads.

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/support/inputs.rs"]
mod inputs;

use inputs::{failure, files, ids, json, text};

fuzz_target!(|data: &[u8]| inputs::inputs(data));
