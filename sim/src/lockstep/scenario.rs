//! A scenario, drawn from one seed: who takes part, what they share, how they are connected, what goes wrong.

use super::faults::Fault;
use super::link::Access;
use super::node::address;
use super::nth::Blow;
use super::world::{Later, World};
use crate::{content, random};
use sameseed_core::config::{Config, RateLimits, SeedingGoals, Turns};
use sameseed_core::rng::Rng;
use sameseed_core::time::Duration;
use std::fmt;
use std::net::IpAddr;

/// The most bytes of a torrent: keeps a seed quick.
const MAX_BYTES: u64 = 3 << 20;
/// No limit is so slow that the torrent needs longer than this to come through it.
const SLOWEST_S: u64 = 100;

/// One client of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// It has everything.
    pub seeder: bool,
    /// Its network.
    pub access: Access,
    /// Its block buffers.
    pub pool_blocks: usize,
    /// How many it uploads to at a time.
    pub upload_slots: usize,
    /// Nodes it knows by hand.
    pub peers: Vec<usize>,
    /// It knows its own address.
    pub knows_itself: bool,
    /// What it receives and sends at most.
    pub limits: RateLimits,
    /// After so long its torrent has limits of its own.
    pub later: Option<(Duration, RateLimits)>,
    /// It had everything, and then this happened before it started.
    pub start: Option<Fault>,
    /// Files that it does not want.
    pub skips: Vec<u32>,
    /// When its torrent has been seeded enough, while things go wrong.
    pub goals: SeedingGoals,
    /// When it asks one peer for several pieces in turns.
    pub turns: Turns,
}

/// A scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Where it comes from.
    pub seed: u64,
    /// Bytes of a piece.
    pub piece_len: u32,
    /// Bytes of each file.
    pub file_lens: Vec<u64>,
    /// The clients; the first is a seeder that anybody can reach.
    pub clients: Vec<Client>,
    /// Hostile peers. They come after the clients.
    pub hostile: Vec<Fault>,
    /// Hostile peers stay when everything else heals.
    pub hostile_stay: bool,
    /// Trackers: whether UDP, and what is wrong with them. The last one is always right.
    pub trackers: Vec<(bool, Option<Fault>)>,
    /// How often each fault strikes, in 1/1000.
    pub rates: Vec<(Fault, u64)>,
    /// How long things go wrong.
    pub safety: Duration,
    /// Every so many steps the engine's own laws are recounted.
    pub cadence: u64,
    /// One blow at an exact place.
    pub blow: Option<Blow>,
}

