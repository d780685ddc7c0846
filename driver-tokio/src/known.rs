//! What the driver itself knows of the torrents that are there: names and files for handles, and which files have just become whole.
//!
//! Nothing here decides: it is what the engine has said, added up by file.

use crate::torrent::{About, FileView};
use sameseed_core::bitfield::Bitfield;
use sameseed_core::id::{FileIndex, PieceIndex, TorrentId};
use sameseed_core::layout::{FileEntry, Layout};
use sameseed_core::selection::Priority;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// All torrents that are there.
#[derive(Debug, Default)]
pub(crate) struct Known {
    torrents: BTreeMap<TorrentId, KnownTorrent>,
}

#[derive(Debug)]
struct KnownTorrent {
    about: Arc<About>,
    /// With the names as they are now.
    layout: Layout,
    /// Pieces that each file still lacks; empty before the check is over.
    lacking: Vec<u32>,
}

impl Known {
    pub(crate) fn add(&mut self, about: Arc<About>) {
        let layout = Layout::clone(&about.layout);
        self.torrents.insert(about.id, KnownTorrent { about, layout, lacking: Vec::new() });
    }

    pub(crate) fn remove(&mut self, torrent: TorrentId) {
        self.torrents.remove(&torrent);
    }

    /// In order of number.
    pub(crate) fn all(&self) -> Vec<Arc<About>> {
        self.torrents.values().map(|torrent| torrent.about.clone()).collect()
    }

    pub(crate) fn layout(&self, torrent: TorrentId) -> Option<&Layout> {
        self.torrents.get(&torrent).map(|torrent| &torrent.layout)
    }

    /// A file or folder has another name.
    pub(crate) fn renamed(&mut self, torrent: TorrentId, from: &[String], to: &[String]) {
        if let Some(torrent) = self.torrents.get_mut(&torrent)
            && let Some(layout) = torrent.layout.renamed(from, to)
        {
            torrent.layout = layout;
        }
    }

    /// The check has found these pieces.
    pub(crate) fn checked(&mut self, torrent: TorrentId, have: &Bitfield) {
        let Some(torrent) = self.torrents.get_mut(&torrent) else { return };
        let lacks = |piece: &u32| !have.get(PieceIndex(*piece));
        let lacking = |file| pieces_of(&torrent.layout, file).filter(lacks).count() as u32;
        torrent.lacking = torrent.layout.files().iter().map(lacking).collect();
    }

    /// A piece was verified: gives the files whose last one it was.
    pub(crate) fn verified(&mut self, torrent: TorrentId, piece: PieceIndex) -> Vec<FileIndex> {
        let Some(KnownTorrent { layout, lacking, .. }) = self.torrents.get_mut(&torrent) else { return Vec::new() };
        let mut whole = Vec::new();
        for span in layout.spans(piece, 0, layout.len_of(piece)).filter(|span| !span.pad) {
            if let Some(left) = lacking.get_mut(span.file.0 as usize).filter(|left| **left > 0) {
                *left -= 1;
                whole.extend((*left == 0).then_some(span.file));
            }
        }
        whole
    }

    /// Each file that is no pad file.
    pub(crate) fn files(
        &self,
        torrent: TorrentId,
        have: &Bitfield,
        priority: impl Fn(FileIndex) -> Option<Priority>,
    ) -> Option<Vec<FileView>> {
        let layout = self.layout(torrent)?;
        let files = (0..).map(FileIndex).zip(layout.files()).filter(|(_, entry)| !entry.pad);
        let view = |(file, entry): (FileIndex, &FileEntry)| {
            let had = pieces_of(layout, entry).map(PieceIndex).filter(|piece| have.get(*piece));
            let overlap = |piece: PieceIndex| {
                let (start, end) = (layout.start_of(piece), layout.start_of(piece) + u64::from(layout.len_of(piece)));
                end.min(entry.offset + entry.len) - start.max(entry.offset)
            };
            FileView {
                file,
                path: entry.path.clone(),
                len: entry.len,
                have_bytes: had.map(overlap).sum(),
                priority: priority(file).unwrap_or_default(),
            }
        };
        Some(files.map(view).collect())
    }
}

/// The pieces that hold bytes of a file.
fn pieces_of(layout: &Layout, file: &FileEntry) -> Range<u32> {
    let piece_len = u64::from(layout.piece_len());
    match file.len {
        0 => 0..0,
        len => (file.offset / piece_len) as u32..(file.offset + len).div_ceil(piece_len) as u32,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sameseed_core::id::InfoHash;

    #[test]
    fn a_file_is_whole_with_its_last_piece_and_its_bytes_add_up() {
        let file = |name: &str, len, pad| (vec![String::from(name)], len, pad);
        let files = vec![
            file("a", 15, false),
            file("pad", 5, true),
            file("b", 8, false),
            file("none", 0, false),
            file("c", 14, false),
        ];
        let layout = Arc::new(Layout::new(files, 10).unwrap());
        let id = TorrentId(3);
        let mut known = Known::default();
        known.add(Arc::new(About { id, info_hash: InfoHash::V1([0; 20]), name: "t".into(), layout }));
        assert_eq!(known.verified(id, PieceIndex(0)), [], "nothing is known before the check");
        // Pieces: 0 and 1 a (and pad), 2 b and c, 3 and 4 c.
        let mut have = Bitfield::empty(5);
        have.set(PieceIndex(4));
        known.checked(id, &have);
        let mut whole = Vec::new();
        for piece in [2, 0, 3, 1].map(PieceIndex) {
            have.set(piece);
            whole.push(known.verified(id, piece));
            let bytes: Vec<u64> =
                known.files(id, &have, |_| None).unwrap().iter().map(|file| file.have_bytes).collect();
            match piece.0 {
                2 => assert_eq!(bytes, [0, 8, 0, 4]),
                0 => assert_eq!(bytes, [10, 8, 0, 4]),
                _ => {}
            }
        }
        let file = |index| vec![FileIndex(index)];
        assert_eq!(whole, [file(2), vec![], file(4), file(0)]);
        assert_eq!(known.verified(id, PieceIndex(1)), [], "told once");
        known.renamed(id, &["b".into()], &["d".into()]);
        let files = known.files(id, &have, |_| Some(Priority::High)).unwrap();
        assert!(files.iter().all(|file| file.have_bytes == file.len && file.priority == Priority::High));
        assert_eq!((files[1].path.as_slice(), files[1].file), (&["d".to_string()][..], FileIndex(2)));
        known.remove(id);
        assert!(known.files(id, &have, |_| None).is_none() && known.all().is_empty());
    }
}
