//! Announces and scrapes over HTTP: the request target, and the bencoded reply (BEP 3, 7, 23, 24, 31; BEP 48).
//!
//! Never fetches anything: `announce` decides where to, the driver moves the bytes.

use super::url::{Url, push_escape};
use super::{
    Announce, AnnounceKind, MAX_REPLY_BYTES, MAX_TRACKER_ID_BYTES, Reply, Swarm, add_peers, clean_text, compact_v4,
    compact_v6, counted, gzip,
};
use crate::bencode::{Dict, Kind, Tree, Value};
use crate::id::InfoHash;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write as _;
use core::net::{IpAddr, SocketAddr};

/// A reply has no more values than bytes; reading takes no memory for each, so the cap on bytes is enough.
const MAX_TOKENS: u32 = MAX_REPLY_BYTES as u32;

/// An announce or a scrape that did not succeed, in the tracker's words or ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// A `failure reason`.
    Refused {
        /// Cleaned and cut.
        reason: String,
        /// When to come back (BEP 31).
        retry: Option<Retry>,
    },
    /// No answer that makes sense.
    Malformed(&'static str),
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// After so many minutes.
    Minutes(u32),
    /// Not in this session.
    Never,
}

/// Path and query of an announce. What the URL's own query says comes first.
///
/// `ip` is never sent: the tracker sees where we come from. `no_peer_id` saves room at trackers that do not know `compact`.
pub fn announce_target(url: &Url, announce: &Announce, tracker_id: Option<&[u8]>) -> String {
    let mut out = scrape_target(url, announce.info_hash);
    out.push_str("&peer_id=");
    push_bytes(&mut out, &announce.peer_id.0);
    let totals = announce.totals;
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "&port={}&uploaded={}&downloaded={}&left={}&compact=1&no_peer_id=1&numwant={}&key={:08X}",
        announce.port, totals.uploaded, totals.downloaded, totals.left, announce.num_want, announce.key
    );
    out.push_str(match announce.kind {
        AnnounceKind::Regular => "",
        AnnounceKind::Completed => "&event=completed",
        AnnounceKind::Started => "&event=started",
        AnnounceKind::Stopped => "&event=stopped",
    });
    if let Some(id) = tracker_id {
        out.push_str("&trackerid=");
        push_bytes(&mut out, id);
    }
    out
}

/// Path and query of a scrape of one torrent (BEP 48); `url` is that of [`Url::for_scrape`]. What its own query says comes first.
pub fn scrape_target(url: &Url, info_hash: InfoHash) -> String {
    let mut out = url.target.clone();
    let separator = match out.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    out.push_str(separator);
    out.push_str("info_hash=");
    push_bytes(&mut out, info_hash.wire_bytes());
    out
}

/// Percent-encodes all but RFC 3986's unreserved characters.
fn push_bytes(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(*byte)),
            _ => push_escape(out, *byte),
        }
    }
}

/// Reads a reply's body; `gzipped` says that it came packed.
///
/// What follows the dictionary is ignored (some trackers end with a line break), as are single peers that make no sense.
///
/// # Errors
/// [`ReplyError`]: the tracker refused, or the body is not a tracker's reply.
pub fn parse_reply(body: &[u8], gzipped: bool) -> Result<Reply, ReplyError> {
    unpacked(body, gzipped, parse_plain)
}

/// Reads the answer to a scrape: what it says of one torrent. Of one that it does not name the tracker knows nothing.
///
/// # Errors
/// [`ReplyError`]: the tracker refused, or the body is not the answer to a scrape.
pub fn parse_scrape(body: &[u8], gzipped: bool, info_hash: InfoHash) -> Result<Swarm, ReplyError> {
    unpacked(body, gzipped, |body| parse_files(body, info_hash))
}

fn unpacked<T>(body: &[u8], gzipped: bool, parse: impl Fn(&[u8]) -> Result<T, ReplyError>) -> Result<T, ReplyError> {
    if body.len() > MAX_REPLY_BYTES {
        return Err(ReplyError::Malformed("too large"));
    }
    if gzipped {
        let body = gzip::gunzip(body, MAX_REPLY_BYTES).map_err(|error| {
            ReplyError::Malformed(match error {
                gzip::GzipError::TooLarge => "it unpacks to too much",
                gzip::GzipError::Header | gzip::GzipError::Data | gzip::GzipError::Checksum => "broken gzip",
            })
        })?;
        return parse(&body);
    }
    parse(body)
}

