use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        crc,
        identity::{FileKind, Identity},
        log::{
            ACTIVATION_OFFSETS, Activation, Chain, FRAME_ALIGN, FRAME_BODY_MAX, FRAME_HEADER_BYTES, FRAMES_START, FrameHeader,
            LOG_BYTES_MIN, frame_bytes,
        },
        manifest::{LogEntry, Sealed},
        names::log_name,
    },
    io::{Storage, WriteFile},
    sync::Arc,
    types::{FileId, FileNumber, Sequence},
};

/// Smallest preallocation; an idle database keeps two files of this size.
const ALLOCATION_MIN: u64 = LOG_BYTES_MIN;
/// Bytes after which writing to the device begins, so that the sync at the end of a log is short.
const WRITE_BEHIND_BYTES: u64 = 1 << 20;
/// Largest step of preallocation.
const ALLOCATION_STEP_MAX: u64 = 8 << 20;
static ZEROS: [u8; FRAME_ALIGN] = [0; FRAME_ALIGN];

/// A preallocated log without activation: named in a manifest before it is used.
#[derive(Debug)]
pub(crate) struct SpareLog {
    file: Arc<dyn WriteFile>,
    number: FileNumber,
    id: FileId,
}

impl SpareLog {
    /// Makes the file and syncs its header; its name is made durable by the publication that names it.
    pub(crate) fn create(storage: &dyn Storage, database: FileId, number: FileNumber, id: FileId) -> Result<Self> {
        let name = log_name(number);
        let identity = Identity { kind: FileKind::Log, database, number, file: id };
        let make = || {
            let file = storage.create(&name)?;
            file.allocate(ALLOCATION_MIN)?;
            file.write_at(0, &identity.encode())?;
            Ok(file)
        };
        let failed = |source| Error::io(format_args!("create {name}"), source).in_file(&*name);
        let made = make().map_err(failed).and_then(|file| {
            file.sync_data().map_err(|source| failed(source).of_sync())?;
            Ok(file)
        });
        if made.is_err() {
            // Best effort: what stays is an orphan that the next open collects.
            let _unfinished = storage.remove(&name);
        }
        Ok(Self { file: made?, number, id })
    }

    pub(crate) fn entry(&self) -> LogEntry {
        LogEntry { number: self.number, file: self.id, sealed: None }
    }

    /// Writes the activation record; it is synced together with the first frames.
    ///
    /// The predecessor must be synced through its end.
    pub(crate) fn activate(self, predecessor: Option<(FileNumber, Sealed)>, first_sequence: Sequence) -> Result<LogWriter, (Self, Error)> {
        let (number, sealed) = predecessor.unwrap_or((0, Sealed { end: 0, chain: 0 }));
        let activation = Activation {
            log: self.number,
            predecessor: number,
            predecessor_end: sealed.end,
            predecessor_chain: sealed.chain,
            first_sequence,
        };
        let record = activation.encode(self.id);
        for offset in ACTIVATION_OFFSETS {
            if let Err(source) = self.file.write_at(offset, &record) {
                let error = Error::io(format_args!("activate {}", log_name(self.number)), source);
                return Err((self, error));
            }
        }
        Ok(LogWriter {
            file: self.file,
            number: self.number,
            id: self.id,
            end: FRAMES_START,
            synced: FRAMES_START,
            begun: FRAMES_START,
            allocated: ALLOCATION_MIN,
            step: ALLOCATION_MIN,
            chain: Chain::default(),
        })
    }
}

/// The log in use. One owner appends; nothing else writes to the file.
///
/// Invariants: `FRAMES_START <= synced <= end <= allocated`; no byte behind `end` was ever part of an accepted frame.
#[derive(Debug)]
pub(crate) struct LogWriter {
    file: Arc<dyn WriteFile>,
    number: FileNumber,
    id: FileId,
    end: u64,
    synced: u64,
    /// Offset up to which writing to the device was begun.
    begun: u64,
    allocated: u64,
    step: u64,
    chain: Chain,
}

/// The zeros behind a body of so many bytes.
fn padding(body: usize) -> &'static [u8] {
    ZEROS.get(..frame_bytes(body) - FRAME_HEADER_BYTES - body).unwrap_or_default()
}

/// What a failed append left behind.
pub(crate) enum AppendError {
    /// The device is full and the log is as it was before the call.
    NoSpace(Error),
    /// Nothing is known about the bytes behind the end: the log cannot be continued.
    Broken(Error),
}

