//! Which files are wanted, and how urgently; what follows from that for pieces.
//!
//! A piece is as urgent as the most urgent file that it touches; one that touches only skipped files is not wanted. Pad files have no say. Nothing is kept
//! per piece: a priority is looked up through the layout when it is needed.

use crate::id::{FileIndex, PieceIndex};
use crate::layout::Layout;
use alloc::vec;
use alloc::vec::Vec;

/// How urgently a file is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Not at all: it is neither asked for nor made on disk.
    Skip,
    /// After everything else.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before everything else.
    High,
}

/// The priorities of one torrent's files.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    layout: Layout,
    /// Empty while every file is as usual: most torrents keep nothing here.
    files: Vec<Priority>,
    wanted_pieces: u32,
    wanted_bytes: u64,
}

impl Selection {
    /// Everything as usual.
    pub(crate) fn new(layout: Layout) -> Self {
        let (wanted_pieces, wanted_bytes) = (layout.piece_count(), layout.total_len());
        Selection { layout, files: Vec::new(), wanted_pieces, wanted_bytes }
    }

    /// Files have other names; nothing else is different.
    pub(crate) fn set_layout(&mut self, layout: Layout) {
        self.layout = layout;
    }

    /// The first file of `changes` that there is none of.
    pub(crate) fn first_unknown(&self, changes: &[(FileIndex, Priority)]) -> Option<FileIndex> {
        let count = self.layout.files().len();
        changes.iter().map(|(file, _)| *file).find(|file| file.0 as usize >= count)
    }

    /// Changes the priorities of some files; of one that is named twice the last counts. Unknown files are passed over.
    pub(crate) fn change(&mut self, changes: &[(FileIndex, Priority)]) {
        if self.files.is_empty() {
            self.files = vec![Priority::Normal; self.layout.files().len()];
        }
        for (file, priority) in changes {
            if let Some(slot) = self.files.get_mut(file.0 as usize) {
                *slot = *priority;
            }
        }
        if self.files.iter().all(|priority| *priority == Priority::Normal) {
            self.files = Vec::new();
        }
        (self.wanted_pieces, self.wanted_bytes) = (0, 0);
        for piece in (0..self.layout.piece_count()).map(PieceIndex) {
            if self.of_piece(piece) != Priority::Skip {
                self.wanted_pieces += 1;
                self.wanted_bytes += u64::from(self.layout.len_of(piece));
            }
        }
    }

    /// How many pieces are wanted, had or not.
    pub(crate) fn wanted_pieces(&self) -> u32 {
        self.wanted_pieces
    }

    /// Their bytes.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        self.wanted_bytes
    }

    /// Whether every file is wanted as usual.
    pub(crate) fn is_usual(&self) -> bool {
        self.files.is_empty()
    }

    /// As resume data tells it, in libtorrent's numbers: nothing while every file is as usual.
    pub(crate) fn for_resume(&self) -> Vec<u8> {
        let number = |priority: &Priority| match priority {
            Priority::Skip => 0,
            Priority::Low => 1,
            Priority::Normal => 4,
            Priority::High => 7,
        };
        self.files.iter().map(number).collect()
    }

    /// A file's priority.
    pub(crate) fn of_file(&self, file: FileIndex) -> Priority {
        self.of_index(file.0 as usize)
    }

    /// The same by its plain number.
    pub(crate) fn of_index(&self, file: usize) -> Priority {
        self.files.get(file).copied().unwrap_or_default()
    }

    /// A piece's priority.
    pub(crate) fn of_piece(&self, piece: PieceIndex) -> Priority {
        if self.files.is_empty() {
            return Priority::Normal;
        }
        let spans = self.layout.spans(piece, 0, self.layout.len_of(piece)).filter(|span| !span.pad);
        // A piece of nothing but padding belongs to nobody; without it the torrent would never be whole.
        spans.map(|span| self.of_file(span.file)).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;
    use proptest::prelude::*;

    fn layout(files: &[(u64, bool)], piece_len: u32) -> Layout {
        let files = files.iter().map(|(len, pad)| (vec![String::from("x")], *len, *pad)).collect();
        Layout::new(files, piece_len).unwrap()
    }

    fn any_priority() -> impl Strategy<Value = Priority> {
        prop_oneof![Just(Priority::Skip), Just(Priority::Low), Just(Priority::Normal), Just(Priority::High)]
    }

    proptest! {
        #[test]
        fn a_piece_is_as_urgent_as_the_most_urgent_byte_in_it(
            lens in proptest::collection::vec(0u64..50, 1..12),
            piece_len in 1u32..40,
            changes in proptest::collection::vec((0u32..12, any_priority()), 0..20),
        ) {
            let files: Vec<(u64, bool)> = lens.iter().map(|len| (*len, false)).collect();
            let layout = layout(&files, piece_len);
            let changes: Vec<_> =
                changes.into_iter().map(|(file, p)| (FileIndex(file), p)).filter(|(f, _)| (f.0 as usize) < lens.len()).collect();
            let mut of_file = vec![Priority::Normal; lens.len()];
            changes.iter().for_each(|(file, priority)| of_file[file.0 as usize] = *priority);
            let of_byte: Vec<Priority> =
                lens.iter().zip(&of_file).flat_map(|(len, priority)| vec![*priority; *len as usize]).collect();
            let mut selection = Selection::new(layout.clone());
            prop_assert_eq!(selection.first_unknown(&changes), None);
            selection.change(&changes);
            for (piece, bytes) in of_byte.chunks(piece_len as usize).enumerate() {
                prop_assert_eq!(selection.of_piece(PieceIndex(piece as u32)), *bytes.iter().max().unwrap());
            }
            let wanted = of_byte.chunks(piece_len as usize).filter(|bytes| bytes.iter().any(|p| *p != Priority::Skip));
            prop_assert_eq!(selection.wanted_pieces() as usize, wanted.clone().count());
            prop_assert_eq!(selection.wanted_bytes() as usize, wanted.map(<[_]>::len).sum::<usize>());
        }
    }

    #[test]
    fn padding_has_no_say_unless_there_is_nothing_else() {
        let mut selection = Selection::new(layout(&[(5, false), (15, true), (10, false)], 10));
        selection.change(&[(FileIndex(0), Priority::Skip), (FileIndex(1), Priority::High)]);
        let of = |piece| selection.of_piece(PieceIndex(piece));
        assert_eq!((of(0), of(1), of(2)), (Priority::Skip, Priority::Normal, Priority::Normal));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let selection = Selection::new(layout(&[(5, false), (5, false)], 10));
        let changes = [(FileIndex(1), Priority::Skip), (FileIndex(2), Priority::Skip)];
        assert_eq!(selection.first_unknown(&changes), Some(FileIndex(2)));
    }
}
