//! Resume data: what was verified and safe on disk at a checkpoint, and how the files looked then. One file per torrent, bencoded.
//!
//! The keys are those of libtorrent's resume files (`.fastresume` of qBittorrent), so that either can be read; what we add stands under
//! `OUR_KEY`: size and mtime of each file, and a digest over everything, so that a rotten bit is no false claim. Nothing is believed here:
//! what a claim is worth is decided where the files are looked at. All that is read is bounded by the torrent it is for.

use crate::bencode::{BencodeError, Dict, Tree, Value};
use crate::bitfield::Bitfield;
use crate::hash::sha1;
use crate::id::{InfoHash, PieceIndex};
use crate::layout::{FileStat, Layout};
use alloc::borrow::{Cow, ToOwned};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

/// Longer files are refused before they are read: a million pieces and 100,000 files with their sizes take some 5 MiB.
pub const MAX_RESUME_BYTES: usize = 32 << 20;
/// Values in one file: the same 100,000 files with three each, and what other programs add.
const MAX_TOKENS: u32 = 1_000_000;
/// Longer names and folders than any system takes are not kept.
const MAX_TEXT_BYTES: usize = 4096;
/// What libtorrent writes as `file-format`.
const FORMAT: &str = "libtorrent resume file";
/// The `file-version` of libtorrent that is read and written.
const VERSION: i64 = 1;
/// The key of what only we write.
const OUR_KEY: &str = "sameseed";
/// The version of what stands there.
const OUR_VERSION: i64 = 1;
/// A piece's byte in `pieces`: it is had. Other bits mean other things to libtorrent.
const HAVE: u8 = 1;

/// Why resume data is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// More bytes than any torrent needs.
    #[error("{len} bytes are too many for resume data")]
    TooBig {
        /// How many.
        len: usize,
    },
    /// Not bencode.
    #[error("not bencode: {0}")]
    Bencode(#[from] BencodeError),
    /// Bencode, but not a resume file.
    #[error("not a resume file")]
    OtherFormat,
    /// A later version than is known.
    #[error("version {0} of the format is not known")]
    OtherVersion(i64),
    /// For another torrent.
    #[error("it belongs to another torrent")]
    OtherTorrent,
    /// Another number of pieces.
    #[error("it tells of {found} pieces, the torrent has {expected}")]
    PieceCount {
        /// In the resume data.
        found: u64,
        /// In the torrent.
        expected: u64,
    },
    /// Another number of files.
    #[error("it tells of {found} files, the torrent has {expected}")]
    FileCount {
        /// In the resume data.
        found: u64,
        /// In the torrent.
        expected: u64,
    },
    /// Its digest does not fit its contents.
    #[error("it is damaged")]
    Damaged,
}

/// How a file looked at the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileThen {
    /// Nothing is known that could be relied upon.
    Unknown,
    /// It was not there.
    Missing,
    /// It was there.
    There(FileStat),
}

/// What goes on from one session to the next. Bytes and seconds never go back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Payload handed to the network.
    pub uploaded_bytes: u64,
    /// Payload verified.
    pub downloaded_bytes: u64,
    /// Seconds of running.
    pub active_s: u64,
    /// Seconds of running with everything there.
    pub seeding_s: u64,
    /// When the torrent was added, in seconds since 1970; 0 when that is not known.
    pub added_unix_s: u64,
    /// When its last piece came, in seconds since 1970; 0 while something is missing.
    pub completed_unix_s: u64,
}

/// The resume data of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeData {
    /// Which torrent.
    pub info_hash: InfoHash,
    /// Pieces that were verified and on stable storage.
    pub have: Bitfield,
    /// How each file looked then, in order. Of another program's resume data nothing is known.
    pub files: Vec<FileThen>,
    /// Totals and times.
    pub history: History,
    /// What the torrent is called.
    pub name: Option<String>,
    /// The folder of its files.
    pub save_path: Option<String>,
    /// It was paused.
    pub paused: bool,
    /// libtorrent's priority of each file: 0 is unwanted, 4 is normal, 7 the highest. Files beyond the end are normal.
    pub file_priority: Vec<u8>,
}

impl ResumeData {
    /// Resume data that claims nothing.
    pub fn new(info_hash: InfoHash, layout: &Layout) -> Self {
        ResumeData {
            info_hash,
            have: Bitfield::empty(layout.piece_count()),
            files: vec![FileThen::Unknown; layout.files().len()],
            history: History::default(),
            name: None,
            save_path: None,
            paused: false,
            file_priority: Vec::new(),
        }
    }

