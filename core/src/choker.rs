//! Whom to send to: the choking of BEP 3, and what it leaves open.
//!
//! - **Earned slots.** While we download, slots go to the interested peers that send us most: payload that was verified, over some twenty seconds. They are
//!   given anew every ten seconds ([`ROUND`]), so that nobody is moved by a hiccup. Who keeps us waiting (snubbed) earns nothing.
//! - **Turns**, BEP 3's optimistic unchoke: at least one slot in five, and every slot that nobody earns, goes round among all who wait, thirty seconds each
//!   ([`TURN`]): long enough to reach full speed and to show what comes back. Who waited longest is next; the wait of one that was never served counts
//!   twice, so that new peers come first, and still no stream of them starves the others.
//! - **Seeding** earns nothing from anybody: all slots are turns. Giving to the fastest would let a few fast peers that give nothing hold a seed; in turns
//!   the pieces spread over everybody, who then trade them. What slow peers leave unused goes to others, since slots follow what is sent.
//! - **At once**: a free slot is given as soon as anybody wants it; lost interest frees one; who has asked for nothing for a while makes way.
//! - **How many** ([`count_slots`]): one more than the peers that get a fair share of our line, or as many as fair shares of what is sent make. So a thin
//!   line serves few at a useful rate, a fat one many; a limit of rate bounds them by the same shares.

use crate::id::ConnId;
use crate::time::{Duration, Instant};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// The time between two decisions on who earns a slot (BEP 3).
pub(crate) const ROUND: Duration = Duration::from_secs(10);
/// How long a peer keeps a turn while others wait (BEP 3).
const TURN: Duration = Duration::from_secs(30);
/// One slot in so many, and at least one, is never earned.
const ONE_TURN_IN: usize = 5;
/// The fewest without a limit of rate.
const FEWEST_SLOTS: usize = 4;
/// Slots before the first round: most lines carry more than the fewest.
pub(crate) const FIRST_SLOTS: usize = 8;
/// The fewest under a limit of rate: one to be earned and one turn.
const FEWEST_UNDER_A_LIMIT: usize = 2;
/// With so many bytes a second the first peer has its share; the second is to have twice as much, and so on: slots grow with the root of the rate.
const SHARE: u64 = 2048;

/// What a peer has of us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Slot {
    /// It is choked.
    #[default]
    None,
    /// Its turn.
    Turn,
    /// It gives us more than others.
    Earned,
}

/// What the choker knows of a peer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chokee {
    /// The connection.
    pub conn: ConnId,
    /// It wants something from us.
    pub interested: bool,
    /// What it has.
    pub slot: Slot,
    /// It has a slot and has asked for nothing for a while.
    pub idle: bool,
    /// Since when it has been choked or unchoked.
    pub since: Instant,
    /// It was unchoked before.
    pub was_served: bool,
    /// Verified payload from it, in bytes per second; 0 while it keeps us waiting.
    pub earns: u64,
}

/// What there is to give.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slots {
    /// Peers unchoked at a time.
    pub count: usize,
    /// It is time to decide who earns a slot.
    pub is_round: bool,
    /// Slots can be earned: we want something ourselves.
    pub is_leeching: bool,
}

