//! qBittorrent (`qbittorrent-nox`, on libtorrent), as seeder and as leecher.

use crate::client::LOOPBACK;
use crate::{Client, Job, Outcome, Process, Role, Running, free_port};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

/// `qbittorrent-nox` of Debian 12 is 4.5.2 with libtorrent 2.0.8.
#[derive(Clone, Copy, Debug)]
pub struct Qbittorrent;

impl Client for Qbittorrent {
    fn name(&self) -> &'static str {
        "qbittorrent-nox"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["qbittorrent-nox"]
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let (port, web_port) = (free_port(), free_port());
        let name = format!("qbittorrent-{:?}", job.role);
        let profile = job.stage.folder(&format!("{name}.profile"))?;
        let config = profile.join("qBittorrent").join("config");
        fs::create_dir_all(&config)?;
        fs::write(config.join("qBittorrent.conf"), settings_ini(job.upload_limit_kib_s))?;
        let mut command = Command::new("qbittorrent-nox");
        command.arg(format!("--profile={}", profile.display()));
        command.arg(format!("--torrenting-port={port}")).arg(format!("--webui-port={web_port}"));
        command.arg(format!("--save-path={}", job.dir.display()));
        command.args(["--skip-dialog=true", "--add-paused=false"]);
        if job.role == Role::Seeder {
            command.arg("--skip-hash-check");
        }
        command.arg(job.torrent);
        let process = Process::start(job.stage, &name, command)?;
        Ok(Running { process, listens: SocketAddr::from((LOOPBACK, port)) })
    }
}

fn settings_ini(upload_limit_kib_s: Option<u32>) -> String {
    format!(
        r"[LegalNotice]
Accepted=true

[Preferences]
WebUI\Address=127.0.0.1

[Network]
PortForwardingEnabled=false

[BitTorrent]
Session\BTProtocol=TCP
Session\DHTEnabled=false
Session\GlobalUPSpeedLimit={limit}
Session\Interface=lo
Session\InterfaceAddress=127.0.0.1
Session\InterfaceName=lo
Session\LSDEnabled=false
Session\MultiConnectionsPerIp=true
Session\PeXEnabled=false
Session\QueueingSystemEnabled=false
",
        limit = upload_limit_kib_s.unwrap_or(0),
    )
}
