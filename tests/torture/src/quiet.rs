//! Oracles panic: here a panic is a finding, and is kept instead of printed.

use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind, set_hook},
};

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics are kept for [`caught`], whichever thread they happen in.
pub fn keep_panics() {
    set_hook(Box::new(|info| {
        if std::env::var_os("TORTURE_LOUD").is_some() {
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        }
        LAST.with(|last| last.borrow_mut().get_or_insert_with(|| info.to_string()).truncate(4000));
    }));
}

/// What the body gives, or the text of its panic.
pub fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    LAST.with(|last| last.borrow_mut().take());
    let caught = catch_unwind(AssertUnwindSafe(body));
    caught.map_err(|_| LAST.with(|last| last.borrow_mut().take()).unwrap_or_else(|| "a panic without words".to_owned()))
}
