//! Why nobody is connected: addresses, dials and trackers.

use super::{Shared, Torrent};
use crate::announce::Standing;
use crate::explain::{Cause, Whose};
use crate::peer::Stage;
use crate::time::{Duration, Instant};
use alloc::vec::Vec;

impl Torrent {
    /// Nobody is there: why, and what else fails.
    pub(super) fn why_nobody(&self, now: Instant, shared: &Shared) -> Vec<Cause> {
        let mut causes = Vec::new();
        causes.extend(self.connections_full(now, shared));
        causes.push(self.why_no_address(now).unwrap_or_else(|| self.why_unknown(now, shared)));
        if !causes.iter().any(|cause| matches!(cause, Cause::TrackersFail { .. })) {
            causes.extend(self.trackers_fail(now));
        }
        causes
    }

    /// Somebody could be dialled, were it not for a limit.
    pub(super) fn connections_full(&self, now: Instant, shared: &Shared) -> Option<Cause> {
        let (waiting, config) = (self.candidates.standing(now).due, &shared.config);
        let (own, all) = (config.max_connections_per_torrent, config.max_connections);
        let (whose, limit) = match () {
            () if waiting == 0 => return None,
            () if self.peers.len() >= own => (Whose::Torrent, own),
            () if shared.connections() >= all => (Whose::All, all),
            () => return None,
        };
        Some(Cause::ConnectionsFull { whose, limit: limit as u32, waiting })
    }

    /// Addresses are known: why is none of them connected?
    fn why_no_address(&self, now: Instant) -> Option<Cause> {
        let known = self.candidates.standing(now);
        let at_stage = |stage| self.peers.values().filter(move |peer| peer.stage == stage);
        let (dialing, handshaking) =
            (at_stage(Stage::Dialing).count() as u32, at_stage(Stage::Handshaking).count() as u32);
        let addresses = known.waiting + known.linked;
        let next_in = known.next_in.unwrap_or(Duration::ZERO);
        match () {
            () if addresses > 0 && known.sated == addresses => Some(Cause::NothingToTrade { addresses }),
            () if addresses > 0 && known.failed == addresses => {
                let next_in = if dialing + handshaking > 0 { Duration::ZERO } else { next_in };
                Some(Cause::NobodyAnswers { addresses, next_in })
            }
            () if dialing + handshaking > 0 => {
                let oldest = self.peers.values().map(|peer| peer.stage_since).min();
                let waited = oldest.map_or(Duration::ZERO, |since| now.since(since));
                Some(Cause::Connecting { dialing, handshaking, waited })
            }
            () if known.waiting > 0 => Some(Cause::RedialWaits { addresses: known.waiting, next_in }),
            () => None,
        }
    }

    /// No address is known that could be tried.
    fn why_unknown(&self, now: Instant, shared: &Shared) -> Cause {
        let (trackers, never) = (self.announcer.standing(now), self.candidates.standing(now).never);
        let Standing { answered, named, asked, waited, next_in, .. } = trackers;
        let hosts = shared.bans.len() as u32;
        match () {
            // Somebody was named, and is not to be dialled.
            () if never > 0 || named > 0 => match hosts {
                0 => Cause::OnlyOurselves { next_in },
                hosts => Cause::AllBanned { hosts, next_in },
            },
            () if hosts > 0 && answered == trackers.trackers => Cause::AllBanned { hosts, next_in },
            () if trackers.trackers == 0 => Cause::NobodyKnown,
            () if answered > 0 => Cause::NobodyNamed { trackers: answered, next_in },
            () => self.trackers_fail(now).unwrap_or(Cause::TrackersAwaited { asked, waited }),
        }
    }

    /// Trackers fail.
    pub(super) fn trackers_fail(&self, now: Instant) -> Option<Cause> {
        let Standing { failing, trackers, last, silent, next_in, .. } = self.announcer.standing(now);
        let (url, reason) = last?;
        Some(Cause::TrackersFail { failing, trackers, url, reason, silent, next_in })
    }
}
