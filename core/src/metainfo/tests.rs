//! What torrent files of the world look like, good and bad.

use super::*;
use crate::bencode::{BencodeFault, Kind, MAX_DEPTH, Tree, Value};
use crate::hash::sha1;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::ToString;
use alloc::vec;
use proptest::prelude::*;

type Pairs = Vec<(&'static str, Tree<'static>)>;

/// A torrent of one file of three bytes, with `changes` to its `info`.
fn with_info(changes: Pairs) -> Vec<u8> {
    with(changes, vec![])
}

fn with(changes: Pairs, root: Pairs) -> Vec<u8> {
    let info = Tree::dict(single().into_iter().chain(changes));
    Tree::dict(root.into_iter().chain([("info", info)])).encode()
}

fn single() -> Pairs {
    vec![("length", 3.into()), ("name", "a".into()), ("piece length", 16384.into()), ("pieces", vec![7; 20].into())]
}

/// A torrent of the files, whose hashes fit, in pieces of 16 KiB.
fn with_files(files: Vec<Tree<'static>>, total_len: u64) -> Vec<u8> {
    let pieces = vec![7; total_len.div_ceil(16384) as usize * 20];
    with_info(vec![("files", Tree::List(files)), ("pieces", pieces.into())])
}

fn file(path: &[&'static str], len: i64) -> Tree<'static> {
    Tree::dict([("length", len.into()), ("path", strings(path))])
}

fn strings(all: &[&'static str]) -> Tree<'static> {
    Tree::List(all.iter().map(|s| Tree::from(*s)).collect())
}

/// An info dictionary without one of its keys.
fn without(name: &str) -> Vec<u8> {
    Tree::dict([("info", Tree::dict(single().into_iter().filter(|(key, _)| *key != name)))]).encode()
}

fn paths(torrent: &[u8]) -> Vec<String> {
    Metainfo::parse(torrent).unwrap().layout.files().iter().map(|file| file.path.join("/")).collect()
}

fn fault(torrent: &[u8]) -> (String, KeyFault) {
    match Metainfo::parse(torrent) {
        Err(MetainfoError::Key { key, fault }) => (key.to_string(), fault),
        other => panic!("expected the fault of a key, not {other:?}"),
    }
}

fn is(key: &str, fault: KeyFault) -> (String, KeyFault) {
    (key.to_owned(), fault)
}

/// All that a reader wants to see of a torrent.
fn transcript(torrent: &Metainfo) -> String {
    let mut out = format!("{} {}\n", torrent.info_hash, torrent.name);
    out += &format!("private {}, comment {:?}, ", torrent.private, torrent.comment);
    out += &format!("by {:?}, at {:?}\n", torrent.created_by, torrent.created_unix_s);
    let layout = &torrent.layout;
    out += &format!("{} pieces of {}, {} bytes\n", layout.piece_count(), layout.piece_len(), layout.total_len());
    for file in layout.files() {
        let pad = if file.pad { "  (pad)" } else { "" };
        out += &format!("{:>8} {:>8}  {}{pad}\n", file.offset, file.len, file.path.join("/"));
    }
    for (n, tier) in torrent.trackers.iter().enumerate() {
        out += &format!("tier {n}: {}\n", tier.join(" "));
    }
    out + &format!("web seeds: {}\n", torrent.web_seeds.join(" "))
}

#[test]
fn the_part_files_name_is_hidden_and_fits_every_file_system() {
    let torrent = b"d4:infod6:lengthi3e4:name5:a.txt12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    let mut metainfo = Metainfo::parse(torrent).unwrap();
    metainfo.info_hash = InfoHash::V1([0xab; 20]);
    assert_eq!(metainfo.parts_name(), ".a.txt.abababab.parts");
    metainfo.name = "ü".repeat(127);
    assert!(metainfo.parts_name().starts_with(".ü") && metainfo.parts_name().len() == 216);
}

#[test]
fn a_typical_torrent_is_read_in_full() {
    let pad = Tree::dict([("attr", "p".into()), ("length", 6384.into()), ("path", strings(&[".pad", "6384"]))]);
    let files =
        vec![file(&["CD1", "01 Überfahrt.flac"], 10_000), pad, file(&["CD2", "01.flac"], 30_000), file(&["empty"], 0)];
    let torrent = with(
        vec![
            ("files", Tree::List(files)),
            ("name", "Album".into()),
            ("pieces", vec![7; 60].into()),
            ("private", 1.into()),
            ("source", "somewhere".into()),
        ],
        vec![
            ("announce", "http://ignored/announce".into()),
            (
                "announce-list",
                Tree::List(vec![strings(&["http://one/announce", "udp://two:6969"]), strings(&["http://three/a"])]),
            ),
            ("comment", "Grüße".into()),
            ("created by", "someone/1.0".into()),
            ("creation date", 1_700_000_000.into()),
            ("url-list", "http://seed/".into()),
        ],
    );
    insta::assert_snapshot!(transcript(&Metainfo::parse(&torrent).unwrap()));
}

#[test]
fn the_info_hash_is_of_the_raw_bytes_whatever_their_order() {
    let info = [&b"d6:pieces20:"[..], &[7; 20], b"4:name1:a12:piece lengthi16384e6:lengthi3ee"].concat();
    let torrent = [b"d4:info", info.as_slice(), b"8:announce10:http://t/ae\r\n"].concat();
    let parsed = Metainfo::parse(&torrent).unwrap();
    assert_eq!(parsed.info_hash, InfoHash::V1(sha1(&info)));
    assert_eq!(parsed.trackers, [["http://t/a"]]);
    assert_eq!(parsed.digest_of(PieceIndex(0)), Digest::Sha1([7; 20]));
}

#[test]
fn missing_keys_are_named() {
    assert_eq!(fault(b"de"), is("info", KeyFault::Missing));
    for name in ["length", "name", "piece length", "pieces"] {
        assert_eq!(fault(&without(name)), is(&format!("info.{name}"), KeyFault::Missing));
    }
    let no_length = Tree::dict([("path", strings(&["x"]))]);
    assert_eq!(fault(&with_files(vec![no_length], 0)), is("info.files[0].length", KeyFault::Missing));
    let no_path = Tree::dict([("length", 0.into())]);
    assert_eq!(fault(&with_files(vec![file(&["x"], 0), no_path], 0)), is("info.files[1].path", KeyFault::Missing));
    assert_eq!(fault(&with_files(vec![], 0)), is("info.files", KeyFault::Empty));
}

#[test]
fn keys_of_the_wrong_kind_are_named() {
    let wrong = |expected| KeyFault::WrongKind { expected };
    assert_eq!(fault(b"d4:infolee"), is("info", wrong(Kind::Dict)));
    for (name, value, expected) in [
        ("length", "3".into(), Kind::Int),
        ("name", 3.into(), Kind::Bytes),
        ("piece length", strings(&[]), Kind::Int),
        ("pieces", 3.into(), Kind::Bytes),
        ("files", 3.into(), Kind::List),
    ] {
        assert_eq!(fault(&with_info(vec![(name, value)])), is(&format!("info.{name}"), wrong(expected)));
    }
    assert_eq!(fault(&with_files(vec![3.into()], 0)), is("info.files[0]", wrong(Kind::Dict)));
    let path_of = |path| with_files(vec![Tree::dict([("length", 0.into()), ("path", path)])], 0);
    assert_eq!(fault(&path_of("x".into())), is("info.files[0].path", wrong(Kind::List)));
    assert_eq!(fault(&path_of(Tree::List(vec![3.into()]))), is("info.files[0].path", wrong(Kind::Bytes)));
}

#[test]
fn a_piece_length_of_zero_or_below_or_beyond_reason_is_refused() {
    for value in [0, -1, i64::MIN, i64::from(MAX_PIECE_BYTES) + 1, i64::from(u32::MAX) + 1, i64::MAX] {
        let expected = KeyFault::OutOfRange { value, min: 1, max: i64::from(MAX_PIECE_BYTES) };
        assert_eq!(fault(&with_info(vec![("piece length", value.into())])), is("info.piece length", expected));
    }
}

#[test]
fn any_other_piece_length_is_legal() {
    for (piece_len, pieces) in [(1, 3), (2, 2), (3, 1), (1000, 1), (16385, 1), (i64::from(MAX_PIECE_BYTES), 1)] {
        let torrent = with_info(vec![("piece length", piece_len.into()), ("pieces", vec![7; pieces * 20].into())]);
        assert_eq!(Metainfo::parse(&torrent).unwrap().layout.piece_count(), pieces as u32);
    }
}

#[test]
fn lengths_that_are_negative_or_overflow_are_refused() {
    let range = |value| KeyFault::OutOfRange { value, min: 0, max: i64::MAX };
    assert_eq!(fault(&with_info(vec![("length", (-1).into())])), is("info.length", range(-1)));
    let too_long = Value::parse(b"i18446744073709551616e", 1).unwrap();
    assert_eq!(fault(&with_info(vec![("length", Tree::Raw(too_long))])), is("info.length", KeyFault::TooLong));
    let torrent = with_files(vec![file(&["a"], i64::MAX), file(&["b"], 1)], 0);
    assert_eq!(fault(&torrent), is("info.files[1].length", KeyFault::SumOverflow));
    let torrent = with_files(vec![file(&["a"], i64::MIN)], 0);
    assert_eq!(fault(&torrent), is("info.files[0].length", range(i64::MIN)));
}

#[test]
fn hashes_that_do_not_fit_the_files_are_refused() {
    let pieces = |len| with_info(vec![("pieces", vec![7; len].into())]);
    assert_eq!(fault(&pieces(19)), is("info.pieces", KeyFault::Ragged { len: 19 }));
    assert_eq!(fault(&pieces(40)), is("info.pieces", KeyFault::WrongCount { found: 2, expected: 1 }));
    assert_eq!(fault(&pieces(0)), is("info.pieces", KeyFault::WrongCount { found: 0, expected: 1 }));
    let huge = with_info(vec![("length", i64::MAX.into()), ("piece length", 1.into())]);
    assert_eq!(fault(&huge), is("info.pieces", KeyFault::WrongCount { found: 1, expected: i64::MAX as u64 }));
    let max = u64::from(MAX_PIECES);
    assert_eq!(
        fault(&pieces((MAX_PIECES as usize + 1) * 20)),
        is("info.pieces", KeyFault::TooMany { found: max + 1, max })
    );
}

#[test]
fn bencode_bombs_are_refused() {
    let bencode = |torrent: &[u8]| match Metainfo::parse(torrent) {
        Err(MetainfoError::Bencode(error)) => error.fault,
        other => panic!("expected a bencode fault, not {other:?}"),
    };
    assert_eq!(bencode(b""), BencodeFault::Truncated);
    assert_eq!(bencode(b"<html>"), BencodeFault::UnexpectedByte);
    assert_eq!(bencode(b"d4:info4294967296:"), BencodeFault::Truncated);
    assert_eq!(bencode(b"d4:infod6:lengthi03eee"), BencodeFault::BadInteger);
    assert_eq!(bencode(&vec![b'l'; MAX_DEPTH as usize + 1]), BencodeFault::TooDeep);
    assert_eq!(
        bencode(&[b"l".as_slice(), &b"0:".repeat(MAX_TOKENS as usize), b"e"].concat()),
        BencodeFault::TooManyTokens
    );
    assert_eq!(Metainfo::parse(b"le"), Err(MetainfoError::NotADictionary));
    let len = MAX_TORRENT_BYTES + 1;
    assert_eq!(Metainfo::parse(&vec![0; len]), Err(MetainfoError::TooBig { len }));
}

#[test]
fn no_name_leaves_the_folder() {
    let files = vec![
        file(&["..", "..", "etc", "passwd"], 0),
        file(&["/abs/olute"], 0),
        file(&["..\\x"], 0),
        file(&["..", "."], 0),
    ];
    let torrent = with_info(vec![("files", Tree::List(files)), ("name", "../up".into()), ("pieces", "".into())]);
    assert_eq!(paths(&torrent), [".._up/etc/passwd", ".._up/_abs_olute", ".._up/.._x", ".._up/unnamed"]);
    assert_eq!(paths(&with_info(vec![("name", "/etc/passwd".into())])), ["_etc_passwd"]);
}

#[test]
fn a_torrent_without_a_usable_name_is_called_by_its_hash() {
    for name in ["", "..", ". ."] {
        let parsed = Metainfo::parse(&with_info(vec![("name", name.into())])).unwrap();
        assert_eq!(parsed.name, parsed.info_hash.to_hex());
        assert_eq!(parsed.layout.files()[0].path, [parsed.name]);
    }
}

#[test]
fn paths_that_nest_beyond_reason_are_refused() {
    let max = MAX_PATH_ELEMENTS as u64;
    let deep = |n| with_files(vec![Tree::dict([("length", 0.into()), ("path", strings(&vec!["d"; n]))])], 0);
    assert_eq!(Metainfo::parse(&deep(100)).unwrap().layout.files()[0].path.len(), 101);
    assert_eq!(fault(&deep(101)), is("info.files[0].path", KeyFault::TooMany { found: 101, max }));
}

#[test]
fn links_are_never_made_and_keep_their_place() {
    let link =
        Tree::dict([("attr", "l".into()), ("path", strings(&["link"])), ("symlink path", strings(&["..", "x"]))]);
    let parsed = Metainfo::parse(&with_files(vec![link, file(&["b"], 5)], 5)).unwrap();
    let files: Vec<_> = parsed.layout.files().iter().map(|f| (f.path.join("/"), f.len, f.pad)).collect();
    assert_eq!(files, [("a/link".to_owned(), 0, true), ("a/b".to_owned(), 5, false)]);
    let with_bytes = Tree::dict([("attr", "l".into()), ("length", 5.into()), ("path", strings(&["link"]))]);
    assert!(!Metainfo::parse(&with_files(vec![with_bytes], 5)).unwrap().layout.files()[0].pad);
}

#[test]
fn pads_of_bep_47_and_of_bitcomet_never_stand_on_disk() {
    let pad = Tree::dict([("attr", "hp".into()), ("length", 5.into()), ("path", strings(&[".pad", "5"]))]);
    let files = vec![pad, file(&["_____padding_file_0_if you see this file"], 5), file(&["my_____padding_file_"], 5)];
    let parsed = Metainfo::parse(&with_files(files, 15)).unwrap();
    assert_eq!(parsed.layout.files().iter().map(|file| file.pad).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn a_hybrid_is_read_as_v1_and_a_v2_torrent_is_refused() {
    let v2 = || vec![("meta version", 2.into()), ("file tree", Tree::dict([]))];
    assert_eq!(Metainfo::parse(&with_info(v2())).unwrap().layout.total_len(), 3);
    let info = v2().into_iter().chain([("name", "a".into()), ("piece length", 16384.into())]);
    assert_eq!(Metainfo::parse(&Tree::dict([("info", Tree::dict(info))]).encode()), Err(MetainfoError::OnlyV2));
}

#[test]
fn a_torrent_of_empty_files_has_no_pieces() {
    let parsed = Metainfo::parse(&with_files(vec![file(&["x"], 0), file(&["y"], 0)], 0)).unwrap();
    assert_eq!((parsed.layout.piece_count(), parsed.layout.files().len()), (0, 2));
    let single = with_info(vec![("length", 0.into()), ("pieces", "".into())]);
    assert_eq!(Metainfo::parse(&single).unwrap().layout.total_len(), 0);
}

#[test]
fn names_older_than_utf8_are_decoded() {
    let gbk = |bytes: &'static [u8]| with(vec![("name", bytes.into())], vec![("encoding", "GBK".into())]);
    assert_eq!(Metainfo::parse(&gbk(b"\xd6\xd0\xce\xc4")).unwrap().name, "中文");
    // Shift-JIS has backslashes inside its characters: decoding comes before cleaning.
    let sjis = with(vec![("name", b"\x95\x5c".as_slice().into())], vec![("encoding", "shift_jis".into())]);
    assert_eq!(Metainfo::parse(&sjis).unwrap().name, "表");
    let unknown = with_info(vec![("name", b"na\xefve".as_slice().into())]);
    assert_eq!(Metainfo::parse(&unknown).unwrap().name, "naïve");
    // What is UTF-8 is UTF-8, whatever the label says.
    let utf8 = with(vec![("name", "é".into())], vec![("encoding", "GBK".into())]);
    assert_eq!(Metainfo::parse(&utf8).unwrap().name, "é");
    let both = with_info(vec![("name", b"\xff".as_slice().into()), ("name.utf-8", "ÿ!".into())]);
    assert_eq!(Metainfo::parse(&both).unwrap().name, "ÿ!");
    let path = |utf8| {
        let dict = Tree::dict([("length", 0.into()), ("path", strings(&["old"])), ("path.utf-8", utf8)]);
        paths(&with_files(vec![dict], 0))
    };
    assert_eq!(path(strings(&["new", "name"])), ["a/new/name"]);
    assert_eq!(path(strings(&[])), ["a/old"]);
    assert_eq!(path(Tree::List(vec![b"\xff".as_slice().into()])), ["a/old"]);
    assert_eq!(path(3.into()), ["a/old"]);
}

#[test]
fn equal_names_and_files_that_are_folders_are_told_apart() {
    let files = vec![file(&["x"], 0), file(&["x"], 0), file(&["d"], 0), file(&["D", "y"], 0)];
    assert_eq!(paths(&with_files(files, 0)), ["a/x", "a/x (2)", "a/d (2)", "a/D/y"]);
}

#[test]
fn tiers_lose_what_is_empty_double_or_no_text() {
    let trackers = |pairs: Pairs| Metainfo::parse(&with(vec![], pairs)).unwrap().trackers;
    let announce = || ("announce", " http://a/ ".into());
    assert_eq!(trackers(vec![]), Vec::<Vec<String>>::new());
    assert_eq!(trackers(vec![announce()]), [["http://a/"]]);
    let bytes = Tree::from(b"\xff".as_slice());
    let odd = vec![strings(&["", " "]), strings(&["http://a/", "http://a/"]), Tree::List(vec![bytes, 3.into()])];
    let more =
        vec![strings(&[]), strings(&["http://a/", "http://b/\n", "http://c/\nx", "http://c/"]), "http://d/".into()];
    let list = Tree::List(odd.into_iter().chain(more).collect());
    assert_eq!(
        trackers(vec![announce(), ("announce-list", list)]),
        [vec!["http://a/"], vec!["http://b/", "http://c/"], vec!["http://d/"]]
    );
    assert_eq!(trackers(vec![announce(), ("announce-list", strings(&[""]))]), [["http://a/"]]);
    let many = Tree::List((0..2000).map(|n| format!("http://{n}/").into()).collect());
    assert_eq!(trackers(vec![("announce-list", many)]).len(), MAX_TRACKERS);
}

#[test]
fn web_seeds_are_one_string_or_a_list() {
    let seeds = |value| Metainfo::parse(&with(vec![], vec![("url-list", value)])).unwrap().web_seeds;
    assert_eq!(seeds("http://a/".into()), ["http://a/"]);
    assert_eq!(seeds(strings(&["http://a/", "", "http://b/", "http://a/"])), ["http://a/", "http://b/"]);
    assert!(seeds("".into()).is_empty() && seeds(3.into()).is_empty());
    assert!(seeds("x".repeat(MAX_URL_BYTES + 1).into()).is_empty());
}

#[test]
fn whatever_is_not_zero_is_private() {
    for (value, private) in [(0, false), (1, true), (2, true), (-1, true)] {
        assert_eq!(Metainfo::parse(&with_info(vec![("private", value.into())])).unwrap().private, private);
    }
}

#[test]
fn what_the_download_does_not_need_may_be_odd() {
    let odd = ["announce", "announce-list", "comment", "created by", "creation date", "encoding", "url-list"];
    let parsed = Metainfo::parse(&with(vec![], odd.map(|key| (key, Tree::dict([]))).into())).unwrap();
    assert_eq!((parsed.comment, parsed.created_unix_s, parsed.trackers.len()), (None, None, 0));
}

#[test]
fn a_million_pieces_and_eighty_thousand_files_are_read() {
    let files =
        (0..80_000).map(|n| Tree::dict([("length", 0.into()), ("path", Tree::List(vec![format!("{n}").into()]))]));
    let one = file(&["big"], 1_000_000 * 16384);
    let parsed = Metainfo::parse(&with_files(files.chain([one]).collect(), 1_000_000 * 16384)).unwrap();
    assert_eq!((parsed.layout.files().len(), parsed.layout.piece_count()), (80_001, 1_000_000));
}

#[test]
fn errors_are_sentences() {
    let sentences = [b"i1e".to_vec(), b"d".to_vec(), without("name"), with_info(vec![("length", (-5).into())])]
        .map(|torrent| Metainfo::parse(&torrent).unwrap_err().to_string())
        .join("\n");
    insta::assert_snapshot!(sentences);
}

proptest! {
    #[test]
    fn a_damaged_torrent_is_read_safely_or_refused(at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut torrent = with_files(vec![file(&["d", "x.txt"], 20_000), file(&["y"], 1)], 20_001);
        let at = at.index(torrent.len());
        torrent[at] = byte;
        if cut {
            torrent.truncate(at);
        }
        if let Ok(parsed) = Metainfo::parse(&torrent) {
            prop_assert_eq!(parsed.piece_hashes.len() as u32, parsed.layout.piece_count());
        }
    }
}
