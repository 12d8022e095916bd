//! Bars and spinners: on standard error, only on a terminal, only for what lasts longer than a second.

use std::{
    io::{IsTerminal, stderr},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// A bar for work of a known number of steps.
pub(crate) struct Progress {
    started: Instant,
    bar: Option<ProgressBar>,
    visible: bool,
}

impl Progress {
    pub(crate) fn new(label: &'static str, total: u64) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
            if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len}, {eta} left") {
                bar.set_style(style);
            }
            bar.with_message(label)
        });
        Self { started: Instant::now(), bar, visible: false }
    }

    pub(crate) fn advance(&mut self, steps: u64) {
        let Some(bar) = &self.bar else { return };
        bar.inc(steps);
        if !self.visible && self.started.elapsed() > PATIENCE {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            self.visible = true;
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Does `work`, with a spinner beside it once it takes long.
pub(crate) fn busy<T>(label: &'static str, work: impl FnOnce() -> T) -> T {
    if !stderr().is_terminal() {
        return work();
    }
    let (working, end) = channel::<()>();
    thread::scope(|scope| {
        // Without a thread there is no spinner, which is no reason to refuse the work.
        let _ = thread::Builder::new().spawn_scoped(scope, move || spin(label, &end));
        let result = work();
        drop(working);
        result
    })
}

fn spin(label: &'static str, end: &Receiver<()>) {
    if end.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let bar = ProgressBar::new_spinner().with_message(label);
    while end.recv_timeout(Duration::from_millis(100)) == Err(RecvTimeoutError::Timeout) {
        bar.tick();
    }
    bar.finish_and_clear();
}