/// The dictionary that every answer is; one with a `failure reason` is a refusal.
fn answer(body: &[u8]) -> Result<Dict<'_>, ReplyError> {
    let (value, _) = Value::parse_prefix(body, MAX_TOKENS).map_err(|_| ReplyError::Malformed("not bencode"))?;
    let dict = value.as_dict().ok_or(ReplyError::Malformed("not a dictionary"))?;
    match dict.get("failure reason").and_then(Value::as_bytes).map(clean_text) {
        Some(reason) => Err(ReplyError::Refused { reason, retry: retry(&dict) }),
        None => Ok(dict),
    }
}

fn parse_files(body: &[u8], info_hash: InfoHash) -> Result<Swarm, ReplyError> {
    let files = answer(body)?.get("files").and_then(Value::as_dict);
    let mut files = files.ok_or(ReplyError::Malformed("no dictionary of files"))?;
    let Some((_, torrent)) = files.find(|(key, _)| *key == info_hash.wire_bytes()) else { return Ok(Swarm::default()) };
    let torrent = torrent.as_dict().ok_or(ReplyError::Malformed("a torrent is no dictionary"))?;
    let count = |key: &str| torrent.get(key).and_then(Value::as_int).and_then(counted);
    Ok(Swarm { complete: count("complete"), incomplete: count("incomplete"), downloaded: count("downloaded") })
}

fn parse_plain(body: &[u8]) -> Result<Reply, ReplyError> {
    let dict = answer(body)?;
    let text = |key: &str| dict.get(key).and_then(Value::as_bytes).map(clean_text);
    let int = |key: &str| dict.get(key).and_then(Value::as_int);
    let mut reply = Reply {
        peers: Vec::new(),
        interval_s: int("interval"),
        min_interval_s: int("min interval"),
        tracker_id: dict
            .get("tracker id")
            .and_then(Value::as_bytes)
            .filter(|id| (1..=MAX_TRACKER_ID_BYTES).contains(&id.len()))
            .map(<[u8]>::to_vec),
        complete: int("complete"),
        incomplete: int("incomplete"),
        warning: text("warning message").filter(|warning| !warning.is_empty()),
        external_ip: dict.get("external ip").and_then(Value::as_bytes).and_then(packed_ip),
    };
    if let Some(peers) = dict.get("peers") {
        match peers.kind() {
            Kind::Bytes => add_peers(&mut reply.peers, compact_v4(peers.as_bytes().unwrap_or_default())),
            Kind::List => add_peers(&mut reply.peers, peers.as_list().into_iter().flatten().filter_map(listed_peer)),
            Kind::Int | Kind::Dict => return Err(ReplyError::Malformed("peers are neither a string nor a list")),
        }
    }
    if let Some(peers) = dict.get("peers6").and_then(Value::as_bytes) {
        add_peers(&mut reply.peers, compact_v6(peers));
    }
    Ok(reply)
}

/// `retry in`: minutes, as a number or in digits, or the word `never` (BEP 31).
fn retry(dict: &Dict<'_>) -> Option<Retry> {
    let value = dict.get("retry in")?;
    if value.as_bytes() == Some(b"never") {
        return Some(Retry::Never);
    }
    let minutes = value.as_int().or_else(|| value.as_str()?.parse().ok())?;
    u32::try_from(minutes).ok().map(Retry::Minutes)
}

/// An entry of a peer list in its long form (BEP 3). Names are not looked up: a reply could send us after thousands of them.
fn listed_peer(value: Value<'_>) -> Option<SocketAddr> {
    let dict = value.as_dict()?;
    let ip: IpAddr = dict.get("ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(dict.get("port")?.as_int()?).ok()?;
    Some(SocketAddr::new(ip, port))
}

fn packed_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| IpAddr::from(v6).to_canonical())
}

