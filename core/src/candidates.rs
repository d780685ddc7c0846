//! Addresses that might be peers: whom to dial, when, and whom never again.
//!
//! Bounded, deduplicated, and patient: an address that fails waits longer each time. Ourselves and the banned are remembered, so that a
//! tracker which names them over and over costs nothing.
//!
//! Of those that are due the canonical peer priority decides (BEP 40): both ends of a connection give it the same rank, so places go where both sides
//! want them. Who failed comes after all who did not, however high its rank: no address is starved by dead ones.

use crate::id::ConnId;
use crate::priority::Own;
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};

/// How many addresses are kept: more than any client connects to in hours, and some 300 KiB.
pub(crate) const MAX_CANDIDATES: usize = 3000;
/// The wait after a first failure; it doubles with each one. Short, because a peer that is just starting is soon ready.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// A breach of the protocol counts like this many failures: the next try is not before a minute.
const BREACH_FAILURES: u32 = 6;
/// The longest wait: a peer that comes back within the quarter of an hour is found.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// Who has everything, as we do, is asked again after this long: its files, or ours, may have been damaged since.
const SATED_WAIT: Duration = Duration::from_secs(3600);
/// Ports below this belong to other services; a poisoned peer list must not aim us at them.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// The user named it: tried first, any port.
    Hand,
    /// A tracker named it.
    Tracker,
    /// The peer itself said where it listens.
    Itself,
}

/// How a connection ended, as far as the next try is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It was of use: the next try comes soon.
    Useful,
    /// It failed, or ended before it was of use: each time the wait doubles.
    Useless,
    /// They broke the protocol.
    Breach,
    /// We left, for a reason that was not theirs: as if it had not been tried.
    Parted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be dialled at the time under which it stands in the queue.
    Waiting { at: Instant, turn: u64 },
    /// Dialled, or connected by whichever side, over this connection.
    Linked(ConnId),
    /// Ourselves, or banned.
    Never,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    state: State,
    failures: u32,
    source: Source,
    /// Its canonical peer priority.
    priority: u32,
    /// There was nothing to trade, because both sides had everything.
    sated: bool,
}

/// The order in which addresses that are due are dialled: who never failed, named by hand, of high priority, and the rest by lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    failures: u32,
    by_others: bool,
    priority: Reverse<u32>,
    turn: u64,
    addr: SocketAddr,
}

impl Candidate {
    fn rank(&self, turn: u64, addr: SocketAddr) -> Rank {
        let (failures, by_others) = (self.failures, self.source != Source::Hand);
        Rank { failures, by_others, priority: Reverse(self.priority), turn, addr }
    }
}

/// How many addresses there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// To be dialled now or later.
    pub waiting: u32,
    /// Of those, addresses that may be dialled now.
    pub due: u32,
    /// Of those that wait, addresses that have everything, as we do.
    pub sated: u32,
    /// Dialled, or connected.
    pub linked: u32,
    /// Of those that wait or are linked, addresses that were of no use the last time.
    pub failed: u32,
    /// Never to be dialled again.
    pub never: u32,
    /// When the next one may be dialled.
    pub next_in: Option<Duration>,
}

/// The addresses of one torrent.
#[derive(Clone, Debug)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// Those that wait for their time.
    queue: BTreeSet<(Instant, u64, SocketAddr)>,
    /// Those whose time has come.
    due: BTreeSet<Rank>,
    /// What the priorities were reckoned with.
    own: Own,
    /// The addresses that each connection is linked to: more than one when a peer has several.
    links: BTreeMap<ConnId, Vec<SocketAddr>>,
    /// Whether any address may have failed or be past use: only then is it worth a search for one to drop.
    any_useless: bool,
    rng: Rng,
}

impl Candidates {
    /// None yet.
    pub(crate) fn new(rng: Rng) -> Self {
        Candidates {
            known: BTreeMap::new(),
            queue: BTreeSet::new(),
            due: BTreeSet::new(),
            own: Own::default(),
            links: BTreeMap::new(),
            any_useless: false,
            rng,
        }
    }

