//! One engine alone with its peers: no socket, no disk, no hashing. What is counted around it is the engine's.

use sameseed_core::action::{Action, Destination, FileStat, Operation, Segment, TxBatch};
use sameseed_core::config::Config;
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event, Hashed, Outcome};
use sameseed_core::hash::HashState;
use sameseed_core::id::{BLOCK_LEN, ConnId, OpId, PeerId, PieceIndex, TorrentId};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::time::{Duration, Instant};
use sameseed_core::wire::{BlockRequest, Decoder, Handshake, Item, Message, encode_piece_header};
use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};

/// The torrent that is downloaded or seeded.
const TORRENT: TorrentId = TorrentId(0);
const PIECE_LEN: u64 = 1 << 20;
/// So long a block takes: 156 MiB/s.
const BLOCK_TIME: Duration = Duration::from_micros(100);

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Pieces of 1 MiB, of the torrent that is downloaded or seeded.
    pub pieces: u32,
    /// Its files, of one length; a divisor of `pieces`.
    pub files: u32,
    /// Its peers.
    pub peers: u32,
    /// All torrents. The others have one piece, which is there, and no peers.
    pub torrents: u32,
}

impl Sizes {
    /// One torrent of one file, with one peer.
    pub fn of_pieces(pieces: u32) -> Self {
        Sizes { pieces, files: 1, peers: 1, torrents: 1 }
    }
}

/// The engine and its peers.
#[derive(Debug)]
pub struct Lone {
    engine: Engine,
    now: Instant,
    metainfo: Metainfo,
    sizes: Sizes,
    seeds: bool,
    /// What the engine says to each peer that is to send.
    decoders: BTreeMap<ConnId, Decoder>,
    batch: TxBatch,
    /// What the engine has asked for, and whom.
    asked: VecDeque<(ConnId, BlockRequest)>,
    operations: VecDeque<(OpId, Operation)>,
    /// A message on its way to the engine.
    message: Vec<u8>,
    /// Nobody takes what the engine says.
    pub deaf: bool,
    /// Blocks that the engine has sent.
    pub sent_blocks: u64,
}

/// All that the engine does is done below these functions, which have their names also in an optimised program.
mod counted {
    use super::{Action, Destination, Engine, Event, Instant, TxBatch};

    #[inline(never)]
    pub(super) fn handle(engine: &mut Engine, now: Instant, event: Event<'_>) {
        engine.handle(now, event);
    }

    #[inline(never)]
    pub(super) fn poll_action(engine: &mut Engine) -> Option<Action> {
        engine.poll_action()
    }

    #[inline(never)]
    pub(super) fn poll_transmit(engine: &mut Engine, batch: &mut TxBatch) -> Option<Destination> {
        engine.poll_transmit(batch)
    }
}

impl Lone {
    /// The functions below which the engine works, as `callgrind` wants them named.
    pub const COUNTED: &str = "*lone::counted::*";

    /// The engine downloads, or seeds, and each peer does the other.
    ///
    /// # Panics
    /// When the engine wants what it should not.
    pub fn new(sizes: Sizes, seeds: bool) -> Self {
        // Some places are kept for those whom the engine dials.
        let room = 2 * sizes.peers as usize + 8;
        let config = Config { max_connections: room, max_connections_per_torrent: room, ..Config::default() };
        let metainfo = metainfo(0, sizes.pieces, sizes.files);
        let mut lone = Lone {
            engine: Engine::new(config, [7; 32], Instant::ZERO, 0),
            now: Instant::ZERO,
            metainfo: metainfo.clone(),
            sizes,
            seeds,
            decoders: BTreeMap::new(),
            batch: TxBatch::default(),
            asked: VecDeque::with_capacity(4096),
            operations: VecDeque::with_capacity(4096),
            message: Vec::with_capacity(BLOCK_LEN as usize + 64),
            deaf: false,
            sent_blocks: 0,
        };
        for other in 1..sizes.torrents {
            lone.add(AddTorrent::new(TorrentId(other), self::metainfo(other, 1, 1)));
        }
        lone.add(AddTorrent::new(TORRENT, metainfo));
        (0..sizes.peers).for_each(|peer| lone.connect(peer));
        lone
    }

