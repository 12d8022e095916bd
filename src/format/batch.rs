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
use crate::error::{Error, Result};
use crate::types::{CollectionId, Dimension, Metric, Ordinal};

const CREATE: u8 = 1;
const DROP: u8 = 2;
const RENAME: u8 = 3;
const PUT: u8 = 4;
const DELETE: u8 = 5;
const REPLACES: u8 = 1;

/// One operation. Replaying it needs no look-ups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation<'a> {
    CreateCollection {
        id: CollectionId,
        dimension: Dimension,
        metric: Metric,
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
            Self::CreateCollection { id, dimension, metric, name } => {
                out.put_u8(CREATE);
                out.put_u32(id);
                put_schema(out, dimension, metric);
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
                let (dimension, metric) = read_schema(reader)?;
                Operation::CreateCollection { id, dimension, metric, name: read_name(reader)? }
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
