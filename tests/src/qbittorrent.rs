//! qBittorrent (`qbittorrent-nox`, on libtorrent), as seeder and as leecher.

use crate::client::LOOPBACK;
use crate::{Client, Job, Outcome, Process, Role, Running, free_port};
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

/// A question on loopback is answered at once or not at all.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

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
        fs::write(config.join("qBittorrent.conf"), settings_ini(job))?;
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
        let control = SocketAddr::from((LOOPBACK, web_port));
        Ok(Running { process, listens: SocketAddr::from((LOOPBACK, port)), control: Some(control) })
    }
}

impl Qbittorrent {
    /// What it knows of its peers: a JSON object, with the bytes that it had from each and gave to each.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn peers_json(control: SocketAddr, info_hash: [u8; 20]) -> Outcome<String> {
        let mut hex = String::new();
        info_hash.iter().try_for_each(|byte| write!(hex, "{byte:02x}"))?;
        let mut stream = TcpStream::connect(control)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let path = format!("/api/v2/sync/torrentPeers?hash={hex}&rid=0");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {control}\r\n\r\n")?;
        // It keeps the connection open, whatever it is asked for.
        let mut reply = BufReader::new(stream);
        let mut len_bytes = 0;
        let mut line = String::new();
        while reply.read_line(&mut line)? > 0 && !line.trim().is_empty() {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                len_bytes = value.trim().parse()?;
            }
            line.clear();
        }
        let mut body = String::new();
        reply.take(len_bytes).read_to_string(&mut body)?;
        Ok(body)
    }
}

fn settings_ini(job: &Job<'_>) -> String {
    format!(
        r"[LegalNotice]
Accepted=true

[Preferences]
WebUI\Address=127.0.0.1
WebUI\LocalHostAuth=false

[Network]
PortForwardingEnabled=false

[BitTorrent]
Session\BTProtocol=TCP
Session\DHTEnabled=false
Session\GlobalDLSpeedLimit={down}
Session\GlobalUPSpeedLimit={up}
Session\Interface=lo
Session\InterfaceAddress=127.0.0.1
Session\InterfaceName=lo
Session\LSDEnabled=false
Session\MultiConnectionsPerIp=true
Session\PeXEnabled=false
Session\QueueingSystemEnabled=false
",
        down = job.download_limit_kib_s.unwrap_or(0),
        up = job.upload_limit_kib_s.unwrap_or(0),
    )
}