const VICES: &[Fault] = &[
    Fault::CorruptBlock,
    Fault::Unrequested,
    Fault::WrongOffset,
    Fault::NeverUnchokes,
    Fault::ChokeFlapping,
    Fault::RejectsAll,
    Fault::HaveFlood,
    Fault::BadBitfield,
    Fault::Oversize,
    Fault::HalfHandshake,
    Fault::OneByte,
    Fault::RequestFlood,
    Fault::MidBlock,
    Fault::SilentHolder,
    Fault::NeverReads,
    Fault::Flood,
    Fault::DuplicateBlock,
    Fault::FalseHave,
    Fault::ChokedRequests,
    Fault::WrongInfoHash,
    Fault::CancelRaces,
    Fault::HalfBlock,
    Fault::FastAbuse,
    Fault::CopiedId,
    Fault::HugeExtended,
    Fault::KeepAliveFlood,
    Fault::OddMessages,
    Fault::TakesBack,
];
const TRACKER_FAULTS: &[Fault] = &[
    Fault::TrackerHangs,
    Fault::TrackerRefuses,
    Fault::TrackerMalformed,
    Fault::TrackerOurselves,
    Fault::TrackerZero,
    Fault::TrackerLossy,
    Fault::TrackerEmpty,
    Fault::TrackerMillion,
    Fault::TrackerFails,
    Fault::TrackerLoop,
    Fault::TrackerExtras,
    Fault::TrackerGzip,
];
/// What only a tracker that speaks HTTP can do.
const HTTP_ONLY: &[Fault] = &[Fault::TrackerLoop, Fault::TrackerExtras, Fault::TrackerGzip];
/// What a client may find on its disk when it starts.
const STARTS: &[Fault] = &[Fault::FileMissing, Fault::FileLonger, Fault::FileGarbage];
/// Faults of the world, and the most that each strikes, in 1/1000 per occasion.
const RATES: &[(Fault, u64)] = &[
    (Fault::ShortRead, 300),
    (Fault::DelaySpike, 20),
    (Fault::Stall, 300),
    (Fault::CutAtByte, 1),
    (Fault::Reset, 400),
    (Fault::RefusedDial, 300),
    (Fault::HangingDial, 300),
    (Fault::Partition, 200),
    (Fault::SlowDisk, 100),
    (Fault::DiskReorder, 300),
    (Fault::DiskError, 30),
    (Fault::DiskFull, 300),
    (Fault::LostWrites, 600),
    (Fault::TornWrites, 600),
    (Fault::Crash, 300),
    (Fault::Silence, 500),
    (Fault::LateTick, 200),
    (Fault::TimeJump, 100),
    (Fault::LateDrain, 100),
    (Fault::ShortWrite, 300),
    (Fault::Squeeze, 200),
    (Fault::Burst, 200),
    (Fault::OneWay, 200),
    (Fault::NewAddress, 150),
    (Fault::CrossDial, 1),
    (Fault::DiskDead, 100),
    (Fault::ReadFails, 300),
    (Fault::Leaving, 150),
    (Fault::Batched, 100),
    (Fault::TwoTicks, 200),
    (Fault::TrackerDead, 20),
    (Fault::ResumeLost, 300),
    (Fault::ResumeTorn, 300),
    (Fault::ResumeRot, 300),
    (Fault::ResumeOld, 500),
    (Fault::ResumeOther, 200),
    (Fault::PauseFlood, 150),
    (Fault::Removal, 60),
    (Fault::Deletion, 30),
    (Fault::Recheck, 60),
    (Fault::AskFlood, 150),
    (Fault::Moving, 60),
];
/// What breaks a disk unnoticed. Rarer: it excuses the host that it strikes from telling the truth.
const DAMAGES: &[(Fault, u64)] = &[
    (Fault::Misdirected, 30),
    (Fault::BitRot, 200),
    (Fault::FileChanged, 100),
    (Fault::FileCut, 100),
    (Fault::FileGone, 100),
];

/// The most that other files are selected, in 1/1000 per occasion.
const MOST_RESELECTED: u64 = 200;
/// The most that limits on active torrents are set, in 1/1000 per occasion.
const MOST_QUEUED: u64 = 150;

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

impl Client {
    /// A client that has nothing, on a quick network; it knows the first client.
    pub fn leecher() -> Self {
        Client {
            seeder: false,
            access: Access::default(),
            pool_blocks: 64,
            upload_slots: 4,
            peers: vec![0],
            knows_itself: false,
            limits: RateLimits::default(),
            later: None,
            start: None,
            skips: Vec::new(),
            goals: SeedingGoals::default(),
            turns: Turns::default(),
        }
    }

    /// A client that has everything, and knows nobody.
    pub fn seeder() -> Self {
        Client { seeder: true, peers: Vec::new(), ..Client::leecher() }
    }
}

impl Scenario {
    /// A seeder and a leecher, one piece, and nothing goes wrong.
    pub fn plain() -> Self {
        Scenario {
            seed: 0,
            piece_len: 16_384,
            file_lens: vec![16_384],
            clients: vec![Client::seeder(), Client::leecher()],
            hostile: Vec::new(),
            hostile_stay: false,
            trackers: Vec::new(),
            rates: Vec::new(),
            safety: Duration::from_secs(60),
            cadence: 1,
            blow: None,
        }
    }

