//! The engine against peers whose every message is written by hand. A test's name is the law it shows.

pub(crate) mod breaches;
mod downloads;
mod goals;
mod harness;
mod hostile;
mod laws;
mod ledger;
mod liars;
mod life;
mod limits;
mod links;
mod losses;
mod parts;
mod queue;
mod readers;
mod resume;
mod selections;
mod stops;
mod trackers;
mod transcript;
mod turns;
mod uploads;

use crate::config::Config;
use crate::id::{BLOCK_LEN, PieceIndex};
use crate::wire::BlockRequest;

/// Few enough resources that every limit is near.
fn config() -> Config {
    Config { pool_blocks: 64, ..Config::default() }
}

/// A whole block.
fn block(piece: u32, block: u32) -> BlockRequest {
    BlockRequest { piece: PieceIndex(piece), begin: block * BLOCK_LEN, len: BLOCK_LEN }
}
