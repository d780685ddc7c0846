//! The world: clients, trackers and liars on one network, what is done to them, and what is checked after every tick.
//!
//! A panic in a host, an ERROR line and a socket, task or disk operation too many or too few fail the run.

use super::client::{Client, EPOCH_UNIX_S, Life, PORT, Plan, live};
use super::disk::{Health, Platter};
use super::log::LogWatch;
use super::trace::Trace;
use super::{liar, tracker};
use crate::content;
use sameseed_core::action::Notice;
use sameseed_core::id::Digest;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::rng::Rng;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;

/// Lengths of the two files; 8 MiB and some, so that the last piece is short.
const FILE_LENS: [u64; 2] = [5_000_000, 3_500_001];
const PIECE_LEN: u32 = 256 * 1024;
/// How finely time passes.
const TICK: Duration = Duration::from_millis(2);
/// Segments under way on one connection, and dials in one tick before turmoil gives up.
const TCP_CAPACITY: usize = 256;
/// A shutdown takes at most `Config::shutdown_timeout`, and this world some ticks more. The second that the driver allows beyond it is
/// for an engine that is stuck.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(4_100);

/// So much of what a client said is printed when a run fails: enough to see what it waits for.
const LAST_NOTICES: usize = 5;

/// What is known of a client from outside.
#[derive(Debug)]
struct Host {
    name: String,
    platter: Platter,
    life: Rc<Life>,
    /// It was started, and neither crashed nor was shut down since.
    is_up: bool,
}

/// A world of clients, trackers and liars.
pub struct Swarm {
    sim: turmoil::Sim<'static>,
    seed: u64,
    metainfo: Rc<Metainfo>,
    trace: Trace,
    hosts: Vec<Host>,
    log: LogWatch,
}

