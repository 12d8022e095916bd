//! Annotated dumps of every file of the format, for people.

use std::io::Write;

use crate::{
    error::{Error, ErrorKind, Result},
    format::{
        batch::{Operation, Operations},
        crc, floor,
        identity::{FileKind, IDENTITY_BYTES, Identity},
        kills::KillBlock,
        lock_page::{HOLDER_BYTES, HOLDER_OFFSET, Holder, POINT_OFFSET, PointSlot, SyncedPoint},
        log::{ACTIVATION_OFFSETS, Activation, FRAME_HEADER_BYTES, FRAMES_START, FrameHeader, frame_bytes},
        manifest::{CollectionEntry, KillEntry, Manifest},
        names::FileName,
        segment::{self, Section, SectionKind, SegmentFooter, u32_at},
        segment_file::{FileFooter, TAIL_BYTES},
    },
    types::{CollectionId, Dimension},
};

/// Writes what a file of the format holds, field by field with offsets. Damage is said in its place, and what can still be read is. Returns how
/// many damages were met: every checksum in the file is compared. What files say of one another, `verify` checks.
///
/// What kind of file it is, its identity header says; `name` is shown, and decides where that header is damaged.
///
/// # Errors
/// `InvalidArgument` if neither header nor name are the format's; `NewerFormat`, after what could be shown, if something in it is of a newer
/// version, which is no damage; `Io` if `out` refuses.
///
/// ```
/// use varvite::{Database, Metric, Options};
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("db");
/// Database::open(&path, Options::default())?.create_collection("docs", 2, Metric::L2)?;
/// # let bytes = std::fs::read(path.join("FLOOR")).unwrap();
/// let mut text = Vec::new();
/// assert_eq!(varvite::dump("FLOOR", &bytes, &mut text)?, 0);
/// assert!(String::from_utf8_lossy(&text).contains("floor"));
/// # Ok::<(), varvite::Error>(())
/// ```
pub fn dump(name: &str, bytes: &[u8], out: &mut dyn Write) -> Result<u64> {
    let Some(kind) = Identity::kind_of(bytes).or_else(|| kind_by_name(name)) else {
        return Err(Error::invalid(format!("{name} is no file of the format: LOCK, FLOOR, MANIFEST-, log- or seg-")));
    };
    let mut lines = Lines { out, damages: 0, newer: None };
    lines.say(0, format_args!("{name}, a {kind} file of {} bytes", bytes.len()))?;
    match kind {
        FileKind::Lock => lock(bytes, &mut lines),
        FileKind::Floor => floor_slots(bytes, &mut lines),
        FileKind::Manifest => manifest(bytes, &mut lines),
        FileKind::Log => log(bytes, &mut lines),
        FileKind::Segment => segments(bytes, &mut lines),
    }?;
    match lines.newer {
        Some(error) => Err(error.in_file(name)),
        None => Ok(lines.damages),
    }
}

fn kind_by_name(name: &str) -> Option<FileKind> {
    match FileName::parse(name) {
        FileName::Lock => Some(FileKind::Lock),
        FileName::Floor => Some(FileKind::Floor),
        FileName::Manifest(_) => Some(FileKind::Manifest),
        FileName::Log(_) => Some(FileKind::Log),
        FileName::Segment(_) => Some(FileKind::Segment),
        FileName::Temporary | FileName::Foreign => None,
    }
}

struct Lines<'a> {
    out: &'a mut dyn Write,
    damages: u64,
    /// The first thing met that only a newer version can read.
    newer: Option<Error>,
}

impl Lines<'_> {
    fn say(&mut self, offset: u64, text: std::fmt::Arguments<'_>) -> Result<()> {
        writeln!(self.out, "{offset:>10}  {text}").map_err(|source| Error::io("write the dump", source))
    }

    fn damage(&mut self, error: &Error) -> Result<()> {
        if error.kind() == ErrorKind::NewerFormat {
            self.newer.get_or_insert_with(|| error.clone());
            return self.say(error.offset().unwrap_or(0), format_args!("NEWER FORMAT: {error}"));
        }
        self.damages += 1;
        self.say(error.offset().unwrap_or(0), format_args!("DAMAGED: {error}"))
    }
}

fn identity(bytes: &[u8], base: u64, kind: FileKind, lines: &mut Lines<'_>) -> Result<Option<Identity>> {
    match Identity::decode(bytes, kind) {
        Ok(identity) => {
            let Identity { database, number, file, .. } = &identity;
            lines.say(base, format_args!("identity: database {database}, number {number}, file id {file}"))?;
            Ok(Some(identity))
        }
        Err(error) => lines.damage(&error.shifted(base)).map(|()| None),
    }
}

