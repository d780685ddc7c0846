//! The rarity index against peers kept one by one, and each of its laws broken by hand.

use super::*;
use crate::engine::tests::breaches::check_breaches;
use crate::rng::{Rng, Stream};
use alloc::collections::{BTreeMap, BTreeSet};
use proptest::prelude::*;

fn rng() -> Rng {
    Rng::new(&[3; 32], Stream::Picker, 0)
}

/// Bits of a small torrent's pieces; of a large one every 64th piece repeats them.
type Bits = u64;

#[derive(Clone, Debug)]
enum Op {
    PeerComes(Bits),
    PeerHas(usize, u32),
    PeerGoes(usize),
    SeedComes,
    SeedGoes,
    Remove(u32),
    Insert(u32, Priority),
    Pick { peer: usize, refused: Bits, order: Order, above: Option<Priority> },
    PickForSeed { refused: Bits },
    AllGo,
}

fn op() -> impl Strategy<Value = Op> {
    let few = || prop_oneof![3 => Just(0), 1 => any::<Bits>(), 1 => Just(Bits::MAX)];
    let priority =
        || prop_oneof![Just(Priority::Skip), Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)];
    let order = prop_oneof![3 => Just(Order::Rarest), 1 => Just(Order::Any), 1 => Just(Order::Sequential)];
    let above = proptest::option::weighted(0.2, priority());
    prop_oneof![
        3 => any::<Bits>().prop_map(Op::PeerComes),
        3 => (any::<usize>(), any::<u32>()).prop_map(|(peer, piece)| Op::PeerHas(peer, piece)),
        2 => any::<usize>().prop_map(Op::PeerGoes),
        1 => Just(Op::SeedComes),
        1 => Just(Op::SeedGoes),
        4 => any::<u32>().prop_map(Op::Remove),
        2 => (any::<u32>(), priority()).prop_map(|(piece, priority)| Op::Insert(piece, priority)),
        4 => (any::<usize>(), few(), order, above)
            .prop_map(|(peer, refused, order, above)| Op::Pick { peer, refused, order, above }),
        2 => few().prop_map(|refused| Op::PickForSeed { refused }),
        1 => Just(Op::AllGo),
    ]
}

/// What the index is told, kept as it was told.
#[derive(Debug, Default)]
struct Swarm {
    peers: Vec<Bitfield>,
    seeds: u32,
    missing: BTreeMap<u32, Priority>,
}

impl Swarm {
    fn availability(&self, piece: u32) -> u32 {
        self.seeds + self.peers.iter().filter(|peer| peer.get(PieceIndex(piece))).count() as u32
    }

    fn check_pick(
        &self,
        picker: &Picker,
        rng: &mut Rng,
        peer: &Bitfield,
        refused: Bits,
        (order, above): (Order, Option<Priority>),
    ) {
        let picked = picker.pick(peer, order, above, rng, |piece| !bit(refused, piece.0));
        let fits = |(piece, priority): &(&u32, &Priority)| {
            peer.get(PieceIndex(**piece)) && !bit(refused, **piece) && above.is_none_or(|above| **priority > above)
        };
        let urgency = self.missing.iter().filter(fits).map(|(_, priority)| *priority).max();
        let choice = self.missing.iter().filter(fits).filter(|(_, priority)| Some(**priority) == urgency);
        let choice: BTreeSet<u32> = choice.map(|(piece, _)| *piece).collect();
        let Some(picked) = picked else {
            assert!(choice.is_empty(), "one of {choice:?} could be picked");
            return;
        };
        assert!(choice.contains(&picked.0), "{picked:?} is picked and not among {choice:?}");
        match order {
            // Of more pieces than are looked at, the rarest may be one that was not.
            Order::Rarest if (peer.len() as usize) < SCAN_LIMIT => {
                let least = choice.iter().map(|piece| self.availability(*piece)).min();
                assert_eq!(Some(self.availability(picked.0)), least, "a rarer piece than {picked:?} exists");
            }
            Order::Sequential => assert_eq!(choice.first(), Some(&picked.0), "an earlier piece exists"),
            _ => {}
        }
    }
}

fn bit(bits: Bits, piece: u32) -> bool {
    bits >> (piece % 64) & 1 == 1
}