impl std::fmt::Debug for Swarm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Swarm").field("seed", &self.seed).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Swarm {
    /// An empty world for a torrent of 33 pieces in two files.
    pub fn new(seed: u64) -> Self {
        Swarm::with_torrent(seed, &FILE_LENS, PIECE_LEN)
    }

    /// An empty world for a torrent of these files.
    pub fn with_torrent(seed: u64, file_lens: &[u64], piece_len: u32) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_UNIX_S))
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(20))
            .tcp_capacity(TCP_CAPACITY)
            .build();
        let metainfo = Rc::new(content::torrent("swarm", file_lens, piece_len));
        Swarm { sim, seed, metainfo, trace: Trace::default(), hosts: Vec::new(), log: LogWatch::start() }
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
        self.hosts.push(Host { name, platter, life, is_up: true });
        number
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.hosts.len()
    }

    /// Whether a client has said that it is complete. [`Swarm::shut_down`] looks whether it is.
    pub fn is_complete(&self, client: usize) -> bool {
        self.said(client, |notice| matches!(notice, Notice::Complete { .. })) > 0
    }

    /// Whether all clients have said so.
    pub fn all_complete(&self) -> bool {
        (0..self.hosts.len()).all(|client| self.is_complete(client))
    }

    /// How many pieces a client has verified since its last start.
    pub fn verified(&self, client: usize) -> usize {
        self.said(client, |notice| matches!(notice, Notice::PieceVerified { .. }))
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
            if self.sim.elapsed() > end {
                self.fail(&format!("not done after {limit:?}"));
            }
            self.step();
        }
    }

    /// Runs for so long.
    ///
    /// # Panics
    /// When a host fails.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            self.fail(&format!("a host failed: {error}"));
        }
        let errors = self.log.take_errors();
        if !errors.is_empty() {
            self.fail(&format!("an ERROR line was logged: {}", errors.concat()));
        }
        for host in &self.hosts {
            if let Err(breach) = host.life.account.recount() {
                self.fail(&format!("the account of {} does not balance: {breach}", host.name));
            }
        }
    }

    fn fail(&self, what: &str) -> ! {
        let (seed, at) = (self.seed, self.sim.elapsed());
        panic!("{what} (seed {seed}, at {at:?})\n{}\nthe last log lines:\n{}", self.stories(), self.log.last());
    }

    /// What each client has come to, a line each: its life, what it holds, and the last that it said.
    fn stories(&self) -> String {
        let story = |(client, host): (usize, &Host)| {
            let complete = if self.is_complete(client) { ", complete" } else { "" };
            let notices = host.life.notices.borrow();
            let last = &notices[notices.len().saturating_sub(LAST_NOTICES)..];
            let Host { name, life, is_up, .. } = host;
            let down = if *is_up { "" } else { ", down" };
            let streams = life.account.held().streams;
            format!(
                "{name}, life {}{down}: {} pieces verified{complete}, {streams} connections; last: {last:?}",
                life.number.get(),
                self.verified(client)
            )
        };
        self.hosts.iter().enumerate().map(story).collect::<Vec<_>>().join("\n")
    }

    /// The power of a client fails: its disk keeps what was written.
    pub fn crash(&mut self, client: usize) {
        self.hosts[client].platter.power_off();
        self.take_down(client);
    }

    /// The power of a client fails: of what it wrote since the last sync its disk keeps any part.
    pub fn crash_hard(&mut self, client: usize, rng: &mut Rng) {
        self.hosts[client].platter.power_off_hard(rng);
        self.take_down(client);
    }

    fn take_down(&mut self, client: usize) {
        let host = &mut self.hosts[client];
        host.is_up = false;
        host.life.account.end();
        self.sim.crash(host.name.as_str());
        if let Err(breach) = self.hosts[client].life.account.audit() {
            self.fail(&format!("client {client} crashed and left something behind: {breach}"));
        }
    }

    /// Whether a client runs.
    pub fn is_up(&self, client: usize) -> bool {
        self.hosts[client].is_up
    }

    /// A client that crashed or was shut down starts again.
    pub fn restart(&mut self, client: usize) {
        let host = &mut self.hosts[client];
        host.is_up = true;
        host.life.ended.set(false);
        host.life.stop.replace(Rc::new(Notify::new()));
        self.sim.bounce(host.name.as_str());
    }

    /// A tracker dies, and with it all that it knew. Who asks it hears nothing.
    pub fn kill_tracker(&mut self, name: &str) {
        self.sim.crash(name);
    }

    /// A dead tracker comes back, empty.
    pub fn revive_tracker(&mut self, name: &str) {
        self.sim.bounce(name);
    }

    /// Nothing comes through between two clients: dials fail at once, and connections are dead for good, though neither side learns
    /// of it.
    pub fn partition(&mut self, a: usize, b: usize) {
        self.sim.partition(self.hosts[a].name.as_str(), self.hosts[b].name.as_str());
    }

    /// New connections between two clients work again.
    pub fn repair(&mut self, a: usize, b: usize) {
        self.sim.repair(self.hosts[a].name.as_str(), self.hosts[b].name.as_str());
    }

    /// Whatever two clients send each other waits.
    pub fn hold(&mut self, a: usize, b: usize) {
        self.sim.hold(self.hosts[a].name.as_str(), self.hosts[b].name.as_str());
    }

    /// What waited comes through in one burst.
    pub fn release(&mut self, a: usize, b: usize) {
        self.sim.release(self.hosts[a].name.as_str(), self.hosts[b].name.as_str());
    }

    /// From now on each new connection of a client breaks after less than so many bytes; with `None` none does.
    pub fn cut_below(&mut self, client: usize, bytes: Option<u64>) {
        self.hosts[client].life.weather.cut_below(bytes);
    }

    /// How much a client can receive in a second, on all its connections together; without a limit turmoil's lines are endlessly fast.
    pub fn limit(&mut self, client: usize, bytes_per_second: Option<u64>) {
        self.hosts[client].life.weather.limit(bytes_per_second);
    }

    /// How a client's disk is from now on.
    pub fn set_disk(&mut self, client: usize, health: Health) {
        self.hosts[client].platter.set_health(health);
    }

    /// Shuts one client down and runs until it has ended, with everything that it held.
    ///
    /// # Panics
    /// When that takes longer than it may.
    pub fn stop(&mut self, client: usize) {
        self.hosts[client].life.stop.borrow().notify_one();
        self.run_until(SHUTDOWN_LIMIT, |swarm| swarm.hosts[client].life.ended.get());
        self.hosts[client].is_up = false;
    }

    /// Shuts all clients that run down, runs until they have ended and audits the disks.
    ///
    /// # Panics
    /// When one takes longer than it may, or has said that it is complete and its files differ from the formula.
    pub fn shut_down(&mut self) {
        self.hosts.iter().for_each(|host| host.life.stop.borrow().notify_one());
        let ended = |swarm: &Swarm| swarm.hosts.iter().all(|host| host.life.ended.get() || !host.is_up);
        self.run_until(SHUTDOWN_LIMIT, ended);
        self.hosts.iter_mut().for_each(|host| host.is_up = false);
        for client in (0..self.hosts.len()).filter(|client| self.is_complete(*client)) {
            if !self.hosts[client].platter.is_complete() {
                self.fail(&format!("client {client} says that it is complete, and its files differ from the formula"));
            }
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
