//! Layer 4: power cuts of real file systems. A process with several writers works on a loop-mounted ext4 or XFS; the file system is shut down
//! under it without flushing its journal, mounted again, and the database examined. A case is a file system that lives through a number of cuts;
//! when they come does not follow from the seed: a replay may need several tries.

pub mod mount;
mod shutdown;
pub mod writer;

use std::{
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use varvite::{Background, Database, Options};

use crate::{
    campaign::{Campaign, Replayed},
    quiet::caught,
    support::{
        Random,
        child::{Talk, next_line},
        state::observe,
    },
};
use mount::{Disk, Kind, Place};
use writer::{Bounds, Ledger, WRITERS, is_synced};

/// Cuts of one file system.
const CUTS: u64 = 40;

pub fn explore(campaign: &Campaign) {
    let place = match mount::enter_namespace().and_then(|()| Place::new().map_err(|error| error.to_string())) {
        Ok(place) => place,
        Err(why) => return campaign.skip(why),
    };
    let kinds = place.kinds(|kind, why| campaign.leave_out(&format!("powercut {}", kind.name()), why));
    if kinds.is_empty() {
        return campaign.skip("neither ext4 nor XFS can be made and mounted".to_owned());
    }
    let turn = Mutex::new(0_usize);
    campaign.on_threads(kinds.len(), |campaign| {
        while let Some(seed) = campaign.next_case() {
            let kind = {
                let mut turn = turn.lock().unwrap();
                *turn += 1;
                kinds[*turn % kinds.len()]
            };
            if let Err(what) = caught(|| file_system(Some(campaign), &place, kind, seed, CUTS)) {
                campaign.found(format!("{}/{seed}", kind.name()), what);
            }
            campaign.count("file systems", 1);
        }
    });
}

pub fn replay(case: &str) -> Result<String, Replayed> {
    let parsed = case.split_once('/').and_then(|(kind, seed)| {
        let kind = [Kind::Ext4, Kind::Xfs].into_iter().find(|known| known.name() == kind)?;
        Some((kind, seed.parse().ok()?))
    });
    let (kind, seed) = parsed.ok_or_else(|| Replayed::Usage(format!("{case:?} is not ext4/SEED or xfs/SEED")))?;
    let place = mount::enter_namespace().and_then(|()| Place::new().map_err(|error| error.to_string())).map_err(Replayed::Skipped)?;
    Ok(caught(|| file_system(None, &place, kind, seed, 5 * CUTS)).map(|()| format!("{} cuts; 0 violations", 5 * CUTS))?)
}

fn file_system(campaign: Option<&Campaign>, place: &Place, kind: Kind, seed: u64, cuts: u64) {
    let disk = place.disk(kind, &format!("{}-{seed}", kind.name())).unwrap_or_else(|error| panic!("{error}"));
    writer::create(&disk.mounted.join("db")).unwrap();
    let mut victim = Victim { seed, disk, random: Random(seed), ledger: Ledger::default(), bounds: Bounds::default(), cuts: 0 };
    for cut in 0..cuts {
        if campaign.is_some_and(Campaign::is_over) {
            return;
        }
        let counts = victim.cut(cut + 1 == cuts);
        let Some(campaign) = campaign else { continue };
        let names = [("cuts", 1), (kind.name(), 1), ("examined", counts.examined), ("of them while opening", counts.opening)];
        let more = [
            ("batches acknowledged", counts.acknowledged),
            ("recovered unacknowledged", counts.unheard),
            ("records compared", counts.records),
        ];
        names.iter().chain(&more).for_each(|(name, more)| campaign.count(name, *more));
        campaign.progress("cuts");
    }
}

#[derive(Default)]
struct Counts {
    opening: u64,
    examined: u64,
    acknowledged: u64,
    unheard: u64,
    records: u64,
}

/// A database on a file system that loses its power again and again.
struct Victim {
    seed: u64,
    disk: Disk,
    random: Random,
    ledger: Ledger,
    bounds: Bounds,
    /// Since the last examination.
    cuts: u64,
}

impl Victim {
    fn cut(&mut self, examine: bool) -> Counts {
        let opening = self.random.below(5) == 0;
        let delay = Duration::from_micros(self.random.below(if opening { 8_000 } else { 60_000 }));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["powercut-child", "--seed", &self.seed.to_string(), "--path"]).arg(self.disk.mounted.join("db"));
        let mut talk = Talk::start(&mut command);
        let before = self.bounds;
        let opened = self.write_and_cut(&mut talk, opening, delay);
        let mut counts = Counts { opening: u64::from(!opened), ..Counts::default() };
        counts.acknowledged = (0..WRITERS).map(|writer| self.bounds[writer].1 - before[writer].1).sum();
        drop(talk);
        self.cuts += 1;
        self.disk.remount().unwrap_or_else(|error| panic!("{error}"));
        if examine || self.random.below(4) > 0 {
            self.examine(&mut counts);
        }
        counts
    }

    /// Lets the child write for a while and cuts the power. What counts as durable was heard before the cut began: a sync that is under way in
    /// it may succeed without being one.
    fn write_and_cut(&mut self, talk: &mut Talk, opening: bool, delay: Duration) -> bool {
        let heard: Vec<AtomicU64> = self.bounds.iter().map(|(durable, _)| AtomicU64::new(*durable)).collect();
        let (opened, told) = std::sync::mpsc::channel();
        let (seed, first) = (self.seed, self.bounds);
        let Talk { child, lines } = talk;
        let (durable, acknowledged, was_open) = std::thread::scope(|scope| {
            let heard = &heard;
            let reader = scope.spawn(move || {
                let (mut acknowledged, mut was_open) = (first.map(|(_, acknowledged)| acknowledged), false);
                while let Some(line) = next_line(lines) {
                    let words: Vec<&str> = line.split(' ').collect();
                    if words[0] == "opened" {
                        was_open = true;
                        let _late = opened.send(());
                    }
                    if let ["ack", writer, number] = words[..] {
                        let (writer, number): (usize, u64) = (writer.parse().unwrap(), number.parse().unwrap());
                        acknowledged[writer] = number;
                        if is_synced(seed, writer, number) {
                            heard[writer].store(number, Ordering::SeqCst);
                        }
                    }
                }
                (acknowledged, was_open)
            });
            if !opening {
                // An error is a child that ended: then the parent finds out why.
                let _ended = told.recv_timeout(Duration::from_secs(60));
            }
            std::thread::sleep(delay);
            let durable: Vec<u64> = heard.iter().map(|number| number.load(Ordering::SeqCst)).collect();
            shutdown::shutdown(&self.disk.mounted)
                .unwrap_or_else(|error| panic!("cannot shut {} down: {error}", self.disk.mounted.display()));
            let _ended = child.kill();
            child.wait().unwrap();
            let (acknowledged, was_open) = reader.join().unwrap();
            (durable, acknowledged, was_open)
        });
        for (writer, bounds) in self.bounds.iter_mut().enumerate() {
            // Without an examination between two cuts the bounds only widen: the second writer may start from less than the first one said.
            *bounds = (durable[writer], acknowledged[writer].max(bounds.1));
        }
        was_open
    }

    fn examine(&mut self, counts: &mut Counts) {
        let path = self.disk.mounted.join("db");
        let calm = || Options { background: Background::Inline, ..writer::options() };
        let report = Database::verify(&path, calm()).unwrap();
        assert!(report.damages.is_empty(), "damage before the recovery: {:?}", report.damages);
        let db = Database::open(&path, calm()).unwrap_or_else(|error| panic!("cannot be opened: {error:?}"));
        let found = observe(&db).unwrap();
        let (records, unheard) = self.ledger.check(self.seed, &found, db.snapshot().unwrap().sequence(), &self.bounds, self.cuts);
        let report = Database::verify(&path, calm()).unwrap();
        assert!(report.damages.is_empty() && report.orphans.is_empty(), "after the recovery: {report:?}");
        drop(db);
        // Found and made durable by that recovery.
        self.bounds = self.ledger.numbers().map(|number| (number, number));
        self.cuts = 0;
        (counts.examined, counts.records, counts.unheard) = (1, records, unheard);
    }
}
