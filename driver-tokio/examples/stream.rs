//! Reads a file of a torrent while it is downloaded, as a player would: its beginning first, then wherever it jumps to.
//!
//! `cargo run --release -p driver-tokio --example stream -- file.torrent downloads [PEER:PORT]... > film.mkv`
//!
//! Writes the torrent's largest file to standard output. Before that it reads the last 64 KiB, as players do that look for an index; both come before all else.

use driver_tokio::core::id::FileIndex;
use driver_tokio::{AddTorrentOptions, Session};
use std::io::SeekFrom;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (file, folder) = args.next().zip(args.next()).ok_or("usage: stream FILE.torrent FOLDER [PEER:PORT]...")?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;
    let session = Session::builder().home(folder).start().await?;
    let torrent = session.add(AddTorrentOptions::from_file(file)?.with_peers(peers)).await?;

    let files = torrent.files().await?;
    let largest = files.iter().max_by_key(|file| file.len).ok_or("the torrent has no files")?;
    // Nothing else is wanted.
    torrent.select_files([FileIndex(largest.file.0)]).await?;

    let mut reader = torrent.reader(largest.file).await?;
    let mut index = Vec::new();
    reader.seek(SeekFrom::Start(largest.len.saturating_sub(64 * 1024))).await?;
    reader.read_to_end(&mut index).await?;

    reader.seek(SeekFrom::Start(0)).await?;
    let mut buffer = vec![0; 64 * 1024];
    let mut out = std::io::stdout().lock();
    loop {
        let len = reader.read(&mut buffer).await?;
        if len == 0 {
            break;
        }
        std::io::Write::write_all(&mut out, &buffer[..len])?;
    }
    std::io::Write::flush(&mut out)?;
    drop(reader);
    session.shutdown().await;
    Ok(())
}