    /// Reads a resume file for the torrent of this info-hash and layout. Keys that are not known are ignored.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub fn parse(bytes: &[u8], info_hash: InfoHash, layout: &Layout) -> Result<Self, ResumeError> {
        if bytes.len() > MAX_RESUME_BYTES {
            return Err(ResumeError::TooBig { len: bytes.len() });
        }
        let root = Value::parse(bytes, MAX_TOKENS)?.as_dict().ok_or(ResumeError::OtherFormat)?;
        if text(root, "file-format").is_none_or(|format| format != FORMAT) {
            return Err(ResumeError::OtherFormat);
        }
        let version = root.get("file-version").and_then(Value::as_int).ok_or(ResumeError::OtherFormat)?;
        if version != VERSION {
            return Err(ResumeError::OtherVersion(version));
        }
        if root.get("info-hash").and_then(Value::as_bytes) != Some(&info_hash.wire_bytes()[..]) {
            return Err(ResumeError::OtherTorrent);
        }
        let mut data = ResumeData::new(info_hash, layout);
        // libtorrent leaves it out when nothing is there.
        if let Some(pieces) = root.get("pieces").and_then(Value::as_bytes).filter(|pieces| !pieces.is_empty()) {
            let (found, expected) = (pieces.len() as u64, u64::from(layout.piece_count()));
            if found != expected {
                return Err(ResumeError::PieceCount { found, expected });
            }
            let had = (0..).zip(pieces).filter(|(_, piece)| **piece & HAVE != 0);
            had.for_each(|(piece, _)| _ = data.have.set(PieceIndex(piece)));
        }
        if let Some(files) = parse_files(root, layout)? {
            data.files = files;
        }
        data.history = History {
            uploaded_bytes: count(root, "total_uploaded"),
            downloaded_bytes: count(root, "total_downloaded"),
            active_s: count(root, "active_time"),
            seeding_s: count(root, "seeding_time"),
            added_unix_s: count(root, "added_time"),
            completed_unix_s: count(root, "completed_time"),
        };
        data.name = text(root, "name").map(ToOwned::to_owned);
        data.save_path = text(root, "save_path").map(ToOwned::to_owned);
        data.paused = count(root, "paused") > 0;
        let priority = root.get("file_priority").and_then(Value::as_list).into_iter().flatten();
        let priority = priority.take(layout.files().len()).map(|value| value.as_int());
        data.file_priority = priority.map(|n| n.and_then(|n| u8::try_from(n).ok()).unwrap_or(4).min(7)).collect();
        Ok(data)
    }

    /// The bytes of a resume file. `trackers` are written for other programs' sake.
    pub fn encode(&self, trackers: &[Vec<String>]) -> Vec<u8> {
        let number = |n: u64| Tree::Int(i64::try_from(n).unwrap_or(i64::MAX));
        let mut pieces = vec![0u8; self.have.len() as usize];
        self.have.iter_ones().for_each(|piece| pieces[piece.0 as usize] = HAVE);
        let history = &self.history;
        let mut pairs = vec![
            ("file-format", Tree::from(FORMAT)),
            ("file-version", Tree::Int(VERSION)),
            ("info-hash", Tree::from(&self.info_hash.wire_bytes()[..])),
            ("pieces", Tree::from(pieces)),
            ("total_uploaded", number(history.uploaded_bytes)),
            ("total_downloaded", number(history.downloaded_bytes)),
            ("active_time", number(history.active_s)),
            // To libtorrent a torrent is finished when all that is wanted is there, and seeding when all is.
            ("finished_time", number(history.seeding_s)),
            ("seeding_time", number(history.seeding_s)),
            ("added_time", number(history.added_unix_s)),
            ("completed_time", number(history.completed_unix_s)),
            ("paused", Tree::Int(i64::from(self.paused))),
            ("trackers", Tree::List(trackers.iter().map(|tier| tier_tree(tier)).collect())),
        ];
        pairs.extend(self.name.as_deref().map(|name| ("name", Tree::from(name))));
        pairs.extend(self.save_path.as_deref().map(|path| ("save_path", Tree::from(path))));
        if !self.file_priority.is_empty() {
            let priorities = self.file_priority.iter().map(|n| Tree::Int(i64::from(*n)));
            pairs.push(("file_priority", Tree::List(priorities.collect())));
        }
        let files = Tree::List(self.files.iter().map(file_tree).collect()).encode();
        let digest = seal(&Tree::dict(pairs.iter().cloned()), &files);
        let ours =
            [("version", Tree::Int(OUR_VERSION)), ("files", Tree::from(files)), ("sha1", digest.to_vec().into())];
        pairs.push((OUR_KEY, Tree::dict(ours)));
        Tree::dict(pairs).encode()
    }
}

