//! The only place that names locks and atomics, so that a model checker can be swapped in: `--cfg shuttle` and `--cfg loom` do.

#[cfg(any(shuttle, loom))]
mod model;

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
