//! Trackers that keep to a script, over HTTP and UDP.

use crate::client::LOOPBACK;
use crate::{Outcome, in_background};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

/// The largest datagram that a script is shown.
const MAX_DATAGRAM_BYTES: usize = 2048;

/// An HTTP server with a script for each request.
#[derive(Clone, Debug)]
pub struct HttpTracker {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl HttpTracker {
    /// Listens on 127.0.0.1 and plays `script` on each request: it is given the request's target, and the connection to answer on. When it
    /// returns the connection is closed.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start(script: impl Fn(&str, &mut TcpStream) + Send + Sync + 'static) -> Outcome<HttpTracker> {
        let listener = TcpListener::bind((LOOPBACK, 0))?;
        let tracker = HttpTracker { addr: listener.local_addr()?, requests: Arc::default() };
        let (script, requests) = (Arc::new(script), Arc::clone(&tracker.requests));
        in_background(move || {
            for mut stream in listener.incoming().flatten() {
                let (script, requests) = (Arc::clone(&script), Arc::clone(&requests));
                in_background(move || {
                    let Some(target) = read_target(&stream) else { return };
                    requests.lock().unwrap_or_else(PoisonError::into_inner).push(target.clone());
                    script(&target, &mut stream);
                });
            }
        });
        Ok(tracker)
    }

    /// One that names these peers, as an honest one does.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn honest(peers: &[SocketAddr]) -> Outcome<HttpTracker> {
        let answer = http_ok(&reply(1800, &compact(peers)));
        HttpTracker::start(move |_, stream| drop(std::io::Write::write_all(stream, &answer)))
    }

    /// Its announce URL.
    pub fn url(&self) -> String {
        format!("http://{}/announce", self.addr)
    }

    /// The targets of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Reads a request's head; gives the target.
fn read_target(stream: &TcpStream) -> Option<String> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    lines.map_while(Result::ok).find(|line| line.is_empty())?;
    first.split(' ').nth(1).map(str::to_owned)
}

/// A UDP server with a script for each datagram.
#[derive(Clone, Debug)]
pub struct UdpTracker {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl UdpTracker {
    /// Listens on 127.0.0.1 and plays `script` on each datagram.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start(script: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> Outcome<UdpTracker> {
        let socket = UdpSocket::bind((LOOPBACK, 0))?;
        let tracker = UdpTracker { addr: socket.local_addr()?, requests: Arc::default() };
        let requests = Arc::clone(&tracker.requests);
        in_background(move || {
            let mut buffer = [0; MAX_DATAGRAM_BYTES];
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                requests.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..len].to_vec());
                script(&socket, &buffer[..len], from);
            }
        });
        Ok(tracker)
    }

    /// Its announce URL.
    pub fn url(&self) -> String {
        format!("udp://{}/announce", self.addr)
    }

    /// How many datagrams came.
    pub fn requests(&self) -> usize {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// A successful HTTP answer.
pub fn http_ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A tracker's answer with peers in compact form (BEP 23).
pub fn reply(interval_s: i64, compact_peers: &[u8]) -> Vec<u8> {
    let head = format!("d8:intervali{interval_s}e5:peers{}:", compact_peers.len());
    [head.as_bytes(), compact_peers, b"e"].concat()
}

/// IPv4 addresses in compact form (BEP 23); others are left out.
pub fn compact(peers: &[SocketAddr]) -> Vec<u8> {
    let v4 = peers.iter().filter_map(|peer| match peer {
        SocketAddr::V4(v4) => Some(v4),
        SocketAddr::V6(_) => None,
    });
    v4.flat_map(|v4: &SocketAddrV4| [&v4.ip().octets()[..], &v4.port().to_be_bytes()].concat()).collect()
}
