//! Why it is not faster: causes in the order in which they matter, each with its facts, and each one plain sentence.
//!
//! Vocabulary only. What holds is read from the engine's own state by `torrent::explain`, when somebody asks; nothing is decided by it.

#[cfg(test)]
mod tests;
mod words;

use crate::action::TrackerFailure;
use crate::config::Goal;
use crate::fault::DiskFault;
use crate::id::PieceIndex;
use crate::time::Duration;
use crate::view::Place;
use alloc::string::String;
use alloc::vec::Vec;

/// What stands between a torrent, or one connection, and more speed.
///
/// ```
/// use sameseed_core::explain::{Cause, Explanation};
///
/// let explanation = Explanation { down: vec![Cause::Paused], up: vec![] };
/// assert_eq!(explanation.top().unwrap().to_string(), "it is paused; resume it to go on");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Why nothing, or no more, is received. The most decisive cause first; never empty.
    pub down: Vec<Cause>,
    /// Why nothing, or no more, is sent. The most decisive cause first; empty while `down` says why nothing is done at all.
    pub up: Vec<Cause>,
}

impl Explanation {
    /// What matters most: of what is received, or, when everything is here, of what is sent.
    pub fn top(&self) -> Option<&Cause> {
        let mut all = self.down.iter().chain(&self.up);
        all.find(|cause| !matches!(cause, Cause::Complete { .. })).or(self.down.first())
    }
}

/// Whose limit it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Whose {
    /// The torrent's own.
    Torrent,
    /// That of all torrents together.
    All,
}

/// Some pieces: how many, and the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PieceList {
    /// The first ones, in order: at most [`PieceList::MAX_NAMED`].
    pub first: Vec<PieceIndex>,
    /// How many there are.
    pub count: u32,
}

impl PieceList {
    /// How many are named: more than a person would read, and a torrent may lack a million.
    pub const MAX_NAMED: usize = 5;

    /// One more; they come in order.
    pub(crate) fn push(&mut self, piece: PieceIndex) {
        self.count += 1;
        if self.first.len() < Self::MAX_NAMED {
            self.first.push(piece);
        }
    }
}

