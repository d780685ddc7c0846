//! rqbit, as seeder and as leecher.

use crate::client::LOOPBACK;
use crate::{Client, Job, Outcome, Process, Role, Running, free_port};
use std::net::SocketAddr;
use std::process::Command;

/// `rqbit` 9, by `cargo install rqbit`.
#[derive(Clone, Copy, Debug)]
pub struct Rqbit;

impl Client for Rqbit {
    fn name(&self) -> &'static str {
        "rqbit"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["rqbit"]
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let port = free_port();
        let mut command = Command::new("rqbit");
        command.args(["--disable-dht", "--disable-dht-persistence", "--disable-lsd", "--disable-trackers"]);
        command.args(["--disable-upnp-port-forward", "--ipv4-only", "--listen-ip", "127.0.0.1"]);
        command.args(["--listen-port", &port.to_string(), "download", "--disable-http-api", "--overwrite"]);
        let peers: Vec<String> = job.peer.iter().chain(job.more_peers).map(SocketAddr::to_string).collect();
        if !peers.is_empty() {
            command.args(["--initial-peers", &peers.join(",")]);
        }
        if job.role == Role::Leecher {
            command.arg("--exit-on-finish");
        }
        command.arg("--output-folder").arg(job.dir).arg(job.torrent);
        let process = Process::start(job.stage, &format!("rqbit-{:?}-{port}", job.role), command)?;
        Ok(Running { process, listens: SocketAddr::from((LOOPBACK, port)), control: None })
    }

    fn leaves_when_complete(&self) -> bool {
        true
    }
}
