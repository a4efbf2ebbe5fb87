//! Chance, drawn from the seed: one stream for each purpose, so that leaving out a fault changes nothing else.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// One stream of chance.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of a purpose.
    pub fn new(seed: u64, purpose: &str) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        for (place, byte) in bytes[8..].iter_mut().zip(purpose.bytes()) {
            *place = byte;
        }
        Self(ChaCha8Rng::from_seed(bytes))
    }

    pub fn number(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// From `low` on, below `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.number() % (high - low).max(1)
    }

    /// True so many times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.number() % 1_000 < per_mille
    }

    /// One of them.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        (!all.is_empty()).then(|| all[self.between(0, all.len() as u64) as usize])
    }

    /// Puts them in some order.
    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            all.swap(last, self.between(0, last as u64 + 1) as usize);
        }
    }
}
