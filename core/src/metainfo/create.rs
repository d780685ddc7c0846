//! Making a torrent file: what is asked for, then the hashes of the pieces, then the bytes.
//!
//! Pure: whoever owns the files reads and hashes them, piece by piece along [`Creation::layout`], with [`crate::hash`].

use super::names::{clean_element, clean_paths};
use super::{MAX_PIECE_BYTES, MAX_PIECES, Metainfo, MetainfoError, NameRules};
use crate::bencode::Tree;
use crate::id::Digest;
use crate::layout::Layout;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::slice::from_ref;

/// Shortest piece that is made, in bytes: one block. Shorter ones are read but serve nobody (and BEP 52 forbids them).
pub const MIN_NEW_PIECE_BYTES: u32 = 16 << 10;

/// Longest piece that is chosen unasked, in bytes. Some clients refuse longer ones.
pub const MAX_CHOSEN_PIECE_BYTES: u32 = 16 << 20;

/// The choice of a piece's length stays at or below this many pieces, and above half of it where the lengths allow: enough for peers to trade,
/// in a torrent file of some 40 KiB.
pub const MAX_CHOSEN_PIECES: u64 = 2000;

/// What a new torrent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// One file, called like the torrent; its length in bytes.
    File(u64),
    /// A folder of files: path elements below it, and length in bytes. The order is kept.
    Folder(Vec<(Vec<String>, u64)>),
}

/// What a new torrent shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTorrent {
    /// Name of the file or folder.
    pub name: String,
    /// What it holds.
    pub content: Content,
    /// Length of a piece in bytes: a power of two from [`MIN_NEW_PIECE_BYTES`] to [`MAX_PIECE_BYTES`]. `None` leaves it to [`choose_piece_len`].
    pub piece_len: Option<u32>,
    /// BEP 12 tiers; may be empty.
    pub trackers: Vec<Vec<String>>,
    /// BEP 19 web seeds; may be empty.
    pub web_seeds: Vec<String>,
    /// BEP 27.
    pub private: bool,
    /// `comment`.
    pub comment: Option<String>,
    /// `created by`.
    pub created_by: Option<String>,
    /// `creation date`, seconds since 1970.
    pub created_unix_s: Option<i64>,
}

/// Why no torrent can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// A folder without files.
    #[error("there are no files")]
    NoFiles,
    /// A piece length that is no power of two or out of range.
    #[error(
        "a piece of {piece_len} bytes is not possible: choose a power of two from {MIN_NEW_PIECE_BYTES} to {MAX_PIECE_BYTES}"
    )]
    PieceLen {
        /// What was asked for, in bytes.
        piece_len: u32,
    },
    /// More than [`MAX_PIECES`] pieces.
    #[error("too many pieces: the limit is {MAX_PIECES}, so choose longer ones")]
    TooManyPieces,
    /// A name that no client would keep, such as `..`, one with a separator or a control character, or one that is there twice.
    #[error("the name {path:?} cannot be shared: others would see {cleaned:?}")]
    Unclean {
        /// The name or path, as given.
        path: String,
        /// What [`NameRules::Posix`] make of it.
        cleaned: String,
    },
    /// Not as many hashes as pieces.
    #[error("{found} piece hashes were given, but there are {expected} pieces")]
    WrongCount {
        /// How many hashes were given.
        found: u32,
        /// How many pieces there are.
        expected: u32,
    },
    /// We would not read it again: too many files, too deep folders, too long a file.
    #[error("the torrent would be refused: {0}")]
    Unreadable(#[from] MetainfoError),
}

/// The piece length for `total_len` bytes: the shortest power of two that stays within [`MAX_CHOSEN_PIECES`], from 16 KiB to 16 MiB.
pub fn choose_piece_len(total_len: u64) -> u32 {
    let mut piece_len = MIN_NEW_PIECE_BYTES;
    while piece_len < MAX_CHOSEN_PIECE_BYTES && total_len.div_ceil(u64::from(piece_len)) > MAX_CHOSEN_PIECES {
        piece_len *= 2;
    }
    piece_len
}

