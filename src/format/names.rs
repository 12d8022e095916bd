//! Names in a database's directory: `LOCK`, `FLOOR`, `MANIFEST-<n>`, `log-<n>`, `seg-<n>`, `tmp-<any of these>`; n in
//! decimal from 1, with zeros in front to 8 digits.

use std::fmt;

/// The file whose OS lock keeps a second writer out.
pub(crate) const LOCK: &str = "LOCK";
/// The file that remembers the newest durable manifest.
pub(crate) const FLOOR: &str = "FLOOR";

const MANIFEST_PREFIX: &str = "MANIFEST-";
const LOG_PREFIX: &str = "log-";
const SEGMENT_PREFIX: &str = "seg-";
const TEMPORARY_PREFIX: &str = "tmp-";
const DIGITS_MIN: usize = 8;

/// What a name in the directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum FileName {
    Lock,
    Floor,
    Manifest(u64),
    Log(u64),
    Segment(u64),
    /// An unfinished publication.
    Temporary,
    /// Not ours: ignored, never touched.
    Foreign,
}

impl FileName {
    /// Recognises canonical names only, so that no two names stand for the same file.
    pub(crate) fn parse(name: &str) -> Self {
        let numbered = |prefix| name.strip_prefix(prefix).and_then(parse_number);
        match name {
            LOCK => Self::Lock,
            FLOOR => Self::Floor,
            _ if name.strip_prefix(TEMPORARY_PREFIX).is_some_and(|name| Self::parse(name).is_ours()) => Self::Temporary,
            _ => numbered(MANIFEST_PREFIX)
                .map(Self::Manifest)
                .or_else(|| numbered(LOG_PREFIX).map(Self::Log))
                .or_else(|| numbered(SEGMENT_PREFIX).map(Self::Segment))
                .unwrap_or(Self::Foreign),
        }
    }
}

impl FileName {
    fn is_ours(self) -> bool {
        !matches!(self, Self::Foreign | Self::Temporary)
    }
}

fn parse_number(digits: &str) -> Option<u64> {
    let canonical = digits.len() == DIGITS_MIN || (digits.len() > DIGITS_MIN && !digits.starts_with('0'));
    if !canonical || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|&number| number > 0)
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lock => f.write_str(LOCK),
            Self::Floor => f.write_str(FLOOR),
            Self::Manifest(number) => f.write_str(&manifest_name(*number)),
            Self::Log(number) => f.write_str(&log_name(*number)),
            Self::Segment(number) => f.write_str(&segment_name(*number)),
            Self::Temporary => f.write_str("temporary file"),
            Self::Foreign => f.write_str("foreign file"),
        }
    }
}

pub(crate) fn manifest_name(number: u64) -> String {
    format!("{MANIFEST_PREFIX}{number:08}")
}

pub(crate) fn log_name(number: u64) -> String {
    format!("{LOG_PREFIX}{number:08}")
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("{SEGMENT_PREFIX}{number:08}")
}

#[cfg(test)]
mod tests {
    use super::FileName;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_names_are_ours() {
        for (name, expected) in [
            ("LOCK", FileName::Lock),
            ("FLOOR", FileName::Floor),
            ("MANIFEST-00000001", FileName::Manifest(1)),
            ("log-00000042", FileName::Log(42)),
            ("seg-99999999", FileName::Segment(99_999_999)),
            ("seg-100000000", FileName::Segment(100_000_000)),
            ("log-18446744073709551615", FileName::Log(u64::MAX)),
            ("tmp-", FileName::Foreign),
            ("tmp-notes", FileName::Foreign),
            ("tmp-tmp-LOCK", FileName::Foreign),
            ("tmp-LOCK", FileName::Temporary),
            ("tmp-MANIFEST-00000001", FileName::Temporary),
        ] {
            assert_eq!(FileName::parse(name), expected, "{name}");
        }
        for name in [
            "",
            "lock",
            "LOCK ",
            "FLOOR.bak",
            "MANIFEST-1",
            "MANIFEST-00000000",
            "manifest-00000001",
            "log-0000042",
            "log-000000042",
            "log-+0000042",
            "log-0000004２",
            "log-18446744073709551616",
            "seg-",
            "seg-0000000a",
            "TMP-1",
        ] {
            assert_eq!(FileName::parse(name), FileName::Foreign, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn names_of_numbered_files_round_trip(number in 1_u64..) {
            for name in [FileName::Manifest(number), FileName::Log(number), FileName::Segment(number)] {
                prop_assert_eq!(FileName::parse(&name.to_string()), name);
            }
        }

        #[test]
        fn a_name_that_is_ours_is_the_only_one(name in "(MANIFEST|log|seg)-[0-9]{6,21}") {
            let parsed = FileName::parse(&name);
            prop_assert!(parsed == FileName::Foreign || parsed.to_string() == name);
        }
    }
}