    fn add(&mut self, torrent: AddTorrent) {
        self.handle(Event::Command(Command::Add(Box::new(torrent))));
    }

    fn connect(&mut self, peer: u32) {
        let conn = ConnId::accepted(u64::from(peer));
        self.decoders.insert(conn, Decoder::default());
        let [.., high, low] = peer.to_be_bytes();
        let from = SocketAddr::from((Ipv4Addr::new(10, 0, high, low), 5000));
        self.handle(Event::Accepted { conn, from });
        let info_hash = *self.metainfo.info_hash.wire_bytes();
        let mut id = [1; 20];
        id[..4].copy_from_slice(&peer.to_be_bytes());
        self.say(conn, |out| Handshake::new(info_hash, PeerId(id)).encode(out));
        let words =
            if self.seeds { [Message::HaveNone, Message::Interested] } else { [Message::HaveAll, Message::Unchoke] };
        for message in words {
            self.say(conn, |out| message.encode(out));
        }
    }

    /// Peers send so many blocks of those that they were asked for, in the order of asking.
    ///
    /// # Panics
    /// When the engine asks for no more.
    pub fn give_blocks(&mut self, count: u32) {
        for _ in 0..count {
            let (conn, request) = self.asked.pop_front().expect("the engine asks for more");
            self.say(conn, |out| {
                encode_piece_header(request, out);
                out.resize(out.len() + request.len as usize, 0);
            });
            self.pass(BLOCK_TIME);
        }
    }

    /// The first peer asks for so many blocks, and takes them.
    pub fn take_blocks(&mut self, count: u32) {
        for block in 0..count {
            self.say_first(Message::Request(request(block)));
            self.pass(BLOCK_TIME);
        }
    }

    /// The first peer asks for so many blocks, and calls each off.
    pub fn ask_and_cancel(&mut self, count: u32) {
        for block in 0..count {
            self.say_first(Message::Request(request(block)));
            self.say_first(Message::Cancel(request(block)));
        }
    }

    /// The first peer tells of so many pieces.
    pub fn tell_of_pieces(&mut self, pieces: core::ops::Range<u32>) {
        for piece in pieces {
            self.say_first(Message::Have(PieceIndex(piece)));
        }
    }

    /// The first peer says something.
    pub fn say_first(&mut self, message: Message<'_>) {
        self.say(ConnId::accepted(0), |out| message.encode(out));
    }

