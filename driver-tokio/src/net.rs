//! The network as the driver needs it: a trait for real sockets, for a simulated network, and for tests.
//!
//! It moves bytes and decides nothing: who is dialled, how long a dial may take and how much is read is the engine's decision.

use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// A network. Its futures stay on the thread of the engine and need not be `Send`; dropping one gives the work up.
pub trait Net: 'static {
    /// A connection, in bytes.
    type Stream: Stream;
    /// Where connections come in.
    type Listener: Listener<Stream = Self::Stream>;
    /// Where datagrams come and go.
    type Udp: Udp;

    /// Listens on `addr` (port 0: any free one).
    fn listen(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>>;

    /// Connects from `from` (or whichever address fits) and an ephemeral port. Gives the connection and our address on it.
    ///
    /// When `from` is given and is of the other family than `to`, the dial fails: a user who binds to one address must not be seen
    /// from another.
    fn dial(
        &self,
        from: Option<IpAddr>,
        to: SocketAddr,
    ) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// A socket for datagrams on `addr` (port 0: any free one).
    fn bind_udp(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Udp>>;

    /// The addresses of a host name, in the resolver's order.
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>>;
}

/// A connection, in bytes. What it can do beyond reading and writing is for speed alone.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Whether the system can send from files on it.
    fn sends_files(&self) -> bool {
        false
    }

    /// Sends bytes of a file from `offset` on, at most `len`, without copying them. Gives how many were taken, 0 when the file ends there; pending when none can be.
    /// Only called where [`Stream::sends_files`] says so.
    fn poll_send_file(
        &mut self,
        _cx: &mut Context<'_>,
        _file: &File,
        _offset: u64,
        _len: usize,
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Writes bytes of which the rest comes at once: they may wait for it, to travel in one packet.
    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, bytes)
    }
}

/// A listening socket.
pub trait Listener: 'static {
    /// A connection, in bytes.
    type Stream;

    /// The next connection and who it is. Giving the future up loses nothing.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>>;

    /// The address it listens on, with its actual port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}

/// A socket for datagrams.
pub trait Udp: 'static {
    /// Receives one datagram into `into`; what does not fit is lost.
    fn recv_from(&self, into: &mut [u8]) -> impl Future<Output = io::Result<(usize, SocketAddr)>>;

    /// Sends one datagram.
    fn send_to(&self, bytes: &[u8], to: SocketAddr) -> impl Future<Output = io::Result<usize>>;

    /// The address it is bound to, with its actual port.
    fn local_addr(&self) -> io::Result<SocketAddr>;
}
