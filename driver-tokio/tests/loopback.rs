//! Whole sessions with real sockets and real files on loopback: the first light of everything together.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use driver_tokio::{AddTorrentOptions, FileDisk, Notices, Session, SessionConfig, StartError, TokioNet};
use sameseed_core::action::Notice;
use sameseed_core::hash::sha1;
use sameseed_core::id::{InfoHash, PieceIndex};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

const PIECE_LEN: u32 = 64 * 1024;
const FILES: [(&str, u64); 5] = [("a", 3_000_000), ("empty", 0), ("deep/er/b", 1), ("c", 2_222_222), ("d", 77)];

fn content() -> Vec<u8> {
    let len: u64 = FILES.iter().map(|(_, len)| len).sum();
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn torrent() -> Metainfo {
    let path = |name: &str| std::iter::once("t").chain(name.split('/')).map(String::from).collect();
    let layout = Layout::new(FILES.iter().map(|(name, len)| (path(name), *len, false)).collect(), PIECE_LEN).unwrap();
    let content = content();
    let piece = |piece: u32| {
        let start = layout.start_of(PieceIndex(piece)) as usize;
        sha1(&content[start..start + layout.len_of(PieceIndex(piece)) as usize])
    };
    Metainfo {
        info_hash: InfoHash::V1([7; 20]),
        name: "t".into(),
        piece_hashes: (0..layout.piece_count()).map(piece).collect(),
        layout,
        private: false,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        comment: None,
        created_by: None,
        created_unix_s: None,
    }
}

fn write_files(dir: &Path) {
    let (content, mut at) = (content(), 0);
    for (name, len) in FILES {
        let path = dir.join("t").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &content[at..at + len as usize]).unwrap();
        at += len as usize;
    }
}

fn assert_files(dir: &Path) {
    let (content, mut at) = (content(), 0);
    for (name, len) in FILES {
        let file = std::fs::read(dir.join("t").join(name)).unwrap();
        assert!(file == content[at..at + len as usize], "{name}");
        at += len as usize;
    }
}

async fn session(seed: u8) -> Session {
    let mut config = SessionConfig::new([seed; 32], 1_700_000_000);
    config.bind = Some([127, 0, 0, 1].into());
    config.port = Some(0);
    Session::spawn(TokioNet, FileDisk::with_threads(2).unwrap(), config).await.unwrap()
}

fn addr(session: &Session) -> SocketAddr {
    ([127, 0, 0, 1], session.port()).into()
}

/// Waits for `Complete`; gives whether anything had to be downloaded.
async fn complete(notices: &mut Notices) -> bool {
    let waiting = async {
        loop {
            match notices.next().await.expect("the session lives") {
                Notice::Complete { downloaded, .. } => return downloaded,
                Notice::DiskTrouble { fault, .. } => panic!("{fault}"),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("an end in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_session_downloads_from_another_and_resumes_and_seeds() {
    let (seeder_dir, leecher_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_files(seeder_dir.path());
    let (seeder, leecher) = (session(1).await, session(2).await);
    let mut seeding = seeder.notices();
    seeder.add(AddTorrentOptions::new(torrent(), seeder_dir.path())).await.unwrap();
    assert!(!complete(&mut seeding).await);

    let mut leeching = leecher.notices();
    let mut add = AddTorrentOptions::new(torrent(), leecher_dir.path());
    add.peers.push(addr(&seeder));
    let id = leecher.add(add).await.unwrap().id();
    assert!(complete(&mut leeching).await);
    assert_files(leecher_dir.path());
    let view = leecher.view().await.unwrap();
    assert_eq!((view.torrents[0].torrent, view.torrents[0].have), (id, torrent().layout.piece_count()));
    assert_eq!(view.torrents[0].downloaded_bytes, torrent().layout.total_len());
    seeder.shutdown().await;
    leecher.shutdown().await;
    assert!(leecher.view().await.is_err());

    // The leecher's life after: it finds everything, and serves a third.
    let (again, third, third_dir) = (session(3).await, session(4).await, tempfile::tempdir().unwrap());
    let mut noticing = again.notices();
    again.add(AddTorrentOptions::new(torrent(), leecher_dir.path())).await.unwrap();
    assert!(!complete(&mut noticing).await);
    let mut noticing = third.notices();
    let id = third.add(AddTorrentOptions::new(torrent(), third_dir.path())).await.unwrap().id();
    third.add_peers(id, vec![addr(&again)]).await.unwrap();
    assert!(complete(&mut noticing).await);
    assert_files(third_dir.path());
    again.shutdown().await;
    third.shutdown().await;
}

#[tokio::test]
async fn a_busy_port_is_one_clear_line() {
    let first = session(1).await;
    let mut config = SessionConfig::new([2; 32], 0);
    config.bind = Some([127, 0, 0, 1].into());
    config.port = Some(first.port());
    let error = Session::spawn(TokioNet, FileDisk::with_threads(2).unwrap(), config).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { .. }));
    assert_eq!(error.to_string(), format!("cannot listen on {}: Address already in use (os error 98)", addr(&first)));
    first.shutdown().await;
    first.shutdown().await;
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_refused() {
    let mut config = SessionConfig::new([2; 32], 0);
    config.bind = Some([192, 0, 2, 1].into());
    let error = Session::spawn(TokioNet, FileDisk::with_threads(2).unwrap(), config).await.unwrap_err();
    assert!(error.to_string().starts_with("cannot listen on 192.0.2.1:6881: "), "{error}");
}

#[tokio::test]
async fn when_the_last_handle_is_dropped_the_port_is_free_again() {
    let lone = session(1).await;
    let addr = addr(&lone);
    let mut notices = lone.notices();
    drop(lone);
    while let Some(notice) = notices.next().await {
        assert_eq!(notice, Notice::ShutDown);
    }
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn without_a_bind_address_both_families_are_served() {
    let mut config = SessionConfig::new([1; 32], 0);
    config.port = Some(0);
    let both = Session::spawn(TokioNet, FileDisk::with_threads(2).unwrap(), config).await.unwrap();
    tokio::net::TcpStream::connect(("127.0.0.1", both.port())).await.unwrap();
    // Where the machine has IPv6 at all.
    if tokio::net::UdpSocket::bind("[::1]:0").await.is_ok() {
        tokio::net::TcpStream::connect(("::1", both.port())).await.unwrap();
    }
    both.shutdown().await;
}
