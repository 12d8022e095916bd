use std::time::Duration;

use crate::{
    compaction::{self, Choice, Mode, Shape, choose, loose_files},
    error::{Error, ErrorKind, Result},
    flush::flush_frozen,
    io::executor::Worker,
    sync::Arc,
    version::Shared,
    write::Committer,
};

/// How long a failed flush or compaction rests.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// Compactions that an inline writer does at most before its write returns.
const INLINE_STEPS: usize = 64;

/// What a thread does.
type Body = dyn FnOnce() + Send;

/// Starts the threads that flush, compact and remove files.
pub(crate) fn start(shared: &Arc<Shared>, committer: &Arc<Committer>) -> Result<Vec<Worker>> {
    let (flusher, writes) = (Arc::clone(shared), Arc::clone(committer));
    let (compactor, remover) = (Arc::clone(shared), Arc::clone(shared));
    let threads: [(&str, Box<Body>); 3] = [
        ("varvite-flush", Box::new(move || Alarm::guard(&flusher, "flush", || flush_loop(&flusher, &writes)))),
        ("varvite-compact", Box::new(move || Alarm::guard(&compactor, "compaction", || compact_loop(&compactor)))),
        ("varvite-remove", Box::new(move || Alarm::guard(&remover, "removals", || remove_loop(&remover)))),
    ];
    let mut workers = Vec::new();
    for (name, body) in threads {
        match Worker::spawn(name, body) {
            Ok(worker) => workers.push(worker),
            Err(source) => {
                // Those that run must not outlive the lock, which goes with this error.
                shared.stop();
                for worker in workers {
                    worker.join();
                }
                return Err(Error::io(format_args!("start {name}"), source));
            }
        }
    }
    Ok(workers)
}

/// Stops writing if background work ends by a panic: without it writers would wait for ever for memory that nobody frees.
struct Alarm<'a> {
    shared: &'a Shared,
    work: &'static str,
    ended: bool,
}

impl<'a> Alarm<'a> {
    fn guard(shared: &'a Shared, work: &'static str, body: impl FnOnce()) {
        let mut alarm = Self { shared, work, ended: false };
        body();
        alarm.ended = true;
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.poison(Error::new(ErrorKind::Poisoned, format!("the thread for {} panicked", self.work)));
        }
    }
}

/// How often idleness is looked for.
const TICK: Duration = Duration::from_millis(50);

fn flush_loop(shared: &Shared, committer: &Committer) {
    while !shared.is_stopping() {
        let seen = shared.changes();
        let result = flush_step(shared, committer);
        report(shared, &result.as_ref().map(|_| ()).map_err(Clone::clone), Work::Flush);
        match result {
            Ok(true) => {}
            Ok(false) => shared.wait_change(seen, committer.until_sync().map_or(TICK, |until| until.clamp(Duration::from_millis(1), TICK))),
            Err(_) => shared.pause(RETRY_AFTER),
        }
    }
}

fn flush_step(shared: &Shared, committer: &Committer) -> Result<bool> {
    committer.sync_if_due()?;
    if (is_idle(shared) || shared.is_erase_due()) && shared.view().frozen.is_none() {
        shared.freeze(&mut shared.writer.lock())?;
    }
    flush_frozen(shared)
}

/// Whether writes have paused for long enough to tidy up.
fn is_idle(shared: &Shared) -> bool {
    shared.since_last_write() >= shared.options.idle_flush_after
}

fn compact_loop(shared: &Shared) {
    let mut examined = None;
    while !shared.is_stopping() {
        let seen = shared.changes();
        let mode = if is_idle(shared) { Mode::Idle } else { Mode::Busy };
        let state = (shared.counters.manifests.get(), mode);
        let second = shared.clock().elapsed().as_secs();
        // A shape costs a look at every segment: nothing can be due that was not, unless a version or a second has passed.
        if examined == Some((state, second)) {
            shared.wait_change(seen, Duration::from_millis(100));
            continue;
        }
        examined = Some((state, second));
        let result = compact_step(shared, mode);
        report(shared, &result.as_ref().map(|_| ()).map_err(Clone::clone), Work::Compaction);
        match result {
            Ok(true) => examined = None,
            Ok(false) if shared.is_compact() => {}
            Ok(false) => shared.note_compact(state.0),
            Err(_) => shared.pause(RETRY_AFTER),
        }
    }
}

