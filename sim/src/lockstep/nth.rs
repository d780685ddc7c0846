//! Fail the n-th: one small fixed swarm, rerun with one blow at an exact place. Random faults find what is likely; this leaves no gap.
//!
//! The world counts the places where a blow could strike; a run without a blow tells how many there are.

use super::disk::Crash;
use super::faults::Fault;
use super::link::LinkId;
use super::scenario::{Client, Scenario};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::time::Duration;

/// How long a client that was struck down stays away.
pub(super) const BACK_AFTER: Duration = Duration::from_secs(5);
/// Bytes at the beginning of the first link, each of which is tried: the handshake, the bitfield, the first requests and blocks.
const EVERY_BYTE: u64 = 2000;
/// Later bytes, and other links, are tried in steps of so many bytes: a prime, so that messages are hit all over.
const BYTE_STRIDE: u64 = 1009;

/// One blow, at an exact place of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// The n-th disk operation of the swarm fails; of a write nothing, a part or all is done.
    Disk {
        /// Which one, from 0.
        n: u64,
        /// How it fails.
        kind: DiskFaultKind,
    },
    /// The n-th block to be uploaded cannot be read.
    Serve {
        /// Which one, from 0.
        n: u64,
    },
    /// A link is cut when so many bytes of one direction have gone through.
    Cut {
        /// Which link, in order of their beginning.
        link: LinkId,
        /// Whose bytes: 0 for the one that dialled.
        side: usize,
        /// How many.
        byte: u64,
    },
    /// The n-th datagram, there or back, is lost.
    Datagram {
        /// Which one, from 0.
        n: u64,
    },
    /// The client that is about to carry out the n-th action of the swarm dies instead, and comes back.
    Crash {
        /// Which one, from 0.
        n: u64,
        /// What becomes of writes that were not synced.
        crash: Crash,
        /// Its peers are not told.
        silence: bool,
    },
    /// The client that has just carried out the n-th action of the swarm is told to stop, and comes back.
    Leave {
        /// Which one, from 0.
        n: u64,
    },
}

/// What becomes of a client at an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on.
    Lives,
    /// It dies instead of carrying it out, with so much of its unsynced writes, and perhaps without a word to its peers.
    Dies(Crash, bool),
    /// It is told to stop when it has carried it out.
    Leaves,
}

/// Places where a blow can strike, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Disk operations.
    pub disk: u64,
    /// Blocks uploaded.
    pub serves: u64,
    /// Datagrams.
    pub datagrams: u64,
    /// Actions.
    pub actions: u64,
    /// Bytes of both directions of each link.
    pub links: Vec<[u64; 2]>,
}

/// The blow of a world, and how far it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Nth {
    /// What is to strike.
    pub blow: Option<Blow>,
    /// Everybody has finished: who dies now would not come back in time for the audit.
    pub is_over: bool,
    /// What was counted so far.
    pub places: Places,
}

/// Counts one more, and gives the number that it has.
fn next(count: &mut u64) -> u64 {
    *count += 1;
    *count - 1
}

impl Nth {
    /// A disk operation is about to run.
    pub(super) fn disk(&mut self) -> Option<DiskFaultKind> {
        let this = next(&mut self.places.disk);
        match self.blow {
            Some(Blow::Disk { n, kind }) if n == this => Some(kind),
            _ => None,
        }
    }

    /// A block is about to be read for a peer.
    pub(super) fn serve(&mut self) -> Option<DiskFault> {
        let this = next(&mut self.places.serves);
        let struck = self.blow == Some(Blow::Serve { n: this });
        struck.then(|| DiskFault { kind: DiskFaultKind::Io, path: String::from("disk"), detail: String::from("blow") })
    }

    /// A datagram is on its way; whether it is lost.
    pub(super) fn datagram(&mut self) -> bool {
        self.blow == Some(Blow::Datagram { n: next(&mut self.places.datagrams) })
    }

    /// An action is about to be carried out; what becomes of its client.
    pub(super) fn action(&mut self) -> Fate {
        if self.is_over {
            return Fate::Lives;
        }
        let this = next(&mut self.places.actions);
        match self.blow {
            Some(Blow::Crash { n, crash, silence }) if n == this => Fate::Dies(crash, silence),
            Some(Blow::Leave { n }) if n == this => Fate::Leaves,
            _ => Fate::Lives,
        }
    }

    /// A link begins; after how many bytes of each side it is cut.
    pub(super) fn connected(&mut self) -> [Option<u64>; 2] {
        let this = self.places.links.len() as LinkId;
        self.places.links.push([0; 2]);
        [0, 1].map(|end| match self.blow {
            Some(Blow::Cut { link, side, byte }) if link == this && side == end => Some(byte),
            _ => None,
        })
    }

    /// Bytes go over a link.
    pub(super) fn sent(&mut self, link: LinkId, side: usize, bytes: u64) {
        self.places.links[link as usize][side] += bytes;
    }
}

/// The small swarm: a seeder and three leechers, twelve pieces of three blocks, three files, and two trackers. The one by HTTP
/// refuses most of the time, so that the one by UDP is asked too.
pub fn swarm() -> Scenario {
    let leecher = |peers: &[usize]| Client { peers: peers.to_vec(), ..Client::leecher() };
    // It spills blocks that are out of order, and reads them back.
    let small = Client { pool_blocks: 2, ..leecher(&[0]) };
    Scenario {
        piece_len: 40_000,
        file_lens: vec![150_001, 0, 320_500],
        clients: vec![Client::seeder(), small, leecher(&[]), leecher(&[0, 2])],
        trackers: vec![(false, Some(Fault::TrackerRefuses)), (true, None)],
        ..Scenario::plain()
    }
}

/// Every blow that the places of the swarm allow, kind by kind.
pub fn blows(places: &Places) -> Vec<Blow> {
    let mut blows = Vec::new();
    // Not `Short` or `NotFound`: what is said to be missing is not asked for again, and the only seeder would lack it for good.
    for kind in [DiskFaultKind::Io, DiskFaultKind::Full] {
        blows.extend((0..places.disk).map(|n| Blow::Disk { n, kind }));
    }
    blows.extend((0..places.serves).map(|n| Blow::Serve { n }));
    blows.extend((0..places.datagrams).map(|n| Blow::Datagram { n }));
    for crash in [Crash::Kept, Crash::Lost, Crash::Torn] {
        for silence in [false, true] {
            blows.extend((0..places.actions).map(|n| Blow::Crash { n, crash, silence }));
        }
    }
    blows.extend((0..places.actions).map(|n| Blow::Leave { n }));
    for (link, sides) in places.links.iter().enumerate() {
        let link = link as LinkId;
        let all = if link == 0 { EVERY_BYTE } else { 0 };
        for (side, bytes) in sides.iter().enumerate() {
            blows.extend((0..all.min(*bytes)).map(|byte| Blow::Cut { link, side, byte }));
            let rest = (all + link..*bytes).step_by(BYTE_STRIDE as usize);
            blows.extend(rest.map(|byte| Blow::Cut { link, side, byte }));
        }
    }
    blows
}
