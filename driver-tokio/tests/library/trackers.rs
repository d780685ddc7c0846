//! Trackers as a program gives them to a torrent, asks them, and sees them.

use super::bench::*;
use driver_tokio::{AddTorrentOptions, MemoryStorage, Session, Torrent};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Notify;
use tokio::time::timeout;

/// An HTTP tracker that notes what it is asked, and always has the same answer.
struct HttpTracker {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
}

impl HttpTracker {
    async fn answering(answer: &'static str) -> Self {
        let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}/announce", listener.local_addr().unwrap());
        let tracker = HttpTracker { url, asked: Arc::default(), news: Arc::default() };
        let (asked, news) = (tracker.asked.clone(), tracker.news.clone());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.unwrap());
                }
                let target = String::from_utf8_lossy(&request).split(' ').nth(1).unwrap_or_default().to_owned();
                asked.lock().unwrap().push(target);
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
                let _ = stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).await;
                news.notify_one();
            }
        });
        tracker
    }

    /// What it was asked first, second and so on, waited for.
    async fn asked(&self, count: usize) -> Vec<String> {
        in_time(async {
            loop {
                let asked = self.asked.lock().unwrap().clone();
                if asked.len() >= count {
                    return asked;
                }
                self.news.notified().await;
            }
        })
        .await
    }
}

const NOBODY: &str = "d8:completei3e10:incompletei4e8:intervali1800e5:peers0:e";

fn options(name: &str) -> AddTorrentOptions {
    AddTorrentOptions::new(Sample::usual(name).metainfo, MemoryStorage::new(1 << 22))
}

async fn urls(torrent: &Torrent) -> Vec<(String, u32)> {
    torrent.trackers().await.unwrap().into_iter().map(|tracker| (tracker.url, tracker.tier)).collect()
}

/// Waits until its first tracker has answered: while one is asked, none that is added is asked beside it.
async fn answered(torrent: &Torrent) {
    in_time(async {
        while torrent.trackers().await.unwrap()[0].peers.is_none() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn with(session: &Session, options: AddTorrentOptions, tracker: &HttpTracker) -> Torrent {
    session.add(AddTorrentOptions { extra_trackers: vec![tracker.url.clone()], ..options }).await.unwrap()
}

#[tokio::test]
async fn trackers_are_given_at_first_and_later_and_replaced_and_each_is_asked() {
    let mut trackers = Vec::new();
    for _ in 0..3 {
        trackers.push(HttpTracker::answering(NOBODY).await);
    }
    let url = |n: usize| trackers[n].url.clone();
    let session = session().await;
    let torrent = with(&session, options("asked"), &trackers[0]).await;
    let port = format!("&port={}&", session.port());
    let first = trackers[0].asked(1).await.remove(0);
    assert!(first.starts_with("/announce?") && first.contains(&port), "{first}");
    answered(&torrent).await;
    torrent.add_trackers([url(1)]).await.unwrap();
    trackers[1].asked(1).await;
    assert_eq!(urls(&torrent).await, [(url(0), 0), (url(1), 1)]);
    torrent.replace_trackers(vec![vec![url(2)]]).await.unwrap();
    trackers[2].asked(1).await;
    assert_eq!(urls(&torrent).await, [(url(2), 0)]);
    session.shutdown().await;
}

#[tokio::test]
async fn a_scrape_asks_the_tracker_of_a_paused_torrent_and_nothing_else_does() {
    let session = session().await;
    let options = options("scraped");
    let tracker = HttpTracker::answering(NOBODY).await;
    let torrent = with(&session, AddTorrentOptions { paused: true, ..options }, &tracker).await;
    torrent.scrape().await.unwrap();
    let target = tracker.asked(1).await.remove(0);
    assert!(target.starts_with("/scrape?info_hash="), "{target}");
    assert_eq!(tracker.asked(1).await.len(), 1);
    session.shutdown().await;
}

#[tokio::test]
async fn of_many_torrents_only_some_ask_at_a_time_and_the_others_when_those_are_done() {
    let listener = TcpListener::bind((LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let session = builder().engine(|engine| engine.max_announces = 3).start().await.unwrap();
    for name in ["1", "2", "3", "4", "5"] {
        let options = AddTorrentOptions { extra_trackers: vec![url.clone()], ..options(name) };
        session.add(options).await.unwrap();
    }
    let mut asking = Vec::new();
    while let Ok(accepted) = timeout(Duration::from_millis(500), listener.accept()).await {
        asking.push(accepted.unwrap());
    }
    assert_eq!(asking.len(), 3, "it answers none of them");
    drop(asking);
    in_time(async {
        for _ in 3..5 {
            drop(listener.accept().await.unwrap());
        }
    })
    .await;
}

#[tokio::test]
async fn a_udp_tracker_is_asked_from_a_socket_of_its_own_family() {
    let session = Session::builder().port(0).disk_threads(2).start().await.unwrap();
    for ip in [LOCALHOST, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        // A machine without IPv6 has no such tracker either.
        let Ok(tracker) = UdpSocket::bind((ip, 0)).await else { continue };
        let url = format!("udp://{}", tracker.local_addr().unwrap());
        let options = options(&format!("asked at {ip}"));
        session.add(AddTorrentOptions { extra_trackers: vec![url], ..options }).await.unwrap();
        let mut request = [0; 100];
        let (len, from) = in_time(tracker.recv_from(&mut request)).await.unwrap();
        // BEP 15: a connect request.
        assert_eq!((len, &request[..12]), (16, b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0".as_slice()));
        assert_eq!(from.ip(), ip);
    }
    session.shutdown().await;
}
