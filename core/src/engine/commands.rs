//! Commands: which torrent one is for, and whether it can be carried out at all.

use super::{Engine, TimerKind};
use crate::action::{Notice, Refusal};
use crate::event::{AddTorrent, Command};
use crate::id::TorrentId;
use crate::time::Instant;
use crate::torrent::{Shared, Torrent};
use alloc::boxed::Box;
use alloc::vec::Vec;

impl Engine {
    pub(super) fn handle_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Add(add) => self.add(now, *add),
            Command::AddPeers { torrent, peers } => self.tell(torrent, |t, shared| t.add_peers(now, shared, peers)),
            Command::SetLimits { torrent: None, limits } => self.set_limits(now, limits),
            Command::SetLimits { torrent: Some(id), limits } => {
                self.tell(id, |t, shared| t.set_limits(now, shared, limits))
            }
            Command::SetActiveLimits { limits } => self.shared.queue.set_limits(limits),
            Command::MoveInQueue { torrent, to } => self.tell(torrent, |_, shared| shared.queue.move_to(torrent, to)),
            Command::SetGoals { torrent: None, goals } => {
                self.shared.config.goals = goals.unwrap_or_default();
                self.tell_all(|t, shared| {
                    if t.has_common_goals() {
                        t.set_goals(now, shared, None);
                    }
                });
            }
            Command::SetGoals { torrent: Some(id), goals } => {
                self.tell(id, |t, shared| t.set_goals(now, shared, goals))
            }
            Command::SetPriorities { torrent, files } => {
                self.ask(torrent, |t, shared| t.set_priorities(now, shared, &files));
            }
            Command::SetSequential { torrent, sequential } => self.tell(torrent, |t, _| t.set_sequential(sequential)),
            Command::Await { torrent, reader, file, bytes } => {
                self.ask(torrent, |t, shared| t.await_bytes(now, shared, reader, file, bytes));
            }
            Command::EndAwait { torrent, reader } => self.tell(torrent, |t, _| t.end_await(reader)),
            Command::Pause { torrent: None } => self.tell_all(|t, shared| t.pause(now, shared)),
            Command::Pause { torrent: Some(id) } => self.tell(id, |t, shared| t.pause(now, shared)),
            Command::Resume { torrent: None } => self.tell_all(|t, shared| t.resume(now, shared, false)),
            Command::Resume { torrent: Some(id) } => self.tell(id, |t, shared| t.resume(now, shared, true)),
            Command::Remove { torrent: id, delete_data } => {
                let mut leaves = false;
                self.tell(id, |t, shared| {
                    t.remove(now, shared, delete_data);
                    leaves = true;
                });
                self.leaving.extend(leaves.then_some(id));
            }
            Command::Recheck { torrent } => self.tell(torrent, |t, shared| t.recheck(now, shared)),
            Command::Reannounce { torrent } => self.tell(torrent, |t, shared| t.reannounce(now, shared)),
            Command::Scrape { torrent } => self.tell(torrent, |t, shared| t.scrape(now, shared)),
            Command::AddTrackers { torrent, urls } => self.tell(torrent, |t, shared| t.add_trackers(now, shared, urls)),
            Command::ReplaceTrackers { torrent, tiers } => {
                self.tell(torrent, |t, shared| t.replace_trackers(now, shared, tiers));
            }
            Command::Move { torrent, to } => self.ask(torrent, |t, shared| t.move_to(now, shared, to)),
            Command::Rename { torrent, file, name } => {
                self.ask(torrent, |t, shared| t.rename(now, shared, file, &name));
            }
            Command::Shutdown => self.shut_down(now),
        }
    }

    fn add(&mut self, now: Instant, add: AddTorrent) {
        let (id, info_hash) = (add.torrent, add.metainfo.info_hash);
        assert!(!self.torrents.contains_key(&id), "the application numbers each torrent once");
        let file_count = add.metainfo.layout.files().len();
        let why = match self.by_hash.get(&info_hash) {
            _ if self.stopping => Some(Refusal::Stopping),
            Some(there) => Some(Refusal::AlreadyThere(*there)),
            None if add.priorities.iter().any(|(file, _)| file.0 as usize >= file_count) => Some(Refusal::NoSuchFile),
            None => None,
        };
        if let Some(why) = why {
            self.shared.notify(Notice::Refused { torrent: id, why });
            return;
        }
        self.by_hash.insert(info_hash, id);
        self.torrents.insert(id, Box::new(Torrent::add(now, &mut self.shared, &self.seed, add)));
        self.reset_timers(id);
    }

    fn shut_down(&mut self, now: Instant) {
        if self.stopping {
            return;
        }
        self.stopping = true;
        self.incoming.close_all(&mut self.shared);
        let ids: Vec<TorrentId> = self.torrents.keys().copied().collect();
        for id in ids {
            if let Some(torrent) = self.torrents.get_mut(&id) {
                torrent.stop(now, &mut self.shared);
            }
            self.reset_timers(id);
        }
        self.timers.set(TimerKind::Shutdown, Some(now + self.shared.config.shutdown_timeout));
    }

    /// Torrents that were removed and of which nothing is under way any more are forgotten.
    pub(super) fn finish_removals(&mut self) {
        let gone = self.leaving.iter().filter_map(|id| Some((*id, self.torrents.get(id)?.is_removed(&self.shared)?)));
        for (id, fault) in gone.collect::<Vec<_>>() {
            self.leaving.remove(&id);
            if let Some(torrent) = self.torrents.remove(&id) {
                self.by_hash.remove(&torrent.info_hash());
            }
            self.shared.starved.remove(&id);
            self.shared.lines.down.turns.leave(id);
            self.shared.lines.up.turns.leave(id);
            self.shared.queue.remove(id);
            self.timers.set(TimerKind::Torrent(id), None);
            self.timers.set(TimerKind::Announce(id), None);
            self.shared.notify(Notice::Removed { torrent: id, fault });
        }
    }

    fn tell_all(&mut self, mut act: impl FnMut(&mut Torrent, &mut Shared)) {
        // In the order of the queue: who comes first has its place before others ask for it.
        for id in self.shared.queue.view().order {
            if let Some(torrent) = self.torrents.get_mut(&id).filter(|torrent| !torrent.is_leaving()) {
                act(torrent, &mut self.shared);
            }
            self.reset_timers(id);
        }
    }

    fn tell(&mut self, id: TorrentId, act: impl FnOnce(&mut Torrent, &mut Shared)) {
        self.ask(id, |torrent, shared| {
            act(torrent, shared);
            Ok(())
        });
    }

    /// Has a torrent carry something out, or says why it cannot.
    fn ask(&mut self, id: TorrentId, act: impl FnOnce(&mut Torrent, &mut Shared) -> Result<(), Refusal>) {
        let result = match self.torrents.get_mut(&id) {
            None => Err(Refusal::Unknown),
            Some(torrent) if torrent.is_leaving() => Err(Refusal::Leaving),
            Some(torrent) => act(torrent, &mut self.shared),
        };
        if let Err(why) = result {
            self.shared.notify(Notice::Refused { torrent: id, why });
        }
        self.reset_timers(id);
    }
}
