//! The face for embedders: a handle that is cheap to clone, and the settings of a start.
//!
//! The engine lives on one thread; a handle sends it requests through one bounded channel and never touches it.

use crate::disk::Disk;
use crate::driver::Driver;
use crate::net::Net;
use crate::notice::{Board, Notices};
use crate::resume_file;
use sameseed_core::action::Refusal;
use sameseed_core::config::{Config, RateLimits};
use sameseed_core::event::Command;
use sameseed_core::id::{FileIndex, TorrentId};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::rng::Seed;
use sameseed_core::selection::Priority;
use sameseed_core::view::{PeerView, View};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::SystemTime;
use tokio::sync::{mpsc, oneshot};

/// Requests under way from all handles; a caller beyond it waits for its turn.
const MAX_REQUESTS: usize = 256;

/// Settings of a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The engine's own. Its `listen_port` is replaced by the port that was bound.
    pub engine: Config,
    /// Listen, dial and send datagrams from this address only. Without one, IPv4 and (where there is any) IPv6 are used.
    pub bind: Option<IpAddr>,
    /// The port to listen on; 0 takes any free one, `None` does not listen.
    pub port: Option<u16>,
    /// Everything random follows from it.
    pub seed: Seed,
    /// The wall clock at the start, in seconds since 1970.
    pub unix_time_s: u64,
    /// The folder of resume files, one per torrent: what was verified is not read again at the next start. It is made when it is missing.
    /// Without one every start hashes what is there. Several sessions may share one folder.
    pub resume_dir: Option<PathBuf>,
}

impl SessionConfig {
    /// Default settings with a fixed seed and wall clock.
    pub fn new(seed: Seed, unix_time_s: u64) -> Self {
        let engine = Config::default();
        SessionConfig { port: Some(engine.listen_port), engine, bind: None, seed, unix_time_s, resume_dir: None }
    }

    /// Default settings, the seed drawn from the operating system and the wall clock read.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    #[expect(clippy::disallowed_methods, reason = "the wall clock enters here, once")]
    pub fn from_system() -> Result<Self, StartError> {
        let mut seed = Seed::default();
        getrandom::fill(&mut seed).map_err(|source| StartError::Seed(source.into()))?;
        let unix_time_s = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(SessionConfig::new(seed, unix_time_s))
    }
}

/// Why a session could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port is taken, or the address is not ours.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No socket for datagrams.
    #[error("cannot open a UDP socket on {addr}: {source}")]
    Udp {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No thread for the engine, or no timer or poller for it.
    #[error("cannot start the engine's thread: {0}")]
    Thread(io::Error),
    /// No randomness.
    #[error("the operating system gives no random numbers: {0}")]
    Seed(io::Error),
}

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

/// A torrent to add.
#[derive(Clone, Debug)]
pub struct AddTorrentOptions {
    /// What it is.
    pub metainfo: Metainfo,
    /// The folder that its files go to.
    pub dir: PathBuf,
    /// Peers to try at once.
    pub peers: Vec<SocketAddr>,
    /// Extra trackers, asked after the torrent's.
    pub extra_trackers: Vec<String>,
    /// Only check what is on disk: no peers, no trackers, nothing is written.
    pub check_only: bool,
    /// Begin paused: nothing is looked at until it is resumed.
    pub paused: bool,
    /// Resume data to begin with, also of libtorrent and its kin (`.fastresume`). By default that of `SessionConfig::resume_dir`.
    pub resume: Option<Vec<u8>>,
    /// Hash all that is there, whatever the resume data claims.
    pub force_check: bool,
    /// How urgently files are wanted; those not named as usual.
    pub priorities: Vec<(FileIndex, Priority)>,
    /// Ask for pieces in the order of the torrent.
    pub sequential: bool,
}

impl AddTorrentOptions {
    /// Download into `dir`, peers from the torrent's trackers.
    pub fn new(metainfo: Metainfo, dir: impl Into<PathBuf>) -> Self {
        AddTorrentOptions {
            metainfo,
            dir: dir.into(),
            peers: Vec::new(),
            extra_trackers: Vec::new(),
            check_only: false,
            paused: false,
            resume: None,
            force_check: false,
            priorities: Vec::new(),
            sequential: false,
        }
    }
}

/// What a handle asks of the driver.
pub(crate) enum Request {
    Add(Box<AddTorrentOptions>, oneshot::Sender<TorrentId>),
    AddPeers(TorrentId, Vec<SocketAddr>),
    Tell(Command, oneshot::Sender<Result<(), Refusal>>),
    View(oneshot::Sender<View>),
    Peers(TorrentId, oneshot::Sender<Vec<PeerView>>),
    Shutdown,
}

/// A handle on a running session; cheap to clone. When the last one is dropped the session shuts down by itself.
///
/// ```no_run
/// use driver_tokio::{AddTorrentOptions, FileDisk, Session, SessionConfig, TokioNet};
/// use sameseed_core::action::Notice;
/// use sameseed_core::metainfo::Metainfo;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let metainfo = Metainfo::parse(&std::fs::read("debian.torrent")?)?;
/// let session = Session::spawn(TokioNet, FileDisk::new()?, SessionConfig::from_system()?).await?;
/// let mut notices = session.notices();
/// session.add(AddTorrentOptions::new(metainfo, "downloads")).await?;
/// while let Some(notice) = notices.next().await {
///     if matches!(notice, Notice::Complete { .. }) {
///         break;
///     }
/// }
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
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

impl Session {
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
        let board = Arc::new(Board::default());
        let driver = Driver::bind(net, disk, config, inbox, board.clone()).await?;
        let port = driver.port();
        Ok((Session { requests, board, port, resume_dir, thread: Arc::default() }, driver))
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

    /// Adds a torrent and begins: check what is there, download the rest, seed. Its resume file is read at once, on the caller's thread.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn add(&self, mut options: AddTorrentOptions) -> Result<TorrentId, Ended> {
        if let (None, Some(folder)) = (&options.resume, &self.resume_dir) {
            let path = resume_file::path(folder, options.metainfo.info_hash);
            options.resume = resume_file::load(&path).unwrap_or_else(|error| {
                tracing::warn!(path = %path.display(), %error, "cannot read resume data; everything is checked");
                None
            });
        }
        self.ask(|reply| Request::Add(Box::new(options), reply)).await
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

    /// Gives the engine a command: pause, resume, remove, re-check, move and the rest of [`Command`]. It has begun when this returns; how it ends is told
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

    /// A stream of notices from now on. A reader that falls behind by some thousands loses the oldest news of progress, never
    /// the news that a torrent is complete or that the disk refuses.
    pub fn notices(&self) -> Notices {
        self.board.subscribe()
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

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Ended> {
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