proptest! {
    #[test]
    fn the_index_behaves_like_a_swarm_that_is_counted_each_time(
        pieces in prop_oneof![3 => 1u32..40, 1 => 300u32..700],
        ops in proptest::collection::vec(op(), 0..100),
    ) {
        let (mut picker, mut rng) = (Picker::new(pieces), rng());
        let mut swarm = Swarm { missing: (0..pieces).map(|piece| (piece, Priority::Normal)).collect(), ..Swarm::default() };
        for op in ops {
            let which = |n: usize| n % swarm.peers.len().max(1);
            match op {
                Op::PeerComes(bits) => {
                    let mut peer = Bitfield::empty(pieces);
                    (0..pieces).filter(|piece| bit(bits, *piece)).for_each(|piece| _ = peer.set(PieceIndex(piece)));
                    peer.iter_ones().for_each(|piece| picker.peer_has(piece));
                    swarm.peers.push(peer);
                }
                Op::PeerHas(peer, piece) if !swarm.peers.is_empty() => {
                    let (peer, piece) = (which(peer), PieceIndex(piece % pieces));
                    if swarm.peers[peer].set(piece) {
                        picker.peer_has(piece);
                    }
                }
                Op::PeerGoes(peer) if !swarm.peers.is_empty() => {
                    let peer = which(peer);
                    swarm.peers.remove(peer).iter_ones().for_each(|piece| picker.peer_lost(piece));
                }
                Op::SeedComes => {
                    picker.complete_peer_came();
                    swarm.seeds += 1;
                }
                Op::SeedGoes if swarm.seeds > 0 => {
                    picker.complete_peer_gone();
                    swarm.seeds -= 1;
                }
                Op::AllGo => {
                    swarm.peers.drain(..).for_each(|peer| peer.iter_ones().for_each(|piece| picker.peer_lost(piece)));
                    (0..core::mem::take(&mut swarm.seeds)).for_each(|_| picker.complete_peer_gone());
                    picker.rest();
                    prop_assert!(!picker.is_indexed());
                }
                Op::Remove(piece) => {
                    picker.remove(PieceIndex(piece % pieces));
                    swarm.missing.remove(&(piece % pieces));
                }
                Op::Insert(piece, priority) => {
                    picker.insert(PieceIndex(piece % pieces), priority);
                    swarm.missing.remove(&(piece % pieces));
                    if priority != Priority::Skip {
                        swarm.missing.insert(piece % pieces, priority);
                    }
                }
                Op::Pick { peer, refused, order, above } if !swarm.peers.is_empty() => {
                    swarm.check_pick(&picker, &mut rng, &swarm.peers[which(peer)], refused, (order, above));
                }
                Op::PickForSeed { refused } if swarm.seeds > 0 => {
                    swarm.check_pick(&picker, &mut rng, &Bitfield::full(pieces), refused, (Order::Rarest, None));
                }
                _ => {}
            }
            picker.check_invariants();
            let reachable = swarm.missing.keys().filter(|piece| swarm.availability(**piece) > 0).count();
            prop_assert_eq!(picker.missing_count() as usize, swarm.missing.len());
            prop_assert_eq!(picker.reachable_count() as usize, reachable);
            for piece in 0..pieces {
                prop_assert_eq!(picker.priority_of(PieceIndex(piece)), swarm.missing.get(&piece).copied());
                prop_assert_eq!(picker.availability(PieceIndex(piece)), swarm.availability(piece));
            }
        }
    }
}

#[test]
fn peers_with_the_same_view_begin_at_different_pieces() {
    let (mut picker, mut rng) = (Picker::new(40), rng());
    (0..40).for_each(|piece| picker.peer_has(PieceIndex(piece)));
    let peer = Bitfield::full(40);
    let rarest: BTreeSet<_> =
        (0..400).filter_map(|_| picker.pick(&peer, Order::Rarest, None, &mut rng, |_| true)).collect();
    let any: BTreeSet<_> = (0..400).filter_map(|_| picker.pick(&peer, Order::Any, None, &mut rng, |_| true)).collect();
    assert!(rarest.len() > 35 && any.len() > 35, "{} and {} of 40", rarest.len(), any.len());
}

#[test]
fn a_peer_with_one_common_piece_among_many_rare_ones_is_served() {
    let mut picker = Picker::new(5000);
    let mut peer = Bitfield::empty(5000);
    peer.set(PieceIndex(4321));
    for piece in (0..5000).map(PieceIndex) {
        picker.peer_has(piece);
    }
    picker.peer_has(PieceIndex(4321));
    assert_eq!(picker.pick(&peer, Order::Rarest, None, &mut rng(), |_| true), Some(PieceIndex(4321)));
    assert_eq!(picker.pick(&peer, Order::Any, None, &mut rng(), |_| true), Some(PieceIndex(4321)));
}

#[test]
fn each_law_is_seen_to_be_broken() {
    let intact = || {
        let mut picker = Picker::new(6);
        (0..3).for_each(|piece| picker.peer_has(PieceIndex(piece)));
        picker.remove(PieceIndex(5));
        picker
    };
    check_breaches(
        include_str!("../picker.rs"),
        intact,
        Picker::check_invariants,
        &[
            ("a missing piece knows its place in the row", |picker| picker.index().place[0] += 1),
            ("a missing piece stands in its bucket", |picker| picker.index().availability[0] += 1),
            ("the buckets cover the row", |picker| picker.index().rows[1].bucket_end[1] -= 1),
            ("what stands in the row is missing", |picker| _ = picker.missing[1].clear(PieceIndex(0))),
            ("a missing piece stands in one row, once", |picker| _ = picker.missing[0].set(PieceIndex(5))),
        ],
    );
}
