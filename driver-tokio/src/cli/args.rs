//! The command line: what can be asked for, and the manual that `--help` prints.

use super::selection::FileList;
use super::tracker;
use clap::{Args, Parser, Subcommand, ValueEnum};
use sameseed_core::config::RateLimits;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use tracing_subscriber::filter::LevelFilter;

const EXIT_CODES: &str = "\
Exit codes:
  0  done (with --seed: complete when it was ended)
  1  something that is not foreseen
  2  usage: an unknown option, a port or address that cannot be used
  3  the torrent file cannot be read or makes no sense
  4  nobody to download from
  5  the disk is full or refuses
  6  hash: data is missing or differs from the torrent (verify)
  7  interrupted before the download was complete

The first Ctrl-C (or SIGTERM) says goodbye to trackers and peers, which takes 5 seconds at most; a second one leaves at once.
A torrent file whose name is that of a command is written with its folder: ./info";

const EXAMPLES: &str = "\
Download into the current folder; whatever is there already is checked first and kept. Without a terminal a line of \
progress is printed every 10 seconds.

Examples:
  sameseed debian.torrent
  sameseed debian.torrent --dir /srv/iso --seed
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
    subcommand_help_heading = "Commands",
    subcommand_value_name = "COMMAND",
    override_usage = "sameseed [OPTIONS] FILE\n       sameseed COMMAND ...",
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
    /// Run a small HTTP and UDP tracker for a local network
    Tracker(tracker::TrackerArgs),
}

/// Download and seed.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The torrent file (none only beside a command)
    #[arg(value_name = "FILE", required = true, help = "The torrent file")]
    pub(crate) file: Option<PathBuf>,
    /// Where to put the files [default: the current folder]
    #[arg(short, long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    pub(crate) dir: PathBuf,
    /// Only these files, by their numbers in --show-files: 1,3-5 [default: all]
    ///
    /// Other files are neither fetched nor made. Where a piece reaches into one of them, those bytes wait in a hidden file
    /// (.NAME.HASH.parts) until a later run wants them.
    #[arg(long, value_name = "LIST", value_parser = FileList::from_str)]
    pub(crate) select_file: Option<FileList>,
    /// List the torrent's files with their numbers and leave
    #[arg(short = 'S', long)]
    pub(crate) show_files: bool,
    /// Fetch pieces in the order of the torrent instead of the rarest first
    #[arg(long)]
    pub(crate) sequential: bool,
    /// Go on seeding when the download is complete
    #[arg(long)]
    pub(crate) seed: bool,
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
    /// Where to keep resume data [default: $XDG_STATE_HOME/sameseed]
    #[arg(long, value_name = "DIR", conflicts_with = "no_resume")]
    pub(crate) resume_dir: Option<PathBuf>,
    /// Keep no resume data: the next start reads everything
    #[arg(long)]
    pub(crate) no_resume: bool,
    /// Read all that is there, also what has not changed
    #[arg(long, alias = "check-integrity")]
    pub(crate) force_check: bool,
    /// Receive no more than so many bytes a second; K and M stand for 1024 and 1024 times 1024, 0 is no limit
    ///
    /// What goes over the sockets of peers is counted, messages included.
    #[arg(long, value_name = "SPEED", default_value = "0", hide_default_value = true, value_parser = speed)]
    pub(crate) max_download_limit: u64,
    /// Send no more than so many bytes a second
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

/// Ports to try, first to last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortRange {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

impl RunArgs {
    /// Limits of each torrent.
    pub(crate) fn limits(&self) -> RateLimits {
        RateLimits { down: self.max_download_limit, up: self.max_upload_limit }
    }

    /// Limits of all torrents together.
    pub(crate) fn overall_limits(&self) -> RateLimits {
        RateLimits { down: self.max_overall_download_limit, up: self.max_overall_upload_limit }
    }
}

/// Bytes per second as aria2 reads them.
fn speed(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1 << 10),
        None => text.strip_suffix(['m', 'M']).map_or((text, 1), |digits| (digits, 1 << 20)),
    };
    let number = digits.parse::<u64>().ok().filter(|_| digits.bytes().all(|digit| digit.is_ascii_digit()));
    number
        .and_then(|number| number.checked_mul(unit))
        .ok_or_else(|| String::from("a speed is a number, perhaps with K or M: 500K"))
}

impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = |text: &str| text.parse::<u16>().map_err(|_| String::from("a port is a number from 0 to 65535"));
        let (first, last) = match text.split_once('-') {
            Some((first, last)) => (port(first)?, port(last)?),
            None => (port(text)?, port(text)?),
        };
        match first <= last && (first > 0 || last == 0) {
            true => Ok(PortRange { first, last }),
            false => Err(String::from("a range goes from a lower port, not 0, to a higher one")),
        }
    }
}

fn peer(text: &str) -> Result<SocketAddr, String> {
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() > 0 => Ok(addr),
        _ => Err(String::from("a peer is an address and a port: 192.168.1.7:6881 or [fe80::1]:6881")),
    }
}

fn tracker_url(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let known =
        ["http://", "https://", "udp://"].iter().any(|scheme| lower.len() > scheme.len() && lower.starts_with(scheme));
    match known && !text.chars().any(|c| c.is_control() || c == ' ') {
        true => Ok(text.to_owned()),
        false => Err(String::from("a tracker's URL begins with http://, https:// or udp://")),
    }
}

fn piece_length(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.trim_end_matches("iB").as_bytes() {
        [digits @ .., b'k' | b'K'] => (digits, 1 << 10),
        [digits @ .., b'm' | b'M'] => (digits, 1 << 20),
        digits => (digits, 1),
    };
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse::<u32>().ok())
        .and_then(|n| n.checked_mul(unit))
        .filter(|len| len.is_power_of_two() && (MIN_PIECE_LEN..=MAX_PIECE_LEN).contains(len))
        .ok_or_else(|| String::from("a piece length is a power of two from 16K to 128M"))
}

/// Below one block a piece would only cost hashes.
const MIN_PIECE_LEN: u32 = 16 << 10;
/// Other clients refuse longer ones.
const MAX_PIECE_LEN: u32 = 128 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(args: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(std::iter::once("sameseed").chain(args.split_whitespace()))
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn all_options_of_a_download_work_together() {
        let cli = parse(
            "-d out --listen-port 7000 --bind 127.0.0.1 --peer 127.0.0.1:1 x.torrent --peer [::1]:2 --seed --json",
        )
        .unwrap();
        let run = cli.run;
        assert!(cli.command.is_none());
        assert_eq!((run.file, run.dir), (Some(PathBuf::from("x.torrent")), PathBuf::from("out")));
        assert_eq!(run.listen_port, Some(PortRange { first: 7000, last: 7000 }));
        assert_eq!(run.peers.len(), 2);
        assert!(run.seed && run.json && !run.sequential && run.select_file.is_none());
    }

    #[test]
    fn a_file_named_like_a_command_needs_its_folder() {
        assert!(matches!(parse("info x.torrent").unwrap().command, Some(Command::Info(_))));
        assert_eq!(parse("./info").unwrap().run.file, Some(PathBuf::from("./info")));
    }

    #[test]
    fn nonsense_is_refused() {
        for args in [
            "",
            "x.torrent --peer localhost",
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
            "x.torrent y.torrent",
            "create x --piece-length 17K",
            "create x --piece-length 8K",
            "create x --piece-length 4096M",
            "create x --piece-length K",
            "create",
            "x.torrent --max-download-limit fast",
            "x.torrent --max-upload-limit 1.5M",
            "x.torrent --max-upload-limit +1",
            "x.torrent --max-overall-upload-limit 99999999999999999999K",
            "-d out info x.torrent",
        ] {
            assert!(parse(args).is_err(), "{args}");
        }
    }

    #[test]
    fn lengths_and_ranges_are_read() {
        assert_eq!(piece_length("16384"), Ok(16384));
        assert_eq!(piece_length("256K"), Ok(256 << 10));
        assert_eq!(piece_length("4MiB"), Ok(4 << 20));
        assert_eq!([speed("0"), speed("5000"), speed("5K"), speed("2m")], [Ok(0), Ok(5000), Ok(5 << 10), Ok(2 << 20)]);
        assert_eq!("0".parse(), Ok(PortRange { first: 0, last: 0 }));
        assert_eq!("6881-6889".parse(), Ok(PortRange { first: 6881, last: 6889 }));
    }
}
