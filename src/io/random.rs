use std::io;

use super::Random;
use crate::types::FileId;

/// The random source of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()> {
        getrandom::fill(buffer)
            .map_err(|error| error.raw_os_error().map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error))
    }
}

/// A fresh identity, never all zeros: zeros mean "none" in files.
pub(crate) fn random_id(random: &dyn Random) -> io::Result<FileId> {
    let mut id = [0; 16];
    random.fill(&mut id)?;
    if id == [0; 16] {
        return Err(io::Error::other("the random source gave only zeros"));
    }
    Ok(FileId(id))
}

#[cfg(test)]
mod tests {
    use super::{Random, SystemRandom, random_id};

    #[derive(Debug)]
    struct Zeros;

    impl Random for Zeros {
        fn fill(&self, buffer: &mut [u8]) -> std::io::Result<()> {
            buffer.fill(0);
            Ok(())
        }
    }

    #[test]
    fn identities_differ_and_zeros_are_refused() {
        assert_ne!(random_id(&SystemRandom).unwrap(), random_id(&SystemRandom).unwrap());
        assert!(random_id(&Zeros).is_err());
    }
}
