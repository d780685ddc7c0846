//! From bytes to [`Metainfo`].
//!
//! Reads through [`bencode`](crate::bencode) windows: memory is taken only for what is kept. The info-hash is that of the raw bytes, so that
//! a torrent with unsorted or unknown keys keeps its identity.

use super::names::{clean_element, clean_paths};
use super::{
    Key, KeyFault, MAX_PATH_ELEMENTS, MAX_PIECE_BYTES, MAX_PIECES, MAX_TOKENS, MAX_TORRENT_BYTES, MAX_TRACKERS,
    MAX_URL_BYTES, MAX_WEB_SEEDS, Metainfo, MetainfoError, NameRules,
};
use crate::bencode::{Dict, Kind, List, Value};
use crate::hash::sha1;
use crate::id::InfoHash;
use crate::layout::Layout;
use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use encoding_rs::{Encoding, WINDOWS_1252};

/// How BitComet named its padding before BEP 47 gave it an attribute; libtorrent knows it by the same beginning.
const BITCOMET_PAD: &str = "_____padding_file_";

pub(super) fn parse(torrent: &[u8], rules: NameRules) -> Result<Metainfo, MetainfoError> {
    if torrent.len() > MAX_TORRENT_BYTES {
        return Err(MetainfoError::TooBig { len: torrent.len() });
    }
    let (root, _trailing) = Value::parse_prefix(torrent, MAX_TOKENS)?;
    let root = root.as_dict().ok_or(MetainfoError::NotADictionary)?;
    let info_value = need(root, Key::new("info"))?;
    let info = info_value.as_dict().ok_or(Key::new("info").is(KeyFault::WrongKind { expected: Kind::Dict }))?;
    if info.get("pieces").is_none() && info.get("meta version").and_then(Value::as_int).is_some_and(|v| v >= 2) {
        return Err(MetainfoError::OnlyV2);
    }

    let info_hash = InfoHash::V1(sha1(info_value.raw()));
    let text = Text::new(root);
    let name = clean_element(&text.needed(info, Key::new("name"))?, rules).unwrap_or_else(|| info_hash.to_hex());
    let key = Key::new("piece length");
    let piece_len = in_range(key, need_int(info, key)?, 1, i64::from(MAX_PIECE_BYTES))? as u32;
    let files = match info.get("files") {
        // When both are there, `files` counts, as with libtorrent.
        Some(files) => parse_files(files, &name, &text, rules)?,
        None => {
            let key = Key::new("length");
            vec![(vec![name.clone()], in_range(key, need_int(info, key)?, 0, i64::MAX)? as u64, false)]
        }
    };
    let piece_hashes = parse_pieces(info)?;
    let pieces = Key::new("pieces");
    let found = piece_hashes.len() as u64;
    let total_len: u64 = files.iter().map(|(_, len, _)| len).sum();
    let expected = total_len.div_ceil(u64::from(piece_len));
    let wrong_count = pieces.is(KeyFault::WrongCount { found, expected });
    if found != expected {
        return Err(wrong_count);
    }
    Ok(Metainfo {
        info_hash,
        name,
        layout: Layout::new(files, piece_len).ok_or(wrong_count)?,
        piece_hashes,
        // Whatever is not 0 is private: when in doubt, keep the peers to the trackers.
        private: info.get("private").and_then(Value::as_int).is_some_and(|n| n != 0),
        trackers: parse_trackers(root),
        web_seeds: parse_web_seeds(root),
        comment: text.optional(root, "comment"),
        created_by: text.optional(root, "created by"),
        created_unix_s: root.get("creation date").and_then(Value::as_int),
    })
}

