//! The library as a program uses it, over real sockets on loopback: handles, events, the queue, filters, storages, readers, and the examples.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bench;
mod examples;
mod filters;
mod handles;
mod queue;
mod readers;
mod settings;
mod storages;
mod trackers;
