use crate::sync::{AtomicU64, Ordering};

/// The greatest score that still matters to a query, of all threads that search for it: it only falls.
///
/// The k-th score of any visible rows is at least that of all, so that whoever finds k rows may tell the others.
#[derive(Debug)]
pub(super) struct Threshold(AtomicU64);

impl Threshold {
    pub(super) fn new(greatest: f32) -> Self {
        Self(AtomicU64::new(key(greatest).into()))
    }

    pub(super) fn lower_to(&self, score: f32) {
        let key = key(score).into();
        if key < self.0.load(Ordering::Relaxed) {
            self.0.fetch_min(key, Ordering::Relaxed);
        }
    }

    /// NaN, which is greater than all, until a number was given.
    pub(super) fn get(&self) -> f32 {
        score(self.0.load(Ordering::Relaxed) as u32)
    }
}

/// Ascends with the order of scores, the one NaN behind infinity.
pub(super) fn key(score: f32) -> u32 {
    let bits = score.to_bits();
    if score.is_nan() {
        u32::MAX
    } else if score.is_sign_negative() {
        !bits
    } else {
        bits | 1 << 31
    }
}

/// What has a key.
pub(super) fn score(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

#[cfg(test)]
mod tests {
    use super::Threshold;

    #[test]
    fn it_falls_through_all_scores_and_never_rises() {
        let scores =
            [f32::NAN, f32::INFINITY, f32::MAX, 1.0, f32::from_bits(1), 0.0, -f32::from_bits(1), -1.0, f32::MIN, f32::NEG_INFINITY];
        let threshold = Threshold::new(f32::NAN);
        for (place, score) in scores.iter().enumerate() {
            threshold.lower_to(*score);
            for earlier in &scores[..=place] {
                threshold.lower_to(*earlier);
                assert_eq!(threshold.get().to_string(), score.to_string());
            }
        }
        assert_eq!(Threshold::new(-0.5).get(), -0.5);
    }
}