/// `info.files`: path, length in bytes, and whether it never stands on disk. The sum of the lengths fits in 63 bits.
fn parse_files(
    files: Value<'_>,
    root: &str,
    text: &Text,
    rules: NameRules,
) -> Result<Vec<(Vec<String>, u64, bool)>, MetainfoError> {
    let key = Key::new("files");
    let list = files.as_list().ok_or(key.is(KeyFault::WrongKind { expected: Kind::List }))?;
    let (mut paths, mut lens, mut sum) = (Vec::new(), Vec::new(), 0u64);
    for (index, file) in (0u32..).zip(list) {
        let key = |name| Key { file: Some(index), name };
        let dict = file.as_dict().ok_or(key("").is(KeyFault::WrongKind { expected: Kind::Dict }))?;
        let has_attr = |attr| dict.get("attr").and_then(Value::as_bytes).is_some_and(|attrs| attrs.contains(&attr));
        // BEP 47: a link needs no length. It is never made: it keeps its place in the list, as nothing on disk.
        let len = match int(dict, key("length"))? {
            None if has_attr(b'l') => 0,
            None => return Err(key("length").is(KeyFault::Missing)),
            Some(len) => in_range(key("length"), len, 0, i64::MAX)? as u64,
        };
        let path = text.path(dict, index)?;
        let is_pad = has_attr(b'p')
            || (has_attr(b'l') && len == 0)
            || path.last().is_some_and(|last| last.starts_with(BITCOMET_PAD));
        sum = sum
            .checked_add(len)
            .filter(|sum| i64::try_from(*sum).is_ok())
            .ok_or(key("length").is(KeyFault::SumOverflow))?;
        paths.push(path);
        lens.push((len, is_pad));
    }
    if paths.is_empty() {
        return Err(key.is(KeyFault::Empty));
    }
    // Collected anew, not inserted: there may be a hundred thousand, and a list that grows has room for four.
    let with_root = |(path, (len, is_pad)): (Vec<String>, _)| {
        (core::iter::once(root.to_owned()).chain(path).collect(), len, is_pad)
    };
    Ok(clean_paths(paths, rules).into_iter().zip(lens).map(with_root).collect())
}

fn parse_pieces(info: Dict<'_>) -> Result<Vec<[u8; 20]>, MetainfoError> {
    let key = Key::new("pieces");
    let bytes = need(info, key)?.as_bytes().ok_or(key.is(KeyFault::WrongKind { expected: Kind::Bytes }))?;
    let (hashes, ragged) = bytes.as_chunks::<20>();
    if !ragged.is_empty() {
        return Err(key.is(KeyFault::Ragged { len: bytes.len() }));
    }
    if hashes.len() > MAX_PIECES as usize {
        return Err(key.is(KeyFault::TooMany { found: hashes.len() as u64, max: u64::from(MAX_PIECES) }));
    }
    Ok(hashes.to_vec())
}

/// BEP 12: `announce` counts only when `announce-list` has nothing to offer. A URL is kept where it stands first; empty tiers are dropped.
fn parse_trackers(root: Dict<'_>) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let mut take = |url: Value<'_>| {
        parse_url(url).filter(|url| seen.len() < MAX_TRACKERS && seen.insert((*url).to_owned())).map(str::to_owned)
    };
    let mut tiers = Vec::new();
    for tier in root.get("announce-list").and_then(Value::as_list).into_iter().flatten() {
        let tier: Vec<String> = match tier.as_list() {
            Some(urls) => urls.filter_map(&mut take).collect(),
            // Some lists are flat: then each URL is a tier.
            None => take(tier).into_iter().collect(),
        };
        if !tier.is_empty() {
            tiers.push(tier);
        }
    }
    if tiers.is_empty() {
        tiers.extend(root.get("announce").and_then(take).map(|url| vec![url]));
    }
    tiers
}

/// BEP 19: one string or a list of them.
fn parse_web_seeds(root: Dict<'_>) -> Vec<String> {
    let Some(value) = root.get("url-list") else { return Vec::new() };
    let mut seen = BTreeSet::new();
    let one = value.as_bytes().map(|_| value);
    let urls = one.into_iter().chain(value.as_list().into_iter().flatten()).filter_map(parse_url);
    urls.filter(|url| seen.insert(*url)).take(MAX_WEB_SEEDS).map(str::to_owned).collect()
}

