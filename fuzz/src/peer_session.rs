//! Several peers whose bytes may be anything, an engine with a small torrent, and a disk that keeps what it is given.
//!
//! Bytes arrive cut anywhere, those of one peer between those of others, and never more of them than the engine allowed to be read. After each
//! event all invariants are recounted, and seen from outside: what is sent was verified, what is called verified lies on the disk, and what waits
//! for one peer is bounded. At the end whoever is still there is fed garbage, and must be closed. Input: a list of [`Step`]s, as `arbitrary` reads them.

use super::torrent::{Disk, INFO_HASH, Saying, TORRENT, check_explained, content, metainfo};
use arbitrary::{Arbitrary, Unstructured};
use sameseed_core::action::{Action, Destination, Notice, Operation, Segment, TxBatch};
use sameseed_core::config::Config;
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::{BLOCK_LEN, ConnId, OpId, PeerId};
use sameseed_core::time::{Duration, Instant};
use sameseed_core::wire::{BlockRequest, Decoder, Handshake, Item, Message, encode_piece_header};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Longer inputs find nothing that shorter ones do not.
const MAX_STEPS: usize = 300;
/// What may wait for a peer that does not read: the engine's 4 MiB, and the answers to one grant of a megabyte.
const MAX_WAITING_BYTES: u64 = 5 * 1024 * 1024;
/// More than any message that the engine bears: after so many bytes of 0xff in a row a length of four gigabytes has been read.
const GARBAGE_BYTES: usize = 256 * 1024;

const HANDSHAKE_LEN: usize = 68;
/// The id of the message `piece`.
const PIECE: u8 = 7;
/// The longest block that the engine gives.
const MAX_BLOCK_LEN: usize = 128 * 1024;

/// Something that happens. Small numbers choose among the peers there are.
#[derive(Arbitrary, Debug)]
enum Step {
    /// A peer connects.
    Connect {
        host: u8,
    },
    /// What follows is written by a peer; it arrives with `Deliver`.
    Shake {
        which: u8,
        id: u8,
        fast: bool,
    },
    Say {
        which: u8,
        what: Saying,
    },
    Frame {
        which: u8,
        id: u8,
        body: Vec<u8>,
    },
    Raw {
        which: u8,
        bytes: Vec<u8>,
    },
    /// The answer to a request that the engine made.
    Answer {
        which: u8,
        request: u8,
        right: bool,
    },
    /// Some of what a peer wrote arrives.
    Deliver {
        which: u8,
        bytes: u16,
    },
    /// All of it does.
    DeliverAll {
        which: u8,
    },
    /// A peer reads what was sent to it.
    Read {
        which: u8,
        bytes: u16,
    },
    Disk {
        which: u8,
    },
    Close {
        which: u8,
    },
    Pass {
        millis: u16,
    },
}

/// The other end of a connection.
#[derive(Default)]
struct Peer {
    decoder: Decoder,
    /// Sent by the engine, and not yet a whole message.
    arrived: Vec<u8>,
    /// The engine's handshake has come.
    greeted: bool,
    /// What the engine asked for.
    asked: Vec<BlockRequest>,
    /// Written and not yet arrived.
    out: Vec<u8>,
    /// What the engine allows to be read.
    allowed: u64,
    /// Sent by the engine and not read.
    unread: u64,
}

struct World {
    engine: Engine,
    now: Instant,
    disk: Disk,
    peers: BTreeMap<ConnId, Peer>,
    operations: Vec<(OpId, Operation)>,
    accepted: u64,
}

/// Runs the steps that `data` says.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new(bool::arbitrary(&mut input).unwrap_or_default());
    for _ in 0..MAX_STEPS {
        // Past its end the input would go on with zeros.
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        world.step(step);
    }
    world.finish();
}

/// Takes the whole messages from `arrived`, and returns all but the blocks: who asks gets up to [`MAX_BLOCK_LEN`], of which our decoder takes an eighth.
fn without_blocks(arrived: &mut Vec<u8>, greeted: &mut bool) -> Vec<u8> {
    let mut readable = Vec::new();
    if !*greeted {
        if arrived.len() < HANDSHAKE_LEN {
            return readable;
        }
        readable.extend(arrived.drain(..HANDSHAKE_LEN));
        *greeted = true;
    }
    while let Some(prefix) = arrived.first_chunk::<4>() {
        let len = u32::from_be_bytes(*prefix) as usize;
        if arrived.len() < 4 + len {
            break;
        }
        let message: Vec<u8> = arrived.drain(..4 + len).collect();
        if message.get(4) == Some(&PIECE) {
            assert!(len <= 9 + MAX_BLOCK_LEN, "no more than can be asked for");
        } else {
            readable.extend(message);
        }
    }
    readable
}