    /// Pieces that the engine has.
    pub fn have(&self) -> u32 {
        self.engine.have(TORRENT).map_or(0, |have| have.count())
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.engine.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
            self.handle(Event::Tick);
        }
    }

    fn say(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        write(&mut message);
        self.handle(Event::Received { conn, bytes: &mut message });
        self.message = message;
    }

    /// Lets the engine take an event in, and does all that it wants.
    fn handle(&mut self, event: Event<'_>) {
        counted::handle(&mut self.engine, self.now, event);
        loop {
            while let Some(action) = counted::poll_action(&mut self.engine) {
                match action {
                    Action::Submit { op, operation } => self.operations.push_back((op, operation)),
                    Action::Close { reason, .. } => panic!("the peer did nothing wrong: {reason}"),
                    _ => {}
                }
            }
            while !self.deaf
                && let Some(to) = counted::poll_transmit(&mut self.engine, &mut self.batch)
            {
                let Destination::Conn(conn) = to else { panic!("nobody listens for datagrams") };
                let bytes = self.hear(conn);
                counted::handle(&mut self.engine, self.now, Event::Flushed { conn, bytes });
            }
            let Some((op, operation)) = self.operations.pop_front() else { break };
            let outcome = self.carry_out(operation);
            counted::handle(&mut self.engine, self.now, Event::Done { op, outcome });
        }
    }

    /// A peer hears what the engine says; how many bytes that is.
    fn hear(&mut self, conn: ConnId) -> u64 {
        let mut bytes = 0;
        let decoder = self.decoders.get_mut(&conn).expect("who is spoken to is there");
        for segment in &self.batch.segments {
            bytes += segment.len_bytes();
            let Segment::Bytes(range) = segment else {
                self.sent_blocks += 1;
                continue;
            };
            if self.seeds {
                // Whoever takes blocks is asked for nothing.
                continue;
            }
            let mut input = &self.batch.bytes[range.clone()];
            while let Some(item) = decoder.next(&mut input).expect("what is sent can be read") {
                if let Item::Message(Message::Request(request)) = item {
                    self.asked.push_back((conn, request));
                }
            }
        }
        bytes
    }

    /// As if the disk had done it: what is hashed is always right.
    fn carry_out(&self, operation: Operation) -> Outcome {
        let hashed = |last| {
            // All pieces of all torrents have the same hash.
            let digest = self.metainfo.digest_of(PieceIndex(0));
            if last { Hashed::Finished { digest, expected: digest } } else { Hashed::Running(HashState::default()) }
        };
        match operation {
            Operation::Stat { torrent, .. } => Outcome::Stat(Ok(self.stats_of(torrent))),
            Operation::Prepare { .. } => Outcome::Prepare(Ok(())),
            Operation::Sync { .. } => Outcome::Sync(Ok(())),
            Operation::Hash { last, .. } => Outcome::Hash(Ok(hashed(last))),
            Operation::Absorb { blocks, hash, last, .. } => {
                Outcome::Absorb { blocks, hash: hash.map(|_| hashed(last)), written: Ok(()) }
            }
            other => panic!("nobody wants {other:?}"),
        }
    }

    /// The files of a torrent, and that there is no part file.
    fn stats_of(&self, torrent: TorrentId) -> Vec<Option<FileStat>> {
        let stat = |len| Some(FileStat { len, mtime_unix_ns: 1 });
        let Sizes { pieces, files, .. } = self.sizes;
        let mut stats = match torrent {
            TORRENT if self.seeds => vec![stat(u64::from(pieces / files) * PIECE_LEN); files as usize],
            TORRENT => vec![None; files as usize],
            _ => vec![stat(PIECE_LEN)],
        };
        stats.push(None);
        stats
    }
}

/// A request for the block at this place in the torrent.
fn request(block: u32) -> BlockRequest {
    let in_piece = (PIECE_LEN as u32) / BLOCK_LEN;
    BlockRequest { piece: PieceIndex(block / in_piece), begin: block % in_piece * BLOCK_LEN, len: BLOCK_LEN }
}

/// A torrent of files of one length, whose pieces all have the hash of nothing in particular.
fn metainfo(name: u32, pieces: u32, files: u32) -> Metainfo {
    let file_len = u64::from(pieces / files) * PIECE_LEN;
    let mut torrent = b"d4:infod".to_vec();
    if files == 1 {
        torrent.extend(format!("6:lengthi{file_len}e").bytes());
    } else {
        torrent.extend(b"5:filesl");
        for file in 0..files {
            torrent.extend(format!("d6:lengthi{file_len}e4:pathl8:{file:08}ee").bytes());
        }
        torrent.push(b'e');
    }
    let hashes_len = 20 * pieces;
    torrent.extend(format!("4:name8:{name:08}12:piece lengthi{PIECE_LEN}e6:pieces{hashes_len}:").bytes());
    torrent.resize(torrent.len() + hashes_len as usize, b'x');
    torrent.extend(b"ee");
    Metainfo::parse(&torrent).expect("a torrent")
}
