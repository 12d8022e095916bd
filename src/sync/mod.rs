//! The only place that names locks and atomics, so that a model checker can be swapped in: `--cfg shuttle` and `--cfg loom` do.

#[cfg(any(shuttle, loom))]
mod model;
mod swap;

pub(crate) use swap::{Look, Swap};

#[cfg(not(any(shuttle, loom)))]
pub(crate) use parking_lot::{Condvar, Mutex, RwLock};
pub(crate) use std::sync::{Arc, Weak};
#[cfg(not(any(shuttle, loom)))]
pub(crate) use std::sync::{
    OnceLock,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

#[cfg(loom)]
pub(crate) use ::loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(shuttle)]
pub(crate) use ::shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
#[cfg(any(shuttle, loom))]
pub(crate) use model::{Condvar, Mutex, OnceLock, RwLock};

/// A small number of this thread, which no other one has until there were very many: where each thread has a part of something, its part.
pub(crate) fn thread_number() -> usize {
    use std::sync::atomic;
    static NEXT: atomic::AtomicUsize = atomic::AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = NEXT.fetch_add(1, atomic::Ordering::Relaxed);
    }
    // While a thread ends it may have none any more.
    NUMBER.try_with(|number| *number).unwrap_or_default()
}
