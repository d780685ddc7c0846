//! Swarms in lock step: engines, links, disks, trackers and hostile peers on one heap of events. No tokio, no threads, no real time.
//!
//! `world` moves, `checks` names the laws, `scenario` draws a world from a seed, `phases` runs it: things go wrong, everything heals, everybody must finish.

mod abuse;
mod chaos;
pub mod checks;
mod content;
mod damage;
mod dial;
mod disk;
mod drive;
pub mod faults;
mod host;
mod hostile;
mod link;
mod node;
mod operate;
pub mod phases;
pub mod scenario;
mod stream;
mod talks;
mod trace;
mod tracker;
mod wire;
mod world;

pub use disk::{Crash, Disk};
pub use host::{Host, TORRENT};
pub use link::Access;
pub use node::NodeIndex as HostIndex;
pub use world::World;
