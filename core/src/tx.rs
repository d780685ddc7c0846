//! The send queue of one connection: what waits to be handed to the driver, and what the driver has not yet flushed.
//!
//! Payload and control bytes are told apart here, so that an uploaded byte counts only when the network took it.

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
}

impl TxQueue {
    /// Queues bytes written by `encode`.
    pub(crate) fn push_with(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
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
        self.count(u64::from(len), true);
    }

    /// Whether something waits for the driver.
    pub(crate) fn is_empty(&self) -> bool {
        self.batch.segments.is_empty()
    }

    /// Moves everything that waits into `batch`, whose memory is taken in exchange.
    pub(crate) fn take(&mut self, batch: &mut TxBatch) {
        batch.clear();
        core::mem::swap(batch, &mut self.batch);
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
            ],
        );
    }
}
