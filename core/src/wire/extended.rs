//! The handshake of the extension protocol (BEP 10): the payload of an `extended` message with id 0.
//!
//! It comes from strangers and every key is optional: a key of an odd type or with an absurd value counts as absent. Only bytes that are
//! no dictionary at all are a fault.

use crate::bencode::{Dict, Tree, Value};
use crate::fault::PeerFault;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// Values in one handshake, keys included. Known clients send some 40; more would only cost time.
const MAX_TOKENS: u32 = 1000;

/// Characters of a client's name that are kept: it is shown in tables and logs.
const MAX_VERSION_CHARS: usize = 64;

const LT_DONTHAVE: &str = "lt_donthave";
const UPLOAD_ONLY: &str = "upload_only";
const UT_METADATA: &str = "ut_metadata";
const UT_PEX: &str = "ut_pex";

/// The ids under which the sender takes the messages of each extension known here (`m`). `None`: nothing was said; `Some(0)`: the sender
/// does not take them (any more).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExtensionIds {
    /// BEP 54: a piece is gone again.
    pub lt_donthave: Option<u8>,
    /// The change of BEP 21's `upload_only` in mid-connection.
    pub upload_only: Option<u8>,
    /// BEP 9: the `info` dictionary from peers.
    pub ut_metadata: Option<u8>,
    /// BEP 11: peer exchange.
    pub ut_pex: Option<u8>,
}

impl ExtensionIds {
    /// Takes over what a later handshake says. BEP 10: `m` is additive, what it does not name stays as it was.
    pub fn update(&mut self, later: &ExtensionIds) {
        self.lt_donthave = later.lt_donthave.or(self.lt_donthave);
        self.upload_only = later.upload_only.or(self.upload_only);
        self.ut_metadata = later.ut_metadata.or(self.ut_metadata);
        self.ut_pex = later.ut_pex.or(self.ut_pex);
    }

    fn pairs(&self) -> impl Iterator<Item = (&'static str, Tree<'static>)> {
        let ids = [
            (LT_DONTHAVE, self.lt_donthave),
            (UPLOAD_ONLY, self.upload_only),
            (UT_METADATA, self.ut_metadata),
            (UT_PEX, self.ut_pex),
        ];
        ids.into_iter().filter_map(|(name, id)| Some((name, Tree::from(i64::from(id?)))))
    }
}

/// What a peer says about itself, or what we say about us and the peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ExtendedHandshake {
    /// The sender's extensions.
    pub m: ExtensionIds,
    /// The size of the `info` dictionary in bytes (BEP 9), unproved.
    pub metadata_size: Option<u32>,
    /// The port where the sender listens; never 0.
    pub p: Option<u16>,
    /// How many requests the sender queues; never 0.
    pub reqq: Option<u32>,
    /// BEP 21: the sender wants no pieces.
    pub upload_only: bool,
    /// The sender's name and version, for people: no control characters, at most 64 characters.
    pub v: Option<String>,
    /// The receiver's address as the sender sees it.
    pub yourip: Option<IpAddr>,
}

impl ExtendedHandshake {
    /// Appends the payload; keys are sorted.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let ip = self.yourip.map(|ip| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        });
        let optional = [
            ("metadata_size", self.metadata_size.map(|bytes| Tree::from(i64::from(bytes)))),
            ("p", self.p.map(|port| Tree::from(i64::from(port)))),
            ("reqq", self.reqq.map(|count| Tree::from(i64::from(count)))),
            (UPLOAD_ONLY, self.upload_only.then_some(Tree::from(1))),
            ("v", self.v.as_deref().map(Tree::from)),
            ("yourip", ip.map(Tree::from)),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
        Tree::dict(optional.chain([("m", Tree::dict(self.m.pairs()))])).encode_into(out);
    }

    /// Reads a payload. What follows the dictionary is ignored, as other clients do.
    ///
    /// # Errors
    /// [`PeerFault::BadExtension`] when it does not begin with a dictionary.
    pub fn parse(payload: &[u8]) -> Result<Self, PeerFault> {
        let (value, _) = Value::parse_prefix(payload, MAX_TOKENS).map_err(|_| PeerFault::BadExtension)?;
        let dict = value.as_dict().ok_or(PeerFault::BadExtension)?;
        let m = dict.get("m").and_then(Value::as_dict);
        let id = |name| m.and_then(|m| int(&m, name));
        Ok(ExtendedHandshake {
            m: ExtensionIds {
                lt_donthave: id(LT_DONTHAVE),
                upload_only: id(UPLOAD_ONLY),
                ut_metadata: id(UT_METADATA),
                ut_pex: id(UT_PEX),
            },
            metadata_size: int(&dict, "metadata_size"),
            p: int(&dict, "p").filter(|port| *port > 0),
            reqq: int(&dict, "reqq").filter(|count| *count > 0),
            upload_only: int(&dict, UPLOAD_ONLY).is_some_and(|flag: i64| flag != 0),
            v: dict.get("v").and_then(Value::as_bytes).and_then(clean_name),
            yourip: dict.get("yourip").and_then(Value::as_bytes).and_then(ip_of),
        })
    }
}

/// The integer under `key`, when it fits.
fn int<N: TryFrom<i64>>(dict: &Dict<'_>, key: &str) -> Option<N> {
    N::try_from(dict.get(key)?.as_int()?).ok()
}

fn ip_of(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let v6 = <[u8; 16]>::try_from(bytes).map(IpAddr::from);
    v4.or(v6).ok()
}

