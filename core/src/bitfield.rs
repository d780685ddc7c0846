//! Which pieces someone has.
//!
//! Bits stand in wire order (BEP 3: piece 0 is the highest bit of the first byte), so a bitfield is sent as it is. The spare bits
//! of the last byte are always 0, and the number of ones is kept. Bulk work reads the raw bytes 64 bits at a time: going through
//! bitvec's own iterators costs 10 to 50 times more.

use crate::id::PieceIndex;
use alloc::vec;
use alloc::vec::Vec;
use bitvec::order::Msb0;
use bitvec::vec::BitVec;

/// A set of pieces of a torrent whose piece count is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bitfield {
    bits: BitVec<u8, Msb0>,
    ones: u32,
}

impl Bitfield {
    /// No pieces out of `len_bits`.
    pub fn empty(len_bits: u32) -> Self {
        Bitfield::of_bytes(vec![0; wire_len(len_bits)], len_bits)
    }

    /// All of `len_bits` pieces.
    pub fn full(len_bits: u32) -> Self {
        let mut bytes = vec![0xff; wire_len(len_bits)];
        if let Some(last) = bytes.last_mut() {
            *last &= !spare_mask(len_bits);
        }
        Bitfield::of_bytes(bytes, len_bits)
    }

    /// The body of a `bitfield` message (BEP 3). `None` when its length does not fit `len_bits` pieces or a spare bit is set.
    pub fn from_wire(bytes: &[u8], len_bits: u32) -> Option<Self> {
        let spare_is_clear = bytes.last().is_none_or(|last| last & spare_mask(len_bits) == 0);
        (bytes.len() == wire_len(len_bits) && spare_is_clear).then(|| Bitfield::of_bytes(bytes.to_vec(), len_bits))
    }

    fn of_bytes(bytes: Vec<u8>, len_bits: u32) -> Self {
        let mut bits = BitVec::from_vec(bytes);
        bits.truncate(len_bits as usize);
        let ones = words(bits.as_raw_slice()).map(u64::count_ones).sum();
        Bitfield { bits, ones }
    }

    /// How many pieces the torrent has.
    pub fn len(&self) -> u32 {
        self.bits.len() as u32
    }

    /// Whether the torrent has no pieces at all. For "has none of the pieces" see [`Bitfield::is_empty_set`].
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Whether `piece` is in the set; `false` beyond the end.
    pub fn get(&self, piece: PieceIndex) -> bool {
        self.bits.get(piece.0 as usize).is_some_and(|bit| *bit)
    }

    /// Adds `piece`. `true` when it is new; beyond the end nothing happens.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        let changed = piece.0 < self.len() && !self.bits.replace(piece.0 as usize, true);
        self.ones += u32::from(changed);
        changed
    }

    /// Removes `piece`. `true` when it was in the set.
    pub fn clear(&mut self, piece: PieceIndex) -> bool {
        let changed = piece.0 < self.len() && self.bits.replace(piece.0 as usize, false);
        self.ones -= u32::from(changed);
        changed
    }

    /// How many pieces are in the set. Costs nothing.
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether every piece is in the set.
    pub fn is_full(&self) -> bool {
        self.ones == self.len()
    }

    /// Whether no piece is in the set.
    pub fn is_empty_set(&self) -> bool {
        self.ones == 0
    }

    /// The body of a `bitfield` message (BEP 3), spare bits 0.
    pub fn as_wire_bytes(&self) -> &[u8] {
        self.bits.as_raw_slice()
    }

    /// The pieces in the set, in ascending order.
    pub fn iter_ones(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        ones_of(words(self.as_wire_bytes()))
    }

    /// The pieces that are in this set and not in `other`, in ascending order.
    pub fn iter_ones_not_in<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = PieceIndex> + 'a {
        ones_of(difference(self, other))
    }

    /// The pieces that are in both sets, in ascending order.
    pub fn iter_ones_also_in<'a>(&'a self, other: &'a Bitfield) -> impl Iterator<Item = PieceIndex> + 'a {
        ones_of(words(self.as_wire_bytes()).zip(words(other.as_wire_bytes())).map(|(a, b)| a & b))
    }
}

/// Bytes of the body of a `bitfield` message for that many pieces.
pub(crate) fn wire_len(len_bits: u32) -> usize {
    len_bits.div_ceil(8) as usize
}

/// The bits of the last byte that stand for no piece.
fn spare_mask(len_bits: u32) -> u8 {
    match len_bits % 8 {
        0 => 0,
        used => 0xff >> used,
    }
}

