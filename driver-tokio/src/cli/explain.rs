//! `sameseed explain FILE`: runs a torrent for a while, and says in plain words why it is not faster. And what a download says when nothing comes.

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::json::Which;
use super::{output, run, selection, signals, text, torrent_file};
use clap::Args;
use driver_tokio::{AddTorrentOptions, Explained, Session};
use sameseed_core::action::Notice;
use sameseed_core::explain::{Cause, Explanation};
use sameseed_core::view::{TorrentState, TorrentView};
use serde::Serialize;
use std::time::Duration;
use tokio::time::sleep;

/// A download to which nothing has come for so long says why.
const SILENCE: Duration = Duration::from_secs(30);

/// `sameseed explain`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Ask after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    pub(crate) after: u64,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// Runs the torrent and explains it.
pub(crate) fn explain(args: &ExplainArgs) -> Result<Exit, Failure> {
    let [file] = &args.run.files[..] else {
        return Err(Failure::new(Exit::Usage, "one torrent at a time is explained"));
    };
    if args.run.config.is_some() {
        return Err(Failure::new(Exit::Usage, "--config is for downloads; to explain one, give its options here"));
    }
    let metainfo = torrent_file::load(file)?;
    let priorities = match &args.run.select_file {
        Some(list) => selection::priorities(&metainfo, list)?,
        None => Vec::new(),
    };
    let which = Which::from(&metainfo);
    let signal = signals::watch()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let session = run::start(&args.run).await?;
        let options = run::options(&args.run, metainfo, priorities);
        let explained = ask(&session, options, args, signal).await;
        signals::leave_soon(if explained.is_some() { Exit::Done } else { Exit::Other });
        session.shutdown().await;
        let explained = explained.ok_or_else(|| Failure::new(Exit::Other, "the session ended by itself"))?;
        output::line(&if args.run.json { json(&explained, &which) } else { words(&which.name, &explained) });
        Ok(Exit::Done)
    })
}

/// Waits for the time of the question, for Ctrl-C, or until everything is here and is not to be seeded; then asks.
async fn ask(
    session: &Session,
    options: AddTorrentOptions,
    args: &ExplainArgs,
    mut signal: tokio::sync::oneshot::Receiver<()>,
) -> Option<Explained> {
    let mut notices = session.notices();
    let torrent = session.add(options).await.ok()?;
    torrent.set_limits(args.run.limits()).await.ok()?;
    let wait = sleep(Duration::from_secs(args.after));
    tokio::pin!(wait);
    loop {
        tokio::select! {
            biased;
            _ = &mut signal => break,
            () = &mut wait => break,
            notice = notices.next() => match notice? {
                Notice::Complete { .. } if !args.run.seed => break,
                _ => {}
            },
        }
    }
    torrent.explain().await.ok()
}

/// For people.
fn words(name: &str, explained: &Explained) -> String {
    let mut lines = vec![name.to_owned()];
    lines.extend(two_sides(&explained.explanation));
    for peer in &explained.peers {
        lines.push(format!("{} {}", if peer.conn.is_dialed() { "to" } else { "from" }, peer.addr));
        lines.extend(two_sides(&peer.explanation));
    }
    lines.join("\n")
}

fn two_sides(explanation: &Explanation) -> Vec<String> {
    let side = |title: &'static str, causes: &[Cause]| {
        let titles = std::iter::once(title).chain(std::iter::repeat(""));
        let sentences = causes.iter().map(|cause| text::clean(&cause.to_string()));
        titles.zip(sentences).map(|(title, sentence)| format!("  {title:<11}{sentence}")).collect::<Vec<_>>()
    };
    [side("receiving:", &explanation.down), side("sending:", &explanation.up)].concat()
}

/// The same for programs: one line.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    receiving: Vec<Told>,
    sending: Vec<Told>,
    peers: Vec<PeerLine>,
    #[serde(flatten)]
    which: &'a Which,
}

#[derive(Serialize)]
struct PeerLine {
    conn: String,
    addr: String,
    receiving: Vec<Told>,
    sending: Vec<Told>,
}

/// A cause: its name, which never changes, and its sentence.
#[derive(Serialize)]
struct Told {
    cause: &'static str,
    text: String,
}

fn told(causes: &[Cause]) -> Vec<Told> {
    causes.iter().map(|cause| Told { cause: cause.name(), text: text::clean(&cause.to_string()) }).collect()
}

/// One JSON object; its `event` is `explanation`.
pub(crate) fn json(explained: &Explained, which: &Which) -> String {
    let peers = explained.peers.iter().map(|peer| PeerLine {
        conn: peer.conn.to_string(),
        addr: peer.addr.to_string(),
        receiving: told(&peer.explanation.down),
        sending: told(&peer.explanation.up),
    });
    let line = Line {
        event: "explanation",
        receiving: told(&explained.explanation.down),
        sending: told(&explained.explanation.up),
        peers: peers.collect(),
        which,
    };
    // Strings only: there is nothing in it that JSON cannot say.
    serde_json::to_string(&line).unwrap_or_default()
}

