//! Operations: the disk, names, and what trackers answer.

use super::announces::Announce;
use super::checks::{Check, broken};
use super::faults::Fault;
use super::node::{Kind, NodeIndex};
use super::sabotage::Sabotage;
use super::world::{Later, World};
use sameseed_core::action::{Fetch, Operation};
use sameseed_core::event::{Event, FetchReply, Outcome};
use sameseed_core::fault::{DiskFaultKind, LinkFault};
use sameseed_core::id::{OpId, PieceIndex};
use sameseed_core::time::Duration;
use std::net::{IpAddr, SocketAddr};

impl World {
    pub(super) fn submit(&mut self, index: NodeIndex, op: OpId, operation: Operation) {
        if !self.host_mut(index).operations.insert(op) {
            broken(Check::DoneOnce, index, &format!("{op:?} is submitted twice"));
        }
        if matches!(operation, Operation::Absorb { .. } | Operation::Sync { .. }) {
            self.host_mut(index).writes.insert(op);
            self.strike_write(index);
        }
        if matches!(operation, Operation::Stat { .. }) {
            self.host_mut(index).note_look(op);
        }
        let life = self.nodes[index].life;
        match operation {
            Operation::Resolve { host } => {
                let n = host.strip_prefix("tracker-").and_then(|rest| rest.strip_suffix(".example"));
                let n = n.and_then(|n| n.parse::<usize>().ok());
                let found = n.and_then(|n| self.trackers.get(n)).map(|tracker| vec![IpAddr::V4(tracker.ip)]);
                let outcome = Outcome::Resolve(found.ok_or(LinkFault::NameNotFound));
                self.push(Duration::from_millis(15), Later::Done { node: index, life, op, outcome });
            }
            Operation::Fetch(fetch) => self.fetch(index, op, &fetch),
            operation => {
                let slow = if self.strikes(Fault::SlowDisk) { self.rng.below(8_000_000) } else { 0 };
                let mut at = self.now + Duration::from_micros(50 + self.rng.below(3000) + slow);
                if self.faults.on && !self.faults.is_drawn(Fault::DiskReorder) {
                    at = at.max(self.host(index).disk_busy_until);
                }
                self.host_mut(index).disk_busy_until = at;
                self.push(at.since(self.now), Later::Disk { node: index, life, op, operation });
            }
        }
    }

    pub(super) fn run_disk(&mut self, index: NodeIndex, life: u32, op: OpId, operation: Operation) {
        if self.nodes[index].life != life {
            return;
        }
        let Some(outcome) = self.carry_out(index, operation) else { return };
        let more = if self.strikes(Fault::DiskReorder) { self.rng.below(300_000) } else { 0 };
        self.push(Duration::from_micros(20 + more), Later::Done { node: index, life, op, outcome });
    }

    fn carry_out(&mut self, index: NodeIndex, operation: Operation) -> Option<Outcome> {
        let mut error = self.strikes(Fault::DiskError).then_some(DiskFaultKind::Io).or_else(|| self.nth.disk());
        let damage = &self.host(index).disk.damage;
        if let Some(kind) = damage.dead {
            error = Some(kind);
            self.faults.count(Fault::DiskDead);
        } else if damage.unreadable && matches!(operation, Operation::Hash { .. }) {
            error = Some(DiskFaultKind::Io);
            self.faults.count(Fault::ReadFails);
        }
        // The first seeder's disk loses nothing: else a piece might be lost to all.
        let may_stray = index > 0 && error.is_none() && matches!(operation, Operation::Absorb { .. });
        let astray = may_stray && self.strikes(Fault::Misdirected);
        let Kind::Client(host) = &mut self.nodes[index].kind else { return None };
        if let (Operation::Sync { .. }, Some(Sabotage::SyncsNothing)) = (&operation, host.sabotage) {
            return Some(Outcome::Sync(Ok(())));
        }
        if let Operation::SaveResume { bytes, .. } = &operation {
            let unsafe_claim = claimed(bytes).find(|piece| !host.disk.may_be_saved(*piece));
            if let Some(piece) = unsafe_claim {
                broken(Check::ClaimIsSafe, index, &format!("{piece:?}"));
            }
        }
        Some(if astray {
            host.disk.run_astray(operation, &mut self.rng)
        } else {
            host.disk.run(operation, error, &mut self.rng)
        })
    }