/// A name that is safe to show: broken UTF-8 replaced, no control characters (terminals obey them) and none that turn the direction of
/// writing, not too long. `None` when nothing is left.
fn clean_name(bytes: &[u8]) -> Option<String> {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let chars = bytes.utf8_chunks().flat_map(|chunk| {
        let replacement = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(replacement)
    });
    let name: String = chars.filter(|c| !c.is_control() && !turns(*c)).take(MAX_VERSION_CHARS).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn any_handshake() -> impl Strategy<Value = ExtendedHandshake> {
        let ids = any::<[Option<u8>; 4]>().prop_map(|[lt_donthave, upload_only, ut_metadata, ut_pex]| ExtensionIds {
            lt_donthave,
            upload_only,
            ut_metadata,
            ut_pex,
        });
        let sizes = (any::<Option<u32>>(), proptest::option::of(1u16..), proptest::option::of(1u32..));
        let rest = (any::<bool>(), proptest::option::of("[a-zµ0-9 .]{1,64}"), any::<Option<IpAddr>>());
        (ids, sizes, rest).prop_map(|(m, (metadata_size, p, reqq), (upload_only, v, yourip))| ExtendedHandshake {
            m,
            metadata_size,
            p,
            reqq,
            upload_only,
            v,
            yourip,
        })
    }

    proptest! {
        #[test]
        fn decode_after_encode_is_identity(handshake in any_handshake()) {
            let mut bytes = vec![];
            handshake.encode(&mut bytes);
            prop_assert_eq!(ExtendedHandshake::parse(&bytes), Ok(handshake));
        }

        #[test]
        fn names_are_never_dangerous_to_show(name in proptest::collection::vec(any::<u8>(), 0..400)) {
            if let Some(name) = clean_name(&name) {
                prop_assert!(name.chars().count() <= MAX_VERSION_CHARS && !name.contains(char::is_control));
            }
        }
    }

    #[test]
    fn a_handshake_is_written_with_sorted_keys() {
        let handshake = ExtendedHandshake {
            m: ExtensionIds { lt_donthave: Some(7), ut_pex: Some(1), ..ExtensionIds::default() },
            metadata_size: Some(31_235),
            p: Some(6881),
            reqq: Some(500),
            upload_only: true,
            v: Some(String::from("sameseed 0.1")),
            yourip: Some(IpAddr::from([127, 0, 0, 1])),
        };
        let mut bytes = vec![];
        handshake.encode(&mut bytes);
        insta::assert_snapshot!(
            bytes.escape_ascii(),
            @r"d1:md11:lt_donthavei7e6:ut_pexi1ee13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e1:v12:sameseed 0.16:yourip4:\x7f\x00\x00\x01e"
        );
        bytes.clear();
        ExtendedHandshake::default().encode(&mut bytes);
        assert_eq!(bytes, b"d1:mdee");
    }

    #[test]
    fn the_example_of_bep_10_is_read() {
        let payload = b"d1:md11:LT_metadatai1e6:\xb5T_PEXi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e";
        let expected =
            ExtendedHandshake { p: Some(6881), v: Some(String::from("µTorrent 1.2")), ..ExtendedHandshake::default() };
        assert_eq!(ExtendedHandshake::parse(payload), Ok(expected));
    }

    #[test]
    fn odd_types_and_absurd_values_count_as_absent() {
        for payload in [
            &b"d1:m4:what13:metadata_sizei-1e1:pi0e4:reqqi0e11:upload_onlylee"[..],
            b"d1:mi7e13:metadata_sizei4294967296e1:pi65536e4:reqqi-5e11:upload_onlyi0ee",
            b"d1:md6:ut_pex1:1e1:p4:68814:reqqd1:xi1ee1:vi12e6:yourip3:abce",
            b"d1:md6:ut_pexi256e11:ut_metadatai-1ee1:v0:e",
            b"d1:v3:\x1b\r\nejunk",
            b"de",
        ] {
            assert_eq!(
                ExtendedHandshake::parse(payload),
                Ok(ExtendedHandshake::default()),
                "{}",
                payload.escape_ascii()
            );
        }
    }

    #[test]
    fn what_is_no_dictionary_is_a_fault() {
        let deep = [vec![b'l'; 5000], vec![b'e'; 5000]].concat();
        let long = [&b"d1:ml"[..], &b"i0e".repeat(2000), b"ee"].concat();
        for payload in [&b""[..], b"le", b"i5e", b"d1:m", b"d1:pi6881e", b"3:abc", &deep, &long] {
            assert_eq!(ExtendedHandshake::parse(payload), Err(PeerFault::BadExtension));
        }
    }

    #[test]
    fn a_clients_name_is_cleaned_and_cut() {
        let name = |bytes: &[u8]| clean_name(bytes).unwrap_or_default();
        assert_eq!(name(b"qBittorrent/5.1"), "qBittorrent/5.1");
        assert_eq!(name(b"a\x1b[31mb\xff\x00\xe2\x80\xaec"), "a[31mb\u{fffd}c");
        assert_eq!(name("µ".repeat(200).as_bytes()), "µ".repeat(64));
    }

    #[test]
    fn a_later_handshake_changes_only_what_it_names() {
        let mut ids = ExtensionIds { ut_pex: Some(1), ut_metadata: Some(2), ..ExtensionIds::default() };
        ids.update(&ExtensionIds { ut_pex: Some(0), lt_donthave: Some(3), ..ExtensionIds::default() });
        let expected =
            ExtensionIds { ut_pex: Some(0), ut_metadata: Some(2), lt_donthave: Some(3), ..ExtensionIds::default() };
        assert_eq!(ids, expected);
    }
}
