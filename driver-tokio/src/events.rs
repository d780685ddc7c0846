//! News on their way to the application. The engine never waits for a reader: a queue that is full loses its oldest
//! news of progress, and the reader can learn how many were lost.

use crate::burst::let_go;
use futures_core::Stream;
use sameseed_core::action::Notice;
use sameseed_core::id::{FileIndex, TorrentId};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};

/// News that wait for one reader. A user interface that looks once a second at 1,000 pieces a second loses nothing.
const MAX_WAITING: usize = 4096;

/// Something that happened in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// News of the engine: a torrent is complete, a piece verified, a tracker failed, and the rest of [`Notice`].
    Notice(Notice),
    /// The last piece of a file that is wanted was verified and written. It comes after the [`Notice::PieceVerified`] of that piece, and not for files that were found
    /// whole. The file is safe from a crash once the next checkpoint or [`Notice::Complete`] was made.
    FileComplete {
        /// The torrent.
        torrent: TorrentId,
        /// The file.
        file: FileIndex,
    },
}

impl Event {
    /// The torrent that it is about; `None` for the end of the session.
    pub fn torrent(&self) -> Option<TorrentId> {
        match self {
            Event::Notice(notice) => torrent_of(notice),
            Event::FileComplete { torrent, .. } => Some(*torrent),
        }
    }

    /// Whether a later look at the `View` tells it as well, so that it may be dropped.
    fn is_progress(&self) -> bool {
        match self {
            Event::FileComplete { .. } => true,
            Event::Notice(notice) => matches!(
                notice,
                Notice::PieceVerified { .. }
                    | Notice::PieceFailed { .. }
                    | Notice::PeerConnected { .. }
                    | Notice::PeerGone { .. }
                    | Notice::TrackerAnswered { .. }
                    | Notice::TrackerFailed { .. }
                    | Notice::Scraped { .. }
            ),
        }
    }
}

fn torrent_of(notice: &Notice) -> Option<TorrentId> {
    match notice {
        Notice::Checked { torrent, .. }
        | Notice::PieceVerified { torrent, .. }
        | Notice::PieceFailed { torrent, .. }
        | Notice::PiecesLost { torrent, .. }
        | Notice::Complete { torrent, .. }
        | Notice::SeededEnough { torrent, .. }
        | Notice::PeerConnected { torrent, .. }
        | Notice::PeerGone { torrent, .. }
        | Notice::Banned { torrent, .. }
        | Notice::TrackerAnswered { torrent, .. }
        | Notice::TrackerFailed { torrent, .. }
        | Notice::Scraped { torrent, .. }
        | Notice::DiskTrouble { torrent, .. }
        | Notice::ResumeRefused { torrent, .. }
        | Notice::ResumeTrouble { torrent, .. }
        | Notice::Readable { torrent, .. }
        | Notice::TooManyReaders { torrent, .. }
        | Notice::Refused { torrent, .. }
        | Notice::Removed { torrent, .. }
        | Notice::Moved { torrent, .. }
        | Notice::Renamed { torrent, .. }
        | Notice::NotMoved { torrent, .. } => Some(*torrent),
        Notice::ShutDown => None,
    }
}

/// Where the driver posts and every reader has a queue.
#[derive(Debug, Default)]
pub(crate) struct Board {
    state: Mutex<BoardState>,
}

#[derive(Debug, Default)]
struct BoardState {
    readers: Vec<Weak<Queue>>,
    closed: bool,
}

#[derive(Debug)]
struct Queue {
    /// Of this torrent only.
    only: Option<TorrentId>,
    state: Mutex<QueueState>,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Event>,
    missed: u64,
    closed: bool,
    waker: Option<Waker>,
}

/// A stream of events, from the moment it was asked for: of a whole session, or of one torrent, where it ends with the torrent's removal.
///
/// It is a [`Stream`]; [`Events::next`] does without that trait.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

/// The engine's own news alone, as a simulator or a command line wants them.
#[derive(Debug)]
pub struct Notices(Events);

impl Board {
    /// A new reader, of one torrent's events or of all.
    pub(crate) fn subscribe(&self, only: Option<TorrentId>) -> Events {
        let mut board = lock(&self.state);
        let state = QueueState { closed: board.closed, ..QueueState::default() };
        let queue = Arc::new(Queue { only, state: Mutex::new(state) });
        board.readers.push(Arc::downgrade(&queue));
        Events { queue }
    }

