//! A batch: resolved operations, one behind the other (specification, section 7).
//!
//! | kind u8 | operation | fields |
//! |---|---|---|
//! | 1 | create collection | u32 collection, schema 8, bytes16 name |
//! | 2 | drop collection | u32 collection |
//! | 3 | rename collection | u32 collection, bytes16 name |
//! | 4 | put | u32 collection, u8 flags (bit 0: replaces), u64 ordinal, bytes16 id, bytes32 payload, dimension × f32 |
//! | 5 | delete | u32 collection, bytes16 id |

use super::schema::{put_schema, read_name, read_schema};
use super::{Put, Reader};
use std::ops::Range;

use crate::error::{Error, Result};
use crate::types::{Codes, CollectionId, Dimension, Metric, Ordinal};

const CREATE: u8 = 1;
const DROP: u8 = 2;
const RENAME: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;
const REPLACES: u8 = 1;
/// Kind and collection stand before the flags of a put, these before its ordinal.
const FLAGS_AT: usize = 5;
const ORDINAL_AT: usize = 6;

/// One operation. Replaying it needs no look-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    CreateCollection {
        id: CollectionId,
        dimension: Dimension,
        metric: Metric,
        codes: Codes,
        name: &'a str,
    },
    DropCollection {
        id: CollectionId,
    },
    RenameCollection {
        id: CollectionId,
        name: &'a str,
    },
    Put {
        collection: CollectionId,
        /// A record with this id was there.
        replaces: bool,
        ordinal: Ordinal,
        id: &'a [u8],
        /// Encoded, see [`super::payload`].
        payload: &'a [u8],
        /// Raw bytes of the elements, in any alignment.
        vector: &'a [u8],
    },
    Delete {
        collection: CollectionId,
        id: &'a [u8],
    },
}

impl Operation<'_> {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Self::CreateCollection { id, dimension, metric, codes, name } => {
                out.put_u8(CREATE);
                out.put_u32(id);
                put_schema(out, dimension, metric, codes);
                out.put_bytes16(name.as_bytes());
            }
            Self::DropCollection { id } => {
                out.put_u8(DROP);
                out.put_u32(id);
            }
            Self::RenameCollection { id, name } => {
                out.put_u8(RENAME);
                out.put_u32(id);
                out.put_bytes16(name.as_bytes());
            }
            Self::Put { collection, replaces, ordinal, id, payload, vector } => {
                out.put_u8(PUT);
                out.put_u32(collection);
                out.put_u8(if replaces { REPLACES } else { 0 });
                out.put_u64(ordinal);
                out.put_bytes16(id);
                out.put_bytes32(payload);
                out.put(vector);
            }
            Self::Delete { collection, id } => {
                out.put_u8(DELETE);
                out.put_u32(collection);
                out.put_bytes16(id);
            }
        }
    }
}

/// Where the parts of an encoded put or delete stand; what a delete does not have is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) id: Range<usize>,
    pub(crate) payload: Range<usize>,
    pub(crate) vector: Range<usize>,
}

impl Parts {
    /// Of a put that begins at an offset, by the lengths of its parts.
    pub(crate) fn of_put(at: usize, id: usize, payload: usize, vector: usize) -> Self {
        let id = at + ORDINAL_AT + 10..at + ORDINAL_AT + 10 + id;
        let payload = id.end + 4..id.end + 4 + payload;
        Self { vector: payload.end..payload.end + vector, id, payload }
    }

    /// Of a delete that begins at an offset, by the length of its id.
    pub(crate) fn of_delete(at: usize, id: usize) -> Self {
        let end = at + FLAGS_AT + 2 + id;
        Self { id: end - id..end, payload: end..end, vector: end..end }
    }

    /// Behind the operation.
    pub(crate) fn end(&self) -> usize {
        self.vector.end
    }

    /// The same of an operation that stands elsewhere.
    pub(crate) fn moved(&self, from: usize, to: usize) -> Self {
        let moved = |range: &Range<usize>| range.start - from + to..range.end - from + to;
        Self { id: moved(&self.id), payload: moved(&self.payload), vector: moved(&self.vector) }
    }
}

/// Enters into an encoded put what is known once its batch is committed.
pub(crate) fn settle_put(put: &mut [u8], replaces: bool, ordinal: Ordinal) {
    if let Some(flags) = put.get_mut(FLAGS_AT) {
        *flags = if replaces { REPLACES } else { 0 };
    }
    if let Some(bytes) = put.get_mut(ORDINAL_AT..ORDINAL_AT + 8) {
        bytes.copy_from_slice(&ordinal.to_le_bytes());
    }
}

/// The operations of an encoded batch.
#[derive(Clone, Debug)]
pub(crate) struct Operations<'a> {
    reader: Reader<'a>,
}

