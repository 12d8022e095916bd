use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use varvite::io::simulated::{Content, CrashPlan, CrashPoint, SimulatedDisk};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::plans;
use crate::{
    campaign::Campaign,
    quiet::caught,
    support::{
        Random,
        oracle::{check_recovered, check_undamaged, recovered},
        state::Model,
    },
};

/// Recoveries within recoveries are cut to this depth.
const DEPTH_MAX: usize = 2;
/// One in so many distinct images has its recovery cut everywhere; one in so many of those again.
const RECOVERIES_CUT: [u64; DEPTH_MAX] = [160, 500];

/// One in so many images is verified before it is recovered: what a power cut may leave is no damage.
const VERIFIED: u64 = 4;
/// A second recovery is examined for everything that a first one left anew. Logs that no manifest names come back by the crash, and differ
/// from image to image: for those alone it is examined once in so many times.
const SECOND_RECOVERIES: u64 = 16;

/// Crashes the moments of one workload.
pub struct Explorer<'a> {
    campaign: &'a Campaign,
    seed: u64,
    random: Random,
    /// Images by hash, each with the sequence that was recovered from it.
    seen: HashMap<u64, u64>,
    /// What recoveries left, by hash.
    settled: HashSet<u64>,
    hashes: Hashes,
    tally: Tally,
    told: Instant,
}

/// Counts not yet handed in.
#[derive(Default)]
struct Tally {
    crashes: u64,
    distinct: [u64; DEPTH_MAX + 1],
    torn: u64,
    points: u64,
    settled: u64,
}

impl<'a> Explorer<'a> {
    pub fn new(campaign: &'a Campaign, seed: u64) -> Self {
        Self {
            campaign,
            seed,
            random: Random(seed ^ 0xC4A5_4ED0),
            seen: HashMap::new(),
            settled: HashSet::new(),
            hashes: Hashes::default(),
            tally: Tally::default(),
            told: Instant::now(),
        }
    }

    pub fn points(&mut self, points: &[CrashPoint], legal: &[Model]) {
        for point in points {
            self.point(point, legal, legal, 0, &self.seed.to_string());
        }
        // The sequences of a history that starts anew are those of other batches.
        if legal.len() == 1 {
            self.seen.retain(|_, sequence| *sequence == legal[0].sequence || *sequence == u64::MAX);
        }
    }

    fn point(&mut self, point: &CrashPoint, legal: &[Model], ordinals: &[Model], depth: usize, path: &str) {
        if self.campaign.is_over() {
            return;
        }
        self.tally.points += 1;
        self.hashes.forget();
        for plan in plans::plans(point, &mut self.random, depth) {
            let image = point.crash(&plan, image_seed(self.seed, depth));
            self.tally.crashes += 1;
            let hash = self.hashes.of(&image);
            let context = || format!("{path}/{}.{}", point.operation(), plans::name(&plan));
            match self.seen.get(&hash) {
                Some(sequence) => {
                    let (first, last) = (legal[0].sequence, legal[legal.len() - 1].sequence);
                    if !(first..=last).contains(sequence) {
                        let what = format!("sequence {sequence} is recovered where {first} to {last} are legal");
                        self.campaign.found(context(), what);
                    }
                }
                None => {
                    self.tally.distinct[depth] += 1;
                    self.tally.torn += u64::from(matches!(plan, CrashPlan::Torn { .. }));
                    self.image(&image, hash, legal, ordinals, depth, &context());
                }
            }
        }
        if self.told.elapsed().as_millis() > 200 {
            self.count();
        }
    }

    fn image(&mut self, image: &SimulatedDisk, hash: u64, legal: &[Model], ordinals: &[Model], depth: usize, path: &str) {
        let cut = RECOVERIES_CUT.get(depth).is_some_and(|one_in| self.random.below(*one_in) == 0);
        image.record_crash_points(cut);
        let examined = caught(|| {
            if hash.is_multiple_of(VERIFIED) {
                check_undamaged(image, path);
            }
            let (db, model) = recovered(image, legal, path);
            let points = image.take_crash_points();
            image.record_crash_points(false);
            // The second crash comes at once: nothing that the first recovery did may hang on a sync to come.
            let again = image.crash(&CrashPlan::LoseAll);
            image.cut_power();
            drop(db);
            if self.settled.insert(self.hashes.named(&again)) || self.random.below(SECOND_RECOVERIES) == 0 {
                self.tally.settled += 1;
                check_recovered(&again, &model, ordinals, path);
            }
            (model, points)
        });
        match examined {
            Ok((model, points)) => {
                self.seen.insert(hash, model.sequence);
                // Whatever a cut recovery leaves, the next one finds the same.
                let legal = std::slice::from_ref(&model);
                points.iter().for_each(|point| self.point(point, legal, ordinals, depth + 1, path));
            }
            Err(what) => {
                self.seen.insert(hash, legal[0].sequence);
                self.campaign.found(path.to_owned(), what);
            }
        }
    }