    pub(super) fn done(&mut self, index: NodeIndex, life: u32, op: OpId, outcome: Outcome) {
        if self.nodes[index].life != life {
            return;
        }
        // An answer that an abort has overtaken, or the other way round.
        if !self.host_mut(index).operations.remove(&op) {
            return;
        }
        self.host_mut(index).fetches.remove(&op);
        // It may have been called off by what the engine has decided and not yet said.
        let heard = !self.host(index).undrained && matches!(outcome, Outcome::Fetch(Ok(_)));
        self.host_mut(index).announces.done(op, heard);
        if let Outcome::Fetch(Ok(FetchReply { location: Some(location), .. })) = &outcome {
            self.host_mut(index).announces.redirected(location);
        }
        self.host_mut(index).writes.remove(&op);
        if self.host(index).said_shut_down {
            self.faults.count(Fault::StaleDone);
        }
        let content = self.content.clone();
        self.host_mut(index).note_looked(op, &outcome, content.layout());
        self.tell(index, Event::Done { op, outcome });
    }

    fn tracker_fault(&mut self, n: usize) -> Option<Fault> {
        if self.trackers[n].dead_until > self.now {
            self.faults.count(Fault::TrackerDead);
            return Some(Fault::TrackerDead);
        }
        let fault = self.trackers[n].fault.filter(|_| self.faults.on)?;
        // Now and then even a bad tracker answers.
        if self.rng.below(4) == 0 {
            return None;
        }
        self.faults.count(fault);
        Some(fault)
    }

    fn fetch(&mut self, index: NodeIndex, op: OpId, fetch: &Fetch) {
        self.host_mut(index).fetches.insert(op);
        let life = self.nodes[index].life;
        let known = self.trackers.iter().position(|tracker| IpAddr::V4(tracker.ip) == fetch.addr.ip());
        let after = Duration::from_micros(20_000 + self.rng.below(100_000));
        let Some(n) = known.filter(|_| self.nodes[index].alive) else {
            let outcome = Outcome::Fetch(Err(LinkFault::Unreachable));
            return self.push(after, Later::Done { node: index, life, op, outcome });
        };
        let (fault, mood, from) = (self.tracker_fault(n), self.rng.next_u64(), *self.nodes[index].addr.ip());
        let answer = match fault {
            Some(Fault::TrackerDead) => Some(Err(LinkFault::Refused)),
            fault => self.trackers[n].answer_http(from, &fetch.target, fault, mood).map(Ok),
        };
        let counts = self.trackers[n].take_counts();
        self.host_mut(index).told.says(n, counts);
        if let Some(answer) = answer {
            let short = |reply: &FetchReply| reply.body.len() <= fetch.max_body_bytes;
            let answer = answer.and_then(|reply| if short(&reply) { Ok(reply) } else { Err(LinkFault::TooLarge) });
            if fault.is_none() {
                self.host_mut(index).announces.will_answer(op, n, Announce::of_target(&fetch.target));
            }
            self.push(after, Later::Done { node: index, life, op, outcome: Outcome::Fetch(answer) });
        }
    }

    pub(super) fn datagram(&mut self, index: NodeIndex, to: SocketAddr, bytes: &[u8]) {
        let known = self.trackers.iter().position(|tracker| IpAddr::V4(tracker.ip) == to.ip());
        let Some(n) = known.filter(|_| self.nodes[index].alive) else { return };
        let (fault, mood, from) = (self.tracker_fault(n), self.rng.next_u64(), self.nodes[index].addr);
        if self.nth.datagram() {
            return;
        }
        let answer = self.trackers[n].answer_udp(from, bytes, fault, mood);
        let counts = self.trackers[n].take_counts();
        self.host_mut(index).told.says(n, counts);
        if let Some(bytes) = answer
            && !self.nth.datagram()
        {
            let after = Duration::from_micros(20_000 + self.rng.below(100_000));
            let life = self.nodes[index].life;
            self.push(after, Later::Datagram { node: index, life, from: to, bytes });
        }
    }
}

/// The pieces that resume data claims, read by looking for the key: one byte a piece, bit 0 (libtorrent).
fn claimed(bytes: &[u8]) -> impl Iterator<Item = PieceIndex> + '_ {
    let key = b"6:pieces";
    let after = bytes.windows(key.len()).position(|window| window == key).map_or(bytes.len(), |at| at + key.len());
    let mut parts = bytes[after..].splitn(2, |byte| *byte == b':');
    let len = parts.next().and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<usize>().ok()).unwrap_or(0);
    let pieces = parts.next().unwrap_or_default();
    (0..)
        .map(PieceIndex)
        .zip(&pieces[..len.min(pieces.len())])
        .filter(|(_, byte)| **byte & 1 == 1)
        .map(|(piece, _)| piece)
}
