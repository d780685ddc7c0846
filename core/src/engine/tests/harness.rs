//! One engine, its disk in memory, and peers whose every message a test writes by hand.
//!
//! After each event the harness checks the engine's invariants and, from the peers' side, what only they can see: that nothing is asked
//! for that may not be, that a request has one answer, and that nothing comes after the close.

use crate::action::{Action, CloseReason, Destination, FileStat, Notice, Operation, Segment, TxBatch};
use crate::config::Config;
use crate::engine::Engine;
use crate::event::{AddTorrent, Command, Event, FetchReply, Hashed, Outcome};
use crate::fault::{DiskFault, DiskFaultKind, LinkFault};
use crate::hash::{HashState, sha1};
use crate::id::{BLOCK_LEN, ConnId, Digest, FileIndex, InfoHash, OpId, PeerId, PieceIndex, TorrentId};
use crate::layout::Layout;
use crate::metainfo::Metainfo;
use crate::peer::LT_DONTHAVE_ID;
use crate::selection::Priority;
use crate::time::{Duration, Instant};
use crate::view::TorrentView;
use crate::wire::{BlockRequest, Decoder, Handshake, Item, Message, encode_piece_header};
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::ops::Range;

pub(super) const TORRENT: TorrentId = TorrentId(1);
pub(super) const INFO_HASH: [u8; 20] = [9; 20];

/// The torrent's bytes: a formula of their place.
pub(super) fn content(offset: u64, len: u32) -> Vec<u8> {
    (offset..offset + u64::from(len)).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as u8).collect()
}

/// What the engine said to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Handshake,
    Block(BlockRequest),
    Request(BlockRequest),
    Cancel(BlockRequest),
    Reject(BlockRequest),
    Have(u32),
    Bitfield(Vec<u8>),
    Extended(Vec<u8>),
    Plain(&'static str),
}

fn said(message: Message<'_>) -> Said {
    match message {
        Message::Request(request) => Said::Request(request),
        Message::Cancel(request) => Said::Cancel(request),
        Message::RejectRequest(request) => Said::Reject(request),
        Message::Have(piece) => Said::Have(piece.0),
        Message::Bitfield(bytes) => Said::Bitfield(bytes.to_vec()),
        Message::Extended { payload, .. } => Said::Extended(payload.to_vec()),
        Message::KeepAlive => Said::Plain("keep-alive"),
        Message::Choke => Said::Plain("choke"),
        Message::Unchoke => Said::Plain("unchoke"),
        Message::Interested => Said::Plain("interested"),
        Message::NotInterested => Said::Plain("not interested"),
        Message::HaveAll => Said::Plain("have all"),
        Message::HaveNone => Said::Plain("have none"),
        other => panic!("the engine never says {other:?}"),
    }
}

/// The other end of a connection.
#[derive(Debug, Default)]
pub(super) struct Script {
    decoder: Decoder,
    /// The block that is on its way to it.
    block: Option<BlockRequest>,
    news: Vec<Said>,
    pub(super) raw: Vec<u8>,
    fast: bool,
    choking: bool,
    has: BTreeSet<u32>,
    /// What the engine asked of this peer and was neither given nor refused.
    pub(super) asked: Vec<BlockRequest>,
    /// What this peer asked of the engine and was neither given nor refused.
    pub(super) asking: Vec<BlockRequest>,
    pub(super) unflushed: u64,
    /// All that it was ever allowed to send, less what was taken back.
    pub(super) allowed: u64,
}

