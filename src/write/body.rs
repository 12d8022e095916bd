//! The encoding of a batch while it is resolved.

use std::ops::Range;

/// Operations that are as the batch encoded them stay where they are. From the first one on that is left out or encoded anew, all are copied.
#[derive(Debug, Default)]
pub(crate) struct Body {
    source: Vec<u8>,
    /// How much of the source is part of the result, while nothing is copied.
    kept: usize,
    copied: Option<Vec<u8>>,
}

impl Body {
    pub(super) fn new(source: Vec<u8>) -> Self {
        Self { source, kept: 0, copied: None }
    }

    /// What the batch encoded.
    pub(super) fn source(&self, range: Range<usize>) -> &[u8] {
        self.source.get(range).unwrap_or_default()
    }

    /// The result so far.
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.copied {
            Some(copied) => copied,
            None => self.source.get(..self.kept).unwrap_or_default(),
        }
    }

    /// Adds an operation as the batch encoded it. Returns where it begins in the result.
    pub(super) fn keep(&mut self, operation: Range<usize>) -> usize {
        if self.copied.is_none() && operation.start == self.kept {
            self.kept = operation.end;
            return operation.start;
        }
        self.compose(|source, copied| copied.extend_from_slice(source.get(operation).unwrap_or_default()))
    }

    /// Adds an operation that `encode` makes of the source. Returns where it begins in the result.
    pub(super) fn compose(&mut self, encode: impl FnOnce(&[u8], &mut Vec<u8>)) -> usize {
        let copied = self.copied.get_or_insert_with(|| {
            let mut copied = Vec::with_capacity(self.source.len());
            copied.extend_from_slice(self.source.get(..self.kept).unwrap_or_default());
            copied
        });
        let at = copied.len();
        encode(&self.source, copied);
        at
    }

    /// The result from an offset on, to enter what was not known before.
    pub(super) fn rest_mut(&mut self, at: usize) -> &mut [u8] {
        match &mut self.copied {
            Some(copied) => copied.get_mut(at..),
            None => self.source.get_mut(at..self.kept),
        }
        .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::Body;
    use proptest::prelude::*;

    #[test]
    fn what_is_kept_from_the_start_on_is_not_copied() {
        let mut body = Body::new(b"aabbcc".to_vec());
        let place = body.source.as_ptr();
        assert_eq!((body.keep(0..2), body.keep(2..4)), (0, 2));
        body.rest_mut(2)[0] = b'x';
        assert_eq!((body.bytes(), body.bytes().as_ptr()), (&b"aaxb"[..], place));
    }

    proptest! {
        /// Whatever is kept, left out or composed, in whichever order.
        #[test]
        fn the_result_is_what_was_added(steps in prop::collection::vec((0..4_u8, 1..4_usize), 0..20)) {
            let source: Vec<u8> = (0..steps.iter().map(|step| step.1).sum::<usize>() as u8).collect();
            let (mut body, mut expected, mut at) = (Body::new(source.clone()), Vec::new(), 0);
            for (kind, len) in steps {
                let operation = at..at + len;
                at += len;
                match kind {
                    0 => {}
                    1 => {
                        prop_assert_eq!(body.compose(|source, out| out.extend(source[operation].iter().rev())), expected.len());
                        expected.extend((at - len..at).rev().map(|byte| byte as u8));
                    }
                    _ => {
                        prop_assert_eq!(body.source(operation.clone()), &source[operation.clone()]);
                        prop_assert_eq!(body.keep(operation.clone()), expected.len());
                        expected.extend(&source[operation]);
                        if kind == 3 {
                            let start = expected.len() - len;
                            body.rest_mut(start)[0] ^= 0x80;
                            expected[start] ^= 0x80;
                            prop_assert_eq!(body.rest_mut(start).len(), len);
                        }
                    }
                }
                prop_assert_eq!(body.bytes(), &expected);
            }
        }
    }
}
