use std::collections::BTreeSet;

/// Bits of a page.
const PAGE: u64 = 4096;
/// Pages that are found by their number: four billion ordinals.
const NEAR: u64 = 1 << 20;

/// A set of insertion ordinals: what is in it is found in a few instructions, and memory grows with its members, not with their size.
#[derive(Debug, Default)]
pub(crate) struct Ordinals {
    /// For each number of a page, its place in `pages` and one more; 0 for those without members.
    places: Vec<u32>,
    pages: Vec<[u64; PAGE as usize / 64]>,
    /// Those behind the pages.
    far: BTreeSet<u64>,
}

impl Ordinals {
    fn insert(&mut self, ordinal: u64) {
        let page = ordinal / PAGE;
        if page >= NEAR {
            self.far.insert(ordinal);
            return;
        }
        if self.places.len() <= page as usize {
            self.places.resize(page as usize + 1, 0);
        }
        let Some(place) = self.places.get_mut(page as usize) else { return };
        if *place == 0 {
            self.pages.push([0; PAGE as usize / 64]);
            // There are at most NEAR of them.
            *place = self.pages.len() as u32;
        }
        let page = self.pages.get_mut(*place as usize - 1);
        if let Some(word) = page.and_then(|page| page.get_mut((ordinal % PAGE / 64) as usize)) {
            *word |= 1 << (ordinal % 64);
        }
    }

    #[inline]
    pub(super) fn contains(&self, ordinal: u64) -> bool {
        let page = ordinal / PAGE;
        if page >= NEAR {
            return self.far.contains(&ordinal);
        }
        let place = self.places.get(page as usize).copied().unwrap_or_default();
        let page = (place as usize).checked_sub(1).and_then(|place| self.pages.get(place));
        page.and_then(|page| page.get((ordinal % PAGE / 64) as usize)).is_some_and(|word| word >> (ordinal % 64) & 1 == 1)
    }
}

impl FromIterator<u64> for Ordinals {
    fn from_iter<I: IntoIterator<Item = u64>>(ordinals: I) -> Self {
        let mut set = Self::default();
        ordinals.into_iter().for_each(|ordinal| set.insert(ordinal));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Ordinals;

    fn ordinal() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..10_000, (1u64 << 32) - 50..(1 << 32) + 50, any::<u64>(), Just(u64::MAX), Just(0)]
    }

    proptest! {
        #[test]
        fn equals_a_tree(members in prop::collection::vec(ordinal(), 0..60), others in prop::collection::vec(ordinal(), 60)) {
            let (set, tree): (Ordinals, BTreeSet<u64>) = (members.iter().copied().collect(), members.iter().copied().collect());
            for asked in members.iter().chain(&others).flat_map(|ordinal| [ordinal.saturating_sub(1), *ordinal, ordinal.saturating_add(1)]) {
                prop_assert_eq!(set.contains(asked), tree.contains(&asked), "{}", asked);
            }
        }
    }

    #[test]
    fn far_members_take_little() {
        let set: Ordinals = (0..1000).map(|number| u64::MAX - number * (1 << 50)).chain([1 << 31]).collect();
        assert_eq!((set.places.len(), set.pages.len(), set.far.len()), ((1 << 19) + 1, 1, 1000));
    }
}
