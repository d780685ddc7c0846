//! The simulator's own randomness. Each use has a seed of its own, hashed from its name, so that no stream of an engine is ever one of the world's.

use sameseed_core::hash::sha1;
use sameseed_core::rng::{Rng, Seed, Stream};

/// The seed of one use: `name`, and the numbers that tell its instances apart.
pub fn seed(name: &str, numbers: &[u64]) -> Seed {
    let mut text = name.as_bytes().to_vec();
    numbers.iter().for_each(|number| text.extend(number.to_le_bytes()));
    let mut seed = [0; 32];
    seed[..20].copy_from_slice(&sha1(&text));
    seed
}

/// The generator of one use.
pub fn rng(name: &str, numbers: &[u64]) -> Rng {
    // Which stream does not matter: the seed is used for nothing else.
    Rng::new(&seed(name, numbers), Stream::Picker, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_tell_uses_apart() {
        assert_eq!(rng("world", &[1]).next_u64(), rng("world", &[1]).next_u64());
        assert_ne!(seed("world", &[1]), seed("world", &[2]));
        assert_ne!(seed("world", &[1]), seed("client", &[1]));
    }
}
