//! What a session and a torrent are told at their beginning, seen in what they do.

use super::bench::*;
use driver_tokio::core::action::Notice;
use driver_tokio::core::config::{Goal, RateLimits, SeedingGoals};
use driver_tokio::core::id::PieceIndex;
use driver_tokio::core::view::TorrentState;
use driver_tokio::{AddTorrentOptions, Event, HashStore, MemoryStorage, Session};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

const AT_ONCE: SeedingGoals = SeedingGoals { time: Some(Duration::ZERO), ratio_per_mille: None };

/// A peer that accepts, counts, and says nothing.
async fn mute_peer() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let (addr, dials) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counting = dials.clone();
    tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok(stream) = listener.accept().await {
            counting.fetch_add(1, Ordering::Relaxed);
            open.push(stream);
        }
    });
    (addr, dials)
}

/// Waits until it is so.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    in_time(async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn limits_and_goals_of_the_builder_hold_from_the_start_and_a_torrents_own_goal_goes_before() {
    let (limits, sample) = (RateLimits { down: 1 << 28, up: 1 << 27 }, Sample::usual("built"));
    let dir = tempfile::tempdir().unwrap();
    sample.write(dir.path());
    let session = builder().limits(limits).seeding_goals(AT_ONCE).start().await.unwrap();
    assert_eq!(session.view().await.unwrap().limits, limits);
    let mut events = session.events();
    let goal = |event| if let Event::Notice(Notice::SeededEnough { goal, .. }) = event { Some(goal) } else { None };
    let options = || AddTorrentOptions::new(sample.metainfo.clone(), dir.path());
    let torrent = session.add(options()).await.unwrap();
    assert_eq!(wait_for(&mut events, goal).await, Goal::Time);
    in_time(torrent.remove()).await.unwrap();
    let torrent = session.add(AddTorrentOptions { goals: Some(SeedingGoals::default()), ..options() }).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    assert_eq!(torrent.view().await.unwrap().state, TorrentState::Seeding);
    session.shutdown().await;
}

#[tokio::test]
async fn no_more_come_in_than_the_session_may_have_connections() {
    let session = builder().max_connections(2).start().await.unwrap();
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(TcpStream::connect(addr(&session)).await.unwrap());
    }
    // Who says nothing is otherwise closed after ten seconds.
    let closed = tokio::time::timeout(Duration::from_secs(3), streams[2].read(&mut [0; 1])).await;
    assert!(closed.is_ok_and(|read| read.is_err() || read.is_ok_and(|len| len == 0)));
    assert_eq!(session.view().await.unwrap().connections, 2);
    session.shutdown().await;
}

#[tokio::test]
async fn no_more_are_dialled_than_a_torrent_may_have_connections() {
    let session = builder().max_connections_per_torrent(2).start().await.unwrap();
    let sample = Sample::usual("dialled by two");
    let torrent = session.add(AddTorrentOptions::new(sample.metainfo, MemoryStorage::new(1 << 22))).await.unwrap();
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(mute_peer().await);
    }
    torrent.add_peers(peers.iter().map(|(addr, _)| *addr)).await.unwrap();
    let dials = || peers.iter().map(|(_, dials)| dials.load(Ordering::Relaxed)).sum::<usize>();
    until(async || dials() >= 2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(dials(), 2);
    session.shutdown().await;
}

#[tokio::test]
async fn our_own_address_is_not_dialled_and_its_neighbour_is() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let filter = {
        let asked = asked.clone();
        move |peer: SocketAddr| {
            asked.lock().unwrap().push(peer);
            true
        }
    };
    let session = builder().peer_filter(filter).start().await.unwrap();
    let (own, (neighbour, dials)) = (addr(&session), mute_peer().await);
    let options = AddTorrentOptions::new(Sample::usual("ourselves").metainfo, MemoryStorage::new(1 << 22));
    session.add(options.with_peers([own, neighbour])).await.unwrap();
    until(async || dials.load(Ordering::Relaxed) > 0).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(*asked.lock().unwrap(), [neighbour], "the filter is asked before anybody is dialled");
    session.shutdown().await;
}

/// Who dials, and the peer id that it names.
async fn dialler(session: &Session) -> (IpAddr, [u8; 20]) {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let sample = Sample::usual("who dials");
    let options = AddTorrentOptions::new(sample.metainfo, MemoryStorage::new(1 << 22));
    session.add(options.with_peers([listener.local_addr().unwrap()])).await.unwrap();
    let (mut stream, from) = in_time(listener.accept()).await.unwrap();
    let mut handshake = [0; 68];
    in_time(stream.read_exact(&mut handshake)).await.unwrap();
    (from.ip(), handshake[48..].try_into().unwrap())
}

#[tokio::test]
async fn peers_are_dialled_from_the_address_that_is_bound_and_our_id_follows_from_the_seed() {
    let own = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut ids = Vec::new();
    for seed in [7, 7, 8] {
        let session = builder().bind(own).seed([seed; 32]).start().await.unwrap();
        let (from, id) = dialler(&session).await;
        assert_eq!(from, own);
        ids.push(id);
        session.shutdown().await;
    }
    assert!(ids[0] == ids[1] && ids[1] != ids[2]);
}

