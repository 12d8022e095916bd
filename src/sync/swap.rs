use std::ops::Deref;

use super::Arc;

/// A shared value that is replaced as a whole. Whoever only looks at it writes to no memory that others write to, so that any number of threads
/// look at once.
#[derive(Debug)]
pub(crate) struct Swap<T>(#[cfg(not(any(shuttle, loom)))] arc_swap::ArcSwap<T>, #[cfg(any(shuttle, loom))] super::RwLock<Arc<T>>);

/// What a [`Swap`] held when it was looked at. For a short while: for longer, [`Swap::share`] is made.
pub(crate) struct Look<T>(#[cfg(not(any(shuttle, loom)))] arc_swap::Guard<Arc<T>>, #[cfg(any(shuttle, loom))] Arc<T>);

#[cfg(not(any(shuttle, loom)))]
impl<T> Swap<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(arc_swap::ArcSwap::new(value))
    }

    pub(crate) fn look(&self) -> Look<T> {
        Look(self.0.load())
    }

    pub(crate) fn share(&self) -> Arc<T> {
        self.0.load_full()
    }

    pub(crate) fn replace(&self, value: Arc<T>) {
        self.0.store(value);
    }
}

/// With a lock, which the model checkers know.
#[cfg(any(shuttle, loom))]
impl<T> Swap<T> {
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self(super::RwLock::new(value))
    }

    pub(crate) fn look(&self) -> Look<T> {
        Look(self.share())
    }

    pub(crate) fn share(&self) -> Arc<T> {
        Arc::clone(&self.0.read())
    }

    pub(crate) fn replace(&self, value: Arc<T>) {
        *self.0.write() = value;
    }
}

impl<T> Deref for Look<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{Arc, Swap};

    #[test]
    fn a_look_stays_what_it_was() {
        let swap = Swap::new(Arc::new(1));
        let (look, shared) = (swap.look(), swap.share());
        swap.replace(Arc::new(2));
        assert_eq!((*look, *shared, *swap.look(), *swap.share()), (1, 1, 2, 2));
        drop(look);
        assert_eq!(Arc::strong_count(&shared), 1);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test may start threads")]
    fn looks_beside_replacements_see_one_value_or_the_other() {
        let swap = Swap::new(Arc::new([0_u64; 8]));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while last < 2000 {
                        let look = swap.look();
                        assert!(look[0] >= last && look.iter().all(|&part| part == look[0]), "{:?} behind {last}", *look);
                        last = look[0];
                    }
                });
            }
            (1..=2000).for_each(|value| swap.replace(Arc::new([value; 8])));
        });
    }
}
