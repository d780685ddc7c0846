//! The engine and what the tasks of its thread share: they borrow it for the length of one poll and never across an await.
//!
//! After each event everything the engine wants is carried out at once: actions, then transmits.

use crate::clock::Clock;
use crate::disk::{Disk, DiskDone, ReadFor};
use crate::events::{Board, Event as News};
use crate::explain::{Explained, explain};
use crate::fault::link_fault;
use crate::filter::Rules;
use crate::gauge::TaskGauge;
use crate::known::Known;
use crate::link::{self, Link};
use crate::net::Net;
use crate::outgoing::Range;
use crate::reading::{self, Readings};
use crate::{driver::Observer, http};
use sameseed_core::action::{Action, Destination, Fetch, Notice, Operation, Refusal, TxBatch};
use sameseed_core::bitfield::Bitfield;
use sameseed_core::engine::{Engine, TimerKind};
use sameseed_core::event::{Command, Event, Outcome};
use sameseed_core::fault::{DiskFault, LinkFault};
use sameseed_core::id::{ConnId, FileIndex, OpId, TorrentId};
use sameseed_core::selection::Priority;
use sameseed_core::time::Instant;
use sameseed_core::view::{PeerView, TorrentView, TrackerView, View};
use sha_lanes::PageBuffer;
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::task::{AbortHandle, JoinSet};

/// Bytes read from a socket at a time, into one scratch for the whole thread: large enough that a fast link costs few system calls.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Datagrams that wait for the socket. Beyond that they are lost, as datagrams may be; a socket seldom makes one wait.
const MAX_DATAGRAMS: usize = 256;

/// The engine as the driver uses it, so that tests can script one.
pub(crate) trait Machine: 'static {
    fn handle(&mut self, now: Instant, event: Event<'_>);
    fn poll_action(&mut self) -> Option<Action>;
    fn poll_transmit(&mut self, batch: &mut TxBatch) -> Option<Destination>;
    fn poll_timeout(&self) -> Option<(Instant, TimerKind)>;
    fn view(&self) -> View;
    fn peers(&self, torrent: TorrentId) -> Vec<PeerView>;
    /// Only an engine has any.
    fn trackers(&self, _torrent: TorrentId) -> Vec<TrackerView> {
        Vec::new()
    }
    fn torrent_view(&self, torrent: TorrentId) -> Option<TorrentView>;
    fn have(&self, torrent: TorrentId) -> Option<&Bitfield>;
    fn priority_of(&self, torrent: TorrentId, file: FileIndex) -> Option<Priority>;
    /// Only an engine knows why.
    fn explain(&self, _now: Instant, _torrent: TorrentId) -> Option<Explained> {
        None
    }
}

impl Machine for Engine {
    fn handle(&mut self, now: Instant, event: Event<'_>) {
        Engine::handle(self, now, event);
    }
    fn poll_action(&mut self) -> Option<Action> {
        Engine::poll_action(self)
    }
    fn poll_transmit(&mut self, batch: &mut TxBatch) -> Option<Destination> {
        Engine::poll_transmit(self, batch)
    }
    fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        Engine::poll_timeout(self)
    }
    fn view(&self) -> View {
        Engine::view(self)
    }
    fn peers(&self, torrent: TorrentId) -> Vec<PeerView> {
        Engine::peers(self, torrent)
    }
    fn trackers(&self, torrent: TorrentId) -> Vec<TrackerView> {
        Engine::trackers(self, torrent)
    }
    fn torrent_view(&self, torrent: TorrentId) -> Option<TorrentView> {
        Engine::torrent_view(self, torrent)
    }
    fn have(&self, torrent: TorrentId) -> Option<&Bitfield> {
        Engine::have(self, torrent)
    }
    fn priority_of(&self, torrent: TorrentId, file: FileIndex) -> Option<Priority> {
        Engine::priority_of(self, torrent, file)
    }
    fn explain(&self, now: Instant, torrent: TorrentId) -> Option<Explained> {
        explain(self, now, torrent)
    }
}

/// The machine, its clock and who looks on.
pub(crate) struct Heart<M> {
    pub(crate) machine: M,
    pub(crate) clock: Clock,
    pub(crate) observer: Option<Box<dyn Observer>>,
}

impl<M: Machine> Heart<M> {
    pub(crate) fn handle(&mut self, event: Event<'_>) {
        let now = self.clock.now();
        if let Some(observer) = &mut self.observer {
            observer.event(now, &event);
        }
        self.machine.handle(now, event);
    }
}

