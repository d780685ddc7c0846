//! The command line: what can be asked for, and the manual that `--help` prints.

use super::selection::FileList;
use super::values::{PortRange, minutes, peer, piece_length, ratio, speed, tracker_url};
use super::{explain, tracker};
use clap::builder::BoolValueParser;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use driver_tokio::HashBackend;
use sameseed_core::config::{ActiveLimits, Config, RateLimits, SeedingGoals};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tracing_subscriber::filter::LevelFilter;

const EXIT_CODES: &str = "\
Exit codes (of several torrents, the code of the first that failed):
  0  done (with --seed: complete when it was ended, or seeded enough)
  1  something that is not foreseen
  2  usage: an unknown option or key, a torrent named twice, a port or address that cannot be used
  3  a torrent file cannot be read or makes no sense: then nothing begins
  4  nobody to download from, or nothing came for as long as --stop-timeout says
  5  the disk is full or refuses, at the start or as long as --disk-timeout says, or output is lost
  6  hash: data is missing or differs from the torrent (verify)
  7  interrupted before the download was complete

The first Ctrl-C (or SIGTERM) says goodbye to trackers and peers, which takes 5 seconds at most; a second one leaves at once.
A torrent file whose name is that of a command is written with its folder: ./info

The config file (TOML) has the long options as keys:
  dir = \"/srv/iso\"
  max-overall-upload-limit = \"500K\"
  peer-timeout = 60
  seed = true
  tracker = [\"http://192.168.1.2:6969/announce\"]
What the command line says goes before it; --seed=false undoes seed = true. Not in the file: --config, --no-config, --select-file, \
--show-files.

--on-complete runs one program, without a shell, as PROGRAM INFO_HASH FILES FIRST_FILE, as aria2 does, and with SAMESEED_INFO_HASH, \
SAMESEED_NAME, SAMESEED_DIR, SAMESEED_PATH (the torrent's file or folder), SAMESEED_FILES (how many were wanted), SAMESEED_BYTES and \
SAMESEED_DOWNLOADED (0 when it was all there) in its environment. Names come from strangers: quote them. How it ends is logged and changes \
nothing; at the end it is waited for, 30 seconds at most, and then left to itself.";

const EXAMPLES: &str = "\
Download into the current folder; whatever is there already is checked first and kept. Without a terminal a line of \
progress is printed every 10 seconds.

Examples:
  sameseed debian.torrent
  sameseed debian.torrent --dir /srv/iso --seed
  sameseed *.torrent --max-overall-upload-limit 500K
  sameseed film.torrent --peer 192.168.1.7:6881
  sameseed create holiday/ --tracker http://192.168.1.2:6969/announce";

/// A BitTorrent client.
#[derive(Debug, Parser)]
#[command(
    name = "sameseed",
    version,
    long_about = format!("A BitTorrent client.\n\n{EXAMPLES}"),
    after_long_help = EXIT_CODES,
    after_help = "More, with examples and exit codes: sameseed --help",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    subcommand_help_heading = "Commands",
    subcommand_value_name = "COMMAND",
    override_usage = "sameseed [OPTIONS] FILE...\n       sameseed COMMAND ...",
    max_term_width = 110
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// The commands besides downloading.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a torrent file contains
    Info(InfoArgs),
    /// Make a torrent file from a file or a folder
    Create(CreateArgs),
    /// Compare files with their torrent; nothing is changed
    Verify(VerifyArgs),
    /// Run a torrent for a while and say in plain words why it is not faster; takes the options of a download too
    Explain(Box<explain::ExplainArgs>),
    /// Run a small HTTP and UDP tracker for a local network
    Tracker(tracker::TrackerArgs),
    /// Print the completions for a shell
    Completions(CompletionsArgs),
}

/// `sameseed completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell; for bash: sameseed completions bash > ~/.local/share/bash-completion/completions/sameseed
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Download and seed.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The torrent files (none only beside a command)
    #[arg(value_name = "FILE", required = true, value_hint = ValueHint::FilePath, help = "The torrent files")]
    pub(crate) files: Vec<PathBuf>,
    /// Where to put the files [default: the current folder]
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true, value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Only these files, by their numbers in --show-files: 1,3-5 [default: all]
    ///
    /// Other files are neither fetched nor made. Where a piece reaches into one of them, those bytes wait in a hidden file
    /// (.NAME.HASH.parts) until a later run wants them. It is for one torrent at a time.
    #[arg(long, value_name = "LIST", value_parser = FileList::from_str)]
    pub(crate) select_file: Option<FileList>,
    /// List the torrents' files with their numbers and leave
    #[arg(short = 'S', long)]
    pub(crate) show_files: bool,
    /// Fetch pieces in the order of the torrent instead of the rarest first
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Go on seeding when a download is complete
    #[arg(long)]
    pub(crate) seed: bool,
    /// Seed until so many times as much was sent as received, all runs together; 0 sets no goal
    ///
    /// What counts as received is at least the size of what was wanted, also when it was there already. With --seed-time,
    /// whichever comes first ends it. Either of them goes on seeding as --seed does.
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    pub(crate) seed_ratio: Option<u32>,
    /// Seed for so many minutes, all runs together; 0 does not seed
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    pub(crate) seed_time: Option<Duration>,
    /// Download so many torrents at a time, in the order in which they are named [default: all]
    #[arg(short = 'j', long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_concurrent_downloads: Option<u32>,
    /// Connections of each torrent [default: 100, and 400 of all together]
    #[arg(long, alias = "bt-max-peers", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_peers: Option<u32>,
    /// TCP port for other peers, or a range to choose from; 0 is any free one [default: 6881-6889, else any]
    #[arg(long, value_name = "PORT[-PORT]")]
    pub(crate) listen_port: Option<PortRange>,
    /// Our own address: where to listen and from where to dial [default: any]
    #[arg(long, value_name = "ADDR")]
    pub(crate) bind: Option<IpAddr>,
    /// A peer to try first; can be given more than once
    #[arg(long = "peer", value_name = "ADDR:PORT", value_parser = peer)]
    pub(crate) peers: Vec<SocketAddr>,
    /// One more tracker, asked after those of the torrent; can be given more than once
    #[arg(long = "tracker", value_name = "URL", value_parser = tracker_url)]
    pub(crate) trackers: Vec<String>,
    /// Give up (exit code 4) after so long without any peer; 0 waits for ever
    ///
    /// Counted while something is missing. By default 300 seconds are allowed for the first peer, and once one was found there is no
    /// limit. A torrent without trackers, started without --tracker, --peer, --listen-port and this option, has nobody to ask and is
    /// given up at once.
    #[arg(long, value_name = "SECONDS")]
    pub(crate) peer_timeout: Option<u64>,
    /// Give up (exit code 4) when nothing was received for so long, whoever is there; 0 waits for ever [default: 0]
    #[arg(long, alias = "bt-stop-timeout", value_name = "SECONDS", default_value = "0", hide_default_value = true)]
    pub(crate) stop_timeout: u64,
    /// Give up (exit code 5) when the disk is full or has refused for so long; 0 gives up at once [default: 40]
    ///
    /// Meanwhile what is there is uploaded and the disk is tried again every 15 seconds; the download goes on by itself when there is
    /// room. What refuses before anything was written, unless it is full, is given up at once. A torrent that is complete waits for ever.
    #[arg(long, value_name = "SECONDS", default_value = "40", hide_default_value = true)]
    pub(crate) disk_timeout: u64,
    /// Run this program for each torrent that is complete and safe on the disk
    ///
    /// One program, without arguments of its own and without a shell; see below.
    #[arg(long, alias = "on-download-complete", value_name = "PROGRAM", value_hint = ValueHint::CommandName)]
    pub(crate) on_complete: Option<PathBuf>,
    /// Where to keep resume data [default: $XDG_STATE_HOME/sameseed]
    #[arg(long, value_name = "DIR", conflicts_with = "no_resume", value_hint = ValueHint::DirPath)]
    pub(crate) resume_dir: Option<PathBuf>,
    /// Keep no resume data: the next start reads everything
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// Read all that is there, also what has not changed
    #[arg(long, alias = "check-integrity")]
    pub(crate) force_check: bool,
    /// Hash by nothing wider than this, whatever the processor has: to measure what it gains
    #[arg(long, value_name = "MEANS", default_value = "avx512", value_enum, hide = true)]
    pub(crate) hash_with: HashWith,
    /// Receive no more than so many bytes a second for each torrent; K and M stand for 1024 and 1024 times 1024, 0 is no limit
    ///
    /// What goes over the sockets of peers is counted, messages included.
    #[arg(long, value_name = "SPEED", default_value = "0", hide_default_value = true, value_parser = speed)]
    pub(crate) max_download_limit: u64,
    /// Send no more than so many bytes a second for each torrent
    #[arg(long, value_name = "SPEED", default_value = "0", hide_default_value = true, value_parser = speed)]
    pub(crate) max_upload_limit: u64,
    /// Receive no more than so many bytes a second for all torrents together
    #[arg(long, value_name = "SPEED", default_value = "0", hide_default_value = true, value_parser = speed)]
    pub(crate) max_overall_download_limit: u64,
    /// Send no more than so many bytes a second for all torrents together
    #[arg(long, value_name = "SPEED", default_value = "0", hide_default_value = true, value_parser = speed)]
    pub(crate) max_overall_upload_limit: u64,
    /// Print one JSON object per line on standard output instead of progress
    #[arg(long)]
    pub(crate) json: bool,
    /// Options from this file (TOML) [default: $XDG_CONFIG_HOME/sameseed/config.toml if it is there]
    #[arg(long, alias = "conf-path", value_name = "FILE", conflicts_with = "no_config", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Read no config file
    #[arg(long, alias = "no-conf")]
    pub(crate) no_config: bool,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}

