//! How each client is told to read all of a complete download and then to end.

use ::tests::{Libtorrent, Outcome, Stage, free_port, sameseed_binary};
use std::path::Path;
use std::process::Command;

/// The command line of a check of `torrent` in `full`.
///
/// # Errors
/// When this client cannot be told.
pub(crate) fn command(stage: &Stage, name: &str, torrent: &Path, full: &Path, ours: &[String]) -> Outcome<Command> {
    let port = free_port();
    let mut command = match name {
        "sameseed verify" => {
            let mut command = Command::new(sameseed_binary());
            command.arg("verify").arg(torrent).arg("--dir").arg(full);
            command
        }
        "sameseed" => {
            let mut command = Command::new(sameseed_binary());
            command.args(["--no-resume", "--bind=127.0.0.1", "--log-level=warn"]).args(ours);
            command.arg(format!("--listen-port={port}")).arg(torrent).arg("--dir").arg(full);
            command
        }
        "aria2c" => {
            let mut command = Command::new("aria2c");
            command.args(["--no-conf=true", "--check-integrity=true", "--hash-check-only=true", "--enable-dht=false"]);
            command.args(["--enable-dht6=false", "--show-console-readout=false", "--console-log-level=error"]);
            command.arg(format!("--listen-port={port}")).arg(format!("--dir={}", full.display())).arg(torrent);
            command
        }
        "libtorrent" => Libtorrent::command(stage, "check", torrent, full, port)?,
        "rqbit" => {
            let mut command = Command::new("rqbit");
            command.args(["--disable-dht", "--disable-dht-persistence", "--disable-lsd", "--disable-trackers"]);
            command.args(["--disable-upnp-port-forward", "--ipv4-only", "--listen-ip=127.0.0.1", "--listen-port"]);
            command.args([&port.to_string(), "download", "--disable-http-api", "--overwrite", "--exit-on-finish"]);
            command.arg("--output-folder").arg(full).arg(torrent);
            command
        }
        _ => return Err(format!("nobody knows how {name} is told to check").into()),
    };
    command.current_dir(stage.path(""));
    Ok(command)
}
