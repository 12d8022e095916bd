//! Layer 7: crash states of a device below a real file system. A file system lies on a loop device over a file that a process of ours serves and
//! whose writes and syncs it logs; several writers work on it. Then the power is cut at each sync of the log, on paper: of what the device was
//! told since the sync before, any part may have stayed. Each such image is mounted and examined. The second generation of a case begins with one
//! of the images of the first, so that recoveries, of the file system too, are cut as well.

mod blocks;
mod disk;
mod examine;
mod loops;
pub mod server;
mod session;
mod states;

use std::{fs, path::Path, process::Command, sync::Mutex, time::Duration};

use crate::{
    campaign::{Campaign, Replayed, processors},
    powercut::{mount, writer::WRITERS},
    quiet::caught,
    support::Random,
    watch::Watch,
};
use disk::{FLAVORS, Flavor, Logged};
use examine::{Crash, Examiner, Found};
use mount::Place;
use server::Server;
use session::Session;
use states::{Survivors, Window};

const GENERATIONS: u64 = 3;
/// Images of one generation.
const STATES_MAX: usize = 250;
/// What XFS says when its recovery meets a block of metadata of which the device wrote some sectors: EUCLEAN. It counts on whole blocks.
const METADATA_TORN: &str = "cannot be mounted: Structure needs cleaning";
/// What ext4 says of a superblock that does not have its checksum: EBADMSG.
const SUPERBLOCK_TORN: &str = "cannot be mounted: Bad message";
/// A mount or a session that takes so long hangs.
const HUNG_AFTER: Duration = Duration::from_secs(180);

pub fn explore(campaign: &Campaign) {
    let bench = match Bench::enter() {
        Ok(bench) => bench,
        Err(why) => return campaign.skip(why),
    };
    let kinds = bench.place.kinds(|kind, why| campaign.leave_out(&format!("device {}", kind.name()), why));
    let flavors: Vec<Flavor> = FLAVORS.into_iter().filter(|flavor| kinds.contains(&flavor.kind())).collect();
    if flavors.is_empty() {
        return campaign.skip("neither ext4 nor XFS can be made and mounted".to_owned());
    }
    let watch = Watch::start("device", HUNG_AFTER);
    let turn = Mutex::new(0_usize);
    // Most of the time a mount waits for the kernel.
    campaign.on_threads(2 * processors().min(2), |campaign| {
        while let Some(seed) = campaign.next_case() {
            let flavor = {
                let mut turn = turn.lock().unwrap();
                *turn += 1;
                flavors[*turn % flavors.len()]
            };
            case(Some(campaign), &watch, &bench, flavor, seed).into_iter().for_each(|(case, what)| campaign.found(case, what));
            campaign.count("file systems", 1);
        }
    });
}

/// A case is a seed with its file system, which is tried as a whole, or one image that was kept.
pub fn replay(case_: &str) -> Result<String, Replayed> {
    let bench = Bench::enter().map_err(Replayed::Skipped)?;
    let parsed = case_.split_once('/').and_then(|(flavor, seed)| Some((Flavor::named(flavor)?, seed.parse().ok()?)));
    let Some((flavor, seed)) = parsed else {
        let crash = Crash::load(case_).map_err(Replayed::Usage)?;
        let directory = bench.place.directory.join("replay");
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let found = caught(|| Examiner::new(crash.image.bytes(), &directory).examine(&crash))?;
        return Ok(format!("batches of each writer: {found:?}; 0 violations"));
    };
    let watch = Watch::start("device", HUNG_AFTER);
    match case(None, &watch, &bench, flavor, seed).pop() {
        None => Ok("0 violations".to_owned()),
        Some((case, what)) => Err(format!("{case}: {what}").into()),
    }
}

/// Memory, and the process that serves devices. The order of the fields is the order in which they end.
struct Bench {
    server: Server,
    place: Place,
}

impl Bench {
    fn enter() -> Result<Self, String> {
        if !Path::new("/dev/fuse").exists() {
            return Err("there is no FUSE".to_owned());
        }
        mount::enter_namespace()?;
        let place = Place::new().map_err(|error| error.to_string())?;
        let bench = Self { server: Server::start(), place };
        // What is there may still be forbidden.
        let directory = bench.place.directory.join("probe");
        caught(|| Logged::start(&bench.server, &blocks::Image::zeros(1 << 20), &directory).position())?;
        Ok(bench)
    }
}

