//! The engine's thread: sockets are bound, tasks are started, and one loop brings requests, disk completions and the timer to the engine.
//!
//! Every task is joined or aborted at the end, and a panic in one is raised again here.

use crate::add::AddTorrentOptions;
use crate::builder::{SessionConfig, StartError};
use crate::burst::let_go_list;
use crate::clock::Clock;
use crate::disk::{Disk, DiskDone, Location};
use crate::events::Board;
use crate::fault::is_exhausted;
use crate::filter::Rules;
use crate::gate::admits;
use crate::gauge::TaskGauge;
use crate::link;
use crate::net::{Listener, Net, Udp};
use crate::piece_hashes::PieceHashes;
use crate::request::Request;
use crate::resume_file;
use crate::shared::{Machine, Shared, UdpQueue};
use crate::storage::Home;
use crate::torrent::About;
use sameseed_core::action::{Action, Destination, Refusal, TxBatch};
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event};
use sameseed_core::id::TorrentId;
use sameseed_core::time::{Duration, Instant};
use std::cell::RefCell;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{Sleep, sleep};

/// Requests served in one turn, before connections have theirs.
const REQUESTS_PER_TURN: usize = 32;
/// How long nothing is accepted after the system ran out of sockets; some may be closed meanwhile.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a UDP socket rests after an error, so that a lasting one does not spin.
const UDP_PAUSE: Duration = Duration::from_millis(10);
/// The largest datagram there is.
const MAX_DATAGRAM_BYTES: usize = 65_536;
/// The engine is done at most this long after its `shutdown_timeout`; later the driver ends without it.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Sees everything that enters and leaves the engine: for traces, recordings and tests.
pub trait Observer: 'static {
    /// An event, just before the engine takes it in.
    fn event(&mut self, now: Instant, event: &Event<'_>);
    /// An action, just before it is carried out.
    fn action(&mut self, now: Instant, action: &Action);
    /// Bytes to send, just before they are queued.
    fn transmit(&mut self, now: Instant, to: Destination, batch: &TxBatch);
}

/// A session's engine with its sockets, ready to run. See `Session::start`.
pub struct Driver<N: Net, D: Disk> {
    shared: Rc<RefCell<Shared<Engine, N, D>>>,
    listeners: Vec<N::Listener>,
    sockets: Vec<N::Udp>,
    port: u16,
    shutdown_timeout: Duration,
    adding: Adding,
    board: Arc<Board>,
    /// Declared last, so that a handle that waits for the end sees everything else gone.
    inbox: mpsc::Receiver<Request>,
}

impl<N: Net, D: Disk> std::fmt::Debug for Driver<N, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("port", &self.port).finish_non_exhaustive()
    }
}

impl<N: Net, D: Disk> Driver<N, D> {
    pub(crate) async fn bind(
        net: N,
        disk: D,
        config: SessionConfig,
        inbox: mpsc::Receiver<Request>,
        board: Arc<Board>,
    ) -> Result<Self, StartError> {
        let SessionConfig {
            mut engine, bind, port, seed, unix_time_s, resume_dir, home, blocklist, peer_filter, ..
        } = config;
        engine.keep_resume |= resume_dir.is_some();
        let listeners = match port {
            Some(port) => listen(&net, bind, port).await?,
            None => Vec::new(),
        };
        let port = listeners.first().and_then(|first| first.local_addr().ok()).map_or(0, |addr| addr.port());
        let sockets = bind_udp(&net, bind, port).await?;
        engine.listen_port = port;
        if let Some(ip) = bind.filter(|ip| !ip.is_unspecified() && !engine.own_ips.contains(ip)) {
            engine.own_ips.push(ip);
        }
        let shutdown_timeout = engine.shutdown_timeout;
        let clock = Clock::start();
        let source = bind.filter(|ip| !ip.is_unspecified());
        let machine = Engine::new(engine, seed, clock.now(), unix_time_s);
        let rules = Rules::new(blocklist, peer_filter);
        let shared = Shared::new(machine, clock, net, disk, source, rules, board.clone());
        let adding = Adding { resume_dir, home, next: 0 };
        Ok(Driver { shared, listeners, sockets, port, shutdown_timeout, adding, board, inbox })
    }

    /// The port that is listened on; 0 when none is.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Has `observer` see everything that enters and leaves the engine from now on.
    pub fn observe(&mut self, observer: impl Observer) {
        self.shared.borrow_mut().heart.observer = Some(Box::new(observer));
    }

