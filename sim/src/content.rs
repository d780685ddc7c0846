//! Content by formula: every byte follows from its place, so that any range can be made and checked without a copy.

use sameseed_core::hash::sha1;
use sameseed_core::id::{InfoHash, PieceIndex};
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::Metainfo;
use std::sync::{Mutex, PoisonError};

/// What is made at least, of the formula: most torrents in worlds are smaller.
const LEAST_SHARED_LEN: usize = 4 << 20;

/// Fills `out` with the torrent's bytes from `offset` on.
pub fn fill(offset: u64, out: &mut [u8]) {
    for (i, byte) in out.iter_mut().enumerate() {
        let at = offset + i as u64;
        // A byte of a multiplicative hash of the 8-byte word it lies in (Fibonacci hashing).
        let word = (at / 8).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        *byte = ((word ^ (word >> 29)) >> (8 * (at % 8))) as u8;
    }
}

/// The torrent's bytes from `offset` on.
pub fn bytes(offset: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    fill(offset, &mut out);
    out
}

/// The first bytes of the formula: worlds share them. They are made once, and anew for a torrent that is larger than all before.
pub fn shared(len: usize) -> &'static [u8] {
    static SHARED: Mutex<&'static [u8]> = Mutex::new(&[]);
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if shared.len() < len {
        *shared = bytes(0, len.max(LEAST_SHARED_LEN)).leak();
    }
    &shared[..len]
}

/// A torrent with these file lengths whose content is the formula.
///
/// # Panics
/// When the lengths make no torrent.
pub fn torrent(name: &str, file_lens: &[u64], piece_len: u32) -> Metainfo {
    let files = file_lens.iter().enumerate().map(|(i, len)| (vec![name.to_string(), format!("file-{i}")], *len, false));
    let layout = Layout::new(files.collect(), piece_len).expect("the lengths make a torrent");
    let hashes = (0..layout.piece_count())
        .map(|piece| sha1(&bytes(layout.start_of(PieceIndex(piece)), layout.len_of(PieceIndex(piece)) as usize)));
    Metainfo {
        info_hash: InfoHash::V1(sha1(name.as_bytes())),
        name: name.to_string(),
        piece_hashes: hashes.collect(),
        layout,
        private: false,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        comment: None,
        created_by: None,
        created_unix_s: None,
    }
}
