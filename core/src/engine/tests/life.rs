//! Paused, resumed, removed, checked again, moved, renamed: what each command does in each state.

use super::harness::{INFO_HASH, TORRENT, World};
use super::{block, config};
use crate::action::{CloseReason, FileStat, Notice, Operation, Refusal};
use crate::config::{Config, RateLimits};
use crate::engine::{Engine, TimerKind};
use crate::event::{AddTorrent, Command, Event};
use crate::id::{BLOCK_LEN, FileIndex, Folder, InfoHash, TorrentId};
use crate::resume::ResumeData;
use crate::time::{Duration, Instant};
use crate::view::TorrentState::{self, *};
use crate::wire::Message;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

const PIECE: u32 = 4 * BLOCK_LEN;
const PAUSE: fn() -> Command = || Command::Pause { torrent: Some(TORRENT) };
const RESUME: fn() -> Command = || Command::Resume { torrent: None };
const RECHECK: fn() -> Command = || Command::Recheck { torrent: TORRENT };

fn tell(world: &mut World, command: Command) {
    world.handle(Event::Command(command));
}

fn state(world: &World) -> TorrentState {
    world.torrent().state
}

fn refusals(world: &World) -> Vec<Refusal> {
    let refusal = |notice: &Notice| if let Notice::Refused { why, .. } = notice { Some(*why) } else { None };
    world.notices.iter().filter_map(refusal).collect()
}

/// A seed that gives whatever it is asked for.
fn served(world: &mut World, host: u8, blocks: usize) {
    let peer = world.seed(host, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, blocks);
}

#[test]
fn a_paused_torrent_closes_its_peers_lets_nobody_in_and_keeps_what_it_has_received() {
    let mut world = World::with_peers(6, PIECE, false, config(), vec![([10, 0, 9, 9], 7000).into()]);
    world.disk_works = false;
    served(&mut world, 1, 9);
    assert_eq!(world.dials.len(), 1);
    tell(&mut world, PAUSE());
    assert_eq!((state(&world), world.torrent().paused), (Paused, true));
    assert_eq!((world.peers.len(), world.dials.len(), world.engine.view().connections), (0, 0, 0));
    assert!(world.closed.values().all(|reason| *reason == CloseReason::Paused));
    world.run_disk();
    assert_eq!((world.torrent().have, world.pool()), (2, (0, 0)), "what was here is on the disk");
    let late = world.accept(2);
    world.shake(late, 2, true);
    assert_eq!(world.closed[&late], CloseReason::Paused);
    world.pass(Duration::from_secs(3600));
    assert!(world.dials.is_empty() && world.ops.is_empty());
    tell(&mut world, RESUME());
    assert_eq!(state(&world), Downloading);
    world.disk_works = true;
    assert_eq!(world.dials.len(), 1, "it is dialled again");
    served(&mut world, 3, 100);
    assert_eq!(state(&world), Seeding);
    let useful = world.torrent().downloaded_bytes - world.torrent().wasted_bytes;
    assert_eq!(useful, world.torrent().total_bytes, "the ninth block was not asked for again");
    world.audit();
}

#[test]
fn a_pause_stops_a_check_and_resuming_goes_on_where_it_stood() {
    let config = Config { check_parallelism: 2, ..config() };
    let mut world = World::unchecked(6, PIECE, true, config, vec![]);
    world.run_op(0);
    world.run_op(0);
    assert_eq!((state(&world), world.ops.len()), (Checking, 2));
    tell(&mut world, PAUSE());
    world.run_op(0);
    world.run_op(0);
    assert_eq!((state(&world), world.ops.len(), world.torrent().have), (Paused, 0, 3));
    tell(&mut world, RESUME());
    assert_eq!((state(&world), world.ops.len()), (Checking, 2));
    world.run_disk();
    assert_eq!((state(&world), world.torrent().have), (Seeding, 6));
    let hashed = world.notices.iter().filter(|notice| matches!(notice, Notice::Checked { .. })).count();
    assert_eq!(hashed, 1);
    world.audit();
}

