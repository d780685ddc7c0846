//! Transmission (`transmission-daemon`, told what to do by `transmission-remote`), as seeder and as leecher.

use crate::client::LOOPBACK;
use crate::{Client, EmptyFiles, Job, Outcome, Process, Running, free_port};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;

/// `transmission-daemon` of Debian 12 is 3.00.
#[derive(Clone, Copy, Debug)]
pub struct Transmission;

impl Client for Transmission {
    fn name(&self) -> &'static str {
        "transmission-daemon"
    }

    fn needs(&self) -> &'static [&'static str] {
        &["transmission-daemon", "transmission-remote"]
    }

    fn start(&self, job: &Job<'_>) -> Outcome<Running> {
        let (port, rpc_port) = (free_port(), free_port());
        let name = format!("transmission-{:?}", job.role);
        let settings = job.stage.folder(&format!("{name}.settings"))?;
        fs::write(settings.join("settings.json"), settings_json(port, rpc_port, job))?;
        let mut command = Command::new("transmission-daemon");
        command.arg("--foreground").arg("--config-dir").arg(&settings).args(job.more);
        if job.more.is_empty() {
            command.arg("--log-debug");
        }
        let mut process = Process::start(job.stage, &name, command)?;

        // Until the daemon listens, the remote control fails.
        job.stage.deadline().wait_for("transmission-daemon takes the torrent", || {
            process.check_alive()?;
            let mut remote = Command::new("transmission-remote");
            remote
                .arg(format!("127.0.0.1:{rpc_port}"))
                .arg("--add")
                .arg(job.torrent)
                .arg("--download-dir")
                .arg(job.dir);
            let output = remote.output()?;
            let said = String::from_utf8_lossy(&output.stdout);
            Ok((output.status.success() && said.contains("success")).then_some(()))
        })?;
        Ok(Running { process, listens: SocketAddr::from((LOOPBACK, port)), control: None })
    }

    fn dials_loopback(&self) -> bool {
        false
    }

    fn empty_files(&self) -> EmptyFiles {
        EmptyFiles::Optional
    }
}

fn settings_json(port: u16, rpc_port: u16, job: &Job<'_>) -> String {
    format!(
        r#"{{
    "bind-address-ipv4": "127.0.0.1",
    "dht-enabled": false,
    "download-queue-enabled": false,
    "lpd-enabled": false,
    "peer-port": {port},
    "pex-enabled": false,
    "port-forwarding-enabled": false,
    "preallocation": 0,
    "rpc-bind-address": "127.0.0.1",
    "rpc-port": {rpc_port},
    "seed-queue-enabled": false,
    "speed-limit-down": {down},
    "speed-limit-down-enabled": {down_limited},
    "speed-limit-up": {up},
    "speed-limit-up-enabled": {up_limited},
    "utp-enabled": false
}}
"#,
        down = job.download_limit_kib_s.unwrap_or(0),
        down_limited = job.download_limit_kib_s.is_some(),
        up = job.upload_limit_kib_s.unwrap_or(0),
        up_limited = job.upload_limit_kib_s.is_some(),
    )
}
