//! What goes wrong with the world as a whole: from time to time a link, a disk, a host or a clock is struck.

use super::checks::{Check, broken};
use super::disk::Crash;
use super::faults::Fault;
use super::host::TORRENT;
use super::link::{Access, LinkId, Partition};
use super::node::{Kind, NodeIndex, new_address};
use super::world::{Later, World};
use sameseed_core::config::{ActiveLimits, SeedingGoals};
use sameseed_core::event::Command;
use sameseed_core::fault::DiskFaultKind;
use sameseed_core::id::FileIndex;
use sameseed_core::selection::Priority;
use sameseed_core::time::{Duration, Instant};
use std::net::{IpAddr, SocketAddr};

/// The longest wait between two strikes, in microseconds.
const LONGEST_WAIT_US: u64 = 2_000_000;
/// What a squeezed network still carries, at least.
const TRICKLE_PER_S: u64 = 1024;
/// How long a system goes on sending again on a connection whose other side is gone.
const LAST_RETRANSMISSION: Duration = Duration::from_secs(15 * 60);
/// A program is told to stop during one write in so many, where that is drawn at all.
const MID_WRITE: u64 = 50;
/// How long a program that was told to stop may take, late ticks included.
const GOODBYE: Duration = Duration::from_secs(15);

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
        self.relieve(true);
        for node in self.clients() {
            let disk = self.disk_mut(node);
            disk.writes_left = None;
            (disk.damage.dead, disk.damage.unreadable) = (None, false);
            // What no mtime tells is found only by who hashes everything.
            let host = self.host_mut(node);
            host.force_check = host.disk.damage.ever;
            let had_goals = std::mem::take(&mut host.config.goals) != SeedingGoals::default();
            // Who is stopping, and whose disk was damaged, starts anew: the check must find all that is wrong.
            if self.nodes[node].alive && (self.nodes[node].leaving || self.disk_mut(node).damage.ever) {
                self.crash(node, Crash::Kept, false, Duration::ZERO);
            }
            self.restart(node);
            if self.host(node).paused_since.is_some() {
                self.command(node, Command::Resume { torrent: None });
            }
            if had_goals {
                self.command(node, Command::SetGoals { torrent: None, goals: None });
            }
            if self.host(node).active.0 != ActiveLimits::default() {
                self.command(node, Command::SetActiveLimits { limits: ActiveLimits::default() });
            }
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

    /// Changes what a host that had everything finds on its disk when it starts.
    pub(super) fn spoil_start(&mut self, index: NodeIndex, fault: Fault) {
        let Kind::Client(host) = &mut self.nodes[index].kind else { return };
        match fault {
            Fault::FileMissing => _ = host.disk.cut_file(true, &mut self.rng),
            Fault::FileLonger => host.disk.lengthen(&mut self.rng),
            _ => host.disk.litter(&mut self.rng),
        }
        host.disk.forget_damage();
        self.faults.count(fault);
    }

    /// What a crash leaves of a resume file, or somebody puts in its place.
    pub(super) fn spoil_resume(&mut self, index: NodeIndex) {
        for fault in [Fault::ResumeOld, Fault::ResumeTorn, Fault::ResumeRot, Fault::ResumeOther, Fault::ResumeLost] {
            if self.faults.rolls(&mut self.rng, fault)
                && let Kind::Client(host) = &mut self.nodes[index].kind
                && host.disk.spoil_resume(fault, &mut self.rng)
            {
                self.faults.count(fault);
                self.note(index, || String::from(fault.name()));
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
        self.relieve(false);
        self.strike_links();
        self.strike_networks();
        self.strike_trackers();
        self.strike_hosts();
        self.strike_users();
        self.strike_disks();
    }

    fn strike_links(&mut self) {
        let Some(link) = self.any_link() else { return };
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

    fn strike_networks(&mut self) {
        let node = self.any_client();
        if self.partition.as_ref().is_none_or(|partition| partition.until <= self.now) {
            let one_way = self.strikes(Fault::OneWay);
            if one_way || self.strikes(Fault::Partition) {
                let inside = (0..self.nodes.len()).filter(|_| self.rng.below(2) == 0).collect();
                let until = self.now + Duration::from_micros(self.rng.below(30_000_000));
                self.partition = Some(Partition { until, inside, one_way });
            }
        }
        if self.nodes[node].squeezed.is_none() && self.strikes(Fault::Squeeze) {
            let until = self.now + Duration::from_micros(self.rng.below(30_000_000));
            let access = self.nodes[node].access;
            let (up_per_s, down_per_s) = (TRICKLE_PER_S + self.rng.below(8192), TRICKLE_PER_S + self.rng.below(8192));
            self.nodes[node].squeezed = Some((access, until));
            self.nodes[node].access = Access { up_per_s, down_per_s, ..access };
        }
        if !self.nodes[node].conns.is_empty() && self.strikes(Fault::Burst) {
            let until = self.now + Duration::from_micros(self.rng.below(20_000_000));
            self.hold_all(node, until);
        }
        // Where no tracker tells of a new address, the first seeder keeps its own: it is the one that all know by hand.
        if self.nodes[node].alive && (node > 0 || !self.trackers.is_empty()) && self.strikes(Fault::NewAddress) {
            self.move_away(node);
        }
        if self.faults.is_drawn(Fault::CrossDial) {
            // Counted when a dial finds the other side dialling.
            let other = self.any_client();
            self.introduce(node, other);
            self.introduce(other, node);
        }
    }

    /// All links of a node are held up, and then deliver everything at once.
    fn hold_all(&mut self, index: NodeIndex, until: Instant) {
        let links: Vec<LinkId> = self.nodes[index].conns.values().map(|(link, _)| *link).collect();
        for link in links {
            for end in self.links.get_mut(&link).into_iter().flatten() {
                (end.stalled_until, end.last_arrival) = (until, end.last_arrival.max(until));
            }
        }
    }

    /// A node gets another address. Its connections die: at once, or without a word.
    fn move_away(&mut self, index: NodeIndex) {
        let addr = new_address(index, self.nodes[index].former.len());
        self.note(index, || format!("MOVES to {addr}"));
        let former = std::mem::replace(&mut self.nodes[index].addr, addr);
        self.nodes[index].former.push(*former.ip());
        if self.rng.below(2) == 0 {
            let links: Vec<LinkId> = self.nodes[index].conns.values().map(|(link, _)| *link).collect();
            links.into_iter().for_each(|link| self.cut(link));
        } else {
            self.hold_all(index, self.now + LAST_RETRANSMISSION);
        }
        let host = self.host_mut(index);
        if !host.config.own_ips.is_empty() {
            // Known at the next start of the program.
            host.config.own_ips = vec![IpAddr::V4(*addr.ip())];
        }
    }

    fn introduce(&mut self, index: NodeIndex, other: NodeIndex) {
        let peers = vec![SocketAddr::V4(self.nodes[other].addr)];
        if index != other && self.nodes[index].alive {
            self.command(index, Command::AddPeers { torrent: TORRENT, peers });
        }
    }

    /// Networks that were squeezed long enough, or with `all` every one, are what they were.
    fn relieve(&mut self, all: bool) {
        let now = self.now;
        for node in &mut self.nodes {
            if let Some((access, until)) = node.squeezed
                && (all || until <= now)
            {
                (node.access, node.squeezed) = (access, None);
            }
        }
    }

    fn strike_trackers(&mut self) {
        let count = self.trackers.len() as u64;
        let n = self.rng.below(count.max(1)) as usize;
        // Counted when it is asked. Each dies once, and stays dead when all else heals.
        if self.trackers.get(n).is_some_and(|tracker| tracker.dead_until == Instant::ZERO)
            && self.faults.rolls(&mut self.rng, Fault::TrackerDead)
        {
            self.trackers[n].dead_until = self.now + Duration::from_secs(3600);
        }
    }

    fn strike_hosts(&mut self) {
        let node = self.any_client();
        if self.nodes[node].alive && self.strikes(Fault::TimeJump) {
            let jump = Duration::from_secs(self.rng.below(600));
            self.jump(node, jump);
        }
        if self.nodes[node].alive && !self.nodes[node].leaving && self.strikes(Fault::Leaving) {
            self.leave(node);
        }
        if self.nodes[node].alive && self.may_command(node) && self.strikes(Fault::Reselect) {
            self.reselect(node);
        }
        if self.nodes[node].alive && self.strikes(Fault::Crash) {
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

    /// A write has been begun: perhaps its program is told to stop in the middle of it.
    pub(super) fn strike_write(&mut self, index: NodeIndex) {
        if self.faults.on && self.faults.is_drawn(Fault::Leaving) && self.rng.below(MID_WRITE) == 0 {
            self.faults.count(Fault::Leaving);
            let life = self.nodes[index].life;
            self.push(Duration::ZERO, Later::Leave { node: index, life });
        }
    }

    /// A program is told to stop.
    pub(super) fn leave(&mut self, index: NodeIndex) {
        // Who is told so because everything ends does not come back.
        let is_told = self.host(index).told_to_stop.is_some();
        if is_told || std::mem::replace(&mut self.nodes[index].leaving, true) {
            return;
        }
        let life = self.nodes[index].life;
        self.command(index, Command::Shutdown);
        self.push(GOODBYE, Later::Exit { node: index, life });
    }

    /// Somebody changes which files are wanted, how urgently, and in which order.
    fn reselect(&mut self, index: NodeIndex) {
        let content = self.content.clone();
        let choices = [Priority::Skip, Priority::Skip, Priority::Low, Priority::Normal, Priority::High];
        let files = (0..content.layout().files().len() as u32).map(FileIndex);
        let files: Vec<_> = files.map(|file| (file, choices[self.rng.below(5) as usize])).collect();
        let sequential = self.rng.below(2) == 0;
        self.command(index, Command::SetSequential { torrent: TORRENT, sequential });
        let skips = files.iter().filter(|(_, priority)| *priority == Priority::Skip).map(|(file, _)| file.0).collect();
        self.choose(index, skips, files);
    }

    /// A program that was told to stop has had its time.
    pub(super) fn exit(&mut self, index: NodeIndex, life: u32) {
        if self.nodes[index].life != life || !self.nodes[index].leaving {
            return;
        }
        if !self.host(index).said_shut_down {
            broken(Check::Goodbye, index, "no ShutDown in time");
        }
        let after = Duration::from_micros(self.rng.below(20_000_000));
        self.crash(index, Crash::Kept, false, after);
    }

    fn strike_disks(&mut self) {
        let node = self.any_client();
        if self.strikes(Fault::DiskFull) {
            let left = self.rng.below(4) as u32;
            self.disk_mut(node).writes_left = Some(left);
        } else {
            // Room is made again.
            self.disk_mut(node).writes_left = None;
        }
        // Counted when something is read.
        let unreadable = self.faults.rolls(&mut self.rng, Fault::ReadFails);
        self.disk_mut(node).damage.unreadable = unreadable;
        if self.faults.rolls(&mut self.rng, Fault::DiskDead) {
            let kinds = [DiskFaultKind::Io, DiskFaultKind::Denied, DiskFaultKind::NotRegular];
            self.disk_mut(node).damage.dead = Some(kinds[self.rng.below(3) as usize]);
        }
        // The first seeder's disk loses nothing: else a piece might be lost to all.
        if node == 0 || !self.nodes[node].alive {
            return;
        }
        for fault in [Fault::BitRot, Fault::FileChanged, Fault::FileCut, Fault::FileGone] {
            if self.faults.rolls(&mut self.rng, fault) {
                let Kind::Client(host) = &mut self.nodes[node].kind else { return };
                let struck = match fault {
                    Fault::BitRot => host.disk.rot(&mut self.rng),
                    Fault::FileChanged => host.disk.scribble(&mut self.rng),
                    _ => host.disk.cut_file(fault == Fault::FileGone, &mut self.rng),
                };
                if struck {
                    self.faults.count(fault);
                    self.note(node, || String::from(fault.name()));
                }
            }
        }
    }
}