impl<'a> Operations<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { reader: Reader::new(bytes) }
    }

    /// Offset in the batch of the next operation.
    pub(crate) fn position(&self) -> u64 {
        self.reader.position()
    }

    /// The next operation. `dimension_of` must know the collections that earlier operations of this batch created.
    pub(crate) fn next(&mut self, dimension_of: impl Fn(CollectionId) -> Option<Dimension>) -> Result<Option<Operation<'a>>> {
        let reader = &mut self.reader;
        let at = reader.position();
        if at > 0 && reader.remaining() == 0 {
            return Ok(None);
        }
        let kind = reader.u8()?;
        let operation = match kind {
            CREATE => {
                let id = read_collection(reader)?;
                let (dimension, metric, codes) = read_schema(reader)?;
                Operation::CreateCollection { id, dimension, metric, codes, name: read_name(reader)? }
            }
            DROP => Operation::DropCollection { id: read_collection(reader)? },
            RENAME => Operation::RenameCollection { id: read_collection(reader)?, name: read_name(reader)? },
            PUT => read_put(reader, dimension_of)?,
            DELETE => Operation::Delete { collection: read_collection(reader)?, id: read_id(reader)? },
            _ => return Err(Error::corruption(format!("operation {kind} is unknown")).at(at)),
        };
        Ok(Some(operation))
    }
}

fn read_put<'a>(reader: &mut Reader<'a>, dimension_of: impl Fn(CollectionId) -> Option<Dimension>) -> Result<Operation<'a>> {
    let at = reader.position();
    let collection = read_collection(reader)?;
    let unknown = || Error::corruption(format!("collection {collection} does not exist")).at(at);
    let dimension = dimension_of(collection).ok_or_else(unknown)?;
    let flags = reader.u8()?;
    if flags & !REPLACES != 0 {
        return Err(Error::corruption(format!("flags {flags:#x} of a put are unknown")).at(at + 4));
    }
    Ok(Operation::Put {
        collection,
        replaces: flags & REPLACES != 0,
        ordinal: reader.u64()?,
        id: read_id(reader)?,
        payload: reader.bytes32()?,
        vector: reader.take(dimension.bytes())?,
    })
}

fn read_collection(reader: &mut Reader<'_>) -> Result<CollectionId> {
    let at = reader.position();
    match reader.u32()? {
        0 => Err(Error::corruption("collection id 0 is impossible").at(at)),
        id => Ok(id),
    }
}

fn read_id<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let at = reader.position();
    match reader.bytes16()? {
        [] => Err(Error::corruption("an id has no bytes").at(at)),
        id => Ok(id),
    }
}

#[cfg(test)]
mod tests {
    use super::{Operation, Operations, Parts, settle_put};
    use crate::error::Result;
    use crate::format::testing::{cuts, flips, hex, patched};
    use crate::types::{Codes, Dimension, Metric};
    use proptest::prelude::*;

    const GOLDEN: &str = "
        01 09000000 03000000 01 00 0000 0400646f6373
        02 09000000
        03 09000000 010078
        04 09000000 01 0500000000000000 02006964 00000000 000000000000803f00002040
        05 09000000 02006964";

    fn dimension(elements: usize) -> Dimension {
        Dimension::new(elements).unwrap()
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Operation<'_>>> {
        let mut operations = Operations::new(bytes);
        std::iter::from_fn(|| operations.next(|id| (id % 2 == 1).then(|| dimension(3))).transpose()).collect()
    }

