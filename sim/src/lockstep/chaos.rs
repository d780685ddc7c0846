//! What goes wrong with the world as a whole: from time to time a link, a disk, a host or a clock is struck.

use super::disk::Crash;
use super::faults::Fault;
use super::link::{LinkId, Partition};
use super::node::NodeIndex;
use super::world::{Later, World};
use sameseed_core::time::{Duration, Instant};

/// The longest wait between two strikes, in microseconds.
const LONGEST_WAIT_US: u64 = 2_000_000;

impl World {
    /// Lets things go wrong from now on.
    pub(super) fn unleash(&mut self) {
        self.faults.on = true;
        self.push(Duration::ZERO, Later::Chaos);
    }

    /// Everything works again: hosts are back, disks have room, networks are whole. Hostile peers go, unless they `stay`.
    pub(super) fn heal(&mut self, hostile_stay: bool) {
        self.faults.on = false;
        self.partition = None;
        for ends in self.links.values_mut() {
            for end in ends {
                end.stalled_until = Instant::ZERO;
                end.cut_after = None;
            }
        }
        for node in self.clients() {
            self.restart(node);
            self.disk_mut(node).writes_left = None;
        }
        let hostile = (0..self.nodes.len()).filter(|node| !self.clients().contains(node));
        for node in hostile.collect::<Vec<_>>() {
            if !hostile_stay {
                self.take_down(node);
                let ip = *self.addr(node).ip();
                self.trackers.iter_mut().for_each(|tracker| tracker.forget(ip));
            }
        }
    }

    fn any_client(&mut self) -> NodeIndex {
        let clients = self.clients();
        clients[self.rng.below(clients.len() as u64) as usize]
    }

    fn any_link(&mut self) -> Option<LinkId> {
        let count = self.links.len() as u64;
        self.links.keys().nth(self.rng.below(count) as usize).copied()
    }

    pub(super) fn chaos(&mut self) {
        if !self.faults.on {
            return;
        }
        let wait = Duration::from_micros(1 + self.rng.below(LONGEST_WAIT_US));
        self.push(wait, Later::Chaos);
        self.strike_links();
        self.strike_hosts();
    }

    fn strike_links(&mut self) {
        if let Some(link) = self.any_link() {
            let side = self.rng.below(2) as usize;
            let until = self.now + Duration::from_micros(self.rng.below(40_000_000));
            let bytes = self.rng.below(100_000);
            if self.strikes(Fault::Stall) {
                self.links.entry(link).and_modify(|ends| ends[side].stalled_until = until);
            }
            if self.faults.is_drawn(Fault::CutAtByte) {
                // Counted when the byte is reached.
                self.links.entry(link).and_modify(|ends| ends[side].cut_after = Some(bytes));
            }
            if self.strikes(Fault::Reset) {
                self.cut(link);
            }
        }
        if self.partition.as_ref().is_none_or(|partition| partition.until <= self.now) && self.strikes(Fault::Partition)
        {
            let inside = (0..self.nodes.len()).filter(|_| self.rng.below(2) == 0).collect();
            let until = self.now + Duration::from_micros(self.rng.below(30_000_000));
            self.partition = Some(Partition { until, inside });
        }
    }

    fn strike_hosts(&mut self) {
        let node = self.any_client();
        if self.strikes(Fault::DiskFull) {
            let left = self.rng.below(4) as u32;
            self.disk_mut(node).writes_left = Some(left);
        } else {
            // Room is made again.
            self.disk_mut(node).writes_left = None;
        }
        if self.nodes[node].alive && self.strikes(Fault::TimeJump) {
            let jump = Duration::from_secs(self.rng.below(600));
            self.jump(node, jump);
        }
        if self.strikes(Fault::Crash) && self.nodes[node].alive {
            let crash = match () {
                () if self.strikes(Fault::TornWrites) => Crash::Torn,
                () if self.strikes(Fault::LostWrites) => Crash::Lost,
                () => Crash::Kept,
            };
            let silence = self.strikes(Fault::Silence);
            let after = Duration::from_micros(self.rng.below(20_000_000));
            self.crash(node, crash, silence, after);
        }
    }
}