#[test]
fn a_torrent_added_paused_looks_at_nothing_until_it_is_resumed() {
    let mut world = World::unchecked(2, PIECE, true, config(), vec![]);
    world.run_disk();
    tell(&mut world, Command::Remove { torrent: TORRENT, delete_data: false });
    let add = AddTorrent { paused: true, ..world.as_new(TORRENT) };
    tell(&mut world, Command::Add(Box::new(add)));
    assert_eq!((state(&world), world.ops.len(), world.engine.poll_timeout()), (Paused, 0, None));
    tell(&mut world, RESUME());
    world.run_disk();
    assert_eq!(state(&world), Seeding);
    world.audit();
}

#[test]
fn paused_trackers_hear_stopped_and_resuming_says_started_again() {
    let mut world = World::tracked(config(), vec!["http://10.0.0.9:80/announce"]);
    let event = |world: &World| {
        let fetch = world.ops.iter().find_map(|(_, operation)| match operation {
            Operation::Fetch(fetch) => Some(fetch.target.clone()),
            _ => None,
        });
        fetch.and_then(|target| Some(String::from(target.split("event=").nth(1)?.split('&').next()?)))
    };
    world.answer_fetch(b"d8:completei1e8:intervali1800e5:peers0:e".to_vec());
    tell(&mut world, PAUSE());
    assert_eq!(event(&world).as_deref(), Some("stopped"));
    world.answer_fetch(b"d8:completei1e8:intervali1800e5:peers0:e".to_vec());
    world.pass(Duration::from_secs(7200));
    assert!(world.ops.is_empty(), "silent");
    tell(&mut world, Command::Reannounce { torrent: TORRENT });
    let urls = vec![String::from("http://10.0.0.8:80/announce")];
    tell(&mut world, Command::AddTrackers { torrent: TORRENT, urls });
    assert!(world.ops.is_empty(), "silent whatever is asked");
    tell(&mut world, RESUME());
    assert_eq!(event(&world).as_deref(), Some("started"));
}

#[test]
fn a_removed_torrent_is_gone_when_the_disk_has_answered_and_can_be_added_again() {
    for delete_data in [false, true] {
        let mut world = World::new(6, PIECE, false, config());
        world.disk_works = false;
        served(&mut world, 1, 9);
        tell(&mut world, Command::Remove { torrent: TORRENT, delete_data });
        assert_eq!(state(&world), Stopped);
        tell(&mut world, PAUSE());
        let add = |world: &World| world.as_new(TorrentId(2));
        let early = add(&world);
        tell(&mut world, Command::Add(Box::new(early)));
        assert_eq!(refusals(&world), [Refusal::Leaving, Refusal::AlreadyThere(TORRENT)]);
        let deletes = |world: &World| world.ops.iter().any(|(_, op)| matches!(op, Operation::Delete { .. }));
        assert!(!deletes(&world), "not before the writes have ended");
        world.run_disk();
        assert_eq!(world.notices.last(), Some(&Notice::Removed { torrent: TORRENT, fault: None }));
        let view = world.engine.view();
        assert_eq!((view.torrents.len(), view.operations, view.connections, view.pool.2), (0, 0, 0, 0));
        let timer = world.engine.poll_timeout();
        assert!(timer.is_none_or(|(_, kind)| kind == TimerKind::Incoming), "{timer:?}");
        let again = add(&world);
        tell(&mut world, Command::Add(Box::new(again)));
        world.run_disk();
        assert_eq!(state(&world), Downloading);
        tell(&mut world, PAUSE());
        assert_eq!(refusals(&world)[2..], [Refusal::Unknown], "the old number is unknown");
        world.audit();
    }
}

#[test]
fn a_check_that_is_asked_for_finds_damage_and_fetches_it_again() {
    let mut world = World::new(4, PIECE, true, config());
    assert_eq!(state(&world), Seeding);
    let peer = world.accept(1);
    world.shake(peer, 1, true);
    world.spoil(PIECE as usize);
    world.disk_works = false;
    tell(&mut world, RECHECK());
    assert_eq!(state(&world), Checking);
    assert_eq!(world.closed[&peer], CloseReason::NotReady);
    tell(&mut world, RECHECK());
    world.run_disk();
    world.disk_works = true;
    assert_eq!((state(&world), world.torrent().have), (Downloading, 3));
    served(&mut world, 2, 100);
    assert_eq!(state(&world), Seeding);
    let complete = world.notices.iter().filter(|notice| matches!(notice, Notice::Complete { .. })).count();
    assert_eq!(complete, 2);
    world.audit();
}

