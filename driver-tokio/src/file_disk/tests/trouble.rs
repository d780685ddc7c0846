//! After trouble: what was not brought to stable storage is not forgotten, files are opened afresh, and nothing is left half moved.

use super::*;
use crate::storage::{Storage, StoredFile};

async fn sync(bench: &mut Bench) -> Result<(), DiskFault> {
    match bench.run(Operation::Sync { torrent: TORRENT }).await {
        Outcome::Sync(result) => result,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_file_that_is_gone_fails_a_sync_of_its_own() {
    let mut bench = saved_bench().await;
    for file in ["t/a", "t/sub/b"] {
        std::fs::remove_file(bench.root().join(file)).unwrap();
    }
    bench.disk.pool.files.forget_handles(TORRENT);
    for file in ["t/a", "t/sub/b"] {
        let fault = sync(&mut bench).await.unwrap_err();
        assert!(fault.kind == DiskFaultKind::NotFound && fault.path.ends_with(file), "{fault}");
    }
    assert_eq!(sync(&mut bench).await, Ok(()));
}

#[tokio::test]
async fn the_folders_of_new_files_are_synced_with_them() {
    let mut bench = saved_bench().await;
    // The files are still open, so that only their folders are missed.
    std::fs::remove_dir_all(bench.root().join("t")).unwrap();
    for folder in ["t", "t/sub"] {
        let fault = sync(&mut bench).await.unwrap_err();
        assert!(fault.kind == DiskFaultKind::NotFound && fault.path.ends_with(folder), "{fault}");
    }
    assert_eq!(sync(&mut bench).await, Ok(()));
}

#[tokio::test]
async fn after_a_fault_a_file_that_took_the_place_of_the_old_one_is_read() {
    let mut bench = saved_bench().await;
    let (path, other) = (bench.root().join("t/a"), bench.root().join("other"));
    let content = std::fs::read(&path).unwrap();
    std::fs::write(&path, b"short").unwrap();
    assert_eq!(bench.read(0, 0, 100).await.unwrap_err().kind, DiskFaultKind::Short);
    std::fs::write(&other, &content).unwrap();
    std::fs::rename(&other, &path).unwrap();
    assert_eq!(bench.read(0, 0, 100).await, Ok(content));
}

#[tokio::test]
async fn a_part_file_that_was_moved_already_goes_back_when_the_rest_cannot_follow() {
    let target = tempfile::tempdir().unwrap();
    std::fs::create_dir(target.path().join("t")).unwrap();
    let mut bench = bench(&[("t/a", 40_000, false), ("t/b", 50_000, false)]);
    bench.prepare().await;
    let beyond = 40_000..PIECE_LEN;
    bench.disk.place(TORRENT, PieceIndex(0), Vec::from([beyond]));
    assert_eq!(bench.absorb(0, PIECE_LEN as usize).await.2, Ok(()));
    bench.disk.pool.files.forget_handles(TORRENT);
    let to = Folder(target.path().as_os_str().as_encoded_bytes().to_vec());
    assert!(matches!(bench.run(Operation::Move { torrent: TORRENT, to }).await, Outcome::Move(Err(_))));
    assert!(bench.hash(0, PIECE_LEN).await.is_ok(), "all is where it was");
}

#[tokio::test]
async fn a_long_copy_ends_when_the_program_does_and_leaves_nothing_behind() {
    // Mostly another file system than that of temporary files; where it is none, nothing is copied.
    let Ok(far) = tempfile::tempdir_in("/dev/shm") else { return };
    let mut bench = saved_bench().await;
    let device = |path: &Path| std::os::unix::fs::MetadataExt::dev(&path.metadata().unwrap());
    if device(far.path()) == device(&bench.root()) {
        return;
    }
    bench.disk.pool.files.closing.store(true, Ordering::Relaxed);
    let to = Folder(far.path().as_os_str().as_encoded_bytes().to_vec());
    let Outcome::Move(Err(fault)) = bench.run(Operation::Move { torrent: TORRENT, to }).await else { panic!() };
    assert!(fault.detail.contains("about to end"), "{fault}");
    assert_eq!(std::fs::read_dir(far.path()).unwrap().count(), 0);
    assert!(bench.hash(0, 200).await.is_ok(), "all is where it was");
}

struct Panics;

impl Storage for Panics {
    fn len(&self, _: StoredFile<'_>) -> io::Result<Option<u64>> {
        panic!("a storage of somebody's own");
    }
    fn read_at(&self, _: StoredFile<'_>, _: u64, _: &mut [u8]) -> io::Result<()> {
        Ok(())
    }
    fn write_at(&self, _: StoredFile<'_>, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn set_len(&self, _: StoredFile<'_>, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self, _: StoredFile<'_>) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: StoredFile<'_>) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
#[should_panic(expected = "a storage of somebody's own")]
async fn a_panic_on_a_thread_of_the_disk_is_passed_on() {
    let mut disk = FileDisk::with_threads(2).unwrap();
    let layout = Arc::new(Layout::new(vec![(vec![String::from("a")], 10, false)], PIECE_LEN).unwrap());
    let (info_hash, parts_name) = (InfoHash::V1([7; 20]), String::from(".a.parts"));
    let (home, hashes) = (Home::storage(Panics), hashes_of(&layout));
    disk.register(TORRENT, Location { info_hash, home, layout, hashes, parts_name, resume: None });
    disk.submit(OpId(1), Operation::Stat { torrent: TORRENT });
    ends(&mut disk, 1).await;
}

#[tokio::test]
async fn who_cannot_learn_what_a_piece_must_hash_to_has_lost_it() {
    for home in [Home::folder("root"), Home::storage(crate::MemoryStorage::new(1 << 20))] {
        let dir = tempfile::tempdir().unwrap();
        let home = if let Home::Folder(name) = home { Home::folder(dir.path().join(name)) } else { home };
        let layout = Layout::new(vec![(vec![String::from("a")], u64::from(PIECE_LEN) * 2, false)], PIECE_LEN).unwrap();
        let Digest::Sha1(first) = hashes_of(&layout).digest_of(PieceIndex(0)).unwrap();
        let location = Location {
            info_hash: InfoHash::V1([7; 20]),
            home,
            layout: Arc::new(layout),
            hashes: vec![first].into(),
            parts_name: String::from(".t.parts"),
            resume: None,
        };
        let mut disk = FileDisk::with_threads(2).unwrap();
        disk.register(TORRENT, location);
        let mut bench = Bench { dir, disk };
        bench.prepare().await;
        let content: Vec<u8> = (0..PIECE_LEN as usize).map(byte).collect();
        let (_, hash, written) = bench.absorb(0, PIECE_LEN as usize).await;
        assert_eq!((hash, written), (Some(right(&content)), Ok(())));
        let (blocks, hash, written) = bench.absorb(1, PIECE_LEN as usize).await;
        assert_eq!((blocks.len(), hash), (4, None));
        assert!(written.unwrap_err().to_string().starts_with("the hashes of the pieces: "));
        assert_eq!(bench.hash(0, PIECE_LEN).await, Ok(right(&content)));
        let fault = bench.hash(1, PIECE_LEN).await.unwrap_err();
        assert!(fault.to_string().starts_with("the hashes of the pieces: "), "{fault}");
    }
}
