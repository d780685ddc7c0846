//! The announcer's place in the torrent: its operations go out, its peers come in.

use super::{Purpose, Shared, Torrent};
use crate::action::Notice;
use crate::announce::{AnnounceConfig, AnnounceEvent, AnnounceOutput, Announcer, RequestId};
use crate::event::Outcome;
use crate::external::Witness;
use crate::id::TorrentId;
use crate::metainfo::Metainfo;
use crate::rng::{Rng, Seed, Stream};
use crate::time::Instant;
use crate::tracker::Totals;
use crate::view::TrackerView;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// The announcer of a new torrent.
pub(super) fn new_announcer(
    now: Instant,
    shared: &Shared,
    seed: &Seed,
    id: TorrentId,
    metainfo: &Metainfo,
    extra_trackers: Vec<String>,
) -> Announcer {
    let mut tiers = metainfo.trackers.clone();
    tiers.extend(extra_trackers.into_iter().map(|url| vec![url]));
    let config = AnnounceConfig {
        info_hash: metainfo.info_hash,
        peer_id: shared.peer_id,
        listen_port: shared.config.listen_port,
        user_agent: shared.config.user_agent.clone(),
        tiers,
        stop_timeout: shared.config.shutdown_timeout,
    };
    Announcer::new(config, Rng::new(seed, Stream::Announce, id.0), now)
}

impl Torrent {
    /// Idempotent, like its opposite.
    pub(super) fn start_announcing(&mut self, now: Instant, shared: &mut Shared) {
        self.goodbye_said = false;
        self.announce(now, shared, AnnounceEvent::Start);
    }

    pub(super) fn announce_completed(&mut self, now: Instant, shared: &mut Shared) {
        self.announce(now, shared, AnnounceEvent::Completed);
    }

    pub(super) fn stop_announcing(&mut self, now: Instant, shared: &mut Shared) {
        if self.is_leaving() {
            self.end_scrapes(now, shared);
        }
        if !self.goodbye_said {
            self.announce(now, shared, AnnounceEvent::Stop);
        }
    }

    /// Asks the trackers now, or as soon as they allow.
    pub(crate) fn reannounce(&mut self, now: Instant, shared: &mut Shared) {
        self.announce(now, shared, AnnounceEvent::Again);
    }

    /// Asks each tracker how large the swarm is.
    pub(crate) fn scrape(&mut self, now: Instant, shared: &mut Shared) {
        self.announce(now, shared, AnnounceEvent::Scrape);
    }

    /// Nobody wants to know that any more.
    pub(super) fn end_scrapes(&mut self, now: Instant, shared: &mut Shared) {
        self.announce(now, shared, AnnounceEvent::EndScrapes);
    }

    /// A picture of each tracker.
    pub(crate) fn tracker_views(&self) -> Vec<TrackerView> {
        self.announcer.trackers()
    }

    /// Trackers given by hand.
    pub(crate) fn add_trackers(&mut self, now: Instant, shared: &mut Shared, urls: Vec<String>) {
        self.announce(now, shared, AnnounceEvent::AddTrackers(urls));
    }

    /// These trackers and no others.
    pub(crate) fn replace_trackers(&mut self, now: Instant, shared: &mut Shared, tiers: Vec<Vec<String>>) {
        self.announce(now, shared, AnnounceEvent::ReplaceTrackers(tiers));
    }

    /// A tracker is due, or late.
    pub(crate) fn handle_announce_timeout(&mut self, now: Instant, shared: &mut Shared) {
        self.announce(now, shared, AnnounceEvent::Tick);
    }

    /// When [`Torrent::handle_announce_timeout`] is due.
    pub(crate) fn next_announce(&self) -> Option<Instant> {
        self.announcer.poll_timeout()
    }

    /// Whether a datagram may be a tracker's answer to this torrent.
    pub(crate) fn expects_datagram(&self, from: SocketAddr, bytes: &[u8]) -> bool {
        self.announcer.expects_datagram(from, bytes)
    }

    /// A tracker's answer.
    pub(crate) fn handle_datagram(&mut self, now: Instant, shared: &mut Shared, from: SocketAddr, bytes: &[u8]) {
        self.announce(now, shared, AnnounceEvent::Datagram { from, bytes });
    }

    pub(super) fn handle_announce_done(
        &mut self,
        now: Instant,
        shared: &mut Shared,
        request: RequestId,
        outcome: Outcome,
    ) {
        self.announce(now, shared, AnnounceEvent::Done { request, outcome });
    }

    /// Asks the trackers again when too few peers are left.
    pub(super) fn request_more_peers(&mut self, now: Instant, shared: &mut Shared) {
        if self.wants_peers() {
            self.announce(now, shared, AnnounceEvent::WantPeers);
        }
    }

    /// What is left, as trackers are told it: what is wanted. But 0 would make us a seed in their books: of a torrent that is not whole,
    /// and not wanted whole either, they are told what it lacks (BEP 21 has partial seeds counted as incomplete).
    fn left_to_tell(&self) -> u64 {
        match self.pieces.lacking_bytes() {
            0 => self.metainfo.layout.total_len() - self.pieces.have_bytes(),
            wanted => wanted,
        }
    }

    /// Whether every tracker that knew of us was told that we stop.
    pub(crate) fn is_goodbye_said(&self) -> bool {
        self.goodbye_said
    }

    fn announce(&mut self, now: Instant, shared: &mut Shared, event: AnnounceEvent<'_>) {
        let totals = Totals {
            uploaded: self.total_uploaded_bytes(),
            downloaded: self.total_downloaded_bytes(),
            left: self.left_to_tell(),
        };
        self.announcer.handle(now, totals, shared.has_room_for_announce(), event);
        while let Some(output) = self.announcer.poll_output() {
            match output {
                AnnounceOutput::Submit { request, operation } => {
                    shared.submit(self.id, Purpose::Announce(request), operation);
                }
                AnnounceOutput::Abort { request } => shared.abort(self.id, request),
                AnnounceOutput::Datagram { to, bytes } => shared.datagrams.push_back((to, bytes)),
                AnnounceOutput::OwnIp { from, said } => shared.hear_own_ip(from, said, Witness::Tracker),
                AnnounceOutput::Peers(peers) => self.add_candidates(now, shared, &peers),
                AnnounceOutput::Answered { url, peers, next_in, warning } => {
                    shared.notify(Notice::TrackerAnswered { torrent: self.id, url, peers, next_in, warning });
                }
                AnnounceOutput::Failed { url, reason } => {
                    shared.notify(Notice::TrackerFailed { torrent: self.id, url, reason });
                }
                AnnounceOutput::Scraped { url, result } => {
                    shared.notify(Notice::Scraped { torrent: self.id, url, result });
                }
                AnnounceOutput::Stopped => self.goodbye_said = true,
            }
        }
    }
}
