//! Many small torrents that nobody asks for: when all are being seeded, and what they cost once their tracker has heard of all of them.

use crate::measure::{Cost, cpu_of, now, peak_mib};
use crate::ready::until_seeded;
use ::tests::{
    HttpTracker, Libtorrent, Outcome, Process, Stage, Torrent, Tree, TreeFile, free_port, noise, sameseed_binary,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long idleness is watched; what it costs meanwhile is the row's CPU time.
const WATCHED: Duration = Duration::from_secs(60);
/// So many torrents, the last among them, are asked for to see whether all are seeded.
const ASKED_FOR: usize = 32;
/// Bytes of each torrent, in pieces of 16 KiB.
const LEN_BYTES: usize = 64 * 1024;

/// Starts one client with so many torrents. The wall time is how long it took until they were being seeded.
///
/// # Errors
/// When the client fails.
pub(crate) fn run(stage: &Stage, base: &Path, torrents: usize, name: &str) -> Outcome<Cost> {
    let (files, data) = (stage.folder("torrents")?, base.join(format!("idle-{torrents}")));
    let tracker = HttpTracker::honest(&[])?;
    let mut hashes = Vec::new();
    for i in 0..torrents {
        let content = TreeFile { path: Vec::new(), bytes: noise(i as u64, LEN_BYTES) };
        let tree = Tree { name: format!("{i:06}.bin"), files: vec![content] };
        if !data.join(&tree.name).exists() {
            tree.write_into(&data)?;
        }
        let path = files.join(format!("{i:06}.torrent"));
        hashes.push(Torrent::write(&tree, LEN_BYTES / 4, &tracker.url(), path)?.info_hash);
    }
    let port = free_port();
    let command = command(stage, name, &files, &data, port)?;
    let start = now();
    let mut process = Process::start(stage, "idle", command)?;
    // Some of them, all at the same time: of thousands in turn, the answers themselves would take longer than what is measured.
    let step = torrents.div_ceil(ASKED_FOR).max(1);
    let sample: Vec<[u8; 20]> = hashes.iter().rev().step_by(step).copied().collect();
    until_seeded(stage, &mut process, port, &sample)?;
    let wall_s = start.elapsed().as_secs_f64();
    // Trackers that do not answer are asked again, sooner or later by one client or another: that would not be idleness.
    stage.deadline().wait_for("the tracker hears of every torrent", || {
        process.check_alive()?;
        Ok((tracker.requests().len() >= torrents).then_some(()))
    })?;
    // What this has cost, and our questions, is over by then.
    std::thread::sleep(Duration::from_secs(5));
    let before = cpu_of(process.id());
    std::thread::sleep(WATCHED);
    process.check_alive()?;
    Ok(Cost { wall_s, cpu_s: cpu_of(process.id()) - before, peak_mib: peak_mib(process.id()) })
}

fn command(stage: &Stage, name: &str, files: &Path, data: &Path, port: u16) -> Outcome<Command> {
    let mut paths = fs::read_dir(files)?.map(|entry| Ok(entry?.path())).collect::<Outcome<Vec<PathBuf>>>()?;
    paths.sort();
    match name {
        "sameseed" => {
            let mut command = Command::new(sameseed_binary());
            command.args(["--seed", "--no-resume", "--bind=127.0.0.1", "--log-level=warn"]);
            command.arg(format!("--listen-port={port}")).arg("--dir").arg(data).args(paths);
            Ok(command)
        }
        "libtorrent" => Libtorrent::command(stage, "idle", files, data, port),
        "transmission-daemon" => {
            let settings = stage.folder("settings")?;
            fs::create_dir_all(settings.join("torrents"))?;
            for path in &paths {
                fs::copy(path, settings.join("torrents").join(path.file_name().unwrap_or_default()))?;
            }
            let mut command = Command::new("transmission-daemon");
            command.args(["--foreground", "--no-dht", "--no-lpd", "--no-utp", "--no-portmap", "--log-error"]);
            command.args(["--bind-address-ipv4=127.0.0.1", "--rpc-bind-address=127.0.0.1"]);
            command.arg(format!("--peerport={port}")).arg(format!("--port={}", free_port()));
            command.arg("--download-dir").arg(data).arg("--config-dir").arg(settings);
            Ok(command)
        }
        _ => Err(format!("nobody knows how {name} is given many torrents").into()),
    }
}
