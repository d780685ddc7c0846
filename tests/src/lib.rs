//! Helpers of the tests in `tests/tests`: the binary under test, processes, content, and real programs that no one here wrote.
//!
//! Everything runs on loopback, on free ports, and every process is ended by its process id.

mod aria2;
mod background;
mod binary;
mod client;
mod compare;
mod content;
mod deadline;
mod hostile_tracker;
mod libtorrent;
mod link;
mod lone;
mod odd_torrent;
mod opentracker;
mod ports;
mod process;
pub mod programs;
mod qbittorrent;
mod rows;
mod rqbit;
mod run;
mod sameseed;
mod sample;
mod scripted_peer;
mod stage;
mod tap;
mod torrent;
mod transmission;

pub use aria2::Aria2;
pub use background::in_background;
pub use binary::{cargo, sameseed_binary, target_dir, workspace_root};
pub use client::{Announce, Client, Job, Role, Running};
pub use compare::{EmptyFiles, difference};
pub use content::{Tree, TreeFile, noise};
pub use deadline::Deadline;
pub use hostile_tracker::{HttpTracker, UdpTracker, compact, http_ok, reply};
pub use libtorrent::Libtorrent;
pub use link::{Link, id};
pub use lone::{Lone, Sizes};
pub use odd_torrent::{OddFile, OddTorrent, files_below, raw_bytes, raw_dict, raw_int, raw_list};
pub use opentracker::{Opentracker, Scrape, TrackerAddress};
pub use ports::free_port;
pub use process::Process;
pub use qbittorrent::Qbittorrent;
pub use rows::Rows;
pub use rqbit::Rqbit;
pub use run::Run;
pub use sameseed::Sameseed;
pub use sample::Sample;
pub use scripted_peer::ScriptedPeer;
pub use stage::Stage;
pub use tap::Tap;
pub use torrent::Torrent;
pub use transmission::Transmission;

/// What a test's step gives: any error will do, its sentence is what counts.
pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
