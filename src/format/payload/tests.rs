use proptest::prelude::*;

use super::{decode, document, encode, metadata, uri};
use crate::error::ErrorKind;
use crate::format::testing::{cuts, flips, hex, patched};
use crate::types::{DOCUMENT_BYTES_MAX, METADATA_BYTES_MAX, Metadata, Payload, URI_BYTES_MAX, Value};

const GOLDEN: &str = "
    07 5b000000 0800
      0100 61 01 01000000 78
      0100 62 02 feffffffffffffff
      0100 63 03 000000000000f83f
      0100 64 04 01
      0100 65 05 02000000 01000000 70 00000000
      0100 66 06 01000000 0700000000000000
      0100 67 07 00000000
      0100 68 08 02000000 00 01
    02000000 6869
    03000000 753a31";

fn sample() -> Payload {
    let metadata = Metadata::new()
        .with("a", "x")
        .with("b", -2)
        .with("c", 1.5)
        .with("d", true)
        .with("e", vec!["p".to_owned(), String::new()])
        .with("f", vec![7_i64])
        .with("g", Vec::<f64>::new())
        .with("h", vec![false, true]);
    Payload { metadata, document: Some("hi".into()), uri: Some("u:1".into()) }
}

fn bytes_of(payload: &Payload) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode(payload, &mut bytes).unwrap();
    bytes
}

#[test]
fn golden() {
    assert_eq!(bytes_of(&sample()), hex(GOLDEN));
    assert_eq!(decode(&hex(GOLDEN)).unwrap(), sample());
    assert_eq!(bytes_of(&Payload::default()), [0_u8; 0]);
    assert_eq!(decode(&[]).unwrap(), Payload::default());
}

#[test]
fn parts_are_read_alone() {
    let bytes = hex(GOLDEN);
    assert_eq!((document(&bytes).unwrap(), uri(&bytes).unwrap()), (Some("hi"), Some("u:1")));
    assert_eq!(metadata(&bytes).unwrap(), sample().metadata);
    assert_eq!((document(&[]).unwrap(), uri(&[]).unwrap(), metadata(&[]).unwrap()), (None, None, Metadata::new()));
    let empty_text = Payload { document: Some(String::new()), ..Payload::default() };
    assert_eq!(document(&bytes_of(&empty_text)).unwrap(), Some(""), "an empty text is not none");
}

/// One key of one byte with a truth: five bytes.
#[test]
fn as_many_keys_are_read_as_there_is_room_for() {
    let payload = Payload { metadata: [("a", Value::Bool(true))].into_iter().collect(), ..Payload::default() };
    let bytes = bytes_of(&payload);
    assert_eq!(decode(&bytes).unwrap(), payload);
    let error = decode(&patched(&bytes, 5, &[2])).unwrap_err();
    assert!(error.offset() == Some(5) && error.to_string().contains("2 metadata keys in 5 bytes"), "{error}");
}

/// A payload has no checksum of its own: what passes is the one way to write what it says.
#[test]
fn damage_is_survived_and_nothing_is_read_leniently() {
    let bytes = hex(GOLDEN);
    for (index, damaged) in flips(&bytes) {
        if let Ok(payload) = decode(&damaged) {
            assert_eq!(bytes_of(&payload), damaged, "byte {index}");
        }
    }
    assert!(cuts(&bytes).skip(1).all(|cut| decode(cut).is_err() && document(cut).is_err() && uri(cut).is_err()));
    assert!(decode(&[bytes, vec![0]].concat()).is_err());
}

#[test]
fn what_cannot_be_is_refused_at_its_offset() {
    let bytes = hex(GOLDEN);
    for (offset, patch, named) in [
        (0, &[0][..], 0),
        (0, &[8], 0),
        (1, &[0xFF; 4], 5),
        (5, &[0, 0], 5),
        (5, &[0xFF, 0xFF], 5),
        (5, &[7], 86),
        (7, &[0, 0], 7),
        (9, b"b", 16),
        (9, &[0xFF], 7),
        (10, &[9], 10),
        (10, &[0], 10),
        (15, &[0x80], 11),
        (44, &[2], 44),
        (49, &[0xFF; 4], 49),
        (66, &[0xFF, 0xFF, 0xFF, 0x7F], 66),
        (82, &[0xFF; 4], 82),
        (90, &[0xFF; 4], 90),
        (95, &[2], 95),
        (100, &[0xFF], 100),
    ] {
        let error = decode(&patched(&bytes, offset, patch)).unwrap_err();
        assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(named)), "{offset}: {error}");
    }
}

