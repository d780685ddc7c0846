//! What an announcer is made of, what it is told, and what it says. Words only: nothing is decided here.

use crate::action::{Operation, TrackerFailure};
use crate::event::Outcome;
use crate::id::{InfoHash, PeerId};
use crate::time::Duration;
use crate::tracker::Swarm;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};

/// What an announcer is made of.
#[derive(Clone, Debug)]
pub(crate) struct AnnounceConfig {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who we are.
    pub peer_id: PeerId,
    /// The port that we announce; 0 when nothing listens.
    pub listen_port: u16,
    /// The `User-Agent` header.
    pub user_agent: String,
    /// BEP 12 tiers in file order. At most [`MAX_TRACKERS`](super::MAX_TRACKERS) of them are used, each URL once.
    pub tiers: Vec<Vec<String>>,
    /// How long goodbyes may take after [`AnnounceEvent::Stop`].
    pub stop_timeout: Duration,
}

/// Something that the announcer is told.
#[derive(Debug)]
pub(crate) enum AnnounceEvent<'a> {
    /// The torrent runs: begin. While goodbyes are under way it cuts them short, and no [`AnnounceOutput::Stopped`] follows.
    Start,
    /// The download was completed in this session (not: found complete by the check).
    Completed,
    /// The torrent stops: say goodbye, and scrape nobody who was to be scraped until now. Ends with [`AnnounceOutput::Stopped`].
    Stop,
    /// The time named by [`Announcer::poll_timeout`](super::Announcer::poll_timeout) has come.
    Tick,
    /// There are too few peers: ask again as soon as the trackers allow.
    WantPeers,
    /// The user wants to ask now: as soon as the trackers allow, though others have failed just before.
    Again,
    /// Somebody wants to know how large the swarm is: every tracker is scraped, also while nothing is announced. Those that were just before,
    /// or cannot be, are left out.
    Scrape,
    /// Nobody wants to know any more.
    EndScrapes,
    /// Trackers given by hand, each a tier of its own after the others.
    AddTrackers(Vec<String>),
    /// These tiers and no others; who goes is told `stopped`.
    ReplaceTrackers(Vec<Vec<String>>),
    /// An operation has ended.
    Done {
        /// The number given in [`AnnounceOutput::Submit`].
        request: RequestId,
        /// How; one of `Resolve` and `Fetch`.
        outcome: Outcome,
    },
    /// A datagram that [`Announcer::expects_datagram`](super::Announcer::expects_datagram).
    Datagram {
        /// Who sent it.
        from: SocketAddr,
        /// Its contents.
        bytes: &'a [u8],
    },
}

/// Something that the announcer wants or reports.
#[derive(Clone, Debug)]
pub(crate) enum AnnounceOutput {
    /// Begin an operation; answer with [`AnnounceEvent::Done`].
    Submit {
        /// Its number in this announcer.
        request: RequestId,
        /// `Resolve` or `Fetch`.
        operation: Operation,
    },
    /// Give an operation up. Its end is no longer of interest.
    Abort {
        /// Its number.
        request: RequestId,
    },
    /// Send a datagram.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// Peers that a tracker named; never empty. We ourselves may be among them.
    Peers(Vec<SocketAddr>),
    /// A tracker says where we are (BEP 24).
    OwnIp {
        /// The tracker's address.
        from: IpAddr,
        /// Ours, as it says.
        said: IpAddr,
    },
    /// A tracker answered.
    Answered {
        /// Its URL, without query.
        url: String,
        /// How many usable peers it named.
        peers: u32,
        /// When it will be asked again.
        next_in: Duration,
        /// Its `warning message`, cleaned.
        warning: Option<String>,
    },
    /// A tracker could not be asked, or refused.
    Failed {
        /// Its URL, without query.
        url: String,
        /// Why.
        reason: TrackerFailure,
    },
    /// A tracker was scraped.
    Scraped {
        /// Its URL, without query.
        url: String,
        /// What it said.
        result: Result<Swarm, TrackerFailure>,
    },
    /// Every tracker that had heard of us has heard `stopped`, or was given up.
    Stopped,
}

/// An operation's number, within one announcer; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RequestId(pub u64);
