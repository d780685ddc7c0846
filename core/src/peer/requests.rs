//! Requests to one peer, and the block that is arriving.
//!
//! Each outstanding request holds a reservation in the pool. A request that was given up (cancelled, choked away, timed out) is
//! remembered for a while: its block may still come, and is then not held against the peer.

use super::Peer;
use crate::block::{Block, BlockPool};
use crate::fault::PeerFault;
use crate::id::PieceIndex;
use crate::pipeline::MAX_WINDOW;
use crate::time::Instant;
use crate::wire::BlockRequest;
use alloc::vec::Vec;

/// A peer is asked for more when that is so large a part of what it has still to send: each message costs both sides a system call, and often a wake-up.
const BATCH_PART: u32 = 8;
/// Blocks that nobody asked for: this many end the connection. Races around cancel and choke explain a few at most.
const MAX_UNREQUESTED_BLOCKS: u32 = 32;
/// How many given-up requests are remembered: two full windows.
pub(super) const MAX_FORGOTTEN: usize = 2 * MAX_WINDOW as usize;

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outstanding {
    /// What was asked for.
    pub request: BlockRequest,
    /// When.
    pub sent: Instant,
}

/// The block that is arriving.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    /// What it claims to be.
    pub request: BlockRequest,
    /// When it was asked for.
    pub sent: Instant,
    /// Where it goes; `None` when it is of no use and only swallowed.
    pub block: Option<Block>,
    /// Bytes that came.
    pub filled: usize,
    /// It is counted in the open piece as asked for.
    pub counted: bool,
    /// Nobody had asked for it.
    pub unrequested: bool,
}

/// How a block that begins to arrive relates to what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It was asked for at this time; the reservation of the request is now the block's.
    Requested(Instant),
    /// It was asked for and given up: welcome if still wanted, without a reservation.
    Late,
    /// Nobody asked.
    Unrequested,
}

impl Peer {
    /// Requests under way.
    pub(crate) fn requested(&self) -> impl ExactSizeIterator<Item = &Outstanding> {
        self.requested.iter()
    }

    /// How many more it is to be asked for now, so that no more than `share` are under way: none until they are worth a message of their own.
    pub(crate) fn room(&self, share: u32) -> u32 {
        let under_way = self.requested.len() as u32;
        let room = self.pipeline.window().min(share).saturating_sub(under_way);
        if room >= under_way / BATCH_PART { room } else { 0 }
    }

    /// When the oldest of them was sent.
    pub(crate) fn oldest_request(&self) -> Option<Instant> {
        self.requested.front().map(|outstanding| outstanding.sent)
    }

    /// It waited in line until now, through no fault of its own: what was to be heard of it is late by as much. `stays`: it waits on.
    pub(crate) fn excuse_wait(&mut self, now: Instant, stays: bool) {
        let Some(since) = core::mem::replace(&mut self.in_line_since, stays.then_some(now)) else { return };
        let waited = now.since(since);
        let mut clocks = alloc::vec![&mut self.last_heard, &mut self.last_progress];
        clocks.extend(self.requested.iter_mut().map(|outstanding| &mut outstanding.sent));
        clocks.extend(self.incoming.iter_mut().map(|incoming| &mut incoming.sent));
        clocks.into_iter().for_each(|clock| *clock = (*clock + waited).min(now));
    }

    /// Whether this block is under way from this peer.
    pub(crate) fn is_asked_for(&self, request: BlockRequest) -> bool {
        self.requested.iter().any(|o| o.request == request)
            || self.incoming.as_ref().is_some_and(|i| i.request == request && i.block.is_some())
    }

    /// Whether a block of this piece is still arriving that is no longer counted on: to ask for it now would be to ask twice.
    pub(crate) fn is_swallowing(&self, piece: PieceIndex) -> bool {
        self.incoming.as_ref().is_some_and(|incoming| !incoming.counted && incoming.request.piece == piece)
    }

