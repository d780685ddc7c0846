//! `sameseed explain FILE`: runs a torrent for a while, and says in plain words why it is not faster. And what a download says when nothing comes.

use super::args::RunArgs;
use super::exit::{Exit, Failure};
use super::json::Which;
use super::{output, run, selection, signals, text, torrent_file};
use clap::Args;
use driver_tokio::{AddTorrentOptions, Explained, Session};
use sameseed_core::action::Notice;
use sameseed_core::explain::{Cause, Explanation};
use sameseed_core::view::{TorrentState, TorrentView, TrackerView};
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
    let (store, metainfo) = (run::hash_store(&args.run), torrent_file::load(file)?);
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
        let session = run::start(&args.run, store).await?;
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
    // Who asks wants to know how large the swarm is, and of all trackers.
    torrent.scrape().await.ok()?;
    let wait = sleep(Duration::from_secs(args.after));
    tokio::pin!(wait);
    loop {
        tokio::select! {
            biased;
            _ = &mut signal => break,
            () = &mut wait => break,
            notice = notices.next() => match notice? {
                Notice::Complete { .. } if !args.run.seeds() => break,
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
    let titles = std::iter::once("trackers:").chain(std::iter::repeat(""));
    lines.extend(titles.zip(&explained.trackers).map(|(title, tracker)| format!("  {title:<11}{}", sentence(tracker))));
    for peer in &explained.peers {
        lines.push(format!("{} {}", if peer.conn.is_dialed() { "to" } else { "from" }, peer.addr));
        lines.extend(two_sides(&peer.explanation));
    }
    lines.join("\n")
}

/// What a tracker says.
fn sentence(tracker: &TrackerView) -> String {
    let counts = [
        tracker.swarm.complete.map(|count| format!("{count} complete")),
        tracker.swarm.incomplete.map(|count| format!("{count} incomplete")),
        tracker.swarm.downloaded.map(|count| format!("downloaded {count} times")),
    ];
    let mut said: Vec<String> = counts.into_iter().flatten().collect();
    if said.is_empty() {
        said.push(String::from("has not said how large the swarm is"));
    }
    said.extend(tracker.failure.as_ref().map(|failure| format!("and has failed since: {failure}")));
    text::clean(&format!("{}: {}", tracker.url, said.join(", ")))
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
    trackers: Vec<TrackerLine>,
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

/// Null is what the tracker has not said.
#[derive(Serialize)]
struct TrackerLine {
    url: String,
    tier: u32,
    peers: Option<u32>,
    failure: Option<String>,
    complete: Option<u32>,
    incomplete: Option<u32>,
    downloaded: Option<u32>,
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
    let trackers = explained.trackers.iter().map(|tracker| TrackerLine {
        url: text::clean(&tracker.url),
        tier: tracker.tier,
        peers: tracker.peers,
        failure: tracker.failure.as_ref().map(|failure| text::clean(&failure.to_string())),
        complete: tracker.swarm.complete,
        incomplete: tracker.swarm.incomplete,
        downloaded: tracker.swarm.downloaded,
    });
    let line = Line {
        event: "explanation",
        receiving: told(&explained.explanation.down),
        sending: told(&explained.explanation.up),
        peers: peers.collect(),
        trackers: trackers.collect(),
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
    use sameseed_core::tracker::Swarm;

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
            trackers: vec![
                TrackerView {
                    url: String::from("http://tracker.example/announce"),
                    tier: 0,
                    peers: Some(5),
                    failure: None,
                    swarm: Swarm { complete: Some(11), incomplete: Some(19), downloaded: Some(13_772) },
                },
                TrackerView {
                    url: String::from("udp://t.example:1/"),
                    tier: 1,
                    peers: None,
                    failure: Some(TrackerFailure::Refused(String::from("not \x1b[31mtoday"))),
                    swarm: Swarm::default(),
                },
            ],
        }
    }

    #[test]
    fn people_read_sentences() {
        insta::assert_snapshot!(words("debian.iso", &explained()), @r##"
        debian.iso
          receiving: no connected peer has piece 812 (0.99 copies among them and us); somebody who has the rest must come
                     3 of 5 trackers have not answered for 12 min (http://tracker.example/announce: the tracker says: not �[31mtoday); the next tracker is asked in 40 s
          sending:   the only connected peer wants nothing from us
          trackers:  http://tracker.example/announce: 11 complete, 19 incomplete, downloaded 13772 times
                     udp://t.example:1/: has not said how large the swarm is, and has failed since: the tracker says: not �[31mtoday
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
        assert_eq!(why["trackers"][0]["downloaded"], 13_772);
        assert!(why["trackers"][1]["complete"].is_null() && why["trackers"][1]["failure"].is_string());
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
