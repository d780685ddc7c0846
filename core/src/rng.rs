//! Randomness: one 32-byte seed, cut into named streams.
//!
//! Each place that draws has a stream of its own, so that a new draw in one place does not shift the others.
//! ChaCha8, because it gives the same numbers on every platform and in every version.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// The seed of an engine: everything that is random follows from it.
pub type Seed = [u8; 32];

/// The places that draw random numbers. The number is the ChaCha stream and must never be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Our peer id.
    PeerId = 1,
    /// Piece choice.
    Picker = 2,
    /// Announce: tier shuffle, jitter, the `key`, transaction ids.
    Announce = 3,
    /// Which peer to dial, dial back-off jitter.
    Candidates = 4,
    /// Optimistic unchoke.
    Choker = 5,
}

/// A seeded generator. It keeps only its place in the stream, and makes the numbers there anew for each draw (some 100 ns): every torrent has several, and
/// draws seldom.
#[derive(Clone, Debug)]
pub struct Rng {
    seed: Seed,
    stream: u64,
    /// In words of 32 bits.
    drawn: u64,
}

impl Rng {
    /// The generator of one `stream` for one `owner` (a torrent's number, or 0 for the engine).
    pub fn new(seed: &Seed, stream: Stream, owner: u32) -> Self {
        Rng { seed: *seed, stream: (u64::from(owner) << 8) | stream as u64, drawn: 0 }
    }

    fn draw<T>(&mut self, from: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        let mut numbers = ChaCha8Rng::from_seed(self.seed);
        numbers.set_stream(self.stream);
        numbers.set_word_pos(u128::from(self.drawn));
        let drawn = from(&mut numbers);
        self.drawn = numbers.get_word_pos() as u64;
        drawn
    }

    /// 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        self.draw(|numbers| numbers.next_u32())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.draw(|numbers| numbers.next_u64())
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of at most `bound / 2^64` does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        let product = u128::from(self.next_u64()) * u128::from(bound);
        (product >> 64) as u64
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.draw(|numbers| numbers.fill_bytes(out));
    }

    /// Puts `items` into a random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1) as usize;
            items.swap(i, j);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_differ_and_repeat() {
        let seed = [7; 32];
        let draw = |stream, owner| Rng::new(&seed, stream, owner).next_u64();
        assert_eq!(draw(Stream::Picker, 0), draw(Stream::Picker, 0));
        assert_ne!(draw(Stream::Picker, 0), draw(Stream::Picker, 1));
        assert_ne!(draw(Stream::Picker, 0), draw(Stream::Announce, 0));
    }

    #[test]
    fn below_stays_below() {
        let mut rng = Rng::new(&[1; 32], Stream::Picker, 0);
        assert!((0..1000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }
}
