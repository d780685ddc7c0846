//! The driver's side of readers: each waits in the engine for its bytes, then in the disk for the read.
//!
//! A reader has two numbers in the engine: one waits for what is to be read now, the other for what lies ahead.

use crate::disk::{Disk, ReadFor, ReadRequest};
use crate::net::Net;
use crate::request::{OpenReader, Read, ReadFile, Reply};
use crate::shared::{Machine, Shared};
use sameseed_core::action::Refusal;
use sameseed_core::event::Command;
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::id::{FileIndex, PieceIndex, ReaderId, TorrentId};
use sha_lanes::PageBuffer;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::ops::Range;
use std::task::Context;
use tokio::sync::oneshot;

/// The engine's numbers of these readers begin here, so that `Command::Await` has the lower half for itself.
const FIRST_NUMBER: u64 = 1 << 63;
/// Bytes of one read, whatever a reader asks for.
const MAX_READ_BYTES: u64 = 1 << 20;

/// All readers.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    open: BTreeMap<u64, Reading>,
    /// Reads that the disk is at.
    at_disk: BTreeMap<u64, Reply<Read>>,
    next_reader: u64,
    next_read: u64,
}

#[derive(Debug)]
struct Reading {
    torrent: TorrentId,
    file: FileIndex,
    alive: oneshot::Sender<Infallible>,
    /// What it waits for, until the engine says that it is there.
    wanted: Option<(Range<u64>, Reply<Read>)>,
}

/// The engine's number for what a reader wants now.
fn now(reader: u64) -> ReaderId {
    ReaderId(FIRST_NUMBER + 2 * reader)
}

/// The engine's number for what it will want.
fn ahead(reader: u64) -> ReaderId {
    ReaderId(FIRST_NUMBER + 2 * reader + 1)
}

/// Whether the engine speaks of one of these readers; of the application's own, the application hears.
pub(crate) fn is_ours(reader: ReaderId) -> bool {
    reader.0 >= FIRST_NUMBER
}

impl<M: Machine, N: Net, D: Disk> Shared<M, N, D> {
    pub(crate) fn open_reader(&mut self, open: OpenReader) {
        let OpenReader { torrent, file, alive, reply } = open;
        let answer = match self.known.layout(torrent) {
            None => Err(Refusal::Unknown),
            Some(layout) if file.0 as usize >= layout.files().len() => Err(Refusal::NoSuchFile),
            Some(_) => {
                let number = self.readings.next_reader;
                self.readings.next_reader += 1;
                self.readings.open.insert(number, Reading { torrent, file, alive, wanted: None });
                Ok(number)
            }
        };
        let _ = reply.send(answer);
    }

    /// A reader wants bytes.
    pub(crate) fn read_file(&mut self, read: ReadFile) {
        let ReadFile { reader, bytes, ahead: ahead_bytes, reply } = read;
        let Some(reading) = self.readings.open.get_mut(&reader) else {
            let _ = reply.send(Err(gone()));
            return;
        };
        let (torrent, file) = (reading.torrent, reading.file);
        let bytes = bytes.start..bytes.end.min(bytes.start.saturating_add(MAX_READ_BYTES));
        let Some((_, _, len)) = self.place_of(torrent, file, &bytes) else {
            let _ = reply.send(Ok(Vec::new()));
            return;
        };
        let bytes = bytes.start..bytes.start + u64::from(len);
        let soon = bytes.end..bytes.end.saturating_add(ahead_bytes);
        if let Some(reading) = self.readings.open.get_mut(&reader) {
            reading.wanted = Some((bytes.clone(), reply));
        }
        let awaited = self.own_command(Command::Await { torrent, reader: now(reader), file, bytes });
        if let Err(why) = awaited {
            let kind = match why {
                Refusal::Unknown | Refusal::Leaving => io::ErrorKind::NotFound,
                _ => io::ErrorKind::Other,
            };
            self.fail_reader(reader, io::Error::new(kind, why));
        }
        // It is a wish; the wait itself tells what is wrong. It takes the place of the one before, also when it is for nothing.
        let _ = self.own_command(Command::Await { torrent, reader: ahead(reader), file, bytes: soon });
    }