impl NewTorrent {
    /// Settles names and layout.
    ///
    /// # Errors
    /// Every [`CreateError`] but those of [`Creation::finish`].
    pub fn start(self) -> Result<Creation, CreateError> {
        let unclean = |path: &[String], cleaned: &[String]| {
            Err(CreateError::Unclean { path: path.join("/"), cleaned: cleaned.join("/") })
        };
        let root = from_ref(&self.name);
        let cleaned = Vec::from_iter(clean_element(&self.name, NameRules::Posix));
        if root != cleaned {
            return unclean(root, &cleaned);
        }
        let files: Vec<(Vec<String>, u64)> = match &self.content {
            Content::File(len) => vec![(root.to_vec(), *len)],
            Content::Folder(files) => {
                let cleaned = clean_paths(files.iter().map(|(path, _)| path.clone()), NameRules::Posix);
                for ((path, _), cleaned) in files.iter().zip(&cleaned) {
                    if path != cleaned {
                        return unclean(path, cleaned);
                    }
                }
                files.iter().map(|(path, len)| ([root, path].concat(), *len)).collect()
            }
        };
        if files.is_empty() {
            return Err(CreateError::NoFiles);
        }
        let total_len = files.iter().try_fold(0u64, |sum, (_, len)| sum.checked_add(*len));
        let total_len = total_len.ok_or(CreateError::TooManyPieces)?;
        let piece_len = self.piece_len.unwrap_or_else(|| choose_piece_len(total_len));
        if !piece_len.is_power_of_two() || !(MIN_NEW_PIECE_BYTES..=MAX_PIECE_BYTES).contains(&piece_len) {
            return Err(CreateError::PieceLen { piece_len });
        }
        let layout = Layout::new(files.into_iter().map(|(path, len)| (path, len, false)).collect(), piece_len)
            .filter(|layout| layout.piece_count() <= MAX_PIECES)
            .ok_or(CreateError::TooManyPieces)?;
        Ok(Creation { torrent: self, layout, hashes: Vec::new() })
    }
}

/// A torrent that waits for the hashes of its pieces.
#[derive(Clone, Debug)]
pub struct Creation {
    torrent: NewTorrent,
    layout: Layout,
    hashes: Vec<u8>,
}

impl Creation {
    /// Pieces and files: what to read and hash.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Takes the hash of the next piece, in order from 0.
    pub fn push(&mut self, digest: Digest) {
        let Digest::Sha1(digest) = digest;
        self.hashes.extend_from_slice(&digest);
    }