impl World {
    fn new(seeder: bool) -> Self {
        // Few enough of everything that limits are met.
        let config = Config { pool_blocks: 5, max_connections: 12, upload_slots: 2, ..Config::default() };
        let mut world = World {
            engine: Engine::new(config, [1; 32], Instant::ZERO, 0),
            now: Instant::ZERO,
            disk: Disk::new(seeder),
            peers: BTreeMap::new(),
            operations: Vec::new(),
            accepted: 0,
        };
        let add = AddTorrent::new(TORRENT, metainfo(Vec::new()));
        world.tell(Event::Command(Command::Add(Box::new(add))));
        // Past the check, where peers are let in.
        while !world.operations.is_empty() {
            world.end_operation(0);
        }
        world
    }

    /// One event, all that follows from it, and a look at everything.
    fn tell(&mut self, event: Event<'_>) {
        self.engine.handle(self.now, event);
        while let Some(action) = self.engine.poll_action() {
            self.act(action);
        }
        let mut batch = TxBatch::default();
        while let Some(to) = self.engine.poll_transmit(&mut batch) {
            if let Destination::Conn(conn) = to {
                self.hear(conn, &batch);
            }
        }
        self.engine.check_invariants();
        check_explained(&self.engine, self.now);
        let (capacity, reserved, out) = self.engine.view().pool;
        assert!(reserved + out <= capacity, "memory is bounded");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Close { conn, .. } => _ = self.peers.remove(&conn).expect("a connection is closed once"),
            Action::Submit { op, operation } => self.operations.push((op, operation)),
            Action::AllowRead { conn, bytes } => {
                self.peers.get_mut(&conn).expect("nothing is read after the end").allowed += bytes;
            }
            Action::Notify(Notice::PieceVerified { piece, .. }) => {
                let bytes = content(piece.0);
                assert!(
                    self.disk.read(piece, 0, bytes.len() as u32) == bytes,
                    "what is called verified is on the disk"
                );
            }
            // Introduced by a peer; nobody answers there.
            Action::Dial { .. }
            | Action::RevokeRead { .. }
            | Action::Place { .. }
            | Action::Abort { .. }
            | Action::Notify(_) => {}
        }
    }

    fn hear(&mut self, conn: ConnId, batch: &TxBatch) {
        let peer = self.peers.get_mut(&conn).expect("nothing is sent after the end");
        let mut bytes = Vec::new();
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                Segment::File { piece, begin, len, .. } => {
                    let stored = self.disk.read(*piece, *begin, *len);
                    let right = &content(piece.0)[*begin as usize..][..*len as usize];
                    assert!(stored == right, "only verified bytes are sent");
                    bytes.extend_from_slice(stored);
                }
            }
        }
        peer.unread += bytes.len() as u64;
        assert!(peer.unread <= MAX_WAITING_BYTES, "what waits for one peer is bounded");
        peer.arrived.extend_from_slice(&bytes);
        let readable = without_blocks(&mut peer.arrived, &mut peer.greeted);
        let mut input = &readable[..];
        while let Some(item) = peer.decoder.next(&mut input).expect("what is sent can be read") {
            match item {
                Item::Message(Message::Request(request)) => peer.asked.push(request),
                Item::Message(Message::Cancel(request)) => peer.asked.retain(|other| *other != request),
                _ => {}
            }
        }
    }

    fn conn(&self, which: u8) -> Option<ConnId> {
        self.peers.keys().nth(usize::from(which) % self.peers.len().max(1)).copied()
    }

    fn write(&mut self, which: u8, bytes: &[u8]) {
        if let Some(peer) = self.conn(which).and_then(|conn| self.peers.get_mut(&conn)) {
            peer.out.extend_from_slice(bytes);
        }
    }

    /// At most so many bytes of what a peer wrote arrive.
    fn deliver(&mut self, conn: ConnId, most: usize) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        let len = peer.out.len().min(most).min(usize::try_from(peer.allowed).unwrap_or(usize::MAX));
        if len > 0 {
            peer.allowed -= len as u64;
            let mut bytes: Vec<u8> = peer.out.drain(..len).collect();
            self.tell(Event::Received { conn, bytes: &mut bytes });
        }
    }

    fn step(&mut self, step: Step) {
        let mut bytes = Vec::new();
        match step {
            Step::Connect { host } => {
                let conn = ConnId::accepted(self.accepted);
                self.accepted += 1;
                self.peers.insert(conn, Peer::default());
                self.tell(Event::Accepted { conn, from: SocketAddr::from(([10, 0, 1, host % 8], 5000)) });
            }
            Step::Shake { which, id, fast } => {
                let mut handshake = Handshake::new(INFO_HASH, PeerId([id; 20]));
                if !fast {
                    handshake.reserved = [0; 8];
                }
                handshake.encode(&mut bytes);
                self.write(which, &bytes);
            }
            Step::Say { which, what } => {
                what.encode(&mut bytes);
                self.write(which, &bytes);
            }
            Step::Frame { which, id, body } => {
                bytes.extend((body.len() as u32 + 1).to_be_bytes());
                bytes.push(id);
                bytes.extend(body);
                self.write(which, &bytes);
            }
            Step::Raw { which, bytes } => self.write(which, &bytes),
            Step::Answer { which, request, right } => {
                let Some(peer) = self.conn(which).and_then(|conn| self.peers.get_mut(&conn)) else { return };
                if peer.asked.is_empty() {
                    return;
                }
                let range = peer.asked.remove(usize::from(request) % peer.asked.len());
                encode_piece_header(range, &mut bytes);
                let data = &content(range.piece.0)[range.begin as usize..][..range.len as usize];
                bytes.extend(data.iter().map(|byte| byte ^ u8::from(!right)));
                peer.out.extend_from_slice(&bytes);
            }
            Step::Deliver { which, bytes } => {
                self.conn(which).into_iter().for_each(|conn| self.deliver(conn, usize::from(bytes)));
            }
            Step::DeliverAll { which } => {
                self.conn(which).into_iter().for_each(|conn| self.deliver(conn, usize::MAX));
            }
            Step::Read { which, bytes } => {
                let Some(conn) = self.conn(which) else { return };
                let Some(peer) = self.peers.get_mut(&conn) else { return };
                let bytes = peer.unread.min(u64::from(bytes) * u64::from(BLOCK_LEN) / 256);
                peer.unread -= bytes;
                self.tell(Event::Flushed { conn, bytes });
            }
            Step::Disk { which } => self.end_operation(which),
            Step::Close { which } => {
                let Some(conn) = self.conn(which) else { return };
                self.peers.remove(&conn);
                self.tell(Event::Closed { conn, fault: LinkFault::Reset });
            }
            Step::Pass { millis } => {
                self.now = self.now + Duration::from_millis(u64::from(millis));
                self.tell(Event::Tick);
                if let Some((at, kind)) = self.engine.poll_timeout() {
                    assert!(at > self.now, "the timer {kind:?} spins");
                }
            }
        }
    }

    fn end_operation(&mut self, which: u8) {
        if self.operations.is_empty() {
            return;
        }
        let (op, operation) = self.operations.remove(usize::from(which) % self.operations.len());
        let outcome = self.disk.carry_out(operation, true);
        self.tell(Event::Done { op, outcome });
    }

    /// Everybody sends garbage and is closed; what is left then must be nothing.
    fn finish(mut self) {
        for conn in self.peers.keys().copied().collect::<Vec<_>>() {
            if let Some(peer) = self.peers.get_mut(&conn) {
                peer.out.resize(peer.out.len() + GARBAGE_BYTES, 0xff);
            }
            while self.peers.get(&conn).is_some_and(|peer| !peer.out.is_empty()) {
                self.deliver(conn, 64 * 1024);
            }
            assert!(!self.peers.contains_key(&conn), "who sends garbage is closed");
        }
        self.tell(Event::Command(Command::Shutdown));
        while !self.operations.is_empty() {
            self.end_operation(0);
        }
        let view = self.engine.view();
        assert_eq!((view.connections, view.half_open, view.operations), (0, 0, 0), "nothing is left");
        assert_eq!((view.pool.1, view.pool.2), (0, 0), "every buffer is home");
    }
}
