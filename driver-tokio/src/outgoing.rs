//! What waits to be sent on one connection, in order: bytes of the engine and ranges of files. These are read ahead of their turn, or, where they are in
//! memory anyway, left in their file and sent from there by the system.
//!
//! It holds no more than the engine lets be unflushed, so it needs no limit of its own. It never reads files: it says what to read next.

use crate::disk::{FileRange, ReadFor, ReadRequest};
use crate::net::Stream;
use sameseed_core::action::{Segment, TxBatch};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::id::{ConnId, PieceIndex, TorrentId};
use sha_lanes::PageBuffer;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Neighbouring ranges are read in one go up to this many bytes: fewer system calls, and still little memory for a peer that
/// drinks slowly.
const MAX_READ_BYTES: u32 = 256 * 1024;
/// File data read and not yet sent: one buffer on its way out, one read meanwhile.
const MAX_LOADED: usize = 2;
/// What is written at a time, before others have their turn.
const MAX_WRITE_BYTES: usize = 256 * 1024;
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
    to_read: VecDeque<Range>,
    reading: bool,
    loaded: VecDeque<Loaded>,
    /// Bytes of the first of `loaded` that are sent.
    loaded_sent: usize,
    /// A sent buffer, kept for the next read.
    spare: PageBuffer,
}

#[derive(Clone, Copy, Debug)]
enum Stretch {
    Bytes(usize),
    File(usize),
}

/// A range of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) torrent: TorrentId,
    pub(crate) piece: PieceIndex,
    pub(crate) begin: u32,
    pub(crate) len: u32,
}

/// File data that can be sent.
#[derive(Debug)]
enum Loaded {
    Read(PageBuffer),
    InFile(FileRange),
}

impl Loaded {
    fn len(&self) -> usize {
        match self {
            Loaded::Read(data) => data.len(),
            Loaded::InFile(range) => range.len as usize,
        }
    }
}