    /// Gives an event to every reader whom it concerns.
    pub(crate) fn post(&self, event: &Event) {
        let torrent = event.torrent();
        let is_last =
            |only: Option<TorrentId>| only.is_some() && matches!(event, Event::Notice(Notice::Removed { .. }));
        lock(&self.state).readers.retain(|reader| {
            let Some(queue) = reader.upgrade() else { return false };
            if queue.only.is_some() && queue.only != torrent {
                return true;
            }
            let mut state = lock(&queue.state);
            state.push(event.clone());
            state.closed |= is_last(queue.only);
            state.wake();
            !state.closed
        });
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        let mut board = lock(&self.state);
        board.closed = true;
        for queue in board.readers.drain(..).filter_map(|reader| reader.upgrade()) {
            let mut state = lock(&queue.state);
            state.closed = true;
            state.wake();
        }
    }
}

impl QueueState {
    fn push(&mut self, event: Event) {
        if self.waiting.len() >= MAX_WAITING {
            let oldest = self.waiting.iter().position(Event::is_progress).unwrap_or(0);
            self.waiting.remove(oldest);
            self.missed += 1;
        }
        self.waiting.push_back(event);
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.waiting.pop_front();
        let_go(&mut self.waiting);
        event
    }

    fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Events {
    /// The next event; `None` when the session has ended (or the torrent is gone) and everything was read. Giving the future up loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The next event, if one waits already.
    pub fn try_next(&mut self) -> Option<Event> {
        lock(&self.queue.state).pop()
    }

    /// How many events were dropped because this reader was too slow.
    pub fn missed(&self) -> u64 {
        lock(&self.queue.state).missed
    }

    fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut state = lock(&self.queue.state);
        if let Some(event) = state.pop() {
            return Poll::Ready(Some(event));
        }
        if state.closed {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.get_mut().poll(cx)
    }
}

impl Notices {
    pub(crate) fn new(events: Events) -> Self {
        Notices(events)
    }

    /// As [`Events::next`].
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            if let Event::Notice(notice) = self.0.next().await? {
                return Some(notice);
            }
        }
    }

    /// As [`Events::try_next`].
    pub fn try_next(&mut self) -> Option<Notice> {
        loop {
            if let Event::Notice(notice) = self.0.try_next()? {
                return Some(notice);
            }
        }
    }

    /// As [`Events::missed`].
    pub fn missed(&self) -> u64 {
        self.0.missed()
    }
}

/// Nothing in here can be left half done by a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::id::PieceIndex;

    fn verified(torrent: u32, piece: u32) -> Event {
        Event::Notice(Notice::PieceVerified { torrent: TorrentId(torrent), piece: PieceIndex(piece) })
    }

    #[test]
    fn a_full_queue_loses_its_oldest_progress_and_keeps_what_matters() {
        let board = Board::default();
        let mut reader = board.subscribe(None);
        let checked = Event::Notice(Notice::Checked { torrent: TorrentId(0), have: 0 });
        board.post(&checked);
        for piece in 0..MAX_WAITING as u32 + 9 {
            board.post(&verified(0, piece));
        }
        assert_eq!(reader.missed(), 10);
        assert_eq!(reader.try_next(), Some(checked));
        assert_eq!(reader.try_next(), Some(verified(0, 10)));
    }

    #[tokio::test]
    async fn a_reader_is_woken_by_news_and_by_the_end() {
        let board = Arc::new(Board::default());
        let mut reader = board.subscribe(None);
        let poster = tokio::spawn({
            let board = board.clone();
            async move {
                board.post(&verified(0, 1));
                tokio::task::yield_now().await;
                board.close();
            }
        });
        assert_eq!(reader.next().await, Some(verified(0, 1)));
        assert_eq!(reader.next().await, None);
        assert_eq!(board.subscribe(None).next().await, None);
        poster.await.unwrap();
    }

    #[tokio::test]
    async fn a_torrents_reader_hears_of_no_other_and_ends_with_it() {
        let board = Board::default();
        let (mut all, mut one) = (board.subscribe(None), board.subscribe(Some(TorrentId(1))));
        let removed = |torrent| Event::Notice(Notice::Removed { torrent: TorrentId(torrent), fault: None });
        let file = Event::FileComplete { torrent: TorrentId(1), file: FileIndex(3) };
        for event in [verified(0, 1), verified(1, 2), removed(0), file.clone(), removed(1), verified(1, 3)] {
            board.post(&event);
        }
        assert_eq!(
            [one.next().await, one.next().await, one.next().await],
            [Some(verified(1, 2)), Some(file), Some(removed(1))]
        );
        assert_eq!(one.next().await, None);
        let mut count = 0;
        while all.try_next().is_some() {
            count += 1;
        }
        assert_eq!(count, 6);
    }

    #[tokio::test]
    async fn the_engines_news_alone_leave_out_what_the_driver_adds() {
        let board = Board::default();
        let mut notices = Notices::new(board.subscribe(None));
        board.post(&Event::FileComplete { torrent: TorrentId(1), file: FileIndex(3) });
        board.post(&Event::Notice(Notice::ShutDown));
        board.close();
        assert_eq!((notices.next().await, notices.next().await), (Some(Notice::ShutDown), None));
    }
}