#[test]
fn a_check_in_mid_download_throws_open_pieces_away_and_counts_them_as_wasted() {
    let mut world = World::new(6, PIECE, false, config());
    served(&mut world, 1, 9);
    world.disk_works = false;
    tell(&mut world, RECHECK());
    world.run_disk();
    world.disk_works = true;
    assert_eq!((world.torrent().have, world.torrent().wasted_bytes), (2, u64::from(BLOCK_LEN)));
    served(&mut world, 2, 100);
    let view = world.torrent();
    assert_eq!((view.state, view.downloaded_bytes - view.wasted_bytes), (Seeding, view.total_bytes));
    world.audit();
}

#[test]
fn a_paused_torrent_can_be_checked_and_is_paused_afterwards() {
    let mut world = World::new(4, PIECE, true, config());
    tell(&mut world, PAUSE());
    tell(&mut world, RECHECK());
    assert_eq!((state(&world), world.torrent().have), (Paused, 4));
    assert_eq!(world.notices.iter().filter(|notice| matches!(notice, Notice::Checked { .. })).count(), 2);
    // A pause ends also that.
    world.disk_works = false;
    tell(&mut world, RECHECK());
    assert_eq!(state(&world), Checking);
    tell(&mut world, PAUSE());
    world.run_disk();
    assert_eq!((state(&world), world.ops.len()), (Paused, 0));
    tell(&mut world, RESUME());
    world.run_disk();
    assert_eq!((state(&world), world.torrent().have), (Seeding, 4));
    world.audit();
}

#[test]
fn files_are_moved_when_no_write_is_under_way_and_the_torrent_goes_on() {
    let to = || Folder(b"elsewhere".to_vec());
    for full in [false, true] {
        let mut world = World::new(6, PIECE, false, config());
        world.disk_works = false;
        served(&mut world, 1, 9);
        tell(&mut world, Command::Move { torrent: TORRENT, to: to() });
        assert_eq!((state(&world), world.engine.view().connections), (Moving, 0));
        let moves = |world: &World| world.ops.iter().any(|(_, op)| matches!(op, Operation::Move { .. }));
        assert!(!moves(&world));
        tell(&mut world, Command::Move { torrent: TORRENT, to: to() });
        assert_eq!(refusals(&world), [Refusal::Moving]);
        while !moves(&world) {
            world.run_op(0);
        }
        assert_eq!(world.ops.len(), 1, "nothing else touches the disk meanwhile");
        world.disk_full = full;
        world.run_disk();
        world.disk_full = false;
        let moved = world.notices.iter().any(|n| *n == Notice::Moved { torrent: TORRENT, to: to() });
        let stayed = world.notices.iter().any(|n| matches!(n, Notice::NotMoved { .. }));
        assert_eq!((moved, stayed, state(&world)), (!full, full, Downloading));
        world.disk_works = true;
        served(&mut world, 2, 100);
        assert_eq!(state(&world), Seeding);
        world.audit();
    }
}

#[test]
fn names_are_cleaned_and_one_that_cannot_be_used_is_refused() {
    let mut world = World::new(2, PIECE, true, config());
    let rename = |world: &mut World, file, name: &str| {
        let name = String::from(name);
        tell(world, Command::Rename { torrent: TORRENT, file, name });
    };
    rename(&mut world, Some(FileIndex(7)), "x");
    rename(&mut world, None, "..");
    rename(&mut world, None, "../a\u{202e}b/");
    assert_eq!(refusals(&world), [Refusal::NoSuchFile, Refusal::BadName]);
    let element = |name: &str| vec![String::from(name)];
    let renamed = Notice::Renamed { torrent: TORRENT, from: element("file"), to: element(".._a_b_") };
    assert!(world.notices.contains(&renamed), "{:?}", world.notices);
    assert_eq!(state(&world), Seeding);
    // From now on that is its name.
    rename(&mut world, Some(FileIndex(0)), "again");
    let again = Notice::Renamed { torrent: TORRENT, from: element(".._a_b_"), to: element("again") };
    assert!(world.notices.contains(&again), "{:?}", world.notices);
    world.audit();
}