    /// Draws the scenario of a seed.
    pub fn draw(seed: u64) -> Self {
        let rng = &mut random::rng("scenario", &[seed]);
        let pieces = pick(rng, &[1, 4, 12, 64, 66, 70, 90, 250]) + rng.below(20);
        let fitting = [1000, 4096, 16_384, 20_000, 32_768, 65_536, 131_072, 1 << 20];
        let fitting: Vec<u64> = fitting.into_iter().filter(|len| len * pieces <= MAX_BYTES).collect();
        // Few pieces are large ones: small pools must spill them.
        let few = if pieces < 40 { fitting.len().saturating_sub(3) } else { 0 };
        let piece_len = pick(rng, &fitting[few..]);
        let total = piece_len * (pieces - 1) + 1 + rng.below(piece_len);
        let (cut, tail) = (rng.below(total + 1), rng.below(3));
        let file_lens = match tail {
            0 => vec![total],
            1 => vec![cut, 0, total - cut],
            _ => vec![cut / 2, cut - cut / 2, total - cut],
        };
        let vices = pick(rng, &[0, 1, 1, 2, 2, 3]);
        // Wrong bytes do the most harm: one in four sends them.
        let vice = |rng: &mut Rng| if rng.below(4) == 0 { Fault::CorruptBlock } else { pick(rng, VICES) };
        let hostile: Vec<Fault> = (0..vices).map(|_| vice(rng)).collect();
        let (seeders, leechers) = (1 + rng.below(2) as usize, pick(rng, &[1, 3, 6, 7, 8, 9, 10, 12]));
        let trackers = (0..rng.below(3)).map(|_| {
            let mut fault = pick(rng, TRACKER_FAULTS);
            if fault == Fault::TrackerMillion && rng.below(4) > 0 {
                // Rarer than others: thousands of dials make a run slow.
                fault = Fault::TrackerEmpty;
            }
            (rng.below(2) == 0 && !HTTP_ONLY.contains(&fault), Some(fault))
        });
        let mut trackers: Vec<_> = trackers.collect();
        if !trackers.is_empty() || rng.below(2) == 0 {
            trackers.push((rng.below(2) == 0, None));
        }
        // Some scenarios are wilder than others.
        let one_in = pick(rng, &[2, 4, 8]);
        let mut rates = Vec::new();
        for (list, one_in) in [(RATES, one_in), (DAMAGES, 3 * one_in)] {
            for (fault, most) in list {
                let rate = 1 + rng.below(*most);
                if rng.below(one_in) == 0 {
                    rates.push((*fault, rate));
                }
            }
        }
        let by_hand = trackers.is_empty();
        let nodes = seeders + leechers + hostile.len();
        let mut clients = Vec::new();
        for index in 0..seeders + leechers {
            clients.push(draw_client(rng, index, seeders, by_hand, nodes));
        }
        draw_limits(seed, total / SLOWEST_S, &mut clients);
        draw_selections(seed, &mut clients, file_lens.len() as u32, &mut rates);
        draw_queueing(seed, &mut clients, &mut rates);
        draw_turns(seed, &mut clients);
        let hostile_stay = rng.below(2) == 0;
        // Now and then long enough for the longer waits.
        let safety = Duration::from_secs(10 + rng.below(80) + if rng.below(16) == 0 { 300 } else { 0 });
        let many = trackers.iter().any(|(_, fault)| *fault == Some(Fault::TrackerMillion));
        // To recount thousands of addresses takes its time.
        let cadence = if many { 509 } else { pick(rng, &[1, 17, 17, 17, 17, 17, 17, 17]) };
        let piece_len = piece_len as u32;
        Scenario {
            seed,
            piece_len,
            file_lens,
            clients,
            hostile,
            hostile_stay,
            trackers,
            rates,
            safety,
            cadence,
            blow: None,
        }
    }