/// The engine and everything around it.
#[derive(Debug)]
pub(super) struct World {
    pub(super) engine: Engine,
    pub(super) now: Instant,
    pub(super) meta: Metainfo,
    pub(super) ops: Vec<(OpId, Operation)>,
    pub(super) notices: Vec<Notice>,
    pub(super) dials: Vec<(ConnId, SocketAddr)>,
    pub(super) closed: BTreeMap<ConnId, CloseReason>,
    pub(super) peers: BTreeMap<ConnId, Script>,
    /// Disk operations are carried out at once.
    pub(super) disk_works: bool,
    /// Bytes are taken by the network at once.
    pub(super) network_works: bool,
    pub(super) disk_full: bool,
    /// Nothing can be read back.
    pub(super) disk_unreadable: bool,
    pub(super) disk: Vec<u8>,
    /// The file is there, so long, changed last at this time.
    pub(super) file: Option<FileStat>,
    /// The resume data on disk.
    pub(super) saved: Option<Vec<u8>>,
    /// Resume data, or the torrent's own, cannot be brought to stable storage.
    pub(super) saves_fail: bool,
    pub(super) syncs_fail: bool,
    accepted: u64,
    pub(super) priorities: Vec<(FileIndex, Priority)>,
    /// Readers wait: a block of a nearest piece may be asked for twice.
    pub(super) readers_wait: bool,
    /// What was sent by UDP last.
    pub(super) datagram: Vec<u8>,
    /// What of each piece stands in the part file; its bytes are kept where those of the files are.
    pub(super) placed: BTreeMap<u32, Vec<Range<u32>>>,
    /// Of a torrent of several files how each looks, and at the end the part file.
    pub(super) stats: Vec<Option<FileStat>>,
}

impl World {
    /// A torrent of `pieces` pieces of `piece_len` bytes, the last one short by 5 bytes; a seeder has it all.
    pub(super) fn new(pieces: u32, piece_len: u32, seeded: bool, config: Config) -> Self {
        Self::with_peers(pieces, piece_len, seeded, config, vec![])
    }

    pub(super) fn with_peers(
        pieces: u32,
        piece_len: u32,
        seeded: bool,
        config: Config,
        peers: Vec<SocketAddr>,
    ) -> Self {
        let mut world = Self::unchecked(pieces, piece_len, seeded, config, peers);
        world.run_disk();
        world.disk_works = true;
        world
    }

    /// With trackers, whose exchanges wait until a test answers them.
    pub(super) fn tracked(config: Config, trackers: Vec<&str>) -> Self {
        let mut world = Self::begin(4, BLOCK_LEN, false, config, vec![], trackers);
        while world.ops.iter().any(|(_, operation)| !matches!(operation, Operation::Fetch(_))) {
            world.run_op(0);
        }
        world
    }

    /// The tracker's answer to the exchange that waits.
    pub(super) fn answer_fetch(&mut self, body: Vec<u8>) {
        let at = self.ops.iter().position(|(_, operation)| matches!(operation, Operation::Fetch(_)));
        let (op, _) = self.ops.remove(at.expect("a tracker is being asked"));
        let reply = FetchReply { status: 200, body, ..FetchReply::default() };
        self.handle(Event::Done { op, outcome: Outcome::Fetch(Ok(reply)) });
    }

    /// As `new`, but the check of the disk has not begun.
    pub(super) fn unchecked(pieces: u32, piece_len: u32, seeded: bool, config: Config, peers: Vec<SocketAddr>) -> Self {
        Self::begin(pieces, piece_len, seeded, config, peers, vec![])
    }

    /// With files of these lengths in a row, of which only some are wanted; the disk has not begun.
    pub(super) fn of_files(lens: &[u64], piece_len: u32, priorities: &[(u32, Priority)]) -> Self {
        Self::of_files_with(lens, piece_len, priorities, Config::default())
    }

    /// The same with these settings.
    pub(super) fn of_files_with(lens: &[u64], piece_len: u32, priorities: &[(u32, Priority)], config: Config) -> Self {
        let files = lens.iter().map(|len| (vec![String::from("file")], *len, false)).collect();
        let layout = Layout::new(files, piece_len).unwrap();
        let mut world = Self::of_layout(layout, false, config);
        world.priorities = of_files(priorities);
        world.add(vec![], vec![]);
        world.run_disk();
        world.disk_works = true;
        world
    }

    /// Changes how urgently files are wanted.
    pub(super) fn select(&mut self, files: &[(u32, Priority)]) {
        let command = Command::SetPriorities { torrent: TORRENT, files: of_files(files) };
        self.handle(Event::Command(command));
    }

    fn begin(
        pieces: u32,
        piece_len: u32,
        seeded: bool,
        config: Config,
        peers: Vec<SocketAddr>,
        trackers: Vec<&str>,
    ) -> Self {
        let len = u64::from(pieces) * u64::from(piece_len) - 5;
        let layout = Layout::new(vec![(vec![String::from("file")], len, false)], piece_len).unwrap();
        let mut world = Self::of_layout(layout, seeded, config);
        world.add(peers, trackers);
        world
    }

