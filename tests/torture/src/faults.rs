//! Layer 2: every call fails. A dry run counts the storage operations of a generated workload; then it is run again for each operation and each
//! fault. Whatever a step says, what is read is a state that was written; a full device is no reason to reopen; a failed sync always is.
//!
//! A case is `SEED/OPERATION/FAULT`; a `!` behind the fault means for good. `SEED/BYTES/full` is a device of so many bytes, which is freed a few
//! steps after it was full.

use varvite::{
    Durability, ErrorKind,
    io::simulated::{CrashPlan, Fault, Operation, OperationKind, SimulatedDisk},
};

use crate::{
    campaign::{Campaign, Replayed, processors},
    preload::Calls,
    quiet::caught,
    support::{
        generated::generated,
        machine::{Machine, Step},
        oracle::check,
        state::{Op, Parts, Verb, observe},
        workload::{id, vector},
    },
};

const STEPS: usize = 14;
const ERRNOS: [(&str, i32); 6] = [
    ("eio", libc::EIO),
    ("enospc", libc::ENOSPC),
    ("edquot", libc::EDQUOT),
    ("emfile", libc::EMFILE),
    ("eacces", libc::EACCES),
    ("erofs", libc::EROFS),
];
/// How long a transient fault lasts that comes "for good": for ever would be a loop by contract.
const LASTING: u64 = 24;
/// Steps done while a device is full.
const STEPS_WHILE_FULL: usize = 3;
/// Sizes of devices tried for each workload.
const DEVICES: u64 = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Errno(i32),
    Interrupted,
    Short(usize),
    Sync {
        keep_pages: bool,
    },
    /// The device has `at` bytes. Unlike ENOSPC at a call, what is reserved can be written.
    Full,
}

/// One fault as a case names it.
#[derive(Clone, Debug)]
pub struct Site {
    pub name: &'static str,
    kind: Kind,
    lasting: bool,
}

impl Site {
    fn full(at: u64) -> (u64, Self) {
        (at, Self { name: "full", kind: Kind::Full, lasting: false })
    }

    /// The error number, and the last call that it may meet; `None` for what only the simulated disk can do.
    pub fn of_calls(&self, at: u64) -> Option<(i32, u64)> {
        let (errno, lasting) = match self.kind {
            Kind::Errno(errno) => (errno, u64::from(u32::MAX)),
            Kind::Interrupted => (libc::EINTR, LASTING),
            Kind::Short(_) | Kind::Sync { .. } | Kind::Full => return None,
        };
        Some((errno, if self.lasting { at + lasting } else { at }))
    }

    /// As a case names it.
    pub fn label(&self) -> String {
        format!("{}{}", self.name, if self.lasting { "!" } else { "" })
    }

    fn is_transient(&self) -> bool {
        matches!(self.kind, Kind::Interrupted | Kind::Short(_))
    }

    /// At a sync.
    fn poisons(&self) -> bool {
        !self.is_transient() && !matches!(self.kind, Kind::Full)
    }

    fn inject(&self, disk: &SimulatedDisk, at: u64) {
        let times = if self.lasting { LASTING } else { 1 };
        match (self.kind, self.lasting) {
            (Kind::Errno(errno), false) => disk.inject(at, Fault::Errno(errno)),
            (Kind::Errno(errno), true) => disk.inject(at, Fault::Sticky(errno)),
            (Kind::Interrupted, _) => (at..at + times).for_each(|at| disk.inject(at, Fault::Interrupted)),
            (Kind::Short(bytes), _) => (at..at + times).for_each(|at| disk.inject(at, Fault::ShortTransfer(bytes))),
            (Kind::Full, _) => disk.set_capacity(Some(at)),
            (Kind::Sync { keep_pages }, sticky) => disk.inject(at, Fault::SyncFails { keep_pages, sticky }),
        }
    }
}

/// The faults that an operation of a kind can meet.
pub fn sites(operation: OperationKind) -> Vec<Site> {
    let mut kinds: Vec<(&str, Kind)> = ERRNOS.iter().map(|(name, errno)| (*name, Kind::Errno(*errno))).collect();
    kinds.push(("eintr", Kind::Interrupted));
    if matches!(operation, OperationKind::Read | OperationKind::Write) {
        kinds.extend([("short1", Kind::Short(1)), ("short77", Kind::Short(77))]);
    }
    if matches!(operation, OperationKind::SyncData | OperationKind::SyncNames) {
        kinds.extend([("sync-kept", Kind::Sync { keep_pages: true }), ("sync-reverted", Kind::Sync { keep_pages: false })]);
    }
    let both = |(name, kind): (&'static str, Kind)| [false, true].map(|lasting| Site { name, kind, lasting });
    kinds.into_iter().flat_map(both).collect()
}

pub fn explore(campaign: &Campaign) {
    campaign.on_threads(processors(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            let (operations, least, peak) = match caught(|| dry_run(seed)) {
                Ok(counted) => counted,
                Err(what) => {
                    campaign.found(format!("{seed}/0/none"), what);
                    continue;
                }
            };
            let step = (peak - least) / DEVICES + 1;
            for (bytes, site) in (least..peak).step_by(step as usize).map(Site::full) {
                one(campaign, seed, bytes, Place::default(), &site);
            }
            for operation in &operations {
                campaign.count("calls", 1);
                for site in sites(operation.kind) {
                    one(campaign, seed, operation.number, Place::of(operation), &site);
                }
                campaign.progress("faults");
                if campaign.is_over() {
                    return;
                }
            }
            campaign.count("workloads in full", 1);
        }
    });
}