#[test]
fn what_is_unknown_is_refused_and_nothing_panics() {
    let mut engine = Engine::new(config(), [1; 32], Instant::ZERO, 0);
    let torrent = TorrentId(9);
    let commands = [
        Command::Pause { torrent: Some(torrent) },
        Command::Resume { torrent: Some(torrent) },
        Command::Remove { torrent, delete_data: true },
        Command::Recheck { torrent },
        Command::Reannounce { torrent },
        Command::AddTrackers { torrent, urls: vec![] },
        Command::ReplaceTrackers { torrent, tiers: vec![] },
        Command::AddPeers { torrent, peers: vec![] },
        Command::SetLimits { torrent: Some(torrent), limits: RateLimits::default() },
        Command::Move { torrent, to: Folder(vec![]) },
        Command::Rename { torrent, file: None, name: String::new() },
    ];
    for command in commands {
        engine.handle(Instant::ZERO, Event::Command(command));
        let refused = Notice::Refused { torrent, why: Refusal::Unknown };
        assert!(matches!(engine.poll_action(), Some(crate::action::Action::Notify(notice)) if notice == refused));
        engine.check_invariants();
    }
    let _ = InfoHash::V1(INFO_HASH);
}

#[test]
fn a_shutdown_waits_for_a_move_that_is_under_way() {
    let mut world = World::new(2, PIECE, true, config());
    world.disk_works = false;
    tell(&mut world, Command::Move { torrent: TORRENT, to: Folder(b"there".to_vec()) });
    tell(&mut world, Command::Shutdown);
    assert!(!world.notices.contains(&Notice::ShutDown));
    world.run_disk();
    let told = world.notices.iter().rev().take(2).collect::<Vec<_>>();
    assert!(matches!(told[..], [Notice::ShutDown, Notice::Moved { .. }]), "{told:?}");
    world.audit();
}

#[test]
fn what_came_while_the_disk_refused_goes_home_with_its_torrent() {
    for command in [Command::Remove { torrent: TORRENT, delete_data: false }, Command::Shutdown] {
        let mut world = World::new(6, BLOCK_LEN, false, config());
        let peer = world.seed(1, true);
        world.say(peer, &Message::Unchoke);
        let [first, second] = [0, 1].map(|n| world.asked(peer)[n]);
        world.disk_works = false;
        world.give(peer, first);
        let bytes = world.block_bytes(second);
        world.send_bytes(peer, &bytes[..100]);
        world.disk_full = true;
        world.run_disk();
        assert_eq!(state(&world), Troubled);
        world.send_bytes(peer, &bytes[100..]);
        assert_eq!(world.pool(), (0, 1), "the block that was arriving is kept for when the disk works again");
        tell(&mut world, command);
        world.run_disk();
        world.pass(Duration::from_secs(10));
        assert_eq!(world.pool(), (0, 0));
        world.audit();
    }
}

#[test]
fn trouble_that_came_before_a_pause_is_looked_at_again_when_it_goes_on() {
    let mut world = World::new(6, PIECE, false, config());
    world.disk_full = true;
    served(&mut world, 1, 5);
    assert_eq!(state(&world), Troubled);
    tell(&mut world, PAUSE());
    world.pass(Duration::from_secs(3600));
    assert_eq!(world.engine.poll_timeout(), None, "it does not even look");
    assert!(world.torrent().trouble.is_some());
    world.disk_full = false;
    tell(&mut world, RESUME());
    world.pass(Duration::from_secs(2));
    assert_eq!((state(&world), world.torrent().trouble), (Downloading, None));
    served(&mut world, 2, 100);
    assert_eq!(state(&world), Seeding);
    world.audit();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pause,
    Resume,
    Recheck,
    Remove(bool),
    Add,
    Move,
    Rename,
    Seed,
    Serve,
    Disk,
    Full(bool),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    use Step::*;
    prop_oneof![
        2 => Just(Pause),
        3 => Just(Resume),
        1 => Just(Recheck),
        1 => any::<bool>().prop_map(Remove),
        2 => Just(Add),
        1 => Just(Move),
        1 => Just(Rename),
        2 => Just(Seed),
        6 => Just(Serve),
        6 => Just(Disk),
        1 => any::<bool>().prop_map(Full),
        1 => (0u8..40).prop_map(Pass),
    ]
}

