//! A download in ten lines.
//!
//! `cargo run --release -p driver-tokio --example download -- file.torrent downloads [PEER:PORT]...`
//!
//! Downloads into the folder `downloads` (of which what is there is checked first) and ends when everything is verified and safe on the disk. Peers come from the torrent's
//! trackers; more can be named behind the folder.
#![expect(clippy::print_stdout, reason = "an example that talks")]

use driver_tokio::{AddTorrentOptions, Session};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (file, folder) = args.next().zip(args.next()).ok_or("usage: download FILE.torrent FOLDER [PEER:PORT]...")?;
    let peers = args.map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;
    let session = Session::builder().home(folder).start().await?;
    let torrent = session.add(AddTorrentOptions::from_file(file)?.with_peers(peers)).await?;
    torrent.wait_complete().await?;
    println!("{} is complete", torrent.name());
    session.shutdown().await;
    Ok(())
}
