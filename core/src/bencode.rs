//! Bencode (BEP 3) with limits.
//!
//! [`Value`] is a checked window on someone else's bytes: one pass proves the grammar within the limits, and nothing is copied or
//! allocated afterwards, however many entries there are. Keys may stand in any order, since such torrents exist, so [`Value::raw`] gives
//! the very bytes that an info-hash is made of. [`Tree`] is what we write: always canonical.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// How deep lists and dictionaries may nest. Torrents need 5; libtorrent ships 100. One bit a level is all the scanner keeps.
pub const MAX_DEPTH: u32 = 100;

/// Why bytes are not bencode, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}")]
pub struct BencodeError {
    /// Offset in bytes from the start of the input.
    pub at: usize,
    /// The reason.
    pub fault: BencodeFault,
}

/// The reasons of a [`BencodeError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BencodeFault {
    /// The input ends inside a value, or a string claims more bytes than there are.
    #[error("the data ends too early")]
    Truncated,
    /// No value begins with this byte.
    #[error("no value begins like this")]
    UnexpectedByte,
    /// A string's length has a leading zero, does not end in `:` or does not fit in memory.
    #[error("a string's length is malformed")]
    BadLength,
    /// An integer is empty, has a leading zero, is `-0` or has something else than digits.
    #[error("an integer is malformed")]
    BadInteger,
    /// A dictionary's key is not a string.
    #[error("a dictionary's key is not a string")]
    KeyNotBytes,
    /// A dictionary ends after a key.
    #[error("a dictionary's key has no value")]
    MissingValue,
    /// Nesting beyond [`MAX_DEPTH`].
    #[error("the nesting is too deep")]
    TooDeep,
    /// More values than the caller allows.
    #[error("there are too many values")]
    TooManyTokens,
    /// Something follows the value ([`Value::parse`] only).
    #[error("something follows the value")]
    TrailingBytes,
}

/// What a [`Value`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `i…e`
    Int,
    /// `n:…`
    Bytes,
    /// `l…e`
    List,
    /// `d…e`
    Dict,
}

/// One value, checked in full when it was parsed: 16 bytes that point into the input.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
}

impl<'a> Value<'a> {
    /// Checks that `input` is exactly one value of at most `max_tokens` values (keys count, ends do not).
    ///
    /// # Errors
    /// [`BencodeError`]; [`BencodeFault::TrailingBytes`] when something follows.
    pub fn parse(input: &'a [u8], max_tokens: u32) -> Result<Self, BencodeError> {
        let (value, rest) = Self::parse_prefix(input, max_tokens)?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(BencodeError { at: value.raw.len(), fault: BencodeFault::TrailingBytes })
        }
    }

    /// Checks that `input` begins with a value of at most `max_tokens` values, and gives what follows it (as the messages of BEP 9 need).
    ///
    /// # Errors
    /// [`BencodeError`].
    pub fn parse_prefix(input: &'a [u8], max_tokens: u32) -> Result<(Self, &'a [u8]), BencodeError> {
        let len = check(input, max_tokens)?;
        let (raw, rest) = input.split_at(len);
        Ok((Value { raw }, rest))
    }

    /// The bytes of this value, as they stand in the input.
    pub fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.raw.first() {
            Some(b'i') => Kind::Int,
            Some(b'l') => Kind::List,
            Some(b'd') => Kind::Dict,
            _ => Kind::Bytes,
        }
    }

    /// The integer; `None` when it is none or does not fit in 64 bits (which the grammar allows).
    pub fn as_int(self) -> Option<i64> {
        let digits = self.raw.strip_prefix(b"i")?.strip_suffix(b"e")?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// The string's bytes; `None` when it is none.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        (self.kind() == Kind::Bytes).then(|| self.raw.splitn(2, |byte| *byte == b':').nth(1))?
    }

    /// The string; `None` when it is none or not UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        core::str::from_utf8(self.as_bytes()?).ok()
    }

    /// The list's values; `None` when it is none.
    pub fn as_list(self) -> Option<List<'a>> {
        (self.kind() == Kind::List).then_some(List { rest: self.inside() })
    }

    /// The dictionary; `None` when it is none.
    pub fn as_dict(self) -> Option<Dict<'a>> {
        (self.kind() == Kind::Dict).then_some(Dict { rest: self.inside() })
    }

    /// A container's bytes between its first and its `e`.
    fn inside(self) -> &'a [u8] {
        self.raw.get(1..self.raw.len() - 1).unwrap_or_default()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Longer values are cut: a million hashes help nobody.
        const SHOWN_BYTES: usize = 200;
        let shown = self.raw.get(..SHOWN_BYTES).unwrap_or(self.raw);
        write!(f, "{}{}", shown.escape_ascii(), if shown.len() < self.raw.len() { "…" } else { "" })
    }
}

