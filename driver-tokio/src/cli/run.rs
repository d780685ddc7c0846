//! `sameseed FILE`: downloads and seeds one torrent, and tells how it goes.
//!
//! Everything of substance is the library's; here stand the policy of a command line (when to leave, with which code) and its clock.

use super::args::{PortRange, RunArgs};
use super::exit::{Exit, Failure, system_words};
use super::json::Line;
use super::output::{Redrawn, Stream};
use super::{info, output, progress, selection, signals, text, torrent_file};
use driver_tokio::{AddTorrentOptions, FileDisk, Notices, Session, SessionConfig, StartError, TokioNet};
use sameseed_core::action::Notice;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::view::{TorrentState, TorrentView};
use std::fs;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often progress is drawn on a terminal, or told as JSON.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// How often progress is printed elsewhere: every tenth look.
const PRINT_EVERY_LOOKS: u64 = 10;
/// How long trackers may take to hear `stopped`; the process must be gone after 5 seconds.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(3500);
/// How long the first peer may take, unless `--peer-timeout` says something else.
const FIRST_PEER_TIMEOUT: Duration = Duration::from_secs(300);
/// The ports that BitTorrent clients have used from the beginning (BEP 3).
const DEFAULT_PORTS: PortRange = PortRange { first: 6881, last: 6889 };

/// Downloads the torrent in `file`.
pub(crate) fn run(file: &Path, args: &RunArgs) -> Result<Exit, Failure> {
    let metainfo = torrent_file::load(file)?;
    if args.show_files {
        return selection::show(&metainfo, args.json);
    }
    let priorities = match &args.select_file {
        Some(list) => selection::priorities(&metainfo, list)?,
        None => Vec::new(),
    };
    fs::create_dir_all(&args.dir).map_err(|error| {
        Failure::new(Exit::Disk, format!("{}: cannot make this folder: {}", args.dir.display(), system_words(&error)))
    })?;
    let signal = signals::watch()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format!("cannot start: {}", system_words(&error))))?;
    runtime.block_on(async {
        let session = start(args).await?;
        let mut notices = session.notices();
        let mut teller = Teller::new(args.json);
        let options = AddTorrentOptions {
            peers: args.peers.clone(),
            extra_trackers: args.trackers.clone(),
            force_check: args.force_check,
            priorities,
            sequential: args.sequential,
            ..AddTorrentOptions::new(metainfo, &args.dir)
        };
        let outcome = follow(&session, options, args, signal, &mut notices, &mut teller).await;
        signals::leave_soon(outcome.as_ref().map_or_else(|failure| failure.exit, |exit| *exit));
        session.shutdown().await;
        while let Some(notice) = notices.try_next() {
            teller.notice(&notice);
        }
        outcome
    })
}

/// A session on the first port that is free.
async fn start(args: &RunArgs) -> Result<Session, Failure> {
    let range = args.listen_port.unwrap_or(DEFAULT_PORTS);
    // Who did not ask for a port gets any free one when the usual ones are taken.
    let last_resort = args.listen_port.is_none().then_some(0);
    let mut busy = None;
    for port in (range.first..=range.last).chain(last_resort) {
        let mut config = SessionConfig::from_system().map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        config.port = Some(port);
        config.bind = args.bind;
        config.resume_dir = resume_dir(args);
        config.engine.shutdown_timeout = SHUTDOWN_TIMEOUT;
        config.engine.limits = args.overall_limits();
        config.engine.check_parallelism = 2 * std::thread::available_parallelism().map_or(1, NonZero::get);
        let disk = FileDisk::new()
            .map_err(|error| Failure::new(Exit::Other, format!("cannot start threads: {}", system_words(&error))))?;
        match Session::spawn(TokioNet, disk, config).await {
            Ok(session) => return Ok(session),
            Err(StartError::Listen { addr, source } | StartError::Udp { addr, source })
                if source.kind() == io::ErrorKind::AddrInUse =>
            {
                tracing::debug!(%addr, "the port is taken");
                busy = Some(addr);
            }
            Err(StartError::Listen { addr, source } | StartError::Udp { addr, source }) => {
                let what = format!("cannot listen on {addr}: {}; see --bind and --listen-port", system_words(&source));
                return Err(Failure::new(Exit::Usage, what));
            }
            Err(error) => return Err(Failure::new(Exit::Other, error.to_string())),
        }
    }
    let what = match (range.first == range.last, busy) {
        (true, Some(addr)) => format!("cannot listen on {addr}: the port is taken by another program"),
        _ => format!("cannot listen: all ports from {} to {} are taken by other programs", range.first, range.last),
    };
    Err(Failure::new(Exit::Usage, format!("{what}; --listen-port takes another one, or a range")))
}