/// Where the log goes.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogArgs {
    /// How much to log on standard error
    #[arg(long, value_name = "LEVEL", default_value = "warn", value_enum)]
    pub(crate) log_level: LogLevel,
    /// Append the log to this file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

/// Means of hashing, the widest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HashWith {
    One,
    ShaNi,
    Avx2,
    Avx512,
}

impl From<HashWith> for HashBackend {
    fn from(with: HashWith) -> HashBackend {
        match with {
            HashWith::One => HashBackend::One,
            HashWith::ShaNi => HashBackend::ShaNi,
            HashWith::Avx2 => HashBackend::Avx2,
            HashWith::Avx512 => HashBackend::Avx512,
        }
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> LevelFilter {
        match level {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }
}

/// `sameseed info`.
#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// The torrent file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// `sameseed create`.
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The file or folder to share; links in it are skipped
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// The torrent file to write [default: the name of PATH with .torrent, in the current folder]
    #[arg(short, long = "output", value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// A tracker; can be given more than once, the first is asked first
    #[arg(short, long = "tracker", value_name = "URL", value_parser = tracker_url)]
    pub(crate) trackers: Vec<String>,
    /// Length of a piece, a power of two of at least 16K (256K, 4M, or bytes) [default: by size, for 1,000 to 2,000 pieces]
    #[arg(long, value_name = "LENGTH", value_parser = piece_length)]
    pub(crate) piece_length: Option<u32>,
    /// Peers come from these trackers only (BEP 27)
    #[arg(long)]
    pub(crate) private: bool,
    /// A comment for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// Replace the torrent file when it exists
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// `sameseed verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The torrent file
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where the files are [default: the current folder]
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub(crate) dir: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// The definition of the command line: what `Cli` says, and switches that can be unset, for what a config file says can be undone.
pub(crate) fn command() -> clap::Command {
    Cli::command().mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue if !ONLY_ON_THE_COMMAND_LINE.contains(&long(&arg)) => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .value_parser(BoolValueParser::new())
            .value_name(SWITCH)
            .hide_possible_values(true)
            .default_value("false")
            .hide_default_value(true)
            .default_missing_value("true"),
        _ => arg,
    })
}