    fn of_layout(layout: Layout, seeded: bool, config: Config) -> Self {
        let (len, piece_len) = (layout.total_len(), layout.piece_len());
        let bytes = content(0, len as u32);
        let meta = Metainfo {
            info_hash: InfoHash::V1(INFO_HASH),
            name: String::from("file"),
            piece_hashes: bytes.chunks(piece_len as usize).map(sha1).collect(),
            layout,
            private: false,
            trackers: vec![],
            web_seeds: vec![],
            comment: None,
            created_by: None,
            created_unix_s: None,
        };
        let stats = vec![None; meta.layout.files().len() + 1];
        World {
            engine: Engine::new(config, [7; 32], Instant::ZERO, 0),
            now: Instant::ZERO,
            ops: vec![],
            notices: vec![],
            dials: vec![],
            closed: BTreeMap::new(),
            peers: BTreeMap::new(),
            disk_works: false,
            network_works: true,
            disk_full: false,
            disk_unreadable: false,
            file: seeded.then_some(FileStat { len, mtime_unix_ns: 1 }),
            saved: None,
            saves_fail: false,
            syncs_fail: false,
            disk: if seeded { bytes } else { vec![0; len as usize] },
            accepted: 0,
            meta,
            priorities: vec![],
            placed: BTreeMap::new(),
            stats,
            readers_wait: false,
            datagram: Vec::new(),
        }
    }

    /// The program starts again, with this resume data; the disk is as it was.
    pub(super) fn restart(&mut self, config: Config, resume: Option<Vec<u8>>, force_check: bool) {
        self.engine = Engine::new(config, [8; 32], self.now, 1_700_000_000);
        self.peers.clear();
        self.ops.clear();
        self.notices.clear();
        self.closed.clear();
        self.placed.clear();
        let add = AddTorrent { resume, force_check, ..self.as_new(TORRENT) };
        self.handle(Event::Command(Command::Add(Box::new(add))));
    }

    /// The torrent under this number, with nothing known of it.
    pub(super) fn as_new(&self, torrent: TorrentId) -> AddTorrent {
        AddTorrent { priorities: self.priorities.clone(), ..AddTorrent::new(torrent, self.meta.clone()) }
    }

    pub(super) fn add(&mut self, peers: Vec<SocketAddr>, trackers: Vec<&str>) {
        let extra_trackers = trackers.into_iter().map(String::from).collect();
        let add = AddTorrent { extra_trackers, peers, ..self.as_new(TORRENT) };
        self.handle(Event::Command(Command::Add(Box::new(add))));
    }

    pub(super) fn handle(&mut self, event: Event<'_>) {
        self.engine.handle(self.now, event);
        self.settle();
    }

    /// Drains the engine until it wants nothing more.
    fn settle(&mut self) {
        loop {
            self.engine.check_invariants();
            self.check_explained();
            let mut idle = true;
            while let Some(action) = self.engine.poll_action() {
                self.act(action);
                idle = false;
            }
            let mut batch = TxBatch::default();
            let mut sent = vec![];
            let asked_before = self.count_asked();
            while let Some(to) = self.engine.poll_transmit(&mut batch) {
                match to {
                    Destination::Conn(conn) => sent.push((conn, self.hear(conn, &batch))),
                    Destination::Datagram(_) => self.datagram.clone_from(&batch.bytes),
                }
            }
            self.check_copies(&asked_before);
            if self.network_works {
                sent.retain(|(conn, _)| self.peers.contains_key(conn));
                idle &= sent.is_empty();
                for (conn, bytes) in sent {
                    self.engine.handle(self.now, Event::Flushed { conn, bytes });
                }
            }
            if self.disk_works && !self.ops.is_empty() {
                idle = false;
                let (op, operation) = self.ops.remove(0);
                let outcome = self.carry_out(operation);
                self.engine.handle(self.now, Event::Done { op, outcome });
            }
            if idle {
                break;
            }
        }
        if let Some((at, kind)) = self.engine.poll_timeout() {
            assert!(at > self.now, "the timer {kind:?} spins at {at:?}, now {:?}", self.now);
        }
    }

