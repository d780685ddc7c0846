//! One torrent: where the machines of floor 3 and the peers meet.
//!
//! Each file beside this one is a part of the torrent's life: `check` (what is on disk), `checkpoint` (resume data), `links` (connections),
//! `life` (states and commands), `losses` (pieces that are gone from the disk), `parts` (bytes of files that are not selected), `readers` (who waits for bytes), `receive` (bytes in),
//! `request` (what to ask for), `select` (what is wanted), `store` (blocks to disk, verdicts), `evidence` (who sent bad ones), `upload`
//! (what to give), `goals` (when that is enough), `limits` (how fast it goes), `tracking` (announces); `laws` (what holds between any two events), `explain` (why it is not faster).
//! Every method takes the time and what torrents share; none looks at a clock or at another torrent.

mod check;
mod checkpoint;
mod evidence;
mod explain;
mod goals;
mod laws;
mod life;
mod limits;
mod links;
mod losses;
mod parts;
mod readers;
mod receive;
mod request;
mod select;
mod shared;
mod store;
mod tracking;
mod upload;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use checkpoint::Step;
pub(crate) use explain::why_not_live;
pub(crate) use limits::Served;
pub(crate) use shared::{Purpose, Shared};

use crate::action::Notice;
use crate::announce::Announcer;
use crate::bitfield::Bitfield;
use crate::blame::Blame;
use crate::candidates::{Candidates, Source};
use crate::choker::FIRST_SLOTS;
use crate::event::{AddTorrent, Outcome};
use crate::fault::DiskFault;
use crate::id::{ConnId, FileIndex, InfoHash, TorrentId};
use crate::ledger::Ledger;
use crate::limiter::Lines;
use crate::metainfo::Metainfo;
use crate::peer::{Peer, Stage};
use crate::picker::Picker;
use crate::pieces::Pieces;
use crate::rate::Rate;
use crate::resume::ResumeData;
use crate::rng::{Rng, Seed, Stream};
use crate::selection::{Priority, Selection};
use crate::time::{Duration, Instant};
use crate::view::{PeerView, TorrentState, TorrentView};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

/// How often peers are looked at.
const TICK: Duration = Duration::from_secs(1);

/// One torrent.
#[derive(Clone, Debug)]
pub(crate) struct Torrent {
    id: TorrentId,
    metainfo: Metainfo,
    life: life::Life,
    /// Follows from the rest: see `life`.
    state: TorrentState,
    check_only: bool,
    check: check::Check,
    checkpoints: checkpoint::Checkpoints,
    losses: losses::Losses,
    goals: goals::Goals,
    selection: Selection,
    parts: parts::Parts,
    readers: readers::Readers,
    sequential: bool,
    pieces: Pieces,
    picker: Picker,
    picker_rng: Rng,
    blame: Blame,
    peers: BTreeMap<ConnId, Peer>,
    candidates: Candidates,
    announcer: Announcer,
    lines: Lines<ConnId>,
    /// The disk's complaint, and when to try again.
    trouble: Option<(DiskFault, Instant)>,
    /// Peers that may be asked for blocks.
    sources: usize,
    /// Who took the last buffer when none was left.
    asked_last: ConnId,
    /// Something was fetched in this session.
    downloaded_any: bool,
    /// The application knows that everything wanted is there.
    finish_told: bool,
    /// Trackers know that everything is there.
    complete_announced: bool,
    /// Peers know that nothing more is wanted (BEP 21).
    upload_only_told: bool,
    /// Syncs under way.
    syncs: u32,
    goodbye_said: bool,
    /// Peers that may be unchoked at a time, and when that and who earns it was last decided.
    upload_slots: usize,
    last_round: Instant,
    downloaded: Rate,
    uploaded: Rate,
    /// What became of all payload that came.
    ledger: Ledger,
    failed_pieces: u32,
    dials_this_second: u32,
    last_tick: Instant,
}