    /// Counts the tasks that this driver runs: two for each UDP socket, one for each listener, connection, dial and network operation.
    pub fn tasks(&self) -> TaskGauge {
        self.shared.borrow().gauge.clone()
    }

    /// Does all the work, until the session is shut down or its last handle is dropped.
    ///
    /// # Panics
    /// When a law of the engine or of a task is broken: the panic is passed on.
    pub async fn run(self) {
        let Driver { shared, listeners, sockets, shutdown_timeout, adding, board, mut inbox, port: _ } = self;
        let tasks = LocalSet::new();
        tasks
            .run_until(async {
                start_tasks(&shared, listeners, sockets);
                Turn::new(&shared, &mut inbox, shutdown_timeout, adding).await;
                end_tasks(&shared).await;
            })
            .await;
        drop(tasks);
        // The disk ends with it: it finishes what was begun.
        drop(shared);
        board.close();
        drop(inbox);
    }
}

/// Listens on the address given, or on all of IPv4 and, where there is any, of IPv6.
async fn listen<N: Net>(net: &N, bind: Option<IpAddr>, port: u16) -> Result<Vec<N::Listener>, StartError> {
    let addr = SocketAddr::new(bind.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port);
    let first = net.listen(addr).await.map_err(|source| StartError::Listen { addr, source })?;
    let port = first.local_addr().map_err(|source| StartError::Listen { addr, source })?.port();
    let mut listeners = vec![first];
    if bind.is_none() {
        match net.listen((Ipv6Addr::UNSPECIFIED, port).into()).await {
            Ok(listener) => listeners.push(listener),
            Err(error) => tracing::debug!(%error, "not listening on IPv6"),
        }
    }
    Ok(listeners)
}

/// Sockets for UDP trackers: on the listening port when it is free, else on any.
async fn bind_udp<N: Net>(net: &N, bind: Option<IpAddr>, port: u16) -> Result<Vec<N::Udp>, StartError> {
    async fn on<N: Net>(net: &N, ip: IpAddr, port: u16) -> Result<N::Udp, StartError> {
        if let Ok(socket) = net.bind_udp((ip, port).into()).await {
            return Ok(socket);
        }
        let addr = SocketAddr::from((ip, 0));
        net.bind_udp(addr).await.map_err(|source| StartError::Udp { addr, source })
    }
    let mut sockets = vec![on(net, bind.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), port).await?];
    if bind.is_none() {
        match on(net, Ipv6Addr::UNSPECIFIED.into(), port).await {
            Ok(socket) => sockets.push(socket),
            Err(error) => tracing::debug!(%error, "no UDP on IPv6"),
        }
    }
    Ok(sockets)
}

fn start_tasks<M: Machine, N: Net, D: Disk>(
    shared: &Rc<RefCell<Shared<M, N, D>>>,
    listeners: Vec<N::Listener>,
    sockets: Vec<N::Udp>,
) {
    let mut now = shared.borrow_mut();
    for listener in listeners {
        now.spawn(accept(shared.clone(), listener));
    }
    for socket in sockets {
        let Ok(local) = socket.local_addr() else { continue };
        let number = now.udp.len();
        now.udp.push(UdpQueue { local, waiting: Default::default(), waker: None });
        let socket = Rc::new(socket);
        now.spawn(receive_datagrams(shared.clone(), socket.clone()));
        now.spawn(send_datagrams(shared.clone(), number, socket));
    }
}

/// Stops every task and waits for it. Dropping a task closes its socket.
async fn end_tasks<M: Machine, N: Net, D: Disk>(shared: &Rc<RefCell<Shared<M, N, D>>>) {
    let mut tasks = std::mem::take(&mut shared.borrow_mut().tasks);
    tasks.abort_all();
    while let Some(result) = tasks.join_next().await {
        reraise(result);
    }
}

fn reraise(result: Result<(), tokio::task::JoinError>) {
    if let Err(error) = result
        && error.is_panic()
    {
        std::panic::resume_unwind(error.into_panic());
    }
}