proptest! {
    /// The harness checks every law after each event.
    #[test]
    fn whatever_is_commanded_in_mid_everything_no_law_breaks_and_it_can_be_shut_down(
        steps in proptest::collection::vec(step(), 0..80),
        keep_resume: bool,
    ) {
        let config = Config { check_parallelism: 2, pool_blocks: 6, keep_resume, ..config() };
        let mut world = World::unchecked(5, PIECE, false, config, vec![]);
        let mut host = 0;
        for step in steps {
            let there = !world.engine.view().torrents.is_empty();
            match step {
                Step::Pause => tell(&mut world, PAUSE()),
                Step::Resume => tell(&mut world, RESUME()),
                Step::Recheck => tell(&mut world, RECHECK()),
                Step::Remove(delete_data) => tell(&mut world, Command::Remove { torrent: TORRENT, delete_data }),
                Step::Add if !there => world.add(vec![], vec![]),
                Step::Move => tell(&mut world, Command::Move { torrent: TORRENT, to: Folder(vec![1]) }),
                Step::Rename => {
                    let name = String::from(if host % 2 == 0 { "one" } else { "two" });
                    tell(&mut world, Command::Rename { torrent: TORRENT, file: None, name });
                }
                Step::Seed if there && host < 250 => {
                    host += 1;
                    let peer = world.seed(host, host % 2 == 0);
                    world.say(peer, &Message::Unchoke);
                }
                Step::Serve => {
                    let peers: Vec<_> = world.peers.keys().copied().collect();
                    peers.into_iter().for_each(|peer| world.serve(peer, 2));
                }
                Step::Disk if !world.ops.is_empty() => world.run_op(0),
                Step::Full(full) => world.disk_full = full,
                Step::Pass(seconds) => world.pass(Duration::from_secs(u64::from(seconds))),
                Step::Add | Step::Seed | Step::Disk => {}
            }
            if there && !world.engine.view().torrents.is_empty() && world.torrent().paused {
                prop_assert!(world.peers.len() <= world.engine.view().connections as usize);
            }
        }
        world.disk_full = false;
        world.audit();
    }
}

#[test]
fn each_block_of_a_paused_piece_is_kept_wherever_it_stands() {
    let mut world = World::new(2, PIECE, false, config());
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    for place in [block(0, 3), block(0, 1), block(1, 2)] {
        world.give(peer, place);
    }
    tell(&mut world, PAUSE());
    assert_eq!(world.pool(), (0, 0), "no buffer waits");
    tell(&mut world, RESUME());
    served(&mut world, 2, 100);
    let view = world.torrent();
    assert_eq!((view.state, view.downloaded_bytes), (Seeding, view.total_bytes), "nothing came twice");
    world.audit();
}

/// A torrent in this state, with the disk held up from now on.
fn in_state(state: TorrentState) -> World {
    let config = Config { check_parallelism: 2, keep_resume: true, ..config() };
    let mut world = World::unchecked(6, PIECE, matches!(state, Checking | Seeding), config, vec![]);
    if state != Checking {
        world.run_disk();
    }
    world.disk_works = state != Checking;
    world.disk_full = state == Troubled;
    if !matches!(state, Checking | Seeding) {
        served(&mut world, 1, 5);
    }
    world.disk_works = false;
    match state {
        Paused => tell(&mut world, PAUSE()),
        Moving => tell(&mut world, Command::Move { torrent: TORRENT, to: Folder(vec![1]) }),
        Stopped => tell(&mut world, Command::Remove { torrent: TORRENT, delete_data: true }),
        _ => {}
    }
    assert_eq!(self::state(&world), state);
    world
}

