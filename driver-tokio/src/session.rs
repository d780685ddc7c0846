//! The face for embedders: a handle on the whole session that is cheap to clone.
//!
//! The engine lives on one thread; a handle sends it requests through one bounded channel and never touches it.

use crate::add::AddTorrentOptions;
use crate::builder::{SessionBuilder, SessionConfig, StartError};
use crate::disk::Disk;
use crate::driver::Driver;
use crate::events::{Board, Events, Notices};
use crate::explain::Explained;
use crate::filter::PeerFilter;
use crate::net::Net;
use crate::piece_hashes::HashStore;
use crate::request::{Reply, Request};
use crate::resume_file;
use crate::torrent::{Torrent, TorrentError};
use sameseed_core::action::Refusal;
use sameseed_core::blocklist::Blocklist;
use sameseed_core::config::{ActiveLimits, RateLimits, SeedingGoals};
use sameseed_core::event::Command;
use sameseed_core::id::TorrentId;
use sameseed_core::view::{PeerView, View};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Requests under way from all handles; a caller beyond it waits for its turn.
const MAX_REQUESTS: usize = 256;

/// The session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Ended;

/// Why a command was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The session has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The engine refused it; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A handle on a running session; cheap to clone. When the last one is dropped (the handles and readers of its torrents count, too) the session shuts down by itself;
/// [`Session::shutdown`] waits for that.
///
/// ```no_run
/// use driver_tokio::{AddTorrentOptions, Session};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let session = Session::builder().home("downloads").start().await?;
/// let torrent = session.add(AddTorrentOptions::from_file("debian.torrent")?).await?;
/// torrent.wait_complete().await?;
/// session.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Session {
    requests: mpsc::Sender<Request>,
    board: Arc<Board>,
    port: u16,
    resume_dir: Option<Arc<Path>>,
    hash_store: HashStore,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Session {
    /// Settings with good defaults, to be started. This is the way for programs.
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// Binds the sockets and gives a handle with the driver that does the work. The driver must be run (`Driver::run`) on this very
    /// thread. This is the way under a simulator, or for who owns a thread already; else see [`Session::spawn`].
    ///
    /// # Errors
    /// When the port is taken or an address is not ours.
    pub async fn start<N: Net, D: Disk>(
        net: N,
        disk: D,
        config: SessionConfig,
    ) -> Result<(Session, Driver<N, D>), StartError> {
        let (requests, inbox) = mpsc::channel(MAX_REQUESTS);
        let resume_dir: Option<Arc<Path>> = config.resume_dir.as_deref().map(Arc::from);
        if let Some(folder) = &resume_dir {
            resume_file::clean(folder);
        }
        let (board, hash_store) = (Arc::new(Board::default()), config.hash_store.clone());
        let driver = Driver::bind(net, disk, config, inbox, board.clone()).await?;
        let port = driver.port();
        Ok((Session { requests, board, port, resume_dir, hash_store, thread: Arc::default() }, driver))
    }

    /// Starts a session on a thread of its own, from within any runtime.
    ///
    /// # Errors
    /// When the port is taken, an address is not ours, or there is no thread to be had.
    pub async fn spawn<N: Net + Send, D: Disk + Send>(
        net: N,
        disk: D,
        config: SessionConfig,
    ) -> Result<Session, StartError> {
        let (started, answer) = oneshot::channel();
        let work = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(StartError::Thread(error)))),
            };
            runtime.block_on(async move {
                match Session::start(net, disk, config).await {
                    Ok((session, driver)) => {
                        // A caller that is gone has dropped the only handle, and the driver ends by itself.
                        drop(started.send(Ok(session)));
                        driver.run().await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
            // A name server that does not answer holds a thread of the runtime; nobody waits for it.
            runtime.shutdown_background();
        };
        let thread =
            std::thread::Builder::new().name("sameseed-engine".into()).spawn(work).map_err(StartError::Thread)?;
        match answer.await {
            Ok(Ok(session)) => {
                *session.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
                Ok(session)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => {
                join(thread);
                Err(StartError::Thread(io::Error::other("it ended at once")))
            }
        }
    }

    /// The port that the session listens on; 0 when it does not.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Adds a torrent and begins: check what is there, download the rest, seed. Its resume file is read, and its hashes are put away
    /// ([`HashStore`](crate::HashStore)), at once and on the caller's thread.
    ///
    /// # Errors
    /// When the torrent is there already, names a file that it does not have, or the session has ended.
    pub async fn add(&self, options: impl Into<AddTorrentOptions>) -> Result<Torrent, TorrentError> {
        let mut options = options.into();
        if let (None, Some(folder)) = (&options.resume, &self.resume_dir) {
            let path = resume_file::path(folder, options.metainfo.info_hash);
            options.resume = resume_file::load(&path).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "cannot read resume data; everything is checked");
                None
            });
        }
        if options.hashes.is_none() {
            options.hashes = Some(self.hash_store.keep(std::mem::take(&mut options.metainfo.piece_hashes)));
        }
        let about = self.ask(|reply| Request::Add(Box::new(options), reply)).await??;
        Ok(Torrent::new(self.clone(), about))
    }

    /// The torrents that are there, in the order in which they were added.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn torrents(&self) -> Result<Vec<Torrent>, Ended> {
        let there = self.ask(Request::Torrents).await?;
        Ok(there.into_iter().map(|about| Torrent::new(self.clone(), about)).collect())
    }

    /// Keeps peers away whose address is listed, from now on, in place of the former list; those that are connected are closed before this returns. `None` keeps
    /// nobody away.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn set_blocklist(&self, list: Option<Blocklist>) -> Result<(), Ended> {
        self.ask(|reply| Request::SetBlocklist(list.map(Arc::new), reply)).await
    }

    /// Has a filter decide on peers, from now on, in place of the former one. It is asked of all who are connected, and those that it forbids are closed before this returns.
    ///
    /// # Errors
    /// When the session has ended.
    ///
    /// ```no_run
    /// # async fn example(session: driver_tokio::Session) -> Result<(), driver_tokio::Ended> {
    /// use std::net::SocketAddr;
    ///
    /// session.set_peer_filter(|peer: SocketAddr| peer.ip().is_loopback()).await
    /// # }
    /// ```
    pub async fn set_peer_filter(&self, filter: impl PeerFilter) -> Result<(), Ended> {
        self.ask(|reply| Request::SetFilter(Some(Arc::new(filter)), reply)).await
    }

    /// Has no filter decide on peers any more.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn clear_peer_filter(&self) -> Result<(), Ended> {
        self.ask(|reply| Request::SetFilter(None, reply)).await
    }

    /// Gives a torrent more peers to try.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn add_peers(&self, torrent: TorrentId, peers: Vec<SocketAddr>) -> Result<(), Ended> {
        self.requests.send(Request::AddPeers(torrent, peers)).await.map_err(|_| Ended)
    }

    /// Changes how fast bytes may flow: of one torrent, or with `None` of all together. Both are kept.
    ///
    /// # Errors
    /// When the session has ended, or there is no such torrent.
    pub async fn set_limits(&self, torrent: Option<TorrentId>, limits: RateLimits) -> Result<(), CommandError> {
        self.command(Command::SetLimits { torrent, limits }).await
    }

    /// Changes how many torrents may download and how many may seed, at once. Of those that ask for a place the first in the queue have it
    /// ([`View::queue`]); torrents are added at its end, and [`Torrent::move_in_queue`] moves them.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn set_active_limits(&self, limits: ActiveLimits) -> Result<(), CommandError> {
        self.command(Command::SetActiveLimits { limits }).await
    }

    /// Changes when torrents that have no goals of their own have been seeded enough, at once.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn set_seeding_goals(&self, goals: SeedingGoals) -> Result<(), CommandError> {
        self.command(Command::SetGoals { torrent: None, goals: Some(goals) }).await
    }

    /// Gives the engine a command: what [`Torrent`] does, for one torrent by its number, or for all. It has begun when this returns; how it ends is told
    /// by a notice. [`Session::add`] and [`Session::shutdown`] are for what needs more than a command.
    ///
    /// # Errors
    /// When the session has ended, or the engine refuses: there is no such torrent, it is being removed, a name cannot be used.
    ///
    /// ```no_run
    /// # async fn example(session: driver_tokio::Session, torrent: sameseed_core::id::TorrentId) -> Result<(), driver_tokio::CommandError> {
    /// use sameseed_core::event::Command;
    ///
    /// session.command(Command::Pause { torrent: Some(torrent) }).await?;
    /// session.command(Command::Resume { torrent: None }).await?;
    /// session.command(Command::Remove { torrent, delete_data: false }).await
    /// # }
    /// ```
    pub async fn command(&self, command: Command) -> Result<(), CommandError> {
        Ok(self.ask(|reply| Request::Tell(command, reply)).await??)
    }

    /// A picture of all torrents.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn view(&self) -> Result<View, Ended> {
        self.ask(Request::View).await
    }

    /// A picture of one torrent's peers.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn peers(&self, torrent: TorrentId) -> Result<Vec<PeerView>, Ended> {
        self.ask(|reply| Request::Peers(torrent, reply)).await
    }

    /// Why a torrent, and each of its connections, is not faster; `None` when there is no such torrent. To be asked when somebody wants to know,
    /// not all the time: it looks at every piece that is lacking.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn explain(&self, torrent: TorrentId) -> Result<Option<Explained>, Ended> {
        self.ask(|reply| Request::Explain(torrent, reply)).await
    }

    /// A stream of all events from now on. A reader that falls behind by some thousands loses the oldest news of progress, never
    /// the news that a torrent is complete or that the disk refuses.
    pub fn events(&self) -> Events {
        self.board.subscribe(None)
    }

    /// The engine's own news alone, from now on.
    pub fn notices(&self) -> Notices {
        Notices::new(self.events())
    }

    /// One torrent's events from now on.
    pub(crate) fn events_of(&self, torrent: TorrentId) -> Events {
        self.board.subscribe(Some(torrent))
    }

    pub(crate) fn requests(&self) -> &mpsc::Sender<Request> {
        &self.requests
    }

    /// Says goodbye to trackers and peers and waits for the end: every socket is closed and every started write done.
    /// Takes at most `Config::shutdown_timeout` and a second.
    ///
    /// # Panics
    /// When the engine's thread has panicked: its panic is passed on.
    pub async fn shutdown(&self) {
        // An error means that it has ended already.
        let _ = self.requests.send(Request::Shutdown).await;
        self.requests.closed().await;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            join(thread);
        }
    }

    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| Ended)?;
        answer.await.map_err(|_| Ended)
    }
}

/// Waits for a thread that is about to end, and passes its panic on.
fn join(thread: JoinHandle<()>) {
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}
