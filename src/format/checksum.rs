/// CRC-32 (IEEE 802.3) of `bytes`.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes)
}

/// The same over several pieces, as if they stood one behind the other.
#[derive(Clone, Default)]
pub(crate) struct Crc(crc32fast::Hasher);

impl Crc {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Goes on where a sum of the bytes before ended.
    pub(crate) fn resume(sum: u32) -> Self {
        Self(crc32fast::Hasher::new_with_initial(sum))
    }

    #[must_use]
    pub(crate) fn with(mut self, bytes: &[u8]) -> Self {
        self.update(bytes);
        self
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> u32 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::{Crc, crc};

    #[test]
    fn check_value_of_the_polynomial() {
        assert_eq!(crc(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc(b""), 0);
    }

    #[test]
    fn pieces_and_resumption_give_the_sum_of_the_whole() {
        let (head, tail) = b"123456789".split_at(4);
        assert_eq!(Crc::new().with(head).with(tail).finish(), 0xCBF4_3926);
        assert_eq!(Crc::resume(crc(head)).with(tail).finish(), 0xCBF4_3926);
    }
}
