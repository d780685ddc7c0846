//! Torrent files: never a panic; what is read is safe to write to, fits its hashes, and can be made again.

use sameseed_core::id::PieceIndex;
use sameseed_core::layout::Layout;
use sameseed_core::metainfo::create::{Content, CreateError, NewTorrent};
use sameseed_core::metainfo::names::MAX_ELEMENT_BYTES;
use sameseed_core::metainfo::{Metainfo, NameRules};
use std::collections::BTreeSet;

/// Reads `data` under both sets of rules.
pub fn check(data: &[u8]) {
    let (portable, posix) = (Metainfo::parse(data), Metainfo::parse_with(data, NameRules::Posix));
    match (portable, posix) {
        (Ok(portable), Ok(posix)) => {
            assert_eq!(portable.info_hash, posix.info_hash);
            assert_eq!(portable.piece_hashes.len(), portable.layout.piece_count() as usize);
            // Windows and macOS compare without case.
            check_paths(&portable.layout, |path| path.to_lowercase());
            check_paths(&posix.layout, str::to_owned);
            check_tiles(&portable.layout);
            check_made_again(&posix);
        }
        (Err(portable), Err(posix)) => assert_eq!(portable, posix, "names are no reason to refuse"),
        _ => panic!("names are no reason to refuse"),
    }
}

fn check_paths(layout: &Layout, folded: impl Fn(&str) -> String) {
    let mut files = BTreeSet::new();
    for file in layout.files() {
        assert!(!file.path.is_empty());
        for element in &file.path {
            assert!(!matches!(element.as_str(), "" | "." | ".."), "{element:?} is no name");
            assert!(!element.contains(['/', '\\']) && !element.contains(char::is_control), "{element:?} is not safe");
            assert!(element.len() <= MAX_ELEMENT_BYTES, "{element:?} is too long");
        }
        assert!(files.insert(folded(&file.path.join("/"))), "{:?} comes twice", file.path);
    }
    for file in layout.files() {
        for len in 1..file.path.len() {
            let folder = folded(&file.path[..len].join("/"));
            assert!(!files.contains(&folder), "{folder:?} is a file and a folder");
        }
    }
}

/// The spans of all pieces, laid end to end, are the files.
fn check_tiles(layout: &Layout) {
    let mut reached = vec![0; layout.files().len()];
    for piece in (0..layout.piece_count()).map(PieceIndex) {
        let mut sum = 0;
        for span in layout.spans(piece, 0, layout.len_of(piece)) {
            let file = span.file.0 as usize;
            assert_eq!(reached[file], span.offset, "spans follow each other");
            reached[file] += span.len;
            sum += span.len;
        }
        assert_eq!(sum, u64::from(layout.len_of(piece)), "a piece is covered");
    }
    let lens: Vec<u64> = layout.files().iter().map(|file| file.len).collect();
    assert_eq!(reached, lens, "the files are covered");
    assert_eq!(layout.total_len(), lens.iter().sum::<u64>());
}

/// A torrent made of what was read holds the same, except for what creation does not offer (pads, odd piece lengths).
fn check_made_again(torrent: &Metainfo) {
    let files = torrent.layout.files();
    let content = match files {
        [file] if file.path.len() == 1 => Content::File(file.len),
        _ => Content::Folder(files.iter().map(|file| (file.path[1..].to_vec(), file.len)).collect()),
    };
    let new = NewTorrent {
        name: torrent.name.clone(),
        content,
        piece_len: Some(torrent.layout.piece_len()),
        trackers: torrent.trackers.clone(),
        web_seeds: torrent.web_seeds.clone(),
        private: torrent.private,
        comment: torrent.comment.clone(),
        created_by: torrent.created_by.clone(),
        created_unix_s: torrent.created_unix_s,
    };
    let mut creation = match new.start() {
        Ok(creation) => creation,
        Err(CreateError::PieceLen { .. }) => return,
        Err(error) => panic!("what was read cannot be made: {error}"),
    };
    (0..torrent.layout.piece_count()).for_each(|piece| creation.push(torrent.digest_of(PieceIndex(piece))));
    let bytes = creation.finish().expect("there is a hash for each piece");
    let again = Metainfo::parse_with(&bytes, NameRules::Posix).expect("what is made can be read");
    let files = |torrent: &Metainfo| {
        torrent.layout.files().iter().map(|file| (file.path.clone(), file.len)).collect::<Vec<_>>()
    };
    assert_eq!(files(&again), files(torrent));
    assert_eq!(again.piece_hashes, torrent.piece_hashes);
    assert_eq!((&again.trackers, &again.web_seeds), (&torrent.trackers, &torrent.web_seeds));
    assert_eq!(
        (again.private, &again.comment, &again.created_by),
        (torrent.private, &torrent.comment, &torrent.created_by)
    );
}
