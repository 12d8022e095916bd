//! Small segment files in memory, and the rows that should be in them.

use super::builder::BuiltFile;
use super::{BuiltSegment, FileBuilder, KillSet, Segment, SegmentFile};
use crate::error::{Error, ErrorKind, Result};
use crate::format::identity::{FileKind, Identity};
use crate::format::manifest::{FileEntry, KillEntry, SegmentEntry};
use crate::format::payload;
use crate::io::bytes::f32s_as_bytes;
use crate::io::{Bytes, Environment, FileInfo, Lock, ReadFile, Storage, WriteFile};
use crate::options::{ChecksumMode, ReadMode};
use crate::sync::{Arc, AtomicBool, Mutex, Ordering};
use crate::types::{Codes, Dimension, FileId, Metadata, Payload};

/// A file in memory that counts its writes and fails on demand.
#[derive(Debug, Default)]
pub(super) struct TestFile {
    pub(super) bytes: Mutex<Vec<u8>>,
    pub(super) writes: Mutex<Vec<usize>>,
    pub(super) fails: AtomicBool,
}

impl TestFile {
    pub(super) fn of(bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self { bytes: Mutex::new(bytes.to_vec()), ..Self::default() })
    }

    fn check(&self) -> std::io::Result<()> {
        if self.fails.load(Ordering::Relaxed) { Err(std::io::Error::other("injected")) } else { Ok(()) }
    }
}

impl WriteFile for TestFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.check()?;
        let mut file = self.bytes.lock();
        assert_eq!(offset, file.len() as u64, "segment files are written front to back");
        file.extend_from_slice(bytes);
        self.writes.lock().push(bytes.len());
        Ok(())
    }

    fn allocate(&self, _: u64) -> std::io::Result<()> {
        self.check()
    }

    fn set_len(&self, _: u64) -> std::io::Result<()> {
        self.check()
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.check()
    }
}

impl ReadFile for TestFile {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.bytes.lock().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<()> {
        self.check()?;
        let file = self.bytes.lock();
        let part = file.get(offset as usize..offset as usize + buffer.len()).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(part);
        Ok(())
    }

    fn map(&self) -> std::io::Result<Bytes> {
        Ok(Bytes::copy_of(&self.bytes.lock()))
    }
}

/// A directory that can only be read: one file, or an error for every name.
#[derive(Debug)]
pub(super) struct OneFile {
    pub(super) name: &'static str,
    pub(super) file: Arc<TestFile>,
    pub(super) otherwise: std::io::ErrorKind,
}

impl Storage for OneFile {
    fn open_read(&self, name: &str) -> std::io::Result<Arc<dyn ReadFile>> {
        if name == self.name { Ok(Arc::<TestFile>::clone(&self.file)) } else { Err(self.otherwise.into()) }
    }

    fn create(&self, _: &str) -> std::io::Result<Arc<dyn WriteFile>> {
        unreachable!("read only")
    }

    fn open_write(&self, _: &str) -> std::io::Result<Arc<dyn WriteFile>> {
        unreachable!("read only")
    }

    fn publish(&self, _: &str, _: &[u8]) -> std::io::Result<()> {
        unreachable!("read only")
    }

    fn list(&self) -> std::io::Result<Vec<FileInfo>> {
        unreachable!("read only")
    }

    fn remove(&self, _: &str) -> std::io::Result<()> {
        unreachable!("read only")
    }

    fn sync_names(&self) -> std::io::Result<()> {
        unreachable!("read only")
    }

    fn lock(&self, _: &str) -> std::io::Result<Box<dyn Lock>> {
        unreachable!("read only")
    }

    fn is_locked(&self, _: &str) -> std::io::Result<bool> {
        unreachable!("read only")
    }

    fn link_into(&self, _: &str, _: &dyn Storage, _: &str) -> std::io::Result<bool> {
        unreachable!("read only")
    }