impl Torrent {
    /// A torrent at its beginning; the look at the disk is under way.
    pub(crate) fn add(now: Instant, shared: &mut Shared, seed: &Seed, add: AddTorrent) -> Self {
        let AddTorrent {
            torrent: id,
            mut metainfo,
            extra_trackers,
            peers,
            check_only,
            paused,
            resume,
            force_check,
            priorities,
            sequential,
            goals,
        } = add;
        // They come with what is hashed.
        metainfo.piece_hashes = Vec::new();
        let resume = resume.map(|bytes| ResumeData::parse(&bytes, metainfo.info_hash, &metainfo.layout));
        let is_believed = matches!(resume, Some(Ok(_))) && !force_check && !check_only;
        let resume = match resume {
            Some(Ok(data)) => data,
            other => {
                if let Some(Err(error)) = other {
                    shared.notify(Notice::ResumeRefused { torrent: id, error });
                }
                ResumeData::new(metainfo.info_hash, &metainfo.layout)
            }
        };
        let mut candidates = Candidates::new(Rng::new(seed, Stream::Candidates, id.0));
        for addr in peers {
            candidates.add(now, addr, Source::Hand);
        }
        let announcer = tracking::new_announcer(now, shared, seed, id, &metainfo, extra_trackers);
        let mut torrent = Torrent {
            id,
            life: life::Life::new(paused),
            state: if paused { TorrentState::Paused } else { TorrentState::Checking },
            check_only,
            check: check::Check::default(),
            checkpoints: checkpoint::Checkpoints::new(resume, is_believed, &shared.config),
            losses: losses::Losses::default(),
            goals: goals::Goals::new(goals),
            selection: Selection::new(metainfo.layout.clone()),
            parts: parts::Parts::default(),
            readers: readers::Readers::default(),
            sequential,
            pieces: Pieces::new(metainfo.layout.clone()),
            picker: Picker::new(metainfo.layout.piece_count()),
            picker_rng: Rng::new(seed, Stream::Picker, id.0),
            blame: Blame::default(),
            peers: BTreeMap::new(),
            candidates,
            announcer,
            lines: Lines::default(),
            metainfo,
            trouble: None,
            sources: 0,
            asked_last: ConnId::accepted(0),
            downloaded_any: false,
            finish_told: false,
            complete_announced: false,
            upload_only_told: false,
            syncs: 0,
            goodbye_said: true,
            upload_slots: shared.config.upload_slots.min(FIRST_SLOTS),
            last_round: now,
            downloaded: Rate::default(),
            uploaded: Rate::default(),
            ledger: Ledger::default(),
            failed_pieces: 0,
            dials_this_second: 0,
            last_tick: now,
        };
        torrent.apply_priorities(&priorities);
        torrent.settle(now, shared);
        torrent
    }

    /// Peers named by hand.
    pub(crate) fn add_peers(&mut self, now: Instant, shared: &mut Shared, peers: Vec<SocketAddr>) {
        for addr in peers {
            self.candidates.add(now, addr, Source::Hand);
        }
        self.fill_dials(now, shared);
    }

    /// An operation of this torrent has ended.
    pub(crate) fn handle_done(&mut self, now: Instant, shared: &mut Shared, purpose: Purpose, outcome: Outcome) {
        match (purpose, outcome) {
            (Purpose::Stat, Outcome::Stat(stat)) => self.handle_stat(now, shared, stat),
            (Purpose::Losses, Outcome::Stat(stat)) => self.handle_look_for_losses(now, shared, stat),
            (Purpose::Check(piece), Outcome::Hash(hash)) => self.handle_checked(now, shared, piece, hash),
            (Purpose::Truncate, Outcome::Truncate(result)) | (Purpose::Prepare, Outcome::Prepare(result)) => {
                self.handle_prepared(now, shared, result);
            }
            (Purpose::Absorb { piece, first, hashing }, Outcome::Absorb { blocks, hash, written }) => {
                self.handle_absorbed(now, shared, (piece, first, hashing), blocks, hash, written);
            }
            (Purpose::ReadBack { piece }, Outcome::Hash(hash)) => self.handle_read_back(now, shared, piece, hash),
            (Purpose::Evidence { piece, id }, Outcome::Hash(hash)) => {
                self.handle_evidence(now, shared, (piece, id), hash);
            }
            (Purpose::Unpart(piece), Outcome::Unpart(result)) => self.handle_unparted(now, shared, piece, result),
            (Purpose::DropParts, Outcome::Sync(result)) => self.handle_parts_settled(now, shared, result),
            // What is left of it takes room on the disk and does no harm; the next start tries again.
            (Purpose::DropParts, Outcome::DropParts(_)) => self.handle_prepared(now, shared, Ok(())),
            (Purpose::Sync, Outcome::Sync(result)) => self.handle_synced(now, shared, result),
            (Purpose::Checkpoint(Step::Sync), Outcome::Sync(result)) => {
                self.handle_checkpoint_synced(now, shared, result);
            }
            (Purpose::Checkpoint(Step::Look), Outcome::Stat(stat)) => self.handle_looked(now, shared, stat),
            (Purpose::Checkpoint(Step::Save), Outcome::SaveResume(result)) => self.handle_saved(now, shared, result),
            (Purpose::Errand, Outcome::Move(result) | Outcome::Rename(result) | Outcome::Delete(result)) => {
                self.handle_errand_done(now, shared, result);
            }
            (Purpose::Announce(request), outcome) => self.handle_announce_done(now, shared, request, outcome),
            (purpose, outcome) => panic!("the driver answered {purpose:?} with {outcome:?}"),
        }
        self.run_errands(now, shared);
    }