fn part(bytes: &[u8], offset: u64, len: usize) -> &[u8] {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(start..start.saturating_add(len)).unwrap_or_default()
}

fn lock(bytes: &[u8], lines: &mut Lines<'_>) -> Result<()> {
    identity(bytes, 0, FileKind::Lock, lines)?;
    match Holder::decode(part(bytes, HOLDER_OFFSET, HOLDER_BYTES)) {
        Ok(holder) => lines.say(HOLDER_OFFSET, format_args!("last writer: process {} on {}", holder.process, holder.host))?,
        Err(error) => lines.damage(&error.shifted(HOLDER_OFFSET))?,
    }
    match SyncedPoint::decode(part(bytes, POINT_OFFSET, bytes.len().saturating_sub(POINT_OFFSET as usize))) {
        Ok(PointSlot::Point(SyncedPoint { nonce, log, offset, sequence })) => {
            lines.say(POINT_OFFSET, format_args!("synced through log {log}, offset {offset}, sequence {sequence}; writer {nonce}"))
        }
        Ok(PointSlot::Empty) => lines.say(POINT_OFFSET, format_args!("no synced point")),
        Ok(PointSlot::Busy) => lines.say(POINT_OFFSET, format_args!("synced point being written, or torn")),
        Err(error) => lines.damage(&error.shifted(POINT_OFFSET)),
    }
}

fn floor_slots(bytes: &[u8], lines: &mut Lines<'_>) -> Result<()> {
    for base in [0, floor::SLOT_BYTES as u64] {
        identity(part(bytes, base, IDENTITY_BYTES), base, FileKind::Floor, lines)?;
    }
    match floor::decode(bytes) {
        Ok(decoded) => {
            let floor = decoded.floor;
            lines.say(floor::slot_offset(floor.generation), format_args!("floor: {} in generation {}", floor.floor, floor.generation))?;
            decoded.damages.iter().try_for_each(|damage| lines.damage(damage))
        }
        Err(error) => lines.damage(&error),
    }
}

fn manifest(bytes: &[u8], lines: &mut Lines<'_>) -> Result<()> {
    identity(bytes, 0, FileKind::Manifest, lines)?;
    let decoded = match Manifest::decode(bytes) {
        Ok(decoded) => decoded,
        Err(error) => return lines.damage(&error),
    };
    decoded.damages.iter().try_for_each(|damage| lines.damage(damage))?;
    let manifest = decoded.manifest;
    let body = 80;
    lines.say(body, format_args!("flushed through sequence {}", manifest.flushed_through))?;
    let next = (manifest.next_file, manifest.next_segment, manifest.next_collection);
    lines.say(body + 8, format_args!("next file {}, segment {}, collection {}", next.0, next.1, next.2))?;
    for log in &manifest.logs {
        let state = log.sealed.map_or_else(|| "open".to_owned(), |sealed| format!("sealed at {}, chain {:08x}", sealed.end, sealed.chain));
        lines.say(body, format_args!("log {}: file id {}, {state}", log.number, log.file))?;
    }
    for file in &manifest.files {
        let origin = format!("origin {} of database {}", file.origin_number, file.origin_database);
        lines.say(
            body,
            format_args!(
                "segment file {}: {} bytes, footer {:08x}, file id {}, {origin}",
                file.number, file.len, file.footer_crc, file.file
            ),
        )?;
    }
    manifest.collections.iter().try_for_each(|entry| collection(entry, lines))
}

fn collection(entry: &CollectionEntry, lines: &mut Lines<'_>) -> Result<()> {
    let CollectionEntry { id, dimension, metric, codes, next_ordinal, name, runs } = entry;
    lines.say(
        80,
        format_args!(
            "collection {id} {name:?}: dimension {dimension}, {metric}, codes {codes}, next ordinal {next_ordinal}, {} runs",
            runs.len()
        ),
    )?;
    for (run, segments) in runs.iter().enumerate() {
        for segment in segments {
            let kills = segment.kills.map_or_else(String::new, |kills| {
                let KillEntry { count, deleted_since, file, offset, len, .. } = kills;
                let since = if deleted_since == 0 { String::new() } else { format!(", some deleted since {deleted_since}") };
                format!(", {count} killed{since} (file {file}, {len} bytes at {offset})")
            });
            let place = format!("file {}, {} bytes at {}", segment.file, segment.len, segment.offset);
            lines.say(
                80,
                format_args!(
                    "  run {run}: segment {}, {} rows, {place}, footer {:08x}{kills}",
                    segment.id, segment.rows, segment.footer_crc
                ),
            )?;
        }
    }
    Ok(())
}