    fn environment(&self) -> &Environment {
        unreachable!("read only")
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct ModelRow {
    pub(super) id: Vec<u8>,
    pub(super) vector: Vec<f32>,
    pub(super) ordinal: u64,
    /// Encoded.
    pub(super) payload: Vec<u8>,
}

/// An encoded payload with a document, if `len` is not 0.
pub(super) fn document(len: usize, letter: char) -> Vec<u8> {
    let mut out = Vec::new();
    let document = (len > 0).then(|| letter.to_string().repeat(len));
    payload::encode(&Payload { document, metadata: Metadata::new(), uri: None }, &mut out).unwrap();
    out
}

/// Rows with ids `id-0000` and so on, different vectors, and a document for every third row.
pub(super) fn rows(count: usize, dimension: usize) -> Vec<ModelRow> {
    (0..count)
        .map(|row| ModelRow {
            id: format!("id-{row:06}").into_bytes(),
            vector: (0..dimension).map(|element| (row * 1000 + element) as f32 + 0.5).collect(),
            ordinal: (1 << 40) - row as u64,
            payload: if row % 3 == 1 { document(row + 5, 'x') } else { Vec::new() },
        })
        .collect()
}

pub(super) const IDENTITY: Identity = Identity { kind: FileKind::Segment, database: FileId([7; 16]), number: 42, file: FileId([9; 16]) };

/// A finished file and what the manifest would say about it.
#[derive(Clone)]
pub(super) struct Built {
    pub(super) bytes: Vec<u8>,
    pub(super) entry: FileEntry,
    pub(super) segments: Vec<SegmentEntry>,
    pub(super) models: Vec<(Dimension, Vec<ModelRow>)>,
    pub(super) kills: Option<KillEntry>,
}

/// The dimension from which segments have codes here.
const CODED_FROM: usize = 16;
pub(super) const SEED: u64 = 0xDEAD_BEEF;
pub(super) const KILLED: [u32; 3] = [0, 2, 3];
pub(super) const VICTIM: (u64, u32) = (77, 200);

/// A file with the given segments, then a kill block if wanted.
pub(super) fn build(models: &[(usize, Vec<ModelRow>)], with_kills: bool) -> Built {
    let file = TestFile::of(&[]);
    let mut builder = FileBuilder::new(Arc::<TestFile>::clone(&file), None, IDENTITY).unwrap();
    let mut built = Vec::new();
    for (number, (dimension, rows)) in models.iter().enumerate() {
        let codes = if *dimension >= CODED_FROM { Codes::Int8 } else { Codes::None };
        builder.begin(100 + number as u64, Dimension::new(*dimension).unwrap(), SEED, codes).unwrap();
        for row in rows {
            builder.add(&row.id, f32s_as_bytes(&row.vector), row.ordinal, &row.payload).unwrap();
        }
        let about = builder.segment_bytes();
        let segment = builder.end(5000 + number as u64).unwrap();
        let not_yet_compressed = rows.iter().map(|row| row.payload.len() as u64).max().unwrap() + (16 << 10);
        assert!(
            about <= segment.len + not_yet_compressed && segment.len <= about + 1024 + about / 1000,
            "about {about}, was {}",
            segment.len
        );
        assert_eq!((&segment.first_id, &segment.last_id), (&rows.first().unwrap().id, &rows.last().unwrap().id));
        built.push(segment);
    }
    let kills = with_kills.then(|| {
        let block = KillSet::empty(VICTIM.1).union(KILLED).to_block(VICTIM.0).unwrap();
        let place = builder.add_kills(&block).unwrap();
        KillEntry {
            count: KILLED.len() as u32,
            deleted_since: 1,
            file: IDENTITY.number,
            offset: place.offset,
            len: place.len,
            crc: place.crc,
        }
    });
    let (finished, _) = builder.finish().unwrap();
    let bytes = file.bytes.lock().clone();
    assert_eq!((finished.len, finished.bytes_written), (bytes.len() as u64, bytes.len() as u64));
    let models = models.iter().map(|(dimension, rows)| (Dimension::new(*dimension).unwrap(), rows.clone())).collect();
    Built { bytes, entry: file_entry(&finished), segments: built.iter().map(segment_entry).collect(), models, kills }
}

pub(super) fn file_entry(file: &BuiltFile) -> FileEntry {
    FileEntry {
        number: IDENTITY.number,
        origin_database: IDENTITY.database,
        origin_number: IDENTITY.number,
        file: IDENTITY.file,
        len: file.len,
        footer_crc: file.footer_crc,
    }
}

pub(super) fn segment_entry(built: &BuiltSegment) -> SegmentEntry {
    let &BuiltSegment { id, offset, len, footer_crc, rows, .. } = built;
    SegmentEntry { id, file: IDENTITY.number, offset, len, footer_crc, rows, kills: None }
}

pub(super) const MODES: [(ReadMode, ChecksumMode); 4] = [
    (ReadMode::Mapped, ChecksumMode::FirstTouch),
    (ReadMode::Mapped, ChecksumMode::EveryRead),
    (ReadMode::Copied, ChecksumMode::FirstTouch),
    (ReadMode::Copied, ChecksumMode::EveryRead),
];

impl Built {
    pub(super) fn open(&self, mode: ReadMode) -> Result<Arc<SegmentFile>> {
        SegmentFile::from_file(TestFile::of(&self.bytes), &self.entry, mode)
    }

    pub(super) fn segment(&self, index: usize, (mode, checks): (ReadMode, ChecksumMode)) -> Result<Arc<Segment>> {
        Segment::open(self.open(mode)?, &self.segments[index], self.models[index].0, checks)
    }

    /// Reads everything of a segment in every way: whatever is not an error must be right. The errors.
    pub(super) fn read_all(&self, index: usize, segment: &Arc<Segment>) -> Vec<Error> {
        let mut errors = Vec::new();
        let rows = &self.models[index].1;
        assert_eq!(segment.rows() as usize, rows.len());
        for (number, row) in rows.iter().enumerate() {
            let (wanted, mut id) = (number as u32, Vec::new());
            check(&mut errors, segment.find(&row.id), Some(wanted));
            check(&mut errors, segment.lower_bound(&row.id), wanted);
            check(&mut errors, segment.find(&[&row.id[..], b"\0"].concat()), None);
            check(&mut errors, segment.id_of(wanted, &mut id).map(|()| id), row.id.clone());
            check(&mut errors, segment.ordinal(wanted), row.ordinal);
            check(&mut errors, segment.row(wanted).map(|bytes| bits(&bytes)), bits(&row.vector));
            check(&mut errors, segment.payload(wanted).map(Option::unwrap_or_default), row.payload.clone());
            let group = segment.row_group(wanted);
            let group = group.map(|(rows, bytes)| (bytes[(wanted - rows.start) as usize * segment.dimension().stride()..]).to_vec());
            check(&mut errors, group.map(|bytes| bytes[..segment.dimension().bytes()].to_vec()), f32s_as_bytes(&row.vector).to_vec());
        }
        check(&mut errors, segment.first_id().map(<[u8]>::to_vec), rows.first().unwrap().id.clone());
        check(&mut errors, segment.last_id().map(<[u8]>::to_vec), rows.last().unwrap().id.clone());
        for start in [0, rows.len() / 2, rows.len()] {
            self.walk(index, segment, start, &mut errors);
        }
        errors
    }

    fn walk(&self, index: usize, segment: &Arc<Segment>, start: usize, errors: &mut Vec<Error>) {
        let mut cursor = segment.cursor(start as u32);
        for (number, row) in self.models[index].1.iter().enumerate().skip(start) {
            let advanced = cursor.advance();
            assert_eq!(cursor.row(), Some(number as u32));
            if advanced.is_ok() {
                assert_eq!(cursor.id(), row.id);
            }
            check(errors, advanced, Some(number as u32));
            check(errors, cursor.ordinal(), row.ordinal);
            check(errors, cursor.vector().map(<[u8]>::to_vec), f32s_as_bytes(&row.vector).to_vec());
            check(errors, cursor.payload().map(<[u8]>::to_vec), row.payload.clone());
        }
        check(errors, cursor.advance(), None);
        assert!(cursor.row().is_none() && cursor.id().is_empty() && cursor.vector().is_err());
    }
}

fn bits(vector: &[f32]) -> Vec<u32> {
    vector.iter().map(|element| element.to_bits()).collect()
}

/// Right, or an error about our file.
fn check<T: PartialEq + std::fmt::Debug>(errors: &mut Vec<Error>, got: Result<T>, wanted: T) {
    match got {
        Ok(value) => assert_eq!(value, wanted),
        Err(error) => {
            assert_corruption(&error);
            errors.push(error);
        }
    }
}

pub(super) fn assert_corruption(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Corruption, "{error}");
    assert_eq!(error.file(), Some("seg-00000042"), "{error}");
}
