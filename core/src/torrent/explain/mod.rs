//! Why a torrent is not faster, from what it knows: read when somebody asks, and for nobody else.
//!
//! Changes nothing and decides nothing. Of several causes the one comes first that would still hold everything up if all others were gone.
//! `sources` tells why nobody is there, `giving` what holds back what is sent, and `peer` speaks of one connection.

mod giving;
mod peer;
mod sources;

pub(crate) use peer::why_not_live;

use super::request::may_ask;
use super::{Shared, TICK, Torrent};
use crate::explain::{Cause, Explanation, PieceList, Whose};
use crate::id::PieceIndex;
use crate::peer::{Peer, Stage};
use crate::pieces::OpenPiece;
use crate::time::{Duration, Instant};
use crate::view::{Place, TorrentState};
use alloc::vec;
use alloc::vec::Vec;

/// A flow that comes so near to a limit, in per cent, is held back by it.
const NEAR_LIMIT_PER_CENT: u64 = 80;

/// The connected peers, counted by what they are to us.
#[derive(Clone, Copy, Debug, Default)]
struct Crowd {
    /// They have shaken hands.
    live: u32,
    /// Of those, peers that have any piece.
    having: u32,
    /// They have something that we lack.
    useful: u32,
    /// Of the useful, peers that choke us.
    choking: u32,
    /// The other useful ones: they may be asked.
    free: u32,
    /// Of the free, peers that keep us waiting.
    snubbed: u32,
    /// Of the free, peers that are in the midst of a block that was given up.
    late: u32,
    /// Peers with requests under way, and these.
    asked: u32,
    requests: u32,
    /// When the oldest request under way was sent.
    oldest: Option<Instant>,
    /// Peers that wait for their turn to send.
    in_line: u32,
}

impl Crowd {
    /// How long the oldest request has been under way.
    fn waited(&self, now: Instant) -> Duration {
        self.oldest.map_or(Duration::ZERO, |sent| now.since(sent))
    }
}

/// What a piece waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    /// For the disk: all blocks are here, or the disk has lost them.
    Disk,
    /// For blocks that are asked for.
    Answers,
    /// For one author, after it failed.
    Author,
    /// For somebody to be asked.
    Asking,
}

/// The pieces that are wanted and lacking, by what they wait for.
#[derive(Clone, Debug, Default)]
struct Lacking {
    /// For the disk: all blocks are here, or the disk has lost them.
    at_disk: u32,
    /// For blocks that are asked for.
    asked: u32,
    /// For blocks that can be asked for.
    unasked: u32,
    /// For somebody who has them.
    nowhere: PieceList,
    /// For one author, after they failed.
    suspected: PieceList,
}

impl Torrent {
    /// Why it is not faster.
    pub(crate) fn explain(&self, now: Instant, shared: &Shared) -> Explanation {
        Explanation { down: self.why_not_down(now, shared), up: self.why_not_up(now, shared) }
    }

    fn why_not_down(&self, now: Instant, shared: &Shared) -> Vec<Cause> {
        match self.state {
            TorrentState::Stopped if self.is_leaving() => vec![Cause::Leaving],
            TorrentState::Stopped => vec![Cause::OnlyChecked],
            TorrentState::Moving => vec![Cause::Moving],
            TorrentState::Paused => vec![Cause::Paused],
            TorrentState::Queued => vec![self.queued(shared)],
            TorrentState::Finished(goal) => vec![Cause::SeededEnough { goal }],
            TorrentState::Checking => vec![self.disk_trouble(now).unwrap_or_else(|| self.checking())],
            TorrentState::Seeding => vec![self.complete()],
            TorrentState::Troubled => self.disk_trouble(now).into_iter().collect(),
            TorrentState::Downloading if self.wants_nothing() => vec![Cause::NothingSelected],
            TorrentState::Downloading if self.pieces.is_finished() => vec![Cause::Finishing],
            TorrentState::Downloading => self.why_not_faster(now, shared),
        }
    }

    /// The disk's complaint, while there is one.
    fn disk_trouble(&self, now: Instant) -> Option<Cause> {
        let (fault, at) = self.trouble.as_ref()?;
        Some(Cause::DiskRefuses { fault: fault.clone(), retry_in: at.since(now) })
    }

    fn queued(&self, shared: &Shared) -> Cause {
        // Who is queued asks for a place of which there are so many.
        let (place, ahead, limit) = shared.queue.ahead(self.id).unwrap_or((Place::Download, 0, 0));
        Cause::Queued { place, ahead, limit }
    }

    fn checking(&self) -> Cause {
        if self.life.has_errands() {
            return Cause::CheckWaits;
        }
        Cause::Checking { checked: self.check.checked(), pieces: self.metainfo.layout.piece_count() }
    }

