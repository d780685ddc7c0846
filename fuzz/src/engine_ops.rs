//! Laws of the whole engine under arbitrary events: peers that say anything, operations that end late, badly or in any order, time that jumps.
//!
//! After every event all invariants are recounted; at the end everything is closed and every buffer must be home. Input: a list of [`Step`]s,
//! as `arbitrary` reads them.

use super::torrent::{
    Disk, INFO_HASH, PIECE_LEN, PIECES, Saying, TORRENT, block_of, check_explained, content, metainfo,
};
use arbitrary::{Arbitrary, Unstructured};
use sameseed_core::action::{Action, Destination, Operation, TxBatch};
use sameseed_core::config::{ActiveLimits, Config, SeedingGoals};
use sameseed_core::engine::Engine;
use sameseed_core::event::{AddTorrent, Command, Event};
use sameseed_core::fault::LinkFault;
use sameseed_core::id::{ConnId, OpId, PeerId};
use sameseed_core::time::{Duration, Instant};
use sameseed_core::wire::{Handshake, encode_piece_header};
use std::net::SocketAddr;

/// Longer inputs find nothing that shorter ones do not.
const MAX_STEPS: usize = 400;

/// Something that happens. Small numbers choose among what there is.
#[derive(Arbitrary, Debug)]
enum Step {
    Accept { host: u8 },
    Dialed { which: u8, ok: bool },
    Shake { which: u8, id: u8, fast: bool, right_torrent: bool },
    Say { which: u8, what: Saying },
    Bytes { which: u8, bytes: Vec<u8> },
    Block { which: u8, piece: u8, block: u8, right: bool, short: bool },
    Close { which: u8 },
    Flush { which: u8, bytes: u16 },
    End { which: u8, ok: bool },
    Datagram { bytes: Vec<u8> },
    Pass { millis: u16 },
    Sleep { minutes: u8 },
    AddPeers { port: u16 },
    Active { downloads: Option<bool>, seeds: Option<bool> },
    Goals { own: bool, per_mille: Option<u16>, minutes: Option<u8> },
    Resume { by_name: bool },
    Shutdown,
}

/// The engine and what it asked for.
struct World {
    engine: Engine,
    now: Instant,
    disk: Disk,
    conns: Vec<ConnId>,
    dialing: Vec<ConnId>,
    operations: Vec<(OpId, Operation)>,
    accepted: u64,
}

/// Runs the steps that `data` says.
pub fn check(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let seeder = bool::arbitrary(&mut input).unwrap_or_default();
    let mut world = World::new(seeder);
    for _ in 0..MAX_STEPS {
        // Past its end the input would go on with zeros.
        if input.is_empty() {
            break;
        }
        let Ok(step) = Step::arbitrary(&mut input) else { break };
        world.step(step);
        world.drain();
        world.engine.check_invariants();
        check_explained(&world.engine, world.now);
    }
    world.finish();
}

impl World {
    fn new(seeder: bool) -> Self {
        let trackers = ["http://10.0.0.9:80/announce", "udp://10.0.0.9:81/announce"];
        let metainfo = metainfo(trackers.map(|url| vec![String::from(url)]).to_vec());
        let config =
            Config { pool_blocks: 5, max_half_open: 3, max_connections: 12, keep_resume: true, ..Config::default() };
        let mut world = World {
            engine: Engine::new(config, [1; 32], Instant::ZERO, 0),
            now: Instant::ZERO,
            disk: Disk::new(seeder),
            conns: Vec::new(),
            dialing: Vec::new(),
            operations: Vec::new(),
            accepted: 0,
        };
        let add =
            AddTorrent { peers: vec![SocketAddr::from(([10, 0, 0, 1], 6881))], ..AddTorrent::new(TORRENT, metainfo) };
        world.tell(Event::Command(Command::Add(Box::new(add))));
        world.drain();
        // Past the check, where the interesting part begins.
        for _ in 0..2 * PIECES + 4 {
            world.end(0, true);
            world.drain();
        }
        world
    }

    fn tell(&mut self, event: Event<'_>) {
        self.engine.handle(self.now, event);
    }

    fn conn(&self, which: u8) -> Option<ConnId> {
        self.conns.get(usize::from(which) % self.conns.len().max(1)).copied()
    }

