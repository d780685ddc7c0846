//! Bencode: never a panic; the same tokens as bendy wherever both may judge; writing after reading is identity.

use bendy::decoding::Decoder;
use bendy::state_tracker::Token;
use sameseed_core::bencode::{Kind, MAX_DEPTH, Tree, Value};
use std::collections::BTreeMap;

/// More than an input of the fuzzer can hold.
const MAX_TOKENS: u32 = u32::MAX;

/// Reads `data` and holds the outcome against bendy's.
pub fn check(data: &[u8]) {
    let bendy = bendy_tokens(data);
    let Ok((value, rest)) = Value::parse_prefix(data, MAX_TOKENS) else {
        assert!(bendy.is_none(), "bendy accepts what we refuse");
        return;
    };
    assert_eq!([value.raw(), rest].concat(), data, "value and rest are the input");
    assert_eq!(Value::parse(data, MAX_TOKENS).is_ok(), rest.is_empty());
    let mut ours = Tokens::default();
    ours.walk(value);
    assert!(Value::parse(value.raw(), ours.values).is_ok() && Value::parse(value.raw(), ours.values - 1).is_err());
    match bendy {
        Some(tokens) => assert_eq!(ours.list, tokens, "bendy reads something else"),
        None => assert!(!ours.sorted, "bendy refuses sorted keys that we accept"),
    }
    if let Some(tree) = to_tree(value) {
        let encoded = tree.encode();
        if ours.sorted {
            assert_eq!(encoded, value.raw(), "canonical input is written as it was read");
        }
        let again = Value::parse(&encoded, MAX_TOKENS).expect("we read what we write");
        assert_eq!(to_tree(again), Some(tree), "decode after encode is identity");
        assert!(bendy_tokens(&encoded).is_some(), "bendy reads what we write");
    }
}

/// The tokens of the first value in `data`; `None` when bendy refuses it.
fn bendy_tokens(data: &[u8]) -> Option<Vec<Token<'_>>> {
    let (mut tokens, mut depth) = (Vec::new(), 0);
    for token in Decoder::new(data).with_max_depth(MAX_DEPTH as usize).tokens() {
        let token = token.ok()?;
        match token {
            Token::List | Token::Dict => depth += 1,
            Token::End => depth -= 1,
            Token::String(_) | Token::Num(_) => {}
        }
        tokens.push(token);
        if depth == 0 {
            return Some(tokens);
        }
    }
    None
}

/// A value as bendy would tell it.
struct Tokens<'a> {
    list: Vec<Token<'a>>,
    /// Values, keys among them.
    values: u32,
    /// Whether every dictionary has its keys in order, each once.
    sorted: bool,
}

impl Default for Tokens<'_> {
    fn default() -> Self {
        Tokens { list: Vec::new(), values: 0, sorted: true }
    }
}

impl<'a> Tokens<'a> {
    fn walk(&mut self, value: Value<'a>) {
        self.values += 1;
        match value.kind() {
            Kind::Int => {
                let digits = &value.raw()[1..value.raw().len() - 1];
                self.list.push(Token::Num(std::str::from_utf8(digits).expect("digits are ASCII")));
            }
            Kind::Bytes => self.list.push(Token::String(value.as_bytes().expect("a string has bytes"))),
            Kind::List => {
                self.list.push(Token::List);
                value.as_list().expect("a list is one").for_each(|item| self.walk(item));
                self.list.push(Token::End);
            }
            Kind::Dict => {
                self.list.push(Token::Dict);
                let dict = value.as_dict().expect("a dictionary is one");
                let mut last = None;
                for (key, item) in dict {
                    self.sorted &= last.is_none_or(|last| last < key);
                    last = Some(key);
                    self.values += 1;
                    self.list.push(Token::String(key));
                    self.walk(item);
                    let first = std::str::from_utf8(key).ok().and_then(|key| dict.get(key));
                    assert!(first.is_none_or(|first| !self.sorted || first == item), "a key finds its value");
                }
                self.list.push(Token::End);
            }
        }
    }
}

/// A tree of the same values (of equal keys the last); `None` when an integer does not fit.
fn to_tree(value: Value<'_>) -> Option<Tree<'_>> {
    Some(match value.kind() {
        Kind::Int => Tree::Int(value.as_int()?),
        Kind::Bytes => Tree::from(value.as_bytes()?),
        Kind::List => Tree::List(value.as_list()?.map(to_tree).collect::<Option<_>>()?),
        Kind::Dict => {
            let pairs = value.as_dict()?.map(|(key, item)| Some((key.into(), to_tree(item)?)));
            Tree::Dict(pairs.collect::<Option<BTreeMap<_, _>>>()?)
        }
    })
}
