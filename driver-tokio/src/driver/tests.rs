//! The engine's thread around a scripted engine and a network of pipes: what is read, written, woken, given up and closed.

use super::*;
use crate::disk::ReadRequest;
use crate::filter::Rules;
use crate::net::Stream;
use crate::request::Request;
use sameseed_core::action::{CloseReason, Fetch, Notice, Operation, Segment};
use sameseed_core::bitfield::Bitfield;
use sameseed_core::config::RateLimits;
use sameseed_core::engine::TimerKind;
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::id::{ConnId, FileIndex, OpId, PieceIndex};
use sameseed_core::selection::Priority;
use sameseed_core::view::{PeerView, QueueView, TorrentView, View};
use sha_lanes::PageBuffer;
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const OUT: ConnId = ConnId::dialed(0);

/// What the scripted engine wants after an event.
enum Want {
    Do(Action),
    Send(ConnId, Vec<u8>),
    SendFile(ConnId, u32),
    TickAt(Instant),
}

/// What a script wants after each event.
type Answer = Box<dyn FnMut(&Event<'_>) -> Vec<Want>>;

/// Says what it saw in one line each, and answers by its script.
struct Script {
    answer: Answer,
    log: Rc<RefCell<Vec<String>>>,
    actions: VecDeque<Action>,
    transmits: VecDeque<(Destination, TxBatch)>,
    timeout: Option<Instant>,
}

impl Machine for Script {
    fn handle(&mut self, now: Instant, event: Event<'_>) {
        if self.timeout.is_some_and(|at| at <= now) {
            self.timeout = None;
        }
        self.log.borrow_mut().push(match &event {
            Event::Received { conn, bytes } => format!("{conn} got {}", bytes.escape_ascii()),
            Event::Flushed { conn, bytes } => format!("{conn} flushed {bytes}"),
            Event::Closed { conn, fault } => format!("{conn} closed: {fault}"),
            Event::Dialed { conn, outcome } => format!("{conn} dialed: {:?}", outcome.as_ref().err()),
            Event::Accepted { conn, .. } => format!("{conn} accepted"),
            Event::ServeFailed { conn, .. } => format!("{conn} serve failed"),
            Event::Done { op, outcome } => format!("op {} done: {outcome:?}", op.0),
            Event::Tick => format!("tick at {}", now.as_micros()),
            other => format!("{other:?}"),
        });
        for want in (self.answer)(&event) {
            let mut batch = TxBatch::default();
            match want {
                Want::Do(action) => self.actions.push_back(action),
                Want::TickAt(at) => self.timeout = Some(at),
                Want::Send(conn, bytes) => {
                    batch.segments.push(Segment::Bytes(0..bytes.len()));
                    batch.bytes = bytes;
                    self.transmits.push_back((Destination::Conn(conn), batch));
                }
                Want::SendFile(conn, len) => {
                    let segment = Segment::File { torrent: TorrentId(0), piece: PieceIndex(0), begin: 0, len };
                    batch.segments.push(segment);
                    self.transmits.push_back((Destination::Conn(conn), batch));
                }
            }
        }
    }
    fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
    fn poll_transmit(&mut self, batch: &mut TxBatch) -> Option<Destination> {
        let (to, next) = self.transmits.pop_front()?;
        *batch = next;
        Some(to)
    }
    fn poll_timeout(&self) -> Option<(Instant, TimerKind)> {
        Some((self.timeout?, TimerKind::Announce(TorrentId(0))))
    }
    fn view(&self) -> View {
        View {
            torrents: Vec::new(),
            connections: 0,
            half_open: 0,
            pool: (0, 0, 0),
            operations: 0,
            banned: 0,
            external_ips: Vec::new(),
            limits: RateLimits::default(),
            queue: QueueView::default(),
        }
    }
    fn peers(&self, _: TorrentId) -> Vec<PeerView> {
        Vec::new()
    }
    fn torrent_view(&self, _: TorrentId) -> Option<TorrentView> {
        None
    }
    fn have(&self, _: TorrentId) -> Option<&Bitfield> {
        None
    }
    fn priority_of(&self, _: TorrentId, _: FileIndex) -> Option<Priority> {
        None
    }
}

/// Pipes handed out to dials, in order; a dial without one hangs, and `hanging` counts those.
#[derive(Default)]
struct Pipes {
    pipes: RefCell<VecDeque<DuplexStream>>,
    hanging: Rc<()>,
}

struct NoSocket;

impl Net for Pipes {
    type Stream = DuplexStream;
    type Listener = NoSocket;
    type Udp = NoSocket;
    async fn listen(&self, _: SocketAddr) -> io::Result<NoSocket> {
        Ok(NoSocket)
    }
    async fn dial(&self, _: Option<IpAddr>, to: SocketAddr) -> io::Result<(DuplexStream, SocketAddr)> {
        let pipe = self.pipes.borrow_mut().pop_front();
        match pipe {
            Some(pipe) => Ok((pipe, to)),
            None => {
                let _counted = self.hanging.clone();
                std::future::pending().await
            }
        }
    }
    async fn bind_udp(&self, _: SocketAddr) -> io::Result<NoSocket> {
        Ok(NoSocket)
    }
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if host == "hang" { std::future::pending().await } else { Ok(vec![Ipv4Addr::LOCALHOST.into()]) }
    }
}

