use crate::error::{Error, Result};
use crate::format::{Put, Reader};
use crate::types::{Metadata, Value};

const STRING: u8 = 1;
const I64: u8 = 2;
const F64: u8 = 3;
const BOOL: u8 = 4;
/// What the type of an array is above that of its elements.
const ARRAY: u8 = 4;

const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// Count, then one key of one byte, its type and the shortest value.
const PAIR_BYTES_MIN: usize = 5;

pub(super) fn encode(metadata: &Metadata, out: &mut Vec<u8>) -> Result<()> {
    let too_many = |_| Error::invalid(format!("metadata of {} keys refused: at most {}", metadata.len(), u16::MAX));
    out.put_u16(u16::try_from(metadata.len()).map_err(too_many)?);
    for (key, value) in metadata.iter() {
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(Error::invalid(format!("a metadata key of {} bytes refused: 1 to {KEY_BYTES_MAX}", key.len())));
        }
        out.put_bytes16(key.as_bytes());
        encode_value(value, out)?;
    }
    Ok(())
}

fn encode_value(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    match value {
        Value::String(text) => put_one(out, STRING, text, put_text),
        Value::I64(number) => put_one(out, I64, number, put_i64),
        Value::F64(number) => put_one(out, F64, number, put_f64),
        Value::Bool(truth) => put_one(out, BOOL, truth, put_bool),
        Value::Strings(texts) => put_array(out, STRING, texts, put_text),
        Value::I64s(numbers) => put_array(out, I64, numbers, put_i64),
        Value::F64s(numbers) => put_array(out, F64, numbers, put_f64),
        Value::Bools(truths) => put_array(out, BOOL, truths, put_bool),
    }
}

type PutElement<T> = fn(&mut Vec<u8>, &T) -> Result<()>;

fn put_one<T>(out: &mut Vec<u8>, kind: u8, value: &T, put: PutElement<T>) -> Result<()> {
    out.put_u8(kind);
    put(out, value)
}

fn put_array<T>(out: &mut Vec<u8>, kind: u8, values: &[T], put: PutElement<T>) -> Result<()> {
    out.put_u8(kind + ARRAY);
    out.put_u32(len32(values.len())?);
    values.iter().try_for_each(|value| put(out, value))
}

/// A length that cannot be written is far above the limit of all metadata together.
fn len32(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::invalid(format!("a metadata value of length {len} refused")))
}

fn put_text(out: &mut Vec<u8>, text: &String) -> Result<()> {
    out.put_u32(len32(text.len())?);
    out.put(text.as_bytes());
    Ok(())
}

fn put_i64(out: &mut Vec<u8>, number: &i64) -> Result<()> {
    out.put_u64(number.cast_unsigned());
    Ok(())
}

fn put_f64(out: &mut Vec<u8>, number: &f64) -> Result<()> {
    out.put_u64(number.to_bits());
    Ok(())
}

fn put_bool(out: &mut Vec<u8>, truth: &bool) -> Result<()> {
    out.put_u8((*truth).into());
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Metadata> {
    let mut reader = Reader::new(bytes);
    let count = reader.u16()?;
    if count == 0 || usize::from(count) > reader.remaining() / PAIR_BYTES_MIN {
        return Err(Error::corruption(format!("{count} metadata keys in {} bytes", reader.remaining())).at(0));
    }
    let mut metadata = Metadata::new();
    let mut last = "";
    for _ in 0..count {
        let at = reader.position();
        let key = reader.text16()?;
        // The empty key sorts first, so this refuses it as well.
        if key <= last {
            return Err(Error::corruption("metadata keys do not ascend").at(at));
        }
        metadata.insert(key, decode_value(&mut reader)?);
        last = key;
    }
    reader.finish()?;
    Ok(metadata)
}

fn decode_value(reader: &mut Reader<'_>) -> Result<Value> {
    let at = reader.position();
    Ok(match reader.u8()? {
        STRING => Value::String(read_text(reader)?),
        I64 => Value::I64(read_i64(reader)?),
        F64 => Value::F64(read_f64(reader)?),
        BOOL => Value::Bool(read_bool(reader)?),
        5 => Value::Strings(read_array(reader, 4, read_text)?),
        6 => Value::I64s(read_array(reader, 8, read_i64)?),
        7 => Value::F64s(read_array(reader, 8, read_f64)?),
        8 => Value::Bools(read_array(reader, 1, read_bool)?),
        kind => return Err(Error::corruption(format!("metadata type {kind} is unknown")).at(at)),
    })
}

fn read_array<T>(reader: &mut Reader<'_>, bytes_min: usize, read: fn(&mut Reader<'_>) -> Result<T>) -> Result<Vec<T>> {
    (0..reader.count(bytes_min)?).map(|_| read(reader)).collect()
}

fn read_text(reader: &mut Reader<'_>) -> Result<String> {
    reader.text32().map(str::to_owned)
}

fn read_i64(reader: &mut Reader<'_>) -> Result<i64> {
    reader.u64().map(u64::cast_signed)
}

fn read_f64(reader: &mut Reader<'_>) -> Result<f64> {
    reader.u64().map(f64::from_bits)
}

fn read_bool(reader: &mut Reader<'_>) -> Result<bool> {
    let at = reader.position();
    match reader.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        byte => Err(Error::corruption(format!("{byte} is not a truth value")).at(at)),
    }
}
