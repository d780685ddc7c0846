//! What the application decides once, at the start. Every limit has a line that says why.

use crate::time::Duration;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Settings of an engine. The defaults suit a home connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The port that we announce; 0 when nothing listens.
    pub listen_port: u16,
    /// Our own addresses, as far as known: a peer list that names one of them with our port names ourselves.
    pub own_ips: Vec<IpAddr>,
    /// Eight characters in front of our peer id (BEP 20).
    pub peer_id_prefix: [u8; 8],
    /// What we call ourselves to peers (BEP 10 `v`) and trackers (`User-Agent`).
    pub user_agent: String,
    /// Block buffers, 16 KiB each. It bounds what is asked for, and so the memory, whatever peers and disks do.
    /// 1,024 (16 MiB) keep 130 MiB/s busy at a delay of 100 ms.
    pub pool_blocks: usize,
    /// Of these, those that may be in use however near the peers are. Beyond them there are only as many as are on the way from distant peers (their rate
    /// times the time that they take to answer): near ones gain nothing from more. 0 counts as 1; `usize::MAX` makes no difference between near and distant.
    pub near_blocks: usize,
    /// Connections of the whole engine: each costs some 20 KiB, and most systems allow 1,024 files.
    pub max_connections: usize,
    /// Connections per torrent. Beyond some 50 a download gains nothing.
    pub max_connections_per_torrent: usize,
    /// Dials under way at a time: home routers drop more, and a list of dead peers must not look like a scan.
    pub max_half_open: usize,
    /// Questions to trackers that all torrents together have under way: thousands of torrents begin at once, and each takes a socket (of UDP only while a name is
    /// looked up: all share one). As long as there are fewer, one more torrent may begin, or ask a second tracker beside one that hangs. What is said
    /// in between, `completed` and scrapes, is counted and does not wait.
    pub max_announces: usize,
    /// A dial without an answer is given up after this long, so that dead candidates make room.
    pub dial_timeout: Duration,
    /// A handshake must be complete after this long (half-open floods).
    pub handshake_timeout: Duration,
    /// A peer that says nothing for this long is gone. Keep-alives come every two minutes (BEP 3), and may be some seconds late.
    pub idle_timeout: Duration,
    /// A request unanswered for this long makes the peer snubbed, and its blocks are asked of others.
    pub request_timeout: Duration,
    /// Peers unchoked at a time, per torrent, at most: how many there are follows what the line carries.
    pub upload_slots: usize,
    /// Hash operations under way while checking. A disk that hashes one piece at a time is busy with twice its threads; one that hashes several side by side wants as many times more.
    pub check_parallelism: usize,
    /// After `Command::Shutdown`, how long trackers may take to hear `stopped`.
    pub shutdown_timeout: Duration,
    /// A disk that refused is tried again after this long.
    pub disk_retry: Duration,
    /// There is a place to keep resume data: then it is saved. Without it `Operation::SaveResume` never comes.
    pub keep_resume: bool,
    /// What was verified is in resume data at most this long afterwards: it is what a crash may cost.
    pub checkpoint_interval: Duration,
    /// Or as soon as so many bytes were verified, so that a fast download loses no more than this.
    pub checkpoint_bytes: u64,
    /// When nothing but the totals has changed, this is soon enough: a seeder should let the disk sleep.
    pub totals_interval: Duration,
    /// When one peer is asked for several pieces in turns.
    pub turns: Turns,
    /// What all torrents together may receive and send. It can be changed at any time (`Command::SetLimits`).
    pub limits: RateLimits,
    /// How many torrents may be active. Without limits nobody waits: who names torrents wants them, and whoever adds hundreds sets limits. It can be
    /// changed at any time (`Command::SetActiveLimits`).
    pub active: ActiveLimits,
    /// When torrents that have no goals of their own have been seeded enough. It can be changed at any time (`Command::SetGoals`).
    pub goals: SeedingGoals,
}

/// A fast peer that has proven itself is asked for blocks of several pieces in turns, so that they can be hashed side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turns {
    /// One piece more for each so many bytes per second that it sends: below some 16 MiB/s hashing costs nothing worth the trouble.
    pub rate_per_piece: u64,
    /// Blocks in a turn: as many as are hashed and written at a time.
    pub blocks: u32,
}

impl Default for Turns {
    fn default() -> Self {
        Turns { rate_per_piece: 16 << 20, blocks: 16 }
    }
}

/// Limits in bytes per second; 0 is none, as in aria2.
///
/// What is counted is what goes over peers' sockets: handshakes, messages and payload, but not TCP's own headers, nor trackers. In each second no more
/// than the limit and one block (16 KiB; above 800 KiB/s: a fiftieth of the limit) is received, and payload is sent only while no more than that stands
/// above the limit. Messages are counted and never held back: a slow upload must not slow the download.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RateLimits {
    /// Received.
    pub down: u64,
    /// Sent.
    pub up: u64,
}

/// How many torrents may be active at a time; `None` is as many as there are. The others wait for a place in the order of the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ActiveLimits {
    /// Torrents that download, or try to.
    pub downloads: Option<u32>,
    /// Torrents that have everything that is wanted of them, and give it.
    pub seeds: Option<u32>,
}

/// When a torrent has been seeded enough; `None` is never. With both, whichever is reached first ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeedingGoals {
    /// Payload sent, in thousandths of what was received and verified, or of what is wanted where that is more: a torrent that was there when it was
    /// added has received nothing. Former sessions count, as far as resume data tells of them. Looked at once a second.
    pub ratio_per_mille: Option<u32>,
    /// Time of seeding, in this session and in those that resume data tells of. Being paused, queued, moved or checked is not seeding.
    pub time: Option<Duration>,
}

/// A seeding goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Goal {
    /// [`SeedingGoals::ratio_per_mille`].
    Ratio,
    /// [`SeedingGoals::time`].
    Time,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            listen_port: 6881,
            own_ips: Vec::new(),
            peer_id_prefix: *b"-SM0001-",
            user_agent: String::from(concat!("sameseed/", env!("CARGO_PKG_VERSION"))),
            pool_blocks: 1024,
            near_blocks: 512,
            max_connections: 400,
            max_connections_per_torrent: 100,
            max_half_open: 30,
            max_announces: 200,
            dial_timeout: Duration::from_secs(8),
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(140),
            request_timeout: Duration::from_secs(30),
            upload_slots: 32,
            check_parallelism: 4,
            shutdown_timeout: Duration::from_secs(4),
            disk_retry: Duration::from_secs(15),
            keep_resume: false,
            checkpoint_interval: Duration::from_secs(30),
            checkpoint_bytes: 64 << 20,
            totals_interval: Duration::from_secs(600),
            turns: Turns::default(),
            limits: RateLimits::default(),
            active: ActiveLimits::default(),
            goals: SeedingGoals::default(),
        }
    }
}
