//! When a client seeds: asked of itself, as a peer asks.

use crate::measure::{Cost, cpu_of, now, peak_mib};
use ::tests::{
    Libtorrent, Link, Outcome, Process, Stage, Torrent, Tree, TreeFile, free_port, id, noise, sameseed_binary,
};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Between two questions to a client that does not seed yet.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// An answer on loopback comes at once or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
/// Of each of many files.
const FILE_BYTES: usize = 1024;
const PIECE_BYTES: usize = 64 * 1024;

/// Starts one client with a torrent of so many files, all of which are there. What is measured is the way until it is being seeded.
///
/// # Errors
/// When the client fails.
pub(crate) fn run(stage: &Stage, base: &Path, files: usize, name: &str) -> Outcome<Cost> {
    // In folders of a thousand, as whoever has so many files keeps them.
    let path = |i: u64| vec![format!("{:03}", i / 1000), format!("{i:06}.bin")];
    let file = |i: u64| TreeFile { path: path(i), bytes: noise(i, FILE_BYTES) };
    let tree = Tree { name: format!("{files} files"), files: (0..files as u64).map(file).collect() };
    let data = base.join(format!("files-{files}"));
    if !data.exists() {
        tree.write_into(&data)?;
    }
    let torrents = stage.folder("torrents")?;
    let torrent = Torrent::write(&tree, PIECE_BYTES, "http://127.0.0.1:9/announce", torrents.join("files.torrent"))?;
    let port = free_port();
    let command = match name {
        "sameseed" => {
            let mut command = Command::new(sameseed_binary());
            command.args(["--seed", "--no-resume", "--bind=127.0.0.1", "--log-level=warn"]);
            command.arg(format!("--listen-port={port}")).arg("--dir").arg(&data).arg(&torrent.path);
            command
        }
        "aria2c" => {
            let mut command = Command::new("aria2c");
            command.args(["--no-conf=true", "--check-integrity=true", "--seed-ratio=0.0", "--enable-dht=false"]);
            command.args(["--enable-dht6=false", "--bt-enable-lpd=false", "--interface=127.0.0.1"]);
            command.args(["--show-console-readout=false", "--console-log-level=error"]);
            command.arg(format!("--listen-port={port}")).arg(format!("--dir={}", data.display())).arg(&torrent.path);
            command
        }
        "libtorrent" => Libtorrent::command(stage, "idle", &torrents, &data, port)?,
        _ => return Err(format!("nobody knows how {name} is told to seed what is there").into()),
    };
    let start = now();
    let mut process = Process::start(stage, "files", command)?;
    until_seeded(stage, &mut process, port, &[torrent.info_hash])?;
    let wall_s = start.elapsed().as_secs_f64();
    Ok(Cost { wall_s, cpu_s: cpu_of(process.id()), peak_mib: peak_mib(process.id()) })
}

/// Waits until who listens there has all of these torrents; each is asked for in a thread of its own.
///
/// # Errors
/// When it ends, or the stage's time does.
pub(crate) fn until_seeded(stage: &Stage, process: &mut Process, port: u16, info_hashes: &[[u8; 20]]) -> Outcome {
    let mut asked_for = info_hashes.to_vec();
    loop {
        let seeded: Vec<bool> = std::thread::scope(|scope| {
            let asking: Vec<_> = asked_for.iter().map(|hash| scope.spawn(|| seeds(port, hash))).collect();
            asking.into_iter().map(|answer| answer.join().unwrap_or(false)).collect()
        });
        let mut seeded = seeded.into_iter();
        asked_for.retain(|_| !seeded.next().unwrap_or(false));
        if asked_for.is_empty() {
            return Ok(());
        }
        process.check_alive()?;
        if stage.deadline().is_over() {
            return Err("it does not seed in time".into());
        }
        std::thread::sleep(ASK_AGAIN);
    }
}

/// Whether who listens there says of this torrent that it has all pieces.
fn seeds(port: u16, info_hash: &[u8; 20]) -> bool {
    let ask = || -> Outcome<bool> {
        let mut link = Link::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?);
        link.stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        link.send_handshake(*info_hash, *b"-BE0001-bench-ready0", false)?;
        link.read_handshake()?;
        loop {
            if let (id::BITFIELD, pieces) = link.receive()? {
                return Ok(is_full(&pieces));
            }
        }
    };
    ask().unwrap_or(false)
}

/// Whether no piece is missing: those behind the last one are never set.
fn is_full(bitfield: &[u8]) -> bool {
    let Some((last, all)) = bitfield.split_last() else { return false };
    all.iter().all(|byte| *byte == 0xff) && *last != 0 && last.leading_ones() + last.trailing_zeros() == 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bitfield_ends_anywhere_in_its_last_byte() {
        assert!(is_full(&[0xf0]) && is_full(&[0xff]) && is_full(&[0xff, 0x80]));
        assert!(!is_full(&[]) && !is_full(&[0xff, 0]) && !is_full(&[0xfe, 0x80]) && !is_full(&[0xff, 0xd0]));
    }
}
