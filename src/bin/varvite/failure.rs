//! Why the program stops, and the exit code that tells a script.

use std::{error::Error as _, fmt, io, path::Path};

use serde_json::{Value as Json, json};
use varvite::ErrorKind;

pub(crate) type Outcome<T = ()> = Result<T, Failure>;

/// Every way to end without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command cannot be done: exit code 1.
    Refused(String),
    /// What the command is about is not there: exit code 1.
    Missing(String),
    /// What the command would make is there already: exit code 1.
    Exists(String),
    /// The command line makes no sense: exit code 2.
    Usage(String),
    /// Damage was found: exit code 3.
    Damage(String),
    /// What the library said: exit code 1, or 3 for damage.
    Library(varvite::Error),
    /// Another failure, and what stands in spite of it.
    Noted(Box<Failure>, String),
    /// Standard output took no more: exit code 1.
    Output(io::Error),
    /// Whoever read our output has gone: nobody is left to be told.
    OutputClosed,
}

impl Failure {
    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Refused(message.into())
    }

    pub(crate) fn missing(message: impl Into<String>) -> Self {
        Self::Missing(message.into())
    }

    pub(crate) fn exists(message: impl Into<String>) -> Self {
        Self::Exists(message.into())
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// What the operating system said about a file that is not part of a database.
    pub(crate) fn file(action: &str, path: &Path, source: &io::Error) -> Self {
        let message = format!("cannot {action} '{}': {source}", path.display());
        match source.kind() {
            io::ErrorKind::NotFound => Self::Missing(message),
            io::ErrorKind::AlreadyExists => Self::Exists(message),
            _ => Self::Refused(message),
        }
    }

    /// The same, followed by what stands in spite of it.
    #[must_use]
    pub(crate) fn noting(self, note: impl Into<String>) -> Self {
        Self::Noted(Box::new(self), note.into())
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::OutputClosed => 0,
            Self::Refused(_) | Self::Missing(_) | Self::Exists(_) | Self::Output(_) => 1,
            Self::Usage(_) => 2,
            Self::Damage(_) => 3,
            Self::Library(error) if error.kind() == ErrorKind::Corruption => 3,
            Self::Library(_) => 1,
            Self::Noted(cause, _) => cause.exit_code(),
        }
    }

    /// The kind for programs: of the library's errors their own, in small letters.
    fn kind(&self) -> String {
        match self {
            Self::Refused(_) => "refused".to_owned(),
            Self::Missing(_) => "not_found".to_owned(),
            Self::Exists(_) => "already_exists".to_owned(),
            Self::Usage(_) => "usage".to_owned(),
            Self::Damage(_) => "corruption".to_owned(),
            Self::Output(_) | Self::OutputClosed => "output".to_owned(),
            Self::Library(error) => snake_case(&format!("{:?}", error.kind())),
            Self::Noted(cause, _) => cause.kind(),
        }
    }

    /// What `--json` puts on standard error.
    pub(crate) fn json(&self) -> Json {
        json!({"error": {"kind": self.kind(), "message": self.to_string()}})
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

/// Whether the operating system said that a device or a quota is full.
fn is_full(error: &varvite::Error) -> bool {
    let full = |error: &io::Error| matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    error.kind() == ErrorKind::NoSpace || error.source().and_then(|source| source.downcast_ref()).is_some_and(full)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(message) | Self::Missing(message) | Self::Exists(message) | Self::Usage(message) | Self::Damage(message) => {
                f.write_str(message)
            }
            Self::Library(error) if is_full(error) => write!(
                f,
                "{error}: free space on that device (remove other files, or raise the quota) and run the command again; \
                 reading goes on meanwhile, `export` to another device too"
            ),
            Self::Library(error) => error.fmt(f),
            Self::Noted(cause, note) => write!(f, "{cause}; {note}"),
            Self::Output(error) => write!(f, "cannot write the output: {error}"),
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
            _ => Self::Output(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Failure, snake_case};

    #[test]
    fn kinds_for_programs_are_snakes() {
        assert_eq!(snake_case("InvalidArgument"), "invalid_argument");
        assert_eq!(snake_case("Io"), "io");
        let noted = Failure::usage("no").noting("but 3 records are durable");
        assert_eq!(
            (noted.exit_code(), noted.json().to_string().as_str()),
            (2, r#"{"error":{"kind":"usage","message":"no; but 3 records are durable"}}"#)
        );
    }
}
