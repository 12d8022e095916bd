/// Vectors for tests. A linear congruential generator: [0, 1).
pub(super) struct Floats(pub(super) u64);

impl Floats {
    pub(super) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1 << 24) as f32
    }

    pub(super) fn vector(&mut self, dimension: usize, scale: f32) -> Vec<f32> {
        (0..dimension).map(|_| (self.next() - 0.5) * scale).collect()
    }
}
