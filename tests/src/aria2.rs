//! aria2 (`aria2c`), as seeder and as leecher.

use crate::client::LOOPBACK;
use crate::{Announce, Client, Job, Outcome, Process, Role, Running, free_port};
use std::net::SocketAddr;
use std::process::Command;

/// `aria2c` of Debian 12 is 1.36.
#[derive(Clone, Copy, Debug)]
pub struct Aria2;

impl Client for Aria2 {
    fn name(&self) -> &'static str {
        "aria2c"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["aria2c"]
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let port = free_port();
        let mut command = Command::new("aria2c");
        command.args(["--no-conf=true", "--interface=127.0.0.1", "--disable-ipv6=true", "--file-allocation=none"]);
        command.args(["--enable-dht6=false", "--bt-enable-lpd=false", "--enable-peer-exchange=false"]);
        command.args(["--show-console-readout=false", "--summary-interval=0", "--console-log-level=info"]);
        command.arg(format!("--listen-port={port}"));
        // It speaks to UDP trackers only with DHT on. With no entry point, no saved nodes and no peer that has DHT it talks to nobody.
        command.arg(format!("--enable-dht={}", job.announce == Announce::Udp));
        command.arg(format!("--dht-listen-port={port}"));
        command.arg(format!("--dht-file-path={}", job.stage.path("aria2-dht.dat").display()));
        match job.role {
            Role::Seeder => command.args(["--seed-ratio=0.0", "--bt-seed-unverified=true", "--allow-overwrite=true"]),
            Role::Leecher => command.arg("--seed-time=0"),
        };
        if let Some(limit) = job.upload_limit_kib_s {
            command.arg(format!("--max-upload-limit={limit}K"));
        }
        if let Some(limit) = job.download_limit_kib_s {
            command.arg(format!("--max-download-limit={limit}K"));
        }
        command.args(job.more).arg(format!("--dir={}", job.dir.display())).arg(job.torrent);
        let process = Process::start(job.stage, &format!("aria2c-{:?}", job.role), command)?;
        Ok(Running { process, listens: SocketAddr::from((LOOPBACK, port)), control: None })
    }

    fn leaves_when_complete(&self) -> bool {
        true
    }
}
