//! The locks and atomics of a model checker, with the interface that the engine uses of parking_lot and the standard library. Only with
//! `--cfg shuttle` or `--cfg loom`: every use is a point where another thread may run.
#![allow(clippy::expect_used, reason = "a model that is wrong shall stop")]

use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

#[cfg(loom)]
use loom::{sync as model, thread::yield_now};
#[cfg(shuttle)]
use shuttle::{sync as model, thread::yield_now};

const HELD: &str = "a guard is empty within a wait only";

/// The locks of parking_lot know no poison.
fn ignoring_panics<T>(result: model::LockResult<T>) -> T {
    result.unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// As `parking_lot::Mutex`.
#[derive(Default)]
pub(crate) struct Mutex<T>(model::Mutex<T>);

/// Empty only within [`Condvar`].
pub(crate) struct MutexGuard<'a, T> {
    mutex: &'a model::Mutex<T>,
    guard: Option<model::MutexGuard<'a, T>>,
}

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        MutexGuard { mutex: &self.0, guard: Some(ignoring_panics(self.0.lock())) }
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mutex")
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect(HELD)
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect(HELD)
    }
}

/// As `parking_lot::RwLock`.
#[derive(Default)]
pub(crate) struct RwLock<T>(model::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(model::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> model::RwLockReadGuard<'_, T> {
        ignoring_panics(self.0.read())
    }

    pub(crate) fn write(&self) -> model::RwLockWriteGuard<'_, T> {
        ignoring_panics(self.0.write())
    }
}

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RwLock")
    }
}

/// As `parking_lot::Condvar`.
#[derive(Default)]
pub(crate) struct Condvar(model::Condvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let held = guard.guard.take().expect(HELD);
        guard.guard = Some(ignoring_panics(self.0.wait(held)));
    }

    /// Time is not modelled: it may have passed at once.
    pub(crate) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _at_most: Duration) {
        drop(guard.guard.take());
        yield_now();
        guard.guard = Some(ignoring_panics(guard.mutex.lock()));
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Condvar")
    }
}

/// As `std::sync::OnceLock`, whose wait for another thread's initialisation the checker would not see.
pub(crate) struct OnceLock<T> {
    value: std::sync::OnceLock<T>,
    filling: model::Mutex<()>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { value: std::sync::OnceLock::new(), filling: model::Mutex::new(()) }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        yield_now();
        self.value.get()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _filling = ignoring_panics(self.filling.lock());
        self.value.set(value)
    }

    pub(crate) fn get_or_init(&self, fill: impl FnOnce() -> T) -> &T {
        let _filling = ignoring_panics(self.filling.lock());
        self.value.get_or_init(fill)
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnceLock")
    }
}