/// What a body says when the HTTP status is not a success: many trackers send their `failure reason` along with it.
pub fn failure_in(body: &[u8], gzipped: bool) -> Option<ReplyError> {
    parse_reply(body, gzipped).err().filter(|error| matches!(error, ReplyError::Refused { .. }))
}

/// The body of a reply with compact peers, for simulated trackers and round trips under test. Texts and numbers are written as they are.
pub fn encode_reply(reply: &Reply) -> Vec<u8> {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for peer in &reply.peers {
        let out = match peer.ip() {
            IpAddr::V4(ip) => {
                v4.extend(ip.octets());
                &mut v4
            }
            IpAddr::V6(ip) => {
                v6.extend(ip.octets());
                &mut v6
            }
        };
        out.extend(peer.port().to_be_bytes());
    }
    let external_ip = reply.external_ip.map(|ip| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    });
    let fields = [
        ("complete", reply.complete.map(Tree::from)),
        ("external ip", external_ip.map(Tree::from)),
        ("incomplete", reply.incomplete.map(Tree::from)),
        ("interval", reply.interval_s.map(Tree::from)),
        ("min interval", reply.min_interval_s.map(Tree::from)),
        ("peers", Some(Tree::from(v4))),
        ("peers6", (!v6.is_empty()).then(|| Tree::from(v6))),
        ("tracker id", reply.tracker_id.as_deref().map(Tree::from)),
        ("warning message", reply.warning.as_deref().map(Tree::from)),
    ];
    Tree::dict(fields.into_iter().filter_map(|(key, value)| Some((key, value?)))).encode()
}

/// The body of the answer to a scrape of one torrent, for simulated trackers and round trips under test.
pub fn encode_scrape(info_hash: InfoHash, swarm: &Swarm) -> Vec<u8> {
    let fields = [("complete", swarm.complete), ("downloaded", swarm.downloaded), ("incomplete", swarm.incomplete)];
    let fields = fields.into_iter().filter_map(|(key, value)| Some((key, Tree::from(i64::from(value?)))));
    let mut out = b"d5:filesd20:".to_vec();
    out.extend_from_slice(info_hash.wire_bytes());
    Tree::dict(fields).encode_into(&mut out);
    out.extend_from_slice(b"ee");
    out
}

/// The body of a refusal, for those who serve a tracker.
pub fn encode_failure(reason: &str) -> Vec<u8> {
    Tree::dict([("failure reason", Tree::from(reason))]).encode()
}

#[cfg(test)]
mod tests {
    use super::super::gzip::gzip_for_tests;
    use super::super::{MAX_PEERS, MAX_TEXT_BYTES, Totals};
    use super::*;
    use crate::id::{InfoHash, PeerId};
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn announce() -> Announce {
        let mut hash = [b'a'; 20];
        hash[..4].copy_from_slice(&[0, 0xff, b' ', b'~']);
        Announce {
            info_hash: InfoHash::V1(hash),
            peer_id: PeerId(*b"-SM0001-abcdefghijkl"),
            port: 6881,
            kind: AnnounceKind::Started,
            totals: Totals { uploaded: 1, downloaded: 2, left: 3 },
            num_want: 200,
            key: 0xab,
        }
    }

    fn target(url: &str, id: Option<&[u8]>) -> String {
        announce_target(&Url::parse(url).unwrap(), &announce(), id)
    }

    #[test]
    fn the_request_names_everything_once() {
        insta::assert_snapshot!(target("http://t.example/announce", None), @"/announce?info_hash=%00%FF%20~aaaaaaaaaaaaaaaa&peer_id=-SM0001-abcdefghijkl&port=6881&uploaded=1&downloaded=2&left=3&compact=1&no_peer_id=1&numwant=200&key=000000AB&event=started");
    }

    #[test]
    fn a_passkey_in_the_query_stays_in_front() {
        assert!(target("http://t.example/a?pk=1", None).starts_with("/a?pk=1&info_hash="));
        assert!(target("http://t.example/a?", None).starts_with("/a?info_hash="));
        assert!(target("http://t.example/a?x&", None).starts_with("/a?x&info_hash="));
        assert!(target("http://t.example/a", Some(b"i d\xff")).ends_with("&trackerid=i%20d%FF"));
    }