#[test]
fn each_command_in_each_state_does_what_the_table_says() {
    const STATES: [TorrentState; 7] = [Checking, Downloading, Seeding, Paused, Troubled, Moving, Stopped];
    let (torrent, name) = (TORRENT, || String::from("other"));
    let told = |state: TorrentState| move |_: TorrentState| state;
    let stays = |state: TorrentState| state;
    let unless_moving = |to: TorrentState| move |state: TorrentState| if state == Moving { Moving } else { to };
    type Row = (Box<dyn Fn() -> Command>, Box<dyn Fn(TorrentState) -> TorrentState>);
    let rows: Vec<Row> = vec![
        (Box::new(PAUSE), Box::new(unless_moving(Paused))),
        (Box::new(RESUME), Box::new(|state| if state == Paused { Downloading } else { state })),
        (Box::new(RECHECK), Box::new(unless_moving(Checking))),
        (Box::new(move || Command::Remove { torrent, delete_data: true }), Box::new(told(Stopped))),
        (Box::new(move || Command::Remove { torrent, delete_data: false }), Box::new(told(Stopped))),
        (Box::new(move || Command::Move { torrent, to: Folder(vec![2]) }), Box::new(told(Moving))),
        (Box::new(move || Command::Rename { torrent, file: None, name: name() }), Box::new(told(Moving))),
        (Box::new(move || Command::Reannounce { torrent }), Box::new(stays)),
        (
            Box::new(move || Command::AddTrackers { torrent, urls: vec![String::from("http://10.0.0.9/a")] }),
            Box::new(stays),
        ),
        (Box::new(move || Command::ReplaceTrackers { torrent, tiers: vec![] }), Box::new(stays)),
        (Box::new(move || Command::AddPeers { torrent, peers: vec![([10, 0, 9, 9], 7000).into()] }), Box::new(stays)),
        (
            Box::new(move || Command::SetLimits { torrent: Some(torrent), limits: RateLimits { down: 9, up: 9 } }),
            Box::new(stays),
        ),
        (Box::new(|| Command::Shutdown), Box::new(told(Stopped))),
    ];
    for (command, becomes) in rows {
        for before in STATES {
            let mut world = in_state(before);
            tell(&mut world, command());
            let after = if before == Stopped { Stopped } else { becomes(before) };
            assert_eq!(state(&world), after, "{before:?}: {:?}", command());
            let refused = match (before, command()) {
                (_, Command::Shutdown) | (Stopped, Command::Resume { .. }) => None,
                (Stopped, _) => Some(Refusal::Leaving),
                (Moving, Command::Move { .. } | Command::Rename { .. }) => Some(Refusal::Moving),
                _ => None,
            };
            assert_eq!(refusals(&world), Vec::from_iter(refused), "{before:?}: {:?}", command());
            world.disk_full = false;
            world.run_disk();
            world.audit();
        }
    }
}

fn keeping() -> Config {
    Config { keep_resume: true, ..config() }
}

fn resume_of(world: &World) -> ResumeData {
    let bytes = world.saved.as_ref().expect("resume data was saved");
    ResumeData::parse(bytes, InfoHash::V1(INFO_HASH), &world.meta.layout).expect("it can be read")
}

/// The first words of what waits at the disk.
fn at_the_disk(world: &World) -> Vec<String> {
    let word = |operation: &Operation| {
        let text = format!("{operation:?}");
        String::from(text.split([' ', '(']).next().unwrap_or_default())
    };
    world.ops.iter().map(|(_, operation)| word(operation)).collect()
}

