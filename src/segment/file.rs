use crate::error::{Error, Result};
use crate::format::identity::{FileKind, IDENTITY_BYTES, Identity};
use crate::format::manifest::FileEntry;
use crate::format::names::segment_name;
use crate::format::segment_file::{FOOTER_ALIGN, FileFooter, TAIL_BYTES};
use crate::io::{Bytes, ReadFile, Storage};
use crate::options::ReadMode;
use crate::sync::Arc;

/// An open segment file that is the one that the manifest names.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    name: String,
    entry: FileEntry,
    content: Content,
    footer: FileFooter,
    footer_offset: u64,
}

/// How its bytes are read.
#[derive(Debug)]
enum Content {
    /// The descriptor is closed once the file is mapped: a large database has more files than a process may have descriptors.
    Mapped(Bytes),
    Open(Arc<dyn ReadFile>),
}

fn open_file(storage: &dyn Storage, entry: &FileEntry) -> Result<Arc<dyn ReadFile>> {
    let name = segment_name(entry.number);
    storage.open_read(&name).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::corruption("the manifest names this file, but it is missing").in_file(name),
        _ => Error::io(format_args!("open {name}"), source).in_file(name),
    })
}

impl SegmentFile {
    /// Opens it and compares existence, length, identity and footer with the manifest's entry: a missing, swapped, older or foreign
    /// file is an error that names it.
    pub(crate) fn open(storage: &dyn Storage, entry: &FileEntry, mode: ReadMode) -> Result<Arc<Self>> {
        Self::from_file(open_file(storage, entry)?, entry, mode)
    }

    /// The same for a file that may be longer than the manifest says: what stands behind that is not looked at. Tells how many bytes.
    pub(crate) fn open_prefix(storage: &dyn Storage, entry: &FileEntry, mode: ReadMode) -> Result<(Arc<Self>, u64)> {
        let (opened, len) = Self::unchecked(open_file(storage, entry)?, entry, mode)?;
        let surplus = len.checked_sub(entry.len).ok_or_else(|| opened.wrong_length(len))?;
        Ok((opened.checked()?, surplus))
    }

    /// For `repair`: opens a file that is longer, or cut short, or whose header or footer is damaged, as long as the other one proves it. What
    /// the manifest says of its segments and kill blocks has checksums of its own. The footer is empty if it cannot be read.
    pub(crate) fn salvage(storage: &dyn Storage, entry: &FileEntry, mode: ReadMode) -> Result<Arc<Self>> {
        let (mut opened, len) = Self::unchecked(open_file(storage, entry)?, entry, mode)?;
        opened.entry.len = len.min(entry.len);
        let identity = opened.check_identity();
        match (identity, opened.read_footer()) {
            (Err(error), _) if error.is_obstacle() => return Err(error),
            (_, Ok((footer, offset))) => (opened.footer, opened.footer_offset) = (footer, offset),
            (Err(error), Err(_)) => return Err(error),
            // No segment reaches behind what is there.
            (Ok(()), Err(_)) => opened.footer_offset = opened.entry.len,
        }
        Ok(Arc::new(opened))
    }

    /// The same for a file that is open already.
    pub(crate) fn from_file(file: Arc<dyn ReadFile>, entry: &FileEntry, mode: ReadMode) -> Result<Arc<Self>> {
        let (opened, len) = Self::unchecked(file, entry, mode)?;
        if len != entry.len {
            return Err(opened.wrong_length(len));
        }
        opened.checked()
    }

    fn wrong_length(&self, len: u64) -> Error {
        Error::corruption(format!("{len} bytes long, but the manifest says {}", self.entry.len)).in_file(&self.name)
    }

    fn checked(mut self) -> Result<Arc<Self>> {
        self.check_identity()?;
        (self.footer, self.footer_offset) = self.read_footer()?;
        Ok(Arc::new(self))
    }

    /// Before anything is compared; and the length it has.
    fn unchecked(file: Arc<dyn ReadFile>, entry: &FileEntry, mode: ReadMode) -> Result<(Self, u64)> {
        let name = segment_name(entry.number);
        let io = |action: &str, source| Error::io(format_args!("{action} {name}"), source).in_file(name.as_str());
        let len = file.len().map_err(|source| io("get the length of", source))?;
        let (content, mapped_len) = match mode {
            ReadMode::Mapped => {
                let mapping = file.map().map_err(|source| io("map", source))?;
                let mapped_len = mapping.len() as u64;
                (Content::Mapped(mapping), mapped_len)
            }
            ReadMode::Copied => (Content::Open(file), len),
        };
        let (footer, footer_offset) = (FileFooter::default(), 0);
        // A file may have been cut between the two looks at its length.
        Ok((Self { name, entry: entry.clone(), content, footer, footer_offset }, len.min(mapped_len)))
    }

