//! Why the program stops, and the exit code that tells a script.

use std::{fmt, io, path::Path};

use varvite::ErrorKind;

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Every way to end without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command cannot be done: exit code 1.
    Refused(String),
    /// What the command would make is there already: exit code 1.
    Exists(String),
    /// The command line makes no sense: exit code 2.
    Usage(String),
    /// Damage was found: exit code 3.
    Damage(String),
    /// What the library said: exit code 1, or 3 for damage.
    Library(varvite::Error),
    /// Whoever read our output has gone: nobody is left to be told.
    OutputClosed,
}

impl Failure {
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    pub(crate) fn exists(message: impl Into<String>) -> Self {
        Self::Exists(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// What the operating system said about a file that is not part of a database.
    pub(crate) fn file(action: &str, path: &Path, source: &io::Error) -> Self {
        Self::Refused(format!("cannot {action} '{}': {source}", path.display()))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused(_) | Self::Exists(_) => 1,
            Self::Usage(_) => 2,
            Self::Damage(_) => 3,
            Self::Library(error) if error.kind() == ErrorKind::Corruption => 3,
            Self::Library(_) => 1,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Exists(message) | Self::Usage(message) | Self::Damage(message) => f.write_str(message),
            Self::Library(error) => error.fmt(f),
            Self::OutputClosed => f.write_str("the output was closed"),
        }
    }
}

impl From<varvite::Error> for Failure {
    fn from(error: varvite::Error) -> Self {
        Self::Library(error)
    }
}

/// Only writing to standard output is converted silently; errors of files name the file with [`Failure::file`].
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Refused(format!("cannot write the output: {error}")),
        }
    }
}
