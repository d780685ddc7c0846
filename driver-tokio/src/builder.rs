//! How a session begins: its settings, with defaults that suit a home connection, and why it may not.

use crate::filter::PeerFilter;
use crate::piece_hashes::HashStore;
use crate::session::Session;
use crate::storage::Home;
use crate::{FileDisk, TokioNet};
use sameseed_core::blocklist::Blocklist;
use sameseed_core::config::{ActiveLimits, Config, RateLimits, SeedingGoals};
use sameseed_core::rng::Seed;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// Settings of a session, all of them. [`Session::builder`] is the easy way.
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
    /// Where torrents stand that are added without a home of their own.
    pub home: Home,
    /// Where the hashes of pieces are kept. By default in memory.
    pub hash_store: HashStore,
    /// Peers at these addresses are neither let in nor dialled.
    pub blocklist: Option<Arc<Blocklist>>,
    /// Decides on all other peers.
    pub peer_filter: Option<Arc<dyn PeerFilter>>,
}

impl SessionConfig {
    /// Default settings with a fixed seed and wall clock.
    pub fn new(seed: Seed, unix_time_s: u64) -> Self {
        let engine = Config::default();
        SessionConfig {
            port: Some(engine.listen_port),
            engine,
            bind: None,
            seed,
            unix_time_s,
            resume_dir: None,
            home: Home::folder("."),
            hash_store: HashStore::in_memory(),
            blocklist: None,
            peer_filter: None,
        }
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
    /// No thread for the engine or the disk, or no timer or poller.
    #[error("cannot start the session's threads: {0}")]
    Thread(io::Error),
    /// No randomness.
    #[error("the operating system gives no random numbers: {0}")]
    Seed(io::Error),
}

/// Which port to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// The usual one, or any other when that is taken.
    Usual,
    /// This one.
    Exactly(u16),
    /// None.
    None,
}

/// Settings of a session to be started on a thread of its own, with real sockets and files; from [`Session::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`port`](Self::port) | 6881, or any other when that is taken |
/// | [`bind`](Self::bind) | all addresses of this machine |
/// | [`home`](Self::home) | the current folder |
/// | [`resume_dir`](Self::resume_dir) | none: each start hashes what is there |
/// | [`hash_store`](Self::hash_store) | a file without a name in the folder of resume files, or in the system's for temporary files |
/// | [`limits`](Self::limits) | none |
/// | [`active_limits`](Self::active_limits) | all torrents are active |
/// | [`seeding_goals`](Self::seeding_goals) | none: torrents are seeded until they are paused or removed |
/// | [`max_connections`](Self::max_connections) | 400, of which 100 for one torrent |
/// | [`blocklist`](Self::blocklist), [`peer_filter`](Self::peer_filter) | none |
/// | [`seed`](Self::seed) | drawn from the operating system |
/// | [`disk_threads`](Self::disk_threads) | one for each core |
#[derive(Clone, Debug)]
pub struct SessionBuilder {
    /// Its seed, time and port are replaced at the start.
    config: SessionConfig,
    port: Port,
    seed: Option<Seed>,
    hash_store: Option<HashStore>,
    disk_threads: usize,
}

impl Default for SessionBuilder {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let config = SessionConfig::new(Seed::default(), 0);
        SessionBuilder { config, port: Port::Usual, seed: None, hash_store: None, disk_threads: cores }
    }
}

