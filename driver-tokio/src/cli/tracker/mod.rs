//! `sameseed tracker`: a small HTTP and UDP tracker for a local network, for demonstrations and tests.
//!
//! This file owns its sockets and its clock; what is said stands in `http` and `udp`, what is known in `swarm`. Nothing is kept on disk.

mod http;
mod swarm;
mod udp;

use super::exit::{Exit, Failure, system_words};
use super::{output, signals};
use clap::Args;
use sameseed_core::time::{Duration, Instant};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use swarm::Swarms;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// HTTP connections at a time; more wait in the system's queue. Most systems allow a process 1,024 files.
const MAX_CONNECTIONS: usize = 256;
/// A request and its answer take milliseconds; who drips gives its place back after this long.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that has been silent for three intervals is gone, but clients may take any interval to be at least some minutes.
const MIN_LIFETIME: Duration = Duration::from_secs(600);
/// How often the silent are looked for.
const EXPIRY_EVERY: Duration = Duration::from_secs(30);
/// After an error of `accept` (out of files), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// With port 0, how many ports are tried that must be free for TCP and UDP.
const PORT_TRIES: usize = 16;

/// `sameseed tracker`.
#[derive(Debug, Args)]
pub(crate) struct TrackerArgs {
    /// Where to listen, TCP and UDP; port 0 is any free one
    ///
    /// Peers are named by the address from which they announce: a peer on the tracker's own machine should use its address in the local
    /// network, not 127.0.0.1, unless all peers are on that machine.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:6969")]
    listen: SocketAddr,
    /// How often peers should announce, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    interval: u32,
    #[command(flatten)]
    pub(crate) log: super::args::LogArgs,
}

struct Tracker {
    swarms: RefCell<Swarms>,
    gate: udp::Gate,
    interval_s: u32,
    started: tokio::time::Instant,
}

impl Tracker {
    fn now(&self) -> Instant {
        Instant::ZERO + self.started.elapsed()
    }
}

/// Runs until a signal comes.
pub(crate) fn tracker(args: &TrackerArgs) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format!("cannot start: {}", system_words(&error))))?;
    tokio::task::LocalSet::new().block_on(&runtime, serve(args))
}

async fn serve(args: &TrackerArgs) -> Result<Exit, Failure> {
    let (listener, socket) = bind(args.listen).await.map_err(|error| {
        let hint = "choose another address or port with --listen";
        Failure::new(Exit::Usage, format!("cannot listen on {}: {}; {hint}", args.listen, system_words(&error)))
    })?;
    let signal = signals::watch()?;
    let mut secret = [0; 16];
    getrandom::fill(&mut secret)
        .map_err(|error| Failure::new(Exit::Other, format!("the system gives no random bytes: {error}")))?;
    let lifetime = MIN_LIFETIME.max(Duration::from_secs(3 * u64::from(args.interval)));
    let tracker = Rc::new(Tracker {
        swarms: RefCell::new(Swarms::new(lifetime)),
        gate: udp::Gate::new(secret),
        interval_s: args.interval,
        started: now(),
    });
    let local = listener.local_addr().unwrap_or(args.listen);
    let shown = SocketAddr::new(reachable(local.ip()).await, local.port());
    output::line(&format!("tracker ready: http://{shown}/announce udp://{shown}/announce"));

    let mut tasks = JoinSet::new();
    tasks.spawn_local(serve_http(Rc::clone(&tracker), listener));
    tasks.spawn_local(serve_udp(Rc::clone(&tracker), socket));
    tasks.spawn_local(expire(tracker));
    tokio::select! {
        biased;
        _ = signal => Ok(Exit::Done),
        // They run for ever; only a panic ends one, and it is passed on.
        ended = tasks.join_next() => match ended {
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            _ => Err(Failure::new(Exit::Other, "the tracker stopped")),
        },
    }
}

#[expect(clippy::disallowed_methods, reason = "the tracker is not simulated and reads its own clock")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

async fn bind(addr: SocketAddr) -> std::io::Result<(TcpListener, UdpSocket)> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        let listener = TcpListener::bind(addr).await?;
        match UdpSocket::bind(listener.local_addr()?).await {
            Ok(socket) => return Ok((listener, socket)),
            Err(error) if tries <= 1 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

/// The address that others can use: our own in the local network when we listen on all.
async fn reachable(ip: IpAddr) -> IpAddr {
    if !ip.is_unspecified() {
        return ip;
    }
    // Connecting a UDP socket sends nothing; it makes the system choose the way out (the addresses are RFC 5737's and RFC 3849's).
    let (any, far, loopback): (IpAddr, IpAddr, IpAddr) = match ip {
        IpAddr::V4(any) => (any.into(), Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(any) => {
            (any.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into())
        }
    };
    let way_out = async {
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect((far, 9)).await?;
        socket.local_addr()
    };
    way_out.await.map_or(loopback, |addr| addr.ip())
}

async fn expire(tracker: Rc<Tracker>) {
    loop {
        tokio::time::sleep(EXPIRY_EVERY).await;
        tracker.swarms.borrow_mut().expire(tracker.now());
    }
}

async fn serve_udp(tracker: Rc<Tracker>, socket: UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        // Errors are those of earlier datagrams (nobody listens there): they concern nobody here.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else { continue };
        let datagram = buffer.get(..len).unwrap_or_default();
        let reply = udp::respond(
            datagram,
            from,
            tracker.interval_s,
            tracker.now(),
            &tracker.gate,
            &mut tracker.swarms.borrow_mut(),
        );
        tracing::debug!(%from, bytes = len, answered = reply.is_some(), "datagram");
        if let Some(reply) = reply
            && let Err(error) = socket.send_to(&reply, from).await
        {
            tracing::debug!(%from, %error, "the reply could not be sent");
        }
    }
}

async fn serve_http(tracker: Rc<Tracker>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let tracker = Rc::clone(&tracker);
                tasks.spawn_local(async move {
                    let _place = place;
                    let outcome = tokio::time::timeout(EXCHANGE_TIMEOUT, exchange(&tracker, stream, from)).await;
                    tracing::debug!(%from, ?outcome, "request");
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request, one response, and the end of the connection.
async fn exchange(tracker: &Tracker, mut stream: TcpStream, from: SocketAddr) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let response = loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            break http::respond(&head, from.ip(), tracker.interval_s, tracker.now(), &mut tracker.swarms.borrow_mut());
        }
        let room = http::MAX_HEAD_BYTES.saturating_sub(head.len());
        if room == 0 {
            break http::too_long();
        }
        if (&mut stream).take(room as u64).read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    stream.write_all(&response).await?;
    stream.shutdown().await
}
