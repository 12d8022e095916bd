use std::cmp::Ordering;

/// The bytes of an id behind what all share, as numbers that compare as the bytes do.
type Prefix = (u64, u64);

/// Sorts by id, and items of equal ids by `ties`. Takes `n log n` comparisons, of which those between ids that differ in the 16 bytes behind the
/// prefix that all have in common touch neither id: they are held beside the items. Items of equal ids that tie come in any order.
pub(crate) fn sort_by_id<T>(items: Vec<T>, id: impl Fn(&T) -> &[u8], ties: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let shared = shared_prefix(items.iter().map(&id));
    let mut keyed: Vec<(Prefix, T)> = items.into_iter().map(|item| (prefix(id(&item), shared), item)).collect();
    keyed.sort_unstable_by(|(a_prefix, a), (b_prefix, b)| a_prefix.cmp(b_prefix).then_with(|| id(a).cmp(id(b))).then_with(|| ties(a, b)));
    keyed.into_iter().map(|(_, item)| item).collect()
}

/// How many leading bytes all ids have in common.
fn shared_prefix<'a>(mut ids: impl Iterator<Item = &'a [u8]>) -> usize {
    let Some(first) = ids.next() else { return 0 };
    ids.fold(first.len(), |shared, id| {
        let known = first.get(..shared).unwrap_or_default();
        if id.starts_with(known) { shared } else { known.iter().zip(id).take_while(|(a, b)| a == b).count() }
    })
}

/// Bytes behind the end count as zeros, which nothing is less than: where two prefixes differ, the ids differ alike.
fn prefix(id: &[u8], from: usize) -> Prefix {
    let rest = id.get(from..).unwrap_or_default();
    let word = |at: usize| {
        let bytes = rest.get(at..).unwrap_or_default();
        match bytes.first_chunk::<8>() {
            Some(whole) => u64::from_be_bytes(*whole),
            None => bytes.iter().zip(0..).fold(0, |word, (byte, at)| word | u64::from(*byte) << (56 - 8 * at)),
        }
    };
    (word(0), word(8))
}

#[cfg(test)]
mod tests {
    use super::{prefix, sort_by_id};
    use proptest::prelude::*;

    fn sorted(items: Vec<(Vec<u8>, u8)>) -> Vec<(Vec<u8>, u8)> {
        sort_by_id(items, |item| &item.0, |a, b| b.1.cmp(&a.1))
    }

    #[test]
    fn an_id_that_is_the_beginning_of_another_comes_first() {
        let ids = [&b""[..], b"\0", b"\0\0", b"a", b"a\0", b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"a\0b", b"ab", b"b"];
        let items: Vec<_> = ids.iter().rev().map(|id| (id.to_vec(), 0)).collect();
        assert!(sorted(items).iter().map(|item| &*item.0).eq(ids));
        assert!(sorted(Vec::new()).is_empty());
    }

    #[test]
    fn prefixes_are_of_what_follows_the_shared_bytes() {
        assert_eq!(prefix(b"id-0123456789abcdefgh", 3), (u64::from_be_bytes(*b"01234567"), u64::from_be_bytes(*b"89abcdef")));
        assert_eq!(prefix(b"id-0123", 3), (u64::from_be_bytes(*b"0123\0\0\0\0"), 0));
        assert_eq!(prefix(b"id", 3), (0, 0));
    }

    proptest! {
        /// Few letters and shared beginnings, so that ids are equal, or begin alike for longer than a prefix.
        #[test]
        fn equals_a_plain_sort(beginning in "[ab]{0,20}", rests in prop::collection::vec(("[ab\0\u{7F}é]{0,40}", any::<u8>()), 0..60)) {
            let items: Vec<_> = rests.into_iter().map(|(rest, tie)| ((beginning.clone() + &rest).into_bytes(), tie)).collect();
            let mut expected = items.clone();
            expected.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
            prop_assert_eq!(sorted(items), expected);
        }
    }
}
