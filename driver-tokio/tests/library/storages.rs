//! Torrents in memory, in folders that must not change, and in storages of somebody's own.

use super::bench::*;
use driver_tokio::core::action::Notice;
use driver_tokio::core::fault::DiskFaultKind;
use driver_tokio::core::id::FileIndex;
use driver_tokio::core::selection::Priority;
use driver_tokio::core::view::TorrentState;
use driver_tokio::{AddTorrentOptions, Event, Home, MemoryStorage, PART_FILE, Storage, StoredFile, TorrentError};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

fn trouble(event: Event) -> Option<driver_tokio::core::fault::DiskFault> {
    match event {
        Event::Notice(Notice::DiskTrouble { fault, .. }) => Some(fault),
        _ => None,
    }
}

fn assert_memory(memory: &MemoryStorage, sample: &Sample) {
    for (index, path, bytes) in sample.files() {
        let there = memory.contents(sample.metainfo.info_hash, index);
        assert!(there.is_some_and(|there| there == bytes), "{path}");
    }
}

#[tokio::test]
async fn memory_is_seeded_from_and_downloaded_into() {
    let sample = Sample::usual("memory");
    let (full, empty) = (MemoryStorage::new(1 << 22), MemoryStorage::new(1 << 22));
    for (index, _, bytes) in sample.files() {
        full.insert(sample.metainfo.info_hash, index, bytes.to_vec()).unwrap();
    }
    let (one, two, three) = (session().await, session().await, session().await);
    let seeding = one.add(AddTorrentOptions::new(sample.metainfo.clone(), full)).await.unwrap();
    in_time(seeding.wait_complete()).await.unwrap();
    let options = AddTorrentOptions::new(sample.metainfo.clone(), empty.clone()).with_peers([addr(&one)]);
    let torrent = two.add(options).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    assert_memory(&empty, &sample);
    one.shutdown().await;

    // What was downloaded is served on, into a folder.
    let dir = tempfile::tempdir().unwrap();
    let options = AddTorrentOptions::new(sample.metainfo.clone(), dir.path()).with_peers([addr(&two)]);
    in_time(three.add(options).await.unwrap().wait_complete()).await.unwrap();
    sample.assert_below(dir.path());
    in_time(torrent.remove_with_files()).await.unwrap();
    assert_eq!(empty.bytes(), 0);
    two.shutdown().await;
    three.shutdown().await;
}

#[tokio::test]
async fn memory_that_is_full_is_trouble_until_there_is_room() {
    let sample = Sample::usual("full");
    let seeder = seeder(&sample).await;
    let (session, memory) = (session().await, MemoryStorage::new(500_000));
    let mut events = session.events();
    let options = AddTorrentOptions::new(sample.metainfo.clone(), memory.clone()).with_peers([seeder.addr]);
    let torrent = session.add(options).await.unwrap();
    let fault = wait_for(&mut events, trouble).await;
    assert_eq!(fault.kind, DiskFaultKind::Full);
    assert!(fault.to_string().contains("all 500000 bytes of memory are in use"), "{fault}");
    memory.set_max_bytes(1 << 22);
    in_time(torrent.wait_complete()).await.unwrap();
    assert_memory(&memory, &sample);
    session.shutdown().await;
    seeder.session.shutdown().await;
}

/// Every entry below a folder, with what tells that it was changed.
fn tree(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let meta = path.symlink_metadata().unwrap();
            found.insert(path.clone(), (if meta.is_dir() { 0 } else { meta.len() }, meta.modified().unwrap()));
            if meta.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn a_read_only_folder_is_seeded_from_and_never_changed() {
    let sample = Sample::usual("read-only");
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample.write(dir.path());
    // Not even this, which looks as if it were ours.
    std::fs::write(dir.path().join(sample.metainfo.parts_name()), "x").unwrap();
    let before = tree(dir.path());
    let (session, state) =
        (builder().resume_dir(other.path().join("state")).start().await.unwrap(), other.path().join("state"));
    let torrent =
        session.add(AddTorrentOptions::new(sample.metainfo.clone(), Home::read_only(dir.path()))).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    let leecher = super::bench::session().await;
    let options = AddTorrentOptions::new(sample.metainfo.clone(), other.path()).with_peers([addr(&session)]);
    in_time(leecher.add(options).await.unwrap().wait_complete()).await.unwrap();
    sample.assert_below(other.path());
    let error = in_time(torrent.move_to(other.path().join("elsewhere"))).await.unwrap_err();
    assert!(matches!(&error, TorrentError::Disk(fault) if fault.kind == DiskFaultKind::Denied), "{error}");
    assert!(in_time(torrent.rename(None, "new")).await.is_err());
    while torrent.view().await.unwrap().checkpoints == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(std::fs::read_dir(&state).unwrap().count() > 0, "resume data stands elsewhere, and is kept");
    let error = in_time(torrent.remove_with_files()).await.unwrap_err();
    assert!(error.to_string().contains("nothing is ever written here"), "{error}");
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "that is deleted all the same");
    leecher.shutdown().await;
    session.shutdown().await;
    assert_eq!(tree(dir.path()), before);
}

