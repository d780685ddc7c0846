//! Pieces against a list of blocks that is searched anew each time, with a disk that works, fails, and answers in any order;
//! and each law broken by hand.

use super::open_piece::{MAX_RUN_BLOCKS, RUN_BLOCKS};
use super::*;
use crate::block::BlockPool;
use crate::engine::tests::breaches::check_breaches;
use crate::event::Hashed;
use crate::hash::{HashState, sha1};
use crate::id::{BLOCK_LEN, Digest};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use proptest::prelude::*;

/// Lengths of torrents in blocks: pieces, and blocks of a piece. One block, an odd few, more than a run, more than the longest run.
const SHAPES: [(u32, u32); 4] = [(4, 1), (3, 3), (2, RUN_BLOCKS + 4), (1, MAX_RUN_BLOCKS + 8)];
/// More buffers than any of these torrents has blocks.
const POOL: usize = 256;

#[derive(Clone, Debug)]
enum Op {
    Open { piece: u32, lease: Option<u64> },
    Request(u32, u32),
    RequestFirst(u32),
    Unrequest(u32, u32),
    Accept { piece: u32, first: u32, count: u32, from: u64, good: bool },
    Store { piece: u32, spill: bool },
    Done { which: usize, ok: bool },
    Judge(u32),
    Lose(u32),
    Check(u32),
    EndLeases(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let (piece, block) = (|| 0u32..4, || 0..MAX_RUN_BLOCKS + 8);
    let count = prop_oneof![8 => 1u32..3, 1 => Just(RUN_BLOCKS), 1 => Just(MAX_RUN_BLOCKS + 8)];
    let accept = (piece(), block(), count, 0u64..3, proptest::bool::weighted(0.95));
    prop_oneof![
        4 => (piece(), proptest::option::of(0u64..3)).prop_map(|(piece, lease)| Op::Open { piece, lease }),
        2 => (piece(), block()).prop_map(|(piece, block)| Op::Request(piece, block)),
        4 => piece().prop_map(Op::RequestFirst),
        2 => (piece(), block()).prop_map(|(piece, block)| Op::Unrequest(piece, block)),
        8 => accept.prop_map(|(piece, first, count, from, good)| Op::Accept { piece, first, count, from, good }),
        8 => (piece(), any::<bool>()).prop_map(|(piece, spill)| Op::Store { piece, spill }),
        5 => (any::<usize>(), proptest::bool::weighted(0.97)).prop_map(|(which, ok)| Op::Done { which, ok }),
        2 => piece().prop_map(Op::Judge),
        1 => piece().prop_map(Op::Lose),
        1 => piece().prop_map(Op::Check),
        1 => (0u64..3).prop_map(Op::EndLeases),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Missing,
    Asked(u8),
    Held,
    Writing,
    Written,
    Dropped,
}

/// One piece as the naive see it.
#[derive(Clone, Debug)]
struct Progress {
    blocks: Vec<Place>,
    bad: bool,
    lost: bool,
    /// Who sent each block, and whether it was read back to be hashed.
    sent: Vec<Option<(Sender, bool)>>,
    /// How many blocks were given out to be hashed, and whether the last of them is hashed.
    hashing_to: usize,
    finished: bool,
    senders: Vec<Sender>,
    lease: Option<ConnId>,
}

#[derive(Clone, Debug)]
enum Piece {
    Missing,
    Open(Progress),
    Had,
}

impl Progress {
    fn run_of(&self, from: usize, place: Place) -> usize {
        self.blocks[from..].iter().take_while(|at| **at == place).count()
    }

    fn wants(&self, block: usize) -> bool {
        !self.lost && matches!(self.blocks.get(block), Some(Place::Missing | Place::Asked(_)))
    }

    /// The stretch that is due, and whether it is hashed, and whether it comes from the disk.
    fn due(&self, hash_is_out: bool, spill: bool) -> Option<(usize, usize, bool, bool)> {
        let next = self.hashing_to;
        let longest = |run: usize| run.min(MAX_RUN_BLOCKS as usize);
        let held = self.run_of(next, Place::Held);
        if self.lost {
            return None;
        }
        if !hash_is_out {
            let more_to_come = next + held < self.blocks.len() && self.wants(next + held);
            if held >= RUN_BLOCKS as usize || held > 0 && (spill || !more_to_come) {
                return Some((next, longest(held), true, false));
            }
            let written = self.run_of(next, Place::Written);
            if written > 0 {
                return Some((next, longest(written), true, true));
            }
        }
        // Out of order: the first that waits, beyond the run that is hashed next.
        let beyond = (next + held..self.blocks.len()).find(|block| self.blocks[*block] == Place::Held)?;
        spill.then(|| (beyond, longest(self.run_of(beyond, Place::Held)), false, false))
    }
}

struct World {
    pieces: Pieces,
    pool: BlockPool,
    layout: Layout,
    model: Vec<Piece>,
    work: Vec<(u32, Store)>,
    corrupt: Vec<Vec<bool>>,
}

/// One of three peers; the first two share an address.
fn sender(n: u64) -> Sender {
    Sender { conn: ConnId::dialed(n), addr: SocketAddr::from(([10, 0, 0, 1 + (n / 2) as u8], 6881)) }
}

/// Blocks of the true torrent: all bytes the same, and different in each block.
fn right_byte(piece: u32, block: u32) -> u8 {
    (piece * 97 + block * 2) as u8
}

impl World {
    fn new(shape: (u32, u32)) -> Self {
        let len = u64::from(shape.0 * shape.1 * BLOCK_LEN) - 5;
        let layout = Layout::new(vec![(vec![String::from("file")], len, false)], shape.1 * BLOCK_LEN).unwrap();
        World {
            pieces: Pieces::new(layout.clone()),
            pool: BlockPool::new(POOL, POOL),
            layout,
            model: vec![Piece::Missing; shape.0 as usize],
            work: Vec::new(),
            corrupt: vec![vec![false; shape.1 as usize]; shape.0 as usize],
        }
    }

    fn open(&mut self, piece: u32) -> Option<&mut Progress> {
        match &mut self.model[piece as usize] {
            Piece::Open(progress) => Some(progress),
            _ => None,
        }
    }

    fn hash_is_out(&self, piece: u32) -> bool {
        self.work.iter().any(|(of, store)| {
            *of == piece && matches!(store, Store::Absorb { hash: Some(_), .. } | Store::ReadBack { .. })
        })
    }

    fn is_quiet(&self, piece: u32) -> bool {
        !self.work.iter().any(|(of, _)| *of == piece)
    }

    fn content(&self, piece: u32, first: u32, count: u32, right: bool) -> Vec<u8> {
        let mut bytes = Vec::new();
        for block in first..first + count {
            let wrong = !right && self.corrupt[piece as usize][block as usize];
            let len = self.layout.block_len(PieceIndex(piece), block) as usize;
            bytes.resize(bytes.len() + len, right_byte(piece, block) ^ u8::from(wrong));
        }
        bytes
    }

    fn digest(&self, piece: u32) -> Digest {
        Digest::Sha1(sha1(&self.content(piece, 0, self.layout.blocks_of(PieceIndex(piece)), true)))
    }

    /// What should be said of a piece now.
    fn verdict(&mut self, piece: u32) -> Option<Verdict> {
        let quiet = self.is_quiet(piece);
        let progress = self.open(piece).filter(|_| quiet)?;
        let whole = progress.finished && progress.blocks.iter().all(|block| *block == Place::Written);
        match () {
            () if progress.lost => Some(Verdict::Lost),
            () if whole => Some(if progress.bad { Verdict::Bad } else { Verdict::Good }),
            () => None,
        }
    }

    fn take(&mut self, op: Op) {
        let count = self.model.len() as u32;
        let blocks = self.layout.blocks_of(PieceIndex(0));
        let (wrap, within) = (|piece: u32| piece % count, |block: u32| block % blocks);
        match op {
            Op::Open { piece, lease } if matches!(self.model[wrap(piece) as usize], Piece::Missing) => {
                let (piece, holder) = (wrap(piece), lease.map(ConnId::dialed));
                self.pieces.open(PieceIndex(piece), holder.map(|holder| (holder, Instant::from_secs(60))));
                self.corrupt[piece as usize].fill(false);
                self.model[piece as usize] = Piece::Open(Progress {
                    blocks: vec![Place::Missing; blocks as usize],
                    bad: false,
                    lost: false,
                    sent: vec![None; blocks as usize],
                    hashing_to: 0,
                    finished: false,
                    senders: Vec::new(),
                    lease: holder,
                });
            }
            Op::Request(piece, block) => self.request(wrap(piece), within(block)),
            Op::RequestFirst(piece) => {
                let piece = wrap(piece);
                let first = self.pieces.update(PieceIndex(piece), OpenPiece::first_missing).flatten();
                let expected = self.open(piece).filter(|progress| !progress.lost);
                let expected = expected.and_then(|p| p.blocks.iter().position(|block| *block == Place::Missing));
                assert_eq!(first, expected.map(|block| block as u32));
                first.into_iter().for_each(|block| self.request(piece, block));
            }
            Op::Unrequest(piece, block) => {
                let (piece, block) = (wrap(piece), within(block));
                self.pieces.update(PieceIndex(piece), |open| open.unrequest(block));
                if let Some(progress) = self.open(piece)
                    && let Place::Asked(n) = progress.blocks[block as usize]
                {
                    progress.blocks[block as usize] = if n == 1 { Place::Missing } else { Place::Asked(n - 1) };
                }
            }
            Op::Accept { piece, first, count, from, good } => {
                for block in (within(first)..blocks).take(count as usize) {
                    self.accept(wrap(piece), block, sender(from), good);
                }
            }
            Op::Store { piece, spill } => self.store(wrap(piece), spill),
            Op::Done { which, ok } if !self.work.is_empty() => {
                let (piece, store) = self.work.remove(which % self.work.len());
                self.done(piece, store, ok);
            }
            Op::Judge(piece) => self.judge(wrap(piece)),
            Op::Lose(piece) => {
                let (piece, pool) = (wrap(piece), &mut self.pool);
                self.pieces.update(PieceIndex(piece), |open| open.lose(|block| pool.give_back(block)));
                if let Some(progress) = self.open(piece) {
                    progress.lost = true;
                    for block in &mut progress.blocks {
                        *block = match *block {
                            Place::Asked(_) => Place::Missing,
                            Place::Held => Place::Dropped,
                            other => other,
                        };
                    }
                }
            }
            Op::Check(piece) if matches!(self.model[wrap(piece) as usize], Piece::Missing) => {
                self.pieces.set_have(PieceIndex(wrap(piece)));
                self.model[wrap(piece) as usize] = Piece::Had;
            }
            Op::EndLeases(conn) => {
                let conn = ConnId::dialed(conn);
                self.pieces.end_leases(conn);
                (0..count).for_each(|piece| {
                    self.open(piece).into_iter().for_each(|p| p.lease = p.lease.filter(|holder| *holder != conn));
                });
            }
            Op::Open { .. } | Op::Done { .. } | Op::Check(_) => {}
        }
    }

    fn request(&mut self, piece: u32, block: u32) {
        self.pieces.update(PieceIndex(piece), |open| open.request(block));
        if let Some(progress) = self.open(piece) {
            match &mut progress.blocks[block as usize] {
                place @ Place::Missing => *place = Place::Asked(1),
                Place::Asked(n) => *n += 1,
                _ => {}
            }
        }
    }

    fn accept(&mut self, piece: u32, block: u32, from: Sender, good: bool) {
        assert!(self.pool.reserve(), "there is a buffer for every block");
        let mut data = self.pool.take(self.layout.block_len(PieceIndex(piece), block));
        data.fill(right_byte(piece, block) ^ u8::from(!good));
        let taken = self.pieces.accept(PieceIndex(piece), block, data, from);
        let wanted = self.open(piece).is_some_and(|progress| progress.wants(block as usize));
        assert_eq!(taken.is_ok(), wanted);
        if let Err(data) = taken {
            self.pool.give_back(data);
            return;
        }
        self.corrupt[piece as usize][block as usize] = !good;
        let Some(progress) = self.open(piece) else { return };
        progress.blocks[block as usize] = Place::Held;
        progress.sent[block as usize] = Some((from, false));
        progress.bad |= !good;
        if !progress.senders.contains(&from) {
            progress.senders.push(from);
        }
    }

    fn store(&mut self, piece: u32, spill: bool) {
        let hash_is_out = self.hash_is_out(piece);
        let due = self.open(piece).and_then(|progress| progress.due(hash_is_out, spill));
        let store = self.pieces.update(PieceIndex(piece), |open| open.next_store(spill)).flatten();
        let total = self.layout.blocks_of(PieceIndex(piece)) as usize;
        let Some((first, count, hashed, from_disk)) = due else {
            assert!(store.is_none(), "nothing is due, and {store:?} is begun");
            return;
        };
        let given = match &store {
            Some(Store::Absorb { first: at, blocks, hash, last }) => {
                let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
                assert_eq!(bytes, self.content(piece, *at, blocks.len() as u32, false), "each block in its place");
                (*at as usize, blocks.len(), *hash, *last, false)
            }
            Some(Store::ReadBack { first: at, count, hash, last }) => {
                (*at as usize, *count as usize, Some(*hash), *last, true)
            }
            None => panic!("{count} blocks from {first} are due, and nothing is begun"),
        };
        assert_eq!((given.0, given.1, given.2.is_some(), given.4), (first, count, hashed, from_disk));
        assert_eq!(given.3, first + count == total, "the last run is told that it is");
        let before = given.2.map(|hash| hash.len_bytes());
        assert!(before.is_none_or(|len| len == first as u64 * u64::from(BLOCK_LEN)), "hashing goes on where it stood");
        self.work.extend(store.map(|store| (piece, store)));
        let Some(progress) = self.open(piece) else { return };
        if from_disk {
            progress.sent[first..first + count].iter_mut().flatten().for_each(|(_, reread)| *reread = true);
        }
        if hashed {
            progress.hashing_to = first + count;
        }
        if !from_disk {
            progress.blocks[first..first + count].fill(Place::Writing);
        }
    }

    fn done(&mut self, piece: u32, store: Store, ok: bool) {
        let expected = self.digest(piece);
        let hash_on = |mut state: HashState, data: &[u8], last: bool| match last {
            true => Hashed::Finished { digest: state.finish(data), expected },
            false => {
                state.absorb(data);
                Hashed::Running(state)
            }
        };
        match store {
            Store::Absorb { first, blocks, hash, last } => {
                let data = self.content(piece, first, blocks.len() as u32, false);
                let count = blocks.len() as u32;
                blocks.into_iter().for_each(|block| self.pool.give_back(block));
                let hashed = hash.map(|hash| hash_on(hash, &data, last));
                self.pieces.update(PieceIndex(piece), |open| open.absorbed(first, count, hashed, hash.is_some(), ok));
                let Some(progress) = self.open(piece) else { return };
                progress.blocks[first as usize..(first + count) as usize].fill(Place::Written);
                progress.lost |= !ok;
                progress.finished |= last && hash.is_some();
            }
            Store::ReadBack { first, count, hash, last } => {
                let data = self.content(piece, first, count, false);
                let hashed = ok.then(|| hash_on(hash, &data, last));
                self.pieces.update(PieceIndex(piece), |open| open.read_back(hashed));
                let Some(progress) = self.open(piece) else { return };
                progress.lost |= !ok;
                progress.finished |= last && ok;
            }
        }
    }

    /// The verdict is carried out, when there is one.
    fn judge(&mut self, piece: u32) {
        match self.verdict(piece) {
            Some(Verdict::Good) => {
                self.pieces.set_have(PieceIndex(piece));
                self.model[piece as usize] = Piece::Had;
            }
            Some(Verdict::Bad | Verdict::Lost) => {
                let pool = &mut self.pool;
                self.pieces.forget(PieceIndex(piece), |block| pool.give_back(block));
                self.model[piece as usize] = Piece::Missing;
            }
            None => {}
        }
    }

    fn check(&mut self) {
        self.pieces.check_invariants();
        let all = 0..self.model.len() as u32;
        let had: Vec<u32> = all.clone().filter(|n| matches!(self.model[*n as usize], Piece::Had)).collect();
        let had_bytes = had.iter().map(|piece| u64::from(self.layout.len_of(PieceIndex(*piece)))).sum::<u64>();
        assert_eq!(self.pieces.have().iter_ones().map(|piece| piece.0).collect::<Vec<_>>(), had);
        assert_eq!((self.pieces.have_bytes(), self.pieces.is_complete()), (had_bytes, had.len() == self.model.len()));
        let (mut open, mut wanting, mut holding, mut held) = (vec![], vec![], vec![], 0);
        for piece in all {
            let (index, quiet, verdict) = (PieceIndex(piece), self.is_quiet(piece), self.verdict(piece));
            let Some(progress) = self.open(piece).cloned() else {
                assert!(self.pieces.get(index).is_none() && !self.pieces.wants(index, 0));
                continue;
            };
            let real = self.pieces.get(index).expect("it is open");
            open.push(index);
            let count = |place: fn(&Place) -> bool| progress.blocks.iter().filter(|at| place(at)).count();
            let missing = count(|at| *at == Place::Missing);
            wanting.extend((missing > 0 && !progress.lost).then_some(index));
            let waiting = count(|at| *at == Place::Held);
            holding.extend((waiting > 0).then_some(index));
            held += waiting;
            assert_eq!(real.missing() as usize, if progress.lost { 0 } else { missing });
            assert_eq!(real.buffers(), waiting + count(|at| *at == Place::Writing));
            assert_eq!(
                real.is_here(),
                count(|at| matches!(at, Place::Missing | Place::Asked(_) | Place::Dropped)) == 0
            );
            assert_eq!(real.is_quiet(), quiet);
            let here = (0..).zip(progress.blocks.iter().zip(&progress.sent));
            let here = here.filter(|(_, (place, _))| !matches!(place, Place::Missing | Place::Asked(_)));
            let sent = here.filter_map(|(block, (_, sent))| sent.map(|(from, reread)| Sent { block, from, reread }));
            assert_eq!(real.sent().collect::<Vec<_>>(), sent.collect::<Vec<_>>());
            assert_eq!((&real.senders, real.lease.map(|lease| lease.0)), (&progress.senders, progress.lease));
            let asked = |place: &Place| match place {
                Place::Missing => Some(0),
                Place::Asked(n) => Some(u32::from(*n)),
                _ => None,
            };
            for (block, place) in (0..).zip(&progress.blocks) {
                assert_eq!((real.asked(block), real.wants(block)), (asked(place), progress.wants(block as usize)));
            }
            for limit in [1, 2, 3] {
                let few = |(block, place): (u32, &Place)| match place {
                    Place::Asked(n) if *n < limit && !progress.lost => Some((block, *n)),
                    _ => None,
                };
                let awaited: Vec<_> = (0..).zip(&progress.blocks).filter_map(few).collect();
                assert_eq!(real.awaited(limit).collect::<Vec<_>>(), awaited);
            }
            assert_eq!(real.verdict(), verdict);
        }
        assert_eq!(self.pieces.iter_open().map(|(piece, _)| piece).collect::<Vec<_>>(), open);
        assert_eq!(self.pieces.iter_wanting().map(|(piece, _)| piece).collect::<Vec<_>>(), wanting);
        assert_eq!(self.pieces.holding().collect::<Vec<_>>(), holding);
        assert_eq!(self.pieces.open_count(), open.len());
        let blocks = |store: &Store| if let Store::Absorb { blocks, .. } = store { blocks.len() } else { 0 };
        let at_disk = self.work.iter().map(|(_, store)| blocks(store)).sum::<usize>();
        assert_eq!(self.pool.out(), held + at_disk, "no buffer is lost, and none is made");
    }
}

proptest! {
    #[test]
    fn pieces_behave_like_lists_of_blocks_that_are_searched_each_time(
        shape in proptest::sample::select(&SHAPES[..]),
        ops in proptest::collection::vec(op(), 0..120),
    ) {
        let mut world = World::new(shape);
        (0..shape.0).for_each(|piece| world.take(Op::Open { piece, lease: None }));
        for op in ops {
            world.take(op);
            world.check();
        }
        // With every block given and a disk that works, each piece comes to its verdict, and then is had.
        for _ in 0..3 {
            for piece in 0..shape.0 {
                world.take(Op::Open { piece, lease: None });
                world.take(Op::Accept { piece, first: 0, count: shape.1, from: 0, good: true });
                for _ in 0..4 * shape.1 {
                    world.take(Op::Store { piece, spill: false });
                    world.take(Op::Done { which: 0, ok: true });
                    world.take(Op::Judge(piece));
                }
            }
            world.check();
        }
        prop_assert!(world.pieces.is_complete());
        prop_assert_eq!(world.pool.out(), 0);
    }
}

#[test]
fn each_law_is_seen_to_be_broken() {
    const FIRST: PieceIndex = PieceIndex(0);
    fn open(pieces: &mut Pieces) -> &mut OpenPiece {
        pieces.open.get_mut(&FIRST).unwrap()
    }
    // Of the first piece one block is on disk, one is on its way there, one is asked for, one is missing; the third piece is had.
    let intact = || {
        let mut world = World::new((3, 4));
        world.take(Op::Open { piece: 0, lease: None });
        for block in 0..2 {
            world.take(Op::Accept { piece: 0, first: block, count: 1, from: 0, good: true });
            world.take(Op::Store { piece: 0, spill: true });
            if block == 0 {
                world.take(Op::Done { which: 0, ok: true });
            }
        }
        world.take(Op::RequestFirst(0));
        world.take(Op::Check(2));
        world.pieces
    };
    check_breaches(
        concat!(include_str!("open_piece.rs"), include_str!("../pieces.rs")),
        intact,
        Pieces::check_invariants,
        &[
            ("missing blocks equal a recount", |pieces| open(pieces).missing += 1),
            ("waiting buffers equal a recount", |pieces| open(pieces).held += 1),
            ("written blocks equal a recount", |pieces| open(pieces).written += 1),
            ("no block before the scan's start is missing", |pieces| open(pieces).scan_from = 4),
            ("what is hashed is at the disk", |pieces| open(pieces).hashed_to = 3),
            ("who sent a block is known while it is here", |pieces| _ = open(pieces).senders.pop()),
            ("who waits has an operation", |pieces| open(pieces).operations = 0),
            ("bytes had equal a recount", |pieces| pieces.have_bytes += 1),
            ("of what is had nothing more is wanted", |pieces| _ = pieces.settled.clear(PieceIndex(2))),
            ("bytes lacking equal a recount", |pieces| pieces.lacking_bytes += 1),
            ("no piece is open and had", |pieces| {
                pieces.set_wanted(FIRST, false);
                pieces.have.set(FIRST);
                pieces.have_bytes += u64::from(4 * BLOCK_LEN);
            }),
            ("pieces to pick blocks from equal a recount", |pieces| _ = pieces.wanting.remove(&FIRST)),
            ("blocks are picked of open pieces", |pieces| _ = pieces.wanting.insert(PieceIndex(1))),
        ],
    );
}