/// Notices when nothing has come for long.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    heard: Option<(Duration, u64)>,
}

impl Silence {
    /// Whether nothing has come for long; `now` counts from any beginning.
    pub(crate) fn is_long(&mut self, now: Duration, view: &TorrentView) -> bool {
        let waits = matches!(view.state, TorrentState::Downloading | TorrentState::Troubled) && view.left_bytes > 0;
        let (since, bytes) = *self.heard.get_or_insert((now, view.downloaded_bytes));
        if !waits || bytes != view.downloaded_bytes {
            self.heard = Some((now, view.downloaded_bytes));
            return false;
        }
        now.saturating_sub(since) >= SILENCE
    }
}

#[cfg(test)]
mod tests {
    use super::super::progress::tests::some_view;
    use super::*;
    use driver_tokio::ExplainedPeer;
    use sameseed_core::action::TrackerFailure;
    use sameseed_core::explain::PieceList;
    use sameseed_core::id::{ConnId, PieceIndex};

    fn explained() -> Explained {
        let pieces = PieceList { first: vec![PieceIndex(812)], count: 1 };
        let trackers = Cause::TrackersFail {
            failing: 3,
            trackers: 5,
            url: String::from("http://tracker.example/announce"),
            reason: TrackerFailure::Refused(String::from("not \x1b[31mtoday")),
            silent: Duration::from_secs(720),
            next_in: Some(Duration::from_secs(40)),
        };
        let choked = Cause::ChokedByUs { slots: 4, earned: 4, ahead: 0, next_in: Duration::from_secs(12) };
        let peer = ExplainedPeer {
            conn: ConnId::dialed(3),
            addr: ([10, 0, 0, 1], 6881).into(),
            explanation: Explanation { down: vec![Cause::ChokesUs], up: vec![choked] },
        };
        let down = vec![Cause::PiecesNowhere { pieces, copies_per_mille: 995 }, trackers];
        Explained {
            explanation: Explanation { down, up: vec![Cause::NobodyInterested { peers: 1 }] },
            peers: vec![peer],
        }
    }

    #[test]
    fn people_read_sentences() {
        insta::assert_snapshot!(words("debian.iso", &explained()), @r##"
        debian.iso
          receiving: no connected peer has piece 812 (0.99 copies among them and us); somebody who has the rest must come
                     3 of 5 trackers have not answered for 12 min (http://tracker.example/announce: the tracker says: not �[31mtoday); the next tracker is asked in 40 s
          sending:   the only connected peer wants nothing from us
        to 10.0.0.1:6881
          receiving: it chokes us; we get a slot in our turn, or when we send it more than others do
          sending:   choked by us: 4 slots taken by peers that send us more, next turn in 12 s
        "##);
    }

    #[test]
    fn programs_read_names_and_sentences() {
        let which = Which { info_hash: String::from("00ff"), name: String::from("debian.iso") };
        let why: serde_json::Value = serde_json::from_str(&json(&explained(), &which)).unwrap();
        assert_eq!((why["event"].as_str(), why["name"].as_str()), (Some("explanation"), Some("debian.iso")));
        let causes = |of: &serde_json::Value| {
            let all = of.as_array().unwrap().iter();
            all.map(|told| told["cause"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(causes(&why["receiving"]), ["pieces_nowhere", "trackers_fail"]);
        assert_eq!(why["sending"][0]["text"], "the only connected peer wants nothing from us");
        let peer = &why["peers"][0];
        assert_eq!((peer["conn"].as_str(), peer["addr"].as_str()), (Some("out3"), Some("10.0.0.1:6881")));
        assert_eq!(
            (causes(&peer["receiving"]), causes(&peer["sending"])),
            (vec![String::from("chokes_us")], vec![String::from("choked_by_us")])
        );
    }

    #[test]
    fn a_download_is_silent_when_nothing_came_for_half_a_minute() {
        let (mut silence, view) = (Silence::default(), some_view());
        let at = Duration::from_secs;
        assert!(!silence.is_long(at(0), &view) && !silence.is_long(at(29), &view) && silence.is_long(at(30), &view));
        let more = TorrentView { downloaded_bytes: view.downloaded_bytes + 1, ..view.clone() };
        assert!(!silence.is_long(at(31), &more) && !silence.is_long(at(60), &more) && silence.is_long(at(61), &more));
        let paused = TorrentView { state: TorrentState::Paused, ..more };
        assert!(!silence.is_long(at(100), &paused));
    }
}
