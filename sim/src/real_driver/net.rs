//! turmoil's network as the driver's: streams that read and write in random short portions, now and then say "not yet",
//! and break after a random number of bytes. Every socket and dial is counted.

use super::account::{Account, Counted};
use driver_tokio::{Listener, Net, Udp};
use sameseed_core::rng::{Rng, Stream};
use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant, Sleep, sleep_until};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

/// The longest portion of one read or write.
const MAX_PORTION: usize = 32 * 1024;

/// How the network of one host is, over all its lives: calm and without limit at first. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Weather(Rc<Sky>);

#[derive(Debug, Default)]
struct Sky {
    cut_below: Cell<Option<u64>>,
    bytes_per_second: Cell<Option<u64>>,
    /// When the line is free to bring more.
    free_at: Cell<Option<Instant>>,
}

impl Weather {
    /// From now on each new connection breaks after less than so many bytes, in the middle of whatever it carries; with `None` no
    /// connection does, not even an old one.
    pub fn cut_below(&self, bytes: Option<u64>) {
        self.0.cut_below.set(bytes);
    }

    /// How much the host can receive in a second, on all connections together.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        self.0.bytes_per_second.set(bytes_per_second);
    }

    /// Bytes came in: the line is busy for as long as they take.
    fn received(&self, bytes: usize) {
        if let Some(rate) = self.0.bytes_per_second.get() {
            let start = self.0.free_at.get().map_or_else(now, |at| at.max(now()));
            self.0.free_at.set(Some(start + Duration::from_micros(bytes as u64 * 1_000_000 / rate)));
        }
    }

    /// Until when the line is busy, if it is.
    fn busy_until(&self) -> Option<Instant> {
        self.0.free_at.get().filter(|at| *at > now())
    }
}

#[expect(clippy::disallowed_methods, reason = "the simulator's clock")]
fn now() -> Instant {
    Instant::now()
}

/// The network of one life of a host.
#[derive(Clone, Debug)]
pub struct SimNet {
    rng: Rc<RefCell<Rng>>,
    cuts: Rc<Cell<u32>>,
    weather: Weather,
    account: Account,
}

impl SimNet {
    /// A network whose portions and breaks follow from `seed` and `host`. The first `cuts` connections that the host makes or takes
    /// break after up to 2 MiB, whatever the weather.
    pub fn new(seed: u64, host: u32, cuts: u32, weather: &Weather, account: &Account) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        bytes[8..12].copy_from_slice(&host.to_le_bytes());
        // Each life has a clock of its own.
        weather.0.free_at.set(None);
        // The engine of this host draws from another seed, so a stream of it may serve here.
        let rng = Rc::new(RefCell::new(Rng::new(&bytes, Stream::Picker, 0)));
        SimNet { rng, cuts: Rc::new(Cell::new(cuts)), weather: weather.clone(), account: account.clone() }
    }

    fn wrap(&self, inner: TcpStream, counted: Counted) -> ChoppedStream {
        let below = |bytes| self.rng.borrow_mut().below(bytes);
        let breaks = match (self.cuts.get(), self.weather.0.cut_below.get()) {
            (0, None) => Breaks::Never,
            (0, Some(bytes)) => Breaks::InBadWeather { left: below(bytes) },
            (cuts, _) => {
                self.cuts.set(cuts - 1);
                Breaks::Anyway { left: below(2 * 1024 * 1024) }
            }
        };
        let (rng, weather) = (self.rng.clone(), self.weather.clone());
        let scratch = vec![0; MAX_PORTION];
        ChoppedStream { inner: Some(inner), rng, weather, breaks, wait: None, scratch, _counted: counted }
    }
}

impl driver_tokio::Stream for ChoppedStream {}

impl Net for SimNet {
    type Stream = ChoppedStream;
    type Listener = SimListener;
    type Udp = SimUdp;

    async fn listen(&self, addr: SocketAddr) -> io::Result<SimListener> {
        let inner = TcpListener::bind(addr).await?;
        Ok(SimListener { inner, net: self.clone(), _counted: self.account.listeners.count() })
    }