    const HASH: InfoHash = InfoHash::V1(*b"xxxxxxxxxxxxxxxxxxxx");

    #[test]
    fn a_scrape_is_asked_and_answered_as_bep_48_shows() {
        let url = Url::parse("http://tracker/announce?key=1").unwrap().for_scrape().unwrap();
        assert_eq!(scrape_target(&url, HASH), "/scrape?key=1&info_hash=xxxxxxxxxxxxxxxxxxxx");
        let body = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee\
            20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20eeee";
        let swarm = Swarm { complete: Some(11), incomplete: Some(19), downloaded: Some(13772) };
        assert_eq!(parse_scrape(body, false, HASH), Ok(swarm));
        assert_eq!(parse_scrape(&gzip_for_tests(body), true, HASH), Ok(swarm));
        assert_eq!(parse_scrape(body, false, InfoHash::V1([b'z'; 20])), Ok(Swarm::default()), "it is not named");
        assert_eq!(parse_scrape(b"d5:filesdee", false, HASH), Ok(Swarm::default()));
    }

    #[test]
    fn answers_that_make_no_sense_count_nothing() {
        let of =
            |torrent: &str| parse_scrape(format!("d5:filesd20:{}{torrent}ee", "x".repeat(20)).as_bytes(), false, HASH);
        assert_eq!(of("d8:completei-1e10:incompletei2147483648e10:downloaded1:7e"), Ok(Swarm::default()));
        assert_eq!(of("d8:completei5e8:completei6ee").map(|swarm| swarm.complete), Ok(Some(5)));
        assert_eq!(of("i7e"), Err(ReplyError::Malformed("a torrent is no dictionary")));
        for body in [&b"de"[..], b"d5:filesi1ee", b"d5:filesle", b"", b"<html>", b"i5e"] {
            assert!(
                matches!(parse_scrape(body, false, HASH), Err(ReplyError::Malformed(_))),
                "{}",
                body.escape_ascii()
            );
        }
        let refusal = parse_scrape(&encode_failure("not \x1b[2Jallowed"), false, HASH);
        assert_eq!(refusal, Err(ReplyError::Refused { reason: String::from("not  [2Jallowed"), retry: None }));
        assert_eq!(
            parse_scrape(&vec![b' '; MAX_REPLY_BYTES + 1], false, HASH),
            Err(ReplyError::Malformed("too large"))
        );
    }