    /// Whether nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.requested.is_empty() && self.incoming.is_none()
    }

    /// Notes a request that is being sent; its reservation goes with it.
    pub(crate) fn note_requested(&mut self, now: Instant, request: BlockRequest) {
        if self.is_idle() {
            self.last_progress = now;
        }
        self.requested.push_back(Outstanding { request, sent: now });
    }

    /// A block begins to arrive.
    ///
    /// # Errors
    /// [`PeerFault::UnrequestedBlocks`] when too many came that nobody asked for.
    pub(crate) fn arrival(&mut self, request: BlockRequest) -> Result<Arrival, PeerFault> {
        if let Some(at) = self.requested.iter().position(|o| o.request == request) {
            let sent = self.requested.remove(at).map_or(Instant::ZERO, |o| o.sent);
            return Ok(Arrival::Requested(sent));
        }
        if self.forgive(request) {
            return Ok(Arrival::Late);
        }
        self.unrequested_blocks += 1;
        if self.unrequested_blocks > MAX_UNREQUESTED_BLOCKS {
            return Err(PeerFault::UnrequestedBlocks);
        }
        Ok(Arrival::Unrequested)
    }

    /// Sets up the block that is arriving.
    pub(crate) fn begin_incoming(&mut self, incoming: Incoming) {
        self.incoming = Some(incoming);
    }

    /// The block that is arriving is of no use any more when it is of this piece: its buffer comes back, the rest is swallowed.
    pub(crate) fn disown_incoming(&mut self, piece: PieceIndex) -> Option<Block> {
        let incoming = self.incoming.as_mut().filter(|incoming| incoming.request.piece == piece)?;
        incoming.counted = false;
        incoming.block.take()
    }

    /// The block that is arriving.
    pub(crate) fn incoming(&self) -> Option<&Incoming> {
        self.incoming.as_ref()
    }

    /// The block that is arriving.
    pub(crate) fn incoming_mut(&mut self) -> Option<&mut Incoming> {
        self.incoming.as_mut()
    }

    /// More of the block.
    pub(crate) fn fill(&mut self, bytes: &[u8]) {
        let Some(incoming) = &mut self.incoming else { return };
        // Junk makes nobody a good peer, nor its window wider.
        if self.ledger.undecided == 0 {
            self.collecting_since = self.last_heard;
        }
        self.ledger.arrive(bytes.len() as u64);
        if incoming.block.is_some() {
            self.down_this_second += bytes.len() as u64;
            self.down.add(bytes.len() as u64);
        }
        let end = incoming.filled + bytes.len();
        if let Some(room) = incoming.block.as_deref_mut().and_then(|block| block.get_mut(incoming.filled..end)) {
            room.copy_from_slice(bytes);
        }
        incoming.filled = end;
    }

    /// So much of a piece that was verified came from it.
    pub(crate) fn credit(&mut self, now: Instant, bytes: u64) {
        self.useful.add(bytes, now.since(self.collecting_since));
        self.collecting_since = now;
        self.sent_good_pieces = true;
    }

    /// The block is complete.
    pub(crate) fn end_incoming(&mut self, now: Instant) -> Option<Incoming> {
        let incoming = self.incoming.take()?;
        if incoming.block.is_some() {
            self.last_progress = now;
            self.pipeline.block_came(now, incoming.sent);
        }
        Some(incoming)
    }

    /// The peer will not answer this request; `false` when it was not under way.
    pub(crate) fn drop_request(&mut self, request: BlockRequest) -> bool {
        let at = self.requested.iter().position(|o| o.request == request);
        at.is_some_and(|at| self.requested.remove(at).is_some())
    }

    /// Forgives one late block or reject of a request that was given up.
    pub(crate) fn forgive(&mut self, request: BlockRequest) -> bool {
        let at = self.forgotten.iter().position(|r| *r == request);
        at.is_some_and(|at| self.forgotten.remove(at).is_some())
    }

    /// Gives one request up; `false` when it was not under way. Its reservation is the caller's again.
    pub(crate) fn forget_request(&mut self, request: BlockRequest) -> bool {
        self.drop_request(request) && {
            self.remember(request);
            true
        }
    }

    /// Gives all requests up. Their reservations are the caller's again.
    pub(crate) fn forget_requests(&mut self) -> Vec<BlockRequest> {
        let given_up: Vec<BlockRequest> = self.requested.drain(..).map(|o| o.request).collect();
        given_up.iter().for_each(|request| self.remember(*request));
        given_up
    }

    /// So many blocks are on the way because it is distant.
    pub(super) fn tell_far(&mut self, pool: &mut BlockPool, blocks: u32) {
        pool.set_far(core::mem::replace(&mut self.far_blocks, blocks), blocks);
    }

    /// Ends the connection's claims: its requests, and the block that was arriving, which goes home.
    pub(crate) fn release(&mut self, pool: &mut BlockPool) -> Vec<BlockRequest> {
        self.tell_far(pool, 0);
        let mut requests = Vec::new();
        for outstanding in self.requested.drain(..) {
            pool.unreserve();
            requests.push(outstanding.request);
        }
        if let Some(incoming) = self.incoming.take() {
            if incoming.counted {
                requests.push(incoming.request);
            }
            if let Some(block) = incoming.block {
                pool.give_back(block);
            }
        }
        requests
    }

    fn remember(&mut self, request: BlockRequest) {
        if self.forgotten.len() == MAX_FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(request);
    }
}
