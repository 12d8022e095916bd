use super::CollectionVersion;

/// Bytes of a segment at most, about: compaction moves whole ones.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// Size at which segments of a collection with so many live bytes end; `grain` is [`crate::Options::grain`].
pub(crate) fn segment_bytes(live: u64, grain: u64) -> u64 {
    (live / 16).clamp(grain, SEGMENT_BYTES_MAX)
}

/// Says where the segments of upper runs end, so that they align with those of the bottom run: merging an id range then frees whole files, not
/// rows of files that span everything.
///
/// Every g-th bound of the bottom run counts, g being the least power of two that makes pieces large enough: so the cuts of small outputs are
/// among those of larger ones.
#[derive(Debug)]
pub(crate) struct Splitter {
    /// Last ids of pieces, ascending.
    bounds: Vec<Box<[u8]>>,
    next: usize,
    due: bool,
    piece_bytes: u64,
    segment_bytes: u64,
}

impl Splitter {
    /// For outputs of about `bytes` in all.
    pub(crate) fn new(version: Option<&CollectionVersion>, bytes: u64, grain: u64) -> Self {
        let segment_bytes = segment_bytes(version.map_or(0, CollectionVersion::live_bytes).max(bytes), grain);
        // Larger pieces for large collections, whose files would be too many.
        let piece_bytes = (segment_bytes / 16).clamp(grain, grain * 4);
        let bottom = version.and_then(CollectionVersion::bottom).unwrap_or_default();
        let mut group = 1;
        while bottom.len() > group && bytes / ((bottom.len() / group) as u64) < piece_bytes {
            group *= 2;
        }
        let ends = bottom.iter().skip(group - 1).step_by(group).filter_map(|live| live.bounds());
        Self { bounds: ends.map(|(_, last)| last.into()).collect(), next: 0, due: false, piece_bytes, segment_bytes }
    }

    /// Whether the open segment, which has so many bytes, ends before this id. Ids ascend from call to call.
    pub(crate) fn ends_before(&mut self, id: &[u8], open_bytes: u64) -> bool {
        while self.bounds.get(self.next).is_some_and(|bound| id > bound) {
            self.next += 1;
            // A sliver is not worth a file: it stays with what follows.
            self.due = open_bytes >= self.piece_bytes / 4;
        }
        std::mem::take(&mut self.due) || open_bytes >= self.segment_bytes + self.segment_bytes / 2
    }
}

#[cfg(test)]
mod tests {
    use super::{Splitter, segment_bytes};

    fn splitter(bounds: &[&[u8]]) -> Splitter {
        let bounds = bounds.iter().map(|bound| (*bound).into()).collect();
        Splitter { bounds, next: 0, due: false, piece_bytes: 400, segment_bytes: 1000 }
    }

    #[test]
    fn pieces_end_at_bounds_unless_they_are_slivers() {
        let mut splitter = splitter(&[b"c", b"f", b"m"]);
        assert!(!splitter.ends_before(b"a", 0) && !splitter.ends_before(b"c", 300), "the bound itself belongs to the piece");
        assert!(splitter.ends_before(b"d", 300));
        assert!(!splitter.ends_before(b"e", 20));
        assert!(!splitter.ends_before(b"g", 99), "a sliver");
        assert!(!splitter.ends_before(b"h", 200), "it stays with what follows, up to the next bound");
        assert!(splitter.ends_before(b"z", 500));
        assert!(!splitter.ends_before(b"zz", 1499) && splitter.ends_before(b"zzz", 1500), "and at half as much again as a segment's size");
    }

    #[test]
    fn segments_grow_with_their_collection() {
        let sizes = [0, 16 << 20, 320 << 20, 1 << 40].map(|live| segment_bytes(live, 1 << 20));
        assert_eq!(sizes, [1 << 20, 1 << 20, 20 << 20, 64 << 20]);
    }
}
