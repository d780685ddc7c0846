//! Explanations are true: in each of many stuck swarms the first cause is the right one, and when that alone is removed things go on.
//!
//! Each situation is built twice. In one world nothing is mended, and it must still be stuck when the other has come to its end: so it is the
//! cause that held it up, and not time.

use Side::{Down, Up};
use sameseed_core::config::{Config, RateLimits};
use sameseed_core::event::Command;
use sameseed_core::explain::{Cause, Explanation};
use sameseed_core::fault::DiskFaultKind;
use sameseed_core::id::ConnId;
use sameseed_core::time::Duration;
use sim::content;
use sim::lockstep::faults::Fault;
use sim::lockstep::{Access, HostIndex, TORRENT, World};
use std::net::{IpAddr, SocketAddr};

/// How long what was mended may take: trackers and addresses that failed are not tried again at once.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often it is asked whether things have gone on.
const LOOK: Duration = Duration::from_millis(250);
/// A tracker that is silent until it is mended.
const FOR_GOOD: Duration = Duration::from_secs(100_000);
/// A limit of rate that lets nothing of use through.
const NOTHING: u64 = 1;

/// Which half of an explanation tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Down,
    Up,
}

/// What is asked.
#[derive(Clone, Copy, Debug)]
enum Subject {
    /// Why is the torrent of this client not faster?
    Torrent(HostIndex),
    /// Why is the connection of the first client to the second node not faster?
    Peer(HostIndex, HostIndex),
}
use Subject::{Peer, Torrent};

/// A swarm that is stuck.
struct Stuck {
    world: World,
    subject: Subject,
    /// Removes the cause.
    mend: Box<dyn Fn(&mut World)>,
    /// Whether things have gone on.
    is_done: Box<dyn Fn(&World) -> bool>,
}

/// Name, the cause's name and side, and how it comes to be.
type Situation = (&'static str, &'static str, Side, fn() -> Stuck);

const SITUATIONS: &[Situation] = &[
    ("told to pause", "paused", Down, paused),
    ("disk full in mid-download", "disk_refuses", Down, || disk(DiskFaultKind::Full, 3)),
    ("folder that cannot be read at the start", "disk_refuses", Down, || disk(DiskFaultKind::Denied, 0)),
    ("check on a slow disk", "checking", Down, checking),
    ("no file selected", "nothing_selected", Down, nothing_selected),
    ("no tracker, no peer", "nobody_known", Down, nobody_known),
    ("the only tracker is dead", "trackers_fail", Down, || tracker(1, false, 30)),
    ("two of two trackers are dead", "trackers_fail", Down, || tracker(2, false, 90)),
    ("a tracker that does not answer yet", "trackers_awaited", Down, || tracker(1, true, 20)),
    ("a tracker that never answered", "trackers_fail", Down, || tracker(1, true, 100)),
    ("a tracker that knows nobody else", "nobody_named", Down, nobody_named),
    ("nobody but ourselves", "only_ourselves", Down, only_ourselves),
    ("a liar and nobody else", "all_banned", Down, all_banned),
    ("a peer that is down", "nobody_answers", Down, nobody_answers),
    ("dials that hang", "connecting", Down, || hanging_dials(false)),
    ("a connection of which the dial hangs", "dialing", Down, || hanging_dials(true)),
    ("all connections taken by a peer of no use", "connections_full", Down, connections_full),
    ("nobody unchokes us", "choked", Down, || no_slots(true, false)),
    ("a peer that chokes us", "chokes_us", Down, || no_slots(true, true)),
    ("everybody is new", "peers_have_nothing", Down, peers_have_nothing),
    ("the only seeder went in the middle", "pieces_nowhere", Down, pieces_nowhere),
    ("a connection to who has no more than we", "has_nothing_for_us", Down, || nothing_for(true)),
    ("a limit of the torrent on receiving", "down_limit", Down, || down_limit(true)),
    ("a limit of all on receiving", "down_limit", Down, || down_limit(false)),
    ("a disk slower than the peers", "buffers_full", Down, buffers_full),
    ("a peer that answers late", "answers_awaited", Down, || slow_peer(1_000_000, 15, false)),
    ("the last block asked of a slow peer", "last_blocks", Down, || slow_peer(16_000, 15, false)),
    ("a peer that keeps us waiting", "snubbed", Down, || slow_peer(1_000_000, 60, false)),
    ("a connection that keeps us waiting", "snubs", Down, || slow_peer(1_000_000, 60, true)),
    ("a seeder without slots", "no_slots", Up, || no_slots(false, false)),
    ("more peers than slots", "slots_taken", Up, || slots_taken(false)),
    ("a peer that waits for its slot", "choked_by_us", Up, || slots_taken(true)),
    ("nobody wants what we have", "nobody_interested", Up, || nothing_for(false)),
    ("a peer that wants nothing", "not_interested", Up, not_interested),
    ("a limit on sending", "up_limit", Up, up_limit),
];

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn wait(world: &mut World, n: u64) {
    world.run_until(seconds(n), |_| false);
}

