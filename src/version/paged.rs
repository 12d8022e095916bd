use std::borrow::Borrow;

use crate::sync::Arc;

/// Entries of a page at most.
const PAGE_LEN: usize = 128;

/// A sorted map in pages that its clones share until they change: a clone costs a count for each page, a change the copy of one.
///
/// The catalog is cloned at every change of the schema and its successor replaces it, which must not cost a walk over all collections.
///
/// Invariant: no page is empty, keys ascend within pages and from page to page.
#[derive(Clone, Debug)]
pub(crate) struct PagedMap<K, V> {
    pages: Vec<Arc<Vec<(K, V)>>>,
}

impl<K, V> Default for PagedMap<K, V> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> PagedMap<K, V> {
    /// The page that holds a key or would, and where in it.
    fn place<Q: Ord + ?Sized>(&self, key: &Q) -> (usize, std::result::Result<usize, usize>)
    where
        K: Borrow<Q>,
    {
        let starts_by = |page: &Arc<Vec<(K, V)>>| page.first().is_some_and(|(first, _)| first.borrow() <= key);
        let page = self.pages.partition_point(starts_by).saturating_sub(1);
        let at = self.pages.get(page).map_or(Err(0), |page| page.binary_search_by(|(other, _)| other.borrow().cmp(key)));
        (page, at)
    }

    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_entry(key).map(|(_, value)| value)
    }

    /// The key as it stands in the map, and its value.
    pub(crate) fn get_entry<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&(K, V)>
    where
        K: Borrow<Q>,
    {
        let (page, at) = self.place(key);
        self.pages.get(page)?.get(at.ok()?)
    }

    pub(crate) fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        let (page, at) = self.place(key);
        let at = at.ok()?;
        Arc::make_mut(self.pages.get_mut(page)?).get_mut(at).map(|(_, value)| value)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        let (index, at) = self.place(key.borrow());
        let is_last = index + 1 >= self.pages.len();
        let Some(shared) = self.pages.get_mut(index) else {
            self.pages.push(Arc::new(vec![(key, value)]));
            return;
        };
        match at {
            Ok(at) => {
                if let Some(entry) = Arc::make_mut(shared).get_mut(at) {
                    *entry = (key, value);
                }
            }
            // Numbers ascend: they fill their pages.
            Err(at) if is_last && at == shared.len() && at >= PAGE_LEN => self.pages.push(Arc::new(vec![(key, value)])),
            Err(at) => {
                let page = Arc::make_mut(shared);
                page.insert(at, (key, value));
                if page.len() > PAGE_LEN {
                    let upper = page.split_off(PAGE_LEN / 2);
                    self.pages.insert(index + 1, Arc::new(upper));
                }
            }
        }
    }

    pub(crate) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (index, at) = self.place(key);
        let at = at.ok()?;
        let page = Arc::make_mut(self.pages.get_mut(index)?);
        let (_, value) = page.remove(at);
        if page.is_empty() {
            self.pages.remove(index);
        }
        Some(value)
    }

    /// All entries, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// All values, by ascending key.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }
}

impl<K: Ord + Clone, V: Clone> FromIterator<(K, V)> for PagedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        entries.into_iter().for_each(|(key, value)| map.insert(key, value));
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{Arc, PAGE_LEN, PagedMap};

    fn same(map: &PagedMap<u16, u32>, model: &BTreeMap<u16, u32>) {
        assert!(map.pages.iter().all(|page| !page.is_empty() && page.len() <= PAGE_LEN));
        assert!(map.iter().map(|(key, value)| (key, value)).eq(model.iter()));
    }

    proptest! {
        #[test]
        fn equals_a_tree_and_its_clones_stand_still(steps in prop::collection::vec((0..600_u16, any::<u32>(), 0..8_u8), 0..3000)) {
            let (mut map, mut model) = (PagedMap::default(), BTreeMap::new());
            let mut earlier = Vec::new();
            for (step, (key, value, kind)) in steps.into_iter().enumerate() {
                match kind {
                    0 | 1 => assert_eq!(map.remove(&key), model.remove(&key)),
                    2 => assert_eq!(map.get_mut(&key).map(|old| std::mem::replace(old, value)), model.get_mut(&key).map(|old| std::mem::replace(old, value))),
                    _ => drop((map.insert(key, value), model.insert(key, value))),
                }
                assert_eq!(map.get(&key), model.get(&key));
                if step % 500 == 0 {
                    earlier.push((map.clone(), model.clone()));
                }
            }
            same(&map, &model);
            earlier.iter().for_each(|(map, model)| same(map, model));
        }
    }

    #[test]
    fn a_change_copies_one_page() {
        let mut map: PagedMap<u32, u32> = (0..10_000).map(|key| (key, key)).collect();
        assert_eq!(map.pages.len(), 10_000_usize.div_ceil(PAGE_LEN), "ascending keys fill their pages");
        let before = map.clone();
        map.insert(5_000, 1);
        map.insert(10_000, 1);
        let shared = map.pages.iter().zip(&before.pages).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!(shared, before.pages.len() - 2);
        assert_eq!((before.get(&5_000), before.get(&10_000)), (Some(&5_000), None));
    }
}
