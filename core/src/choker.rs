//! Whom to send to: a plain rule for now, first come, first served, with turns.
//!
//! Interested peers are unchoked while slots are free. When all are taken and others wait, one that asks for nothing gives its slot up at once, and
//! then the one that was served longest at the end of its turn. Reciprocation by rate will replace the order, not the interface.

use crate::id::ConnId;
use crate::time::{Duration, Instant};
use alloc::vec::Vec;

/// How long a peer keeps its slot while others wait: three of BEP 3's ten-second rounds, so that it reaches full speed.
const TURN: Duration = Duration::from_secs(30);

/// What the choker knows of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chokee {
    /// The connection.
    pub conn: ConnId,
    /// It wants something from us.
    pub interested: bool,
    /// It is unchoked.
    pub unchoked: bool,
    /// It has a slot and has asked for nothing for a while.
    pub idle: bool,
    /// Since when it has been choked or unchoked.
    pub since: Instant,
}

/// Which peers change: `(conn, unchoke)`, chokes first. `peers` in order of connection.
pub(crate) fn pick_changes(now: Instant, peers: &[Chokee], slots: usize) -> Vec<(ConnId, bool)> {
    let mut changes = Vec::new();
    let mut serving: Vec<&Chokee> = Vec::new();
    for peer in peers.iter().filter(|peer| peer.unchoked) {
        if peer.interested {
            serving.push(peer);
        } else {
            changes.push((peer.conn, false));
        }
    }
    let mut waiting: Vec<&Chokee> = peers.iter().filter(|peer| !peer.unchoked && peer.interested).collect();
    waiting.sort_by_key(|peer| peer.since);
    serving.sort_by_key(|peer| (!peer.idle, peer.since));
    let over = (serving.len() + waiting.len()).saturating_sub(slots);
    let had_its_turn = |peer: &&&Chokee| peer.idle || now.since(peer.since) >= TURN;
    let done: Vec<ConnId> = serving.iter().take(over).filter(had_its_turn).map(|peer| peer.conn).collect();
    let free = slots.saturating_sub(serving.len() - done.len());
    changes.extend(done.into_iter().map(|conn| (conn, false)));
    changes.extend(waiting.iter().take(free).map(|peer| (peer.conn, true)));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        Come,
        Go(usize),
        Interest(usize, bool),
        Idle(usize, bool),
        Rechoke { wait_s: u64, slots: usize },
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => Just(Op::Come),
            1 => (0usize..12).prop_map(Op::Go),
            3 => (0usize..12, any::<bool>()).prop_map(|(n, on)| Op::Interest(n, on)),
            2 => (0usize..12, any::<bool>()).prop_map(|(n, on)| Op::Idle(n, on)),
            5 => (0u64..20, 0usize..5).prop_map(|(wait_s, slots)| Op::Rechoke { wait_s, slots }),
        ]
    }

    /// The rule by one decision at a time: while a slot too many is held, or wanted, the first that may be choked is.
    fn decide(now: Instant, peers: &[Chokee], slots: usize) -> Vec<(ConnId, bool)> {
        let mut peers = peers.to_vec();
        let mut changes = Vec::new();
        for peer in peers.iter_mut().filter(|peer| peer.unchoked && !peer.interested) {
            peer.unchoked = false;
            changes.push((peer.conn, false));
        }
        let count =
            |peers: &[Chokee], unchoked| peers.iter().filter(|p| p.interested && p.unchoked == unchoked).count();
        let (mut free, mut given) = (slots.saturating_sub(count(&peers, true)), Vec::new());
        let mut over = count(&peers, true).saturating_sub(slots);
        let mut waiting: Vec<Chokee> = peers.iter().filter(|p| p.interested && !p.unchoked).copied().collect();
        loop {
            if free > 0 && !waiting.is_empty() {
                let longest = (0..waiting.len()).min_by_key(|n| (waiting[*n].since, *n)).unwrap();
                given.push((waiting.remove(longest).conn, true));
                free -= 1;
                continue;
            }
            let may_go = |p: &Chokee| p.interested && p.unchoked && (p.idle || now.since(p.since) >= TURN);
            let first =
                (0..peers.len()).filter(|n| may_go(&peers[*n])).min_by_key(|n| (!peers[*n].idle, peers[*n].since, *n));
            let Some(first) = first.filter(|_| over > 0 || !waiting.is_empty()) else { break };
            peers[first].unchoked = false;
            changes.push((peers[first].conn, false));
            if over > 0 { over -= 1 } else { free += 1 }
        }
        changes.extend(given);
        changes
    }

    proptest! {
        #[test]
        fn slots_are_given_as_one_decision_at_a_time_would(ops in proptest::collection::vec(op(), 0..60)) {
            let mut peers: Vec<Chokee> = Vec::new();
            let mut now = Instant::ZERO;
            for (n, op) in (0u64..).zip(ops) {
                let at = |which: usize| which % peers.len().max(1);
                match op {
                    Op::Come => peers.push(Chokee { since: now, interested: false, ..peer(n, false, 0) }),
                    Op::Go(which) if !peers.is_empty() => _ = peers.remove(at(which)),
                    Op::Interest(which, on) if !peers.is_empty() => { let at = at(which); peers[at].interested = on; }
                    Op::Idle(which, on) if !peers.is_empty() => { let at = at(which); peers[at].idle = on; }
                    Op::Rechoke { wait_s, slots } => {
                        now = now + Duration::from_secs(wait_s);
                        let changes = pick_changes(now, &peers, slots);
                        prop_assert_eq!(&changes, &decide(now, &peers, slots));
                        let before = peers.iter().filter(|p| p.unchoked).count();
                        for (conn, unchoke) in changes {
                            let peer = peers.iter_mut().find(|p| p.conn == conn).unwrap();
                            prop_assert_ne!(peer.unchoked, unchoke, "a change changes something");
                            (peer.unchoked, peer.since) = (unchoke, now);
                        }
                        let after = peers.iter().filter(|p| p.unchoked).count();
                        prop_assert!(after <= slots.max(before), "no more slots than there are");
                        let waits = peers.iter().any(|p| p.interested && !p.unchoked);
                        prop_assert!(after >= slots || !waits, "no slot is empty while somebody waits");
                    }
                    _ => {}
                }
            }
        }

        #[test]
        fn everybody_that_waits_has_a_turn_in_time(count in 1u64..12, slots in 1usize..5) {
            let mut peers: Vec<Chokee> = (0..count).map(|n| peer(n, false, 0)).collect();
            let mut served = vec![false; peers.len()];
            let rounds = count.div_ceil(slots as u64);
            for second in 0..=rounds * TURN.as_secs() {
                let now = Instant::from_secs(second);
                for (conn, unchoke) in pick_changes(now, &peers, slots) {
                    let at = peers.iter().position(|p| p.conn == conn).unwrap();
                    (peers[at].unchoked, peers[at].since) = (unchoke, now);
                    served[at] |= unchoke;
                }
            }
            prop_assert!(served.iter().all(|served| *served));
        }
    }

    fn peer(n: u64, unchoked: bool, since: u64) -> Chokee {
        Chokee { conn: ConnId::dialed(n), interested: true, unchoked, idle: false, since: Instant::from_secs(since) }
    }

    #[test]
    fn a_free_slot_is_given_at_once_and_a_lost_interest_frees_one() {
        let mut peers = vec![peer(0, true, 0), peer(1, false, 5)];
        assert!(pick_changes(Instant::from_secs(6), &peers, 1).is_empty());
        peers[0].interested = false;
        assert_eq!(
            pick_changes(Instant::from_secs(6), &peers, 1),
            vec![(ConnId::dialed(0), false), (ConnId::dialed(1), true)]
        );
    }

    #[test]
    fn nobody_starves_when_slots_are_few() {
        let peers = vec![peer(0, true, 0), peer(1, true, 10), peer(2, false, 3)];
        assert!(pick_changes(Instant::from_secs(29), &peers, 2).is_empty());
        assert_eq!(
            pick_changes(Instant::from_secs(30), &peers, 2),
            vec![(ConnId::dialed(0), false), (ConnId::dialed(2), true)]
        );
    }

    #[test]
    fn one_that_asks_for_nothing_makes_way_at_once_and_only_when_others_wait() {
        let mut peers = vec![peer(0, true, 0), peer(1, true, 1)];
        peers[1].idle = true;
        assert!(pick_changes(Instant::from_secs(5), &peers, 2).is_empty());
        peers.push(peer(2, false, 3));
        assert_eq!(
            pick_changes(Instant::from_secs(5), &peers, 2),
            vec![(ConnId::dialed(1), false), (ConnId::dialed(2), true)]
        );
    }
}
