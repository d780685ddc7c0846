//! The send queue of one connection: what waits to be handed to the driver, and what the driver has not yet flushed.
//!
//! Payload and control bytes are told apart here, so that an uploaded byte counts only when the network took it. Under a limit of rate payload is held
//! until it is let go, and a block may leave in several cuts; messages behind a block that is cut wait for its end. All others
//! leave at once, but for those that can wait for the next.

use crate::action::{Segment, TxBatch};
use crate::id::TorrentId;
use crate::wire::{BlockRequest, Message, encode_piece_header};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// What is to be sent to one peer.
#[derive(Clone, Debug, Default)]
pub(crate) struct TxQueue {
    batch: TxBatch,
    /// Stretches given to the queue and not yet flushed, in order: length, and whether it is payload.
    unflushed: VecDeque<(u64, bool)>,
    unflushed_bytes: u64,
    /// Whether payload is held.
    limited: bool,
    /// Payload in the batch that may not leave yet: its end.
    held: u64,
    /// Payload in the batch.
    payload: u64,
    /// Control bytes in the batch that may leave and were already told of.
    told: u64,
    /// Nothing in the batch is urgent: it leaves with what comes next, or when it is told to.
    can_wait: bool,
}

impl TxQueue {
    /// Queues bytes written by `encode`.
    pub(crate) fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        self.can_wait = false;
        self.append(encode);
    }

    /// Queues a control message that leaves in its turn, but makes nobody send: with the next one that does, or at [`TxQueue::hurry`].
    pub(crate) fn push_patiently(&mut self, message: &Message<'_>) {
        self.can_wait |= self.batch.segments.is_empty();
        self.append(|out| message.encode(out));
    }

    /// What could wait waits no longer. Whether anything did.
    pub(crate) fn hurry(&mut self) -> bool {
        core::mem::take(&mut self.can_wait)
    }

    fn append(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let start = self.batch.bytes.len();
        encode(&mut self.batch.bytes);
        let end = self.batch.bytes.len();
        match self.batch.segments.last_mut() {
            Some(Segment::Bytes(range)) => range.end = end,
            _ => self.batch.segments.push(Segment::Bytes(start..end)),
        }
        self.count((end - start) as u64, false);
    }

    /// Queues a control message.
    pub(crate) fn push(&mut self, message: &Message<'_>) {
        self.push_with(|out| message.encode(out));
    }

    /// Queues a `piece` message whose payload the driver reads from the torrent's files.
    pub(crate) fn push_block(&mut self, torrent: TorrentId, request: BlockRequest) {
        self.push_with(|out| encode_piece_header(request, out));
        let BlockRequest { piece, begin, len } = request;
        self.batch.segments.push(Segment::File { torrent, piece, begin, len });
        self.payload += u64::from(len);
        self.held += if self.limited { u64::from(len) } else { 0 };
        self.count(u64::from(len), true);
    }

    /// Whether something waits for the driver and may leave.
    pub(crate) fn is_ready(&self) -> bool {
        match self.batch.segments.first() {
            None => false,
            Some(Segment::Bytes(_)) => !self.can_wait,
            Some(Segment::File { .. }) => self.held < self.payload,
        }
    }

    /// Holds payload from now on, also what waits already; or lets all of it go.
    pub(crate) fn set_limited(&mut self, limited: bool) {
        self.limited = limited;
        (self.held, self.told) = (if limited { self.payload } else { 0 }, 0);
    }

    /// Payload that is held.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.held
    }

    /// Lets `bytes` of the held payload go, the first ones.
    pub(crate) fn let_go(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Under a limit: control bytes that may leave since the last call. Those behind held payload leave, and count, when it does; those that can wait when
    /// they wait no longer.
    pub(crate) fn take_control_bytes(&mut self) -> u64 {
        if !self.limited || self.can_wait {
            return 0;
        }
        let (mut free, mut ready) = (self.payload - self.held, 0);
        for segment in &self.batch.segments {
            match segment {
                Segment::Bytes(range) => ready += range.len() as u64,
                Segment::File { len, .. } if u64::from(*len) <= free => free -= u64::from(*len),
                Segment::File { .. } => break,
            }
        }
        ready - core::mem::replace(&mut self.told, ready)
    }

    /// Bytes given to the driver and not yet taken by the network.
    pub(crate) fn bytes_at_driver(&self) -> u64 {
        self.unflushed_bytes - self.batch.len_bytes()
    }

    /// Moves everything that may leave into `batch`, whose memory is taken in exchange.
    pub(crate) fn take(&mut self, batch: &mut TxBatch) {
        batch.clear();
        self.can_wait = false;
        if self.held == 0 {
            (self.payload, self.told) = (0, 0);
            core::mem::swap(batch, &mut self.batch);
        } else {
            self.cut(batch);
        }
    }

    /// Moves what comes before the first held byte, in the midst of a block perhaps.
    fn cut(&mut self, batch: &mut TxBatch) {
        let mut free = self.payload - self.held;
        self.payload = self.held;
        let mut whole = 0;
        for segment in &self.batch.segments {
            match segment {
                Segment::File { len, .. } if u64::from(*len) > free => break,
                Segment::File { len, .. } => free -= u64::from(*len),
                Segment::Bytes(_) => {}
            }
            whole += 1;
        }
        batch.segments.extend(self.batch.segments.drain(..whole));
        if let Some(Segment::File { torrent, piece, begin, len }) = self.batch.segments.first_mut()
            && free > 0
        {
            // Less than the segment, so it fits.
            let cut = free as u32;
            batch.segments.push(Segment::File { torrent: *torrent, piece: *piece, begin: *begin, len: cut });
            (*begin, *len) = (*begin + cut, *len - cut);
        }
        let moved: usize =
            batch.segments.iter().map(|s| if let Segment::Bytes(range) = s { range.len() } else { 0 }).sum();
        batch.bytes.extend(self.batch.bytes.drain(..moved));
        self.told = self.told.saturating_sub(moved as u64);
        for segment in &mut self.batch.segments {
            if let Segment::Bytes(range) = segment {
                *range = range.start - moved..range.end - moved;
            }
        }
    }

    /// Bytes queued or at the driver, not yet taken by the network.
    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes
    }

    /// The network took `bytes` more; gives how many of them were payload.
    pub(crate) fn flushed(&mut self, mut bytes: u64) -> u64 {
        let mut payload = 0;
        while bytes > 0
            && let Some((len, is_payload)) = self.unflushed.front_mut()
        {
            let part = bytes.min(*len);
            payload += if *is_payload { part } else { 0 };
            *len -= part;
            bytes -= part;
            self.unflushed_bytes -= part;
            if *len == 0 {
                self.unflushed.pop_front();
            }
        }
        payload
    }

    /// Checks by recount what is kept. For tests and simulators.
    ///
    /// # Panics
    /// With the law that is broken.
    pub(crate) fn check_invariants(&self) {
        let unflushed = self.unflushed.iter().map(|(len, _)| len).sum::<u64>();
        assert_eq!(self.unflushed_bytes, unflushed, "unflushed bytes equal a recount");
        assert!(self.batch.len_bytes() <= unflushed, "what waits for the driver is not yet flushed");
        let payload = self.batch.segments.iter().filter(|s| matches!(s, Segment::File { .. })).map(Segment::len_bytes);
        assert_eq!(self.payload, payload.sum::<u64>(), "payload that waits equals a recount");
        assert!(self.held <= self.payload, "no more is held than there is");
        let only_messages = self.payload == 0 && !self.batch.segments.is_empty();
        assert!(!self.can_wait || only_messages, "only messages can wait");
    }

    fn count(&mut self, len: u64, payload: bool) {
        self.unflushed_bytes += len;
        match self.unflushed.back_mut() {
            Some((last, kind)) if *kind == payload => *last += len,
            _ => self.unflushed.push_back((len, payload)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::breaches::check_breaches;
    use crate::id::PieceIndex;

    #[test]
    fn only_payload_that_the_network_took_counts() {
        let mut tx = TxQueue::default();
        tx.push(&Message::Choke);
        tx.push_block(TorrentId(1), BlockRequest { piece: PieceIndex(0), begin: 0, len: 100 });
        let mut batch = TxBatch::default();
        tx.take(&mut batch);
        assert_eq!(batch.len_bytes(), 5 + 13 + 100);
        assert_eq!(batch.segments.len(), 2, "neighbouring control bytes are one segment");
        assert_eq!(tx.flushed(5 + 13 + 40), 40);
        assert_eq!(tx.flushed(60), 60);
        assert_eq!(tx.unflushed_bytes(), 0);
    }

    /// What a batch is, byte by byte: control bytes as they are, payload as its place.
    fn spelled(batch: &TxBatch) -> Vec<u32> {
        let mut out = Vec::new();
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => out.extend(batch.bytes[range.clone()].iter().map(|byte| u32::from(*byte))),
                Segment::File { begin, len, .. } => out.extend((*begin..*begin + *len).map(|at| 1000 + at)),
            }
        }
        out
    }

    fn filled(limited: bool) -> TxQueue {
        let mut tx = TxQueue::default();
        tx.set_limited(limited);
        tx.push(&Message::Unchoke);
        for block in 0..3 {
            tx.push_block(TorrentId(1), BlockRequest { piece: PieceIndex(0), begin: 100 * block, len: 100 });
            tx.push(&Message::Have(PieceIndex(block)));
        }
        tx
    }

    #[test]
    fn cuts_in_any_place_give_the_same_bytes_in_the_same_order() {
        let mut batch = TxBatch::default();
        filled(false).take(&mut batch);
        let whole = spelled(&batch);
        for step in [1, 7, 99, 100, 101, 250, 1000] {
            let (mut tx, mut seen) = (filled(true), Vec::new());
            tx.take(&mut batch);
            assert_eq!(batch.len_bytes(), 5 + 13, "messages before a held block leave, with its header");
            seen.extend(spelled(&batch));
            while tx.held_bytes() > 0 {
                assert!(!tx.is_ready(), "held payload keeps back what is behind it");
                tx.let_go(step);
                assert!(tx.is_ready());
                tx.take(&mut batch);
                tx.check_invariants();
                seen.extend(spelled(&batch));
            }
            assert_eq!(seen, whole, "in steps of {step}");
        }
    }

    #[test]
    fn payload_is_held_from_the_moment_of_a_limit_and_let_go_with_it() {
        let (mut tx, mut batch) = (filled(false), TxBatch::default());
        tx.set_limited(true);
        assert_eq!(tx.held_bytes(), 300);
        tx.set_limited(false);
        tx.take(&mut batch);
        assert_eq!(batch.len_bytes(), 5 + 3 * (13 + 100 + 9));
        assert_eq!(tx.bytes_at_driver(), batch.len_bytes());
    }

    #[test]
    fn messages_count_when_they_may_leave() {
        let (mut tx, mut batch) = (filled(true), TxBatch::default());
        assert_eq!((tx.take_control_bytes(), tx.take_control_bytes()), (5 + 13, 0));
        for (step, counted) in [(60, 0), (60, 9 + 13), (180, 9 + 13 + 9)] {
            tx.take(&mut batch);
            assert_eq!(tx.take_control_bytes(), 0, "what is behind a block waits for it");
            tx.let_go(step);
            assert_eq!(tx.take_control_bytes(), counted);
        }
        assert_eq!(filled(false).take_control_bytes(), 0, "without a limit nobody counts");
        tx.take(&mut batch);
        tx.push_patiently(&Message::Have(PieceIndex(3)));
        assert_eq!(tx.take_control_bytes(), 0);
        tx.hurry();
        assert_eq!((tx.take_control_bytes(), tx.take_control_bytes()), (9, 0));
    }

    #[test]
    fn what_can_wait_leaves_in_its_turn_with_what_cannot_or_when_it_is_told_to() {
        let (mut tx, mut batch) = (TxQueue::default(), TxBatch::default());
        let push = |tx: &mut TxQueue, piece| {
            tx.push_patiently(&Message::Have(PieceIndex(piece)));
            tx.check_invariants();
            tx.is_ready()
        };
        assert!(!push(&mut tx, 0) && !push(&mut tx, 1));
        tx.push(&Message::Choke);
        assert!(tx.is_ready() && push(&mut tx, 2), "it holds nothing up");
        tx.take(&mut batch);
        assert_eq!(
            batch.bytes,
            [&[0, 0, 0, 5, 4, 0, 0, 0, 0, 0, 0, 0, 5, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0][..], &[0, 0, 0, 5, 4, 0, 0, 0, 2]]
                .concat()
        );
        assert!(!tx.is_ready() && !push(&mut tx, 3), "all has left");
        assert!(tx.hurry() && tx.is_ready() && !tx.hurry());
        tx.take(&mut batch);
        assert_eq!(batch.len_bytes(), 9);
    }

    #[test]
    fn each_law_is_seen_to_be_broken() {
        let intact = || {
            let mut tx = TxQueue::default();
            tx.push(&Message::Choke);
            tx
        };
        check_breaches(
            include_str!("tx.rs"),
            intact,
            TxQueue::check_invariants,
            &[
                ("unflushed bytes equal a recount", |tx| tx.unflushed_bytes += 1),
                ("what waits for the driver is not yet flushed", |tx| _ = tx.flushed(1)),
                ("payload that waits equals a recount", |tx| tx.payload += 1),
                ("no more is held than there is", |tx| tx.held += 1),
                ("only messages can wait", |tx| {
                    tx.push_block(TorrentId(1), BlockRequest { piece: PieceIndex(0), begin: 0, len: 100 });
                    tx.can_wait = true;
                }),
            ],
        );
    }
}