    /// Once a second, while there is anybody to look at.
    pub(crate) fn handle_tick(&mut self, now: Instant, shared: &mut Shared) {
        self.judge_when_due(now, shared);
        if now.since(self.last_tick) >= TICK {
            self.last_tick = now;
            self.dials_this_second = 0;
            self.downloaded.tick();
            self.uploaded.tick();
            self.tick_peers(now, shared);
            self.blame.give_up_late(now);
            self.rechoke(now, shared);
            self.retry_disk(now, shared);
            self.request_more_peers(now, shared);
            self.note_totals(now, shared);
        }
        self.checkpoint_when_due(now, shared);
        self.fill_dials(now, shared);
        self.fill_all_requests(now, shared);
    }

    /// What it is called on the network.
    pub(crate) fn info_hash(&self) -> InfoHash {
        self.metainfo.info_hash
    }

    /// When [`Torrent::handle_tick`] is due.
    pub(crate) fn next_tick(&self, shared: &Shared) -> Option<Instant> {
        let due = [self.next_look_at_peers(), self.next_checkpoint(), self.next_judgement(shared)];
        due.into_iter().flatten().min()
    }

    fn next_look_at_peers(&self) -> Option<Instant> {
        let rates_live = self.downloaded.per_second() > 0 || self.uploaded.per_second() > 0;
        // Who rests asks the disk again when it goes on.
        let retrying = self.trouble.is_some() && !self.is_resting();
        if !self.peers.is_empty() || retrying || rates_live {
            return Some(self.last_tick + TICK);
        }
        // Not before the next second: an address that fails at once must not make the timer spin.
        let dialling = self.is_running().then(|| self.candidates.next_due()).flatten();
        dialling.map(|due| due.max(self.last_tick + TICK))
    }

    fn is_running(&self) -> bool {
        matches!(self.state, TorrentState::Downloading | TorrentState::Seeding | TorrentState::Troubled)
    }

    fn is_seeding(&self) -> bool {
        self.state == TorrentState::Seeding
    }

    /// Whether it is silent although nothing is being done with its files, and may go on at any time.
    fn is_resting(&self) -> bool {
        matches!(self.state, TorrentState::Paused | TorrentState::Queued | TorrentState::Finished(_))
    }

    /// The disk refused: stop asking for pieces, go on uploading, try again later.
    fn troubled(&mut self, now: Instant, shared: &mut Shared, fault: DiskFault) {
        if self.state == TorrentState::Stopped {
            return;
        }
        if self.trouble.is_none() {
            shared.notify(Notice::DiskTrouble { torrent: self.id, fault: fault.clone() });
        }
        self.trouble = Some((fault, now + shared.config.disk_retry));
        self.settle(now, shared);
        self.drop_all_requests(now, shared);
        self.lose_held(shared, |_| true);
    }

    fn retry_disk(&mut self, now: Instant, shared: &mut Shared) {
        let Some((fault, at)) = &self.trouble else { return };
        if *at > now {
            return;
        }
        match self.state {
            // Only when all is quiet: a late answer must not be taken for one of the next round.
            TorrentState::Checking if self.check.is_busy() => {}
            TorrentState::Checking => {
                self.trouble = None;
                self.check.begin_anew();
                self.settle(now, shared);
            }
            TorrentState::Troubled if self.losses.is_all_gone() => {
                let (fault, at) = (fault.clone(), now + shared.config.disk_retry);
                self.trouble = Some((fault.clone(), at));
                self.look_for_losses(shared, fault);
            }
            TorrentState::Troubled => {
                self.trouble = None;
                self.settle(now, shared);
                self.resume_stores(shared);
                self.prepare_again(shared);
                self.move_parts(shared);
                self.finish_when_complete(shared);
            }
            // Asked again when it goes on.
            TorrentState::Paused | TorrentState::Queued | TorrentState::Finished(_) | TorrentState::Moving => {}
            _ => self.trouble = None,
        }
    }

