//! A swarm under turmoil: the real driver with its real tasks, over simulated sockets and disks. Everything random follows from one seed.
//!
//! It finds what lock step cannot: lost wake-ups, partial reads and writes, races at the end.

use super::disk::{Platter, SimDisk};
use super::liar;
use super::net::SimNet;
use super::trace::Trace;
use super::tracker::{self, Ended};
use crate::content;
use driver_tokio::{AddTorrentOptions, Session, SessionConfig};
use sameseed_core::action::Notice;
use sameseed_core::id::Digest;
use sameseed_core::metainfo::Metainfo;
use std::cell::{Cell, RefCell};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// Every client and liar listens here.
pub const PORT: u16 = 6881;
/// The wall clock at the start of every world, in seconds since 1970.
const EPOCH_UNIX_S: u64 = 1_700_000_000;
/// Lengths of the two files; 8 MiB and some, so that the last piece is short.
const FILE_LENS: [u64; 2] = [5_000_000, 3_500_001];
const PIECE_LEN: u32 = 256 * 1024;
/// How finely time passes.
const TICK: Duration = Duration::from_millis(2);
/// No scenario needs more simulated time.
const LONGEST: Duration = Duration::from_secs(600);
/// Segments under way on one connection, and dials in one tick before turmoil gives up.
const TCP_CAPACITY: usize = 256;

/// So much of what a client said is printed when a run fails: enough to see what it waits for.
const LAST_NOTICES: usize = 5;

/// A client to be added.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// It has everything.
    pub seeder: bool,
    /// Peers given by hand.
    pub peers: Vec<SocketAddr>,
    /// Its trackers, each a tier of its own.
    pub trackers: Vec<String>,
    /// So many of its first connections break.
    pub cuts: u32,
}

/// What is known of a client from outside.
#[derive(Debug)]
struct Host {
    name: String,
    platter: Platter,
    life: Rc<Life>,
}

#[derive(Debug, Default)]
struct Life {
    /// How often it was started.
    number: Cell<u32>,
    /// What it said since its last start.
    notices: RefCell<Vec<Notice>>,
    stop: Notify,
    ended: Cell<bool>,
}

