//! Chance that can be played again.

use std::hash::{DefaultHasher, Hash, Hasher};

/// SplitMix64: a number determines all that follow.
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    /// Dice for one purpose of one seed, whatever other dice were thrown.
    pub(super) fn of(seed: u64, purpose: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        (seed, purpose).hash(&mut hasher);
        Self(hasher.finish())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to 1.
    pub(super) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(super) fn hits(&mut self, chance: f64) -> bool {
        self.share() < chance
    }

    pub(super) fn between(&mut self, from: i64, to: i64) -> i64 {
        from + ((to - from) as f64 * self.share()) as i64
    }

    /// As [`Dice::between`], with as many between 1 and 10 as between 10 and 100.
    pub(super) fn scale(&mut self, from: i64, to: i64) -> i64 {
        let (low, high) = ((from as f64).ln(), (to as f64).ln());
        (low + (high - low) * self.share()).exp() as i64
    }

    pub(super) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.next() as usize % of.len()]
    }
}
