use std::time::Duration;

use crate::{error::Result, version::Shared};

/// Longest single delay for space; a writer is slowed, never stopped, by compaction that lags.
const DELAY_MAX: Duration = Duration::from_millis(100);

/// Slows a writer down before it queues a batch, so that memtables stay in their budget and the threads that flush and compact keep up.
///
/// # Errors
/// What stops the flush, once no memory is left to go on without it.
pub(crate) fn throttle(shared: &Shared, bytes: usize) -> Result<()> {
    let delay = delay_for(shared.space().pressure(), bytes);
    let started = shared.clock().elapsed();
    if !delay.is_zero() {
        shared.clock().sleep(delay);
    }
    let mut waited = !delay.is_zero();
    loop {
        let seen = shared.changes();
        let view = shared.view();
        let full =
            view.frozen.is_some() && view.memtables().map(|memtable| memtable.bytes()).sum::<usize>() > shared.options.memtable_bytes;
        if !full {
            break;
        }
        shared.check_healthy()?;
        if let Some(error) = shared.flush_error() {
            return Err(error);
        }
        waited = true;
        shared.wait_change(seen, Duration::from_millis(20));
    }
    if waited {
        shared.counters.stalls.add(1);
        shared.counters.stall_micros.add((shared.clock().elapsed() - started).as_micros() as u64);
    }
    Ok(())
}

/// At pressure 0 nothing; towards 1 the rate falls from 400 MB/s to 4 MB/s.
fn delay_for(pressure: f64, bytes: usize) -> Duration {
    if pressure <= 0.0 {
        return Duration::ZERO;
    }
    let rate = 400e6 * (1.0 - pressure.min(1.0)).powi(2) + 4e6;
    Duration::from_secs_f64(bytes as f64 / rate).min(DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::{DELAY_MAX, delay_for};
    use std::time::Duration;

    #[test]
    fn delay_rises_smoothly_and_is_bounded() {
        assert_eq!(delay_for(0.0, 1 << 20), Duration::ZERO);
        let delays: Vec<_> = (1..=20).map(|step| delay_for(f64::from(step) / 20.0, 64 << 10)).collect();
        assert!(delays.is_sorted() && delays.iter().all(|delay| *delay <= DELAY_MAX));
        assert_eq!(delay_for(2.0, 1 << 30), DELAY_MAX);
    }
}