/// One cause. Times are from the moment of asking, since the engine knows no wall clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was told to pause.
    Paused,
    /// It waits for a place among the active torrents.
    Queued {
        /// What for.
        place: Place,
        /// Torrents that come before it and ask for the same.
        ahead: u32,
        /// How many may be active.
        limit: u32,
    },
    /// A seeding goal is reached.
    SeededEnough {
        /// Which.
        goal: Goal,
    },
    /// It is being removed, or everything is being shut down.
    Leaving,
    /// It was added to be checked only, and has been.
    OnlyChecked,
    /// Its files are being moved or renamed.
    Moving,
    /// No file is selected.
    NothingSelected,
    /// Everything that is wanted is here.
    Complete {
        /// That is the whole torrent.
        whole: bool,
    },
    /// The disk refuses.
    DiskRefuses {
        /// What it said.
        fault: DiskFault,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// A check was asked for and waits until the disk has done what is under way.
    CheckWaits,
    /// What is on the disk is being looked at.
    Checking {
        /// Pieces looked at.
        checked: u32,
        /// Pieces in all.
        pieces: u32,
    },
    /// Everything that is wanted has come and is being brought to stable storage.
    Finishing,
    /// Whole pieces have come and wait for the disk, and there is nothing else to ask for.
    WritesAwaited {
        /// How many.
        pieces: u32,
    },
    /// No block buffer is free, so nothing more can be asked for.
    BuffersFull {
        /// Block buffers in all.
        buffers: u32,
        /// Of those, buffers that hold data and wait for the disk, or for the rest of their run.
        filled: u32,
    },
    /// There is no tracker, and no address to try.
    NobodyKnown,
    /// No tracker has answered or failed yet.
    TrackersAwaited {
        /// How many are being asked.
        asked: u32,
        /// Since the first of them was asked.
        waited: Duration,
    },
    /// Trackers fail.
    TrackersFail {
        /// How many.
        failing: u32,
        /// Trackers in all.
        trackers: u32,
        /// The one that failed last, without its query.
        url: String,
        /// How.
        reason: TrackerFailure,
        /// Since the first of them that fail was asked in vain.
        silent: Duration,
        /// When the next one is asked; `None` when nobody is to be asked again.
        next_in: Option<Duration>,
    },
    /// Trackers answer, and name nobody.
    NobodyNamed {
        /// How many have answered.
        trackers: u32,
        /// When the next one is asked.
        next_in: Option<Duration>,
    },
    /// The only addresses that are known are our own.
    OnlyOurselves {
        /// When the next tracker is asked.
        next_in: Option<Duration>,
    },
    /// Everybody who was known is banned.
    AllBanned {
        /// Banned hosts.
        hosts: u32,
        /// When the next tracker is asked.
        next_in: Option<Duration>,
    },
    /// No address that is known could be connected to, or kept its connection.
    NobodyAnswers {
        /// How many were tried.
        addresses: u32,
        /// When the next one is tried; zero while one is.
        next_in: Duration,
    },
    /// Addresses wait to be dialled again.
    RedialWaits {
        /// How many.
        addresses: u32,
        /// When the next one is dialled.
        next_in: Duration,
    },
    /// Everybody who is known has all that is wanted, as we do.
    NothingToTrade {
        /// How many.
        addresses: u32,
    },
    /// Connections are being made.
    Connecting {
        /// Dialled, without an answer.
        dialing: u32,
        /// Connected, and their handshake has not come.
        handshaking: u32,
        /// Since the first of them began.
        waited: Duration,
    },
    /// There are as many connections as there may be.
    ConnectionsFull {
        /// Whose limit it is.
        whose: Whose,
        /// The limit.
        limit: u32,
        /// Addresses that could be dialled now.
        waiting: u32,
    },
    /// Peers that have something for us choke us.
    Choked {
        /// How many.
        choking: u32,
        /// Peers that have something for us.
        of: u32,
    },
    /// No connected peer has any piece.
    PeersHaveNothing {
        /// Connected peers.
        peers: u32,
    },
    /// Pieces that we lack are at nobody who is connected.
    PiecesNowhere {
        /// Which.
        pieces: PieceList,
        /// How often the whole torrent is there at those connected and us together, in thousandths.
        copies_per_mille: u32,
    },
    /// Pieces failed their hash and are being fetched again from one peer at a time.
    PiecesSuspected {
        /// Which.
        pieces: PieceList,
    },
    /// All peers that may be asked leave requests unanswered.
    Snubbed {
        /// How many.
        peers: u32,
    },
    /// All that is left is asked for, and has not come.
    LastBlocks {
        /// Requests under way.
        requests: u32,
        /// At so many peers.
        peers: u32,
        /// Since the oldest was sent.
        waited: Duration,
    },
    /// Blocks are asked for, and have not come.
    AnswersAwaited {
        /// Requests under way.
        requests: u32,
        /// At so many peers.
        peers: u32,
        /// Since the oldest was sent.
        waited: Duration,
    },
    /// Peers that may be asked are still sending blocks that were given up; there is nothing else to ask of them.
    GivenUpArriving {
        /// How many.
        peers: u32,
    },
    /// Who was asked has refused, or gone; others are asked when peers are looked at next.
    AskedNext {
        /// Pieces that they have and that nobody is asked for.
        pieces: u32,
        /// Until then.
        next_in: Duration,
    },
    /// A limit of rate holds back what is received.
    DownLimit {
        /// Whose limit it is.
        whose: Whose,
        /// The limit, in bytes per second.
        bytes_per_s: u64,
        /// Peers that wait for their turn to send.
        waiting: u32,
    },
    /// It comes as fast as peers send it.
    Receiving {
        /// Peers that were asked for something.
        peers: u32,
        /// Payload from them, in bytes per second.
        bytes_per_s: u64,
    },
    /// No connected peer wants anything from us.
    NobodyInterested {
        /// Connected peers.
        peers: u32,
    },
    /// The settings allow no upload slot.
    NoSlots,
    /// Peers wait for an upload slot.
    SlotsTaken {
        /// Upload slots.
        slots: u32,
        /// Of those, slots of peers that send us more than others.
        earned: u32,
        /// Peers that wait.
        waiting: u32,
        /// When the next turn begins.
        next_in: Duration,
    },
    /// A limit of rate holds back what is sent.
    UpLimit {
        /// Whose limit it is.
        whose: Whose,
        /// The limit, in bytes per second.
        bytes_per_s: u64,
        /// Blocks that peers have asked for and wait for.
        waiting: u32,
    },
    /// It goes as fast as peers take it.
    Sending {
        /// Peers with an upload slot.
        peers: u32,
        /// Payload to them, in bytes per second.
        bytes_per_s: u64,
    },
    /// Peers that may ask us ask for nothing.
    AskNothing {
        /// How many.
        peers: u32,
        /// Since one of them asked last.
        waited: Duration,
    },
    /// Peers do not take what waits for them.
    NotReading {
        /// How many.
        peers: u32,
        /// Since one of them last took anything.
        waited: Duration,
    },
    /// This peer was dialled and has not answered.
    Dialing {
        /// Since then.
        waited: Duration,
        /// When it is given up.
        gives_up_in: Duration,
    },
    /// This peer is connected and its handshake has not come.
    Handshaking {
        /// Since it was connected.
        waited: Duration,
        /// When it is given up.
        gives_up_in: Duration,
    },
    /// This peer has something for us and chokes us.
    ChokesUs,
    /// This peer has nothing that we lack.
    HasNothingForUs {
        /// Pieces that it has.
        pieces: u32,
    },
    /// This peer leaves requests unanswered.
    Snubs {
        /// Since it last sent something that was asked for, or was last given up.
        waited: Duration,
    },
    /// As many requests as this peer, or our buffers, allow are under way.
    WindowFull {
        /// Requests under way.
        requests: u32,
        /// The shortest time from a request to its block.
        round_trip: Duration,
        /// What can come with that, in bytes per second.
        most_bytes_per_s: u64,
    },
    /// What this peer has and we lack is asked of others, or waits for the disk.
    AskedElsewhere {
        /// Pieces.
        pieces: u32,
    },
    /// This peer wants nothing from us.
    NotInterested,
    /// This peer waits for an upload slot.
    ChokedByUs {
        /// Upload slots.
        slots: u32,
        /// Of those, slots of peers that send us more than others.
        earned: u32,
        /// Peers that come before it.
        ahead: u32,
        /// When the next turn begins.
        next_in: Duration,
    },
}