    fn send(&mut self, which: u8, mut bytes: Vec<u8>) {
        if let Some(conn) = self.conn(which)
            && !bytes.is_empty()
        {
            self.tell(Event::Received { conn, bytes: &mut bytes });
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Accept { host } => {
                let conn = ConnId::accepted(self.accepted);
                self.accepted += 1;
                self.conns.push(conn);
                self.tell(Event::Accepted { conn, from: SocketAddr::from(([10, 0, 1, host % 4], 5000)) });
            }
            Step::Dialed { which, ok } => {
                if self.dialing.is_empty() {
                    return;
                }
                let conn = self.dialing.remove(usize::from(which) % self.dialing.len());
                let local = SocketAddr::from(([10, 0, 0, 7], 6000));
                if ok {
                    self.conns.push(conn);
                }
                self.tell(Event::Dialed { conn, outcome: if ok { Ok(local) } else { Err(LinkFault::Refused) } });
            }
            Step::Shake { which, id, fast, right_torrent } => {
                let mut handshake = Handshake::new(if right_torrent { INFO_HASH } else { [8; 20] }, PeerId([id; 20]));
                if !fast {
                    handshake.reserved = [0; 8];
                }
                let mut bytes = Vec::new();
                handshake.encode(&mut bytes);
                self.send(which, bytes);
            }
            Step::Say { which, what } => {
                let mut bytes = Vec::new();
                what.encode(&mut bytes);
                self.send(which, bytes);
            }
            Step::Bytes { which, bytes } => self.send(which, bytes),
            Step::Block { which, piece, block, right, short } => {
                let mut range = block_of(piece, block);
                let mut data =
                    content(range.piece.0)[range.begin.min(PIECE_LEN) as usize..][..range.len as usize].to_vec();
                if short {
                    data.truncate(data.len() / 2);
                    range.len = data.len() as u32;
                }
                if data.is_empty() {
                    return;
                }
                if !right {
                    data[0] ^= 1;
                }
                let mut bytes = Vec::new();
                encode_piece_header(range, &mut bytes);
                bytes.extend(data);
                self.send(which, bytes);
            }
            Step::Close { which } => {
                if let Some(conn) = self.conn(which) {
                    self.conns.retain(|other| *other != conn);
                    self.tell(Event::Closed { conn, fault: LinkFault::Reset });
                }
            }
            Step::Flush { which, bytes } => {
                if let Some(conn) = self.conn(which) {
                    self.tell(Event::Flushed { conn, bytes: u64::from(bytes) });
                }
            }
            Step::End { which, ok } => self.end(which, ok),
            Step::Datagram { mut bytes } => {
                self.tell(Event::Datagram { from: SocketAddr::from(([10, 0, 0, 9], 81)), bytes: &mut bytes });
            }
            Step::Pass { millis } => self.pass(Duration::from_millis(u64::from(millis))),
            Step::Sleep { minutes } => self.pass(Duration::from_secs(60 * u64::from(minutes))),
            Step::AddPeers { port } => {
                let peers = vec![SocketAddr::from(([10, 0, 0, 2], port))];
                self.tell(Event::Command(Command::AddPeers { torrent: TORRENT, peers }));
            }
            Step::Active { downloads, seeds } => {
                let limits = ActiveLimits { downloads: downloads.map(u32::from), seeds: seeds.map(u32::from) };
                self.tell(Event::Command(Command::SetActiveLimits { limits }));
            }
            Step::Goals { own, per_mille, minutes } => {
                let time = minutes.map(|minutes| Duration::from_secs(60 * u64::from(minutes)));
                let goals = SeedingGoals { ratio_per_mille: per_mille.map(u32::from), time };
                let torrent = own.then_some(TORRENT);
                self.tell(Event::Command(Command::SetGoals { torrent, goals: Some(goals) }));
            }
            Step::Resume { by_name } => {
                self.tell(Event::Command(Command::Resume { torrent: by_name.then_some(TORRENT) }));
            }
            Step::Shutdown => self.tell(Event::Command(Command::Shutdown)),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.tell(Event::Tick);
        if let Some((at, kind)) = self.engine.poll_timeout() {
            assert!(at > self.now, "the timer {kind:?} spins");
        }
    }

    /// Ends one operation, in any order.
    fn end(&mut self, which: u8, ok: bool) {
        if self.operations.is_empty() {
            return;
        }
        let (op, operation) = self.operations.remove(usize::from(which) % self.operations.len());
        let outcome = self.disk.carry_out(operation, ok);
        self.tell(Event::Done { op, outcome });
    }

    fn drain(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Dial { conn, .. } => self.dialing.push(conn),
                Action::Close { conn, .. } => {
                    self.conns.retain(|other| *other != conn);
                    self.dialing.retain(|other| *other != conn);
                }
                Action::Submit { op, operation } => self.operations.push((op, operation)),
                Action::AllowRead { .. }
                | Action::RevokeRead { .. }
                | Action::Place { .. }
                | Action::Abort { .. }
                | Action::Notify(_) => {}
            }
        }
        let mut batch = TxBatch::default();
        while let Some(to) = self.engine.poll_transmit(&mut batch) {
            if let Destination::Conn(conn) = to {
                assert!(self.conns.contains(&conn), "nothing is sent after the end");
            }
        }
    }

    /// Everything ends: what is left must be nothing.
    fn finish(mut self) {
        self.tell(Event::Command(Command::Shutdown));
        self.drain();
        while !self.operations.is_empty() {
            self.end(0, true);
            self.drain();
        }
        let view = self.engine.view();
        assert_eq!((view.connections, view.half_open, view.operations), (0, 0, 0), "nothing is left");
        assert_eq!((view.pool.1, view.pool.2), (0, 0), "every buffer is home");
    }
}
