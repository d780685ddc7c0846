//! The small torrent of the targets that drive an engine, the disk it lies on, and what its peers say in order.

use arbitrary::Arbitrary;
use sameseed_core::action::{FileStat, Operation};
use sameseed_core::engine::Engine;
use sameseed_core::event::{FetchReply, Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind, LinkFault};
use sameseed_core::hash::{HashState, sha1};
use sameseed_core::id::{BLOCK_LEN, Digest, InfoHash, PieceIndex, TorrentId};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::time::Instant;
use sameseed_core::wire::{BlockRequest, Message};

/// Three blocks, the last one short.
pub(crate) const PIECE_LEN: u32 = 2 * BLOCK_LEN + 1000;
pub(crate) const PIECES: u32 = 6;
pub(crate) const TORRENT: TorrentId = TorrentId(0);
pub(crate) const INFO_HASH: [u8; 20] = [7; 20];

/// Whoever asks why it is not faster gets an answer, whatever the state: of the torrent, and of each connection.
pub(crate) fn check_explained(engine: &Engine, now: Instant) {
    let why = engine.explain_torrent(now, TORRENT);
    assert!(why.is_none_or(|why| !why.down.is_empty()), "a torrent says why: {:?}", engine.view());
    for (conn, _) in engine.connections(TORRENT) {
        let why = engine.explain_peer(now, conn);
        assert!(why.is_some_and(|why| !why.down.is_empty()), "a connection says why: {:?}", engine.view());
    }
}

/// The bytes of one piece.
pub(crate) fn content(piece: u32) -> Vec<u8> {
    (0..PIECE_LEN).map(|i| (i / 7 + piece * 13) as u8).collect()
}

/// The torrent, with these tiers of trackers.
pub(crate) fn metainfo(trackers: Vec<Vec<String>>) -> Metainfo {
    let file = (vec![String::from("file")], u64::from(PIECES * PIECE_LEN), false);
    Metainfo {
        info_hash: InfoHash::V1(INFO_HASH),
        name: String::from("file"),
        layout: Layout::new(vec![file], PIECE_LEN).expect("a plain torrent"),
        piece_hashes: (0..PIECES).map(|piece| sha1(&content(piece))).collect(),
        private: false,
        trackers,
        web_seeds: Vec::new(),
        comment: None,
        created_by: None,
        created_unix_s: None,
    }
}

/// A block of a piece; beyond the torrent when the numbers are large, and empty beyond the piece.
pub(crate) fn block_of(piece: u8, block: u8) -> BlockRequest {
    let begin = u32::from(block % 4) * BLOCK_LEN;
    let len = PIECE_LEN.saturating_sub(begin).min(BLOCK_LEN);
    BlockRequest { piece: PieceIndex(u32::from(piece % 8)), begin, len }
}

/// A disk that does what it is told, or says that it did not.
pub(crate) struct Disk {
    bytes: Vec<u8>,
    exists: bool,
}

impl Disk {
    /// With the whole torrent on it, or nothing.
    pub(crate) fn new(full: bool) -> Self {
        let bytes = if full { (0..PIECES).flat_map(content).collect() } else { vec![0; (PIECES * PIECE_LEN) as usize] };
        Disk { bytes, exists: full }
    }

    /// What stands there.
    pub(crate) fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> &[u8] {
        &self.bytes[(piece.0 * PIECE_LEN + begin) as usize..][..len as usize]
    }

