//! Ids are bytes; command lines and files carry them as UTF-8 or as hexadecimal digits.

use std::fmt::Write as _;

use crate::{
    failure::{Failure, Outcome},
    text::grouped,
};

/// Longest id the engine takes, in bytes.
const ID_BYTES_MAX: usize = 65_535;

/// How ids are written on the command line, in files and in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IdEncoding {
    /// As they are; they must be UTF-8.
    #[default]
    Utf8,
    /// Two hexadecimal digits a byte.
    Hex,
}

/// The option shared by every command that takes or shows ids.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct IdOptions {
    /// How ids are written on the command line, in files and in the output
    #[arg(long, value_enum, default_value_t, value_name = "ENCODING")]
    pub(crate) id_encoding: IdEncoding,
}

impl IdEncoding {
    /// The bytes of an id as it was written, or what is wrong with it.
    pub(crate) fn decode(self, text: &[u8]) -> Result<Vec<u8>, String> {
        let id = match self {
            Self::Utf8 => match std::str::from_utf8(text) {
                Ok(_) => text.to_vec(),
                Err(_) => return Err(format!("the id {} is not UTF-8 (write ids in hex and say --id-encoding hex)", readable(text))),
            },
            Self::Hex => from_hex(text).ok_or_else(|| format!("the id {} is not pairs of hexadecimal digits", readable(text)))?,
        };
        match id.len() {
            0 => Err("an id must have at least one byte".to_owned()),
            1..=ID_BYTES_MAX => Ok(id),
            long => Err(format!("an id of {} bytes is too long: at most 65,535", grouped(long as u64))),
        }
    }

    /// Ids of the command line.
    pub(crate) fn decode_arguments(self, arguments: &[String]) -> Outcome<Vec<Vec<u8>>> {
        arguments.iter().map(|text| self.decode(text.as_bytes()).map_err(Failure::Refused)).collect()
    }

    /// The text that stands for an id, without loss: refuses what this encoding cannot say.
    pub(crate) fn encode(self, id: &[u8]) -> Outcome<String> {
        match self {
            Self::Utf8 => std::str::from_utf8(id)
                .map(str::to_owned)
                .map_err(|_| Failure::refused(format!("the id {} is not UTF-8: say --id-encoding hex", readable(id)))),
            Self::Hex => Ok(to_hex(id)),
        }
    }

    /// The text of one line of an id file: refuses an id that would read back as another, or as two.
    pub(crate) fn encode_line(self, id: &[u8]) -> Outcome<String> {
        let line = self.encode(id)?;
        let what = match () {
            () if line.contains('\n') => "holds a newline",
            () if line.ends_with('\r') => "ends in a carriage return",
            () if line.starts_with('\u{feff}') => "begins with a byte order mark",
            () => return Ok(line),
        };
        Err(Failure::refused(format!("the id {} {what}: say --id-encoding hex", readable(id))))
    }

    /// What people are shown; never fails.
    pub(crate) fn show(self, id: &[u8]) -> String {
        match self {
            Self::Utf8 => match std::str::from_utf8(id) {
                Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
                _ => id.escape_ascii().to_string(),
            },
            Self::Hex => to_hex(id),
        }
    }
}

/// An id quoted for a message, cut if it is very long.
pub(crate) fn readable(id: &[u8]) -> String {
    let shown = id.get(..80).unwrap_or(id);
    let text = IdEncoding::Utf8.show(shown);
    if shown.len() < id.len() { format!("'{text}…' ({} bytes)", grouped(id.len() as u64)) } else { format!("'{text}'") }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    text.chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::IdEncoding::{Hex, Utf8};

    #[test]
    fn hex_round_trips_and_refuses_the_rest() {
        let id = [0, 10, 0xff, 0x7f];
        assert_eq!(Hex.encode(&id).unwrap(), "000aff7f");
        assert_eq!(Hex.decode(b"000AfF7f").unwrap(), id);
        for bad in ["0", "0g", "000", " 00", ""] {
            assert!(Hex.decode(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ambiguous_lines_are_refused() {
        assert!(Utf8.encode_line(b"a\nb").unwrap_err().to_string().contains("newline"));
        assert!(Utf8.encode_line(b"\xff").unwrap_err().to_string().contains("hex"));
        assert_eq!(Hex.encode_line(b"a\nb").unwrap(), "610a62");
        assert_eq!(Utf8.encode_line("kä\rse".as_bytes()).unwrap(), "kä\rse");
        assert!(Utf8.encode_line(b"a\r").unwrap_err().to_string().contains("carriage return"));
        assert!(Utf8.encode_line("\u{feff}a".as_bytes()).unwrap_err().to_string().contains("byte order mark"));
    }

    #[test]
    fn lengths_are_checked_at_their_borders() {
        assert!(Utf8.decode(&vec![b'x'; 65_535]).is_ok());
        assert!(Utf8.decode(&vec![b'x'; 65_536]).unwrap_err().contains("too long"));
        assert!(Utf8.decode(b"").is_err());
    }

    #[test]
    fn people_see_control_characters_escaped() {
        assert_eq!(Utf8.show(b"a\tb"), "a\\tb");
        assert_eq!(Utf8.show("käse".as_bytes()), "käse");
        assert!(super::readable(&[b'x'; 200]).ends_with("(200 bytes)"));
    }
}
