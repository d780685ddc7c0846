//! A read-only picture of the engine, for user interfaces, statistics and checkers. Taking one changes nothing.

use crate::action::TrackerFailure;
use crate::config::{ActiveLimits, Goal, RateLimits, SeedingGoals};
use crate::fault::DiskFault;
use crate::id::{ConnId, InfoHash, PeerId, TorrentId};
use crate::ledger::Ledger;
use crate::time::Instant;
use crate::tracker::Swarm;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// One torrent at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TorrentView {
    /// Its number.
    pub torrent: TorrentId,
    /// Its info-hash.
    pub info_hash: InfoHash,
    /// Its name, cleaned.
    pub name: String,
    /// What it is doing.
    pub state: TorrentState,
    /// It was told to be paused. (A check that was asked for still runs.)
    pub paused: bool,
    /// Pieces in all.
    pub pieces: u32,
    /// Pieces verified and written.
    pub have: u32,
    /// Pieces that are wanted: those that touch a selected file.
    pub wanted: u32,
    /// Of those, pieces verified and written.
    pub wanted_have: u32,
    /// While checking: pieces looked at.
    pub checked: u32,
    /// Of those, pieces that were read and hashed. The others are not there, or known from resume data.
    pub hashed: u32,
    /// Bytes in all, pad files included.
    pub total_bytes: u64,
    /// Bytes of verified pieces.
    pub have_bytes: u64,
    /// Bytes of the pieces that are wanted.
    pub wanted_bytes: u64,
    /// Of those, bytes of pieces that are not verified yet.
    pub left_bytes: u64,
    /// Payload received since the start: the sum of `ledger`.
    pub downloaded_bytes: u64,
    /// Of those, what was not of use.
    pub wasted_bytes: u64,
    /// What became of each of them.
    pub ledger: Ledger,
    /// Pieces that failed their hash since the start.
    pub failed_pieces: u32,
    /// Pieces that were had and found to be gone from the disk since the start.
    pub lost_pieces: u32,
    /// Payload handed to the network since the start.
    pub uploaded_bytes: u64,
    /// Payload verified, over all sessions that resume data remembers.
    pub total_downloaded_bytes: u64,
    /// Payload handed to the network, over all sessions that resume data remembers.
    pub total_uploaded_bytes: u64,
    /// How often resume data was saved in this session.
    pub checkpoints: u32,
    /// Peers that may be unchoked at a time: it follows what is sent.
    pub upload_slots: u32,
    /// Bytes per second, received payload.
    pub down_rate: u64,
    /// Bytes per second, sent payload.
    pub up_rate: u64,
    /// Peers that have shaken hands.
    pub peers: u32,
    /// Of those, peers that have everything.
    pub seeds: u32,
    /// How large the swarm is, as trackers said last: of each number the largest.
    pub swarm: Swarm,
    /// Addresses that could be dialled.
    pub candidates: u32,
    /// Its own limits of rate.
    pub limits: RateLimits,
    /// The disk's complaint, while there is one.
    pub trouble: Option<DiskFault>,
    /// Everything that is wanted is there and safe, whether or not it may be given now; `Notice::Complete` has told so.
    pub complete: bool,
    /// When it has been seeded enough: its own goals, or those of all.
    pub goals: SeedingGoals,
    /// A resume has waived them.
    pub goals_waived: bool,
    /// Payload sent, in thousandths of what was verified or is wanted, whichever is more, over all sessions that resume data remembers.
    pub ratio_per_mille: u64,
    /// Seconds of seeding over all sessions that resume data remembers, until it last began.
    pub seeded_s: u64,
    /// Since when it is seeding, while it is.
    pub seeding_since: Option<Instant>,
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TorrentState {
    /// Reading what is on disk.
    Checking,
    /// Fetching pieces.
    Downloading,
    /// Everything that is wanted is there.
    Seeding,
    /// The disk refuses; tried again after a while.
    Troubled,
    /// Told to be silent.
    Paused,
    /// Silent, until there is a place for it (`Config::active`); it goes on by itself.
    Queued,
    /// It has everything that is wanted and has reached this seeding goal: silent, unless it is resumed or its goals are changed.
    Finished(Goal),
    /// Its files are being moved or renamed.
    Moving,
    /// Saying goodbye, or gone.
    Stopped,
}

/// One tracker of a torrent at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerView {
    /// Its URL, without query: that may hold a passkey.
    pub url: String,
    /// Its tier (BEP 12); the first is 0.
    pub tier: u32,
    /// How many usable peers it named in its last answer since the torrent was started.
    pub peers: Option<u32>,
    /// How it has failed since.
    pub failure: Option<TrackerFailure>,
    /// How large the swarm is, as it said last.
    pub swarm: Swarm,
}

/// One peer at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// The connection.
    pub conn: ConnId,
    /// Its torrent.
    pub torrent: TorrentId,
    /// Its address.
    pub addr: SocketAddr,
    /// What it calls itself.
    pub peer_id: PeerId,
    /// Its client, from BEP 10.
    pub client: String,
    /// We choke it.
    pub am_choking: bool,
    /// It has an upload slot because it sends us more than others, not in its turn.
    pub has_earned_slot: bool,
    /// It chokes us.
    pub peer_choking: bool,
    /// We want something from it.
    pub am_interested: bool,
    /// It wants something from us.
    pub peer_interested: bool,
    /// Pieces it has.
    pub pieces: u32,
    /// How often it took a piece back that it had announced (BEP 54).
    pub taken_back: u32,
    /// Blocks asked of it and not yet here.
    pub requested: u32,
    /// How many may be.
    pub window: u32,
    /// Bytes per second from it.
    pub down_rate: u64,
    /// Bytes per second from it that were verified, over some twenty seconds: what it is judged by when slots are given.
    pub useful_rate: u64,
    /// Bytes per second to it.
    pub up_rate: u64,
    /// What became of all payload from it.
    pub ledger: Ledger,
    /// Payload to it that the network took.
    pub uploaded_bytes: u64,
    /// It left a request unanswered for too long.
    pub snubbed: bool,
    /// It may not send more for the moment: a limit of ours holds it back.
    pub held_back: bool,
}

/// What a torrent needs a place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Downloading.
    Download,
    /// Seeding.
    Seed,
}

/// Torrents that ask for one kind of place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineView {
    /// They have it.
    pub active: u32,
    /// They wait for it.
    pub waiting: u32,
}

/// Who may be active.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueView {
    /// How many torrents may be.
    pub limits: ActiveLimits,
    /// All torrents, the first first. Of those that ask for a kind of place the first have it.
    pub order: Vec<TorrentId>,
    /// Torrents that ask for a place to download.
    pub downloads: LineView,
    /// Torrents that ask for a place to seed.
    pub seeds: LineView,
}

/// All torrents and the shared resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Every torrent, in order of number.
    pub torrents: Vec<TorrentView>,
    /// Connections, dials under way included.
    pub connections: u32,
    /// Dials under way.
    pub half_open: u32,
    /// Block buffers: capacity, reserved for requests, holding data.
    pub pool: (u32, u32, u32),
    /// Operations under way.
    pub operations: u32,
    /// Hosts that are refused, whole or in part, because wrong bytes came from there.
    pub banned: u32,
    /// Our addresses as trackers and most peers see them (BEP 24, BEP 10): at most one of each family, nearby and in the world.
    pub external_ips: Vec<IpAddr>,
    /// Limits of rate of all torrents together.
    pub limits: RateLimits,
    /// Who may be active.
    pub queue: QueueView,
}