    /// Carries an operation out, or lets it fail. Names are not found, and trackers tell two peers.
    pub(crate) fn carry_out(&mut self, operation: Operation, ok: bool) -> Outcome {
        let fault = || DiskFault { kind: DiskFaultKind::Io, path: String::from("file"), detail: String::from("fuzz") };
        let done = || if ok { Ok(()) } else { Err(fault()) };
        match operation {
            Operation::Stat { .. } => {
                let stat = FileStat { len: self.bytes.len() as u64, mtime_unix_ns: 0 };
                Outcome::Stat(if ok { Ok(vec![self.exists.then_some(stat)]) } else { Err(fault()) })
            }
            Operation::Prepare { .. } => Outcome::Prepare(done()),
            Operation::SaveResume { .. } => Outcome::SaveResume(done()),
            Operation::Unpart { .. } => Outcome::Unpart(done()),
            Operation::DropParts { .. } => Outcome::DropParts(done()),
            Operation::Sync { .. } => Outcome::Sync(done()),
            Operation::Truncate { .. } => Outcome::Truncate(done()),
            Operation::Move { .. } => Outcome::Move(done()),
            Operation::Rename { .. } => Outcome::Rename(done()),
            Operation::Delete { files, .. } => {
                if ok && files {
                    self.bytes.fill(0);
                    self.exists = false;
                }
                Outcome::Delete(done())
            }
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let data: Vec<u8> = blocks.iter().flat_map(|block| block.to_vec()).collect();
                if ok {
                    self.bytes[(piece.0 * PIECE_LEN + begin) as usize..][..data.len()].copy_from_slice(&data);
                }
                Outcome::Absorb { blocks, hash: hash.map(|state| hashed(state, &data, last, piece)), written: done() }
            }
            Operation::Hash { piece, begin, len, hash, last, .. } => Outcome::Hash(if ok {
                Ok(hashed(hash, self.read(piece, begin, len), last, piece))
            } else {
                Err(fault())
            }),
            Operation::Resolve { .. } => Outcome::Resolve(Err(LinkFault::NameNotFound)),
            Operation::Fetch(_) if ok => Outcome::Fetch(Ok(FetchReply {
                status: 200,
                body: b"d8:intervali0e5:peers12:\x0a\x00\x00\x03\x1a\xe1\x0a\x00\x00\x04\x1a\xe1e".to_vec(),
                ..FetchReply::default()
            })),
            Operation::Fetch(_) => Outcome::Fetch(Err(LinkFault::TimedOut)),
        }
    }
}

fn hashed(mut state: HashState, data: &[u8], last: bool, piece: PieceIndex) -> Hashed {
    if last {
        let expected = Digest::Sha1(sha1(&content(piece.0)));
        return Hashed::Finished { digest: state.finish(data), expected };
    }
    state.absorb(data);
    Hashed::Running(state)
}

/// A message in order of form. Small numbers lie inside the torrent, a few outside.
#[derive(Arbitrary, Debug)]
pub(crate) enum Saying {
    Choke,
    Unchoke,
    Interested,
    NotInterested,
    HaveAll,
    HaveNone,
    KeepAlive,
    Have(u8),
    Bitfield(u8),
    Request(u8, u8, u32),
    Cancel(u8, u8),
    Reject(u8, u8),
    Suggest(u8),
    AllowedFast(u8),
    Port(u16),
    Extended(u8, Vec<u8>),
    Unknown(u8),
}

impl Saying {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let piece = |n: u8| PieceIndex(u32::from(n % 8));
        match self {
            Saying::Choke => Message::Choke.encode(out),
            Saying::Unchoke => Message::Unchoke.encode(out),
            Saying::Interested => Message::Interested.encode(out),
            Saying::NotInterested => Message::NotInterested.encode(out),
            Saying::HaveAll => Message::HaveAll.encode(out),
            Saying::HaveNone => Message::HaveNone.encode(out),
            Saying::KeepAlive => Message::KeepAlive.encode(out),
            Saying::Have(n) => Message::Have(piece(*n)).encode(out),
            Saying::Bitfield(bits) => Message::Bitfield(&[*bits]).encode(out),
            Saying::Request(piece, block, len) => {
                Message::Request(BlockRequest { len: len % 200_000, ..block_of(*piece, *block) }).encode(out);
            }
            Saying::Cancel(piece, block) => Message::Cancel(block_of(*piece, *block)).encode(out),
            Saying::Reject(piece, block) => Message::RejectRequest(block_of(*piece, *block)).encode(out),
            Saying::Suggest(n) => Message::SuggestPiece(piece(*n)).encode(out),
            Saying::AllowedFast(n) => Message::AllowedFast(piece(*n)).encode(out),
            Saying::Port(port) => Message::Port(*port).encode(out),
            Saying::Extended(id, payload) => Message::Extended { id: *id, payload }.encode(out),
            Saying::Unknown(id) => Message::Unknown { id: 100 + id % 100 }.encode(out),
        }
    }
}
