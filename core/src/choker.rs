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