/// Everything the tasks share.
pub(crate) struct Shared<M, N, D> {
    pub(crate) heart: Heart<M>,
    pub(crate) net: Rc<N>,
    pub(crate) disk: D,
    pub(crate) bind: Option<IpAddr>,
    pub(crate) scratch: PageBuffer,
    pub(crate) links: BTreeMap<ConnId, Link>,
    pub(crate) tasks: JoinSet<()>,
    pub(crate) gauge: TaskGauge,
    /// When the turn's timer fires next; an earlier wish of the engine wakes the turn.
    pub(crate) armed: Option<Instant>,
    pub(crate) turn: Option<Waker>,
    /// Why the command that was given last was not carried out.
    pub(crate) refusal: Option<Refusal>,
    /// That command is the driver's own: the application hears of it in another way.
    pub(crate) is_own_command: bool,
    /// The engine has said its last word.
    pub(crate) shut_down: bool,
    pub(crate) udp: Vec<UdpQueue>,
    pub(crate) rules: Rules,
    pub(crate) known: Known,
    pub(crate) readings: Readings,
    exchanges: BTreeMap<OpId, Exchange>,
    aborted: Vec<(OpId, Outcome)>,
    accepted: u64,
    batch: TxBatch,
    tls: Option<tokio_rustls::TlsConnector>,
    board: Arc<Board>,
    pub(crate) me: Weak<RefCell<Self>>,
}

/// Datagrams on their way to one socket.
#[derive(Debug)]
pub(crate) struct UdpQueue {
    pub(crate) local: SocketAddr,
    pub(crate) waiting: VecDeque<(SocketAddr, Vec<u8>)>,
    pub(crate) waker: Option<Waker>,
}

/// A network operation under way.
struct Exchange {
    task: AbortHandle,
    /// What to answer when it is given up.
    aborted: Outcome,
}

