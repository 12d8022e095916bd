//! One opaque error: a kind that tells the caller what to do, and a message that says what failed and where.

use std::{fmt, io};

use crate::sync::Arc;

/// What to do about damage.
const RESTORE: &str = "restore the file from a copy, or salvage the rest with `repair`";

/// What a device says of a block that it cannot read.
const EIO: i32 = 5;

/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The name of a file is taken by a directory, a link, a pipe or a device.
#[derive(Debug)]
pub(crate) struct NotAFile(String);

impl NotAFile {
    pub(crate) fn error(name: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidInput, Self(name.to_owned()))
    }

    /// Whether that is what an error says.
    pub(crate) fn is(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl fmt::Display for NotAFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a regular file", self.0)
    }
}

impl std::error::Error for NotAFile {}

/// What a caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The arguments are wrong; nothing was changed. Correct the call.
    InvalidArgument,
    /// The collection, record or database does not exist.
    NotFound,
    /// The collection or record exists already; nothing was changed.
    AlreadyExists,
    /// Stored bytes are damaged, missing or foreign. Restore them from a copy or use `repair`.
    Corruption,
    /// Written by a newer version of varvite. Use that.
    NewerFormat,
    /// Another process or handle is writing. Wait for it or open read-only.
    Locked,
    /// The device or the quota is full; nothing was changed. Free space and try again.
    NoSpace,
    /// Permission is missing, or the database was opened read-only.
    ReadOnly,
    /// A sync failed earlier: nothing more can be acknowledged. Reopen the database.
    Poisoned,
    /// The database was closed.
    Closed,
    /// The caller ended a search. Nothing was changed.
    Cancelled,
    /// A search took longer than its timeout. Allow more, or search among fewer records.
    TimedOut,
    /// The operating system refused an operation.
    Io,
}

/// What failed, where, and what to do about it.
///
/// ```
/// use varvite::{ErrorKind, Metric};
/// let error = "hamming".parse::<Metric>().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidArgument);
/// assert!(error.to_string().contains("hamming"));
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    file: Option<String>,
    offset: Option<u64>,
    remedy: Option<&'static str>,
    source: Option<Arc<io::Error>>,
    failed_sync: bool,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), file: None, offset: None, remedy: None, source: None, failed_sync: false }))
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    pub(crate) fn corruption(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Corruption, message).with_remedy(RESTORE)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// Wraps what the operating system said about `action` ("sync log-00000003").
    pub(crate) fn io(action: impl fmt::Display, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
            io::ErrorKind::NotFound => ErrorKind::NotFound,
            // As good as missing.
            _ if NotAFile::is(&source) => ErrorKind::Corruption,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(kind, format!("cannot {action}: {source}"));
        error.0.remedy = (kind == ErrorKind::Corruption).then_some(RESTORE);
        error.0.source = Some(Arc::new(source));
        error
    }

    #[must_use]
    pub(crate) fn in_file(mut self, file: impl Into<String>) -> Self {
        self.0.file.get_or_insert_with(|| file.into());
        self
    }

    #[must_use]
    pub(crate) fn at(mut self, offset: u64) -> Self {
        self.0.offset.get_or_insert(offset);
        self
    }

    /// Moves the offset of an error from a structure to the file it stands in.
    #[must_use]
    pub(crate) fn shifted(mut self, base: u64) -> Self {
        if let Some(offset) = &mut self.0.offset {
            *offset = offset.saturating_add(base);
        }
        self
    }

    #[must_use]
    pub(crate) fn with_remedy(mut self, remedy: &'static str) -> Self {
        self.0.remedy = Some(remedy);
        self
    }

    /// Of a failed sync: nothing that the device says can be relied on from here.
    #[must_use]
    pub(crate) fn of_sync(mut self) -> Self {
        self.0.failed_sync = true;
        self
    }

    /// Whether this process or machine lacked something (descriptors, memory) to look at a file, which says nothing about the file.
    pub(crate) fn is_shortage(&self) -> bool {
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        let lacks =
            |source: &Arc<io::Error>| matches!(source.raw_os_error(), Some(ENFILE | EMFILE)) || source.kind() == io::ErrorKind::OutOfMemory;
        self.0.source.as_ref().is_some_and(lacks)
    }

    pub(crate) fn is_failed_sync(&self) -> bool {
        self.0.failed_sync
    }

    /// The same failure as one that stopped the writer: its kind must not promise that nothing was changed.
    #[must_use]
    pub(crate) fn stopping(mut self) -> Self {
        if matches!(self.0.kind, ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::NotFound) {
            self.0.kind = ErrorKind::Io;
            self.0.remedy = Some("reads go on; reopen the database to write again");
        }
        self
    }

    /// What a caller can do about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Damage of what the next open for writing writes anew.
    #[must_use]
    pub(crate) fn mended_by_opening(self) -> Self {
        self.with_remedy("opening for writing mends it")
    }

    /// Where and what, without the remedy: for those who have applied it.
    pub(crate) fn told(&self) -> String {
        let mut told = self.clone();
        told.0.remedy = None;
        told.to_string()
    }

    /// Whether it says nothing of what is stored: another program, another user or another moment reads it. A device that cannot read a block
    /// (EIO) and a file that ends early do tell of damage.
    pub(crate) fn is_obstacle(&self) -> bool {
        match self.0.kind {
            ErrorKind::NewerFormat | ErrorKind::ReadOnly | ErrorKind::Locked | ErrorKind::NoSpace => true,
            ErrorKind::Io => self
                .0
                .source
                .as_ref()
                .is_none_or(|source| source.raw_os_error() != Some(EIO) && source.kind() != io::ErrorKind::UnexpectedEof),
            _ => false,
        }
    }

    /// What failed, without place and remedy.
    pub(crate) fn message(&self) -> &str {
        &self.0.message
    }

    /// The file of the database that it is about, if it is about one.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.0.file.as_deref()
    }

    /// The offset in [`Self::file`], in bytes, if known.
    #[must_use]
    pub fn offset(&self) -> Option<u64> {
        self.0.offset
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { message, file, offset, remedy, .. } = &*self.0;
        if let Some(file) = file {
            write!(f, "{file}")?;
            if let Some(offset) = offset {
                write!(f, " at byte {offset}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(message)?;
        remedy.map_or(Ok(()), |remedy| write!(f, " ({remedy})"))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind};

    #[test]
    fn message_names_file_offset_and_remedy() {
        let error = Error::corruption("checksum mismatch").at(40).shifted(4096).in_file("seg-00000007");
        assert_eq!(error.kind(), ErrorKind::Corruption);
        let text = error.to_string();
        assert!(text.starts_with("seg-00000007 at byte 4136: checksum mismatch"), "{text}");
        assert!(text.contains("repair"), "{text}");
    }

    #[test]
    fn full_disk_is_told_apart() {
        let error = Error::io("write x", std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert_eq!(error.kind(), ErrorKind::NoSpace);
    }
}
