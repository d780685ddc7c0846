//! A torrent's part file, and which ranges of which piece its client keeps there. It stands beside the files: neither can damage the other.
//!
//! A crash keeps what was synced; each sector written since is kept or lost.

use sameseed_core::id::PieceIndex;
use sameseed_core::rng::Rng;
use std::collections::BTreeMap;
use std::ops::Range;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// The part file.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// Its bytes, at their place in the torrent; `None` when there is none.
    now: Option<Vec<u8>>,
    synced: Option<Vec<u8>>,
    /// As the client said in this life.
    places: BTreeMap<PieceIndex, Vec<Range<u32>>>,
}

impl Parts {
    /// The client starts: it will say anew what stands here.
    pub(super) fn forget_places(&mut self) {
        self.places.clear();
    }

    /// The client says what of a piece stands here.
    pub(super) fn place(&mut self, piece: PieceIndex, in_parts: Vec<Range<u32>>) {
        self.places.insert(piece, in_parts);
    }

    /// What of a piece stands here.
    pub(super) fn of(&self, piece: PieceIndex) -> &[Range<u32>] {
        self.places.get(&piece).map_or(&[], Vec::as_slice)
    }

    /// Its length, when it exists.
    pub(super) fn len(&self) -> Option<u64> {
        self.now.as_ref().map(|bytes| bytes.len() as u64)
    }

    /// Bytes that stand here.
    pub(super) fn read(&self, at: u64, len: u64) -> Option<&[u8]> {
        self.now.as_ref()?.get(at as usize..(at + len) as usize)
    }

    /// Writes; the file is made if it must.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) {
        let bytes = self.now.get_or_insert_default();
        let end = at as usize + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        bytes[at as usize..end].copy_from_slice(data);
    }

    /// It is removed.
    pub(super) fn remove(&mut self) {
        self.now = None;
    }

    /// What stands here is safe.
    pub(super) fn sync(&mut self) {
        self.synced.clone_from(&self.now);
    }

    /// The program ends; with `lost` because the power fails: then sectors that were not synced are kept or lost, and a file that was removed may be back.
    pub(super) fn crash(&mut self, lost: bool, rng: &mut Rng) {
        if !lost {
            return;
        }
        if self.now.is_none() && self.synced.is_some() && rng.below(2) == 0 {
            self.now = self.synced.take();
        }
        if let Some(now) = &mut self.now {
            let old = self.synced.take().unwrap_or_default();
            for (i, sector) in now.chunks_mut(SECTOR).enumerate() {
                if rng.below(2) == 0 {
                    let old = old.get(i * SECTOR..).unwrap_or_default();
                    let len = old.len().min(sector.len());
                    sector[..len].copy_from_slice(&old[..len]);
                    sector[len..].fill(0);
                }
            }
        }
        self.sync();
    }
}