impl Stream for DuplexStream {}

impl Listener for NoSocket {
    type Stream = DuplexStream;
    async fn accept(&self) -> io::Result<(DuplexStream, SocketAddr)> {
        std::future::pending().await
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(addr())
    }
}

impl Udp for NoSocket {
    async fn recv_from(&self, _: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        std::future::pending().await
    }
    async fn send_to(&self, bytes: &[u8], _: SocketAddr) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(addr())
    }
}

/// Answers reads with sevens, or with a fault when more than 1000 bytes are asked for.
#[derive(Default)]
struct Sevens {
    done: Vec<DiskDone>,
    waker: Option<std::task::Waker>,
}

impl Disk for Sevens {
    fn register(&mut self, _: TorrentId, _: Location) {}
    fn forget(&mut self, _: TorrentId) {}
    fn place(&mut self, _: TorrentId, _: PieceIndex, _: Vec<std::ops::Range<u32>>) {}
    fn submit(&mut self, _: OpId, _: Operation) {}
    fn read(&mut self, request: ReadRequest) {
        let fault =
            DiskFault { kind: DiskFaultKind::Short, path: "a".into(), detail: "shorter than it must be".into() };
        let outcome =
            if request.len > 1000 { Err(fault) } else { Ok(PageBuffer::from(&vec![7; request.len as usize][..])) };
        self.done.push(DiskDone::Read { reader: request.reader, outcome });
        self.waker.take().into_iter().for_each(std::task::Waker::wake);
    }
    fn poll_done(&mut self, cx: &mut Context<'_>, done: &mut Vec<DiskDone>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        done.append(&mut self.done);
        if done.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }
}

fn addr() -> SocketAddr {
    ([127, 0, 0, 1], 9).into()
}

type TestShared = Rc<RefCell<Shared<Script, Pipes, Sevens>>>;

/// Runs the driver around a script until `with` ends and the session is shut down; gives the log and the time the end took.
fn drive<F: Future<Output = ()>>(
    pipes: Vec<DuplexStream>,
    answer: impl FnMut(&Event<'_>) -> Vec<Want> + 'static,
    with: impl FnOnce(TestShared) -> F,
) -> Vec<String> {
    let log = Rc::new(RefCell::new(Vec::new()));
    let script = Script {
        answer: Box::new(answer),
        log: log.clone(),
        actions: VecDeque::new(),
        transmits: VecDeque::new(),
        timeout: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(LocalSet::new().run_until(async {
        let net = Pipes { pipes: RefCell::new(pipes.into()), hanging: Rc::default() };
        let shared =
            Shared::new(script, Clock::start(), net, Sevens::default(), None, Rules::default(), Arc::default());
        let (requests, mut inbox) = mpsc::channel(8);
        let adding = Adding { resume_dir: None, home: Home::folder("."), next: 0 };
        start_tasks(&shared, Vec::new(), Vec::new());
        tokio::join!(
            async {
                Turn::new(&shared, &mut inbox, Duration::from_secs(4), adding).await;
                end_tasks(&shared).await;
            },
            async {
                with(shared.clone()).await;
                requests.send(Request::Shutdown).await.unwrap();
            }
        );
    }));
    Rc::try_unwrap(log).map(RefCell::into_inner).unwrap_or_else(|log| log.borrow().clone())
}

fn begin(shared: &TestShared) {
    shared.borrow_mut().tell(Event::Tick);
}

async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn dial() -> Want {
    Want::Do(Action::Dial { conn: OUT, to: addr() })
}

fn allow(bytes: u64) -> Want {
    Want::Do(Action::AllowRead { conn: OUT, bytes })
}

fn shut_down() -> Want {
    Want::Do(Action::Notify(Notice::ShutDown))
}

#[test]
fn nothing_is_read_beyond_the_credit_and_more_credit_wakes_the_reader() {
    let (near, mut far) = duplex(100);
    let mut ticks = 0;
    let log = drive(
        vec![near],
        move |event| match event {
            Event::Tick => {
                ticks += 1;
                if ticks == 1 { vec![dial()] } else { vec![allow(2)] }
            }
            Event::Dialed { .. } => vec![allow(3)],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            far.write_all(b"abcdefg").await.unwrap();
            for _ in 0..3 {
                begin(&shared);
                settle().await;
            }
        },
    );
    assert_eq!(
        log,
        [
            "tick at 0",
            "out0 dialed: None",
            "out0 got abc",
            "tick at 1000",
            "out0 got de",
            "tick at 2000",
            "out0 got fg",
            "Command(Shutdown)"
        ]
    );
}

#[test]
fn what_is_revoked_is_not_read_until_it_is_allowed_anew() {
    let (near, mut far) = duplex(100);
    let log = drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial()],
            // More than was allowed, as a grant that was used up meanwhile is revoked.
            Event::Dialed { .. } => vec![allow(5), Want::Do(Action::RevokeRead { conn: OUT, bytes: 7 }), allow(4)],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            far.write_all(b"abcdefg").await.unwrap();
            begin(&shared);
            settle().await;
        },
    );
    assert_eq!(log, ["tick at 0", "out0 dialed: None", "out0 got ab", "Command(Shutdown)"]);
}

