//! Says how a run goes: to people on a terminal or in plain lines, or as JSON to programs.

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::json::{Line, Which};
use super::output::{Redrawn, Stream};
use super::progress::Tally;
use super::torrent_file::Loaded;
use super::{explain, info, output, progress, text};
use driver_tokio::Explained;
use sameseed_core::action::Notice;
use sameseed_core::config::{Goal, SeedingGoals};
use sameseed_core::fault::DiskFault;
use sameseed_core::id::TorrentId;
use sameseed_core::view::TorrentView;
use std::collections::BTreeMap;

/// How often progress is printed where it cannot be drawn over: every tenth look.
const PRINT_EVERY_LOOKS: u64 = 10;
/// The same once all torrents only seed, for weeks perhaps: a multiple of the former.
const PRINT_SEEDS_EVERY_LOOKS: u64 = 60;
/// So many lines at most are printed then.
const PRINT_ROWS: usize = 10;
/// So many lines at most are drawn: more than people read.
const DRAW_ROWS: usize = 40;

/// Who says it.
#[derive(Debug)]
pub(crate) struct Teller {
    json: bool,
    /// What is said of the time after a download.
    next: &'static str,
    selected: bool,
    dir: String,
    lines: Redrawn,
    looks: u64,
}

impl Teller {
    /// Says nothing yet.
    pub(crate) fn new(args: &RunArgs) -> Self {
        Teller {
            json: args.json,
            next: match (args.seeds(), args.goals() == SeedingGoals::default()) {
                (false, _) => "",
                (true, true) => "; seeding until Ctrl-C",
                (true, false) => "; seeding until it is enough, or Ctrl-C",
            },
            selected: args.select_file.is_some(),
            dir: text::clean(&args.dir.display().to_string()),
            lines: Redrawn::new(Stream::Stdout),
            looks: 0,
        }
    }

    /// What is begun.
    pub(crate) fn started(&mut self, torrents: &[Loaded], listen_port: u16) {
        if self.json {
            for Loaded { metainfo, .. } in torrents {
                let started = Line::Started {
                    total_bytes: metainfo.layout.total_len(),
                    pieces: metainfo.layout.piece_count(),
                    files: metainfo.layout.files().iter().filter(|file| !file.pad).count(),
                    dir: self.dir.clone(),
                    listen_port,
                };
                self.say(&started, Some(&Which::from(metainfo)));
            }
            return;
        }
        match torrents {
            [Loaded { metainfo, .. }] => output::line(&info::summary(metainfo)),
            _ => {
                torrents.iter().for_each(|torrent| output::line(&info::one_line(&torrent.metainfo)));
                let total =
                    torrents.iter().map(|torrent| torrent.metainfo.layout.total_len()).fold(0, u64::saturating_add);
                output::line(&format!("{:<12}{} in {} torrents", "Size", text::size(total), torrents.len()));
            }
        }
        output::line(&format!("{:<12}port {listen_port}", "Listening"));
    }

    fn say(&self, line: &Line, which: Option<&Which>) {
        output::line(&line.to_json(which));
    }

    /// A notice, of one torrent or of all.
    pub(crate) fn notice(&self, notice: &Notice, which: Option<&Which>) {
        if self.json {
            self.say(&Line::from(notice), which);
        }
    }

    /// Whether a look would show anything, or be told to anybody, when all torrents only seed.
    pub(crate) fn shows_next_look_at_seeds(&self) -> bool {
        self.json || self.lines.is_terminal() || (self.looks + 1).is_multiple_of(PRINT_SEEDS_EVERY_LOOKS)
    }

    fn prints_next_look(&self) -> bool {
        (self.looks + 1).is_multiple_of(PRINT_EVERY_LOOKS)
    }

    /// A look that would show nothing is left out.
    pub(crate) fn skip_look(&mut self) {
        self.looks += 1;
    }