impl<M: Machine, N: Net, D: Disk> Shared<M, N, D> {
    pub(crate) fn new(
        machine: M,
        clock: Clock,
        net: N,
        disk: D,
        bind: Option<IpAddr>,
        rules: Rules,
        board: Arc<Board>,
    ) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|me| {
            RefCell::new(Shared {
                heart: Heart { machine, clock, observer: None },
                net: Rc::new(net),
                disk,
                bind,
                scratch: PageBuffer::new(SCRATCH_BYTES),
                links: BTreeMap::new(),
                tasks: JoinSet::new(),
                gauge: TaskGauge::default(),
                armed: None,
                turn: None,
                refusal: None,
                is_own_command: false,
                shut_down: false,
                udp: Vec::new(),
                rules,
                known: Known::default(),
                readings: Readings::default(),
                exchanges: BTreeMap::new(),
                aborted: Vec::new(),
                accepted: 0,
                batch: TxBatch::default(),
                tls: None,
                board,
                me: me.clone(),
            })
        })
    }

    /// Tells the engine something and does what it wants.
    pub(crate) fn tell(&mut self, event: Event<'_>) {
        self.heart.handle(event);
        self.drain(None);
    }

    /// Gives the engine a command and tells why it was refused.
    pub(crate) fn command(&mut self, command: Command) -> Result<(), Refusal> {
        self.refusal = None;
        self.tell(Event::Command(command));
        self.refusal.take().map_or(Ok(()), Err)
    }

    /// The same with a command that is the driver's own.
    pub(crate) fn own_command(&mut self, command: Command) -> Result<(), Refusal> {
        self.is_own_command = true;
        let result = self.command(command);
        self.is_own_command = false;
        result
    }

    /// Does what the engine wants. `current` is the connection whose task is running: it looks after itself and is not woken.
    pub(crate) fn drain(&mut self, current: Option<ConnId>) {
        loop {
            while let Some(action) = self.heart.machine.poll_action() {
                if let Some(observer) = &mut self.heart.observer {
                    observer.action(self.heart.clock.now(), &action);
                }
                self.act(action, current);
            }
            self.transmit(current);
            let Some((op, outcome)) = self.aborted.pop() else { break };
            self.heart.handle(Event::Done { op, outcome });
        }
        if let Some((at, _)) = self.heart.machine.poll_timeout()
            && self.armed.is_none_or(|armed| at < armed)
        {
            self.wake_turn();
        }
    }

    fn act(&mut self, action: Action, current: Option<ConnId>) {
        match action {
            Action::Dial { conn, to } => {
                self.links.insert(conn, Link::default());
                let Some(me) = self.me.upgrade() else { return };
                self.spawn(link::dial(me, conn, to));
            }
            Action::Close { conn, reason } => {
                tracing::debug!(%conn, %reason, "closed by us");
                if let Some(link) = self.links.remove(&conn) {
                    // Its task finds nothing left and drops the socket.
                    link.wake();
                }
            }
            Action::AllowRead { conn, bytes } => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.credit += bytes as i64;
                    if current != Some(conn) {
                        link.wake();
                    }
                }
            }
            Action::RevokeRead { conn, bytes } => {
                if let Some(link) = self.links.get_mut(&conn) {
                    link.credit -= bytes as i64;
                }
            }
            Action::Place { torrent, piece, in_parts } => self.disk.place(torrent, piece, in_parts),
            Action::Submit { op, operation } => self.submit(op, operation),
            Action::Abort { op } => {
                if let Some(exchange) = self.exchanges.remove(&op) {
                    exchange.task.abort();
                    self.aborted.push((op, exchange.aborted));
                }
            }
            Action::Notify(notice) => self.notify(notice),
        }
    }

    /// Passes news on, and does what follows from them here.
    fn notify(&mut self, notice: Notice) {
        match &notice {
            Notice::Readable { reader, .. } if reading::is_ours(*reader) => return self.readable(*reader),
            Notice::TooManyReaders { reader, .. } if reading::is_ours(*reader) => {
                return self.too_many_readers(*reader);
            }
            Notice::Refused { why, .. } => {
                self.refusal = Some(*why);
                if self.is_own_command {
                    return;
                }
            }
            Notice::Checked { torrent, .. } => {
                if let Some(have) = self.heart.machine.have(*torrent) {
                    self.known.checked(*torrent, have);
                }
            }
            Notice::Renamed { torrent, from, to } => self.known.renamed(*torrent, from, to),
            Notice::Removed { torrent, .. } => {
                self.disk.forget(*torrent);
                self.known.remove(*torrent);
                self.end_readers(*torrent);
            }
            Notice::ResumeRefused { error, .. } => {
                tracing::warn!(%error, "resume data is of no use; everything is checked");
            }
            Notice::ResumeTrouble { fault, .. } => {
                tracing::warn!(%fault, "cannot save resume data; trying again");
            }
            _ => {}
        }
        let verified = match notice {
            Notice::PieceVerified { torrent, piece } => Some((torrent, piece)),
            _ => None,
        };
        let ends = notice == Notice::ShutDown;
        self.board.post(&News::Notice(notice));
        if let Some((torrent, piece)) = verified {
            for file in self.known.verified(torrent, piece) {
                if self.heart.machine.priority_of(torrent, file) != Some(Priority::Skip) {
                    self.board.post(&News::FileComplete { torrent, file });
                }
            }
        }
        if ends {
            self.shut_down = true;
            self.wake_turn();
        }
    }

    fn submit(&mut self, op: OpId, operation: Operation) {
        let Some(me) = self.me.upgrade() else { return };
        match operation {
            Operation::Resolve { host } => {
                let task = self.spawn(resolve(me, op, host));
                self.exchanges.insert(op, Exchange { task, aborted: Outcome::Resolve(Err(LinkFault::Aborted)) });
            }
            Operation::Fetch(fetch) => {
                let task = self.spawn(exchange(me, op, fetch));
                self.exchanges.insert(op, Exchange { task, aborted: Outcome::Fetch(Err(LinkFault::Aborted)) });
            }
            operation => self.disk.submit(op, operation),
        }
    }

    /// Moves what the engine wants to send into the queues of connections and sockets.
    fn transmit(&mut self, current: Option<ConnId>) {
        while let Some(to) = self.heart.machine.poll_transmit(&mut self.batch) {
            if let Some(observer) = &mut self.heart.observer {
                observer.transmit(self.heart.clock.now(), to, &self.batch);
            }
            match to {
                Destination::Conn(conn) => {
                    let Some(link) = self.links.get_mut(&conn) else { continue };
                    link.outgoing.push(&self.batch);
                    self.read_ahead(conn);
                    let Some(link) = self.links.get_mut(&conn) else { continue };
                    if current != Some(conn) {
                        link.wake();
                    }
                }
                Destination::Datagram(to) => {
                    let Some(queue) = self.udp.iter_mut().find(|queue| queue.local.is_ipv4() == to.is_ipv4()) else {
                        tracing::debug!(%to, "no UDP socket of that family");
                        continue;
                    };
                    if queue.waiting.len() < MAX_DATAGRAMS {
                        queue.waiting.push_back((to, self.batch.bytes.clone()));
                    }
                    if let Some(waker) = queue.waker.take() {
                        waker.wake();
                    }
                }
            }
        }
    }

    /// A connection came in that the rules allow: its number, unless the engine closed it at once.
    pub(crate) fn accepted(&mut self, from: SocketAddr) -> Option<ConnId> {
        let conn = ConnId::accepted(self.accepted);
        self.accepted += 1;
        self.links.insert(conn, Link::to(from));
        self.tell(Event::Accepted { conn, from });
        self.links.contains_key(&conn).then_some(conn)
    }

    /// A dial has succeeded.
    pub(crate) fn dialed(&mut self, conn: ConnId, peer: SocketAddr, local: SocketAddr) {
        if let Some(link) = self.links.get_mut(&conn) {
            link.peer = Some(peer);
        }
        self.tell(Event::Dialed { conn, outcome: Ok(local) });
    }

    /// A connection is lost.
    pub(crate) fn lost(&mut self, conn: ConnId, fault: LinkFault) {
        if self.links.remove(&conn).is_some() {
            tracing::debug!(%conn, %fault, "connection lost");
            self.heart.handle(Event::Closed { conn, fault });
            self.drain(Some(conn));
        }
    }

    /// The disk has ended something.
    pub(crate) fn disk_done(&mut self, done: DiskDone) {
        match done {
            DiskDone::Operation { op, outcome } => self.tell(Event::Done { op, outcome }),
            DiskDone::Read { reader: ReadFor::Reader(read), outcome } => self.reader_done(read, outcome),
            DiskDone::Read { reader: ReadFor::Peer(conn), outcome: Ok(data) } => {
                // A connection that is gone meanwhile needs nothing.
                let Some(link) = self.links.get_mut(&conn) else { return };
                link.outgoing.loaded(data);
                link.wake();
                self.read_ahead(conn);
            }
            DiskDone::Read { reader: ReadFor::Peer(conn), outcome: Err(fault) } => self.unreadable(conn, fault),
        }
    }

    /// Has ready what a connection will send next: where it stands, or read.
    pub(crate) fn read_ahead(&mut self, conn: ConnId) {
        let Some(link) = self.links.get_mut(&conn) else { return };
        while let Some(Range { torrent, piece, begin, len }) = link.outgoing.next_range() {
            let at_hand = if link.sends_files { self.disk.at_hand(torrent, piece, begin, len) } else { None };
            if let Some(range) = at_hand {
                link.outgoing.at_hand(range);
            } else if let Some(read) = link.outgoing.next_read(conn) {
                self.disk.read(read);
            }
        }
    }

    /// What a connection was to be sent cannot be read.
    pub(crate) fn unreadable(&mut self, conn: ConnId, fault: DiskFault) {
        if let Some(link) = self.links.remove(&conn) {
            link.wake();
            self.tell(Event::ServeFailed { conn, fault });
        }
    }

    /// Starts a task. The turn, which joins them all, does not watch an empty set, so the first one wakes it.
    pub(crate) fn spawn(&mut self, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        if self.tasks.is_empty() {
            self.wake_turn();
        }
        let alive = self.gauge.count();
        self.tasks.spawn_local(async move {
            task.await;
            drop(alive);
        })
    }

    /// Has the turn look again.
    pub(crate) fn wake_turn(&self) {
        if let Some(turn) = &self.turn {
            turn.wake_by_ref();
        }
    }

    /// The next datagram for socket number `socket`.
    pub(crate) fn poll_datagram(&mut self, socket: usize, cx: &mut Context<'_>) -> Poll<(SocketAddr, Vec<u8>)> {
        let queue = &mut self.udp[socket];
        match queue.waiting.pop_front() {
            Some(datagram) => Poll::Ready(datagram),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Answers a network operation, unless it was given up meanwhile.
    fn exchanged(&mut self, op: OpId, outcome: Outcome) {
        if self.exchanges.remove(&op).is_some() {
            self.tell(Event::Done { op, outcome });
        }
    }
}

async fn resolve<M: Machine, N: Net, D: Disk>(shared: Rc<RefCell<Shared<M, N, D>>>, op: OpId, host: String) {
    let net = shared.borrow().net.clone();
    let outcome = match net.resolve(&host).await {
        Ok(addrs) if addrs.is_empty() => Err(LinkFault::NameNotFound),
        Ok(addrs) => Ok(addrs),
        // Resolvers report through codes of their own, which say little: unless it is one of ours, the name was not found.
        Err(error) => Err(match link_fault(&error) {
            LinkFault::Other => LinkFault::NameNotFound,
            fault => fault,
        }),
    };
    shared.borrow_mut().exchanged(op, Outcome::Resolve(outcome));
}

async fn exchange<M: Machine, N: Net, D: Disk>(shared: Rc<RefCell<Shared<M, N, D>>>, op: OpId, fetch: Box<Fetch>) {
    let (net, bind, tls) = {
        let mut shared = shared.borrow_mut();
        let tls = fetch.tls_name.is_some().then(|| shared.tls.get_or_insert_with(http::public_trust).clone());
        (shared.net.clone(), shared.bind, tls)
    };
    let outcome = http::fetch(&*net, bind, tls, &fetch).await;
    shared.borrow_mut().exchanged(op, Outcome::Fetch(outcome));
}
