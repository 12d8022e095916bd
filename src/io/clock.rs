use std::{fmt::Debug, time::Duration};

/// Where the engine gets time from. Order and correctness never depend on it.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Time since some fixed start; never goes back.
    fn elapsed(&self) -> Duration;

    /// Seconds since 1970, for records of when something was deleted.
    fn unix_seconds(&self) -> u64;

    /// Waits.
    fn sleep(&self, duration: Duration);
}

/// The clocks of the operating system.
#[derive(Debug)]
pub struct SystemClock(std::time::Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Clock for SystemClock {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    fn unix_seconds(&self) -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn sleep(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}
