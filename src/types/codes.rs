use std::fmt;

use super::Dimension;

/// What is kept beside the vectors of a collection, so that a search need not read all of them. Answers do not depend on it, unless
/// approximate ones are asked for.
///
/// ```
/// use varvite::Codes;
/// assert_eq!("int8".parse::<Codes>().unwrap(), Codes::Int8);
/// assert_eq!(Codes::None.to_string(), "none");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Codes {
    /// Nothing.
    None,
    /// A byte an element and 10 bytes a row, from which most rows are proven to be too far away; of most rows half of that is read.
    Int8,
}

impl Codes {
    /// All kinds, in the order of their numbers on disk.
    pub const ALL: [Self; 2] = [Self::None, Self::Int8];
    /// The dimension from which a collection has codes unless it is said otherwise: with fewer, what stands beside a code weighs too much.
    pub const FROM_DIMENSION: usize = 128;

    pub(crate) fn by_default(dimension: Dimension) -> Self {
        if dimension.get() < Self::FROM_DIMENSION { Self::None } else { Self::Int8 }
    }

    /// The name used by the command line and by [`fmt::Display`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Int8 => "int8",
        }
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Codes {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codes| codes.name() == name)
            .ok_or_else(|| crate::Error::invalid(format!("unknown codes '{name}': use none or int8")))
    }
}
