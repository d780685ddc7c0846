//! The world of the real driver: a whole `Session` with its real tasks on each host, over turmoil's network and a simulated disk.
//!
//! It finds what lock step cannot: lost wake-ups, partial reads and writes, leaked sockets and tasks, races at the end. Every random
//! choice follows from one seed, and a run leaves a trace hash.

pub mod disk;
pub mod liar;
pub mod net;
pub mod swarm;
pub mod trace;
pub mod tracker;

pub use swarm::{Client, Swarm};