/// Where resume files go: what was asked for, else the place for state of the XDG base directory specification, else nowhere.
fn resume_dir(args: &RunArgs) -> Option<PathBuf> {
    if args.no_resume {
        return None;
    }
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = || folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
    args.resume_dir.clone().or_else(|| Some(state()?.join("sameseed")))
}

/// Adds the torrent and follows it to its end.
async fn follow(
    session: &Session,
    options: AddTorrentOptions,
    args: &RunArgs,
    mut signal: tokio::sync::oneshot::Receiver<()>,
    notices: &mut Notices,
    teller: &mut Teller,
) -> Result<Exit, Failure> {
    teller.started(&options.metainfo, args, session.port());
    let mut patience = Patience::new(&options.metainfo, args);
    let name = text::clean(&options.metainfo.name);
    let ended = || Failure::new(Exit::Other, "the session ended by itself");
    let torrent = session.add(options).await.map_err(|_| ended())?;
    session.set_limits(Some(torrent), args.limits()).await.map_err(|_| ended())?;
    let mut looks = interval(DRAW_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut complete = false;
    loop {
        tokio::select! {
            biased;
            _ = &mut signal => {
                teller.stopping(&name);
                return match complete {
                    true => Ok(Exit::Done),
                    false => Err(Failure::new(
                        Exit::Interrupted,
                        format!("{name}: interrupted; the same command goes on where it ended"),
                    )),
                };
            }
            notice = notices.next() => {
                let notice = notice.ok_or_else(ended)?;
                teller.notice(&notice);
                match &notice {
                    Notice::Complete { downloaded, .. } => {
                        complete = true;
                        teller.complete(&name, *downloaded, args);
                        if !args.seed {
                            return Ok(Exit::Done);
                        }
                    }
                    Notice::Checked { .. } => patience.checked = true,
                    Notice::TrackerFailed { url, reason, .. } => {
                        patience.last_failure = Some(format!("{url}: {reason}"));
                    }
                    Notice::DiskTrouble { fault, .. } => {
                        let hint = "what is complete is kept; the same command goes on from there";
                        return Err(Failure::new(Exit::Disk, format!("{fault}; {hint}")));
                    }
                    _ => (),
                }
            }
            now = looks.tick() => {
                let view = session.view().await.map_err(|_| ended())?;
                if let Some(view) = view.torrents.iter().find(|view| view.torrent == torrent) {
                    teller.progress(view);
                    patience.look(now, view)?;
                }
            }
        }
    }
}

/// Says how it goes: lines, a line that is drawn over, or JSON.
struct Teller {
    json: bool,
    line: Redrawn,
    looks: u64,
}

impl Teller {
    fn new(json: bool) -> Self {
        Teller { json, line: Redrawn::new(Stream::Stdout), looks: 0 }
    }

    fn started(&mut self, metainfo: &Metainfo, args: &RunArgs, listen_port: u16) {
        if self.json {
            self.say(&Line::Started {
                name: metainfo.name.clone(),
                info_hash: metainfo.info_hash.to_hex(),
                total_bytes: metainfo.layout.total_len(),
                pieces: metainfo.layout.piece_count(),
                files: metainfo.layout.files().iter().filter(|file| !file.pad).count(),
                dir: args.dir.display().to_string(),
                listen_port,
            });
        } else {
            output::line(&format!("{}\n{:<12}port {listen_port}", info::summary(metainfo), "Listening"));
        }
    }

    fn say(&mut self, line: &Line) {
        output::line(&line.to_json());
    }

    fn notice(&mut self, notice: &Notice) {
        if self.json {
            self.say(&Line::from(notice));
        }
    }

    fn progress(&mut self, view: &TorrentView) {
        self.looks += 1;
        if self.json {
            self.say(&Line::from(view));
        } else if self.line.is_terminal() {
            let line = progress::line(view, Some(self.line.columns()));
            self.line.draw(&line);
        } else if self.looks.is_multiple_of(PRINT_EVERY_LOOKS) {
            output::line(&progress::line(view, None));
        }
    }

    fn stopping(&mut self, name: &str) {
        if !self.json {
            self.line
                .draw(&text::cut(&format!("{name}: saying goodbye; Ctrl-C again leaves at once"), self.line.columns()));
        }
    }

    fn complete(&mut self, name: &str, downloaded: bool, args: &RunArgs) {
        if !self.json {
            self.line.clear();
            let how = if downloaded { "complete" } else { "complete, it was all there" };
            let name = if args.select_file.is_some() { format!("{name} (selected files)") } else { name.to_owned() };
            let next = if args.seed { "; seeding until Ctrl-C" } else { "" };
            output::line(&format!("{name}: {how}, in {}{next}", text::clean(&args.dir.display().to_string())));
        }
    }
}

/// When to give up for want of peers: exit code 4.
struct Patience {
    /// Trackers or peers that can be asked.
    somebody_to_ask: bool,
    /// `--peer-timeout`.
    limit: Option<Duration>,
    /// The check of what is there has ended.
    checked: bool,
    /// A peer was there once.
    found: bool,
    /// Since when there is no peer.
    alone_since: Option<Instant>,
    /// What the last tracker that failed said.
    last_failure: Option<String>,
}

impl Patience {
    fn new(metainfo: &Metainfo, args: &RunArgs) -> Self {
        Patience {
            somebody_to_ask: !metainfo.trackers.is_empty()
                || !args.trackers.is_empty()
                || !args.peers.is_empty()
                || args.listen_port.is_some()
                || args.peer_timeout.is_some(),
            limit: args.peer_timeout.map(Duration::from_secs),
            checked: false,
            found: false,
            alone_since: None,
            last_failure: None,
        }
    }

    fn look(&mut self, now: Instant, view: &TorrentView) -> Result<(), Failure> {
        if view.state != TorrentState::Downloading || !self.checked {
            return Ok(());
        }
        if !self.somebody_to_ask {
            let what = "nobody to ask: the torrent names no tracker; give one with --tracker, or a peer with --peer";
            return Err(Failure::new(Exit::NoPeers, format!("{}: {what}", view.name)));
        }
        if view.peers > 0 {
            self.found = true;
            self.alone_since = None;
            return Ok(());
        }
        let alone = now.duration_since(*self.alone_since.get_or_insert(now));
        let limit = match self.limit {
            Some(Duration::ZERO) => None,
            Some(limit) => Some(limit),
            None => (!self.found).then_some(FIRST_PEER_TIMEOUT),
        };
        match limit {
            Some(limit) if alone >= limit => {
                let why =
                    self.last_failure.as_ref().map_or(String::new(), |failure| format!(" (last trouble: {failure})"));
                let what = format!("{}: no peer for {}{why}; try again later", view.name, text::time(alone));
                Err(Failure::new(Exit::NoPeers, what))
            }
            _ => Ok(()),
        }
    }
}