/// What the file systems had to say at last.
fn kernel_log() -> String {
    let output = Command::new("dmesg").output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let lines: Vec<&str> = text.lines().filter(|line| ["EXT4-fs", "JBD2", "XFS"].iter().any(|name| line.contains(name))).collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// Findings, each with its case.
type Findings = Vec<(String, String)>;

/// One file system, through its generations. Ends with the first finding.
fn case(campaign: Option<&Campaign>, watch: &Watch, bench: &Bench, flavor: Flavor, seed: u64) -> Findings {
    let name = format!("{}/{seed}", flavor.name());
    let directory = bench.place.directory.join(format!("{}-{seed}", flavor.name()));
    fs::create_dir_all(&directory).unwrap();
    watch.begin(seed);
    let mut random = Random(seed);
    let mut findings = Vec::new();
    let mut next = caught(|| Some((flavor.make(&directory), [0; WRITERS])));
    for _ in 0..GENERATIONS {
        let (base, first) = match next {
            Ok(Some(begin)) => begin,
            Ok(None) => break,
            Err(what) => {
                findings.push((name.clone(), what));
                break;
            }
        };
        if campaign.is_some_and(Campaign::is_over) {
            break;
        }
        watch.begin(seed);
        next = caught(|| session::record(&bench.server, flavor, seed, base, first, &directory)).and_then(|session| {
            let generation = Generation { campaign, watch, flavor, seed, session: &session };
            caught(|| generation.examine_all(&directory, &mut random, &mut findings))
        });
    }
    watch.end();
    let _stays_in_memory = fs::remove_dir_all(&directory);
    findings
}

struct Generation<'a> {
    campaign: Option<&'a Campaign>,
    watch: &'a Watch,
    flavor: Flavor,
    seed: u64,
    session: &'a Session,
}

impl Generation<'_> {
    /// Returns the image that the next generation begins with, unless there was a finding or the time is over.
    fn examine_all(&self, directory: &Path, random: &mut Random, findings: &mut Findings) -> Option<(blocks::Image, Found)> {
        let windows = states::windows(&self.session.base, &self.session.log);
        let mut states: Vec<(usize, Survivors)> = Vec::new();
        for (index, window) in windows.iter().enumerate() {
            states.extend(window.states(random).into_iter().map(|survivors| (index, survivors)));
        }
        self.count(&[
            ("windows", windows.len() as u64),
            ("writes logged", windows.iter().map(|window| window.writes.len() as u64).sum()),
            ("batches", self.session.batches()),
            ("flushes", self.session.flushes),
            ("compactions", self.session.compactions),
            ("generations", 1),
        ]);
        // The time may end before the states do.
        for index in (1..states.len()).rev() {
            states.swap(index, random.below(index as u64 + 1) as usize);
        }
        states.truncate(STATES_MAX);
        let mut examiner = Examiner::new(self.session.base.bytes(), directory);
        let mut next = None;
        for (index, survivors) in states {
            if self.campaign.is_some_and(Campaign::is_over) {
                return None;
            }
            self.watch.begin(self.seed);
            let crash = self.crash(&windows[index], &survivors);
            match caught(|| examiner.examine(&crash)) {
                Ok(found) if crash.created && random.below(8) == 0 => next = Some((crash.image.clone(), found)),
                Ok(_) => {}
                // Its superblock is two sectors under one checksum, written in place.
                Err(what) if survivors.is_torn() && what.contains(SUPERBLOCK_TORN) => self.count(&[("superblocks torn", 1)]),
                Err(what) if survivors.is_torn() && what.contains(METADATA_TORN) => self.count(&[("metadata torn", 1)]),
                Err(what) => {
                    let said = kernel_log();
                    let again = caught(|| Examiner::new(crash.image.bytes(), directory).examine(&crash));
                    let again = again.map_or_else(|what| what, |found| format!("nothing, batches {found:?}"));
                    let path = std::env::temp_dir().join(format!("varvite-device-{}-{:016x}.crash", self.seed, crash.image.hash()));
                    let kept = crash.save(&path).map_or_else(|error| error.to_string(), |()| path.display().to_string());
                    findings.push((
                        kept,
                        format!(
                            "{}/{}, window {index}, {survivors:?}: {what}\na second look: {again}\n{said}",
                            self.flavor.name(),
                            self.seed
                        ),
                    ));
                    return None;
                }
            }
            let examine::Counts { images, directories, records, copies } = std::mem::take(&mut examiner.counts);
            let torn = u64::from(survivors.is_torn());
            self.count(&[("crash states", 1), ("of them torn", torn), ("distinct images", images), (self.flavor.name(), images)]);
            self.count(&[("distinct directories", directories), ("records compared", records), ("checkpoints", copies)]);
            if let Some(campaign) = self.campaign {
                campaign.progress("distinct images");
            }
        }
        next
    }

    fn crash(&self, window: &Window, survivors: &Survivors) -> Crash {
        Crash {
            flavor: self.flavor,
            seed: self.seed,
            image: window.image(survivors),
            created: self.session.had_database() || window.end >= self.session.opened,
            bounds: self.session.bounds(window.end),
            copies: self.session.copies(window.end),
        }
    }

    fn count(&self, figures: &[(&str, u64)]) {
        let Some(campaign) = self.campaign else { return };
        figures.iter().for_each(|(name, more)| campaign.count(name, *more));
    }
}
