//! Every law of a `check_invariants` is broken once by hand, and must be the one that complains. A law without its breach is a failure too.

extern crate std;

use super::harness::{TORRENT, World};
use super::{block, config};
use crate::action::Operation;
use crate::config::{Config, RateLimits};
use crate::engine::{Engine, TimerKind};
use crate::event::{Command, Event};
use crate::id::{ConnId, OpId, TorrentId};
use crate::time::Instant;
use crate::torrent::Shared;
use crate::wire::Message;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A law, in the words of its assertion, and what breaks it.
pub(crate) type Breach<T> = (&'static str, fn(&mut T));

/// Breaks each law of `source` on a fresh `intact` state.
pub(crate) fn check_breaches<T>(source: &str, intact: impl Fn() -> T, check: fn(&T), breaches: &[Breach<T>]) {
    check(&intact());
    let told: BTreeSet<String> = breaches.iter().map(|(law, _)| String::from(*law)).collect();
    assert_eq!(laws_of(source), told, "each law of the source has its breach");
    for (law, breach) in breaches {
        let mut state = intact();
        breach(&mut state);
        assert_eq!(complaint(|| check(&state)).as_deref(), Some(*law));
    }
}

/// A torrent in full work. Of its four pieces, of one block each, the first is had, the second is on its way to the disk, the third is just
/// arriving, the fourth is asked for. One peer gives, one chokes and takes, one chokes; one is dialled, one has not said what it wants.
fn busy() -> World {
    let config = Config { upload_slots: 1, ..config() };
    let mut world = World::tracked(config, vec!["http://10.0.0.9:80/announce"]);
    let giver = world.seed(1, true);
    let taker = world.accept(2);
    world.shake(taker, 2, true);
    world.say_bits(taker, |piece| piece == 0 || piece == 3);
    world.seed(3, true);
    world.say(giver, &Message::Unchoke);
    assert_eq!(world.asked(giver).len(), 4);
    for piece in 0..2 {
        world.give(giver, block(piece, 0));
        let stores = |op: &(OpId, Operation)| matches!(op.1, Operation::Absorb { .. });
        let at = world.ops.iter().position(stores).expect("a piece of one block is stored at once");
        if piece == 0 {
            world.run_op(at);
        }
    }
    let bytes = world.block_bytes(block(2, 0));
    world.send_bytes(giver, &bytes[..5000]);
    world.say(taker, &Message::Interested);
    world.accept(4);
    let peers = vec![([10, 0, 2, 1], 6881).into()];
    world.handle(Event::Command(Command::AddPeers { torrent: TORRENT, peers }));
    world
}

fn check(world: &World) {
    world.engine.check_invariants();
}

#[test]
fn each_law_of_the_engine_is_seen_to_be_broken() {
    fn shared(world: &mut World) -> &mut Shared {
        &mut world.engine.shared
    }
    fn set(world: &mut World, timer: TimerKind, at: Option<Instant>) {
        world.engine.timers.set(timer, at);
    }
    check_breaches(
        include_str!("../mod.rs"),
        busy,
        check,
        &[
            ("a link has one torrent", |world| _ = shared(world).conns.insert(ConnId::accepted(0), TorrentId(9))),
            ("links equal a recount", |world| _ = shared(world).conns.insert(ConnId::dialed(99), TORRENT)),
            ("dials under way equal a recount", |world| shared(world).half_open += 1),
            ("a request has one reservation", |world| assert!(shared(world).pool.reserve())),
            ("buffers are conserved", |world| {
                assert!(shared(world).pool.reserve());
                let _lost = shared(world).pool.take(1);
            }),
            ("what is on the way from afar equals a recount", |world| shared(world).pool.set_far(0, 1)),
            ("peers are looked at in time", |world| set(world, TimerKind::Torrent(TORRENT), None)),
            ("trackers are looked at in time", |world| set(world, TimerKind::Announce(TORRENT), None)),
            ("what all may still receive equals a recount", |world| shared(world).lines.down.bucket.promise(1)),
            ("who waits for a limit has its turn in time", |world| {
                let limits = RateLimits { down: 1000, up: 0 };
                world.handle(Event::Command(Command::SetLimits { torrent: None, limits }));
                let bytes = world.block_bytes(block(2, 0));
                world.send_bytes(ConnId::accepted(0), &bytes[5000..6000]);
                set(world, TimerKind::Limits, None);
            }),
            ("who says nothing is closed in time", |world| set(world, TimerKind::Incoming, None)),
            ("only a shutdown has a deadline", |world| set(world, TimerKind::Shutdown, Some(Instant::from_secs(99)))),
            ("who is awaited to be gone leaves", |world| _ = world.engine.leaving.insert(TORRENT)),
            ("who waits for a buffer is there", |world| _ = shared(world).starved.insert(TorrentId(9))),
            ("each torrent stands in the queue, and nobody else", |world| {
                shared(world).queue.ask(TorrentId(9), None);
            }),
            ("each torrent is found by its info-hash", |world| world.engine.by_hash.clear()),
            ("a timer belongs to something alive", |world| {
                set(world, TimerKind::Torrent(TorrentId(9)), Some(Instant::from_secs(99)));
            }),
            ("who has something to send is on the list once", |world| {
                shared(world).tx_ready.push_back(ConnId::accepted(0));
            }),
        ],
    );
}

#[test]
fn each_law_of_a_torrent_is_seen_to_be_broken() {
    check(&busy());
    let told: BTreeSet<String> = crate::torrent::tests::BREACHES.iter().map(|(law, _)| String::from(*law)).collect();
    assert_eq!(laws_of(include_str!("../../torrent/laws.rs")), told, "each law of the source has its breach");
    for (law, breach) in crate::torrent::tests::BREACHES {
        let mut world = busy();
        let Engine { torrents, shared, .. } = &mut world.engine;
        breach(torrents.get_mut(&TORRENT).unwrap(), shared);
        assert_eq!(complaint(|| check(&world)).as_deref(), Some(*law));
    }
}

/// What a broken law says: the words of its assertion.
fn complaint(check: impl FnOnce()) -> Option<String> {
    let panic = catch_unwind(AssertUnwindSafe(check)).err()?;
    let plain = panic.downcast_ref::<&str>().map(|text| String::from(*text));
    let text = plain.or_else(|| panic.downcast_ref::<String>().cloned())?;
    let words = text.strip_prefix("assertion `left == right` failed: ").unwrap_or(&text);
    words.lines().next().map(String::from)
}

/// The words of all assertions in the functions `check_…` of a source.
fn laws_of(source: &str) -> BTreeSet<String> {
    let mut laws = BTreeSet::new();
    for body in source.split("fn check_").skip(1) {
        let body = body.split("\n    }\n").next().unwrap_or_default();
        let asserted: Vec<&str> = body.split("assert").skip(1).collect();
        laws.extend(asserted.iter().filter_map(|rest| rest.split('"').nth(1)).map(String::from));
    }
    laws
}

#[test]
fn laws_are_found_in_a_source() {
    let source = "fn check_invariants(&self) {\n assert!(a, \"one\");\n assert_eq!(\n a,\n b,\n \"two\"\n );\n    }\n fn other() { assert!(a, \"no\"); }";
    assert_eq!(laws_of(source).into_iter().collect::<Vec<_>>(), ["one", "two"]);
}
