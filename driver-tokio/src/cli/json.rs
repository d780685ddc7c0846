//! What `--json` prints: one JSON object per line on standard output.
//!
//! Each object names its kind in `event`; the kinds and fields are those of [`Line`], and of `explanation` (see `explain`). What is about a torrent ends with its `info_hash` and
//! its `name`: there may be several. Fields may be added, never renamed. Units stand in the
//! names: `_bytes`, `_s` (seconds), `_rate` (bytes per second). Text from outside is cleaned as it is for a terminal.

use super::progress;
use super::text::clean;
use sameseed_core::action::Notice;
use sameseed_core::config::Goal;
use sameseed_core::id::PeerId;
use sameseed_core::metainfo::Metainfo;
use sameseed_core::view::{TorrentState, TorrentView};
use serde::Serialize;
use std::net::SocketAddr;

/// One line.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Line {
    /// A torrent begins; the first lines of a run.
    Started {
        total_bytes: u64,
        pieces: u32,
        files: usize,
        dir: String,
        /// The TCP port that other peers can dial.
        listen_port: u16,
    },
    /// Where the torrent stands; once a second.
    Status {
        /// `checking`, `downloading`, `seeding`, `troubled`, `paused`, `queued`, `finished`, `moving` or `stopped`.
        state: &'static str,
        pieces: u32,
        have_pieces: u32,
        /// Pieces that touch a selected file.
        wanted_pieces: u32,
        /// Pieces looked at, while checking.
        checked_pieces: u32,
        /// Of those, pieces that were read: the others are known from resume data, or not there.
        hashed_pieces: u32,
        total_bytes: u64,
        have_bytes: u64,
        /// Bytes of the pieces that are wanted.
        wanted_bytes: u64,
        /// Of those, what is not there yet.
        left_bytes: u64,
        downloaded_bytes: u64,
        wasted_bytes: u64,
        /// What became of the bytes downloaded: these seven add up to them.
        verified_bytes: u64,
        undecided_bytes: u64,
        duplicate_bytes: u64,
        unrequested_bytes: u64,
        late_bytes: u64,
        corrupt_bytes: u64,
        lost_bytes: u64,
        uploaded_bytes: u64,
        /// Verified, in this session and those before.
        total_downloaded_bytes: u64,
        /// Uploaded, in this session and those before.
        total_uploaded_bytes: u64,
        /// Of that, thousandths of what was verified or is wanted, whichever is more.
        ratio_per_mille: u64,
        down_rate: u64,
        up_rate: u64,
        peers: u32,
        seeds: u32,
        /// How large the swarm is, as trackers said last. Null when none has.
        swarm_complete: Option<u32>,
        swarm_incomplete: Option<u32>,
        swarm_downloaded: Option<u32>,
        candidates: u32,
        /// Null when it cannot be told.
        eta_s: Option<u64>,
    },
    /// The check of what was on disk has ended.
    Checked { have_pieces: u32 },
    /// A piece was verified and written.
    PieceVerified { piece: u32 },
    /// A piece failed its hash and is fetched again.
    PieceFailed { piece: u32 },
    /// Pieces are gone from the disk; those that are wanted are fetched again.
    PiecesLost { pieces: Vec<u32> },
    /// Every piece that is wanted is there.
    Complete {
        /// False when the check found everything.
        downloaded: bool,
    },
    /// A seeding goal is reached; nothing more is given.
    SeededEnough {
        /// `ratio` or `time`.
        goal: &'static str,
    },
    /// A peer shook hands.
    PeerConnected {
        conn: String,
        addr: SocketAddr,
        /// Its 20 bytes, those that are not ASCII escaped as `\xNN`.
        peer_id: String,
    },
    /// A peer is gone.
    PeerGone {
        conn: String,
        /// Null when it was not our decision.
        reason: Option<String>,
    },
    /// An address will not be spoken to again.
    Banned { addr: SocketAddr },
    /// A tracker answered.
    TrackerAnswered { url: String, peers: u32, next_in_s: u64, warning: Option<String> },
    /// A tracker could not be asked, or refused.
    TrackerFailed { url: String, reason: String },
    /// A tracker was asked how large the swarm is. Null is what it does not say.
    Scraped {
        url: String,
        complete: Option<u32>,
        incomplete: Option<u32>,
        downloaded: Option<u32>,
        /// Why it could not be asked, or refused.
        failure: Option<String>,
    },
    /// The disk refused.
    DiskTrouble { path: String, kind: String, detail: String },
    /// The resume data is of no use: everything is checked.
    ResumeRefused { reason: String },
    /// Resume data cannot be saved; it is tried again.
    ResumeTrouble { path: String, kind: String, detail: String },
    /// All that a reader waits for is there; the command line has none.
    Readable { reader: u64 },
    /// A reader is one too many.
    TooManyReaders { reader: u64 },
    /// The torrent was not added, or a command not carried out: a file was named that is not there, the torrent is there already, ...
    Refused { reason: String },
    /// The torrent was removed.
    Removed {
        /// Why its files could not be deleted, when that was wanted.
        fault: Option<String>,
    },
    /// The torrent's files are in another folder now.
    Moved { dir: String },
    /// A file or folder has another name now.
    Renamed { from: String, to: String },
    /// Files could not be moved or renamed.
    NotMoved { fault: String },
    /// All has stopped in good order.
    ShutDown,
    /// Nothing more is done for a torrent in this run.
    TorrentEnded {
        /// The code with which a run of this torrent alone would exit.
        exit_code: u8,
        /// Null when the work was done.
        error: Option<String>,
    },
    /// The last line of a run.
    Ended {
        /// The code that the process exits with.
        exit_code: u8,
        /// Null when the work was done.
        error: Option<String>,
    },
}

