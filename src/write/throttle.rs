use std::time::Duration;

use crate::{error::Result, version::Shared};

/// Longest delay of a write that is slowed down to keep room: compaction is behind, but gets there.
const DELAY_MAX: Duration = Duration::from_millis(100);
/// Bytes a second that writes get, at least, while the room is used up. Compaction must free some first, and does so many times faster.
const RATE_MIN: f64 = 16e6;
/// Longest wait of a write, however large, while the room is used up.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Slows a writer down before it queues a batch, so that memtables stay in their budget and files in their bound. For databases with threads:
/// without them nobody would free anything meanwhile.
///
/// # Errors
/// What stops the flush, once no memory is left to go on without it.
pub(crate) fn throttle(shared: &Shared, bytes: usize) -> Result<()> {
    let started = shared.clock().elapsed();
    let mut waited = keep_room(shared, bytes, started)?;
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
        let micros = (shared.clock().elapsed() - started).as_micros() as u64;
        shared.counters.stalls.add(1);
        shared.counters.stall_micros.add(micros);
        shared.counters.longest_stall_micros.raise(micros);
    }
    Ok(())
}

/// Waits while files are near their bound. Returns whether it did.
fn keep_room(shared: &Shared, bytes: usize, started: Duration) -> Result<bool> {
    let pressure = shared.space().pressure();
    if pressure <= 0.0 {
        return Ok(false);
    }
    let delay = shared.pace(started, bytes as f64 / rate(pressure)).min(DELAY_MAX);
    if !delay.is_zero() {
        shared.clock().sleep(delay);
    }
    let in_vain = || shared.compaction_error().is_some() || shared.is_compact();
    let until = started + wait_max(bytes);
    while shared.space().pressure() >= 1.0 && !in_vain() {
        let (seen, left) = (shared.changes(), until.saturating_sub(shared.clock().elapsed()));
        if left.is_zero() {
            break;
        }
        shared.check_healthy()?;
        shared.wait_change(seen, left.min(Duration::from_millis(20)));
    }
    Ok(true)
}

fn wait_max(bytes: usize) -> Duration {
    Duration::from_secs_f64(bytes as f64 / RATE_MIN).clamp(DELAY_MAX, WAIT_MAX)
}

/// Bytes a second that all writers together may write: from 400 MB/s at no pressure down to 4 MB/s at full pressure.
fn rate(pressure: f64) -> f64 {
    400e6 * (1.0 - pressure.clamp(0.0, 1.0)).powi(2) + 4e6
}

#[cfg(test)]
mod tests {
    use super::{rate, wait_max};
    use std::time::Duration;

    #[test]
    fn small_writes_wait_a_tenth_of_a_second_and_large_ones_in_proportion() {
        let waits = [1, 1_600_000, 8_000_000, usize::MAX].map(wait_max);
        assert_eq!(waits, [100, 100, 500, 1000].map(Duration::from_millis));
    }

    #[test]
    fn the_rate_falls_smoothly_and_never_to_nothing() {
        let rates: Vec<_> = (0..=20).map(|step| rate(f64::from(step) / 20.0)).collect();
        assert!(rates.windows(2).all(|pair| pair[1] < pair[0] && pair[1] > pair[0] * 0.3), "{rates:?}");
        assert_eq!((rates[0], rate(7.0)), (404e6, 4e6));
    }
}