#[test]
fn a_pause_saves_what_is_there_and_then_nothing_more() {
    let mut world = World::new(6, PIECE, false, keeping());
    served(&mut world, 1, 9);
    assert_eq!(world.saved, None, "not yet due");
    tell(&mut world, PAUSE());
    let resume = resume_of(&world);
    assert_eq!((resume.have.count(), resume.paused), (2, true));
    world.pass(Duration::from_secs(3600));
    assert_eq!((world.torrent().checkpoints, world.engine.poll_timeout()), (1, None));
    assert_eq!(resume_of(&world).history.active_s, 0);
    tell(&mut world, RESUME());
    world.pass(Duration::from_secs(700));
    let resume = resume_of(&world);
    assert!(!resume.paused);
    assert!((600..=700).contains(&resume.history.active_s), "{:?}: a pause does not count", resume.history);
    world.audit();
}

#[test]
fn a_pause_waits_for_the_last_write_before_it_saves_and_tries_again_when_that_fails() {
    let mut world = World::new(6, PIECE, false, keeping());
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 3);
    world.disk_works = false;
    world.serve(peer, 1);
    assert_eq!(at_the_disk(&world), ["Absorb"]);
    tell(&mut world, PAUSE());
    assert_eq!(at_the_disk(&world), ["Absorb"]);
    world.saves_fail = true;
    world.run_op(0);
    assert_eq!((world.torrent().have, at_the_disk(&world)), (1, vec![String::from("Sync")]));
    world.run_disk();
    assert_eq!(world.torrent().checkpoints, 0);
    (world.saves_fail, world.disk_works) = (false, true);
    world.pass(Duration::from_secs(3600));
    assert_eq!((world.torrent().checkpoints, resume_of(&world).have.count()), (1, 1));
    world.audit();
}

#[test]
fn resume_data_goes_with_its_torrent_and_no_checkpoint_is_made_on_the_way_out() {
    for delete_data in [false, true] {
        let mut world = World::new(6, PIECE, false, keeping());
        served(&mut world, 1, 5);
        world.pass(Duration::from_secs(31));
        assert!(world.saved.is_some());
        served(&mut world, 2, 4);
        world.disk_works = false;
        world.pass(Duration::from_secs(31));
        assert_eq!(at_the_disk(&world), ["Sync"], "a checkpoint is under way");
        tell(&mut world, Command::Remove { torrent: TORRENT, delete_data });
        assert_eq!(at_the_disk(&world), ["Sync"]);
        world.run_op(0);
        assert_eq!(at_the_disk(&world), ["Delete"]);
        assert_eq!(world.torrent().have, if delete_data { 0 } else { 2 }, "what is just deleted is not had");
        world.run_disk();
        assert_eq!(world.notices.last(), Some(&Notice::Removed { torrent: TORRENT, fault: None }));
        assert_eq!((world.saved.is_some(), world.file.is_some()), (false, !delete_data));
        world.audit();
        assert_eq!(world.saved, None);
    }
}

#[test]
fn a_removal_while_files_are_being_made_leaves_no_resume_data() {
    let mut world = World::unchecked(2, PIECE, false, keeping(), vec![]);
    world.run_op(0);
    assert_eq!(at_the_disk(&world), ["Prepare"]);
    tell(&mut world, Command::Remove { torrent: TORRENT, delete_data: false });
    world.run_op(0);
    assert_eq!(at_the_disk(&world), ["Delete"]);
    world.run_op(0);
    assert_eq!((world.ops.len(), world.saved.clone()), (0, None));
    assert_eq!(world.notices.last(), Some(&Notice::Removed { torrent: TORRENT, fault: None }));
}

#[test]
fn a_check_that_is_asked_for_believes_no_resume_data_and_is_saved_when_it_has_ended() {
    let mut world = World::new(4, PIECE, true, keeping());
    world.handle(Event::Command(Command::Shutdown));
    let saved = world.saved.clone();
    world.rot(1, 0);
    world.restart(keeping(), saved, false);
    assert_eq!((state(&world), world.torrent().hashed), (Seeding, 0), "nothing tells of the rot");
    tell(&mut world, RECHECK());
    assert_eq!((state(&world), world.torrent().hashed, world.torrent().have), (Downloading, 4, 3));
    world.pass(Duration::from_secs(31));
    assert_eq!(resume_of(&world).have.iter_ones().map(|piece| piece.0).collect::<Vec<_>>(), [0, 2, 3]);
    tell(&mut world, PAUSE());
    tell(&mut world, RECHECK());
    assert_eq!((state(&world), world.torrent().checkpoints), (Paused, 3), "also when it is paused, at once");
    world.audit();
}