/// A URL that someone could mean: no spaces around it, no control characters in it, neither empty nor endless.
fn parse_url(value: Value<'_>) -> Option<&str> {
    let url = value.as_str()?.trim();
    (!url.is_empty() && url.len() <= MAX_URL_BYTES && !url.contains(char::is_control)).then_some(url)
}

/// How the torrent's strings become text. UTF-8 is tried first, since bytes that pass for it by accident are rare; then what `encoding` names;
/// then Windows-1252, which gives every byte a character of its own, so that different names stay different.
struct Text {
    legacy: &'static Encoding,
}

impl Text {
    fn new(root: Dict<'_>) -> Self {
        let label = root.get("encoding").and_then(Value::as_bytes);
        Text { legacy: label.and_then(Encoding::for_label_no_replacement).unwrap_or(WINDOWS_1252) }
    }

    fn decode(&self, bytes: &[u8]) -> String {
        match core::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => self.legacy.decode_without_bom_handling(bytes).0.into_owned(),
        }
    }

    /// A string that need not be there.
    fn optional(&self, dict: Dict<'_>, name: &str) -> Option<String> {
        let utf8 = dict.get(&alloc::format!("{name}.utf-8")).and_then(Value::as_str).map(str::to_owned);
        utf8.or_else(|| Some(self.decode(dict.get(name)?.as_bytes()?)))
    }

    /// A string that must be there, by its own key or by the one that says `.utf-8`.
    fn needed(&self, dict: Dict<'_>, key: Key) -> Result<String, MetainfoError> {
        let expected = Kind::Bytes;
        let fault = if dict.get(key.name).is_none() { KeyFault::Missing } else { KeyFault::WrongKind { expected } };
        self.optional(dict, key.name).ok_or(key.is(fault))
    }

    /// The path of a file, as yet uncleaned: `path.utf-8` when it is what it says, else `path`.
    fn path(&self, file: Dict<'_>, index: u32) -> Result<Vec<String>, MetainfoError> {
        let is_utf8 = |list: &List<'_>| {
            let mut list = *list;
            list.next().is_some_and(|first| first.as_str().is_some()) && list.all(|element| element.as_str().is_some())
        };
        let utf8 = file.get("path.utf-8").and_then(Value::as_list).filter(is_utf8);
        let key = Key { file: Some(index), name: if utf8.is_some() { "path.utf-8" } else { "path" } };
        let list = match utf8 {
            Some(list) => list,
            None => need(file, key)?.as_list().ok_or(key.is(KeyFault::WrongKind { expected: Kind::List }))?,
        };
        let found = list.count();
        if found > MAX_PATH_ELEMENTS {
            return Err(key.is(KeyFault::TooMany { found: found as u64, max: MAX_PATH_ELEMENTS as u64 }));
        }
        let not_bytes = key.is(KeyFault::WrongKind { expected: Kind::Bytes });
        list.map(|element| Ok(self.decode(element.as_bytes().ok_or_else(|| not_bytes.clone())?))).collect()
    }
}

fn need(dict: Dict<'_>, key: Key) -> Result<Value<'_>, MetainfoError> {
    dict.get(key.name).ok_or(key.is(KeyFault::Missing))
}

fn need_int(dict: Dict<'_>, key: Key) -> Result<i64, MetainfoError> {
    int(dict, key)?.ok_or(key.is(KeyFault::Missing))
}

/// An integer that may be missing, but must be one.
fn int(dict: Dict<'_>, key: Key) -> Result<Option<i64>, MetainfoError> {
    match dict.get(key.name) {
        None => Ok(None),
        Some(value) if value.kind() != Kind::Int => Err(key.is(KeyFault::WrongKind { expected: Kind::Int })),
        Some(value) => value.as_int().map(Some).ok_or(key.is(KeyFault::TooLong)),
    }
}

fn in_range(key: Key, value: i64, min: i64, max: i64) -> Result<i64, MetainfoError> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(key.is(KeyFault::OutOfRange { value, min, max })) }
}