/// Why nothing more can be sent.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The connection.
    Link(io::Error),
    /// The file.
    File(DiskFault),
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
                    self.push_read(Range { torrent, piece, begin, len });
                }
            }
        }
    }

    fn push_read(&mut self, range: Range) {
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

    /// What is to be had next, when it is time: by [`Outgoing::at_hand`] or [`Outgoing::next_read`].
    pub(crate) fn next_range(&self) -> Option<Range> {
        if self.reading || self.loaded.len() >= MAX_LOADED { None } else { self.to_read.front().copied() }
    }

    /// The next range can be sent from its file.
    pub(crate) fn at_hand(&mut self, range: FileRange) {
        self.to_read.pop_front();
        self.loaded.push_back(Loaded::InFile(range));
    }

    /// What the disk should read next for connection `conn`, when it is time. Its answer goes to [`Outgoing::loaded`].
    pub(crate) fn next_read(&mut self, conn: ConnId) -> Option<ReadRequest> {
        let Range { torrent, piece, begin, len } = self.next_range()?;
        self.to_read.pop_front();
        self.reading = true;
        let reader = ReadFor::Peer(conn);
        Some(ReadRequest { reader, torrent, piece, begin, len, buffer: std::mem::take(&mut self.spare) })
    }

    /// Takes in what was read.
    pub(crate) fn loaded(&mut self, data: PageBuffer) {
        self.reading = false;
        self.loaded.push_back(Loaded::Read(data));
    }

    /// Writes what can be written now and gives the number of bytes; pending when nothing can be.
    pub(crate) fn poll_write<S: Stream>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<Result<usize, Broken>> {
        let mut total = 0;
        while total < MAX_WRITE_BYTES {
            match self.poll_write_some(stream, cx) {
                Poll::Ready(Ok(written)) => {
                    self.advance(written);
                    total += written;
                }
                // What is broken is broken the next time, too.
                _ if total > 0 => break,
                other => return other,
            }
        }
        Poll::Ready(Ok(total))
    }

    /// Writes once: from memory, or from the file that comes first.
    fn poll_write_some<S: Stream>(&self, stream: &mut S, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        if let (Some(Stretch::File(len)), Some(Loaded::InFile(range))) = (self.stretches.front(), self.loaded.front()) {
            let (sent, len) = (self.loaded_sent, (*len).min(range.len as usize - self.loaded_sent));
            let sent = stream.poll_send_file(cx, &range.file, range.offset + sent as u64, len);
            return sent.map(|result| match result {
                Ok(0) => Err(Broken::File(fault(range, DiskFaultKind::Short, "it is shorter than it was"))),
                // Of the two ends only a file has this one.
                Err(error) if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::IO) => {
                    Err(Broken::File(fault(range, DiskFaultKind::Io, &error.to_string())))
                }
                other => other.map_err(Broken::Link),
            });
        }
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let (used, from_file) = self.gather(&mut slices);
        let written = match &slices[..used] {
            [] => return Poll::Pending,
            [header] if from_file => stream.poll_write_more(cx, header),
            slices => Pin::new(stream).poll_write_vectored(cx, slices),
        };
        written.map(|result| match result {
            Ok(0) => Err(Broken::Link(io::ErrorKind::WriteZero.into())),
            other => other.map_err(Broken::Link),
        })
    }

    /// Fills `slices` with what comes first and is at hand; gives how many there are, and whether what follows is sent from a file.
    fn gather<'a>(&'a self, slices: &mut [IoSlice<'a>; MAX_SLICES]) -> (usize, bool) {
        let mut used = 0;
        let mut bytes = &self.bytes[self.bytes_sent..];
        let mut loaded = self.loaded.iter();
        let (mut data, mut skip): (&[u8], usize) = (&[], self.loaded_sent);
        for stretch in &self.stretches {
            match *stretch {
                Stretch::Bytes(len) => {
                    if used == MAX_SLICES {
                        return (used, false);
                    }
                    let (slice, rest) = bytes.split_at(len);
                    bytes = rest;
                    slices[used] = IoSlice::new(slice);
                    used += 1;
                }
                Stretch::File(mut len) => {
                    while len > 0 {
                        if used == MAX_SLICES {
                            return (used, false);
                        }
                        if data.is_empty() {
                            data = match loaded.next() {
                                Some(Loaded::Read(next)) => &next[std::mem::take(&mut skip)..],
                                next => return (used, next.is_some()),
                            };
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
        (used, false)
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
            if let Some(Loaded::Read(data)) = self.loaded.pop_front() {
                self.spare = data;
            }
        }
        self.loaded_sent += step;
    }
}

fn fault(range: &FileRange, kind: DiskFaultKind, detail: &str) -> DiskFault {
    DiskFault { kind, path: range.path.display().to_string(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;
    use std::task::Waker;
    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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

    impl AsyncRead for Narrow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    /// Reads from the file, as the system would.
    impl Stream for Narrow {
        fn sends_files(&self) -> bool {
            true
        }
        fn poll_send_file(
            &mut self,
            _: &mut Context<'_>,
            file: &File,
            offset: u64,
            len: usize,
        ) -> Poll<io::Result<usize>> {
            let before = self.taken.len();
            self.taken.resize(before + len.min(self.room), 0);
            let read = file.read_at(&mut self.taken[before..], offset)?;
            self.taken.truncate(before + read);
            Poll::Ready(Ok(read))
        }
    }

    /// A file of which every byte is known.
    fn file(len: u32) -> Arc<File> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&(0..len).map(file_byte).collect::<Vec<u8>>(), 0).unwrap();
        Arc::new(file)
    }

    fn in_file(file: &Arc<File>, range: Range) -> FileRange {
        FileRange { file: file.clone(), offset: range.begin.into(), len: range.len, path: "some/file".into() }
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
                    let bytes: Vec<u8> = (read.begin..read.begin + read.len).map(file_byte).collect();
                    out.loaded(PageBuffer::from(&bytes[..]));
                }
                if out.poll_write(&mut socket, &mut cx).is_pending() {
                    break;
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
    fn what_is_in_memory_is_sent_from_its_file_in_its_turn() {
        let file = file(400_000);
        for room in [2, 7, 999, 1003, 100_000] {
            let (mut out, mut cx) = (Outgoing::default(), Context::from_waker(Waker::noop()));
            let mut socket = Narrow { room, taken: Vec::new() };
            out.push(&batch_of_blocks(0..50));
            out.push(&batch_of_blocks(50..400));
            let mut turns = 0;
            loop {
                // By turns from the file, and read.
                while let Some(range) = out.next_range() {
                    turns += 1;
                    if turns % 3 != 0 {
                        out.at_hand(in_file(&file, range));
                    } else if let Some(read) = out.next_read(ConnId::accepted(0)) {
                        let bytes: Vec<u8> = (read.begin..read.begin + read.len).map(file_byte).collect();
                        out.loaded(PageBuffer::from(&bytes[..]));
                    }
                }
                if out.poll_write(&mut socket, &mut cx).is_pending() {
                    break;
                }
            }
            let block = |block: u32| {
                let data = (block * 1000..block * 1000 + 1000).map(file_byte);
                [b'h', block as u8, b'/'].into_iter().chain(data)
            };
            assert!(socket.taken.iter().copied().eq((0..400).flat_map(block)));
            assert!(out.bytes.is_empty() && out.stretches.is_empty() && out.loaded.is_empty());
        }
    }

    #[test]
    fn a_file_that_is_shorter_than_it_was_is_the_disks_fault_after_all_that_came_before() {
        let (mut out, mut cx) = (Outgoing::default(), Context::from_waker(Waker::noop()));
        let (file, mut socket) = (file(400), Narrow { room: 100_000, taken: Vec::new() });
        out.push(&batch_of_blocks(0..1));
        let range = out.next_range().unwrap();
        out.at_hand(in_file(&file, range));
        assert!(matches!(out.poll_write(&mut socket, &mut cx), Poll::Ready(Ok(403))));
        let Poll::Ready(Err(Broken::File(fault))) = out.poll_write(&mut socket, &mut cx) else { panic!("no fault") };
        assert_eq!((fault.kind, &fault.path[..]), (DiskFaultKind::Short, "some/file"));
    }

    #[test]
    fn a_header_leaves_while_its_data_is_still_being_read() {
        let (mut out, mut cx) = (Outgoing::default(), Context::from_waker(Waker::noop()));
        let mut socket = Narrow { room: 100, taken: Vec::new() };
        out.push(&batch_of_blocks(0..1));
        assert!(out.next_read(ConnId::accepted(0)).is_some());
        assert!(matches!(out.poll_write(&mut socket, &mut cx), Poll::Ready(Ok(3))));
        assert!(out.poll_write(&mut socket, &mut cx).is_pending());
        out.loaded(PageBuffer::from(&[9; 1000][..]));
        assert!(matches!(out.poll_write(&mut socket, &mut cx), Poll::Ready(Ok(1000))));
    }
}