fn config() -> Config {
    Config { pool_blocks: 64, ..Config::default() }
}

fn line(up_per_s: u64) -> Access {
    Access { up_per_s, ..Access::default() }
}

fn world(bytes: u64) -> World {
    let mut world = World::new(7, content::torrent("stuck", &[bytes], 65_536));
    world.cadence = 17;
    world
}

/// A seeder with this line, and a leecher that knows it.
fn pair(bytes: u64, up_per_s: u64) -> (World, HostIndex, HostIndex) {
    let mut world = world(bytes);
    let seeder = world.add_host_at(line(up_per_s), true, config(), &[]);
    let leecher = world.add_host(false, config(), &[seeder]);
    (world, seeder, leecher)
}

fn has_all(host: HostIndex) -> Box<dyn Fn(&World) -> bool> {
    Box::new(move |world| world.host(host).disk().is_complete())
}

fn name_peer(world: &mut World, host: HostIndex, peer: HostIndex) {
    let peers = vec![SocketAddr::V4(world.addr(peer))];
    world.command(host, Command::AddPeers { torrent: TORRENT, peers });
}

/// A seeder comes, and `host` is told of it.
fn send_seeder(host: HostIndex) -> Box<dyn Fn(&mut World)> {
    Box::new(move |world| {
        let seeder = world.add_host(true, config(), &[]);
        name_peer(world, host, seeder);
    })
}

