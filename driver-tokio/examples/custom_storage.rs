//! A storage of one's own: every file of a torrent becomes a folder of chunks, each a file of at most 1 MiB, as an object store would have it.
//!
//! `cargo run --release -p driver-tokio --example custom_storage -- file.torrent chunks [PEER:PORT]...`
//!
//! The trait has six calls. They may block: they come from the disk's threads, never from the engine's. An error shows as trouble of the torrent, and is tried again.
#![expect(clippy::print_stdout, reason = "an example that talks")]

use driver_tokio::{AddTorrentOptions, Home, Session, Storage, StoredFile};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

const CHUNK: u64 = 1 << 20;

struct Chunks {
    root: PathBuf,
}

impl Chunks {
    fn folder(&self, file: StoredFile<'_>) -> PathBuf {
        self.root.join(file.torrent.to_hex()).join(file.index.0.to_string())
    }

    /// The chunks that hold `len` bytes from `offset`: number, from where in it, which of the bytes.
    fn cut(offset: u64, len: usize) -> impl Iterator<Item = (u64, u64, std::ops::Range<usize>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let (chunk, begin) = ((offset + at as u64) / CHUNK, (offset + at as u64) % CHUNK);
            let step = (CHUNK - begin).min((len - at) as u64) as usize;
            at += step;
            (step > 0).then(|| (chunk, begin, at - step..at))
        })
    }

    fn chunks(&self, file: StoredFile<'_>) -> io::Result<Option<Vec<PathBuf>>> {
        match fs::read_dir(self.folder(file)) {
            Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>().map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Storage for Chunks {
    fn len(&self, file: StoredFile<'_>) -> io::Result<Option<u64>> {
        // Chunks that are not there read as an error, which is to say that they are missing: so the length may be the whole one.
        Ok(self.chunks(file)?.map(|_| file.len))
    }
    fn read_at(&self, file: StoredFile<'_>, offset: u64, into: &mut [u8]) -> io::Result<()> {
        Chunks::cut(offset, into.len()).try_for_each(|(chunk, begin, range)| {
            File::open(self.folder(file).join(chunk.to_string()))?.read_exact_at(&mut into[range], begin)
        })
    }
    fn write_at(&self, file: StoredFile<'_>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(self.folder(file))?;
        Chunks::cut(offset, bytes.len()).try_for_each(|(chunk, begin, range)| {
            let path = self.folder(file).join(chunk.to_string());
            OpenOptions::new().create(true).truncate(false).write(true).open(path)?.write_all_at(&bytes[range], begin)
        })
    }
    fn set_len(&self, file: StoredFile<'_>, _: u64) -> io::Result<()> {
        fs::create_dir_all(self.folder(file))
    }
    fn sync(&self, file: StoredFile<'_>) -> io::Result<()> {
        self.chunks(file)?.unwrap_or_default().into_iter().try_for_each(|chunk| File::open(chunk)?.sync_all())?;
        File::open(self.folder(file))?.sync_all()
    }
    fn remove(&self, file: StoredFile<'_>) -> io::Result<()> {
        fs::remove_dir_all(self.folder(file))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (file, root) =
        args.next().zip(args.next()).ok_or("usage: custom_storage FILE.torrent FOLDER [PEER:PORT]...")?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;
    let session = Session::builder().start().await?;
    let home = Home::storage(Chunks { root: root.into() });
    let torrent = session.add(AddTorrentOptions::from_file(file)?.at(home).with_peers(peers)).await?;
    torrent.wait_complete().await?;
    println!("{} is complete", torrent.name());
    session.shutdown().await;
    Ok(())
}
