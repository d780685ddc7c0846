//! Who is kept away: by a list, by a filter, at the start and later, on both sides of a connection.

use super::bench::*;
use driver_tokio::core::action::{CloseReason, Notice};
use driver_tokio::core::blocklist::Blocklist;
use driver_tokio::core::config::RateLimits;
use driver_tokio::{AddTorrentOptions, Event, MemoryStorage};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

fn everybody() -> Blocklist {
    Blocklist::parse(b"all of this machine:127.0.0.0-127.255.255.255\n").unwrap()
}

/// Whether a connection to the session is closed at once, without a byte. (Who says nothing is otherwise closed after ten seconds.)
async fn is_kept_away(addr: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut [0; 1])).await;
    closed.is_ok_and(|read| read.is_err() || read.is_ok_and(|len| len == 0))
}

#[tokio::test]
async fn who_comes_in_and_is_listed_or_forbidden_is_closed_and_the_engine_never_hears_of_it() {
    let session = builder().blocklist(everybody()).start().await.unwrap();
    assert!(is_kept_away(addr(&session)).await);
    session.set_blocklist(None).await.unwrap();
    assert!(!is_kept_away(addr(&session)).await);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let filter = {
        let asked = asked.clone();
        move |peer: SocketAddr| {
            asked.lock().unwrap().push(peer.ip());
            false
        }
    };
    session.set_peer_filter(filter).await.unwrap();
    assert!(is_kept_away(addr(&session)).await);
    assert!(asked.lock().unwrap().contains(&LOCALHOST));
    assert_eq!(session.view().await.unwrap().connections, 0);
    session.clear_peer_filter().await.unwrap();
    assert!(!is_kept_away(addr(&session)).await);
    session.shutdown().await;
}

#[tokio::test]
async fn nobody_is_dialled_who_is_listed_or_forbidden_until_that_changes() {
    let sample = Sample::usual("dialled");
    let seeder = seeder(&sample).await;
    // It accepts, and counts.
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let (bait, dials) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counting = dials.clone();
    tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            counting.fetch_add(1, Ordering::Relaxed);
        }
    });
    let allowed = seeder.addr;
    let leecher =
        builder().blocklist(everybody()).peer_filter(move |peer: SocketAddr| peer == allowed).start().await.unwrap();
    let torrent = leecher.add(AddTorrentOptions::new(sample.metainfo, MemoryStorage::new(1 << 22))).await.unwrap();
    torrent.add_peers([seeder.addr, bait]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((torrent.view().await.unwrap().peers, dials.load(Ordering::Relaxed)), (0, 0));
    leecher.set_blocklist(None).await.unwrap();
    torrent.add_peers([seeder.addr, bait]).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    assert_eq!(dials.load(Ordering::Relaxed), 0, "the filter forbids the other one");
    leecher.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn who_is_connected_and_forbidden_later_is_closed_before_the_call_returns() {
    let sample = Sample::usual("closed");
    let seeder = seeder(&sample).await;
    let leecher = session().await;
    let torrent = leecher.add(AddTorrentOptions::new(sample.metainfo, MemoryStorage::new(1 << 22))).await.unwrap();
    // So slow that it lasts.
    torrent.set_limits(RateLimits { down: 20_000, up: 0 }).await.unwrap();
    for by_list in [true, false] {
        let mut events = torrent.events();
        torrent.add_peers([seeder.addr]).await.unwrap();
        wait_for(&mut events, |event| matches!(event, Event::Notice(Notice::PeerConnected { .. })).then_some(())).await;
        if by_list {
            leecher.set_blocklist(Some(everybody())).await.unwrap();
        } else {
            leecher.set_peer_filter(|_: SocketAddr| false).await.unwrap();
        }
        assert_eq!(torrent.peers().await.unwrap(), []);
        // The seeder may have dialled us at the same time, after the first link broke: then the second of two goes, which is no news here.
        let gone = |event| match event {
            Event::Notice(Notice::PeerGone { closed, .. }) if closed != Some(CloseReason::Duplicate) => Some(closed),
            _ => None,
        };
        assert_eq!(wait_for(&mut events, gone).await, None, "to the engine it broke");
        leecher.set_blocklist(None).await.unwrap();
    }
    leecher.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn a_filter_that_takes_its_time_holds_up_connections_and_nothing_else_and_one_that_panics_says_no() {
    let (answer, answers) = mpsc::channel::<bool>();
    let answers = Mutex::new(answers);
    let session =
        builder().peer_filter(move |_: SocketAddr| answers.lock().unwrap().recv().unwrap()).start().await.unwrap();
    let addr = addr(&session);
    let mut stream = TcpStream::connect(addr).await.unwrap();
    for _ in 0..20 {
        in_time(session.view()).await.unwrap();
    }
    answer.send(false).unwrap();
    assert_eq!(in_time(stream.read(&mut [0; 1])).await.unwrap_or(0), 0);
    drop(answer);
    assert!(is_kept_away(addr).await, "it panics");
    assert!(in_time(session.view()).await.is_ok());
    session.shutdown().await;
}
