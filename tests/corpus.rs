//! Replays every input that fuzzing has kept, on stable, with the same entry points as `fuzz/`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may panic, and looks at files"
)]
#![cfg(feature = "fuzzing")]

// The program's modules need what the feature `cli` brings.
#[cfg(feature = "cli")]
#[path = "support/inputs.rs"]
mod inputs;

use std::{
    collections::BTreeMap,
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
    sync::Arc,
};

use varvite::{
    Background, Database, Fields, Metadata, Metric, Options,
    fuzzing::{self, resign_manifest, resign_pages, resign_payload, resign_segment, resign_short_log, shorten_log},
    io::simulated::SimulatedDisk,
};

#[cfg(feature = "cli")]
use inputs::{failure, files, ids, json, text};

/// The kept inputs of a target, by name. The package as published carries no corpus: there is nothing to replay there.
fn kept(target: &str) -> Option<Vec<PathBuf>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    if !root.join("Cargo.toml").exists() {
        return None;
    }
    let folder = root.join("corpus").join(target);
    let entries = fs::read_dir(&folder).into_iter().flatten();
    let mut inputs: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_file()).collect();
    inputs.sort();
    Some(inputs)
}

/// Runs every input as it is, and with its checksums made to fit, as the mutators do.
fn replay(target: &str, run: fn(&[u8]), sign: fn(&[u8]) -> Vec<u8>) {
    let Some(inputs) = kept(target) else { return };
    assert!(!inputs.is_empty(), "fuzz/corpus/{target} holds no input: fuzz/README.md says how to seed it");
    let failures: Vec<String> = inputs
        .iter()
        .filter(|path| {
            let Ok(data) = fs::read(path) else { return true };
            catch_unwind(|| [data.clone(), sign(&data)].iter().for_each(|data| run(data))).is_err()
        })
        .map(|path| path.display().to_string())
        .collect();
    assert!(failures.is_empty(), "{} of {} inputs of `{target}` fail:\n{}", failures.len(), inputs.len(), failures.join("\n"));
    println!("{target}: {} inputs", inputs.len());
}

#[test]
fn log() {
    replay("log", fuzzing::log, resign_short_log);
}

#[test]
fn segment() {
    replay("segment", fuzzing::segment, resign_segment);
}

#[test]
fn manifest() {
    replay("manifest", fuzzing::manifest, resign_manifest);
}

#[test]
fn payload() {
    replay("payload", fuzzing::payload, resign_payload);
}

#[test]
fn pages() {
    replay("pages", fuzzing::pages, resign_pages);
}

#[test]
fn repair() {
    replay("repair", fuzzing::repair, <[u8]>::to_vec);
}

#[cfg(feature = "cli")]
#[test]
fn inputs_of_the_program() {
    replay("inputs", inputs::inputs, <[u8]>::to_vec);
}

#[test]
fn operations() {
    replay("operations", fuzzing::operations, <[u8]>::to_vec);
}

#[test]
fn search() {
    replay("search", fuzzing::search, <[u8]>::to_vec);
}

/// A small database on a simulated disk, so that its bytes are the same every time: the seeds of the decoders.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let disk = SimulatedDisk::new(1);
    let options = Options { background: Background::Inline, ..Options::default() };
    let db = Database::open_on(Arc::new(disk.clone()), options).unwrap();
    let docs = db.create_collection("docs", 3, Metric::Cosine).unwrap();
    let mut seeds = BTreeMap::new();
    for index in 0..20_u8 {
        let vector = [f32::from(index), 1.0, -0.5];
        let fields = Fields::from(&vector).with_document(format!("text {index}")).with_uri("file:///a");
        let metadata = Metadata::new().with("year", i64::from(index)).with("title", "a");
        docs.upsert([b'd', index], fields.with_metadata(metadata)).unwrap();
        if index == 9 {
            seeds.insert("log/seed-batches".to_owned(), longest(&disk, "log-", shorten_log));
            db.flush().unwrap();
        }
    }
    docs.delete([b'd', 2]).unwrap();
    docs.upsert([b'd', 3], &[0.0, 0.0, 0.0]).unwrap();
    let payload = docs.get([b'd', 5]).unwrap().unwrap().encoded_payload().unwrap();
    seeds.insert("payload/seed-record".to_owned(), [&[0], payload.as_slice()].concat());
    db.flush().unwrap();
    seeds.insert("segment/seed-rows-and-kills".to_owned(), longest(&disk, "seg-", <[u8]>::to_vec));
    seeds.insert("manifest/seed-two-segments".to_owned(), longest(&disk, "MANIFEST-", <[u8]>::to_vec));
    seeds
}

