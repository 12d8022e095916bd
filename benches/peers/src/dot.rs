//! The dot product that every scan computes, over bytes as engines hand them out: most do not align values.

use std::{cmp::Ordering, collections::BinaryHeap};

/// Floats a step: enough accumulators to hide the latency of an addition.
const LANES: usize = 64;

#[inline(always)]
fn lanes(row: &[u8], query: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (rows, row_rest) = row.as_chunks::<{ LANES * 4 }>();
    let (queries, query_rest) = query.as_chunks::<LANES>();
    for (row, query) in rows.iter().zip(queries) {
        let (values, _) = row.as_chunks::<4>();
        for ((sum, value), query) in sums.iter_mut().zip(values).zip(query) {
            *sum += f32::from_le_bytes(*value) * query;
        }
    }
    let (values, _) = row_rest.as_chunks::<4>();
    let rest: f32 = values.iter().zip(query_rest).map(|(value, query)| f32::from_le_bytes(*value) * query).sum();
    // In halves: one after the other they would take longer than a short row itself.
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0] + rest
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn lanes_avx2(row: &[u8], query: &[f32]) -> f32 {
    lanes(row, query)
}

/// The dot product of a row's little-endian bytes with a query.
#[inline]
pub fn dot(row: &[u8], query: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both features.
        return unsafe { lanes_avx2(row, query) };
    }
    lanes(row, query)
}

struct Scored {
    score: f32,
    id: Vec<u8>,
}

impl Ord for Scored {
    /// Reversed: the heap's top is the one to drop next.
    fn cmp(&self, other: &Self) -> Ordering {
        other.score.total_cmp(&self.score).then_with(|| self.id.cmp(&other.id))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Scored {}

/// The k best of what was offered.
pub struct TopK {
    k: usize,
    heap: BinaryHeap<Scored>,
}

impl TopK {
    pub fn new(k: usize) -> Self {
        Self { k, heap: BinaryHeap::with_capacity(k + 1) }
    }

    pub fn offer(&mut self, score: f32, id: &[u8]) {
        if self.heap.len() == self.k && self.heap.peek().is_some_and(|worst| score <= worst.score) {
            return;
        }
        self.heap.push(Scored { score, id: id.to_vec() });
        if self.heap.len() > self.k {
            self.heap.pop();
        }
    }

    pub fn into_ids(self) -> Vec<Vec<u8>> {
        self.heap.into_sorted_vec().into_iter().map(|scored| scored.id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_computes_what_a_plain_loop_does() {
        for dimension in [1, 3, 64, 100, 384, 1536] {
            // Small integers: sums are exact in any order.
            let row: Vec<f32> = (0..dimension).map(|i| (i % 13) as f32 - 6.0).collect();
            let query: Vec<f32> = (0..dimension).map(|i| (i % 7) as f32 - 3.0).collect();
            let plain: f32 = row.iter().zip(&query).map(|(a, b)| a * b).sum();
            assert_eq!(dot(bytemuck::cast_slice(&row), &query), plain, "{dimension} dimensions");
        }
    }

    #[test]
    fn the_best_are_kept_in_order() {
        let mut top = TopK::new(2);
        for (score, id) in [(1.0, b"a"), (3.0, b"b"), (2.0, b"c"), (0.0, b"d")] {
            top.offer(score, id);
        }
        assert_eq!(top.into_ids(), [b"b", b"c"]);
    }
}