impl LogWriter {
    pub(crate) fn number(&self) -> FileNumber {
        self.number
    }

    pub(crate) fn entry(&self) -> LogEntry {
        LogEntry { number: self.number, file: self.id, sealed: None }
    }

    /// Whether no batch was written yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.end == FRAMES_START
    }

    /// Offset behind the last frame.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Offset up to which everything is durable.
    pub(crate) fn synced(&self) -> u64 {
        self.synced
    }

    /// Bytes the file occupies.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocated
    }

    /// Its end as an activation record or a manifest states it. Only true once synced.
    pub(crate) fn seal(&self) -> Sealed {
        Sealed { end: self.end, chain: self.chain.value() }
    }

    /// Writes batches behind the last frame, in one transfer. Returns the bytes written.
    pub(crate) fn append<'a>(&mut self, batches: impl Iterator<Item = (Sequence, &'a [u8])>) -> Result<u64, AppendError> {
        let frames = self.frame(batches);
        let parts: Vec<&[u8]> = frames.iter().flat_map(|(header, body)| [header, *body, padding(body.len())]).collect();
        let written = frames.iter().map(|(_, body)| frame_bytes(body.len()) as u64).sum();
        self.write(&parts, written)?;
        self.end += written;
        frames.iter().for_each(|(header, _)| self.chain.extend(header));
        if self.end - self.begun >= WRITE_BEHIND_BYTES {
            self.file.write_behind(self.begun, self.end - self.begun);
            self.begun = self.end;
        }
        debug_assert!(self.end <= self.allocated);
        Ok(written)
    }

    /// The frames of batches, headers and bodies, as they will stand behind the last one.
    fn frame<'a>(&self, batches: impl Iterator<Item = (Sequence, &'a [u8])>) -> Vec<([u8; FRAME_HEADER_BYTES], &'a [u8])> {
        let (mut frames, mut end) = (Vec::new(), self.end);
        for (sequence, body) in batches {
            let count = body.len().div_ceil(FRAME_BODY_MAX);
            for (index, part) in body.chunks(FRAME_BODY_MAX).enumerate() {
                let header = FrameHeader {
                    len: part.len() as u32,
                    first: index == 0,
                    last: index + 1 == count,
                    sequence,
                    durable_through: self.synced,
                    body_crc: crc(part),
                };
                frames.push((header.encode(self.id, end), part));
                end += frame_bytes(part.len()) as u64;
            }
        }
        frames
    }

    fn write(&mut self, parts: &[&[u8]], len: u64) -> Result<(), AppendError> {
        let describe =
            |verb: &str, source| Error::io(format_args!("{verb} {}", log_name(self.number)), source).in_file(log_name(self.number));
        let end = self.end + len;
        if end > self.allocated {
            let step = (self.step * 2).min(ALLOCATION_STEP_MAX);
            let target = end.next_multiple_of(ALLOCATION_MIN).max(self.allocated + step);
            // The larger step is a convenience: on a nearly full device take just what is needed.
            let taken = self.file.allocate(target).map(|()| target).or_else(|_| {
                let least = end.next_multiple_of(8);
                self.file.allocate(least).map(|()| least)
            });
            match taken {
                Ok(allocated) => (self.allocated, self.step) = (allocated, step),
                Err(source) => {
                    let error = describe("lengthen", source);
                    return Err(if error.kind() == ErrorKind::NoSpace { AppendError::NoSpace(error) } else { AppendError::Broken(error) });
                }
            }
        }
        let Err(source) = self.file.write_parts_at(self.end, parts) else { return Ok(()) };
        let error = describe("write", source);
        // Frames of a refused batch must not come back: without zeros a later, shorter group could end where one of them starts.
        if error.kind() == ErrorKind::NoSpace && self.file.write_at(self.end, &vec![0; len as usize]).is_ok() {
            return Err(AppendError::NoSpace(error));
        }
        Err(AppendError::Broken(error))
    }

    /// Makes every frame durable. After an error nothing is known: the caller must never try again.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.file
            .sync_data()
            .map_err(|source| Error::io(format_args!("sync {}", log_name(self.number)), source).in_file(log_name(self.number)))?;
        (self.synced, self.begun) = (self.end, self.end);
        Ok(())
    }
}