    /// Of how many torrents to which nothing comes the next look says why.
    pub(crate) fn room_for_whys(&self) -> usize {
        match () {
            () if !self.json && self.lines.is_terminal() => DRAW_ROWS,
            () if !self.prints_next_look() => 0,
            () if self.json => usize::MAX,
            () => PRINT_ROWS,
        }
    }

    /// Where all stands; `live` are those torrents that have not ended, `silent` those of them to which nothing comes, and why.
    pub(crate) fn look(
        &mut self,
        live: &[(&TorrentView, &Which)],
        all: &[TorrentView],
        tally: Tally,
        silent: &BTreeMap<TorrentId, Explained>,
    ) {
        let is_printed = self.prints_next_look();
        self.looks += 1;
        if self.json {
            for (view, which) in live {
                self.say(&Line::from(*view), Some(which));
                if let Some(why) = silent.get(&view.torrent).filter(|_| is_printed) {
                    output::line(&explain::json(why, which));
                }
            }
            return;
        }
        let whys = |columns: Option<usize>| {
            let told = live.iter().filter_map(|(view, which)| Some((which, silent.get(&view.torrent)?)));
            let told =
                told.filter_map(|(which, why)| Some(progress::silent(&which.name, why.explanation.top()?, columns)));
            told.collect::<Vec<String>>()
        };
        let live: Vec<&TorrentView> = live.iter().map(|(view, _)| *view).collect();
        if self.lines.is_terminal() {
            let (rows, columns) = (self.lines.rows().clamp(1, DRAW_ROWS), Some(self.lines.columns()));
            let mut lines = progress::lines(&live, all, tally, rows, columns);
            let room = rows - lines.len().min(rows);
            lines.extend(whys(columns).into_iter().take(room));
            self.lines.draw(&lines);
        } else if is_printed {
            progress::lines(&live, all, tally, PRINT_ROWS, None).iter().for_each(|line| output::line(line));
            whys(None).iter().take(PRINT_ROWS).for_each(|line| output::line(line));
        }
    }

    /// A signal has come.
    pub(crate) fn stopping(&mut self) {
        if !self.json {
            self.lines.draw(&[text::cut("saying goodbye; Ctrl-C again leaves at once", self.lines.columns())]);
        }
    }

    /// The disk refuses, and is waited for.
    pub(crate) fn refused(&mut self, which: &Which, fault: &DiskFault) {
        if !self.json {
            self.lines.clear();
            let what = text::clean(&fault.to_string());
            output::error_line(&format!("sameseed: {}: {what}; it goes on when the disk takes it again", which.name));
        }
    }

    /// A torrent is complete.
    pub(crate) fn complete(&mut self, which: &Which, downloaded: bool) {
        if !self.json {
            let how = if downloaded { "complete" } else { "complete, it was all there" };
            let selected = if self.selected { " (selected files)" } else { "" };
            self.lines.clear();
            output::line(&format!("{}{selected}: {how}, in {}{}", which.name, self.dir, self.next));
        }
    }

    /// A torrent has reached a seeding goal.
    pub(crate) fn seeded_enough(&mut self, which: &Which, goal: Goal) {
        if !self.json {
            self.lines.clear();
            let why = match goal {
                Goal::Ratio => "as much was given as --seed-ratio says",
                Goal::Time => "the time of --seed-time is over",
            };
            output::line(&format!("{}: seeded enough: {why}", which.name));
        }
    }

    /// Nothing more is done for a torrent. `said_elsewhere`: the end of the run tells why.
    pub(crate) fn ended(&self, which: &Which, outcome: Result<Exit, &Failure>, said_elsewhere: bool) {
        let exit = outcome.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
        let error = outcome.err().map(|failure| text::clean(&failure.message));
        if let (Some(error), false) = (&error, said_elsewhere) {
            output::error_line(&format!("sameseed: {error}"));
        }
        if self.json {
            self.say(&Line::TorrentEnded { exit_code: exit as u8, error }, Some(which));
        }
    }
}