/// What a switch can be set to.
const SWITCH: &str = "true|false";

/// Long options that make no sense in a config file: about the file itself, or about one torrent, or about one run.
pub(crate) const ONLY_ON_THE_COMMAND_LINE: [&str; 7] =
    ["config", "hash-with", "help", "no-config", "select-file", "show-files", "version"];

/// The long name of an option; empty when it has none.
pub(crate) fn long(arg: &Arg) -> &str {
    arg.get_long().unwrap_or_default()
}

/// Whether it is on or off.
pub(crate) fn is_switch(arg: &Arg) -> bool {
    arg.get_value_names().is_some_and(|names| names.iter().any(|name| name == SWITCH))
}

/// Reads a command line, the program's name included.
pub(crate) fn parse(argv: &[OsString]) -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(argv)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

impl RunArgs {
    /// Limits of each torrent.
    pub(crate) fn limits(&self) -> RateLimits {
        RateLimits { down: self.max_download_limit, up: self.max_upload_limit }
    }

    /// Whether torrents are seeded when they are complete. A time of 0 is none at all.
    pub(crate) fn seeds(&self) -> bool {
        let wants = self.seed || self.seed_ratio.is_some() || self.seed_time.is_some();
        wants && self.seed_time != Some(Duration::ZERO)
    }

