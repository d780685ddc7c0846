//! What waits to be sent on one connection, in order: bytes of the engine and ranges of files, which are read ahead of their turn.
//!
//! It holds no more than the engine lets be unflushed, so it needs no limit of its own. It never reads files: it says what to read next.

use crate::disk::{ReadFor, ReadRequest};
use sameseed_core::action::{Segment, TxBatch};
use sameseed_core::id::{ConnId, PieceIndex, TorrentId};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;

/// Neighbouring ranges are read in one go up to this many bytes: fewer system calls, and still little memory for a peer that
/// drinks slowly.
const MAX_READ_BYTES: u32 = 256 * 1024;
/// File data read and not yet sent: one buffer on its way out, one read meanwhile.
const MAX_LOADED: usize = 2;
/// Slices of one vectored write: 32 blocks and their headers, more than a socket buffer takes.
const MAX_SLICES: usize = 64;
/// Sent bytes at the front of the byte queue are cut off beyond this many, so that the queue does not creep.
const COMPACT_BYTES: usize = 64 * 1024;

/// A queue of bytes and file ranges.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    stretches: VecDeque<Stretch>,
    bytes: Vec<u8>,
    bytes_sent: usize,
    to_read: VecDeque<FileRange>,
    reading: bool,
    loaded: VecDeque<Vec<u8>>,
    /// Bytes of the first of `loaded` that are sent.
    loaded_sent: usize,
    /// A sent buffer, kept for the next read.
    spare: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Stretch {
    Bytes(usize),
    File(usize),
}

#[derive(Clone, Copy, Debug)]
struct FileRange {
    torrent: TorrentId,
    piece: PieceIndex,
    begin: u32,
    len: u32,
}

