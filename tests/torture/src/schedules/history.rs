//! What the threads did, and whether it can have happened one after the other.
//!
//! Every commit has a sequence, so the order that must explain the history is known: replayed in it, every write must have found what it says
//! it found; a commit that returned before another began comes before it; and every read shows the state after a prefix of it, one that holds all
//! that returned before the read began and nothing that began after it returned. That is linearizability with the order as its witness.

use std::collections::BTreeMap;

/// Ids with the value that their record holds.
pub type State = BTreeMap<u8, u32>;

#[derive(Clone, Debug)]
pub enum Write {
    Put(u8, u32),
    Delete(u8),
}

#[derive(Clone, Debug)]
pub enum Answer {
    /// Sequence of the commit, and for each write whether the id was there.
    Committed(u64, Vec<bool>),
    /// An insert of an id that is there, or an update of one that is not.
    Refused { id: u8, was_there: bool },
    /// The power was cut: it may have happened.
    Unknown,
}

#[derive(Clone, Debug)]
pub enum Kind {
    /// Synced or not, and the writes of a batch.
    Write {
        synced: bool,
        writes: Vec<Write>,
        answer: Answer,
    },
    Get {
        id: u8,
        found: Option<u32>,
    },
    /// A snapshot's sequence and all that it holds.
    Snapshot {
        sequence: u64,
        state: State,
    },
}

/// Times are numbers that rise with every beginning and every end.
#[derive(Clone, Debug)]
pub struct Event {
    pub thread: usize,
    pub began: u64,
    pub ended: u64,
    pub kind: Kind,
}

/// The states after each commit, by sequence; 0 is empty.
pub type States = BTreeMap<u64, State>;

pub fn apply(state: &mut State, writes: &[Write]) {
    for write in writes {
        match write {
            Write::Put(id, value) => drop(state.insert(*id, *value)),
            Write::Delete(id) => drop(state.remove(id)),
        }
    }
}

/// Whether a batch did nothing: it deleted what was not there. Such a batch has the sequence of the one before it.
fn does_nothing(writes: &[Write], existed: &[bool]) -> bool {
    writes.iter().zip(existed).all(|(write, existed)| matches!(write, Write::Delete(_)) && !existed)
}

/// Replays the commits and checks what they found.
pub fn replay(events: &[Event], first: u64) -> States {
    let mut commits = Vec::new();
    for event in events {
        if let Kind::Write { writes, answer: Answer::Committed(sequence, existed), .. } = &event.kind {
            commits.push((*sequence, does_nothing(writes, existed), writes, existed, event));
        }
    }
    commits.sort_by_key(|(sequence, is_idle, ..)| (*sequence, *is_idle));
    let mut states = States::from([(first, State::new())]);
    let mut state = State::new();
    for (index, (sequence, is_idle, writes, existed, event)) in commits.iter().enumerate() {
        let last = states.keys().next_back().copied().unwrap_or_default();
        assert_eq!(*sequence, if *is_idle { last } else { last + 1 }, "sequence of {event:?}");
        let after = commits[index + 1..].iter().find(|(.., later)| later.ended < event.began);
        assert!(after.is_none(), "{event:?} has a lower sequence than {after:?}, which ended before it began");
        for (write, existed) in writes.iter().zip(*existed) {
            let id = match write {
                Write::Put(id, _) | Write::Delete(id) => id,
            };
            assert_eq!(*existed, state.contains_key(id), "whether {id} was there for {event:?}, in {state:?}; {events:?}");
            apply(&mut state, std::slice::from_ref(write));
        }
        states.insert(*sequence, state.clone());
    }
    states
}

/// Checks that every read and refusal shows a prefix that it may show, and that no thread goes back.
pub fn check_reads(events: &[Event], states: &States) {
    let first = states.keys().next().copied().unwrap_or_default();
    let mut seen_by: BTreeMap<usize, u64> = BTreeMap::new();
    let mut sorted: Vec<&Event> = events.iter().collect();
    sorted.sort_by_key(|event| event.began);
    for event in sorted {
        let wanted = |state: &State| match &event.kind {
            Kind::Get { id, found } => state.get(id) == found.as_ref(),
            Kind::Write { answer: Answer::Refused { id, was_there }, .. } => state.contains_key(id) == *was_there,
            Kind::Snapshot { state: shown, .. } => state == shown,
            Kind::Write { .. } => true,
        };
        let low = earliest(events, event).max(first).max(seen_by.get(&event.thread).copied().unwrap_or_default());
        let high = latest(events, event).max(first);
        let own = match &event.kind {
            Kind::Write { answer: Answer::Committed(sequence, _), .. } => Some(*sequence),
            Kind::Write { answer: Answer::Unknown, .. } => continue,
            Kind::Snapshot { sequence, .. } => {
                assert!(states.get(sequence).is_some_and(wanted), "a snapshot is not the state of its sequence: {event:?}, but {states:?}");
                assert!(*sequence >= low && *sequence <= high, "a snapshot of {sequence}, not {low} to {high}: {event:?}");
                Some(*sequence)
            }
            _ => states
                .range(low..)
                .take_while(|(sequence, _)| **sequence <= high)
                .find(|(_, state)| wanted(state))
                .map(|(sequence, _)| *sequence),
        };
        assert!(own.is_some(), "no state from {low} to {high} explains {event:?}; states {states:?}");
        seen_by.insert(event.thread, own.unwrap_or(low));
    }
}

fn commits(events: &[Event]) -> impl Iterator<Item = (u64, &Event)> {
    events.iter().filter_map(|event| match &event.kind {
        Kind::Write { answer: Answer::Committed(sequence, _), .. } => Some((*sequence, event)),
        _ => None,
    })
}

/// The last commit that ended before the event began.
fn earliest(events: &[Event], event: &Event) -> u64 {
    commits(events).filter(|(_, other)| other.ended < event.began).map(|(sequence, _)| sequence).max().unwrap_or_default()
}

/// The last commit that began before the event ended. One without an answer is never seen: its log could not be written.
fn latest(events: &[Event], event: &Event) -> u64 {
    commits(events).filter(|(_, other)| other.began < event.ended).map(|(sequence, _)| sequence).max().unwrap_or_default()
}