impl SessionBuilder {
    /// Listens on exactly this port, and fails when it is taken. 0 takes any free one: [`Session::port`] tells which.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Port::Exactly(port);
        self
    }

    /// Lets nobody in. Peers are still dialled.
    #[must_use]
    pub fn without_listening(mut self) -> Self {
        self.port = Port::None;
        self
    }

    /// Listens, dials and sends datagrams from this address only.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.config.bind = Some(address);
        self
    }

    /// Where torrents stand that are added without a home of their own: a folder, or any other [`Home`].
    #[must_use]
    pub fn home(mut self, home: impl Into<Home>) -> Self {
        self.config.home = home.into();
        self
    }

    /// The folder of resume files: what was verified is not read again at the next start. It is made when it is missing.
    #[must_use]
    pub fn resume_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.config.resume_dir = Some(folder.into());
        self
    }

    /// Where the hashes of pieces are kept: 20 bytes a piece, of which torrents that are idle have no need.
    #[must_use]
    pub fn hash_store(mut self, store: HashStore) -> Self {
        self.hash_store = Some(store);
        self
    }

    /// What all torrents together may receive and send, in bytes per second; 0 is no limit. [`Session::set_limits`] changes it later.
    #[must_use]
    pub fn limits(mut self, limits: RateLimits) -> Self {
        self.config.engine.limits = limits;
        self
    }

    /// How many torrents may download and how many may seed at a time; the others wait for their turn. [`Session::set_active_limits`] changes it later.
    #[must_use]
    pub fn active_limits(mut self, limits: ActiveLimits) -> Self {
        self.config.engine.active = limits;
        self
    }

    /// When torrents that have no goals of their own have been seeded enough. [`Session::set_seeding_goals`] changes it later.
    #[must_use]
    pub fn seeding_goals(mut self, goals: SeedingGoals) -> Self {
        self.config.engine.goals = goals;
        self
    }

    /// Connections of all torrents together. Each costs some 20 KiB and a file descriptor.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.engine.max_connections = connections;
        self
    }

    /// Connections of each torrent.
    #[must_use]
    pub fn max_connections_per_torrent(mut self, connections: usize) -> Self {
        self.config.engine.max_connections_per_torrent = connections;
        self
    }

    /// Peers at these addresses are neither let in nor dialled. [`Session::set_blocklist`] changes it later.
    #[must_use]
    pub fn blocklist(mut self, list: Blocklist) -> Self {
        self.config.blocklist = Some(Arc::new(list));
        self
    }

    /// Decides on all other peers. [`Session::set_peer_filter`] changes it later.
    #[must_use]
    pub fn peer_filter(mut self, filter: impl PeerFilter) -> Self {
        self.config.peer_filter = Some(Arc::new(filter));
        self
    }

    /// Everything random follows from it, our peer id too.
    #[must_use]
    pub fn seed(mut self, seed: Seed) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Threads that hash, read and write, at least two. A [`Storage`](crate::Storage) that takes its time wants more.
    #[must_use]
    pub fn disk_threads(mut self, threads: usize) -> Self {
        self.disk_threads = threads;
        self
    }

    /// Changes any other setting of the engine: time-outs, the pool of buffers, how it calls itself.
    #[must_use]
    pub fn engine(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config.engine);
        self
    }

    /// Starts the session on a thread of its own. It may be called within any runtime.
    ///
    /// # Errors
    /// When the port is taken, an address is not ours, or the system gives no thread or no randomness.
    pub async fn start(self) -> Result<Session, StartError> {
        let system = SessionConfig::from_system()?;
        let folders = self.config.resume_dir.clone().into_iter().chain([std::env::temp_dir()]);
        let mut config = SessionConfig {
            hash_store: self.hash_store.unwrap_or_else(|| HashStore::in_first_of(folders)),
            seed: self.seed.unwrap_or(system.seed),
            unix_time_s: system.unix_time_s,
            port: match self.port {
                Port::Usual => system.port,
                Port::Exactly(port) => Some(port),
                Port::None => None,
            },
            ..self.config
        };
        let disk = || FileDisk::with_threads(self.disk_threads).map_err(StartError::Thread);
        let first = disk()?;
        config.engine.check_parallelism = first.check_parallelism();
        match Session::spawn(TokioNet, first, config.clone()).await {
            Err(StartError::Listen { source, .. })
                if self.port == Port::Usual && source.kind() == io::ErrorKind::AddrInUse =>
            {
                config.port = Some(0);
                Session::spawn(TokioNet, disk()?, config).await
            }
            result => result,
        }
    }
}
