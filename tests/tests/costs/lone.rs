//! One engine alone with one peer: no socket, no disk, no hashing. What is counted around it is the engine's.

use sameseed_core::action::{Action, Destination, FileStat, Operation, Segment, TxBatch};
use sameseed_core::config::Config;
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event, Hashed, Outcome};
use sameseed_core::hash::HashState;
use sameseed_core::id::{BLOCK_LEN, ConnId, OpId, PeerId, PieceIndex, TorrentId};
use sameseed_core::metainfo::Metainfo;
use sameseed_core::time::{Duration, Instant};
use sameseed_core::wire::{BlockRequest, Decoder, Handshake, Item, Message, encode_piece_header};
use std::collections::VecDeque;

const TORRENT: TorrentId = TorrentId(1);
const PIECE_LEN: u64 = 1 << 20;
/// So long a block takes: 156 MiB/s.
const BLOCK_TIME: Duration = Duration::from_micros(100);

/// The engine and its one peer.
pub(crate) struct Lone {
    engine: Engine,
    now: Instant,
    metainfo: Metainfo,
    has_file: bool,
    peer: ConnId,
    decoder: Decoder,
    batch: TxBatch,
    /// What the engine has asked for.
    asked: VecDeque<BlockRequest>,
    operations: VecDeque<(OpId, Operation)>,
    /// A message on its way to the engine.
    message: Vec<u8>,
    /// Blocks that the engine has sent.
    pub(crate) sent_blocks: u64,
}

impl Lone {
    /// A torrent of so many pieces of 1 MiB. The engine downloads, or seeds, and the peer does the other.
    pub(crate) fn new(pieces: u32, seeds: bool) -> Self {
        let metainfo = metainfo(pieces);
        let mut lone = Lone {
            engine: Engine::new(Config::default(), [7; 32], Instant::ZERO, 0),
            now: Instant::ZERO,
            has_file: seeds,
            peer: ConnId::accepted(0),
            decoder: Decoder::default(),
            batch: TxBatch::default(),
            asked: VecDeque::with_capacity(4096),
            operations: VecDeque::with_capacity(4096),
            message: Vec::with_capacity(BLOCK_LEN as usize + 64),
            sent_blocks: 0,
            metainfo: metainfo.clone(),
        };
        let add = AddTorrent::new(TORRENT, metainfo);
        lone.handle(Event::Command(Command::Add(Box::new(add))));
        let from = "10.0.0.1:5000".parse().expect("an address");
        lone.handle(Event::Accepted { conn: lone.peer, from });
        let info_hash = *lone.metainfo.info_hash.wire_bytes();
        lone.say(|out| Handshake::new(info_hash, PeerId([1; 20])).encode(out));
        let first = if seeds { Message::HaveNone } else { Message::HaveAll };
        for message in [first, if seeds { Message::Interested } else { Message::Unchoke }] {
            lone.say(|out| message.encode(out));
        }
        lone
    }

    /// The peer sends so many blocks of those that it was asked for.
    pub(crate) fn give_blocks(&mut self, count: u32) {
        for _ in 0..count {
            let request = self.asked.pop_front().expect("the engine asks for more");
            self.say(|out| {
                encode_piece_header(request, out);
                out.resize(out.len() + request.len as usize, 0);
            });
            self.pass(BLOCK_TIME);
        }
    }

    /// The peer asks for so many blocks, and takes them.
    pub(crate) fn take_blocks(&mut self, count: u32) {
        let in_piece = (PIECE_LEN as u32) / BLOCK_LEN;
        for block in 0..count {
            let (piece, begin) = (PieceIndex(block / in_piece), block % in_piece * BLOCK_LEN);
            self.say(|out| Message::Request(BlockRequest { piece, begin, len: BLOCK_LEN }).encode(out));
            self.pass(BLOCK_TIME);
        }
    }