/// A world of clients, trackers and liars.
pub struct Swarm {
    sim: turmoil::Sim<'static>,
    seed: u64,
    metainfo: Rc<Metainfo>,
    trace: Trace,
    hosts: Vec<Host>,
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm").field("seed", &self.seed).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Swarm {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_UNIX_S))
            .simulation_duration(LONGEST)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .tcp_capacity(TCP_CAPACITY)
            .build();
        let metainfo = Rc::new(content::torrent("swarm", &FILE_LENS, PIECE_LEN));
        Swarm { sim, seed, metainfo, trace: Trace::default(), hosts: Vec::new() }
    }

    /// The torrent of this world.
    pub fn metainfo(&self) -> &Metainfo {
        &self.metainfo
    }

    /// The address of the client with this number, also before it is added.
    pub fn addr_of(&self, client: usize) -> SocketAddr {
        SocketAddr::new(self.sim.lookup(client_name(client)), PORT)
    }

    /// Adds a tracker that works, for HTTP and UDP; gives its address.
    pub fn add_tracker(&mut self, name: &str) -> SocketAddr {
        self.sim.host(name, tracker::serve);
        SocketAddr::new(self.sim.lookup(name), tracker::PORT)
    }

    /// Adds a tracker that never answers.
    pub fn add_hanging_tracker(&mut self, name: &str) -> SocketAddr {
        self.sim.host(name, tracker::hang);
        SocketAddr::new(self.sim.lookup(name), tracker::PORT)
    }

    /// Adds a peer whose every block is wrong.
    pub fn add_liar(&mut self, name: &str) -> SocketAddr {
        let metainfo = self.metainfo.clone();
        self.sim.host(name, move || liar::serve(metainfo.clone(), PORT));
        SocketAddr::new(self.sim.lookup(name), PORT)
    }

    /// Adds a client; gives its number, counted from 0.
    pub fn add_client(&mut self, client: Client) -> usize {
        let number = self.hosts.len();
        let name = client_name(number);
        let platter = Platter::new(&self.metainfo.layout, client.seeder);
        let life = Rc::new(Life::default());
        let mut metainfo = (*self.metainfo).clone();
        metainfo.trackers = client.trackers.iter().map(|url| vec![url.clone()]).collect();
        let plan = Plan {
            seed: self.seed,
            number: number as u32,
            metainfo,
            client,
            platter: platter.clone(),
            life: life.clone(),
            trace: self.trace.clone(),
        };
        let plan = Rc::new(plan);
        self.sim.host(name.as_str(), move || live(plan.clone()));
        self.hosts.push(Host { name, platter, life });
        number
    }

    /// Whether a client has said that it is complete. [`Swarm::shut_down`] looks whether it is.
    pub fn is_complete(&self, client: usize) -> bool {
        self.said(client, |notice| matches!(notice, Notice::Complete { .. })) > 0
    }

    /// Whether all clients have said so.
    pub fn all_complete(&self) -> bool {
        (0..self.hosts.len()).all(|client| self.is_complete(client))
    }

    /// How many notices of one kind a client has given since its last start.
    pub fn said(&self, client: usize, kind: impl Fn(&Notice) -> bool) -> usize {
        self.hosts[client].life.notices.borrow().iter().filter(|notice| kind(notice)).count()
    }

    /// Runs until `done`.
    ///
    /// # Panics
    /// When that takes longer than `limit` of simulated time, or a host fails.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Swarm) -> bool) {
        let end = self.sim.elapsed() + limit;
        while !done(self) {
            assert!(self.sim.elapsed() <= end, "not done after {limit:?} (seed {}):\n{}", self.seed, self.stories());
            self.sim.step().expect("no host fails");
        }
    }

    /// What each client has come to, a line each: its life, and the last that it said.
    fn stories(&self) -> String {
        let story = |(client, host): (usize, &Host)| {
            let verified = self.said(client, |notice| matches!(notice, Notice::PieceVerified { .. }));
            let complete = if self.is_complete(client) { ", complete" } else { "" };
            let notices = host.life.notices.borrow();
            let last = &notices[notices.len().saturating_sub(LAST_NOTICES)..];
            let Host { name, life, .. } = host;
            format!("{name}, life {}: {verified} pieces verified{complete}; last: {last:?}", life.number.get())
        };
        self.hosts.iter().enumerate().map(story).collect::<Vec<_>>().join("\n")
    }

    /// The power of a client fails: its disk keeps what was written.
    pub fn crash(&mut self, client: usize) {
        self.sim.crash(self.hosts[client].name.as_str());
    }

    /// A crashed client starts again.
    pub fn restart(&mut self, client: usize) {
        self.sim.bounce(self.hosts[client].name.as_str());
    }

    /// Shuts all clients down, runs until they have ended and audits their disks.
    ///
    /// # Panics
    /// When one takes longer than 6 s, or has said that it is complete and its files differ from the formula.
    pub fn shut_down(&mut self) {
        self.hosts.iter().for_each(|host| host.life.stop.notify_one());
        self.run_until(Duration::from_secs(6), |swarm| swarm.hosts.iter().all(|host| host.life.ended.get()));
        for client in (0..self.hosts.len()).filter(|client| self.is_complete(*client)) {
            assert!(self.hosts[client].platter.is_complete(), "client {client} has what it says (seed {})", self.seed);
        }
    }

    /// Simulated time since the start.
    pub fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// How many entries the trace has, and its hash.
    pub fn trace_hash(&self) -> (u64, Digest) {
        self.trace.hash()
    }
}

fn client_name(number: usize) -> String {
    format!("client-{number}")
}

/// All that a client needs to live, and to live again.
struct Plan {
    seed: u64,
    number: u32,
    metainfo: Metainfo,
    client: Client,
    platter: Platter,
    life: Rc<Life>,
    trace: Trace,
}

/// One life of a client.
async fn live(plan: Rc<Plan>) -> Ended {
    let life = &plan.life;
    life.number.set(life.number.get() + 1);
    life.notices.borrow_mut().clear();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&plan.seed.to_le_bytes());
    seed[8..12].copy_from_slice(&plan.number.to_le_bytes());
    seed[12..16].copy_from_slice(&life.number.get().to_le_bytes());
    let mut config = SessionConfig::new(seed, EPOCH_UNIX_S);
    config.bind = Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    config.port = Some(PORT);
    // Each life chops its streams differently.
    let place = plan.number + 1000 * life.number.get();
    let net = SimNet::new(plan.seed, place, plan.client.cuts);
    let disk = SimDisk::new(plan.platter.clone(), plan.seed, place);
    let (session, mut driver) = Session::start(net, disk, config).await?;
    driver.observe(plan.trace.of_host(place));
    let mut notices = session.notices();
    let talk = async {
        let mut add = AddTorrentOptions::new(plan.metainfo.clone(), "/");
        add.peers.clone_from(&plan.client.peers);
        session.add(add).await?;
        loop {
            tokio::select! {
                biased;
                () = life.stop.notified() => break,
                notice = notices.next() => match notice {
                    Some(notice) => life.notices.borrow_mut().push(notice),
                    None => break,
                },
            }
        }
        session.shutdown().await;
        life.ended.set(true);
        Ended::Ok(())
    };
    let ((), talked) = tokio::join!(driver.run(), talk);
    talked
}
