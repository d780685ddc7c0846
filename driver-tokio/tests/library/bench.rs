//! Small torrents, sessions on loopback, and waits that end.

use driver_tokio::core::hash::sha1;
use driver_tokio::core::id::{Digest, FileIndex, PieceIndex};
use driver_tokio::core::metainfo::Metainfo;
use driver_tokio::core::metainfo::create::{Content, NewTorrent};
use driver_tokio::{AddTorrentOptions, Event, Events, Session, SessionBuilder};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) const PIECE_LEN: u32 = 64 * 1024;
pub(crate) const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A torrent and its bytes.
pub(crate) struct Sample {
    pub(crate) torrent: Vec<u8>,
    pub(crate) metainfo: Metainfo,
    content: Vec<u8>,
}

impl Sample {
    /// A folder of these files.
    pub(crate) fn new(name: &str, files: &[(&str, u64)]) -> Self {
        let len: u64 = files.iter().map(|(_, len)| len).sum();
        let salt = name.bytes().map(u32::from).sum::<u32>();
        let content: Vec<u8> = (0..len as u32).map(|i| ((i + salt).wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let path = |path: &str| path.split('/').map(String::from).collect();
        let new = NewTorrent {
            name: name.into(),
            content: Content::Folder(files.iter().map(|(name, len)| (path(name), *len)).collect()),
            piece_len: Some(PIECE_LEN),
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            private: false,
            comment: None,
            created_by: None,
            created_unix_s: None,
        };
        let mut creation = new.start().unwrap();
        content.chunks(PIECE_LEN as usize).for_each(|piece| creation.push(Digest::Sha1(sha1(piece))));
        let torrent = creation.finish().unwrap();
        Sample { metainfo: Metainfo::parse(&torrent).unwrap(), torrent, content }
    }

    /// Three files, of which the second one is long; an empty one; pieces across borders.
    pub(crate) fn usual(name: &str) -> Self {
        Sample::new(name, &[("a", 100_000), ("deep/er/b", 2_500_000), ("none", 0), ("c", 77_777)])
    }

    pub(crate) fn file(&self, index: u32) -> &[u8] {
        let file = &self.metainfo.layout.files()[index as usize];
        &self.content[file.offset as usize..(file.offset + file.len) as usize]
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (FileIndex, String, &[u8])> {
        let files = (0u32..).zip(self.metainfo.layout.files());
        files.map(|(index, file)| (FileIndex(index), file.path.join("/"), self.file(index)))
    }

    pub(crate) fn pieces(&self) -> impl Iterator<Item = PieceIndex> {
        (0..self.metainfo.layout.piece_count()).map(PieceIndex)
    }

    pub(crate) fn write(&self, dir: &Path) {
        for (_, path, bytes) in self.files() {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }

    pub(crate) fn assert_below(&self, dir: &Path) {
        for (_, path, bytes) in self.files() {
            assert!(std::fs::read(dir.join(&path)).unwrap() == bytes, "{path}");
        }
    }
}

pub(crate) fn builder() -> SessionBuilder {
    Session::builder().bind(LOCALHOST).port(0).disk_threads(2).engine(|engine| {
        engine.disk_retry = Duration::from_millis(200);
        engine.checkpoint_interval = Duration::from_millis(200);
        engine.shutdown_timeout = Duration::from_millis(500);
    })
}

pub(crate) async fn session() -> Session {
    builder().start().await.unwrap()
}

pub(crate) fn addr(session: &Session) -> SocketAddr {
    (LOCALHOST, session.port()).into()
}

/// A session that has everything, and its address.
pub(crate) struct Seeder {
    pub(crate) session: Session,
    pub(crate) addr: SocketAddr,
    _dir: TempDir,
}

pub(crate) async fn seeder(sample: &Sample) -> Seeder {
    let dir = tempfile::tempdir().unwrap();
    sample.write(dir.path());
    let session = session().await;
    let torrent = session.add(AddTorrentOptions::new(sample.metainfo.clone(), dir.path())).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    Seeder { addr: addr(&session), session, _dir: dir }
}

/// What takes longer than a minute has failed.
pub(crate) async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("an end in time")
}

/// The first of the events to come that `pick` wants.
pub(crate) async fn wait_for<T>(events: &mut Events, mut pick: impl FnMut(Event) -> Option<T>) -> T {
    in_time(async {
        loop {
            if let Some(found) = pick(events.next().await.expect("the session lives")) {
                return found;
            }
        }
    })
    .await
}
