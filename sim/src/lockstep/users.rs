//! What users do in mid-everything: pause, resume, remove, add again, re-check, re-announce, scrape, move, limit who may be active. And the laws of who
//! is told to be silent or gone.

use super::checks::{Check, broken};
use super::faults::Fault;
use super::host::TORRENT;
use super::node::NodeIndex;
use super::world::{Later, World};
use sameseed_core::action::Operation;
use sameseed_core::config::{ActiveLimits, RateLimits};
use sameseed_core::event::{Command, Event, QueueMove};
use sameseed_core::id::Folder;
use sameseed_core::time::{Duration, Instant};
use sameseed_core::view::TorrentState;

/// The most commands of one flood.
const MAX_FLOOD: u64 = 12;
/// Within this time a scrape that was asked for has ended: `SCRAPE_TIMEOUT` for each that waits for its turn, and the latest tick.
const SCRAPED: Duration = Duration::from_secs(120);
/// Within this time trackers have heard `stopped`, or never will: `Config::shutdown_timeout`, and the latest tick.
const GOODBYE: Duration = Duration::from_secs(10);

impl World {
    pub(super) fn strike_users(&mut self) {
        let clients = self.clients();
        let node = clients[self.rng.below(clients.len() as u64) as usize];
        let torrent = TORRENT;
        if !self.nodes[node].alive || self.nodes[node].leaving || !self.has_torrent(node) {
            return;
        }
        if self.strikes(Fault::PauseFlood) {
            for _ in 0..=self.rng.below(MAX_FLOOD) {
                let one = (self.rng.below(2) == 0).then_some(torrent);
                let pause = self.rng.below(2) == 0;
                self.command(
                    node,
                    if pause { Command::Pause { torrent: one } } else { Command::Resume { torrent: one } },
                );
            }
        } else if self.host(node).paused_since.is_some() && self.rng.below(3) == 0 {
            self.command(node, Command::Resume { torrent: None });
        }
        if self.strikes(Fault::AskFlood) {
            for _ in 0..=self.rng.below(MAX_FLOOD) {
                let scrape = self.rng.below(2) == 0;
                self.command(node, if scrape { Command::Scrape { torrent } } else { Command::Reannounce { torrent } });
            }
        }
        if self.strikes(Fault::Recheck) {
            self.command(node, Command::Recheck { torrent });
        }
        if self.strikes(Fault::Moving) {
            let name = format!("name {}", self.rng.below(3));
            self.command(node, Command::Move { torrent, to: Folder(name.clone().into_bytes()) });
            self.command(node, Command::Rename { torrent, file: None, name });
        }
        if self.strikes(Fault::Queueing) {
            let of = |n| [None, Some(0), Some(1)][n as usize];
            let (downloads, seeds) = match self.rng.below(3) {
                0 => (Some(0), Some(0)),
                _ => (of(self.rng.below(3)), of(self.rng.below(3))),
            };
            self.command(node, Command::SetActiveLimits { limits: ActiveLimits { downloads, seeds } });
            let moves = [QueueMove::Top, QueueMove::Up, QueueMove::Down, QueueMove::Bottom];
            let to = moves[self.rng.below(4) as usize];
            self.command(node, Command::MoveInQueue { torrent, to });
        } else if self.host(node).active.0 != ActiveLimits::default() && self.rng.below(3) == 0 {
            self.command(node, Command::SetActiveLimits { limits: ActiveLimits::default() });
        }
        // The first seeder's files stay: else a piece might be lost to all.
        let delete_data = node > 0 && self.strikes(Fault::Deletion);
        if (delete_data || self.strikes(Fault::Removal)) && self.has_torrent(node) {
            self.command(node, Command::Remove { torrent, delete_data });
        }
    }

    /// Whether a client has a torrent that is to stay. (It may have died of a command.)
    fn has_torrent(&self, index: NodeIndex) -> bool {
        let host = self.host(index);
        host.removing.is_none() && !host.engine.view().torrents.is_empty()
    }

    /// Whether it would carry out what it is told to do with its torrent.
    pub(super) fn may_command(&self, index: NodeIndex) -> bool {
        self.has_torrent(index) && !self.nodes[index].leaving && self.host(index).told_to_stop.is_none()
    }

    /// A command is about to be taken in.
    pub(super) fn note_command(&mut self, index: NodeIndex, event: &Event<'_>) {
        let Event::Command(command) = event else { return };
        let now = self.now;
        let may = self.may_command(index);
        let host = self.host_mut(index);
        if let Command::Pause { .. }
        | Command::Remove { .. }
        | Command::Recheck { .. }
        | Command::SetActiveLimits { .. }
        | Command::SetGoals { .. } = command
        {
            host.announces.rests();
        }
        if may {
            // Perhaps it is seeded on, or something is missing again.
            host.enough_since = None;
        }
        match command {
            Command::Pause { .. } if may && host.paused_since.is_none() => {
                (host.paused_since, host.scrape_asked) = (Some(now), None);
            }
            Command::Scrape { .. } if may => host.scrape_asked = Some(now),
            Command::Resume { .. } => host.paused_since = None,
            Command::SetActiveLimits { limits } => host.active = (*limits, now),
            Command::Recheck { .. } if may => host.note_recheck(),
            Command::Remove { delete_data, .. } if may => host.removing = Some(*delete_data),
            _ => {}
        }
    }