#[test]
fn what_was_received_of_open_pieces_is_lost_when_everything_is_checked_again() {
    let mut world = World::new(6, PIECE, false, config());
    served(&mut world, 1, 9);
    assert_eq!(world.torrent().ledger.undecided, u64::from(BLOCK_LEN));
    tell(&mut world, RECHECK());
    let ledger = world.torrent().ledger;
    assert_eq!((ledger.undecided, ledger.lost, ledger.verified), (0, u64::from(BLOCK_LEN), u64::from(2 * PIECE)));
    world.audit();
}

#[test]
fn a_checkpoint_and_a_move_have_the_disk_one_after_the_other() {
    let mut world = World::new(6, PIECE, false, keeping());
    served(&mut world, 1, 4);
    world.disk_works = false;
    world.pass(Duration::from_secs(31));
    tell(&mut world, Command::Move { torrent: TORRENT, to: Folder(b"x".to_vec()) });
    for step in ["Sync", "Stat", "SaveResume", "Move"] {
        assert_eq!(at_the_disk(&world), [step]);
        if step != "Move" {
            world.run_op(0);
        }
    }
    world.pass(Duration::from_secs(7200));
    assert_eq!(at_the_disk(&world), ["Move"]);
    world.run_disk();
    world.disk_works = true;
    served(&mut world, 2, 4);
    world.pass(Duration::from_secs(31));
    assert_eq!(resume_of(&world).have.count(), 2, "what was claimed before the move still is");
    world.audit();
}

#[test]
fn a_file_that_does_not_look_as_before_after_a_move_is_hashed_at_the_next_start() {
    let mut world = World::new(6, PIECE, false, keeping());
    served(&mut world, 1, 5);
    world.pass(Duration::from_secs(31));
    assert_eq!(resume_of(&world).have.count(), 1);
    // A file system that keeps whole seconds.
    let file = world.file.map(|stat| FileStat { mtime_unix_ns: 1_000_000_000, ..stat });
    tell(&mut world, Command::Move { torrent: TORRENT, to: Folder(b"x".to_vec()) });
    world.file = file;
    tell(&mut world, PAUSE());
    let saved = world.saved.clone();
    world.restart(keeping(), saved, false);
    assert_eq!((world.torrent().have, world.torrent().hashed), (1, 4), "all that the file reaches into is hashed");
    world.audit();
}

#[test]
fn evidence_is_read_no_more_once_a_torrent_is_paused() {
    let mut world = World::new(1, PIECE, false, config());
    let (liar, honest) = (world.seed(1, false), world.seed(2, false));
    world.say(liar, &Message::Unchoke);
    let first = world.asked(liar)[0];
    world.give_corrupt(liar, first);
    world.say(liar, &Message::Choke);
    world.say(honest, &Message::Unchoke);
    world.disk_works = false;
    world.serve(honest, 3);
    while !world.ops.iter().any(|(_, op)| matches!(op, Operation::Hash { .. })) {
        assert!(!world.ops.is_empty(), "the failed piece is investigated");
        world.run_op(0);
    }
    tell(&mut world, PAUSE());
    world.run_disk();
    assert_eq!((state(&world), world.ops.len()), (Paused, 0));
    world.audit();
}

#[test]
fn who_waits_for_a_limit_leaves_the_line_with_its_torrent() {
    let limits = RateLimits { down: 20_000, up: 20_000 };
    let mut world = World::new(6, PIECE, false, Config { limits, ..config() });
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    (0..40).for_each(|_| world.say(peer, &Message::KeepAlive));
    tell(&mut world, PAUSE());
    world.pass(Duration::from_secs(10));
    assert_eq!(world.engine.poll_timeout(), None, "nobody waits any more");
    tell(&mut world, RESUME());
    served(&mut world, 2, 3);
    tell(&mut world, Command::Remove { torrent: TORRENT, delete_data: false });
    world.add(vec![], vec![]);
    assert_eq!(state(&world), Downloading);
    world.audit();
}