    /// How many kinds of faults may strike.
    pub fn kinds(&self) -> usize {
        let trackers = self.trackers.iter().filter(|(_, fault)| fault.is_some());
        let starts = self.clients.iter().filter(|client| client.start.is_some());
        let goals = self.clients.iter().any(|client| client.goals != SeedingGoals::default());
        self.rates.len() + self.hostile.len() + trackers.count() + starts.count() + usize::from(goals)
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> u64 {
        self.file_lens.iter().sum::<u64>().div_ceil(u64::from(self.piece_len))
    }

    /// The world at its beginning.
    pub fn build(&self) -> World {
        let mut world = World::new(self.seed, content::torrent("drawn", &self.file_lens, self.piece_len));
        world.cadence = self.cadence;
        world.nth.blow = self.blow;
        for (udp, fault) in &self.trackers {
            world.add_tracker(*udp, *fault);
        }
        for client in &self.clients {
            let index = world.clients().len();
            let own_ips = if client.knows_itself { vec![IpAddr::V4(*address(index).ip())] } else { Vec::new() };
            let (pool_blocks, upload_slots) = (client.pool_blocks, client.upload_slots);
            let limits = client.limits;
            let (goals, turns) = (client.goals, client.turns);
            // Simulated pools are small: the other half is for whoever is distant.
            let near_blocks = pool_blocks.div_ceil(2);
            let config =
                Config { pool_blocks, near_blocks, upload_slots, own_ips, limits, goals, turns, ..Config::default() };
            let full = client.seeder || client.start.is_some();
            world.add_selective_host(client.access, full, config, &client.peers, &client.skips);
            if let Some((after, limits)) = client.later {
                world.push(after, Later::Limit { node: index, limits });
            }
            if let Some(fault) = client.start {
                world.spoil_start(index, fault);
            }
        }
        self.hostile.iter().for_each(|vice| _ = world.add_hostile(*vice));
        for (fault, rate) in &self.rates {
            world.faults.per_mille[*fault as usize] = *rate;
        }
        world
    }
}

/// Some clients have limits, some are given others on the way. A stream of its own: what else a seed draws stays what it was.
fn draw_limits(seed: u64, slowest: u64, clients: &mut [Client]) {
    let rng = &mut random::rng("limits", &[seed]);
    if rng.below(3) > 0 {
        return;
    }
    let rates = [5 << 10, 20 << 10, 64 << 10, 256 << 10, 1 << 20];
    let drawn = |rng: &mut Rng| if rng.below(2) == 0 { 0 } else { pick(rng, &rates).max(slowest) };
    for client in clients {
        if rng.below(2) == 0 {
            client.limits = RateLimits { down: drawn(rng), up: drawn(rng) };
        }
        if rng.below(4) == 0 {
            let after = Duration::from_micros(rng.below(20_000_000));
            client.later = Some((after, RateLimits { down: drawn(rng), up: drawn(rng) }));
        }
    }
}

fn draw_client(rng: &mut Rng, index: usize, seeders: usize, by_hand: bool, nodes: usize) -> Client {
    let speeds = [64 << 10, 256 << 10, 1 << 20, 10 << 20];
    let access = Access {
        latency: Duration::from_micros(pick(rng, &[200, 5000, 20_000, 100_000])),
        jitter: Duration::from_micros(pick(rng, &[0, 1000, 30_000])),
        up_per_s: pick(rng, &speeds),
        down_per_s: pick(rng, &speeds[1..]),
        // The first seeder can be reached by all.
        nat: index > 0 && rng.below(6) == 0,
    };
    let mut peers = if by_hand { vec![0] } else { Vec::new() };
    peers.extend((1..nodes).filter(|_| rng.below(if by_hand { 2 } else { 8 }) == 0));
    Client {
        seeder: index < seeders,
        access,
        pool_blocks: pick(rng, &[1, 4, 16, 64, 256]),
        upload_slots: pick(rng, &[1, 2, 4, 8]),
        peers,
        knows_itself: rng.below(2) == 0,
        limits: RateLimits::default(),
        later: None,
        skips: Vec::new(),
        goals: SeedingGoals::default(),
        turns: Turns::default(),
        start: (index > 0 && rng.below(12) == 0).then(|| pick(rng, STARTS)),
    }
}

/// What clients do not want; from a stream of its own.
fn draw_selections(seed: u64, clients: &mut [Client], files: u32, rates: &mut Vec<(Fault, u64)>) {
    let rng = &mut random::rng("selections", &[seed]);
    if rng.below(4) == 0 {
        rates.push((Fault::Reselect, 1 + rng.below(MOST_RESELECTED)));
    }
    if rng.below(3) == 0 {
        for client in clients.iter_mut().filter(|client| !client.seeder) {
            client.skips = (0..files).filter(|_| rng.below(3) == 0).collect();
        }
    }
}

/// Who sets limits on active torrents, and who has seeding goals; from a stream of its own.
fn draw_queueing(seed: u64, clients: &mut [Client], rates: &mut Vec<(Fault, u64)>) {
    let rng = &mut random::rng("queueing", &[seed]);
    if rng.below(6) == 0 {
        rates.push((Fault::Queueing, 1 + rng.below(MOST_QUEUED)));
    }
    if rng.below(6) == 0 {
        for client in clients {
            let (ratio, seconds) = (100 + rng.below(2000) as u32, Duration::from_secs(rng.below(60)));
            client.goals = match rng.below(4) {
                0 => SeedingGoals { ratio_per_mille: Some(ratio), time: None },
                1 => SeedingGoals { ratio_per_mille: None, time: Some(seconds) },
                _ => SeedingGoals::default(),
            };
        }
    }
}

/// Simulated lines are slow and pieces short: half of the clients call less a fast peer. From a stream of its own.
fn draw_turns(seed: u64, clients: &mut [Client]) {
    let rng = &mut random::rng("turns", &[seed]);
    for client in clients {
        if rng.below(2) == 0 {
            client.turns =
                Turns { rate_per_piece: pick(rng, &[4 << 10, 32 << 10, 256 << 10]), blocks: pick(rng, &[1, 3]) };
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pieces, piece_len) = (self.pieces(), self.piece_len);
        write!(f, "seed {}: {pieces} pieces of {piece_len} in {:?}; ", self.seed, self.file_lens)?;
        for client in &self.clients {
            let Access { latency, jitter, up_per_s, down_per_s, nat } = client.access;
            let role = if client.seeder { "seeder" } else { "leecher" };
            let nat = if nat { " NAT" } else { "" };
            let (pool, slots, peers) = (client.pool_blocks, client.upload_slots, &client.peers);
            let (up, down) = (up_per_s >> 10, down_per_s >> 10);
            let itself = if client.knows_itself { " and itself" } else { "" };
            let mut start = client.start.map_or(String::new(), |fault| format!(", {}", fault.name()));
            if client.limits != RateLimits::default() {
                start += &format!(", {:?}", client.limits);
            }
            if let Some((after, limits)) = client.later {
                start += &format!(", after {after:?} {limits:?}");
            }
            if client.turns != Turns::default() {
                start += &format!(", {:?}", client.turns);
            }
            if client.goals != SeedingGoals::default() {
                start += &format!(", {:?}", client.goals);
            }
            write!(f, "{role} {latency:?}+{jitter:?} {up}/{down} KiB/s{nat} pool {pool} slots {slots} ")?;
            let skips = if client.skips.is_empty() { String::new() } else { format!(" skips {:?}", client.skips) };
            write!(f, "knows {peers:?}{itself}{start}{skips}; ")?;
        }
        let names: Vec<&str> = self.hostile.iter().map(|vice| vice.name()).collect();
        write!(f, "hostile {names:?}{}; trackers ", if self.hostile_stay { " stay" } else { "" })?;
        for (udp, fault) in &self.trackers {
            write!(f, "{} {}, ", if *udp { "UDP" } else { "HTTP" }, fault.map_or("right", Fault::name))?;
        }
        let rates: Vec<String> = self.rates.iter().map(|(fault, rate)| format!("{} {rate}", fault.name())).collect();
        write!(f, "faults in 1/1000: {}; safety {:?}; cadence {}", rates.join(", "), self.safety, self.cadence)
    }
}