fn log(bytes: &[u8], lines: &mut Lines<'_>) -> Result<()> {
    let Some(identity) = identity(bytes, 0, FileKind::Log, lines)? else { return Ok(()) };
    for offset in ACTIVATION_OFFSETS {
        match Activation::decode(part(bytes, offset, 64), identity.file) {
            Ok(None) => lines.say(offset, format_args!("not activated"))?,
            Ok(Some(record)) => {
                let before =
                    format!("log {} ends at {}, chain {:08x}", record.predecessor, record.predecessor_end, record.predecessor_chain);
                lines.say(offset, format_args!("activated from sequence {}; {before}", record.first_sequence))?;
            }
            Err(error) => lines.damage(&error.shifted(offset))?,
        }
    }
    let mut offset = FRAMES_START;
    while let Some(header) = FrameHeader::decode(part(bytes, offset, FRAME_HEADER_BYTES), identity.file, offset) {
        let body = part(bytes, offset + FRAME_HEADER_BYTES as u64, header.len as usize);
        let sound = crc(body) == header.body_crc;
        let marks = match (header.first, header.last) {
            (true, true) => "whole batch",
            (true, false) => "first of its batch",
            (false, true) => "last of its batch",
            (false, false) => "middle of its batch",
        };
        let FrameHeader { len, sequence, durable_through, .. } = header;
        lines.say(offset, format_args!("frame: sequence {sequence}, {len} bytes, {marks}, durable through {durable_through}"))?;
        if !sound {
            lines.damage(&Error::corruption("frame body checksum mismatch").at(offset))?;
        } else if header.first && header.last {
            operations(body, offset + FRAME_HEADER_BYTES as u64, lines)?;
        }
        offset += frame_bytes(len as usize) as u64;
    }
    lines.say(offset, format_args!("no frame from here on"))
}

/// Lists a batch up to its first put: how long a put's vector is, its collection tells, and that may stand in another file.
fn operations(body: &[u8], base: u64, lines: &mut Lines<'_>) -> Result<()> {
    let mut dimensions: Vec<(CollectionId, Dimension)> = Vec::new();
    let mut operations = Operations::new(body);
    loop {
        let at = base + operations.position();
        let known = &dimensions;
        let next = operations.next(|id| known.iter().find(|(known, _)| *known == id).map(|(_, dimension)| *dimension));
        match next {
            Ok(None) => return Ok(()),
            Ok(Some(operation)) => {
                if let Operation::CreateCollection { id, dimension, .. } = operation {
                    dimensions.push((id, dimension));
                }
                lines.say(at, format_args!("  {}", describe(&operation)))?;
            }
            Err(_) => return lines.say(at, format_args!("  puts into a collection created elsewhere")),
        }
    }
}

fn describe(operation: &Operation<'_>) -> String {
    match operation {
        Operation::CreateCollection { id, dimension, metric, codes, name } => {
            format!("create collection {id} {name:?}, dimension {dimension}, {metric}, codes {codes}")
        }
        Operation::DropCollection { id } => format!("drop collection {id}"),
        Operation::RenameCollection { id, name } => format!("rename collection {id} to {name:?}"),
        Operation::Put { collection, replaces, ordinal, id, payload, vector } => {
            let verb = if *replaces { "replace" } else { "insert" };
            let sizes = format!("payload {} bytes, vector {} bytes", payload.len(), vector.len());
            format!("{verb} {} in collection {collection}, ordinal {ordinal}, {sizes}", id.escape_ascii())
        }
        Operation::Delete { collection, id } => format!("delete {} in collection {collection}", id.escape_ascii()),
    }
}

