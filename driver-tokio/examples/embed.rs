//! Several torrents in one session: limits, events, and a look at how they are doing.
//!
//! `cargo run --release -p driver-tokio --example embed -- downloads a.torrent b.torrent... [PEER:PORT]...`
//!
//! What was verified is remembered in `downloads/.state`, so that the next start need not read it again. Ends when all torrents are complete.
#![expect(clippy::print_stdout, reason = "an example that talks")]

use driver_tokio::core::{action::Notice, config::RateLimits};
use driver_tokio::{AddTorrentOptions, Event, Session, Torrent};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let folder = args.next().ok_or("usage: embed FOLDER FILE.torrent... [PEER:PORT]...")?;
    let (peers, files): (Vec<_>, Vec<_>) = args.partition(|arg| arg.parse::<SocketAddr>().is_ok());
    let peers = peers.iter().map(|peer| peer.parse()).collect::<Result<Vec<_>, _>>()?;

    // One session for all, with a limit for all together (20 MiB/s down, 2 MiB/s up) and a filter: nobody from this documentation's addresses.
    let session = Session::builder()
        .home(&*folder)
        .resume_dir(format!("{folder}/.state"))
        .limits(RateLimits { down: 20 << 20, up: 2 << 20 })
        .peer_filter(|peer: SocketAddr| !matches!(peer.ip(), IpAddr::V4(ip) if ip.is_documentation()))
        .start()
        .await?;

    // Events from now on: also those of the check, which begins as soon as a torrent is added.
    let mut events = session.events();
    let mut torrents: Vec<Torrent> = Vec::new();
    for file in files {
        let torrent = session.add(AddTorrentOptions::from_file(file)?.with_peers(peers.clone())).await?;
        // Each may have limits of its own besides; 0 is none.
        torrent.set_limits(RateLimits { down: 10 << 20, up: 0 }).await?;
        torrents.push(torrent);
    }

    let mut complete = 0;
    let mut look = tokio::time::interval(Duration::from_secs(1));
    while complete < torrents.len() {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { break };
                let torrent = torrents.iter().find(|torrent| event.torrent() == Some(torrent.id()));
                let name = torrent.map_or("", |torrent| torrent.name());
                match event {
                    Event::Notice(Notice::Checked { have, .. }) => println!("{name}: {have} pieces were there"),
                    Event::Notice(Notice::DiskTrouble { fault, .. }) => println!("{name}: {fault}"),
                    Event::Notice(Notice::TrackerFailed { url, reason, .. }) => println!("{name}: {url}: {reason}"),
                    Event::FileComplete { file, .. } => {
                        let path = torrent.and_then(|torrent| torrent.layout().files().get(file.0 as usize));
                        println!("{name}: file {} is complete", path.map_or(String::new(), |entry| entry.path.join("/")));
                    }
                    Event::Notice(Notice::Complete { .. }) => {
                        println!("{name}: complete");
                        complete += 1;
                    }
                    _ => {}
                }
            }
            _ = look.tick() => {
                for torrent in session.view().await?.torrents {
                    let (rate, peers) = (torrent.down_rate, torrent.peers);
                    println!("{}: {} of {} bytes, {rate} B/s from {peers} peers", torrent.name, torrent.have_bytes, torrent.total_bytes);
                }
            }
        }
    }
    session.shutdown().await;
    Ok(())
}