/// The bytes as words of 64 bits, piece 0 highest; the last word is filled up with zeros.
fn words(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let (whole, rest) = bytes.as_chunks::<8>();
    let tail =
        (!rest.is_empty()).then(|| rest.iter().rev().fold(0, |word, byte| (word >> 8) | (u64::from(*byte) << 56)));
    whole.iter().map(|chunk| u64::from_be_bytes(*chunk)).chain(tail)
}

/// `a` without `b`; `b` counts as empty beyond its end.
fn difference<'a>(a: &'a Bitfield, b: &'a Bitfield) -> impl Iterator<Item = u64> + 'a {
    let b = words(b.as_wire_bytes()).chain(core::iter::repeat(0));
    words(a.as_wire_bytes()).zip(b).map(|(a, b)| a & !b)
}

fn ones_of(mut words: impl Iterator<Item = u64>) -> impl Iterator<Item = PieceIndex> {
    let (mut word, mut next_base, mut base) = (0u64, 0u32, 0u32);
    core::iter::from_fn(move || {
        while word == 0 {
            word = words.next()?;
            base = next_base;
            next_base = next_base.saturating_add(64);
        }
        let bit = word.leading_zeros();
        word &= !(1 << (63 - bit));
        Some(PieceIndex(base + bit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;

    fn of(set: &BTreeSet<u32>, len: u32) -> Bitfield {
        let mut bits = Bitfield::empty(len);
        for piece in set {
            bits.set(PieceIndex(*piece));
        }
        bits
    }

    fn numbers(pieces: impl Iterator<Item = PieceIndex>) -> Vec<u32> {
        pieces.map(|piece| piece.0).collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(
            len in 0u32..300,
            a in proptest::collection::btree_set(0u32..300, 0..100),
            b in proptest::collection::btree_set(0u32..300, 0..100),
            other_len in 0u32..300,
        ) {
            let a: BTreeSet<u32> = a.into_iter().filter(|n| *n < len).collect();
            let b: BTreeSet<u32> = b.into_iter().filter(|n| *n < other_len).collect();
            let (left, right) = (of(&a, len), of(&b, other_len));
            prop_assert_eq!(left.count() as usize, a.len());
            prop_assert_eq!(left.is_full(), a.len() == len as usize);
            prop_assert_eq!(left.is_empty_set(), a.is_empty());
            prop_assert_eq!(numbers(left.iter_ones()), a.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(left.iter_ones_not_in(&right)), a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(left.iter_ones_also_in(&right)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(Bitfield::from_wire(left.as_wire_bytes(), len), Some(left.clone()));
        }

        #[test]
        fn the_count_survives_any_sets_and_clears(ops in proptest::collection::vec((any::<bool>(), 0u32..40), 0..200)) {
            let mut bits = Bitfield::empty(37);
            let mut model = BTreeSet::new();
            for (add, n) in ops {
                if add {
                    prop_assert_eq!(bits.set(PieceIndex(n)), n < 37 && model.insert(n));
                } else {
                    prop_assert_eq!(bits.clear(PieceIndex(n)), model.remove(&n));
                }
                prop_assert_eq!(bits.get(PieceIndex(n)), model.contains(&n));
                prop_assert_eq!(bits.count() as usize, model.len());
            }
            prop_assert_eq!(&bits, &of(&model, 37));
            let copy = bits.clone();
            prop_assert_eq!(copy.as_wire_bytes(), bits.as_wire_bytes());
        }
    }

    #[test]
    fn piece_0_is_the_highest_bit_of_the_first_byte() {
        let mut bits = Bitfield::empty(10);
        bits.set(PieceIndex(0));
        bits.set(PieceIndex(9));
        assert_eq!(bits.as_wire_bytes(), [0b1000_0000, 0b0100_0000]);
    }

    #[test]
    fn a_full_field_has_its_spare_bits_clear() {
        assert_eq!(Bitfield::full(10).as_wire_bytes(), [0xff, 0b1100_0000]);
        assert_eq!(Bitfield::full(16).as_wire_bytes(), [0xff, 0xff]);
        for len in [0, 1, 7, 8, 9, 63, 64, 65, 1000] {
            assert!(Bitfield::full(len).is_full());
            assert_eq!(Bitfield::full(len).iter_ones().count() as u32, len);
        }
    }

    #[test]
    fn wrong_lengths_and_spare_bits_are_refused() {
        assert!(Bitfield::from_wire(&[0xff, 0b1100_0000], 10).is_some());
        assert!(Bitfield::from_wire(&[0xff, 0b1110_0000], 10).is_none());
        assert!(Bitfield::from_wire(&[0xff], 10).is_none());
        assert!(Bitfield::from_wire(&[0xff, 0, 0], 10).is_none());
        assert!(Bitfield::from_wire(&[], 0).is_some());
    }
}
