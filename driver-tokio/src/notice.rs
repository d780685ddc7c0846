//! Notices on their way to the application. The engine never waits for a reader: a queue that is full loses its oldest
//! news of progress, and the reader can learn how many were lost.

use sameseed_core::action::Notice;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::Notify;

/// Notices that wait for one reader. A user interface that looks once a second at 1,000 pieces a second loses nothing.
const MAX_WAITING: usize = 4096;

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

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    news: Notify,
}

#[derive(Debug, Default)]
struct QueueState {
    waiting: VecDeque<Notice>,
    missed: u64,
    closed: bool,
}

/// A reader's stream of notices, from the moment it was asked for.
#[derive(Debug)]
pub struct Notices {
    queue: Arc<Queue>,
}

impl Board {
    /// A new reader.
    pub(crate) fn subscribe(&self) -> Notices {
        let queue = Arc::new(Queue::default());
        let mut board = lock(&self.state);
        lock(&queue.state).closed = board.closed;
        board.readers.push(Arc::downgrade(&queue));
        Notices { queue }
    }

    /// Gives a notice to every reader.
    pub(crate) fn post(&self, notice: &Notice) {
        lock(&self.state).readers.retain(|reader| {
            let Some(queue) = reader.upgrade() else { return false };
            lock(&queue.state).push(notice.clone());
            queue.news.notify_one();
            true
        });
    }

    /// Nothing more will come.
    pub(crate) fn close(&self) {
        let mut board = lock(&self.state);
        board.closed = true;
        for queue in board.readers.drain(..).filter_map(|reader| reader.upgrade()) {
            lock(&queue.state).closed = true;
            queue.news.notify_one();
        }
    }
}

impl QueueState {
    fn push(&mut self, notice: Notice) {
        if self.waiting.len() >= MAX_WAITING {
            let oldest = self.waiting.iter().position(is_progress).unwrap_or(0);
            self.waiting.remove(oldest);
            self.missed += 1;
        }
        self.waiting.push_back(notice);
    }
}

impl Notices {
    /// The next notice; `None` when the session has ended and everything was read. Giving the future up loses nothing.
    pub async fn next(&mut self) -> Option<Notice> {
        loop {
            let news = self.queue.news.notified();
            {
                let mut state = lock(&self.queue.state);
                if let Some(notice) = state.waiting.pop_front() {
                    return Some(notice);
                }
                if state.closed {
                    return None;
                }
            }
            news.await;
        }
    }

    /// The next notice, if one waits already.
    pub fn try_next(&mut self) -> Option<Notice> {
        lock(&self.queue.state).waiting.pop_front()
    }

    /// How many notices were dropped because this reader was too slow.
    pub fn missed(&self) -> u64 {
        lock(&self.queue.state).missed
    }
}

/// News that a later look at the `View` tells as well, and so may be dropped.
fn is_progress(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::PieceVerified { .. }
            | Notice::PieceFailed { .. }
            | Notice::PeerConnected { .. }
            | Notice::PeerGone { .. }
            | Notice::TrackerAnswered { .. }
            | Notice::TrackerFailed { .. }
    )
}

/// Nothing in here can be left half done by a panic, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::id::{PieceIndex, TorrentId};

    fn verified(piece: u32) -> Notice {
        Notice::PieceVerified { torrent: TorrentId(0), piece: PieceIndex(piece) }
    }

    #[test]
    fn a_full_queue_loses_its_oldest_progress_and_keeps_what_matters() {
        let board = Board::default();
        let mut reader = board.subscribe();
        let checked = Notice::Checked { torrent: TorrentId(0), have: 0 };
        board.post(&checked);
        for piece in 0..MAX_WAITING as u32 + 9 {
            board.post(&verified(piece));
        }
        assert_eq!(reader.missed(), 10);
        assert_eq!(reader.try_next(), Some(checked));
        assert_eq!(reader.try_next(), Some(verified(10)));
    }

    #[tokio::test]
    async fn a_reader_is_woken_by_news_and_by_the_end() {
        let board = Arc::new(Board::default());
        let mut reader = board.subscribe();
        let poster = tokio::spawn({
            let board = board.clone();
            async move {
                board.post(&verified(1));
                tokio::task::yield_now().await;
                board.close();
            }
        });
        assert_eq!(reader.next().await, Some(verified(1)));
        assert_eq!(reader.next().await, None);
        assert_eq!(board.subscribe().next().await, None);
        poster.await.unwrap();
    }
}
