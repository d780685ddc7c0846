//! What is asked for, of whom, and what becomes of the blocks.

use super::config;
use super::harness::{Said, TORRENT, World};
use crate::action::CloseReason;
use crate::config::Config;
use crate::event::{Command, Event};
use crate::fault::{DiskFault, DiskFaultKind, PeerFault};
use crate::id::{BLOCK_LEN, ConnId, InfoHash, PieceIndex, TorrentId};
use crate::time::Duration;
use crate::view::TorrentState;
use crate::wire::{BlockRequest, Message};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

const PIECE: u32 = 4 * BLOCK_LEN;

fn complete(world: &World) -> bool {
    world.torrent().state == TorrentState::Seeding
}

#[test]
fn nothing_is_asked_for_while_choked_and_everything_is_fetched_once_unchoked() {
    let mut world = World::new(6, PIECE, false, config());
    let peer = world.seed(1, false);
    assert!(world.news(peer).contains(&Said::Plain("interested")));
    assert!(world.asked(peer).is_empty());
    world.say(peer, &Message::Unchoke);
    assert!(!world.asked(peer).is_empty());
    world.serve(peer, 1000);
    assert!(complete(&world));
    assert_eq!(world.torrent().wasted_bytes, 0);
    world.audit();
}

#[test]
fn a_choke_takes_the_requests_back_and_others_get_them() {
    let mut world = World::new(1, PIECE, false, config());
    let (a, b) = (world.seed(1, false), world.seed(2, false));
    world.say(a, &Message::Unchoke);
    assert_eq!(world.asked(a).len(), 4);
    world.say(a, &Message::Choke);
    assert_eq!(world.pool(), (0, 0));
    world.say(b, &Message::Unchoke);
    assert_eq!(world.asked(b).len(), 4);
    world.serve(b, 4);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn with_the_fast_extension_a_choke_alone_takes_nothing_back() {
    let mut world = World::new(1, PIECE, false, config());
    let a = world.seed(1, true);
    world.say(a, &Message::Unchoke);
    world.say(a, &Message::Choke);
    assert_eq!(world.pool().0, 4, "each request is yet to be answered");
    for request in world.asked(a) {
        world.say(a, &Message::RejectRequest(request));
    }
    assert_eq!(world.pool(), (0, 0));
    world.audit();
}

#[test]
fn only_pieces_that_the_peer_has_are_asked_for() {
    let mut world = World::new(8, PIECE, false, config());
    let peer = world.accept(1);
    world.shake(peer, 1, false);
    world.say_bits(peer, |piece| piece == 3);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 100);
    assert_eq!(world.torrent().have, 1);
    assert!(world.news(peer).contains(&Said::Plain("not interested")), "there is nothing more to want");
    world.say(peer, &Message::Have(PieceIndex(5)));
    assert!(world.news(peer).contains(&Said::Plain("interested")));
    world.serve(peer, 100);
    assert_eq!(world.torrent().have, 2);
    world.audit();
}

#[test]
fn a_peer_with_much_to_send_is_asked_for_more_in_batches_and_one_with_little_at_once() {
    let mut world = World::new(200, PIECE, false, Config { pool_blocks: 256, ..config() });
    let peer = world.seed(1, true);
    world.say(peer, &Message::Unchoke);
    let mut batches = Vec::new();
    while let Some(request) = world.asked(peer).first().copied() {
        let before = world.asked(peer).len();
        world.give(peer, request);
        let batch = world.asked(peer).len() + 1 - before;
        if batch > 0 {
            batches.push((before - 1, batch));
        }
    }
    assert!(complete(&world));
    assert_eq!(batches[0], (7, 2), "the window grows by one with each block");
    assert!(batches.iter().any(|(under_way, batch)| *under_way > 100 && *batch > 12));
    let small = batches.iter().rev().skip(1).find(|(under_way, batch)| batch < &(under_way / 8));
    assert_eq!(small, None, "each but the last is worth its message");
    world.audit();
}

