//! The network as the driver needs it: a trait for real sockets, for a simulated network, and for tests.
//!
//! It moves bytes and decides nothing: who is dialled, how long a dial may take and how much is read is the engine's decision.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncWrite};

/// A network. Its futures stay on the thread of the engine and need not be `Send`; dropping one gives the work up.
pub trait Net: 'static {
    /// A connection, in bytes.
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
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