fn segments(bytes: &[u8], lines: &mut Lines<'_>) -> Result<()> {
    identity(bytes, 0, FileKind::Segment, lines)?;
    let tail = bytes.len().saturating_sub(TAIL_BYTES) as u64;
    let footer = FileFooter::decode_tail(part(bytes, tail, TAIL_BYTES)).and_then(|(len, _)| {
        let start = (bytes.len() as u64).saturating_sub(u64::from(len));
        Ok((start, FileFooter::decode(part(bytes, start, len as usize)).map_err(|error| error.shifted(start))?))
    });
    let (start, footer) = match footer {
        Ok(footer) => footer,
        Err(error) => return lines.damage(&error),
    };
    for place in &footer.segments {
        lines.say(place.offset, format_args!("segment {}: {} bytes, footer {:08x}", place.id, place.len, place.footer_crc))?;
        let segment = part(bytes, place.offset, usize::try_from(place.len).unwrap_or(0));
        if segment.last_chunk().is_some_and(|last| segment::tail(last).1 != place.footer_crc) {
            lines.damage(&Error::corruption("the segment's footer has another checksum than the file's footer says").at(place.offset))?;
        }
        sections(segment, place.offset, lines)?;
    }
    for place in &footer.kills {
        let block = part(bytes, place.offset, place.len as usize);
        match KillBlock::decode(block) {
            Ok(kills) if crc(block) == place.crc => {
                lines
                    .say(place.offset, format_args!("kills of segment {}: {} of {} rows", kills.segment, kills.killed.len(), kills.rows))?;
            }
            Ok(_) => {
                lines.damage(&Error::corruption(format!("checksum mismatch of the kills of segment {}", place.segment)).at(place.offset))?
            }
            Err(error) => lines.damage(&error.shifted(place.offset))?,
        }
    }
    lines.say(
        start,
        format_args!("file footer: {} segments, {} kill blocks, file id {}", footer.segments.len(), footer.kills.len(), footer.file),
    )
}

fn sections(segment: &[u8], base: u64, lines: &mut Lines<'_>) -> Result<()> {
    let Some(last) = segment.last_chunk::<{ segment::TAIL_BYTES }>() else {
        return lines.damage(&Error::corruption("the segment lies outside the file").at(base));
    };
    let (len, _) = segment::tail(last);
    let start = segment.len().saturating_sub(len as usize);
    match SegmentFooter::decode(segment.get(start..).unwrap_or_default(), segment.len() as u64) {
        Ok(footer) => {
            let table = checksum_table(segment, base, &footer, lines)?;
            for kind in SectionKind::ALL {
                let section = footer.section(kind);
                if section.len > 0 {
                    let offset = base + section.offset;
                    lines.say(
                        offset,
                        format_args!("  section {}: {} bytes in {} checksummed blocks", kind.name(), section.len, section.blocks()),
                    )?;
                    compare(kind.name(), section, segment, base, table, lines)?;
                }
            }
            footer.unknown.iter().try_for_each(|section| compare("of a newer version", section, segment, base, table, lines))?;
            let (rows, dimension, sequence) = (footer.rows, footer.dimension, footer.max_sequence);
            lines.say(base + start as u64, format_args!("  segment footer: {rows} rows, dimension {dimension}, sequences up to {sequence}"))
        }
        Err(error) => lines.damage(&error.shifted(base + start as u64)),
    }
}

/// The checksums of a segment's blocks, if they are what its footer says; without them no block can be judged.
fn checksum_table<'a>(segment: &'a [u8], base: u64, footer: &SegmentFooter, lines: &mut Lines<'_>) -> Result<Option<&'a [u8]>> {
    let section = footer.section(SectionKind::Checksums);
    let table = part(segment, section.offset, usize::try_from(section.len).unwrap_or(usize::MAX));
    if crc(table) == footer.checksum_table_crc {
        return Ok(Some(table));
    }
    let error = Error::corruption("checksum of the table of checksums does not match, so no block can be checked");
    lines.damage(&error.at(base + section.offset)).map(|()| None)
}

fn compare(name: &str, section: &Section, segment: &[u8], base: u64, table: Option<&[u8]>, lines: &mut Lines<'_>) -> Result<()> {
    let (Some(table), Ok(len)) = (table, usize::try_from(section.len)) else { return Ok(()) };
    if section.block_size == 0 {
        return Ok(());
    }
    let blocks = part(segment, section.offset, len).chunks(section.block_size as usize);
    for (block, stored) in (0..).zip(blocks) {
        let wanted = u32_at(table, section.first_checksum as usize + block);
        if wanted != Some(crc(stored)) {
            let at = base + section.offset + block as u64 * u64::from(section.block_size);
            let message = format!("checksum of {} bytes in section '{name}' does not match", stored.len());
            lines.damage(&Error::corruption(message).at(at))?;
        }
    }
    Ok(())
}