#[test]
fn a_silent_peer_is_snubbed_and_its_blocks_go_to_others() {
    let mut world = World::new(1, PIECE, false, config());
    let (silent, other) = (world.seed(1, false), world.seed(2, false));
    world.say(silent, &Message::Unchoke);
    assert_eq!(world.asked(silent).len(), 4);
    world.pass(Duration::from_secs(31));
    world.say(other, &Message::Unchoke);
    world.serve(other, 10);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_peer_that_rejects_everything_does_not_keep_the_only_buffer() {
    let mut world = World::new(4, PIECE, false, Config { pool_blocks: 1, ..config() });
    let (rejecting, other) = (world.seed(1, true), world.seed(2, true));
    world.say(rejecting, &Message::Unchoke);
    world.say(other, &Message::Unchoke);
    let asked = world.asked(rejecting);
    assert_eq!((asked.len(), world.asked(other).len()), (1, 0), "there is one buffer");
    world.say(rejecting, &Message::RejectRequest(asked[0]));
    assert_eq!((world.asked(rejecting).len(), world.asked(other).len()), (0, 1));
    world.audit();
}

#[test]
fn two_silent_peers_cannot_keep_the_last_block_from_a_third() {
    let mut world = World::new(1, BLOCK_LEN, false, config());
    let silent = [world.seed(1, false), world.seed(2, false)];
    silent.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    assert!(silent.iter().all(|conn| world.asked(*conn).len() == 1), "each holds a copy of the one block");
    let honest = world.seed(3, false);
    world.say(honest, &Message::Unchoke);
    for _ in 0..60 {
        world.pass(Duration::from_secs(1));
        silent.iter().for_each(|conn| world.say(*conn, &Message::KeepAlive));
        world.serve(honest, 10);
    }
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_peer_that_gives_others_but_keeps_one_block_back_is_snubbed() {
    let mut world = World::new(40, BLOCK_LEN, false, config());
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    let kept = world.asked(peer)[0];
    for _ in 0..62 {
        world.pass(Duration::from_secs(1));
        let next = world.asked(peer).into_iter().find(|request| *request != kept);
        next.into_iter().for_each(|request| world.give(peer, request));
    }
    assert!(world.news(peer).contains(&Said::Cancel(kept)), "it is called off although others came meanwhile");
    let honest = world.seed(2, false);
    world.say(honest, &Message::Unchoke);
    world.serve(honest, 100);
    assert!(world.torrent().have >= 39);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_peer_that_drips_is_snubbed_and_its_block_goes_to_others() {
    let mut world = World::new(1, BLOCK_LEN, false, config());
    let drip = world.seed(1, false);
    world.say(drip, &Message::Unchoke);
    let bytes = world.block_bytes(world.asked(drip)[0]);
    for byte in &bytes[..40] {
        world.send_bytes(drip, &[*byte]);
        world.pass(Duration::from_secs(1));
    }
    let other = world.seed(2, false);
    world.say(other, &Message::Unchoke);
    world.serve(other, 1);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn end_game_asks_twice_at_most_and_calls_the_other_off() {
    let mut world = World::new(1, PIECE, false, config());
    let peers: Vec<ConnId> = (1..=4).map(|host| world.seed(host, true)).collect();
    peers.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    let copies = |world: &World| peers.iter().map(|conn| world.asked(*conn).len()).sum::<usize>();
    assert_eq!(copies(&world), 8, "four blocks, two copies");
    world.serve(peers[0], 3);
    let cancels: usize =
        peers.iter().map(|conn| world.news(*conn).iter().filter(|s| matches!(s, Said::Cancel(_))).count()).sum();
    assert_eq!((cancels, copies(&world)), (3, 2));
    world.serve(peers[0], 1);
    assert!(complete(&world));
    assert_eq!(world.torrent().wasted_bytes, 0);
    world.audit();
}

#[test]
fn end_game_begins_although_a_piece_exists_nowhere() {
    let mut world = World::new(2, PIECE, false, config());
    let peers = [world.accept(1), world.accept(2)];
    for (host, conn) in (1..).zip(peers) {
        world.shake(conn, host, false);
        world.say_bits(conn, |piece| piece == 0);
        world.say(conn, &Message::Unchoke);
    }
    assert!(peers.iter().all(|conn| world.asked(*conn).len() == 4));
    world.audit();
}

#[test]
fn a_block_that_comes_late_is_still_taken_when_wanted() {
    let mut world = World::new(1, PIECE, false, config());
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    let asked = world.asked(peer);
    world.say(peer, &Message::Choke);
    asked.into_iter().for_each(|request| world.give(peer, request));
    assert!(complete(&world));
    assert_eq!(world.torrent().wasted_bytes, 0);
    world.audit();
}

#[test]
fn blocks_that_nobody_asked_for_are_dropped_and_counted_and_many_end_the_connection() {
    let mut world = World::new(8, PIECE, false, config());
    let peer = world.seed(1, false);
    let request = super::block(0, 0);
    let bytes = world.block_bytes(request);
    for n in 1..=32 {
        world.send_bytes(peer, &bytes);
        assert_eq!(world.pool(), (0, 0), "nothing is stored");
        assert_eq!(world.torrent().wasted_bytes, n * u64::from(BLOCK_LEN));
    }
    let view = &world.engine.peers(TORRENT)[0];
    assert_eq!(view.down_rate, 0);
    world.send_bytes(peer, &bytes);
    assert_eq!(world.closed.get(&peer), Some(&CloseReason::Fault(PeerFault::UnrequestedBlocks)));
    world.audit();
}

#[test]
fn a_block_with_another_length_or_offset_is_not_the_one_asked_for() {
    let mut world = World::new(2, PIECE, false, config());
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    let asked = world.asked(peer)[0];
    for wrong in [
        BlockRequest { len: asked.len - 1, ..asked },
        BlockRequest { begin: asked.begin + 1, ..asked },
        BlockRequest { begin: u32::MAX - 3, ..asked },
        BlockRequest { piece: PieceIndex(77), ..asked },
    ] {
        let mut bytes = Vec::new();
        crate::wire::encode_piece_header(wrong, &mut bytes);
        bytes.resize(bytes.len() + wrong.len as usize, 0);
        world.send_bytes(peer, &bytes);
    }
    assert!(world.torrent().wasted_bytes > 0 && world.torrent().have == 0);
    world.serve(peer, 100);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_link_lost_in_mid_block_gives_its_buffers_back() {
    let mut world = World::new(2, PIECE, false, config());
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    let bytes = world.block_bytes(world.asked(peer)[0]);
    world.send_bytes(peer, &bytes[..5000]);
    assert_eq!(world.pool().1, 1);
    world.drop_link(peer);
    assert_eq!(world.pool(), (0, 0));
    world.audit();
}

#[test]
fn a_pool_of_one_block_is_enough_whatever_the_order_of_the_disk() {
    let mut world = World::new(3, PIECE, false, Config { pool_blocks: 1, ..config() });
    let peers = [world.seed(1, false), world.seed(2, true)];
    peers.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    for _ in 0..100 {
        peers.iter().for_each(|conn| world.serve(*conn, 1));
        world.pass(Duration::from_secs(1));
    }
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_block_that_is_just_coming_when_its_piece_is_given_up_counts_no_more() {
    let mut world = World::new(1, BLOCK_LEN, false, config());
    let (liar, slow) = (world.seed(1, false), world.seed(2, false));
    [liar, slow].iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    let request = world.asked(slow)[0];
    let bytes = world.block_bytes(request);
    world.peers.get_mut(&slow).unwrap().asked.clear();
    world.send_bytes(slow, &bytes[..5000]);
    world.give_corrupt(liar, request);
    assert!(world.closed.contains_key(&liar), "the piece failed");
    assert_eq!(world.pool().1, 0, "the buffer of the rest is home");
    // Opened anew: the block on its way is none of the piece's blocks, and is not asked for again while it comes.
    world.pass(Duration::from_secs(1));
    assert!(world.asked(slow).is_empty());
    world.send_bytes(slow, &bytes[5000..]);
    world.pass(Duration::from_secs(1));
    assert_eq!((world.torrent().have, world.asked(slow).len(), world.pool()), (0, 1, (1, 0)), "it is swallowed");
    world.serve(slow, 1);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn a_block_taken_back_from_silent_peers_goes_to_one_who_is_not() {
    let mut world = World::new(1, BLOCK_LEN, false, config());
    let silent = [world.seed(1, false), world.seed(2, false)];
    silent.iter().for_each(|conn| world.say(*conn, &Message::Unchoke));
    assert!(silent.iter().all(|conn| world.asked(*conn).len() == 1), "each holds a copy of the one block");
    let honest = world.seed(3, false);
    world.say(honest, &Message::Unchoke);
    assert!(world.asked(honest).is_empty());
    world.pass(Duration::from_secs(31));
    assert_eq!(world.asked(honest).len(), 1);
    assert!(silent.iter().all(|conn| world.asked(*conn).is_empty()), "nothing more for those who kept us waiting");
    world.serve(honest, 1);
    assert!(complete(&world));
    world.audit();
}

#[test]
fn of_many_who_wait_for_a_buffer_each_has_a_turn() {
    // In all but the first the pool is just enough for all but one.
    for (count, pool_blocks) in [(6, 8), (3, 8), (5, 16), (9, 32)] {
        let mut world = World::new(120, BLOCK_LEN, false, Config { pool_blocks, ..config() });
        let peers: Vec<ConnId> = (1..=count).map(|host| world.seed(host, true)).collect();
        peers.iter().for_each(|peer| world.say(*peer, &Message::Unchoke));
        let mut given = BTreeMap::new();
        for turn in 0..90 {
            let mut around = peers.iter().cycle().skip(turn).take(peers.len());
            let giver = *around.find(|peer| !world.asked(**peer).is_empty()).unwrap();
            *given.entry(giver).or_insert(0) += 1;
            world.serve(giver, 1);
        }
        let fewest = peers.iter().map(|peer| given.get(peer).copied().unwrap_or(0)).min();
        assert!(fewest >= Some(90 / i32::from(count) / 3), "{pool_blocks} buffers: {given:?}");
        world.audit();
    }
}

#[test]
fn what_is_on_the_way_from_distant_peers_comes_on_top_of_the_pool_for_near_ones() {
    // In each fifth of a second a peer answers what it was asked for in the one before, and a near one also what it is asked for meanwhile.
    for (is_near, fewest) in [(true, 4), (false, 20)] {
        let mut world = World::new(4000, BLOCK_LEN, false, Config { pool_blocks: 24, near_blocks: 4, ..config() });
        let peer = world.seed(1, true);
        world.say(peer, &Message::Unchoke);
        assert_eq!(world.asked(peer).len(), 4, "nothing is known of the distance");
        for _ in 0..40 {
            let before = world.asked(peer).len();
            world.pass(Duration::from_millis(200));
            world.serve(peer, before << u32::from(is_near));
        }
        let most = if is_near { 4 } else { 24 };
        assert!((fewest..=most).contains(&world.asked(peer).len()), "{} under way", world.asked(peer).len());
        world.drop_link(peer);
        let next = world.seed(2, true);
        world.say(next, &Message::Unchoke);
        assert_eq!(world.asked(next).len(), 4, "who is gone has nothing on the way");
        world.audit();
    }
}

#[test]
fn of_torrents_that_wait_for_a_buffer_each_has_a_turn() {
    let mut world = World::new(40, BLOCK_LEN, false, Config { pool_blocks: 2, ..config() });
    let with_pieces = |world: &mut World, host: u8, has: fn(u32) -> bool| {
        let conn = world.accept(host);
        world.shake(conn, host, true);
        world.say_bits(conn, has);
        conn
    };
    let first = with_pieces(&mut world, 1, |piece| piece < 20);
    world.meta.info_hash = InfoHash::V1([0x77; 20]);
    world.handle(Event::Command(Command::Add(Box::new(world.as_new(TorrentId(TORRENT.0 + 1))))));
    let second = with_pieces(&mut world, 2, |piece| piece >= 20);
    [first, second].iter().for_each(|peer| world.say(*peer, &Message::Unchoke));
    let mut turns = [0, 0];
    for _ in 0..20 {
        let waiting = [first, second].map(|peer| !world.asked(peer).is_empty());
        let giver = usize::from(!waiting[0]);
        turns[giver] += 1;
        world.serve([first, second][giver], 1);
    }
    assert!(turns[1] >= 8, "{turns:?}: the first torrent does not take every buffer");
    world.audit();
}

#[test]
fn blocks_that_wait_make_room_in_the_same_breath_as_the_last_free_buffer_is_reserved() {
    let mut world = World::new(2, PIECE, false, Config { pool_blocks: 3, ..config() });
    world.disk_works = false;
    let peer = world.seed(1, false);
    world.say(peer, &Message::Unchoke);
    world.serve(peer, 3);
    assert_eq!(world.ops.len(), 1, "the first block went to the disk, two wait for neighbours");
    // Its buffer comes home and is reserved for another request: now nothing would bring the two home.
    world.network_works = false;
    world.run_op(0);
    assert_eq!((world.asked(peer).len(), world.ops.len()), (1, 1), "{:?}", world.ops);
}

#[test]
fn a_block_that_is_still_arriving_is_not_asked_for_again() {
    let mut world = World::new(1, PIECE, false, config());
    let (a, b) = (world.seed(1, false), world.seed(2, false));
    world.say(a, &Message::Unchoke);
    let asked = world.asked(a);
    world.give(a, asked[0]);
    let bytes = world.block_bytes(asked[1]);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    world.send_bytes(a, front);
    world.news(a);
    // The disk refuses: the piece is given up, and tried again later.
    let fault = DiskFault { kind: DiskFaultKind::Io, path: String::from("file"), detail: String::new() };
    world.peers.remove(&b);
    world.handle(Event::ServeFailed { conn: b, fault });
    world.pass(Duration::from_secs(17));
    assert_eq!(world.torrent().state, TorrentState::Downloading);
    assert!(!world.news(a).contains(&Said::Request(asked[1])), "half of it is still to come");
    if let Some(script) = world.peers.get_mut(&a) {
        script.asked.retain(|request| *request != asked[1]);
    }
    world.send_bytes(a, back);
    assert!(world.news(a).contains(&Said::Request(asked[1])));
    world.audit();
}

#[test]
fn a_block_that_comes_for_a_piece_lost_by_the_disk_is_awaited_from_nobody() {
    let mut world = World::new(1, PIECE, false, Config { pool_blocks: 3, ..config() });
    let (a, b) = (world.seed(1, false), world.seed(2, false));
    world.disk_works = false;
    world.say(a, &Message::Unchoke);
    let asked = world.asked(a);
    // The first goes to the disk for want of room, the second waits, the third is just coming when the disk refuses.
    world.give(a, asked[0]);
    world.give(a, asked[1]);
    let bytes = world.block_bytes(asked[2]);
    let (front, back) = bytes.split_at(bytes.len() / 2);
    world.send_bytes(a, front);
    let fault = DiskFault { kind: DiskFaultKind::Io, path: String::from("file"), detail: String::new() };
    world.peers.remove(&b);
    world.handle(Event::ServeFailed { conn: b, fault });
    // The harness recounts after each event.
    world.send_bytes(a, back);
    world.run_disk();
    world.disk_works = true;
    world.audit();
}

#[test]
fn the_rarest_piece_is_begun_first_once_a_few_are_had() {
    let mut world = World::new(40, PIECE, false, config());
    let common = world.accept(1);
    world.shake(common, 1, false);
    world.say_bits(common, |piece| piece != 30);
    let also = world.accept(2);
    world.shake(also, 2, false);
    world.say_bits(also, |piece| piece != 30);
    world.say(common, &Message::Unchoke);
    world.serve(common, 4 * 4);
    let holder = world.accept(3);
    world.shake(holder, 3, false);
    // Not all of them: who has everything makes no piece rarer than another.
    world.say_bits(holder, |piece| piece != 39);
    world.say(holder, &Message::Unchoke);
    let asked = world.asked(holder);
    assert!(asked.iter().take(4).all(|request| request.piece == PieceIndex(30)), "{asked:?}");
    world.audit();
}

#[test]
fn a_piece_that_is_begun_and_left_is_finished_before_another_is_begun() {
    let mut world = World::new(40, PIECE, false, config());
    let first = world.seed(1, false);
    world.say(first, &Message::Unchoke);
    world.serve(first, 2);
    let left = world.asked(first);
    world.drop_link(first);
    let second = world.seed(2, false);
    world.say(second, &Message::Unchoke);
    let asked = world.asked(second);
    assert!(!asked.is_empty() && asked.iter().all(|request| left.contains(request)), "{asked:?} of {left:?}");
    world.audit();
}

#[test]
fn every_peer_is_told_of_every_piece_once() {
    let mut world = World::new(20, PIECE, false, config());
    let seed = world.seed(1, false);
    let others = [2, 3].map(|host| {
        let peer = world.accept(host);
        world.shake(peer, host, host == 3);
        peer
    });
    world.say(seed, &Message::Unchoke);
    world.serve(seed, 1000);
    for peer in others {
        let told = world.news(peer).into_iter().filter_map(|said| match said {
            Said::Have(piece) => Some(piece),
            _ => None,
        });
        let mut told: Vec<u32> = told.collect();
        told.sort_unstable();
        assert_eq!(told, (0..20).collect::<Vec<u32>>());
    }
    world.audit();
}

#[test]
fn whoever_hears_that_we_want_nothing_more_has_heard_why() {
    let mut world = World::new(4, BLOCK_LEN, false, config());
    let (seed, choking) = (world.seed(1, true), world.accept(2));
    world.shake(choking, 2, true);
    world.say_bits(choking, |piece| piece > 0);
    world.say(seed, &Message::Unchoke);
    world.news(choking);
    for piece in [1, 2, 3] {
        assert_eq!(world.news(choking), []);
        let asked = world.asked(seed).into_iter().find(|request| request.piece.0 == piece).unwrap();
        world.give(seed, asked);
    }
    assert_eq!(world.news(choking), [Said::Have(1), Said::Have(2), Said::Have(3), Said::Plain("not interested")]);
    world.audit();
}

#[test]
fn a_have_that_changes_nothing_now_is_told_with_the_next_message_or_within_a_second() {
    let mut world = World::new(40, BLOCK_LEN, false, Config { upload_slots: 1, ..config() });
    let (seed, silent) = (world.seed(1, true), world.seed(2, true));
    let [fed, idle, first, second] = [3, 4, 5, 6].map(|host| {
        let peer = world.accept(host);
        world.shake(peer, host, true);
        world.say(peer, &Message::HaveNone);
        peer
    });
    [fed, first, second].into_iter().for_each(|peer| world.say(peer, &Message::Interested));
    world.say(seed, &Message::Unchoke);
    let everybody = [fed, idle, first, second, silent];
    everybody.into_iter().for_each(|peer| _ = world.news(peer));
    let haves = |world: &mut World| {
        everybody.map(|peer| world.news(peer).iter().filter(|said| matches!(said, Said::Have(_))).count())
    };
    let asked = world.asked(seed);
    world.serve(seed, 3);
    assert_eq!(haves(&mut world), [3, 3, 0, 0, 0], "one may ask, another may become interested, a third has them");
    world.pass(Duration::from_secs(1));
    assert_eq!(haves(&mut world), [0, 0, 3, 3, 3]);
    world.serve(seed, 2);
    world.say(first, &Message::NotInterested);
    assert_eq!(haves(&mut world), [2, 2, 2, 0, 0], "it may want them");
    // Requests are answered in order, so this one came.
    world.say(second, &Message::Have(asked[0].piece));
    assert_eq!(haves(&mut world), [0, 0, 0, 2, 0], "it may believe that we want it");
    world.serve(seed, 1000);
    assert!(complete(&world));
    assert_eq!(haves(&mut world), [35, 35, 35, 0, 0], "it has all too, and is gone");
    world.pass(Duration::from_secs(1));
    assert_eq!(haves(&mut world), [0, 0, 0, 35, 0]);
    world.audit();
}
