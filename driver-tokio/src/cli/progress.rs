//! How downloads are told to people: a line for each and one for all of them, redrawn on a terminal, printed now and then elsewhere.
//!
//! Pure functions of [`TorrentView`]s; `teller` owns the output.

use super::text;
use sameseed_core::explain::Cause;
use sameseed_core::view::{TorrentState, TorrentView};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// On a narrow terminal the name gives way first, but not below this many columns.
const MIN_NAME_COLUMNS: usize = 8;

/// How far all torrents of a run are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// All of them.
    pub(crate) torrents: usize,
    /// Those that are complete, also when they go on seeding.
    pub(crate) complete: usize,
    /// Those that were given up.
    pub(crate) failed: usize,
}

/// The time left at the present rate; `None` when it cannot be told.
pub(crate) fn eta(view: &TorrentView) -> Option<Duration> {
    match view.state {
        TorrentState::Downloading => time_left(view.left_bytes, view.down_rate),
        _ => None,
    }
}

fn time_left(left_bytes: u64, down_rate: u64) -> Option<Duration> {
    (down_rate > 0).then(|| Duration::from_secs(left_bytes.div_ceil(down_rate)))
}

/// At most `rows` lines, each cut to `columns` when given: one for each of the `live` torrents as far as there is room, those that are
/// not complete first, and (of several torrents) a last one for `all`.
pub(crate) fn lines(
    live: &[&TorrentView],
    all: &[TorrentView],
    tally: Tally,
    rows: usize,
    columns: Option<usize>,
) -> Vec<String> {
    if tally.torrents <= 1 {
        return live.iter().map(|view| line(view, columns)).take(rows).collect();
    }
    let room = rows.saturating_sub(1);
    let (mut shown, seeding): (Vec<&TorrentView>, Vec<&TorrentView>) =
        live.iter().partition(|view| view.state != TorrentState::Seeding);
    shown.extend(seeding);
    shown.truncate(room);
    let hidden = live.len() - shown.len();
    shown.sort_by_key(|view| view.torrent);
    let facts: Vec<String> = shown.iter().map(|view| facts(view, columns.is_none())).collect();
    let names: Vec<String> = shown.iter().map(|view| text::clean(&view.name)).collect();
    let mut lines: Vec<String> = match columns {
        None => names.iter().zip(&facts).map(|(name, facts)| format!("{name}: {facts}")).collect(),
        Some(columns) => table(&names, &facts, columns),
    };
    let summary = summary(live, all, tally, hidden);
    lines.push(columns.map_or(summary.clone(), |columns| text::cut(&summary, columns)));
    lines
}

/// Names in one column, as wide as the longest facts allow, and the facts beside it.
fn table(names: &[String], facts: &[String], columns: usize) -> Vec<String> {
    let widest = |texts: &[String]| texts.iter().map(|text| text.width()).max().unwrap_or(0);
    let room = columns.saturating_sub(widest(facts) + 2).max(MIN_NAME_COLUMNS).min(widest(names));
    let row = |(name, facts): (&String, &String)| {
        let name = text::cut(name, room);
        let padding = " ".repeat(room - name.width());
        text::cut(&format!("{name}{padding}  {facts}"), columns)
    };
    names.iter().zip(facts).map(row).collect()
}

fn summary(live: &[&TorrentView], all: &[TorrentView], tally: Tally, hidden: usize) -> String {
    let sum = |figure: fn(&TorrentView) -> u64| all.iter().map(figure).fold(0, u64::saturating_add);
    let (wanted, left) = (sum(|view| view.wanted_bytes), sum(|view| view.left_bytes));
    let (down, up) = (sum(|view| view.down_rate), sum(|view| view.up_rate));
    let mut parts = vec![format!("{}/{} complete", tally.complete, tally.torrents)];
    if tally.failed > 0 {
        parts.push(format!("{} failed", tally.failed));
    }
    if hidden > 0 {
        parts.push(format!("{hidden} not shown"));
    }
    parts.push(format!("{} of {}", text::per_cent(wanted.saturating_sub(left), wanted), text::size(wanted)));
    let downloads = || live.iter().filter(|view| view.state == TorrentState::Downloading);
    if downloads().next().is_some() {
        let left = downloads().map(|view| view.left_bytes).fold(0, u64::saturating_add);
        let eta = time_left(left, down).map_or_else(|| String::from("--"), text::time);
        parts.push(format!("{} down, ETA {eta}", text::rate(down)));
    }
    if sum(|view| view.uploaded_bytes) > 0 {
        parts.push(format!("{} up", text::rate(up)));
    }
    format!("All: {}", parts.join(", "))
}