/// Removes the files that publications leave behind: the thread that flushes has the next memtable to write.
fn remove_loop(shared: &Shared) {
    while !shared.is_stopping() {
        let seen = shared.changes();
        if shared.has_garbage() {
            shared.remove_garbage();
        } else {
            shared.wait_change(seen, Duration::from_secs(1));
        }
    }
}

enum Work {
    Flush,
    Compaction,
}

/// Keeps the cause of a failure for writers and `stats`, and forgets it once the same work succeeds.
fn report(shared: &Shared, result: &Result<()>, work: Work) {
    match work {
        Work::Flush => shared.set_flush_error(result.as_ref().err().cloned()),
        Work::Compaction => shared.set_compaction_error(result.as_ref().err().cloned()),
    }
}

/// Runs one compaction if one is due. `false` only if none was: one whose inputs were gone, because another was faster, leaves work to be
/// chosen anew.
pub(crate) fn compact_step(shared: &Shared, mode: Mode) -> Result<bool> {
    let Some(choice) = choose(&Shape::of(shared), mode) else { return Ok(false) };
    compaction::run(shared, &choice).map(|_| true)
}

/// Does what is due, in the writer's own thread, after its batch. The batch stands: what fails here is kept for `stats`, as that of a
/// thread is.
pub(crate) fn inline_work(shared: &Shared, committer: &Committer) {
    let flushed = committer.sync_if_due().and_then(|()| {
        if shared.is_erase_due() && shared.view().frozen.is_none() {
            shared.freeze(&mut shared.writer.lock())?;
        }
        flush_frozen(shared)
    });
    report(shared, &flushed.as_ref().map(drop).map_err(Clone::clone), Work::Flush);
    if !flushed.is_ok_and(|flushed| flushed) {
        return;
    }
    for _ in 0..INLINE_STEPS {
        let result = compact_step(shared, Mode::Busy);
        report(shared, &result.as_ref().map(drop).map_err(Clone::clone), Work::Compaction);
        if !result.is_ok_and(|more| more) {
            break;
        }
    }
}

/// Before a write of a database without threads: once memory is short, what could not be flushed must be flushed now.
///
/// # Errors
/// What stops the flush.
pub(crate) fn make_room(shared: &Shared) -> Result<()> {
    let view = shared.view();
    let full = view.frozen.is_some() && view.memtables().map(|memtable| memtable.bytes()).sum::<usize>() > shared.options.memtable_bytes;
    if full { flush_frozen(shared).map(drop) } else { Ok(()) }
}

/// Compacts until nothing of a mode is due; while others write, which brings work without end, until what was loose at the call is gone.
pub(crate) fn compact_all(shared: &Shared, mode: Mode) -> Result<()> {
    let (started, mut loose) = (shared.view().visible(), loose_files(shared));
    while compact_step(shared, mode)? {
        shared.check_healthy()?;
        let publisher = shared.publisher.lock();
        loose.retain(|file| publisher.names(*file));
        if loose.is_empty() && shared.view().visible() > started {
            break;
        }
    }
    Ok(())
}

/// Runs one chosen compaction, again with fresh inputs if those it chose were gone.
pub(crate) fn run_until_done(shared: &Shared, mut choice: impl FnMut() -> Result<Option<Choice>>) -> Result<()> {
    while let Some(chosen) = choice()? {
        if compaction::run(shared, &chosen)? {
            break;
        }
        shared.check_healthy()?;
    }
    Ok(())
}
