use crate::{
    sync::{AtomicU64, OnceLock, Ordering},
    types::CollectionId,
};

/// Words of 64 bits: with 40,000 ids one look in twenty-six is in vain. 128 KiB, which a memtable of less than [`Filter::WORTH_IT`] versions does
/// without.
const WORDS: usize = if cfg!(any(shuttle, loom)) { 1 } else { 1 << 14 };

/// Tells most ids that a memtable does not have, without a lock: beside a writer, a lock is what a look-up would spend its time on.
///
/// One bit for each id (a Bloom filter with one hash function: Bloom, "Space/time trade-offs in hash coding with allowable errors", 1970).
#[derive(Debug, Default)]
pub(super) struct Filter(OnceLock<Box<[AtomicU64]>>);

impl Filter {
    /// Versions from which on a memtable has one.
    pub(super) const WORTH_IT: usize = 256;

    /// Begins, with the ids that are there already. Nobody may add one meanwhile.
    pub(super) fn begin(&self, ids: impl Iterator<Item = (CollectionId, u64)>) {
        self.0.get_or_init(|| {
            let words: Box<[AtomicU64]> = (0..WORDS).map(|_| AtomicU64::new(0)).collect();
            ids.for_each(|(collection, hash)| set(&words, collection, hash));
            words
        });
    }

    /// Adds an id before its sequence is published: whoever may see it sees the bit.
    pub(super) fn add(&self, collection: CollectionId, hash: u64) {
        if let Some(words) = self.0.get() {
            set(words, collection, hash);
        }
    }

    /// False only for an id that was not added.
    #[inline]
    pub(super) fn may_hold(&self, collection: CollectionId, hash: u64) -> bool {
        let Some(words) = self.0.get() else { return true };
        let (word, bit) = place(collection, hash);
        words.get(word).is_none_or(|word| word.load(Ordering::Relaxed) & bit != 0)
    }
}

fn set(words: &[AtomicU64], collection: CollectionId, hash: u64) {
    let (word, bit) = place(collection, hash);
    if let Some(word) = words.get(word) {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// The bits of a hash that its table does not begin with.
fn place(collection: CollectionId, hash: u64) -> (usize, u64) {
    let mixed = (hash ^ u64::from(collection)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    (mixed as usize / 64 % WORDS, 1 << (mixed % 64))
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    use super::Filter;

    #[test]
    fn what_was_added_may_be_there_and_most_else_is_not() {
        let filter = Filter::default();
        // With the same keys every time.
        let hash = |number: u64| BuildHasherDefault::<DefaultHasher>::default().hash_one(number);
        filter.add(1, hash(0));
        assert!(filter.may_hold(1, hash(7)), "until it begins it knows nothing");
        filter.begin((0..1000).map(|number| (1, hash(number))));
        (1000..40_000).for_each(|number| filter.add(1, hash(number)));
        assert!((0..40_000).all(|number| filter.may_hold(1, hash(number))));
        let wrong = (40_000..140_000).filter(|&number| filter.may_hold(1, hash(number))).count();
        assert!((2000..6000).contains(&wrong), "{wrong} of 100,000");
        let other = (0..40_000).filter(|&number| filter.may_hold(2, hash(number))).count();
        assert!(other < 6000, "{other} of 40,000 ids of another collection");
    }
}