/// What every line about a torrent ends with.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Which {
    pub(crate) info_hash: String,
    pub(crate) name: String,
}

impl From<&Metainfo> for Which {
    fn from(metainfo: &Metainfo) -> Which {
        Which { info_hash: metainfo.info_hash.to_hex(), name: clean(&metainfo.name) }
    }
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    line: &'a Line,
    #[serde(flatten)]
    which: Option<&'a Which>,
}

impl Line {
    /// The object, without a line feed; `which` torrent it is about.
    pub(crate) fn to_json(&self, which: Option<&Which>) -> String {
        // Strings and numbers only: there is nothing in a `Line` that JSON cannot say.
        let told = serde_json::to_string(&Told { line: self, which });
        told.unwrap_or_else(|error| format!(r#"{{"event":"internal_error","error":"{error}"}}"#))
    }
}

impl From<&TorrentView> for Line {
    fn from(view: &TorrentView) -> Line {
        Line::Status {
            state: state(view.state),
            pieces: view.pieces,
            have_pieces: view.have,
            wanted_pieces: view.wanted,
            checked_pieces: view.checked,
            hashed_pieces: view.hashed,
            total_bytes: view.total_bytes,
            have_bytes: view.have_bytes,
            wanted_bytes: view.wanted_bytes,
            left_bytes: view.left_bytes,
            downloaded_bytes: view.downloaded_bytes,
            wasted_bytes: view.wasted_bytes,
            verified_bytes: view.ledger.verified,
            undecided_bytes: view.ledger.undecided,
            duplicate_bytes: view.ledger.duplicate,
            unrequested_bytes: view.ledger.unrequested,
            late_bytes: view.ledger.late,
            corrupt_bytes: view.ledger.corrupt,
            lost_bytes: view.ledger.lost,
            uploaded_bytes: view.uploaded_bytes,
            total_downloaded_bytes: view.total_downloaded_bytes,
            total_uploaded_bytes: view.total_uploaded_bytes,
            ratio_per_mille: view.ratio_per_mille,
            down_rate: view.down_rate,
            up_rate: view.up_rate,
            peers: view.peers,
            seeds: view.seeds,
            swarm_complete: view.swarm.complete,
            swarm_incomplete: view.swarm.incomplete,
            swarm_downloaded: view.swarm.downloaded,
            candidates: view.candidates,
            eta_s: progress::eta(view).map(|eta| eta.as_secs()),
        }
    }
}

impl From<&Notice> for Line {
    fn from(notice: &Notice) -> Line {
        match notice {
            Notice::Checked { have, .. } => Line::Checked { have_pieces: *have },
            Notice::PieceVerified { piece, .. } => Line::PieceVerified { piece: piece.0 },
            Notice::PieceFailed { piece, .. } => Line::PieceFailed { piece: piece.0 },
            Notice::PiecesLost { pieces, .. } => {
                Line::PiecesLost { pieces: pieces.iter().map(|piece| piece.0).collect() }
            }
            Notice::Complete { downloaded, .. } => Line::Complete { downloaded: *downloaded },
            Notice::SeededEnough { goal: Goal::Ratio, .. } => Line::SeededEnough { goal: "ratio" },
            Notice::SeededEnough { goal: Goal::Time, .. } => Line::SeededEnough { goal: "time" },
            Notice::PeerConnected { conn, addr, peer_id, .. } => {
                Line::PeerConnected { conn: conn.to_string(), addr: *addr, peer_id: escaped(peer_id) }
            }
            Notice::PeerGone { conn, closed, .. } => {
                Line::PeerGone { conn: conn.to_string(), reason: closed.map(|reason| reason.to_string()) }
            }
            Notice::Readable { reader, .. } => Line::Readable { reader: reader.0 },
            Notice::TooManyReaders { reader, .. } => Line::TooManyReaders { reader: reader.0 },
            Notice::Banned { addr, .. } => Line::Banned { addr: *addr },
            Notice::TrackerAnswered { url, peers, next_in, warning, .. } => Line::TrackerAnswered {
                url: clean(url),
                peers: *peers,
                next_in_s: next_in.as_secs(),
                warning: warning.as_deref().map(clean),
            },
            Notice::TrackerFailed { url, reason, .. } => {
                Line::TrackerFailed { url: clean(url), reason: clean(&reason.to_string()) }
            }
            Notice::Scraped { url, result, .. } => {
                let swarm = result.as_ref().copied().unwrap_or_default();
                Line::Scraped {
                    url: clean(url),
                    complete: swarm.complete,
                    incomplete: swarm.incomplete,
                    downloaded: swarm.downloaded,
                    failure: result.as_ref().err().map(|reason| clean(&reason.to_string())),
                }
            }
            Notice::DiskTrouble { fault, .. } => Line::DiskTrouble {
                path: clean(&fault.path),
                kind: fault.kind.to_string(),
                detail: clean(&fault.detail),
            },
            Notice::ResumeRefused { error, .. } => Line::ResumeRefused { reason: clean(&error.to_string()) },
            Notice::ResumeTrouble { fault, .. } => Line::ResumeTrouble {
                path: clean(&fault.path),
                kind: fault.kind.to_string(),
                detail: clean(&fault.detail),
            },
            Notice::Refused { why, .. } => Line::Refused { reason: why.to_string() },
            Notice::Removed { fault, .. } => {
                Line::Removed { fault: fault.as_ref().map(|fault| clean(&fault.to_string())) }
            }
            Notice::Moved { to, .. } => Line::Moved { dir: clean(&String::from_utf8_lossy(&to.0)) },
            Notice::Renamed { from, to, .. } => {
                Line::Renamed { from: clean(&from.join("/")), to: clean(&to.join("/")) }
            }
            Notice::NotMoved { fault, .. } => Line::NotMoved { fault: clean(&fault.to_string()) },
            Notice::ShutDown => Line::ShutDown,
        }
    }
}

fn state(state: TorrentState) -> &'static str {
    match state {
        TorrentState::Checking => "checking",
        TorrentState::Downloading => "downloading",
        TorrentState::Seeding => "seeding",
        TorrentState::Troubled => "troubled",
        TorrentState::Paused => "paused",
        TorrentState::Queued => "queued",
        TorrentState::Finished(_) => "finished",
        TorrentState::Moving => "moving",
        TorrentState::Stopped => "stopped",
    }
}

fn escaped(peer_id: &PeerId) -> String {
    peer_id.0.escape_ascii().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::some_view;
    use sameseed_core::action::{CloseReason, Refusal, TrackerFailure};
    use sameseed_core::fault::{DiskFault, DiskFaultKind};
    use sameseed_core::id::{ConnId, Folder, PieceIndex, TorrentId};
    use sameseed_core::tracker::Swarm;
    use std::time::Duration;

    #[test]
    fn every_kind_of_line_is_one_line_of_json() {
        let torrent = TorrentId(0);
        let addr = SocketAddr::from(([127, 0, 0, 1], 6881));
        let notices = [
            Notice::Checked { torrent, have: 3 },
            Notice::PieceVerified { torrent, piece: PieceIndex(7) },
            Notice::PieceFailed { torrent, piece: PieceIndex(7) },
            Notice::PiecesLost { torrent, pieces: vec![PieceIndex(7), PieceIndex(9)] },
            Notice::Complete { torrent, downloaded: true },
            Notice::SeededEnough { torrent, goal: Goal::Ratio },
            Notice::PeerConnected {
                torrent,
                conn: ConnId::dialed(1),
                addr,
                peer_id: PeerId(*b"-SM0001-\x00\"\n\xff........"),
            },
            Notice::PeerGone { torrent, conn: ConnId::dialed(1), closed: Some(CloseReason::Idle) },
            Notice::PeerGone { torrent, conn: ConnId::accepted(2), closed: None },
            Notice::Banned { torrent, addr },
            Notice::TrackerAnswered {
                torrent,
                url: String::from("http://t/announce"),
                peers: 5,
                next_in: Duration::from_secs(1800),
                warning: Some(String::from("slow\ndown\u{9b}")),
            },
            Notice::TrackerFailed {
                torrent,
                url: String::from("udp://t:1"),
                reason: TrackerFailure::Refused(String::from("no")),
            },
            Notice::Scraped {
                torrent,
                url: String::from("udp://t:1"),
                result: Ok(Swarm { complete: Some(11), incomplete: Some(19), downloaded: None }),
            },
            Notice::Scraped {
                torrent,
                url: String::from("http://t/announce"),
                result: Err(TrackerFailure::Status(404)),
            },
            Notice::DiskTrouble {
                torrent,
                fault: DiskFault {
                    kind: DiskFaultKind::Full,
                    path: String::from("a/b"),
                    detail: String::from("No space left on device"),
                },
            },
            Notice::Refused { torrent, why: Refusal::Stopping },
            Notice::Removed { torrent, fault: None },
            Notice::Moved { torrent, to: Folder(b"/srv".to_vec()) },
            Notice::Renamed { torrent, from: vec![String::from("a")], to: vec![String::from("b")] },
        ];
        let mut lines = vec![
            Line::Started { total_bytes: 10, pieces: 1, files: 1, dir: String::from("."), listen_port: 6881 },
            Line::from(&some_view()),
        ];
        lines.extend(notices.iter().map(Line::from));
        lines.push(Line::TorrentEnded { exit_code: 0, error: None });
        let which = Which { info_hash: "ab".repeat(20), name: String::from("x") };
        let mut lines: Vec<String> = lines.iter().map(|line| line.to_json(Some(&which))).collect();
        lines.push(Line::from(&Notice::ShutDown).to_json(None));
        lines.push(Line::Ended { exit_code: 5, error: Some(String::from("full")) }.to_json(None));
        assert!(lines.iter().all(|line| !line.contains('\n') && line.starts_with(r#"{"event":""#)));
        insta::assert_snapshot!(lines.join("\n"), @r##"
        {"event":"started","total_bytes":10,"pieces":1,"files":1,"dir":".","listen_port":6881,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"status","state":"downloading","pieces":3136,"have_pieces":1568,"wanted_pieces":3136,"checked_pieces":3136,"hashed_pieces":12,"total_bytes":822083584,"have_bytes":411041792,"wanted_bytes":822083584,"left_bytes":411041792,"downloaded_bytes":400000000,"wasted_bytes":16384,"verified_bytes":399900000,"undecided_bytes":83616,"duplicate_bytes":16384,"unrequested_bytes":0,"late_bytes":0,"corrupt_bytes":0,"lost_bytes":0,"uploaded_bytes":0,"total_downloaded_bytes":300000000,"total_uploaded_bytes":0,"ratio_per_mille":0,"down_rate":5500000,"up_rate":0,"peers":12,"seeds":3,"swarm_complete":11,"swarm_incomplete":19,"swarm_downloaded":null,"candidates":40,"eta_s":75,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"checked","have_pieces":3,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"piece_verified","piece":7,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"piece_failed","piece":7,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"pieces_lost","pieces":[7,9],"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"complete","downloaded":true,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"seeded_enough","goal":"ratio","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"peer_connected","conn":"out1","addr":"127.0.0.1:6881","peer_id":"-SM0001-\\x00\\\"\\n\\xff........","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"peer_gone","conn":"out1","reason":"nothing heard for too long","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"peer_gone","conn":"in2","reason":null,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"banned","addr":"127.0.0.1:6881","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"tracker_answered","url":"http://t/announce","peers":5,"next_in_s":1800,"warning":"slow�down�","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"tracker_failed","url":"udp://t:1","reason":"the tracker says: no","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"scraped","url":"udp://t:1","complete":11,"incomplete":19,"downloaded":null,"failure":null,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"scraped","url":"http://t/announce","complete":null,"incomplete":null,"downloaded":null,"failure":"HTTP status 404","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"disk_trouble","path":"a/b","kind":"no space left","detail":"No space left on device","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"refused","reason":"everything is being shut down","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"removed","fault":null,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"moved","dir":"/srv","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"renamed","from":"a","to":"b","info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"torrent_ended","exit_code":0,"error":null,"info_hash":"abababababababababababababababababababab","name":"x"}
        {"event":"shut_down"}
        {"event":"ended","exit_code":5,"error":"full"}
        "##);
    }
}