    fn wants_nothing(&self) -> bool {
        self.selection.wanted_pieces() == 0 && !self.selection.is_usual()
    }

    fn complete(&self) -> Cause {
        if self.wants_nothing() {
            return Cause::NothingSelected;
        }
        Cause::Complete { whole: self.pieces.is_complete() }
    }

    /// It wants something, and may ask for it.
    fn why_not_faster(&self, now: Instant, shared: &Shared) -> Vec<Cause> {
        let (crowd, lacking) = (self.count_crowd(), self.sort_lacking());
        if crowd.live == 0 {
            return self.why_nobody(now, shared);
        }
        let nowhere = (lacking.nowhere.count > 0).then(|| Cause::PiecesNowhere {
            pieces: lacking.nowhere.clone(),
            copies_per_mille: self.copies_per_mille(),
        });
        let full = self.connections_full(now, shared);
        let mut causes = Vec::new();
        if crowd.useful == 0 {
            // What they have may not have been heard yet.
            causes.extend(self.down_limit(shared, 0, crowd.in_line));
            causes.extend(full);
            match nowhere {
                Some(_) if crowd.having == 0 => causes.push(Cause::PeersHaveNothing { peers: crowd.live }),
                Some(nowhere) => causes.push(nowhere),
                // Its last holder has taken it back in the midst of its last block (BEP 54).
                None if crowd.requests > 0 => causes.push(last_blocks(now, crowd)),
                // Its last holder has gone.
                None if lacking.at_disk > 0 => causes.push(Cause::WritesAwaited { pieces: lacking.at_disk }),
                None => {}
            }
        } else {
            causes.extend(self.why_slow(now, shared, crowd, &lacking));
            causes.extend(nowhere);
            causes.extend(full);
        }
        causes.extend(self.trackers_fail(now));
        causes
    }

    /// Somebody has what it wants.
    fn why_slow(&self, now: Instant, shared: &Shared, crowd: Crowd, lacking: &Lacking) -> Vec<Cause> {
        let rate = self.downloaded.per_second();
        let mut causes = Vec::new();
        causes.extend(self.down_limit(shared, rate, crowd.in_line));
        let is_limited = !causes.is_empty();
        if crowd.free == 0 {
            causes.push(Cause::Choked { choking: crowd.choking, of: crowd.useful });
            return causes;
        }
        let buffers = self.buffers_full(shared);
        let disk_is_slow = matches!(&buffers, Some(Cause::BuffersFull { buffers, filled }) if filled * 2 >= *buffers);
        let (before, after) = if disk_is_slow { (buffers, None) } else { (None, buffers) };
        causes.extend(before);
        let (requests, peers) = (crowd.requests, crowd.asked);
        match () {
            () if is_limited => {}
            () if rate > 0 && requests > 0 => causes.push(Cause::Receiving { peers, bytes_per_s: rate }),
            () if crowd.snubbed == crowd.free => causes.push(Cause::Snubbed { peers: crowd.snubbed }),
            () if requests > 0 && lacking.unasked == 0 && lacking.suspected.count == 0 => {
                causes.push(last_blocks(now, crowd));
            }
            () if requests > 0 => causes.push(Cause::AnswersAwaited { requests, peers, waited: crowd.waited(now) }),
            () if crowd.late > 0 => causes.push(Cause::GivenUpArriving { peers: crowd.late }),
            () => {}
        }
        causes.extend(after);
        if lacking.suspected.count > 0 {
            causes.push(Cause::PiecesSuspected { pieces: lacking.suspected.clone() });
        }
        if requests == 0 && lacking.at_disk > 0 {
            causes.push(Cause::WritesAwaited { pieces: lacking.at_disk });
        }
        if crowd.choking > 0 {
            causes.push(Cause::Choked { choking: crowd.choking, of: crowd.useful });
        }
        // Nothing is in the way: everybody useful is free, and what is lacking has come back from who was asked.
        if causes.is_empty() && lacking.unasked > 0 {
            causes.push(self.asked_next(now, lacking.unasked));
        }
        causes
    }

    /// What came back is asked of others at the next tick.
    fn asked_next(&self, now: Instant, pieces: u32) -> Cause {
        Cause::AskedNext { pieces, next_in: (self.last_tick + TICK).since(now) }
    }