    /// The bytes of the torrent file.
    ///
    /// # Errors
    /// [`CreateError::WrongCount`] when hashes are missing or too many, [`CreateError::Unreadable`].
    pub fn finish(self) -> Result<Vec<u8>, CreateError> {
        let (found, expected) = ((self.hashes.len() / 20) as u32, self.layout.piece_count());
        if found != expected {
            return Err(CreateError::WrongCount { found, expected });
        }
        let NewTorrent { name, content, trackers, web_seeds, private, comment, created_by, created_unix_s, .. } =
            self.torrent;
        let list = |urls: &[String]| Tree::List(urls.iter().cloned().map(Tree::from).collect());
        let content = match content {
            Content::File(len) => ("length", Tree::from(len as i64)),
            Content::Folder(files) => {
                let file = |(path, len): (Vec<String>, u64)| {
                    Tree::dict([("length", Tree::from(len as i64)), ("path", list(&path))])
                };
                ("files", Tree::List(files.into_iter().map(file).collect()))
            }
        };
        let info = Tree::dict(
            [
                content,
                ("name", name.into()),
                ("piece length", i64::from(self.layout.piece_len()).into()),
                ("pieces", self.hashes.into()),
            ]
            .into_iter()
            .chain(private.then_some(("private", 1.into()))),
        );
        let tiers: Vec<Vec<String>> = trackers.into_iter().filter(|tier| !tier.is_empty()).collect();
        // `announce` alone says as much as a list of one, and every client reads it.
        let needs_list = tiers.iter().flatten().count() > 1;
        let pairs = [
            tiers.first().and_then(|tier| tier.first()).map(|url| ("announce", url.clone().into())),
            needs_list.then(|| ("announce-list", Tree::List(tiers.iter().map(|tier| list(tier)).collect()))),
            comment.map(|text| ("comment", text.into())),
            created_by.map(|text| ("created by", text.into())),
            created_unix_s.map(|s| ("creation date", s.into())),
            Some(("info", info)),
            (!web_seeds.is_empty()).then(|| ("url-list", list(&web_seeds))),
        ];
        let bytes = Tree::dict(pairs.into_iter().flatten()).encode();
        Metainfo::parse_with(&bytes, NameRules::Posix)?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::sha1;
    use alloc::borrow::ToOwned;
    use proptest::prelude::*;

    fn plain(name: &str, content: Content) -> NewTorrent {
        NewTorrent {
            name: name.to_owned(),
            content,
            piece_len: None,
            trackers: vec![],
            web_seeds: vec![],
            private: false,
            comment: None,
            created_by: None,
            created_unix_s: None,
        }
    }

    /// Finishes with made-up hashes.
    fn finish(mut creation: Creation) -> Vec<u8> {
        for piece in 0..creation.layout().piece_count() {
            creation.push(Digest::Sha1(sha1(&piece.to_le_bytes())));
        }
        creation.finish().unwrap()
    }

    #[test]
    fn pieces_are_chosen_between_1000_and_2000() {
        assert_eq!(choose_piece_len(0), 16 << 10);
        assert_eq!(choose_piece_len(2000 * (16 << 10)), 16 << 10);
        assert_eq!(choose_piece_len(2000 * (16 << 10) + 1), 32 << 10);
        assert_eq!(choose_piece_len(1 << 30), 1 << 20);
        assert_eq!(choose_piece_len(u64::MAX), 16 << 20);
    }

    #[test]
    fn what_others_could_not_read_is_not_made() {
        let start = |name, content| plain(name, content).start().map(|_| ());
        let file = |path: &[&str]| (path.iter().map(|s| (*s).to_owned()).collect::<Vec<String>>(), 1);
        assert_eq!(start("a", Content::Folder(vec![])), Err(CreateError::NoFiles));
        assert_eq!(start("a", Content::File(u64::MAX)), Err(CreateError::TooManyPieces));
        for (name, content) in [
            ("..", Content::File(1)),
            ("", Content::File(1)),
            ("a/b", Content::File(1)),
            ("a", Content::Folder(vec![file(&["..", "x"])])),
            ("a", Content::Folder(vec![file(&["x\n"])])),
            ("a", Content::Folder(vec![file(&["x/y"])])),
            ("a", Content::Folder(vec![file(&[])])),
            ("a", Content::Folder(vec![file(&["x"]), file(&["x"])])),
            ("a", Content::Folder(vec![file(&["x"]), file(&["x", "y"])])),
        ] {
            assert!(matches!(start(name, content.clone()), Err(CreateError::Unclean { .. })), "{name} {content:?}");
        }
        for piece_len in [0, 1, 8 << 10, (16 << 10) + 1, 1 << 30, u32::MAX] {
            let torrent = NewTorrent { piece_len: Some(piece_len), ..plain("a", Content::File(1)) };
            assert_eq!(torrent.start().map(|_| ()), Err(CreateError::PieceLen { piece_len }));
        }
    }

    #[test]
    fn hashes_must_be_as_many_as_pieces() {
        let creation = plain("a", Content::File(40_000)).start().unwrap();
        assert_eq!(creation.clone().finish(), Err(CreateError::WrongCount { found: 0, expected: 3 }));
        let bytes = finish(creation);
        assert_eq!(Metainfo::parse(&bytes).unwrap().piece_hashes.len(), 3);
    }

    #[test]
    fn what_we_would_not_read_again_is_not_made() {
        let deep = vec![(vec!["d".to_owned(); 101], 0)];
        let creation = plain("a", Content::Folder(deep)).start().unwrap();
        assert!(matches!(creation.finish(), Err(CreateError::Unreadable(MetainfoError::Key { .. }))));
    }

    #[test]
    fn a_plain_torrent_is_written_in_canonical_form() {
        let bytes = finish(plain("empty.txt", Content::File(0)).start().unwrap());
        assert_eq!(bytes, b"d4:infod6:lengthi0e4:name9:empty.txt12:piece lengthi16384e6:pieces0:ee");
    }

    fn any_new_torrent() -> impl Strategy<Value = NewTorrent> {
        let name = || "[a-zé?:]{1,8}([.][a-z]{1,3})?";
        let paths = proptest::collection::vec((proptest::collection::vec(name(), 1..4), 0u64..200_000), 1..12);
        let content = prop_oneof![
            (0u64..10_000_000).prop_map(Content::File),
            paths.prop_map(|files| {
                let (paths, lens): (Vec<_>, Vec<_>) = files.into_iter().unzip();
                Content::Folder(clean_paths(paths, NameRules::Posix).into_iter().zip(lens).collect())
            }),
        ];
        let url = "[a-z]{1,5}://[a-z]{1,9}/announce";
        let tiers = proptest::collection::btree_set(url, 0..5).prop_map(|urls| {
            urls.into_iter().collect::<Vec<_>>().chunks(2).map(<[String]>::to_vec).collect::<Vec<_>>()
        });
        let seeds = proptest::collection::btree_set(url, 0..3).prop_map(|urls| urls.into_iter().collect());
        let texts = (any::<Option<String>>(), any::<Option<String>>(), any::<Option<i64>>(), any::<bool>());
        let piece_len = proptest::option::of((14u32..20).prop_map(|n| 1 << n));
        (name(), content, piece_len, tiers, seeds, texts).prop_map(
            |(name, content, piece_len, trackers, web_seeds, t)| {
                let (comment, created_by, created_unix_s, private) = t;
                NewTorrent {
                    name,
                    content,
                    piece_len,
                    trackers,
                    web_seeds,
                    private,
                    comment,
                    created_by,
                    created_unix_s,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn parse_after_create_gives_what_was_asked_for(torrent in any_new_torrent()) {
            let creation = torrent.clone().start().unwrap();
            let layout = creation.layout().clone();
            let parsed = Metainfo::parse_with(&finish(creation), NameRules::Posix).unwrap();
            prop_assert_eq!(&parsed.layout, &layout);
            prop_assert_eq!(parsed.piece_hashes.len() as u32, layout.piece_count());
            prop_assert_eq!(parsed.name, torrent.name);
            prop_assert_eq!(parsed.trackers, torrent.trackers);
            prop_assert_eq!(parsed.web_seeds, torrent.web_seeds);
            prop_assert_eq!(parsed.private, torrent.private);
            prop_assert_eq!((parsed.comment, parsed.created_by), (torrent.comment, torrent.created_by));
            prop_assert_eq!(parsed.created_unix_s, torrent.created_unix_s);
        }
    }
}