/// The values of a list, in order. Each step costs a walk over one value; a clone starts where this one stands.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for List<'a> {
    type Item = Value<'a>;
    fn next(&mut self) -> Option<Value<'a>> {
        take_value(&mut self.rest)
    }
}

/// The pairs of a dictionary, in the order of the input.
#[derive(Clone, Copy, Debug)]
pub struct Dict<'a> {
    rest: &'a [u8],
}

impl<'a> Dict<'a> {
    /// The value of `key` among the pairs not yet walked over. Of equal keys the first counts, as with libtorrent: to refuse them would take memory for
    /// every key of every dictionary, and no harm comes of them, since all that we read of one torrent is read by this one rule.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let mut pairs = *self;
        pairs.find_map(|(found, value)| (found == key.as_bytes()).then_some(value))
    }
}

impl<'a> Iterator for Dict<'a> {
    type Item = (&'a [u8], Value<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        let key = take_value(&mut self.rest)?.as_bytes()?;
        Some((key, take_value(&mut self.rest)?))
    }
}

/// Checks the value at the start of `input`; its length in bytes. Keeps one bit a level, takes no memory.
fn check(input: &[u8], max_tokens: u32) -> Result<usize, BencodeError> {
    let (mut at, mut depth, mut tokens) = (0usize, 0u32, 0u32);
    // Bit n: level n is a dictionary. The lowest bit is the innermost level.
    let mut dicts = 0u128;
    // The innermost level is a dictionary that has read a key and waits for its value.
    let mut key_read = false;
    loop {
        let error = |fault| BencodeError { at, fault };
        let rest = input.get(at..).unwrap_or_default();
        let first = *rest.first().ok_or(error(BencodeFault::Truncated))?;
        let in_dict = depth > 0 && dicts & 1 == 1;
        if first == b'e' && depth > 0 {
            if key_read {
                return Err(error(BencodeFault::MissingValue));
            }
            at += 1;
            depth -= 1;
            dicts >>= 1;
        } else {
            let is_key = in_dict && !key_read;
            if is_key && !first.is_ascii_digit() {
                return Err(error(BencodeFault::KeyNotBytes));
            }
            tokens += 1;
            if tokens > max_tokens {
                return Err(error(BencodeFault::TooManyTokens));
            }
            match first {
                b'l' | b'd' => {
                    if depth == MAX_DEPTH {
                        return Err(error(BencodeFault::TooDeep));
                    }
                    at += 1;
                    depth += 1;
                    dicts = dicts << 1 | u128::from(first == b'd');
                    key_read = false;
                    continue;
                }
                b'i' => at += int_len(rest).map_err(error)?,
                b'0'..=b'9' => at += bytes_len(rest).map_err(error)?,
                _ => return Err(error(BencodeFault::UnexpectedByte)),
            }
            key_read = is_key;
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

/// Length of the integer at the start of `rest`, which begins with `i`.
fn int_len(rest: &[u8]) -> Result<usize, BencodeFault> {
    let end = rest.iter().position(|byte| *byte == b'e').ok_or(BencodeFault::Truncated)?;
    let digits = rest.get(1..end).unwrap_or_default();
    let magnitude = digits.strip_prefix(b"-").unwrap_or(digits);
    let canonical = match magnitude {
        [] => false,
        [b'0'] => digits.len() == 1,
        [b'0', ..] => false,
        _ => magnitude.iter().all(u8::is_ascii_digit),
    };
    if canonical { Ok(end + 1) } else { Err(BencodeFault::BadInteger) }
}

/// Length of the string at the start of `rest`, its prefix included. Checked against what is there before anyone allocates.
fn bytes_len(rest: &[u8]) -> Result<usize, BencodeFault> {
    let mut len = 0usize;
    for (i, byte) in rest.iter().enumerate() {
        match byte {
            b'0'..=b'9' if i > 0 && rest[0] == b'0' => return Err(BencodeFault::BadLength),
            b'0'..=b'9' => {
                let grown = len.checked_mul(10).and_then(|len| len.checked_add(usize::from(byte - b'0')));
                len = grown.ok_or(BencodeFault::BadLength)?;
            }
            b':' => {
                let end = len.checked_add(i + 1).ok_or(BencodeFault::BadLength)?;
                return if end <= rest.len() { Ok(end) } else { Err(BencodeFault::Truncated) };
            }
            _ => return Err(BencodeFault::BadLength),
        }
    }
    Err(BencodeFault::Truncated)
}

/// Takes one value off the front of bytes that [`check`] has passed.
fn take_value<'a>(rest: &mut &'a [u8]) -> Option<Value<'a>> {
    let (mut at, mut depth) = (0usize, 0u32);
    loop {
        let tail = rest.get(at..)?;
        match tail.first()? {
            b'l' | b'd' => (at, depth) = (at + 1, depth + 1),
            b'e' => (at, depth) = (at + 1, depth.checked_sub(1)?),
            b'i' => at += tail.iter().position(|byte| *byte == b'e')? + 1,
            _ => at += bytes_len(tail).ok()?,
        }
        if depth == 0 {
            let (raw, after) = rest.split_at_checked(at)?;
            *rest = after;
            return Some(Value { raw });
        }
    }
}

/// A value to be written. Dictionaries keep their keys sorted, so the encoding is canonical (unless a [`Tree::Raw`] is not).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree<'a> {
    /// An integer.
    Int(i64),
    /// A string of bytes.
    Bytes(Cow<'a, [u8]>),
    /// A list.
    List(Vec<Tree<'a>>),
    /// A dictionary.
    Dict(BTreeMap<Cow<'a, [u8]>, Tree<'a>>),
    /// Bytes that were bencode when they were read, written again as they stood.
    Raw(Value<'a>),
}

impl<'a> Tree<'a> {
    /// A dictionary of `pairs`; of equal keys the last counts.
    pub fn dict(pairs: impl IntoIterator<Item = (&'a str, Tree<'a>)>) -> Self {
        Tree::Dict(pairs.into_iter().map(|(key, value)| (Cow::Borrowed(key.as_bytes()), value)).collect())
    }

    /// The bencoded bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_into(&mut out);
        out
    }

    /// Appends the bencoded bytes to `out`.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        match self {
            Tree::Int(n) => {
                out.push(b'i');
                out.extend_from_slice(alloc::format!("{n}").as_bytes());
                out.push(b'e');
            }
            Tree::Bytes(bytes) => encode_bytes(bytes, out),
            Tree::List(items) => {
                out.push(b'l');
                items.iter().for_each(|item| item.encode_into(out));
                out.push(b'e');
            }
            Tree::Dict(pairs) => {
                out.push(b'd');
                for (key, value) in pairs {
                    encode_bytes(key, out);
                    value.encode_into(out);
                }
                out.push(b'e');
            }
            Tree::Raw(value) => out.extend_from_slice(value.raw()),
        }
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(alloc::format!("{}:", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
}

impl From<i64> for Tree<'_> {
    fn from(n: i64) -> Self {
        Tree::Int(n)
    }
}

impl<'a> From<&'a [u8]> for Tree<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Tree::Bytes(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for Tree<'a> {
    fn from(text: &'a str) -> Self {
        Tree::from(text.as_bytes())
    }
}

impl From<Vec<u8>> for Tree<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        Tree::Bytes(Cow::Owned(bytes))
    }
}

