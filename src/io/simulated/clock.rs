use std::{io, time::Duration};

use crate::{
    io::{Clock, Random},
    sync::Mutex,
};

/// A clock that moves only when told to: by [`ManualClock::advance`], or by somebody who sleeps.
#[derive(Debug, Default)]
pub struct ManualClock(Mutex<Time>);

#[derive(Clone, Copy, Debug, Default)]
struct Time {
    elapsed: Duration,
    unix_shift: i64,
}

/// Where the wall clock starts: 2025-01-01.
const UNIX_SECONDS_START: u64 = 1_735_689_600;

impl ManualClock {
    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let mut time = self.0.lock();
        time.elapsed = time.elapsed.saturating_add(duration);
    }

    /// Sets the wall clock forward or back by seconds; [`Clock::elapsed`] does not notice.
    pub fn shift_wall_clock(&self, seconds: i64) {
        let mut time = self.0.lock();
        time.unix_shift = time.unix_shift.saturating_add(seconds);
    }

    pub(super) fn copy(&self) -> Self {
        Self(Mutex::new(*self.0.lock()))
    }
}

impl Clock for ManualClock {
    fn elapsed(&self) -> Duration {
        self.0.lock().elapsed
    }

    fn unix_seconds(&self) -> u64 {
        let time = *self.0.lock();
        UNIX_SECONDS_START.saturating_add(time.elapsed.as_secs()).saturating_add_signed(time.unix_shift)
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
#[derive(Clone, Copy, Debug)]
pub(super) struct SplitMix(pub(super) u64);

impl SplitMix {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, or 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }
}

/// Reproducible randomness.
#[derive(Debug)]
pub(super) struct SeededRandom(Mutex<SplitMix>);

impl SeededRandom {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new(SplitMix(seed)))
    }

    /// Goes on where this one stands, so that a disk after a crash does not give out identities again.
    pub(super) fn copy(&self) -> Self {
        Self(Mutex::new(*self.0.lock()))
    }
}

impl Random for SeededRandom {
    fn fill(&self, buffer: &mut [u8]) -> io::Result<()> {
        let mut source = self.0.lock();
        for part in buffer.chunks_mut(8) {
            let bytes = source.next().to_le_bytes();
            part.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ManualClock, SeededRandom, UNIX_SECONDS_START};
    use crate::io::{Clock, Random};

    #[test]
    fn time_moves_only_when_told() {
        let clock = ManualClock::default();
        assert_eq!((clock.elapsed(), clock.unix_seconds()), (Duration::ZERO, UNIX_SECONDS_START));
        clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(3));
        clock.shift_wall_clock(-10);
        assert_eq!((clock.elapsed(), clock.unix_seconds()), (Duration::from_secs(5), UNIX_SECONDS_START - 5));
        clock.shift_wall_clock(i64::MIN);
        assert_eq!(clock.unix_seconds(), 0);
    }

    #[test]
    fn randomness_is_reproducible_and_goes_on_after_a_copy() {
        let draw = |random: &SeededRandom| {
            let mut bytes = [0; 19];
            random.fill(&mut bytes).unwrap();
            bytes
        };
        let (one, two) = (SeededRandom::new(7), SeededRandom::new(7));
        let first = draw(&one);
        assert_eq!(first, draw(&two));
        let copy = one.copy();
        let second = draw(&one);
        assert_eq!(second, draw(&copy));
        assert_ne!(first, second);
        assert_ne!(first, draw(&SeededRandom::new(8)));
    }
}