#[tokio::test]
async fn a_torrent_that_is_only_to_be_checked_dials_nobody_and_writes_nothing() {
    let sample = Sample::usual("only checked");
    let (peer, dials) = mute_peer().await;
    let dir = tempfile::tempdir().unwrap();
    let there = dir.path().join("only checked/a");
    std::fs::create_dir(there.parent().unwrap()).unwrap();
    std::fs::write(&there, sample.file(0)).unwrap();
    let session = session().await;
    let mut events = session.events();
    let options = AddTorrentOptions::new(sample.metainfo, dir.path()).with_peers([peer]);
    session.add(AddTorrentOptions { check_only: true, ..options }).await.unwrap();
    let found = |event| if let Event::Notice(Notice::Checked { have, .. }) = event { Some(have) } else { None };
    assert_eq!(wait_for(&mut events, found).await, 1, "the first file is one piece and a part");
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(dials.load(Ordering::Relaxed), 0);
    session.shutdown().await;
    let count = |path: &Path| std::fs::read_dir(path).unwrap().count();
    assert_eq!((count(dir.path()), count(there.parent().unwrap())), (1, 1), "nothing was made");
}

#[tokio::test]
async fn resume_data_that_is_given_is_believed_and_not_when_everything_is_to_be_checked() {
    let sample = Sample::usual("resumed");
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample.write(dir.path());
    let options = || AddTorrentOptions::new(sample.metainfo.clone(), dir.path());
    let hashed = async |session: Session, options: AddTorrentOptions| {
        let torrent = session.add(options).await.unwrap();
        in_time(torrent.wait_complete()).await.unwrap();
        let hashed = torrent.view().await.unwrap().hashed;
        session.shutdown().await;
        hashed
    };
    let all = sample.metainfo.layout.piece_count();
    let keeping = async || builder().resume_dir(state.path()).start().await.unwrap();
    assert_eq!(hashed(keeping().await, options()).await, all);
    assert_eq!(hashed(keeping().await, options()).await, 0);
    assert_eq!(hashed(keeping().await, AddTorrentOptions { force_check: true, ..options() }).await, all);
    let file = std::fs::read_dir(state.path()).unwrap().next().unwrap().unwrap().path();
    let resume = Some(std::fs::read(file).unwrap());
    assert_eq!(hashed(session().await, AddTorrentOptions { resume, ..options() }).await, 0, "from elsewhere");
}

#[tokio::test]
async fn the_hashes_of_a_large_torrent_are_no_longer_in_memory_and_judge_each_piece_all_the_same() {
    let sample = Sample::new("many pieces", &[("a", 100 * u64::from(PIECE_LEN))]);
    let dir = tempfile::tempdir().unwrap();
    sample.write(dir.path());
    let file = dir.path().join("many pieces/a");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[70 * PIECE_LEN as usize] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    for store in [HashStore::in_memory(), HashStore::in_first_of([dir.path().join("hashes")])] {
        let session = builder().hash_store(store).start().await.unwrap();
        let torrent = session.add(AddTorrentOptions::new(sample.metainfo.clone(), dir.path())).await.unwrap();
        until(async || torrent.view().await.unwrap().hashed == 100).await;
        let have = torrent.pieces().await.unwrap();
        let lacking: Vec<PieceIndex> = sample.pieces().filter(|piece| !have.get(*piece)).collect();
        assert_eq!(lacking, [PieceIndex(70)]);
        session.shutdown().await;
    }
    assert_eq!(std::fs::read_dir(dir.path().join("hashes")).unwrap().count(), 0, "it has no name");
}

#[tokio::test]
async fn in_sequence_pieces_come_in_the_order_of_the_torrent_be_it_said_at_first_or_later() {
    let sample = Sample::usual("in order");
    let seeder = seeder(&sample).await;
    let session = session().await;
    for later in [false, true] {
        let options = AddTorrentOptions::new(sample.metainfo.clone(), MemoryStorage::new(1 << 22));
        let torrent = session.add(AddTorrentOptions { sequential: !later, ..options }).await.unwrap();
        if later {
            torrent.set_sequential(true).await.unwrap();
        }
        // Slower than they are hashed, so that no piece overtakes many.
        torrent.set_limits(RateLimits { down: 2 << 20, up: 0 }).await.unwrap();
        let mut events = torrent.events();
        torrent.add_peers([seeder.addr]).await.unwrap();
        let mut order = Vec::new();
        let piece =
            |event| if let Event::Notice(Notice::PieceVerified { piece, .. }) = event { Some(piece) } else { None };
        for _ in sample.pieces() {
            order.push(wait_for(&mut events, piece).await);
        }
        let is_near = |(at, piece): (usize, u32)| at.abs_diff(piece as usize) <= 8;
        assert!(order.iter().map(|piece| piece.0).enumerate().all(is_near), "{order:?}");
        in_time(torrent.remove()).await.unwrap();
    }
    session.shutdown().await;
    seeder.session.shutdown().await;
}
