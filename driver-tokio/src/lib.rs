//! The thin adapter between `sameseed_core` and the world.
