//! Replays what can be read of damaged logs, and says of every hole which batches it took.

use super::{recover::Replay, repair::Lost, salvage::damaged};
use crate::{
    error::{Error, Result},
    format::{
        manifest::{LogEntry, Manifest},
        names::log_name,
    },
    io::{Bytes, Storage},
    log::{Bounds, CutOff, Hole, LogBatch, LogEnd, check_identity, check_length, find_activation, first_sequence, salvage},
    memtable::Memtable,
    types::Sequence,
    version::{Catalog, Counts, Version},
};

/// What happens to records when batches are gone.
const CONSEQUENCE: &str = "what they put is missing, what they deleted, replaced, renamed or dropped may be back";

/// Replays the chain of logs, holes or not.
pub(super) fn replay_logs(
    storage: &dyn Storage,
    manifest: &Manifest,
    version: &Version,
    memtable: &Memtable,
    catalog: &mut Catalog,
    lost: &mut Vec<Lost>,
) -> Result<()> {
    let counts = Counts::default();
    let replay = Replay::salvaging(version, memtable, &counts, catalog);
    let mut replayed = Replayed { replay, reached: version.flushed_through, pending: Vec::new(), lost };
    let mut logs: Vec<(&LogEntry, Result<Bytes>)> = Vec::new();
    for entry in &manifest.logs {
        let read = damaged(read(storage, entry))?;
        if let Ok(bytes) = &read {
            let _foreign = damaged(check_identity(bytes, manifest.database, entry).map_err(|error| error.in_file(log_name(entry.number))))?;
        }
        logs.push((entry, read));
    }
    for (index, (entry, bytes)) in logs.iter().enumerate() {
        let later = logs.get(index + 1..).unwrap_or_default();
        match bytes {
            Ok(bytes) => replayed.log(bytes, manifest, entry, bounds(entry, later)),
            Err(error) => replayed.pending.push(Pending { name: log_name(entry.number), ..Pending::of(error) }),
        }
    }
    replayed.settle(None);
    Ok(())
}

fn read(storage: &dyn Storage, entry: &LogEntry) -> Result<Bytes> {
    let name = log_name(entry.number);
    storage.open_read(&name).and_then(|file| file.map()).map_err(|source| Error::io(format_args!("read {name}"), source).in_file(name))
}

/// What the manifest and the later logs tell of where a log ends.
fn bounds(entry: &LogEntry, later: &[(&LogEntry, Result<Bytes>)]) -> Bounds {
    let readable = || later.iter().filter_map(|(entry, bytes)| Some((*entry, bytes.as_ref().ok()?)));
    let successor = readable().find_map(|(next, bytes)| find_activation(bytes, next).filter(|next| next.predecessor == entry.number));
    Bounds {
        end: successor.map(|next| next.predecessor_end).or(entry.sealed.map(|sealed| sealed.end)),
        before: readable().find_map(|(next, bytes)| first_sequence(bytes, next)),
    }
}

/// A place where batches stood, or may have stood, until the next batch tells which are missing.
#[derive(Default)]
struct Pending {
    name: String,
    /// First byte and the one behind the last; `None` for a whole file.
    bytes: Option<(u64, u64)>,
    damage: String,
    is_proven: bool,
    highest: Sequence,
}

impl Pending {
    fn of(damage: &Error) -> Self {
        Self { damage: damage.message().to_owned(), ..Self::default() }
    }
}

/// The state of a replay with holes.
struct Replayed<'a> {
    replay: Replay<'a>,
    /// Everything up to this sequence is in the segments, replayed, or reported as lost.
    reached: Sequence,
    pending: Vec<Pending>,
    lost: &'a mut Vec<Lost>,
}

