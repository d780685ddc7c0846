//! The world of the real driver: a whole `Session` with its real tasks on each host, over turmoil's network and a simulated disk.
//!
//! It finds what lock step cannot: lost wake-ups, partial reads and writes, leaked sockets and tasks, races at the end. Every random
//! choice follows from one seed, and a run leaves a trace hash.
//!
//! Read `swarm` (the world and what it checks), then `client` (one life of a host).

pub mod account;
pub mod client;
pub mod disk;
pub mod liar;
pub mod log;
pub mod net;
pub mod swarm;
pub mod trace;
pub mod tracker;

pub use client::{Client, Sabotage};
pub use disk::{Health, Trouble};
pub use swarm::Swarm;
