//! What the fuzz targets prove, on stable: over the seeds in `fuzz/corpus`, and over generated junk.

use proptest::prelude::*;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/src/lib.rs"]
pub mod properties;

/// The seeds of `target`, by path.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).expect("each target has a folder of seeds");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} holds no seeds", folder.display());
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("a seed can be read"))).collect()
}

#[test]
fn bencode_seeds_hold() {
    for (path, seed) in seeds("bencode") {
        println!("{}", path.display());
        properties::bencode::check(&seed);
    }
}

#[test]
fn engine_ops_seeds_hold() {
    for (path, seed) in seeds("engine_ops") {
        println!("{}", path.display());
        properties::engine_ops::check(&seed);
    }
}

#[test]
fn metainfo_seeds_hold() {
    for (path, seed) in seeds("metainfo") {
        println!("{}", path.display());
        properties::metainfo::check(&seed);
    }
}

#[test]
fn peer_session_seeds_hold() {
    for (path, seed) in seeds("peer_session") {
        println!("{}", path.display());
        properties::peer_session::check(&seed);
    }
}

#[test]
fn sha_lanes_seeds_hold() {
    for (path, seed) in seeds("sha_lanes") {
        println!("{}", path.display());
        properties::sha_lanes::check(&seed);
    }
}

#[test]
fn tracker_reply_seeds_hold() {
    for (path, seed) in seeds("tracker_reply") {
        println!("{}", path.display());
        properties::tracker_reply::check(&seed);
    }
}

#[test]
fn wire_decoder_seeds_hold() {
    for (path, seed) in seeds("wire_decoder") {
        println!("{}", path.display());
        properties::wire_decoder::check(&seed);
    }
}

proptest! {
    #[test]
    fn engine_ops_hold_for_random_steps(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        properties::engine_ops::check(&data);
    }

    #[test]
    fn sha_lanes_hold_for_random_jobs(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        properties::sha_lanes::check(&data);
    }

    #[test]
    fn peer_session_holds_for_random_steps(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        properties::peer_session::check(&data);
    }

    #[test]
    fn bencode_holds_for_junk_that_looks_like_it(data in proptest::collection::vec(proptest::sample::select(b"dddllleeei0123-:a".to_vec()), 0..40)) {
        properties::bencode::check(&data);
    }
}