impl Outgoing {
    /// Appends a batch.
    pub(crate) fn push(&mut self, batch: &TxBatch) {
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => {
                    self.bytes.extend_from_slice(&batch.bytes[range.clone()]);
                    match self.stretches.back_mut() {
                        Some(Stretch::Bytes(len)) => *len += range.len(),
                        _ => self.stretches.push_back(Stretch::Bytes(range.len())),
                    }
                }
                &Segment::File { torrent, piece, begin, len } => {
                    self.stretches.push_back(Stretch::File(len as usize));
                    self.push_read(FileRange { torrent, piece, begin, len });
                }
            }
        }
    }

    fn push_read(&mut self, range: FileRange) {
        if let Some(last) = self.to_read.back_mut()
            && (last.torrent, last.piece) == (range.torrent, range.piece)
            && last.begin.checked_add(last.len) == Some(range.begin)
            && last.len.saturating_add(range.len) <= MAX_READ_BYTES
        {
            last.len += range.len;
        } else {
            self.to_read.push_back(range);
        }
    }

    /// What the disk should read next for connection `conn`, when it is time. Its answer goes to [`Outgoing::loaded`].
    pub(crate) fn next_read(&mut self, conn: ConnId) -> Option<ReadRequest> {
        if self.reading || self.loaded.len() >= MAX_LOADED {
            return None;
        }
        let FileRange { torrent, piece, begin, len } = self.to_read.pop_front()?;
        self.reading = true;
        let reader = ReadFor::Peer(conn);
        Some(ReadRequest { reader, torrent, piece, begin, len, buffer: std::mem::take(&mut self.spare) })
    }

    /// Takes in what was read.
    pub(crate) fn loaded(&mut self, data: Vec<u8>) {
        self.reading = false;
        self.loaded.push_back(data);
    }

    /// Writes what can be written now and gives the number of bytes; pending when nothing can be.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let used = self.gather(&mut slices);
        if used == 0 {
            return Poll::Pending;
        }
        let written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices[..used]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    /// Fills `slices` with what comes first and is at hand; gives how many there are.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> usize {
        let mut used = 0;
        let mut bytes = &self.bytes[self.bytes_sent..];
        let mut loaded = self.loaded.iter().enumerate().map(|(i, data)| {
            let sent = if i == 0 { self.loaded_sent } else { 0 };
            &data[sent..]
        });
        let mut data: &[u8] = &[];
        for stretch in &self.stretches {
            match *stretch {
                Stretch::Bytes(len) => {
                    if used == MAX_SLICES {
                        return used;
                    }
                    let (slice, rest) = bytes.split_at(len);
                    bytes = rest;
                    slices[used] = IoSlice::new(slice);
                    used += 1;
                }
                Stretch::File(mut len) => {
                    while len > 0 {
                        if used == MAX_SLICES {
                            return used;
                        }
                        if data.is_empty() {
                            let Some(next) = loaded.next() else { return used };
                            data = next;
                        }
                        let (slice, rest) = data.split_at(len.min(data.len()));
                        data = rest;
                        len -= slice.len();
                        slices[used] = IoSlice::new(slice);
                        used += 1;
                    }
                }
            }
        }
        used
    }

    /// Forgets `written` bytes that were sent.
    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(stretch) = self.stretches.front_mut() else { return };
            let is_file = matches!(stretch, Stretch::File(_));
            let (Stretch::Bytes(left) | Stretch::File(left)) = stretch;
            let step = written.min(*left);
            *left -= step;
            written -= step;
            if *left == 0 {
                self.stretches.pop_front();
            }
            if is_file {
                self.advance_loaded(step);
            } else {
                self.bytes_sent += step;
            }
        }
        if self.bytes_sent == self.bytes.len() || self.bytes_sent >= COMPACT_BYTES {
            self.bytes.drain(..self.bytes_sent);
            self.bytes_sent = 0;
        }
    }

    fn advance_loaded(&mut self, mut step: usize) {
        while let Some(first) = self.loaded.front()
            && first.len() - self.loaded_sent <= step
        {
            step -= first.len() - self.loaded_sent;
            self.loaded_sent = 0;
            self.spare = self.loaded.pop_front().unwrap_or_default();
        }
        self.loaded_sent += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    /// Takes at most `room` bytes a write.
    struct Narrow {
        room: usize,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Narrow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            let n = bytes.len().min(self.room);
            self.taken.extend_from_slice(&bytes[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let before = self.taken.len();
            for slice in slices {
                let room = self.room - (self.taken.len() - before);
                self.taken.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            Poll::Ready(Ok(self.taken.len() - before))
        }
    }

    fn file_byte(at: u32) -> u8 {
        (at % 251) as u8
    }

    fn batch_of_blocks(blocks: std::ops::Range<u32>) -> TxBatch {
        let mut batch = TxBatch::default();
        for block in blocks {
            let start = batch.bytes.len();
            batch.bytes.extend_from_slice(&[b'h', block as u8, b'/']);
            batch.segments.push(Segment::Bytes(start..start + 3));
            batch.segments.push(Segment::File {
                torrent: TorrentId(0),
                piece: PieceIndex(0),
                begin: block * 1000,
                len: 1000,
            });
        }
        batch
    }

    #[test]
    fn headers_and_file_ranges_leave_in_order_however_narrow_the_socket_is() {
        for room in [2, 7, 999, 1003, 100_000] {
            let (mut out, mut cx) = (Outgoing::default(), Context::from_waker(Waker::noop()));
            let mut socket = Narrow { room, taken: Vec::new() };
            out.push(&batch_of_blocks(0..50));
            out.push(&batch_of_blocks(50..400));
            let mut reads = 0;
            loop {
                if let Some(read) = out.next_read(ConnId::accepted(0)) {
                    assert!(out.next_read(ConnId::accepted(0)).is_none(), "one read at a time");
                    reads += 1;
                    out.loaded((read.begin..read.begin + read.len).map(file_byte).collect());
                }
                match out.poll_write(&mut socket, &mut cx) {
                    Poll::Ready(n) => assert!(n.unwrap() <= room),
                    Poll::Pending => break,
                }
            }
            assert_eq!(reads, 2, "262 blocks of 1000 bytes are one read");
            let mut expected = Vec::new();
            for block in 0..400u32 {
                expected.extend_from_slice(&[b'h', block as u8, b'/']);
                expected.extend((block * 1000..block * 1000 + 1000).map(file_byte));
            }
            assert!(socket.taken == expected);
            assert!(out.bytes.is_empty() && out.stretches.is_empty() && out.loaded.is_empty());
        }
    }

    #[test]
    fn a_header_leaves_while_its_data_is_still_being_read() {
        let (mut out, mut cx) = (Outgoing::default(), Context::from_waker(Waker::noop()));
        let mut socket = Narrow { room: 100, taken: Vec::new() };
        out.push(&batch_of_blocks(0..1));
        assert!(out.next_read(ConnId::accepted(0)).is_some());
        assert!(matches!(out.poll_write(&mut socket, &mut cx), Poll::Ready(Ok(3))));
        assert!(out.poll_write(&mut socket, &mut cx).is_pending());
        out.loaded(vec![9; 1000]);
        assert!(matches!(out.poll_write(&mut socket, &mut cx), Poll::Ready(Ok(100))));
    }
}
