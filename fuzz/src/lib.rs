//! What the fuzz targets prove, as plain functions that panic when it is not so.
//!
//! A module a target; `torrent` is what two of them share. The test package includes this file too, and runs every function over the seeds in `corpus/`.

pub mod bencode;
pub mod engine_ops;
pub mod metainfo;
pub mod peer_session;
pub mod sha_lanes;
mod torrent;
pub mod tracker_reply;
pub mod wire_decoder;