#[test]
fn limits_are_refused_and_leave_nothing_behind() {
    let text = |len| Some("x".repeat(len));
    let meta = |key: &str, value: Value| Metadata::new().with(key, value);
    // Count, key length, key, type and text length before the text itself.
    let around = 2 + 2 + 1 + 1 + 4;
    for (payload, good) in [
        (Payload { uri: text(URI_BYTES_MAX), ..Payload::default() }, true),
        (Payload { uri: text(URI_BYTES_MAX + 1), ..Payload::default() }, false),
        (Payload { document: text(DOCUMENT_BYTES_MAX), ..Payload::default() }, true),
        (Payload { document: text(DOCUMENT_BYTES_MAX + 1), ..Payload::default() }, false),
        (Payload { metadata: meta("k", Value::String("x".repeat(METADATA_BYTES_MAX - around))), ..Payload::default() }, true),
        (Payload { metadata: meta("k", Value::String("x".repeat(METADATA_BYTES_MAX - around + 1))), ..Payload::default() }, false),
        (Payload { metadata: meta("", Value::Bool(true)), ..Payload::default() }, false),
        (Payload { metadata: meta(&"k".repeat(65_535), Value::Bool(true)), ..Payload::default() }, true),
        (Payload { metadata: meta(&"k".repeat(65_536), Value::Bool(true)), ..Payload::default() }, false),
        (Payload { metadata: (0..65_535).map(|key| (key.to_string(), true)).collect(), ..Payload::default() }, true),
        (Payload { metadata: (0..65_536).map(|key| (key.to_string(), true)).collect(), ..Payload::default() }, false),
    ] {
        let mut out = vec![1, 2, 3];
        let result = encode(&payload, &mut out);
        assert_eq!(result.is_ok(), good, "{result:?}");
        if good {
            assert!(decode(&out[3..]).unwrap() == payload);
        } else {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument);
            assert_eq!(out, [1, 2, 3]);
        }
    }
}

#[test]
fn a_part_beyond_its_limit_is_not_read() {
    let mut encoded = bytes_of(&Payload { uri: Some("x".repeat(URI_BYTES_MAX)), ..Payload::default() });
    assert_eq!(encoded[1..5], (URI_BYTES_MAX as u32).to_le_bytes());
    encoded[1..5].copy_from_slice(&(URI_BYTES_MAX as u32 + 1).to_le_bytes());
    encoded.push(b'x');
    let error = decode(&encoded).unwrap_err();
    assert_eq!((error.kind(), error.offset()), (ErrorKind::Corruption, Some(1)), "{error}");
}

#[test]
fn floats_keep_every_bit() {
    for bits in [0x7FF8_0000_0000_0001, 0xFFF0_0000_0000_0001, 0x8000_0000_0000_0000, 1_u64] {
        let payload = Payload { metadata: Metadata::new().with("k", f64::from_bits(bits)), ..Payload::default() };
        match decode(&bytes_of(&payload)).unwrap().metadata.get("k") {
            Some(Value::F64(number)) => assert_eq!(number.to_bits(), bits),
            other => panic!("{other:?}"),
        }
    }
}

fn value() -> impl Strategy<Value = Value> {
    let finite = || prop::num::f64::NORMAL | prop::num::f64::ZERO | prop::num::f64::SUBNORMAL | prop::num::f64::INFINITE;
    prop_oneof![
        any::<String>().prop_map(Value::String),
        any::<i64>().prop_map(Value::I64),
        finite().prop_map(Value::F64),
        any::<bool>().prop_map(Value::Bool),
        prop::collection::vec(any::<String>(), 0..4).prop_map(Value::Strings),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(Value::I64s),
        prop::collection::vec(finite(), 0..4).prop_map(Value::F64s),
        prop::collection::vec(any::<bool>(), 0..4).prop_map(Value::Bools),
    ]
}

proptest! {
    #[test]
    fn round_trip(pairs in prop::collection::btree_map("\\PC{1,12}", value(), 0..8), document: Option<String>, uri: Option<String>) {
        let payload = Payload { metadata: pairs.into_iter().collect(), document, uri };
        prop_assert_eq!(decode(&bytes_of(&payload)).unwrap(), payload);
    }

    #[test]
    fn whatever_is_accepted_is_canonical(bytes in prop::collection::vec(0..10_u8, 0..40)) {
        if let Ok(payload) = decode(&bytes) {
            prop_assert_eq!(bytes_of(&payload), bytes);
        }
    }
}
