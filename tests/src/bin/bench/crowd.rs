//! One leecher and many peers, threads of this process that dial it: few of them send, the others have nothing, want everything and never ask.

use crate::measure::Cost;
use crate::scene::{NO_TRACKER, Shared, difference_in, until_ended};
use crate::warm::warm;
use ::tests::{Client, Job, Link, Outcome, Process, Role, Stage, free_port, id, in_background};
use driver_tokio::{AddTorrentOptions, Session};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// The word before what [`leech`] is given.
pub(crate) const LEECH: &str = "--leech";
/// Between two looks at how many have come, and two tries to come.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The address of the first peer.
const FIRST: Ipv4Addr = Ipv4Addr::new(127, 1, 0, 1);

/// Peers at addresses of their own in 127.0.0.0/8.
struct Crowd {
    leecher: SocketAddr,
    peers: u32,
    senders: u32,
    /// How many are connected.
    here: AtomicU32,
    is_over: AtomicBool,
    info_hash: [u8; 20],
    piece_bytes: usize,
    bytes: Vec<u8>,
}

/// Lets one client download from such a crowd. Nobody sends before all are connected.
///
/// # Errors
/// When the client fails, or does not want so many peers.
pub(crate) fn run(stage: &Stage, shared: &Shared, peers: u32, senders: u32, client: &dyn Client) -> Outcome<Cost> {
    let torrent = shared.write_torrent(stage, NO_TRACKER, "crowd")?;
    let dir = stage.folder("got")?;
    let (process, leecher) = if client.name() == "sameseed" {
        let port = free_port();
        let mut command = Command::new(std::env::current_exe()?);
        // Some places are kept for those whom it dials.
        command.arg(LEECH).args([u32::from(port), 2 * peers + 8].map(|number| number.to_string()));
        command.arg(&torrent.path).arg(&dir);
        (Process::start(stage, "leech", command)?, SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
    } else {
        let leeching = client.start(&Job::new(stage, &torrent.path, &dir, Role::Leecher))?;
        (leeching.process, leeching.listens)
    };
    let crowd = Arc::new(Crowd {
        leecher,
        peers,
        senders,
        here: AtomicU32::new(0),
        is_over: AtomicBool::new(false),
        info_hash: torrent.info_hash,
        piece_bytes: torrent.piece_len_bytes,
        bytes: shared.tree.files.first().map(|file| file.bytes.clone()).unwrap_or_default(),
    });
    warm(&stage.path(""), shared.tree.len_bytes())?;
    for number in 0..peers {
        let crowd = Arc::clone(&crowd);
        in_background(move || crowd.take_part(number));
    }
    let cost = until_ended(stage, vec![process]);
    crowd.is_over.store(true, Ordering::Relaxed);
    let here = crowd.here.load(Ordering::Relaxed);
    let cost = cost.map_err(|error| format!("{error}; {here} of {peers} peers were connected"))?;
    difference_in(shared, &dir, client)?;
    Ok(cost)
}

impl Crowd {
    /// Comes again whenever it is sent away.
    fn take_part(&self, number: u32) {
        while !self.is_over.load(Ordering::Relaxed) {
            if let Ok(link) = self.connect(number) {
                self.here.fetch_add(1, Ordering::Relaxed);
                // Who is sent away comes again: its error is of no interest.
                let _ = if number < self.senders { self.seed(link) } else { want(link) };
                self.here.fetch_sub(1, Ordering::Relaxed);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    fn connect(&self, number: u32) -> io::Result<Link> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let own = Ipv4Addr::from_bits(FIRST.to_bits() + number);
        socket.bind(&SocketAddr::from((own, 0)).into())?;
        socket.connect(&self.leecher.into())?;
        let mut link = Link::new(socket.into());
        let mut peer_id = *b"-BE0001-crowd-......";
        peer_id[16..].copy_from_slice(&number.to_be_bytes());
        link.send_handshake(self.info_hash, peer_id, true)?;
        link.read_handshake()?;
        Ok(link)
    }

    fn seed(&self, mut link: Link) -> io::Result<()> {
        link.send(id::HAVE_ALL, &[])?;
        while self.here.load(Ordering::Relaxed) < self.peers && !self.is_over.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_AGAIN);
        }
        link.send(id::UNCHOKE, &[])?;
        loop {
            let [piece, begin, len] = link.next_request()?;
            let at = piece as usize * self.piece_bytes + begin as usize;
            link.send_block(piece, begin, &self.bytes[at..at + len as usize])?;
        }
    }
}

fn want(mut link: Link) -> io::Result<()> {
    link.send(id::HAVE_NONE, &[])?;
    link.send(id::INTERESTED, &[])?;
    link.drain()
}

/// `sameseed` as a library, since the program holds a hundred connections for a torrent and has no option for more: this process is it.
///
/// # Errors
/// When the download fails.
pub(crate) fn leech(words: &[&str]) -> Outcome {
    let [port, connections, torrent, dir] = words else {
        return Err("usage: bench --leech PORT CONNECTIONS TORRENT DIR".into());
    };
    let (port, connections): (u16, usize) = (port.parse()?, connections.parse()?);
    let builder = Session::builder().home(*dir).bind(Ipv4Addr::LOCALHOST.into()).port(port);
    let builder = builder.max_connections(connections).max_connections_per_torrent(connections);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let session = builder.start().await?;
        let torrent = session.add(AddTorrentOptions::from_file(*torrent)?).await?;
        torrent.wait_complete().await?;
        session.shutdown().await;
        Ok(())
    })
}