    /// Whoever asks why it is not faster gets an answer, whatever the state.
    fn check_explained(&self) {
        let explanation = self.engine.explain_torrent(self.now, TORRENT);
        assert!(explanation.is_none_or(|why| !why.down.is_empty()), "a torrent says why: {:?}", self.engine.view());
        for (conn, _) in self.engine.connections(TORRENT) {
            let explanation = self.engine.explain_peer(self.now, conn);
            assert!(explanation.is_some_and(|why| !why.down.is_empty()), "a connection says why");
        }
    }

    /// Of how many peers each block is asked.
    fn count_asked(&self) -> BTreeMap<BlockRequest, u32> {
        let mut asked = BTreeMap::new();
        self.peers.values().flat_map(|peer| &peer.asked).for_each(|request| *asked.entry(*request).or_default() += 1);
        asked
    }

    /// A block that one peer is asked for is asked of another only when every block that any peer has was asked for: in the end game.
    fn check_copies(&self, before: &BTreeMap<BlockRequest, u32>) {
        let asked = self.count_asked();
        if self.readers_wait {
            return;
        }
        let copied = asked.iter().find(|(request, n)| **n > 1 && **n > before.get(request).copied().unwrap_or(0));
        let unasked = copied.and_then(|_| self.engine.torrents[&TORRENT].find_unasked());
        assert_eq!(unasked, None, "{copied:?} is asked for twice while this block of nobody");
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Dial { conn, to } => self.dials.push((conn, to)),
            Action::Close { conn, reason } => {
                assert!(self.closed.insert(conn, reason).is_none(), "a connection is closed once");
                self.peers.remove(&conn);
                self.dials.retain(|(dial, _)| *dial != conn);
            }
            Action::AllowRead { conn, bytes } => {
                assert!(!self.closed.contains_key(&conn), "nothing after the close");
                self.peers.entry(conn).or_default().allowed += bytes;
            }
            Action::RevokeRead { conn, bytes } => {
                assert!(!self.closed.contains_key(&conn), "nothing after the close");
                self.peers.entry(conn).or_default().allowed -= bytes;
            }
            Action::Place { piece, in_parts, .. } => _ = self.placed.insert(piece.0, in_parts),
            Action::Submit { op, operation } => self.ops.push((op, operation)),
            Action::Abort { .. } => {}
            Action::Notify(notice) => self.notices.push(notice),
        }
    }

    fn hear(&mut self, conn: ConnId, batch: &TxBatch) -> u64 {
        assert!(!self.closed.contains_key(&conn), "nothing after the close");
        let mut bytes = vec![];
        for segment in &batch.segments {
            match segment {
                Segment::Bytes(range) => bytes.extend_from_slice(&batch.bytes[range.clone()]),
                Segment::File { piece, begin, len, .. } => {
                    let start = self.meta.layout.start_of(*piece) + u64::from(*begin);
                    bytes.extend_from_slice(&self.disk[start as usize..(start + u64::from(*len)) as usize]);
                    assert_eq!(
                        bytes[bytes.len() - *len as usize..],
                        content(start, *len),
                        "only verified bytes are sent"
                    );
                }
            }
        }
        let view = self.torrent();
        let Some(peer) = self.peers.get_mut(&conn) else { return 0 };
        peer.raw.extend_from_slice(&bytes);
        peer.unflushed += bytes.len() as u64;
        let mut input = &bytes[..];
        while let Some(item) = peer.decoder.next(&mut input).expect("what is sent can be read") {
            let news = match item {
                Item::Handshake(_) => Said::Handshake,
                Item::Message(message) => said(message),
                Item::PieceStart(request) => {
                    peer.block = Some(request);
                    continue;
                }
                Item::PieceBytes(_) => continue,
                Item::PieceEnd => Said::Block(peer.block.take().expect("a block has a beginning")),
            };
            match &news {
                Said::Request(request) => {
                    assert!(!peer.choking, "no request while choked");
                    assert!(peer.has.contains(&request.piece.0), "only what the peer has is asked for");
                    let len = self.meta.layout.block_len(request.piece, request.begin / BLOCK_LEN);
                    assert_eq!((request.begin % BLOCK_LEN, request.len), (0, len), "a request is a whole block");
                    assert!(view.pieces > request.piece.0 && len > 0, "a request lies inside the torrent");
                    assert!(!peer.asked.contains(request), "no request twice to one peer");
                    peer.asked.push(*request);
                }
                Said::Cancel(request) => peer.asked.retain(|r| r != request),
                Said::Block(request) | Said::Reject(request) => {
                    let at = peer.asking.iter().position(|r| r == request);
                    peer.asking.remove(at.expect("each request is answered once, and nothing else"));
                }
                _ => {}
            }
            peer.news.push(news);
        }
        bytes.len() as u64
    }

    /// Changes a byte behind the engine's back.
    pub(super) fn spoil(&mut self, at: usize) {
        self.disk[at] ^= 1;
    }

    /// Carries all waiting operations out, and what follows from them.
    pub(super) fn run_disk(&mut self) {
        self.disk_works = true;
        self.settle();
        self.disk_works = false;
    }

    /// Carries the n-th waiting operation out.
    pub(super) fn run_op(&mut self, n: usize) {
        let (op, operation) = self.ops.remove(n);
        let outcome = self.carry_out(operation);
        self.handle(Event::Done { op, outcome });
    }

    fn carry_out(&mut self, operation: Operation) -> Outcome {
        let start = |meta: &Metainfo, piece, begin| (meta.layout.start_of(piece) + u64::from(begin)) as usize;
        let fault = || DiskFault { kind: DiskFaultKind::Full, path: String::from("file"), detail: String::new() };
        match operation {
            Operation::Stat { .. } => {
                let one = self.meta.layout.files().len() == 1;
                Outcome::Stat(Ok(if one { vec![self.file, None] } else { self.stats.clone() }))
            }
            Operation::Prepare { .. } => Outcome::Prepare(Ok(())),
            Operation::Sync { .. } => Outcome::Sync(if self.syncs_fail { Err(fault()) } else { Ok(()) }),
            Operation::SaveResume { .. } if self.saves_fail => Outcome::SaveResume(Err(fault())),
            Operation::SaveResume { bytes, .. } => {
                self.saved = Some(bytes);
                Outcome::SaveResume(Ok(()))
            }
            Operation::Unpart { .. } if self.disk_full => Outcome::Unpart(Err(fault())),
            Operation::Unpart { piece, ranges, .. } => {
                ranges.iter().for_each(|range| self.touch(piece, range.start, range.end - range.start, &[]));
                Outcome::Unpart(Ok(()))
            }
            Operation::DropParts { .. } => {
                self.stats.last_mut().into_iter().for_each(|parts| *parts = None);
                Outcome::DropParts(Ok(()))
            }
            Operation::Truncate { .. } => Outcome::Truncate(Ok(())),
            Operation::Move { .. } => Outcome::Move(if self.disk_full { Err(fault()) } else { Ok(()) }),
            Operation::Rename { .. } => Outcome::Rename(Ok(())),
            Operation::Delete { files, .. } => {
                self.saved = None;
                if files {
                    self.disk.fill(0);
                    self.file = None;
                }
                Outcome::Delete(Ok(()))
            }
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let data = blocks.iter().flat_map(|block| block.iter().copied()).collect::<Vec<u8>>();
                let at = start(&self.meta, piece, begin);
                let written = if self.disk_full { Err(fault()) } else { Ok(()) };
                if written.is_ok() {
                    self.disk[at..at + data.len()].copy_from_slice(&data);
                    let old = self.file.unwrap_or(FileStat { len: 0, mtime_unix_ns: 1 });
                    let len = old.len.max((at + data.len()) as u64);
                    self.file = Some(FileStat { len, mtime_unix_ns: old.mtime_unix_ns + 1 });
                    let in_parts = self.placed.get(&piece.0).cloned().unwrap_or_default();
                    self.touch(piece, begin, data.len() as u32, &in_parts);
                }
                Outcome::Absorb {
                    blocks,
                    hash: hash.map(|hash| hashed(hash, &data, last, self.meta.digest_of(piece))),
                    written,
                }
            }
            Operation::Hash { .. } if self.disk_unreadable => Outcome::Hash(Err(fault())),
            Operation::Hash { piece, begin, len, hash, last, .. } => {
                let at = start(&self.meta, piece, begin);
                let expected = self.meta.digest_of(piece);
                Outcome::Hash(Ok(hashed(hash, &self.disk[at..at + len as usize], last, expected)))
            }
            Operation::Resolve { .. } => Outcome::Resolve(Err(LinkFault::NameNotFound)),
            Operation::Fetch(_) => Outcome::Fetch(Err(LinkFault::TimedOut)),
        }
    }

    /// A range is written: some of it to the part file.
    fn touch(&mut self, piece: PieceIndex, begin: u32, len: u32, in_parts: &[Range<u32>]) {
        let mtime_unix_ns = self.file.map_or(0, |file| file.mtime_unix_ns) + self.stats.len() as i64;
        let parts = self.stats.len().saturating_sub(1);
        for (span, aside) in self.meta.layout.placed_spans(piece, begin, len, in_parts) {
            let (file, end) = aside.map_or((span.file.0 as usize, span.offset), |at| (parts, at));
            let old = self.stats.get(file).copied().flatten();
            let len = old.map_or(0, |old| old.len).max(end + span.len);
            let mtime_unix_ns = old.map_or(mtime_unix_ns, |old| old.mtime_unix_ns + 1);
            self.stats[file] = Some(FileStat { len, mtime_unix_ns });
        }
    }

    /// A bit on the disk turns, unnoticed.
    pub(super) fn rot(&mut self, piece: u32, block: u32) {
        let at = self.meta.layout.start_of(PieceIndex(piece)) + u64::from(block * BLOCK_LEN);
        self.disk[at as usize] ^= 0x80;
    }

    /// A host with this last number connects.
    pub(super) fn accept(&mut self, host: u8) -> ConnId {
        let conn = ConnId::accepted(self.accepted);
        self.accepted += 1;
        self.accept_from(conn, SocketAddr::from(([10, 0, 1, host], 50_000)));
        conn
    }

    pub(super) fn accept_from(&mut self, conn: ConnId, from: SocketAddr) {
        self.peers.insert(conn, Script { choking: true, ..Script::default() });
        self.handle(Event::Accepted { conn, from });
    }

    /// The n-th waiting dial succeeds.
    pub(super) fn dial_succeeds(&mut self, n: usize) -> ConnId {
        let (conn, _) = self.dials.remove(n);
        self.peers.insert(conn, Script { choking: true, ..Script::default() });
        self.handle(Event::Dialed { conn, outcome: Ok(SocketAddr::from(([10, 0, 0, 1], 40_000))) });
        conn
    }

    /// The peer sends its handshake.
    pub(super) fn shake(&mut self, conn: ConnId, id: u8, fast: bool) {
        let mut handshake = Handshake::new(*self.meta.info_hash.wire_bytes(), PeerId([id; 20]));
        if !fast {
            handshake.reserved = [0; 8];
        }
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.fast = fast;
        }
        let mut bytes = vec![];
        handshake.encode(&mut bytes);
        self.send_bytes(conn, &bytes);
    }

    /// Connects, shakes hands, and says that it has everything.
    pub(super) fn seed(&mut self, host: u8, fast: bool) -> ConnId {
        let conn = self.accept(host);
        self.shake(conn, host, fast);
        self.say_bits(conn, |_| true);
        conn
    }

    /// Says in a bitfield which pieces it has.
    pub(super) fn say_bits(&mut self, conn: ConnId, has: impl Fn(u32) -> bool) {
        let mut bits = crate::bitfield::Bitfield::empty(self.meta.layout.piece_count());
        (0..bits.len()).filter(|piece| has(*piece)).for_each(|piece| _ = bits.set(PieceIndex(piece)));
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.has = bits.iter_ones().map(|piece| piece.0).collect();
        }
        self.say(conn, &Message::Bitfield(bits.as_wire_bytes()));
    }

    pub(super) fn send_bytes(&mut self, conn: ConnId, bytes: &[u8]) {
        if self.peers.contains_key(&conn) {
            self.handle(Event::Received { conn, bytes: &mut bytes.to_vec() });
        }
    }

    /// The peer sends a message.
    pub(super) fn say(&mut self, conn: ConnId, message: &Message<'_>) {
        let Some(peer) = self.peers.get_mut(&conn) else { return };
        match message {
            Message::Choke => {
                peer.choking = true;
                if !peer.fast {
                    peer.asked.clear();
                }
            }
            Message::Unchoke => peer.choking = false,
            Message::Have(piece) => _ = peer.has.insert(piece.0),
            Message::HaveAll => peer.has = (0..self.meta.layout.piece_count()).collect(),
            Message::RejectRequest(request) => peer.asked.retain(|r| r != request),
            Message::Extended { id: LT_DONTHAVE_ID, payload: [.., piece] } => {
                peer.has.remove(&u32::from(*piece));
                peer.asked.retain(|request| request.piece.0 != u32::from(*piece));
            }
            Message::Request(request) => peer.asking.push(*request),
            _ => {}
        }
        let mut bytes = vec![];
        message.encode(&mut bytes);
        self.send_bytes(conn, &bytes);
    }

    /// The bytes of a `piece` message as it should be.
    pub(super) fn block_bytes(&self, request: BlockRequest) -> Vec<u8> {
        let mut bytes = vec![];
        encode_piece_header(request, &mut bytes);
        bytes.extend(content(self.meta.layout.start_of(request.piece) + u64::from(request.begin), request.len));
        bytes
    }

    /// The peer sends a block.
    pub(super) fn give(&mut self, conn: ConnId, request: BlockRequest) {
        let bytes = self.block_bytes(request);
        self.give_bytes(conn, request, &bytes);
    }

    /// The peer sends a block that is wrong in one bit.
    pub(super) fn give_corrupt(&mut self, conn: ConnId, request: BlockRequest) {
        let mut bytes = self.block_bytes(request);
        *bytes.last_mut().unwrap() ^= 1;
        self.give_bytes(conn, request, &bytes);
    }

    fn give_bytes(&mut self, conn: ConnId, request: BlockRequest, bytes: &[u8]) {
        if let Some(peer) = self.peers.get_mut(&conn) {
            peer.asked.retain(|r| *r != request);
        }
        self.send_bytes(conn, bytes);
    }

    /// What a peer was asked for and has not answered.
    pub(super) fn asked(&self, conn: ConnId) -> Vec<BlockRequest> {
        self.peers.get(&conn).map(|peer| peer.asked.clone()).unwrap_or_default()
    }

    /// The peer answers whatever it is asked, at most `most` times.
    pub(super) fn serve(&mut self, conn: ConnId, most: usize) {
        for _ in 0..most {
            let Some(request) = self.asked(conn).first().copied() else { return };
            self.give(conn, request);
        }
    }

    /// What the engine has said to a peer since the last call.
    pub(super) fn news(&mut self, conn: ConnId) -> Vec<Said> {
        self.peers.get_mut(&conn).map(|peer| core::mem::take(&mut peer.news)).unwrap_or_default()
    }

    /// The peer's end breaks.
    pub(super) fn drop_link(&mut self, conn: ConnId) {
        if self.peers.remove(&conn).is_some() {
            self.handle(Event::Closed { conn, fault: LinkFault::Reset });
        }
    }

    /// Time passes; every timer fires when it is due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.engine.poll_timeout().filter(|(at, _)| *at <= end) {
            self.now = at;
            self.handle(Event::Tick);
        }
        self.now = end;
    }

    pub(super) fn torrent(&self) -> TorrentView {
        self.engine.view().torrents[0].clone()
    }

    /// Buffers: reserved, and in use.
    pub(super) fn pool(&self) -> (u32, u32) {
        let (_, reserved, out) = self.engine.view().pool;
        (reserved, out)
    }

    /// At the end of a test: with all links gone and all operations done, every buffer is home.
    pub(super) fn audit(&mut self) {
        let conns: Vec<ConnId> = self.peers.keys().copied().collect();
        conns.into_iter().for_each(|conn| self.drop_link(conn));
        self.run_disk();
        self.handle(Event::Command(Command::Shutdown));
        self.run_disk();
        assert_eq!(self.pool(), (0, 0), "every buffer is home");
        assert_eq!(self.notices.last(), Some(&Notice::ShutDown));
    }
}

fn of_files(files: &[(u32, Priority)]) -> Vec<(FileIndex, Priority)> {
    files.iter().map(|(file, priority)| (FileIndex(*file), *priority)).collect()
}

fn hashed(mut state: HashState, data: &[u8], last: bool, expected: Digest) -> Hashed {
    if last {
        return Hashed::Finished { digest: state.finish(data), expected };
    }
    state.absorb(data);
    Hashed::Running(state)
}
