//! How the vectors of a collection are stored and compared: 8 bytes in the manifest and in batches.
//!
//! | offset | width | field |
//! |---|---|---|
//! | 0 | 4 | dimension |
//! | 4 | 1 | metric: 0 l2, 1 cosine, 2 dot |
//! | 5 | 1 | storage: 0 f32, 1 f32 and int8 codes |
//! | 6 | 2 | reserved |

use super::{Put, Reader};
use crate::error::{Error, Result};
use crate::types::{Codes, Dimension, Metric, check_collection_name};

pub(super) fn put_schema(out: &mut Vec<u8>, dimension: Dimension, metric: Metric, codes: Codes) {
    out.put_u32(dimension.as_u32());
    out.put_u8(match metric {
        Metric::L2 => 0,
        Metric::Cosine => 1,
        Metric::Dot => 2,
    });
    out.put_u8(match codes {
        Codes::None => 0,
        Codes::Int8 => 1,
    });
    out.put_u16(0);
}

pub(super) fn read_schema(reader: &mut Reader<'_>) -> Result<(Dimension, Metric, Codes)> {
    let at = reader.position();
    let elements = reader.u32()?;
    let dimension =
        Dimension::new(elements as usize).map_err(|_| Error::corruption(format!("dimension {elements} is impossible")).at(at))?;
    let number = reader.u8()?;
    let metric = Metric::ALL.get(usize::from(number)).copied();
    let metric = metric.ok_or_else(|| Error::corruption(format!("metric {number} is unknown")).at(at + 4))?;
    let storage = reader.u8()?;
    let codes = Codes::ALL.get(usize::from(storage)).copied();
    let codes = codes.ok_or_else(|| Error::corruption(format!("storage {storage} is unknown")).at(at + 5))?;
    reader.zeros(2)?;
    Ok((dimension, metric, codes))
}

/// A `bytes16` name of a collection, checked as on creation.
pub(super) fn read_name<'a>(reader: &mut Reader<'a>) -> Result<&'a str> {
    let at = reader.position();
    let name = reader.text16()?;
    check_collection_name(name).map_err(|error| Error::corruption(error.to_string()).at(at))?;
    Ok(name)
}
