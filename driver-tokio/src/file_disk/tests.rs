//! Real folders: what is written is what is read, nothing outside is touched, and buffers come home.

mod at_hand;
mod trouble;

use super::*;
use crate::disk::ReadFor;
use crate::piece_hashes::PieceHashes;
use sameseed_core::block::{Block, BlockPool};
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::hash::{HashState, sha1};
use sameseed_core::id::{ConnId, Digest, FileIndex, Folder, InfoHash, PieceIndex};
use sameseed_core::layout::Layout;
use sha_lanes::PageBuffer;
use std::future::poll_fn;
use std::os::unix::fs::symlink;
use std::path::Path;
use tempfile::TempDir;

const TORRENT: TorrentId = TorrentId(7);
const PIECE_LEN: u32 = 64 * 1024;

struct Bench {
    dir: TempDir,
    disk: FileDisk,
}

/// `files` are (path, length, pad).
fn bench(files: &[(&str, u64, bool)]) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    bench_at(dir, &root, files)
}

fn bench_at(dir: TempDir, root: &Path, files: &[(&str, u64, bool)]) -> Bench {
    bench_hashing(HashBackend::Avx512, dir, root, files)
}

fn bench_hashing(widest: HashBackend, dir: TempDir, root: &Path, files: &[(&str, u64, bool)]) -> Bench {
    let split = |path: &str| path.split('/').map(String::from).collect();
    let layout =
        Layout::new(files.iter().map(|(path, len, pad)| (split(path), *len, *pad)).collect(), PIECE_LEN).unwrap();
    let mut disk = FileDisk::with_hashing(2, widest).unwrap();
    let (parts_name, resume) = (String::from(".t.parts"), Some(dir.path().join("state/x.fastresume")));
    let (info_hash, home, layout) = (InfoHash::V1([7; 20]), Home::folder(root), Arc::new(layout));
    let hashes = hashes_of(&layout);
    disk.register(TORRENT, Location { info_hash, home, layout, hashes, parts_name, resume });
    Bench { dir, disk }
}

/// What the pieces hash to when they hold the formula.
fn hashes_of(layout: &Layout) -> PieceHashes {
    let piece = |piece| {
        let start = layout.start_of(piece) as usize;
        let bytes: Vec<u8> = (start..start + layout.len_of(piece) as usize).map(byte).collect();
        sha1(&bytes)
    };
    PieceHashes::from((0..layout.piece_count()).map(PieceIndex).map(piece).collect::<Vec<_>>())
}

/// What comes of hashing a piece that is as it must be.
fn right(content: &[u8]) -> Hashed {
    let digest = Digest::Sha1(sha1(content));
    Hashed::Finished { digest, expected: digest }
}

fn byte(at: usize) -> u8 {
    (at % 253) as u8
}

/// Blocks of the torrent's formula, `len` bytes from `from`.
fn blocks(from: usize, len: usize) -> Vec<Block> {
    let mut pool = BlockPool::new(1000, 1000);
    let mut blocks = Vec::new();
    let mut at = from;
    while at < from + len {
        let step = (from + len - at).min(16 * 1024);
        assert!(pool.reserve());
        let mut block = pool.take(step as u32);
        block.iter_mut().enumerate().for_each(|(i, b)| *b = byte(at + i));
        blocks.push(block);
        at += step;
    }
    blocks
}

impl Bench {
    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    async fn next(&mut self) -> DiskDone {
        let mut done = Vec::new();
        poll_fn(|cx| self.disk.poll_done(cx, &mut done)).await;
        assert_eq!(done.len(), 1);
        done.remove(0)
    }

