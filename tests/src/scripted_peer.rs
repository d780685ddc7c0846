//! Peers that keep to a script, each at an address of its own in 127.0.0.0/8.

use crate::{Link, Outcome, Sample, id, in_background};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Who keeps to the protocol lets the others have their say first.
const HONEST_PAUSE: Duration = Duration::from_millis(700);

/// A listening peer with a script for each connection.
#[derive(Clone, Debug)]
pub struct ScriptedPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    connections: Arc<AtomicU32>,
    served: Arc<AtomicU32>,
}

impl ScriptedPeer {
    /// Listens on 127.0.0.`host` and plays `script` on each connection. An error in a script is the end of its connection.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn start(
        host: u8,
        script: impl Fn(&ScriptedPeer, Link) -> io::Result<()> + Send + Sync + 'static,
    ) -> Outcome<ScriptedPeer> {
        ScriptedPeer::listen(Ipv4Addr::new(127, 0, 0, host), script)
    }

    fn listen(
        ip: Ipv4Addr,
        script: impl Fn(&ScriptedPeer, Link) -> io::Result<()> + Send + Sync + 'static,
    ) -> Outcome<ScriptedPeer> {
        let listener = TcpListener::bind((ip, 0))?;
        let peer = ScriptedPeer { addr: listener.local_addr()?, connections: Arc::default(), served: Arc::default() };
        let (script, this) = (Arc::new(script), peer.clone());
        in_background(move || {
            for stream in listener.incoming().flatten() {
                this.connections.fetch_add(1, Ordering::Relaxed);
                let (script, this) = (Arc::clone(&script), this.clone());
                in_background(move || drop(script(&this, Link::new(stream))));
            }
        });
        Ok(peer)
    }

    /// A seeder that does all as it should, a moment after everybody else.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn honest(host: u8, sample: &Sample) -> Outcome<ScriptedPeer> {
        ScriptedPeer::start(host, honest_script(sample))
    }

    /// One such seeder at every address of this machine, each with a peer id of its own.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn honest_everywhere(sample: &Sample) -> Outcome<ScriptedPeer> {
        ScriptedPeer::listen(Ipv4Addr::UNSPECIFIED, honest_script(sample))
    }

    /// How often it was connected to.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::Relaxed)
    }

    /// How many blocks it has sent.
    pub fn served(&self) -> u32 {
        self.served.load(Ordering::Relaxed)
    }

    /// Exchanges handshakes and claims to have every piece.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn greet(&self, link: &mut Link, sample: &Sample) -> io::Result<()> {
        link.read_handshake()?;
        let peer_id = peer_id(link.stream.local_addr()?);
        link.send_handshake(sample.torrent.info_hash, peer_id, false)?;
        link.send(id::BITFIELD, &full_bitfield(sample.pieces()))
    }

    /// Unchokes and serves requests; `change` sees each block (and its piece) before it goes.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn seed(&self, mut link: Link, sample: &Sample, mut change: impl FnMut(u32, &mut Vec<u8>)) -> io::Result<()> {
        link.send(id::UNCHOKE, &[])?;
        loop {
            let [piece, begin, len] = link.next_request()?;
            let at = piece as usize * sample.torrent.piece_len_bytes + begin as usize;
            let mut block = sample.bytes()[at..at + len as usize].to_vec();
            change(piece, &mut block);
            link.send_block(piece, begin, &block)?;
            self.served.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn honest_script(sample: &Sample) -> impl Fn(&ScriptedPeer, Link) -> io::Result<()> + Send + Sync + 'static {
    let sample = sample.clone();
    move |this, mut link| {
        this.greet(&mut link, &sample)?;
        std::thread::sleep(HONEST_PAUSE);
        this.seed(link, &sample, |_, _| ())
    }
}

/// The peer id of the one who listens at `addr`.
fn peer_id(addr: SocketAddr) -> [u8; 20] {
    let mut id = *b"-XX0000-............";
    id.iter_mut().skip(8).zip(addr.to_string().bytes().rev()).for_each(|(to, from)| *to = from);
    id
}

/// The bitfield of one that has all pieces.
fn full_bitfield(pieces: usize) -> Vec<u8> {
    let mut bytes = vec![0xff; pieces.div_ceil(8)];
    let spare_bits = bytes.len() * 8 - pieces;
    if let Some(last) = bytes.last_mut() {
        *last <<= spare_bits;
    }
    bytes
}
