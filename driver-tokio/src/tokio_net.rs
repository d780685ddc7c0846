//! The real network: tokio's sockets.

use crate::net::{Listener, Net, Stream, Udp};
#[cfg(target_os = "linux")]
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
#[cfg(target_os = "linux")]
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
#[cfg(target_os = "linux")]
use std::task::{Context, Poll, ready};
#[cfg(target_os = "linux")]
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

/// Connections that wait to be accepted: a restarted seed is met by many at once.
const BACKLOG: i32 = 256;

/// Sockets of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

impl Net for TokioNet {
    type Stream = TcpStream;
    type Listener = TcpListener;
    type Udp = UdpSocket;

    async fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        let socket = bound(addr, Type::STREAM, Protocol::TCP)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }

    async fn dial(&self, from: Option<IpAddr>, to: SocketAddr) -> io::Result<(TcpStream, SocketAddr)> {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if let Some(from) = from {
            if from.is_ipv4() != to.is_ipv4() {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            socket.bind((from, 0).into())?;
        }
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        let local = stream.local_addr()?;
        Ok((stream, local))
    }

    async fn bind_udp(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::from_std(bound(addr, Type::DGRAM, Protocol::UDP)?.into())
    }

    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let mut ips: Vec<IpAddr> = Vec::new();
        for addr in tokio::net::lookup_host((host, 0)).await? {
            if !ips.contains(&addr.ip()) {
                ips.push(addr.ip());
            }
        }
        Ok(ips)
    }
}

/// A socket bound to `addr`. One for IPv6 takes IPv6 alone, so that its twin for IPv4 can have the same port.
fn bound(addr: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::STREAM {
        // A restart must not wait for the connections of the life before (TIME_WAIT); a port in use is still refused.
        socket.set_reuse_address(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(addr))?;
    Ok(socket)
}

#[cfg(not(target_os = "linux"))]
impl Stream for TcpStream {}

#[cfg(target_os = "linux")]
impl Stream for TcpStream {
    fn sends_files(&self) -> bool {
        true
    }

    fn poll_send_file(
        &mut self,
        cx: &mut Context<'_>,
        file: &File,
        offset: u64,
        len: usize,
    ) -> Poll<io::Result<usize>> {
        poll_send(self, cx, |socket| {
            let mut at = offset;
            Ok(rustix::fs::sendfile(socket, file, Some(&mut at), len)?)
        })
    }

    fn poll_write_more(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_send(self, cx, |socket| Ok(rustix::net::send(socket, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?))
    }
}

/// Tries to send whenever the socket may take something.
#[cfg(target_os = "linux")]
fn poll_send(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    send: impl Fn(&TcpStream) -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_write_ready(cx))?;
        match socket.try_io(Interest::WRITABLE, || send(socket)) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Poll::Ready(result),
        }
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, from) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok((stream, from))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }
}

impl Udp for UdpSocket {
    async fn recv_from(&self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        UdpSocket::recv_from(self, into).await
    }

    async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        UdpSocket::send_to(self, bytes, to).await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        UdpSocket::local_addr(self)
    }
}