    fn count_crowd(&self) -> Crowd {
        let mut crowd = Crowd::default();
        for peer in self.peers.values().filter(|peer| peer.stage == Stage::Live) {
            crowd.live += 1;
            crowd.having += u32::from(!peer.has.is_empty_set());
            crowd.useful += u32::from(peer.am_interested);
            crowd.choking += u32::from(peer.am_interested && peer.peer_choking);
            crowd.free += u32::from(may_ask(peer));
            crowd.snubbed += u32::from(may_ask(peer) && peer.pipeline.is_snubbed());
            crowd.late += u32::from(may_ask(peer) && peer.incoming().is_some_and(|incoming| !incoming.counted));
            crowd.asked += u32::from(requests_of(peer) > 0);
            crowd.requests += requests_of(peer);
            crowd.oldest = oldest_of(peer).into_iter().chain(crowd.oldest).min();
            crowd.in_line += u32::from(self.lines.down.turns.contains(peer.conn));
        }
        crowd
    }

    fn sort_lacking(&self) -> Lacking {
        let mut lacking = Lacking::default();
        let all = (0..self.metainfo.layout.piece_count()).map(PieceIndex);
        for piece in all.filter(|piece| !self.pieces.settled().get(*piece)) {
            let is_somewhere = self.picker.availability(piece) > 0;
            match self.waits_for(piece) {
                Waits::Disk => lacking.at_disk += 1,
                Waits::Answers => lacking.asked += 1,
                _ if !is_somewhere => lacking.nowhere.push(piece),
                Waits::Author => lacking.suspected.push(piece),
                Waits::Asking => lacking.unasked += 1,
            }
        }
        lacking
    }

    /// What a piece that is wanted and lacking waits for, if somebody has it.
    fn waits_for(&self, piece: PieceIndex) -> Waits {
        match self.pieces.get(piece) {
            Some(open) if open.is_here() || open.is_lost() => Waits::Disk,
            Some(open) if open.missing() == 0 => Waits::Answers,
            Some(OpenPiece { lease: Some(_), .. }) => Waits::Author,
            None if self.blame.has_failed(piece) => Waits::Author,
            _ => Waits::Asking,
        }
    }

    /// How often the whole torrent is there, at those connected and here: the copies of the rarest piece, and the share of pieces that are
    /// there more often, in thousandths, rounded down.
    fn copies_per_mille(&self) -> u32 {
        let all = || (0..self.metainfo.layout.piece_count()).map(PieceIndex);
        let copies = |piece| self.picker.availability(piece) + u32::from(self.pieces.have().get(piece));
        let rarest = all().map(copies).min().unwrap_or(0);
        let more = all().filter(|piece| copies(*piece) > rarest).count() as u64;
        let share = more * 1000 / u64::from(self.metainfo.layout.piece_count().max(1));
        rarest.saturating_mul(1000).saturating_add(share as u32)
    }

    /// No block buffer is free.
    fn buffers_full(&self, shared: &Shared) -> Option<Cause> {
        let pool = &shared.pool;
        // The pool has just become smaller: more may still be filled than it will have.
        let buffers = pool.size().max(pool.out()) as u32;
        let full = Cause::BuffersFull { buffers, filled: pool.out() as u32 };
        (pool.free() == 0).then_some(full)
    }

    /// A limit on what is received is used up, or peers wait for their turn under it.
    fn down_limit(&self, shared: &Shared, rate: u64, waiting: u32) -> Option<Cause> {
        let limits = [self.lines.down.bucket.bytes_per_s(), shared.lines.down.bucket.bytes_per_s()];
        let (whose, bytes_per_s) = lower_limit(limits)?;
        (waiting > 0 || is_near(rate, bytes_per_s)).then_some(Cause::DownLimit { whose, bytes_per_s, waiting })
    }
}

/// What is under way is all that is left.
fn last_blocks(now: Instant, crowd: Crowd) -> Cause {
    Cause::LastBlocks { requests: crowd.requests, peers: crowd.asked, waited: crowd.waited(now) }
}

/// The lower one of two limits, of which 0 is none: the torrent's own and that of all.
fn lower_limit([own, all]: [u64; 2]) -> Option<(Whose, u64)> {
    match (own, all) {
        (0, 0) => None,
        (own, 0) => Some((Whose::Torrent, own)),
        (0, all) => Some((Whose::All, all)),
        (own, all) if all < own => Some((Whose::All, all)),
        (own, _) => Some((Whose::Torrent, own)),
    }
}

fn is_near(rate: u64, limit: u64) -> bool {
    rate.saturating_mul(100) >= limit.saturating_mul(NEAR_LIMIT_PER_CENT)
}

/// Requests under way at a peer, and the block that is arriving.
fn requests_of(peer: &Peer) -> u32 {
    let arriving = peer.incoming().is_some_and(|incoming| incoming.block.is_some());
    peer.requested().len() as u32 + u32::from(arriving)
}

/// When the oldest of them was sent.
fn oldest_of(peer: &Peer) -> Option<Instant> {
    let arriving = peer.incoming().filter(|incoming| incoming.block.is_some()).map(|incoming| incoming.sent);
    arriving.into_iter().chain(peer.oldest_request()).min()
}