#[test]
fn every_byte_is_flushed_exactly_once_through_a_narrow_pipe() {
    let (near, mut far) = duplex(7);
    let log = drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial()],
            Event::Dialed { .. } => vec![Want::Send(OUT, b"header: ".to_vec()), Want::SendFile(OUT, 5)],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            let mut got = [0; 13];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(&got, b"header: \x07\x07\x07\x07\x07");
            settle().await;
        },
    );
    let flushed = log.iter().filter_map(|line| line.strip_prefix("out0 flushed ")?.parse::<u64>().ok());
    assert_eq!(flushed.sum::<u64>(), 13, "{log:?}");
}

#[test]
fn a_message_to_another_connection_wakes_its_task() {
    // Whatever comes in on the first connection goes out on the second.
    let ((near, mut far), (other_near, mut other_far)) = (duplex(100), duplex(100));
    let other = ConnId::dialed(1);
    drive(
        vec![near, other_near],
        move |event| match event {
            Event::Tick => vec![dial(), Want::Do(Action::Dial { conn: other, to: addr() }), allow(100)],
            Event::Received { bytes, .. } => vec![Want::Send(other, bytes.to_vec())],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            settle().await;
            for word in [b"one", b"two"] {
                far.write_all(word).await.unwrap();
                let mut got = [0; 3];
                other_far.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, word);
            }
        },
    );
}

#[test]
fn a_close_drops_the_socket_at_once_and_no_closed_event_follows() {
    let (near, mut far) = duplex(100);
    let log = drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial(), allow(100)],
            Event::Received { .. } => vec![
                Want::Send(OUT, b"never sent".to_vec()),
                Want::Do(Action::Close { conn: OUT, reason: CloseReason::Idle }),
            ],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            far.write_all(b"x").await.unwrap();
            assert_eq!(far.read(&mut [0; 100]).await.unwrap(), 0);
        },
    );
    assert_eq!(log, ["tick at 0", "out0 dialed: None", "out0 got x", "Command(Shutdown)"]);
}

#[test]
fn an_end_from_the_other_side_is_told_once() {
    let (near, far) = duplex(100);
    let log = drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial(), allow(100)],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            drop(far);
            settle().await;
        },
    );
    assert_eq!(log[2..], ["out0 closed: closed by the other side", "Command(Shutdown)"]);
}

#[test]
fn a_range_that_cannot_be_read_closes_the_connection_and_is_told() {
    let (near, mut far) = duplex(100);
    let log = drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial(), Want::SendFile(OUT, 5000)],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            assert_eq!(far.read(&mut [0; 100]).await.unwrap(), 0);
        },
    );
    assert_eq!(log.iter().filter(|line| *line == "out0 serve failed").count(), 1, "{log:?}");
    assert!(!log.iter().any(|line| line.starts_with("out0 closed")), "{log:?}");
}

