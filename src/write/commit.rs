use std::{collections::VecDeque, time::Duration};

use super::{
    batch::WriteBatch,
    group::{Effect, Group, Resolved, Victim},
    resolve::resolve,
};
use crate::{
    error::{Error, ErrorKind, Result},
    io::executor::yield_now,
    log::{AppendError, Beacon},
    options::Durability,
    sync::{Arc, AtomicBool, Condvar, Mutex, Ordering},
    types::{Death, Sequence},
    version::{CollectionMeta, Reading, Shared, View, WriterState},
};

/// Bytes that a leader gathers at most: larger groups gain nothing and make others wait.
const GROUP_BYTES_MAX: usize = 4 << 20;

/// What a committed batch did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) sequence: Sequence,
    /// Per operation: whether the record existed.
    pub(crate) existed: Vec<bool>,
}

/// How often a leader looks whether the writers of a moment ago are back, each time letting other threads run: some tens of microseconds in all, a
/// fraction of the sync that they would else wait for. Measured on two cores: without, or with four times as many, 8 writers get a seventh less done.
const GATHERING_LOOKS: usize = if cfg!(any(shuttle, loom)) { 1 } else { 64 };

/// And for how long, where other programs keep the processors busy.
const GATHERING_MAX: Duration = Duration::from_micros(200);

/// A batch that waits for its leader. Without a batch it asks for a sync only.
struct Ticket {
    /// Taken by the leader.
    batch: Mutex<Option<WriteBatch>>,
    bytes: usize,
    synced: bool,
    answer: Mutex<Option<Answer>>,
    answered: Condvar,
    /// Stays true when the result was taken.
    has_result: AtomicBool,
}

enum Answer {
    Result(Result<Outcome>),
    /// The leader before has finished, and this writer is the first in the queue.
    Lead,
}

impl Ticket {
    fn answer(&self, answer: Answer) {
        *self.answer.lock() = Some(answer);
        self.answered.notify_all();
    }

    fn wait(&self) -> Answer {
        let mut answer = self.answer.lock();
        loop {
            match answer.take() {
                Some(answer) => return answer,
                None => self.answered.wait(&mut answer),
            }
        }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Ticket>>,
    leading: bool,
    /// Writers of the last group, and those that waited when it ended.
    company: usize,
}

/// Group commit: a writer that finds no leader leads. It writes and syncs for all that wait, and hands the lead to the first of those that came
/// meanwhile.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    queue: Mutex<Queue>,
    beacon: Mutex<Beacon>,
    /// When buffered bytes must be synced at the latest.
    sync_due: Mutex<Option<Duration>>,
}

impl Committer {
    pub(crate) fn new(shared: Arc<Shared>, beacon: Beacon) -> Self {
        Self { shared, queue: Mutex::default(), beacon: Mutex::new(beacon), sync_due: Mutex::new(None) }
    }

    /// Commits a batch; returns when it is as durable as asked.
    pub(crate) fn commit(&self, batch: WriteBatch, durability: Durability) -> Result<Outcome> {
        if batch.is_empty() {
            return Ok(Outcome { sequence: self.shared.view().visible(), existed: Vec::new() });
        }
        let outcome = self.submit(Some(batch), durability == Durability::Synced)?;
        if let Durability::Interval(interval) = durability {
            // After the batch is in the log: a sync between would forget it.
            let due = self.shared.clock().elapsed().saturating_add(interval);
            let mut earliest = self.sync_due.lock();
            if earliest.is_none_or(|earlier| due < earlier) {
                *earliest = Some(due);
                self.shared.notify();
            }
        }
        Ok(outcome)
    }