    /// When seeding ends. A time of 0 ends a run without seeding; a ratio of 0 is none, as in aria2.
    pub(crate) fn goals(&self) -> SeedingGoals {
        SeedingGoals { ratio_per_mille: self.seed_ratio.filter(|ratio| *ratio > 0), time: self.seed_time }
    }

    /// How many torrents are active.
    pub(crate) fn active_limits(&self) -> ActiveLimits {
        ActiveLimits { downloads: self.max_concurrent_downloads, seeds: None }
    }

    /// How many connections there may be: where one torrent may have more than all had together, all may have as many.
    pub(crate) fn bound_connections(&self, config: &mut Config) {
        if let Some(peers) = self.max_peers {
            config.max_connections_per_torrent = peers as usize;
            config.max_connections = config.max_connections.max(peers as usize);
        }
    }

    /// Limits of all torrents together.
    pub(crate) fn overall_limits(&self) -> RateLimits {
        RateLimits { down: self.max_overall_download_limit, up: self.max_overall_upload_limit }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        let argv = std::iter::once("sameseed").chain(args.split_whitespace()).map(OsString::from);
        super::parse(&argv.collect::<Vec<_>>())
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn all_options_of_a_download_work_together() {
        let cli = parse(
            "-d out --listen-port 7000 --bind 127.0.0.1 --peer 127.0.0.1:1 x.torrent --peer [::1]:2 --seed --json",
        )
        .unwrap();
        let run = cli.run;
        assert!(cli.command.is_none());
        assert_eq!((run.files, run.dir), (vec![PathBuf::from("x.torrent")], PathBuf::from("out")));
        assert_eq!(run.listen_port, Some(PortRange { first: 7000, last: 7000 }));
        assert_eq!(run.peers.len(), 2);
        assert!(run.seed && run.json && !run.sequential && run.select_file.is_none());
    }

    #[test]
    fn one_torrent_may_have_as_many_connections_as_was_said_and_all_together_no_fewer() {
        let bounds = |args: &str| {
            let mut config = Config::default();
            parse(args).unwrap().run.bound_connections(&mut config);
            (config.max_connections_per_torrent, config.max_connections)
        };
        assert_eq!(bounds("x.torrent"), (100, 400));
        assert_eq!(bounds("x.torrent --max-peers 7"), (7, 400));
        assert_eq!(bounds("x.torrent --bt-max-peers 1500"), (1500, 1500));
    }

    #[test]
    fn a_file_named_like_a_command_needs_its_folder() {
        assert!(matches!(parse("info x.torrent").unwrap().command, Some(Command::Info(_))));
        assert_eq!(parse("./info").unwrap().run.files, [PathBuf::from("./info")]);
    }

    #[test]
    fn several_torrents_stand_anywhere_between_options() {
        let run = parse("a b --seed c --json=false -S d").unwrap().run;
        assert_eq!(run.files, ["a", "b", "c", "d"].map(PathBuf::from));
        assert!(run.seed && !run.json && run.show_files);
        let after = parse("-d out info x").unwrap();
        assert!(after.command.is_none() && after.run.files.len() == 2, "a command comes first, else it is a file");
    }

    #[test]
    fn a_switch_is_set_unset_and_never_takes_the_file_for_its_value() {
        assert!(parse("--seed x.torrent").unwrap().run.seed);
        assert!(parse("--seed=true x.torrent").unwrap().run.seed);
        assert!(!parse("--seed=false x.torrent").unwrap().run.seed);
        for bad in ["x --seed=", "x --seed=yes", "x --seed --seed", "x --no-config=true"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_names_of_aria2_are_understood() {
        let args = "x --bt-stop-timeout 5 --on-download-complete true --conf-path c --check-integrity";
        let run = parse(args).unwrap().run;
        assert!(run.stop_timeout == 5 && run.on_complete.is_some() && run.config.is_some() && run.force_check);
        assert!(parse("x --no-conf").unwrap().run.no_config);
    }

    #[test]
    fn a_goal_means_seeding_and_no_time_means_none() {
        let seeds = |args: &str| parse(args).unwrap().run.seeds();
        assert!(
            seeds("x --seed") && seeds("x --seed-ratio 1.5") && seeds("x --seed-ratio 0") && seeds("x --seed-time 9")
        );
        assert!(!seeds("x") && !seeds("x --seed --seed-time 0") && !seeds("x --seed-time 0 --seed-ratio 2"));
        let run = parse("x -j 2 --seed-ratio 1.5 --seed-time 0.5").unwrap().run;
        let goals = SeedingGoals { ratio_per_mille: Some(1500), time: Some(Duration::from_secs(30)) };
        assert_eq!((run.goals(), run.active_limits().downloads), (goals, Some(2)));
        assert_eq!(parse("x --seed-ratio 0.0").unwrap().run.goals(), SeedingGoals::default());
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            "",
            "x.torrent --peer localhost",
            "x.torrent --seed-ratio -1",
            "x.torrent --seed-time soon",
            "x.torrent --max-concurrent-downloads 0",
            "x.torrent --max-peers 0",
            "x.torrent --peer 127.0.0.1:0",
            "x.torrent --listen-port 70000",
            "x.torrent --listen-port 9-8",
            "x.torrent --listen-port 0-8",
            "x.torrent --tracker ftp://x",
            "x.torrent --select-file",
            "x.torrent --select-file 0",
            "x.torrent --select-file 5-3",
            "x.torrent --select-file 1,,2",
            "x.torrent --select-file 1;2",
            "x.torrent --select-file -3",
            "x.torrent --tracker http://",
            "x.torrent --bind somewhere",
            "x.torrent --stop-timeout -1",
            "x.torrent --stop-timeout soon",
            "x.torrent --config",
            "x.torrent --config c --no-config",
            "completions",
            "completions tcsh",
            "create x --piece-length 17K",
            "create x --piece-length 8K",
            "create x --piece-length 4096M",
            "create x --piece-length K",
            "create",
            "x.torrent --max-download-limit fast",
            "x.torrent --max-upload-limit 1.5M",
            "x.torrent --max-upload-limit +1",
            "x.torrent --max-overall-upload-limit 99999999999999999999K",
        ] {
            assert!(parse(args).is_err(), "{args}");
        }
    }
}