#[test]
fn a_hanging_dial_is_given_up_when_the_engine_closes_it() {
    let mut ticks = 0;
    drive(
        vec![],
        move |event| match event {
            Event::Tick => {
                ticks += 1;
                let close = Action::Close { conn: OUT, reason: CloseReason::DialTimeout };
                if ticks == 1 { vec![dial()] } else { vec![Want::Do(close)] }
            }
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            let hanging = shared.borrow().net.hanging.clone();
            begin(&shared);
            settle().await;
            assert_eq!(Rc::strong_count(&hanging), 3, "the net's, ours and the dial's");
            begin(&shared);
            settle().await;
            assert_eq!(Rc::strong_count(&hanging), 2);
        },
    );
}

#[test]
fn network_operations_end_exactly_once_also_when_given_up() {
    let submit =
        |op, host: &str| Want::Do(Action::Submit { op: OpId(op), operation: Operation::Resolve { host: host.into() } });
    let log = drive(
        vec![],
        move |event| match event {
            Event::Tick => vec![
                submit(1, "hang"),
                submit(2, "found"),
                submit(3, "found"),
                Want::Do(Action::Submit {
                    op: OpId(4),
                    operation: Operation::Fetch(Box::new(Fetch {
                        addr: addr(),
                        tls_name: None,
                        host: "hangs".into(),
                        target: "/".into(),
                        user_agent: "a".into(),
                        max_body_bytes: 9,
                    })),
                }),
                Want::Do(Action::Abort { op: OpId(3) }),
            ],
            Event::Done { op: OpId(2), .. } => [1, 2, 4].map(|op| Want::Do(Action::Abort { op: OpId(op) })).into(),
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            settle().await;
        },
    );
    let mut done: Vec<_> = log.iter().filter(|line| line.starts_with("op")).map(String::as_str).collect();
    done.sort_unstable();
    assert_eq!(
        done,
        [
            "op 1 done: Resolve(Err(Aborted))",
            "op 2 done: Resolve(Ok([127.0.0.1]))",
            "op 3 done: Resolve(Err(Aborted))",
            "op 4 done: Fetch(Err(Aborted))"
        ]
    );
}

#[test]
fn the_timer_fires_when_due_and_an_earlier_wish_counts() {
    let (near, mut far) = duplex(100);
    let log = drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial(), allow(100), Want::TickAt(Instant::from_secs(10))],
            Event::Received { .. } => vec![Want::TickAt(Instant::from_secs(2))],
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            settle().await;
            far.write_all(b"hurry").await.unwrap();
            sleep(Duration::from_secs(3)).await;
        },
    );
    assert_eq!(log[2..4], ["out0 got hurry", "tick at 2000000"]);
}

#[test]
fn the_driver_ends_in_bounded_time_although_the_engine_says_nothing() {
    let (near, mut far) = duplex(100);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    drive(
        vec![near],
        |event| if matches!(event, Event::Tick) { vec![dial()] } else { vec![] },
        |shared| async move {
            begin(&shared);
            settle().await;
        },
    );
    runtime.block_on(async { assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0, "its socket is closed") });
}

#[test]
#[should_panic(expected = "a law is broken")]
fn a_panic_in_a_task_is_raised_again() {
    let (near, mut far) = duplex(100);
    drive(
        vec![near],
        |event| match event {
            Event::Tick => vec![dial(), allow(100)],
            Event::Received { .. } => panic!("a law is broken"),
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            far.write_all(b"x").await.unwrap();
            std::future::pending().await
        },
    );
}

#[test]
fn two_hundred_chunks_with_a_stingy_engine_all_arrive() {
    // Each event allows a few bytes more, so that reading stops and starts at every step.
    let (near, far) = duplex(50);
    let sent: Vec<u8> = (0..5000u32).map(|i| b'a' + (i % 26) as u8).collect();
    let (expected, mut seen) = (sent.clone(), 0);
    let log = drive(
        vec![near],
        move |event| match event {
            Event::Tick => vec![dial(), allow(1)],
            Event::Received { bytes, .. } => {
                seen += bytes.len();
                vec![allow(1 + seen as u64 % 25), Want::Send(OUT, vec![b'.'; bytes.len()])]
            }
            Event::Command(_) => vec![shut_down()],
            _ => vec![],
        },
        |shared| async move {
            begin(&shared);
            let (mut read, mut write) = tokio::io::split(far);
            let mut echo = vec![0; sent.len()];
            let (wrote, got) = tokio::join!(write.write_all(&sent), read.read_exact(&mut echo));
            wrote.unwrap();
            got.unwrap();
        },
    );
    let got: String = log.iter().filter_map(|line| line.strip_prefix("out0 got ")).collect();
    assert_eq!(got.as_bytes(), expected);
}