/// Who gets another slot than it has, chokes first. `peers` in order of connection.
pub(crate) fn pick_changes(now: Instant, peers: &[Chokee], slots: Slots) -> Vec<(ConnId, Slot)> {
    let lost_interest = peers.iter().filter(|peer| peer.slot != Slot::None && !peer.interested);
    let mut chokes: Vec<(ConnId, Slot)> = lost_interest.map(|peer| (peer.conn, Slot::None)).collect();
    let earners = pick_earners(peers, slots);
    let turns = slots.count - earners.len();
    let others = || peers.iter().filter(|peer| peer.interested && !earners.contains(&peer.conn));
    let mut serving: Vec<&Chokee> = others().filter(|peer| peer.slot != Slot::None).collect();
    let mut waiting: Vec<&Chokee> = others().filter(|peer| peer.slot == Slot::None).collect();
    serving.sort_by_key(|peer| (!peer.idle, peer.since));
    waiting.sort_by_key(|peer| Reverse(weighed_wait(now, peer)));
    // Who is in excess goes, and makes way for those who wait when it has had its turn.
    let excess = serving.len().saturating_sub(turns);
    let wanted = (serving.len() + waiting.len()).saturating_sub(turns);
    let had_its_turn = |peer: &Chokee| peer.idle || now.since(peer.since) >= TURN;
    let goes = |(n, peer): &(usize, &&Chokee)| *n < excess || (*n < wanted && had_its_turn(peer));
    let gone: Vec<ConnId> = serving.iter().enumerate().filter(goes).map(|(_, peer)| peer.conn).collect();
    let free = turns - (serving.len() - gone.len());
    let demoted = serving.iter().filter(|peer| peer.slot == Slot::Earned && !gone.contains(&peer.conn));
    let promoted = peers.iter().filter(|peer| earners.contains(&peer.conn) && peer.slot != Slot::Earned);
    let mut gives: Vec<(ConnId, Slot)> = demoted.map(|peer| (peer.conn, Slot::Turn)).collect();
    gives.extend(promoted.map(|peer| (peer.conn, Slot::Earned)));
    gives.extend(waiting.iter().take(free).map(|peer| (peer.conn, Slot::Turn)));
    chokes.extend(gone.into_iter().map(|conn| (conn, Slot::None)));
    chokes.extend(gives);
    chokes
}

/// How long a peer has waited, as it counts for its turn.
fn weighed_wait(now: Instant, peer: &Chokee) -> u128 {
    now.since(peer.since).as_micros() * if peer.was_served { 1 } else { 2 }
}

/// When a peer that waits can have a turn, for explanations: at once while a slot is free, else when the first turn ends.
pub(crate) fn next_turn_in(now: Instant, peers: &[Chokee], slots: usize) -> Duration {
    let served = || peers.iter().filter(|peer| peer.slot != Slot::None);
    if served().count() < slots {
        return Duration::ZERO;
    }
    let turns = served().filter(|peer| peer.slot == Slot::Turn);
    turns.map(|peer| TURN.saturating_sub(now.since(peer.since))).min().unwrap_or(ROUND)
}

/// How many peers have their turn before this one, for explanations.
pub(crate) fn count_ahead(now: Instant, peers: &[Chokee], conn: ConnId) -> usize {
    let Some(own) = peers.iter().find(|peer| peer.conn == conn) else { return 0 };
    let waiting = peers.iter().filter(|peer| peer.interested && peer.slot == Slot::None);
    waiting.filter(|peer| weighed_wait(now, peer) > weighed_wait(now, own)).count()
}

/// Who has an earned slot from now on.
fn pick_earners(peers: &[Chokee], slots: Slots) -> Vec<ConnId> {
    if !slots.is_leeching {
        return Vec::new();
    }
    let most = slots.count - slots.count.div_ceil(ONE_TURN_IN);
    let mut earners: Vec<&Chokee> = peers.iter().filter(|peer| peer.interested).collect();
    if slots.is_round {
        earners.retain(|peer| peer.earns > 0);
        earners.sort_by_key(|peer| (Reverse(peer.earns), peer.slot != Slot::Earned));
    } else {
        earners.retain(|peer| peer.slot == Slot::Earned);
    }
    earners.iter().take(most).map(|peer| peer.conn).collect()
}

/// How many slots there should be, at most `most`: `rates` are what peers with a slot get, in bytes per second; `limit` what we may send in all.
pub(crate) fn count_slots(mut rates: Vec<u64>, limit: Option<u64>, most: usize) -> usize {
    rates.sort_unstable_by_key(|rate| Reverse(*rate));
    let content = (1..).zip(&rates).take_while(|(n, rate)| **rate >= SHARE * n).count();
    let shares = |rate: u64| (rate / SHARE).isqrt() as usize;
    let count = (content + 1).max(shares(rates.iter().sum())).max(FEWEST_SLOTS);
    let within = limit.map_or(usize::MAX, shares).max(FEWEST_UNDER_A_LIMIT);
    count.min(within).min(most)
}

#[cfg(test)]
mod tests;
