use super::reader::Segment;
use crate::error::Result;
use crate::format::id_block::{Entries, IDS_PER_BLOCK};

/// Reads the ids of one segment, one after the other: a step forwards within a block decodes only what lies between.
#[derive(Debug, Default)]
pub(crate) struct IdWalk {
    id: Vec<u8>,
    /// The row behind that of `id`, and where its entry begins in their block.
    next: Option<(u32, usize)>,
}

impl IdWalk {
    /// The id last read; empty before the first and after an error.
    #[inline]
    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }

    /// Forgets where it stands; the segment may be another one from here on.
    pub(crate) fn leave(&mut self) {
        self.id.clear();
        self.next = None;
    }

    /// Reads the id of a row.
    pub(crate) fn read(&mut self, segment: &Segment, row: u32) -> Result<()> {
        let block = segment.id_block(row / IDS_PER_BLOCK);
        let next = self.next.take().filter(|(next, _)| *next <= row && next / IDS_PER_BLOCK == row / IDS_PER_BLOCK);
        let result = block.and_then(|block| {
            let (mut entries, steps) = match next {
                Some((next, at)) => (Entries::resume(block.bytes, at, self.id.len()), row - next + 1),
                None => (Entries::new(block.bytes), row % IDS_PER_BLOCK + 1),
            };
            for _ in 0..steps {
                entries.next().map_err(|error| segment.in_id_block(&block, error))?.apply(&mut self.id);
            }
            Ok(entries.at())
        });
        match result {
            // Behind a block's last row nothing can be resumed.
            Ok(at) => self.next = Some((row + 1, at)).filter(|(next, _)| !next.is_multiple_of(IDS_PER_BLOCK)),
            Err(error) => {
                self.id.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::fixture, IdWalk};

    #[test]
    fn reads_any_rows_in_any_order() {
        let built = fixture::build(&[(2, fixture::rows(100, 2))], false);
        let segment = built.segment(0, fixture::MODES[0]).unwrap();
        let rows = &built.models[0].1;
        let mut walk = IdWalk::default();
        assert_eq!(walk.id(), b"");
        // Steps of one, within a block, over its end, backwards, the same again.
        for step in [1, 3, 16, 17, 99, 0, 37] {
            let mut row = 0;
            for _ in 0..200 {
                walk.read(&segment, row).unwrap();
                assert_eq!(walk.id(), rows[row as usize].id, "row {row}, step {step}");
                row = (row + step) % 100;
            }
        }
        assert!(walk.read(&segment, 100).is_err(), "no such row");
        assert_eq!(walk.id(), b"");
        walk.read(&segment, 5).unwrap();
        assert_eq!(walk.id(), rows[5].id);
    }
}