    /// How many could be dialled now or later.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len() + self.due.len()
    }

    /// Our own addresses are these: when that is news, all priorities are reckoned anew.
    pub(crate) fn set_own(&mut self, own: &Own) {
        if self.own == *own {
            return;
        }
        self.own.clone_from(own);
        let due = core::mem::take(&mut self.due);
        self.known.iter_mut().for_each(|(addr, candidate)| candidate.priority = own.priority_of(*addr));
        let rank = |rank: Rank| Some(self.known.get(&rank.addr)?.rank(rank.turn, rank.addr));
        self.due = due.into_iter().filter_map(rank).collect();
    }

    /// An address was named. Unusable ones are dropped; of too many, those past use, and else the ones of the lowest rank.
    pub(crate) fn add(&mut self, now: Instant, addr: SocketAddr, source: Source) {
        let usable = addr.port() != 0
            && (source == Source::Hand || addr.port() >= FIRST_UNPRIVILEGED_PORT)
            && is_unicast(addr.ip());
        if !usable || self.known.contains_key(&addr) {
            return;
        }
        let turn = self.rng.next_u64();
        let (state, priority) = (State::Waiting { at: now, turn }, self.own.priority_of(addr));
        let candidate = Candidate { state, failures: 0, source, priority, sated: false };
        let rank = candidate.rank(turn, addr);
        if self.known.len() >= MAX_CANDIDATES && !self.evict() && !self.evict_lower(&rank) {
            return;
        }
        self.known.insert(addr, candidate);
        self.due.insert(rank);
    }

    /// Makes room for one of this rank by dropping the last of those that are due, when that stands behind it.
    fn evict_lower(&mut self, rank: &Rank) -> bool {
        let last = self.due.last().copied().filter(|last| last > rank && last.by_others);
        last.is_some_and(|last| self.due.remove(&last) && self.known.remove(&last.addr).is_some())
    }

    /// Makes room by dropping an address that is never to be dialled, or else the one that has failed most, when there is one.
    fn evict(&mut self) -> bool {
        if !self.any_useless {
            return false;
        }
        let worst = self.known.iter().map(|(addr, c)| (uselessness(c), *addr)).max();
        let worst = worst.filter(|(uselessness, _)| *uselessness > 0).map(|(_, addr)| addr);
        self.any_useless = worst.is_some();
        worst.is_some_and(|addr| {
            self.unqueue(addr);
            self.known.remove(&addr).is_some()
        })
    }

    /// The next address to dial, now. It counts as linked over `conn` from here on.
    pub(crate) fn pop_due(&mut self, now: Instant, conn: ConnId) -> Option<SocketAddr> {
        while let Some((at, turn, addr)) = self.queue.first().copied().filter(|(at, ..)| *at <= now) {
            self.queue.remove(&(at, turn, addr));
            self.due.extend(self.known.get(&addr).map(|candidate| candidate.rank(turn, addr)));
        }
        let addr = self.due.pop_first()?.addr;
        self.known.get_mut(&addr)?.state = State::Linked(conn);
        self.links.entry(conn).or_default().push(addr);
        Some(addr)
    }

    /// When the next address may be dialled; some moment that is past when one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let due = self.due.first().map(|_| Instant::ZERO);
        due.or_else(|| self.queue.first().map(|(at, ..)| *at))
    }

    /// An address is reached over `conn` (which may have come in from elsewhere).
    pub(crate) fn linked(&mut self, now: Instant, addr: SocketAddr, conn: ConnId) {
        self.add(now, addr, Source::Itself);
        self.unqueue(addr);
        if let Some(candidate) = self.known.get_mut(&addr)
            && candidate.state != State::Never
        {
            candidate.state = State::Linked(conn);
            let addrs = self.links.entry(conn).or_default();
            if !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
    }

    /// An address has everything, as we do: it is left alone for long.
    pub(crate) fn rest(&mut self, now: Instant, addr: SocketAddr) {
        if self.known.get(&addr).is_some_and(|candidate| candidate.state != State::Never) {
            self.wait(addr, now + SATED_WAIT);
            self.known.entry(addr).and_modify(|candidate| candidate.sated = true);
            self.any_useless = true;
        }
    }

    /// We lack something again: who had everything is of use at once.
    pub(crate) fn revive(&mut self, now: Instant) {
        let sated: Vec<SocketAddr> = self.known.iter().filter(|(_, c)| c.sated).map(|(addr, _)| *addr).collect();
        for addr in sated {
            self.known.entry(addr).and_modify(|candidate| candidate.sated = false);
            if matches!(self.known.get(&addr), Some(Candidate { state: State::Waiting { .. }, .. })) {
                self.wait(addr, now);
            }
        }
    }

    /// Has a known address wait until `at`, and a little longer, so that many do not come at once.
    fn wait(&mut self, addr: SocketAddr, at: Instant) {
        self.unqueue(addr);
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        let (at, turn) =
            (at + Duration::from_micros(self.rng.below(FIRST_WAIT.as_micros() as u64)), self.rng.next_u64());
        candidate.state = State::Waiting { at, turn };
        self.queue.insert((at, turn, addr));
    }

    /// An address is not to be dialled again: it is ourselves, or is banned.
    pub(crate) fn never_again(&mut self, addr: SocketAddr) {
        self.unqueue(addr);
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.state = State::Never;
            self.any_useless = true;
        }
    }

    /// A connection is gone: the addresses linked over it wait for their next try.
    pub(crate) fn unlinked(&mut self, now: Instant, conn: ConnId, ending: Ending) {
        for addr in self.links.remove(&conn).unwrap_or_default() {
            let candidate = self.known.get_mut(&addr).filter(|c| c.state == State::Linked(conn));
            let Some(candidate) = candidate else { continue };
            candidate.failures = match ending {
                Ending::Useful => 0,
                Ending::Useless => candidate.failures.saturating_add(1),
                Ending::Parted => candidate.failures,
                Ending::Breach => candidate.failures.max(BREACH_FAILURES - 1).saturating_add(1),
            };
            self.any_useless |= candidate.failures > 0;
            let doublings = candidate.failures.saturating_sub(1).min(16);
            let wait = (FIRST_WAIT * (1 << doublings)).min(LONGEST_WAIT);
            let jitter = Duration::from_micros(self.rng.below(wait.as_micros() as u64 / 2));
            let (at, turn) = (now + wait + jitter, self.rng.next_u64());
            candidate.state = State::Waiting { at, turn };
            self.queue.insert((at, turn, addr));
        }
    }

    /// Forgets every address that is `banned` and not connected.
    pub(crate) fn forget(&mut self, banned: impl Fn(SocketAddr) -> bool) {
        self.queue.retain(|(_, _, addr)| !banned(*addr));
        self.due.retain(|rank| !banned(rank.addr));
        self.known.retain(|addr, c| !banned(*addr) || !matches!(c.state, State::Waiting { .. }));
    }

    /// How many addresses there are of each kind, for explanations.
    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let mut standing = Standing { next_in: self.next_due().map(|at| at.since(now)), ..Standing::default() };
        for candidate in self.known.values() {
            let failed = u32::from(candidate.failures > 0);
            match candidate.state {
                State::Waiting { at, .. } => {
                    standing.waiting += 1;
                    standing.due += u32::from(at <= now);
                    standing.sated += u32::from(candidate.sated);
                    standing.failed += failed;
                }
                State::Linked(_) => {
                    standing.linked += 1;
                    standing.failed += failed;
                }
                State::Never => standing.never += 1,
            }
        }
        standing
    }

    /// The connections over which addresses are in use.
    pub(crate) fn links(&self) -> impl Iterator<Item = ConnId> {
        self.known.values().filter_map(|c| if let State::Linked(conn) = c.state { Some(conn) } else { None })
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        assert!(self.known.len() <= MAX_CANDIDATES, "addresses are bounded");
        let waiting = self.known.values().filter(|c| matches!(c.state, State::Waiting { .. })).count();
        let state = |addr| self.known.get(addr).map(|c| c.state);
        let mut queue = self.queue.iter();
        let agrees = queue.all(|(at, turn, addr)| state(addr) == Some(State::Waiting { at: *at, turn: *turn }));
        assert!(agrees && waiting == self.waiting(), "each waiting address stands in one queue once");
        let is_ranked = |rank: &Rank| {
            let candidate = self.known.get(&rank.addr);
            let turn =
                candidate.and_then(|c| if let State::Waiting { turn, .. } = c.state { Some(turn) } else { None });
            turn == Some(rank.turn) && candidate.is_some_and(|c| c.rank(rank.turn, rank.addr) == *rank)
        };
        assert!(self.due.iter().all(is_ranked), "who is due stands at its rank");
        let reckoned = |(addr, c): (&SocketAddr, &Candidate)| c.priority == self.own.priority_of(*addr);
        assert!(self.known.iter().all(reckoned), "priorities are those of our own addresses");
        let linked = |(addr, c): (&SocketAddr, &Candidate)| match c.state {
            State::Linked(conn) => self.links.get(&conn).is_some_and(|addrs| addrs.contains(addr)),
            _ => true,
        };
        assert!(self.known.iter().all(linked), "an address in use is found by its link");
        let useless = self.known.values().any(|candidate| uselessness(candidate) > 0);
        assert!(self.any_useless || !useless, "an address past use is known to be there");
    }

    fn unqueue(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get(&addr)
            && let State::Waiting { at, turn } = candidate.state
        {
            let _ = self.queue.remove(&(at, turn, addr)) || self.due.remove(&candidate.rank(turn, addr));
        }
    }
}

/// How little would be lost with an address; what was named by hand, or is in use, stays.
fn uselessness(candidate: &Candidate) -> u32 {
    match candidate.state {
        State::Never => u32::MAX,
        State::Waiting { .. } if candidate.source != Source::Hand && candidate.sated => u32::MAX - 1,
        State::Waiting { .. } if candidate.source != Source::Hand => candidate.failures,
        State::Waiting { .. } | State::Linked(_) => 0,
    }
}

/// Whether an address can be one host's at all.
fn is_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast(),
    }
}

#[cfg(test)]
mod tests;