    /// The pieces that are verified and written.
    pub(crate) fn have(&self) -> &Bitfield {
        self.pieces.have()
    }

    /// How urgently a file is wanted.
    pub(crate) fn priority_of(&self, file: FileIndex) -> Priority {
        self.selection.of_file(file)
    }

    /// A picture of it.
    pub(crate) fn view(&self, shared: &Shared) -> TorrentView {
        let (seeded, seeding_since) = self.seeding_clock();
        let live = || self.peers.values().filter(|peer| peer.stage == Stage::Live);
        TorrentView {
            torrent: self.id,
            info_hash: self.metainfo.info_hash,
            name: self.metainfo.name.clone(),
            state: self.state,
            paused: self.life.is_paused(),
            pieces: self.metainfo.layout.piece_count(),
            have: self.pieces.have().count(),
            wanted: self.selection.wanted_pieces(),
            wanted_have: self.selection.wanted_pieces() - self.pieces.lacking_count(),
            checked: self.check.checked(),
            hashed: self.check.hashed(),
            total_bytes: self.metainfo.layout.total_len(),
            have_bytes: self.pieces.have_bytes(),
            wanted_bytes: self.selection.wanted_bytes(),
            left_bytes: self.pieces.lacking_bytes(),
            downloaded_bytes: self.ledger.total(),
            wasted_bytes: self.ledger.wasted(),
            ledger: self.ledger,
            failed_pieces: self.failed_pieces,
            lost_pieces: self.losses.count(),
            uploaded_bytes: self.uploaded.total(),
            total_downloaded_bytes: self.total_downloaded_bytes(),
            total_uploaded_bytes: self.total_uploaded_bytes(),
            checkpoints: self.checkpoints.saves(),
            upload_slots: self.upload_slots as u32,
            down_rate: self.downloaded.per_second(),
            up_rate: self.uploaded.per_second(),
            peers: live().count() as u32,
            seeds: live().filter(|peer| peer.is_seed()).count() as u32,
            swarm: self.announcer.swarm(),
            candidates: self.candidates.waiting() as u32,
            limits: self.limits(),
            trouble: self.trouble.as_ref().map(|(fault, _)| fault.clone()),
            complete: self.finish_told && self.is_in_place(),
            goals: self.seeding_goals(shared),
            goals_waived: self.goals.is_waived(),
            ratio_per_mille: self.ratio_per_mille(),
            seeded_s: seeded.as_secs(),
            seeding_since,
        }
    }

    /// Connections that are being dialled, requests under way, and buffers in use: to be compared with what is shared.
    pub(crate) fn census(&self) -> (usize, usize, usize) {
        let dialing = self.peers.values().filter(|peer| peer.stage == Stage::Dialing).count();
        (dialing, self.peers.values().map(|peer| peer.requested().len()).sum(), self.buffers())
    }

    /// Blocks on the way from distant peers.
    pub(crate) fn far_blocks(&self) -> usize {
        self.peers.values().map(|peer| peer.far_blocks as usize).sum()
    }

    fn buffers(&self) -> usize {
        let arriving = self.peers.values().filter_map(Peer::incoming).filter(|incoming| incoming.block.is_some());
        arriving.count() + self.pieces.iter_open().map(|(_, open)| open.buffers()).sum::<usize>()
    }

    /// Its connections.
    pub(crate) fn conns(&self) -> impl Iterator<Item = ConnId> {
        self.peers.keys().copied()
    }

    /// Connections with something to send.
    pub(crate) fn sending(&self) -> impl Iterator<Item = ConnId> {
        self.peers.values().filter(|peer| peer.tx_announced).map(|peer| peer.conn)
    }

    /// A picture of its peers.
    pub(crate) fn peer_views(&self) -> Vec<PeerView> {
        self.peers
            .values()
            .filter(|peer| peer.stage == Stage::Live)
            .map(|peer| peer.view(self.id, self.lines.down.turns.contains(peer.conn)))
            .collect()
    }

    /// One of its connections.
    pub(crate) fn peer_mut(&mut self, conn: ConnId) -> Option<&mut Peer> {
        self.peers.get_mut(&conn)
    }
}