    fn encode(operations: &[Operation<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        operations.iter().for_each(|operation| operation.encode(&mut bytes));
        bytes
    }

    #[test]
    fn golden() {
        let vector: Vec<u8> = [0.0_f32, 1.0, 2.5].into_iter().flat_map(f32::to_le_bytes).collect();
        let operations = [
            Operation::CreateCollection { id: 9, dimension: dimension(3), metric: Metric::Cosine, codes: Codes::None, name: "docs" },
            Operation::DropCollection { id: 9 },
            Operation::RenameCollection { id: 9, name: "x" },
            Operation::Put { collection: 9, replaces: true, ordinal: 5, id: b"id", payload: b"", vector: &vector },
            Operation::Delete { collection: 9, id: b"id" },
        ];
        assert_eq!(encode(&operations), hex(GOLDEN));
        assert_eq!(decode(&hex(GOLDEN)).unwrap(), operations);
        let with_codes = patched(&hex(GOLDEN), 10, &[1]);
        assert!(matches!(decode(&with_codes).unwrap()[0], Operation::CreateCollection { codes: Codes::Int8, .. }));
    }

    #[test]
    fn a_settled_put_is_the_put_encoded_at_once() {
        for (id, payload, vector) in [(&b"id"[..], &b""[..], &[7; 12][..]), (b"x", b"payload", &[9; 12]), (b"none", b"", b"")] {
            let put = |replaces, ordinal| Operation::Put { collection: 9, replaces, ordinal, id, payload, vector };
            let mut bytes = encode(&[put(false, 0)]);
            let parts = Parts::of_put(0, id.len(), payload.len(), vector.len());
            assert_eq!((&bytes[parts.id.clone()], &bytes[parts.payload.clone()], &bytes[parts.vector.clone()]), (id, payload, vector));
            assert_eq!(parts.end(), bytes.len());
            assert_eq!(Parts::of_put(70, id.len(), payload.len(), vector.len()), parts.moved(0, 70));
            assert_eq!(parts.moved(0, 70).moved(70, 0), parts);
            settle_put(&mut bytes, true, 0x0123_4567_89AB_CDEF);
            assert_eq!(bytes, encode(&[put(true, 0x0123_4567_89AB_CDEF)]));
            settle_put(&mut bytes, false, 1);
            assert_eq!(bytes, encode(&[put(false, 1)]));
        }
        let bytes = encode(&[Operation::Delete { collection: 9, id: b"gone" }]);
        let parts = Parts::of_delete(0, 4);
        assert_eq!((&bytes[parts.id.clone()], parts.end()), (&b"gone"[..], bytes.len()));
    }

    #[test]
    fn position_is_where_the_next_operation_begins() {
        let bytes = hex(GOLDEN);
        let mut operations = Operations::new(&bytes);
        for position in [0, 19, 24, 32, 66] {
            assert_eq!(operations.position(), position);
            assert!(operations.next(|_| Some(dimension(3))).unwrap().is_some());
        }
        assert_eq!(operations.position(), bytes.len() as u64);
    }

    /// A batch has no checksum of its own, its frames have: damage is either refused or is another canonical batch.
    #[test]
    fn damage_is_survived_and_nothing_is_read_leniently() {
        let bytes = hex(GOLDEN);
        for (index, damaged) in flips(&bytes) {
            if let Ok(operations) = decode(&damaged) {
                assert_eq!(encode(&operations), damaged, "byte {index}");
            }
        }
        let borders = [0, 19, 24, 32, 66];
        for cut in cuts(&bytes) {
            assert_eq!(decode(cut).is_ok(), !cut.is_empty() && borders.contains(&cut.len()), "{}", cut.len());
        }
    }

    #[test]
    fn what_cannot_be_is_refused_at_its_offset() {
        let bytes = hex(GOLDEN);
        for (offset, patch, named) in [
            (0, &[6][..], 0),
            (0, &[0], 0),
            (1, &[0], 1),
            (5, &[0], 5),
            (7, &[1], 5),
            (9, &[3], 9),
            (10, &[2], 10),
            (11, &[1], 11),
            (15, b"/", 13),
            (15, &[0xFF], 13),
            (20, &[0], 20),
            (33, &[8], 33),
            (37, &[2], 37),
            (46, &[0, 0], 46),
            (50, &[0xFF; 4], 54),
        ] {
            let error = decode(&patched(&bytes, offset, patch)).unwrap_err();
            assert_eq!(error.offset(), Some(named), "{offset}: {error}");
        }
    }

    prop_compose! {
        fn record()(collection in (0..1000_u32).prop_map(|half| 2 * half + 1), replaces: bool, ordinal: u64,
            id in prop::collection::vec(any::<u8>(), 1..40), payload in prop::collection::vec(any::<u8>(), 0..40), vector: [u8; 12])
            -> (u32, bool, u64, Vec<u8>, Vec<u8>, [u8; 12]) {
            (collection, replaces, ordinal, id, payload, vector)
        }
    }

    proptest! {
        #[test]
        fn round_trip(records in prop::collection::vec((0..5, record()), 1..20), name in "[^/\\\\\\p{Cc}.]{1,60}", elements in 1..=65_535_usize,
            metric in prop::sample::select(&Metric::ALL), codes in prop::sample::select(&Codes::ALL)) {
            let operations: Vec<Operation<'_>> = records.iter().map(|(kind, (collection, replaces, ordinal, id, payload, vector))| match kind {
                0 => Operation::CreateCollection { id: *collection, dimension: dimension(elements), metric, codes, name: &name },
                1 => Operation::DropCollection { id: *collection },
                2 => Operation::RenameCollection { id: *collection, name: &name },
                3 => Operation::Put { collection: *collection, replaces: *replaces, ordinal: *ordinal, id, payload, vector },
                _ => Operation::Delete { collection: *collection, id },
            }).collect();
            let bytes = encode(&operations);
            prop_assert_eq!(decode(&bytes).unwrap(), operations);
        }

        #[test]
        fn whatever_is_accepted_is_canonical(bytes in prop::collection::vec(0..8_u8, 0..60)) {
            if let Ok(operations) = decode(&bytes) {
                prop_assert_eq!(encode(&operations), bytes);
            }
        }
    }
}