/// The worked examples of `format-spec.md`, in order: their first offsets and their bytes, which a unit test compares with the encoders.
fn examples() -> Vec<(usize, Vec<u8>)> {
    let (_, section) = include_str!("../format-spec.md").split_once("\n## 11. Worked examples\n").unwrap();
    let texts = section.split("```text\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let example = |text: &str| {
        let mut bytes = Vec::new();
        let mut first = None;
        for line in text.lines() {
            // Six digits of offset and 47 columns of bytes; what they mean stands behind.
            let offset: usize = line[..6].trim().parse().unwrap();
            assert_eq!(offset, *first.get_or_insert(offset) + bytes.len(), "{line}");
            let digits = line[8..].get(..47).unwrap_or(&line[8..]);
            bytes.extend(digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()));
        }
        (first.unwrap(), bytes)
    };
    texts.map(example).collect()
}

/// Those examples as whole inputs. The specification shows a frame alone: the header and the activation records before it are made here, those
/// of the log 1 that the manifest names.
fn seeds_of_the_specification() -> BTreeMap<String, Vec<u8>> {
    let [(12_288, frame), (0, manifest)] = &*examples() else { panic!("other examples than a frame and a manifest: make seeds of them") };
    let mut header = manifest[..64].to_vec();
    header[4..8].copy_from_slice(b"LOGF");
    header[40..56].copy_from_slice(&manifest[120..136]);
    let mut activation = b"VRVTACTV".to_vec();
    activation.extend([1, 0, 0, 0, 1, 0, 0].into_iter().flat_map(u64::to_le_bytes));
    let log = resign_short_log(&[&*header, &*activation, &*activation, frame].concat());
    let mut copy = manifest.clone();
    copy.resize(4096, 0);
    let document = [&[0], &frame[53..60]].concat();
    let seeds =
        [("log/seed-spec-put", log), ("manifest/seed-spec-empty-database", copy.repeat(2)), ("payload/seed-spec-document", document)];
    seeds.map(|(name, bytes)| (name.to_owned(), bytes)).into()
}

/// The longest file of a kind, in the shape that its target takes.
fn longest(disk: &SimulatedDisk, kind: &str, shape: fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let names = disk.names().into_iter().filter(|name| name.starts_with(kind));
    names.map(|name| shape(&disk.read_all(&name).unwrap())).max_by_key(Vec::len).unwrap()
}

#[test]
fn seeds_of_the_specification_have_its_bytes_and_checksums_that_fit() {
    let seeds = seeds_of_the_specification();
    let [(_, frame), (_, manifest)] = &*examples() else { panic!("two examples") };
    assert!(seeds["log/seed-spec-put"].ends_with(frame), "a checksum of the example does not fit");
    let copies = &seeds["manifest/seed-spec-empty-database"];
    assert!(copies.starts_with(manifest) && copies[4096..].starts_with(manifest) && resign_manifest(copies) == *copies);
    assert_eq!(seeds["payload/seed-spec-document"], [b"\0\x02\x02\0\0\0".as_slice(), b"hi"].concat());
}

/// `VARVITE_SEEDS=write` writes them anew after the format has changed.
#[test]
fn seeds_are_what_the_engine_writes_and_the_specification_shows() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    if !corpus.exists() {
        return;
    }
    for (name, bytes) in seeds().into_iter().chain(seeds_of_the_specification()) {
        if std::env::var_os("VARVITE_SEEDS").is_some() {
            fs::write(corpus.join(&name), &bytes).unwrap();
        }
        assert!(fs::read(corpus.join(&name)).is_ok_and(|kept| kept == bytes), "fuzz/corpus/{name} is not what is written now");
    }
}
