//! Who may connect to us, and whom we may dial: a list of addresses, and a filter of the application's own.
//!
//! The engine never learns of either: a dial that is forbidden is to it one that was refused, and who comes in and is forbidden never was there. The list is looked
//! up at once; the filter is asked on a thread of its own, since it may take its time.

use sameseed_core::blocklist::Blocklist;
use std::fmt;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Decides on peers. Every `Fn(SocketAddr) -> bool` is one.
///
/// It is asked before a peer is dialled and when one comes in, and of all that are connected when it is set. It runs on a thread of its own, one question at a time, and may block: then
/// connections wait, and nothing else. When it panics the answer is no. Trackers are not asked about, only peers.
pub trait PeerFilter: Send + Sync + 'static {
    /// Whether we want to have to do with the peer at this address. Who came in has a port that says nothing.
    fn allows(&self, peer: SocketAddr) -> bool;
}

impl<F: Fn(SocketAddr) -> bool + Send + Sync + 'static> PeerFilter for F {
    fn allows(&self, peer: SocketAddr) -> bool {
        self(peer)
    }
}

impl fmt::Debug for dyn PeerFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerFilter")
    }
}

/// The rules of a session.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    blocklist: Option<Arc<Blocklist>>,
    filter: Option<FilterThread>,
    /// How often they were changed: an answer to a question that was asked before is of no use.
    version: u64,
    /// How often the filter was.
    filter_version: u64,
}

/// What the rules say of a peer.
pub(crate) enum Verdict {
    /// At once.
    Given(bool),
    /// When the filter has answered; the number tells whether it still counts then.
    Awaited(u64, oneshot::Receiver<Vec<bool>>),
}

impl Rules {
    pub(crate) fn new(blocklist: Option<Arc<Blocklist>>, filter: Option<Arc<dyn PeerFilter>>) -> Self {
        Rules { blocklist, filter: filter.map(FilterThread::start), version: 0, filter_version: 0 }
    }

    pub(crate) fn set_blocklist(&mut self, blocklist: Option<Arc<Blocklist>>) {
        self.blocklist = blocklist;
        self.version += 1;
    }

    pub(crate) fn set_filter(&mut self, filter: Option<Arc<dyn PeerFilter>>) {
        self.filter = filter.map(FilterThread::start);
        self.version += 1;
        self.filter_version += 1;
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn filter_version(&self) -> u64 {
        self.filter_version
    }

    /// Whether the list has this address.
    pub(crate) fn is_listed(&self, peer: SocketAddr) -> bool {
        self.blocklist.as_ref().is_some_and(|list| list.contains(peer.ip()))
    }

    /// What the rules say of a peer.
    pub(crate) fn judge(&self, peer: SocketAddr) -> Verdict {
        if self.is_listed(peer) {
            return Verdict::Given(false);
        }
        match self.ask(vec![peer]) {
            None => Verdict::Given(true),
            Some(answer) => Verdict::Awaited(self.version, answer),
        }
    }

    /// Asks the filter, when there is one.
    pub(crate) fn ask(&self, peers: Vec<SocketAddr>) -> Option<oneshot::Receiver<Vec<bool>>> {
        self.filter.as_ref().map(|thread| thread.ask(peers))
    }
}

/// A filter at work. Its thread ends when this is dropped; nobody waits for it.
///
/// What waits for it is bounded: a question for each dial under way and each listener, and one with all connections for each change.
#[derive(Debug)]
struct FilterThread {
    questions: mpsc::Sender<(Vec<SocketAddr>, oneshot::Sender<Vec<bool>>)>,
}

impl FilterThread {
    fn start(filter: Arc<dyn PeerFilter>) -> Self {
        let (questions, inbox) = mpsc::channel::<(Vec<SocketAddr>, oneshot::Sender<Vec<bool>>)>();
        let work = move || {
            while let Ok((peers, answer)) = inbox.recv() {
                let allows = |peer: SocketAddr| {
                    catch_unwind(AssertUnwindSafe(|| filter.allows(peer))).unwrap_or_else(|_| {
                        tracing::error!(%peer, "the peer filter has panicked; the peer is kept away");
                        false
                    })
                };
                // Who asked may be gone.
                let _ = answer.send(peers.into_iter().map(allows).collect());
            }
        };
        if let Err(error) = std::thread::Builder::new().name("sameseed-filter".into()).spawn(work) {
            tracing::error!(%error, "no thread for the peer filter: all peers are kept away");
        }
        FilterThread { questions }
    }

    /// The answers come in the order of the peers. None comes from a thread that is gone.
    fn ask(&self, peers: Vec<SocketAddr>) -> oneshot::Receiver<Vec<bool>> {
        let (reply, answer) = oneshot::channel();
        let _ = self.questions.send((peers, reply));
        answer
    }
}
