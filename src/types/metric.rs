use std::fmt;

/// How two vectors are compared. Smaller is nearer in all three.
///
/// ```
/// use varvite::Metric;
/// assert_eq!("cosine".parse::<Metric>().unwrap(), Metric::Cosine);
/// assert_eq!(Metric::L2.to_string(), "l2");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Metric {
    /// Squared Euclidean distance, Σ(a−b)².
    L2,
    /// 1 − cos of the angle, in 0 to 2; 1 if either vector is zero.
    Cosine,
    /// Negated inner product, −Σab.
    Dot,
}

impl Metric {
    /// All metrics, in the order of their numbers on disk.
    pub const ALL: [Self; 3] = [Self::L2, Self::Cosine, Self::Dot];

    /// The name used by the command line and by [`fmt::Display`].
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Cosine => "cosine",
            Self::Dot => "dot",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Metric {
    type Err = crate::Error;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|metric| metric.name() == name)
            .ok_or_else(|| crate::Error::invalid(format!("unknown metric '{name}': use l2, cosine or dot")))
    }
}