impl From<String> for Tree<'_> {
    fn from(text: String) -> Self {
        Tree::from(text.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn fault(input: &[u8]) -> BencodeFault {
        Value::parse(input, 1000).unwrap_err().fault
    }

    #[test]
    fn unsorted_keys_are_read_and_the_raw_span_is_kept() {
        let value = Value::parse(b"d4:infod1:zi1e1:ai-2eee", 100).unwrap();
        let info = value.as_dict().unwrap().get("info").unwrap();
        assert_eq!(info.raw(), b"d1:zi1e1:ai-2ee");
        assert_eq!(info.as_dict().unwrap().get("a").unwrap().as_int(), Some(-2));
        assert_eq!(info.as_dict().unwrap().get("b"), None);
    }

    #[test]
    fn of_equal_keys_the_first_counts() {
        let value = Value::parse(b"d1:ai1e1:ai2ee", 100).unwrap();
        assert_eq!(value.as_dict().unwrap().get("a").unwrap().as_int(), Some(1));
    }

    #[test]
    fn a_value_is_only_what_it_is() {
        let parse = |bytes| Value::parse(bytes, 100).unwrap();
        assert_eq!(parse(b"4:a:bc").as_bytes(), Some(&b"a:bc"[..]));
        assert_eq!(parse(b"0:").as_bytes(), Some(&b""[..]));
        assert_eq!(parse(b"2:\xff\xff").as_str(), None);
        assert_eq!(parse(b"i7e").as_bytes(), None);
        assert_eq!(parse(b"le").as_list().unwrap().count(), 0);
        assert_eq!(parse(b"de").as_dict().unwrap().count(), 0);
        assert!(parse(b"le").as_dict().is_none() && parse(b"de").as_list().is_none());
        let kinds: Vec<Kind> = parse(b"li0e1:xleded1:kleee").as_list().unwrap().map(Value::kind).collect();
        assert_eq!(kinds, [Kind::Int, Kind::Bytes, Kind::List, Kind::Dict, Kind::Dict]);
    }

    #[test]
    fn integers_beyond_64_bits_are_grammar_but_no_number() {
        assert_eq!(Value::parse(b"i9223372036854775807e", 1).unwrap().as_int(), Some(i64::MAX));
        assert_eq!(Value::parse(b"i-9223372036854775808e", 1).unwrap().as_int(), Some(i64::MIN));
        assert_eq!(Value::parse(b"i9223372036854775808e", 1).unwrap().as_int(), None);
    }

    #[test]
    fn malformed_integers_are_refused() {
        for bad in ["ie", "i-e", "i-0e", "i00e", "i01e", "i-01e", "i+1e", "i 1e", "i1-e", "i--1e", "i1.0e"] {
            assert_eq!(fault(bad.as_bytes()), BencodeFault::BadInteger, "{bad}");
        }
        assert_eq!(fault(b"i12"), BencodeFault::Truncated);
    }

    #[test]
    fn lengths_are_checked_against_the_input_before_anything_is_allocated() {
        for bad in ["01:a", "00:", "1x", "99999999999999999999999999:a", "18446744073709551615:a"] {
            assert_eq!(fault(bad.as_bytes()), BencodeFault::BadLength, "{bad}");
        }
        for short in ["", "5", "5:abcd", "4294967296:a", "9223372036854775807:a", "l", "d1:a", "li1e"] {
            assert_eq!(fault(short.as_bytes()), BencodeFault::Truncated, "{short}");
        }
    }

    #[test]
    fn broken_dictionaries_are_refused() {
        assert_eq!(fault(b"di1ei2ee"), BencodeFault::KeyNotBytes);
        assert_eq!(fault(b"dlei2ee"), BencodeFault::KeyNotBytes);
        assert_eq!(fault(b"d1:ae"), BencodeFault::MissingValue);
        assert_eq!(fault(b"e"), BencodeFault::UnexpectedByte);
        assert_eq!(fault(b"x"), BencodeFault::UnexpectedByte);
        assert_eq!(fault(b"lxe"), BencodeFault::UnexpectedByte);
    }

    #[test]
    fn deep_nesting_and_floods_of_values_are_refused() {
        let depth = MAX_DEPTH as usize;
        let nested = |n| [vec![b'l'; n], vec![b'e'; n]].concat();
        assert!(Value::parse(&nested(depth), 1000).is_ok());
        assert_eq!(fault(&nested(depth + 1)), BencodeFault::TooDeep);
        assert_eq!(fault(&vec![b'l'; 1_000_000]), BencodeFault::TooDeep);
        assert_eq!(Value::parse(b"li1ei2ee", 3).unwrap().as_list().unwrap().count(), 2);
        assert_eq!(Value::parse(b"li1ei2ee", 2), Err(BencodeError { at: 4, fault: BencodeFault::TooManyTokens }));
    }

    #[test]
    fn what_follows_is_refused_or_given_as_asked() {
        assert_eq!(Value::parse(b"i1e\n", 10), Err(BencodeError { at: 3, fault: BencodeFault::TrailingBytes }));
        let (value, rest) = Value::parse_prefix(b"i1e\n", 10).unwrap();
        assert_eq!((value.as_int(), rest), (Some(1), &b"\n"[..]));
    }

    #[test]
    fn trees_are_written_with_sorted_keys() {
        let raw = Value::parse(b"d1:zi1e1:ai2ee", 10).unwrap();
        let tree = Tree::dict([
            ("b", Tree::List(vec![1.into(), "x".into()])),
            ("a", (-5).into()),
            ("c", vec![255u8].into()),
            ("d", Tree::Raw(raw)),
        ]);
        assert_eq!(tree.encode(), b"d1:ai-5e1:bli1e1:xe1:c1:\xff1:dd1:zi1e1:ai2eee");
    }

    fn any_tree() -> impl Strategy<Value = Tree<'static>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..12).prop_map(Cow::<[u8]>::from);
        let leaf = prop_oneof![any::<i64>().prop_map(Tree::Int), bytes().prop_map(Tree::Bytes)];
        leaf.prop_recursive(6, 60, 8, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..8).prop_map(Tree::List),
                proptest::collection::btree_map(bytes(), inner, 0..8).prop_map(Tree::Dict),
            ]
        })
    }

    fn tree_of(value: Value<'_>) -> Tree<'_> {
        match value.kind() {
            Kind::Int => Tree::Int(value.as_int().unwrap()),
            Kind::Bytes => Tree::Bytes(value.as_bytes().unwrap().into()),
            Kind::List => Tree::List(value.as_list().unwrap().map(tree_of).collect()),
            Kind::Dict => {
                Tree::Dict(value.as_dict().unwrap().map(|(key, value)| (key.into(), tree_of(value))).collect())
            }
        }
    }

    proptest! {
        #[test]
        fn decode_after_encode_is_identity(tree in any_tree()) {
            let bytes = tree.encode();
            prop_assert_eq!(tree_of(Value::parse(&bytes, 1000).unwrap()), tree);
        }

        #[test]
        fn every_cut_of_a_value_is_truncated(tree in any_tree(), cut in any::<proptest::sample::Index>()) {
            let bytes = tree.encode();
            let cut = cut.index(bytes.len());
            prop_assert_eq!(Value::parse(&bytes[..cut], 1000).unwrap_err().fault, BencodeFault::Truncated);
        }

        #[test]
        fn junk_never_panics(bytes in proptest::collection::vec(proptest::sample::select(b"dlei0123-:xa".to_vec()), 0..60)) {
            if let Ok((value, _)) = Value::parse_prefix(&bytes, 1000) {
                let _ = value.as_list().map(Iterator::count);
                let _ = value.as_dict().map(Iterator::count);
            }
        }
    }
}
