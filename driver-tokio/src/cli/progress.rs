//! How a download is told to people: one line, redrawn on a terminal, printed now and then elsewhere.
//!
//! Pure functions of a [`TorrentView`]; `run` owns the clock and the output.

use super::text;
use sameseed_core::view::{TorrentState, TorrentView};
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

/// On a narrow terminal the name gives way first, but not below this many columns.
const MIN_NAME_COLUMNS: usize = 8;

/// The time left at the present rate; `None` when it cannot be told.
pub(crate) fn eta(view: &TorrentView) -> Option<Duration> {
    match view.state {
        TorrentState::Downloading if view.down_rate > 0 => {
            Some(Duration::from_secs(view.left_bytes.div_ceil(view.down_rate)))
        }
        _ => None,
    }
}

/// The line, cut to `columns` when given. It contains no control characters.
pub(crate) fn line(view: &TorrentView, columns: Option<usize>) -> String {
    let facts = facts(view);
    let name = text::clean(&view.name);
    let Some(columns) = columns else { return format!("{name}: {facts}") };
    let room = columns.saturating_sub(facts.width() + 2);
    if room < MIN_NAME_COLUMNS.min(name.width()) {
        return text::cut(&facts, columns);
    }
    format!("{}: {facts}", text::cut(&name, room))
}

fn facts(view: &TorrentView) -> String {
    let mut facts = match view.state {
        TorrentState::Checking => {
            return format!(
                "checking {} ({}/{} pieces)",
                text::per_cent(u64::from(view.checked), u64::from(view.pieces)),
                view.checked,
                view.pieces
            );
        }
        TorrentState::Downloading => {
            let eta = eta(view).map_or_else(|| String::from("--"), text::time);
            format!("{}, {} down, ETA {eta}", progress(view), text::rate(view.down_rate))
        }
        TorrentState::Seeding => String::from("seeding"),
        TorrentState::Troubled => format!("{}, waiting for the disk", progress(view)),
        TorrentState::Paused => format!("{}, paused", progress(view)),
        TorrentState::Moving => format!("{}, moving its files", progress(view)),
        TorrentState::Stopped => format!("{}, stopping", progress(view)),
    };
    facts.push_str(&format!(", {}", text::count(u64::from(view.peers), "peer")));
    if view.uploaded_bytes > 0 || view.state == TorrentState::Seeding {
        facts.push_str(&format!(", {} up", text::rate(view.up_rate)));
    }
    facts
}

fn progress(view: &TorrentView) -> String {
    // Of what is wanted: pieces that are there all the same do not count.
    let share = text::per_cent(view.wanted_bytes.saturating_sub(view.left_bytes), view.wanted_bytes);
    format!("{share} ({}/{} pieces)", view.wanted_have, view.wanted)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use sameseed_core::config::RateLimits;
    use sameseed_core::id::{InfoHash, TorrentId};
    use sameseed_core::ledger::Ledger;

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
            uploaded_bytes: 0,
            total_downloaded_bytes: 300_000_000,
            total_uploaded_bytes: 0,
            checkpoints: 1,
            upload_slots: 8,
            down_rate: 5_500_000,
            up_rate: 0,
            peers: 12,
            seeds: 3,
            candidates: 40,
            limits: RateLimits::default(),
            trouble: None,
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
        lines.extend(all.map(|state| line(&TorrentView { state, ..view.clone() }, None)));
        insta::assert_snapshot!(lines.join("\n"), @r##"
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 12 peers
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), 5.2 MiB/s down, ETA 1m15s, 1 peer, 2.0 KiB/s up
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), 0 B/s down, ETA --, 0 peers
        debian-13.2.0-amd64-netinst.iso: checking 100.0% (3136/3136 pieces)
        debian-13.2.0-amd64-netinst.iso: seeding, 12 peers, 0 B/s up
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), waiting for the disk, 12 peers
        debian-13.2.0-amd64-netinst.iso: 50.0% (1568/3136 pieces), stopping, 12 peers
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

    #[test]
    fn an_absurd_rate_or_size_does_no_harm() {
        let view = TorrentView { left_bytes: u64::MAX, down_rate: 1, ..some_view() };
        assert!(line(&view, None).contains("ETA"));
    }
}
