//! Simulated trackers, in bytes: HTTP and UDP on one port, and the kind that hangs.

use sameseed_core::tracker::http::encode_reply;
use sameseed_core::tracker::udp::{Request, Response, decode_request, encode_response};
use sameseed_core::tracker::{Reply, Swarm};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::{TcpListener, TcpStream, UdpSocket};

/// The port of every tracker, for both protocols.
pub const PORT: u16 = 6969;
/// Seconds between announces.
const INTERVAL_S: i64 = 60;
/// What a UDP tracker hands out as connection id.
const CONNECTION: u64 = 77;

type Peers = Rc<RefCell<BTreeSet<SocketAddr>>>;

/// What a software of turmoil ends with.
pub type Ended = Result<(), Box<dyn Error>>;

/// A tracker that works: it names every peer that ever announced, the asker included.
pub async fn serve() -> Ended {
    let peers = Peers::default();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let mut buffer = vec![0; 2000];
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => {
                let (stream, from) = accepted?;
                // One at a time: a client that dies in the middle costs its own answer.
                let _ = answer_http(stream, from, &peers).await;
            }
            received = socket.recv_from(&mut buffer) => {
                let (len, from) = received?;
                if let Some(answer) = answer_udp(&buffer[..len], from, &peers) {
                    socket.send_to(&encode_response(&answer, from.ip()), from).await?;
                }
            }
        }
    }
}

/// A tracker that takes connections and datagrams and never says a word.
pub async fn hang() -> Ended {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let _socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let mut held = Vec::new();
    loop {
        held.push(listener.accept().await?);
    }
}

async fn answer_http(mut stream: TcpStream, from: SocketAddr, peers: &Peers) -> Ended {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let port = head.split(['?', '&', ' ']).find_map(|pair| pair.strip_prefix("port=")).ok_or("no port")?;
    let body = encode_reply(&announced(from.ip(), port.parse()?, peers));
    stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).await?;
    stream.write_all(&body).await?;
    Ok(())
}

fn answer_udp(bytes: &[u8], from: SocketAddr, peers: &Peers) -> Option<Response> {
    Some(match decode_request(bytes)? {
        Request::Connect { transaction } => Response::Connect { transaction, connection: CONNECTION },
        Request::Announce { connection, transaction, .. } | Request::Scrape { connection, transaction, .. }
            if connection != CONNECTION =>
        {
            Response::Error { transaction, reason: "unknown connection id".into() }
        }
        Request::Announce { transaction, announce, .. } => {
            Response::Announce { transaction, reply: announced(from.ip(), announce.port, peers) }
        }
        Request::Scrape { transaction, info_hashes, .. } => {
            Response::Scrape { transaction, swarms: vec![Swarm::default(); info_hashes.len()] }
        }
    })
}

fn announced(ip: IpAddr, port: u16, peers: &Peers) -> Reply {
    let mut peers = peers.borrow_mut();
    peers.insert(SocketAddr::new(ip, port));
    Reply {
        peers: peers.iter().copied().collect(),
        interval_s: Some(INTERVAL_S),
        complete: Some(0),
        incomplete: Some(0),
        ..Reply::default()
    }
}