    /// The engine says that a reader can read.
    pub(crate) fn readable(&mut self, reader: ReaderId) {
        let number = reader.0.wrapping_sub(FIRST_NUMBER) / 2;
        let Some(reading) = self.readings.open.get_mut(&number).filter(|_| now(number) == reader) else { return };
        let (torrent, file) = (reading.torrent, reading.file);
        let Some((bytes, reply)) = reading.wanted.take() else { return };
        let Some((piece, begin, len)) = self.place_of(torrent, file, &bytes) else { return };
        let read = self.readings.next_read;
        self.readings.next_read += 1;
        self.readings.at_disk.insert(read, reply);
        let reader = ReadFor::Reader(read);
        self.disk.read(ReadRequest { reader, torrent, piece, begin, len, buffer: PageBuffer::default() });
    }

    /// The engine does not hear a reader, because too many wait.
    pub(crate) fn too_many_readers(&mut self, reader: ReaderId) {
        let number = reader.0.wrapping_sub(FIRST_NUMBER) / 2;
        if now(number) == reader {
            self.fail_reader(number, io::Error::other("too many readers of this torrent wait already"));
        }
    }

    /// The disk has read.
    pub(crate) fn reader_done(&mut self, read: u64, outcome: Result<PageBuffer, DiskFault>) {
        if let Some(reply) = self.readings.at_disk.remove(&read) {
            let _ = reply
                .send(outcome.map(|bytes| bytes.to_vec()).map_err(|fault| io::Error::new(kind_of(fault.kind), fault)));
        }
    }

    /// A torrent is gone, and its readers with it.
    pub(crate) fn end_readers(&mut self, torrent: TorrentId) {
        let of = self.readings.open.extract_if(.., |_, reading| reading.torrent == torrent);
        for (_, reply) in of.filter_map(|(_, reading)| reading.wanted) {
            let _ = reply.send(Err(gone()));
        }
    }

    /// Readers that were dropped wait no longer.
    pub(crate) fn end_dropped_readers(&mut self, cx: &mut Context<'_>) {
        let dropped = self.readings.open.extract_if(.., |_, reading| reading.alive.poll_closed(cx).is_ready());
        for (number, Reading { torrent, .. }) in dropped.collect::<Vec<_>>() {
            for reader in [now(number), ahead(number)] {
                // A torrent that is leaving has ended it already.
                let _ = self.own_command(Command::EndAwait { torrent, reader });
            }
        }
    }

    fn fail_reader(&mut self, number: u64, error: io::Error) {
        let wanted = self.readings.open.get_mut(&number).and_then(|reading| reading.wanted.take());
        if let Some((_, reply)) = wanted {
            let _ = reply.send(Err(error));
        }
    }

    /// Where the first of a file's bytes stand: the piece, from where in it, and how many of them lie in it. `None` when there are none.
    fn place_of(&self, torrent: TorrentId, file: FileIndex, bytes: &Range<u64>) -> Option<(PieceIndex, u32, u32)> {
        let layout = self.known.layout(torrent)?;
        let entry = layout.files().get(file.0 as usize)?;
        let len = bytes.end.min(entry.len).checked_sub(bytes.start).filter(|len| *len > 0)?;
        let (at, piece_len) = (entry.offset + bytes.start, u64::from(layout.piece_len()));
        let begin = at % piece_len;
        Some((PieceIndex((at / piece_len) as u32), begin as u32, len.min(piece_len - begin) as u32))
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, Refusal::Unknown)
}

fn kind_of(kind: DiskFaultKind) -> io::ErrorKind {
    match kind {
        DiskFaultKind::Full => io::ErrorKind::StorageFull,
        DiskFaultKind::Denied => io::ErrorKind::PermissionDenied,
        DiskFaultKind::NotFound => io::ErrorKind::NotFound,
        DiskFaultKind::Short => io::ErrorKind::UnexpectedEof,
        DiskFaultKind::NotRegular | DiskFaultKind::Io => io::ErrorKind::Other,
    }
}