async fn accept<M: Machine, N: Net, D: Disk>(shared: Rc<RefCell<Shared<M, N, D>>>, listener: N::Listener) {
    loop {
        match listener.accept().await {
            // Who is kept away is closed, and the engine never hears of it.
            Ok((_, from)) if !admits(&shared, from).await => {}
            Ok((stream, from)) => {
                let mut now = shared.borrow_mut();
                if let Some(conn) = now.accepted(from) {
                    now.spawn(link::serve(shared.clone(), conn, stream));
                }
            }
            Err(error) => {
                // Most errors concern the one connection that was about to come in (accept(2)).
                tracing::debug!(%error, "cannot accept");
                if is_exhausted(&error) {
                    sleep(ACCEPT_PAUSE).await;
                } else {
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

async fn receive_datagrams<M: Machine, N: Net, D: Disk>(shared: Rc<RefCell<Shared<M, N, D>>>, socket: Rc<N::Udp>) {
    let mut buffer = vec![0; MAX_DATAGRAM_BYTES];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((len, from)) => shared.borrow_mut().tell(Event::Datagram { from, bytes: &mut buffer[..len] }),
            Err(error) => {
                tracing::debug!(%error, "cannot receive datagrams");
                sleep(UDP_PAUSE).await;
            }
        }
    }
}

async fn send_datagrams<M: Machine, N: Net, D: Disk>(
    shared: Rc<RefCell<Shared<M, N, D>>>,
    number: usize,
    socket: Rc<N::Udp>,
) {
    loop {
        let (to, bytes) = poll_fn(|cx| shared.borrow_mut().poll_datagram(number, cx)).await;
        if let Err(error) = socket.send_to(&bytes, to).await {
            // Lost, as datagrams may be: the engine sends again when no answer comes.
            tracing::debug!(%error, %to, "cannot send a datagram");
        }
    }
}

/// The loop as one future: the rarest source first, and a budget for the one that others can fill at will.
struct Turn<'a, M, N, D> {
    shared: &'a Rc<RefCell<Shared<M, N, D>>>,
    inbox: &'a mut mpsc::Receiver<Request>,
    shutdown_timeout: Duration,
    adding: Adding,
    /// Set once the engine was told to stop: then the driver ends, whatever the engine does.
    deadline: Option<Pin<Box<Sleep>>>,
    timer: Pin<Box<Sleep>>,
    done: Vec<DiskDone>,
}

/// What is needed to add torrents.
struct Adding {
    resume_dir: Option<PathBuf>,
    /// Of who has none of its own.
    home: Home,
    /// The number of the next one.
    next: u32,
}

impl<'a, M: Machine, N: Net, D: Disk> Turn<'a, M, N, D> {
    fn new(
        shared: &'a Rc<RefCell<Shared<M, N, D>>>,
        inbox: &'a mut mpsc::Receiver<Request>,
        shutdown_timeout: Duration,
        adding: Adding,
    ) -> Self {
        let timer = Box::pin(sleep(Duration::ZERO));
        Turn { shared, inbox, shutdown_timeout, adding, deadline: None, timer, done: Vec::new() }
    }
}

impl<M: Machine, N: Net, D: Disk> Future for Turn<'_, M, N, D> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let turn = self.get_mut();
        let mut shared = turn.shared.borrow_mut();
        let shared = &mut *shared;
        shared.turn = Some(cx.waker().clone());
        if let Some(deadline) = &mut turn.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            tracing::warn!("the engine did not stop in time");
            return Poll::Ready(());
        }
        turn.poll_requests(shared, cx);
        shared.end_dropped_readers(cx);
        if shared.disk.poll_done(cx, &mut turn.done).is_ready() {
            turn.done.drain(..).for_each(|done| shared.disk_done(done));
            let_go_list(&mut turn.done);
            cx.waker().wake_by_ref();
        }
        turn.poll_timer(shared, cx);
        while let Poll::Ready(Some(result)) = shared.tasks.poll_join_next(cx) {
            reraise(result);
        }
        if shared.shut_down { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<M: Machine, N: Net, D: Disk> Turn<'_, M, N, D> {
    fn poll_requests(&mut self, shared: &mut Shared<M, N, D>, cx: &mut Context<'_>) {
        for _ in 0..REQUESTS_PER_TURN {
            match self.inbox.poll_recv(cx) {
                Poll::Pending => return,
                Poll::Ready(Some(Request::Shutdown)) => self.begin_end(shared, cx),
                // No handle is left.
                Poll::Ready(None) => return self.begin_end(shared, cx),
                Poll::Ready(Some(request)) => self.serve(shared, request),
            }
        }
        cx.waker().wake_by_ref();
    }

    fn begin_end(&mut self, shared: &mut Shared<M, N, D>, cx: &mut Context<'_>) {
        if self.deadline.is_some() {
            return;
        }
        let mut deadline = Box::pin(sleep(self.shutdown_timeout + SHUTDOWN_GRACE));
        // Registers the waker; it cannot be over yet.
        let _ = deadline.as_mut().poll(cx);
        self.deadline = Some(deadline);
        shared.tell(Event::Command(Command::Shutdown));
    }

    fn serve(&mut self, shared: &mut Shared<M, N, D>, request: Request) {
        // A caller that no longer waits for its answer is no fault.
        match request {
            Request::Add(options, reply) => _ = reply.send(self.adding.add(shared, *options)),
            Request::AddPeers(torrent, peers) => {
                shared.tell(Event::Command(Command::AddPeers { torrent, peers }));
            }
            // They need more than the engine: a storage, a deadline.
            Request::Tell(Command::Add(_) | Command::Shutdown, reply) => _ = reply.send(Err(Refusal::NotByItself)),
            Request::Tell(command, reply) => {
                let _ = reply.send(shared.command(command));
            }
            Request::View(reply) => {
                let _ = reply.send(shared.heart.machine.view());
            }
            Request::Peers(torrent, reply) => {
                let _ = reply.send(shared.heart.machine.peers(torrent));
            }
            Request::Trackers(torrent, reply) => _ = reply.send(shared.heart.machine.trackers(torrent)),
            Request::Torrents(reply) => _ = reply.send(shared.known.all()),
            Request::TorrentView(torrent, reply) => _ = reply.send(shared.heart.machine.torrent_view(torrent)),
            Request::Pieces(torrent, reply) => _ = reply.send(shared.heart.machine.have(torrent).cloned()),
            Request::Files(torrent, reply) => {
                let machine = &shared.heart.machine;
                let files = |have| shared.known.files(torrent, have, |file| machine.priority_of(torrent, file));
                let _ = reply.send(machine.have(torrent).and_then(files));
            }
            Request::SetBlocklist(list, reply) => shared.set_blocklist(list, reply),
            Request::SetFilter(filter, reply) => shared.set_filter(filter, reply),
            Request::OpenReader(open) => shared.open_reader(open),
            Request::ReadFile(read) => shared.read_file(read),
            Request::Explain(torrent, reply) => {
                let now = shared.heart.clock.now();
                let _ = reply.send(shared.heart.machine.explain(now, torrent));
            }
            Request::Shutdown => {}
        }
    }

    /// Ticks the engine when its time has come, at most once a turn, and arms the timer for the next time.
    fn poll_timer(&mut self, shared: &mut Shared<M, N, D>, cx: &mut Context<'_>) {
        let clock = shared.heart.clock;
        if shared.heart.machine.poll_timeout().is_some_and(|(at, _)| at <= clock.now()) {
            shared.tell(Event::Tick);
        }
        let next = shared.heart.machine.poll_timeout().map(|(at, _)| at);
        if next != shared.armed {
            shared.armed = next;
            if let Some(at) = next {
                self.timer.as_mut().reset(clock.to_tokio(at));
            }
        }
        if next.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            shared.armed = None;
            cx.waker().wake_by_ref();
        }
    }
}

