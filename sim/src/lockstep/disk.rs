//! A disk in memory, with the faults a test asks for.

use crate::content;
use sameseed_core::action::{FileStat, Operation};
use sameseed_core::event::{Hashed, Outcome};
use sameseed_core::fault::{DiskFault, DiskFaultKind};
use sameseed_core::hash::HashState;
use sameseed_core::id::PieceIndex;
use sameseed_core::layout::Layout;

/// One torrent's bytes, all files in a row.
#[derive(Debug)]
pub struct MemoryDisk {
    layout: Layout,
    bytes: Vec<u8>,
    exists: bool,
    /// So many writes succeed from now on; the rest find the disk full.
    pub writes_left: Option<u32>,
    /// The first bytes of so many pieces are changed before they are sent: a lying peer.
    pub lie_about_pieces: u32,
}

impl MemoryDisk {
    /// An empty disk, or one that has everything.
    pub fn new(layout: Layout, full: bool) -> Self {
        let mut bytes = vec![0; layout.total_len() as usize];
        if full {
            content::fill(0, &mut bytes);
        }
        MemoryDisk { layout, bytes, exists: full, writes_left: None, lie_about_pieces: 0 }
    }

    /// Whether everything is there and right.
    pub fn is_complete(&self) -> bool {
        self.bytes == content::bytes(0, self.bytes.len())
    }

    /// A range of a piece, as it would be sent.
    pub fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> Vec<u8> {
        let start = (self.layout.start_of(piece) + u64::from(begin)) as usize;
        let mut bytes = self.bytes[start..start + len as usize].to_vec();
        if piece.0 < self.lie_about_pieces {
            bytes[0] ^= 1;
        }
        bytes
    }

    /// Carries an operation out.
    ///
    /// # Panics
    /// When it is not a disk operation.
    pub fn run(&mut self, operation: Operation) -> Outcome {
        match operation {
            Operation::Stat { .. } => Outcome::Stat(Ok(self
                .layout
                .files()
                .iter()
                .map(|file| self.exists.then_some(FileStat { len: file.len, mtime_unix_s: 0 }))
                .collect())),
            Operation::Prepare { .. } => Outcome::Prepare(Ok(())),
            Operation::Sync { .. } => Outcome::Sync(Ok(())),
            Operation::Truncate { .. } => Outcome::Truncate(Ok(())),
            Operation::Absorb { piece, begin, blocks, hash, last, .. } => {
                let data: Vec<u8> = blocks.iter().flat_map(|block| block.iter().copied()).collect();
                let written = self.write(piece, begin, &data);
                Outcome::Absorb { blocks, hash: hash.map(|hash| hashed(hash, &data, last)), written }
            }
            Operation::Hash { piece, begin, len, hash, last, .. } => {
                let start = (self.layout.start_of(piece) + u64::from(begin)) as usize;
                Outcome::Hash(Ok(hashed(hash, &self.bytes[start..start + len as usize], last)))
            }
            Operation::Resolve { .. } | Operation::Fetch(_) => panic!("not a disk operation"),
        }
    }

    fn write(&mut self, piece: PieceIndex, begin: u32, data: &[u8]) -> Result<(), DiskFault> {
        match &mut self.writes_left {
            Some(0) => {
                let detail = String::from("simulated");
                return Err(DiskFault { kind: DiskFaultKind::Full, path: String::from("disk"), detail });
            }
            Some(left) => *left -= 1,
            None => {}
        }
        self.exists = true;
        let start = (self.layout.start_of(piece) + u64::from(begin)) as usize;
        self.bytes[start..start + data.len()].copy_from_slice(data);
        Ok(())
    }
}

fn hashed(mut state: HashState, data: &[u8], last: bool) -> Hashed {
    if last {
        return Hashed::Finished(state.finish(data));
    }
    state.absorb(data);
    Hashed::Running(state)
}