    /// A torrent is gone. It comes back after a while.
    pub(super) fn removed(&mut self, index: NodeIndex, failed: bool) {
        let host = self.host_mut(index);
        let delete_data = host.removing.take();
        (host.paused_since, host.enough_since, host.disk.damage.doubted) = (None, None, None);
        host.books.begin_anew();
        host.disk.parts.forget_places();
        host.flow.command(true, RateLimits::default());
        let live = host.wires.iter().find(|(_, wire)| wire.is_live()).map(|(conn, _)| *conn);
        let view = host.view();
        let files = host.disk.now.lens.iter().any(Option::is_some) || host.disk.parts.len().is_some();
        let left = match () {
            () if delete_data.is_none() => Some(String::from("nobody wanted it to go")),
            () if !view.torrents.is_empty() => Some(String::from("it is still shown")),
            () if live.is_some() => Some(format!("{live:?} is open")),
            () if !host.operations.is_empty() => Some(format!("{:?} are under way", host.operations)),
            () if (view.pool.1, view.pool.2) != (0, 0) => Some(format!("buffers are out: {:?}", view.pool)),
            () if delete_data == Some(true) && files && !failed => Some(String::from("files are there")),
            () if host.disk.resume.is_some() && !failed => Some(String::from("its resume data is there")),
            () => None,
        };
        if let Some(left) = left {
            broken(Check::Gone, index, &left);
        }
        let (after, life) = (Duration::from_micros(self.rng.below(10_000_000)), self.nodes[index].life);
        self.push(after, Later::Readd { node: index, life });
    }

    pub(super) fn readd(&mut self, index: NodeIndex, life: u32) {
        let node = &self.nodes[index];
        if node.life == life && node.alive && !node.leaving && !self.host(index).said_shut_down {
            // All is hashed, unless its resume data could not be removed.
            self.disk_mut(index).forget_what_shows();
            self.start(index);
        }
    }

    /// Everything that a client had to say was done: who is paused has no peer.
    pub(super) fn check_silence(&mut self, index: NodeIndex) {
        let host = self.host(index);
        if host.paused_since.is_some()
            && let Some((conn, _)) = host.wires.iter().find(|(_, wire)| wire.is_live())
        {
            broken(Check::Silent, index, &format!("{conn} is open"));
        }
        if let Some((conn, _)) = host.wires.iter().find(|(_, wire)| wire.is_live())
            && let Some(since) = host.inactive_since(self.content.layout())
        {
            broken(Check::Active, index, &format!("{conn} is open, {:?} since {since:?}", host.active.0));
        }
    }

    /// Of the operations that go over the network only goodbyes are allowed, and scrapes that somebody asked for, and they not for long.
    pub(super) fn check_silent_operation(&self, index: NodeIndex, operation: &Operation, late: bool) {
        let (goodbye, scrape) = match operation {
            Operation::Fetch(fetch) => {
                let goodbye = ["stopped", "completed"].iter().any(|e| fetch.target.contains(&format!("event={e}")));
                (goodbye, fetch.target.starts_with("/scrape"))
            }
            Operation::Resolve { .. } => (true, true),
            _ => return,
        };
        self.check_silent_word(index, goodbye, scrape, late);
    }

    /// The same of datagrams (BEP 15): a connect, an announce whose event is `completed` or `stopped`, or a scrape.
    pub(super) fn check_silent_datagram(&self, index: NodeIndex, bytes: &[u8], late: bool) {
        let (goodbye, scrape) = match bytes.get(8..12) {
            Some([0, 0, 0, 0]) => (true, true),
            Some([0, 0, 0, 2]) => (false, true),
            _ => (matches!(bytes.get(80..84), Some([0, 0, 0, 1 | 3])), false),
        };
        // It is taken up after all that the same event has brought, and may have been written before its torrent fell silent.
        let host = self.host(index);
        let silent_since = [host.enough_since, host.inactive_since(self.content.layout())];
        let is_just_silent = silent_since.contains(&Some(self.now));
        self.check_silent_word(index, goodbye, scrape, late || is_just_silent);
    }

    fn check_silent_word(&self, index: NodeIndex, goodbye: bool, scrape: bool, late: bool) {
        let host = self.host(index);
        let asked = scrape && host.scrape_asked.is_some_and(|asked| self.now.since(asked) <= SCRAPED);
        let is_over = |since: Instant| self.now.since(since) > GOODBYE;
        let silent = host.paused_since.filter(|since| is_over(*since) || !(goodbye || late));
        // Its state may change without a command, and its goodbye begins then. Who is being checked asks for no place, and goes on as before.
        let is_checking = || host.view().torrents.iter().any(|torrent| torrent.state == TorrentState::Checking);
        let inactive = host.inactive_since(self.content.layout()).filter(|_| !(goodbye || late || is_checking()));
        for (check, since) in [(Check::Silent, silent), (Check::Active, inactive)] {
            if let Some(since) = since.filter(|_| !asked) {
                let after = self.now.since(since);
                let what = format!("a word to a tracker: goodbye {goodbye}, scrape {scrape}, {after:?} after");
                broken(check, index, &what);
            }
        }
    }
}