    #[test]
    fn compact_replies_are_read_whole() {
        let body = b"d8:completei5e11:external ip4:\x01\x02\x03\x0410:incompletei7e8:intervali1800e12:min intervali60e5:peers12:\x7f\x00\x00\x01\x1a\xe1\x0a\x00\x00\x02\x00\x006:peers618:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x5010:tracker id3:abc15:warning message4:h\x07i!e\r\n";
        let reply = parse_reply(body, false).unwrap();
        insta::assert_debug_snapshot!(reply, @r#"
        Reply {
            peers: [
                127.0.0.1:6881,
                [2001:db8::1]:80,
            ],
            interval_s: Some(
                1800,
            ),
            min_interval_s: Some(
                60,
            ),
            tracker_id: Some(
                [
                    97,
                    98,
                    99,
                ],
            ),
            complete: Some(
                5,
            ),
            incomplete: Some(
                7,
            ),
            warning: Some(
                "h i!",
            ),
            external_ip: Some(
                1.2.3.4,
            ),
        }
        "#);
        assert_eq!(parse_reply(&gzip_for_tests(body), true), Ok(reply.clone()));
        assert_eq!(parse_reply(&encode_reply(&reply), false), Ok(reply));
    }

    #[test]
    fn peers_in_their_long_form_are_read_and_names_skipped() {
        let body = b"d8:intervali9e5:peersld2:ip9:127.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa4:porti80eed2:ip3:::14:porti81eed2:ip9:localhost4:porti82eed2:ip7:1.2.3.44:porti65536eed2:ip7:1.2.3.44:porti0eei7eee";
        let reply = parse_reply(body, false).unwrap();
        assert_eq!(reply.peers, ["127.0.0.1:80".parse().unwrap(), "[::1]:81".parse().unwrap()]);
    }

    #[test]
    fn failures_keep_their_reason_and_retry() {
        let parse = |body: &[u8]| parse_reply(body, false).unwrap_err();
        let refused = |retry| ReplyError::Refused { reason: "no".to_string(), retry };
        assert_eq!(parse(b"d14:failure reason2:noe"), refused(None));
        assert_eq!(parse(b"d14:failure reason2:no8:retry ini5ee"), refused(Some(Retry::Minutes(5))));
        assert_eq!(parse(b"d14:failure reason2:no8:retry in2:15e"), refused(Some(Retry::Minutes(15))));
        assert_eq!(parse(b"d14:failure reason2:no8:retry in5:nevere"), refused(Some(Retry::Never)));
        assert_eq!(parse(b"d14:failure reason2:no8:retry ini-5ee"), refused(None));
        assert_eq!(parse(&encode_failure("no")), refused(None));
        assert_eq!(failure_in(b"d14:failure reason2:noe", false), Some(refused(None)));
        assert_eq!(failure_in(b"<html>", false), None);
        let long = encode_failure(&"x".repeat(5000));
        let ReplyError::Refused { reason, .. } = parse(&long) else { panic!("not refused") };
        assert_eq!(reason.len(), MAX_TEXT_BYTES);
    }

    #[test]
    fn a_million_peers_become_three_thousand() {
        let mut body = b"d5:peers900000:".to_vec();
        body.extend((0..150_000u32).flat_map(|n| {
            let [a, b, c, d] = (0x0100_0000 + n).to_be_bytes();
            [a, b, c, d, 1, 1]
        }));
        body.push(b'e');
        assert_eq!(parse_reply(&body, false).unwrap().peers.len(), MAX_PEERS);
        let mut body = b"d5:peersl".to_vec();
        (0..20_000).for_each(|_| body.extend(b"d2:ip7:1.2.3.44:porti80ee"));
        body.extend(b"ee");
        assert_eq!(parse_reply(&body, false).unwrap().peers.len(), MAX_PEERS);
    }

    #[test]
    fn bodies_that_are_no_replies_are_malformed() {
        for body in [&b""[..], b"<html></html>", b"le", b"i1e", b"d5:peersi1ee", b"d8:interval", &[b'l'; 10_000]] {
            assert!(matches!(parse_reply(body, false), Err(ReplyError::Malformed(_))), "{body:?}");
        }
        assert_eq!(
            parse_reply(&alloc::vec![b'd'; MAX_REPLY_BYTES + 1], false),
            Err(ReplyError::Malformed("too large"))
        );
        let bomb = gzip_for_tests(&alloc::vec![b' '; 50 * MAX_REPLY_BYTES]);
        assert_eq!(parse_reply(&bomb, true), Err(ReplyError::Malformed("it unpacks to too much")));
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200), gzipped: bool) {
            let _ = parse_reply(&body, gzipped);
            let _ = parse_scrape(&body, gzipped, HASH);
        }

        #[test]
        fn counts_come_back(complete in proptest::option::of(0u32..1 << 31), incomplete in proptest::option::of(0u32..1 << 31), downloaded in proptest::option::of(0u32..1 << 31)) {
            let swarm = Swarm { complete, incomplete, downloaded };
            prop_assert_eq!(parse_scrape(&encode_scrape(HASH, &swarm), false, HASH), Ok(swarm));
        }

        #[test]
        fn compact_peers_come_back_in_order(peers in proptest::collection::vec((1u32..0xdf00_0000, 1u16..), 0..50)) {
            let mut body = format!("d5:peers{}:", peers.len() * 6).into_bytes();
            let mut expected = Vec::new();
            for (ip, port) in peers {
                body.extend(ip.to_be_bytes());
                body.extend(port.to_be_bytes());
                if ip >> 24 != 0 {
                    expected.push(SocketAddr::from((ip.to_be_bytes(), port)));
                }
            }
            body.push(b'e');
            prop_assert_eq!(parse_reply(&body, false).unwrap().peers, expected);
        }
    }
}