fn one(campaign: &Campaign, seed: u64, at: u64, place: Place, site: &Site) {
    judge(campaign, format!("{seed}/{at}/{}", site.label()), || Run::new(seed, at, place, site.clone()));
}

/// A generated workload. Every second one has a batch for which a log must be lengthened, a spare one too: such small memtables are flushed long
/// before that, and only then can a full device refuse a write.
pub fn workload(seed: u64) -> Vec<Step> {
    let mut steps = generated(seed, STEPS);
    if seed.is_multiple_of(2) {
        let put = |number: u64| {
            let document = Some(Some("long enough ".repeat(8_000)));
            let parts = Parts { vector: Some(vector(seed + number, 4)), document, ..Parts::default() };
            Op::Put(Verb::Upsert, "a".to_owned(), id(number), parts)
        };
        let durability = if seed.is_multiple_of(4) { Durability::Synced } else { Durability::Buffered };
        steps.insert(1 + seed as usize / 2 % 4, Step::Batch((0..4).map(put).collect(), durability));
    }
    steps
}

/// Counts what becomes of a run.
pub fn judge(campaign: &Campaign, case: String, run: impl Fn() -> Run) {
    campaign.count("faults", 1);
    match caught(|| run().whole()) {
        Ok(told) => {
            campaign.count("runs with an error", u64::from(told.errors > 0));
            campaign.count("poisoned", u64::from(told.poisoned));
            campaign.count("went on without reopening", u64::from(told.went_on));
        }
        Err(what) => campaign.found(case, what),
    }
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let parts: Vec<&str> = case.split('/').collect();
    let wrong = || Replayed::Usage(format!("{case:?} is not SEED/OPERATION/FAULT"));
    let [seed, at, name] = parts[..] else { return Err(wrong()) };
    let (Ok(seed), Ok(at)) = (seed.parse(), at.parse::<u64>()) else { return Err(wrong()) };
    let (operations, ..) = caught(|| dry_run(seed))?;
    if name == "full" {
        let told = caught(|| Run::new(seed, at, Place::default(), Site::full(at).1).whole())?;
        return Ok(format!("{told:?}; 0 violations"));
    }
    let beyond = || Replayed::Usage(format!("the workload has only {} operations", operations.len()));
    let operation = operations.get(at as usize).ok_or_else(beyond)?;
    let site = sites(operation.kind)
        .into_iter()
        .find(|site| site.label() == name)
        .ok_or_else(|| Replayed::Usage(format!("a {:?} cannot meet {name}", operation.kind)))?;
    let told = caught(|| Run::new(seed, at, Place::of(operation), site).whole())?;
    Ok(format!("{:?} of {:?}: {told:?}; 0 violations", operation.kind, operation.name))
}

/// The operations of a run without faults, and the bytes that it takes: to create the database, and at most after a step.
fn dry_run(seed: u64) -> (Vec<Operation>, u64, u64) {
    let disk = SimulatedDisk::new(seed);
    disk.record_trace(true);
    let mut machine = Machine::new(disk);
    machine.open().unwrap();
    let least = machine.disk.used();
    let mut peak = least;
    for step in workload(seed) {
        machine.step(&step).unwrap_or_else(|error| panic!("{step:?} failed without a fault: {error:?}"));
        peak = peak.max(machine.disk.used());
    }
    let trace = machine.disk.trace();
    machine.kill();
    (trace, least, peak)
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    errors: usize,
    poisoned: bool,
    /// After an error, steps succeeded on the same handle.
    went_on: bool,
}

/// What operation fails.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// By its kind, not necessarily by its fault.
    pub on_sync: bool,
}

impl Place {
    fn of(operation: &Operation) -> Self {
        Self { on_sync: matches!(operation.kind, OperationKind::SyncData | OperationKind::SyncNames) }
    }
}

pub struct Run {
    machine: Machine,
    /// The calls that fail instead of the simulated disk's.
    calls: Option<Calls>,
    steps: Vec<Step>,
    at: u64,
    place: Place,
    site: Site,
    told: Told,
}

impl Run {
    fn new(seed: u64, at: u64, place: Place, site: Site) -> Self {
        let disk = SimulatedDisk::new(seed);
        site.inject(&disk, at);
        Self { machine: Machine::new(disk), calls: None, steps: workload(seed), at, place, site, told: Told::default() }
    }