    /// Makes everything committed before durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.submit(None, true).map(|_| ())
    }

    /// How long until an interval has passed, if one runs.
    pub(crate) fn until_sync(&self) -> Option<Duration> {
        self.sync_due.lock().map(|due| due.saturating_sub(self.shared.clock().elapsed()))
    }

    /// Syncs if an interval has passed; for the background.
    pub(crate) fn sync_if_due(&self) -> Result<()> {
        let mut due = self.sync_due.lock();
        if due.is_none_or(|due| self.shared.clock().elapsed() < due) {
            return Ok(());
        }
        *due = None;
        drop(due);
        self.sync()
    }

    fn submit(&self, batch: Option<WriteBatch>, synced: bool) -> Result<Outcome> {
        let bytes = batch.as_ref().map_or(0, WriteBatch::bytes);
        let (batch, answer, answered) = (Mutex::new(batch), Mutex::default(), Condvar::new());
        let ticket = Arc::new(Ticket { batch, bytes, synced, answer, answered, has_result: AtomicBool::new(false) });
        let mut queue = self.queue.lock();
        queue.waiting.push_back(Arc::clone(&ticket));
        let leads = !std::mem::replace(&mut queue.leading, true);
        drop(queue);
        if leads {
            self.take_lead(synced);
        }
        loop {
            match ticket.wait() {
                Answer::Result(result) => return result,
                Answer::Lead => self.take_lead(synced),
            }
        }
    }

    /// Commits the next group, and hands the lead on. The writer that leads is the first in the queue, and with that in the group.
    fn take_lead(&self, synced: bool) {
        let group = self.gather(synced);
        let _turn = Turn { committer: self, group: &group };
        self.lead(&group);
    }

    /// The next group. Before a sync, those who were there a moment ago are worth a short wait: without it half of the writers would come back just
    /// too late every time, and wait for two syncs.
    fn gather(&self, synced: bool) -> Vec<Arc<Ticket>> {
        let began = self.shared.clock().elapsed();
        let mut looks = if synced { GATHERING_LOOKS } else { 0 };
        loop {
            let mut queue = self.queue.lock();
            if looks == 0 || queue.waiting.len() >= queue.company || self.shared.clock().elapsed() - began > GATHERING_MAX {
                return take_group(&mut queue.waiting);
            }
            drop(queue);
            looks -= 1;
            yield_now();
        }
    }

    /// Commits a group and gives every ticket its result.
    fn lead(&self, tickets: &[Arc<Ticket>]) {
        let _gate = self.shared.gate.lock();
        let mut writer = self.shared.writer.lock();
        let mut accepted = Vec::with_capacity(tickets.len());
        let result = self.commit_group(&mut writer, tickets, &mut accepted);
        drop(writer);
        self.shared.note_write();
        match result {
            Ok(outcomes) => accepted.into_iter().zip(outcomes).for_each(|(ticket, outcome)| finish(ticket, Ok(outcome))),
            Err(error) => accepted.into_iter().for_each(|ticket| finish(ticket, Err(error.clone()))),
        }
    }

    fn commit_group<'a>(
        &self,
        writer: &mut WriterState,
        tickets: &'a [Arc<Ticket>],
        accepted: &mut Vec<&'a Arc<Ticket>>,
    ) -> Result<Vec<Outcome>> {
        let shared = &*self.shared;
        if let Err(error) = shared.check_healthy() {
            accepted.extend(tickets);
            return Err(error);
        }
        let view = shared.view();
        let mut group = Group::new(Reading::newest(Arc::clone(&view)), std::mem::take(&mut writer.catalog));
        let (mut syncs, mut refused) = (Vec::new(), Vec::new());
        for ticket in tickets {
            match ticket.batch.lock().take().map(|batch| resolve(&mut group, batch)) {
                None => syncs.push(ticket),
                Some(Ok(())) => accepted.push(ticket),
                Some(Err(error)) => refused.push((ticket, error)),
            }
        }
        let batches = accepted.len();
        accepted.extend(syncs);
        let must_sync = accepted.iter().any(|ticket| ticket.synced);
        let last = group.assign_sequences(writer.next_sequence);
        let logged = self.append(writer, &group, must_sync.then_some(last));
        if logged.is_ok() {
            apply(shared, writer, &view, &group, last);
        } else {
            group.revert_all();
        }
        // Why they were refused may be a batch of this group: they find what it wrote, and if it failed, nothing is known of theirs.
        for (ticket, error) in refused {
            finish(ticket, Err(logged.as_ref().err().cloned().unwrap_or(error)));
        }
        writer.catalog = group.catalog;
        logged?;
        self.freeze_if_due(writer);
        let outcomes = group.batches.into_iter().map(|batch| Outcome { sequence: batch.sequence, existed: batch.existed });
        let syncs = (batches..accepted.len()).map(|_| Outcome { sequence: last, existed: Vec::new() });
        Ok(outcomes.chain(syncs).collect())
    }

    /// Writes the group into the log; if the device is full, whole into the preallocated spare. Then syncs through a sequence, if anyone asked for
    /// it, and tells readers in other processes.
    fn append(&self, writer: &mut WriterState, group: &Group, synced_through: Option<Sequence>) -> Result<()> {
        let shared = &*self.shared;
        let bodies = || group.batches.iter().map(|batch| (batch.sequence, batch.body.bytes())).filter(|(_, body)| !body.is_empty());
        if bodies().next().is_some() {
            let written = match writer.log.append(bodies()) {
                Err(AppendError::NoSpace(_)) if shared.make_room() => writer.log.append(bodies()),
                other => other,
            };
            let written = match written {
                Err(AppendError::NoSpace(_)) if writer.spare.is_some() => {
                    shared.rotate(writer)?;
                    writer.log.append(bodies())
                }
                other => other,
            };
            match written {
                Ok(bytes) => shared.counters.log_bytes.add(bytes),
                Err(AppendError::NoSpace(error)) => return Err(error),
                Err(AppendError::Broken(error)) => return Err(shared.poison(error)),
            }
        }
        if let Some(last) = synced_through {
            let synced = writer.sync(&shared.counters);
            // Before anybody here sees the group: if readers cannot be told, it fails like one whose sync failed.
            let told = synced.and_then(|()| self.beacon.lock().publish(writer.log.number(), writer.log.synced(), last));
            told.map_err(|error| shared.poison(error))?;
        }
        Ok(())
    }

    fn freeze_if_due(&self, writer: &mut WriterState) {
        let view = self.shared.view();
        let options = &self.shared.options;
        let log = writer.log.allocated() >= options.log_bytes / 2;
        if view.active.bytes() >= options.memtable_bytes / 2 || log {
            // A failure has poisoned the database; this group is durable all the same.
            let _poisoned = self.shared.freeze(writer);
        }
    }
}

