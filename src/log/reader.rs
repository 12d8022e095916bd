use crate::{
    error::{Error, Result},
    format::{
        crc, first_nonzero,
        identity::{FileKind, Identity},
        log::{
            ACTIVATION_OFFSETS, Activation, Chain, FRAME_ALIGN, FRAME_HEADER_BYTES, FRAMES_START, FrameHeader, LOG_BYTES_MIN, frame_bytes,
        },
        manifest::{LogEntry, Sealed},
    },
    types::{BATCH_BYTES_MAX, FileId, Sequence},
};

/// Where a log ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogEnd {
    /// Recorded by its successor or by the manifest: anything invalid before it is corruption, everything behind it void.
    Sealed(Sealed),
    /// Told by a live writer: nothing behind it is read.
    Through(u64),
    /// The last log in use: found by the rule of the proven durable-through.
    Tail,
}

/// One whole batch of a log.
#[derive(Debug)]
pub(crate) struct LogBatch {
    pub(crate) sequence: Sequence,
    /// Offset of its first frame.
    pub(crate) offset: u64,
    pub(crate) body: Vec<u8>,
}

/// How far a log was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scanned {
    /// Behind the last whole batch.
    pub(crate) end: Sealed,
    /// Behind the last batch that is known to be on the device. What follows was read, from a cache perhaps, whose pages may count as clean
    /// since a sync failed: no further sync would write them.
    pub(crate) proven: Sealed,
}

/// Reads the activation record of a log, checking that it is the file the manifest names.
pub(crate) fn activation(bytes: &[u8], database: FileId, entry: &LogEntry) -> Result<Option<Activation>> {
    let identity = Identity::decode(bytes, FileKind::Log)?;
    if identity.database != database || identity.number != entry.number || identity.file != entry.file {
        return Err(Error::corruption(format!(
            "this is log {} (file id {}) of database {}, not the log {} (file id {}) that the manifest names",
            identity.number, identity.file, identity.database, entry.number, entry.file
        ))
        .at(16));
    }
    let mut damaged = None;
    let mut found = None;
    for offset in ACTIVATION_OFFSETS {
        let record = bytes.get(offset as usize..offset as usize + 64).unwrap_or_default();
        match Activation::decode(record, entry.file) {
            Ok(Some(activation)) if activation.log == entry.number => found = found.or(Some(activation)),
            Ok(Some(_)) => damaged = damaged.or_else(|| Some(Error::corruption("activation record of another log").at(offset))),
            Ok(None) => {}
            Err(error) => damaged = damaged.or_else(|| Some(error.shifted(offset))),
        }
    }
    match (found, damaged) {
        // One copy may be torn by the crash that stopped the activation; a frame proven durable tells below whether it was needed.
        (None, Some(_)) | (None, None) => Ok(None),
        (Some(activation), _) => Ok(Some(activation)),
    }
}

/// Refuses a log that was cut short: what was cut off may have held batches, and the frames that proved them durable.
///
/// A log of a known end tells by itself whether it is all there.
pub(crate) fn check_length(bytes: &[u8], end: LogEnd) -> Result<()> {
    let len = bytes.len() as u64;
    if len >= LOG_BYTES_MIN || !matches!(end, LogEnd::Tail) {
        return Ok(());
    }
    let message = format!("cut short: {len} bytes long, but a log has at least {LOG_BYTES_MIN}; batches may be missing");
    Err(Error::corruption(message).at(len))
}

/// Reads the frames of a log file, batch after batch; one that was never activated has none. Says where the last whole batch ends, and the chain
/// checksum up to there. What was visited counts only once that is known.
///
/// # Errors
/// Damage before the end, and what `visit` returns.
pub(crate) fn scan(
    bytes: &[u8],
    entry: &LogEntry,
    activated: bool,
    end: LogEnd,
    visit: &mut dyn FnMut(&LogBatch) -> Result<()>,
) -> Result<Scanned> {
    let mut frames = Frames::new(bytes, entry.file);
    if !activated {
        let is_used = matches!(end, LogEnd::Sealed(sealed) if sealed.end > FRAMES_START);
        if is_used || frames.proven_behind() > FRAMES_START {
            return Err(Error::corruption("both copies of the activation record are damaged").at(4096));
        }
        let end = frames.sealed();
        return Ok(Scanned { end, proven: end });
    }
    let limit = match end {
        LogEnd::Sealed(sealed) => sealed.end,
        LogEnd::Through(offset) => offset,
        LogEnd::Tail => u64::MAX,
    };
    let is_tail = matches!(end, LogEnd::Tail);
    let start = frames.sealed();
    let mut ends = Vec::new();
    let (batches_end, stop) = frames.read_batches(limit, &mut |batch, end| {
        if is_tail {
            ends.push(end);
        }
        visit(batch)
    })?;
    match end {
        LogEnd::Sealed(sealed) => {
            if let Some(error) = stop.filter(|_| batches_end < sealed.end) {
                return Err(error);
            }
            if batches_end != sealed.end || frames.chain.value() != sealed.chain {
                return Err(Error::corruption("the frames are not those whose end and checksum the next log records").at(batches_end));
            }
        }
        LogEnd::Through(offset) => {
            if batches_end < offset {
                return Err(stop.unwrap_or_else(|| Error::corruption("the log is shorter than its writer says").at(batches_end)));
            }
        }
        LogEnd::Tail => {
            let proven = frames.proven_behind();
            if batches_end < proven {
                let error = stop.unwrap_or_else(|| Error::corruption("the log ends early").at(batches_end));
                let message = format!("{}; bytes up to {proven} were proven durable", error.message());
                return Err(Error::corruption(message).at(error.offset().unwrap_or(batches_end)));
            }
        }
    }
    let end = frames.sealed();
    // A log whose end is recorded was synced through it before that.
    let proven = if is_tail { ends.iter().rev().find(|sealed| sealed.end <= frames.durable).copied().unwrap_or(start) } else { end };
    Ok(Scanned { end, proven })
}

