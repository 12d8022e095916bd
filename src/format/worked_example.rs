//! The worked example of `format-spec.md`, section 11, made by the encoders: the text cannot drift from the code.

use std::fmt::Write;

use super::batch::Operation;
use super::crc;
use super::log::{FRAMES_START, FrameHeader, frame_bytes};
use super::manifest::{LogEntry, Manifest};
use super::payload;
use crate::types::{FileId, Payload};

const SPECIFICATION: &str = include_str!("../../format-spec.md");

fn numbered(first: u8) -> FileId {
    FileId(std::array::from_fn(|index| first + index as u8))
}

/// Lines of offset, up to 16 bytes and what they are; `fields` must cover all of `bytes`.
fn annotated(start: u64, bytes: &[u8], fields: &[(usize, &str)]) -> String {
    let mut text = String::new();
    let (mut rest, mut offset) = (bytes, start);
    for (len, meaning) in fields {
        let (field, behind) = rest.split_at(*len);
        rest = behind;
        for (index, chunk) in field.chunks(16).enumerate() {
            let digits: Vec<String> = chunk.iter().map(|byte| format!("{byte:02x}")).collect();
            let meaning = if index == 0 { *meaning } else { "" };
            let line = format!("{offset:>6}  {:<47}  {meaning}", digits.join(" "));
            writeln!(text, "{}", line.trim_end()).unwrap();
            offset += chunk.len() as u64;
        }
    }
    assert!(rest.is_empty(), "{} bytes without a meaning", rest.len());
    text
}

fn assert_in_specification(example: &str) {
    assert!(SPECIFICATION.contains(&format!("```text\n{example}```")), "section 11 of format-spec.md should hold:\n{example}");
}

#[test]
fn log_frame_with_one_put() {
    let mut encoded = Vec::new();
    payload::encode(&Payload { document: Some("hi".into()), ..Payload::default() }, &mut encoded).unwrap();
    let vector: Vec<u8> = [1.0_f32, -2.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let mut body = Vec::new();
    Operation::Put { collection: 1, replaces: false, ordinal: 0, id: b"a", payload: &encoded, vector: &vector }.encode(&mut body);
    let header =
        FrameHeader { len: body.len() as u32, first: true, last: true, sequence: 1, durable_through: FRAMES_START, body_crc: crc(&body) };
    let mut frame = header.encode(numbered(0x10), FRAMES_START).to_vec();
    frame.append(&mut body);
    frame.resize(frame_bytes(header.len as usize), 0);
    assert_in_specification(&annotated(
        FRAMES_START,
        &frame,
        &[
            (4, "body length: 36"),
            (1, "marks: first and last frame of its batch"),
            (3, "reserved"),
            (8, "sequence: 1"),
            (8, "durable-through: 12,288, nothing yet"),
            (4, "CRC of the body"),
            (4, "CRC of file id, offset 12,288 and the 28 bytes above"),
            (1, "operation: put"),
            (4, "collection: 1"),
            (1, "flags: replaces nothing"),
            (8, "ordinal: 0"),
            (2, "length of the id: 1"),
            (1, "id: \"a\""),
            (4, "length of the payload: 7"),
            (1, "payload flags: document"),
            (4, "length of the document: 2"),
            (2, "document: \"hi\""),
            (4, "1.0"),
            (4, "-2.0"),
            (4, "padding to a multiple of 8"),
        ],
    ));
}

#[test]
fn manifest_of_an_empty_database() {
    let log = |number, file| LogEntry { number, file, sealed: None };
    let manifest = Manifest {
        database: numbered(0xD0),
        number: 1,
        next_file: 3,
        next_segment: 1,
        next_collection: 1,
        logs: vec![log(1, numbered(0x10)), log(2, numbered(0x20))],
        ..Manifest::default()
    };
    let bytes = manifest.encode();
    let (copy, padding) = bytes[..bytes.len() / 2].split_at(194);
    assert_eq!((bytes.len(), padding.iter().max()), (8192, Some(&0)));
    assert_in_specification(&annotated(
        0,
        copy,
        &[
            (4, "magic: VRVT"),
            (4, "kind: MANI"),
            (2, "major version: 1"),
            (2, "minor version: 0"),
            (4, "reserved"),
            (16, "database id"),
            (8, "file number: 1"),
            (16, "file id: none in a manifest"),
            (4, "reserved"),
            (4, "CRC of bytes 0 to 59"),
            (8, "body length: 114"),
            (4, "CRC of the body"),
            (4, "CRC of bytes 64 to 75"),
            (8, "flushed_through: 0"),
            (8, "next_file: 3"),
            (8, "next_segment: 1"),
            (4, "next_collection: 1"),
            (4, "log count: 2"),
            (8, "log 1: number"),
            (16, "its file id"),
            (1, "its state: open"),
            (8, "its end: open"),
            (4, "its chain: open"),
            (8, "log 2, the spare: number"),
            (16, "its file id"),
            (1, "its state: open"),
            (8, "its end: open"),
            (4, "its chain: open"),
            (4, "file count: 0"),
            (4, "collection count: 0"),
        ],
    ));
}