/// Hands the lead on, whatever happened. A leader that panicked leaves nobody waiting, and nobody writing on what it left half done.
struct Turn<'a> {
    committer: &'a Committer,
    group: &'a [Arc<Ticket>],
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let unanswered = self.group.iter().filter(|ticket| !ticket.has_result.load(Ordering::Acquire));
        for ticket in unanswered {
            let error = Error::new(ErrorKind::Poisoned, "the thread that wrote for this one panicked");
            finish(ticket, Err(self.committer.shared.poison(error)));
        }
        let mut queue = self.committer.queue.lock();
        queue.company = self.group.len() + queue.waiting.len();
        let next = queue.waiting.front().cloned();
        queue.leading = next.is_some();
        drop(queue);
        if let Some(next) = next {
            next.answer(Answer::Lead);
        }
    }
}

fn take_group(waiting: &mut VecDeque<Arc<Ticket>>) -> Vec<Arc<Ticket>> {
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(ticket) = waiting.front() {
        bytes += ticket.bytes;
        if !group.is_empty() && bytes > GROUP_BYTES_MAX {
            break;
        }
        group.extend(waiting.pop_front());
    }
    group
}

fn finish(ticket: &Ticket, result: Result<Outcome>) {
    ticket.has_result.store(true, Ordering::Release);
    ticket.answer(Answer::Result(result));
}

/// Puts a logged group into the memtable and makes it visible up to its last sequence.
fn apply(shared: &Shared, writer: &mut WriterState, view: &View, group: &Group, last: Sequence) {
    for batch in &group.batches {
        for effect in &batch.effects {
            apply_effect(view, group.catalog.get(effect.collection), effect, batch);
        }
        for (collection, change) in batch.changes.iter().filter(|(_, change)| change.net != 0) {
            view.counts.add(*collection, batch.sequence, change.net);
        }
        shared.counters.records.add(batch.effects.len() as u64);
    }
    shared.counters.batches.add(group.batches.len() as u64);
    writer.next_sequence = last + 1;
    if group.batches.iter().any(Resolved::deletes) {
        shared.note_delete();
    }
    if group.batches.iter().any(Resolved::changes_schema) {
        let next = view.with_catalog(Arc::new(group.catalog.clone()));
        // Before it is installed: its collections and counts are those of this sequence.
        next.set_visible(last);
        shared.install(next);
    } else {
        view.set_visible(last);
    }
}

fn apply_effect(view: &View, meta: Option<&Arc<CollectionMeta>>, effect: &Effect, batch: &Resolved) {
    let (parts, sequence) = (&effect.parts, batch.sequence);
    let id = batch.part(&parts.id);
    // Dropped later in the same group: nobody can read it any more.
    let Some(meta) = meta else { return };
    match &effect.put {
        Some(ordinal) => {
            let (vector, payload) = (batch.part(&parts.vector), batch.part(&parts.payload));
            view.active.put(meta.id, meta.dimension, sequence, id, *ordinal, vector, payload);
        }
        None => view.active.delete(meta.id, sequence, id),
    }
    let death = Death { at: sequence, deleted: effect.put.is_none() };
    match &effect.victim {
        Victim::Segment(live, row) => live.pending.insert(*row, death),
        Victim::Frozen => {
            if let Some(frozen) = &view.frozen {
                frozen.memtable.mark_dead(meta.id, id, death);
            }
        }
        Victim::Active | Victim::None => {}
    }
}