impl Replayed<'_> {
    fn log(&mut self, bytes: &[u8], manifest: &Manifest, entry: &LogEntry, bounds: Bounds) {
        let name = log_name(entry.number);
        let activation = find_activation(bytes, entry);
        if let Some(activation) = &activation {
            self.settle(Some(activation.first_sequence));
        }
        let salvaged = salvage(bytes, entry, bounds);
        let is_whole = salvaged.holes.is_empty();
        let read = salvaged.batches.len();
        let mut holes = salvaged.holes.into_iter().peekable();
        for batch in &salvaged.batches {
            while let Some(hole) = holes.next_if(|hole| hole.start < batch.offset) {
                self.pending.push(Pending::of_hole(&name, &hole));
            }
            self.batch(&name, batch);
        }
        self.pending.extend(holes.map(|hole| Pending::of_hole(&name, &hole)));
        if let Some(cut_off) = salvaged.cut_off {
            self.cut_off(&name, &cut_off);
        }
        // Frames tell by themselves which log they are of: whatever is wrong around them, all that could be read was.
        let first = manifest.logs.first().is_some_and(|first| first.number == entry.number);
        let around = check_identity(bytes, manifest.database, entry)
            .and_then(|()| if bounds.end.is_none() { check_length(bytes, LogEnd::Tail) } else { Ok(()) })
            .and_then(|()| match activation {
                None if first => Err(Error::corruption("the activation record is missing in both places").at(4096)),
                _ => Ok(()),
            });
        if let (true, Err(damage)) = (is_whole, around) {
            let damage = format!("{}; {read} whole batches were read", damage.told());
            self.pending.push(Pending { name, damage, ..Pending::default() });
        }
    }

    fn batch(&mut self, name: &str, batch: &LogBatch) {
        self.settle(Some(batch.sequence));
        self.reached = self.reached.max(batch.sequence);
        if let Err(error) = self.replay.apply(batch) {
            let reason = format!("{name}: {}; what such batches hold from there on is lost", error.message());
            let known = self.lost.iter().position(|lost| lost.reason == reason);
            match known.and_then(|index| self.lost.get_mut(index)) {
                Some(lost) => lost.batches += 1,
                None => self.lost.push(Lost { batches: 1, reason, ..Lost::default() }),
            }
        }
    }

    /// Nobody can tell whether damage or a power cut is what keeps these batches from counting.
    fn cut_off(&mut self, name: &str, CutOff { offset, damage, sequences }: &CutOff) {
        let sequences: Vec<Sequence> = sequences.iter().copied().filter(|sequence| *sequence > self.reached).collect();
        let ([first, ..], [.., last]) = (&*sequences, &*sequences) else { return };
        let (batches, damage) = (sequences.len() as u64, damage.told());
        let reason = format!(
            "{name}, from byte {offset} on: {damage}; whole batches behind it: {batches}, of sequences {first} to {last}. They were never proven \
             durable, and are cut off as after a power cut: {CONSEQUENCE}"
        );
        self.lost.push(Lost { batches, reason, ..Lost::default() });
    }

    /// Reports what is pending, once it is known with which sequence the logs go on; `None` if they do not.
    fn settle(&mut self, next: Option<Sequence>) {
        let pending = std::mem::take(&mut self.pending);
        let known = pending.iter().map(|pending| pending.highest.saturating_sub(self.reached)).max().unwrap_or_default();
        let proven = u64::from(pending.iter().any(|pending| pending.is_proven));
        let missing = next.map_or(known.max(proven), |next| next.saturating_sub(1).saturating_sub(self.reached));
        if missing == 0 && next.is_some() {
            // All that stood there is in the segments.
            return;
        }
        let (from, to) = (self.reached.saturating_add(1), self.reached.saturating_add(missing));
        let which = match (missing, next) {
            (0, _) => format!("how many batches are lost with it, if any, is not known: {CONSEQUENCE}"),
            (1, Some(_)) => format!("1 batch is lost, sequence {from}: {CONSEQUENCE}"),
            (_, Some(_)) => format!("{missing} batches are lost, sequences {from} to {to}: {CONSEQUENCE}"),
            (_, None) => format!("at least {missing} batches are lost, from sequence {from} on: {CONSEQUENCE}"),
        };
        if pending.is_empty() && missing > 0 {
            self.lost.push(Lost { batches: missing, reason: format!("between the logs {which}"), ..Lost::default() });
        }
        for (index, pending) in pending.iter().enumerate() {
            let (batches, which) = if index == 0 { (missing, which.as_str()) } else { (0, "counted with the damage before it") };
            self.lost.push(Lost { batches, reason: pending.tell(which), ..Lost::default() });
        }
        self.reached = self.reached.max(to);
    }
}

impl Pending {
    fn of_hole(name: &str, hole: &Hole) -> Self {
        let damage = hole.damage.told();
        Self { name: name.to_owned(), bytes: Some((hole.start, hole.end)), damage, is_proven: hole.is_proven, highest: hole.highest }
    }

    fn tell(&self, which: &str) -> String {
        let Self { name, bytes, damage, .. } = self;
        match bytes {
            Some((start, end)) => format!("{name}, bytes {start} to {end}: {damage}; {which}"),
            None => format!("{name}: {damage}; {which}"),
        }
    }
}