/// The line, cut to `columns` when given. It contains no control characters.
pub(crate) fn line(view: &TorrentView, columns: Option<usize>) -> String {
    let facts = facts(view, true);
    let name = text::clean(&view.name);
    let Some(columns) = columns else { return format!("{name}: {facts}") };
    let room = columns.saturating_sub(facts.width() + 2);
    if room < MIN_NAME_COLUMNS.min(name.width()) {
        return text::cut(&facts, columns);
    }
    format!("{}: {facts}", text::cut(&name, room))
}

/// Why nothing comes to a download, cut to `columns` when given.
pub(crate) fn silent(name: &str, why: &Cause, columns: Option<usize>) -> String {
    let line = text::clean(&format!("{name}: nothing comes: {why}"));
    columns.map_or(line.clone(), |columns| text::cut(&line, columns))
}

/// `pieces`: count them too, where there is room.
fn facts(view: &TorrentView, pieces: bool) -> String {
    let count = |part: u32, whole: u32| if pieces { format!(" ({part}/{whole} pieces)") } else { String::new() };
    // Of what is wanted: pieces that are there all the same do not count.
    let share = text::per_cent(view.wanted_bytes.saturating_sub(view.left_bytes), view.wanted_bytes);
    let progress = format!("{share}{}", count(view.wanted_have, view.wanted));
    let mut facts = match view.state {
        TorrentState::Checking => {
            let share = text::per_cent(u64::from(view.checked), u64::from(view.pieces));
            return format!("checking {share}{}", count(view.checked, view.pieces));
        }
        TorrentState::Downloading => {
            let eta = eta(view).map_or_else(|| String::from("--"), text::time);
            format!("{progress}, {} down, ETA {eta}", text::rate(view.down_rate))
        }
        TorrentState::Seeding => String::from("seeding"),
        TorrentState::Troubled => format!("{progress}, waiting for the disk"),
        TorrentState::Paused => format!("{progress}, paused"),
        TorrentState::Queued => format!("{progress}, waiting for its turn"),
        TorrentState::Finished(_) => String::from("seeded enough"),
        TorrentState::Moving => format!("{progress}, moving its files"),
        TorrentState::Stopped => format!("{progress}, stopping"),
    };
    facts.push_str(&format!(", {}", text::count(u64::from(view.peers), "peer")));
    if view.uploaded_bytes > 0 || view.state == TorrentState::Seeding {
        facts.push_str(&format!(", {} up", text::rate(view.up_rate)));
    }
    facts
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sameseed_core::config::{Goal, RateLimits, SeedingGoals};
    use sameseed_core::id::{InfoHash, TorrentId};
    use sameseed_core::ledger::Ledger;
    use sameseed_core::tracker::Swarm;

    /// A download in the middle.
    pub(crate) fn some_view() -> TorrentView {
        TorrentView {
            torrent: TorrentId(0),
            info_hash: InfoHash::V1([0xab; 20]),
            name: String::from("debian-13.2.0-amd64-netinst.iso"),
            state: TorrentState::Downloading,
            paused: false,
            pieces: 3136,
            have: 1568,
            wanted: 3136,
            wanted_have: 1568,
            checked: 3136,
            hashed: 12,
            total_bytes: 3136 << 18,
            have_bytes: 1568 << 18,
            wanted_bytes: 3136 << 18,
            left_bytes: 1568 << 18,
            downloaded_bytes: 400_000_000,
            wasted_bytes: 16_384,
            ledger: Ledger { verified: 399_900_000, undecided: 83_616, duplicate: 16_384, ..Ledger::default() },
            failed_pieces: 0,
            lost_pieces: 0,
            uploaded_bytes: 0,
            total_downloaded_bytes: 300_000_000,
            total_uploaded_bytes: 0,
            checkpoints: 1,
            upload_slots: 8,
            down_rate: 5_500_000,
            up_rate: 0,
            peers: 12,
            seeds: 3,
            swarm: Swarm { complete: Some(11), incomplete: Some(19), downloaded: None },
            candidates: 40,
            limits: RateLimits::default(),
            trouble: None,
            complete: false,
            goals: SeedingGoals::default(),
            goals_waived: false,
            ratio_per_mille: 0,
            seeded_s: 0,
            seeding_since: None,
        }
    }

    #[test]
    fn the_line_tells_what_matters_in_every_state() {
        let mut lines = Vec::new();
        let view = some_view();
        lines.push(line(&view, None));
        lines.push(line(&TorrentView { peers: 1, uploaded_bytes: 9, up_rate: 2048, ..view.clone() }, None));
        lines.push(line(&TorrentView { down_rate: 0, peers: 0, ..view.clone() }, None));
        let all = [TorrentState::Checking, TorrentState::Seeding, TorrentState::Troubled, TorrentState::Stopped];
        let all = all.into_iter().chain([TorrentState::Queued, TorrentState::Finished(Goal::Ratio)]);
        lines.extend(all.map(|state| line(&TorrentView { state, ..view.clone() }, None)));
        insta::assert_snapshot!(lines.join("\n"), @r##"
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 12 peers
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 1 peer, 2.0 KiB/s up
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), 0 B/s down, ETA --, 0 peers
        debian-13.2.0-amd64-netinst.iso: checking 100.0% (3136/3136 pieces)
        debian-13.2.0-amd64-netinst.iso: seeding, 12 peers, 0 B/s up
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), waiting for the disk, 12 peers
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), stopping, 12 peers
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), waiting for its turn, 12 peers
        debian-13.2.0-amd64-netinst.iso: seeded enough, 12 peers
        "##);
    }

    #[test]
    fn the_line_fits_any_terminal() {
        let view = TorrentView {
            name: String::from("\x1b]0;pwned\x07 日本語日本語日本語日本語日本語"), ..some_view()
        };
        for columns in 0..150 {
            let line = line(&view, Some(columns));
            assert!(line.width() <= columns, "{columns}: {line}");
            assert!(!line.chars().any(char::is_control));
        }
        let shown: Vec<String> = [30, 79, 90, 140].map(|columns| line(&view, Some(columns))).into();
        insta::assert_snapshot!(shown.join("\n"), @r##"
        50.0% (1568/3136 pieces), 5.2…
        �]0;pwned� 日本…: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 12 peers
        �]0;pwned� 日本語日本語日…: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 12 peers
        �]0;pwned� 日本語日本語日本語日本語日本語: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 12 peers
        "##);
    }

    fn some_views(names: &[&str]) -> Vec<TorrentView> {
        let view =
            |(n, name): (u32, &&str)| TorrentView { torrent: TorrentId(n), name: name.to_string(), ..some_view() };
        (0..).zip(names).map(view).collect()
    }

    #[test]
    fn several_torrents_stand_below_each_other_and_are_summed_up() {
        let mut views = some_views(&["debian-13.2.0-amd64-netinst.iso", "日本語", "x\x1b[2J", "done", "seed"]);
        views[1].down_rate = 12;
        views[2].state = TorrentState::Checking;
        views[3] = TorrentView { state: TorrentState::Paused, left_bytes: 0, down_rate: 0, ..views[3].clone() };
        let seeding = TorrentState::Seeding;
        views[4] = TorrentView { state: seeding, left_bytes: 0, down_rate: 0, uploaded_bytes: 9, ..views[4].clone() };
        let live: Vec<&TorrentView> = views.iter().filter(|view| view.name != "done").collect();
        let tally = Tally { torrents: 6, complete: 2, failed: 1 };
        let shown = |rows, columns| lines(&live, &views, tally, rows, columns).join("\n");
        let all = [shown(24, None), shown(24, Some(110)), shown(24, Some(79)), shown(3, Some(90)), shown(1, Some(60))];
        insta::assert_snapshot!(all.join("\n\n"));
    }

    #[test]
    fn no_number_of_torrents_is_wider_or_higher_than_the_terminal() {
        let views = some_views(&["a", "日本語日本語日本語日本語日本語日本語", "\x1b]0;pwned\x07", "b", "c"]);
        for count in 0..=views.len() {
            let live: Vec<&TorrentView> = views[..count].iter().collect();
            for torrents in count..count + 2 {
                let tally = Tally { torrents, ..Tally::default() };
                for (rows, columns) in (1..8).flat_map(|rows| (0..150).map(move |columns| (rows, columns))) {
                    let lines = lines(&live, &views, tally, rows, Some(columns));
                    assert!(lines.len() <= rows && lines.iter().all(|line| line.width() <= columns), "{lines:?}");
                    assert!(!lines.concat().chars().any(char::is_control));
                }
            }
        }
    }

    #[test]
    fn a_download_to_which_nothing_comes_says_why() {
        let line = |columns| silent("a.iso", &Cause::PeersHaveNothing { peers: 2 }, columns);
        let whole =
            "a.iso: nothing comes: none of the 2 connected peers has any piece yet; somebody who has some must come";
        assert_eq!(line(None), whole);
        assert_eq!(line(Some(40)), "a.iso: nothing comes: none of the 2 con…");
    }

    #[test]
    fn an_absurd_rate_or_size_does_no_harm() {
        let view = TorrentView { left_bytes: u64::MAX, down_rate: 1, ..some_view() };
        assert!(line(&view, None).contains("ETA"));
    }
}
