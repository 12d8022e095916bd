//! The target `inputs`: arbitrary bytes, by the first one, as a .npy file, an .fvecs file, or lines of records and of ids, as the program's
//! `import` reads them. Shared by `fuzz/`, `tests/corpus.rs` and `torture mutate`. The program is no library, so its modules are compiled
//! here again, with their unit tests; they name each other from the crate's root, so every user of this file imports them there.
#![allow(dead_code, unreachable_pub, reason = "the program uses the rest")]

use std::path::Path;

#[path = "../../src/bin/varvite/failure.rs"]
pub mod failure;
#[path = "../../src/bin/varvite/files.rs"]
pub mod files;
#[path = "../../src/bin/varvite/ids.rs"]
pub mod ids;
#[path = "../../src/bin/varvite/input/mod.rs"]
pub mod input;
#[path = "../../src/bin/varvite/json.rs"]
pub mod json;
#[path = "../../src/bin/varvite/text.rs"]
pub mod text;

use input::{fvecs, lines::Lines, npy, records::next_record};

/// A named error, or rows of the stated shape.
pub fn inputs(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => read_npy(data),
        1 => read_fvecs(data),
        _ => read_lines(data),
    }
}

fn read_npy(data: &[u8]) {
    let Ok(mut matrix) = npy::open(data, data.len() as u64, "f.npy") else { return };
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

fn read_fvecs(data: &[u8]) {
    let Ok(Some(mut matrix)) = fvecs::open(data, data.len() as u64, "f.fvecs") else { return };
    let mut elements = Vec::new();
    while matrix.read_rows(8, &mut elements).is_ok_and(|read| read > 0) {}
    assert!(elements.len() * 4 <= data.len());
}

fn read_lines(data: &[u8]) {
    let mut lines = Lines::new(data, Path::new("f.jsonl"));
    while let Ok(Some(_)) = next_record(&mut lines, ids::IdEncoding::Utf8) {}
    let mut lines = Lines::new(data, Path::new("f.ids"));
    while let Ok(Some(id)) = lines.next_id() {
        assert!(!id.ends_with(b"\r"), "an id that nobody wrote");
    }
}
