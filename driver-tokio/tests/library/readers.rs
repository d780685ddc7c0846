//! Files that are read while they are downloaded.

use super::bench::*;
use driver_tokio::core::action::Notice;
use driver_tokio::core::config::RateLimits;
use driver_tokio::core::id::FileIndex;
use driver_tokio::{AddTorrentOptions, Event, MemoryStorage};
use std::io::SeekFrom;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

#[tokio::test]
async fn a_reader_that_jumps_gets_the_right_bytes_long_before_the_file_is_whole() {
    let sample = Sample::usual("read");
    let seeder = seeder(&sample).await;
    let session = session().await;
    let options =
        AddTorrentOptions::new(sample.metainfo.clone(), MemoryStorage::new(1 << 22)).with_peers([seeder.addr]);
    let torrent = session.add(options).await.unwrap();
    torrent.set_limits(RateLimits { down: 300_000, up: 0 }).await.unwrap();
    let (bytes, mut reader) = (sample.file(1), torrent.reader(FileIndex(1)).await.unwrap());
    assert_eq!((reader.len(), reader.is_empty()), (bytes.len() as u64, false));
    reader.set_read_ahead(0);
    let mut part = vec![0; 3000];
    for at in [bytes.len() - 3000, 1_234_567, 60_000, 1_234_000] {
        assert_eq!(reader.seek(SeekFrom::Start(at as u64)).await.unwrap(), at as u64);
        in_time(reader.read_exact(&mut part)).await.unwrap();
        assert!(part == bytes[at..at + 3000], "at {at}");
    }
    let view = torrent.view().await.unwrap();
    assert!(view.have < view.pieces, "{} of {}", view.have, view.pieces);
    torrent.set_limits(RateLimits::default()).await.unwrap();
    assert_eq!(reader.seek(SeekFrom::Current(-3000)).await.unwrap(), 1_234_000);
    assert_eq!(reader.read_u8().await.unwrap(), bytes[1_234_000]);
    assert_eq!(reader.seek(SeekFrom::End(-1)).await.unwrap(), bytes.len() as u64 - 1);
    assert!(reader.seek(SeekFrom::Current(i64::MIN)).await.is_err());
    let mut all = Vec::new();
    reader.rewind().await.unwrap();
    reader.set_read_ahead(1 << 20);
    in_time(reader.read_to_end(&mut all)).await.unwrap();
    assert!(all == bytes);
    assert_eq!(reader.seek(SeekFrom::Start(u64::MAX)).await.unwrap(), u64::MAX);
    assert_eq!(reader.read(&mut part).await.unwrap(), 0, "beyond the end is nothing");
    let mut empty = torrent.reader(FileIndex(2)).await.unwrap();
    assert_eq!((empty.read(&mut part).await.unwrap(), empty.is_empty()), (0, true));
    assert!(torrent.reader(FileIndex(9)).await.is_err());
    session.shutdown().await;
    assert_eq!(reader.seek(SeekFrom::Start(0)).await.unwrap(), 0);
    assert_eq!(reader.read(&mut part).await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn what_lies_ahead_of_a_reader_comes_next_and_no_more_than_that() {
    const AHEAD: u32 = 5;
    let sample = Sample::usual("ahead");
    let seeder = seeder(&sample).await;
    let session = session().await;
    let torrent =
        session.add(AddTorrentOptions::new(sample.metainfo.clone(), MemoryStorage::new(1 << 22))).await.unwrap();
    torrent.set_limits(RateLimits { down: 1 << 20, up: 0 }).await.unwrap();
    let (mut events, mut reader) = (torrent.events(), torrent.reader(FileIndex(1)).await.unwrap());
    reader.set_read_ahead(u64::from(AHEAD * PIECE_LEN));
    reader.seek(SeekFrom::Start(1_000_000)).await.unwrap();
    let reading = tokio::spawn(async move { (reader.read_u8().await, reader) });
    // It waits before there is anybody to ask.
    tokio::task::yield_now().await;
    torrent.add_peers([seeder.addr]).await.unwrap();
    let first = ((sample.metainfo.layout.files()[1].offset + 1_000_000) / u64::from(PIECE_LEN)) as u32;
    let piece =
        |event| if let Event::Notice(Notice::PieceVerified { piece, .. }) = event { Some(piece.0) } else { None };
    let mut pieces = Vec::new();
    for _ in sample.pieces() {
        pieces.push(wait_for(&mut events, piece).await);
    }
    let (soon, later) = pieces.split_at_mut(1 + AHEAD as usize);
    soon.sort_unstable();
    assert!(soon.iter().copied().eq(first..=first + AHEAD), "{soon:?}, then {later:?}");
    let next = &mut later[..AHEAD as usize];
    next.sort_unstable();
    assert!(!next.iter().copied().eq(first + AHEAD + 1..=first + 2 * AHEAD), "{next:?}");
    let (byte, _reader) = in_time(reading).await.unwrap();
    assert_eq!(byte.unwrap(), sample.file(1)[1_000_000]);
    session.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn readers_that_wait_in_vain_give_their_places_back_when_they_are_dropped() {
    let sample = Sample::usual("vain");
    let session = session().await;
    let torrent =
        session.add(AddTorrentOptions::new(sample.metainfo.clone(), MemoryStorage::new(1 << 22))).await.unwrap();
    for round in 0..3 {
        let mut waiting = Vec::new();
        let mut refused = 0;
        for _ in 0..70 {
            let mut reader = torrent.reader(FileIndex(1)).await.unwrap();
            match tokio::time::timeout(Duration::from_millis(20), reader.read_u8()).await {
                Err(_) => waiting.push(reader),
                Ok(result) => {
                    let error = result.unwrap_err().to_string();
                    assert_eq!(error, "too many readers of this torrent wait already");
                    refused += 1;
                }
            }
        }
        assert!(refused > 0 && waiting.len() >= 32, "round {round}: {refused} refused, {} wait", waiting.len());
    }
    session.shutdown().await;
}

#[tokio::test]
async fn a_read_that_the_disk_refuses_is_an_error_and_may_be_tried_again() {
    let sample = Sample::usual("gone");
    let dir = tempfile::tempdir().unwrap();
    sample.write(dir.path());
    let session = session().await;
    let torrent = session.add(AddTorrentOptions::new(sample.metainfo.clone(), dir.path())).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    let mut reader = torrent.reader(FileIndex(3)).await.unwrap();
    let mut first = vec![0; 1000];
    let path = dir.path().join("gone/c");
    std::fs::write(&path, b"short").unwrap();
    let error = in_time(reader.read_exact(&mut first)).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("gone/c: file is too short"), "{error}");
    std::fs::write(&path, sample.file(3)).unwrap();
    in_time(reader.read_exact(&mut first)).await.unwrap();
    assert!(first == sample.file(3)[..1000]);
    session.shutdown().await;
}
