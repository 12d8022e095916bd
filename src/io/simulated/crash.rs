use std::collections::BTreeMap;

use super::{
    clock::SplitMix,
    inode::{Change, Fate, Inode},
    journal::Status,
    state::{NameChange, State},
};

/// Which unsynced items a crash keeps. Items are numbered from 0 in the order in which they were done; there are
/// [`super::SimulatedDisk::unsynced`] of them. What was synced, under a synced name, always survives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrashPlan {
    /// None: the page cache is gone.
    LoseAll,
    /// All: the process was killed, the machine lives.
    KeepAll,
    /// Each on its own by chance; writes are torn too, at any byte.
    Random {
        /// The same seed keeps the same.
        seed: u64,
    },
    /// Item i iff element i is `true`; items behind the end are lost.
    Subset(Vec<bool>),
    /// As `Subset`, and of the last unsynced write only its first bytes arrive.
    Torn {
        /// As in `Subset`.
        subset: Vec<bool>,
        /// How many bytes of the last unsynced write arrive.
        last_write_bytes: usize,
    },
}

/// Where an unsynced item stands: its index in the journal of the names or of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Name(usize),
    Data(u64, usize),
}

struct Item {
    stamp: u64,
    place: Place,
    /// Of a write, its length.
    bytes: Option<usize>,
}

impl State {
    pub(super) fn unsynced(&self) -> usize {
        self.items().len()
    }

    pub(super) fn unsynced_names(&self) -> Vec<String> {
        let mut names: BTreeMap<u64, &str> = self.durable_names.iter().map(|(name, inode)| (*inode, name.as_str())).collect();
        for entry in self.name_journal.entries() {
            if let NameChange::Add(name, inode) = &entry.change {
                names.insert(*inode, name);
            }
        }
        let of = |item: &Item| match item.place {
            Place::Name(index) => self.name_journal.entries().nth(index).map(|entry| entry.change.name()),
            Place::Data(inode, _) => names.get(&inode).copied(),
        };
        self.items().iter().map(|item| of(item).unwrap_or_default().to_owned()).collect()
    }

    pub(super) fn last_unsynced_write(&self) -> Option<usize> {
        self.last_unsynced_write_item().map(|(_, bytes)| bytes)
    }

    pub(super) fn last_unsynced_write_item(&self) -> Option<(usize, usize)> {
        self.items().iter().enumerate().rev().find_map(|(index, item)| Some((index, item.bytes?)))
    }

    /// The disk after a crash: nothing open, nothing locked, nothing unsynced.
    pub(super) fn crash(&self, plan: &CrashPlan) -> Self {
        let items = self.items();
        let fates: BTreeMap<Place, Fate> =
            items.iter().zip(plan.fates(&items)).filter_map(|(item, fate)| Some((item.place, fate?))).collect();
        let mut names = self.durable_names.clone();
        for (index, entry) in self.name_journal.entries().enumerate() {
            if entry.status == Status::Synced || fates.contains_key(&Place::Name(index)) {
                entry.change.apply(&mut names);
            }
        }
        let survivor = |inode: u64| {
            let file = self.inodes.get(&inode)?;
            let statuses: Vec<Status> = file.journal.entries().map(|entry| entry.status).collect();
            let image = file.image(|index| match statuses.get(index) {
                Some(Status::Synced) => Some(Fate::Kept),
                _ => fates.get(&Place::Data(inode, index)).cloned(),
            });
            Some((inode, Inode::settled(image)))
        };
        let inodes = names.values().filter_map(|inode| survivor(*inode)).collect();
        let (inode_last, stamp, capacity) = (self.inode_last, self.stamp, self.capacity);
        Self { inodes, inode_last, durable_names: names.clone(), names, stamp, capacity, ..Self::default() }
    }

    /// Everything a crash may lose, in the order in which it was done. Data of files that cannot have a name afterwards do not count.
    fn items(&self) -> Vec<Item> {
        let names = self.name_journal.entries().enumerate().filter(|(_, entry)| entry.status != Status::Synced);
        let mut items: Vec<Item> =
            names.map(|(index, entry)| Item { stamp: entry.stamp, place: Place::Name(index), bytes: None }).collect();
        let nameable = self.inodes_after_crash();
        for (inode, file) in self.inodes.iter().filter(|(inode, _)| nameable.contains(inode)) {
            for (index, entry) in file.journal.entries().enumerate().filter(|(_, entry)| entry.status != Status::Synced) {
                let bytes = if let Change::Write { bytes, .. } = &entry.change { Some(bytes.len()) } else { None };
                items.push(Item { stamp: entry.stamp, place: Place::Data(*inode, index), bytes });
            }
        }
        items.sort_by_key(|item| item.stamp);
        items
    }
}

impl CrashPlan {
    fn fates(&self, items: &[Item]) -> Vec<Option<Fate>> {
        let keep = |keep: bool| keep.then_some(Fate::Kept);
        let pick = |subset: &[bool]| -> Vec<_> { (0..items.len()).map(|index| keep(subset.get(index) == Some(&true))).collect() };
        match self {
            Self::LoseAll => vec![None; items.len()],
            Self::KeepAll => vec![Some(Fate::Kept); items.len()],
            Self::Random { seed } => random_fates(*seed, items),
            Self::Subset(subset) => pick(subset),
            Self::Torn { subset, last_write_bytes } => {
                let mut fates = pick(subset);
                let last = fates.iter_mut().zip(items).rev().find_map(|(fate, item)| Some((fate, item.bytes?)));
                if let Some((Some(fate), bytes)) = last {
                    *fate = Fate::Torn(0..bytes.min(*last_write_bytes));
                }
                fates
            }
        }
    }
}

fn random_fates(seed: u64, items: &[Item]) -> Vec<Option<Fate>> {
    let mut random = SplitMix(seed);
    // How much survives differs from crash to crash: otherwise nearly all crashes would keep about half.
    let eighths = random.below(9);
    let mut fate = |item: &Item| {
        if random.below(8) >= eighths {
            return None;
        }
        match item.bytes {
            Some(bytes) if random.below(4) == 0 => {
                let (one, two) = (random.below(bytes as u64 + 1) as usize, random.below(bytes as u64 + 1) as usize);
                Some(Fate::Torn(match random.below(3) {
                    0 => 0..one,
                    1 => one..bytes,
                    _ => one.min(two)..one.max(two),
                }))
            }
            _ => Some(Fate::Kept),
        }
    };
    items.iter().map(&mut fate).collect()
}
