//! A file of a torrent, read while it is downloaded.

use crate::request::{OpenReader, ReadFile, Request};
use crate::session::Session;
use crate::torrent::{About, TorrentError};
use sameseed_core::action::Refusal;
use sameseed_core::id::FileIndex;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::sync::{mpsc, oneshot};

/// Bytes asked for at a time: few round trips to the disk, and soon there on a slow line.
const READ_BYTES: u64 = 256 * 1024;
/// What is fetched ahead of a reader, unless it says something else: some ten seconds of a film.
const READ_AHEAD_BYTES: u64 = 8 << 20;

/// A file that can be read and sought in as if it were whole ([`AsyncRead`], [`AsyncSeek`]): what is not there yet is waited for, and fetched before all else, with some
/// megabytes ahead. From [`Torrent::reader`](crate::Torrent::reader).
///
/// A read ends with an error when the torrent was removed (`NotFound`), the session has ended (`BrokenPipe`), the disk refuses, or too many readers wait; another
/// try is allowed. While a torrent is paused, checked or moved its readers wait.
pub struct FileReader {
    requests: mpsc::Sender<Request>,
    number: u64,
    len: u64,
    position: u64,
    read_ahead: u64,
    /// What was read and not yet given away.
    buffer: Vec<u8>,
    given: usize,
    reading: Option<Reading>,
    /// The driver forgets the reader when this is dropped.
    _alive: oneshot::Receiver<Infallible>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send + Sync>>;

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("len", &self.len).field("position", &self.position).finish_non_exhaustive()
    }
}

impl FileReader {
    pub(crate) async fn open(session: &Session, about: &About, file: FileIndex) -> Result<Self, TorrentError> {
        let entry = about.layout.files().get(file.0 as usize).ok_or(Refusal::NoSuchFile)?;
        let (alive, other_end) = oneshot::channel();
        let request = |reply| Request::OpenReader(OpenReader { torrent: about.id, file, alive, reply });
        let number = session.ask(request).await??;
        Ok(FileReader {
            requests: session.requests().clone(),
            number,
            len: entry.len,
            position: 0,
            read_ahead: READ_AHEAD_BYTES,
            buffer: Vec::new(),
            given: 0,
            reading: None,
            _alive: other_end,
        })
    }

    /// The file's length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the file has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where the next read begins, in bytes from the start.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes beyond what is read are fetched ahead of others, from the next read on. Up to 16 pieces count.
    pub fn set_read_ahead(&mut self, bytes: u64) {
        self.read_ahead = bytes;
    }

    fn begin_read(&self) -> Reading {
        let end = self.position.saturating_add(READ_BYTES).min(self.len);
        let (reader, bytes, ahead) = (self.number, self.position..end, self.read_ahead);
        let requests = self.requests.clone();
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let ended = || io::Error::new(io::ErrorKind::BrokenPipe, crate::Ended);
            let request = Request::ReadFile(ReadFile { reader, bytes, ahead, reply });
            requests.send(request).await.map_err(|_| ended())?;
            answer.await.map_err(|_| ended())?
        })
    }
}

impl AsyncRead for FileReader {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let reader = self.get_mut();
        if reader.given == reader.buffer.len() {
            if reader.position >= reader.len || into.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let mut reading = reader.reading.take().unwrap_or_else(|| reader.begin_read());
            let Poll::Ready(read) = reading.as_mut().poll(cx) else {
                reader.reading = Some(reading);
                return Poll::Pending;
            };
            (reader.buffer, reader.given) = (read?, 0);
        }
        let rest = &reader.buffer[reader.given..];
        let step = rest.len().min(into.remaining());
        into.put_slice(&rest[..step]);
        reader.given += step;
        reader.position += step as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for FileReader {
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let reader = self.get_mut();
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => reader.position.checked_add_signed(by),
            SeekFrom::End(by) => reader.len.checked_add_signed(by),
        };
        let target =
            target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the file's beginning"))?;
        if target != reader.position {
            // What is under way would be of another place; giving the future up gives the wait up at the next read.
            reader.reading = None;
            let kept = (reader.position - reader.given as u64)
                ..(reader.position + (reader.buffer.len() - reader.given) as u64);
            match kept.contains(&target) {
                true => reader.given = (target - kept.start) as usize,
                false => (reader.buffer, reader.given) = (Vec::new(), 0),
            }
            reader.position = target;
        }
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}