/// The URLs of one tier.
fn tier_tree(tier: &[String]) -> Tree<'_> {
    Tree::List(tier.iter().map(|url| Tree::from(url.as_str())).collect())
}

/// One file: `[length, mtime]`, `[]` when it was not there, 0 when nothing is known.
fn file_tree(file: &FileThen) -> Tree<'static> {
    let len = |len: u64| Tree::Int(i64::try_from(len).unwrap_or(i64::MAX));
    match file {
        FileThen::Unknown => Tree::Int(0),
        FileThen::Missing => Tree::List(Vec::new()),
        FileThen::There(stat) => Tree::List(vec![len(stat.len), Tree::Int(stat.mtime_unix_ns)]),
    }
}

/// The digest over all that is not ours, and our files.
fn seal(theirs: &Tree<'_>, files: &[u8]) -> [u8; 20] {
    let mut bytes = theirs.encode();
    bytes.extend_from_slice(files);
    sha1(&bytes)
}

/// How the files looked; `None` when this is not ours, or of a version that we do not know.
fn parse_files(root: Dict<'_>, layout: &Layout) -> Result<Option<Vec<FileThen>>, ResumeError> {
    let Some(ours) = root.get(OUR_KEY).and_then(Value::as_dict) else { return Ok(None) };
    if ours.get("version").and_then(Value::as_int) != Some(OUR_VERSION) {
        return Ok(None);
    }
    let files = ours.get("files").and_then(Value::as_bytes).ok_or(ResumeError::Damaged)?;
    let theirs: BTreeMap<Cow<'_, [u8]>, Tree<'_>> = root
        .filter(|(key, _)| *key != OUR_KEY.as_bytes())
        .map(|(key, value)| (Cow::Borrowed(key), Tree::Raw(value)))
        .collect();
    if ours.get("sha1").and_then(Value::as_bytes) != Some(&seal(&Tree::Dict(theirs), files)[..]) {
        return Err(ResumeError::Damaged);
    }
    let list = Value::parse(files, MAX_TOKENS)?.as_list().ok_or(ResumeError::Damaged)?;
    let (found, expected) = (list.count() as u64, layout.files().len() as u64);
    if found != expected {
        return Err(ResumeError::FileCount { found, expected });
    }
    Ok(Some(list.map(parse_file).collect()))
}

fn parse_file(value: Value<'_>) -> FileThen {
    let Some(mut numbers) = value.as_list() else { return FileThen::Unknown };
    let Some(len) = numbers.next() else { return FileThen::Missing };
    let len = len.as_int().and_then(|len| u64::try_from(len).ok());
    match (len, numbers.next().and_then(Value::as_int)) {
        (Some(len), Some(mtime_unix_ns)) => FileThen::There(FileStat { len, mtime_unix_ns }),
        _ => FileThen::Unknown,
    }
}

/// A number that is never negative; 0 when it is missing or makes no sense.
fn count(root: Dict<'_>, key: &str) -> u64 {
    root.get(key).and_then(Value::as_int).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}

