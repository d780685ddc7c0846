//! `sameseed FILE...`: downloads and seeds torrents in one session.
//!
//! Everything of substance is the library's; here stands what a command line decides before anything begins, and the order of beginning and end.

use super::args::RunArgs;
use super::exit::{Exit, Failure, system_words};
use super::follow::Run;
use super::hook::Hooks;
use super::teller::Teller;
use super::torrent_file::{self, Loaded};
use super::values::PortRange;
use super::{open_files, selection, signals};
use driver_tokio::{AddTorrentOptions, FileDisk, HashStore, Session, SessionConfig, StartError, TokioNet, make_folder};
use sameseed_core::id::FileIndex;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::selection::Priority;
use std::io;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// How long trackers may take to hear `stopped`; the process must be gone after 5 seconds.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(3500);
/// The ports that BitTorrent clients have used from the beginning (BEP 3).
const DEFAULT_PORTS: PortRange = PortRange { first: 6881, last: 6889 };

/// Downloads the torrents in the files that are named.
pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let store = if args.show_files { HashStore::in_memory() } else { hash_store(args) };
    let torrents = torrent_file::load_all(&args.files, &store)?;
    if args.show_files {
        return selection::show(&torrents, args.json);
    }
    let priorities = match (&args.select_file, torrents.as_slice()) {
        (None, _) => Vec::new(),
        (Some(list), [Loaded { metainfo, .. }]) => selection::priorities(metainfo, list)?,
        (Some(_), _) => {
            let what = "--select-file numbers the files of one torrent; give each torrent a command of its own";
            return Err(Failure::new(Exit::Usage, what));
        }
    };
    let mut hooks = Hooks::new(args.on_complete.as_deref())?;
    // Its name is to be as safe as what is put into it.
    make_folder(&args.dir).map_err(|error| {
        Failure::new(Exit::Disk, format!("{}: cannot make this folder: {}", args.dir.display(), system_words(&error)))
    })?;
    let mut signal = signals::watch()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format!("cannot start: {}", system_words(&error))))?;
    runtime.block_on(async {
        let session = start(args, store).await?;
        let mut notices = session.notices();
        let mut teller = Teller::new(args);
        teller.started(&torrents, session.port());
        let ready = |Loaded { metainfo, hashes }| AddTorrentOptions {
            hashes: Some(hashes),
            ..options(args, metainfo, priorities.clone())
        };
        let torrents = torrents.into_iter().map(ready).collect();
        let mut run = Run::begin(&session, torrents, args, &mut notices, &mut teller, &mut hooks).await?;
        let outcome = run.follow(&mut notices, &mut signal).await;
        signals::leave_soon(outcome.as_ref().map_or_else(|failure| failure.exit, |exit| *exit));
        session.shutdown().await;
        while let Some(notice) = notices.try_next() {
            run.tell(&notice);
        }
        hooks.leave();
        outcome
    })
}

/// A torrent as the command line wants it.
pub(super) fn options(args: &RunArgs, metainfo: Metainfo, priorities: Vec<(FileIndex, Priority)>) -> AddTorrentOptions {
    AddTorrentOptions {
        peers: args.peers.clone(),
        extra_trackers: args.trackers.clone(),
        force_check: args.force_check,
        priorities,
        sequential: args.sequential,
        ..AddTorrentOptions::new(metainfo, &args.dir)
    }
}

/// A session on the first port that is free.
pub(super) async fn start(args: &RunArgs, store: HashStore) -> Result<Session, Failure> {
    let range = args.listen_port.unwrap_or(DEFAULT_PORTS);
    // Who did not ask for a port gets any free one when the usual ones are taken.
    let last_resort = args.listen_port.is_none().then_some(0);
    let mut busy = None;
    for port in (range.first..=range.last).chain(last_resort) {
        let mut config = SessionConfig::from_system().map_err(|error| Failure::new(Exit::Other, error.to_string()))?;
        config.port = Some(port);
        config.bind = args.bind;
        config.resume_dir = resume_dir(args);
        config.hash_store = store.clone();
        config.engine.shutdown_timeout = SHUTDOWN_TIMEOUT;
        config.engine.limits = args.overall_limits();
        config.engine.active = args.active_limits();
        config.engine.goals = args.goals();
        args.bound_connections(&mut config.engine);
        config.engine.max_connections = open_files::for_connections(config.engine.max_connections);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let disk = FileDisk::with_hashing(threads, args.hash_with.into())
            .map_err(|error| Failure::new(Exit::Other, format!("cannot start threads: {}", system_words(&error))))?;
        config.engine.check_parallelism = disk.check_parallelism();
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

/// Where the hashes of pieces are kept: beside the resume files, which are on a disk.
pub(super) fn hash_store(args: &RunArgs) -> HashStore {
    HashStore::in_first_of(resume_dir(args).into_iter().chain([std::env::temp_dir()]))
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
