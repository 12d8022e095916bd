#![no_main]
//! Arbitrary bytes, by the first one, as a .npy file, an .fvecs file, or lines of records and of ids, as the program's `import` reads them.

use std::path::Path;

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../src/bin/varvite/failure.rs"]
mod failure;
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../src/bin/varvite/files.rs"]
mod files;
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../src/bin/varvite/ids.rs"]
mod ids;
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../src/bin/varvite/input/mod.rs"]
mod input;
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../src/bin/varvite/json.rs"]
mod json;
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../src/bin/varvite/text.rs"]
mod text;

use input::{fvecs, lines::Lines, npy, records::next_record};

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let length = data.len() as u64;
    match kind % 3 {
        0 => {
            if let Ok(mut matrix) = npy::open(data, length, "f.npy") {
                let (rows, dimension) = (matrix.rows(), matrix.dimension());
                let mut elements = Vec::new();
                assert_eq!(matrix.read_rows(usize::MAX, &mut elements).ok(), Some(rows as usize), "the length was checked");
                assert_eq!(elements.len(), rows as usize * dimension);
                let mut header = Vec::new();
                npy::write_header(&mut header, rows, dimension).unwrap();
                let again = [header.as_slice(), &data[data.len() - elements.len() * 4..]].concat();
                let again = npy::open(again.as_slice(), again.len() as u64, "again.npy").unwrap();
                assert_eq!((again.rows(), again.dimension()), (rows, dimension));
            }
        }
        1 => {
            if let Ok(Some(mut matrix)) = fvecs::open(data, length, "f.fvecs") {
                let mut elements = Vec::new();
                while matrix.read_rows(8, &mut elements).is_ok_and(|read| read > 0) {}
                assert!(elements.len() * 4 <= data.len());
            }
        }
        _ => {
            let mut lines = Lines::new(data, Path::new("f.jsonl"));
            while let Ok(read) = next_record(&mut lines, ids::IdEncoding::Utf8) {
                if read.is_none() {
                    break;
                }
            }
            let mut lines = Lines::new(data, Path::new("f.ids"));
            while let Ok(Some(id)) = lines.next_id() {
                assert!(!id.ends_with(b"\r"), "an id that nobody wrote");
            }
        }
    }
});