#[tokio::test]
async fn a_read_only_folder_that_lacks_something_is_trouble_and_goes_on_when_it_is_there() {
    let sample = Sample::usual("lacking");
    let dir = tempfile::tempdir().unwrap();
    sample.write(dir.path());
    std::fs::remove_file(dir.path().join("lacking/c")).unwrap();
    std::fs::write(dir.path().join("lacking/a"), vec![0; 200_000]).unwrap();
    let before = tree(dir.path());
    let seeder = seeder(&sample).await;
    let session = session().await;
    let mut events = session.events();
    let options =
        AddTorrentOptions::new(sample.metainfo.clone(), Home::read_only(dir.path())).with_peers([seeder.addr]);
    let torrent = session.add(options).await.unwrap();
    let fault = wait_for(&mut events, trouble).await;
    let words = "permission denied (nothing is ever written here, because it was added as read-only: it can be seeded once all of its files are there)";
    assert_eq!(fault.to_string(), format!("{}: {words}", dir.path().display()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(tree(dir.path()), before);
    assert!(torrent.view().await.unwrap().trouble.is_some());
    sample.write(dir.path());
    let before = tree(dir.path());
    in_time(torrent.wait_complete()).await.unwrap();
    session.shutdown().await;
    seeder.session.shutdown().await;
    assert_eq!(tree(dir.path()), before);
}

/// Memory whose writes fail when told so.
#[derive(Default)]
struct Moody {
    fails: AtomicBool,
    memory: Option<MemoryStorage>,
}

impl Moody {
    fn memory(&self) -> &MemoryStorage {
        self.memory.as_ref().unwrap()
    }
}

impl Storage for Moody {
    fn len(&self, file: StoredFile<'_>) -> io::Result<Option<u64>> {
        self.memory().len(file)
    }
    fn read_at(&self, file: StoredFile<'_>, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.memory().read_at(file, offset, into)
    }
    fn write_at(&self, file: StoredFile<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(file.index == PART_FILE || offset + bytes.len() as u64 <= file.len, "a write within its file");
        match self.fails.load(Ordering::Relaxed) {
            true => Err(io::Error::other("the database is away for lunch")),
            false => self.memory().write_at(file, offset, bytes),
        }
    }
    fn set_len(&self, file: StoredFile<'_>, len: u64) -> io::Result<()> {
        self.memory().set_len(file, len)
    }
    fn sync(&self, file: StoredFile<'_>) -> io::Result<()> {
        assert!(self.memory().len(file)?.is_some(), "only what is there is synced");
        Ok(())
    }
    fn remove(&self, file: StoredFile<'_>) -> io::Result<()> {
        self.memory().remove(file)
    }
}

#[tokio::test]
async fn a_storage_whose_writes_fail_is_trouble_until_they_do_not() {
    let sample = Sample::usual("moody");
    let seeder = seeder(&sample).await;
    let moody = Arc::new(Moody { fails: true.into(), memory: Some(MemoryStorage::new(1 << 22)) });
    let session = session().await;
    let mut events = session.events();
    let options =
        AddTorrentOptions::new(sample.metainfo.clone(), Home::Storage(moody.clone())).with_peers([seeder.addr]);
    let torrent = session.add(options).await.unwrap();
    let fault = wait_for(&mut events, trouble).await;
    assert!(fault.to_string().ends_with(": input/output error (the database is away for lunch)"), "{fault}");
    assert!(fault.path.starts_with("moody/"), "{fault}");
    let view = torrent.view().await.unwrap();
    assert_eq!((view.state, view.have), (TorrentState::Troubled, 0));
    moody.fails.store(false, Ordering::Relaxed);
    in_time(torrent.wait_complete()).await.unwrap();
    assert_memory(moody.memory(), &sample);
    let error = in_time(torrent.move_to("/elsewhere")).await.unwrap_err();
    assert!(error.to_string().contains("can neither move nor rename"), "{error}");
    assert!(in_time(torrent.rename(None, "other")).await.is_err());
    assert_eq!(torrent.view().await.unwrap().state, TorrentState::Seeding);
    session.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn a_storage_keeps_what_is_not_wanted_aside_until_it_is() {
    let sample = Sample::usual("aside");
    let seeder = seeder(&sample).await;
    let memory = MemoryStorage::new(1 << 23);
    let session = session().await;
    let options = AddTorrentOptions::new(sample.metainfo.clone(), memory.clone()).with_peers([seeder.addr]);
    let options = AddTorrentOptions { priorities: vec![(FileIndex(1), Priority::Skip)], ..options };
    let torrent = session.add(options).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    let hash = sample.metainfo.info_hash;
    assert_eq!(memory.contents(hash, FileIndex(0)).unwrap(), sample.file(0));
    assert!(memory.contents(hash, FileIndex(1)).is_none() && memory.contents(hash, PART_FILE).is_some());
    torrent.set_priorities(vec![(FileIndex(1), Priority::Normal)]).await.unwrap();
    in_time(torrent.wait_complete()).await.unwrap();
    assert_memory(&memory, &sample);
    session.shutdown().await;
    seeder.session.shutdown().await;
}

#[tokio::test]
async fn a_storage_without_versions_is_hashed_at_each_start_whatever_resume_data_claims() {
    let sample = Sample::usual("hashed");
    let (memory, state) = (MemoryStorage::new(1 << 22), tempfile::tempdir().unwrap());
    for (index, _, bytes) in sample.files() {
        memory.insert(sample.metainfo.info_hash, index, bytes.to_vec()).unwrap();
    }
    for _ in 0..2 {
        let session = builder().resume_dir(state.path()).start().await.unwrap();
        let torrent = session.add(AddTorrentOptions::new(sample.metainfo.clone(), memory.clone())).await.unwrap();
        in_time(torrent.wait_complete()).await.unwrap();
        assert_eq!(torrent.view().await.unwrap().hashed, sample.metainfo.layout.piece_count());
        session.shutdown().await;
    }
}

/// Memory that counts the changes of each file, and knows which are not safe yet.
#[derive(Clone)]
struct Versioned {
    memory: MemoryStorage,
    versions: Arc<Mutex<BTreeMap<u32, i64>>>,
    unsynced: Arc<Mutex<BTreeSet<u32>>>,
}

impl Versioned {
    fn changed(&self, file: FileIndex) {
        *self.versions.lock().unwrap().entry(file.0).or_default() += 1;
    }
}

impl Storage for Versioned {
    fn len(&self, file: StoredFile<'_>) -> io::Result<Option<u64>> {
        self.memory.len(file)
    }
    fn read_at(&self, file: StoredFile<'_>, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.memory.read_at(file, offset, into)
    }
    fn write_at(&self, file: StoredFile<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.changed(file.index);
        self.unsynced.lock().unwrap().insert(file.index.0);
        self.memory.write_at(file, offset, bytes)
    }
    fn set_len(&self, file: StoredFile<'_>, len: u64) -> io::Result<()> {
        self.changed(file.index);
        self.memory.set_len(file, len)
    }
    fn sync(&self, file: StoredFile<'_>) -> io::Result<()> {
        self.unsynced.lock().unwrap().remove(&file.index.0);
        Ok(())
    }
    fn remove(&self, file: StoredFile<'_>) -> io::Result<()> {
        self.memory.remove(file)
    }
    fn version(&self, file: StoredFile<'_>) -> io::Result<Option<i64>> {
        Ok(self.versions.lock().unwrap().get(&file.index.0).copied())
    }
}

#[tokio::test]
async fn a_storage_is_synced_before_a_torrent_is_complete_and_its_versions_tell_what_is_to_be_hashed() {
    let sample = Sample::usual("versioned");
    let (seeder, state) = (seeder(&sample).await, tempfile::tempdir().unwrap());
    let storage = Versioned { memory: MemoryStorage::new(1 << 22), versions: Arc::default(), unsynced: Arc::default() };
    let start = async || {
        let session = builder().resume_dir(state.path()).start().await.unwrap();
        let options = AddTorrentOptions::new(sample.metainfo.clone(), Home::storage(storage.clone()));
        let torrent = session.add(options.with_peers([seeder.addr])).await.unwrap();
        in_time(torrent.wait_complete()).await.unwrap();
        let hashed = torrent.view().await.unwrap().hashed;
        (session, torrent, hashed)
    };
    let (session, _, _) = start().await;
    assert_eq!(*storage.unsynced.lock().unwrap(), BTreeSet::new(), "complete, and safe");
    session.shutdown().await;
    let (session, _, hashed) = start().await;
    assert_eq!(hashed, 0);
    session.shutdown().await;
    storage.changed(FileIndex(3));
    let (session, torrent, hashed) = start().await;
    assert_eq!(hashed, 2, "the pieces of the file that was changed");
    in_time(torrent.remove_with_files()).await.unwrap();
    assert_eq!(storage.memory.bytes(), 0);
    session.shutdown().await;
    seeder.session.shutdown().await;
}
