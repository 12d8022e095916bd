//! The only place that names locks and atomics, so that a model checker can be swapped in: `--cfg shuttle` does.

#[cfg(shuttle)]
mod shuttle;

#[cfg(not(shuttle))]
pub(crate) use parking_lot::{Condvar, Mutex, RwLock};
pub(crate) use std::sync::{Arc, Weak};
#[cfg(not(shuttle))]
pub(crate) use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(shuttle)]
pub(crate) use {
    self::shuttle::{Condvar, Mutex, OnceLock, RwLock},
    ::shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};