    /// The peer tells of so many pieces.
    pub(crate) fn tell_of_pieces(&mut self, pieces: core::ops::Range<u32>) {
        for piece in pieces {
            self.say(|out| Message::Have(PieceIndex(piece)).encode(out));
        }
    }

    /// Pieces that the engine has.
    pub(crate) fn have(&self) -> u32 {
        self.engine.have(TORRENT).map_or(0, |have| have.count())
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        if self.engine.poll_timeout().is_some_and(|(due, _)| due <= self.now) {
            self.handle(Event::Tick);
        }
    }

    fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut message = std::mem::take(&mut self.message);
        message.clear();
        write(&mut message);
        self.handle(Event::Received { conn: self.peer, bytes: &mut message });
        self.message = message;
    }

    /// Lets the engine take an event in, and does all that it wants.
    fn handle(&mut self, event: Event<'_>) {
        self.engine.handle(self.now, event);
        loop {
            while let Some(action) = self.engine.poll_action() {
                match action {
                    Action::Submit { op, operation } => self.operations.push_back((op, operation)),
                    Action::Close { reason, .. } => panic!("the peer did nothing wrong: {reason}"),
                    _ => {}
                }
            }
            while let Some(to) = self.engine.poll_transmit(&mut self.batch) {
                assert_eq!(to, Destination::Conn(self.peer));
                let bytes = self.hear();
                self.engine.handle(self.now, Event::Flushed { conn: self.peer, bytes });
            }
            let Some((op, operation)) = self.operations.pop_front() else { break };
            let outcome = self.carry_out(operation);
            self.engine.handle(self.now, Event::Done { op, outcome });
        }
    }

    /// The peer hears what the engine says; how many bytes that is.
    fn hear(&mut self) -> u64 {
        let mut bytes = 0;
        for segment in &self.batch.segments {
            bytes += segment.len_bytes();
            let Segment::Bytes(range) = segment else {
                self.sent_blocks += 1;
                continue;
            };
            if self.has_file {
                // Whoever takes blocks is asked for nothing.
                continue;
            }
            let mut input = &self.batch.bytes[range.clone()];
            while let Some(item) = self.decoder.next(&mut input).expect("what is sent can be read") {
                if let Item::Message(Message::Request(request)) = item {
                    self.asked.push_back(request);
                }
            }
        }
        bytes
    }

    /// As if the disk had done it: what is hashed is always right.
    fn carry_out(&self, operation: Operation) -> Outcome {
        let hashed = |piece, last| {
            if last { Hashed::Finished(self.metainfo.digest_of(piece)) } else { Hashed::Running(HashState::default()) }
        };
        match operation {
            Operation::Stat { .. } => {
                let stat = FileStat { len: self.metainfo.layout.total_len(), mtime_unix_ns: 1 };
                Outcome::Stat(Ok(vec![self.has_file.then_some(stat), None]))
            }
            Operation::Prepare { .. } => Outcome::Prepare(Ok(())),
            Operation::Sync { .. } => Outcome::Sync(Ok(())),
            Operation::Hash { piece, last, .. } => Outcome::Hash(Ok(hashed(piece, last))),
            Operation::Absorb { piece, blocks, hash, last, .. } => {
                Outcome::Absorb { blocks, hash: hash.map(|_| hashed(piece, last)), written: Ok(()) }
            }
            other => panic!("nobody wants {other:?}"),
        }
    }
}

/// A torrent of one file, whose pieces all have the hash of nothing in particular.
fn metainfo(pieces: u32) -> Metainfo {
    let total = u64::from(pieces) * PIECE_LEN;
    let hashes = 20 * pieces;
    let mut torrent =
        format!("d4:infod6:lengthi{total}e4:name1:a12:piece lengthi{PIECE_LEN}e6:pieces{hashes}:").into_bytes();
    torrent.resize(torrent.len() + hashes as usize, b'x');
    torrent.extend(b"ee");
    Metainfo::parse(&torrent).expect("a torrent")
}