fn paused() -> Stuck {
    let (mut world, _, leecher) = pair(1_000_000, 100 << 10);
    wait(&mut world, 2);
    world.command(leecher, Command::Pause { torrent: Some(TORRENT) });
    wait(&mut world, 30);
    let mend = Box::new(|world: &mut World| world.command(1, Command::Resume { torrent: Some(TORRENT) }));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn disk(kind: DiskFaultKind, writes: u32) -> Stuck {
    let (mut world, _, leecher) = pair(1_000_000, 1 << 20);
    if kind == DiskFaultKind::Full {
        world.disk_mut(leecher).writes_left = Some(writes);
    } else {
        world.break_disk(leecher, Some(kind));
    }
    wait(&mut world, 20);
    let mend = Box::new(move |world: &mut World| {
        world.disk_mut(leecher).writes_left = None;
        world.break_disk(leecher, None);
    });
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn let_loose(world: &mut World, fault: Fault) {
    world.faults.per_mille[fault as usize] = 1000;
    world.faults.on = true;
}

fn checking() -> Stuck {
    let mut world = world(8_000_000);
    let_loose(&mut world, Fault::SlowDisk);
    let seeder = world.add_host(true, config(), &[]);
    wait(&mut world, 20);
    let mend = Box::new(|world: &mut World| world.faults.on = false);
    Stuck { world, subject: Torrent(seeder), mend, is_done: Box::new(move |world| world.host(seeder).is_seeding()) }
}

fn nothing_selected() -> Stuck {
    let mut world = world(300_000);
    let seeder = world.add_host(true, config(), &[]);
    let leecher = world.add_selective_host(Access::default(), false, config(), &[seeder], &[0]);
    wait(&mut world, 20);
    let mend = Box::new(move |world: &mut World| world.select_but(leecher, &[]));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn nobody_known() -> Stuck {
    let mut world = world(300_000);
    let leecher = world.add_host(false, config(), &[]);
    wait(&mut world, 20);
    Stuck { world, subject: Torrent(leecher), mend: send_seeder(leecher), is_done: has_all(leecher) }
}

fn tracker(count: usize, udp: bool, after_s: u64) -> Stuck {
    let mut world = world(300_000);
    for n in 0..count {
        world.add_tracker(udp, None);
        world.silence_tracker(n, FOR_GOOD);
    }
    world.add_host(true, config(), &[]);
    let leecher = world.add_host(false, config(), &[]);
    wait(&mut world, after_s);
    let mend = Box::new(move |world: &mut World| (0..count).for_each(|n| world.mend_tracker(n)));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn nobody_named() -> Stuck {
    let mut world = world(300_000);
    world.add_tracker(false, None);
    let leecher = world.add_host(false, config(), &[]);
    wait(&mut world, 10);
    let mend = Box::new(|world: &mut World| _ = world.add_host(true, config(), &[]));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn only_ourselves() -> Stuck {
    let mut world = world(300_000);
    let leecher = world.add_host(false, config(), &[0]);
    wait(&mut world, 20);
    Stuck { world, subject: Torrent(leecher), mend: send_seeder(leecher), is_done: has_all(leecher) }
}

fn all_banned() -> Stuck {
    let mut world = world(300_000);
    let leecher = world.add_host(false, config(), &[1]);
    world.add_hostile(Fault::CorruptBlock);
    wait(&mut world, 60);
    Stuck { world, subject: Torrent(leecher), mend: send_seeder(leecher), is_done: has_all(leecher) }
}

fn nobody_answers() -> Stuck {
    let (mut world, seeder, leecher) = pair(300_000, 1 << 20);
    world.take_down(seeder);
    wait(&mut world, 20);
    let mend = Box::new(move |world: &mut World| world.bring_back(seeder));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn hanging_dials(of_peer: bool) -> Stuck {
    let mut world = world(300_000);
    let_loose(&mut world, Fault::HangingDial);
    let seeder = world.add_host(true, config(), &[]);
    let leecher = world.add_host(false, config(), &[seeder]);
    wait(&mut world, 4);
    let mend = Box::new(|world: &mut World| world.faults.on = false);
    let subject = if of_peer { Peer(leecher, seeder) } else { Torrent(leecher) };
    Stuck { world, subject, mend, is_done: has_all(leecher) }
}

fn connections_full() -> Stuck {
    let mut world = world(300_000);
    let of_no_use = world.add_host(false, config(), &[]);
    let seeder = world.add_host(true, config(), &[]);
    let narrow = Config { max_connections_per_torrent: 1, ..config() };
    let leecher = world.add_host(false, narrow, &[of_no_use, seeder]);
    wait(&mut world, 20);
    let mend = Box::new(move |world: &mut World| world.take_down(of_no_use));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn no_slots(of_leecher: bool, of_peer: bool) -> Stuck {
    let mut world = world(300_000);
    let seeder = world.add_host(true, Config { upload_slots: 0, ..config() }, &[]);
    let leecher = world.add_host(false, config(), &[seeder]);
    wait(&mut world, 20);
    let mend = Box::new(move |world: &mut World| world.restart_with(seeder, |config| config.upload_slots = 4));
    let subject = match (of_leecher, of_peer) {
        (true, true) => Peer(leecher, seeder),
        (true, false) => Torrent(leecher),
        (false, _) => Torrent(seeder),
    };
    Stuck { world, subject, mend, is_done: has_all(leecher) }
}

fn peers_have_nothing() -> Stuck {
    let mut world = world(300_000);
    let first = world.add_host(false, config(), &[]);
    let second = world.add_host(false, config(), &[first]);
    wait(&mut world, 20);
    Stuck { world, subject: Torrent(first), mend: send_seeder(second), is_done: has_all(first) }
}

fn pieces_nowhere() -> Stuck {
    let (mut world, seeder, first) = pair(1_000_000, 100 << 10);
    let second = world.add_host(false, config(), &[seeder, first]);
    wait(&mut world, 6);
    world.take_down(seeder);
    wait(&mut world, 30);
    let mend = Box::new(move |world: &mut World| world.bring_back(seeder));
    Stuck {
        world,
        subject: Torrent(first),
        mend,
        is_done: Box::new(move |world| has_all(first)(world) && has_all(second)(world)),
    }
}

/// Two who have nothing: neither has something for the other, nor wants something. Of a connection, or of what the torrent sends.
fn nothing_for(of_peer: bool) -> Stuck {
    let mut world = world(300_000);
    let first = world.add_host(false, config(), &[]);
    let second = world.add_host(false, config(), &[first]);
    wait(&mut world, 20);
    let subject = if of_peer { Peer(second, first) } else { Torrent(first) };
    Stuck { world, subject, mend: send_seeder(first), is_done: has_all(second) }
}

fn not_interested() -> Stuck {
    let stuck = nothing_for(false);
    Stuck { subject: Peer(0, 1), ..stuck }
}

fn down_limit(own: bool) -> Stuck {
    let (mut world, _, leecher) = pair(1_000_000, 100 << 10);
    wait(&mut world, 3);
    let whose = own.then_some(TORRENT);
    world.limit(leecher, whose, RateLimits { down: NOTHING, up: 0 });
    wait(&mut world, 30);
    let mend = Box::new(move |world: &mut World| world.limit(leecher, whose, RateLimits::default()));
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

fn buffers_full() -> Stuck {
    let mut world = world(4_000_000);
    let seeder = world.add_host(true, config(), &[]);
    let leecher = world.add_host(false, Config { pool_blocks: 4, ..config() }, &[seeder]);
    world.run_until(seconds(60), |world| world.host(leecher).view().torrents[0].have > 2);
    let_loose(&mut world, Fault::SlowDisk);
    world.run_until(seconds(60), |world| world.host(leecher).view().pool.2 == 4);
    wait(&mut world, 1);
    let mend = Box::new(|world: &mut World| world.faults.on = false);
    Stuck { world, subject: Torrent(leecher), mend, is_done: has_all(leecher) }
}

/// A seeder that gives next to nothing.
fn slow_peer(bytes: u64, after_s: u64, of_peer: bool) -> Stuck {
    let mut world = world(bytes);
    let limits = RateLimits { down: 0, up: NOTHING };
    let seeder = world.add_host(true, Config { limits, ..config() }, &[]);
    let leecher = world.add_host(false, config(), &[seeder]);
    wait(&mut world, after_s);
    let mend = Box::new(move |world: &mut World| world.limit(seeder, None, RateLimits::default()));
    let subject = if of_peer { Peer(leecher, seeder) } else { Torrent(leecher) };
    Stuck { world, subject, mend, is_done: has_all(leecher) }
}

fn up_limit() -> Stuck {
    let stuck = slow_peer(1_000_000, 20, false);
    Stuck { subject: Torrent(0), ..stuck }
}

fn slots_taken(of_peer: bool) -> Stuck {
    let mut world = world(4_000_000);
    let seeder = world.add_host_at(line(32 << 10), true, Config { upload_slots: 1, ..config() }, &[]);
    let served = world.add_host(false, config(), &[seeder]);
    wait(&mut world, 3);
    let waiting = world.add_host(false, config(), &[seeder]);
    wait(&mut world, 8);
    let mend = Box::new(move |world: &mut World| world.take_down(served));
    let subject = if of_peer { Peer(seeder, waiting) } else { Torrent(seeder) };
    let is_done = move |world: &World| world.host(waiting).view().torrents[0].downloaded_bytes > 0;
    Stuck { world, subject, mend, is_done: Box::new(is_done) }
}

impl Stuck {
    fn explain(&self) -> Explanation {
        let (world, now) = (&self.world, self.world.now());
        match self.subject {
            Torrent(host) => world.host(host).explain(now).expect("it has its torrent"),
            Peer(host, other) => {
                let conn = connection(world, host, other).expect("they are connected");
                world.host(host).explain_peer(now, conn).expect("they are connected")
            }
        }
    }

    /// How long it takes until things have gone on; `None` when they do not.
    fn time_to_end(&mut self, patience: Duration) -> Option<Duration> {
        let began = self.world.now();
        while !(self.is_done)(&self.world) {
            if self.world.now().since(began) >= patience {
                return None;
            }
            self.world.run_until(LOOK, |_| false);
        }
        Some(self.world.now().since(began))
    }
}

fn connection(world: &World, host: HostIndex, other: HostIndex) -> Option<ConnId> {
    let ip = IpAddr::V4(*world.addr(other).ip());
    let all = world.host(host).engine().connections(TORRENT);
    all.into_iter().find(|(_, addr)| addr.ip() == ip).map(|(conn, _)| conn)
}

fn first(explanation: &Explanation, side: Side) -> Option<&Cause> {
    match side {
        Down => explanation.down.first(),
        Up => explanation.up.first(),
    }
}

#[test]
fn the_first_cause_is_the_one_whose_removal_restores_progress() {
    let mut wrong = Vec::new();
    for (name, cause, side, build) in SITUATIONS {
        let mut stuck = build();
        let explanation = stuck.explain();
        let told = first(&explanation, *side).map_or("nothing", Cause::name);
        if told != *cause {
            wrong.push(format!("{name}: {told} instead of {cause}: {explanation:?}"));
            continue;
        }
        let mut left_alone = build();
        (stuck.mend)(&mut stuck.world);
        match stuck.time_to_end(PATIENCE) {
            None => wrong.push(format!("{name}: mended, and still stuck: {:?}", stuck.explain())),
            Some(time) if left_alone.time_to_end(time).is_some() => {
                wrong.push(format!("{name}: goes on by itself within {time:?}"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_sentences_say_what_is_wrong() {
    let mut told = String::new();
    for (name, _, _, build) in SITUATIONS {
        let explanation = build().explain();
        told += &format!("{name}\n");
        explanation.down.iter().for_each(|cause| told += &format!("    down: {cause}\n"));
        explanation.up.iter().for_each(|cause| told += &format!("    up:   {cause}\n"));
    }
    insta::assert_snapshot!(told);
}
