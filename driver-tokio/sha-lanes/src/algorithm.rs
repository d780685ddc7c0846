//! What may be hashed with: SHA-1 and SHA-256. They differ in their words and rounds, not in their blocks and padding.

use crate::kernel::Kernel;
use std::fmt::Debug;
use std::hash::Hash;

/// A hash function. There are two, [`Sha1`] and [`Sha256`]; nobody else can add one.
#[expect(private_bounds, reason = "how blocks are taken in concerns only this crate")]
pub trait Algorithm: Kernel<<Self as Algorithm>::Words> + Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// The state between two blocks: an array of words.
    type Words: Copy + Debug + Eq + Hash + Send + Sync + AsRef<[u32]> + AsMut<[u32]>;
    /// What a stream hashes to: an array of bytes.
    type Digest: Copy + Debug + Default + Eq + Hash + Send + Sync + AsRef<[u8]> + AsMut<[u8]>;

    /// The state before the first block (FIPS 180-4, section 5.3).
    const START: Self::Words;
}

/// SHA-1 (FIPS 180-4, section 6.1). It is broken as a proof against forgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sha1 {}

impl Algorithm for Sha1 {
    type Words = [u32; 5];
    type Digest = [u8; 20];

    const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
}

/// SHA-256 (FIPS 180-4, section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sha256 {}

impl Algorithm for Sha256 {
    type Words = [u32; 8];
    type Digest = [u8; 32];

    const START: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
}