impl Adding {
    /// Makes a torrent known to the disk and gives it to the engine. One that is refused leaves nothing behind.
    fn add<M: Machine, N: Net, D: Disk>(
        &mut self,
        shared: &mut Shared<M, N, D>,
        options: AddTorrentOptions,
    ) -> Result<Arc<About>, Refusal> {
        let torrent = TorrentId(self.next);
        self.next += 1;
        let mut metainfo = options.metainfo;
        let hashes = options.hashes.unwrap_or_else(|| PieceHashes::from(std::mem::take(&mut metainfo.piece_hashes)));
        let (info_hash, layout) = (metainfo.info_hash, Arc::new(metainfo.layout.clone()));
        let resume = self.resume_dir.as_ref().map(|dir| resume_file::path(dir, info_hash));
        let home = options.home.unwrap_or_else(|| self.home.clone());
        let about = Arc::new(About { id: torrent, info_hash, name: metainfo.name.clone(), layout: layout.clone() });
        let parts_name = metainfo.parts_name();
        shared.disk.register(torrent, Location { info_hash, home, layout, hashes, parts_name, resume });
        shared.known.add(about.clone());
        let added = shared.command(Command::Add(Box::new(AddTorrent {
            torrent,
            metainfo,
            extra_trackers: options.extra_trackers,
            peers: options.peers,
            check_only: options.check_only,
            paused: options.paused,
            resume: options.resume,
            force_check: options.force_check,
            priorities: options.priorities,
            sequential: options.sequential,
            goals: options.goals,
        })));
        if added.is_err() {
            shared.disk.forget(torrent);
            shared.known.remove(torrent);
        }
        added.map(|()| about)
    }
}

#[cfg(test)]
mod tests;