    /// The same in a directory, where the C library's calls fail.
    pub fn below(seed: u64, at: u64, place: Place, site: Site, machine: Machine) -> Self {
        let calls = site.of_calls(at).map(|(errno, last)| Calls::begin(at, last, errno));
        Self { machine, calls, steps: workload(seed), at, place, site, told: Told::default() }
    }

    pub fn whole(mut self) -> Told {
        if let Err(error) = self.machine.open() {
            self.error(&error);
            self.reopen();
        }
        let steps = std::mem::take(&mut self.steps);
        let mut while_full = 0;
        for step in &steps {
            let fired_before = self.fired();
            let known = self.machine.history.len();
            match self.machine.step(step) {
                Ok(()) => self.told.went_on |= self.told.errors > 0 && !self.told.poisoned,
                Err(error) => {
                    self.error(&error);
                    let full = self.site.kind == Kind::Full;
                    assert!(!full || error.kind() != ErrorKind::Poisoned, "a full device poisoned: {error:?}");
                    while_full += 1;
                    if !full || while_full > STEPS_WHILE_FULL || self.machine.db.is_none() {
                        self.heal();
                    }
                    self.settle(step, &error, known);
                }
            }
            // A failed sync of an open handle: nothing is acknowledged any more. What opens or closes has no handle left to poison.
            if self.place.on_sync && self.site.poisons() && self.fired() && !fired_before && !matches!(step, Step::Reopen) {
                self.must_be_poisoned(step);
            }
        }
        self.end()
    }

    fn fired(&self) -> bool {
        self.calls.as_ref().map_or_else(|| self.machine.disk.operations(), Calls::count) > self.at
    }

    fn heal(&self) {
        self.calls.as_ref().inspect(|calls| calls.heal());
        self.machine.disk.heal();
        self.machine.disk.set_capacity(None);
    }

    fn error(&mut self, error: &varvite::Error) {
        assert!(!self.site.is_transient(), "not continued: {error:?}");
        self.told.errors += 1;
    }

    /// After an error of a step: was it done? Reads must tell, and so must the next steps.
    fn settle(&mut self, step: &Step, error: &varvite::Error, known: usize) {
        if self.machine.db.is_none() {
            return self.reopen();
        }
        // Refused for being poisoned before it is looked up.
        let probe = self.machine.db().drop_collection("probe").unwrap_err();
        if probe.kind() == ErrorKind::Poisoned {
            assert!(self.site.kind != Kind::Full, "{step:?}: a full device poisoned: {error:?}");
            assert_ne!(error.kind(), ErrorKind::NoSpace, "{step:?}: poisoned, but the error says that nothing was changed: {error:?}");
            let seen = observe(self.machine.db()).unwrap_or_else(|error| panic!("{step:?}: poisoned reads must go on: {error:?}"));
            assert!(self.machine.history.iter().any(|model| model.state == seen), "{step:?}: reads show a state that never was");
            self.told.poisoned = true;
            return self.reopen();
        }
        let seen = match observe(self.machine.db()) {
            Ok(seen) => seen,
            // A lasting fault that is not over yet may meet reads too.
            Err(error) => panic!("{step:?}: reads must go on: {error:?}"),
        };
        let sequence = self.machine.db().snapshot().unwrap().sequence();
        let history = &mut self.machine.history;
        let is = |model: &crate::support::state::Model| model.sequence == sequence && model.state == seen;
        if history.len() > known && !is(&history[history.len() - 1]) {
            history.pop();
        }
        let model = self.machine.model();
        assert!(is(model), "{step:?} failed ({error:?}), and what is read is neither the state before nor after it");
    }

    /// The handle refuses to go on: a new one on the same disk finds a legal state.
    fn reopen(&mut self) {
        self.heal();
        self.machine.restart().unwrap_or_else(|error| panic!("cannot be opened after the fault: {error:?}"));
        self.machine.adopt("reopened after the fault");
    }

    fn must_be_poisoned(&mut self, step: &Step) {
        let Some(db) = &self.machine.db else { return };
        if self.told.poisoned {
            return;
        }
        let refused = db.create_collection("probe", 1, varvite::Metric::L2).map(drop);
        let kind = refused.as_ref().err().map(varvite::Error::kind);
        assert_eq!(kind, Some(ErrorKind::Poisoned), "{step:?}: a sync failed, and the next write says {refused:?}");
        self.told.poisoned = true;
        self.reopen();
    }

    fn end(mut self) -> Told {
        self.heal();
        if let Some(db) = &self.machine.db {
            let seen = observe(db).unwrap();
            assert!(seen == self.machine.model().state, "at the end another state is read");
        }
        if self.calls.is_some() {
            self.machine.restart().unwrap_or_else(|error| panic!("cannot be opened at the end: {error:?}"));
            self.machine.adopt("reopened at the end");
            self.machine.step(&Step::Verify { orphans: false }).unwrap_or_else(|error| panic!("cannot be verified at the end: {error:?}"));
            return self.told;
        }
        self.machine.kill();
        let crashed = self.machine.disk.crash(&CrashPlan::LoseAll);
        check(&crashed, self.machine.legal(), "a power cut at the end");
        self.told
    }
}