    async fn run(&mut self, operation: Operation) -> Outcome {
        self.disk.submit(OpId(1), operation);
        match self.next().await {
            DiskDone::Operation { op: OpId(1), outcome } => outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn prepare(&mut self) {
        let files = (0..9).map(FileIndex).collect();
        assert!(matches!(self.run(Operation::Prepare { torrent: TORRENT, files }).await, Outcome::Prepare(Ok(()))));
    }

    async fn absorb(&mut self, piece: u32, len: usize) -> (Vec<Block>, Option<Hashed>, Result<(), DiskFault>) {
        let operation = Operation::Absorb {
            torrent: TORRENT,
            piece: PieceIndex(piece),
            begin: 0,
            blocks: blocks(piece as usize * PIECE_LEN as usize, len),
            hash: Some(HashState::default()),
            last: true,
        };
        match self.run(operation).await {
            Outcome::Absorb { blocks, hash, written } => (blocks, hash, written),
            other => panic!("{other:?}"),
        }
    }

    async fn hash(&mut self, piece: u32, len: u32) -> Result<Hashed, DiskFault> {
        let operation = Operation::Hash {
            torrent: TORRENT,
            piece: PieceIndex(piece),
            begin: 0,
            len,
            hash: HashState::default(),
            last: true,
        };
        match self.run(operation).await {
            Outcome::Hash(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    async fn read(&mut self, piece: u32, begin: u32, len: u32) -> Result<Vec<u8>, DiskFault> {
        let reader = ReadFor::Peer(ConnId::accepted(3));
        self.disk.read(ReadRequest {
            reader,
            torrent: TORRENT,
            piece: PieceIndex(piece),
            begin,
            len,
            buffer: PageBuffer::new(9),
        });
        match self.next().await {
            DiskDone::Read { reader: r, outcome } if r == reader => outcome.map(|bytes| bytes.to_vec()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_piece_over_three_files_is_written_hashed_and_read_back() {
    let mut bench =
        bench(&[("t/a", 1000, false), ("t/empty", 0, false), ("t/deep/b", 30_001, false), ("t/c", 90_000, false)]);
    bench.prepare().await;
    assert!(bench.root().join("t/empty").is_file() && !bench.root().join("t/a").exists());
    let (home, hash, written) = bench.absorb(0, PIECE_LEN as usize).await;
    assert_eq!((home.len(), written), (4, Ok(())));
    let content: Vec<u8> = (0..PIECE_LEN as usize).map(byte).collect();
    assert_eq!(hash, Some(right(&content)));
    assert_eq!(bench.hash(0, PIECE_LEN).await, Ok(right(&content)));
    assert_eq!(std::fs::read(bench.root().join("t/deep/b")).unwrap(), &content[1000..31_001]);
    assert_eq!(bench.read(0, 900, 40_000).await.unwrap(), &content[900..40_900]);
    assert!(matches!(bench.run(Operation::Sync { torrent: TORRENT }).await, Outcome::Sync(Ok(()))));
    let Outcome::Stat(Ok(stats)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
    let lens: Vec<_> = stats.iter().map(|stat| stat.map(|stat| stat.len)).collect();
    assert_eq!(lens, [Some(1000), Some(0), Some(30_001), Some(u64::from(PIECE_LEN) - 31_001), None]);
    assert!(stats[0].unwrap().mtime_unix_ns > 1_600_000_000_000_000_000);
}

#[tokio::test]
async fn a_write_changes_the_mtime_by_less_than_a_second_and_resume_data_goes_to_its_file() {
    let mut bench = bench(&[("a", 100, false)]);
    bench.prepare().await;
    let mut times = Vec::new();
    for _ in 0..2 {
        assert_eq!(bench.absorb(0, 100).await.2, Ok(()));
        let Outcome::Stat(Ok(stats)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
        times.push(stats[0].unwrap().mtime_unix_ns);
        // The clock of most file systems moves every few milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
    assert!(times[0] < times[1], "{times:?}");
    let save = Operation::SaveResume { torrent: TORRENT, bytes: b"data".to_vec() };
    assert!(matches!(bench.run(save).await, Outcome::SaveResume(Ok(()))));
    assert_eq!(std::fs::read(bench.dir.path().join("state/x.fastresume")).unwrap(), b"data");
}

/// Two files in a folder, written, with resume data.
async fn saved_bench() -> Bench {
    let mut bench = bench(&[("t/a", 100, false), ("t/sub/b", 100, false)]);
    bench.prepare().await;
    assert_eq!(bench.absorb(0, 200).await.2, Ok(()));
    let save = Operation::SaveResume { torrent: TORRENT, bytes: b"data".to_vec() };
    assert!(matches!(bench.run(save).await, Outcome::SaveResume(Ok(()))));
    bench
}

#[tokio::test]
async fn resume_data_is_deleted_with_its_torrent_and_the_files_only_when_that_is_wanted() {
    for files in [false, true] {
        let mut bench = saved_bench().await;
        std::fs::write(bench.root().join("t/mine"), "x").unwrap();
        let outcome = bench.run(Operation::Delete { torrent: TORRENT, files }).await;
        assert!(matches!(outcome, Outcome::Delete(Ok(()))), "{outcome:?}");
        assert!(!bench.dir.path().join("state/x.fastresume").exists());
        assert_eq!((bench.root().join("t/a").exists(), bench.root().join("t/sub").exists()), (!files, !files));
        assert!(bench.root().join("t/mine").exists(), "what is not the torrent's stays");
    }
}

#[tokio::test]
async fn a_move_keeps_mtimes_also_to_another_file_system_and_resume_data_goes_on_in_its_place() {
    let near = tempfile::tempdir().unwrap();
    // Mostly another file system than that of temporary files.
    let far = tempfile::tempdir_in("/dev/shm").ok();
    for target in [Some(near), far].into_iter().flatten() {
        let mut bench = saved_bench().await;
        let Outcome::Stat(Ok(before)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
        std::thread::sleep(std::time::Duration::from_millis(30));
        let to = Folder(target.path().join("x").into_os_string().into_encoded_bytes());
        let outcome = bench.run(Operation::Move { torrent: TORRENT, to }).await;
        assert!(matches!(outcome, Outcome::Move(Ok(()))), "{outcome:?}");
        assert!(target.path().join("x/t/sub/b").exists() && !bench.root().join("t").exists());
        let Outcome::Stat(Ok(after)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
        assert_eq!(before, after);
        let save = Operation::SaveResume { torrent: TORRENT, bytes: b"more".to_vec() };
        assert!(matches!(bench.run(save).await, Outcome::SaveResume(Ok(()))));
        assert_eq!(std::fs::read(bench.dir.path().join("state/x.fastresume")).unwrap(), b"more");
    }
}

#[tokio::test]
async fn nothing_is_moved_or_renamed_over_what_is_there() {
    let target = tempfile::tempdir().unwrap();
    std::fs::create_dir(target.path().join("t")).unwrap();
    let mut bench = saved_bench().await;
    let to = Folder(target.path().as_os_str().as_encoded_bytes().to_vec());
    assert!(matches!(bench.run(Operation::Move { torrent: TORRENT, to }).await, Outcome::Move(Err(_))));
    std::fs::write(bench.root().join("taken"), "x").unwrap();
    let rename = |to: &str| Operation::Rename { torrent: TORRENT, from: vec!["t".into()], to: vec![to.into()] };
    assert!(matches!(bench.run(rename("taken")).await, Outcome::Rename(Err(_))));
    assert!(bench.hash(0, 200).await.is_ok(), "all is where it was");
    assert!(matches!(bench.run(rename("free")).await, Outcome::Rename(Ok(()))));
    assert!(bench.hash(0, 200).await.is_ok() && bench.root().join("free/sub/b").exists());
}

#[tokio::test]
async fn what_is_there_already_survives_a_move_that_is_refused_for_it() {
    let near = tempfile::tempdir().unwrap();
    let far = tempfile::tempdir_in("/dev/shm").ok();
    for target in [Some(near), far].into_iter().flatten() {
        let mut bench = saved_bench().await;
        std::fs::create_dir_all(target.path().join("t/sub")).unwrap();
        std::fs::write(target.path().join("t/sub/b"), "another's").unwrap();
        let to = Folder(target.path().as_os_str().as_encoded_bytes().to_vec());
        assert!(matches!(bench.run(Operation::Move { torrent: TORRENT, to }).await, Outcome::Move(Err(_))));
        assert_eq!(std::fs::read(target.path().join("t/sub/b")).unwrap(), b"another's");
        assert!(bench.hash(0, 200).await.is_ok(), "all is where it was");
    }
}

#[tokio::test]
async fn what_is_not_made_yet_takes_no_name_under_which_something_stands() {
    let mut bench = bench(&[("t/a", 100, false)]);
    std::fs::create_dir_all(bench.root().join("taken")).unwrap();
    let rename = |to: &str| Operation::Rename { torrent: TORRENT, from: vec!["t".into()], to: vec![to.into()] };
    assert!(matches!(bench.run(rename("taken")).await, Outcome::Rename(Err(_))));
    assert!(matches!(bench.run(rename("free")).await, Outcome::Rename(Ok(()))));
    let target = tempfile::tempdir().unwrap();
    std::fs::create_dir(target.path().join("free")).unwrap();
    let to = |path: &[u8]| Operation::Move { torrent: TORRENT, to: Folder(path.to_vec()) };
    let taken = target.path().as_os_str().as_encoded_bytes().to_vec();
    assert!(matches!(bench.run(to(&taken)).await, Outcome::Move(Err(_))));
    assert!(matches!(bench.run(to(b"")).await, Outcome::Move(Err(_))), "an empty path is no folder");
}

#[tokio::test]
async fn a_file_that_is_gone_fails_one_sync_and_not_all_that_follow() {
    let mut bench = bench(&[("a", 100, false)]);
    bench.prepare().await;
    assert_eq!(bench.absorb(0, 100).await.2, Ok(()));
    std::fs::remove_file(bench.root().join("a")).unwrap();
    bench.disk.pool.files.forget_handles(TORRENT);
    let outcomes =
        [bench.run(Operation::Sync { torrent: TORRENT }).await, bench.run(Operation::Sync { torrent: TORRENT }).await];
    assert!(
        matches!(&outcomes, [Outcome::Sync(Err(fault)), Outcome::Sync(Ok(()))] if fault.kind == DiskFaultKind::NotFound)
    );
}

#[tokio::test]
async fn a_piece_hashed_in_two_operations_gives_the_same_digest() {
    let mut bench = bench(&[("a", 100_000, false)]);
    let first = Operation::Absorb {
        torrent: TORRENT,
        piece: PieceIndex(1),
        begin: 0,
        blocks: blocks(PIECE_LEN as usize, 16_384),
        hash: Some(HashState::default()),
        last: false,
    };
    bench.prepare().await;
    let Outcome::Absorb { hash: Some(Hashed::Running(hash)), written: Ok(()), .. } = bench.run(first).await else {
        panic!()
    };
    let rest = 100_000 - PIECE_LEN as usize - 16_384;
    let second = Operation::Absorb {
        torrent: TORRENT,
        piece: PieceIndex(1),
        begin: 16_384,
        blocks: blocks(PIECE_LEN as usize + 16_384, rest),
        hash: Some(hash),
        last: true,
    };
    let Outcome::Absorb { hash, written: Ok(()), .. } = bench.run(second).await else { panic!() };
    let content: Vec<u8> = (PIECE_LEN as usize..100_000).map(byte).collect();
    assert_eq!(hash, Some(right(&content)));
}

/// Ends all operations that were submitted, by their number.
async fn ends(disk: &mut FileDisk, count: usize) -> BTreeMap<OpId, Outcome> {
    let (mut done, mut ended) = (Vec::new(), BTreeMap::new());
    while ended.len() < count {
        poll_fn(|cx| disk.poll_done(cx, &mut done)).await;
        for done in done.drain(..) {
            let DiskDone::Operation { op, outcome } = done else { panic!("{done:?}") };
            assert!(ended.insert(op, outcome).is_none(), "each ends once");
        }
    }
    ended
}

#[tokio::test]
async fn pieces_that_are_hashed_side_by_side_have_each_its_own_digest() {
    const PIECES: u32 = 23;
    const LAST_BYTES: u32 = 40_001;
    for widest in HashBackend::ALL {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let whole = u64::from(PIECE_LEN) * u64::from(PIECES - 1);
        let files = [("t/a", whole, false), ("t/b", LAST_BYTES.into(), false)];
        let mut bench = bench_hashing(widest, dir, &root, &files);
        bench.prepare().await;
        let len_of = |piece| if piece + 1 == PIECES { LAST_BYTES } else { PIECE_LEN };
        let content = |piece: u32| blocks((piece * PIECE_LEN) as usize, len_of(piece) as usize);
        let bytes = |blocks: &[Block]| blocks.iter().flat_map(|block| block.to_vec()).collect::<Vec<u8>>();
        let digest = |piece| right(&bytes(&content(piece)));
        // Some are written unhashed, as when buffers are short.
        let hash_of = |piece| (piece % 5 != 3).then(HashState::default);
        for piece in 0..PIECES {
            let (blocks, hash) = (content(piece), hash_of(piece));
            let (torrent, begin, last) = (TORRENT, 0, true);
            let absorb = Operation::Absorb { torrent, piece: PieceIndex(piece), begin, blocks, hash, last };
            bench.disk.submit(OpId(piece.into()), absorb);
        }
        for (OpId(op), outcome) in ends(&mut bench.disk, PIECES as usize).await {
            let (piece, Outcome::Absorb { blocks, hash, written }) = (op as u32, outcome) else { panic!("{op}") };
            let expected = hash_of(piece).map(|_| digest(piece));
            assert_eq!((hash, written), (expected, Ok(())), "{widest:?}, piece {piece}");
            assert_eq!(bytes(&blocks), bytes(&content(piece)), "its own buffers come home");
        }
        // One that cannot be read fails alone.
        std::fs::remove_file(root.join("t/b")).unwrap();
        bench.disk.pool.files.forget_handles(TORRENT);
        for piece in 0..PIECES {
            let (torrent, begin, len, last) = (TORRENT, 0, len_of(piece), true);
            let hash = HashState::default();
            let range = Operation::Hash { torrent, piece: PieceIndex(piece), begin, len, hash, last };
            bench.disk.submit(OpId(piece.into()), range);
        }
        for (OpId(op), outcome) in ends(&mut bench.disk, PIECES as usize).await {
            let (piece, Outcome::Hash(hash)) = (op as u32, outcome) else { panic!("{op}") };
            match piece + 1 == PIECES {
                true => assert_eq!(hash.unwrap_err().kind, DiskFaultKind::NotFound),
                false => assert_eq!(hash, Ok(digest(piece)), "{widest:?}, piece {piece}"),
            }
        }
    }
}

#[tokio::test]
async fn pad_files_are_zeros_that_are_never_written() {
    let mut bench = bench(&[("t/a", 1000, false), ("t/.pad/0", 64_536, true), ("t/b", 5, false)]);
    bench.prepare().await;
    let (_, _, written) = bench.absorb(0, PIECE_LEN as usize).await;
    assert_eq!(written, Ok(()));
    assert!(!bench.root().join("t/.pad").exists());
    let mut content = vec![0; PIECE_LEN as usize];
    content.iter_mut().take(1000).enumerate().for_each(|(i, b)| *b = byte(i));
    let zeros = Digest::Sha1(sha1(&content));
    let hashed = bench.hash(0, PIECE_LEN).await;
    assert!(matches!(hashed, Ok(Hashed::Finished { digest, .. }) if digest == zeros), "{hashed:?}");
    let Outcome::Stat(Ok(stats)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
    assert!(stats[0].is_some() && stats[1].is_none() && stats[2].is_none());
}

#[tokio::test]
async fn stat_of_nothing_makes_nothing() {
    let mut bench = bench(&[("t/a", 1000, false)]);
    let Outcome::Stat(Ok(stats)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
    assert_eq!(stats, [None, None]);
    assert!(!bench.root().exists());
}

#[tokio::test]
async fn a_link_in_the_way_is_never_followed() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("a"), b"theirs").unwrap();
    // The folder is a link; then the file is.
    for link in ["t", "t/a"] {
        let mut bench = bench(&[("t/a", 1000, false)]);
        std::fs::create_dir(bench.root()).unwrap();
        if link == "t" {
            symlink(outside.path(), bench.root().join("t")).unwrap();
        } else {
            std::fs::create_dir(bench.root().join("t")).unwrap();
            symlink(outside.path().join("a"), bench.root().join("t/a")).unwrap();
        }
        let (home, hash, written) = bench.absorb(0, 1000).await;
        assert_eq!(written.unwrap_err().kind, DiskFaultKind::NotRegular);
        assert!(home.len() == 1 && hash.is_some(), "buffers and hash come home");
        assert_eq!(bench.hash(0, 1000).await.unwrap_err().kind, DiskFaultKind::NotRegular);
        assert_eq!(bench.read(0, 0, 6).await.unwrap_err().kind, DiskFaultKind::NotRegular);
        let Outcome::Stat(Err(fault)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
        assert_eq!(fault.kind, DiskFaultKind::NotRegular);
        assert!(fault.path.ends_with("root/t/a"), "{}", fault.path);
    }
    assert_eq!(std::fs::read(outside.path().join("a")).unwrap(), b"theirs");
}

#[tokio::test]
async fn what_is_not_a_regular_file_is_refused_and_never_blocks() {
    let mut bench = bench(&[("pipe", 10, false)]);
    std::fs::create_dir(bench.root()).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        bench.root().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(bench.hash(0, 10).await.unwrap_err().kind, DiskFaultKind::NotRegular);
    assert_eq!(bench.absorb(0, 10).await.2.unwrap_err().kind, DiskFaultKind::NotRegular);
    std::fs::remove_file(bench.root().join("pipe")).unwrap();
    std::fs::create_dir(bench.root().join("pipe")).unwrap();
    assert_eq!(bench.absorb(0, 10).await.2.unwrap_err().kind, DiskFaultKind::NotRegular);
    assert_eq!(bench.hash(0, 10).await.unwrap_err().kind, DiskFaultKind::NotRegular);
}

#[tokio::test]
async fn missing_and_short_files_are_told_apart() {
    let mut bench = bench(&[("t/a", 1000, false)]);
    bench.prepare().await;
    assert_eq!(bench.hash(0, 1000).await.unwrap_err().kind, DiskFaultKind::NotFound);
    std::fs::write(bench.root().join("t/a"), [1; 999]).unwrap();
    assert_eq!(bench.hash(0, 1000).await.unwrap_err().kind, DiskFaultKind::Short);
    assert_eq!(bench.read(0, 0, 1000).await.unwrap_err().kind, DiskFaultKind::Short);
    assert_eq!(bench.read(0, 0, 1001).await.unwrap_err().kind, DiskFaultKind::Short);
    let truncate = Operation::Truncate { torrent: TORRENT, file: FileIndex(0), len: 5 };
    assert!(matches!(bench.run(truncate).await, Outcome::Truncate(Ok(()))));
    assert_eq!(std::fs::read(bench.root().join("t/a")).unwrap().len(), 5);
}

#[tokio::test]
async fn a_root_that_has_vanished_is_not_made_again_by_a_write() {
    let mut bench = bench(&[("t/a", 1000, false)]);
    assert_eq!(bench.absorb(0, 1000).await.2.unwrap_err().kind, DiskFaultKind::NotFound);
    assert!(!bench.root().exists());
}

#[tokio::test]
async fn a_full_disk_is_called_full_and_the_blocks_come_home() {
    // A small file system of its own needs root; where there is none the test ends here.
    let dir = tempfile::tempdir().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "sameseed-test"])
        .arg(dir.path())
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a tmpfs cannot be mounted here");
        return;
    }
    let path = dir.path().to_path_buf();
    let mut bench = bench_at(dir, &path, &[("a", 1_000_000, false)]);
    let (mut full, mut home) = (None, 0);
    for piece in 0..3 {
        let (blocks, _, written) = bench.absorb(piece, PIECE_LEN as usize).await;
        home += blocks.len();
        full = written.err().or(full);
    }
    let Bench { dir: _dir, disk } = bench;
    drop(disk);
    assert!(std::process::Command::new("umount").arg(&path).status().unwrap().success());
    assert_eq!(full.unwrap().kind, DiskFaultKind::Full);
    assert_eq!(home, 12);
}

#[tokio::test]
async fn more_files_than_handles_are_all_written() {
    let names: Vec<String> = (0..200).map(|i| format!("t/{}/{i}", i % 7)).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 300, false)).collect();
    let mut bench = bench(&files);
    bench.prepare().await;
    assert_eq!(bench.absorb(0, 60_000).await.2, Ok(()));
    assert!(matches!(bench.run(Operation::Sync { torrent: TORRENT }).await, Outcome::Sync(Ok(()))));
    for (i, name) in names.iter().enumerate() {
        let expected: Vec<u8> = (i * 300..i * 300 + 300).map(byte).collect();
        assert_eq!(std::fs::read(bench.root().join(name)).unwrap(), expected);
    }
    // Most systems allow 1,024 open files, sockets included.
    let ours = |link: io::Result<std::path::PathBuf>| link.is_ok_and(|path| path.starts_with(bench.root()));
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open = open.filter(|entry| ours(std::fs::read_link(entry.path()))).count();
    assert!(open <= files::MAX_HANDLES, "{open} are open");
}

#[tokio::test]
async fn an_unknown_torrent_is_a_fault_and_not_a_panic() {
    let mut bench = bench(&[("a", 5, false)]);
    let Outcome::Stat(Err(fault)) = bench.run(Operation::Stat { torrent: TorrentId(99) }).await else { panic!() };
    assert_eq!(fault.kind, DiskFaultKind::NotFound);
}

#[tokio::test]
async fn dropping_the_disk_finishes_what_was_begun() {
    let mut bench = bench(&[("a", 1_000_000, false)]);
    bench.prepare().await;
    for piece in 0..15 {
        let operation = Operation::Absorb {
            torrent: TORRENT,
            piece: PieceIndex(piece),
            begin: 0,
            blocks: blocks(piece as usize * PIECE_LEN as usize, PIECE_LEN as usize),
            hash: None,
            last: false,
        };
        bench.disk.submit(OpId(u64::from(piece)), operation);
    }
    let Bench { dir, disk } = bench;
    drop(disk);
    assert_eq!(std::fs::metadata(dir.path().join("root/a")).unwrap().len(), 15 * u64::from(PIECE_LEN));
}

#[tokio::test]
async fn what_lies_beyond_the_border_of_a_file_stands_in_the_part_file_until_that_file_is_wanted() {
    let mut bench = bench(&[("t/a", 40_000, false), ("t/b", 10_000, false), ("t/c", 50_000, false)]);
    let files = vec![FileIndex(0)];
    assert!(matches!(bench.run(Operation::Prepare { torrent: TORRENT, files }).await, Outcome::Prepare(Ok(()))));
    // The user's own file stands where one of the torrent could.
    std::fs::write(bench.root().join("t/c"), "mine").unwrap();
    let (b, c) = (40_000..50_000, 50_000..PIECE_LEN);
    bench.disk.place(TORRENT, PieceIndex(0), vec![b.clone(), c.clone()]);
    let (_, hash, written) = bench.absorb(0, PIECE_LEN as usize).await;
    assert_eq!(written, Ok(()));
    assert_eq!(Some(bench.hash(0, PIECE_LEN).await.unwrap()), hash);
    let content: Vec<u8> = (0..PIECE_LEN as usize).map(byte).collect();
    assert_eq!(bench.read(0, 39_000, 20_000).await.unwrap(), &content[39_000..59_000]);
    assert_eq!(std::fs::read(bench.root().join("t/a")).unwrap(), &content[..40_000]);
    assert!(!bench.root().join("t/b").exists());
    assert_eq!(std::fs::read(bench.root().join("t/c")).unwrap(), b"mine");
    assert!(matches!(bench.run(Operation::Sync { torrent: TORRENT }).await, Outcome::Sync(Ok(()))));
    let Outcome::Stat(Ok(stats)) = bench.run(Operation::Stat { torrent: TORRENT }).await else { panic!() };
    let lens: Vec<_> = stats.iter().map(|stat| stat.map(|stat| stat.len)).collect();
    assert_eq!(lens, [Some(40_000), None, Some(4), Some(u64::from(PIECE_LEN))]);

    let unpart = Operation::Unpart { torrent: TORRENT, piece: PieceIndex(0), ranges: vec![b] };
    assert!(matches!(bench.run(unpart).await, Outcome::Unpart(Ok(()))));
    assert_eq!(Some(bench.hash(0, PIECE_LEN).await.unwrap()), hash, "both places hold the same");
    bench.disk.place(TORRENT, PieceIndex(0), vec![c]);
    assert_eq!(Some(bench.hash(0, PIECE_LEN).await.unwrap()), hash);
    assert_eq!(std::fs::read(bench.root().join("t/b")).unwrap(), &content[40_000..50_000]);

    for _ in 0..2 {
        let drop_parts = Operation::DropParts { torrent: TORRENT };
        assert!(matches!(bench.run(drop_parts).await, Outcome::DropParts(Ok(()))), "also when there is none");
        assert!(!bench.root().join(".t.parts").exists());
    }
    let fault = bench.hash(0, PIECE_LEN).await.unwrap_err();
    assert!(fault.kind == DiskFaultKind::NotFound && fault.path.ends_with(".t.parts"), "{fault:?}");
    let sync = bench.run(Operation::Sync { torrent: TORRENT }).await;
    assert!(matches!(sync, Outcome::Sync(Ok(()))), "what was removed needs no sync");
}

#[tokio::test]
async fn a_link_in_the_place_of_the_part_file_is_not_followed() {
    let mut bench = bench(&[("t/a", 40_000, false), ("t/b", 50_000, false)]);
    bench.prepare().await;
    std::fs::write(bench.dir.path().join("outside"), "safe").unwrap();
    symlink(bench.dir.path().join("outside"), bench.root().join(".t.parts")).unwrap();
    let beyond = 40_000..PIECE_LEN;
    bench.disk.place(TORRENT, PieceIndex(0), Vec::from([beyond]));
    let (_, _, written) = bench.absorb(0, PIECE_LEN as usize).await;
    assert_eq!(written.unwrap_err().kind, DiskFaultKind::NotRegular);
    assert_eq!(std::fs::read(bench.dir.path().join("outside")).unwrap(), b"safe");
}

#[tokio::test]
async fn the_part_file_moves_and_goes_with_its_torrent_and_a_rename_leaves_it() {
    let near = tempfile::tempdir().unwrap();
    let far = tempfile::tempdir_in("/dev/shm").ok();
    for target in [Some(near), far].into_iter().flatten() {
        let mut bench = bench(&[("t/a", 40_000, false), ("t/b", 50_000, false)]);
        bench.prepare().await;
        let beyond = 40_000..PIECE_LEN;
        bench.disk.place(TORRENT, PieceIndex(0), Vec::from([beyond]));
        assert_eq!(bench.absorb(0, PIECE_LEN as usize).await.2, Ok(()));
        let root = target.path().join("x");
        let to = Folder(root.clone().into_os_string().into_encoded_bytes());
        assert!(matches!(bench.run(Operation::Move { torrent: TORRENT, to }).await, Outcome::Move(Ok(()))));
        let rename = Operation::Rename { torrent: TORRENT, from: vec!["t".into()], to: vec!["u".into()] };
        assert!(matches!(bench.run(rename).await, Outcome::Rename(Ok(()))));
        assert!(root.join(".t.parts").exists() && !bench.root().join(".t.parts").exists());
        assert!(root.join("u/a").exists() && !root.join("u/b").exists());
        assert!(bench.hash(0, PIECE_LEN).await.is_ok(), "it is read where it stands now");
        assert!(matches!(bench.run(Operation::Sync { torrent: TORRENT }).await, Outcome::Sync(Ok(()))));
        let outcome = bench.run(Operation::Delete { torrent: TORRENT, files: true }).await;
        assert!(matches!(outcome, Outcome::Delete(Ok(()))), "{outcome:?}");
        assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0, "nothing of it is left");
    }
}
