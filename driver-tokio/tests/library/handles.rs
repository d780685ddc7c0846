//! Handles on torrents, their events, and what becomes of both.

use super::bench::*;
use driver_tokio::core::action::{Notice, Refusal};
use driver_tokio::core::config::RateLimits;
use driver_tokio::core::fault::DiskFaultKind;
use driver_tokio::core::id::FileIndex;
use driver_tokio::core::selection::Priority;
use driver_tokio::core::view::TorrentState;
use driver_tokio::{AddTorrentOptions, Ended, Event, Home, MemoryStorage, Session, TorrentError};
use std::sync::Arc;

#[tokio::test]
async fn a_handle_follows_its_torrent_from_the_first_piece_to_the_last() {
    let sample = Sample::usual("followed");
    let seeder = seeder(&sample).await;
    let dir = tempfile::tempdir().unwrap();
    let leecher = builder().home(dir.path()).resume_dir(dir.path().join("state")).start().await.unwrap();
    let mut events = leecher.events();
    let torrent = leecher.add(AddTorrentOptions::from_bytes(&sample.torrent).unwrap()).await.unwrap();
    assert_eq!((torrent.name(), torrent.info_hash()), ("followed", sample.metainfo.info_hash));
    assert_eq!(torrent.pieces().await.unwrap().count(), 0);
    assert!(torrent.files().await.unwrap().iter().all(|file| file.have_bytes == 0));
    torrent.add_peers([seeder.addr]).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    sample.assert_below(dir.path());
    let view = torrent.view().await.unwrap();
    assert_eq!((view.state, view.have), (TorrentState::Seeding, sample.metainfo.layout.piece_count()));
    assert!(torrent.pieces().await.unwrap().is_full());
    let files = torrent.files().await.unwrap();
    let expected: Vec<(String, u64)> = sample.files().map(|(_, path, bytes)| (path, bytes.len() as u64)).collect();
    assert_eq!(files.iter().map(|file| (file.path.join("/"), file.have_bytes)).collect::<Vec<_>>(), expected);

    let (mut whole, mut verified) = (Vec::new(), 0);
    while let Some(event) = events.try_next() {
        match event {
            Event::FileComplete { file, .. } => whole.push(file),
            Event::Notice(Notice::PieceVerified { .. }) => verified += 1,
            _ => {}
        }
    }
    whole.sort_unstable();
    assert_eq!(whole, [0, 1, 3].map(FileIndex), "an empty file never lacked anything");
    assert_eq!(verified, sample.pieces().count());
    leecher.shutdown().await;
    assert!(std::fs::read_dir(dir.path().join("state")).unwrap().count() > 0, "resume data was saved");

    // The next life believes it, and a file that was found whole is no news.
    let again = builder().home(dir.path()).resume_dir(dir.path().join("state")).start().await.unwrap();
    let mut events = again.events();
    let torrent = again.add(sample.metainfo.clone()).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    assert_eq!(torrent.view().await.unwrap().hashed, 0);
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, Event::FileComplete { .. }));
    }
    assert_eq!(again.torrents().await.unwrap().iter().map(|there| there.id()).collect::<Vec<_>>(), [torrent.id()]);
    again.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn a_skipped_file_that_becomes_whole_with_its_neighbours_is_no_news() {
    let sample = Sample::new("tiny", &[("a", 100_000), ("tiny", 10), ("c", 100_000)]);
    let (seeder, session) = (seeder(&sample).await, session().await);
    let options = AddTorrentOptions::new(sample.metainfo.clone(), MemoryStorage::new(1 << 22));
    let options = AddTorrentOptions { priorities: vec![(FileIndex(1), Priority::Skip)], ..options };
    let mut events = session.events();
    let torrent = session.add(options.with_peers([seeder.addr])).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    let files = torrent.files().await.unwrap();
    assert!(files.iter().all(|file| file.have_bytes == file.len), "its only piece is wanted by others");
    let mut told = Vec::new();
    while let Some(event) = events.try_next() {
        told.extend(if let Event::FileComplete { file, .. } = event { Some(file) } else { None });
    }
    told.sort_unstable();
    assert_eq!(told, [FileIndex(0), FileIndex(2)]);
    session.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn the_handle_of_a_removed_torrent_says_so_and_its_events_end() {
    let sample = Sample::usual("removed");
    let session = session().await;
    let dir = tempfile::tempdir().unwrap();
    let torrent = session.add(AddTorrentOptions::new(sample.metainfo.clone(), dir.path())).await.unwrap();
    let (other, mut events) = (torrent.clone(), torrent.events());
    let mut reader = torrent.reader(FileIndex(1)).await.unwrap();
    let waiting = tokio::spawn(async move { tokio::io::AsyncReadExt::read_u8(&mut reader).await });
    let completion = tokio::spawn({
        let torrent = torrent.clone();
        async move { torrent.wait_complete().await }
    });
    tokio::task::yield_now().await;
    in_time(torrent.remove_with_files()).await.unwrap();
    let unknown = TorrentError::Refused(Refusal::Unknown);
    assert_eq!(in_time(completion).await.unwrap().unwrap_err(), unknown);
    assert_eq!(other.view().await.unwrap_err(), unknown);
    assert_eq!(other.pause().await.unwrap_err(), unknown);
    assert_eq!(other.peers().await.unwrap_err(), unknown);
    assert_eq!(other.files().await.unwrap_err(), unknown);
    assert_eq!(other.reader(FileIndex(0)).await.unwrap_err(), unknown);
    assert_eq!(in_time(other.wait_complete()).await.unwrap_err(), unknown);
    assert_eq!(in_time(other.remove()).await.unwrap_err(), unknown);
    assert_eq!(unknown.to_string(), "there is no such torrent; perhaps it was removed");
    let error = in_time(waiting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
    let mut last = None;
    while let Some(event) = in_time(events.next()).await {
        last = Some(event);
    }
    assert!(matches!(last, Some(Event::Notice(Notice::Removed { .. }))), "{last:?}");
    assert!(!dir.path().join("removed").exists());

    // It can be added again, and when the session has ended that is what is said.
    let again = session.add(AddTorrentOptions::new(sample.metainfo.clone(), dir.path())).await.unwrap();
    session.shutdown().await;
    assert_eq!(again.view().await.unwrap_err(), TorrentError::Ended(Ended));
    assert_eq!(again.events().next().await, None);
}

#[tokio::test]
async fn a_torrent_that_is_refused_leaves_nothing_behind() {
    let sample = Sample::usual("refused");
    let session = session().await;
    let memory = Arc::new(MemoryStorage::new(1 << 20));
    let options = || AddTorrentOptions::new(sample.metainfo.clone(), Home::Storage(memory.clone()));
    let wrong = AddTorrentOptions { priorities: vec![(FileIndex(9), Priority::High)], ..options() };
    assert_eq!(session.add(wrong).await.unwrap_err(), TorrentError::Refused(Refusal::NoSuchFile));
    assert_eq!(Arc::strong_count(&memory), 1, "its storage is forgotten");
    assert!(session.torrents().await.unwrap().is_empty());
    let torrent = session.add(options()).await.unwrap();
    assert_eq!(session.add(options()).await.unwrap_err(), TorrentError::Refused(Refusal::AlreadyThere(torrent.id())));
    assert!(Arc::strong_count(&memory) > 1);
    assert_eq!(torrent.select_files([FileIndex(4)]).await.unwrap_err(), TorrentError::Refused(Refusal::NoSuchFile));
    assert!(torrent.view().await.is_ok(), "a command that is refused forgets nothing");
    session.shutdown().await;
}

#[tokio::test]
async fn events_of_one_torrent_tell_nothing_of_another() {
    let (one, two) = (Sample::usual("one"), Sample::usual("two"));
    let session = session().await;
    let dir = tempfile::tempdir().unwrap();
    let paused = |sample: &Sample| AddTorrentOptions {
        paused: true,
        ..AddTorrentOptions::new(sample.metainfo.clone(), dir.path())
    };
    let (one, two) = (session.add(paused(&one)).await.unwrap(), session.add(paused(&two)).await.unwrap());
    let (mut of_two, mut of_all) = (two.events(), session.events());
    for torrent in [&one, &two] {
        torrent.recheck().await.unwrap();
    }
    let is_checked = |event: Event| matches!(event, Event::Notice(Notice::Checked { .. })).then(|| event.torrent());
    for _ in 0..2 {
        wait_for(&mut of_all, is_checked).await;
    }
    assert_eq!(wait_for(&mut of_two, is_checked).await, Some(two.id()));
    assert_eq!(of_two.try_next(), None);
    session.shutdown().await;
}

#[tokio::test]
async fn settings_of_a_torrent_change_while_it_runs() {
    let sample = Sample::usual("changed");
    let seeder = seeder(&sample).await;
    let session = session().await;
    let dir = tempfile::tempdir().unwrap();
    let add =
        AddTorrentOptions { paused: true, ..AddTorrentOptions::new(sample.metainfo.clone(), dir.path().join("one")) };
    let torrent = session.add(add.with_peers([seeder.addr])).await.unwrap();
    let limits = RateLimits { down: 1 << 30, up: 1 << 29 };
    torrent.set_limits(limits).await.unwrap();
    session.set_limits(None, RateLimits { down: 1 << 28, up: 0 }).await.unwrap();
    assert_eq!((torrent.view().await.unwrap().limits, session.view().await.unwrap().limits.down), (limits, 1 << 28));
    torrent.select_files([FileIndex(0), FileIndex(3)]).await.unwrap();
    torrent.set_sequential(true).await.unwrap();
    torrent.resume().await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    let wanted: Vec<bool> = torrent
        .files()
        .await
        .unwrap()
        .iter()
        .map(|file| file.priority != Priority::Skip && file.have_bytes == file.len)
        .collect();
    assert_eq!(wanted, [true, false, false, true]);
    assert!(!dir.path().join("one/changed/deep/er/b").exists());

    in_time(torrent.move_to(dir.path().join("two"))).await.unwrap();
    in_time(torrent.rename(Some(FileIndex(0)), "renamed")).await.unwrap();
    assert_eq!(torrent.files().await.unwrap()[0].path, ["changed", "renamed"]);
    assert_eq!(std::fs::read(dir.path().join("two/changed/renamed")).unwrap(), sample.file(0));
    assert_eq!(torrent.rename(None, "..").await.unwrap_err(), TorrentError::Refused(Refusal::BadName));
    std::fs::create_dir_all(dir.path().join("three/changed")).unwrap();
    let error = in_time(torrent.move_to(dir.path().join("three"))).await.unwrap_err();
    assert!(matches!(&error, TorrentError::Disk(fault) if fault.kind == DiskFaultKind::Io), "{error}");
    let mut events = torrent.events();
    torrent.set_priorities(vec![(FileIndex(1), Priority::High)]).await.unwrap();
    wait_for(&mut events, |event| {
        (event == Event::FileComplete { torrent: torrent.id(), file: FileIndex(1) }).then_some(())
    })
    .await;
    torrent.pause().await.unwrap();
    assert!(torrent.view().await.unwrap().paused);
    session.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn the_session_ends_with_its_last_handle_be_it_a_torrents_or_a_readers() {
    let sample = Sample::usual("dropped");
    let session = session().await;
    let (mut events, addr) = (session.events(), addr(&session));
    let torrent = session.add(AddTorrentOptions::new(sample.metainfo, MemoryStorage::new(1 << 22))).await.unwrap();
    drop(session);
    let reader = torrent.reader(FileIndex(1)).await.unwrap();
    assert!(torrent.view().await.is_ok(), "a handle of a torrent keeps it alive");
    drop(torrent);
    assert!(tokio::net::TcpStream::connect(addr).await.is_ok(), "a reader does, too");
    drop(reader);
    in_time(async { while events.next().await.is_some() {} }).await;
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn the_usual_port_is_taken_when_it_is_free_and_another_one_when_it_is_not() {
    let start = || Session::builder().bind(LOCALHOST).disk_threads(2).start();
    let (one, two) = (start().await.unwrap(), start().await.unwrap());
    assert!(one.port() != two.port() && two.port() != 6881 && one.port() != 0);
    let none = Session::builder().bind(LOCALHOST).without_listening().start().await.unwrap();
    assert_eq!(none.port(), 0);
    for session in [one, two, none] {
        session.shutdown().await;
    }
}