    /// Compares the identity header with the manifest's entry.
    pub(super) fn check_identity(&self) -> Result<()> {
        let header = self.read_range(0, IDENTITY_BYTES as u64)?;
        let identity = Identity::decode(&header, FileKind::Segment).map_err(|error| error.in_file(&self.name))?;
        let entry = &self.entry;
        let refuse = |what: &str, offset| {
            Err(Error::corruption(format!("not the file that the manifest names: {what}")).at(offset).in_file(&self.name))
        };
        if identity.database != entry.origin_database {
            return refuse(&format!("of database {}, not {}", identity.database, entry.origin_database), 16);
        }
        if identity.number != entry.origin_number {
            return refuse(&format!("number {}, not {}", identity.number, entry.origin_number), 32);
        }
        if identity.file != entry.file {
            return refuse(&format!("file id {}, not {}", identity.file, entry.file), 40);
        }
        Ok(())
    }

    /// Reads the footer, compares it with the manifest's entry, and tells where it starts.
    pub(super) fn read_footer(&self) -> Result<(FileFooter, u64)> {
        let len = self.entry.len;
        let tail_offset = len.saturating_sub(TAIL_BYTES as u64);
        let tail = self.read_range(tail_offset, TAIL_BYTES as u64)?;
        let (footer_len, footer_crc) = FileFooter::decode_tail(&tail).map_err(|error| error.shifted(tail_offset).in_file(&self.name))?;
        if footer_crc != self.entry.footer_crc {
            let message = "not the file that the manifest names: its footer has another checksum";
            return Err(Error::corruption(message).at(tail_offset + 4).in_file(&self.name));
        }
        let offset =
            len.checked_sub(footer_len.into()).filter(|&start| start >= IDENTITY_BYTES as u64 && start.is_multiple_of(FOOTER_ALIGN));
        let Some(offset) = offset else {
            let message = format!("a file footer of {footer_len} bytes cannot stand in {len} bytes");
            return Err(Error::corruption(message).at(tail_offset).in_file(&self.name));
        };
        let bytes = self.read_range(offset, footer_len.into())?;
        let decoded = FileFooter::decode(&bytes).and_then(|footer| footer.check_places(offset).map(|()| footer));
        let footer = decoded.map_err(|error| error.shifted(offset).at(offset).in_file(&self.name))?;
        if footer.file != self.entry.file {
            let message = format!("footer of file {}, not {}", footer.file, self.entry.file);
            return Err(Error::corruption(message).at(offset).in_file(&self.name));
        }
        Ok((footer, offset))
    }

    /// Part of the file: a slice of the mapping, or a copy. Nothing in it is checked.
    pub(crate) fn read_range(&self, offset: u64, len: u64) -> Result<Bytes> {
        if offset.checked_add(len).is_none_or(|end| end > self.entry.len) {
            let message = format!("{len} bytes expected, but the file is {} bytes long", self.entry.len);
            return Err(Error::corruption(message).at(offset).in_file(&self.name));
        }
        let cut = || Error::corruption("the file was cut short while open").at(offset).in_file(&self.name);
        let file = match &self.content {
            Content::Mapped(mapping) => return mapping.slice(offset as usize, len as usize).ok_or_else(cut),
            Content::Open(file) => file,
        };
        Bytes::filled(len as usize, |buffer| file.read_at(offset, buffer)).map_err(|source| match source.kind() {
            std::io::ErrorKind::UnexpectedEof => cut(),
            _ => Error::io(format_args!("read {}", self.name), source).in_file(&self.name).at(offset),
        })
    }

    /// Its name in the directory.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its entry in the manifest.
    pub(crate) fn entry(&self) -> &FileEntry {
        &self.entry
    }

    /// What stands in it.
    pub(crate) fn footer(&self) -> &FileFooter {
        &self.footer
    }

    /// Where its footer starts.
    pub(super) fn footer_offset(&self) -> u64 {
        self.footer_offset
    }

    /// Whether reads are slices of a mapping.
    pub(super) fn is_mapped(&self) -> bool {
        matches!(self.content, Content::Mapped(_))
    }
}