fn text<'a>(root: Dict<'a>, key: &str) -> Option<&'a str> {
    root.get(key).and_then(Value::as_str).filter(|text| text.len() <= MAX_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: InfoHash = InfoHash::V1([7; 20]);

    fn layout(files: usize, pieces: u32) -> Layout {
        let file = |n: usize| (vec![String::from("x")], if n == 0 { u64::from(pieces) } else { 0 }, false);
        Layout::new((0..files).map(file).collect(), 1).unwrap()
    }

    fn some() -> ResumeData {
        let stat = FileStat { len: 10, mtime_unix_ns: 1_700_000_000_123_456_789 };
        let mut data = ResumeData::new(HASH, &layout(3, 10));
        [0, 3, 9].into_iter().for_each(|piece| _ = data.have.set(PieceIndex(piece)));
        data.files = vec![FileThen::There(stat), FileThen::Missing, FileThen::Unknown];
        data.history.uploaded_bytes = 5_000_000_000;
        data
    }

    fn parse(bytes: &[u8]) -> Result<ResumeData, ResumeError> {
        ResumeData::parse(bytes, HASH, &layout(3, 10))
    }

    fn history() -> impl Strategy<Value = History> {
        proptest::array::uniform6(0..i64::MAX as u64).prop_map(|n| History {
            uploaded_bytes: n[0],
            downloaded_bytes: n[1],
            active_s: n[2],
            seeding_s: n[3],
            added_unix_s: n[4],
            completed_unix_s: n[5],
        })
    }

    fn file() -> impl Strategy<Value = FileThen> {
        let there = |(len, mtime_unix_ns)| FileThen::There(FileStat { len, mtime_unix_ns });
        prop_oneof![
            Just(FileThen::Unknown),
            Just(FileThen::Missing),
            (0..i64::MAX as u64, any::<i64>()).prop_map(there)
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            have in proptest::collection::btree_set(0u32..50, 0..50),
            files in proptest::collection::vec(file(), 1..6),
            history in history(),
            name in proptest::option::of("[a-z]{0,9}"),
            paused: bool,
            priority in proptest::collection::vec(0u8..8, 0..6),
        ) {
            let layout = layout(files.len(), 50);
            let mut data = ResumeData::new(HASH, &layout);
            have.into_iter().for_each(|piece| _ = data.have.set(PieceIndex(piece)));
            data.file_priority = priority.into_iter().take(files.len()).collect();
            data.files = files;
            (data.history, data.save_path, data.name, data.paused) = (history, name.clone(), name, paused);
            let bytes = data.encode(&[vec![String::from("http://t/a")]]);
            prop_assert_eq!(ResumeData::parse(&bytes, HASH, &layout), Ok(data));
        }

        #[test]
        fn no_rotten_byte_is_read_as_another_claim(at in 0usize..1000, bit in 0u8..8) {
            let mut bytes = some().encode(&[]);
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(read) = parse(&bytes) {
                // Our own key is not found any more: then all is hashed.
                prop_assert!(read.files == [FileThen::Unknown; 3] || read == some());
            }
        }

        #[test]
        fn junk_never_panics(cut in 0usize..400, junk in proptest::collection::vec(any::<u8>(), 0..40)) {
            let bytes = some().encode(&[]);
            let mut torn = bytes[..cut.min(bytes.len())].to_vec();
            torn.extend(&junk);
            let _ = parse(&torn);
            let _ = parse(&junk);
        }
    }

    #[test]
    fn a_fastresume_of_libtorrent_is_read_and_has_no_sizes_of_ours() {
        let mut bytes = b"d11:active_timei90e10:added_timei1700000000e10:allocation6:sparse14:completed_timei0e\
            11:file-format22:libtorrent resume file12:file-versioni1e13:file_priorityli4ei0ei9ee9:info-hash20:"
            .to_vec();
        bytes.extend([7; 20]);
        bytes.extend(b"18:libtorrent-version8:2.0.11.04:name1:x6:pausedi1e6:pieces10:\x01\x00\x03\x02\0\0\0\0\0\x01");
        bytes.extend(b"12:qBt-category0:9:save_path6:/films12:seeding_timei-5e14:total_uploadedi77e8:trackersllee");
        bytes.extend(b"10:unfinishedld7:bitmask1:\xff5:piecei1eeee");
        let read = parse(&bytes).unwrap();
        assert_eq!(read.have.iter_ones().map(|piece| piece.0).collect::<Vec<_>>(), [0, 2, 9], "2 alone is not had");
        assert_eq!((read.files, read.paused, read.file_priority), (vec![FileThen::Unknown; 3], true, vec![4, 0, 7]));
        let history = History { uploaded_bytes: 77, active_s: 90, added_unix_s: 1_700_000_000, ..History::default() };
        assert_eq!(read.history, history, "a negative number is none");
        assert_eq!((read.name.as_deref(), read.save_path.as_deref()), (Some("x"), Some("/films")));
    }

    #[test]
    fn what_does_not_belong_to_the_torrent_is_refused_with_its_reason() {
        let bytes = some().encode(&[]);
        let other = InfoHash::V1([8; 20]);
        let as_other = |hash, files, pieces| ResumeData::parse(&bytes, hash, &layout(files, pieces));
        assert_eq!(as_other(other, 3, 10), Err(ResumeError::OtherTorrent));
        assert_eq!(as_other(HASH, 3, 11), Err(ResumeError::PieceCount { found: 10, expected: 11 }));
        assert_eq!(as_other(HASH, 4, 10), Err(ResumeError::FileCount { found: 3, expected: 4 }));
        assert_eq!(parse(b"de"), Err(ResumeError::OtherFormat));
        assert_eq!(parse(b"le"), Err(ResumeError::OtherFormat));
        assert!(matches!(parse(&bytes[..bytes.len() - 1]), Err(ResumeError::Bencode(_))));
        let later = b"d11:file-format22:libtorrent resume file12:file-versioni2ee";
        assert_eq!(parse(later), Err(ResumeError::OtherVersion(2)));
        assert_eq!(parse(&vec![b'd'; MAX_RESUME_BYTES + 1]), Err(ResumeError::TooBig { len: MAX_RESUME_BYTES + 1 }));
    }
}
