//! The crash states of a log of writes and syncs. What was written before a sync is there; of what was written after the last one, anything may be.

use super::{
    blocks::Image,
    server::{HEADER_BYTES, SYNC},
};
use crate::support::Random;

const SECTOR_BYTES: usize = 512;
/// All subsets of so many writes.
const SUBSETS_MAX: usize = 4;
/// Beyond, so many of each kind.
const SEEDED: u64 = 4;

/// A write that reached the device.
pub struct Write {
    pub offset: u64,
    pub bytes: Vec<u8>,
}

/// The writes between two syncs.
pub struct Window {
    /// What is there for certain: all before it.
    pub durable: Image,
    pub writes: Vec<Write>,
    /// Where in the log it ends: a crash in it comes at most so late.
    pub end: u64,
}

/// Takes a log apart. The last window is the one after the last sync.
pub fn windows(base: &Image, log: &[u8]) -> Vec<Window> {
    let (mut durable, mut writes, mut windows) = (base.clone(), Vec::new(), Vec::new());
    let (mut at, mut rest) = (0, log);
    while let Some((header, behind)) = rest.split_at_checked(HEADER_BYTES) {
        let (offset, len) = header.split_at(8);
        let (offset, len) = (u64::from_le_bytes(offset.try_into().unwrap()), u64::from_le_bytes(len.try_into().unwrap()));
        let (bytes, behind) = behind.split_at(len as usize);
        if offset == SYNC {
            let mut next = durable.clone();
            writes.iter().for_each(|Write { offset, bytes }| next.write(*offset, bytes));
            windows.push(Window { durable, writes: std::mem::take(&mut writes), end: at });
            durable = next;
        } else {
            writes.push(Write { offset, bytes: bytes.to_vec() });
        }
        at += (HEADER_BYTES + bytes.len()) as u64;
        rest = behind;
    }
    windows.push(Window { durable, writes, end: at });
    windows
}

/// Which of a window's writes are there, and which sectors of one of them.
#[derive(Clone, Debug)]
pub struct Survivors {
    whole: Vec<usize>,
    torn: Option<(usize, Sectors)>,
}

#[derive(Clone, Debug)]
enum Sectors {
    First(usize),
    Seeded(u64),
}

impl Window {
    /// What to try: every subset of few writes; of many, prefixes, all but one, one alone, seeded ones; and one of the writes torn.
    pub fn states(&self, random: &mut Random) -> Vec<Survivors> {
        let many = self.writes.len();
        let mut subsets: Vec<Vec<usize>> = Vec::new();
        if many <= SUBSETS_MAX {
            subsets.extend((0..1_u32 << many).map(|bits| (0..many).filter(|index| bits >> index & 1 == 1).collect()));
        } else {
            subsets.extend([Vec::new(), (0..many).collect()]);
            for _ in 0..SEEDED {
                let one = random.below(many as u64) as usize;
                let bits: Vec<bool> = (0..many).map(|_| random.below(2) == 0).collect();
                subsets.extend([(0..one).collect(), (0..many).filter(|index| *index != one).collect(), vec![one]]);
                subsets.push((0..many).filter(|index| bits[*index]).collect());
            }
        }
        let mut states: Vec<Survivors> = subsets.into_iter().map(|whole| Survivors { whole, torn: None }).collect();
        for _ in 0..SEEDED.min(many as u64) {
            let one = random.below(many as u64) as usize;
            let sectors = self.writes[one].bytes.len() / SECTOR_BYTES;
            let torn = match random.below(2) {
                0 => Sectors::First(random.below(sectors.max(1) as u64) as usize),
                _ => Sectors::Seeded(random.next()),
            };
            let whole = if random.below(2) == 0 { (0..one).collect() } else { (0..many).filter(|index| *index != one).collect() };
            states.push(Survivors { whole, torn: Some((one, torn)) });
        }
        states
    }

    pub fn image(&self, survivors: &Survivors) -> Image {
        let mut image = self.durable.clone();
        for (index, Write { offset, bytes }) in self.writes.iter().enumerate() {
            if survivors.whole.contains(&index) {
                image.write(*offset, bytes);
            }
            if let Some((torn, sectors)) = survivors.torn.as_ref().filter(|(torn, _)| *torn == index) {
                debug_assert_eq!(*torn, index, "the one that is torn");
                for sector in sectors.of(bytes.len() / SECTOR_BYTES) {
                    let start = sector * SECTOR_BYTES;
                    image.write(offset + start as u64, &bytes[start..start + SECTOR_BYTES]);
                }
            }
        }
        image
    }
}

impl Survivors {
    pub fn is_torn(&self) -> bool {
        self.torn.is_some()
    }
}

impl Sectors {
    fn of(&self, many: usize) -> Vec<usize> {
        match self {
            Self::First(first) => (0..*first).collect(),
            Self::Seeded(seed) => {
                let mut random = Random(*seed);
                (0..many).filter(|_| random.below(2) == 0).collect()
            }
        }
    }
}
