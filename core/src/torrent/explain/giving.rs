//! What holds back what a torrent sends.

use super::{Shared, Torrent, is_near, lower_limit};
use crate::choker::{Chokee, Slot, next_turn_in};
use crate::explain::Cause;
use crate::peer::{Peer, Stage};
use crate::time::{Duration, Instant};
use crate::view::TorrentState;
use alloc::vec::Vec;

/// A peer that takes nothing of what waits for it for so long does not read: a lossy line may pause for some seconds.
pub(super) const NOT_READING_AFTER: Duration = Duration::from_secs(10);

impl Torrent {
    pub(super) fn why_not_up(&self, now: Instant, shared: &Shared) -> Vec<Cause> {
        let mut causes = Vec::new();
        if !self.is_running() {
            return causes;
        }
        let is_seeding = self.state == TorrentState::Seeding;
        causes.extend(self.disk_trouble(now).filter(|_| is_seeding));
        let chokees = self.chokees(now);
        match () {
            () if chokees.is_empty() && is_seeding => causes.extend(self.why_nobody(now, shared)),
            () if chokees.is_empty() => {}
            () => causes.push(self.why_not_sent(now, shared, &chokees)),
        }
        causes
    }

    /// Somebody is there.
    fn why_not_sent(&self, now: Instant, shared: &Shared, chokees: &[Chokee]) -> Cause {
        let live = || self.peers.values().filter(|peer| peer.stage == Stage::Live);
        let wanting = live().filter(|peer| peer.peer_interested).count();
        let waiting = chokees.iter().filter(|peer| peer.interested && peer.slot == Slot::None).count() as u32;
        let served = || live().filter(|peer| !peer.am_choking());
        let (peers, rate) = (served().count() as u32, self.uploaded.per_second());
        match () {
            () if wanting == 0 => Cause::NobodyInterested { peers: live().count() as u32 },
            () if shared.config.upload_slots == 0 => Cause::NoSlots,
            () if waiting > 0 && peers as usize >= self.upload_slots => {
                let (slots, earned) = self.count_slots_taken();
                Cause::SlotsTaken { slots, earned, waiting, next_in: next_turn_in(now, chokees, self.upload_slots) }
            }
            () => self.up_limit(shared, rate, served()).unwrap_or_else(|| match () {
                () if rate > 0 => Cause::Sending { peers, bytes_per_s: rate },
                () => self.why_idle(now, served(), live()),
            }),
        }
    }

    /// Upload slots in use, and those of them that are earned.
    pub(super) fn count_slots_taken(&self) -> (u32, u32) {
        let count = |is: fn(&Slot) -> bool| self.peers.values().filter(|peer| is(&peer.slot)).count() as u32;
        (count(|slot| *slot != Slot::None), count(|slot| *slot == Slot::Earned))
    }

    /// A limit on what is sent is used up.
    pub(super) fn up_limit<'a>(
        &self,
        shared: &Shared,
        rate: u64,
        served: impl Iterator<Item = &'a Peer>,
    ) -> Option<Cause> {
        let limits = [self.lines.up.bucket.bytes_per_s(), shared.lines.up.bucket.bytes_per_s()];
        let (whose, bytes_per_s) = lower_limit(limits)?;
        let waiting = served.map(|peer| peer.uploads.len() as u32 + u32::from(peer.tx.held_bytes() > 0)).sum();
        (waiting > 0 || is_near(rate, bytes_per_s)).then_some(Cause::UpLimit { whose, bytes_per_s, waiting })
    }

    /// Nothing is sent, though somebody may ask, or wants to.
    fn why_idle<'a>(
        &self,
        now: Instant,
        served: impl Iterator<Item = &'a Peer>,
        live: impl Iterator<Item = &'a Peer> + Clone,
    ) -> Cause {
        let stuck = live.filter(|peer| is_stuck(now, peer));
        match stuck.clone().map(|peer| now.since(peer.tx_moved)).min() {
            Some(waited) => Cause::NotReading { peers: stuck.count() as u32, waited },
            None => {
                let asked: Vec<Duration> = served.map(|peer| since_asked(now, peer)).collect();
                Cause::AskNothing {
                    peers: asked.len() as u32,
                    waited: asked.into_iter().min().unwrap_or(Duration::ZERO),
                }
            }
        }
    }
}

/// Whether a peer takes nothing of what waits for it.
pub(super) fn is_stuck(now: Instant, peer: &Peer) -> bool {
    peer.tx.bytes_at_driver() > 0 && now.since(peer.tx_moved) >= NOT_READING_AFTER
}

/// Since when a peer that may ask has asked for nothing.
pub(super) fn since_asked(now: Instant, peer: &Peer) -> Duration {
    now.since(peer.last_asked.max(peer.choke_since))
}
