//! The BitTorrent protocol as a pure state machine.
//!
//! [`Engine`](engine::Engine) takes events (bytes received, a timer fired, a disk operation done) and gives actions (dial, close, write,
//! fetch). It has no sockets, files, threads, clock or randomness of its own: time is an argument, randomness is one seed. So the same seed
//! and the same events give the same actions, and whole swarms can be run in a simulator.
//!
//! Read [`event`] and [`action`] first: they are the whole vocabulary between the engine and the world. The modules stand on floors; a
//! module uses only floors below its own. What the engine is made of (floors 3 to 5) is private: it can change without anybody noticing.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

// Floor 0
pub mod bitfield;
pub mod fault;
pub mod hash;
pub mod id;
pub mod rng;
pub mod time;

// Floor 1: formats
pub mod bencode;
pub mod blocklist;
pub mod layout;
pub mod metainfo;
pub mod resume;
pub mod tracker;
pub mod wire;

// Floor 2: vocabulary and tools
pub mod action;
pub mod block;
pub mod config;
pub mod event;
pub mod explain;
pub mod ledger;
mod limiter;
mod priority;
mod rate;
pub mod selection;
mod timers;
mod tx;
pub mod view;

// Floor 3: machines that do not know each other
mod announce;
mod bans;
mod blame;
mod candidates;
mod choker;
mod external;
mod picker;
mod pieces;
mod pipeline;
mod queue;

// Floors 4 to 6
pub mod engine;
mod peer;
mod torrent;
