//! Payload of a record: metadata, document, uri (specification, section 9).
//!
//! | field | width |
//! |---|---|
//! | flags: bit 0 metadata, bit 1 document, bit 2 uri | u8 |
//! | for each flag set, in this order | bytes32 |
//!
//! Metadata: u16 count, then per key in ascending byte order: bytes16 key, u8 type, value.
//!
//! | type | value |
//! |---|---|
//! | 1 string | bytes32 |
//! | 2 i64, 3 f64 | 8 |
//! | 4 bool | u8 |
//! | 5 to 8 array of string, i64, f64, bool | u32 count, then the values |

mod metadata;
#[cfg(test)]
mod tests;

use super::{Put, Reader};
use crate::error::{Error, Result};
use crate::types::{DOCUMENT_BYTES_MAX, METADATA_BYTES_MAX, Metadata, Payload, URI_BYTES_MAX};

const METADATA: u8 = 1;
const DOCUMENT: u8 = 2;
const URI: u8 = 4;

/// Appends the payload; nothing at all if it is empty or refused.
pub(crate) fn encode(payload: &Payload, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    let result = encode_fields(payload, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn encode_fields(payload: &Payload, out: &mut Vec<u8>) -> Result<()> {
    if payload.is_empty() {
        return Ok(());
    }
    let flag = |present: bool, bit: u8| if present { bit } else { 0 };
    let metadata = flag(!payload.metadata.is_empty(), METADATA);
    out.put_u8(metadata | flag(payload.document.is_some(), DOCUMENT) | flag(payload.uri.is_some(), URI));
    if metadata != 0 {
        let mut bytes = Vec::new();
        metadata::encode(&payload.metadata, &mut bytes)?;
        check_len("metadata", bytes.len(), METADATA_BYTES_MAX)?;
        out.put_bytes32(&bytes);
    }
    if let Some(document) = &payload.document {
        check_len("a document", document.len(), DOCUMENT_BYTES_MAX)?;
        out.put_bytes32(document.as_bytes());
    }
    if let Some(uri) = &payload.uri {
        check_len("a uri", uri.len(), URI_BYTES_MAX)?;
        out.put_bytes32(uri.as_bytes());
    }
    Ok(())
}

fn check_len(what: &str, len: usize, max: usize) -> Result<()> {
    if len <= max { Ok(()) } else { Err(Error::invalid(format!("{what} of {len} bytes refused: at most {max}"))) }
}

/// Reads all of it.
pub(crate) fn decode(bytes: &[u8]) -> Result<Payload> {
    let parts = Parts::read(bytes)?;
    Ok(Payload { metadata: parts.metadata()?, document: parts.document()?.map(str::to_owned), uri: parts.uri()?.map(str::to_owned) })
}

/// The document alone.
pub(crate) fn document(bytes: &[u8]) -> Result<Option<&str>> {
    Parts::read(bytes)?.document()
}

/// The metadata alone; empty if there is none.
pub(crate) fn metadata(bytes: &[u8]) -> Result<Metadata> {
    Parts::read(bytes)?.metadata()
}

/// The uri alone.
pub(crate) fn uri(bytes: &[u8]) -> Result<Option<&str>> {
    Parts::read(bytes)?.uri()
}

/// The parts as they stand, with their offsets.
#[derive(Default)]
struct Parts<'a> {
    metadata: Option<(u64, &'a [u8])>,
    document: Option<(u64, &'a [u8])>,
    uri: Option<(u64, &'a [u8])>,
}

impl<'a> Parts<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(bytes);
        let flags = reader.u8()?;
        if flags == 0 || flags > METADATA | DOCUMENT | URI {
            return Err(Error::corruption(format!("payload flags {flags:#x} are unknown")).at(0));
        }
        let mut part = |bit: u8, max: usize| -> Result<Option<(u64, &'a [u8])>> {
            if flags & bit == 0 {
                return Ok(None);
            }
            let at = reader.position();
            let part = reader.bytes32()?;
            if part.len() > max {
                return Err(Error::corruption(format!("part of a payload has {} bytes, at most {max} are possible", part.len())).at(at));
            }
            Ok(Some((at + 4, part)))
        };
        let parts = Self {
            metadata: part(METADATA, METADATA_BYTES_MAX)?,
            document: part(DOCUMENT, DOCUMENT_BYTES_MAX)?,
            uri: part(URI, URI_BYTES_MAX)?,
        };
        reader.finish()?;
        Ok(parts)
    }

    fn metadata(&self) -> Result<Metadata> {
        let Some((offset, bytes)) = self.metadata else { return Ok(Metadata::new()) };
        metadata::decode(bytes).map_err(|error| error.shifted(offset))
    }

    fn document(&self) -> Result<Option<&'a str>> {
        text(self.document)
    }

    fn uri(&self) -> Result<Option<&'a str>> {
        text(self.uri)
    }
}

fn text(part: Option<(u64, &[u8])>) -> Result<Option<&str>> {
    let Some((offset, bytes)) = part else { return Ok(None) };
    std::str::from_utf8(bytes).map(Some).map_err(|_| Error::corruption("text is not UTF-8").at(offset))
}
