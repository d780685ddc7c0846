//! How fast the bytes of all torrents flow: what the limits allow is shared out after each event, torrents in turn, in each its peers in turn.
//!
//! Nobody is looked at between two steps of a limit, and nothing is done when there is none.

use super::{Engine, TimerKind};
use crate::config::RateLimits;
use crate::limiter::LEAST_BYTES;
use crate::time::Instant;
use crate::torrent::Served;
use alloc::vec::Vec;

impl Engine {
    /// Limits of all torrents together.
    pub(super) fn limits(&self) -> RateLimits {
        let lines = &self.shared.lines;
        RateLimits { down: lines.down.bucket.bytes_per_s(), up: lines.up.bucket.bytes_per_s() }
    }

    /// Changes them.
    pub(super) fn set_limits(&mut self, now: Instant, limits: RateLimits) {
        let before: Vec<(bool, bool)> =
            self.torrents.values().map(|torrent| torrent.are_limited(&self.shared)).collect();
        self.shared.lines.down.bucket.set_rate(now, limits.down);
        self.shared.lines.up.bucket.set_rate(now, limits.up);
        for (torrent, before) in self.torrents.values_mut().zip(before) {
            torrent.limits_changed(now, &mut self.shared, before);
        }
    }

    /// Gives out what the limits allow.
    pub(super) fn share_limits(&mut self, now: Instant) {
        for down in [true, false] {
            self.share(now, down);
        }
        let next = self.next_share();
        if next.is_some() || self.timers.get(TimerKind::Limits).is_some() {
            self.timers.set(TimerKind::Limits, next.filter(|_| !self.stopped));
        }
    }

    fn share(&mut self, now: Instant, down: bool) {
        let lines = &mut self.shared.lines;
        let line = if down { &mut lines.down } else { &mut lines.up };
        if line.turns.len() == 0 {
            return;
        }
        line.bucket.refill(now);
        // Torrents in a row that their own limits hold: when all are, nobody can have anything.
        let mut held = 0;
        loop {
            let lines = &mut self.shared.lines;
            let line = if down { &mut lines.down } else { &mut lines.up };
            if held >= line.turns.len() || line.bucket.available() < LEAST_BYTES {
                return;
            }
            let Some(id) = line.turns.next() else { return };
            let Some(torrent) = self.torrents.get_mut(&id).filter(|torrent| torrent.waits(down)) else { continue };
            let shared = &mut self.shared;
            let served = if down { torrent.serve_read(now, shared) } else { torrent.serve_send(now, shared) };
            held = if served == Served::Held { held + 1 } else { 0 };
            if torrent.waits(down) {
                let lines = &mut self.shared.lines;
                if down { &mut lines.down } else { &mut lines.up }.turns.join(id);
            }
        }
    }

    /// When somebody who waits can next have a share.
    pub(super) fn next_share(&self) -> Option<Instant> {
        let lines = &self.shared.lines;
        let of = |down: bool| {
            let line = if down { &lines.down } else { &lines.up };
            let all = (line.bucket.available() < LEAST_BYTES).then(|| line.bucket.due());
            let waiting = line.turns.iter().filter_map(|id| self.torrents.get(&id)).filter(move |t| t.waits(down));
            waiting.filter_map(move |torrent| torrent.next_share(down).max(all)).min()
        };
        [of(true), of(false)].into_iter().flatten().min()
    }
}