/// Reads the batches of a log between two ends that [`scan`] has found, and says where they end now.
pub(crate) fn read_between(
    bytes: &[u8],
    entry: &LogEntry,
    from: Sealed,
    through: Sealed,
    visit: &mut dyn FnMut(&LogBatch) -> Result<()>,
) -> Result<Sealed> {
    let mut frames = Frames { offset: from.end, chain: Chain(from.chain), ..Frames::new(bytes, entry.file) };
    let (_, stop) = frames.read_batches(through.end, &mut |batch, _| visit(batch))?;
    stop.map_or(Ok(frames.sealed()), Err)
}

impl Activation {
    /// Where the predecessor ends.
    pub(crate) fn sealed(&self) -> Sealed {
        Sealed { end: self.predecessor_end, chain: self.predecessor_chain }
    }
}

/// The frames of a log file, read one batch after the other.
pub(super) struct Frames<'a> {
    bytes: &'a [u8],
    file: FileId,
    pub(super) offset: u64,
    chain: Chain,
    durable: u64,
    /// Memory for the next batch's body.
    spare: Vec<u8>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8], file: FileId) -> Self {
        Self { bytes, file, offset: FRAMES_START, chain: Chain::default(), durable: FRAMES_START, spare: Vec::new() }
    }
}

impl Frames<'_> {
    /// The end of what was read, and the chain checksum up to there.
    fn sealed(&self) -> Sealed {
        Sealed { end: self.offset, chain: self.chain.value() }
    }

    pub(super) fn header_at(&self, offset: u64) -> Option<(FrameHeader, &[u8; FRAME_HEADER_BYTES])> {
        let bytes = self.bytes.get(usize::try_from(offset).ok()?..)?.first_chunk::<FRAME_HEADER_BYTES>()?;
        Some((FrameHeader::decode(bytes, self.file, offset)?, bytes))
    }

    /// Reads whole batches up to `limit`; says where they end, and why it stopped before the limit, if it did. The chain covers whole batches only.
    fn read_batches(&mut self, limit: u64, visit: &mut dyn FnMut(&LogBatch, Sealed) -> Result<()>) -> Result<(u64, Option<Error>)> {
        let (mut end, mut previous) = (self.offset, None);
        while end < limit {
            match self.read_batch(previous) {
                Ok(batch) => {
                    visit(&batch, self.sealed())?;
                    (end, previous) = (self.offset, Some(batch.sequence));
                    self.spare = batch.body;
                }
                Err(error) => {
                    self.offset = end;
                    return Ok((end, Some(error)));
                }
            }
        }
        Ok((end, None))
    }

    pub(super) fn read_batch(&mut self, previous: Option<Sequence>) -> Result<LogBatch> {
        let start = self.offset;
        let mut chain = self.chain;
        let mut body = std::mem::take(&mut self.spare);
        body.clear();
        let mut sequence = None;
        loop {
            let at = self.offset;
            let Some((header, bytes)) = self.header_at(at) else {
                return Err(Error::corruption("no valid frame header").at(at));
            };
            if header.first != sequence.is_none() || sequence.is_some_and(|expected| expected != header.sequence) {
                return Err(Error::corruption("a batch without its beginning or its end").at(at));
            }
            if previous.is_some_and(|previous| header.sequence <= previous) {
                return Err(Error::corruption(format!("sequence {} does not rise", header.sequence)).at(at));
            }
            let content = at as usize + FRAME_HEADER_BYTES;
            let part = self.bytes.get(content..content + header.len as usize).filter(|part| crc(part) == header.body_crc);
            let Some(part) = part else { return Err(Error::corruption("frame body checksum mismatch").at(content as u64)) };
            if body.len() + part.len() > BATCH_BYTES_MAX {
                return Err(Error::corruption("a batch beyond 1 GiB").at(at));
            }
            chain.extend(bytes);
            body.extend_from_slice(part);
            sequence = Some(header.sequence);
            self.durable = self.durable.max(header.durable_through);
            self.offset = at + frame_bytes(header.len as usize) as u64;
            if header.last {
                self.chain = chain;
                return Ok(LogBatch { sequence: header.sequence, offset: start, body });
            }
        }
    }

    /// The proven durable-through: the greatest such field of any valid frame header, damage or not before it.
    pub(super) fn proven_behind(&self) -> u64 {
        let mut at = usize::try_from(self.offset).unwrap_or(usize::MAX);
        let mut proven = self.durable;
        // Free space is zero, and a valid header never starts with a zero length.
        while let Some(zeros) = first_nonzero(self.bytes.get(at..).unwrap_or_default()) {
            at += zeros / FRAME_ALIGN * FRAME_ALIGN;
            if let Some((header, _)) = self.header_at(at as u64) {
                proven = proven.max(header.durable_through);
            }
            at += FRAME_ALIGN;
        }
        proven
    }
}