    async fn dial(&self, _: Option<IpAddr>, to: SocketAddr) -> io::Result<(ChoppedStream, SocketAddr)> {
        let counted = self.account.streams.count();
        let stream = TcpStream::connect(to).await?;
        let local = stream.local_addr()?;
        Ok((self.wrap(stream, counted), local))
    }

    async fn bind_udp(&self, addr: SocketAddr) -> io::Result<SimUdp> {
        Ok(SimUdp { inner: UdpSocket::bind(addr).await?, _counted: self.account.udp.count() })
    }

    /// Worlds use addresses: no name is known.
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// A listener whose connections are chopped too.
pub struct SimListener {
    inner: TcpListener,
    net: SimNet,
    _counted: Counted,
}

impl std::fmt::Debug for SimListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SimListener").field("net", &self.net).finish_non_exhaustive()
    }
}

impl Listener for SimListener {
    type Stream = ChoppedStream;

    async fn accept(&self) -> io::Result<(ChoppedStream, SocketAddr)> {
        let (stream, from) = self.inner.accept().await?;
        Ok((self.net.wrap(stream, self.net.account.streams.count()), from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A UDP socket.
#[derive(Debug)]
pub struct SimUdp {
    inner: UdpSocket,
    _counted: Counted,
}

impl Udp for SimUdp {
    async fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.inner.recv_from(into).await
    }

    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        self.inner.send_to(bytes, to).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A stream in random short portions.
#[derive(Debug)]
pub struct ChoppedStream {
    /// Gone once it is broken; the other side then reads its end.
    inner: Option<TcpStream>,
    rng: Rc<RefCell<Rng>>,
    weather: Weather,
    breaks: Breaks,
    /// Until the line is free again.
    wait: Option<Pin<Box<Sleep>>>,
    scratch: Vec<u8>,
    _counted: Counted,
}

/// When a stream breaks.
#[derive(Clone, Copy, Debug)]
enum Breaks {
    Never,
    /// After so many more bytes, if the weather is still bad.
    InBadWeather {
        left: u64,
    },
    /// After so many more bytes.
    Anyway {
        left: u64,
    },
}

impl ChoppedStream {
    /// The next portion; pending (and woken again) one time in sixteen.
    fn portion(&self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut rng = self.rng.borrow_mut();
        let bound = match rng.below(16) {
            0 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            1..4 => 32,
            _ => MAX_PORTION as u64,
        };
        Poll::Ready(1 + rng.below(bound) as usize)
    }

    fn spend(&mut self, bytes: usize) {
        let (Breaks::InBadWeather { left } | Breaks::Anyway { left }) = &mut self.breaks else { return };
        *left = left.saturating_sub(bytes as u64);
        if *left > 0 {
            return;
        }
        if matches!(self.breaks, Breaks::InBadWeather { .. }) && self.weather.0.cut_below.get().is_none() {
            self.breaks = Breaks::Never;
        } else {
            self.inner = None;
        }
    }
}

impl AsyncRead for ChoppedStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while let Some(at) = this.weather.busy_until() {
            let wait = this.wait.insert(Box::pin(sleep_until(at)));
            ready!(wait.as_mut().poll(cx));
        }
        let portion = ready!(this.portion(cx)).min(into.remaining()).min(MAX_PORTION);
        let Some(inner) = &mut this.inner else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        let mut part = ReadBuf::new(&mut this.scratch[..portion]);
        ready!(Pin::new(inner).poll_read(cx, &mut part))?;
        into.put_slice(part.filled());
        let len = part.filled().len();
        this.weather.received(len);
        this.spend(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ChoppedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let portion = ready!(self.portion(cx)).min(bytes.len());
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())) };
        let written = ready!(Pin::new(inner).poll_write(cx, &bytes[..portion]))?;
        self.spend(written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().map_or(Poll::Ready(Ok(())), |inner| Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.as_mut().map_or(Poll::Ready(Ok(())), |inner| Pin::new(inner).poll_shutdown(cx))
    }
}
