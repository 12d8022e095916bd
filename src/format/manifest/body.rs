//! Body of a manifest: fixed fields, then logs, segment files and collections, each with a count in front.
//!
//! | part | fields |
//! |---|---|
//! | head | flushed_through u64, next_file u64, next_segment u64, next_collection u32 |
//! | log (37) | number u64, file id 16, state u8, end u64, chain u32 |
//! | file (60) | number u64, origin database id 16, origin number u64, file id 16, length u64, footer CRC u32 |
//! | collection (26 + name) | id u32, schema 8, next_ordinal u64, name bytes16, runs |
//! | segment (76) | id u64, file u64, offset u64, length u64, footer CRC u32, rows u32, killed u32, deleted since u64, file u64, offset u64, length u32, CRC u32 |

use super::{CollectionEntry, FileEntry, KillEntry, LogEntry, Manifest, Sealed, SegmentEntry};
use crate::error::{Error, Result};
use crate::format::identity::Identity;
use crate::format::schema::{put_schema, read_name, read_schema};
use crate::format::{Put, Reader};

const LOG_BYTES: usize = 37;
const FILE_BYTES: usize = 60;
const COLLECTION_BYTES_MIN: usize = 26;
const RUN_BYTES_MIN: usize = 4;
const SEGMENT_BYTES: usize = 76;

impl Manifest {
    pub(super) fn encode_body(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_u64(self.flushed_through);
        out.put_u64(self.next_file);
        out.put_u64(self.next_segment);
        out.put_u32(self.next_collection);
        put_list(&mut out, &self.logs, LogEntry::encode);
        put_list(&mut out, &self.files, FileEntry::encode);
        put_list(&mut out, &self.collections, CollectionEntry::encode);
        out
    }

    pub(super) fn decode_body(identity: &Identity, body: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(body);
        let manifest = Self {
            database: identity.database,
            number: identity.number,
            flushed_through: reader.u64()?,
            next_file: reader.u64()?,
            next_segment: reader.u64()?,
            next_collection: reader.u32()?,
            logs: read_list(&mut reader, LOG_BYTES, LogEntry::decode)?,
            files: read_list(&mut reader, FILE_BYTES, FileEntry::decode)?,
            collections: read_list(&mut reader, COLLECTION_BYTES_MIN, CollectionEntry::decode)?,
        };
        reader.finish()?;
        Ok(manifest)
    }
}

fn put_list<T>(out: &mut Vec<u8>, entries: &[T], encode: impl Fn(&T, &mut Vec<u8>)) {
    out.put_count(entries.len());
    entries.iter().for_each(|entry| encode(entry, out));
}

fn read_list<T>(reader: &mut Reader<'_>, bytes_min: usize, decode: impl Fn(&mut Reader<'_>) -> Result<T>) -> Result<Vec<T>> {
    (0..reader.count(bytes_min)?).map(|_| decode(reader)).collect()
}

impl LogEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_file_id(self.file);
        out.put_u8(self.sealed.is_some().into());
        let Sealed { end, chain } = self.sealed.unwrap_or(Sealed { end: 0, chain: 0 });
        out.put_u64(end);
        out.put_u32(chain);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let (number, file) = (reader.u64()?, reader.file_id()?);
        let at = reader.position();
        let (state, sealed) = (reader.u8()?, Sealed { end: reader.u64()?, chain: reader.u32()? });
        let sealed = match state {
            0 if sealed == (Sealed { end: 0, chain: 0 }) => None,
            0 => return Err(Error::corruption("an open log has no end").at(at + 1)),
            1 => Some(sealed),
            _ => return Err(Error::corruption(format!("log state {state} is unknown")).at(at)),
        };
        Ok(Self { number, file, sealed })
    }
}

impl FileEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.number);
        out.put_file_id(self.origin_database);
        out.put_u64(self.origin_number);
        out.put_file_id(self.file);
        out.put_u64(self.len);
        out.put_u32(self.footer_crc);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            number: reader.u64()?,
            origin_database: reader.file_id()?,
            origin_number: reader.u64()?,
            file: reader.file_id()?,
            len: reader.u64()?,
            footer_crc: reader.u32()?,
        })
    }
}

impl CollectionEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.id);
        put_schema(out, self.dimension, self.metric, self.codes);
        out.put_u64(self.next_ordinal);
        out.put_bytes16(self.name.as_bytes());
        put_list(out, &self.runs, |run, out| put_list(out, run, SegmentEntry::encode));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let id = reader.u32()?;
        let (dimension, metric, codes) = read_schema(reader)?;
        let next_ordinal = reader.u64()?;
        let name = read_name(reader)?.to_owned();
        let runs = read_list(reader, RUN_BYTES_MIN, |reader| read_list(reader, SEGMENT_BYTES, SegmentEntry::decode))?;
        Ok(Self { id, dimension, metric, codes, next_ordinal, name, runs })
    }
}

impl SegmentEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u64(self.id);
        out.put_u64(self.file);
        out.put_u64(self.offset);
        out.put_u64(self.len);
        out.put_u32(self.footer_crc);
        out.put_u32(self.rows);
        self.kills.unwrap_or(NO_KILLS).encode(out);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            id: reader.u64()?,
            file: reader.u64()?,
            offset: reader.u64()?,
            len: reader.u64()?,
            footer_crc: reader.u32()?,
            rows: reader.u32()?,
            kills: KillEntry::decode(reader)?,
        })
    }
}

const NO_KILLS: KillEntry = KillEntry { count: 0, deleted_since: 0, file: 0, offset: 0, len: 0, crc: 0 };

impl KillEntry {
    fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.count);
        out.put_u64(self.deleted_since);
        out.put_u64(self.file);
        out.put_u64(self.offset);
        out.put_u32(self.len);
        out.put_u32(self.crc);
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Option<Self>> {
        let at = reader.position();
        let entry = Self {
            count: reader.u32()?,
            deleted_since: reader.u64()?,
            file: reader.u64()?,
            offset: reader.u64()?,
            len: reader.u32()?,
            crc: reader.u32()?,
        };
        match entry {
            NO_KILLS => Ok(None),
            Self { count: 0, .. } => Err(Error::corruption("a kill block is named that kills nothing").at(at)),
            entry => Ok(Some(entry)),
        }
    }
}
