//! Swarms in lock step: engines, links, disks, trackers and hostile peers on one heap of events. No tokio, no threads, no real time.
//!
//! `world` moves, `checks` names the laws, `scenario` draws a world from a seed, `phases` runs it: things go wrong, everything heals, everybody must finish.

mod abuse;
mod agenda;
mod announces;
mod backlog;
mod books;
mod by_hand;
mod bytes;
mod chaos;
pub mod checks;
mod content;
mod damage;
mod debts;
mod dial;
mod disk;
mod drive;
pub mod faults;
mod flow;
mod host;
mod hostile;
mod link;
pub mod literal;
mod node;
pub mod nth;
mod operate;
pub mod parallel;
mod parts;
pub mod phases;
mod reach;
mod sabotage;
pub mod scenario;
pub mod smaller;
mod stream;
mod talks;
mod told;
mod trace;
mod tracker;
mod users;
pub mod verdict;
mod wire;
mod world;

pub use disk::{Crash, Disk};
pub use host::{Host, TORRENT};
pub use link::Access;
pub use node::NodeIndex as HostIndex;
pub use sabotage::Sabotage;
pub use world::World;