    /// Hands the counts in.
    pub fn count(&mut self) {
        self.told = Instant::now();
        let Tally { crashes, distinct, torn, points, settled } = std::mem::take(&mut self.tally);
        let figures = [
            ("crashes", crashes),
            ("distinct images", distinct.iter().sum()),
            ("of them torn", torn),
            ("of them in a recovery", distinct[1]),
            ("of them in a recovery's recovery", distinct[2]),
            ("moments", points),
            ("second recoveries", settled),
        ];
        figures.iter().for_each(|(name, count)| self.campaign.count(name, *count));
        self.campaign.progress("distinct images");
    }
}

/// A disk after a crash draws other numbers than the one before it, and the same ones for the same image.
fn image_seed(seed: u64, depth: usize) -> u64 {
    seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (depth as u64 + 1) << 40
}

/// Hashes of whole disks. Most files of an image are shared with the moment it comes from: those are hashed once.
#[derive(Default)]
struct Hashes(HashMap<usize, (Arc<Content>, u64)>);

impl Hashes {
    fn forget(&mut self) {
        self.0.clear();
    }

    /// Everything that recovery can see; the LOCK page's hints to live readers are not part of it.
    fn of(&mut self, disk: &SimulatedDisk) -> u64 {
        let contents = disk.contents();
        contents.into_iter().filter(|(name, _)| name != "LOCK").fold(0, |hash, (name, content)| self.file(hash, &name, content))
    }

    /// The same after a recovery, of old logs only that they are there.
    fn named(&mut self, disk: &SimulatedDisk) -> u64 {
        let contents = disk.contents();
        let logs = contents.iter().filter(|(name, _)| name.starts_with("log-")).count();
        let mut old = logs.saturating_sub(2);
        contents.into_iter().filter(|(name, _)| name != "LOCK").fold(0, |hash, (name, content)| {
            if name.starts_with("log-") && old > 0 {
                old -= 1;
                return xxh3_64_with_seed(name.as_bytes(), hash);
            }
            self.file(hash, &name, content)
        })
    }

    fn file(&mut self, hash: u64, name: &str, content: Arc<Content>) -> u64 {
        let content = self.content(content);
        xxh3_64_with_seed(&content.to_le_bytes(), xxh3_64_with_seed(name.as_bytes(), hash))
    }

    fn content(&mut self, content: Arc<Content>) -> u64 {
        let place = Arc::as_ptr(&content) as usize;
        if let Some((_, hash)) = self.0.get(&place) {
            return *hash;
        }
        let hash = hash_of(&content);
        // Held, so that no other content can come to stand at its place. Contents of one image only are not worth it.
        if Arc::strong_count(&content) > 3 {
            self.0.insert(place, (content, hash));
        }
        hash
    }
}

fn hash_of(content: &Content) -> u64 {
    xxh3_64_with_seed(content.used(), content.len())
}

/// The images of a case among these moments: what was recovered from each.
pub fn replay(seed: u64, points: Vec<CrashPoint>, legal: &[Model], path: &str) -> Vec<Result<String, String>> {
    points.iter().filter_map(|point| follow(seed, point, legal, legal, 0, path)).collect()
}

fn follow(seed: u64, point: &CrashPoint, legal: &[Model], ordinals: &[Model], depth: usize, path: &str) -> Option<Result<String, String>> {
    let (here, rest) = path.split_once('/').map_or((path, None), |(here, rest)| (here, Some(rest)));
    let (operation, plan) = here.split_once('.')?;
    if operation.parse() != Ok(point.operation()) {
        return None;
    }
    let plan = plans::parse(plan)?;
    let image = point.crash(&plan, image_seed(seed, depth));
    println!("before operation {operation}, unsynced: {}", point.unsynced_names().join(" "));
    for (name, content) in image.contents() {
        println!("  {name} {} bytes, hash {:016x}", content.len(), hash_of(&content));
    }
    image.record_crash_points(rest.is_some());
    let examined = caught(|| {
        check_undamaged(&image, here);
        let (db, model) = recovered(&image, legal, here);
        let points = image.take_crash_points();
        image.record_crash_points(false);
        let again = image.crash(&CrashPlan::LoseAll);
        image.cut_power();
        drop(db);
        check_recovered(&again, &model, ordinals, here);
        (model, points)
    });
    Some(match (examined, rest) {
        (Err(what), _) => Err(what),
        (Ok((model, _)), None) => Ok(format!("sequence {} is recovered", model.sequence)),
        (Ok((model, points)), Some(rest)) => {
            let legal = std::slice::from_ref(&model);
            let mut followed = points.iter().filter_map(|point| follow(seed, point, legal, ordinals, depth + 1, rest));
            followed.next().unwrap_or_else(|| Err(format!("the recovery has no operation of {rest}")))
        }
    })
}
